//! Large bodies: whole, unchanged, and never held.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bottle::policy::egress::Route;

use super::support::{GROWTH, Http2, Nginx, Node, Origin, Setup, any, echo, runtime, tool};

/// Bytes whose order shows when it is wrong.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

#[test]
fn a_large_download_arrives_unchanged_in_constant_memory() {
    let nginx = Nginx::start("");
    let content = bytes(1 << 20);
    let mut file = std::fs::File::create(nginx.www().join("large")).unwrap();
    for _ in 0..48 {
        file.write_all(&content).unwrap();
    }
    let egress = Setup::new().route(nginx.route()).start();
    let mut client = egress.open(&nginx.authority());
    client.say(&format!("GET /large HTTP/1.1\r\nHost: {}\r\n\r\n", nginx.authority()));
    let head = client.head();
    assert!(head.to_lowercase().contains("content-length: 50331648"), "{head}");
    for _ in 0..48 {
        assert!(client.take(content.len()) == content, "the content changed");
    }
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn a_large_upload_arrives_unchanged_in_constant_memory() {
    let node = Node::start();
    let egress = Setup::new().route(node.route()).start();
    let content = bytes(1 << 20);
    for framing in ["Content-Length: 33554432", "Transfer-Encoding: chunked"] {
        let mut client = egress.open(&node.authority());
        client.say(&format!("POST /up HTTP/1.1\r\nHost: {}\r\n{framing}\r\n\r\n", node.authority()));
        let chunked = framing.starts_with('T');
        for _ in 0..32 {
            if chunked {
                client.say("100000\r\n");
            }
            client.try_send(&content).unwrap();
            if chunked {
                client.say("\r\n");
            }
        }
        if chunked {
            client.say("0\r\n\r\n");
        }
        let answer = client.response("POST").ok().json();
        assert_eq!(answer["length"], 32 << 20);
        assert_eq!(answer["sum"], sum(&content, 32), "the content changed");
    }
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

/// The SHA-256 of so many repetitions.
fn sum(content: &[u8], times: usize) -> String {
    let mut command = Command::new(tool("sha256sum"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for _ in 0..times {
        stdin.write_all(content).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap().to_owned()
}

#[test]
fn large_bodies_pass_through_http2_unchanged() {
    let node = Node::start();
    let egress = Setup::new().route(node.route()).start();
    let content = bytes(4 << 20);
    let answer = runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        session.send(session.build("POST", "/up", &content)).await.unwrap().ok().json()
    });
    assert_eq!(answer["length"], 4 << 20);
    assert_eq!(answer["sum"], sum(&content, 1));
}

#[test]
fn a_slow_reader_holds_its_origin_back_instead_of_filling_memory() {
    let origin = Origin::raw(|mut conn| {
        let Ok(Some(_)) = conn.request() else { return };
        drop(conn.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"));
        let piece = vec![b'x'; 1 << 16];
        while conn.write_all(&piece).is_ok() {}
    });
    let egress = Setup::new().route(origin.route()).start();
    // Twenty at a time, each reading only the first bytes: the rest has to wait with the origin.
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = egress.open(&origin.authority());
            client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
            client.take(1000);
            client
        })
        .collect();
    // Others are served meanwhile, which also gives the origins time to send.
    for _ in 0..20 {
        egress.get("https://nobody.example.net/").refused("route-missing");
    }
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
    drop(clients);
}

#[test]
fn compressed_bodies_pass_as_they_are_where_nothing_was_injected() {
    let origin = Origin::https(|_, conn| {
        conn.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n")?;
        conn.write_all(&[0x1f, 0x8b, 0xff, 0xfe])?;
        conn.flush()
    });
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/")).ok();
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(response.body, [0x1f, 0x8b, 0xff, 0xfe]);
}

#[test]
fn a_range_of_a_file_arrives() {
    let nginx = Nginx::start("");
    std::fs::write(nginx.www().join("file"), "0123456789").unwrap();
    let egress = Setup::new().route(nginx.route()).start();
    let response = egress.request("GET", &nginx.url("/file"), &["Range: bytes=2-4"], b"");
    assert_eq!((response.status, response.text().as_str()), (206, "234"));
}

#[test]
fn an_upload_over_the_routes_cap_is_refused() {
    let origin = Origin::https(echo);
    let route = Route { methods: any(), max_upload_bytes: Some(1000), ..origin.route() };
    let egress = Setup::new().route(route).start();
    egress.request("POST", &origin.url("/"), &[], &[b'x'; 1000]).ok();
    let response = egress.request("POST", &origin.url("/announced"), &[], &[b'x'; 1001]);
    assert_eq!(response.clone().refused("upload-too-large").status, 413);
    // Announced or not: the bytes count.
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST /chunked HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        origin.authority()
    ));
    for _ in 0..11 {
        client.say(&format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    client.say("0\r\n\r\n");
    client.response("POST").refused("upload-too-large");
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let response = session.send(session.build("POST", "/h2", &[b'x'; 1001])).await.unwrap();
        response.refused("upload-too-large");
    });
    assert_eq!(origin.targets(), ["/"], "an upload over the cap came through whole");
}
