//! Refusals, and what would allow the very request that was refused.
//!
//! A hint repeats what the agent asked for only in the manifest's notation and only where that is short and plain: it is
//! read by the agent, by logs and by the operator.

use super::super::ask::RouteAsk;
use super::super::egress::{Route, Scheme};
use super::super::host::Host;
use super::super::path::{Ambiguous, Pattern, Readings};
use super::super::reason::Reason;
use super::check::ANY;
use super::compiled::Stage;
use super::{Denied, Request, Target};

/// The longest path and method that are suggested.
const MAX_PATH: usize = 200;
const MAX_METHOD: usize = 20;
/// The most patterns that are suggested for one path.
const MAX_PATTERNS: usize = 3;

/// The refusal by a deny rule.
pub(super) fn denied(source: &str) -> Denied {
    let hint = format!("change the deny rule at {source}: it wins over every route and grant");
    Denied { reason: Reason::RouteDenied, rule: Some(source.to_owned()), hint, ask: None }
}

/// The refusal of a request that no route allows, and what could be asked for; `nearest` is the route that went farthest
/// along with it.
pub(super) fn refused(
    request: &Request<'_>,
    nearest: Option<(Stage, &Route)>,
    readings: &Result<Readings<'_>, Ambiguous>,
) -> (Denied, Option<RouteAsk>) {
    let reason = match nearest.map(|(stage, _)| stage) {
        None => missing(request.target.host),
        Some(Stage::Port) => Reason::PortDenied,
        Some(Stage::Method) => Reason::MethodDenied,
        Some(Stage::Path) if readings.is_err() && request.path != "*" => Reason::PathAmbiguous,
        Some(Stage::Path) => Reason::PathDenied,
        Some(Stage::Upgrade) => Reason::UpgradeDenied,
    };
    let nearest = nearest.map(|(_, route)| route);
    let keys = readings.as_ref().ok().and_then(|readings| asked(request, readings));
    let ask = requestable(request, reason, keys.as_ref());
    let hint = match (reason, nearest) {
        (Reason::UpgradeDenied, Some(route)) => {
            format!("write `websocket: true` in the route at {}", route.source)
        }
        (Reason::MethodDenied, _) if !is_nameable(request.method) => {
            "send a method in capital letters, and not CONNECT: a route can name no other".to_owned()
        }
        (Reason::PathDenied, _) if request.path == "*" => {
            "send a path: a route allows paths, and `OPTIONS *` has none".to_owned()
        }
        _ => match readings {
            Err(ambiguous) if reason == Reason::PathAmbiguous => format!("send another path: {ambiguous}"),
            Err(_) => reason.hint().to_owned(),
            Ok(_) => match keys {
                Some(keys) => with_route(&request.target, &keys.text(request), nearest),
                None if reason == Reason::PathDenied => {
                    format!("{}; a route must allow each of its readings", reason.hint())
                }
                None => reason.hint().to_owned(),
            },
        },
    };
    (Denied { reason, rule: nearest.map(|route| route.source.clone()), hint, ask: None }, ask)
}

/// The refusal of all requests to a target.
pub(super) fn refused_target(target: &Target<'_>, nearest: Option<&Route>) -> (Denied, Option<RouteAsk>) {
    let reason = if nearest.is_some() { Reason::PortDenied } else { missing(target.host) };
    let hint = with_route(target, "", nearest);
    let ask = matches!(reason, Reason::RouteMissing | Reason::PortDenied).then(|| route_ask(target));
    (Denied { reason, rule: nearest.map(|route| route.source.clone()), hint, ask: None }, ask)
}

/// What could be asked for, to have this very request allowed: none where it is the request that must change, or where
/// only the manifest can say it.
fn requestable(request: &Request<'_>, reason: Reason, keys: Option<&Keys>) -> Option<RouteAsk> {
    let whole_host = match reason {
        Reason::RouteMissing | Reason::PortDenied => true,
        Reason::MethodDenied | Reason::PathDenied | Reason::UpgradeDenied => false,
        _ => return None,
    };
    // What a pattern can't say is asked for as all paths, where nothing of the host is allowed yet.
    let paths = match keys {
        Some(keys) => keys.paths.clone(),
        None if whole_host => Vec::new(),
        None => return None,
    };
    let methods = match request.method {
        "GET" | "HEAD" => vec!["GET".to_owned(), "HEAD".to_owned()],
        method if is_nameable(method) => vec![method.to_owned()],
        _ => return None,
    };
    Some(RouteAsk { methods, paths, websocket: request.websocket, ..route_ask(&request.target) })
}

fn route_ask(target: &Target<'_>) -> RouteAsk {
    RouteAsk {
        host: target.host.to_string(),
        scheme: target.scheme,
        port: (target.port != usual_port(target.scheme)).then_some(target.port),
        methods: Vec::new(),
        paths: Vec::new(),
        websocket: false,
    }
}

fn usual_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
    }
}

fn missing(host: &Host) -> Reason {
    match host {
        Host::Name(_) => Reason::RouteMissing,
        Host::Address(_) => Reason::AddressDenied,
    }
}

fn with_route(target: &Target<'_>, keys: &str, nearest: Option<&Route>) -> String {
    let host = match target.host {
        Host::Name(name)
            if name.contains('.') && name.starts_with(|first: char| first.is_ascii_alphabetic()) =>
        {
            name.clone()
        }
        Host::Name(name) => quoted(name),
        Host::Address(address) => quoted(&address.to_string()),
    };
    let scheme = match target.scheme {
        Scheme::Https => "",
        Scheme::Http => ", scheme: http",
    };
    let ports = if target.port == usual_port(target.scheme) {
        String::new()
    } else {
        format!(", ports: [{}]", target.port)
    };
    let widen = nearest.map(|route| format!(", or widen the one at {}", route.source)).unwrap_or_default();
    format!(
        "add a route under `egress: routes:` in bottle.yaml: `{{ host: {host}{scheme}{ports}{keys} }}`{widen}"
    )
}

/// The keys of a route that allows one method and path, and no other path.
struct Keys {
    methods: String,
    paths: Vec<String>,
}

impl Keys {
    /// As the manifest writes them.
    fn text(&self, request: &Request<'_>) -> String {
        let Self { methods, paths } = self;
        let websocket = if request.websocket { ", websocket: true" } else { "" };
        let paths: Vec<_> = paths.iter().map(|path| quoted(path)).collect();
        format!("{methods}, paths: [{}]{websocket}", paths.join(", "))
    }
}

/// The keys of a route that allows this method and path, and no other path; `None` where a pattern can't say that.
fn asked(request: &Request<'_>, readings: &Readings<'_>) -> Option<Keys> {
    let methods = match request.method {
        "GET" | "HEAD" => String::new(),
        method @ ("DELETE" | "OPTIONS" | "PATCH" | "POST" | "PUT") => format!(", methods: [{method}]"),
        method if is_nameable(method) => format!(", methods: [{}]", quoted(method)),
        _ => return None,
    };
    let mut patterns: Vec<Pattern> = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    // The path as it was sent is the first of the readings, but for its `%2f`.
    for (reading, text) in readings.each().zip(std::iter::once(request.path).chain(readings.each().skip(1))) {
        if patterns.iter().any(|pattern| pattern.matches(reading)) {
            continue;
        }
        // Before anything is compared: a long path with wildcards of its own would be a pattern that takes long to match.
        if text.len() > MAX_PATH || text.contains(['*', '`']) || paths.len() == MAX_PATTERNS {
            return None;
        }
        let text = ascii(text);
        let pattern = Pattern::parse(&text).ok().filter(|pattern| pattern.matches(reading))?;
        if text.len() > MAX_PATH {
            return None;
        }
        patterns.push(pattern);
        paths.push(text);
    }
    Some(Keys { methods, paths })
}

/// A path in the form in which a client sends it: what is beyond ASCII as `%` and two digits.
fn ascii(text: &str) -> String {
    let mut sent = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() {
            sent.push(char::from(byte));
        } else {
            sent.push('%');
            sent.extend(
                [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()),
            );
        }
    }
    sent
}

/// Whether a route can name the method, and does not mean all of them by it.
fn is_nameable(method: &str) -> bool {
    let capital = method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    capital && (1..=MAX_METHOD).contains(&method.len()) && method != ANY && method != "CONNECT"
}

/// A double-quoted scalar, the same in JSON and YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
