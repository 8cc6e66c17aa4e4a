//! What an attack on the whole found.

use std::io::Read as _;
use std::time::Duration;

use bottle::policy::egress::{Inject, Route};
use http::Request;
use http_body_util::Full;

use super::support::{Conn, Http2, Origin, Setup, any, echo, eventually, paths, runtime};

const SECRET: &str = "s3cr3t-of-the-websocket";

/// An origin that answers before the body has ended, and then goes on to take it.
fn insatiable(answer: &'static str) -> Origin {
    Origin::raw(move |mut conn: Conn| {
        let mut buffer = [0; 4096];
        // The head and whatever comes with it.
        drop(conn.read(&mut buffer));
        drop(conn.say(answer));
        while let Ok(1..) = conn.read(&mut buffer) {}
    })
}

#[test]
fn a_body_that_outlives_its_answer_ends_with_the_request() {
    let origin = insatiable("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    let mut client = egress.open(&origin.authority());
    let host = origin.authority();
    client
        .say(&format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    client.response("POST").ok();
    // It was allowed, it is over, and its line is written: nothing more of it leaves.
    let piece = format!("1000\r\n{}\r\n", "x".repeat(4096));
    eventually("the upload ends", || client.try_send(piece.as_bytes()).is_err());
    eventually("the origin is left", || origin.open() == 0);
}

#[test]
fn a_change_of_the_policy_cuts_a_body_whose_answer_nobody_reads() {
    let origin = insatiable("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    let mut egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    let mut client = egress.open(&origin.authority());
    let host = origin.authority();
    client.say(&format!(
        "POST /up HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    ));
    client.head();
    egress.swap(|policy| policy.routes[0].paths = paths(&["/other"]));
    let piece = format!("1000\r\n{}\r\n", "x".repeat(4096));
    eventually("the upload is cut", || client.try_send(piece.as_bytes()).is_err());
    eventually("the origin is left", || origin.open() == 0);
    egress.audited_reason("policy-changed");
}

#[test]
fn a_websocket_does_not_carry_the_credential_back() {
    let origin = Origin::raw(|mut conn: Conn| {
        let Ok(Some(seen)) = conn.request() else { return };
        let sent = seen.header("authorization").unwrap_or_default().to_owned();
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nX-Echo: {sent}\r\n\r\n"
        );
        drop(conn.say(&head));
        // A message that ends as the secret begins is not held back.
        for text in [format!("you sent {sent}"), "yes".to_owned()] {
            let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
            frame.extend_from_slice(text.as_bytes());
            drop(std::io::Write::write_all(&mut conn, &frame));
            drop(std::io::Write::flush(&mut conn));
        }
        drop(conn.request());
    });
    let route = Route { websocket: true, credential: Some("tok".to_owned()), ..origin.route() };
    let egress = Setup::new().route(route).secret("tok", Inject::Bearer, SECRET).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        origin.authority()
    ));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101") && !head.contains(SECRET), "{head}");
    let first = client.take(2 + "you sent Bearer ".len() + SECRET.len());
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(first.contains("you sent Bearer ") && !first.contains(SECRET), "{first}");
    assert_eq!(&client.take(5)[2..], b"yes");
}

#[test]
fn http2_has_the_same_limit_on_header_fields() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    runtime().block_on(async {
        let mut http2 = Http2::open(&egress, &origin.authority()).await;
        let mut request = Request::get(origin.url("/"));
        for number in 0..200 {
            request = request.header(format!("x-{number}"), "1");
        }
        let request = request.body(Full::default()).unwrap();
        let response = http2.send.send_request(request).await.unwrap();
        assert_eq!(response.status(), 431);
        assert_eq!(response.headers()["x-bottle-reason"], "head-too-large");
    });
    origin.untouched();
}

#[test]
fn a_packed_body_of_nothing_delays_nobody() {
    // A gzip member of nothing, again and again.
    const NOTHING: &[u8] = &[31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let hostile = Origin::https(|_, conn| {
        let piece = NOTHING.repeat(50_000);
        conn.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100000000\r\n\r\n")?;
        for _ in 0..100 {
            std::io::Write::write_all(conn, &piece)?;
        }
        Ok(())
    })
    .named("hostile.test.example");
    let origin = Origin::https(echo);
    let route = Route { credential: Some("tok".to_owned()), ..hostile.route() };
    let setup = Setup::new().route(origin.route()).route(route);
    let egress = setup.secret("tok", Inject::Bearer, SECRET).start();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/warm").ok();
    let mut greedy = egress.open(&hostile.authority());
    greedy.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", hostile.authority()));
    greedy.head();
    // Starved, each of them took more than a second. Tried some times, since the machine may do something else.
    let quick = (0..20).any(|_| {
        let from = std::time::Instant::now();
        client.get(&origin.authority(), "/").ok();
        from.elapsed() < Duration::from_millis(250)
    });
    assert!(quick, "another request never took less than a quarter of a second");
}
