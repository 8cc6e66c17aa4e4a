//! Looks at a call before it is read.
//!
//! The agent may run a browser, and a page in there is not the agent. Such a page can make a name of its own lead here
//! (DNS rebinding), or send a form to our name: so the name must be ours, and no other page's origin may stand with it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::super::refused::coded;
use super::http::PATHS;
use super::problem::Problem;
use crate::policy::host::{Authority, Host};
use crate::policy::reason::Reason;

/// The most bytes of a body.
pub(super) const MAX_BODY: usize = 64 << 10;
/// How long a body may take.
const BODY: Duration = Duration::from_secs(10);
/// Where the sidecar's own health is asked for, by whatever name the engine uses.
pub(super) const HEALTH: &str = "/healthz";

/// The names by which we are called.
#[derive(Debug)]
pub(super) struct Names(Vec<Host>);

impl Names {
    pub(super) fn new(names: &[&str]) -> Self {
        Self(names.iter().filter_map(|name| Host::normalise(name).ok()).collect())
    }

    /// As authorities without a port, for another library's check of the same.
    pub(super) fn list(&self) -> Vec<String> {
        self.0.iter().map(Host::to_string).collect()
    }

    fn has(&self, authority: &str) -> bool {
        Authority::parse(authority).is_ok_and(|authority| self.0.contains(&authority.host))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !only(headers, header::HOST).is_some_and(|host| self.has(host)) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                Reason::HostUnknown,
                "this is not called by its own name",
                format!("call it as one of {}", self.list().join(", ")),
            ));
        }
        if headers.contains_key(header::ORIGIN) {
            let own = only(headers, header::ORIGIN)
                .and_then(|origin| origin.strip_prefix("http://"))
                .is_some_and(|authority| self.has(authority));
            if !own {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    Reason::OriginRefused,
                    "a page of another origin can't ask",
                    "call without a browser",
                ));
            }
        }
        Ok(())
    }
}

/// The value of a field that is there once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Lets a call through whose name, origin and size are right, with its body read.
pub(super) async fn guard(State(names): State<Arc<Names>>, request: Request, next: Next) -> Response {
    let mut response = match admit(&names, request).await {
        Ok(request) => {
            let hint = format!("try {PATHS}");
            coded(next.run(request).await, |status, reason, message| {
                Problem::new(status, reason, message, hint).into_response()
            })
            .await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn admit(names: &Names, request: Request) -> Result<Request, Problem> {
    if request.uri().path() != HEALTH {
        names.check(request.headers())?;
    }
    if request.method() == Method::POST && !is_json(request.headers()) {
        // Also what keeps a page's plain form away.
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::TypeUnsupported,
            "the body must be JSON",
            "send `Content-Type: application/json`",
        ));
    }
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Reason::BodyTooLarge,
                format!("the body is larger than {MAX_BODY} bytes"),
                "ask for less, with patterns, and in few words",
            ));
        }
        Ok(Err(_)) => return Err(Problem::invalid("the body can't be read", "send it again")),
        Err(_) => {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                Reason::BodySlow,
                format!("the body was not there after {} s", BODY.as_secs()),
                "send it again",
            ));
        }
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn is_json(headers: &HeaderMap) -> bool {
    only(headers, header::CONTENT_TYPE).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

    use super::Names;

    fn passes(fields: &[(HeaderName, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        Names::new(&["supervise", "127.0.0.1", "::1"]).check(&headers).is_ok()
    }

    #[test]
    fn it_is_called_by_its_own_names_at_any_port() {
        for host in ["supervise", "SUPERVISE:7070", "127.0.0.1:1", "[::1]:80"] {
            assert!(passes(&[(header::HOST, host)]), "`{host}` was refused");
        }
        for host in [
            "",
            "evil.example.org",
            "supervise.evil.example.org",
            "supervise:x",
            "x@supervise",
            "supervise@evil.example.org",
            "127.0.0.1.nip.example.org",
            "127.0.0.2",
            "supervise, evil.example.org",
            "0.0.0.0",
        ] {
            assert!(!passes(&[(header::HOST, host)]), "`{host}` was accepted");
        }
        assert!(!passes(&[]));
        assert!(!passes(&[(header::HOST, "supervise"), (header::HOST, "evil.example.org")]));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let from = |origin| passes(&[(header::HOST, "supervise:7331"), (header::ORIGIN, origin)]);
        assert!(from("http://supervise:7331"));
        for origin in [
            "null",
            "https://evil.example.org",
            "http://supervise.evil.example.org",
            "file://",
            "supervise",
            "",
        ] {
            assert!(!from(origin), "`{origin}` was accepted");
        }
    }
}
