//! What is true of any input. Heads and bodies are made of fragments that are nearly right, so that much of what is
//! generated is accepted and the rest is wrong in one place.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::string::string_regex;

use super::super::{
    Decoder, Encoder, Framing, Malformed, Progress, Version, parse_request, parse_response, resume_request,
    resume_response, strip_hop_by_hop, write_request, write_response,
};
use super::{LIMITS, decode, naive};

/// What is put somewhere into bytes that are right.
const FAULTS: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    " ",
    "\t",
    "\0",
    "\x0b",
    "\x7f",
    ":",
    ",",
    ";",
    "#",
    "5",
    "f",
    "0",
    "0\r\n",
    "\u{e9}",
    "HTTP/1.0",
    "HTTP/1.1",
    "\r\nHost: b",
    "\r\nContent-Length: 5",
    "\r\nTransfer-Encoding: chunked",
    "chunked",
    "\r\n ",
    "x: y\r\n",
];

fn request_line() -> impl Strategy<Value = String> {
    let methods = select(&["GET", "POST", "get", "CONNECT", "OPTIONS", "X-1"][..]);
    let targets =
        select(&["/", "/a?b=c", "*", "a.example.org:443", "http://a.example.org/", "/%2e%2e/{x}", "a"][..]);
    let versions = select(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"][..]);
    let any = (methods, targets, versions)
        .prop_map(|(method, target, version)| format!("{method} {target} {version}\r\n"));
    prop_oneof![3 => Just("POST /a?b=c HTTP/1.1\r\n".to_owned()), 1 => any]
}

fn field() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "host:a.example.org\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 0\r\n",
            "content-length:\t17 \r\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding: Chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Connection: keep-alive\r\n",
            "Connection: close, x\r\n",
            "Accept: */*\r\n",
            "X: \r\n",
            "x-y: a:b, c\r\n",
        ][..],
    )
}

/// Bytes with at most two faults in them.
fn nearly(right: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (right, vec((any::<Index>(), select(FAULTS), any::<bool>()), 0..=2)).prop_map(|(text, faults)| {
        let mut bytes = text.into_bytes();
        for (place, fault, replaces) in faults {
            let at = place.index(bytes.len() + 1);
            let end = if replaces { (at + fault.len()).min(bytes.len()) } else { at };
            bytes.splice(at..end, fault.bytes());
        }
        bytes
    })
}

fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
    let fields = vec(field(), 0..4).prop_map(|fields| fields.concat());
    nearly((select(&["", "", "\r\n"][..]), request_line(), fields, prop::bool::weighted(0.8)).prop_map(
        |(before, line, fields, host)| {
            let host = if host { "Host: a.example.org\r\n" } else { "" };
            format!("{before}{line}{host}{fields}\r\nrest")
        },
    ))
}

fn response_bytes() -> impl Strategy<Value = Vec<u8>> {
    let status = select(&["100 Continue", "101 S", "200 OK", "204 N", "304 N", "404 ", "500"][..]);
    let fields = vec(field(), 0..4).prop_map(|fields| fields.concat());
    let version = select(&["1.1", "1.1", "1.0"][..]);
    nearly(
        (version, status, fields)
            .prop_map(|(version, status, fields)| format!("HTTP/{version} {status}\r\n{fields}\r\nrest")),
    )
}

fn chunked_bytes() -> impl Strategy<Value = Vec<u8>> {
    let size =
        |length: usize, upper: bool| if upper { format!("{length:02X}") } else { format!("{length:x}") };
    let chunk = (text("[a-z]{1,40}"), any::<bool>())
        .prop_map(move |(text, upper)| format!("{}\r\n{text}\r\n", size(text.len(), upper)));
    let trailers = vec(field(), 0..3).prop_map(|fields| fields.concat());
    nearly(
        (vec(chunk, 0..4), trailers)
            .prop_map(|(chunks, trailers)| format!("{}0\r\n{trailers}\r\nrest", chunks.concat())),
    )
}

/// Text that matches an expression, which is read once and not for each case.
fn text(expression: &str) -> impl Strategy<Value = String> {
    string_regex(expression).unwrap()
}

fn methods() -> impl Strategy<Value = Method> {
    text("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}").prop_map(|method| Method::from_bytes(method.as_bytes()).unwrap())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let value = vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8, Just(b'\t')], 0..40);
    let field = (text("[a-z][a-z0-9-]{0,20}"), value).prop_map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.trim_ascii()).unwrap();
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
    });
    vec(field, 0..10).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        strip_hop_by_hop(&mut headers);
        for name in ["host", "expect"] {
            headers.remove(name);
        }
        headers
    })
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![Just(Framing::Empty), any::<u64>().prop_map(Framing::Length), Just(Framing::Chunked)]
}

/// Cuts bytes into pieces.
fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut begin = 0;
    let mut pieces: Vec<&[u8]> = Vec::new();
    for place in places.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[begin..place]);
        begin = place;
    }
    pieces
}

/// What a head that arrives in these pieces is read as.
fn arriving<T>(
    bytes: &[u8],
    places: &[Index],
    mut read: impl FnMut(&mut Progress, &[u8]) -> Result<Option<T>, Malformed>,
) -> Result<Option<T>, Malformed> {
    let (mut progress, mut there) = (Progress::default(), 0);
    for piece in cut(bytes, places) {
        there += piece.len();
        if let Some(head) = read(&mut progress, &bytes[..there])? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_request_that_was_written_is_read_as_it_was(
        method in methods(),
        target in text("/[!-\"$-~]{0,60}"),
        headers in headers(),
        framing in framings(),
        upgrade in any::<bool>(),
    ) {
        prop_assume!(method != Method::CONNECT);
        let upgrade = upgrade.then_some("websocket");
        let mut out = BytesMut::new();
        write_request(&mut out, &method, &target, "a.example.org", &headers, framing, upgrade);
        let (mut head, length) = parse_request(&out, LIMITS).unwrap().unwrap();
        prop_assert_eq!(length, out.len());
        prop_assert_eq!(head.upgrade.as_deref(), upgrade);
        prop_assert_eq!(head.headers.remove("host"), Some(HeaderValue::from_static("a.example.org")));
        strip_hop_by_hop(&mut head.headers);
        let means_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let framing = if framing == Framing::Empty && means_body { Framing::Length(0) } else { framing };
        prop_assert_eq!((head.method, head.target, head.framing), (method, target, framing));
        prop_assert_eq!(head.headers, headers);
    }

    #[test]
    fn a_response_that_was_written_is_read_as_it_was(
        status in 200..600_u16,
        headers in headers(),
        framing in prop_oneof![framings(), Just(Framing::Close)],
        close in any::<bool>(),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let no_body = matches!(status.as_u16(), 204 | 304);
        // Whoever writes says that there is no body exactly where there is none.
        prop_assume!(no_body == (framing == Framing::Empty));
        let mut out = BytesMut::new();
        write_response(&mut out, Version::Http11, status, &headers, framing, close);
        let (mut head, length) = parse_response(&out, &Method::GET, LIMITS).unwrap().unwrap();
        strip_hop_by_hop(&mut head.headers);
        prop_assert_eq!(length, out.len());
        prop_assert_eq!((head.status, head.framing), (status, framing));
        prop_assert_eq!(head.keep_alive, !close && framing != Framing::Close);
        prop_assert_eq!(head.headers, headers);
    }

    #[test]
    fn a_body_that_was_framed_is_the_same_body(pieces in vec(vec(any::<u8>(), 0..300), 0..6), places in vec(any::<Index>(), 0..8)) {
        let whole = pieces.concat();
        for framing in [Framing::Chunked, Framing::Length(whole.len() as u64)] {
            let (mut encoder, mut out) = (Encoder::new(framing), BytesMut::new());
            for piece in &pieces {
                encoder.data(piece, &mut out).unwrap();
            }
            encoder.end(None, &mut out).unwrap();
            out.extend_from_slice(b"rest");
            let body = decode(Decoder::new(framing, LIMITS), cut(&out, &places)).unwrap();
            prop_assert!(body.ended);
            prop_assert_eq!((&body.data, body.rest.as_slice()), (&whole, &b"rest"[..]));
        }
    }

    #[test]
    fn a_body_is_the_same_in_whatever_pieces_it_arrives(bytes in chunked_bytes(), places in vec(any::<Index>(), 0..8)) {
        for begin in [Decoder::new, Decoder::of_response] {
            let whole = decode(begin(Framing::Chunked, LIMITS), [bytes.as_slice()]);
            let pieces = decode(begin(Framing::Chunked, LIMITS), cut(&bytes, &places));
            let bytewise = decode(begin(Framing::Chunked, LIMITS), bytes.chunks(1));
            prop_assert_eq!(&whole, &pieces);
            prop_assert_eq!(&whole, &bytewise);
        }
    }

    #[test]
    fn a_head_is_the_same_in_whatever_pieces_it_arrives(bytes in request_bytes(), places in vec(any::<Index>(), 0..8)) {
        let whole = parse_request(&bytes, LIMITS);
        let pieces = arriving(&bytes, &places, |progress, bytes| resume_request(progress, bytes, LIMITS));
        // Which of two faults shows first may depend on the pieces.
        prop_assert_eq!(format!("{:?}", whole.map_err(drop)), format!("{:?}", pieces.map_err(drop)));
    }

    #[test]
    fn a_response_is_the_same_in_whatever_pieces_it_arrives(bytes in response_bytes(), places in vec(any::<Index>(), 0..8)) {
        let method = Method::GET;
        let whole = parse_response(&bytes, &method, LIMITS);
        let pieces = arriving(&bytes, &places, |progress, bytes| resume_response(progress, bytes, &method, LIMITS));
        prop_assert_eq!(format!("{:?}", whole.map_err(drop)), format!("{:?}", pieces.map_err(drop)));
    }

    #[test]
    fn another_strict_parser_agrees_about_requests(bytes in request_bytes()) {
        match parse_request(&bytes, LIMITS) {
            Ok(Some((head, length))) => {
                let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
                let mut headers: Vec<_> = headers.collect();
                headers.sort();
                let ours = naive::Request {
                    method: head.method.to_string(),
                    target: head.target,
                    minor: if head.version == Version::Http11 { '1' } else { '0' },
                    headers,
                    framing: head.framing,
                    length,
                };
                prop_assert_eq!(naive::request(&bytes), Some(ours));
            }
            Ok(None) => prop_assert!(!naive::has_end(&bytes)),
            Err(_) => prop_assert_eq!(naive::request(&bytes), None),
        }
    }

    #[test]
    fn another_strict_parser_agrees_about_chunks(bytes in chunked_bytes()) {
        let ours = decode(Decoder::new(Framing::Chunked, LIMITS), [bytes.as_slice()]);
        match ours {
            Ok(body) if body.ended => {
                let theirs = naive::chunks(&bytes);
                prop_assert_eq!(theirs, Some((body.data, body.rest)));
            }
            Ok(_) => prop_assert_eq!(naive::chunks(&bytes), None),
            // A trailer that can only be a header is the one thing that the other parser doesn't judge.
            Err(Malformed::Ambiguous("a trailer that can only be a header")) => {}
            Err(_) => prop_assert_eq!(naive::chunks(&bytes), None),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), places in vec(any::<Index>(), 0..8)) {
        let method = Method::GET;
        let request = arriving(&bytes, &places, |progress, bytes| resume_request(progress, bytes, LIMITS));
        prop_assert!(!matches!(request, Ok(Some((_, length))) if length > bytes.len()));
        let response = arriving(&bytes, &places, |progress, bytes| resume_response(progress, bytes, &method, LIMITS));
        prop_assert!(!matches!(response, Ok(Some((_, length))) if length > bytes.len()));
        for framing in [Framing::Chunked, Framing::Length(100), Framing::Close, Framing::Empty] {
            let body = decode(Decoder::of_response(framing, LIMITS), cut(&bytes, &places));
            prop_assert!(body.is_ok_and(|body| body.data.len() + body.rest.len() <= bytes.len()) || framing == Framing::Chunked);
        }
    }
}
