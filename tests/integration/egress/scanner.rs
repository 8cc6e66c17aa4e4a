//! The second scanner: what it denies doesn't leave, and what leaves is what it has seen.

use std::sync::{Arc, Mutex};

use bottle::policy::egress::{Inject, Route};

use super::support::{
    Client, Egress, GROWTH, Http2, LEAK, Manner, Node, Origin, PipelockStandIn, Setup, any, echo, eventually,
    runtime,
};

fn world() -> (Origin, PipelockStandIn, Egress) {
    let (origin, scanner) = (Origin::https(echo), PipelockStandIn::start());
    let route = Route { methods: any(), ..origin.route() };
    let egress = Setup::new().route(route).scanner(scanner.url()).start();
    (origin, scanner, egress)
}

/// An origin that keeps every byte that reaches it, whether a request becomes whole or not.
fn keeping() -> (Origin, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::clone(&kept);
    let origin = Origin::raw(move |mut conn| {
        let mut piece = vec![0; 1 << 16];
        while let Ok(count @ 1..) = std::io::Read::read(&mut conn, &mut piece) {
            own.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    });
    (origin, kept)
}

/// How much of the word is at the most in what came.
fn part_of_leak(bytes: &[u8]) -> usize {
    let leak = LEAK.as_bytes();
    (0..=leak.len())
        .rev()
        .find(|count| bytes.windows((*count).max(1)).any(|part| *part == leak[..*count]))
        .unwrap_or(0)
}

#[test]
fn a_url_that_is_denied_goes_nowhere() {
    let (origin, scanner, egress) = world();
    let answer = egress.get(&origin.url(&format!("/a?key={LEAK}"))).refused("scanner-denied");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("DLP-Stand-in") && !answer.text().contains(LEAK), "{answer:?}");
    origin.untouched();
    let line = egress.audited_reason("scanner-denied");
    assert_eq!((&line["decision"], &line["scanner"]), (&"deny".into(), &"deny".into()));
    assert!(line["scans"].as_u64().unwrap() >= 1 && line["scans_us"].is_u64(), "{line}");
    assert_eq!(scanner.asked_about("url"), [origin.url(&format!("/a?key={LEAK}"))]);
    let metrics = egress.admin("/metrics").text();
    assert!(metrics.contains("bottle_egress_scans_total{verdict=\"deny\"} 1\n"), "{metrics}");
}

#[test]
fn a_header_that_is_denied_goes_nowhere() {
    let (origin, _scanner, egress) = world();
    let line = format!("X-Note: {LEAK}");
    egress.request("GET", &origin.url("/"), &[&line], b"").refused("scanner-denied");
    let name = format!("X-{LEAK}: note");
    // Names of fields are in small letters for everybody.
    egress.request("GET", &origin.url("/"), &[&name], b"").ok();
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn what_is_allowed_arrives_and_is_told() {
    let (origin, scanner, egress) = world();
    egress.request("POST", &origin.url("/a?b=c"), &["X-Note: harmless"], b"a body").ok();
    assert_eq!(origin.last().body, b"a body");
    assert_eq!(scanner.asked_about("url"), [origin.url("/a?b=c")]);
    let texts = scanner.asked_about("dlp");
    assert!(texts.iter().any(|text| text.contains("x-note: harmless\n")), "{texts:?}");
    assert!(texts.iter().any(|text| text == "a body"), "{texts:?}");
    let line = egress.audited(|line| line["decision"] == "allow");
    assert_eq!((&line["scanner"], &line["scans"]), (&"allow".into(), &3.into()));
    let metrics = egress.admin("/metrics").text();
    assert!(metrics.contains("bottle_egress_scans_total{verdict=\"allow\"} 3\n"), "{metrics}");
    assert!(metrics.contains("bottle_egress_scans_under_way 0\n"), "{metrics}");
}

#[test]
fn the_scanner_never_sees_a_credential_and_the_origin_gets_it() {
    let (origin, scanner) = (Origin::https(echo), PipelockStandIn::start());
    let route = Route { methods: any(), credential: Some("key".to_owned()), ..origin.route() };
    let setup = Setup::new().route(route).secret("key", Inject::Bearer, "hunter2-of-the-operator");
    let egress = setup.scanner(scanner.url()).start();
    egress.request("POST", &origin.url("/"), &["Authorization: Bearer placeholder"], b"text").ok();
    assert_eq!(origin.last().header("authorization"), Some("Bearer hunter2-of-the-operator"));
    assert!(scanner.asked().iter().all(|asked| !asked.about.contains("hunter2")));
}

#[test]
fn what_the_policy_refuses_is_shown_to_nobody() {
    let (origin, scanner, egress) = world();
    egress.get("https://nobody.example.net/").refused("route-missing");
    egress.get(&origin.url("/..%2f")).refused("path-ambiguous");
    assert_eq!(scanner.connections(), 0);
}

#[test]
fn nothing_reaches_the_upstream_before_the_verdict() {
    let (origin, scanner, egress) = world();
    scanner.answers(Manner::Never);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| egress.request("POST", &origin.url("/"), &[], b"a body"));
        eventually("the head is asked about", || scanner.asked().len() == 1);
        origin.untouched();
        assert!(egress.admin("/metrics").text().contains("bottle_egress_scans_under_way 1\n"));
        scanner.answers(Manner::Documented);
        asking.join().unwrap().ok();
    });
    assert_eq!(origin.last().body, b"a body");
}

#[test]
fn a_body_leaves_only_behind_its_verdict() {
    let scanner = PipelockStandIn::start();
    let (origin, kept) = keeping();
    let route = Route { methods: any(), ..origin.route() };
    let egress = Setup::new().route(route).scanner(scanner.url()).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n", origin.authority()));
    eventually("the head has arrived", || kept.lock().unwrap().ends_with(b"\r\n\r\n"));
    scanner.answers(Manner::Never);
    let before = scanner.asked().len();
    client.say("the body..");
    eventually("the body is asked about", || scanner.asked().len() > before);
    assert!(kept.lock().unwrap().ends_with(b"\r\n\r\n"), "the body left before its verdict");
    scanner.answers(Manner::Documented);
    eventually("the body has arrived", || kept.lock().unwrap().ends_with(b"the body.."));
}

/// Sends a body with the word at a place, and gives what of it reached the origin.
fn sent_with_leak_at(place: usize, length: usize) -> (Vec<u8>, Vec<String>) {
    let scanner = PipelockStandIn::start();
    let (origin, kept) = keeping();
    let route = Route { methods: any(), ..origin.route() };
    let egress = Setup::new().route(route).scanner(scanner.url()).start();
    let mut body = vec![b'.'; length];
    body[place..place + LEAK.len()].copy_from_slice(LEAK.as_bytes());
    egress.request("POST", &origin.url("/"), &[], &body).refused("scanner-denied");
    let line = egress.audited_reason("scanner-denied");
    assert_eq!(line["scanner"], "deny");
    eventually("the connection to the origin ends", || origin.open() == 0);
    let kept = kept.lock().unwrap().clone();
    (kept, scanner.asked_about("dlp"))
}

#[test]
fn a_body_that_is_denied_at_its_beginning_does_not_leave() {
    let (kept, _) = sent_with_leak_at(10, 1000);
    assert_eq!(part_of_leak(&kept), 0);
    let (kept, _) = sent_with_leak_at(10, 300_000);
    assert!(kept.len() < 2000 && part_of_leak(&kept) == 0, "{} bytes", kept.len());
}

#[test]
fn a_body_that_is_denied_later_leaves_only_up_to_there() {
    let (kept, texts) = sent_with_leak_at(200_000, 400_000);
    assert_eq!(part_of_leak(&kept), 0);
    assert!(kept.len() > 60_000, "what was allowed before it has left: {} bytes", kept.len());
    assert!(texts.iter().all(|text| text.len() <= 64 << 10));
}

#[test]
fn what_stands_on_a_border_of_windows_is_seen_whole_and_leaves_in_no_part() {
    const WINDOW: usize = 64 << 10;
    for place in [WINDOW - LEAK.len() / 2, WINDOW - 1, WINDOW - LEAK.len() + 1, WINDOW] {
        let (kept, texts) = sent_with_leak_at(place, 3 * WINDOW);
        assert_eq!(part_of_leak(&kept), 0, "at {place}");
        assert!(texts.iter().any(|text| text.contains(LEAK)));
    }
}

#[test]
fn what_comes_after_a_pause_is_seen_together_with_what_came_before() {
    let scanner = PipelockStandIn::start();
    let (origin, kept) = keeping();
    let route = Route { methods: any(), ..origin.route() };
    let egress = Setup::new().route(route).scanner(scanner.url()).start();
    let words = "a few words. ".repeat(100);
    let mut client = egress.open(&origin.authority());
    client.say(&format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 2000\r\n\r\n", origin.authority()));
    client.say(&words);
    // Whoever waits for it gets it: the other side may have to answer it.
    eventually("the first part has left", || {
        String::from_utf8_lossy(&kept.lock().unwrap()).contains(words.get(..1000).expect("there are more"))
    });
    client.say(LEAK);
    client.say(" and the rest of the text");
    client.response("POST").refused("scanner-denied");
    eventually("the connection to the origin ends", || origin.open() == 0);
    assert_eq!(part_of_leak(&kept.lock().unwrap()), 0);
    let seen = |text: &String| text.contains(LEAK) && text.contains("a few words.");
    assert!(scanner.asked_about("dlp").iter().any(seen));
}

/// A body packed by the program of that name.
fn packed(program: &str, body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut command = Command::new(super::support::tool(program));
    let mut child = command.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn what_a_packed_body_unpacks_to_is_asked_about_and_it_arrives_packed() {
    let (origin, scanner, egress) = world();
    let harmless = packed("gzip", "harmless words ".repeat(20_000).as_bytes());
    egress.request("POST", &origin.url("/"), &["Content-Encoding: gzip"], &harmless).ok();
    assert_eq!(origin.last().body, harmless);
    let asked: usize = scanner.asked_about("dlp").iter().map(String::len).sum();
    assert!(asked >= 300_000, "{asked} bytes were asked about");
    let leaking = packed("gzip", format!("{}{LEAK}{}", "x ".repeat(50_000), "y ".repeat(50_000)).as_bytes());
    let answer = egress.request("POST", &origin.url("/"), &["Content-Encoding: gzip"], &leaking);
    answer.refused("scanner-denied");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_body_that_the_scanner_cannot_be_shown_is_refused() {
    let (origin, _scanner, egress) = world();
    for coding in ["compress", "gzip, gzip", "x-unknown"] {
        let line = format!("Content-Encoding: {coding}");
        egress.request("POST", &origin.url("/"), &[&line], b"anything").refused("body-unreadable");
    }
    origin.untouched();
}

#[test]
fn the_audit_log_tells_neither_the_path_that_was_denied_nor_bytes_that_did_not_leave() {
    let (origin, _scanner, egress) = world();
    egress.get(&origin.url(&format!("/{LEAK}"))).refused("scanner-denied");
    let line = egress.audited_reason("scanner-denied");
    assert_eq!((&line["path"], &line["sent"]), (&"/***".into(), &0.into()));
    let body = format!("{LEAK}{}", ".".repeat(1000));
    egress.request("POST", &origin.url("/open"), &[], body.as_bytes()).refused("scanner-denied");
    let line = egress.audited(|line| line["path"] == "/open");
    assert_eq!((&line["reason"], &line["sent"]), (&"scanner-denied".into(), &0.into()));
}

#[test]
fn a_large_body_of_any_bytes_arrives_unchanged_in_constant_memory() {
    let (node, scanner) = (Node::start(), PipelockStandIn::start());
    let egress = Setup::new().route(node.route()).scanner(scanner.url()).start();
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let binary: Vec<u8> = std::iter::repeat_with(&mut next).take(4 << 20).collect();
    let text: Vec<u8> =
        "{\"role\": \"user\", \"content\": \"grüße\\n\"}\n".bytes().cycle().take(4 << 20).collect();
    for content in [binary, text] {
        let answer = egress.request("POST", &node.url("/up"), &[], &content).ok().json();
        assert_eq!(answer["length"], 4 << 20);
    }
    assert!(egress.growth() < GROWTH + (8 << 10), "{} kB", egress.growth());
}

#[test]
fn a_trailer_is_asked_about() {
    let (origin, scanner, egress) = world();
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Note: {LEAK}\r\n\r\n",
        origin.authority()
    ));
    client.response("POST").refused("scanner-denied");
    assert!(scanner.asked_about("dlp").iter().any(|text| text.contains(&format!("x-note: {LEAK}"))));
    assert!(origin.seen().is_empty(), "the body came to its end");
}

#[test]
fn http2_is_asked_about_as_well() {
    let (origin, scanner, egress) = world();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.send(session.build("POST", "/fine", b"harmless")).await.unwrap().ok();
        let leak = format!("a {LEAK} b");
        session
            .send(session.build("POST", "/body", leak.as_bytes()))
            .await
            .unwrap()
            .refused("scanner-denied");
        let path = format!("/{LEAK}");
        session.send(session.build("GET", &path, b"")).await.unwrap().refused("scanner-denied");
    });
    assert_eq!(origin.targets(), ["/fine"]);
    assert!(scanner.asked_about("url").iter().any(|url| url.ends_with("/body")));
}

#[test]
fn a_url_that_is_too_long_to_be_asked_about_is_refused() {
    let (origin, scanner, egress) = world();
    let room = 8192 - origin.url("/").len();
    egress.get(&origin.url(&format!("/{}", "x".repeat(room)))).ok();
    egress.get(&origin.url(&format!("/{}", "x".repeat(room + 1)))).refused("head-too-large");
    assert_eq!(scanner.asked_about("url").len(), 1);
}

/// The key of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A masked frame: its first byte, and its payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn websocket(node: &Node, egress: &Egress) -> Client {
    let mut client = egress.open(&node.authority());
    client.say(&format!(
        "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
        node.authority()
    ));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    client
}

#[test]
fn messages_of_a_websocket_wait_for_their_verdict() {
    let (node, scanner) = (Node::start(), PipelockStandIn::start());
    let route = Route { websocket: true, ..node.route() };
    let egress = Setup::new().route(route).scanner(scanner.url()).start();
    let mut client = websocket(&node, &egress);
    for text in ["hello", "again", ""] {
        client.send(&frame(0x81, text.as_bytes()));
        assert_eq!(&client.take(2 + text.len())[2..], text.as_bytes());
    }
    assert!(scanner.asked_about("dlp").iter().any(|text| text == "helloagain"));
    client.send(&frame(0x81, LEAK.as_bytes()));
    let closed = String::from_utf8_lossy(&client.end()).into_owned();
    assert!(closed.contains("scanner-denied") && !closed.contains("LEAK"), "{closed:?}");
    assert_eq!(egress.audited_reason("scanner-denied")["status"], 101);

    // In fragments, with a control frame between them, and in a control frame.
    let (first, second) = LEAK.as_bytes().split_at(9);
    let fragments = [frame(0x01, first), frame(0x89, b"ping"), frame(0x80, second)].concat();
    for frames in [fragments, frame(0x89, LEAK.as_bytes()), frame(0x82, LEAK.as_bytes())] {
        let mut client = websocket(&node, &egress);
        client.send(&frames);
        let answered = client.end();
        assert!(part_of_leak(&answered) < 9, "{answered:?}");
    }

    // The end of one side still ends the other.
    let mut client = websocket(&node, &egress);
    client.send(&frame(0x88, b""));
    assert_eq!(client.end(), [0x88, 0x00]);
}
