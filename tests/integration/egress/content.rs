//! Secrets in what the agent sends: found wherever they stand, and gone before the upstream has them.

use bottle::policy::egress::{Inject, OnSecret, Route};

use super::support::{
    Client, Egress, GROWTH, Http2, Node, Origin, Setup, any, echo, eventually, paths, runtime,
};

const SECRET: &str = "s3cr3t-0123456789-abcdefghij";
const OTHER: &str = "0th3r-9876543210-zyxwvutsrq";

/// Routes below `/v1` and `/v2` with a credential each, and one below `/open` without; all of them answer a secret so.
fn world(on_secret: OnSecret) -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = setup(&origin, on_secret).start();
    (origin, egress)
}

fn setup(origin: &Origin, on_secret: OnSecret) -> Setup {
    let route = |path: &str, credential: Option<&str>| Route {
        paths: paths(&[path]),
        methods: any(),
        credential: credential.map(str::to_owned),
        on_secret,
        ..origin.route()
    };
    Setup::new()
        .secret("api", Inject::Header("x-api-key".to_owned()), SECRET)
        .secret("other", Inject::Bearer, OTHER)
        .route(route("/v1/**", Some("api")))
        .route(route("/v2/**", Some("other")))
        .route(route("/open/**", None))
}

/// No secret is in what egress says or writes.
#[track_caller]
fn untold(egress: &Egress) {
    let audit = std::fs::read_to_string(egress.path("state/audit.jsonl")).unwrap_or_default();
    for text in [egress.log(), egress.stdout(), audit] {
        assert!(!text.contains(SECRET) && !text.contains(OTHER), "{text}");
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat()
}

#[test]
fn a_secret_in_the_head_is_refused_wherever_it_stands_and_nothing_leaves() {
    let (origin, egress) = world(OnSecret::Block);
    for (path, line) in [
        (format!("/open/{SECRET}/x"), String::new()),
        (format!("/open/x?key={SECRET}"), String::new()),
        (format!("/open/x?key={}", percent(SECRET)), String::new()),
        (format!("/open/x?key={}", percent(&percent(SECRET))), String::new()),
        ("/open/x".to_owned(), format!("X-Any: before {SECRET} behind")),
        ("/open/x".to_owned(), format!("Cookie: a=1; b={SECRET}; c=3")),
        ("/open/x".to_owned(), format!("Referer: https://x.example.org/?k={}", percent(SECRET))),
        ("/open/x".to_owned(), format!("{SECRET}: value")),
        ("/open/x".to_owned(), format!("Authorization: Bearer {SECRET}")),
        ("/open/x".to_owned(), format!("Authorization: Basic {}", base64(&format!("user:{SECRET}")))),
        ("/open/x".to_owned(), format!("X-Own: {}", base64(SECRET))),
        // The credential of a route may be put in by egress alone, and the other one not at all.
        ("/v1/x".to_owned(), format!("X-Other: {SECRET}")),
        ("/v1/x".to_owned(), format!("X-Other: {OTHER}")),
    ] {
        let response = egress.request("GET", &origin.url(&path), &[&line], b"").refused("secret-sent");
        let text = response.text();
        assert_eq!(response.status, 403);
        assert!(!text.contains(SECRET) && !text.contains(OTHER), "{text}");
        let name = if line.contains(OTHER) { "credential:other:" } else { "credential:api:" };
        assert!(text.contains(name) && text.contains("bottle.yaml:7"), "{text}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.targets());
    let line = egress.audited_reason("secret-sent");
    assert!(line["findings"][0].as_str().unwrap().starts_with("credential:api:"), "{line}");
    assert!(line["scanned"].as_u64().unwrap() > 20, "{line}");
    untold(&egress);
}

#[test]
fn a_request_that_no_route_allows_does_not_tell_the_secret_in_its_path() {
    let (_origin, egress) = world(OnSecret::Block);
    egress.get(&format!("https://nobody.example.net/{SECRET}")).refused("route-missing");
    let line = egress.audited_reason("route-missing");
    assert!(line["path"].as_str().unwrap().starts_with("/***"), "{line}");
    untold(&egress);
}

#[test]
fn the_header_that_the_credential_replaces_may_hold_anything() {
    let (origin, egress) = world(OnSecret::Block);
    for value in ["bottle-placeholder-api", "bottle-placeholder-other", SECRET] {
        egress.request("GET", &origin.url("/v1/x"), &[&format!("X-Api-Key: {value}")], b"").ok();
        assert_eq!(origin.last().header("x-api-key"), Some(SECRET));
    }
}

#[test]
fn a_placeholder_stands_in_requests_of_its_own_route_and_of_no_other() {
    let (origin, egress) = world(OnSecret::Block);
    let body = b"key=bottle-placeholder-api&x=1";
    egress.request("POST", &origin.url("/v1/x?k=bottle-placeholder-api"), &[], body).ok();
    for path in ["/v2/x", "/open/x"] {
        let response = egress.request("POST", &origin.url(path), &[], body).refused("secret-sent");
        assert!(response.text().contains("placeholder:api:"), "{}", response.text());
        assert!(response.json()["hint"].as_str().unwrap().contains("placeholder"), "{}", response.text());
    }
    assert_eq!(origin.targets(), ["/v1/x?k=bottle-placeholder-api"]);
}

#[test]
fn a_secret_in_a_body_is_refused_in_every_framing_and_notation() {
    let (origin, egress) = world(OnSecret::Block);
    for body in [
        format!("{{\"key\":\"{SECRET}\"}}"),
        SECRET.to_owned(),
        format!("{}{SECRET}", "x".repeat(100_000)),
        format!("{SECRET}{}", "x".repeat(100_000)),
        base64(&format!("a{SECRET}")),
        format!("k={}&x=1", percent(SECRET)),
    ] {
        let response = egress.request("POST", &origin.url("/open/x"), &[], body.as_bytes());
        response.refused("secret-sent");
        for size in [1, 7, 4000] {
            if body.len() / size > 10_000 {
                continue;
            }
            let mut client = egress.open(&origin.authority());
            client.say(&head(&origin, "Transfer-Encoding: chunked"));
            let chunks: String = chunks(&body, size);
            // It is refused in the midst of it, and may not be read to its end.
            drop(client.try_send(chunks.as_bytes()));
            client.response("POST").refused("secret-sent");
        }
        runtime().block_on(async {
            let session = Http2::open(&egress, &origin.authority()).await;
            let response = session.send(session.build("POST", "/open/x", body.as_bytes())).await.unwrap();
            response.refused("secret-sent");
        });
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.targets());
    untold(&egress);
}

fn head(origin: &Origin, lines: &str) -> String {
    format!("POST /open/x HTTP/1.1\r\nHost: {}\r\n{lines}\r\n\r\n", origin.authority())
}

fn chunks(body: &str, size: usize) -> String {
    let chunks = body.as_bytes().chunks(size);
    let chunks = chunks.map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
    chunks.collect::<Vec<_>>().concat() + "0\r\n\r\n"
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_the_whole_and_its_secret_never_arrives() {
    // What came of it, whole or not.
    let origin = Origin::raw(|mut conn| {
        let mut all = Vec::new();
        drop(std::io::Read::read_to_end(&mut conn, &mut all));
        let text = String::from_utf8_lossy(&all).into_owned();
        std::fs::write(std::env::temp_dir().join(format!("bottle-cut-{}", std::process::id())), text)
            .unwrap();
    });
    let egress = setup(&origin, OnSecret::Block).start();
    let mut client = egress.open(&origin.authority());
    client.say(&head(&origin, "Transfer-Encoding: chunked"));
    // The first part leaves.
    client.say(&format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000)));
    eventually("the upstream is connected to", || origin.connections() == 1);
    let (first, second) = SECRET.split_at(10);
    client.say(&format!("a\r\n{first}\r\n"));
    drop(client.try_send(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()).as_bytes()));
    client.response("POST").refused("secret-sent");
    let file = std::env::temp_dir().join(format!("bottle-cut-{}", std::process::id()));
    eventually("the upstream's connection has ended", || file.exists() && origin.open() == 0);
    let arrived = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(!arrived.contains(first) && !arrived.ends_with("0\r\n\r\n"), "{}", arrived.len());
}

#[test]
fn a_secret_in_a_trailer_is_refused() {
    let (origin, egress) = world(OnSecret::Block);
    for trailer in [format!("X-T: {SECRET}"), format!("X-T: {}", percent(SECRET)), format!("{SECRET}: x")] {
        let mut client = egress.open(&origin.authority());
        client.say(&head(&origin, "Transfer-Encoding: chunked\r\nTrailer: X-T"));
        client.say(&format!("3\r\nabc\r\n0\r\n{trailer}\r\n\r\n"));
        client.response("POST").refused("secret-sent");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.targets());
}

#[test]
fn who_waits_for_100_continue_gets_the_refusal() {
    let (origin, egress) = world(OnSecret::Block);
    let mut client = egress.open(&origin.authority());
    client.say(&head(&origin, &format!("Expect: 100-continue\r\nContent-Length: {}", SECRET.len())));
    assert!(client.head().starts_with("HTTP/1.1 100"));
    client.say(SECRET);
    client.response("POST").refused("secret-sent");
    // In the head it is refused without it.
    let mut client = egress.open(&origin.authority());
    client.say(&head(&origin, &format!("X-A: {SECRET}\r\nExpect: 100-continue\r\nContent-Length: 5")));
    client.response("POST").refused("secret-sent");
    assert!(origin.seen().is_empty());
}

#[test]
fn what_is_no_secret_arrives_as_it_was_sent() {
    let (origin, egress) = world(OnSecret::Block);
    let body = format!("{}{}{}", SECRET.split_at(20).0, "x".repeat(70_000), SECRET.split_at(27).0);
    egress
        .request("POST", &origin.url("/open/x?a=%41&b=s3cr3t"), &["X-A: s3cr3t-01234"], body.as_bytes())
        .ok();
    assert!(origin.last().body == body.as_bytes());
    assert_eq!(origin.last().target(), "/open/x?a=%41&b=s3cr3t");
    let line = egress.audited(|line| line["event"] == "request" && line["sent"] == body.len());
    assert!(line["scanned"].as_u64().unwrap() > body.len() as u64, "{line}");
    assert!(line.get("findings").is_none(), "{line}");
    let metrics = egress.admin("/metrics").text();
    assert!(metrics.contains("bottle_egress_secrets_total{done=\"refused\"} 0"), "{metrics}");
}

#[test]
fn redacting_covers_each_byte_and_nothing_else() {
    let (origin, egress) = world(OnSecret::Redact);
    let stars = "*".repeat(SECRET.len());
    let lines = format!("X-A: a {SECRET} b");
    let body = format!("{{\"a\":\"{SECRET}\",\"b\":\"{SECRET}{SECRET}\",\"c\":1}}");
    egress.request("POST", &origin.url(&format!("/open/x?k={SECRET}&z=1")), &[&lines], body.as_bytes()).ok();
    let seen = origin.last();
    assert_eq!(seen.target(), format!("/open/x?k={stars}&z=1"));
    assert_eq!(seen.header("x-a"), Some(format!("a {stars} b").as_str()));
    assert_eq!(String::from_utf8_lossy(&seen.body), body.replace(SECRET, &stars));
    // In the path, which is judged as it is sent.
    egress.get(&origin.url(&format!("/open/{SECRET}/b"))).ok();
    assert_eq!(origin.last().target(), format!("/open/{stars}/b"));
    // Encoded with percent signs, each byte of the notation.
    egress.get(&origin.url(&format!("/open/x?k={}", percent(SECRET)))).ok();
    assert_eq!(origin.last().target(), format!("/open/x?k={}", "*".repeat(SECRET.len() * 3)));
    let mut client = egress.open(&origin.authority());
    client.say(&head(&origin, "Transfer-Encoding: chunked\r\nTrailer: X-T"));
    let chunks = chunks(&body, 1);
    client.say(&format!("{}X-T: {SECRET}\r\n\r\n", chunks.strip_suffix("\r\n").unwrap()));
    client.response("POST").ok();
    let seen = origin.last();
    assert_eq!(String::from_utf8_lossy(&seen.body), body.replace(SECRET, &stars));
    assert!(seen.trailers.contains(&stars), "{}", seen.trailers);
    let line = egress.audited(|line| line["covered"].is_array());
    assert_eq!(line["covered"], line["findings"], "{line}");
    untold(&egress);
}

#[test]
fn what_can_not_be_covered_is_refused_and_says_so() {
    let (origin, egress) = world(OnSecret::Redact);
    for line in
        [format!("Authorization: Basic {}", base64(&format!("user:{SECRET}"))), format!("{SECRET}: value")]
    {
        let response = egress.request("GET", &origin.url("/open/x"), &[&line], b"").refused("secret-sent");
        assert!(response.text().contains("can't be covered"), "{}", response.text());
    }
    // The covered path is not one of the route's any more.
    let (origin, egress) = {
        let origin = Origin::https(echo);
        let route =
            Route { paths: paths(&[&format!("/{SECRET}")]), on_secret: OnSecret::Redact, ..origin.route() };
        let egress = Setup::new()
            .secret("api", Inject::Bearer, SECRET)
            .route(Route { credential: Some("api".to_owned()), paths: paths(&["/v1"]), ..origin.route() })
            .route(route)
            .start();
        (origin, egress)
    };
    egress.get(&origin.url(&format!("/{SECRET}"))).refused("path-denied");
    assert!(origin.seen().is_empty());
    untold(&egress);
}

#[test]
fn a_large_upload_is_searched_in_constant_memory() {
    let node = Node::start();
    let route = Route { credential: Some("api".to_owned()), ..node.route() };
    let egress = Setup::new().secret("api", Inject::Bearer, SECRET).route(route).start();
    let piece = "the quick brown fox jumps over the lazy dog, s3cr3t-0123\n".repeat(1 << 10);
    let mut client = egress.open(&node.authority());
    let length = piece.len() * 256;
    client
        .say(&format!("POST /up HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", node.authority()));
    for _ in 0..256 {
        client.send(piece.as_bytes());
    }
    assert_eq!(client.response("POST").ok().json()["length"], length);
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
    let line = egress.audited(|line| line["event"] == "request" && line["sent"] == length);
    assert!(line["scanned"].as_u64().unwrap() >= length as u64, "{line}");
}

#[test]
fn a_credential_that_changes_is_the_one_that_is_searched_for() {
    let origin = Origin::https(echo);
    let setup = Setup::new().secret_file("api", Inject::Bearer, SECRET);
    let file = setup.secret_path("api");
    let route = Route { methods: any(), ..origin.route() };
    let egress = setup
        .route(Route { paths: paths(&["/v1"]), credential: Some("api".to_owned()), ..route.clone() })
        .route(Route { paths: paths(&["/open"]), ..route })
        .start();
    egress.request("POST", &origin.url("/open"), &[], SECRET.as_bytes()).refused("secret-sent");
    egress.request("POST", &origin.url("/open"), &[], OTHER.as_bytes()).ok();
    bottle::fs::write_atomic(&file, OTHER.as_bytes(), 0o600).unwrap();
    eventually("the new one is known", || {
        egress.request("POST", &origin.url("/open"), &[], OTHER.as_bytes()).status == 403
    });
    egress.request("POST", &origin.url("/open"), &[], SECRET.as_bytes()).ok();
}

/// A connection that stays open goes on after a refusal.
#[test]
fn the_next_request_of_a_connection_is_served() {
    let (origin, egress) = world(OnSecret::Block);
    let mut client: Client = egress.open(&origin.authority());
    client.say(&format!("GET /open/x HTTP/1.1\r\nHost: {}\r\nX-A: {SECRET}\r\n\r\n", origin.authority()));
    client.response("GET").refused("secret-sent");
    client.get(&origin.authority(), "/open/y").ok();
    assert_eq!(origin.targets(), ["/open/y"]);
}

/// Little goes on while an agent pauses, since the other side may have to answer; a secret in such pieces does not.
#[test]
fn a_secret_in_small_pieces_with_pauses_stays_here() {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&kept);
    let origin = Origin::raw(move |mut conn| {
        use std::io::Read as _;
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = conn.read(&mut piece) {
            seen.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    });
    let egress = setup(&origin, OnSecret::Block).start();
    let mut client = egress.open(&origin.authority());
    let authority = origin.authority();
    client.say(&format!("POST /open/x HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for piece in SECRET.as_bytes().chunks(4) {
        client.say(&format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
        // The pause is what the test sends.
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    client.say("0\r\n\r\n");
    assert_eq!(client.response("POST").header("x-bottle-reason"), Some("secret-sent"));
    let body = String::from_utf8_lossy(&kept.lock().unwrap()).into_owned();
    let body = body.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    assert!(body.len() < 16, "more than the first bytes have left: {body:?}");
    untold(&egress);
}
