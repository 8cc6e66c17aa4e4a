//! The head of a response.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::head::{self, Announced, Kind, Progress, Slots};
use super::{Framing, HeadLimits, Malformed, ResponseHead};

/// Reads the head of a response to a request with `method`; otherwise as [`super::parse_request`]. A 1xx is a head of
/// its own.
///
/// # Errors
///
/// As [`super::parse_request`].
pub fn parse_response(
    bytes: &[u8],
    method: &Method,
    limits: HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, Malformed> {
    resume_response(&mut Progress::default(), bytes, method, limits)
}

/// As [`parse_response`], for a head that arrives in pieces, as [`super::resume_request`].
///
/// # Errors
///
/// As [`super::parse_request`].
pub fn resume_response(
    progress: &mut Progress,
    bytes: &[u8],
    method: &Method,
    limits: HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, Malformed> {
    let Some(lines) = progress.advance(bytes, Kind::Response, limits)? else { return Ok(None) };
    let bytes = Bytes::copy_from_slice(lines.bytes);
    let mut slots = Slots::new(lines.fields);
    let mut parsed = httparse::Response::new(slots.as_mut());
    let read = parsed.parse(&bytes).map_err(head::refused)?;
    if read.is_complete() != lines.complete.is_some() {
        return Err(Malformed::Ambiguous("a head whose end isn't clear"));
    }
    let version = head::version(parsed.version)?;
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Malformed::Ambiguous("a status line without a status code of three digits"))?;
    let headers = head::fields(&bytes, parsed.headers.get(..lines.fields).unwrap_or_default())?;
    let announced = head::announced(&headers, version, true)?;
    let Some(length) = lines.complete else { return Ok(None) };

    let framing = framing(status, method, announced);
    let keep_alive = framing != Framing::Close
        && status != StatusCode::SWITCHING_PROTOCOLS
        && !contradicts(status, announced)
        && head::persists(&headers, version);
    Ok(Some((ResponseHead { status, version, headers, framing, keep_alive }, length)))
}

/// RFC 9112, section 6.3.
fn framing(status: StatusCode, method: &Method, announced: Announced) -> Framing {
    let tunnel = *method == Method::CONNECT && status.is_success();
    if *method == Method::HEAD || tunnel || has_no_body(status) || status == StatusCode::NOT_MODIFIED {
        return Framing::Empty;
    }
    match announced {
        Announced::Nothing => Framing::Close,
        Announced::Length(length) => Framing::Length(length),
        Announced::Chunked => Framing::Chunked,
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// Whether a body is announced where there can't be one. The sender may send it all the same, so that what follows isn't
/// taken for another message.
fn contradicts(status: StatusCode, announced: Announced) -> bool {
    has_no_body(status) && !matches!(announced, Announced::Nothing | Announced::Length(0))
}
