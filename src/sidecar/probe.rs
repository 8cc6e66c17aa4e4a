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
    if !has_route(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))? {
        return Ok(0);
    }
    // Older engines give an internal network a default route to an address that nobody holds. So the route leads
    // nowhere if, and only if, its router doesn't answer.
    let routers = default_routers(&fs::read_to_string(Path::new("/proc/net/route"))?);
    if routers.is_empty() {
        bail!("this container has a route to the outside that isn't its default route");
    }
    for router in routers {
        if answers(router) {
            bail!(
                "this container has a route to the outside: the router {router} answers; its networks must be internal"
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

    use super::{answers, default_routers};

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
    fn an_address_that_refuses_is_one_that_answers() {
        assert!(answers(Ipv4Addr::LOCALHOST));
    }
}
