//! Opening a WebSocket.

use http::StatusCode;

use super::*;
use crate::policy::reason::Reason;
use crate::sidecar::egress::websocket::accept_key;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request for a WebSocket that offers two subprotocols.
fn opening(port: u16) -> Outgoing {
    let mut request = Outgoing { websocket: true, ..get(port) };
    for (name, value) in [
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        request.head.headers.insert(name, value.parse().unwrap());
    }
    request
}

/// The head of the right answer, with these fields besides.
fn accepting(fields: &str) -> String {
    let accept = accept_key(KEY.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n{fields}\r\n"
    )
}

#[tokio::test]
async fn a_websocket_is_opened_and_what_came_with_the_head_comes_first() {
    let (port, _) = server(|_, mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"), "{head}");
        assert!(!head.contains("extensions"), "{head}");
        let answer = accepting("sec-websocket-protocol: chat\r\n") + "first";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let Answer::Upgraded { head, mut io } = upstream(limits()).send(opening(port)).await.unwrap() else {
        panic!("no WebSocket");
    };
    assert_eq!(head.status, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(head.headers["sec-websocket-protocol"], "chat");
    io.write_all(b"then").await.unwrap();
    let mut got = [0; 9];
    io.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"firstthen");
}

#[tokio::test]
async fn an_upstream_that_refuses_is_quoted_and_its_connection_not_used_again() {
    let (port, connections) = answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let upstream = upstream(limits());
    for _ in 0..2 {
        let response = send(&upstream, opening(port)).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(text(response.into_body()).await.unwrap(), "no");
    }
    assert_eq!(count(&connections), 2);
}

#[tokio::test]
async fn an_answer_that_is_not_the_one_to_the_request_is_refused() {
    let right = accepting("");
    let other = accept_key(b"AAAAAAAAAAAAAAAAAAAAAA==");
    for answer in [
        right.replace(&accept_key(KEY.as_bytes()), &other),
        right.replace("sec-websocket-accept", "x-accept"),
        accepting(&format!("sec-websocket-accept: {other}\r\n")),
        right.replace("upgrade: WebSocket", "upgrade: h2c"),
        right.replace("upgrade: WebSocket", "upgrade: websocket, h2c"),
        right.replace("upgrade: WebSocket\r\n", ""),
        accepting("sec-websocket-extensions: permessage-deflate\r\n"),
        accepting("sec-websocket-protocol: other\r\n"),
        accepting("sec-websocket-protocol: chat\r\nsec-websocket-protocol: superchat\r\n"),
        accepting("sec-websocket-protocol: chat, superchat\r\n"),
    ] {
        let (port, _) = answering(answer.clone()).await;
        let refusal = upstream(limits()).send(opening(port)).await.map(|_| ()).unwrap_err();
        assert_eq!(refusal.reason, Reason::UpstreamInvalid, "{answer}");
    }
}

#[tokio::test]
async fn a_request_without_a_key_does_not_leave() {
    let (port, connections) = answering(accepting("")).await;
    let refusal = upstream(limits()).send(Outgoing { websocket: true, ..get(port) }).await.map(|_| ());
    assert_eq!(refusal.unwrap_err().reason, Reason::RequestMalformed);
    assert_eq!(count(&connections), 0);
}
