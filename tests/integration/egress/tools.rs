//! Tools of the server are taken out of requests.

use std::io::Write as _;

use bottle::policy::egress::{Inject, Route};

use super::support::{Egress, GROWTH, Http2, Origin, Setup, any, echo, paths, runtime};

const BODY: &str =
    r#"{"model":"m","tools":[{"name":"read"},{"type":"web_search_20250305","name":"web_search"}]}"#;
const LEFT: &str = r#"{"model":"m","tools":[{"name":"read"}]}"#;

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let route = Route { methods: any(), strip_tools: vec!["web_search".to_owned()], ..origin.route() };
    let egress = Setup::new()
        .secret("api", Inject::Bearer, "s3cr3t-0123456789-abcdefghij")
        .route(Route { paths: paths(&["/v1/**"]), credential: Some("api".to_owned()), ..route.clone() })
        .route(route)
        .start();
    (origin, egress)
}

#[test]
fn a_tool_is_taken_out_whatever_the_framing_and_the_rest_arrives() {
    let (origin, egress) = world();
    let check = |trailers: &str| {
        let seen = origin.last();
        assert_eq!(String::from_utf8_lossy(&seen.body), LEFT);
        assert_eq!(seen.header("content-length"), Some(LEFT.len().to_string().as_str()));
        assert_eq!(seen.trailers, trailers);
    };
    egress
        .request("POST", &origin.url("/v1/messages"), &["Content-Digest: sha-256=:AA==:"], BODY.as_bytes())
        .ok();
    check("");
    assert_eq!(origin.last().header("content-digest"), None);
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n",
        origin.authority()
    ));
    for byte in BODY.bytes() {
        client.say(&format!("1\r\n{}\r\n", char::from(byte)));
    }
    client.say("0\r\nX-T: 1\r\n\r\n");
    client.response("POST").ok();
    check("");
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.send(session.build("POST", "/", BODY.as_bytes())).await.unwrap().ok();
    });
    check("");
    // What has no such tool arrives as it is.
    let other = r#" {"tools" : [ ]  }"#;
    egress.request("POST", &origin.url("/"), &[], other.as_bytes()).ok();
    assert_eq!(String::from_utf8_lossy(&origin.last().body), other);
    egress.get(&origin.url("/")).ok();
}

#[test]
fn a_packed_body_is_unpacked_and_sent_plain() {
    let (origin, egress) = world();
    let mut child = std::process::Command::new("gzip")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(BODY.as_bytes()).unwrap();
    let packed = child.wait_with_output().unwrap().stdout;
    egress.request("POST", &origin.url("/"), &["Content-Encoding: gzip"], &packed).ok();
    assert_eq!(String::from_utf8_lossy(&origin.last().body), LEFT);
    assert_eq!(origin.last().header("content-encoding"), None);
}

#[test]
fn what_can_not_be_read_is_never_passed() {
    let (origin, egress) = world();
    for (lines, body) in [
        (&[][..], b"not json".to_vec()),
        (&["Content-Type: text/plain"][..], b"tools".to_vec()),
        (&[][..], format!("{BODY}{BODY}").into_bytes()),
        (&[][..], b"{\"a\":\"\xff\"}".to_vec()),
        (&[][..], format!("\u{feff}{BODY}").into_bytes()),
        (&[][..], BODY.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        (&["Content-Encoding: gzip"][..], BODY.as_bytes().to_vec()),
        (&["Content-Encoding: compress"][..], BODY.as_bytes().to_vec()),
        (&[][..], format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)).into_bytes()),
    ] {
        let body = egress.request("POST", &origin.url("/"), lines, &body).refused("body-unreadable").json();
        // What can't be unpacked has that as its cause.
        let hint = body["hint"].as_str().unwrap();
        assert!(hint.contains("strip_tools") || lines == ["Content-Encoding: gzip"], "{body}");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_body_over_the_bound_is_refused_and_not_kept() {
    let (origin, egress) = world();
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        origin.authority()
    ));
    let piece = format!("{:x}\r\n{}\r\n", 1 << 20, "[".repeat(1 << 20));
    for _ in 0..40 {
        if client.try_send(piece.as_bytes()).is_err() {
            break;
        }
    }
    client.response("POST").refused("body-unreadable");
    assert!(origin.seen().is_empty());
    // It is collected up to its bound, 32 MiB, and in memory that grows by doubling.
    assert!(egress.growth() < GROWTH + (80 << 10), "{} kB", egress.growth());
}

#[test]
fn a_route_that_opens_websockets_has_no_tools_to_take_out() {
    let origin = Origin::https(echo);
    let route = Route { websocket: true, strip_tools: vec!["web_search".to_owned()], ..origin.route() };
    let log = Setup::new().route(route).fails();
    assert!(log.contains("a WebSocket"), "{log}");
}
