//! Nothing turns into a tunnel: whatever is not a request that the rules allowed never reaches an origin.

use std::io::Write as _;
use std::time::Duration;

use super::support::{Client, Http2, Origin, Setup, echo, eventually, runtime};

/// A limit that is short, and how long its effect may take on a machine that does much else.
const SHORT: u64 = 300;
const SOON: Duration = Duration::from_secs(5);

#[test]
fn bytes_after_connect_that_are_not_tls_are_closed_and_go_nowhere() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: origin.test.example\r\n\r\n",
        b"\x00\x01\x02\x03\x04\x05\x06\x07",
        // A TLS alert, and a handshake record of a length that no record has.
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x01\xff\xff\x01",
        // A record that starts like TLS, and holds no ClientHello.
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        // SSL 2.
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    ] {
        let (response, mut client) = egress.connect(&origin.authority());
        assert_eq!(response.status, 200);
        client.send(bytes);
        client.ends_within(SOON);
    }
    origin.untouched();
}

#[test]
fn a_first_read_that_is_short_is_waited_on_and_never_relayed() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("handshake", SHORT).start();
    for bytes in [&b""[..], b"\x16", b"\x16\x03", b"\x16\x03\x01\x02\x00"] {
        let (_, mut client) = egress.connect(&origin.authority());
        client.send(bytes);
        client.ends_within(SOON);
    }
    origin.untouched();
}

#[test]
fn half_a_client_hello_and_then_silence_is_closed_in_bounded_time() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("handshake", SHORT).start();
    let hello = Client::hello(&egress, "origin.test.example", true);
    let (_, mut client) = egress.connect(&origin.authority());
    client.send(&hello[..hello.len() / 2]);
    client.ends_within(SOON);
    origin.untouched();
}

#[test]
fn a_client_hello_that_comes_byte_by_byte_does_not_stretch_the_time() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("handshake", SHORT).start();
    let hello = Client::hello(&egress, "origin.test.example", true);
    let (_, mut client) = egress.connect(&origin.authority());
    let from = std::time::Instant::now();
    let mut bytes = hello.iter();
    // Each byte is a sign of life; only the whole counts.
    while client.silent_for(Duration::from_millis(20)) {
        client.send(&[*bytes.next().expect("it was closed before the last byte")]);
        assert!(from.elapsed() < SOON);
    }
    origin.untouched();
}

#[test]
fn a_client_hello_in_two_pieces_is_served() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    let (_, client) = egress.connect(&origin.authority());
    // The handshake of the client's own, split in the middle of its first flight.
    let mut session = rustls::ClientConnection::new(
        std::sync::Arc::new(super::support::tls_config(&egress, &["http/1.1"])),
        "origin.test.example".try_into().unwrap(),
    )
    .unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut io = client.into_socket();
    let (first, second) = hello.split_at(7);
    io.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    io.write_all(second).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut io).unwrap();
    }
    assert!(!session.peer_certificates().unwrap().is_empty());
}

#[test]
fn tls_without_a_server_name_is_closed() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    let (_, mut client) = egress.connect(&origin.authority());
    client.send(&Client::hello(&egress, "origin.test.example", false));
    client.ends_within(SOON);
    origin.untouched();
}

#[test]
fn a_handshake_that_is_never_finished_is_closed_in_bounded_time() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("handshake", SHORT).start();
    let (_, mut client) = egress.connect(&origin.authority());
    client.send(&Client::hello(&egress, "origin.test.example", true));
    client.ends_within(SOON);
    origin.untouched();
}

#[test]
fn a_connect_line_that_does_not_come_is_closed_in_bounded_time() {
    let egress = Setup::new().limit("connect-line", SHORT).start();
    for text in ["", "CONN", "CONNECT origin.test.example:443 HTTP/1.1\r\nHost: origin.test.example:443\r\n"]
    {
        let mut client = egress.dial();
        client.say(text);
        client.ends_within(SOON);
    }
}

#[test]
fn connect_inside_the_session_is_refused() {
    let origin = Origin::https(echo);
    let other = Origin::http(echo);
    let egress = Setup::new().route(origin.route()).route(any_method(&other)).start();
    let mut client = egress.open(&origin.authority());
    let target = other.authority();
    client.say(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    let response = client.try_response("CONNECT");
    assert!(response.is_none_or(|response| response.status >= 400));
    client.say("GET /through HTTP/1.1\r\nHost: origin.test.example\r\n\r\n");
    client.ends_within(SOON);
    origin.untouched();
    other.untouched();
}

#[test]
fn connect_inside_an_http2_session_is_refused() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(any_method(&origin)).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let request =
            http::Request::connect(origin.authority()).body(http_body_util::Full::default()).unwrap();
        // A refusal, or a reset of the stream: never a stream of bytes.
        if let Ok(response) = session.send(request).await {
            assert!(response.status >= 400, "{response:?}");
        }
    });
    origin.untouched();
}

#[test]
fn the_method_connect_is_refused_even_where_a_route_allows_any() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(any_method(&origin)).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("CONNECT / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    let response = client.try_response("GET");
    assert!(response.is_none_or(|response| response.status >= 400));
    origin.untouched();
}

#[test]
fn a_101_that_nobody_asked_for_is_not_passed_on() {
    let origin = Origin::https(|_, conn| {
        conn.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        conn.say("bytes of a tunnel")
    });
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/"));
    assert_eq!(response.status, 502, "{response:?}");
    let response = response.refused("upstream-invalid");
    assert!(!response.text().contains("bytes of a tunnel"));
}

#[test]
fn bytes_of_the_agent_after_an_unasked_101_are_a_request_or_nothing() {
    let origin = Origin::raw(|mut conn| {
        let Ok(Some(_)) = conn.request() else { return };
        drop(conn.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"));
        let rest = conn.request().ok().flatten();
        assert!(rest.is_none(), "the agent's bytes came through");
    });
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.open(&origin.authority());
    assert_eq!(client.get(&origin.authority(), "/").status, 502);
    client.say("smuggled bytes\r\n\r\n");
    if let Some(response) = client.try_response("GET") {
        assert_eq!(response.status, 400, "{response:?}");
    }
    eventually("the upstream's connection is gone", || origin.open() == 0);
}

#[test]
fn an_upgrade_that_no_route_allows_is_refused_before_anything_is_sent() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for protocol in ["websocket", "h2c", "TLS/1.0", "websocket, h2c"] {
        let lines = [
            "Connection: Upgrade",
            &format!("Upgrade: {protocol}"),
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        egress.request("GET", &origin.url("/"), &lines, b"").refused("upgrade-denied");
    }
    origin.untouched();
}

#[test]
fn prior_knowledge_http2_in_the_clear_is_no_way_through() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(any_method(&origin)).start();
    let mut client = egress.dial();
    client.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    client.ends_within(SOON);
    origin.untouched();
}

#[test]
fn what_follows_a_refused_connect_is_not_a_tunnel_either() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.dial();
    // All in one flight, as a client would that doesn't wait for the answer.
    client.say(&format!(
        "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\nGET /flight HTTP/1.1\r\nHost: {0}\r\n\r\n",
        origin.authority()
    ));
    client.ends_within(SOON);
    origin.untouched();
}

#[test]
fn a_body_of_connect_is_refused() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = egress.dial();
        client.say(&format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n{line}\r\n\r\nhello", origin.authority()));
        let response = client.try_response("CONNECT");
        assert!(response.is_none_or(|response| response.status == 400));
    }
    origin.untouched();
}

fn any_method(origin: &Origin) -> bottle::policy::egress::Route {
    bottle::policy::egress::Route { methods: super::support::any(), ..origin.route() }
}
