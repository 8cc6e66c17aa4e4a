//! WebSockets: only where a route says so, and only what was asked for.

use std::io::{Read as _, Write as _};

use bottle::policy::egress::{Inject, Route};

use super::support::{Client, Egress, Node, Origin, Setup, eventually};

/// The key of RFC 6455, section 1.3, and the answer that belongs to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn world() -> (Node, Egress) {
    let node = Node::start();
    let egress = Setup::new().route(Route { websocket: true, ..node.route() }).start();
    (node, egress)
}

fn ask(client: &mut Client, authority: &str) {
    client.say(&format!(
        "GET /chat HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    ));
}

/// A masked frame with text.
fn frame(text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    bytes.extend(mask);
    bytes.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[test]
fn frames_go_both_ways_as_they_come() {
    let (node, egress) = world();
    let mut client = egress.open(&node.authority());
    ask(&mut client, &node.authority());
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let lower = head.to_lowercase();
    assert!(lower.contains(&format!("sec-websocket-accept: {}", ACCEPT.to_lowercase())), "{head}");
    assert!(lower.contains("upgrade: websocket") && lower.contains("connection: upgrade"), "{head}");
    for text in ["hello", "again", ""] {
        client.send(&frame(text));
        let got = client.take(2 + text.len());
        assert_eq!(&got[2..], text.as_bytes());
    }
}

#[test]
fn frames_sent_right_behind_the_request_are_not_lost() {
    let (node, egress) = world();
    let mut client = egress.open(&node.authority());
    ask(&mut client, &node.authority());
    client.send(&frame("early"));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    assert_eq!(&client.take(7)[2..], b"early");
}

#[test]
fn the_end_of_one_side_ends_the_other() {
    let (node, egress) = world();
    let mut client = egress.open(&node.authority());
    ask(&mut client, &node.authority());
    client.head();
    // A close frame: the origin answers it and closes.
    client.send(&[0x88, 0x80, 0, 0, 0, 0]);
    assert_eq!(client.end(), [0x88, 0x00]);
}

#[test]
fn a_websocket_that_no_route_allows_is_refused_and_nothing_is_sent() {
    let origin = Origin::https(super::support::echo);
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.open(&origin.authority());
    ask(&mut client, &origin.authority());
    let response = client.response("GET").refused("upgrade-denied");
    assert_eq!(response.status, 403);
    origin.untouched();
}

#[test]
fn an_answer_other_than_101_is_an_answer() {
    let origin = Origin::https(|_, conn| conn.say("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"));
    let egress = Setup::new().route(Route { websocket: true, ..origin.route() }).start();
    let mut client = egress.open(&origin.authority());
    ask(&mut client, &origin.authority());
    let response = client.response("GET");
    assert_eq!((response.status, response.text().as_str()), (404, "no"));
    // It is HTTP still: what follows is a request, and is judged.
    client.say(&format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", origin.authority()));
    client.response("POST").refused("method-denied");
}

#[test]
fn a_101_with_a_wrong_accept_is_no_websocket() {
    for head in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ] {
        let origin = Origin::https(move |_, conn| {
            conn.say(&format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\nbytes of a tunnel"))
        });
        let egress = Setup::new().route(Route { websocket: true, ..origin.route() }).start();
        let mut client = egress.open(&origin.authority());
        ask(&mut client, &origin.authority());
        let response = client.response("GET");
        assert_eq!(response.status, 502, "{head}: {response:?}");
        assert!(!response.text().contains("tunnel"));
    }
}

#[test]
fn a_request_that_is_no_proper_websocket_request_is_refused() {
    let origin = Origin::https(super::support::echo);
    let route = Route { websocket: true, methods: super::support::any(), ..origin.route() };
    let egress = Setup::new().route(route).start();
    for (method, lines) in [
        (
            "POST",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY",
        ),
        ("GET", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"),
        (
            "GET",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x",
        ),
        ("GET", "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY"),
        (
            "GET",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: KEY\r\nContent-Length: 2",
        ),
    ] {
        let mut client = egress.open(&origin.authority());
        let lines = lines.replace("KEY", KEY);
        client.say(&format!("{method} / HTTP/1.1\r\nHost: {}\r\n{lines}\r\n\r\n", origin.authority()));
        let response = client.response("GET");
        assert!((400..500).contains(&response.status), "{lines}: {response:?}");
    }
    origin.untouched();
}

#[test]
fn an_upgrade_header_that_connection_does_not_name_is_not_passed_on() {
    let origin = Origin::https(super::support::echo);
    let egress = Setup::new().route(Route { websocket: true, ..origin.route() }).start();
    let response = egress.request("GET", &origin.url("/"), &["Upgrade: websocket"], b"");
    if response.status == 200 {
        assert_eq!(origin.last().header("upgrade"), None);
    }
}

#[test]
fn an_agent_that_goes_away_ends_the_websocket_upstream() {
    let origin = Origin::raw(|mut conn| {
        let Ok(Some(_)) = conn.request() else { return };
        drop(conn.say(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        )));
        drop(conn.request());
    });
    let egress = Setup::new().route(Route { websocket: true, ..origin.route() }).start();
    let mut client = egress.open(&origin.authority());
    ask(&mut client, &origin.authority());
    assert!(client.head().starts_with("HTTP/1.1 101"));
    drop(client);
    eventually("the upstream's connection is gone", || origin.open() == 0);
}

#[test]
fn a_credential_that_comes_back_in_two_frames_is_covered() {
    const SECRET: &str = "s3cr3t-0123456789-abcdefghij";
    // Fragments of one message with a ping between them, and two messages.
    let frames = [
        (0x01, SECRET.split_at(12).0),
        (0x89, "ping"),
        (0x80, SECRET.split_at(12).1),
        (0x81, SECRET.split_at(20).0),
        (0x82, SECRET.split_at(20).1),
    ];
    let origin = Origin::raw(move |mut conn| {
        let Ok(Some(seen)) = conn.request() else { return };
        assert!(seen.head.contains(SECRET), "it was injected");
        drop(conn.say(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        )));
        for (first, payload) in frames {
            // Each is passed on before the next one comes.
            let frame = [&[first, u8::try_from(payload.len()).unwrap()], payload.as_bytes()].concat();
            drop(conn.write_all(&frame).and_then(|()| conn.flush()));
            drop(conn.read_exact(&mut [0; 7]));
        }
    });
    let route = Route { websocket: true, credential: Some("api".to_owned()), ..origin.route() };
    let egress = Setup::new().secret("api", Inject::Bearer, SECRET).route(route).start();
    let mut client = egress.open(&origin.authority());
    ask(&mut client, &origin.authority());
    assert!(client.head().starts_with("HTTP/1.1 101"));
    for (first, payload) in frames {
        let got = client.take(2 + payload.len());
        assert_eq!((got[0], usize::from(got[1])), (first, payload.len()));
        let expected = if payload == "ping" { payload.to_owned() } else { "*".repeat(payload.len()) };
        assert_eq!(String::from_utf8_lossy(&got[2..]), expected);
        client.send(&frame("a"));
    }
}
