//! What `bottle.yaml` may say.
//!
//! The doc comments here are the JSON Schema's descriptions.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Decoder, Invalid, List, Map, OneOrMany, Scalar, mapping, scalar, words};
use super::diagnostic::Diagnostic;
use super::node::{Kind, Node};
use super::source::{Spanned, shown};
use super::values::{
    Address, BottleName, Cpus, EnvName, EnvValue, GitUrl, HeaderName, HeldSeconds, Host, HostKey, HostPath,
    HostPattern, ImageName, Memory, Method, Name, Pids, Port, ProxyUrl, RefPattern, RegistryPrefix,
    RoutePath, RuntimeName, ToolName, TreePattern, Username,
};

mapping! {
    /// What a coding agent may reach, with which credentials, and which repositories it may fetch and push.
    Manifest, "the manifest" {
        /// The policies.
        optional bottles: Map<BottleName, Bottle>,
        /// What runs, each in one bottle.
        optional agents: Map<Name, Agent>,
        /// Where the sidecars' images come from; without it Compose builds them.
        optional images: Images,
    }
}

mapping! {
    /// Published images of the sidecars.
    Images, "`images`" {
        /// The registry and path before the images' names.
        required registry: Spanned<RegistryPrefix>,
        /// The lock file with the images' digests, which `bottle images lock` writes; without it they are named by the tag of
        /// this version of bottle.
        optional digests: Spanned<HostPath>,
    }
}

mapping! {
    /// A policy. An empty one allows nothing.
    Bottle, "a bottle" {
        /// The bottle that this one adds to.
        optional extends: Spanned<BottleName>,
        /// What may be reached over HTTP.
        optional egress: Spanned<Egress>,
        /// The credentials that sidecars use on the agent's behalf.
        optional credentials: Map<Name, Credential>,
        /// The repositories that may be fetched and pushed.
        optional git: Map<Name, Repository>,
        /// How the agent asks and the operator decides; `false` switches it off.
        optional supervise: Spanned<Supervise>,
        /// A second scanner of what the agent sends.
        optional pipelock: Spanned<Pipelock>,
        /// Whether each sidecar has a container of its own.
        optional sidecars: Spanned<Sidecars>,
    }
}

mapping! {
    /// What may be reached over HTTP.
    Egress, "`egress`" {
        /// What is allowed; without any nothing is.
        optional routes: List<Route>,
        /// What is refused whatever the routes and grants say.
        optional deny: List<Deny>,
        /// Addresses of hosts, instead of what DNS says.
        optional extra_hosts: Map<Host, Spanned<Address>>,
        /// What happens to a request that carries a known secret or the shape of one.
        optional on_secret: Spanned<OnSecret>,
        /// What happens to a request to a host that no route names; without it, it is refused at once.
        optional on_refusal: Spanned<OnRefusal>,
        /// The proxy through which egress itself goes out.
        optional upstream_proxy: Spanned<ProxyUrl>,
        /// Certificate files to trust beside the system's roots.
        optional extra_ca: List<HostPath>,
    }
}

mapping! {
    /// One allow rule.
    Route, "a route" {
        /// The host, or `*.example.com` for everything below it.
        required host: Spanned<HostPattern>,
        /// The ports; without it 443, or 80 for the scheme http.
        optional ports: List<Port>,
        /// The methods; without it GET and HEAD. `ANY` must be written.
        optional methods: List<Method>,
        /// The paths; without it every path.
        optional paths: List<RoutePath>,
        /// The scheme; without it https.
        optional scheme: Spanned<Scheme>,
        /// Whether a WebSocket may be opened.
        optional websocket: Spanned<bool>,
        /// Whether the host may resolve to a private address.
        optional private: Spanned<bool>,
        /// The credential that is put into requests.
        optional credential: Spanned<Name>,
        /// What happens to a request that carries a secret, for this route.
        optional on_secret: Spanned<OnSecret>,
        /// The most that the body of one request may carry; without it there is no limit.
        optional max_upload: Spanned<Memory>,
        /// Tools that the server runs, such as `web_search`: they are taken out of the JSON bodies of requests.
        optional strip_tools: List<ToolName>,
    }
}

mapping! {
    /// One deny rule; it wins over every route and grant.
    Deny, "a deny rule" {
        /// The host, or `*.example.com` for everything below it.
        required host: Spanned<HostPattern>,
        /// The ports; without it every port.
        optional ports: List<Port>,
        /// The methods; without it every method.
        optional methods: List<Method>,
        /// The paths; without it every path.
        optional paths: List<RoutePath>,
    }
}

words! {
    /// The scheme of a route's URLs.
    Scheme, "a scheme (`https` or `http`)" {
        /// TLS.
        Https = "https",
        /// Plain text; no credential travels on it.
        Http = "http",
    }
}

words! {
    /// What happens to a request that carries a secret.
    OnSecret, "an answer to a secret (`block`, `redact` or `ask`)" {
        /// It is refused.
        Block = "block",
        /// Each byte of it is covered.
        Redact = "redact",
        /// It is refused, and the operator is asked whether it may pass.
        Ask = "ask",
    }
}

/// What happens to a request to a host that no route names.
#[derive(Clone, Debug, PartialEq)]
pub enum OnRefusal {
    /// `refuse`: it is refused at once.
    Refuse,
    /// `ask`, or with the seconds: it is held while the operator is asked.
    Ask(Option<Held>),
}

mapping! {
    /// For how long a request is held while the operator is asked.
    Held, "`on_refusal`" {
        /// The seconds, up to 20.
        required ask: Spanned<HeldSeconds>,
    }
}

impl Decode for OnRefusal {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => Held::decode(node, decoder).map(|held| Self::Ask(Some(held))),
            _ => Some(match OnRefusalWord::decode(node, decoder)? {
                OnRefusalWord::Refuse => Self::Refuse,
                OnRefusalWord::Ask => Self::Ask(None),
            }),
        }
    }
}

impl JsonSchema for OnRefusal {
    fn schema_name() -> Cow<'static, str> {
        "OnRefusal".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (word, held) = (generator.subschema_for::<OnRefusalWord>(), generator.subschema_for::<Held>());
        json_schema!({ "anyOf": [word, held] })
    }
}

words! {
    /// What happens to a request to a host that no route names.
    OnRefusalWord, "an answer to a refusal (`refuse`, `ask` or `{ ask: SECONDS }`)" {
        /// It is refused at once.
        Refuse = "refuse",
        /// It is held for 20 seconds while the operator is asked.
        Ask = "ask",
    }
}

words! {
    /// Whether each sidecar has a container of its own.
    Sidecars, "an arrangement of sidecars (`separate` or `bundled`)" {
        /// One container each.
        Separate = "separate",
        /// One container for egress, git-gate and supervise.
        Bundled = "bundled",
    }
}

mapping! {
    /// A secret: where it comes from and how requests carry it. The agent never sees it.
    Credential, "a credential" {
        /// Where it comes from.
        required source: Spanned<CredentialSource>,
        /// How requests carry it.
        optional inject: Spanned<Inject>,
        /// What the agent gets in its place, where a client insists on a variable.
        optional placeholder: Spanned<Placeholder>,
    }
}

mapping! {
    /// An environment variable of the agent with a harmless value: a client that insists on it starts, and what it sends
    /// is replaced by the secret on its way out.
    Placeholder, "`placeholder`" {
        /// The variable.
        required env: Spanned<EnvName>,
        /// Its value, where a client looks at the shape; without it `bottle-placeholder-` and the credential's name.
        optional value: Spanned<EnvValue>,
    }
}

mapping! {
    /// Where a secret comes from: exactly one of these.
    CredentialSource, "a credential's `source`" {
        /// An environment variable of whoever runs `docker compose up`.
        optional env: Spanned<EnvName>,
        /// A file on the host.
        optional file: Spanned<HostPath>,
    }
}

mapping! {
    /// How a request carries a secret: exactly one of these.
    Inject, "`inject`" {
        /// As the value of this header.
        optional header: Spanned<HeaderName>,
        /// As `Authorization: Bearer`.
        optional bearer: Spanned<True>,
        /// As the password of `Authorization: Basic`.
        optional basic: Spanned<Basic>,
    }
}

mapping! {
    /// The user of a Basic credential.
    Basic, "`basic`" {
        /// The user name; the secret is the password.
        required username: Spanned<Username>,
    }
}

mapping! {
    /// A repository: its upstream, and what may be pushed.
    Repository, "a repository" {
        /// The upstream, in any spelling of git's for SSH or HTTPS.
        required upstream: Spanned<GitUrl>,
        /// The private key for an SSH upstream.
        optional identity_file: Spanned<HostPath>,
        /// Use the operator's SSH agent instead of a key file.
        optional ssh_agent: Spanned<True>,
        /// The credential for an HTTPS upstream.
        optional credential: Spanned<Name>,
        /// The public host keys of an SSH upstream.
        optional known_host_key: OneOrMany<HostKey>,
        /// Addresses of hosts, instead of what DNS says.
        optional extra_hosts: Map<Host, Spanned<Address>>,
        /// What may be pushed; without it the repository is fetch only.
        optional push: List<PushRule>,
        /// Paths that no pushed commit may touch; without it `bottle.yaml`, `compose.yaml` and `.bottle/**`.
        optional protect: List<TreePattern>,
        /// The most that one push may carry; without it 256m.
        optional max_pack: Spanned<Memory>,
    }
}

mapping! {
    /// Refs, and what may be done to them.
    PushRule, "a push rule" {
        /// The refs; a pattern without `refs/` means branches.
        required refs: Spanned<RefPattern>,
        /// The operations that are allowed.
        required allow: List<Operation>,
    }
}

words! {
    /// What a push may do to a ref.
    Operation, "an operation (`create`, `fast-forward`, `force` or `delete`)" {
        /// Make a ref that the upstream doesn't have.
        Create = "create",
        /// Move a ref to a descendant.
        FastForward = "fast-forward",
        /// Move a ref to anything.
        Force = "force",
        /// Remove a ref.
        Delete = "delete",
    }
}

mapping! {
    /// A second scanner of what the agent sends.
    Pipelock, "`pipelock`" {
        /// Its image.
        required image: Spanned<ImageName>,
        /// How it judges a URL; without it `balanced`.
        optional mode: Spanned<PipelockMode>,
    }
}

words! {
    /// How pipelock judges a URL. Its mode `audit` refuses nothing, and so isn't there.
    PipelockMode, "a mode of pipelock (`balanced` or `strict`)" {
        /// By what is in it.
        Balanced = "balanced",
        /// Also by its host, which must be that of a route in the manifest.
        Strict = "strict",
    }
}

mapping! {
    /// What runs in a bottle.
    Agent, "an agent" {
        /// The bottle.
        required bottle: Spanned<BottleName>,
        /// An image and settings: those of a client that bottle knows, or a directory of your own.
        optional preset: Spanned<Preset>,
        /// An image of your own.
        optional image: Spanned<ImageName>,
        /// A directory with a Dockerfile of your own.
        optional build: Spanned<HostPath>,
        /// The command; without it the preset's or the image's own.
        optional command: List<EnvValue>,
        /// What the agent works on.
        optional workspace: Spanned<Workspace>,
        /// Environment variables; no place for secrets.
        optional env: Map<EnvName, Spanned<EnvValue>>,
        /// A file with the agent's instructions.
        optional prompt: Spanned<HostPath>,
        /// Directories with the agent's skills.
        optional skills: List<HostPath>,
        /// Limits.
        optional resources: Resources,
        /// Another OCI runtime for the agent's container.
        optional runtime: Spanned<RuntimeName>,
    }
}

/// An image and settings for a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Preset {
    /// One that comes with bottle.
    Named(PresetName),
    /// A directory with the same files.
    Directory {
        /// The path as it is written.
        text: String,
        /// The path.
        path: HostPath,
    },
    /// `home/NAME`: a directory of the user's own configuration; the name.
    Home(Name),
}

impl Scalar for Preset {
    const WHAT: &'static str =
        "a preset (`claude`, `codex`, `shell`, a directory such as `./presets/mine`, or `home/NAME`)";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(name) = text.strip_prefix(super::extends::HOME) {
            return Name::parse(name).map(Self::Home);
        }
        if !text.contains('/') {
            return PresetName::parse(text).map(Self::Named).map_err(|invalid| match text {
                "." | ".." | "~" => Invalid::with_hint(
                    invalid.message,
                    format!("a directory is written with a slash: `{text}/…`"),
                ),
                _ => invalid,
            });
        }
        if !["./", "../", "~/", "/"].iter().any(|start| text.starts_with(start)) {
            return Err(Invalid::with_hint(
                format!("`{}` is no preset of bottle's, and does not start as a directory does", shown(text)),
                format!("write `./{}` for the directory", shown(text)),
            ));
        }
        let path = HostPath::parse(text)?;
        Ok(Self::Directory { text: text.trim_end_matches('/').to_owned(), path })
    }
}

impl Decode for Preset {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        scalar(node, decoder)
    }
}

impl JsonSchema for Preset {
    fn schema_name() -> Cow<'static, str> {
        "Preset".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let directory = json_schema!({
            "type": "string",
            "pattern": r"^(\.{0,2}/|~/|home/)",
            "description": "A directory with the files of a preset, or `home/NAME` for one of your own configuration.",
        });
        json_schema!({ "anyOf": [generator.subschema_for::<PresetName>(), directory] })
    }
}

words! {
    /// The presets that come with bottle.
    PresetName, "a preset (`claude`, `codex`, `shell`, a directory such as `./presets/mine`, or `home/NAME`)" {
        /// Claude Code.
        Claude = "claude",
        /// Codex.
        Codex = "codex",
        /// A shell with git.
        Shell = "shell",
    }
}

mapping! {
    /// What the agent works on: exactly one of `clone` and `mount`.
    Workspace, "`workspace`" {
        /// A repository of the bottle, cloned through the gate into a volume.
        optional clone: Spanned<Name>,
        /// A directory of the host, relative to this file.
        optional mount: Spanned<HostPath>,
        /// What in the mounted directory the agent may read and not change.
        optional read_only: List<HostPath>,
    }
}

mapping! {
    /// Limits of the agent's container.
    Resources, "`resources`" {
        /// Processors.
        optional cpus: Spanned<Cpus>,
        /// Memory.
        optional memory: Spanned<Memory>,
        /// Processes.
        optional pids: Spanned<Pids>,
    }
}

/// The word `true`, for a key that only switches something on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct True;

impl Decode for True {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if bool::decode(node, decoder)? {
            return Some(Self);
        }
        decoder.error(
            Diagnostic::new(node.span, "only `true` has a meaning here").hint("leave the key out instead"),
        );
        None
    }
}

impl JsonSchema for True {
    fn schema_name() -> Cow<'static, str> {
        "True".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": true })
    }
}

/// How the agent asks and the operator decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Supervise {
    /// `false`: there is nobody to ask.
    Off,
    /// The sidecar runs.
    On(SuperviseOptions),
}

mapping! {
    /// How the agent asks and the operator decides.
    SuperviseOptions, "`supervise`" {
        /// The port of the operator's page on 127.0.0.1.
        required port: Spanned<Port>,
    }
}

impl Decode for Supervise {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.kind {
            Kind::Mapping(_) => SuperviseOptions::decode(node, decoder).map(Self::On),
            Kind::Scalar { text, plain: true } if text == "false" => Some(Self::Off),
            _ => {
                decoder.error(
                    Diagnostic::new(
                        node.span,
                        format!("expected `false` or a mapping, found {}", node.describe()),
                    )
                    .hint("write `supervise: { port: 7333 }`"),
                );
                None
            }
        }
    }
}

impl JsonSchema for Supervise {
    fn schema_name() -> Cow<'static, str> {
        "Supervise".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": false }, generator.subschema_for::<SuperviseOptions>()] })
    }
}
