//! The look at the network that the agent's container takes before the agent starts.
//!
//! A bottle whose network was made wrong (an override file, an engine that ignored an option) must not run: this finds
//! a way out by trying to take it. It sends nothing beyond the first router. Where the bottle has egress, a second look
//! finds out whether it answers, and under a certificate that the agent's programs will trust.

mod egress;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::fs;

/// Check that there is no way out of this container but the sidecars, or that egress answers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask egress at this address, and look for nothing else
    #[arg(long, value_name = "HOST:PORT", requires = "trust")]
    egress: Option<String>,
    /// The certificates that the agent trusts
    #[arg(long, value_name = "FILE", requires = "egress")]
    trust: Option<PathBuf>,
}

/// How long the name service of the agent's network may take.
const NAMES_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a router on the same link may take to answer. One that is there answers within a millisecond.
const ROUTER_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Looks for a way out, or asks egress.
///
/// # Errors
///
/// There is a way out, or the kernel doesn't say; or egress doesn't answer as it must.
pub fn run(args: &Args) -> Result<u8> {
    if let (Some(address), Some(trust)) = (&args.egress, &args.trust) {
        egress::ask(address, trust)?;
        return Ok(0);
    }
    // Addresses for documentation (RFC 5737, RFC 3849): nobody is there, so only the route is asked for.
    if has_route(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)))? {
        bail!(
            "this container has a route to the outside over IPv6; its networks must be internal, without IPv6"
        );
    }
    let table = fs::read_to_string(Path::new("/proc/net/route"))?;
    let mut asked = Vec::new();
    if has_route(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))? {
        // Older engines give an internal network a default route to an address that nobody holds. So the route leads
        // nowhere if, and only if, its router doesn't answer.
        asked = default_routers(&table);
        if asked.is_empty() {
            bail!("this container has a route to the outside that isn't its default route");
        }
        if let Some(router) = asked.iter().find(|router| answers(**router)) {
            bail!(
                "this container has a route to the outside: the router {router} answers; its networks must be internal"
            );
        }
    }
    // An engine that gives the bridge an address of its own, the first one, has this machine there, with every service that
    // it binds on all interfaces: no route is needed to it.
    for first in first_addresses(&table).into_iter().filter(|first| !asked.contains(first)) {
        if own_address(first) != Some(first) && answers(first) && !neighbours().contains(&first) {
            bail!(
                "{first}, the first address of this network, answers and is no sidecar's: the engine gives this machine's bridge an \
                 address, so that the services of this machine can be reached"
            );
        }
    }
    Ok(0)
}

/// Asks the kernel for a route by connecting a UDP socket, which sends nothing (connect(2), udp(7)).
fn has_route(address: IpAddr) -> io::Result<bool> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = match UdpSocket::bind((any, 0)) {
        Ok(socket) => socket,
        // A kernel without the address family has no route in it.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
            return Ok(false);
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Ok(false),
        Err(error) => return Err(error),
    };
    match socket.connect((address, 9)) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The routers of the default routes in `/proc/net/route` (`proc_pid_net(5))`: addresses are in the host's byte order.
fn default_routers(table: &str) -> Vec<Ipv4Addr> {
    let router = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let address = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && address != 0).then(|| Ipv4Addr::from(address.to_ne_bytes()))
    };
    table.lines().skip(1).filter_map(router).collect()
}

/// The first address of each network that a container is on, by the same table.
fn first_addresses(table: &str) -> Vec<Ipv4Addr> {
    let first = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (destination, gateway, mask) = (fields.next()?, fields.next()?, fields.nth(4)?);
        let address =
            |text: &str| u32::from_str_radix(text, 16).ok().map(|word| Ipv4Addr::from(word.to_ne_bytes()));
        let (destination, mask) = (address(destination)?, address(mask)?);
        let on_link =
            address(gateway)?.is_unspecified() && !mask.is_unspecified() && mask != Ipv4Addr::BROADCAST;
        on_link.then(|| Ipv4Addr::from((destination.to_bits() & mask.to_bits()).saturating_add(1)))
    };
    table.lines().skip(1).filter_map(first).collect()
}

/// The addresses of the sidecars: some engines give out the first address too, where the bridge has none.
fn neighbours() -> Vec<Ipv4Addr> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    // The names that this bottle doesn't have may never be answered.
    let look = |name| async move {
        let asked = tokio::time::timeout(NAMES_ANSWER_WITHIN, egress::resolve(name)).await;
        match asked.ok()?.ok()?.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    };
    let (egress, gate, supervise, all) = runtime.block_on(async {
        tokio::join!(look("egress:0"), look("git-gate:0"), look("supervise:0"), look("sidecars:0"))
    });
    [egress, gate, supervise, all].into_iter().flatten().collect()
}

/// This container's address on the way to another one. A UDP socket that connects sends nothing.
fn own_address(to: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Tells whether anything is at an address: a connection and a refusal both say so.
fn answers(router: Ipv4Addr) -> bool {
    match TcpStream::connect_timeout(&SocketAddr::from((router, 9)), ROUTER_ANSWERS_WITHIN) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{answers, default_routers, first_addresses};

    #[test]
    fn the_default_routers_are_found_in_the_kernels_table() {
        let table = "Iface\tDestination\tGateway \tFlags\n\
                     eth0\t00000000\t010014AC\t0003\n\
                     eth0\t000014AC\t00000000\t0001\n";
        let expected = Ipv4Addr::from(0x0100_14AC_u32.to_ne_bytes());
        assert_eq!(default_routers(table), [expected]);
        assert_eq!(default_routers("Iface\tDestination\tGateway\n"), Vec::<Ipv4Addr>::new());
    }

    #[test]
    fn the_first_address_of_each_network_is_found_and_default_routes_have_none() {
        let word = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let line = |destination, gateway, mask| {
            format!("eth0 {} {} 0001 0 0 0 {} 0 0 0\n", word(destination), word(gateway), word(mask))
        };
        let table = [
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n".to_owned(),
            line([0, 0, 0, 0], [172, 20, 0, 1], [0, 0, 0, 0]),
            line([172, 20, 0, 0], [0, 0, 0, 0], [255, 255, 0, 0]),
            line([10, 89, 3, 64], [0, 0, 0, 0], [255, 255, 255, 192]),
            line([10, 1, 0, 0], [172, 20, 0, 9], [255, 255, 0, 0]),
        ];
        let expected = [Ipv4Addr::new(172, 20, 0, 1), Ipv4Addr::new(10, 89, 3, 65)];
        assert_eq!(first_addresses(&table.concat()), expected);
    }

    #[test]
    fn an_address_that_refuses_is_one_that_answers() {
        assert!(answers(Ipv4Addr::LOCALHOST));
    }
}
