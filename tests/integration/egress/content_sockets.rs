//! Secrets in the messages of a WebSocket.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use bottle::policy::egress::{Inject, OnSecret, Route};

use super::support::{Client, Egress, Origin, Setup, eventually, paths};

const SECRET: &str = "s3cr3t-0123456789-abcdefghij";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An origin that keeps the payload of the frames that arrive whole, without their masks, and answers each with one.
fn world(on_secret: OnSecret) -> (Origin, Egress, Arc<Mutex<Vec<u8>>>) {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let seen = Arc::clone(&kept);
    let origin = Origin::raw(move |mut conn| {
        let Ok(Some(_)) = conn.request() else { return };
        drop(conn.say(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        )));
        let mut head = [0; 2];
        while conn.read_exact(&mut head).is_ok() {
            let mut length = usize::from(head[1] & 0x7f);
            if length == 126 {
                let mut long = [0; 2];
                if conn.read_exact(&mut long).is_err() {
                    return;
                }
                length = usize::from(u16::from_be_bytes(long));
            }
            let (mut mask, mut byte) = ([0; 4], [0]);
            if conn.read_exact(&mut mask).is_err() {
                return;
            }
            for at in 0..length {
                if conn.read_exact(&mut byte).is_err() {
                    return;
                }
                seen.lock().unwrap().push(byte[0] ^ mask[at % 4]);
            }
            if conn.write_all(&[0x81, 1, b'.']).and_then(|()| conn.flush()).is_err() {
                return;
            }
        }
    });
    let route = Route { websocket: true, on_secret, ..origin.route() };
    let egress = Setup::new()
        .secret("api", Inject::Bearer, SECRET)
        .route(Route { paths: paths(&["/v1"]), credential: Some("api".to_owned()), ..route.clone() })
        .route(route)
        .start();
    (origin, egress, kept)
}

fn open(origin: &Origin, egress: &Egress) -> Client {
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: \
         permessage-deflate\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
        origin.authority()
    ));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    client
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x9f, 0x12, 0x00, 0x5a];
    let mut bytes = vec![first];
    if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
        bytes.push(0x80 | length);
    } else {
        bytes.push(0xfe);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Says frames, and the connection must end with a Close frame that says why.
fn refused(on_secret: OnSecret, frames: &[(u8, &str)]) -> String {
    let (origin, egress, kept) = world(on_secret);
    let mut client = open(&origin, &egress);
    for (first, payload) in frames {
        if client.try_send(&frame(*first, payload.as_bytes())).is_err() {
            break;
        }
    }
    let end = client.end();
    let told = String::from_utf8_lossy(&end).into_owned();
    assert!(told.contains("secret-sent"), "{frames:?}: {told}");
    eventually("the upstream's connection is gone", || origin.open() == 0);
    let line = egress.audited_reason("secret-sent");
    assert!(line["findings"][0].as_str().unwrap().starts_with("credential:api:"), "{line}");
    String::from_utf8_lossy(&kept.lock().unwrap()).into_owned()
}

#[test]
fn a_secret_in_a_message_ends_the_connection_before_it_leaves() {
    let (a, b) = SECRET.split_at(12);
    let (b, c) = b.split_at(5);
    for first in [0x81, 0x82] {
        let text = format!("{{\"key\":\"{SECRET}\"}}");
        let arrived = refused(OnSecret::Block, &[(first, "hello"), (first, &text)]);
        assert!(!arrived.contains("s3cr"), "{arrived}");
    }
    // In fragments with a ping between them, and in a ping itself.
    let arrived = refused(OnSecret::Block, &[(0x01, a), (0x89, "ping"), (0x00, b), (0x80, c)]);
    assert!(!arrived.contains("s3cr"), "{arrived}");
    let arrived = refused(OnSecret::Block, &[(0x81, "hello"), (0x89, SECRET)]);
    assert!(!arrived.contains("s3cr"), "{arrived}");
    // In several messages: the last part does not leave.
    let arrived = refused(OnSecret::Block, &[(0x81, a), (0x81, b), (0x81, c)]);
    assert!(!arrived.contains(c), "{arrived}");
    refused(OnSecret::Redact, &[(0x81, a), (0x81, b), (0x81, c)]);
    refused(OnSecret::Redact, &[(0x8a, SECRET)]);
    // In several pings, between which there is a message.
    let (begin, rest) = SECRET.split_at(20);
    let arrived = refused(OnSecret::Block, &[(0x89, begin), (0x81, "hello"), (0x89, rest)]);
    assert!(!arrived.contains(rest), "{arrived}");
}

/// Its bytes come one by one, and none of them goes on before the last one.
#[test]
fn a_control_frame_that_is_not_whole_stays_here() {
    let (origin, egress, kept) = world(OnSecret::Block);
    let mut client = open(&origin, &egress);
    let ping = frame(0x89, SECRET.as_bytes());
    let (most, last) = ping.split_at(ping.len() - 1);
    client.send(&frame(0x81, b"hello"));
    assert_eq!(client.take(3), [0x81, 1, b'.']);
    for byte in most {
        client.send(&[*byte]);
    }
    client.send(last);
    assert!(String::from_utf8_lossy(&client.end()).contains("secret-sent"));
    assert_eq!(String::from_utf8_lossy(&kept.lock().unwrap()), "hello");
}

/// What is held back until it is decided is not added to without an end by what says nothing.
#[test]
fn frames_without_a_byte_behind_the_beginning_of_a_secret_end_the_connection() {
    let (origin, egress, kept) = world(OnSecret::Block);
    let mut client = open(&origin, &egress);
    let (begin, _) = SECRET.split_at(20);
    client.send(&frame(0x01, begin.as_bytes()));
    let nothing = frame(0x00, b"").repeat(10_000);
    // What is told last may be lost, since more was on its way by then.
    while client.try_send(&nothing).is_ok() {}
    egress.audited_reason("body-unreadable");
    assert!(kept.lock().unwrap().is_empty());
}

#[test]
fn a_message_that_ends_like_a_secret_begins_is_not_kept_waiting() {
    let (origin, egress, kept) = world(OnSecret::Block);
    let mut client = open(&origin, &egress);
    for text in [SECRET.split_at(1).0, SECRET.split_at(27).0, "x", ""] {
        client.send(&frame(0x81, text.as_bytes()));
        assert_eq!(client.take(3), [0x81, 1, b'.']);
    }
    assert_eq!(
        String::from_utf8_lossy(&kept.lock().unwrap()),
        format!("{}{}x", SECRET.split_at(1).0, SECRET.split_at(27).0)
    );
}

#[test]
fn redacting_covers_a_secret_in_its_frames_and_under_their_masks() {
    let (origin, egress, kept) = world(OnSecret::Redact);
    let mut client = open(&origin, &egress);
    let (a, b) = SECRET.split_at(13);
    let texts = [
        (0x81, format!("<{SECRET}>")),
        (0x01, format!("1{a}")),
        (0x80, format!("{b}2{SECRET}")),
        (0x82, format!("{}{SECRET}{}", "y".repeat(300), "z".repeat(70))),
    ];
    let all: Vec<u8> = texts.iter().flat_map(|(first, text)| frame(*first, text.as_bytes())).collect();
    // In whatever pieces they come.
    for piece in all.chunks(11) {
        client.send(piece);
    }
    for _ in &texts {
        assert_eq!(client.take(3), [0x81, 1, b'.']);
    }
    let expected: String = texts.iter().map(|(_, text)| text.as_str()).collect();
    let expected = expected.replace(SECRET, &"*".repeat(SECRET.len()));
    assert_eq!(String::from_utf8_lossy(&kept.lock().unwrap()), expected);
}

#[test]
fn what_is_no_secret_is_counted_and_goes_on() {
    let (origin, egress, kept) = world(OnSecret::Block);
    let mut client = open(&origin, &egress);
    client.send(&frame(0x81, b"harmless"));
    client.take(3);
    drop(client);
    let line = egress.audited(|line| line["path"] == "/chat" && line["event"] == "request");
    assert!(line["scanned"].as_u64().unwrap() > 8 && line.get("findings").is_none(), "{line}");
    assert_eq!(*kept.lock().unwrap(), b"harmless");
}
