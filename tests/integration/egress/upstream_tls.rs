//! The upstream's certificate is always verified, by its subjectAltName.

use rustls::pki_types::pem::PemObject as _;
use std::sync::Arc;

use super::support::{Leaf, Origin, Pki, Setup, pki, system_pki};
use crate::support;

/// What a request to an origin with this certificate gets.
fn with(leaf: &Leaf) -> super::support::Response {
    let origin = Origin::with(leaf);
    let egress = Setup::new().route(origin.route()).start();
    let response = egress.get(&origin.url("/secret/path"));
    assert_eq!(origin.seen().len(), usize::from(response.status == 200), "a request went to a wrong origin");
    response
}

#[test]
fn a_certificate_of_the_bottles_own_authority_is_accepted() {
    with(&pki().leaf(&["origin.test.example"])).ok();
}

#[test]
fn a_certificate_of_the_systems_authorities_is_accepted() {
    with(&system_pki().leaf(&["origin.test.example"])).ok();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let response = with(&pki().leaf(&["other.test.example"])).refused("upstream-tls");
    assert_eq!(response.status, 502);
}

#[test]
fn a_name_that_only_the_common_name_has_is_refused() {
    with(&pki().leaf(&[])).refused("upstream-tls");
}

#[test]
fn an_expired_certificate_is_refused() {
    with(&pki().expired(&["origin.test.example"])).refused("upstream-tls");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    with(&Pki::new("unknown CA").leaf(&["origin.test.example"])).refused("upstream-tls");
}

#[test]
fn a_wildcard_certificate_does_not_cover_two_labels() {
    let origin = Origin::with(&pki().leaf(&["*.test.example"])).named("a.b.test.example");
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).refused("upstream-tls");
}

#[test]
fn the_bottles_own_ca_is_not_trusted_upstream() {
    // What egress signs for the agent must never pass for an upstream.
    let origin = Origin::with(Leaf::usual());
    let egress = Setup::new().route(origin.route()).start();
    let key = support::files(&egress.path("state"))
        .into_iter()
        .find(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains("PRIVATE KEY")));
    let place = |name: &str| egress.path(name).display().to_string();
    let made = std::process::Command::new(super::support::tool("openssl"))
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=impostor", "-addext", "subjectAltName=DNS:origin.test.example"])
        .args(["-CA", &place("trust/ca.pem"), "-CAkey", &key.unwrap().display().to_string()])
        .args(["-keyout", &place("impostor.key"), "-out", &place("impostor.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| std::fs::read_to_string(egress.path(name)).unwrap();
    let impostor = Origin::with(&Leaf { cert_pem: read("impostor.pem"), key_pem: read("impostor.key") });
    let mut egress = egress;
    egress.swap(|policy| policy.routes.push(impostor.route()));
    egress.get(&impostor.url("/")).refused("upstream-tls");
}

#[test]
fn an_upstream_that_offers_only_old_tls_is_refused() {
    // A ServerHello for TLS 1.1, and one for TLS 1.0, by hand: no library here still speaks them.
    for minor in [1, 2] {
        let origin = Origin::raw_http(move |mut conn| {
            use std::io::{Read as _, Write as _};
            let mut head = [0; 5];
            if conn.read_exact(&mut head).is_err() {
                return;
            }
            let mut hello = vec![0; usize::from(head[3]) << 8 | usize::from(head[4])];
            drop(conn.read_exact(&mut hello));
            let mut body = vec![3, minor];
            body.extend([7; 32]);
            // No session, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, no compression.
            body.extend([0, 0xc0, 0x09, 0]);
            let mut record = vec![0x16, 3, minor, 0, u8::try_from(body.len() + 4).unwrap(), 2, 0, 0];
            record.push(u8::try_from(body.len()).unwrap());
            record.extend(body);
            drop(conn.write_all(&record));
            conn.bye();
        });
        let mut route = origin.route();
        route.scheme = bottle::policy::egress::Scheme::Https;
        let egress = Setup::new().route(route).start();
        egress.get(&format!("https://{}/", origin.authority())).refused("upstream-tls");
    }
}

#[test]
fn tls_1_2_and_1_3_upstreams_work() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let origin = Origin::with_versions(&[version]);
        let egress = Setup::new().route(origin.route()).start();
        egress.get(&origin.url("/")).ok();
    }
}

#[test]
fn an_upstream_that_speaks_no_tls_is_told() {
    let origin = Origin::raw_http(|mut conn| {
        drop(conn.say("220 mail.example.org ESMTP\r\n"));
        conn.bye();
    });
    let mut route = origin.route();
    route.scheme = bottle::policy::egress::Scheme::Https;
    let egress = Setup::new().route(route).start();
    let response = egress.get(&format!("https://{}/", origin.authority()));
    assert_eq!(response.status, 502, "{response:?}");
    response.refused("upstream-tls");
}

#[test]
fn the_agent_speaks_tls_1_2_or_later() {
    let origin = Origin::with(Leaf::usual());
    let egress = Setup::new().route(origin.route()).start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (_, client) = egress.connect(&origin.authority());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read(egress.path("trust/ca.pem")).unwrap();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = client.handshake_with(config, "origin.test.example").unwrap();
        client.get(&origin.authority(), "/").ok();
    }
}
