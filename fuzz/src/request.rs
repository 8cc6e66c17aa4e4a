//! Requests of the agent: head, body and what is written for them.

use super::{LIMITS, arriving, check_body, cut};
use bottle::sidecar::egress::http1::{
    Decoder, Framing, RequestHead, Version, parse_request, resume_request, strip_hop_by_hop, write_request,
};
use bytes::BytesMut;
use http::{Method, header};

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    let (size, bytes) = cut(data);
    let whole = parse_request(bytes, LIMITS);
    let pieces = arriving(bytes, size, |progress, bytes| resume_request(progress, bytes, LIMITS));
    match (whole, pieces) {
        (Ok(Some((head, length))), Ok(Some(other))) => {
            assert_eq!(format!("{head:?}"), format!("{:?}", other.0));
            assert_eq!(length, other.1);
            agrees_with_httparse(&head, length, bytes);
            check_head(&head);
            check_body(|framing| Decoder::new(framing, LIMITS), head.framing, &bytes[length..], size);
            check_written(head);
        }
        (Ok(None), Ok(None)) => assert!(bytes.len() < LIMITS.bytes),
        (Err(_), Err(_)) => {}
        (whole, pieces) => panic!("{whole:?} or {pieces:?}"),
    }
}

/// A lenient parser must find the same parts.
fn agrees_with_httparse(head: &RequestHead, length: usize, bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut lenient = httparse::Request::new(&mut fields);
    assert_eq!(lenient.parse(bytes), Ok(httparse::Status::Complete(length)));
    assert_eq!(lenient.method, Some(head.method.as_str()));
    assert_eq!(lenient.path, Some(head.target.as_str()));
    assert_eq!(lenient.version, Some(u8::from(head.version == Version::Http11)));
    assert_eq!(lenient.headers.len(), head.headers.len());
    for field in lenient.headers {
        let mut values = head.headers.get_all(field.name).iter();
        assert!(values.any(|value| value.as_bytes() == field.value));
    }
}

fn check_head(head: &RequestHead) {
    let count = |name| head.headers.get_all(name).iter().count();
    assert!(count(header::HOST) == 1 || (head.version == Version::Http10 && count(header::HOST) == 0));
    assert!(count(header::CONTENT_LENGTH) + count(header::TRANSFER_ENCODING) <= 1);
    assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    assert_ne!(head.framing, Framing::Close);
    assert!(head.framing != Framing::Chunked || head.version == Version::Http11);
    assert!(head.method != Method::CONNECT || head.framing == Framing::Empty);
}

/// What is written is read as what it was written from.
fn check_written(mut head: RequestHead) {
    strip_hop_by_hop(&mut head.headers);
    head.headers.remove(header::HOST);
    head.headers.remove(header::EXPECT);
    let mut out = BytesMut::new();
    let upgrade = head.upgrade.as_deref();
    let host = "a.example.org";
    write_request(&mut out, &head.method, &head.target, host, &head.headers, head.framing, upgrade);
    let limits = bottle::sidecar::egress::http1::HeadLimits { bytes: 2048, headers: 16 };
    let (mut again, length) = parse_request(&out, limits).expect("read again").expect("complete");
    assert_eq!(length, out.len());
    assert_eq!(again.headers.remove(header::HOST).expect("a host"), host);
    let means_body = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    let framing =
        if means_body && head.framing == Framing::Empty { Framing::Length(0) } else { head.framing };
    assert_eq!((&again.method, &again.target), (&head.method, &head.target));
    assert_eq!((again.framing, &again.upgrade), (framing, &head.upgrade));
    strip_hop_by_hop(&mut again.headers);
    assert_eq!(again.headers, head.headers);
}
