//! The reason codes: one per cause, the same in an answer of egress, a `remote:` line of the gate, a finding of
//! `bottle doctor`, a log and the documentation (docs/src/reasons.md, which a test generates from here).

use std::fmt;
use std::str::FromStr;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $code:literal, $retry:literal, $hint:literal;)*) => {
        /// Why something was refused or failed.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code: stable, kebab-case, made for programs and for searching.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means, as one sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
            }

            /// What would allow it, or mend it.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }

            /// The code as a title: `Route missing`.
            pub fn title(self) -> String {
                let words = self.code().replace('-', " ");
                let (first, rest) = words.split_at_checked(1).unwrap_or_default();
                format!("{}{rest}", first.to_uppercase())
            }

            /// Whether the same request may succeed later without a change of the manifest or of the request.
            pub fn retry_helps(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }
        }
    };
}

reasons! {
    /// No repository of that name is in the bottle.
    RepositoryUnknown = "repository-unknown", false, "add the repository under `git:` in bottle.yaml";
    /// No push rule matches the ref.
    RefDenied = "ref-denied", false, "add a rule under `push:` whose `refs` matches this ref";
    /// A push rule matches the ref and doesn't allow the operation.
    OperationDenied = "operation-denied", false, "name the operation in the `allow` of the push rule";
    /// The default branch isn't named by a rule.
    DefaultBranch = "default-branch-protected", false, "write a push rule whose `refs` is the default branch itself, without a wildcard";
    /// The ref is neither a branch nor a tag.
    RefNamespace = "ref-namespace-denied", false, "push to refs/heads/ or refs/tags/";
    /// A new commit touches a protected path.
    PathProtected = "path-protected", false, "leave the path as the upstream has it, or change `protect:` in bottle.yaml";
    /// A secret was found in what is new.
    SecretFound = "secret-found", false, "take the secret out of every new commit (git rebase), not only out of the last one";
    /// The scan could not be completed.
    ScanFailed = "scan-failed", true, "see the gate's log; nothing was sent upstream";
    /// The push is larger than the gate accepts.
    PackTooLarge = "pack-too-large", false, "push fewer or smaller objects at a time, or raise `max_pack` in bottle.yaml";
    /// A ref or object is of a kind that the gate doesn't pass on.
    ObjectDenied = "object-denied", false, "branches name commits; tags name commits or annotated tags of commits";
    /// An object is larger than the gate passes on.
    ObjectTooLarge = "object-too-large", false, "keep files of this size out of the repository (Git LFS, a package registry)";
    /// A new file is a pointer of Git LFS, whose content can't pass the gate.
    LfsPointer = "lfs-pointer", false, "take the file out of every new commit, and let a person add it with Git LFS outside of the bottle";
    /// The upstream could not be reached, or did not answer in time.
    UpstreamDown = "upstream-down", true, "try again when the upstream answers";
    /// The upstream presented a host key that isn't in the manifest.
    HostKeyMismatch = "host-key-mismatch", false, "compare the upstream's host key with `known_host_key` in bottle.yaml";
    /// The upstream did not accept our key or credential.
    UpstreamAuth = "upstream-auth", false, "check the key or the credential that the manifest names for this repository";
    /// The upstream's certificate was not accepted.
    UpstreamTls = "upstream-tls", false, "check the upstream's certificate and the bottle's `extra_ca`";
    /// The upstream's ref isn't where the push expects it.
    UpstreamMoved = "upstream-moved", true, "fetch, rebase or merge, and push again";
    /// The upstream refused the push.
    UpstreamRefused = "upstream-refused", false, "see what the upstream says in the lines above";
    /// A credential that the manifest names isn't there.
    CredentialMissing = "credential-missing", true, "set the credential's environment variable or file and start the bottle again";
    /// The request is none that git sends to the gate.
    RequestInvalid = "request-invalid", false, "use git with the remote URL that the bottle's gitconfig gives";
    /// The gate has too many connections.
    GateBusy = "gate-busy", true, "try again when other git commands have ended";
    /// No route names the host.
    RouteMissing = "route-missing", false, "add a route for the host under `egress: routes:` in bottle.yaml";
    /// No route names the host, and the operator has not approved it while the request was held.
    PendingApproval = "pending-approval", true, "nobody has approved it while it was held: send it again in a while";
    /// A deny rule matches.
    RouteDenied = "route-denied", false, "a rule under `egress: deny:` wins over every route; change it in bottle.yaml";
    /// Routes name the host, and none of them the port or the scheme.
    PortDenied = "port-denied", false, "name the port in the `ports` of a route, and `scheme: http` for a URL without TLS";
    /// Routes name the host and port, and none of them the method.
    MethodDenied = "method-denied", false, "name the method in the `methods` of a route; without any a route allows GET and HEAD";
    /// Routes name the host and the method, and none of them the path under all its readings.
    PathDenied = "path-denied", false, "name the path in the `paths` of a route";
    /// The path has no reading that all origins share.
    PathAmbiguous = "path-ambiguous", false, "send the path without encoded dots, backslashes, control characters or double encoding";
    /// The request asks for another protocol than HTTP, and the route doesn't allow it.
    UpgradeDenied = "upgrade-denied", false, "write `websocket: true` in the route for a WebSocket; nothing else is passed on";
    /// The host is an address, or a number that may be read as one, and no route names it.
    AddressDenied = "address-denied", false, "use the host's name, or add a route whose `host` is this address";
    /// The names of a request's host don't agree: CONNECT, SNI, Host, `:authority`.
    HostMismatch = "host-mismatch", false, "send the host of the URL in Host and SNI; one connection serves one host";
    /// The request can be read in more than one way, or in none.
    RequestMalformed = "request-malformed", false, "send the request as RFC 9112 or RFC 9113 writes it";
    /// The head of the request is larger than egress accepts.
    HeadTooLarge = "head-too-large", false, "send fewer or smaller headers, or a shorter URL";
    /// The body of the request is larger than the route accepts.
    UploadTooLarge = "upload-too-large", false, "send less, or raise `max_upload` of the route in bottle.yaml";
    /// The request carries a secret.
    SecretSent = "secret-sent", false, "take the secret out of the request; egress itself puts a route's credential in";
    /// The request carries a secret, and the operator is asked whether it may be sent.
    SecretPending = "secret-pending", true, "take the secret out of the request, or wait until the operator has approved it";
    /// The body of the request is one that egress can't look into.
    BodyUnreadable = "body-unreadable", false, "send the body plain, or in one of gzip, deflate, br and zstd";
    /// The request did not arrive in time.
    RequestTimeout = "request-timeout", true, "send the whole head of a request within 30 seconds, and keep sending its body";
    /// The agent has too many connections or streams open.
    EgressBusy = "egress-busy", true, "close some connections, or reuse them";
    /// A grant for one request allows it, and can't be marked as used.
    GrantUnclaimed = "grant-unclaimed", true, "the grant is for one request, which has to be written down first: the report directory of the sidecar must be writable";
    /// The second scanner found something in what the agent wrote.
    ScannerDenied = "scanner-denied", false, "take what the named rules of pipelock are about out of the URL, the headers and the body";
    /// The second scanner gave no verdict, so nothing was let through.
    ScannerUnavailable = "scanner-unavailable", true, "see the log of the sidecar pipelock; egress sends nothing on without its verdict";
    /// The policy changed while the request was under way, and no longer allows it.
    PolicyChanged = "policy-changed", false, "see `rule`; a new request is judged by the new policy";
    /// The name could not be resolved.
    NameUnresolved = "name-unresolved", true, "check the name; it is resolved by egress, not in the agent's container";
    /// The name leads to an address that is not a public one.
    AddressPrivate = "address-private", false, "write `private: true` in the route, if the host is meant to be one of your own network";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream-timeout", true, "try again when the upstream answers";
    /// The upstream answered what is no HTTP, or not what was asked for.
    UpstreamInvalid = "upstream-invalid", true, "the upstream's answer can't be passed on safely; see the log of egress";
    /// An answer that may hold the injected credential could not be looked into.
    ScrubFailed = "scrub-failed", false, "ask the upstream for an encoding of gzip, br, zstd or none";
    /// Something inside egress failed.
    EgressFailed = "egress-failed", true, "see the log of egress";
    /// Something inside the gate failed.
    GateFailed = "gate-failed", true, "see the gate's log";
    /// There is no `docker` program, and everything of a bottle is started by it.
    EngineMissing = "engine-missing", false, "install Docker Engine and its command line";
    /// The container engine does not answer, so nothing of the bottle can start.
    EngineDown = "engine-down", true, "start the engine: `sudo systemctl start docker`";
    /// The engine is older than any that a bottle was seen to work on.
    EngineOld = "engine-old", false, "install Docker Engine 20.10 or newer";
    /// The engine runs containers of another system, and a bottle's are Linux containers.
    EngineNotLinux = "engine-not-linux", false, "switch the engine to Linux containers";
    /// The engine is Podman, whose internal networks lead to the services of this machine: the agent does not start there.
    EnginePodman = "engine-podman", false, "use Docker Engine; `podman.md` in the book says what was measured";
    /// The engine runs without root: the keys' users are mapped, and a file that only its owner reads may be closed to them.
    EngineRootless = "engine-rootless", false, "if the gate says that a key can't be read, use `ssh_agent: true`";
    /// `SELinux` is on, and a container may not read what is mounted without a label that allows it.
    EngineSelinux = "engine-selinux", false, "label the bundle: `chcon --recursive --type container_file_t .bottle`";
    /// Docker Compose isn't there, and it is what starts the bundle.
    ComposeMissing = "compose-missing", false, "install Docker Compose 2.20 or newer as a plugin of `docker`";
    /// Docker Compose is older than what the bundle needs: bind mounts that are never made, images that are always built.
    ComposeOld = "compose-old", false, "install Docker Compose 2.20 or newer";
    /// Docker Compose does not accept the bundle together with your own override file and environment.
    ComposeRefuses = "compose-refuses", false, "run `docker compose config --quiet`, and mend what it names";
    /// The engine doesn't know the OCI runtime that the agent's container is to run in.
    RuntimeMissing = "runtime-missing", false, "install the runtime and name it in the engine's configuration, or change `runtime:` in bottle.yaml";
    /// The engine's clock is not this machine's: certificates and the ends of grants are judged by it.
    ClockSkew = "clock-skew", false, "set the clocks, or restart the engine's virtual machine";
    /// There is little room left for images, volumes and logs.
    DiskFull = "disk-full", false, "`docker system prune` removes what no container uses";
    /// The agent's container may use more memory than the engine has: programs are ended before the limit says so.
    MemoryShort = "memory-short", false, "lower `resources.memory` in bottle.yaml, or give the engine's machine more";
    /// An image that the bundle starts from is not on this machine, and could not be asked for: `up` would end there.
    ImageMissing = "image-missing", true, "pull or import the image, or see why its registry does not give it";
    /// The mounted workspace can't be given to the agent as it is.
    WorkspaceRefused = "workspace-refused", false, "let the agent have a clone: `workspace: { clone: … }`";
    /// The agent's user is not the owner of the mounted workspace.
    WorkspaceOwner = "workspace-owner", false, "write the owner's numbers into `.env`: BOTTLE_UID and BOTTLE_GID";
    /// The agent can write files that Compose would read.
    ComposeFilesOpen = "compose-files-open", false, "write COMPOSE_FILE=compose.yaml into `.env`";
    /// A file that is replaced on the host is open to the agent until the bottle is started again.
    WorkspaceFiles = "workspace-files", false, "keep bottle.yaml and the bundle in a directory of their own in the workspace, and write `mount: ..`";
    /// The bundle was not rendered yet.
    BundleMissing = "bundle-missing", false, "`bottle render > compose.yaml`";
    /// What is on disk is not what the manifest renders to, so what would run is not what was reviewed.
    BundleDrift = "bundle-drift", false, "`bottle render --check` shows the difference; `bottle render > compose.yaml` ends it";
    /// Somebody else's container, network or volume has a name that the bottle needs, and Compose would refuse it or use it.
    NameTaken = "name-taken", false, "remove it if nobody needs it, or give the agent another name";
    /// A bottle of the same name was started from another directory, and its containers would be replaced.
    ProjectElsewhere = "project-elsewhere", false, "`docker compose down` there first, or give one agent another name";
    /// Something is left of an older bundle or of a start that did not come to its end.
    LeftOver = "left-over", false, "`bottle cleanup` says what it would remove, and asks";
    /// The engine has too few free address ranges for the bottle's networks.
    AddressesExhausted = "addresses-exhausted", false, "`docker network prune` removes unused networks; `default-address-pools` in the engine's configuration gives more";
    /// Something else listens on the port of the operator's page, so that supervise would not start.
    PortTaken = "port-taken", false, "end it, or choose another `port` under `supervise:` in bottle.yaml";
    /// The environment variable of a credential is not set, so that what needs it is refused.
    CredentialUnset = "credential-unset", false, "set the variable where `docker compose up` is run";
    /// A file that the manifest names isn't there, and Compose refuses to start without it.
    FileMissing = "file-missing", false, "make the file, or change its path in bottle.yaml";
    /// A file that the manifest names can't be read.
    FileUnreadable = "file-unreadable", false, "let its owner read it: `chmod u+r FILE`";
    /// Others than its owner can read a secret.
    FileOpen = "file-open", false, "`chmod 600 FILE`";
    /// The key is protected by a passphrase, which nobody is there to type.
    KeyEncrypted = "key-encrypted", false, "load it into an SSH agent and write `ssh_agent: true` in the place of `identity_file`";
    /// The SSH agent that the manifest relies on isn't there or holds no key.
    AgentUnusable = "agent-unusable", false, "start one and load a key: `eval \"$(ssh-agent)\" && ssh-add`";
    /// A container of the bottle runs, and isn't well.
    SidecarUnhealthy = "sidecar-unhealthy", true, "see `docker compose logs` of the service";
    /// What is asked for is nothing that could be approved, or it is not written as it must be.
    AskInvalid = "ask-invalid", false, "the message says what is wrong; ask for one exact thing";
    /// What is asked for is allowed already.
    AskNeedless = "ask-needless", false, "send again what was refused";
    /// The manifest denies what is asked for, and no approval could change that.
    AskDenied = "ask-denied", false, "go on without it; a rule under `egress: deny:` wins over every approval";
    /// The same was rejected, revoked or withdrawn a short while ago.
    AskRepeated = "ask-repeated", true, "go on without it; the answer says when it is taken again";
    /// Too many requests wait for the operator, too many were made, or too many grants are in force.
    DeskFull = "desk-full", true, "wait for an answer, or withdraw a request";
    /// The agent asks or withdraws too often.
    TooFast = "too-fast", true, "ask for less, with patterns, and less often";
    /// Too many calls of the agent wait for a decision.
    WaitsFull = "waits-full", true, "wait in one place, or look without waiting";
    /// There is no request of this id.
    RequestUnknown = "request-unknown", false, "list the requests, or use the id that the asking answered";
    /// The request has been decided, withdrawn or has expired.
    RequestClosed = "request-closed", false, "look at what became of it";
    /// No grant of this id is in force.
    GrantUnknown = "grant-unknown", false, "list the grants that are in force";
    /// No route uses a credential of this name.
    CredentialUnknown = "credential-unknown", false, "list those that can be entered with `bottle requests credential`";
    /// What was entered can't be carried by a request, or egress could not open it.
    CredentialRefused = "credential-refused", false, "enter one that requests can carry";
    /// Egress does not answer supervise.
    EgressSilent = "egress-silent", true, "see the log of egress, and enter it again";
    /// What was reviewed is not what is in force now.
    ReviewStale = "review-stale", false, "look at it again, and decide again";
    /// What is to be approved is more than was asked for, or for a time that no grant has.
    TooWide = "too-wide", false, "approve what was asked for, or less";
    /// The decision could not be made durable, or what it needs could not be read.
    StoreFailed = "store-failed", true, "see the log of supervise";
    /// The token or the session is missing, is not of this bottle, or does not reach so far.
    Unauthorized = "unauthorized", false, "`bottle requests` in the bundle's directory finds the token; `bottle requests open` prints a link to the page";
    /// There have been too many wrong tokens or links in a short time.
    TooManyAttempts = "too-many-attempts", false, "use the token of this bottle";
    /// Too many pages of the operator are open.
    TooManyStreams = "too-many-streams", true, "close some of them";
    /// Supervise is called by a name that isn't its own.
    HostUnknown = "host-unknown", false, "call it by the address that bottle gives";
    /// A page of another origin calls supervise, or something that doesn't say that it is our own page.
    OriginRefused = "origin-refused", false, "open the page with `bottle requests open`; a program calls without `Origin`";
    /// The body of a call to supervise is not said to be JSON, or the caller takes no JSON.
    TypeUnsupported = "type-unsupported", false, "send `Content-Type: application/json`, and accept JSON";
    /// The path, the query or the body of a call to supervise can't be read.
    BodyInvalid = "body-invalid", false, "see docs/src/supervise.md and docs/src/supervise-operator.md";
    /// The body of a call to supervise is larger than 64 KiB.
    BodyTooLarge = "body-too-large", false, "send less: exact rules with patterns, and few words";
    /// The body of a call to supervise did not arrive in time.
    BodySlow = "body-slow", true, "send it again";
    /// Supervise has nothing at this path.
    PathUnknown = "path-unknown", false, "see docs/src/supervise.md and docs/src/supervise-operator.md";
    /// Supervise has the path, and not this method of it.
    MethodUnknown = "method-unknown", false, "see docs/src/supervise.md and docs/src/supervise-operator.md";
    /// Something inside supervise failed.
    SuperviseFailed = "supervise-failed", true, "see the log of supervise";
}

/// No reason has this code.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no reason code")]
pub struct UnknownCode(String);

impl FromStr for Reason {
    type Err = UnknownCode;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|reason| reason.code() == code);
        found.copied().ok_or_else(|| UnknownCode(code.to_owned()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn a_code_names_its_reason() {
        for reason in Reason::ALL {
            assert_eq!(reason.code().parse(), Ok(*reason));
        }
        assert!("no-such-code".parse::<Reason>().is_err());
    }

    #[test]
    fn every_reason_says_what_it_means_and_what_would_help() {
        for reason in Reason::ALL {
            let (sentence, hint) = (reason.sentence(), reason.hint());
            assert!(sentence.ends_with('.') && sentence.len() > 10, "{reason}: {sentence}");
            assert!(hint.len() > 5 && !hint.ends_with('.'), "{reason}: {hint}");
        }
        assert_eq!(Reason::RouteMissing.title(), "Route missing");
        assert_eq!(Reason::RouteMissing.sentence(), "No route names the host.");
    }

    #[test]
    fn every_code_is_unique_and_kebab_case() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert!(
            codes.iter().all(|code| { code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') })
        );
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
