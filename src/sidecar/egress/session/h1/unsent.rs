//! A request that nobody has sent, read and judged as one that the agent sends: `bottle explain` says nothing that egress
//! itself would not do.

use std::sync::Arc;

use http::Method;

use super::{Scope, head, place, websocket};
use crate::policy::egress::{Route, Scheme};
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::policy::rules::{Request, Rules};
use crate::sidecar::egress::http1::{HeadLimits, RequestHead, parse_request};
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::session::target::{Target, absolute};

/// The limits of a head that egress has unless it is told otherwise.
const LIMITS: HeadLimits = HeadLimits { bytes: 64 << 10, headers: 128 };

/// What a client that opens a WebSocket sends beside.
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// Judges a request for an `http://` or `https://` URL; the route that is given decides about it.
///
/// # Errors
///
/// The refusal that the agent would get.
pub(crate) fn judge(rules: &Rules, method: &str, url: &str, websocket: bool) -> Result<Arc<Route>, Refusal> {
    let malformed = |detail| Refusal::new(Reason::RequestMalformed, detail);
    // A line of its own in what is read below would be another request than the one that is asked about.
    if [method, url].iter().any(|text| text.contains(|c: char| c.is_whitespace() || c.is_control())) {
        return Err(malformed("a method and a URL have no white space and no control characters"));
    }
    let (scheme, authority, _) = absolute(url).ok_or_else(|| malformed("the URL has no scheme"))?;
    let scope = if scheme.eq_ignore_ascii_case("https") {
        let target = Target::url(Scheme::Https, authority)?;
        // As CONNECT is answered: an address has no SNI by which TLS could begin.
        if matches!(target.host, Host::Address(_)) {
            rules.judge_target(&target.as_rules())?;
        }
        Scope::Inside(Arc::new(target))
    } else {
        Scope::Front
    };
    let upgrade = if websocket { UPGRADE } else { "" };
    let text = format!("{method} {url} HTTP/1.1\r\nhost: {authority}\r\n{upgrade}\r\n");
    let read = parse_request(text.as_bytes(), LIMITS).map_err(|malformed| head::refusal(&malformed))?;
    let (read, _) = read.ok_or_else(|| malformed("the request has no end"))?;
    judge_head(rules, &scope, read)
}

fn judge_head(rules: &Rules, scope: &Scope, read: RequestHead) -> Result<Arc<Route>, Refusal> {
    let RequestHead { method, target, version, mut headers, framing, upgrade, .. } = read;
    // Inside of a session it is the same; here there is none that it could be inside of.
    if method == Method::CONNECT {
        return Err(Refusal::new(
            Reason::RequestMalformed,
            "CONNECT opens a session; ask about a request in it",
        ));
    }
    let (target, path) = place::request(scope, &method, &target, version, &headers)?;
    if let Some(protocol) = &upgrade {
        websocket::check(protocol, &method, framing, &mut headers)?;
    }
    let request = Request {
        target: target.as_rules(),
        method: method.as_str(),
        path: path.path(),
        websocket: upgrade.is_some(),
    };
    Ok(rules.judge(&request)?)
}
