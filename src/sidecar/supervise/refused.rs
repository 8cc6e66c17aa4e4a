//! Why supervise refuses something, to the agent and to the operator alike.

use axum::body::to_bytes;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::policy::reason::Reason;
use crate::sidecar::REASON;
use crate::sidecar::text::neutral;

/// The most bytes of what a library says when it refuses.
const MAX_SAID: usize = 4096;

/// A refusal: a reason for programs, a sentence for people, and what would help.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message} ({reason}); {hint}")]
pub(crate) struct Refused {
    /// The cause.
    pub(crate) reason: Reason,
    /// What happened.
    pub(crate) message: String,
    /// What would help.
    pub(crate) hint: String,
}

impl Refused {
    pub(crate) fn new(reason: Reason, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: hint.into() }
    }

    /// With the hint that the reason has itself.
    pub(crate) fn plain(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(reason, message, reason.hint())
    }
}

/// The answer of a refusal, with its reason where programs find it whatever the body is.
pub(crate) fn named(mut answer: Response, reason: Reason) -> Response {
    answer.headers_mut().insert(REASON, HeaderValue::from_static(reason.code()));
    answer
}

/// Gives a refusal that a library made in our place a reason and the body that all of them have. What is JSON already, such
/// as an answer of MCP, keeps its body.
pub(crate) async fn coded(
    answer: Response,
    refuse: impl FnOnce(StatusCode, Reason, String) -> Response,
) -> Response {
    let status = answer.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || answer.headers().contains_key(REASON) {
        return answer;
    }
    let reason = of_status(status);
    let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(b"application/json") {
        return named(answer, reason);
    }
    let (mut parts, body) = answer.into_parts();
    let said = to_bytes(body, MAX_SAID).await.unwrap_or_default();
    let said = match said.trim_ascii() {
        b"" => status.canonical_reason().unwrap_or("refused").to_ascii_lowercase(),
        said => neutral(said),
    };
    let mut answer = refuse(status, reason, said);
    if let Some(allow) = parts.headers.remove(ALLOW) {
        answer.headers_mut().insert(ALLOW, allow);
    }
    answer
}

fn of_status(status: StatusCode) -> Reason {
    match status {
        StatusCode::NOT_FOUND => Reason::PathUnknown,
        StatusCode::METHOD_NOT_ALLOWED => Reason::MethodUnknown,
        StatusCode::PAYLOAD_TOO_LARGE => Reason::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::NOT_ACCEPTABLE => Reason::TypeUnsupported,
        status if status.is_server_error() => Reason::SuperviseFailed,
        _ => Reason::BodyInvalid,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::header::{ALLOW, CONTENT_TYPE};
    use axum::response::{IntoResponse as _, Response};

    use super::{coded, named};
    use crate::policy::reason::Reason;
    use crate::sidecar::REASON;

    /// The reason and the body of what becomes of an answer.
    async fn became(status: u16, kind: &str, body: &'static str) -> (Option<String>, String) {
        let answer = Response::builder().status(status).header(CONTENT_TYPE, kind).header(ALLOW, "GET");
        let answer = coded(answer.body(Body::from(body)).unwrap(), |status, reason, said| {
            named((status, format!("refused: {said}")).into_response(), reason)
        });
        let answer = answer.await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()[ALLOW], "GET");
        let reason = answer.headers().get(REASON).map(|code| code.to_str().unwrap().to_owned());
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (reason, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_a_library_refuses_gets_a_reason_and_harmless_words() {
        let plain = async |status, body| became(status, "text/plain", body).await;
        let is = |reason: Reason, body: &str| (Some(reason.code().to_owned()), body.to_owned());
        assert_eq!(plain(400, "no \u{1b}[2Jid").await, is(Reason::BodyInvalid, "refused: no ?[2Jid"));
        assert_eq!(plain(404, "").await, is(Reason::PathUnknown, "refused: not found"));
        assert_eq!(plain(405, "").await, is(Reason::MethodUnknown, "refused: method not allowed"));
        assert_eq!(plain(406, "JSON\n").await, is(Reason::TypeUnsupported, "refused: JSON"));
        assert_eq!(plain(413, "x").await, is(Reason::BodyTooLarge, "refused: x"));
        assert_eq!(plain(500, "x").await, is(Reason::SuperviseFailed, "refused: x"));
        assert_eq!(plain(200, "fine").await, (None, "fine".to_owned()));
        let json = became(400, "application/json", r#"{"jsonrpc":"2.0"}"#).await;
        assert_eq!(json, is(Reason::BodyInvalid, r#"{"jsonrpc":"2.0"}"#));
    }
}
