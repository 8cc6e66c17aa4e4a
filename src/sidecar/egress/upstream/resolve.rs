//! Judging the addresses of names: what is dialled has been kept here.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::policy::address;
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::refusal::Refusal;

/// The most addresses of a name that are looked at. An upstream's zone decides how many there are.
pub(super) const ADDRESSES: usize = 16;

/// Which addresses may be dialled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    /// The addresses that egress itself listens on.
    pub(super) own: &'a [SocketAddr],
    /// Whether other sidecars share this machine's addresses: then none of them may be dialled, whatever the port.
    pub(super) shared: bool,
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
        let own = own || (self.shared && address.is_loopback());
        own.then(|| itself(host, address))
    }

    /// Refuses a connection that came out at egress itself, or at a sidecar beside it: bound to every address, it is found
    /// at addresses of this machine that only a connection shows. The kernel takes the address for both ends then.
    pub(super) fn check_connected(
        &self,
        host: &Host,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(), Refusal> {
        let everywhere = self.own.iter().any(|own| own.ip().is_unspecified() && own.port() == peer.port());
        let here = local.ip().to_canonical() == peer.ip().to_canonical();
        if (everywhere || self.shared) && here { Err(itself(host, peer.ip())) } else { Ok(()) }
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
