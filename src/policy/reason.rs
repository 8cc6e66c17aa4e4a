//! The reason codes: one per cause, the same in a `remote:` line, a log and the documentation.

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

            /// What would allow it, or mend it.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
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
    PendingApproval = "pending-approval", true, "the operator was told of the request and has not approved it yet: send it again later";
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
    /// The request did not arrive in time.
    RequestTimeout = "request-timeout", true, "send the whole head of a request within 30 seconds, and keep sending its body";
    /// The agent has too many connections or streams open.
    EgressBusy = "egress-busy", true, "close some connections, or reuse them";
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
