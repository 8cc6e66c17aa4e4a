use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{HandshakeKind, ProtocolVersion};

use super::fixture::{Fixture, shake};

#[test]
fn a_client_that_trusts_the_bundle_accepts_every_host() {
    let fixture = Fixture::new();
    for file in ["ca.pem", "bundle.pem"] {
        let client = Arc::new(fixture.client(file));
        for name in
            ["api.example.org", "a.b.c.example.org", "under_score.example.org", "xn--bcher-kva.example"]
        {
            shake(&client, fixture.authority.server_config(), name).expect("the certificate is the name's");
        }
    }
}

#[test]
fn an_address_is_served_with_its_own_certificate() {
    let fixture = Fixture::new();
    let client = Arc::new(fixture.client("ca.pem"));
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let server = fixture.authority.server_config_for(address).expect("a configuration");
        shake(&client, Arc::clone(&server), &address.to_string()).expect("the certificate is the address's");
        shake(&client, server, "192.0.2.1").expect_err("and no other's");
    }
}

#[test]
fn a_certificate_is_good_for_one_name_only() {
    let fixture = Fixture::new();
    // The configuration for an address gives its certificate whatever the client asks for.
    let server =
        fixture.authority.server_config_for(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("a configuration");
    let client = Arc::new(fixture.client("ca.pem"));
    shake(&client, server, "api.example.org").expect_err("another host");
}

#[test]
fn a_client_without_sni_gets_no_certificate() {
    let fixture = Fixture::new();
    let mut client = fixture.client("ca.pem");
    client.enable_sni = false;
    shake(&Arc::new(client), fixture.authority.server_config(), "api.example.org").expect_err("no name");
}

#[test]
fn http2_is_preferred_and_nothing_but_http_is_spoken() {
    let fixture = Fixture::new();
    let mut client = fixture.client("ca.pem");
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let server = fixture.authority.server_config();
    let (_, ended) = shake(&Arc::new(client.clone()), Arc::clone(&server), "api.example.org").expect("h2");
    assert_eq!(ended.alpn_protocol(), Some(b"h2".as_slice()));

    client.alpn_protocols = vec![b"smtp".to_vec()];
    shake(&Arc::new(client), server, "api.example.org").expect_err("no HTTP");
}

#[test]
fn a_client_of_tls_1_2_is_served() {
    let fixture = Fixture::new();
    let client = Arc::new(fixture.client_of("ca.pem", &[&rustls::version::TLS12]));
    let (ended, _) = shake(&client, fixture.authority.server_config(), "api.example.org").expect("TLS 1.2");
    assert_eq!(ended.protocol_version(), Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn a_session_is_resumed_for_its_own_name_only() {
    let fixture = Fixture::new();
    let server = fixture.authority.server_config();
    let mut client = fixture.client("ca.pem");
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let (first, _) = shake(&client, Arc::clone(&server), "api.example.org").expect("a first time");
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let (again, _) = shake(&client, Arc::clone(&server), "api.example.org").expect("a second time");
    assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(again.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}
