use http::Method;

use super::super::{Framing, Malformed, Version, parse_response};
use super::{LIMITS, response};

fn framing(method: &Method, text: &str) -> (Framing, bool) {
    let head = response(method, text);
    (head.framing, head.keep_alive)
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>) -> Malformed {
    match parse_response(bytes.as_ref(), &Method::GET, LIMITS) {
        Err(malformed) => malformed,
        Ok(read) => panic!("{:?} was read as {read:?}", String::from_utf8_lossy(bytes.as_ref())),
    }
}

#[test]
fn a_response_is_read_as_it_was_sent() {
    let head = response(
        &Method::GET,
        "HTTP/1.1 299 A \u{e9} reason\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(head.status.as_u16(), 299);
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!((head.framing, head.keep_alive), (Framing::Length(3), true));
}

#[test]
fn the_reason_phrase_may_be_missing() {
    assert_eq!(response(&Method::GET, "HTTP/1.1 200\r\n\r\n").status.as_u16(), 200);
    assert_eq!(response(&Method::GET, "HTTP/1.1 200 \r\n\r\n").status.as_u16(), 200);
}

#[test]
fn some_responses_have_no_body() {
    for (method, status) in [
        (Method::HEAD, "200 OK"),
        (Method::HEAD, "404 Not Found"),
        (Method::GET, "304 Not Modified"),
        (Method::CONNECT, "200 OK"),
    ] {
        for line in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let read = framing(&method, &format!("HTTP/1.1 {status}\r\n{line}\r\n"));
            assert_eq!(read, (Framing::Empty, true), "{method} {status} {line}");
        }
    }
    for status in ["100 Continue", "103 Early Hints", "204 No Content"] {
        for line in ["Content-Length: 0\r\n", ""] {
            assert_eq!(
                framing(&Method::GET, &format!("HTTP/1.1 {status}\r\n{line}\r\n")),
                (Framing::Empty, true)
            );
        }
        // A body that can't be there may come all the same: nothing after it is believed.
        for line in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(
                framing(&Method::GET, &format!("HTTP/1.1 {status}\r\n{line}\r\n")),
                (Framing::Empty, false)
            );
        }
    }
}

#[test]
fn a_refused_connect_has_a_body() {
    assert_eq!(
        framing(&Method::CONNECT, "HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n").0,
        Framing::Length(5)
    );
}

#[test]
fn after_switching_protocols_the_connection_is_no_longer_http() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(framing(&Method::GET, head), (Framing::Empty, false));
}

#[test]
fn a_body_ends_as_the_head_says() {
    assert_eq!(framing(&Method::GET, "HTTP/1.1 200 OK\r\n\r\n"), (Framing::Close, false));
    assert_eq!(
        framing(&Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Framing::Length(0), true)
    );
    assert_eq!(
        framing(&Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Framing::Chunked, true)
    );
    assert_eq!(
        framing(&Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"),
        (Framing::Length(5), false)
    );
}

#[test]
fn http_1_0_keeps_a_connection_only_when_it_says_so() {
    assert_eq!(
        framing(&Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (Framing::Length(5), false)
    );
    assert_eq!(
        framing(&Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"),
        (Framing::Length(5), true)
    );
    assert_eq!(
        framing(&Method::GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"),
        (Framing::Close, false)
    );
}

#[test]
fn the_same_length_may_be_said_twice() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(framing(&Method::GET, head).0, Framing::Length(5));
}

#[test]
fn framing_with_two_readings_is_refused() {
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: five\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "A: b\r\n c\r\n",
        "A: b\n",
        "A: b\rc\r\n",
        "A: \0\r\n",
        "A : b\r\n",
    ] {
        refused(format!("HTTP/1.1 200 OK\r\n{lines}"));
    }
    refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n");
}

#[test]
fn a_status_line_has_a_version_and_three_digits() {
    for line in [
        "HTTP/2 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 200OK",
        "ICY 200 OK",
        "",
    ] {
        refused(format!("{line}\r\n"));
    }
}

#[test]
fn a_response_that_grows_beyond_the_limits_is_refused() {
    let lines = "a: b\r\n".repeat(LIMITS.headers + 1);
    assert_eq!(refused(format!("HTTP/1.1 200 OK\r\n{lines}")), Malformed::TooLarge);
    assert_eq!(refused(format!("HTTP/1.1 200 {}", "x".repeat(LIMITS.bytes))), Malformed::TooLarge);
}
