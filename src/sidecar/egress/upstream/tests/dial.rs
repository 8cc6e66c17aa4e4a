//! Addresses that do not answer, and the next ones (Happy Eyeballs, RFC 8305).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::net::TcpSocket;

use super::*;
use crate::sidecar::egress::upstream::dial::dial;
use crate::sidecar::egress::upstream::resolve::Judge;

/// An address that answers no more connections: those that nobody accepts fill its queue, and the kernel drops the others'
/// first packets.
struct Blackhole {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send>>>,
}

impl Blackhole {
    async fn open(address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        for _ in 0..8 {
            let mut connecting: Pin<Box<dyn Future<Output = _> + Send>> =
                Box::pin(TcpStream::connect(address));
            // The first step sends the packet.
            poll_fn(|cx| {
                let _ = connecting.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            queued.push(connecting);
        }
        Self { address, _listener: listener, _queued: queued }
    }
}

/// Dials, and gives the address that was reached. The kernel itself would try one address for more than two minutes.
async fn reached(addresses: Vec<SocketAddr>) -> SocketAddr {
    let host = Host::Name("origin.example.org".to_owned());
    let dialled = dial(&host, addresses, Judge { own: &[], shared: false, private: true });
    let stream = tokio::time::timeout(Duration::from_secs(30), dialled).await.expect("in bounded time");
    stream.unwrap().peer_addr().unwrap()
}

async fn listening(address: &str) -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind(address).await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_keep_the_next_one_waiting() {
    for (silent, live) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:0", "127.0.0.1:0"),
        ("127.0.0.1:0", "[::1]:0"),
        ("[::1]:0", "[::1]:0"),
    ] {
        let silent = Blackhole::open(silent).await;
        let (live, _listener) = listening(live).await;
        assert_eq!(reached(vec![silent.address, live]).await, live, "{} is silent", silent.address);
    }
}

#[tokio::test]
async fn many_silent_addresses_do_not_keep_the_last_one_waiting() {
    let silent = Blackhole::open("127.0.0.1:0").await;
    let (live, _listener) = listening("127.0.0.1:0").await;
    // More than are tried at the same time.
    let mut addresses = vec![silent.address; 10];
    addresses.push(live);
    assert_eq!(reached(addresses).await, live);
}

#[tokio::test]
async fn the_other_family_has_its_turn_before_a_second_silent_address() {
    let [one, two] = [Blackhole::open("[::1]:0").await, Blackhole::open("[::1]:0").await];
    let (live, listener) = listening("127.0.0.1:0").await;
    // Two others follow, but only one is needed.
    assert_eq!(reached(vec![one.address, two.address, live]).await, live);
    drop(listener);
}
