//! A new connection: the name, the address, the dialling, perhaps the proxy, and TLS, all within one limit.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::key::Key;
use super::proxy::{self, Proxy};
use super::resolve::Judge;
use super::stream::{Kind, Stream};
use super::tls::{Offer, Protocol};
use super::{Upstream, dial};
use crate::policy::egress::{EgressPolicy, Scheme};
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::http1::HeadLimits;
use crate::sidecar::egress::live::Snapshot;
use crate::sidecar::egress::refusal::Refusal;

impl Upstream {
    /// Connects to the origin that `key` names.
    pub(super) async fn connect(
        &self,
        snapshot: &Snapshot,
        key: &Key,
        offer: Offer,
    ) -> Result<(Stream, Protocol), Refusal> {
        let permit = self.permit()?;
        let deadline = Instant::now() + self.limits.dial;
        let policy = &snapshot.policy;
        let Key { scheme, host, port, route, .. } = key;
        let judge = Judge {
            own: self.own.get().map(Vec::as_slice).unwrap_or_default(),
            shared: self.shared,
            private: route.private,
        };
        let stream = match &policy.upstream_proxy {
            None => {
                let addresses = self.addresses(policy, host, deadline).await?;
                let addresses = judge.keep(host, *port, &addresses)?;
                in_time(deadline, host, dial::dial(host, addresses, judge)).await?
            }
            Some(text) => self.tunnel(policy, &Proxy::parse(text)?, host, *port, judge, deadline).await?,
        };
        let (kind, protocol) = match scheme {
            Scheme::Http => (Kind::Plain(stream), Protocol::Http1),
            Scheme::Https => in_time(deadline, host, self.tls.connect(stream, host, offer)).await?,
        };
        Ok((Stream::new(kind, permit), protocol))
    }

    /// Takes a share of the connections that there may be: the agent decides how many streams it opens, and each could
    /// be a connection here. Those that wait for a request make room.
    fn permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        loop {
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => return Ok(permit),
                Err(_) if self.pool.drop_oldest() => {}
                Err(_) => {
                    return Err(Refusal::new(Reason::EgressBusy, "egress has too many connections open"));
                }
            }
        }
    }

    /// The addresses of a host, not judged yet: its own, those that the policy gives it, or those of the resolver.
    async fn addresses(
        &self,
        policy: &EgressPolicy,
        host: &Host,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, Refusal> {
        if let Some(address) = known(policy, host) {
            return Ok(vec![address]);
        }
        timeout_at(deadline, self.resolver.lookup(&host.to_string())).await.unwrap_or_else(|_| {
            Err(Refusal::new(Reason::NameUnresolved, format!("`{host}` could not be resolved in time")))
        })
    }

    /// Connects through the proxy. What is known of the origin's address is judged; its name is the proxy's to resolve.
    async fn tunnel(
        &self,
        policy: &EgressPolicy,
        proxy: &Proxy,
        host: &Host,
        port: u16,
        judge: Judge<'_>,
        deadline: Instant,
    ) -> Result<TcpStream, Refusal> {
        let target = match known(policy, host) {
            Some(address) => judge.keep(host, port, &[address])?.first().map(SocketAddr::to_string),
            None => None,
        };
        let target = target.unwrap_or_else(|| format!("{host}:{port}"));
        // The operator says where the proxy is: on a network of their own, most often.
        let judge = Judge { private: true, ..judge };
        let addresses = self.addresses(policy, &proxy.host, deadline).await?;
        let addresses = judge.keep(&proxy.host, proxy.port, &addresses)?;
        let limits = HeadLimits { bytes: self.limits.head_bytes, headers: self.limits.headers };
        let stream = in_time(deadline, &proxy.host, dial::dial(&proxy.host, addresses, judge)).await?;
        in_time(deadline, &proxy.host, proxy::tunnel(stream, proxy, &target, limits)).await
    }
}

/// The address that is known without a resolver.
fn known(policy: &EgressPolicy, host: &Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => Some(*address),
        Host::Name(name) => {
            let mut extra = policy.extra_hosts.iter();
            extra.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, address)| *address)
        }
    }
}

async fn in_time<T>(
    deadline: Instant,
    host: &Host,
    step: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout_at(deadline, step).await.unwrap_or_else(|_| {
        Err(Refusal::new(Reason::UpstreamTimeout, format!("{host} could not be reached in time")))
    })
}
