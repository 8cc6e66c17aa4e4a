//! What arrives within CONNECT.

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;

use super::fixture::{Bottle, soon};
use crate::policy::reason::Reason;

const ROUTE: &str = "{ source: \"bottle.yaml:1\", host: example.org, scheme: https, ports: [443], \
                     methods: [GET], paths: [/ok] }";

#[tokio::test]
async fn what_is_no_client_hello_is_closed() {
    let bottle = Bottle::limited(ROUTE, &["--handshake", "100"]).await;
    for bytes in
        ["SSH-2.0-x\r\n", "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "\u{0}\u{1}\u{2}\u{3}\u{4}\u{5}"]
    {
        let mut client = bottle.connected("example.org:443").await;
        client.send(bytes).await;
        let (rest, _) = client.rest().await;
        assert!(rest.len() <= 7, "at most a TLS alert: {rest:?}");
    }
    assert_eq!(bottle.refused(Reason::RequestMalformed).await, 3);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_or_stays_half_is_closed_in_time() {
    let bottle = Bottle::limited(ROUTE, &["--handshake", "100"]).await;
    for bytes in ["", "\u{16}\u{3}\u{1}\u{2}"] {
        let mut client = bottle.connected("example.org:443").await;
        client.send(bytes).await;
        let (rest, _) = client.rest().await;
        assert!(rest.len() <= 7, "{rest:?}");
    }
    assert_eq!(bottle.refused(Reason::RequestTimeout).await, 2);
}

#[tokio::test]
async fn an_sni_that_is_missing_or_names_another_host_is_closed() {
    let bottle = Bottle::start(ROUTE).await;
    for name in ["other.example.org", "example.com", "127.0.0.1"] {
        let client = bottle.connected("example.org:443").await;
        let tls = bottle.tls("http/1.1");
        let error =
            soon(tls.connect(ServerName::try_from(name).unwrap(), client.stream)).await.err().unwrap();
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    }
    assert_eq!(bottle.refused(Reason::HostMismatch).await, 3);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_is_told_of_in_the_log() {
    let bottle = Bottle::start(ROUTE).await;
    let stranger = Bottle::start(ROUTE).await;
    let client = bottle.connected("example.org:443").await;
    let name = ServerName::try_from("example.org").unwrap();
    assert!(soon(stranger.tls("http/1.1").connect(name, client.stream)).await.is_err());
    assert_eq!(bottle.refused(Reason::RequestMalformed).await, 1);
    bottle.egress.audit.close(std::time::Duration::from_secs(5));
    let log = std::fs::read_dir(bottle.directory.path().join("state")).unwrap();
    let log: String =
        log.filter_map(|entry| crate::fs::read_to_string(&entry.unwrap().path()).ok()).collect();
    assert!(log.contains("does not trust the bottle's certificate authority"), "{log}");
}

#[tokio::test]
async fn a_refusal_can_be_read_inside_the_session() {
    let bottle = Bottle::start(ROUTE).await;
    let mut client = bottle.inside("unknown.example.net:443").await;
    let answer = client.ask("GET / HTTP/1.1\r\nHost: unknown.example.net\r\n\r\n").await;
    assert_eq!(answer.refusal(), (403, "route-missing"));
    let text = "GET / HTTP/1.1\r\nHost: unknown.example.net\r\nAccept: text/html\r\n\r\n";
    let answer = client.ask(text).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.body.starts_with("egress refused this request (route-missing)"), "{}", answer.body);
    client.send("HEAD / HTTP/1.1\r\nHost: unknown.example.net\r\n\r\n").await;
    let answer = client.answer_to(&http::Method::HEAD).await;
    assert_eq!((answer.refusal(), answer.body.as_str()), ((403, "route-missing"), ""));
    let mut client = bottle.inside("example.org:8443").await;
    let answer = client.ask("GET /ok HTTP/1.1\r\nHost: example.org:8443\r\n\r\n").await;
    assert_eq!(answer.refusal(), (403, "port-denied"));
}

#[tokio::test]
async fn no_request_inside_a_session_goes_to_another_place() {
    let bottle = Bottle::start(ROUTE).await;
    for (request, refusal) in [
        ("GET /ok HTTP/1.1\r\nHost: other.example.org\r\n\r\n", (421, "host-mismatch")),
        ("GET /ok HTTP/1.1\r\nHost: example.org:8443\r\n\r\n", (421, "host-mismatch")),
        ("GET https://other.example.org/ok HTTP/1.1\r\nHost: example.org\r\n\r\n", (421, "host-mismatch")),
        ("GET http://example.org/ok HTTP/1.1\r\nHost: example.org\r\n\r\n", (421, "host-mismatch")),
        ("GET /ok HTTP/1.1\r\n\r\n", (400, "request-malformed")),
        ("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n", (400, "request-malformed")),
        ("OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n", (400, "request-malformed")),
    ] {
        let mut client = bottle.inside("example.org:443").await;
        assert_eq!(client.ask(request).await.refusal(), refusal, "{request:?}");
        let (rest, _) = client.rest().await;
        assert_eq!(rest, "");
    }
}

#[tokio::test]
async fn every_upgrade_that_is_no_allowed_websocket_is_denied() {
    let bottle = Bottle::start(ROUTE).await;
    let websocket = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (protocol, more) in [("h2c", ""), ("websocket", websocket), ("websocket, h2c", websocket)] {
        let mut client = bottle.inside("example.org:443").await;
        let head = format!(
            "GET /ok HTTP/1.1\r\nHost: example.org\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n"
        );
        let answer = client.ask(&format!("{head}{more}\r\n")).await;
        assert_eq!(answer.refusal(), (403, "upgrade-denied"), "{protocol}");
    }
}

#[tokio::test]
async fn every_stream_of_http2_is_judged_and_none_names_another_place() {
    let bottle = Bottle::start(ROUTE).await;
    let client = bottle.connected("example.org:443").await;
    let name = ServerName::try_from("example.org").unwrap();
    let tls = soon(bottle.tls("h2").connect(name, client.stream)).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    let request = |method: &str, uri: &str, host: Option<&str>| {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(Empty::<bytes::Bytes>::new()).unwrap()
    };
    for (request, status, reason) in [
        (
            request("GET", "https://other.example.org/ok", None),
            StatusCode::MISDIRECTED_REQUEST,
            "host-mismatch",
        ),
        (
            request("GET", "https://example.org:8443/ok", None),
            StatusCode::MISDIRECTED_REQUEST,
            "host-mismatch",
        ),
        (
            request("GET", "https://example.org/ok", Some("other.example.org")),
            StatusCode::MISDIRECTED_REQUEST,
            "host-mismatch",
        ),
        (request("GET", "http://example.org/ok", None), StatusCode::BAD_REQUEST, "request-malformed"),
        (request("CONNECT", "example.org:443", None), StatusCode::BAD_REQUEST, "request-malformed"),
        (request("GET", "https://example.org/no", None), StatusCode::FORBIDDEN, "path-denied"),
        (request("POST", "https://example.org/ok", None), StatusCode::FORBIDDEN, "method-denied"),
    ] {
        let what = format!("{request:?}");
        let answer = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(
            (answer.status(), answer.headers()["x-bottle-reason"].as_bytes()),
            (status, reason.as_bytes()),
            "{what}"
        );
        let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(told["code"], reason);
    }
}
