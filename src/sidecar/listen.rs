//! Where a sidecar listens.
//!
//! A container on two networks that listened on every address would serve the other one too: whoever is outside could use
//! the agent's routes and credentials, and the agent the operator's page. The engine gives out the addresses, so what is
//! known beforehand is a name that only one network has.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::Name;

use crate::policy::host::{Authority, Host, InvalidHost};

/// An address, or a name that has one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listen {
    host: Host,
    port: u16,
}

impl FromStr for Listen {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        // Port 0 is no port of a URL; here it means any that is free.
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: Host::Address(address.ip()), port: address.port() });
        }
        let (host, port) = Authority::parse_with_port(text)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Listen {
    /// The address.
    ///
    /// # Errors
    ///
    /// A name without an address, or with several: one of them would be on another network.
    pub(crate) async fn address(&self) -> Result<SocketAddr> {
        let address = match &self.host {
            Host::Address(address) => *address,
            Host::Name(name) => {
                only(name, &lookup(name).await.with_context(|| format!("could not look up `{name}`"))?)?
            }
        };
        Ok(SocketAddr::new(address, self.port))
    }
}

/// All addresses of a complete name.
pub(crate) async fn lookup(name: &str) -> Result<Vec<IpAddr>> {
    let mut complete = Name::from_ascii(name)?;
    complete.set_fqdn(true);
    Ok(TokioResolver::builder_tokio()?.build()?.lookup_ip(complete).await?.iter().collect())
}

fn only(name: &str, addresses: &[IpAddr]) -> Result<IpAddr> {
    match addresses {
        [address] => Ok(*address),
        several => bail!(
            "`{name}` has {} addresses; to listen there it must be a name that only one network has",
            several.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{Listen, only};
    use crate::policy::host::Host;

    #[test]
    fn it_is_an_address_or_a_name_with_a_port() {
        let read = |text: &str| text.parse::<Listen>().ok().map(|listen| (listen.host, listen.port));
        let any = Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(read("0.0.0.0:0"), Some((any, 0)));
        for text in ["0.0.0.0:0", "[::1]:9418", "inside.git-gate:9418"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()).ok().as_deref(), Some(text));
        }
        assert_eq!(read("inside.egress:3128"), Some((Host::Name("inside.egress".to_owned()), 3128)));
        for text in ["inside.egress", "inside.egress:0", ":3128", "a b:1"] {
            assert_eq!(read(text), None, "`{text}` was accepted");
        }
    }

    #[test]
    fn a_name_on_two_networks_is_no_place_to_listen() {
        let addresses = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1))];
        assert!(only("egress", &addresses).is_err());
        assert!(only("egress", &[]).is_err());
        assert_eq!(only("egress", &addresses[..1]).ok(), Some(addresses[0]));
    }
}
