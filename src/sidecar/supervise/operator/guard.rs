//! Who may come in: every request passes here before anything is read of its body.
//!
//! In this order: the `Host` (a name that was rebound to 127.0.0.1 is not ours), where the browser says that the request
//! comes from, then the secrets. What changes something needs the token, or a cookie and the key that belongs to it,
//! from a page of this very origin.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use super::secrets::Access;
use super::{Side, page};
use crate::policy::reason::Reason;
use crate::sidecar::supervise::desk::By;
use crate::sidecar::supervise::refused::coded;

/// What the container's health check asks.
pub(super) const HEALTH: &str = "/healthz";
/// The header with the page's key.
pub(super) const KEY: HeaderName = HeaderName::from_static("bottle-key");

/// What every answer has. No script but our own file, no frame around the page, nothing kept, nothing told to others.
const ALWAYS: [(HeaderName, HeaderValue); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Judges a request, and gives every answer its headers.
pub(super) async fn guard(State(side): State<Arc<Side>>, mut request: Request, next: Next) -> Response {
    let mut response = match judge(&side, &request) {
        Ok(by) => {
            if let Some(by) = by {
                request.extensions_mut().insert(by);
            }
            let refuse =
                |status, reason, message: String| Problem::plain(status, reason, &message).into_response();
            coded(next.run(request).await, refuse).await
        }
        Err(Turned::Away(problem)) => problem.into_response(),
        Err(Turned::ToLogin) => {
            page::closed(&side, Reason::Unauthorized, "Open this page from the terminal.")
        }
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Why a request goes no further.
enum Turned {
    /// It is refused.
    Away(Problem),
    /// A person came without a session.
    ToLogin,
}

impl From<Problem> for Turned {
    fn from(problem: Problem) -> Self {
        Self::Away(problem)
    }
}

/// Who asks; nobody for what everybody may have.
fn judge(side: &Side, request: &Request) -> Result<Option<By>, Turned> {
    let (headers, path) = (request.headers(), request.uri().path());
    if path == HEALTH {
        // The container's own check calls it by another name, and there is nothing to be had.
        return Ok(None);
    }
    let host = host(side, request)?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let for_people = path == "/" || path == "/login";
    came_from(headers, &host, reads && for_people)?;
    if path == "/login" || path.starts_with("/static/") {
        return Ok(None);
    }
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = value.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        return if side.secrets.is_token(token) { Ok(Some(By::Terminal)) } else { Err(wrong(side).into()) };
    }
    let access = cookie(side, headers)
        .and_then(|cookie| side.secrets.access(cookie, headers.get(KEY).map(HeaderValue::as_bytes)));
    match access {
        None if reads && path == "/" => Err(Turned::ToLogin),
        None => Err(wrong(side).into()),
        Some(_) if reads => Ok(Some(By::Page)),
        // A browser names the origin of everything that it sends but reads.
        Some(Access::Decide) if headers.contains_key(ORIGIN) => Ok(Some(By::Page)),
        Some(_) => Err(refused(Reason::OriginRefused, "this does not come from the page").into()),
    }
}

/// The host that the request names, if it is ours.
fn host(side: &Side, request: &Request) -> Result<String, Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => "",
    };
    let ours = |host: &str| {
        let name = host.rsplit_once(':').filter(|(_, port)| *port == side.port.to_string());
        name.is_some_and(|(name, _)| name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
    };
    if ours(host) && request.uri().authority().is_none_or(|authority| authority.as_str() == host) {
        return Ok(host.to_ascii_lowercase());
    }
    Err(refused(Reason::HostUnknown, "this host name is not the page's"))
}

/// Whether the request comes from our own origin, as far as the browser says. A person may come to a page from anywhere.
fn came_from(headers: &HeaderMap, host: &str, for_people: bool) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin.as_bytes() == format!("http://{host}").as_bytes(),
        (Some(_), Some(_)) => false,
    };
    let site = match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => true,
        Some(_) => {
            for_people
                && text("sec-fetch-mode") == Some("navigate")
                && text("sec-fetch-dest") == Some("document")
        }
    };
    if origin && site {
        return Ok(());
    }
    Err(refused(Reason::OriginRefused, "this comes from another page"))
}

/// The session's cookie. Another one of its name is somebody's attempt to put one beside it.
pub(super) fn cookie<'a>(side: &Side, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let name = side.cookie_name();
    let cookies =
        headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut ours =
        cookies.filter_map(|cookie| cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    ours.next().filter(|_| ours.next().is_none())
}

fn wrong(side: &Side) -> Problem {
    if side.secrets.too_many_wrong() {
        return Problem::plain(
            StatusCode::TOO_MANY_REQUESTS,
            Reason::TooManyAttempts,
            "there have been too many wrong tokens",
        );
    }
    Problem::plain(StatusCode::UNAUTHORIZED, Reason::Unauthorized, "no token, or not the one of this bottle")
}

fn refused(reason: Reason, message: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, reason, message, "open the page with `bottle requests open`")
}
