//! Bodies in both directions, and how they may end.

use http::Method;

use super::fixture::{Bottle, Client, Origin, route};
use crate::policy::reason::Reason;

/// Reads a request's head and answers it with these bytes, then ends the connection.
async fn origin_says(bytes: &'static str) -> Origin {
    Origin::start(move |mut stream| async move {
        stream.until("\r\n\r\n").await;
        stream.send(bytes).await;
    })
    .await
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
    ] {
        let origin = origin_says(answer).await;
        let bottle = Bottle::start(&route(&origin, "")).await;
        let mut client = bottle.client().await;
        client.send(&origin.request("GET", "/ok", "Connection: close\r\n")).await;
        let (rest, _) = client.rest().await;
        assert!(!rest.contains("0\r\n\r\n") && !rest.ends_with("short\r\n0"), "{rest:?}");
        // To HTTP/1.0 there is no other sign than an abort.
        let mut client = bottle.client().await;
        client.send(&format!("GET {} HTTP/1.0\r\n\r\n", origin.url("/ok"))).await;
        let (rest, orderly) = client.rest().await;
        assert!(!orderly || rest.contains("content-length: 10") || rest.contains(" 502 "), "{rest:?}");
        assert!(bottle.refused(Reason::UpstreamInvalid).await > 0);
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_off_reaches_the_origin_without_its_end() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let origin = Origin::start(move |mut stream| {
        let tell = tell.lock().unwrap().take();
        async move {
            let rest = stream.rest().await;
            if let Some(tell) = tell {
                tell.send(rest).unwrap();
            }
        }
    })
    .await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    client.send(&origin.request("POST", "/ok", "Transfer-Encoding: chunked\r\n")).await;
    client.send("3\r\nabc\r\n0x\r\n").await;
    assert_eq!(client.answer().await.refusal(), (400, "request-malformed"));
    let (seen, _) = super::fixture::soon(told).await.unwrap();
    assert!(!seen.contains("0\r\n\r\n"), "{seen:?}");
}

#[tokio::test]
async fn both_bodies_stream_at_the_same_time() {
    let origin = Origin::start(|mut stream| async move {
        stream.until("\r\n\r\n").await;
        stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        // The `e` may begin a secret: it comes by itself, when the agent pauses.
        for (piece, end) in [("one", "e\r\n"), ("two", "o\r\n")] {
            stream.until(end).await;
            stream.send(&format!("3\r\n{piece}\r\n")).await;
        }
        stream.until("0\r\n\r\n").await;
        stream.send("0\r\nx-sum: 6\r\n\r\n").await;
    })
    .await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    client.send(&origin.request("POST", "/ok", "Transfer-Encoding: chunked\r\n")).await;
    for piece in ["one", "two"] {
        client.send(&format!("3\r\n{piece}\r\n")).await;
        client.until(piece).await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.until("\r\n\r\n").await, "\r\n0\r\nx-sum: 6\r\n\r\n");
}

/// Answers each request with the body that it had.
async fn mirror() -> Origin {
    Origin::start(|mut stream| async move {
        loop {
            let head = stream.until("\r\n\r\n").await;
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            let body = "x".repeat(length);
            if length > 0 {
                stream.until(&body).await;
            }
            stream.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_is_asked_for_when_it_is_wanted_and_not_before() {
    let origin = mirror().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    let expecting = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    client.send(&origin.request("POST", "/ok", expecting)).await;
    assert_eq!(client.head(&Method::POST).await.status, 100);
    assert_eq!(client.ask("xxx").await.body, "xxx");
    // A refusal comes instead of it.
    client.send(&origin.request("POST", "/no", expecting)).await;
    let answer = client.answer().await;
    assert_eq!(answer.refusal(), (403, "path-denied"));
    assert!(!answer.head.keep_alive);
    assert_eq!(client.rest().await, (String::new(), true));
}

#[tokio::test]
async fn a_refused_body_that_is_there_is_skipped_and_one_that_is_not_ends_the_connection() {
    let origin = mirror().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    client.send(&(origin.request("POST", "/no", "Content-Length: 3\r\n") + "xxx")).await;
    assert_eq!(client.answer().await.refusal(), (403, "path-denied"));
    client.send(&(origin.request("POST", "/ok", "Content-Length: 2\r\n") + "xx")).await;
    assert_eq!(client.answer().await.body, "xx");
    client.send(&(origin.request("POST", "/no", "Content-Length: 3000000\r\n") + "x")).await;
    let answer = client.answer().await;
    assert_eq!(answer.refusal(), (403, "path-denied"));
    assert_eq!(answer.header("connection"), Some("close"));
    // What is still being sent is taken until the answer has been read, so that no reset destroys it.
    client.send(&"x".repeat(1 << 20)).await;
    assert_eq!(client.rest().await, (String::new(), true));
}

#[tokio::test]
async fn an_upload_beyond_the_limit_is_refused_early_or_as_soon_as_it_shows() {
    let origin = mirror().await;
    let bottle = Bottle::start(&route(&origin, ", max_upload_bytes: 5")).await;
    let mut client = bottle.client().await;
    assert_eq!(
        client.ask(&(origin.request("POST", "/ok", "Content-Length: 5\r\n") + "xxxxx")).await.body,
        "xxxxx"
    );
    let answer = client.ask(&origin.request("POST", "/ok", "Content-Length: 6\r\n")).await;
    assert_eq!(answer.refusal(), (413, "upload-too-large"));
    let mut client = bottle.client().await;
    client.send(&origin.request("POST", "/ok", "Transfer-Encoding: chunked\r\n")).await;
    client.send("4\r\nxxxx\r\n").await;
    assert_eq!(client.ask("4\r\nxxxx\r\n").await.refusal(), (413, "upload-too-large"));
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_length_and_the_connection() {
    let origin = Origin::start(|mut stream| async move {
        loop {
            let head = stream.until("\r\n\r\n").await;
            stream
                .send(match head.split(' ').nth(1).unwrap() {
                    "/ok/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                    "/ok/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nAlt-Svc: h3=\":443\"\r\nConnection: x-a\r\nX-A: 1\r\n\r\n",
                })
                .await;
        }
    })
    .await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    client.send(&origin.request("HEAD", "/ok", "")).await;
    let answer = client.answer_to(&Method::HEAD).await;
    assert_eq!(answer.header("content-length"), Some("7"));
    for name in ["alt-svc", "connection", "x-a", "via"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let answer = client.ask(&origin.request("GET", "/ok/204", "")).await;
    assert_eq!((answer.head.status.as_u16(), answer.header("content-length")), (204, None));
    let answer = client.ask(&origin.request("GET", "/ok/304", "")).await;
    assert_eq!((answer.head.status.as_u16(), answer.header("content-length")), (304, Some("7")));
}

#[tokio::test]
async fn an_http_1_0_client_gets_what_it_can_read() {
    let origin = Origin::start(|mut stream: Client| async move {
        loop {
            stream.until("\r\n\r\n").await;
            stream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    client.send(&format!("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", origin.url("/ok"))).await;
    let (rest, orderly) = client.rest().await;
    assert!(rest.ends_with("\r\n\r\nabc") && orderly, "{rest:?}");
    assert!(rest.contains("connection: close") && !rest.contains("transfer-encoding"), "{rest:?}");
    let origin = Origin::echo().await;
    bottle.change(&route(&origin, "")).await;
    let mut client = bottle.client().await;
    for _ in 0..2 {
        let request = format!("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", origin.url("/ok"));
        let answer = client.ask(&request).await;
        assert_eq!((answer.body.as_str(), answer.header("connection")), ("/ok", Some("keep-alive")));
    }
}

#[tokio::test]
async fn an_agent_that_leaves_takes_its_request_with_it() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            stream.until("\r\n\r\n").await;
            tell.send("asked").unwrap();
            stream.rest().await;
            tell.send("gone").unwrap();
        }
    })
    .await;
    // Without TLS, it may only have shut its sending side down.
    let bottle = Bottle::limited(&route(&origin, ""), &["--half-closed=100"]).await;
    let mut client = bottle.client().await;
    client.send(&origin.request("GET", "/ok", "")).await;
    assert_eq!(super::fixture::soon(told.recv()).await, Some("asked"));
    drop(client);
    assert_eq!(super::fixture::soon(told.recv()).await, Some("gone"));
}
