//! Going out through another proxy.

use tokio::sync::mpsc;

use super::tls::{Ca, secure};
use super::*;
use crate::policy::reason::Reason;
use crate::sidecar::egress::upstream::proxy::Proxy;

/// A proxy that takes every tunnel to this port; gives its own port, and what it was asked for.
async fn forwarding(to: u16) -> (u16, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel(16);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            sender.send(head).await.unwrap();
            let mut origin = TcpStream::connect(("127.0.0.1".parse::<IpAddr>().unwrap(), to)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nx-proxy: 1\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut origin).await;
        }
    })
    .await;
    (port, receiver)
}

/// A request that goes through this proxy. The policy knows no address of its host.
fn through(proxy: u16, request: Outgoing) -> Outgoing {
    let mut policy = policy();
    policy.extra_hosts.clear();
    policy.upstream_proxy = Some(format!("http://127.0.0.1:{proxy}"));
    Outgoing { snapshot: snapshot(policy), ..request }
}

#[tokio::test]
async fn https_goes_through_a_tunnel_and_is_verified_to_its_end() {
    let ca = Ca::new();
    let (origin, _) = secure(ca.acceptor(&["origin.example.org"], &["http/1.1"])).await;
    let (proxy, mut asked) = forwarding(origin).await;
    let upstream = trusting(ca.roots(), limits());
    // Neither does the origin's route have to be private, nor is its name resolved here: there is no such name.
    let closed = Outgoing { route: route(false), ..through(proxy, https(443)) };
    let response = send(&upstream, closed).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "hi");
    let head = asked.recv().await.unwrap();
    assert_eq!(head, "CONNECT origin.example.org:443 HTTP/1.1\r\nhost: origin.example.org:443\r\n\r\n");
    let stranger = trusting(Ca::new().roots(), limits());
    let refusal = send(&stranger, through(proxy, https(443))).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTls);
}

#[tokio::test]
async fn http_goes_through_a_tunnel_too() {
    let (origin, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let (proxy, mut asked) = forwarding(origin).await;
    let response = send(&upstream(limits()), through(proxy, get(80))).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "hi");
    assert!(asked.recv().await.unwrap().starts_with("CONNECT origin.example.org:80 "));
}

#[tokio::test]
async fn an_address_that_is_known_is_judged_and_asked_for() {
    let (origin, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let (proxy, mut asked) = forwarding(origin).await;
    let upstream = upstream(limits());
    let known = |route| {
        let mut policy = policy();
        policy.upstream_proxy = Some(format!("http://127.0.0.1:{proxy}"));
        Outgoing { snapshot: snapshot(policy), route, ..get(80) }
    };
    assert_eq!(send(&upstream, known(route(false))).await.unwrap_err().reason, Reason::AddressPrivate);
    let host = Host::Address(IpAddr::from([10, 0, 0, 1]));
    let literal = Outgoing { host, route: route(false), ..through(proxy, get(80)) };
    assert_eq!(send(&upstream, literal).await.unwrap_err().reason, Reason::AddressPrivate);
    send(&upstream, known(route(true))).await.unwrap();
    assert!(asked.recv().await.unwrap().starts_with("CONNECT 127.0.0.1:80 "));
}

async fn refused(answer: &'static str) -> Refusal {
    let (proxy, _) = answering(answer).await;
    send(&upstream(limits()), through(proxy, https(443))).await.unwrap_err()
}

#[tokio::test]
async fn a_proxy_that_refuses_is_quoted_with_its_status() {
    let refusal = refused("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(refusal.reason, Reason::UpstreamDown);
    assert!(refusal.detail.contains("407"), "{}", refusal.detail);
}

#[tokio::test]
async fn a_proxy_that_says_more_than_it_was_asked_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "hello\r\n\r\n",
    ] {
        assert_eq!(refused(answer).await.reason, Reason::UpstreamInvalid, "{answer}");
    }
}

#[tokio::test]
async fn a_proxy_with_an_endless_head_is_refused() {
    let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"x-field: some value\r\n".repeat(4096);
    let (proxy, _) = answering(endless).await;
    let refusal = send(&upstream(limits()), through(proxy, https(443))).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refusal = send(&upstream(limits()), through(port, https(443))).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamDown);
    assert!(refusal.detail.contains(&port.to_string()), "{}", refusal.detail);
}

#[test]
fn a_proxy_is_read_from_its_url() {
    let name = |name: &str| Host::Name(name.to_owned());
    let read =
        |text| Proxy::parse(text).map(|Proxy { host, port }| (host, port)).map_err(|refusal| refusal.reason);
    assert_eq!(read("http://Proxy.example.org:3128"), Ok((name("proxy.example.org"), 3128)));
    assert_eq!(read("http://proxy.example.org"), Ok((name("proxy.example.org"), 80)));
    assert_eq!(read("http://10.0.0.1:3128/"), Ok((Host::Address([10, 0, 0, 1].into()), 3128)));
    assert_eq!(read("http://[::1]:3128"), Ok((Host::Address(std::net::Ipv6Addr::LOCALHOST.into()), 3128)));
    for text in
        ["https://proxy.example.org", "http://user:word@proxy.example.org", "proxy.example.org:3128", ""]
    {
        assert_eq!(read(text), Err(Reason::EgressFailed), "{text}");
    }
}
