//! Under fire: limits, many connections, signals.

use std::time::Duration;

use bottle::policy::egress::Route;

use super::support::{Client, Egress, GROWTH, Http2, Node, Origin, Setup, any, echo, eventually, runtime};

const SHORT: u64 = 300;
const SOON: Duration = Duration::from_secs(5);

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    (origin, egress)
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let (origin, egress) = world();
    for lines in [
        format!("X-Long: {}", "x".repeat(70_000)),
        (0..200).map(|number| format!("X-{number}: 1")).collect::<Vec<_>>().join("\r\n"),
        (0..70).map(|number| format!("X-{number}: {}", "x".repeat(1000))).collect::<Vec<_>>().join("\r\n"),
    ] {
        let response = egress.request("GET", &origin.url("/"), &[&lines], b"");
        assert_eq!(response.status, 431, "{response:?}");
        response.refused("head-too-large");
    }
    let response = egress.get(&origin.url(&format!("/{}", "x".repeat(70_000))));
    response.refused("head-too-large");
    origin.untouched();
}

#[test]
fn a_head_that_never_ends_is_refused_before_it_fills_memory() {
    let (origin, egress) = world();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\nX: ", origin.authority()));
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..200 {
        if client.try_send(&piece).is_err() {
            break;
        }
    }
    client.end();
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn a_connect_line_that_never_ends_is_refused() {
    let (_origin, egress) = world();
    let mut client = egress.dial();
    client.say("CONNECT ");
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..50 {
        if client.try_send(&piece).is_err() {
            break;
        }
    }
    client.end();
}

#[test]
fn http2_headers_that_are_too_many_are_refused() {
    let (origin, egress) = world();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.get("/first").await.ok();
        for (count, length) in [(200, 1), (70, 1000)] {
            let mut request = session.build("GET", "/big", b"");
            for number in 0..count {
                let name: http::HeaderName = format!("x-{number}").parse().unwrap();
                request.headers_mut().insert(name, "x".repeat(length).parse().unwrap());
            }
            // Told, or the stream is reset: what matters is that it went nowhere, and that others go on.
            if let Ok(response) = session.send(request).await {
                assert!(response.status == 431 || response.status == 400, "{response:?}");
            }
        }
        session.get("/last").await.ok();
    });
    assert_eq!(origin.targets(), ["/first", "/last"]);
}

#[test]
fn a_slow_head_is_closed_however_steadily_it_drips() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("head", SHORT).start();
    let mut client = egress.open(&origin.authority());
    client.say("GET / HTTP/1.1\r\n");
    let from = std::time::Instant::now();
    while client.silent_for(Duration::from_millis(20)) {
        client.say("X: 1\r\n");
        assert!(from.elapsed() < SOON, "it may drip forever");
    }
    let rest = String::from_utf8_lossy(&client.end()).into_owned();
    assert!(rest.is_empty() || rest.contains("request-timeout"), "{rest}");
    egress.audited_reason("request-timeout");
    origin.untouched();
}

#[test]
fn a_body_that_stops_is_closed_in_bounded_time() {
    let origin = Origin::https(echo);
    let route = Route { methods: any(), ..origin.route() };
    let egress = Setup::new().route(route).limit("stall", SHORT).start();
    let mut client = egress.open(&origin.authority());
    client
        .say(&format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nstart", origin.authority()));
    client.ends_within(SOON);
    eventually("the upstream's connection is gone", || origin.open() == 0);
    assert!(origin.seen().is_empty());
}

#[test]
fn a_client_that_does_not_read_is_closed_in_bounded_time() {
    use std::io::Write as _;
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"));
        let piece = vec![b'x'; 1 << 16];
        while conn.write_all(&piece).is_ok() {}
    });
    let egress = Setup::new().route(origin.route()).limit("stall", SHORT).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    eventually("the answer has begun", || origin.open() == 1);
    eventually("it is given up", || origin.open() == 0);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("idle", SHORT).start();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/").ok();
    assert!(client.ends_within(SOON) > Duration::from_millis(SHORT / 2));
}

#[test]
fn an_idle_http2_connection_is_closed_after_its_time() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("idle", SHORT).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.get("/").await.ok();
        let deadline = std::time::Instant::now() + SOON;
        while !session.send.is_closed() {
            assert!(std::time::Instant::now() < deadline, "it stays open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn connections_over_the_limit_wait_or_are_told_and_the_others_go_on() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("connections", 8).start();
    let mut held: Vec<_> = (0..8).map(|_| egress.open(&origin.authority())).collect();
    let mut more = egress.dial();
    more.say(&format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority()));
    // Told at once, or closed: it must not be served beside the eight.
    if let Some(response) = more.try_response("CONNECT") {
        response.refused("egress-busy");
    }
    for client in &mut held {
        client.get(&origin.authority(), "/").ok();
    }
    held.truncate(4);
    eventually("there is room again", || {
        let mut client = egress.dial();
        client.say(&format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority()));
        client.try_response("CONNECT").is_some_and(|response| response.status == 200)
    });
}

/// Lets this process have as many files as it may, and gives how many that are.
fn files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

#[test]
fn thousands_of_idle_connections_cost_little_and_hold_nobody_up() {
    // 10,000, or as many as the machine lets one process have.
    let count = usize::try_from(files().min(11_000)).unwrap().saturating_sub(1_000).max(200);
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).limit("connect-line", 60_000).start();
    egress.get(&origin.url("/")).ok();
    let before = egress.memory("VmRSS");
    let idle: Vec<Client> = (0..count).map(|_| egress.dial()).collect();
    eventually("all of them are accepted", || {
        let text = egress.admin("/metrics").text();
        let open = text.lines().find_map(|line| line.strip_prefix("bottle_egress_connections_open "));
        open.and_then(|open| open.parse::<usize>().ok()).is_some_and(|open| open >= count)
    });
    let after = egress.memory("VmRSS");
    // A debug build's task is larger; 4 kB each is the order that counts.
    assert!(after - before < count as u64 * 4, "{count} connections: {before} kB, then {after} kB");
    for _ in 0..20 {
        egress.get(&origin.url("/")).ok();
    }
    drop(idle);
    eventually("all of them are gone", || {
        egress.admin("/metrics").text().contains("bottle_egress_connections_open 0\n")
    });
}

#[test]
fn idle_tls_sessions_give_their_memory_back() {
    let (origin, egress) = world();
    let open = |count: usize| -> Vec<Client> {
        (0..count)
            .map(|_| {
                let mut client = egress.open(&origin.authority());
                client.get(&origin.authority(), "/").ok();
                client
            })
            .collect()
    };
    drop(open(40));
    eventually("they are gone", || egress.admin("/metrics").text().contains("connections_open 0\n"));
    let before = egress.memory("VmRSS");
    for _ in 0..3 {
        drop(open(40));
        eventually("they are gone", || egress.admin("/metrics").text().contains("connections_open 0\n"));
    }
    let after = egress.memory("VmRSS");
    assert!(after < before + 2048, "{before} kB, then {after} kB: it leaks");
}

#[test]
fn a_thousand_requests_at_a_time_over_many_connections_are_all_answered() {
    let node = Node::start();
    let egress = Setup::new().route(node.route()).start();
    runtime().block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..10 {
            let session = Http2::open(&egress, &node.authority()).await;
            for number in 0..100 {
                let session = session.clone();
                tasks.push(tokio::spawn(async move { session.get(&format!("/echo?{number}")).await.status }));
            }
        }
        for task in tasks {
            assert_eq!(task.await.unwrap(), 200);
        }
    });
}

#[test]
fn resets_without_end_do_not_starve_others() {
    // The rapid reset of CVE-2023-44487: streams are opened and given up at once.
    let node = Node::start();
    let egress = Setup::new().route(node.route()).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        session.get("/echo").await.ok();
        for _ in 0..2_000 {
            let mut send = session.send.clone();
            if send.ready().await.is_err() {
                // The connection was ended: a good answer as well.
                break;
            }
            drop(send.send_request(session.build("GET", "/echo", b"")));
            tokio::task::yield_now().await;
        }
        let other = Http2::open(&egress, &node.authority()).await;
        other.get("/echo").await.ok();
    });
}

#[test]
fn garbage_of_all_kinds_ends_nothing_but_its_own_connection() {
    let (origin, mut egress) = world();
    let mut state = 1_u64;
    for round in 0..200_u64 {
        let mut bytes = Vec::new();
        for _ in 0..(round * 7) % 300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push(state.to_le_bytes()[6]);
        }
        let mut client = egress.dial();
        client.send(&bytes);
        client.finish();
        client.end();
    }
    assert!(egress.running());
    egress.get(&origin.url("/")).ok();
    assert!(egress.admin("/metrics").text().contains("bottle_egress_panics_total 0"));
}

#[test]
fn garbage_inside_a_session_ends_nothing_else() {
    let (origin, egress) = world();
    for preface in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let (_, client) = egress.connect(&origin.authority());
        let mut client = client.handshake(&egress, "origin.test.example", &["h2"]).unwrap();
        client.say(preface);
        // A frame of a kind that has no meaning there, larger than allowed.
        client.send(b"\xff\xff\xff\x09\x00\x00\x00\x00\x00garbage");
        client.end();
    }
    egress.get(&origin.url("/")).ok();
}

#[test]
fn sigterm_lets_what_runs_end_and_takes_nothing_new() {
    let node = Node::start();
    let mut egress = Setup::new().route(node.route()).start();
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    let mut second = egress.open(&node.authority());
    second.get(&node.authority(), "/echo").ok();
    egress.terminate();
    eventually("nothing new is taken", || std::net::TcpStream::connect(egress.address()).is_err());
    assert!(egress.running(), "it did not wait");
    release(&node);
    client.until("data: second\n\n");
    drop((client, second));
    assert!(egress.wait().success());
}

/// Asks node for the second event, not through egress.
fn release(node: &Node) {
    let output = std::process::Command::new(super::support::tool("curl"))
        .args(["--silent", "--insecure", &format!("https://127.0.0.1:{}/release", node.port)])
        .output()
        .unwrap();
    assert!(output.status.success());
}

#[test]
fn sigterm_does_not_wait_longer_than_its_limit() {
    let node = Node::start();
    let mut egress = Setup::new().route(node.route()).limit("drain", SHORT).start();
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    let from = std::time::Instant::now();
    egress.terminate();
    egress.wait();
    assert!(from.elapsed() < SOON);
    egress.audited(|line| line["event"] == "shutdown");
}

#[test]
fn sigterm_ends_an_idle_egress_at_once() {
    let (origin, mut egress) = world();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/").ok();
    let from = std::time::Instant::now();
    egress.terminate();
    assert!(egress.wait().success());
    assert!(from.elapsed() < Duration::from_secs(4), "idle connections held it up");
}
