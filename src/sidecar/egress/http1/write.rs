//! Writing heads: always from parsed parts, so that nothing is written that wasn't understood.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use super::{Framing, Version};

/// Writes the head of a request. `headers` has neither Host nor framing; were they there, they would not be written.
pub fn write_request(
    out: &mut BytesMut,
    method: &Method,
    target: &str,
    host: &str,
    headers: &HeaderMap,
    framing: Framing,
    upgrade: Option<&str>,
) {
    out.reserve(64 + target.len() + host.len() + headers.len() * 48);
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    put_visible(out, target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    put_visible(out, host);
    out.extend_from_slice(b"\r\n");
    put_fields(out, headers, |name| !is_written_here(name) && *name != header::HOST);
    match framing {
        // Servers expect a length where the method means that there is a body (RFC 9110, section 8.6).
        Framing::Empty if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => put_length(out, 0),
        Framing::Empty => {}
        Framing::Length(length) => put_length(out, length),
        // The body of a request can't end with the connection; read as chunks, what comes is not taken for a request.
        Framing::Chunked | Framing::Close => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if let Some(upgrade) = upgrade {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        put_visible(out, upgrade);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response to a client of `version`; `close` says that the connection ends with it.
///
/// The version of a response is HTTP/1.1 whatever the client's is (RFC 9110, section 6.2). With [`Framing::Empty`] a
/// Content-Length in `headers` is written: that of an answer to HEAD, or of a 304. An Upgrade in `headers` is written
/// with 101 only.
pub fn write_response(
    out: &mut BytesMut,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    close: bool,
) {
    let framing = framing.towards(version);
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    let length_stays =
        framing == Framing::Empty && !status.is_informational() && status != StatusCode::NO_CONTENT;
    out.reserve(96 + headers.len() * 48);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    put_fields(out, headers, |name| {
        !is_written_here(name)
            || (length_stays && *name == header::CONTENT_LENGTH)
            || (switching && *name == header::UPGRADE)
    });
    match framing {
        Framing::Empty | Framing::Close => {}
        Framing::Length(length) => put_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if switching {
        out.extend_from_slice(b"connection: upgrade\r\n");
    } else if close || framing == Framing::Close {
        out.extend_from_slice(b"connection: close\r\n");
    } else if version == Version::Http10 && !status.is_informational() {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields that only the writer writes.
static WRITTEN_HERE: [HeaderName; 4] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE];

fn is_written_here(name: &HeaderName) -> bool {
    WRITTEN_HERE.contains(name)
}

/// Writes those header fields whose name is wanted. A [`HeaderMap`] holds no name or value that could end a line.
pub(super) fn put_fields(out: &mut BytesMut, headers: &HeaderMap, wanted: impl Fn(&HeaderName) -> bool) {
    for (name, value) in headers {
        if wanted(name) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes a part that has neither spaces nor control characters. Whatever the caller got it from, a byte that could end
/// the part or the line leaves percent-encoded.
fn put_visible(out: &mut BytesMut, text: &str) {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.extend_from_slice(&[byte]);
        } else {
            out.extend_from_slice(&[b'%', hexadecimal(byte >> 4), hexadecimal(byte & 15)]);
        }
    }
}

/// The digit of a number below 16.
fn hexadecimal(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'A' - 10 + number }
}

fn put_length(out: &mut BytesMut, length: u64) {
    out.extend_from_slice(b"content-length: ");
    put_number::<10>(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Writes a chunk's size.
pub(super) fn put_hexadecimal(out: &mut BytesMut, number: u64) {
    put_number::<16>(out, number);
}

fn put_number<const BASE: u64>(out: &mut BytesMut, mut number: u64) {
    // 2^64 - 1 has 20 decimal digits.
    let mut digits = [0; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = hexadecimal(u8::try_from(number % BASE).unwrap_or_default());
        number /= BASE;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}
