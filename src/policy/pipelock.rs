//! What the renderer tells pipelock: `pipelock.yaml`.
//!
//! The keys are those of pipelock's own documentation (docs/configuration.md and docs/scan-api.md of
//! luckyPipewrench/pipelock). It refuses a key that it doesn't know, so only what it has to be told stands here: what is
//! on by itself and no use here is switched off by name, and its patterns and thresholds stay its own.

use serde::{Deserialize, Serialize};

/// Where its Scan API listens, in a container that is on no other network than the one that egress shares with it.
pub const LISTEN: &str = "0.0.0.0:9090";

/// Where egress finds it, as a URL.
pub const SCANNER: &str = "http://inspect.pipelock:9090";

/// The word that the Scan API wants as a token. It is no secret, and keeps nobody out: the network does, on which there is
/// nobody but egress.
pub const TOKEN: &str = "inspect";

/// The most bytes of a URL that it is asked about.
pub const MAX_URL: usize = 8 << 10;

/// The most bytes of text that it is asked about at a time.
pub const MAX_TEXT: usize = 512 << 10;

/// The whole of `pipelock.yaml`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PipelockConfig {
    /// The format's version, 1.
    pub version: u32,
    /// How it judges.
    pub mode: Mode,
    /// Whether it refuses at all.
    pub enforce: bool,
    /// Whether it explains its refusals to the agent.
    pub explain_blocks: bool,
    /// The hosts that the mode `strict` lets through.
    pub api_allowlist: Vec<String>,
    /// The addresses that no name may lead to. There is no DNS on its network, so it can't check that, and egress does:
    /// without any address it doesn't try.
    pub internal: Vec<String>,
    /// The proxy that fetches. It can't be switched off, and the check of its health asks it; nobody else reaches it.
    pub fetch_proxy: FetchProxy,
    /// The proxy for tunnels.
    pub forward_proxy: Switch,
    /// The proxy for WebSockets.
    pub websocket_proxy: Switch,
    /// The proxy for one upstream.
    pub reverse_proxy: Switch,
    /// The interception of TLS.
    pub tls_interception: Switch,
    /// Profiles of sessions, which the Scan API has none of.
    pub session_profiling: Switch,
    /// Scores of sessions.
    pub adaptive_enforcement: Switch,
    /// Memory from request to request.
    pub cross_request_detection: Switch,
    /// Its hooks for git.
    pub git_protection: Switch,
    /// Reports of its crashes to others.
    pub sentry: Switch,
    /// The patterns.
    pub dlp: Dlp,
    /// What it writes on its standard output.
    pub logging: Logging,
    /// Where egress asks.
    pub scan_api: ScanApi,
}

/// How it judges.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By what is sent.
    Balanced,
    /// Also by the list of hosts.
    Strict,
}

impl Mode {
    /// As pipelock writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Strict => "strict",
        }
    }
}

/// A part that is on or off.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Whether it is on.
    pub enabled: bool,
}

impl Switch {
    const OFF: Self = Self { enabled: false };
}

/// The proxy that fetches.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FetchProxy {
    /// Its address: the container's own loopback.
    pub listen: String,
    /// How long it may fetch.
    pub timeout_seconds: u32,
    /// How much it may fetch.
    pub max_response_mb: u32,
    /// What a URL may be, which the Scan API goes by as well.
    pub monitoring: Monitoring,
}

/// What a URL may be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Monitoring {
    /// The most bytes of one.
    pub max_url_length: usize,
    /// How often a host may be asked for in a minute.
    pub max_requests_per_minute: u32,
}

/// The patterns.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dlp {
    /// Whether they are those that come with it.
    pub include_defaults: bool,
    /// Whether the values of its own environment are secrets: there is none in it.
    pub scan_env: bool,
}

/// What it writes on its standard output.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// As JSON or as text.
    pub format: String,
    /// Where to.
    pub output: String,
    /// Whether what it allows is told.
    pub include_allowed: bool,
    /// Whether what it refuses is told.
    pub include_blocked: bool,
}

/// Where egress asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScanApi {
    /// Its address.
    pub listen: String,
    /// Who may ask.
    pub auth: Auth,
    /// How often.
    pub rate_limit: RateLimit,
    /// The most bytes of a question. Text grows as JSON writes it, a control character to six bytes.
    pub max_body_bytes: usize,
    /// The most bytes of what is asked about.
    pub field_limits: FieldLimits,
    /// How long it takes.
    pub timeouts: Timeouts,
    /// The most connections at a time.
    pub connection_limit: u32,
    /// What may be asked.
    pub kinds: Kinds,
}

/// Who may ask.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The words that must come along.
    pub bearer_tokens: Vec<String>,
}

/// How often may be asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// In a minute.
    pub requests_per_minute: u32,
    /// At once.
    pub burst: u32,
}

/// The most bytes of what is asked about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FieldLimits {
    /// Of a URL.
    pub url: usize,
    /// Of a text.
    pub text: usize,
}

/// How long it takes, as Go writes a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// For a question to arrive.
    pub read: String,
    /// For the answer to be on its way, which begins with the question.
    pub write: String,
    /// For a verdict.
    pub scan: String,
}

/// What may be asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "pipelock writes them so")]
pub struct Kinds {
    /// About a URL.
    pub url: bool,
    /// About text.
    pub dlp: bool,
    /// About what a model is told.
    pub prompt_injection: bool,
    /// About what a model asks a tool for.
    pub tool_call: bool,
}

/// More than egress asks in a minute: pipelock's own limit is made for a person's scripts.
const RATE: u32 = 1_000_000;

impl PipelockConfig {
    /// The configuration for a mode; `hosts` are those of the routes, which only `strict` goes by.
    pub fn new(mode: Mode, mut hosts: Vec<String>) -> Self {
        if mode == Mode::Balanced {
            hosts.clear();
        } else if hosts.is_empty() {
            // It doesn't start with an empty list. This one lets nothing through either (RFC 6761, section 6.4).
            hosts.push("none.invalid".to_owned());
        }
        Self {
            version: 1,
            mode,
            enforce: true,
            explain_blocks: false,
            api_allowlist: hosts,
            internal: Vec::new(),
            fetch_proxy: FetchProxy {
                listen: "127.0.0.1:8888".to_owned(),
                timeout_seconds: 1,
                max_response_mb: 1,
                monitoring: Monitoring { max_url_length: MAX_URL, max_requests_per_minute: RATE },
            },
            forward_proxy: Switch::OFF,
            websocket_proxy: Switch::OFF,
            reverse_proxy: Switch::OFF,
            tls_interception: Switch::OFF,
            session_profiling: Switch::OFF,
            adaptive_enforcement: Switch::OFF,
            cross_request_detection: Switch::OFF,
            git_protection: Switch::OFF,
            sentry: Switch::OFF,
            dlp: Dlp { include_defaults: true, scan_env: false },
            logging: Logging {
                format: "json".to_owned(),
                output: "stdout".to_owned(),
                include_allowed: false,
                include_blocked: true,
            },
            scan_api: ScanApi {
                listen: LISTEN.to_owned(),
                auth: Auth { bearer_tokens: vec![TOKEN.to_owned()] },
                rate_limit: RateLimit { requests_per_minute: RATE, burst: RATE / 60 },
                max_body_bytes: 6 * MAX_TEXT + (64 << 10),
                field_limits: FieldLimits { url: MAX_URL, text: MAX_TEXT },
                timeouts: Timeouts { read: "10s".to_owned(), write: "10s".to_owned(), scan: "5s".to_owned() },
                connection_limit: 1024,
                kinds: Kinds { url: true, dlp: true, prompt_injection: false, tool_call: false },
            },
        }
    }

    /// The same without the hosts of routes: a route that comes or goes is no reason to start anything anew.
    #[must_use]
    pub fn without_hosts(&self) -> Self {
        Self { api_allowlist: Vec::new(), ..self.clone() }
    }
}
