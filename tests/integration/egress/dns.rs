//! Names are resolved by egress, once, and only for requests that the policy allows.
//!
//! These tests run in a network of their own, where a server of the test's answers every DNS query: the test starts
//! itself again there. A machine that gives out no network namespace skips them, and says so.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};

use bottle::policy::egress::Route;

use super::support::{Egress, Origin, Setup, echo};

/// What stands for the public internet in there.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);

/// Runs the test of this file with that name in a network of its own.
fn apart(name: &str) {
    let resolv = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(resolv.path(), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let script = "ip link set lo up && ip addr add \"$2\"/32 dev lo && mount --bind \"$1\" /etc/resolv.conf || exit 77\n\
                  exec \"$0\" --exact \"$3\" --ignored --nocapture";
    let mut command = Command::new("unshare");
    command.args(["-rnm", "sh", "-c", script]).arg(std::env::current_exe().unwrap()).arg(resolv.path());
    let output = command.arg(PUBLIC.to_string()).arg(format!("egress::dns::{name}")).output();
    let Ok(output) = output else {
        println!("skipped: no `unshare` on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.code() == Some(77) || text.contains("unshare failed") || text.contains("not permitted") {
        println!("skipped: no network namespace can be had here: {text}");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A DNS server that knows some names, and keeps what it was asked.
struct Dns {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// Each query for a name gets the next of its addresses, then the last one for ever.
    fn start(names: &[(&str, &[Ipv4Addr])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let mut known: HashMap<String, Vec<Ipv4Addr>> =
            names.iter().map(|(name, addresses)| ((*name).to_owned(), addresses.to_vec())).collect();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
                let (name, kind, end) = question(&buffer[..count]);
                kept.lock().unwrap().push(format!("{name} {kind}"));
                let mut answer = buffer[..end].to_vec();
                answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
                let addresses = known.get_mut(&name);
                if addresses.is_none() {
                    answer[3] = 0x83;
                }
                if let (Some(addresses), 1) = (addresses, kind) {
                    let address = if addresses.len() > 1 { addresses.remove(0) } else { addresses[0] };
                    answer[7] = 1;
                    // A pointer to the name, type A, class IN, no time to live, four bytes.
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    answer.extend(address.octets());
                }
                drop(socket.send_to(&answer, peer));
            }
        });
        Self { asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The name and the type that a query asks for, and where the question ends.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut labels, mut place) = (Vec::new(), 12);
    while query[place] != 0 {
        let length = usize::from(query[place]);
        labels.push(String::from_utf8_lossy(&query[place + 1..=place + length]).to_lowercase());
        place += length + 1;
    }
    (labels.join("."), u16::from(query[place + 1]) << 8 | u16::from(query[place + 2]), place + 5)
}

/// Egress with a route to the origin; its names are in the DNS only.
fn start(origin: &Origin, private: bool) -> Egress {
    let mut setup =
        Setup::new().route(Route { host: "*.test.example".to_owned(), private, ..origin.route() });
    setup.policy.extra_hosts.clear();
    setup.start()
}

fn at(origin: &Origin, host: &str) -> String {
    format!("https://{host}:{}/", origin.port)
}

#[test]
fn no_query_leaves_for_a_host_that_policy_refuses() {
    apart("inside_no_query_leaves_for_a_host_that_policy_refuses");
}

#[test]
#[ignore = "runs in a network of its own, where the test without `inside` starts it"]
fn inside_no_query_leaves_for_a_host_that_policy_refuses() {
    let dns = Dns::start(&[("origin.test.example", &[Ipv4Addr::LOCALHOST])]);
    let origin = Origin::https(echo);
    let egress = start(&origin, true);
    egress.get(&at(&origin, "secret-as-a-name.example.net")).refused("route-missing");
    let at_http = format!("http://secret-as-a-name.example.net:{}/", origin.port);
    egress.get(&at_http).refused("route-missing");
    egress.get("https://other-port.test.example:1/").refused("port-denied");
    egress.request("POST", &at(&origin, "other-method.test.example"), &[], b"").refused("method-denied");
    assert_eq!(dns.asked(), Vec::<String>::new());
    egress.get(&at(&origin, "origin.test.example")).ok();
    assert!(!dns.asked().is_empty());
}

#[test]
fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    apart("inside_the_address_that_was_checked_is_the_one_that_is_dialled");
}

#[test]
#[ignore = "runs in a network of its own, where the test without `inside` starts it"]
fn inside_the_address_that_was_checked_is_the_one_that_is_dialled() {
    // Rebinding: the first answer is a public address where nobody listens, every later one is loopback.
    let dns = Dns::start(&[
        ("rebound.test.example", &[PUBLIC, Ipv4Addr::LOCALHOST]),
        ("private.test.example", &[Ipv4Addr::LOCALHOST]),
    ]);
    let origin = Origin::https(echo);
    let egress = start(&origin, false);
    egress.get(&at(&origin, "rebound.test.example")).refused("upstream-down");
    let a_queries = |dns: &Dns| dns.asked().iter().filter(|asked| *asked == "rebound.test.example 1").count();
    assert_eq!(a_queries(&dns), 1, "{:?}", dns.asked());
    // Looked up again for the next request, and checked again.
    egress.get(&at(&origin, "rebound.test.example")).refused("address-private");
    egress.get(&at(&origin, "private.test.example")).refused("address-private");
    origin.untouched();
}

#[test]
fn a_public_address_is_reached_and_a_search_list_is_not_tried() {
    apart("inside_a_public_address_is_reached_and_a_search_list_is_not_tried");
}

#[test]
#[ignore = "runs in a network of its own, where the test without `inside` starts it"]
fn inside_a_public_address_is_reached_and_a_search_list_is_not_tried() {
    let dns = Dns::start(&[("origin.test.example", &[PUBLIC])]);
    let origin = Origin::https_on(PUBLIC, echo);
    let egress = start(&origin, false);
    egress.get(&at(&origin, "origin.test.example")).ok();
    egress.get(&at(&origin, "missing.test.example")).refused("name-unresolved");
    for asked in dns.asked() {
        assert!(
            asked.starts_with("origin.test.example ") || asked.starts_with("missing.test.example "),
            "{asked}"
        );
    }
}

#[test]
fn a_name_of_extra_hosts_is_never_asked_for() {
    apart("inside_a_name_of_extra_hosts_is_never_asked_for");
}

#[test]
#[ignore = "runs in a network of its own, where the test without `inside` starts it"]
fn inside_a_name_of_extra_hosts_is_never_asked_for() {
    let dns = Dns::start(&[("origin.test.example", &[PUBLIC])]);
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).ok();
    assert_eq!(dns.asked(), Vec::<String>::new());
}

#[test]
fn a_dns_server_that_is_silent_is_given_up_in_bounded_time() {
    apart("inside_a_dns_server_that_is_silent_is_given_up_in_bounded_time");
}

#[test]
#[ignore = "runs in a network of its own, where the test without `inside` starts it"]
fn inside_a_dns_server_that_is_silent_is_given_up_in_bounded_time() {
    let _silent = UdpSocket::bind("127.0.0.1:53").unwrap();
    let origin = Origin::https(echo);
    let mut setup = Setup::new().route(origin.route()).limit("dial", 500);
    setup.policy.extra_hosts.clear();
    let egress = setup.start();
    let from = std::time::Instant::now();
    let response = egress.get(&origin.url("/"));
    assert!([502, 504].contains(&response.status), "{response:?}");
    assert!(from.elapsed() < std::time::Duration::from_secs(5));
}
