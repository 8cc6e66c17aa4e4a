//! A refusal, and the HTTP answer that tells it.

use std::borrow::Cow;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::body::{self, Body, BodyError};
use crate::policy::ask::Ask;
use crate::policy::reason::Reason;
use crate::policy::rules::{Asking, Denied};
use crate::sidecar::REASON;

/// Why a request was not answered by its upstream.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The cause.
    pub(crate) reason: Reason,
    /// The rule that decided, as `file:line`.
    pub(crate) rule: Option<String>,
    /// What happened, for people; nothing secret.
    pub(crate) detail: String,
    /// What would allow or mend it; without it the reason's own hint.
    pub(crate) hint: Option<String>,
    /// What the agent could ask for.
    pub(crate) ask: Option<Box<Asking>>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, rule: None, detail: detail.into(), hint: None, ask: None }
    }

    /// The status of the answer: 4xx where the request is the cause, 502 and 504 where what lies beyond it is.
    pub(crate) fn status(&self) -> StatusCode {
        match self.reason {
            Reason::RequestMalformed | Reason::PathAmbiguous => StatusCode::BAD_REQUEST,
            Reason::HostMismatch => StatusCode::MISDIRECTED_REQUEST,
            Reason::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Reason::UploadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::EgressBusy | Reason::ScannerUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Reason::CredentialMissing
            | Reason::NameUnresolved
            | Reason::UpstreamDown
            | Reason::UpstreamTls
            | Reason::UpstreamInvalid
            | Reason::ScrubFailed
            | Reason::EgressFailed => StatusCode::BAD_GATEWAY,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// The answer to the request with this id. What the agent sent is in it only as JSON writes it, or without
    /// control characters: an answer can't be made to carry a header or a tag.
    pub(crate) fn answer(&self, id: &str, format: Format) -> Response<Body> {
        let hint = self.hint.as_deref().unwrap_or_else(|| self.reason.hint());
        let hint = match self.ask.as_deref() {
            Some(Asking { url, ask }) => {
                Cow::Owned(format!("{hint}; or ask: POST {url}/requests (MCP tool {})", ask.tool()))
            }
            None => Cow::Borrowed(hint),
        };
        let hint = hint.as_ref();
        let message = self.message(hint);
        let (text, kind) = match format {
            Format::Json => {
                let told = Told {
                    code: self.reason.code(),
                    rule: self.rule.as_deref(),
                    hint,
                    retry: self.reason.retry_helps(),
                    id,
                    message: &message,
                    ask: self.ask.as_deref().map(|asking| &asking.ask),
                };
                // Values that are text, numbers and booleans always have a JSON form.
                let mut text = serde_json::to_string(&told).unwrap_or_default();
                text.push('\n');
                (text, "application/json")
            }
            Format::Text => (format!("{message} [{id}]\n"), "text/plain; charset=utf-8"),
        };
        let mut response = Response::new(body::full(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REASON, HeaderValue::from_static(self.reason.code()));
        response
    }

    fn message(&self, hint: &str) -> String {
        let did = if self.status() == StatusCode::BAD_GATEWAY || self.status() == StatusCode::GATEWAY_TIMEOUT
        {
            "could not complete"
        } else {
            "refused"
        };
        let mut message = format!("egress {did} this request ({})", self.reason.code());
        for (part, separator) in [(self.detail.as_str(), ": "), (hint, "; ")] {
            if !part.is_empty() {
                message.push_str(separator);
                message.extend(part.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }));
            }
        }
        message
    }
}

/// The JSON form; part of the documented interface.
#[derive(Serialize)]
struct Told<'a> {
    code: &'static str,
    rule: Option<&'a str>,
    hint: &'a str,
    retry: bool,
    id: &'a str,
    message: &'a str,
    /// The body of the request that would ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<&'a Ask>,
}

impl From<BodyError> for Refusal {
    fn from(BodyError { reason, detail }: BodyError) -> Self {
        Self::new(reason, detail)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let Denied { reason, rule, hint, ask } = denied;
        Self { reason, rule, detail: String::new(), hint: Some(hint), ask }
    }
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// To a program.
    Json,
    /// To a person.
    Text,
}

impl Format {
    /// What the client prefers (RFC 9110, section 12.5.1): text only where it is wanted more than JSON.
    pub(crate) fn preferred(headers: &HeaderMap) -> Self {
        // What most programs say, on the way of every request.
        if headers.get_all(ACCEPT).iter().all(|value| value == "*/*") {
            return Self::Json;
        }
        let quality = |media| quality(headers, media);
        let text = quality("text/plain").max(quality("text/html"));
        if text > quality("application/json") { Self::Text } else { Self::Json }
    }
}

/// How much a media type is wanted: the most specific range that names it decides.
fn quality(headers: &HeaderMap, media: &str) -> f32 {
    let major = media.split_once('/').map_or(media, |(major, _)| major);
    let mut found = (0, 0.0);
    for value in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let specific = if name.eq_ignore_ascii_case(media) {
                3
            } else if name.strip_suffix("/*").is_some_and(|name| name.eq_ignore_ascii_case(major)) {
                2
            } else {
                u8::from(name == "*/*")
            };
            if specific > found.0 {
                let weight =
                    parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
                found = (specific, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)));
            }
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use http_body_util::BodyExt as _;

    use super::{Format, Refusal};
    use crate::policy::reason::Reason;

    fn preferred(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        Format::preferred(&headers)
    }

    async fn told(refusal: &Refusal, format: Format) -> (http::response::Parts, String) {
        let (parts, body) = refusal.answer("id-1", format).into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_program_gets_json_and_a_browser_a_sentence() {
        assert_eq!(Format::preferred(&HeaderMap::new()), Format::Json);
        assert_eq!(preferred("*/*"), Format::Json);
        assert_eq!(preferred("application/json, text/plain, */*"), Format::Json);
        assert_eq!(preferred("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Text);
        assert_eq!(preferred("text/plain"), Format::Text);
        assert_eq!(preferred("text/plain;q=0.1, application/json;q=0.9"), Format::Json);
        assert_eq!(preferred("text/*;q=0.9, application/*;q=0.2"), Format::Text);
    }

    #[tokio::test]
    async fn what_the_agent_sent_is_quoted_as_json_quotes_it() {
        let refusal = Refusal {
            reason: Reason::PathDenied,
            rule: Some("bottle.yaml:7".into()),
            detail: String::new(),
            hint: Some("allow `/\"}<script>\r\n`".into()),
            ask: None,
        };
        let (parts, text) = told(&refusal, Format::Json).await;
        assert_eq!(parts.status, 403);
        assert_eq!(parts.headers.get("x-bottle-reason").unwrap(), "path-denied");
        assert_eq!(parts.headers.get("cache-control").unwrap(), "no-store");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["code"], "path-denied");
        assert_eq!(value["rule"], "bottle.yaml:7");
        assert_eq!(value["hint"], "allow `/\"}<script>\r\n`");
        assert_eq!(value["retry"], false);
        assert_eq!(value["id"], "id-1");
        assert!(!value["message"].as_str().unwrap().contains('\n'));
    }

    #[tokio::test]
    async fn a_person_gets_one_line_that_is_no_markup() {
        let refusal = Refusal::new(Reason::UpstreamDown, "connection\r\nrefused");
        let (parts, text) = told(&refusal, Format::Text).await;
        assert_eq!(parts.status, 502);
        assert_eq!(parts.headers.get("content-type").unwrap(), "text/plain; charset=utf-8");
        assert_eq!(parts.headers.get("x-content-type-options").unwrap(), "nosniff");
        assert!(text.starts_with("egress could not complete this request (upstream-down): connection"));
        assert_eq!(text.lines().count(), 1);
    }
}
