//! What the renderer tells egress: `policy.yaml`.

use std::fmt;
use std::net::IpAddr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::SecretSource;

/// The version of the format of `policy.yaml` that this binary writes and reads.
pub const VERSION: u32 = 1;

/// The most seconds for which a request is held.
pub const MAX_HELD: u64 = 20;

/// The whole of `policy.yaml`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// The format's version, [`VERSION`].
    pub version: u32,
    /// What is refused whatever the routes and grants say.
    #[serde(default)]
    pub deny: Vec<Deny>,
    /// Addresses of hosts, instead of what DNS says. They are judged like any other address.
    #[serde(default)]
    pub extra_hosts: IndexMap<String, IpAddr>,
    /// The HTTP proxy through which egress itself goes out, as `http://host:port`.
    #[serde(default)]
    pub upstream_proxy: Option<String>,
    /// Files in the container with certificates to trust beside the system's roots.
    #[serde(default)]
    pub extra_ca: Vec<String>,
    /// The credentials that routes name.
    #[serde(default)]
    pub credentials: IndexMap<String, Credential>,
    /// Where the agent may ask for what was refused, as `http://host:port`; named by refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// What happens to a request to a host that no route names, beside its refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_refusal: Option<OnRefusal>,
    /// Where the second scanner answers, as `http://host:port`: what it doesn't allow doesn't leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner: Option<String>,
    /// What is allowed; nothing else is.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// One allow rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where in the manifest it stands, as `file:line`, or the grant that it comes from.
    pub source: String,
    /// A name in lower case, `*.` and a name for everything below that, or an address.
    pub host: String,
    /// The scheme of its URLs.
    pub scheme: Scheme,
    /// The ports; never empty.
    pub ports: Vec<u16>,
    /// The methods; `ANY` stands for all of them. Never empty.
    pub methods: Vec<String>,
    /// Patterns (see [`super::glob`]) over the path with its leading slash; never empty.
    pub paths: Vec<String>,
    /// Whether a WebSocket may be opened.
    #[serde(default)]
    pub websocket: bool,
    /// Whether the host may have an address that isn't a public one.
    #[serde(default)]
    pub private: bool,
    /// The credential that goes into its requests.
    #[serde(default)]
    pub credential: Option<String>,
    /// What happens to a request that carries a secret.
    #[serde(default)]
    pub on_secret: OnSecret,
    /// The most bytes that the body of a request may have; none means no limit.
    #[serde(default)]
    pub max_upload_bytes: Option<u64>,
    /// The tools of the server's side that are taken out of the JSON bodies of its requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strip_tools: Vec<String>,
}

/// One deny rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Where in the manifest it stands, as `file:line`.
    pub source: String,
    /// A name in lower case, `*.` and a name for everything below that, or an address.
    pub host: String,
    /// The ports; empty means every port.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// The methods; empty means every method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The paths; empty means every path.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// The scheme of a URL.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// TLS.
    #[default]
    Https,
    /// Plain text; no credential travels on it.
    Http,
}

/// What happens to a request that carries a secret.
///
/// In the order of what they let through: a refusal lets nothing, an approval one secret, and covering the rest of the
/// request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSecret {
    /// It is refused.
    #[default]
    Block,
    /// It is refused, and the operator is asked whether it may pass.
    Ask,
    /// Each byte of it is covered.
    Redact,
}

impl fmt::Display for OnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Ask => "ask",
            Self::Redact => "redact",
        })
    }
}

/// What happens to a request to a host that no route names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum OnRefusal {
    /// It is held for at most so many seconds, while the operator is asked.
    Ask(u64),
}

/// A secret: where it comes from and how requests carry it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Where in the manifest it stands, as `file:line`.
    pub source: String,
    /// Where the secret comes from, inside the container.
    pub secret: SecretSource,
    /// How requests carry it.
    pub inject: Inject,
    /// What the agent has in its place. It may stand in requests of the routes that use the credential, and in no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
}

/// How a request carries a secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Inject {
    /// As the value of this header, whose name is in lower case.
    Header(String),
    /// As `Authorization: Bearer` (RFC 6750, section 2.1).
    Bearer,
    /// As the password of `Authorization: Basic` (RFC 7617) with this user name.
    Basic(String),
}

/// Header fields that no credential can be in: they frame or route the message, or mean one connection only (RFC 9110,
/// section 7.6.1; RFC 9112, section 6).
const NO_CREDENTIAL: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Whether a header field, named in any case, can carry a credential.
pub fn may_carry_credential(header: &str) -> bool {
    !NO_CREDENTIAL.iter().any(|name| name.eq_ignore_ascii_case(header))
}
