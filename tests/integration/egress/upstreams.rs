//! Upstreams that stall, reset, lie, or say too much.

use std::io::Write as _;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use bottle::policy::egress::Route;

use super::support::{Conn, Egress, GROWTH, Http2, Origin, Response, Setup, any, echo, eventually, runtime};

/// What the agent gets where each request of a connection is answered with these bytes.
fn answered(text: &str) -> Response {
    let text = text.to_owned();
    let origin = Origin::raw(move |mut conn| {
        if matches!(conn.request(), Ok(Some(_))) {
            drop(conn.say(&text));
        }
        conn.bye();
    });
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/"))
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_not_passed_on() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\rX-C: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "hello\r\n\r\n",
        "<html>an error page without a head</html>",
    ] {
        let response = answered(text);
        assert_eq!(response.status, 502, "{text:?}: {response:?}");
        assert_eq!(response.header("x-bottle-reason"), Some("upstream-invalid"), "{text:?}: {response:?}");
    }
}

#[test]
fn the_end_before_an_answer_is_told() {
    for text in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let response = answered(text);
        assert_eq!(response.status, 502, "{text:?}: {response:?}");
        let code = response.header("x-bottle-reason");
        assert!(matches!(code, Some("upstream-down" | "upstream-invalid")), "{text:?}: {response:?}");
    }
}

#[test]
fn a_length_that_was_not_kept_does_not_look_whole() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\n0\r\n\r\n",
    ] {
        let response = answered(text);
        assert!(response.cut || response.status == 502, "{text:?}: {response:?}");
    }
}

#[test]
fn a_length_that_was_not_kept_resets_an_http2_stream() {
    let origin = Origin::raw(|mut conn| {
        if matches!(conn.request(), Ok(Some(_))) {
            drop(conn.say("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"));
        }
        conn.bye();
    });
    let egress = Setup::new().route(origin.route()).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        assert!(session.send(session.build("GET", "/", b"")).await.is_err(), "it looks whole");
        // Its neighbours are not harmed.
        let other = session.send(session.build("GET", "/", b"")).await;
        assert!(other.is_err());
        session.send(session.build("POST", "/", b"")).await.unwrap().refused("method-denied");
    });
}

#[test]
fn more_bytes_than_announced_are_not_the_next_answer() {
    let origin = Origin::https(|_, conn| {
        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
    });
    let egress = Setup::new().route(origin.route()).start();
    for _ in 0..5 {
        assert_eq!(egress.get(&origin.url("/")).ok().text(), "ok");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_the_next_requests() {
    let (answered, first_is_over) = mpsc::channel();
    let (poisoned, poison_is_there) = mpsc::channel();
    let first_is_over = Mutex::new(first_is_over);
    let origin = Origin::https(move |_, conn| {
        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        // When the answer is with the client, the connection is in the pool.
        let _ = first_is_over.lock().unwrap().recv();
        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")?;
        let _ = poisoned.send(());
        Ok(())
    });
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).ok();
    answered.send(()).unwrap();
    poison_is_there.recv().unwrap();
    drop(answered);
    assert_eq!(egress.get(&origin.url("/")).ok().text(), "ok");
}

#[test]
fn a_body_for_head_is_not_the_next_answer() {
    let origin = Origin::https(|seen, conn| {
        conn.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-For: {}\r\n\r\nok", seen.target()))
    });
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.open(&origin.authority());
    for path in ["/a", "/b", "/c"] {
        client.say(&format!("HEAD {path} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
        let response = client.response("HEAD");
        assert_eq!(response.header("x-for"), Some(path), "{response:?}");
    }
}

#[test]
fn an_upstream_that_resets_is_told() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        conn.reset();
    });
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/"));
    assert_eq!(response.status, 502, "{response:?}");
    response.refused("upstream-down");
}

#[test]
fn an_upstream_that_resets_in_the_middle_cuts_the_answer() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbeginning"));
        std::thread::sleep(Duration::from_millis(20));
        conn.reset();
    });
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/"));
    assert!(response.cut || response.status == 502, "{response:?}");
}

#[test]
fn an_upstream_that_never_answers_is_given_up_in_bounded_time() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.request());
    });
    let egress = Setup::new().route(origin.route()).limit("answer", 300).start();
    let from = Instant::now();
    let response = egress.get(&origin.url("/")).refused("upstream-timeout");
    assert_eq!(response.status, 504);
    assert!(from.elapsed() < Duration::from_secs(5));
    eventually("its connection is given up", || origin.open() == 0);
}

#[test]
fn an_upstream_that_never_shakes_hands_is_given_up_in_bounded_time() {
    let origin = Origin::raw_http(|mut conn| drop(conn.request()));
    let mut route = origin.route();
    route.scheme = bottle::policy::egress::Scheme::Https;
    let egress = Setup::new().route(route).limit("dial", 300).start();
    let response = egress.get(&format!("https://{}/", origin.authority()));
    assert_eq!(response.clone().refused("upstream-timeout").status, 504, "{response:?}");
}

#[test]
fn an_upstream_that_stalls_in_the_middle_is_cut_in_bounded_time() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning"));
        drop(conn.request());
    });
    let egress = Setup::new().route(origin.route()).limit("stall", 300).start();
    let response = egress.get(&origin.url("/"));
    assert!(response.cut, "{response:?}");
    eventually("its connection is given up", || origin.open() == 0);
}

#[test]
fn an_upstream_that_sends_a_head_byte_by_byte_is_given_up_in_bounded_time() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        while conn.say("H").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let egress = Setup::new().route(origin.route()).limit("answer", 300).start();
    let response = egress.get(&origin.url("/"));
    assert!([502, 504].contains(&response.status), "{response:?}");
    eventually("its connection is given up", || origin.open() == 0);
}

/// Sends that many bytes of headers.
fn much(conn: &mut Conn, bytes: usize) -> std::io::Result<()> {
    conn.say("HTTP/1.1 200 OK\r\n")?;
    let line = format!("X-Long: {}\r\n", "x".repeat(1000));
    for _ in 0..bytes / line.len() {
        conn.write_all(line.as_bytes())?;
    }
    conn.say("Content-Length: 0\r\n\r\n")
}

#[test]
fn a_megabyte_of_headers_is_not_passed_on_and_not_kept() {
    let origin = Origin::https(|_, conn| much(conn, 1 << 20));
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/")).refused("upstream-invalid");
    assert_eq!(response.status, 502);
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn headers_without_number_are_not_passed_on() {
    let origin = Origin::https(|_, conn| {
        let lines = (0..1000).fold(String::new(), |lines, number| lines + &format!("X-{number}: 1\r\n"));
        conn.say(&format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"))
    });
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).refused("upstream-invalid");
}

#[test]
fn headers_over_http2_without_end_are_not_passed_on() {
    let node = super::support::Node::start();
    let egress = Setup::new().route(node.route()).start();
    let response = egress.get(&node.url("/headers"));
    assert_eq!(response.status, 502, "{response:?}");
    egress.get(&node.url("/echo")).ok();
}

#[test]
fn interim_answers_without_end_are_given_up() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        while conn.say("HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
    });
    let egress = Setup::new().route(origin.route()).limit("answer", 1000).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    let last = std::iter::from_fn(|| client.try_response("GET")).find(|response| response.status >= 200);
    assert!(last.is_none_or(|response| [502, 504].contains(&response.status)));
    eventually("its connection is given up", || origin.open() == 0);
}

#[test]
fn chunks_of_one_byte_and_long_extensions_do_not_fill_memory() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"));
        let piece = [b'x'; 1 << 14];
        while conn.write_all(&piece).is_ok() {}
    });
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/"));
    assert!(response.cut || response.status == 502, "{response:?}");
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn trailers_without_end_are_cut() {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"));
        let line = format!("X-T: {}\r\n", "x".repeat(1000));
        while conn.say(&line).is_ok() {}
    });
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/"));
    assert!(response.cut || response.status == 502, "{}", response.head);
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn one_that_stalls_does_not_hold_up_others() {
    let stalling = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.request());
    })
    .named("stalling.test.example");
    let origin = Origin::https(echo);
    let egress = Setup::new().route(stalling.route()).route(origin.route()).start();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let mut client = egress.open(&stalling.authority());
            client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", stalling.authority()));
            client
        })
        .collect();
    eventually("all of them wait", || stalling.open() == 50);
    for _ in 0..20 {
        egress.get(&origin.url("/")).ok();
    }
    drop(waiting);
    eventually("all of them are given up", || stalling.open() == 0);
}

fn http2_upstream(body: &'static [u8]) -> (super::support::RawHttp2, Egress) {
    let origin = super::support::RawHttp2::start(body);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    (origin, egress)
}

#[test]
fn an_http2_upstream_that_speaks_garbage_is_told() {
    for body in [
        // An HTTP/1 answer.
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        // SETTINGS, then DATA on a stream that was never opened.
        b"\0\0\0\x04\0\0\0\0\0\0\0\x04\0\x01\0\0\0\x09abcd",
        // SETTINGS, then PUSH_PROMISE.
        b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x05\x04\0\0\0\x01\0\0\0\x02",
        // SETTINGS, then GOAWAY at once.
        b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
        // A frame of 16 MB.
        b"\xff\xff\xff\x04\0\0\0\0\0",
    ] {
        let (origin, egress) = http2_upstream(body);
        let response = egress.get(&origin.url("/"));
        assert!([502, 504].contains(&response.status), "{body:?}: {response:?}");
    }
}
