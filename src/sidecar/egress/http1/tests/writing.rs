use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::super::{Framing, Version, strip_hop_by_hop, write_request, write_response};

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn request(
    method: &Method,
    target: &str,
    fields: &[(&str, &str)],
    framing: Framing,
    upgrade: Option<&str>,
) -> String {
    let mut out = BytesMut::new();
    write_request(&mut out, method, target, "a.example.org", &headers(fields), framing, upgrade);
    String::from_utf8(out.to_vec()).unwrap()
}

fn response(version: Version, status: u16, fields: &[(&str, &str)], framing: Framing, close: bool) -> String {
    let (mut out, status) = (BytesMut::new(), StatusCode::from_u16(status).unwrap());
    write_response(&mut out, version, status, &headers(fields), framing, close);
    String::from_utf8(out.to_vec()).unwrap()
}

fn stripped(fields: &[(&str, &str)]) -> Vec<String> {
    let mut headers = headers(fields);
    strip_hop_by_hop(&mut headers);
    let mut left: Vec<String> = headers.keys().map(ToString::to_string).collect();
    left.sort();
    left
}

#[test]
fn a_request_begins_with_its_host() {
    assert_eq!(
        request(&Method::GET, "/a?b", &[("accept", "*/*")], Framing::Empty, None),
        "GET /a?b HTTP/1.1\r\nhost: a.example.org\r\naccept: */*\r\n\r\n"
    );
}

#[test]
fn a_request_says_its_framing() {
    for (method, framing, line) in [
        (Method::GET, Framing::Empty, ""),
        (Method::POST, Framing::Empty, "content-length: 0\r\n"),
        (Method::GET, Framing::Length(u64::MAX), "content-length: 18446744073709551615\r\n"),
        (Method::POST, Framing::Chunked, "transfer-encoding: chunked\r\n"),
    ] {
        let text = request(&method, "/", &[], framing, None);
        assert_eq!(text, format!("{method} / HTTP/1.1\r\nhost: a.example.org\r\n{line}\r\n"));
    }
}

#[test]
fn only_the_writer_writes_what_frames() {
    let fields = [
        ("host", "b.example.org"),
        ("content-length", "7"),
        ("transfer-encoding", "gzip"),
        ("connection", "x"),
        ("upgrade", "h2c"),
    ];
    assert_eq!(
        request(&Method::GET, "/", &fields, Framing::Empty, Some("websocket")),
        "GET / HTTP/1.1\r\nhost: a.example.org\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    assert_eq!(
        response(Version::Http11, 200, &fields[1..], Framing::Length(3), false),
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"
    );
}

#[test]
fn a_target_cannot_end_its_line() {
    assert_eq!(
        request(&Method::GET, "/ HTTP/1.1\r\nX: \u{e9}", &[], Framing::Empty, None),
        "GET /%20HTTP/1.1%0D%0AX:%20%C3%A9 HTTP/1.1\r\nhost: a.example.org\r\n\r\n"
    );
}

#[test]
fn a_response_says_whether_the_connection_persists() {
    for (version, framing, close, lines) in [
        (Version::Http11, Framing::Chunked, false, "transfer-encoding: chunked\r\n"),
        (Version::Http11, Framing::Length(1), true, "content-length: 1\r\nconnection: close\r\n"),
        (Version::Http11, Framing::Close, false, "connection: close\r\n"),
        (Version::Http10, Framing::Length(1), false, "content-length: 1\r\nconnection: keep-alive\r\n"),
        // HTTP/1.0 has no chunks.
        (Version::Http10, Framing::Chunked, false, "connection: close\r\n"),
    ] {
        assert_eq!(response(version, 200, &[], framing, close), format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    }
}

#[test]
fn a_response_without_a_body_says_no_length_of_its_own() {
    let length = [("content-length", "7")];
    // What HEAD would have got.
    assert_eq!(
        response(Version::Http11, 200, &length, Framing::Empty, false),
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"
    );
    assert_eq!(response(Version::Http11, 200, &[], Framing::Empty, false), "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(
        response(Version::Http11, 204, &length, Framing::Empty, false),
        "HTTP/1.1 204 No Content\r\n\r\n"
    );
    assert_eq!(
        response(Version::Http11, 100, &length, Framing::Empty, false),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
}

#[test]
fn a_status_without_a_name_is_written_without_one() {
    assert_eq!(response(Version::Http11, 299, &[], Framing::Empty, false), "HTTP/1.1 299 \r\n\r\n");
}

#[test]
fn switching_protocols_names_the_protocol() {
    assert_eq!(
        response(Version::Http11, 101, &[("upgrade", "websocket")], Framing::Empty, false),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    );
}

#[test]
fn what_means_one_connection_is_removed() {
    let fields = [
        ("accept", "*/*"),
        ("connection", "close, X-Named"),
        ("connection", "keep-alive,, \"junk\" ,x-other"),
        ("x-named", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("proxy-authenticate", "Basic"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("content-length", "5"),
        ("trailer", "x"),
        ("via", "1.1 the.agent.example.org"),
    ];
    assert_eq!(stripped(&fields), ["accept", "trailer", "via"]);
}

#[test]
fn connection_cannot_remove_what_says_how_the_message_is_read() {
    let fields = [
        ("connection", "content-encoding, content-type, host, set-cookie, content-length, authorization"),
        ("content-encoding", "gzip"),
        ("content-type", "text/plain"),
        ("host", "a.example.org"),
        ("set-cookie", "a=1"),
        ("content-length", "5"),
        ("authorization", "Bearer x"),
    ];
    assert_eq!(stripped(&fields), ["content-encoding", "content-type", "host", "set-cookie"]);
}
