//! Routes out of egress' audit log: what was refused for want of one, as proposals.
//!
//! The agent chose each host, method and path in it. Nothing here is a recommendation: what reads from a host by its name is
//! written as a route that a person may delete, everything else as a comment that a person may make one. A part of a path
//! that could be a secret, or is another one each time, becomes `*`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;

use super::text::shortened;
use crate::manifest::values::{HostPattern, Method, RoutePath};
use crate::policy::egress::{OnSecret, Route, Scheme};
use crate::policy::reason::Reason;
use crate::scan::{Known, scan};
use crate::sidecar::supervise::rule::written;

/// The version of the lines that is understood.
const VERSION: u64 = 1;
/// The most targets, and the most paths of one, that are kept; what comes later is counted.
const MAX_TARGETS: usize = 1000;
const MAX_PATHS: usize = 1000;
/// The most patterns of one route.
const MAX_PATTERNS: usize = 6;
/// From how many characters on a part of a path with a digit is taken for another one each time.
const LONG: usize = 16;
/// The refusals that a route would have changed.
const ROUTABLE: [Reason; 5] = [
    Reason::RouteMissing,
    Reason::PortDenied,
    Reason::MethodDenied,
    Reason::PathDenied,
    Reason::UpgradeDenied,
];

/// The fields of a line that count here.
#[derive(Deserialize)]
struct Line {
    v: u64,
    event: String,
    reason: Option<String>,
    scheme: Option<Scheme>,
    host: Option<String>,
    port: Option<u16>,
    method: Option<String>,
    path: Option<String>,
}

/// What a log says, collected line by line.
#[derive(Debug)]
pub(crate) struct Log {
    known: Arc<Known>,
    targets: BTreeMap<(String, Scheme, u16), Asked>,
    /// Requests that no route would have let through, by their reason.
    others: BTreeMap<String, u64>,
    /// Requests of hosts beyond those that are kept, or that no route can name.
    dropped: u64,
    requests: u64,
    unread: u64,
}

#[derive(Debug, Default)]
struct Asked {
    count: u64,
    methods: BTreeMap<String, u64>,
    paths: BTreeSet<Vec<String>>,
    any_path: bool,
    websocket: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            known: Arc::new(Known::builder().build()),
            targets: BTreeMap::new(),
            others: BTreeMap::new(),
            dropped: 0,
            requests: 0,
            unread: 0,
        }
    }
}

impl Log {
    /// Adds a line. One that is none of an audit log is counted.
    pub(crate) fn add(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let Some(line) = serde_json::from_slice(line).ok().filter(|line: &Line| line.v == VERSION) else {
            self.unread += 1;
            return;
        };
        let Line { v: _, event, reason, scheme, host, port, method, path } = line;
        if event != "request" {
            return;
        }
        self.requests += 1;
        let Some(reason) = reason else { return };
        let Some(known) = ROUTABLE.into_iter().find(|known| known.code() == reason) else {
            *self.others.entry(shortened(&reason)).or_default() += 1;
            return;
        };
        let host = host.and_then(|host| {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
            bare.parse::<HostPattern>().ok().filter(|host| !host.as_str().starts_with('*'))
        });
        let method = method.and_then(|method| method.parse::<Method>().ok());
        let (Some(host), Some(method), Some(scheme), Some(port)) = (host, method, scheme, port) else {
            self.dropped += 1;
            return;
        };
        let key = (host.as_str().to_owned(), scheme, port);
        if self.targets.len() >= MAX_TARGETS && !self.targets.contains_key(&key) {
            self.dropped += 1;
            return;
        }
        let segments = path.as_deref().and_then(|path| self.generalised(path));
        let asked = self.targets.entry(key).or_default();
        asked.count += 1;
        *asked.methods.entry(method.as_str().to_owned()).or_default() += 1;
        asked.websocket |= known == Reason::UpgradeDenied;
        match segments {
            Some(segments) if asked.paths.len() < MAX_PATHS => {
                asked.paths.insert(segments);
            }
            _ => asked.any_path = true,
        }
    }

    /// The segments of a path, each that is another one each time as `*`.
    fn generalised(&self, path: &str) -> Option<Vec<String>> {
        let rest = path.strip_prefix('/')?;
        let mut is_secret = false;
        scan(&self.known, None, path.as_bytes(), &mut |_| is_secret = true);
        if is_secret {
            return None;
        }
        Some(
            rest.split('/').map(|segment| if is_fixed(segment) { segment } else { "*" }.to_owned()).collect(),
        )
    }

    /// How many lines were none of an audit log.
    pub(crate) fn unread(&self) -> u64 {
        self.unread
    }

    /// The proposals, as the part of a manifest that is below `egress:`.
    pub(crate) fn text(&self) -> String {
        let Self { known: _, targets, others, dropped, requests, unread: _ } = self;
        let proposals: Vec<(Route, Vec<&str>, &Asked)> = targets
            .iter()
            .map(|(target, asked)| (route(target, asked), doubts(target, asked), asked))
            .collect();
        let mut text = format!(
            "# Proposals from {requests} requests in the audit log: what was refused for want of a route. The agent chose every\n\
             # one of them. Look at each before you put it below `egress:` in bottle.yaml; what is a comment here is doubtful.\n"
        );
        let active = proposals.iter().any(|(_, doubts, _)| doubts.is_empty());
        text.push_str(if active { "routes:\n" } else { "# routes:\n" });
        for (route, doubts, asked) in &proposals {
            let methods: Vec<_> =
                asked.methods.iter().map(|(name, count)| format!("{name} {count}")).collect();
            // Writing to a string can't fail.
            let _ = writeln!(text, "  # {} of {}", methods.join(", "), requests_of(asked.count));
            for doubt in doubts {
                let _ = writeln!(text, "  # Doubtful: {doubt}.");
            }
            let mark = if doubts.is_empty() { "" } else { "# " };
            let _ = writeln!(text, "  {mark}- {}", written(route));
        }
        for (reason, count) in others {
            let _ = writeln!(
                text,
                "# Not proposed: {} refused as `{reason}`; no route changes that.",
                requests_of(*count)
            );
        }
        if *dropped > 0 {
            let _ = writeln!(
                text,
                "# Not proposed: {} to hosts that no route can name, or to too many.",
                requests_of(*dropped)
            );
        }
        text
    }
}

fn requests_of(count: u64) -> String {
    format!("{count} request{}", if count == 1 { "" } else { "s" })
}

fn route((host, scheme, port): &(String, Scheme, u16), asked: &Asked) -> Route {
    Route {
        source: String::new(),
        host: host.clone(),
        scheme: *scheme,
        ports: vec![*port],
        methods: match asked.methods.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
            // The usual ones go without saying.
            ["GET" | "HEAD"] | ["GET", "HEAD"] => ["GET", "HEAD"].map(str::to_owned).to_vec(),
            _ => asked.methods.keys().cloned().collect(),
        },
        paths: patterns(asked),
        websocket: asked.websocket,
        private: false,
        credential: None,
        on_secret: OnSecret::default(),
        max_upload_bytes: None,
        strip_tools: Vec::new(),
    }
}

/// Why a person should look twice.
fn doubts((host, scheme, port): &(String, Scheme, u16), asked: &Asked) -> Vec<&'static str> {
    let writes = asked.methods.keys().any(|method| method != "GET" && method != "HEAD");
    let usual = if *scheme == Scheme::Https { 443 } else { 80 };
    [
        (writes, "other methods than GET and HEAD send data out or change something"),
        (asked.websocket, "a WebSocket carries anything, both ways"),
        (*scheme == Scheme::Http, "without TLS anybody on the way reads and changes it"),
        (*port != usual, "it is not the usual port"),
        (host.parse::<std::net::IpAddr>().is_ok(), "an address says nothing of who is behind it"),
        (
            !host.contains('.') && !host.contains(':'),
            "the name has no domain, and means another host elsewhere",
        ),
        (asked.count == 1, "it was asked for once"),
    ]
    .into_iter()
    .filter_map(|(is_so, why)| is_so.then_some(why))
    .collect()
}

/// A few patterns that match every path: the longest beginnings of which there are few enough.
fn patterns(asked: &Asked) -> Vec<String> {
    let everything = || vec!["/**".to_owned()];
    if asked.any_path {
        return everything();
    }
    let longest = asked.paths.iter().map(Vec::len).max().unwrap_or_default();
    for length in (1..=longest).rev() {
        let cut = |path: &Vec<String>| match path.get(..length) {
            Some(beginning) if path.len() > length => format!("/{}/**", beginning.join("/")),
            _ => format!("/{}", path.join("/")),
        };
        let found: BTreeSet<String> = asked.paths.iter().map(cut).collect();
        if found.len() <= MAX_PATTERNS {
            let valid = found.iter().all(|pattern| pattern.parse::<RoutePath>().is_ok());
            return if valid { found.into_iter().collect() } else { everything() };
        }
    }
    everything()
}

/// Whether a part of a path is a word of the site rather than a number, a key or a name of the moment.
fn is_fixed(segment: &str) -> bool {
    let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~@+".contains(&byte));
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let hexadecimal =
        segment.len() >= 8 && segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let dots = !segment.is_empty() && segment.bytes().all(|byte| byte == b'.');
    let number = !segment.is_empty() && digits == segment.len();
    plain && !dots && !number && !hexadecimal && (segment.len() < LONG || digits == 0) && segment.len() <= 64
}
