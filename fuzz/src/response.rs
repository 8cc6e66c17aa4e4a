//! Responses of an upstream: head, body and what is written for the agent.

use super::{LIMITS, arriving, check_body, cut};
use bottle::sidecar::egress::http1::{
    Decoder, Framing, HeadLimits, ResponseHead, Version, parse_response, resume_response, strip_hop_by_hop,
    write_response,
};
use bytes::BytesMut;
use http::{Method, StatusCode, header};

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    let (size, bytes) = cut(data);
    let method = [Method::GET, Method::GET, Method::HEAD, Method::CONNECT][size % 4].clone();
    let whole = parse_response(bytes, &method, LIMITS);
    let pieces = arriving(bytes, size, |progress, bytes| resume_response(progress, bytes, &method, LIMITS));
    match (whole, pieces) {
        (Ok(Some((head, length))), Ok(Some(other))) => {
            assert_eq!(format!("{head:?}"), format!("{:?}", other.0));
            assert_eq!(length, other.1);
            check_head(&head, &method);
            check_body(|framing| Decoder::of_response(framing, LIMITS), head.framing, &bytes[length..], size);
            if method == Method::GET {
                check_written(head);
            }
        }
        (Ok(None), Ok(None)) => assert!(bytes.len() < LIMITS.bytes),
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} or {pieces:?}"),
    }
}

fn check_head(head: &ResponseHead, method: &Method) {
    let has = |name| head.headers.contains_key(name);
    assert!(!(has(header::CONTENT_LENGTH) && has(header::TRANSFER_ENCODING)));
    let without = head.status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status)
        || *method == Method::HEAD
        || (*method == Method::CONNECT && head.status.is_success());
    assert_eq!(without, head.framing == Framing::Empty);
    assert!(!(head.keep_alive && head.framing == Framing::Close));
    assert!(head.framing != Framing::Chunked || head.version == Version::Http11);
}

/// What is written is read as what it was written from.
fn check_written(mut head: ResponseHead) {
    strip_hop_by_hop(&mut head.headers);
    let mut out = BytesMut::new();
    write_response(&mut out, Version::Http11, head.status, &head.headers, head.framing, !head.keep_alive);
    let limits = HeadLimits { bytes: 2048, headers: 16 };
    let (mut again, length) =
        parse_response(&out, &Method::GET, limits).expect("read again").expect("complete");
    assert_eq!(length, out.len());
    assert_eq!((again.status, again.framing), (head.status, head.framing));
    assert_eq!(again.keep_alive, head.keep_alive);
    strip_hop_by_hop(&mut again.headers);
    assert_eq!(again.headers, head.headers);
}
