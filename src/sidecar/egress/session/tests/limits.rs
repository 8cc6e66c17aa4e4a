//! What is slow, large or too many.

use super::fixture::{Bottle, Origin, route};
use crate::policy::reason::Reason;

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_slow_head_is_answered() {
    let bottle = Bottle::limited("", &["--connect-line", "50"]).await;
    assert_eq!(bottle.client().await.rest().await, (String::new(), true));
    let mut client = bottle.client().await;
    client.send("CONNECT example.org:443 HTTP/1.1\r\n").await;
    assert_eq!(client.answer().await.refusal(), (408, "request-timeout"));
    assert_eq!(client.rest().await, (String::new(), true));
}

#[tokio::test]
async fn a_head_within_a_session_has_its_own_time_and_idling_another() {
    let bottle = Bottle::limited("", &["--head", "50", "--idle", "100"]).await;
    let mut client = bottle.inside("example.org:443").await;
    client.send("GET / HTTP/1.1\r\nHost: exam").await;
    assert_eq!(client.answer().await.refusal(), (408, "request-timeout"));
    let mut client = bottle.inside("example.org:443").await;
    assert_eq!(client.rest().await, (String::new(), true));
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let bottle = Bottle::limited("", &["--head-bytes", "1000", "--headers", "10"]).await;
    for head in [format!("X: {}", "x".repeat(1000)), "X: x\r\n".repeat(11), "x".repeat(2000)] {
        let mut client = bottle.client().await;
        client.send(&format!("GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n{head}")).await;
        assert_eq!(client.answer().await.refusal(), (431, "head-too-large"));
    }
}

#[tokio::test]
async fn a_body_that_pauses_for_too_long_is_given_up() {
    let origin = Origin::start(|mut stream| async move {
        stream.rest().await;
    })
    .await;
    let bottle = Bottle::limited(&route(&origin, ""), &["--stall", "50"]).await;
    let mut client = bottle.client().await;
    client.send(&origin.request("POST", "/ok", "Content-Length: 10\r\n")).await;
    assert_eq!(client.ask("slow").await.refusal(), (408, "request-timeout"));
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_given_up() {
    let origin = Origin::start(|mut stream| async move {
        stream.until("\r\n\r\n").await;
        let piece = "x".repeat(1 << 20);
        stream.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
        // It ends when egress does.
        while tokio::io::AsyncWriteExt::write_all(&mut stream.stream, piece.as_bytes()).await.is_ok() {}
    })
    .await;
    let bottle = Bottle::limited(&route(&origin, ""), &["--stall", "50"]).await;
    let mut client = bottle.client().await;
    client.send(&origin.request("GET", "/ok", "")).await;
    client.until("\r\n\r\n").await;
    super::fixture::soon(async {
        while bottle.egress.metrics.open.load(std::sync::atomic::Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!client.rest().await.1, "it ends with an abort");
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_at_once_and_one_that_ends_makes_room() {
    let bottle = Bottle::limited("", &["--connections", "2"]).await;
    let request = "GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n";
    let mut first = bottle.client().await;
    assert_eq!(first.ask(request).await.refusal(), (403, "route-missing"));
    let mut second = bottle.client().await;
    assert_eq!(second.ask(request).await.refusal(), (403, "route-missing"));
    let mut third = bottle.client().await;
    assert_eq!(third.answer().await.refusal(), (503, "egress-busy"));
    assert_eq!(third.rest().await, (String::new(), true));
    assert_eq!(bottle.refused(Reason::EgressBusy).await, 1);
    drop(first);
    super::fixture::soon(async {
        while bottle.egress.metrics.open.load(std::sync::atomic::Ordering::Relaxed) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(bottle.client().await.ask(request).await.refusal(), (403, "route-missing"));
}
