//! Where an HTTP/1 request goes, by its target and its Host (RFC 9112, section 3.2).

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use super::Scope;
use crate::policy::egress::Scheme;
use crate::policy::reason::Reason;
use crate::sidecar::egress::http1::{RequestHead, Version};
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::session::target::{Target, absolute, path};

/// The place that CONNECT names.
pub(super) fn connect(head: &RequestHead) -> Result<Target, Refusal> {
    let target = Target::connect(&head.target)?;
    target.check_connect_host(&head.headers)?;
    Ok(target)
}

/// The place and the path of any other request.
pub(super) fn request(
    scope: &Scope,
    method: &Method,
    target: &str,
    version: Version,
    headers: &HeaderMap,
) -> Result<(Arc<Target>, PathAndQuery), Refusal> {
    if method == Method::CONNECT {
        return Err(malformed("CONNECT is only for the proxy itself, not within a session"));
    }
    let (place, path) = match scope {
        Scope::Inside(place) => (Arc::clone(place), inside(place, target)?),
        Scope::Front => {
            let (place, path) = front(target)?;
            (Arc::new(place), path)
        }
    };
    place.check_host(headers, version == Version::Http11)?;
    Ok((place, path))
}

fn inside(place: &Target, target: &str) -> Result<PathAndQuery, Refusal> {
    if target.starts_with('/') {
        return path(target);
    }
    match absolute(target) {
        Some((scheme, authority, rest)) if scheme.eq_ignore_ascii_case("https") && place.is(authority) => {
            path(rest)
        }
        Some(_) => {
            Err(Refusal::new(Reason::HostMismatch, "the request target names another place than CONNECT did"))
        }
        None => Err(malformed("the request target is neither a path nor a URL")),
    }
}

fn front(target: &str) -> Result<(Target, PathAndQuery), Refusal> {
    let hint = |detail, hint: &str| Refusal { hint: Some(hint.to_owned()), ..malformed(detail) };
    match absolute(target) {
        Some((scheme, authority, rest)) if scheme.eq_ignore_ascii_case("http") => {
            Ok((Target::url(Scheme::Http, authority)?, path(rest)?))
        }
        Some((scheme, ..)) if scheme.eq_ignore_ascii_case("https") => Err(hint(
            "a URL with https was sent to the proxy in the clear",
            "send CONNECT and speak TLS through it; most clients do when HTTPS_PROXY is set",
        )),
        Some(_) => Err(hint("the URL's scheme is not passed on", "use an https URL")),
        None => Err(hint(
            "this is a proxy, and the request is not one for a proxy",
            "send CONNECT for https, or the whole URL for http; most clients do when HTTPS_PROXY and HTTP_PROXY are set",
        )),
    }
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Reason::RequestMalformed, detail)
}
