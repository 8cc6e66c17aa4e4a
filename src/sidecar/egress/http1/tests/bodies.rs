use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};

use super::super::{Decoded, Decoder, Encoder, Framing, HeadLimits, Malformed};
use super::{Body, LIMITS, decode};

fn strict(body: &str) -> Result<Body, Malformed> {
    decode(Decoder::new(Framing::Chunked, LIMITS), [body.as_bytes()])
}

fn lenient(body: &str) -> Result<Body, Malformed> {
    decode(Decoder::of_response(Framing::Chunked, LIMITS), [body.as_bytes()])
}

#[test]
fn chunks_of_one_byte_that_are_there_together_make_one_piece() {
    let mut buffer = BytesMut::from("1\r\na\r\n".repeat(1000).as_str());
    buffer.extend_from_slice(b"0\r\n\r\nGET");
    let mut decoder = Decoder::of_response(Framing::Chunked, LIMITS);
    assert!(matches!(decoder.decode(&mut buffer), Ok(Decoded::Data(piece)) if piece == "a".repeat(1000)));
    assert!(matches!(decoder.decode(&mut buffer), Ok(Decoded::End)));
    assert_eq!(buffer, "GET");
}

#[test]
fn what_was_sound_before_a_fault_comes_before_it() {
    let mut buffer = BytesMut::from("1\r\na\r\n1\r\nb\r\nx");
    let mut decoder = Decoder::new(Framing::Chunked, LIMITS);
    assert!(matches!(decoder.decode(&mut buffer), Ok(Decoded::Data(piece)) if piece == "ab"));
    assert!(decoder.decode(&mut buffer).is_err());
}

#[test]
fn a_body_of_a_known_length_ends_there() {
    let body = decode(Decoder::new(Framing::Length(5), LIMITS), [&b"hel"[..], b"loGET"]).unwrap();
    assert_eq!((body.data.as_slice(), body.ended, body.rest.as_slice()), (&b"hello"[..], true, &b"GET"[..]));
    for framing in [Framing::Empty, Framing::Length(0)] {
        let body = decode(Decoder::new(framing, LIMITS), [&b"GET"[..]]).unwrap();
        assert_eq!((body.data.len(), body.ended, body.rest.len()), (0, true, 3));
    }
}

#[test]
fn a_piece_shares_the_memory_it_was_read_into() {
    let mut buffer = BytesMut::from(&b"5\r\nhello\r\n"[..]);
    let place = buffer[3..].as_ptr();
    let Ok(Decoded::Data(piece)) = Decoder::new(Framing::Chunked, LIMITS).decode(&mut buffer) else {
        panic!()
    };
    assert_eq!((piece.as_ref(), piece.as_ptr()), (&b"hello"[..], place));
}

#[test]
fn only_a_body_without_a_length_may_end_with_the_connection() {
    assert!(Decoder::new(Framing::Close, LIMITS).at_close());
    assert!(Decoder::new(Framing::Empty, LIMITS).at_close());
    assert!(!Decoder::new(Framing::Length(1), LIMITS).at_close());
    let mut decoder = Decoder::new(Framing::Chunked, LIMITS);
    let mut buffer = BytesMut::from(&b"1\r\na\r\n0\r\n\r\n"[..]);
    for ends in [false, true] {
        assert!(!decoder.at_close());
        assert_eq!(matches!(decoder.decode(&mut buffer).unwrap(), Decoded::End), ends);
    }
    assert!(decoder.at_close());
}

#[test]
fn chunks_become_one_body() {
    let body = strict("5\r\nhello\r\n00A\r\n0123456789\r\n000\r\n\r\nGET").unwrap();
    assert_eq!(body.data, b"hello0123456789");
    assert_eq!((body.trailers, body.ended, body.rest.as_slice()), (None, true, &b"GET"[..]));
}

#[test]
fn a_chunk_begins_with_a_size_and_ends_where_it_says() {
    for body in [
        "\r\n",
        "g\r\n",
        "0x5\r\n",
        "+5\r\n",
        "-5\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\t\r\nhello\r\n",
        "5\nhello\r\n",
        "5\rhello\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\n",
        "5\r\nhello\r0",
        "5\r\nhelloX",
        "5\r\nhello\r\n\r\n",
        "5_0\r\n",
        "00000000000000005\r\n",
        "10000000000000000\r\n",
    ] {
        strict(body).unwrap_err();
        lenient(body).unwrap_err();
    }
    // The largest number that fits is no overflow.
    assert_eq!(strict("ffffffffffffffff\r\nabc").unwrap().data, b"abc");
}

#[test]
fn an_extension_is_refused_in_requests_and_dropped_from_responses() {
    let body = "5;a=\"b\";c\r\nhello\r\n0;d\r\n\r\n";
    strict(body).unwrap_err();
    assert_eq!(lenient(body).unwrap().data, b"hello");
    lenient("5;a\n\r\nhello\r\n").unwrap_err();
    lenient("5;a\rb\r\nhello\r\n").unwrap_err();
    lenient("5 ;a\r\nhello\r\n").unwrap_err();
    lenient("5;\0\r\nhello\r\n").unwrap_err();
    assert_eq!(lenient(&format!("5;{}", "x".repeat(1000))).unwrap_err(), Malformed::TooLarge);
}

#[test]
fn trailers_are_kept() {
    let body = strict("1\r\na\r\n0\r\nGrpc-Status: 0\r\nX: y\r\n\r\nGET").unwrap();
    let trailers = body.trailers.unwrap();
    assert_eq!(
        (trailers.len(), &trailers["grpc-status"], &trailers["x"]),
        (2, &"0".parse().unwrap(), &"y".parse().unwrap())
    );
    assert_eq!((body.ended, body.rest.as_slice()), (true, &b"GET"[..]));
}

#[test]
fn trailers_are_as_strict_as_headers() {
    for lines in
        ["A : b\r\n", "A: b\n", "A: b\r\n c\r\n", " A: b\r\n", "A\r\n", "A: \0", ": b\r\n", "A: b\rc"]
    {
        strict(&format!("0\r\n{lines}\r\n")).unwrap_err();
        lenient(&format!("0\r\n{lines}\r\n")).unwrap_err();
    }
    let limits = HeadLimits { bytes: 32, headers: 2 };
    let read = |body: &str| decode(Decoder::new(Framing::Chunked, limits), [body.as_bytes()]);
    assert_eq!(read("0\r\na: b\r\nc: d\r\n\r\n").unwrap().trailers.unwrap().len(), 2);
    assert_eq!(read("0\r\na: b\r\nc: d\r\ne: f\r\n").unwrap_err(), Malformed::TooLarge);
    assert_eq!(read(&format!("0\r\na: {}", "x".repeat(40))).unwrap_err(), Malformed::TooLarge);
}

#[test]
fn what_can_only_be_a_header_is_no_trailer() {
    for name in [
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "Connection",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Content-Type",
        "If-Match",
        "X-Forwarded-For",
        "Upgrade",
        "Trailer",
        "TE",
    ] {
        let body = format!("0\r\nx: y\r\n{name}: 1\r\n\r\n");
        strict(&body).unwrap_err();
        let trailers = lenient(&body).unwrap().trailers.unwrap();
        assert_eq!(trailers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x"], "{name}");
        // Those that were the only ones are none at all.
        assert_eq!(lenient(&format!("0\r\n{name}: 1\r\n\r\n")).unwrap().trailers, None);

        let mut trailers = HeaderMap::new();
        trailers
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        let mut out = BytesMut::new();
        Encoder::new(Framing::Chunked).end(Some(&trailers), &mut out).unwrap();
        assert_eq!(out, &b"0\r\n\r\n"[..]);
    }
}

#[test]
fn a_body_is_framed_as_announced() {
    let frame = |framing: Framing, pieces: &[&str]| -> Result<String, Malformed> {
        let (mut encoder, mut out) = (Encoder::new(framing), BytesMut::new());
        for piece in pieces {
            encoder.data(piece.as_bytes(), &mut out)?;
        }
        encoder.end(None, &mut out)?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    };
    assert_eq!(frame(Framing::Empty, &[""]).unwrap(), "");
    frame(Framing::Empty, &["a"]).unwrap_err();
    assert_eq!(frame(Framing::Length(5), &["hel", "lo"]).unwrap(), "hello");
    frame(Framing::Length(5), &["hel", "lo!"]).unwrap_err();
    frame(Framing::Length(5), &["hel"]).unwrap_err();
    assert_eq!(frame(Framing::Close, &["hel", "lo"]).unwrap(), "hello");
    assert_eq!(frame(Framing::Chunked, &[]).unwrap(), "0\r\n\r\n");
    // An empty piece is not the last chunk.
    let long = "x".repeat(0x1a);
    assert_eq!(
        frame(Framing::Chunked, &["hello", "", &long]).unwrap(),
        format!("5\r\nhello\r\n1A\r\n{long}\r\n0\r\n\r\n")
    );
}

#[test]
fn trailers_come_after_chunks_and_nowhere_else() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    for (framing, expected) in
        [(Framing::Chunked, "0\r\ngrpc-status: 0\r\n\r\n"), (Framing::Length(0), ""), (Framing::Close, "")]
    {
        let mut out = BytesMut::new();
        Encoder::new(framing).end(Some(&trailers), &mut out).unwrap();
        assert_eq!(out, expected.as_bytes());
    }
}

#[test]
fn nothing_follows_the_end_of_a_body() {
    let (mut encoder, mut out) = (Encoder::new(Framing::Chunked), BytesMut::new());
    encoder.end(None, &mut out).unwrap();
    encoder.data(b"a", &mut out).unwrap_err();
}
