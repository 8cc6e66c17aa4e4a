//! Names to addresses: only those that may be dialled come out of here, and what is dialled comes from here.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;

use crate::policy::address;
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::refusal::Refusal;

/// Answers that are kept.
const CACHED: u64 = 512;

/// The longest that an answer is kept, whatever its TTL says: a name that moved is found again.
const LONGEST: Duration = Duration::from_mins(5);

/// The longest that a failure is kept: a name that was just made is found soon.
const LONGEST_FAILURE: Duration = Duration::from_secs(5);

/// The most addresses of a name that are looked at. An upstream's zone decides how many there are.
const ADDRESSES: usize = 16;

/// The system's resolver: `/etc/hosts`, and the servers of `/etc/resolv.conf`, both as they are at the start.
pub(super) struct Resolver {
    inner: TokioResolver,
    /// Why there are no servers.
    problem: Option<String>,
}

impl Resolver {
    /// Reads the system's configuration. Without it only `/etc/hosts` has names, which suits a bottle whose names are
    /// all in `extra_hosts`.
    pub(super) fn system() -> Result<Self> {
        match hickory_resolver::system_conf::read_system_conf() {
            Ok((config, options)) => Self::new(config, options, None),
            Err(error) => {
                Self::new(ResolverConfig::default(), ResolverOpts::default(), Some(error.to_string()))
            }
        }
    }

    pub(super) fn new(
        config: ResolverConfig,
        options: ResolverOpts,
        problem: Option<String>,
    ) -> Result<Self> {
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let options = builder.options_mut();
        options.cache_size = CACHED;
        options.positive_max_ttl = Some(LONGEST);
        options.negative_max_ttl = Some(LONGEST_FAILURE);
        Ok(Self { inner: builder.build().context("the resolver")?, problem })
    }

    /// Looks up both families. The name is complete: no search domain makes another one of it.
    pub(super) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Refusal> {
        let failed = |words: &dyn std::fmt::Display| {
            let problem = self.problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
            Refusal::new(Reason::NameUnresolved, format!("`{name}` could not be resolved: {words}{problem}"))
        };
        let mut complete = Name::from_ascii(name).map_err(|error| failed(&error))?;
        complete.set_fqdn(true);
        let found = self.inner.lookup_ip(complete).await.map_err(|error| failed(&error))?;
        let addresses: Vec<_> = found.iter().take(ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(failed(&"it has no address"));
        }
        Ok(addresses)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// Which addresses may be dialled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    /// The addresses that egress itself listens on.
    pub(super) own: &'a [SocketAddr],
    /// Whether an address that isn't public may be dialled.
    pub(super) private: bool,
}

impl Judge<'_> {
    /// Keeps the addresses of `host` that may be dialled.
    ///
    /// # Errors
    ///
    /// The reason of the first one, when there is none left.
    pub(super) fn keep(
        &self,
        host: &Host,
        port: u16,
        addresses: &[IpAddr],
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut seen = HashSet::new();
        let mut kept = Vec::with_capacity(addresses.len());
        let mut refused = None;
        for address in addresses.iter().take(ADDRESSES).map(IpAddr::to_canonical) {
            if !seen.insert(address) {
                continue;
            }
            match self.refuse(host, address, port) {
                None => kept.push(SocketAddr::new(address, port)),
                Some(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if kept.is_empty() => Err(refusal),
            _ => Ok(kept),
        }
    }

    /// Why an address may not be dialled.
    fn refuse(&self, host: &Host, address: IpAddr, port: u16) -> Option<Refusal> {
        if let Some(kind) = address::never(address) {
            let mut refusal = private(host, address, kind);
            refusal.hint = Some(format!("egress never connects to {kind} addresses, `private: true` or not"));
            return Some(refusal);
        }
        if let Some(kind) = address::not_public(address).filter(|_| !self.private) {
            return Some(private(host, address, kind));
        }
        let own = self.own.iter().any(|own| {
            let everywhere = own.ip().is_unspecified() && address.is_loopback();
            own.port() == port && (own.ip().to_canonical() == address || everywhere)
        });
        own.then(|| itself(host, address))
    }

    /// Refuses a connection that came out at egress itself: bound to every address, it is found at addresses of this
    /// machine that only a connection shows.
    pub(super) fn check_connected(
        &self,
        host: &Host,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(), Refusal> {
        let everywhere = self.own.iter().any(|own| own.ip().is_unspecified() && own.port() == peer.port());
        let here = local.ip().to_canonical() == peer.ip().to_canonical();
        if everywhere && here { Err(itself(host, peer.ip())) } else { Ok(()) }
    }
}

fn private(host: &Host, address: IpAddr, kind: &str) -> Refusal {
    Refusal::new(Reason::AddressPrivate, format!("`{host}` has the address {address} ({kind})"))
}

fn itself(host: &Host, address: IpAddr) -> Refusal {
    let mut refusal = private(host, address, "egress itself");
    refusal.hint = Some("egress never connects to itself, `private: true` or not".to_owned());
    refusal
}
