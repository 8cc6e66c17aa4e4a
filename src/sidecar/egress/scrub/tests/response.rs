use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as _, Frame};

use super::super::response;
use super::fixture::{SECRET, broken, frames, measured, pieces, read, scrub, scrub_status, whole};
use crate::policy::reason::Reason;
use crate::sidecar::egress::body;
use crate::sidecar::egress::credential::Injected;

fn covered() -> String {
    "*".repeat(SECRET.len())
}

#[test]
fn a_secret_is_covered_in_every_header() {
    let location = format!("https://example.org/?key={SECRET}&x=1");
    let headers =
        [("location", location.as_str()), ("x-echo", SECRET), ("x-echo", "other"), ("x-echo", SECRET)];
    for body in [body::empty(), body::full("x")] {
        let scrubbed = scrub(&headers, body).expect("a response");
        let values: Vec<&str> =
            scrubbed.headers().get_all("x-echo").iter().map(|value| value.to_str().expect("text")).collect();
        assert_eq!(values, [covered().as_str(), "other", &covered()]);
        assert_eq!(scrubbed.headers()["location"], location.replace(SECRET, &covered()));
    }
}

#[test]
fn a_secret_is_covered_in_a_plain_body_of_any_type_and_no_length_changes() {
    let text = format!("{SECRET} and {SECRET}");
    for kind in ["text/plain", "application/octet-stream"] {
        for size in 1..=text.len() {
            let length = text.len().to_string();
            let headers = [("content-type", kind), ("content-length", &length), ("etag", "\"a\"")];
            let scrubbed = scrub(&headers, measured(text.as_bytes(), size)).expect("a response");
            assert_eq!(scrubbed.headers()["content-length"], length);
            assert_eq!(scrubbed.headers()["etag"], "\"a\"");
            assert_eq!(scrubbed.body().size_hint().exact(), Some(text.len() as u64));
            assert_eq!(whole(scrubbed.into_body()), text.replace(SECRET, &covered()).into_bytes());
        }
    }
}

#[test]
fn trailers_are_scrubbed_and_come_after_what_was_held_back() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-echo", HeaderValue::from_static(SECRET));
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let body =
        frames(vec![Ok(Frame::data(Bytes::from_static(b"ends sk-ex"))), Ok(Frame::trailers(trailers))]);
    let (pieces, end) = read(scrub(&[], body).expect("a response").into_body());
    assert_eq!(pieces, ["ends ", "sk-ex"]);
    let trailers = end.expect("complete").expect("trailers");
    assert_eq!(trailers["x-echo"], covered());
    assert_eq!(trailers["x-sum"], "1");
}

#[test]
fn a_body_that_breaks_stays_broken_and_gives_nothing_that_was_held_back() {
    let body = frames(vec![Ok(Frame::data(Bytes::from_static(b"ends sk-ex"))), Err(broken())]);
    let (pieces, end) = read(scrub(&[], body).expect("a response").into_body());
    assert_eq!(pieces, ["ends "]);
    assert_eq!(end.expect_err("it broke").reason, Reason::UpstreamDown);
}

#[test]
fn a_part_of_a_text_is_refused_since_a_secret_may_be_asked_for_in_parts() {
    for headers in [
        &[("content-type", "text/plain")][..],
        &[],
        &[("content-type", "multipart/byteranges; boundary=x")],
        &[("content-type", "application/octet-stream"), ("content-encoding", "gzip")],
    ] {
        let refusal = scrub_status(206, headers, pieces([b"sk-ex".as_slice()])).expect_err("a part");
        assert_eq!(refusal.reason, Reason::ScrubFailed);
        assert!(refusal.hint.expect("a hint").contains("Range"));
    }
    let headers = [("content-type", "application/octet-stream"), ("content-range", "bytes 5-9/20")];
    let part = scrub_status(206, &headers, pieces([b"12345".as_slice()])).expect("a part of what is no text");
    assert_eq!(whole(part.into_body()), b"12345");
}

#[test]
fn what_cannot_be_looked_into_is_refused_whatever_its_type() {
    for encoding in ["compress", "gzip, gzip", "br,gzip"] {
        for kind in ["application/json", "image/png"] {
            let headers = [("content-type", kind), ("content-encoding", encoding)];
            let refusal = scrub(&headers, pieces([b"x".as_slice()])).expect_err("packed");
            assert_eq!(refusal.reason, Reason::ScrubFailed);
        }
        scrub(&[("content-encoding", encoding)], body::empty()).expect("there is nothing to look into");
    }
}

#[test]
fn a_response_without_an_injected_credential_is_left_alone() {
    let headers = [("content-encoding", "compress"), ("content-length", "21"), ("x-echo", SECRET)];
    let mut built = Response::builder();
    for (name, value) in headers {
        built = built.header(name, value);
    }
    let built = built.body(pieces([SECRET.as_bytes()])).expect("a response");
    let left = response(Injected::default(), built).expect("the same");
    for (name, value) in headers {
        assert_eq!(left.headers()[name], value);
    }
    assert_eq!(whole(left.into_body()), SECRET.as_bytes());
}
