//! Which addresses are dialled: only those that were checked.

use std::net::TcpListener;

use bottle::policy::egress::Route;

use super::support::{Origin, Setup, echo, runtime};

/// Names that resolve here, to an address each.
fn resolving(name: &str, address: &str, private: bool) -> (Origin, super::support::Egress) {
    let origin = Origin::https(echo).named(name);
    let egress = Setup::new().host(name, address).route(Route { private, ..origin.route() }).start();
    (origin, egress)
}

#[test]
fn a_name_that_leads_to_loopback_is_refused_and_never_dialled() {
    let (origin, egress) = resolving("inner.test.example", "127.0.0.1", false);
    egress.get(&origin.url("/")).refused("address-private");
    origin.untouched();
}

#[test]
fn every_address_that_is_not_a_public_one_is_refused() {
    for address in [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.254",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "100::1",
    ] {
        let (origin, egress) = resolving("inner.test.example", address, false);
        egress.get(&origin.url("/")).refused("address-private");
        origin.untouched();
    }
}

#[test]
fn metadata_and_multicast_are_refused_even_where_private_is_allowed() {
    for address in [
        "169.254.169.254",
        "fd00:ec2::254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:169.254.169.254",
    ] {
        let (origin, egress) = resolving("inner.test.example", address, true);
        let response = egress.get(&origin.url("/"));
        assert!(
            matches!(response.header("x-bottle-reason"), Some("address-private" | "address-denied")),
            "{address}: {response:?}"
        );
    }
}

#[test]
fn a_v4_mapped_address_is_dialled_where_private_is_allowed() {
    let (origin, egress) = resolving("origin.test.example", "::ffff:127.0.0.1", true);
    egress.get(&origin.url("/")).ok();
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_address_in_any_notation_is_refused_unless_a_route_names_it() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(Route { host: "*.test.example".to_owned(), ..origin.route() }).start();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0",
        "00",
        "0x0",
        "1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
    ] {
        let response = egress.get(&format!("http://{host}:{}/", origin.port));
        assert_eq!(response.header("x-bottle-reason"), Some("address-denied"), "{host}: {response:?}");
        let (response, _) = egress.connect(&format!("{host}:{}", origin.port));
        assert_eq!(response.header("x-bottle-reason"), Some("address-denied"), "{host}: {response:?}");
    }
    origin.untouched();
}

#[test]
fn digits_of_other_scripts_are_no_way_to_write_an_address() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(Route { host: "*.test.example".to_owned(), ..origin.route() }).start();
    for host in [
        "\u{2460}\u{2461}\u{2466}.\u{24ea}.\u{24ea}.\u{2460}",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "%31%32%37.0.0.1",
    ] {
        let response = egress.get(&format!("http://{host}:{}/", origin.port));
        assert!(response.status == 400 || response.status == 403, "{host}: {response:?}");
    }
    origin.untouched();
}

#[test]
fn an_address_that_a_route_names_is_reached() {
    let origin = Origin::https(echo).named("127.0.0.1");
    let egress = Setup::new().route(origin.route()).start();
    let (response, client) = egress.connect(&origin.authority());
    assert_eq!(response.status, 200, "{response:?}");
    // There is no SNI for an address (RFC 6066, section 3); the certificate is for it all the same.
    let mut client = client.handshake(&egress, "127.0.0.1", &["http/1.1"]).unwrap();
    client.get(&origin.authority(), "/").ok();
}

#[test]
fn an_address_that_a_route_names_needs_private_as_any_other() {
    let origin = Origin::http(echo).named("127.0.0.1");
    let egress = Setup::new().route(Route { private: false, ..origin.route() }).start();
    egress.get(&origin.url("/")).refused("address-private");
    origin.untouched();
}

#[test]
fn egress_is_no_way_to_its_own_admin_address() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(origin.route()).start();
    for url in [
        format!("http://127.0.0.1:{}/policy", egress.admin_port),
        format!("http://origin.test.example:{}/policy", egress.admin_port),
    ] {
        let response = egress.get(&url);
        assert_eq!(response.status, 403, "{url}: {response:?}");
    }
}

#[test]
fn a_name_without_an_address_is_told() {
    let origin = Origin::https(echo).named("nowhere.invalid");
    let mut setup = Setup::new().route(origin.route());
    setup.policy.extra_hosts.clear();
    let egress = setup.limit("dial", 1_500).start();
    let response = egress.get(&origin.url("/"));
    let code = response.header("x-bottle-reason");
    // Where no resolver answers at all, the time for dialling ends first.
    assert!(matches!(code, Some("name-unresolved" | "upstream-timeout")), "{response:?}");
    assert!([502, 504].contains(&response.status));
}

#[test]
fn an_upstream_that_refuses_connections_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { ports: vec![port], ..origin.route() }).start();
    let response = egress.get(&format!("https://origin.test.example:{port}/")).refused("upstream-down");
    assert_eq!(response.status, 502);
    assert_eq!(response.json()["retry"], true);
}

#[test]
fn the_route_that_matches_decides_about_private_addresses_also_on_a_pooled_connection() {
    let origin = Origin::https(echo);
    let private = Route { paths: super::support::paths(&["/private/**"]), ..origin.route() };
    let public = Route { private: false, paths: super::support::paths(&["/public/**"]), ..origin.route() };
    let egress = Setup::new().route(private).route(public).start();
    egress.get(&origin.url("/private/a")).ok();
    egress.get(&origin.url("/public/a")).refused("address-private");
    runtime().block_on(async {
        let session = super::support::Http2::open(&egress, &origin.authority()).await;
        session.get("/private/b").await.ok();
        session.get("/public/b").await.refused("address-private");
    });
    assert_eq!(origin.targets(), ["/private/a", "/private/b"]);
}
