//! The heads of answers.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode, response};

use crate::sidecar::egress::http1::{ResponseHead, strip_hop_by_hop};

/// Removes the fields of the connection. Where there is no body by definition, Content-Length is a statement about
/// another answer, and stays (RFC 9110, section 8.6).
pub(super) fn clean(method: &Method, status: StatusCode, headers: &mut HeaderMap) {
    let bodiless = *method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    let length = headers.get(CONTENT_LENGTH).filter(|_| bodiless).cloned();
    strip_hop_by_hop(headers);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// The head of an HTTP/1 answer as it is passed on.
pub(super) fn parts(method: &Method, head: ResponseHead) -> response::Parts {
    let ResponseHead { status, mut headers, .. } = head;
    clean(method, status, &mut headers);
    let mut parts = Response::new(()).into_parts().0;
    parts.status = status;
    parts.headers = headers;
    parts
}
