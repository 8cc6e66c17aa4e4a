//! What arrives at the proxy itself.

use super::fixture::{Bottle, Origin, route};
use crate::policy::reason::Reason;

#[tokio::test]
async fn a_request_that_is_none_for_a_proxy_is_told_so() {
    let bottle = Bottle::start("").await;
    for (request, detail) in [
        ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "this is a proxy"),
        ("GET https://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "in the clear"),
        ("GET ftp://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "scheme"),
        ("OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n", "this is a proxy"),
        ("\u{16}\u{3}\u{1}\u{2}\r\n", "control character"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "request-malformed"),
    ] {
        let mut client = bottle.client().await;
        let answer = client.ask(request).await;
        assert_eq!(answer.refusal(), (400, "request-malformed"), "{request:?}");
        assert!(answer.body.contains(detail), "{}", answer.body);
        assert_eq!(client.rest().await, (String::new(), true), "{request:?}");
    }
}

#[tokio::test]
async fn connect_names_a_host_and_a_port_and_nothing_else() {
    let bottle = Bottle::start("").await;
    for target in [
        "example.org",
        "example.org:",
        "example.org:0",
        "example.org:65536",
        "example.org:+443",
        "user@example.org:443",
        "exa_mple..org:443",
        ":443",
        "[::1:443",
    ] {
        let mut client = bottle.client().await;
        let answer = client.ask(&format!("CONNECT {target} HTTP/1.1\r\nHost: example.org\r\n\r\n")).await;
        assert_eq!(answer.refusal(), (400, "request-malformed"), "{target}");
        assert!(!answer.head.keep_alive);
    }
}

#[tokio::test]
async fn an_address_that_no_route_names_is_refused_before_tls_in_any_notation() {
    let bottle = Bottle::start("").await;
    let mut client = bottle.client().await;
    for target in ["127.0.0.1:443", "[::1]:443", "[::ffff:10.0.0.1]:443"] {
        let answer = client.ask(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert_eq!(answer.refusal(), (403, "address-denied"), "{target}");
    }
    for target in ["0x7f.1:443", "2130706433:443", "127.1:443", "0177.0.0.1:443"] {
        let mut client = bottle.client().await;
        let answer = client.ask(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert_eq!(answer.refusal(), (403, "address-denied"), "{target}");
    }
}

#[tokio::test]
async fn a_host_header_that_names_another_place_is_refused() {
    let origin = Origin::echo().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    for host in ["evil.example.net", "origin.example.org", "origin.example.org:1"] {
        let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", origin.url("/ok"));
        let answer = bottle.client().await.ask(&request).await;
        assert_eq!(answer.refusal(), (421, "host-mismatch"), "{host}");
    }
    let connect = "CONNECT example.org:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\n";
    assert_eq!(bottle.client().await.ask(connect).await.refusal(), (421, "host-mismatch"));
    assert_eq!(origin.connections(), 0);
    assert_eq!(bottle.refused(Reason::HostMismatch).await, 4);
}

#[tokio::test]
async fn ambiguous_framing_is_refused_before_anything_goes_upstream() {
    let origin = Origin::echo().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    for more in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "X: a\r\n folded\r\n",
        "X : a\r\n",
        "X: a\n",
        "X: a\rb\r\n",
        "Host: origin.example.org\r\n",
        "Expect: 200-maybe\r\n",
    ] {
        let mut client = bottle.client().await;
        let answer = client.ask(&origin.request("POST", "/ok", more)).await;
        assert_eq!(answer.refusal(), (400, "request-malformed"), "{more:?}");
        assert_eq!(client.rest().await, (String::new(), true), "{more:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn each_request_on_a_connection_is_judged_and_refusals_keep_it_open() {
    let origin = Origin::echo().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    let answer = client.ask(&origin.request("GET", "/ok?a=%2f", "")).await;
    assert_eq!((answer.head.status.as_u16(), answer.body.as_str()), (200, "/ok?a=%2f"));
    assert_eq!(client.ask(&origin.request("GET", "/no", "")).await.refusal(), (403, "path-denied"));
    assert_eq!(client.ask(&origin.request("DELETE", "/ok", "")).await.refusal(), (403, "method-denied"));
    let other = "GET http://other.example.org/ok HTTP/1.1\r\nHost: other.example.org\r\n\r\n";
    assert_eq!(client.ask(other).await.refusal(), (403, "route-missing"));
    assert_eq!(client.ask(&origin.request("GET", "/ok/again", "")).await.body, "/ok/again");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    let requests = ["/ok/1", "/no", "/ok/2"].map(|path| origin.request("GET", path, "")).concat();
    client.send(&requests).await;
    assert_eq!(client.answer().await.body, "/ok/1");
    assert_eq!(client.answer().await.refusal(), (403, "path-denied"));
    assert_eq!(client.answer().await.body, "/ok/2");
}
