//! HTTP/2 frames by hand: what no client library would send.

use std::time::Duration;

use bottle::policy::egress::Route;

use super::support::{Client, Egress, GROWTH, Origin, Setup, any, echo};

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PING: u8 = 6;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const SOON: Duration = Duration::from_secs(10);

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    (origin, egress)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as literals without indexing and without Huffman coding (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length");
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// A session that has said its preface.
fn open(origin: &Origin, egress: &Egress) -> Client {
    let (_, client) = egress.connect(&origin.authority());
    let mut client = client.handshake(egress, "origin.test.example", &["h2"]).unwrap();
    client.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(&frame(SETTINGS, 0, 0, &[]));
    client
}

/// What comes for a stream: the status as the first field of its headers may tell, a reset, or the end of the session.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    /// `:status`, where it is an entry of HPACK's static table or a literal.
    Status(u16),
    Reset,
    Ended,
}

fn outcome(client: &mut Client) -> Outcome {
    loop {
        let Some(head) = client.try_take(9) else { return Outcome::Ended };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some(payload) = client.try_take(length) else { return Outcome::Ended };
        match head[3] {
            HEADERS => return Outcome::Status(status(&payload)),
            RST_STREAM => return Outcome::Reset,
            GOAWAY => return Outcome::Ended,
            _ => {}
        }
    }
}

/// The status at the beginning of a block.
fn status(block: &[u8]) -> u16 {
    match block[0] & 0x7f {
        8 if block[0] & 0x80 != 0 => 200,
        12 if block[0] & 0x80 != 0 => 400,
        13 if block[0] & 0x80 != 0 => 404,
        // A literal of the name at an index: three digits, plain or in Huffman code. Not 200, which is in the table.
        _ => 499,
    }
}

/// Each of these heads is refused in one way or another, and nothing reaches the origin.
#[track_caller]
fn refused(cases: &[&[(&str, &str)]]) {
    let (origin, egress) = world();
    let authority = origin.authority();
    for case in cases {
        let fields: Vec<(&str, &str)> = case
            .iter()
            .map(|(name, value)| (*name, if *value == "HOST" { authority.as_str() } else { *value }))
            .collect();
        let mut client = open(&origin, &egress);
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields)));
        let outcome = outcome(&mut client);
        assert_ne!(outcome, Outcome::Status(200), "{case:?}");
    }
    origin.untouched();
    // And the frames of these tests do what they should.
    let mut client = open(&origin, &egress);
    let good =
        [(":method", "GET"), (":scheme", "https"), (":authority", authority.as_str()), (":path", "/good")];
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&good)));
    assert_eq!(outcome(&mut client), Outcome::Status(200));
    assert_eq!(origin.targets(), ["/good"]);
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", "HOST");
const PATH: (&str, &str) = (":path", "/");

#[test]
fn a_line_break_in_a_field_is_refused() {
    refused(&[
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\r\nX-Smuggled: 1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\nc")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\0c")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a\r\nx-b", "c")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "/ HTTP/1.1\r\nX-Smuggled: 1\r\n")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "/a b")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "/a\tb")],
        &[(":method", "GET /x HTTP/1.1\r\n\r\nGET"), SCHEME, AUTHORITY, PATH],
        &[(":method", ""), SCHEME, AUTHORITY, PATH],
        &[METHOD, SCHEME, (":authority", "origin.test.example\r\nx: y"), PATH],
    ]);
}

#[test]
fn a_field_name_that_is_no_token_is_refused() {
    refused(&[
        &[METHOD, SCHEME, AUTHORITY, PATH, ("X-Upper", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x a", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a:", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (":unknown", "1")],
    ]);
}

#[test]
fn pseudo_fields_that_are_missing_doubled_or_late_are_refused() {
    refused(&[
        &[SCHEME, AUTHORITY, PATH],
        &[METHOD, AUTHORITY, PATH],
        &[METHOD, SCHEME, AUTHORITY],
        &[METHOD, METHOD, SCHEME, AUTHORITY, PATH],
        &[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/other")],
        &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH],
        &[METHOD, SCHEME, PATH, ("x-a", "1"), AUTHORITY],
        &[METHOD, SCHEME, AUTHORITY, (":path", "")],
        &[METHOD, SCHEME, PATH],
        &[METHOD, SCHEME, (":authority", ""), PATH],
    ]);
}

#[test]
fn another_authority_is_refused_however_it_is_written() {
    refused(&[
        &[METHOD, SCHEME, (":authority", "other.test.example"), PATH],
        &[METHOD, SCHEME, (":authority", "origin.test.example"), PATH],
        &[METHOD, SCHEME, (":authority", "user@origin.test.example"), PATH],
        &[METHOD, SCHEME, ("host", "other.test.example"), (":authority", "other.test.example"), PATH],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "other.test.example")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "HOST"), ("host", "other.test.example")],
        &[METHOD, SCHEME, PATH, ("host", "other.test.example")],
        &[METHOD, (":scheme", "http"), AUTHORITY, PATH],
        &[METHOD, (":scheme", "ftp"), AUTHORITY, PATH],
        &[METHOD, SCHEME, AUTHORITY, (":path", "https://other.test.example/")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "no-slash")],
    ]);
}

#[test]
fn connect_with_and_without_a_protocol_is_refused() {
    refused(&[
        &[(":method", "CONNECT"), AUTHORITY],
        &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, AUTHORITY, PATH],
        &[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH],
        &[METHOD, (":protocol", "websocket"), SCHEME, AUTHORITY, PATH],
    ]);
}

#[test]
fn fields_of_http1_connections_are_refused() {
    refused(&[
        &[METHOD, SCHEME, AUTHORITY, PATH, ("transfer-encoding", "chunked")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "close")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "upgrade"), ("upgrade", "websocket")],
    ]);
}

#[test]
fn a_length_that_the_stream_does_not_keep_is_refused() {
    let (origin, egress) = world();
    let authority = origin.authority();
    for lengths in [&["5"][..], &["5", "6"], &["+0"], &["0", "5"], &["x"]] {
        let mut fields = vec![(":method", "POST"), SCHEME, (":authority", authority.as_str()), PATH];
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        let mut client = open(&origin, &egress);
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields)));
        assert_ne!(outcome(&mut client), Outcome::Status(200), "{lengths:?}");
    }
    assert!(origin.seen().is_empty(), "a request went through");
}

#[test]
fn a_body_longer_than_its_length_is_refused() {
    let (origin, egress) = world();
    let authority = origin.authority();
    let fields =
        [(":method", "POST"), SCHEME, (":authority", authority.as_str()), PATH, ("content-length", "2")];
    let mut client = open(&origin, &egress);
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    client.send(&frame(0, END_STREAM, 1, b"hello"));
    assert_ne!(outcome(&mut client), Outcome::Status(200));
    assert!(origin.seen().is_empty(), "a request went through");
}

#[test]
fn continuations_without_end_are_cut_off() {
    let (origin, egress) = world();
    let mut client = open(&origin, &egress);
    let authority = origin.authority();
    let fields = [METHOD, SCHEME, (":authority", authority.as_str()), PATH];
    client.send(&frame(HEADERS, END_STREAM, 1, &block(&fields)));
    let more = frame(CONTINUATION, 0, 1, &block(&[("x-a", "b"); 100]));
    for _ in 0..5_000 {
        if client.try_send(&more).is_err() {
            break;
        }
    }
    client.ends_within(SOON);
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
    origin.untouched();
}

#[test]
fn many_small_fields_are_no_way_around_the_limit() {
    let (origin, egress) = world();
    let authority = origin.authority();
    let mut bytes = block(&[METHOD, SCHEME, (":authority", authority.as_str()), PATH]);
    // The entry of the static table for `accept-encoding: gzip, deflate`: one byte each.
    bytes.extend([0x90; 10_000]);
    let mut client = open(&origin, &egress);
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bytes));
    assert_ne!(outcome(&mut client), Outcome::Status(200));
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
    origin.untouched();
}

#[test]
fn pings_and_settings_without_end_do_not_fill_memory() {
    let (origin, egress) = world();
    let mut client = open(&origin, &egress);
    // Nobody reads the answers.
    let flood: Vec<u8> =
        (0..1000).flat_map(|_| [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])].concat()).collect();
    for _ in 0..40 {
        if client.send_for(&flood, Duration::from_millis(500)).is_err() {
            break;
        }
    }
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
    drop(client);
    egress.get(&origin.url("/")).ok();
}

#[test]
fn a_client_that_opens_no_window_holds_its_origins_back() {
    use std::io::Write as _;
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"));
        let piece = vec![b'x'; 1 << 16];
        while conn.write_all(&piece).is_ok() {}
    });
    let egress = Setup::new().route(origin.route()).start();
    let (_, client) = egress.connect(&origin.authority());
    let mut client = client.handshake(&egress, "origin.test.example", &["h2"]).unwrap();
    client.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let authority = origin.authority();
    let fields = block(&[METHOD, SCHEME, (":authority", authority.as_str()), PATH]);
    for number in 0..30 {
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, &fields));
    }
    super::support::eventually("all of them are asked for", || origin.open() == 30);
    for _ in 0..20 {
        egress.get("https://evil.example.net/").refused("route-missing");
    }
    assert!(egress.growth() < GROWTH, "{} kB", egress.growth());
}
