//! Secrets in bodies that are packed or encoded.

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use base64::Engine as _;
use bottle::policy::egress::{Inject, OnSecret, Route};
use tokio::io::AsyncReadExt as _;

use super::support::{Client, Egress, GROWTH, Origin, Setup, any, echo, eventually, paths, runtime};

const SECRET: &str = "s3cr3t-0123456789-abcdefghij";
const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn world(on_secret: OnSecret) -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let route = Route { methods: any(), on_secret, ..origin.route() };
    let egress = Setup::new()
        .secret("api", Inject::Bearer, SECRET)
        .route(Route { paths: paths(&["/v1/**"]), credential: Some("api".to_owned()), ..route.clone() })
        .route(Route { paths: paths(&["/open/**"]), ..route })
        .start();
    (origin, egress)
}

fn packed(coding: &str, text: &[u8]) -> Vec<u8> {
    runtime().block_on(async {
        let mut out = Vec::new();
        match coding {
            "gzip" => GzipEncoder::new(text).read_to_end(&mut out).await,
            "deflate" => ZlibEncoder::new(text).read_to_end(&mut out).await,
            "br" => BrotliEncoder::new(text).read_to_end(&mut out).await,
            "zstd" => ZstdEncoder::new(text).read_to_end(&mut out).await,
            other => panic!("{other}"),
        }
        .unwrap();
        out
    })
}

fn open(origin: &Origin, egress: &Egress, lines: &str) -> Client {
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST /open/x HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n{lines}\r\n\r\n",
        origin.authority()
    ));
    client
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Text that packs badly, with something in the midst of it.
fn around(middle: &str) -> Vec<u8> {
    let noise = |seed: u64| {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from(state >> 33 & 15).unwrap())
        };
        (0..60_000).map(|_| next()).collect::<String>()
    };
    format!("{}{middle}{}", noise(1), noise(2)).into_bytes()
}

#[test]
fn a_packed_secret_is_found_and_what_is_none_arrives_as_it_was_packed() {
    for coding in CODINGS {
        let (origin, egress) = world(OnSecret::Block);
        let line = format!("Content-Encoding: {coding}");
        for text in [SECRET.as_bytes().to_vec(), around(SECRET)] {
            let body = packed(coding, &text);
            egress.request("POST", &origin.url("/open/x"), &[&line], &body).refused("secret-sent");
            for size in [1, 500] {
                let mut client = open(&origin, &egress, &line);
                let chunks: Vec<u8> = body.chunks(size).flat_map(chunk).collect();
                drop(client.try_send(&[chunks.as_slice(), b"0\r\n\r\n"].concat()));
                client.response("POST").refused("secret-sent");
            }
        }
        assert!(origin.seen().is_empty(), "{coding}");
        for text in [b"harmless".to_vec(), around("harmless")] {
            let body = packed(coding, &text);
            egress.request("POST", &origin.url("/v1/ok"), &[&line], &body).ok();
            let mut client = open(&origin, &egress, &line);
            let chunks: Vec<u8> = body.chunks(1000).flat_map(chunk).collect();
            client.send(&[chunks.as_slice(), b"0\r\n\r\n"].concat());
            client.response("POST").ok();
            for seen in origin.seen().iter().rev().take(2) {
                assert!(seen.body == body, "{coding} {}", text.len());
                assert_eq!(seen.header("content-encoding"), Some(coding));
            }
        }
    }
}

/// A part of a packed body never leaves before what it unpacks to is known: the decoder may come late.
#[test]
fn the_packed_bytes_of_a_secret_do_not_leave_before_they_are_unpacked() {
    for coding in CODINGS {
        let (sender, receiver) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let origin = Origin::raw(move |mut conn| {
            let mut all = Vec::new();
            drop(std::io::Read::read_to_end(&mut conn, &mut all));
            drop(sender.lock().unwrap().send(all));
        });
        let route = Route { methods: any(), ..origin.route() };
        let egress = Setup::new()
            .secret("api", Inject::Bearer, SECRET)
            .route(Route { paths: paths(&["/v1"]), credential: Some("api".to_owned()), ..route.clone() })
            .route(route)
            .start();
        let body = packed(coding, &around(SECRET));
        let mut client = open(&origin, &egress, &format!("Content-Encoding: {coding}"));
        for piece in body.chunks(997) {
            if client.try_send(&chunk(piece)).is_err() {
                break;
            }
        }
        client.response("POST").refused("secret-sent");
        // It may not even have been connected to.
        if origin.connections() == 0 {
            continue;
        }
        eventually("the upstream's connection has ended", || origin.open() == 0);
        let arrived = receiver.recv().unwrap();
        let head = arrived.windows(4).position(|end| end == b"\r\n\r\n").map_or(arrived.len(), |at| at + 4);
        let mut plain = Vec::new();
        let packed: Vec<u8> = dechunked(&arrived[head..]);
        runtime().block_on(async {
            use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
            // It breaks off: what is there before counts.
            drop(match coding {
                "gzip" => GzipDecoder::new(packed.as_slice()).read_to_end(&mut plain).await,
                "deflate" => ZlibDecoder::new(packed.as_slice()).read_to_end(&mut plain).await,
                "br" => BrotliDecoder::new(packed.as_slice()).read_to_end(&mut plain).await,
                _ => ZstdDecoder::new(packed.as_slice()).read_to_end(&mut plain).await,
            });
        });
        assert!(!String::from_utf8_lossy(&plain).contains(SECRET.split_at(6).0), "{coding}");
    }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|end| end == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let data = &bytes[end + 2..];
        out.extend_from_slice(&data[..size.min(data.len())]);
        bytes = data.get(size + 2..).unwrap_or_default();
    }
    out
}

#[test]
fn text_that_unpacks_to_nothing_is_searched_as_well() {
    let (origin, egress) = world(OnSecret::Block);
    let mut gzip = packed("gzip", b"harmless");
    // FNAME: a name in the header.
    gzip[3] |= 8;
    gzip.splice(10..10, SECRET.bytes().chain([0]));
    let mut zstd = vec![0x50, 0x2a, 0x4d, 0x18];
    zstd.extend(u32::try_from(SECRET.len()).unwrap().to_le_bytes());
    zstd.extend(SECRET.bytes());
    zstd.extend(packed("zstd", b"harmless"));
    for (coding, body) in [("gzip", gzip), ("zstd", zstd)] {
        let line = format!("Content-Encoding: {coding}");
        egress.request("POST", &origin.url("/open/x"), &[&line], &body).refused("secret-sent");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_secret_that_is_packed_can_not_be_covered() {
    let (origin, egress) = world(OnSecret::Redact);
    let body = packed("gzip", SECRET.as_bytes());
    let response = egress.request("POST", &origin.url("/open/x"), &["Content-Encoding: gzip"], &body);
    assert!(response.refused("secret-sent").text().contains("can't be covered"));
    assert!(origin.seen().is_empty());
}

#[test]
fn what_can_not_be_unpacked_is_refused() {
    let (origin, egress) = world(OnSecret::Block);
    let gzip = packed("gzip", &around("harmless"));
    for (coding, body) in [
        ("gzip", b"this is no gzip".to_vec()),
        ("gzip", gzip[..gzip.len() - 3].to_vec()),
        ("gzip", [gzip.as_slice(), b"more"].concat()),
        ("br", b"\xff\xff\xff".to_vec()),
        ("zstd", b"\x28\xb5\x2f\xfd\xff".to_vec()),
    ] {
        let line = format!("Content-Encoding: {coding}");
        for path in ["/v1/x", "/open/x"] {
            egress.request("POST", &origin.url(path), &[&line], &body).refused("body-unreadable");
        }
    }
    // What egress doesn't know is refused where a credential is at stake, and noted elsewhere.
    for line in
        ["Content-Encoding: compress", "Content-Encoding: gzip, gzip", "Content-Encoding: aws-chunked"]
    {
        egress.request("POST", &origin.url("/v1/x"), &[line], b"abc").refused("body-unreadable");
        egress.request("POST", &origin.url("/open/known"), &[line], b"abc").ok();
        egress.request("POST", &origin.url("/open/x"), &[line], SECRET.as_bytes()).refused("secret-sent");
    }
    assert!(origin.targets().iter().all(|target| target == "/open/known"));
    let line = egress.audited(|line| line["path"] == "/open/known");
    assert_eq!(line["unread"], true, "{line}");
}

#[test]
fn a_bomb_is_unpacked_in_constant_memory_while_others_are_served() {
    let (origin, egress) = world(OnSecret::Block);
    // 128 MiB of one byte, 1000 to 1.
    let block = packed("gzip", &vec![0; 16 << 20]);
    let mut client = open(&origin, &egress, "Content-Encoding: gzip");
    for _ in 0..8 {
        if client.try_send(&chunk(&block)).is_err() {
            break;
        }
        egress.get(&origin.url("/open/other")).ok();
    }
    drop(client.try_send(b"0\r\n\r\n"));
    client.response("POST").refused("body-unreadable");
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}

#[test]
fn encoded_parts_of_a_message_are_searched() {
    let (origin, egress) = world(OnSecret::Block);
    let text = format!("before {SECRET} behind");
    let base64 = base64::engine::general_purpose::STANDARD.encode(&text);
    let wrapped: String = base64
        .as_bytes()
        .chunks(16)
        .map(|line| format!("{}\r\n", String::from_utf8_lossy(line)))
        .collect::<Vec<_>>()
        .concat();
    let quoted: String = text
        .as_bytes()
        .chunks(5)
        .map(|piece| format!("{}=\r\n", String::from_utf8_lossy(piece)))
        .collect::<Vec<_>>()
        .concat();
    let escaped: String = text.bytes().map(|byte| format!("={byte:02X}")).collect::<Vec<_>>().concat();
    let part = |encoding: &str, text: &str| {
        format!("--b\r\nContent-Type: text/plain\r\n{encoding}\r\nX-More: 1\r\n\r\n{text}\r\n--b--\r\n")
    };
    for body in [
        part("Content-Transfer-Encoding: base64", &wrapped),
        part("content-transfer-encoding:\r\n BASE64", &wrapped),
        part("Content-Transfer-Encoding: quoted-printable", &quoted),
        part("Content-Transfer-Encoding: quoted-printable", &escaped),
        part("Content-Transfer-Encoding: 8bit", &text),
        part("Content-Transfer-Encoding: base64", "aGVsbG8=")
            + &part("Content-Transfer-Encoding: base64", &wrapped),
        part("Content-Transfer-Encoding: quoted-printable", &format!("--b is no border\r\n\r\n{quoted}")),
    ] {
        let line = "Content-Type: multipart/form-data; boundary=b";
        egress.request("POST", &origin.url("/open/x"), &[line], body.as_bytes()).refused("secret-sent");
        let mut client = open(&origin, &egress, line);
        let chunks: Vec<u8> = body.as_bytes().chunks(1).flat_map(chunk).collect();
        drop(client.try_send(&[chunks.as_slice(), b"0\r\n\r\n"].concat()));
        client.response("POST").refused("secret-sent");
        // Packed as a whole.
        let packed = packed("gzip", body.as_bytes());
        let lines = [line, "Content-Encoding: gzip"];
        egress.request("POST", &origin.url("/open/x"), &lines, &packed).refused("secret-sent");
    }
    let body = part("Content-Transfer-Encoding: base64", &"aGVsbG8gd29ybGQ=\r\n".repeat(2000));
    egress
        .request(
            "POST",
            &origin.url("/open/x"),
            &["Content-Type: multipart/mixed; boundary=b"],
            body.as_bytes(),
        )
        .ok();
    assert!(origin.last().body == body.as_bytes());
    assert_eq!(origin.seen().len(), 1);
}

/// Far more than is ever held back: what was unpacked and decided has left by then.
#[test]
fn a_large_packed_body_arrives_as_it_was_packed() {
    let text = around("harmless").repeat(24);
    for coding in CODINGS {
        let (origin, egress) = world(OnSecret::Block);
        let body = packed(coding, &text);
        let line = format!("Content-Encoding: {coding}");
        egress.request("POST", &origin.url("/v1/large"), &[&line], &body).ok();
        assert!(origin.last().body == body, "{coding}");
    }
}

/// Blocks of nothing keep what could begin a secret undecided: they are not collected without an end.
#[test]
fn blocks_of_nothing_behind_the_beginning_of_a_secret_are_refused() {
    let (origin, egress) = world(OnSecret::Block);
    let begin = &SECRET.as_bytes()[..20];
    // Stored blocks (RFC 1951, section 3.2.4) in gzip (RFC 1952): its head, one with the beginning, and then empty ones.
    let length = u16::try_from(begin.len()).unwrap();
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0];
    let stored = [&head[..], &length.to_le_bytes(), &(!length).to_le_bytes(), begin].concat();
    let nothing = [0, 0, 0, 0xff, 0xff].repeat(2_000);
    for (line, start, rest) in [
        ("Content-Encoding: gzip", stored, nothing),
        (
            "Content-Type: multipart/mixed; boundary=x",
            format!(
                "--x\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
                base64::engine::general_purpose::STANDARD_NO_PAD.encode(&begin[..18])
            )
            .into_bytes(),
            b" ".repeat(10_000),
        ),
    ] {
        let mut client = open(&origin, &egress, line);
        client.send(&chunk(&start));
        let nothing = chunk(&rest);
        for _ in 0..1_000 {
            if client.try_send(&nothing).is_err() {
                break;
            }
        }
        client.response("POST").refused("body-unreadable");
        assert!(origin.seen().is_empty(), "{line}");
    }
}
