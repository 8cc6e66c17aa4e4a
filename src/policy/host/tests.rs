//! What is a host, and which spellings are the same one.

use std::net::IpAddr;

use super::super::reason::Reason;
use super::{Authority, Host};

fn name(text: &str) -> Host {
    Host::Name(text.to_owned())
}

fn address(text: &str) -> Host {
    Host::Address(text.parse::<IpAddr>().expect("the test names an address"))
}

#[test]
fn a_name_is_compared_in_lower_case_and_without_its_final_dot() {
    for text in ["api.example.org", "API.Example.ORG", "api.example.org.", "API.EXAMPLE.ORG."] {
        assert_eq!(Host::parse(text), Ok(name("api.example.org")), "{text}");
    }
    assert_eq!(Host::parse("_dmarc.r3---a.x_y"), Ok(name("_dmarc.r3---a.x_y")));
    assert_eq!(Host::parse("localhost"), Ok(name("localhost")));
    assert_eq!(Host::parse("1password.example.org"), Ok(name("1password.example.org")));
    assert_eq!(Host::parse("1.2.3.4.example.org"), Ok(name("1.2.3.4.example.org")));
}

#[test]
fn an_address_has_one_notation() {
    assert_eq!(Host::parse("127.0.0.1"), Ok(address("127.0.0.1")));
    assert_eq!(Host::parse("[::1]"), Ok(address("::1")));
    assert_eq!(Host::parse("[0:0:0:0:0:0:0:1]"), Ok(address("::1")));
    assert_eq!(Host::parse("[FE80::A]"), Ok(address("fe80::a")));
}

#[test]
fn a_mapped_address_is_the_address_that_it_stands_for() {
    for text in ["[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]"] {
        assert_eq!(Host::parse(text), Ok(address("127.0.0.1")), "{text}");
    }
}

#[test]
fn a_number_in_another_notation_is_no_host_and_refused_as_an_address() {
    let numbers = [
        "2130706433",
        "2130706433.",
        "0x7f000001",
        "0X7F000001",
        "0x7f.1",
        "0x7f.0x0.0x0.0x1",
        "127.0.0.0x1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.256",
        "1.2.3.4.5",
        "0",
        "0x",
        "a.0x",
        "example.org.1",
        "00.0.0.0",
        "１２７.0.0.1",
    ];
    for text in numbers {
        let invalid = Host::parse(text).expect_err(text);
        assert_eq!(invalid.reason(), Reason::AddressDenied, "{text}");
    }
}

#[test]
fn what_only_looks_like_a_host_is_none() {
    let long_label = "a".repeat(64);
    let long_name = format!("{}a", "abcdefghi.".repeat(26));
    let texts = [
        "",
        ".",
        "..",
        "example.org..",
        ".example.org",
        "a..b",
        "-a.example",
        "a-.example",
        "exam ple.org",
        " example.org",
        "example.org ",
        "example.org\t",
        "example.org\0",
        "example.org\r\nHost: other.example",
        "user@example.org",
        "user:pass@example.org",
        "example.org:443",
        "example.org/path",
        "example.org?x",
        "example.org#x",
        "example.org\\x",
        "%65xample.org",
        "example%2eorg",
        "http://example.org",
        "*.example.org",
        "*",
        "::1",
        "fe80::1",
        "[::1",
        "::1]",
        "[]",
        "[127.0.0.1]",
        "[example.org]",
        "[::1]x",
        "[[::1]]",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[v1.x]",
        "bücher.example",
        "example。org",
        "127。0。0。1",
        "①.example",
        "a,b",
        "a;b",
        &long_label,
        &long_name,
    ];
    for text in texts {
        let invalid = Host::parse(text).expect_err(text);
        assert_eq!(invalid.reason(), Reason::RequestMalformed, "{text}");
    }
}

#[test]
fn a_label_that_claims_to_be_idna_is_what_idna_makes() {
    assert_eq!(Host::parse("XN--Bcher-KVA.example"), Ok(name("xn--bcher-kva.example")));
    assert_eq!(Host::parse("a.xn--p1ai"), Ok(name("a.xn--p1ai")));
    let fakes = [
        // Nothing, only ASCII, a digit of another width, an ideographic full stop, an upper-case letter.
        "xn--.example",
        "xn--abc-.example",
        "xn--8g7c.example",
        "xn--r6j.example",
        "xn--a-.example",
        "xn--a.example",
        "xn--0.example",
        "xn--1ug.example",
        "xn--bcher-kva_.example",
    ];
    for text in fakes {
        assert!(Host::parse(text).is_err(), "`{text}` was accepted");
    }
}

#[test]
fn an_error_repeats_little_and_only_what_prints() {
    let text = format!("{}\u{1b}[31m", "x\r\n".repeat(1000));
    let shown = Host::parse(&text).expect_err("no host").to_string();
    assert!(shown.len() < 400 && !shown.contains(char::is_control), "{shown}");
}

#[test]
fn a_manifest_may_name_a_host_in_its_own_script() {
    assert_eq!(Host::normalise("Bücher.example."), Ok(name("xn--bcher-kva.example")));
    assert_eq!(Host::normalise("例え。example"), Ok(name("xn--r8jz45g.example")));
    assert_eq!(Host::normalise("FAẞ.example"), Host::normalise("faß.example"));
    assert_eq!(Host::normalise("fd00::7"), Ok(address("fd00::7")));
    assert_eq!(Host::normalise("[fd00::7]"), Ok(address("fd00::7")));
    assert_eq!(Host::normalise("Example.org"), Ok(name("example.org")));
    for text in [
        "１２７.０.０.１",
        "127。0。0。1",
        "２１３０７０６４３３",
        "a b.ü",
        "ü@x.example",
        "ü%41.example",
        "ü..x",
        "\u{ad}",
    ] {
        assert!(Host::normalise(text).is_err(), "`{text}` was accepted");
    }
}

#[test]
fn a_host_that_is_written_and_read_again_is_the_same() {
    for text in ["api.example.org", "10.0.0.7", "[fd00::7]", "[::ffff:10.0.0.7]"] {
        let host = Host::parse(text).expect(text);
        assert_eq!(Host::parse(&host.to_string()), Ok(host));
    }
}

#[test]
fn an_authority_is_a_host_and_perhaps_a_port() {
    let read = |text: &str| Authority::parse(text).map(|authority| (authority.host, authority.port)).ok();
    assert_eq!(read("example.org"), Some((name("example.org"), None)));
    assert_eq!(read("Example.org.:8443"), Some((name("example.org"), Some(8443))));
    assert_eq!(read("[::1]"), Some((address("::1"), None)));
    assert_eq!(read("[::1]:1"), Some((address("::1"), Some(1))));
    assert_eq!(read("10.0.0.7:65535"), Some((address("10.0.0.7"), Some(65535))));
    let wrong = [
        "",
        ":",
        ":443",
        "example.org:",
        "example.org:0",
        "example.org:+443",
        "example.org:-1",
        "example.org: 443",
        "example.org:443 ",
        "example.org:0443",
        "example.org:65536",
        "example.org:99999999999999999999",
        "example.org:4_4",
        "example.org:https",
        "example.org:443:443",
        "user@example.org:443",
        "example.org:443@other.example",
        "::1",
        "::1:443",
        "[::1]443",
        "[::1]:",
        "[::1]:443]",
        "[::1]:44]3",
        "example.org/:443",
        "example.org:４４３",
    ];
    for text in wrong {
        assert_eq!(read(text), None, "`{text}` was accepted");
    }
}

#[test]
fn connect_names_its_port() {
    assert_eq!(Authority::parse_with_port("example.org:443"), Ok((name("example.org"), 443)));
    for text in ["example.org", "[::1]", "10.0.0.7", "example.org:"] {
        assert!(Authority::parse_with_port(text).is_err(), "`{text}` was accepted");
    }
}
