//! What was injected does not come back in a response.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bottle::policy::egress::{Inject, Route};

use super::support::{Conn, Egress, GROWTH, Http2, Origin, Setup, answer, any, find, runtime};

const SECRET: &str = "s3cr3t-0123456789-abcdefghij";

fn world(
    handler: impl Fn(&super::support::Seen, &mut Conn) -> std::io::Result<()> + Send + Sync + 'static,
) -> (Origin, Egress) {
    let origin = Origin::https(handler);
    let egress = start(&origin, Inject::Header("x-api-key".to_owned()));
    (origin, egress)
}

fn start(origin: &Origin, inject: Inject) -> Egress {
    let route = Route { credential: Some("api".to_owned()), methods: any(), ..origin.route() };
    Setup::new().secret("api", inject, SECRET).route(route).start()
}

/// Says what it was sent, in its headers and its body.
fn mirror(seen: &super::support::Seen, conn: &mut Conn) -> std::io::Result<()> {
    let token = seen.header("x-api-key").or(seen.header("authorization")).unwrap_or_default();
    let body = format!("{{\"you sent\":\"{token}\",\"head\":{:?}}}", seen.head);
    conn.say(&format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Echo: <{token}>\r\nSet-Cookie: t={token}; Path=/\r\n\
         Location: https://x.example/?k={token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[test]
fn headers_and_body_of_a_response_do_not_carry_it() {
    let (origin, egress) = world(mirror);
    let response = egress.get(&origin.url("/")).ok();
    assert!(origin.last().head.contains(SECRET), "it was injected");
    assert!(!response.head.contains(SECRET) && !response.text().contains(SECRET), "{response:?}");
    assert!(response.text().contains("you sent"), "{response:?}");
    // Well-formed still: what follows on the connection is found.
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/1").ok();
    client.get(&origin.authority(), "/2").ok();
}

#[test]
fn the_basic_form_does_not_come_back_either() {
    let origin = Origin::https(mirror);
    let egress = start(&origin, Inject::Basic("robot".to_owned()));
    let response = egress.get(&origin.url("/")).ok();
    let encoded = "cm9ib3Q6czNjcjN0LTAxMjM0NTY3ODktYWJjZGVmZ2hpag==";
    assert!(origin.last().head.contains(encoded));
    assert!(!response.head.contains(encoded) && !response.text().contains(encoded), "{response:?}");
}

#[test]
fn http2_responses_do_not_carry_it() {
    let (origin, egress) = world(mirror);
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let response = session.get("/").await.ok();
        assert!(!response.head.contains(SECRET) && !response.text().contains(SECRET), "{response:?}");
    });
}

#[test]
fn it_is_found_across_the_borders_of_chunks() {
    for size in [1, 2, 3, 7, SECRET.len() - 1] {
        let (origin, egress) = world(move |_, conn| {
            conn.say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for piece in format!("before {SECRET} after").as_bytes().chunks(size) {
                conn.say(&format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)))?;
            }
            conn.say("0\r\n\r\n")
        });
        let text = egress.get(&origin.url("/")).ok().text();
        assert!(text.starts_with("before ") && text.ends_with(" after"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn repeated_and_overlapping_beginnings_do_not_hide_it() {
    let body = format!("s3cr3t-s3cr3t-0123{SECRET}{SECRET}s3s3cr3{SECRET}s3cr3t-0123456789-abcdefghi");
    let (origin, egress) = world(answer("HTTP/1.1 200 OK\r\nContent-Type: text/plain", body));
    let text = egress.get(&origin.url("/")).ok().text();
    assert!(!text.contains(SECRET), "{text}");
    // What is nearly it stays.
    assert!(
        text.starts_with("s3cr3t-s3cr3t-0123") && text.ends_with("s3cr3t-0123456789-abcdefghi"),
        "{text}"
    );
}

#[test]
fn an_event_is_not_held_back_by_the_search() {
    let node = super::support::Node::start();
    let route = Route { credential: Some("api".to_owned()), ..node.route() };
    let egress = Setup::new().secret("api", Inject::Bearer, SECRET).route(route).start();
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    egress.get(&node.url("/release")).ok();
    client.until("data: second\n\n");
}

/// Compresses with a program of the machine.
fn packed(program: &str, args: &[&str], text: &str) -> Option<Vec<u8>> {
    let mut child = Command::new(find(program)?)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap().stdout)
}

/// Compresses with node, which has all the encodings.
fn packed_by_node(method: &str, text: &str) -> Vec<u8> {
    let script = format!(
        "const chunks = []; process.stdin.on('data', (c) => chunks.push(c)).on('end', () => \
         process.stdout.write(require('zlib').{method}(Buffer.concat(chunks))))"
    );
    packed("node", &["-e", &script], text).expect("node is on this machine")
}

#[test]
fn it_is_found_in_compressed_bodies() {
    let text = format!("before {SECRET} after");
    let zstd = packed("zstd", &["-c"], &text).expect("zstd is on this machine");
    for (encoding, bytes) in [
        ("gzip", packed_by_node("gzipSync", &text)),
        ("br", packed_by_node("brotliCompressSync", &text)),
        ("zstd", zstd),
        ("x-gzip", packed_by_node("gzipSync", &text)),
        ("GZIP", packed_by_node("gzipSync", &text)),
    ] {
        let kept = bytes.clone();
        let (origin, egress) = world(move |_, conn| {
            conn.say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {encoding}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n",
                kept.len()
            ))?;
            conn.write_all(&kept)?;
            conn.flush()
        });
        let response = egress.request("GET", &origin.url("/"), &["Accept-Encoding: gzip, br, zstd"], b"");
        // Unpacked and passed on plain; or the upstream was never asked for an encoding, and what comes is refused.
        if response.status == 200 {
            assert_eq!(response.header("content-encoding"), None, "{encoding}: {response:?}");
            let text = response.text();
            assert!(text.starts_with("before ") && text.ends_with(" after"), "{encoding}: {text}");
            assert!(!text.contains(SECRET), "{encoding}: {text}");
        } else {
            response.refused("scrub-failed");
        }
    }
}

#[test]
fn gzip_of_several_members_is_searched_to_its_end() {
    let mut bytes = packed_by_node("gzipSync", "first ");
    bytes.extend(packed_by_node("gzipSync", &format!("second {SECRET}")));
    let (origin, egress) = world(move |_, conn| {
        conn.say(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        ))?;
        conn.write_all(&bytes)?;
        conn.flush()
    });
    let response = egress.get(&origin.url("/"));
    assert!(response.text().starts_with("first "), "{response:?}");
    assert!(!response.text().contains(SECRET));
}

#[test]
fn an_encoding_that_can_not_be_looked_into_is_not_passed_on() {
    for encoding in ["compress", "gzip, gzip", "unknown", "br, gzip", "aes128gcm"] {
        let (origin, egress) = world(move |_, conn| {
            conn.say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {encoding}\r\nContent-Length: 4\r\n\r\nabcd"
            ))
        });
        let response = egress.get(&origin.url("/")).refused("scrub-failed");
        assert_eq!(response.status, 502);
    }
}

#[test]
fn what_claims_to_be_compressed_and_is_not_is_cut_off() {
    let (origin, egress) = world(|_, conn| {
        let body = format!("not gzip at all {SECRET}");
        conn.say(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    });
    let response = egress.get(&origin.url("/"));
    assert!(response.cut || response.status == 502, "{response:?}");
    assert!(!response.text().contains(SECRET));
}

#[test]
fn a_body_that_unpacks_to_very_much_does_not_fill_memory() {
    let text = "x".repeat(32 << 20);
    let bomb = packed_by_node("gzipSync", &text);
    assert!(bomb.len() < 100_000);
    let (origin, egress) = world(move |_, conn| {
        conn.say(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            bomb.len()
        ))?;
        conn.write_all(&bomb)?;
        conn.flush()
    });
    let response = egress.get(&origin.url("/"));
    assert!(response.status == 200 || response.status == 502, "{}", response.head);
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn a_body_that_is_not_text_passes_as_it_is() {
    let (origin, egress) =
        world(answer("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream", [0_u8, 1, 2, 255]));
    let response = egress.get(&origin.url("/")).ok();
    assert_eq!(response.body, [0, 1, 2, 255]);
    assert_eq!(response.header("content-length"), Some("4"));
}

#[test]
fn a_body_without_a_type_is_searched() {
    let (origin, egress) = world(answer("HTTP/1.1 200 OK", format!("it is {SECRET}")));
    assert!(!egress.get(&origin.url("/")).ok().text().contains(SECRET));
}

#[test]
fn reasons_trailers_and_status_lines_do_not_carry_it() {
    let (origin, egress) = world(|_, conn| {
        conn.say(&format!(
            "HTTP/1.1 200 {SECRET}\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n\
             2\r\nok\r\n0\r\nX-T: {SECRET}\r\n\r\n"
        ))
    });
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\n\r\n", origin.authority()));
    let response = client.response("GET").ok();
    assert!(!response.head.contains(SECRET) && !response.trailers.contains(SECRET), "{response:?}");
}

#[test]
fn early_hints_do_not_carry_it() {
    let (origin, egress) = world(|_, conn| {
        conn.say(&format!(
            "HTTP/1.1 103 Early Hints\r\nLink: <{SECRET}>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        ))
    });
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", origin.authority()));
    let all = String::from_utf8_lossy(&client.end()).into_owned();
    assert!(all.ends_with("ok") && !all.contains(SECRET), "{all}");
}

#[test]
fn a_range_of_a_body_that_holds_a_part_of_it_is_not_asked_for_or_not_passed_on() {
    // Two ranges of which each holds a half would give the whole to who puts them together.
    let (origin, egress) = world(|seen, conn| {
        let body = format!("before {SECRET} after");
        match seen.header("range") {
            Some(_) => {
                let half = body.split_at(7 + SECRET.len() / 2).0;
                conn.say(&format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-{}/{}\r\nContent-Length: {}\r\n\r\n{half}",
                    half.len() - 1,
                    body.len(),
                    half.len()
                ))
            }
            None => conn.say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )),
        }
    });
    let response = egress.request("GET", &origin.url("/"), &["Range: bytes=0-20"], b"");
    let half = SECRET.split_at(SECRET.len() / 2).0;
    assert!(!response.text().contains(half), "{response:?}");
}
