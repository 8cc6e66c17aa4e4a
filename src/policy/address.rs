//! Which addresses are the public internet's.
//!
//! The tables are IANA's special-purpose address registries (RFC 6890), read strictly: of IPv6 only what is handed out
//! as global unicast is public. An IPv6 address that carries an IPv4 address through a translator is judged as that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// Why an address is none that egress dials without `private: true`, or `None` for a public one: the kind, such as
/// `loopback`, for a message.
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    never(address).or_else(|| match address.to_canonical() {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    })
}

/// Why an address is none that egress ever dials, `private: true` or not: unspecified, multicast, broadcast,
/// the metadata addresses of clouds.
pub fn never(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => never_v4(address),
        IpAddr::V6(address) => never_v6(address),
    }
}

/// Where clouds tell a machine its secrets: a request from the bottle's host is one of the machine's own.
const METADATA_V4: &[Ipv4Addr] = &[
    // AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner and most others.
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: tasks of ECS, pods of EKS.
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent.
    Ipv4Addr::new(169, 254, 0, 23),
    // Scaleway.
    Ipv4Addr::new(169, 254, 42, 42),
    // Alibaba.
    Ipv4Addr::new(100, 100, 100, 200),
    // Oracle, the classic one.
    Ipv4Addr::new(192, 0, 0, 192),
    // Azure: the wire server. It is in a public range.
    Ipv4Addr::new(168, 63, 129, 16),
];

/// As [`METADATA_V4`].
const METADATA_V6: &[Ipv6Addr] = &[
    // AWS: instances, pods of EKS.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // OpenStack.
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // Oracle.
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // Linode.
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    // Scaleway.
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

fn never_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        _ if METADATA_V4.contains(&address) => Some("cloud metadata"),
        [0, ..] => Some("unspecified"),
        [255, 255, 255, 255] => Some("broadcast"),
        [224..=239, ..] => Some("multicast"),
        _ => None,
    }
}

fn never_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        _ if METADATA_V6.contains(&address) => Some("cloud metadata"),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => translated(address).map_or_else(|| tunnelled_metadata(address), never_v4),
    }
}

fn tunnelled_metadata(address: Ipv6Addr) -> Option<&'static str> {
    perhaps_tunnelled(address).into_iter().any(|old| METADATA_V4.contains(&old)).then_some("cloud metadata")
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("loopback"),
        // RFC 1918.
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        // RFC 6598.
        [100, 64..=127, ..] => Some("carrier-grade NAT"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("IETF protocol"),
        // RFC 5737.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        // RFC 7526.
        [192, 88, 99, _] => Some("6to4 relay"),
        // RFC 2544.
        [198, 18..=19, ..] => Some("benchmarking"),
        // RFC 1112, section 4.
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(address) = translated(address) {
        return not_public_v4(address);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // RFC 4291, section 2.5.5.1, and RFC 2765, section 2.1: both out of use.
        [0, 0, 0, 0, 0 | 0xffff, 0, ..] => Some("IPv4-compatible"),
        // RFC 8215.
        [0x64, 0xff9b, 1, ..] => Some("local NAT64"),
        // RFC 6666.
        [0x100, 0, 0, 0, ..] => Some("discard"),
        // RFC 4380.
        [0x2001, 0, ..] => Some("Teredo"),
        [0x2001, 2, 0, ..] => Some("benchmarking"),
        // RFC 4843 and RFC 7343.
        [0x2001, 0x10..=0x2f, ..] => Some("ORCHID"),
        [0x2001, 0..=0x1ff, ..] => Some("IETF protocol"),
        // RFC 3849 and RFC 9637.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        // RFC 9602.
        [0x5f00, ..] => Some("SRv6"),
        // RFC 4193.
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        // RFC 3879.
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        // RFC 4291, section 2.4: nothing else is handed out as global unicast.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("reserved"),
    }
}

/// The IPv4 address that an IPv6 address means by its definition: the one is as public as the other.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // NAT64 with the well-known prefix (RFC 6052, section 2.1); 6to4 (RFC 3056, section 2).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

/// The IPv4 addresses that a network may take out of an IPv6 address, if it does that at all.
fn perhaps_tunnelled(address: Ipv6Addr) -> [Ipv4Addr; 2] {
    match address.segments() {
        // Local NAT64 (RFC 8215), with a prefix of 96 or 48 bits (RFC 6052, section 2.2).
        [0x64, 0xff9b, 1, first, second, third, high, low] => {
            let ([_, b], [c, _]) = (second.to_be_bytes(), third.to_be_bytes());
            [joined(high, low), joined(first, u16::from_be_bytes([b, c]))]
        }
        // Teredo (RFC 4380, section 4): the server, and the client with its bits turned.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [joined(high, low), joined(!client_high, !client_low)]
        }
        // IPv4-compatible, IPv4-translated, ISATAP (RFC 5214, section 6.1) and NAT64 with a prefix of one's own.
        [.., high, low] => [joined(high, low); 2],
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}
