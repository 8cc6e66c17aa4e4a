//! CONNECT's authority, SNI, Host and `:authority` agree, on every request of a connection.

use bottle::policy::egress::Route;

use super::support::{Http2, Origin, Setup, any, echo, runtime};

fn both() -> (Origin, Origin, Setup) {
    let origin = Origin::https(echo);
    let other = Origin::https(echo).named("other.test.example");
    let setup = Setup::new()
        .route(Route { methods: any(), ..origin.route() })
        .route(Route { methods: any(), ..other.route() });
    (origin, other, setup)
}

#[test]
fn another_server_name_than_connects_is_refused_though_both_are_allowed() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    let (response, client) = egress.connect(&origin.authority());
    assert_eq!(response.status, 200);
    // A closed handshake, or a refusal inside.
    if let Ok(mut client) = client.handshake(&egress, "other.test.example", &["http/1.1"]) {
        client.get(&other.authority(), "/").refused("host-mismatch");
    }
    egress.audited_reason("host-mismatch");
    origin.untouched();
    other.untouched();
}

#[test]
fn another_host_header_is_refused_though_both_are_allowed() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    for host in [
        other.authority(),
        "other.test.example".to_owned(),
        format!("origin.test.example:{}", other.port),
        "origin.test.example".to_owned(),
        format!("{}.", origin.host),
        format!("x.{}", origin.authority()),
        "127.0.0.1".to_owned(),
    ] {
        let mut client = egress.open(&origin.authority());
        client.get(&host, "/").refused("host-mismatch");
    }
    origin.untouched();
    other.untouched();
}

#[test]
fn a_mismatch_on_a_later_request_of_the_connection_is_refused_as_well() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/first").ok();
    client.get(&other.authority(), "/second").refused("host-mismatch");
    assert_eq!(origin.targets(), ["/first"]);
    other.untouched();
}

#[test]
fn an_absolute_form_that_names_another_place_is_refused() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    for target in [
        other.url("/"),
        format!("http://{}/", origin.authority()),
        format!("https://user@{}/", origin.authority()),
        "https://origin.test.example/".to_owned(),
    ] {
        let mut client = egress.open(&origin.authority());
        client.say(&format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
        let response = client.response("GET");
        assert!([400, 403, 421].contains(&response.status), "{target}: {response:?}");
    }
    origin.untouched();
    other.untouched();
}

#[test]
fn an_absolute_form_that_agrees_leaves_in_origin_form() {
    let (origin, _other, setup) = both();
    let egress = setup.start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url("/a?b"), origin.authority()));
    client.response("GET").ok();
    assert_eq!(origin.last().line(), "GET /a?b HTTP/1.1");
}

#[test]
fn in_plain_http_the_url_and_host_agree() {
    let origin = Origin::http(echo);
    let other = Origin::http(echo).named("other.test.example");
    let egress = Setup::new().route(origin.route()).route(other.route()).start();
    let mut client = egress.dial();
    client.say(&format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url("/"), other.authority()));
    client.response("GET").refused("host-mismatch");
    origin.untouched();
    other.untouched();
}

#[test]
fn connects_own_host_header_agrees_with_its_target() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    let mut client = egress.dial();
    client.say(&format!("CONNECT {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority(), other.authority()));
    client.response("CONNECT").refused("host-mismatch");
}

#[test]
fn a_stream_with_another_authority_is_refused_and_its_neighbours_go_on() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.get("/first").await.ok();
        let mut request = session.build("GET", "/stolen", b"");
        *request.uri_mut() = other.url("/stolen").parse().unwrap();
        session.send(request).await.unwrap().refused("host-mismatch");
        let mut request = session.build("GET", "/stolen", b"");
        request.headers_mut().insert("host", other.authority().parse().unwrap());
        let response = session.send(request).await.unwrap();
        assert!([400, 421].contains(&response.status), "{response:?}");
        session.get("/last").await.ok();
    });
    assert_eq!(origin.targets(), ["/first", "/last"]);
    other.untouched();
}

#[test]
fn an_http2_stream_with_the_scheme_http_is_refused() {
    let (origin, _other, setup) = both();
    let egress = setup.start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let mut request = session.build("GET", "/", b"");
        *request.uri_mut() = format!("http://{}/", origin.authority()).parse().unwrap();
        let response = session.send(request).await.unwrap();
        assert!([400, 403, 421].contains(&response.status), "{response:?}");
    });
    origin.untouched();
}

#[test]
fn case_and_one_trailing_dot_make_no_other_name() {
    let (origin, _other, setup) = both();
    let egress = setup.start();
    let authority = format!("ORIGIN.Test.Example:{}", origin.port);
    let (response, client) = egress.connect(&authority);
    assert_eq!(response.status, 200);
    let mut client = client.handshake(&egress, "origin.test.example", &["http/1.1"]).unwrap();
    client.get(&authority, "/").ok();
    let dotted = format!("origin.test.example.:{}", origin.port);
    let (response, client) = egress.connect(&dotted);
    assert_eq!(response.status, 200, "{response:?}");
    let mut client = client.handshake(&egress, "origin.test.example", &["http/1.1"]).unwrap();
    client.get(&dotted, "/").ok();
    // What leaves carries the one form that was judged.
    assert!(origin.seen().iter().all(|seen| seen.header("host") == Some(origin.authority().as_str())));
}

#[test]
fn a_connect_target_that_is_no_authority_is_refused() {
    let (origin, other, setup) = both();
    let egress = setup.start();
    for target in [
        "origin.test.example",
        "origin.test.example:",
        "origin.test.example:0",
        "origin.test.example:65536",
        "origin.test.example:+443",
        "origin.test.example:443:443",
        ":443",
        "..:443",
        "origin..test.example:443",
        "user@origin.test.example:443",
        "https://origin.test.example:443",
        "/",
        "*",
        "[::1:443",
        "origin.test.example%00:443",
        "origin_\u{e9}.example:443",
    ] {
        let mut client = egress.dial();
        client.say(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let response = client.response("CONNECT");
        assert!([400, 403].contains(&response.status), "{target}: {response:?}");
    }
    origin.untouched();
    other.untouched();
}
