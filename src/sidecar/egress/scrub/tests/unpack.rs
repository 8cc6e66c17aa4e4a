use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;

use super::fixture::{SECRET, broken, frames, pieces, read, scrub, whole};
use crate::policy::reason::Reason;
use crate::sidecar::egress::body;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// Packs parts, each flushed, and gives what was written for each; the last has the end with it.
fn pack(coding: &str, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    macro_rules! with {
        ($encoder:ident) => {{
            let mut encoder = $encoder::with_quality(Vec::new(), Level::Fastest);
            let mut packed = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                encoder.write_all(part).await.expect("a vector takes everything");
                encoder.flush().await.expect("a vector takes everything");
                if index + 1 == parts.len() {
                    encoder.shutdown().await.expect("a vector takes everything");
                }
                packed.push(std::mem::take(encoder.get_mut()));
            }
            packed
        }};
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        match coding {
            "gzip" => with!(GzipEncoder),
            "deflate" => with!(ZlibEncoder),
            "br" => with!(BrotliEncoder),
            "zstd" => with!(ZstdEncoder),
            other => panic!("{other} is no coding"),
        }
    })
}

fn packed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    pack(coding, &[bytes]).concat()
}

fn covered(text: &str) -> Vec<u8> {
    text.replace(SECRET, &"*".repeat(SECRET.len())).into_bytes()
}

#[test]
fn a_secret_is_covered_in_a_packed_body_wherever_it_is_cut() {
    let text = format!("before {SECRET} after");
    for coding in CODINGS {
        let bytes = packed(coding, text.as_bytes());
        for size in 1..bytes.len() {
            let body = pieces(bytes.chunks(size));
            let scrubbed = scrub(&[("content-encoding", coding)], body).expect("a response");
            assert_eq!(whole(scrubbed.into_body()), covered(&text), "{coding} in pieces of {size}");
        }
    }
}

#[test]
fn what_counts_the_packed_body_is_gone_from_the_headers() {
    let bytes = packed("gzip", b"hello");
    let length = bytes.len().to_string();
    let headers = [
        ("content-encoding", "gzip"),
        ("content-length", &length),
        ("content-type", "text/plain"),
        ("accept-ranges", "bytes"),
        ("etag", "\"a\""),
        ("content-digest", "sha-256=:AA==:"),
        ("vary", "accept-encoding"),
    ];
    // The head alone says the same.
    for body in [pieces([bytes.as_slice()]), body::empty()] {
        let scrubbed = scrub(&headers, body).expect("a response");
        let mut names: Vec<&str> = scrubbed.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "etag", "vary"]);
        assert_eq!(scrubbed.headers()["etag"], "W/\"a\"");
    }
}

#[test]
fn an_event_is_passed_on_before_the_next_one_comes() {
    for coding in CODINGS {
        let events: [&[u8]; 3] = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"];
        let packed = pack(coding, &events);
        // One piece at a time, and a pause after each: what comes out before the pause has the whole event.
        let body = pieces(packed.iter().map(Vec::as_slice));
        let scrubbed = scrub(&[("content-encoding", coding)], body).expect("a response");
        let (out, end) = read(scrubbed.into_body());
        end.expect("complete");
        assert_eq!(out, events, "{coding}");
    }
}

#[test]
fn several_members_are_one_body() {
    let (first, second) = SECRET.split_at(7);
    for coding in ["gzip", "zstd"] {
        let bytes = [packed(coding, first.as_bytes()), packed(coding, second.as_bytes())].concat();
        let body = pieces(bytes.chunks(5));
        let scrubbed = scrub(&[("content-encoding", coding)], body).expect("a response");
        assert_eq!(whole(scrubbed.into_body()), covered(SECRET), "{coding}");
    }
}

#[test]
fn trailers_follow_a_packed_body() {
    for coding in CODINGS {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-echo", HeaderValue::from_static(SECRET));
        let body = frames(vec![
            Ok(Frame::data(Bytes::from(packed(coding, b"hello")))),
            Ok(Frame::trailers(trailers)),
        ]);
        let (out, end) = read(scrub(&[("content-encoding", coding)], body).expect("a response").into_body());
        assert_eq!(out.concat(), b"hello");
        assert_eq!(end.expect("complete").expect("trailers")["x-echo"].as_bytes(), covered(SECRET));
    }
}

#[test]
fn a_packed_body_of_no_bytes_is_an_empty_one() {
    for coding in CODINGS {
        let scrubbed = scrub(&[("content-encoding", coding)], pieces([])).expect("a response");
        assert_eq!(whole(scrubbed.into_body()), b"", "{coding}");
    }
}

#[test]
fn a_body_that_is_not_packed_as_it_says_breaks() {
    for coding in CODINGS {
        let good = packed(coding, format!("text {SECRET}").repeat(9).as_bytes());
        let cut = &good[..good.len() - 3];
        let longer = [good.as_slice(), b"garbage"].concat();
        for bytes in [SECRET.as_bytes(), cut, &longer] {
            let scrubbed = scrub(&[("content-encoding", coding)], pieces([bytes])).expect("a response");
            let (out, end) = read(scrubbed.into_body());
            assert_eq!(end.expect_err("no such body").reason, Reason::ScrubFailed, "{coding}");
            assert!(memchr::memmem::find(&out.concat(), SECRET.as_bytes()).is_none());
        }
    }
}

#[test]
fn why_a_packed_body_broke_below_is_still_told() {
    for coding in CODINGS {
        let good = packed(coding, b"hello, hello, hello");
        let body = frames(vec![Ok(Frame::data(Bytes::copy_from_slice(&good[..9]))), Err(broken())]);
        let (_, end) = read(scrub(&[("content-encoding", coding)], body).expect("a response").into_body());
        assert_eq!(end.expect_err("it broke").reason, Reason::UpstreamDown, "{coding}");
    }
}

/// A frame of zstd (RFC 8878, section 3.1.1) with one raw block, and a window of two to this power.
fn frame(window_log: u8) -> Vec<u8> {
    [&[0x28, 0xB5, 0x2F, 0xFD, 0x00, (window_log - 10) << 3, (5 << 3) | 1, 0, 0], b"hello".as_slice()]
        .concat()
}

#[test]
fn a_window_larger_than_the_web_allows_is_refused() {
    let unpacked = |bytes: &[u8]| {
        read(scrub(&[("content-encoding", "zstd")], pieces([bytes])).expect("a response").into_body())
    };
    let (out, end) = unpacked(&frame(23));
    end.expect("8 MiB is what RFC 9659 allows");
    assert_eq!(out.concat(), b"hello");
    for window in [24, 27, 31, 41] {
        let (out, end) = unpacked(&frame(window));
        assert_eq!(end.expect_err("too large").reason, Reason::ScrubFailed);
        assert!(out.is_empty());
    }
}

#[test]
fn a_bomb_is_unpacked_no_faster_than_it_is_read() {
    const BOMB: usize = 4 << 20;
    for coding in CODINGS {
        let bytes = packed(coding, &vec![0; BOMB]);
        assert!(bytes.len() < BOMB / 100, "{coding}");
        let given = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&given);
        let source = pieces(bytes.chunks(64)).map_frame(move |frame| {
            counter.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::Relaxed);
            frame
        });
        let mut body =
            scrub(&[("content-encoding", coding)], source.boxed_unsync()).expect("a response").into_body();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut unpacked = 0;
        runtime.block_on(async {
            while let Some(frame) = body.frame().await {
                let data = frame.expect("complete").into_data().expect("data");
                assert!(data.len() <= 16 << 10, "{coding} gave {} bytes at once", data.len());
                // No byte is taken before the ones before it are unpacked and read.
                if unpacked == 0 {
                    assert!(given.load(Ordering::Relaxed) <= 128, "{coding}");
                }
                unpacked += data.len();
            }
        });
        assert_eq!(unpacked, BOMB);
    }
}
