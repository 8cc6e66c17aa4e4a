//! Which addresses are dialled.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};

use super::*;
use crate::policy::reason::Reason;
use crate::sidecar::egress::upstream::resolve::Judge;

fn host() -> Host {
    Host::Name("origin.example.org".to_owned())
}

fn keep(private: bool, own: &[&str], addresses: &[&str]) -> Result<Vec<String>, Refusal> {
    let own: Vec<_> = own.iter().map(|own| own.parse().unwrap()).collect();
    let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let kept = Judge { own: &own, shared: false, private }.keep(&host(), 443, &addresses)?;
    Ok(kept.iter().map(ToString::to_string).collect())
}

#[test]
fn of_a_name_with_public_and_private_addresses_only_the_public_ones_are_dialled() {
    let kept = keep(false, &[], &["10.0.0.1", "8.8.8.8", "127.0.0.1", "::ffff:192.168.0.1", "2606:4700::1"]);
    assert_eq!(kept.unwrap(), ["8.8.8.8:443", "[2606:4700::1]:443"]);
}

#[test]
fn an_address_in_the_clothes_of_another_family_is_judged_as_what_it_is() {
    for address in ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
        assert_eq!(keep(false, &[], &[address]).unwrap_err().reason, Reason::AddressPrivate, "{address}");
    }
    assert_eq!(keep(true, &[], &["::ffff:127.0.0.1"]).unwrap(), ["127.0.0.1:443"]);
}

#[test]
fn a_refusal_names_the_address_and_its_kind() {
    let detail = keep(false, &[], &["10.0.0.1"]).unwrap_err().detail;
    assert_eq!(detail, "`origin.example.org` has the address 10.0.0.1 (private)");
}

#[test]
fn no_route_leads_to_the_metadata_of_a_cloud() {
    for address in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"] {
        let refusal = keep(true, &[], &[address]).unwrap_err();
        assert_eq!(refusal.reason, Reason::AddressPrivate, "{address}");
        assert!(refusal.hint.unwrap().contains("never"), "{address}");
    }
}

#[test]
fn no_route_leads_to_egress_itself() {
    for (own, address) in [
        ("127.0.0.1:443", "127.0.0.1"),
        ("127.0.0.1:443", "::ffff:127.0.0.1"),
        ("0.0.0.0:443", "127.0.0.9"),
        ("[::]:443", "127.0.0.1"),
        ("[::]:443", "::1"),
        ("172.20.0.2:443", "172.20.0.2"),
    ] {
        assert!(keep(true, &[own], &[address]).is_err(), "{own} {address}");
    }
    assert!(keep(true, &["127.0.0.1:80", "0.0.0.0:81"], &["127.0.0.1"]).is_ok());
}

#[test]
fn a_name_has_no_more_addresses_than_are_looked_at() {
    let many: Vec<_> = (0..=255).map(|last| format!("8.8.8.{last}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(keep(false, &[], &many).unwrap().len(), 16);
    assert_eq!(keep(false, &[], &["8.8.8.8", "8.8.8.8"]).unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_that_comes_out_at_egress_itself_is_refused() {
    let (port, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let local = SocketAddr::from(([10, 1, 1, 1], 40_000));
    let own = [SocketAddr::from(([0, 0, 0, 0], port))];
    let judge = Judge { own: &own, shared: false, private: true };
    assert!(judge.check_connected(&host(), local, SocketAddr::from(([10, 1, 1, 1], port))).is_err());
    assert!(judge.check_connected(&host(), local, SocketAddr::from(([10, 1, 1, 2], port))).is_ok());
    let upstream = upstream(limits());
    upstream.avoid(own.to_vec());
    assert_eq!(send(&upstream, get(port)).await.unwrap_err().reason, Reason::AddressPrivate);
}

/// Beside other sidecars: the operator's page, the gate and the agent's desk are at egress's own addresses.
#[tokio::test]
async fn in_a_container_with_other_sidecars_none_of_its_addresses_is_dialled() {
    let (port, connections) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let judge = Judge { own: &[], shared: true, private: true };
    for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        assert!(judge.keep(&host(), port, &[address.parse().unwrap()]).is_err(), "{address}");
    }
    // The address of another interface: only the connection shows that nobody else has it.
    let own = SocketAddr::from(([172, 20, 0, 2], port));
    assert!(judge.check_connected(&host(), SocketAddr::from(([172, 20, 0, 2], 40_000)), own).is_err());
    let other = SocketAddr::from(([172, 20, 0, 3], port));
    assert!(judge.check_connected(&host(), SocketAddr::from(([172, 20, 0, 2], 40_000)), other).is_ok());
    let upstream = Upstream { shared: true, ..upstream(limits()) };
    assert_eq!(send(&upstream, get(port)).await.unwrap_err().reason, Reason::AddressPrivate);
    assert_eq!(count(&connections), 0);
}

#[tokio::test]
async fn a_private_address_is_dialled_only_where_the_route_says_so() {
    let (port, connections) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let upstream = upstream(limits());
    let address = Host::Address(Ipv4Addr::LOCALHOST.into());
    for host in [address, host()] {
        let closed = Outgoing { route: route(false), host: host.clone(), ..get(port) };
        assert_eq!(send(&upstream, closed).await.unwrap_err().reason, Reason::AddressPrivate);
        let open = Outgoing { host, ..get(port) };
        assert_eq!(text(send(&upstream, open).await.unwrap().into_body()).await.unwrap(), "hi");
    }
    assert_eq!(count(&connections), 2);
}

/// A DNS server that has these addresses for every name, and remembers what it was asked for.
pub(super) struct Dns {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

pub(super) fn dns(addresses: &'static [[u8; 4]]) -> Dns {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query) {
            let query = &query[..length];
            let (mut name, mut at) = (String::new(), 12);
            while query[at] != 0 {
                let end = at + 1 + usize::from(query[at]);
                name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
                name.push('.');
                at = end;
            }
            let question = &query[12..at + 5];
            let is_a = question[question.len() - 3] == 1;
            seen.lock().unwrap().push(name.to_ascii_lowercase());
            let answers: &[[u8; 4]] = if is_a { addresses } else { &[] };
            let mut answer = query[..2].to_vec();
            // Response, recursion; NXDOMAIN where there is nothing at all.
            answer.extend_from_slice(&[0x81, if addresses.is_empty() { 0x83 } else { 0x80 }]);
            answer.extend_from_slice(&[0, 1, 0, u8::try_from(answers.len()).unwrap(), 0, 0, 0, 0]);
            answer.extend_from_slice(question);
            for address in answers {
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend_from_slice(address);
            }
            socket.send_to(&answer, peer).unwrap();
        }
    });
    Dns { port, asked }
}

/// One server, with a search domain that must not matter.
pub(super) fn dns_config(port: u16) -> ResolverConfig {
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
    let search = vec!["search.example.net".parse().unwrap()];
    ResolverConfig::from_parts(Some("domain.example.net".parse().unwrap()), search, vec![server])
}

fn resolving(dns: &Dns) -> Upstream {
    // Many dots, which must not matter either.
    let mut options = ResolverOpts::default();
    options.ndots = 9;
    Upstream { resolver: Resolver::new(dns_config(dns.port), options).unwrap(), ..upstream(limits()) }
}

fn named(name: &str, port: u16) -> Outgoing {
    Outgoing { host: Host::Name(name.to_owned()), ..get(port) }
}

#[tokio::test]
async fn a_name_is_looked_up_as_it_is_and_as_nothing_else() {
    let dns = dns(&[]);
    let refusal = send(&resolving(&dns), named("api.example.org", 80)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NameUnresolved);
    assert!(refusal.detail.contains("api.example.org"), "{}", refusal.detail);
    let asked = dns.asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.iter().all(|name| name == "api.example.org."), "{asked:?}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_and_to_others_is_dialled() {
    let dns = dns(&[[127, 0, 0, 1]]);
    let (port, connections) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let upstream = resolving(&dns);
    let closed = Outgoing { route: route(false), ..named("api.example.org", port) };
    assert_eq!(send(&upstream, closed).await.unwrap_err().reason, Reason::AddressPrivate);
    assert_eq!(count(&connections), 0);
    send(&upstream, named("api.example.org", port)).await.unwrap();
    assert_eq!(count(&connections), 1);
    let asked = dns.asked.lock().unwrap().len();
    assert!(asked <= 3, "the answer is kept as long as its TTL says; asked {asked} times");
}

#[tokio::test]
async fn a_host_with_an_address_of_its_own_is_not_looked_up() {
    let dns = dns(&[[8, 8, 8, 8]]);
    let (port, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(get_text(&resolving(&dns), port).await, "hi");
    assert_eq!(*dns.asked.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_resolver_that_is_silent_is_given_up() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = Dns { port: socket.local_addr().unwrap().port(), asked: Arc::default() };
    let limits = Limits { dial: Duration::from_millis(100), ..limits() };
    let upstream = Upstream { limits, ..resolving(&silent) };
    let refusal = send(&upstream, named("api.example.org", 80)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NameUnresolved);
}

#[tokio::test]
async fn an_address_that_does_not_answer_does_not_keep_the_next_one_waiting() {
    // 192.0.2.0/24 answers nobody (RFC 5737); where it is refused at once, the next one is just tried sooner.
    let dns = dns(&[[192, 0, 2, 1], [127, 0, 0, 1]]);
    let (port, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let limits = Limits { dial: Duration::from_secs(5), ..limits() };
    let upstream = Upstream { limits, ..resolving(&dns) };
    let response = send(&upstream, named("api.example.org", port)).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "hi");
}
