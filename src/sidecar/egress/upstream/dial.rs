//! Connecting to the first address that answers (Happy Eyeballs, RFC 8305).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::resolve::Judge;
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::refusal::Refusal;

/// How long one address has before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The most addresses that are tried at the same time; beyond them the first one is given up for the next one.
const AT_ONCE: usize = 8;

/// Connects to one of the addresses, which `judge` has kept.
///
/// # Errors
///
/// No address accepted the connection, in the words of the system; or egress itself did.
pub(super) async fn dial(
    host: &Host,
    addresses: Vec<SocketAddr>,
    judge: Judge<'_>,
) -> Result<TcpStream, Refusal> {
    let stream = race(interleave(addresses)).await.map_err(|(address, error)| {
        let place = address.map(|address| format!(" at {address}")).unwrap_or_default();
        Refusal::new(Reason::UpstreamDown, format!("{host}{place}: {error}"))
    })?;
    let broken = |error: io::Error| Refusal::new(Reason::UpstreamDown, format!("{host}: {error}"));
    judge.check_connected(host, stream.local_addr().map_err(broken)?, stream.peer_addr().map_err(broken)?)?;
    stream.set_nodelay(true).map_err(broken)?;
    Ok(stream)
}

/// Lets the families take turns, beginning with that of the first address (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let count = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = VecDeque::with_capacity(count);
    while order.len() < count {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

type Attempt = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// The first connection that is made; the other attempts end with it.
async fn race(mut waiting: VecDeque<SocketAddr>) -> Result<TcpStream, (Option<SocketAddr>, io::Error)> {
    let mut running: Vec<Attempt> = Vec::new();
    let mut failure = (None, io::Error::from(io::ErrorKind::AddrNotAvailable));
    let mut next = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut index = 0;
            while let Some(attempt) = running.get_mut(index) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready((_, Ok(stream))) => return Poll::Ready(Ok(stream)),
                    Poll::Ready((address, Err(error))) => {
                        failure = (Some(address), error);
                        failed = true;
                        drop(running.remove(index));
                    }
                    Poll::Pending => index += 1,
                }
            }
            // The next address has its turn at once when one failed, and else when its time has come.
            if waiting.is_empty() && running.is_empty() {
                let none = (None, io::Error::from(io::ErrorKind::AddrNotAvailable));
                return Poll::Ready(Err(std::mem::replace(&mut failure, none)));
            }
            if waiting.is_empty() || !(failed || running.is_empty() || next.as_mut().poll(cx).is_ready()) {
                return Poll::Pending;
            }
            if let Some(address) = waiting.pop_front() {
                if running.len() >= AT_ONCE {
                    drop(running.remove(0));
                }
                running.push(Box::pin(async move { (address, TcpStream::connect(address).await) }));
                next.as_mut().reset(Instant::now() + STAGGER);
            }
        }
    })
    .await
}
