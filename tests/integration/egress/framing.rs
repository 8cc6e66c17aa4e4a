//! A head or a body that can be read in more than one way is refused before anything goes upstream, and what does go
//! upstream is built from what was read.

use super::support::{Egress, Origin, Response, Setup, any, echo};
use bottle::policy::egress::Route;

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    (origin, egress)
}

/// Sends raw text in a session, with `HOST` in the place of the authority.
fn say(origin: &Origin, egress: &Egress, text: &str) -> Option<Response> {
    let mut client = egress.open(&origin.authority());
    client.say(&text.replace("HOST", &origin.authority()));
    client.try_response("GET")
}

/// Each of these is refused with a code, its connection closed, and nothing goes upstream.
#[track_caller]
fn refused(code: &str, cases: &[&str]) {
    let (origin, egress) = world();
    for case in cases {
        let mut client = egress.open(&origin.authority());
        client.say(&case.replace("HOST", &origin.authority()));
        let response = client.try_response("GET").unwrap_or_else(|| panic!("no answer to {case:?}"));
        assert!(response.status >= 400 && response.status < 500, "{case:?}: {response:?}");
        assert_eq!(response.header("x-bottle-reason"), Some(code), "{case:?}: {response:?}");
        // What follows on the connection can't be trusted to be a head.
        client.say(&format!("GET /second HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
        assert!(client.try_response("GET").is_none(), "the connection goes on after {case:?}");
    }
    origin.untouched();
}

#[test]
fn a_length_beside_chunks_is_refused() {
    refused(
        "request-malformed",
        &[
            "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ],
    );
}

#[test]
fn two_lengths_are_refused_even_where_they_agree() {
    refused(
        "request-malformed",
        &[
            "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5, 5\r\n\r\nhello",
        ],
    );
}

#[test]
fn a_length_that_is_no_plain_number_is_refused() {
    let lengths = ["+5", "-5", "0x5", "5 5", "", "5a", "18446744073709551616", "1e1", "٥", "5;"];
    let cases: Vec<String> = lengths
        .iter()
        .map(|length| format!("POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: {length}\r\n\r\nhello"))
        .collect();
    refused("request-malformed", &cases.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_transfer_coding_other_than_chunked_alone_is_refused() {
    let codings = [
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "chunked;x=y",
        "xchunked",
        "chunked, ",
        "",
        "\x0bchunked",
    ];
    let cases: Vec<String> = codings
        .iter()
        .map(|coding| format!("POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"))
        .chain([
            "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            "POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ])
        .collect();
    refused("request-malformed", &cases.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_folded_header_line_is_refused() {
    refused(
        "request-malformed",
        &[
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: one\r\n two\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: one\r\n\ttwo\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: HOST\r\n\r\n",
        ],
    );
}

#[test]
fn a_bare_line_feed_is_refused() {
    refused(
        "request-malformed",
        &[
            "GET / HTTP/1.1\nHost: HOST\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: b\nX-C: d\r\n\r\n",
            "GET / HTTP/1.1\nHost: HOST\n\n",
            "\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        ],
    );
}

#[test]
fn a_bare_carriage_return_is_refused() {
    refused(
        "request-malformed",
        &[
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: b\rX-C: d\r\n\r\n",
            "GET / HTTP/1.1\rHost: HOST\r\n\r\n",
            "GET /\r HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: b\r\r\n\r\n",
        ],
    );
}

#[test]
fn a_header_name_that_is_no_token_is_refused() {
    refused(
        "request-malformed",
        &[
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A : b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX A: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A\t: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-\u{e9}: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : HOST\r\n\r\n",
        ],
    );
}

#[test]
fn a_control_character_in_a_value_is_refused() {
    refused(
        "request-malformed",
        &[
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: \x01\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: \x7f\r\n\r\n",
        ],
    );
}

#[test]
fn two_hosts_or_none_are_refused() {
    refused(
        "request-malformed",
        &[
            "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: HOST\r\nhost: other.test.example\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ],
    );
    refused(
        "host-mismatch",
        &[
            "GET / HTTP/1.1\r\nHost: HOST, other.test.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@HOST\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \r\n\r\n",
        ],
    );
}

#[test]
fn a_request_line_that_is_not_three_words_is_refused() {
    refused(
        "request-malformed",
        &[
            "GET  / HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: HOST\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET /\r\nHost: HOST\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: HOST\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: HOST\r\n\r\n",
            "GET / HTTP/1.10\r\nHost: HOST\r\n\r\n",
            "GET / http/1.1\r\nHost: HOST\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET path HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET /#fragment HTTP/1.1\r\nHost: HOST\r\n\r\n",
        ],
    );
}

#[test]
fn a_tab_in_the_path_or_around_the_method_never_reaches_the_rule_as_another_text() {
    let (origin, egress) = world();
    for text in [
        "GET /a\tb HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET\t /a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "\tGET /a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET /a\t HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ] {
        let response = say(&origin, &egress, text).expect("an answer");
        assert_eq!(response.status, 400, "{text:?}: {response:?}");
    }
    origin.untouched();
}

#[test]
fn bad_chunks_are_not_passed_on() {
    let (origin, egress) = world();
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A : b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A: b\nX-C: d\r\n\r\n",
    ] {
        let mut client = egress.open(&origin.authority());
        client.say(&format!(
            "POST /bad HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n{body}",
            origin.authority()
        ));
        let response = client.try_response("POST");
        assert!(response.as_ref().is_none_or(|response| response.status == 400), "{body:?}: {response:?}");
        assert!(client.try_response("GET").is_none(), "the connection goes on after {body:?}");
    }
    // The head may have left before the chunk came; a whole request must not have.
    assert_eq!(origin.targets(), Vec::<String>::new());
}

#[test]
fn chunk_extensions_are_not_passed_on() {
    let (origin, egress) = world();
    let text = "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n";
    let response = say(&origin, &egress, text).expect("an answer");
    // Refused, or read and written anew; the origin reads its chunks without extensions either way.
    if response.status == 200 {
        assert_eq!(origin.last().body, b"hello");
    } else {
        response.refused("request-malformed");
    }
}

#[test]
fn what_leaves_is_built_anew_from_what_was_read() {
    let (origin, egress) = world();
    let text = "GET /a?b=%63 HTTP/1.1\r\nhOsT: HOST\r\nX-Spaced:   \t value \t \r\nACCEPT:*/*\r\n\r\n";
    say(&origin, &egress, text).expect("an answer").ok();
    let seen = origin.last();
    assert_eq!(seen.line(), "GET /a?b=%63 HTTP/1.1");
    let lower = seen.head.to_lowercase();
    assert!(lower.contains("\r\nx-spaced: value\r\n") || lower.ends_with("\r\nx-spaced: value"), "{lower}");
    assert_eq!(seen.header("accept"), Some("*/*"));
    assert_eq!(seen.header("host"), Some(origin.authority().as_str()));
}

#[test]
fn a_lower_case_method_is_not_the_upper_case_one() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for method in ["get", "Get", "gET", "head"] {
        egress.request(method, &origin.url("/"), &[], b"").refused("method-denied");
    }
    origin.untouched();
}

#[test]
fn a_lower_case_method_that_any_allows_leaves_as_it_came() {
    let (origin, egress) = world();
    egress.request("get", &origin.url("/"), &[], b"").ok();
    assert_eq!(origin.last().line(), "get / HTTP/1.1");
}

#[test]
fn a_request_smuggled_in_a_body_is_a_body() {
    let (origin, egress) = world();
    let inner = format!("GET /smuggled HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority());
    egress.request("POST", &origin.url("/outer"), &[], inner.as_bytes()).ok();
    assert_eq!(origin.targets(), ["/outer"]);
    assert_eq!(origin.last().body, inner.as_bytes());
}

#[test]
fn a_body_of_get_stays_a_body() {
    let (origin, egress) = world();
    egress.request("GET", &origin.url("/q"), &[], b"{\"query\":1}").ok();
    assert_eq!(origin.last().body, b"{\"query\":1}");
}

#[test]
fn the_same_holds_for_plain_http() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 5",
        "X-A: b\r\n c",
        "X-A: b\nX-C: d",
        "X-A : b",
        "Host: other.test.example",
    ] {
        let mut client = egress.dial();
        let url = origin.url("/");
        client
            .say(&format!("POST {url} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n\r\n0\r\n\r\n", origin.authority()));
        client.response("POST").refused("request-malformed");
    }
    origin.untouched();
}
