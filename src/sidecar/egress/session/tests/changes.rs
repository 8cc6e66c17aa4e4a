//! A policy that changes, and a process that ends, while requests are under way.

use super::fixture::{Bottle, Origin, route, soon};
use crate::policy::reason::Reason;

/// Answers `/ok/slow` never, `/ok/stream` without an end, and everything else at once.
async fn slow() -> Origin {
    Origin::start(|mut stream| async move {
        loop {
            let head = stream.until("\r\n\r\n").await;
            match head.split(' ').nth(1).unwrap() {
                "/ok/slow" => drop(stream.rest().await),
                "/ok/stream" => {
                    stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
                    stream.rest().await;
                }
                _ => stream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_policy_that_refuses_what_is_under_way_cuts_it() {
    let origin = slow().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut waiting = bottle.client().await;
    waiting.send(&origin.request("GET", "/ok/slow", "")).await;
    let mut streaming = bottle.client().await;
    streaming.send(&origin.request("GET", "/ok/stream", "")).await;
    streaming.until("first").await;
    let mut other = bottle.client().await;
    assert_eq!(other.ask(&origin.request("GET", "/ok", "")).await.body, "ok");

    bottle.change(&route(&origin, "").replace("/ok/**", "/ok/other")).await;
    assert_eq!(waiting.answer().await.refusal(), (403, "policy-changed"));
    let (rest, _) = streaming.rest().await;
    assert_eq!(rest, "\r\n", "nothing that would look like an end");
    assert_eq!(bottle.refused(Reason::PolicyChanged).await, 2);
    // What is still allowed goes on, on the same connections.
    for client in [&mut other, &mut waiting] {
        assert_eq!(client.ask(&origin.request("GET", "/ok", "")).await.body, "ok");
    }
}

#[tokio::test]
async fn a_policy_that_still_allows_what_is_under_way_leaves_it_alone() {
    let origin = slow().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut streaming = bottle.client().await;
    streaming.send(&origin.request("GET", "/ok/stream", "")).await;
    streaming.until("first").await;
    bottle.change(&route(&origin, "").replace("bottle.yaml:1", "bottle.yaml:2")).await;
    // The new policy has reached the connections when another one is served by it.
    let mut client = bottle.client().await;
    assert_eq!(client.ask(&origin.request("GET", "/ok", "")).await.body, "ok");
    assert_eq!(bottle.egress.metrics.refusals().count(), 0);
    assert_eq!(bottle.egress.metrics.open.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_idle_session_with_a_host_that_is_no_longer_allowed_is_closed() {
    let route = "{ source: \"bottle.yaml:1\", host: example.org, scheme: https, ports: [443], methods: [GET], paths: [/ok] }";
    let bottle = Bottle::start(route).await;
    let mut client = bottle.inside("example.org:443").await;
    let ask = "GET /no HTTP/1.1\r\nHost: example.org\r\n\r\n";
    assert_eq!(client.ask(ask).await.refusal(), (403, "path-denied"));
    bottle.change("").await;
    assert_eq!(client.rest().await, (String::new(), true));
}

#[tokio::test]
async fn a_session_that_has_just_begun_hears_why_it_is_refused() {
    let route = "{ source: \"bottle.yaml:1\", host: example.org, scheme: https, ports: [443], methods: [GET], paths: [/ok] }";
    let bottle = Bottle::start(route).await;
    let mut client = bottle.inside("example.org:443").await;
    bottle.change("").await;
    let ask = "GET /ok HTTP/1.1\r\nHost: example.org\r\n\r\n";
    assert_eq!(client.ask(ask).await.refusal(), (403, "route-missing"));
}

#[tokio::test]
async fn draining_closes_what_is_idle_and_lets_the_rest_end() {
    let (end, ending) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |mut stream| {
        let mut ending = ending.clone();
        async move {
            loop {
                stream.until("\r\n\r\n").await;
                ending.wait_for(|end| *end).await.unwrap();
                stream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut idle = bottle.inside("example.org:443").await;
    let mut waiting = bottle.client().await;
    waiting.send(&origin.request("GET", "/ok", "")).await;
    soon(async {
        while origin.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bottle.drain.send_replace(true);
    assert_eq!(idle.rest().await, (String::new(), true));
    end.send_replace(true);
    let answer = waiting.answer().await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("ok", Some("close")));
    assert_eq!(waiting.rest().await, (String::new(), true));
    soon(bottle.serving).await.unwrap();
}

#[tokio::test]
async fn draining_ends_at_its_limit_whatever_is_still_open() {
    let origin = slow().await;
    let bottle = Bottle::limited(&route(&origin, ""), &["--drain", "50"]).await;
    let mut waiting = bottle.client().await;
    waiting.send(&origin.request("GET", "/ok/stream", "")).await;
    waiting.until("first").await;
    bottle.drain.send_replace(true);
    soon(bottle.serving).await.unwrap();
}
