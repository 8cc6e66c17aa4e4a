//! HTTP/2, to the agent and to upstreams.

use std::time::Duration;

use bottle::policy::egress::Route;
use bytes::Bytes;
use futures_like::join_all;

use super::support::{Egress, Http2, Nginx, Node, Origin, Setup, any, echo, paths, runtime};

/// The one thing of a futures library that is needed here.
mod futures_like {
    /// Runs all of them at the same time and gives their results in order.
    pub(super) async fn join_all<T: Send + 'static>(
        futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let mut results = Vec::new();
        for task in futures.map(tokio::spawn).collect::<Vec<_>>() {
            results.push(task.await.unwrap());
        }
        results
    }
}

fn node_world() -> (Node, Egress) {
    let node = Node::start();
    let egress = Setup::new().route(node.route()).start();
    (node, egress)
}

#[test]
fn alpn_offers_http2_and_http1() {
    let (node, egress) = node_world();
    let chosen = |alpn: &[&str]| {
        let (_, client) = egress.connect(&node.authority());
        client.handshake(&egress, "node.test.example", alpn).unwrap().alpn()
    };
    assert_eq!(chosen(&["h2", "http/1.1"]).as_deref(), Some("h2"));
    assert_eq!(chosen(&["http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(chosen(&[]), None);
}

#[test]
fn http2_is_spoken_to_upstreams_that_offer_it_and_http1_to_the_others() {
    let (node, egress) = node_world();
    let answer = egress.get(&node.url("/echo")).ok().json();
    assert_eq!(answer["version"], "2.0", "{answer}");
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    runtime().block_on(async {
        Http2::open(&egress, &origin.authority()).await.get("/from-h2").await.ok();
    });
    assert_eq!(origin.last().line(), "GET /from-h2 HTTP/1.1");
    assert_eq!(origin.last().header("host"), Some(origin.authority().as_str()));
}

#[test]
fn many_streams_share_one_connection_upstream() {
    let (node, egress) = node_world();
    let answers = runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        session.get("/warm").await.ok();
        let one = |number| {
            let session = session.clone();
            async move { session.get(&format!("/echo?{number}")).await.ok().json() }
        };
        join_all((0..100).map(one)).await
    });
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer["url"], format!("/echo?{number}"));
        assert_eq!(answer["connections"], 1, "{answer}");
    }
}

#[test]
fn a_thousand_streams_at_a_time_are_all_answered() {
    let node = Node::start();
    let egress = Setup::new().route(node.route()).limit("streams", 1000).start();
    let statuses = runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        let one = |number| {
            let session = session.clone();
            async move { session.get(&format!("/echo?{number}")).await.status }
        };
        join_all((0..1000).map(one)).await
    });
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(statuses.len(), 1000);
}

#[test]
fn the_limit_of_streams_is_announced_and_kept() {
    let (origin, held) = holding();
    let egress = Setup::new().route(origin.route()).limit("streams", 4).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.get("/first").await.ok();
        let one = move |number| {
            let session = session.clone();
            async move { session.get(&format!("/hold?{number}")).await.status }
        };
        let all = tokio::spawn(join_all((0..12).map(one)));
        // The client keeps to what it was told: no more than four are ever there at a time.
        let mut most = 0;
        while !all.is_finished() {
            most = most.max(held.load(std::sync::atomic::Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(all.await.unwrap().iter().all(|status| *status == 200));
        assert!(most <= 4, "{most} at a time");
    });
}

/// An origin that takes a moment for each `/hold`, and how many it has at the moment.
fn holding() -> (Origin, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::atomic::Ordering;
    let held = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&held);
    let origin = Origin::https(move |seen, conn| {
        if seen.target().starts_with("/hold") {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(30));
            count.fetch_sub(1, Ordering::SeqCst);
        }
        echo(seen, conn)
    });
    (origin, held)
}

#[test]
fn each_stream_is_judged() {
    let node = Node::start();
    let egress = Setup::new().route(Route { paths: paths(&["/ok/**"]), ..node.route() }).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        session.get("/ok/a").await.ok();
        session.get("/denied").await.refused("path-denied");
        session.get("/ok/..%2fdenied").await.refused("path-denied");
        session.get("/ok/b").await.ok();
    });
}

#[test]
fn trailers_pass_through_http2_both_ways() {
    let (node, egress) = node_world();
    let response = runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        session.send(session.build("POST", "/trailers", b"hello")).await.unwrap().ok()
    });
    assert_eq!(response.text(), "body");
    assert!(response.trailers.contains("x-sum: 5"), "{}", response.trailers);
    // From an HTTP/1 client to an HTTP/2 upstream, and back.
    let mut client = egress.open(&node.authority());
    client.say(&format!(
        "POST /trailers HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-End: told\r\n\r\n",
        node.authority()
    ));
    let response = client.response("POST").ok();
    let trailers = response.trailers.to_lowercase();
    assert!(trailers.contains("x-sum: 2") && trailers.contains("x-got: told"), "{trailers}");
}

#[test]
fn headers_of_one_hop_make_an_http2_request_malformed() {
    let (node, egress) = node_world();
    runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        let mut request = session.build("GET", "/echo", b"");
        request.headers_mut().insert("te", "gzip".parse().unwrap());
        // Refused, reset or dropped: never passed on (RFC 9113, section 8.2.2).
        if let Ok(response) = session.send(request).await
            && response.status == 200
        {
            assert_eq!(response.json()["headers"]["te"], serde_json::Value::Null);
        }
    });
}

#[test]
fn cookies_that_http2_has_split_reach_http1_as_one() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let mut request = session.build("GET", "/", b"");
        request.headers_mut().append("cookie", "a=1".parse().unwrap());
        request.headers_mut().append("cookie", "b=2".parse().unwrap());
        session.send(request).await.unwrap().ok();
    });
    // RFC 9113, section 8.2.3.
    assert_eq!(origin.last().header("cookie"), Some("a=1; b=2"));
}

#[test]
fn a_stream_that_is_given_up_does_not_end_its_neighbours() {
    let (node, egress) = node_world();
    runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        let mut send = session.send.clone();
        let waiting = tokio::spawn(send.send_request(session.build("GET", "/events", b"")));
        session.get("/echo").await.ok();
        waiting.abort();
        session.get("/echo").await.ok();
    });
}

#[test]
fn a_refused_host_is_told_in_http2_as_well() {
    let (_node, egress) = node_world();
    runtime().block_on(async {
        let session = Http2::open(&egress, "evil.example.net:443").await;
        session.get("/").await.refused("route-missing");
    });
}

#[test]
fn nginx_serves_http2_through_egress() {
    let nginx = Nginx::start("");
    std::fs::write(nginx.www().join("file"), "hello").unwrap();
    let egress = Setup::new().route(Route { methods: any(), ..nginx.route() }).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &nginx.authority()).await;
        assert_eq!(session.get("/file").await.ok().text(), "hello");
    });
    let log = std::fs::read_to_string(nginx.root().join("access.log")).unwrap();
    assert!(log.contains("HTTP/2.0"), "{log}");
}

#[test]
fn a_body_that_was_to_wait_for_100_continue_is_read_when_it_comes() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    runtime().block_on(async {
        let io = Http2::stream(&egress, &origin.authority()).await.unwrap();
        let (mut send, connection) = h2::client::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(origin.url("/")).header("expect", "100-continue").body(()).unwrap();
        let (answer, mut body) = send.send_request(request, false).unwrap();
        // Egress doesn't wait for the body, so that neither the client nor the origin does for the other.
        while origin.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    assert_eq!((origin.last().body.as_slice(), origin.last().header("expect")), (b"hello".as_slice(), None));
}
