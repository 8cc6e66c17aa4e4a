//! A proxy in front of egress: it is asked with CONNECT, and what goes through is verified from end to end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bottle::policy::egress::{Inject, Route};

use super::support::{Origin, Pki, Setup, echo};

/// A proxy that knows CONNECT only.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Every host is at `target`; an answer other than 200 is given as it is.
    fn start(target: u16, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || drop(serve(socket, target, answer, &kept)));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut socket: TcpStream, target: u16, answer: &str, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.extend(byte);
    }
    asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    socket.write_all(answer.as_bytes())?;
    if !answer.contains(" 200 ") {
        return socket.shutdown(Shutdown::Write);
    }
    let upstream = TcpStream::connect(("127.0.0.1", target))?;
    let (mut from, mut to) = (socket.try_clone()?, upstream.try_clone()?);
    std::thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    let (mut from, mut to) = (upstream, socket);
    drop(io::copy(&mut from, &mut to));
    to.shutdown(Shutdown::Write)
}

const OK: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn setup(origin: &Origin, proxy: &Proxy) -> Setup {
    let mut setup = Setup::new().route(origin.route());
    setup.policy.upstream_proxy = Some(format!("http://127.0.0.1:{}", proxy.port));
    setup
}

#[test]
fn requests_go_through_the_proxy_and_are_verified_from_end_to_end() {
    let origin = Origin::https(echo);
    let proxy = Proxy::start(origin.port, OK);
    let egress = setup(&origin, &proxy).start();
    egress.get(&origin.url("/through")).ok();
    assert_eq!(origin.targets(), ["/through"]);
    let asked = proxy.asked();
    // The address of `extra_hosts`: the proxy may know another one for that name.
    assert!(asked[0].starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", origin.port)), "{asked:?}");
}

#[test]
fn a_name_without_an_address_of_its_own_is_resolved_by_the_proxy() {
    let origin = Origin::https(echo);
    let proxy = Proxy::start(origin.port, OK);
    let mut setup = setup(&origin, &proxy);
    setup.policy.extra_hosts.clear();
    let egress = setup.start();
    egress.get(&origin.url("/through")).ok();
    let asked = proxy.asked();
    assert!(asked[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", origin.authority())), "{asked:?}");
}

#[test]
fn the_proxy_learns_nothing_but_the_authority() {
    let origin = Origin::https(echo);
    let proxy = Proxy::start(origin.port, OK);
    let route = Route { credential: Some("api".to_owned()), ..origin.route() };
    let mut setup = Setup::new().secret("api", Inject::Bearer, "s3cr3t-0123456789").route(route);
    setup.policy.upstream_proxy = Some(format!("http://127.0.0.1:{}", proxy.port));
    let egress = setup.start();
    let lines = ["User-Agent: agent/1", "Proxy-Authorization: Basic eDp5"];
    egress.request("GET", &origin.url("/path"), &lines, b"").ok();
    assert_eq!(origin.last().header("authorization"), Some("Bearer s3cr3t-0123456789"));
    for text in proxy.asked() {
        for word in ["s3cr3t", "/path", "agent/1", "eDp5"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_through_the_proxy_as_well() {
    let origin = Origin::with(&Pki::new("the proxy's own").leaf(&["origin.test.example"]));
    let proxy = Proxy::start(origin.port, OK);
    let egress = setup(&origin, &proxy).start();
    egress.get(&origin.url("/")).refused("upstream-tls");
    assert!(origin.seen().is_empty());
}

#[test]
fn what_the_proxy_answers_is_never_taken_for_the_origins_answer() {
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 8\r\n\r\npoisoned",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\npoisoned",
        "HTTP/1.1 302 Found\r\nLocation: https://evil.example.net/\r\nContent-Length: 0\r\n\r\n",
        "garbage",
        "",
    ] {
        let origin = Origin::https(echo);
        let proxy = Proxy::start(origin.port, answer);
        let egress = setup(&origin, &proxy).start();
        let response = egress.get(&origin.url("/"));
        assert_eq!(response.status, 502, "{answer:?}: {response:?}");
        assert!(!response.text().contains("poisoned"));
        origin.untouched();
    }
}

#[test]
fn a_proxy_that_is_down_is_told_and_not_gone_around() {
    let origin = Origin::https(echo);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut setup = Setup::new().route(origin.route());
    setup.policy.upstream_proxy = Some(format!("http://127.0.0.1:{port}"));
    let egress = setup.start();
    egress.get(&origin.url("/")).refused("upstream-down");
    origin.untouched();
}

#[test]
fn a_refused_host_is_not_told_to_the_proxy() {
    let origin = Origin::https(echo);
    let proxy = Proxy::start(origin.port, OK);
    let egress = setup(&origin, &proxy).start();
    egress.get("https://evil.example.net/").refused("route-missing");
    assert_eq!(proxy.asked(), Vec::<String>::new());
}
