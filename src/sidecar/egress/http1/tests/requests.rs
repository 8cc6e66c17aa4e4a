use http::Method;

use super::super::{Framing, HeadLimits, Malformed, Progress, Version, parse_request, resume_request};
use super::{LIMITS, refused, request};

/// A request with these further header lines.
fn with(lines: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: api.example.org\r\n{lines}\r\n\r\n")
}

#[test]
fn a_request_is_read_as_it_was_sent() {
    let head =
        request("PoST /a%2Fb?q=1 HTTP/1.1\r\nHOST: api.example.org\r\nX-Tab:\ta\tb \r\nx-empty:\r\n\r\n");
    assert_eq!(head.method.as_str(), "PoST");
    assert_eq!(head.target, "/a%2Fb?q=1");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.headers["host"], "api.example.org");
    assert_eq!(head.headers["x-tab"], "a\tb");
    assert_eq!(head.headers["x-empty"], "");
    assert_eq!(head.headers.len(), 3);
    assert_eq!((head.framing, head.keep_alive, head.expect_continue), (Framing::Empty, true, false));
    assert_eq!(head.upgrade, None);
}

#[test]
fn what_follows_the_head_is_left() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\nGET /";
    assert_eq!(parse_request(bytes, LIMITS).unwrap().unwrap().1, bytes.len() - 5);
}

#[test]
fn each_form_of_a_target_belongs_to_its_methods() {
    for line in [
        "GET /",
        "GET http://a.example.org/",
        "OPTIONS *",
        "OPTIONS http://a.example.org",
        "CONNECT a.example.org:443",
    ] {
        request(&format!("{line} HTTP/1.1\r\nHost: a.example.org\r\n\r\n"));
    }
    for line in [
        "GET a.example.org:443",
        "GET *",
        "GET a",
        "GET ://a",
        "GET 1http://a",
        "GET http://",
        "GET ?q",
        "CONNECT /",
        "CONNECT http://a.example.org/",
        "CONNECT *",
        "GET /#fragment",
        "GET /a%20#",
    ] {
        refused(format!("{line} HTTP/1.1\r\nHost: a.example.org\r\n\r\n"));
    }
}

#[test]
fn a_request_line_has_three_parts_and_two_spaces() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / / HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /",
        "GET",
        "GET  HTTP/1.1",
        "/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /\0 HTTP/1.1",
    ] {
        refused(format!("{line}\r\nHost: a.example.org\r\n\r\n"));
        // As soon as the line is there.
        refused(format!("{line}\r\n"));
    }
}

#[test]
fn a_version_is_1_0_or_1_1_in_capitals() {
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").version, Version::Http10);
    for version in [
        "http/1.1",
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/0.9",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/1,1",
        "HTTPS/1.1",
    ] {
        refused(format!("GET / {version}\r\nHost: a.example.org\r\n\r\n"));
    }
}

#[test]
fn one_empty_line_may_come_first() {
    request("\r\nGET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n");
    assert!(parse_request(b"\r\n", LIMITS).unwrap().is_none());
    refused("\r\n\r\n");
    refused("\n");
    refused(" \r\n");
}

#[test]
fn one_host_is_required_by_http_1_1() {
    refused("GET / HTTP/1.1\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\r\nHost: a.example.org\r\n");
    refused("GET / HTTP/1.0\r\nHost: a.example.org\r\nhOST: b.example.org\r\n");
    request("GET / HTTP/1.0\r\nHost: a.example.org\r\n\r\n");
}

#[test]
fn lines_end_with_crlf() {
    refused("GET / HTTP/1.1\nHost: a.example.org\n\n");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\r\nA: b\r\n\n");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\r\nA: b\n");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\r\nA: b\rc");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\r\nA: b\r\r\n\r\n");
    refused("GET / HTTP/1.1\r\nHost: a.example.org\r\nA\r: b");
}

#[test]
fn no_line_continues_another() {
    refused(with("A: b\r\n c"));
    refused(with("A: b\r\n\tc"));
    refused(with("A: b\r\n "));
    refused("GET / HTTP/1.1\r\n Host: a.example.org\r\n");
}

#[test]
fn no_control_character_is_in_a_head() {
    for control in (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
        for before in ["GET /", "GET / HTTP/1.1\r\nHost: a", "GET / HTTP/1.1\r\nHo"] {
            let mut bytes = before.as_bytes().to_vec();
            bytes.extend_from_slice(&[control, b'x']);
            // Without a line end: it is refused before the line is complete.
            refused(bytes);
        }
    }
}

#[test]
fn what_is_not_ascii_is_opaque_in_values_only() {
    let (head, _) = parse_request(b"GET / HTTP/1.1\r\nHost: a.example.org\r\nX: \xff\x80\r\n\r\n", LIMITS)
        .unwrap()
        .unwrap();
    assert_eq!(head.headers["x"].as_bytes(), b"\xff\x80");
    refused(b"GET / HTTP/1.1\r\nHost: a.example.org\r\nX\xff: a\r\n");
}

#[test]
fn a_header_name_is_a_token_before_a_colon() {
    for line in ["A : b", "A\t: b", ": b", "A B: c", "A", "A(: b", "\"A\": b", "A;b: c", "A=b"] {
        refused(with(line));
    }
}

#[test]
fn a_length_is_said_once_and_in_digits() {
    assert_eq!(request(&with("Content-Length: 5")).framing, Framing::Length(5));
    assert_eq!(request(&with("Content-Length: 0")).framing, Framing::Length(0));
    assert_eq!(request(&with("Content-Length: 18446744073709551615")).framing, Framing::Length(u64::MAX));
    for line in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5a",
        "Content-Length: 5 5",
        "Content-Length: 5;",
        "Content-Length: 1e3",
        "Content-Length: \u{665}",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
    ] {
        refused(with(line));
    }
}

#[test]
fn chunked_is_the_one_coding_and_has_no_length_beside_it() {
    assert_eq!(request(&with("Transfer-Encoding: chunked")).framing, Framing::Chunked);
    assert_eq!(request(&with("Transfer-Encoding: Chunked")).framing, Framing::Chunked);
    for line in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunke",
        "Transfer-Encoding:",
        "Transfer-Encoding: identity",
    ] {
        refused(with(line));
    }
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n");
}

#[test]
fn a_contradiction_is_refused_before_the_head_is_complete() {
    refused("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n");
    refused("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\nHo");
}

#[test]
fn a_connect_has_no_body() {
    let connect =
        |line: &str| format!("CONNECT a.example.org:443 HTTP/1.1\r\nHost: a.example.org:443\r\n{line}\r\n");
    assert_eq!(request(&connect("")).framing, Framing::Empty);
    assert_eq!(request(&connect("Content-Length: 0\r\n")).framing, Framing::Empty);
    refused(connect("Content-Length: 1\r\n"));
    refused(connect("Transfer-Encoding: chunked\r\n"));
}

#[test]
fn a_connection_persists_as_its_version_says() {
    let keep_alive = |version: &str, connection: &str| {
        request(&format!("GET / HTTP/{version}\r\nHost: a.example.org\r\nConnection: {connection}\r\n\r\n"))
            .keep_alive
    };
    assert!(keep_alive("1.1", "x"));
    assert!(!keep_alive("1.1", "Close"));
    assert!(!keep_alive("1.1", "keep-alive, close"));
    assert!(!keep_alive("1.0", "x"));
    assert!(keep_alive("1.0", "x , Keep-Alive"));
    assert!(!keep_alive("1.0", "keep-alive,\tclose"));
}

#[test]
fn a_client_waits_only_with_a_body_to_send() {
    assert!(request(&with("Content-Length: 5\r\nExpect: 100-Continue")).expect_continue);
    assert!(request(&with("Transfer-Encoding: chunked\r\nExpect: 100-continue")).expect_continue);
    assert!(!request(&with("Expect: 100-continue")).expect_continue);
    assert!(!request("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").expect_continue);
    refused(with("Expect: 200-ok"));
}

#[test]
fn an_upgrade_counts_where_connection_names_it() {
    assert_eq!(
        request(&with("Connection: Upgrade\r\nUpgrade: WebSocket")).upgrade.as_deref(),
        Some("websocket")
    );
    assert_eq!(request(&with("Connection: a, UPGRADE\r\nUpgrade: a/1, b")).upgrade.as_deref(), Some("a/1,b"));
    assert_eq!(request(&with("Upgrade: websocket")).upgrade, None);
    assert_eq!(request(&with("Connection: upgrade")).upgrade, None);
    assert_eq!(request(&with("Connection: upgrade\r\nUpgrade: ,")).upgrade, None);
    assert_eq!(request("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade, None);
    refused(with("Connection: upgrade\r\nUpgrade: web socket"));
}

#[test]
fn a_head_is_too_large_as_soon_as_it_cannot_fit() {
    let limits = HeadLimits { bytes: 64, headers: 2 };
    let read = |text: &str| parse_request(text.as_bytes(), limits).map(|read| read.is_some());
    let fits = format!("GET /{} HTTP/1.1\r\nHost: a.example.org\r\n\r\n", "x".repeat(64 - 39));
    assert_eq!(fits.len(), 64);
    assert_eq!(read(&fits), Ok(true));
    // What follows the head doesn't count.
    assert_eq!(read(&format!("{fits}{}", "x".repeat(100))), Ok(true));
    assert_eq!(read(&fits.replace("/x", "/xx")), Err(Malformed::TooLarge));
    assert_eq!(read(&"x".repeat(64)), Err(Malformed::TooLarge));
    assert_eq!(read(&"x".repeat(63)), Ok(false));
    assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"), Ok(true));
    assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n"), Err(Malformed::TooLarge));
}

#[test]
fn many_header_fields_are_read_where_the_limits_allow_them() {
    let lines = fields(2000);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let limits = HeadLimits { bytes: 1 << 20, headers: 2001 };
    let (head, _) = parse_request(text.as_bytes(), limits).unwrap().unwrap();
    assert_eq!(head.headers["x-1999"], "1999");
    assert_eq!(
        parse_request(text.as_bytes(), HeadLimits { headers: 2000, ..limits }).unwrap_err(),
        Malformed::TooLarge
    );
    // A limit above what a map can hold.
    let lines = fields(33_000);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let limits = HeadLimits { bytes: 1 << 20, headers: 40_000 };
    assert_eq!(parse_request(text.as_bytes(), limits).unwrap_err(), Malformed::TooLarge);
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let text = "\r\nPOST /x HTTP/1.1\r\nHost: api.example.org\r\nContent-Length: 5\r\n\r\nhello";
    let head = text.len() - 5;
    let mut progress = Progress::default();
    for length in 0..head {
        assert!(
            resume_request(&mut progress, &text.as_bytes()[..length], LIMITS).unwrap().is_none(),
            "{length}"
        );
    }
    let (read, length) = resume_request(&mut progress, text.as_bytes(), LIMITS).unwrap().unwrap();
    assert_eq!((read.framing, length), (Framing::Length(5), head));
    // The same progress serves the next head.
    let next = "GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n";
    let (read, length) = resume_request(&mut progress, next.as_bytes(), LIMITS).unwrap().unwrap();
    assert_eq!((read.method, length), (Method::GET, next.len()));
}

#[test]
fn a_refusal_quotes_nothing_of_the_head() {
    let text = refused(with("Authorization : hunter2")).to_string();
    assert_eq!(text, "a header name that isn't a token before a colon");
}

/// Header lines, each with another name.
fn fields(number: usize) -> String {
    (0..number).fold(String::new(), |lines, number| lines + &format!("x-{number}: {number}\r\n"))
}
