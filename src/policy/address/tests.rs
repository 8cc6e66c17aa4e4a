//! The registries as a table, at the first and last address of each range and at their neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{never, not_public};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the test names an address")
}

#[test]
fn a_special_address_has_its_kind() {
    let table = [
        ("unspecified", "0.0.0.0 0.255.255.255 ::"),
        ("private", "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255"),
        ("carrier-grade NAT", "100.64.0.0 100.127.255.255"),
        ("loopback", "127.0.0.0 127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1"),
        ("link-local", "169.254.0.0 169.254.255.255 fe80:: fe80::1 febf:ffff::1"),
        ("IETF protocol", "192.0.0.0 192.0.0.255 2001:1::1 2001:3::1 2001:4:112::1 2001:1ff:ffff::1"),
        ("documentation", "192.0.2.0 192.0.2.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255"),
        ("documentation", "2001:db8:: 2001:db8:ffff::1 3fff:: 3fff:fff:ffff::1"),
        ("6to4 relay", "192.88.99.0 192.88.99.255"),
        ("benchmarking", "198.18.0.0 198.19.255.255 2001:2::1"),
        ("multicast", "224.0.0.0 239.255.255.255 ff00:: ff02::1 ffff::1"),
        ("reserved", "240.0.0.0 255.255.255.254 1::1 64:ff9c::1 200::1 1fff:ffff::1 4000::1 5eff::1 fbff::1"),
        ("broadcast", "255.255.255.255"),
        ("IPv4-compatible", "::2 ::8.8.8.8 ::10.0.0.1 ::ffff:0:8.8.8.8"),
        ("local NAT64", "64:ff9b:1:: 64:ff9b:1:ffff::8.8.8.8"),
        ("discard", "100:: 100::ffff:ffff:ffff:ffff"),
        ("Teredo", "2001:: 2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("ORCHID", "2001:10::1 2001:1f:ffff::1 2001:20::1 2001:2f:ffff::1"),
        ("SRv6", "5f00:: 5f00:ffff::1"),
        ("private", "fc00:: fd00::7 fdff:ffff::1"),
        ("site-local", "fec0:: feff:ffff::1"),
        // In the dress of a translator or a tunnel.
        ("private", "::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1::1"),
        ("loopback", "64:ff9b::127.0.0.1 2002:7f00:1::1"),
        ("link-local", "64:ff9b::169.254.1.1 2002:a9fe:101::1"),
    ];
    for (kind, addresses) in table {
        for address in addresses.split(' ') {
            assert_eq!(not_public(ip(address)), Some(kind), "{address}");
        }
    }
}

#[test]
fn a_public_address_has_none() {
    let public = "1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 \
        192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 \
        203.0.114.0 223.255.255.255 168.63.129.15 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 2000::1 2001:200::1 \
        2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2a00::1 3ffe:ffff::1 3fff:1000::1";
    for address in public.split_ascii_whitespace() {
        assert_eq!(not_public(ip(address)), None, "{address}");
        assert_eq!(never(ip(address)), None, "{address}");
    }
}

#[test]
fn the_metadata_of_clouds_is_never_dialled_in_any_dress() {
    let clouds = "169.254.169.254 169.254.170.2 169.254.170.23 169.254.0.23 169.254.42.42 100.100.100.200 192.0.0.192 \
        168.63.129.16 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fe80::a9fe:a9fe fd00:c1::a9fe:a9fe fd00:a9fe:a9fe::1 \
        fd00:42::42 ::ffff:169.254.169.254 ::169.254.169.254 ::ffff:0:169.254.169.254 64:ff9b::169.254.169.254 \
        64:ff9b::168.63.129.16 64:ff9b:1::169.254.169.254 64:ff9b:1:a9fe:a9:fe00:: 2002:a9fe:a9fe::1 \
        2001:0:a9fe:a9fe::1 2001:0:808:808:0:0:5601:5601 fe80::5efe:a9fe:a9fe 2a00::200:5efe:a9fe:a9fe";
    for address in clouds.split_ascii_whitespace() {
        assert_eq!(never(ip(address)), Some("cloud metadata"), "{address}");
        assert_eq!(not_public(ip(address)), Some("cloud metadata"), "{address}");
    }
}

#[test]
fn what_is_no_single_host_is_never_dialled() {
    for (kind, addresses) in [
        ("unspecified", "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0 64:ff9b::0.0.0.0 2002::1"),
        ("multicast", "224.0.0.251 239.255.255.250 ff02::fb ::ffff:224.0.0.1 64:ff9b::224.0.0.1"),
        ("broadcast", "255.255.255.255 ::ffff:255.255.255.255 2002:ffff:ffff::1"),
    ] {
        for address in addresses.split(' ') {
            assert_eq!(never(ip(address)), Some(kind), "{address}");
        }
    }
}

#[test]
fn a_private_route_reaches_its_own_network() {
    for address in
        ["10.0.0.7", "127.0.0.1", "::1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "fd00::7", "fe80::1"]
    {
        assert_eq!(never(ip(address)), None, "{address}");
    }
}

/// The ranges of IPv4 once more, as networks.
const NETWORKS: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
    ([168, 63, 129, 16], 32),
];

proptest! {
    #[test]
    fn the_table_of_networks_agrees(near in 0..NETWORKS.len(), bits in any::<u32>(), shift in 0_u32..=32) {
        // Random bits behind the start of a network, also a little before and after it.
        let start = u32::from_be_bytes(NETWORKS[near].0);
        let number = start.wrapping_add(bits.checked_shr(shift).unwrap_or(0)).wrapping_sub(1);
        let special = NETWORKS.iter().any(|(network, length)| {
            number >> (32 - length) == u32::from_be_bytes(*network) >> (32 - length)
        });
        let address = IpAddr::V4(Ipv4Addr::from(number));
        prop_assert_eq!(not_public(address).is_some(), special);
    }

    #[test]
    fn a_dress_changes_nothing(number in any::<u32>()) {
        let plain = Ipv4Addr::from(number);
        let [a, b, c, d] = plain.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        for dress in [
            plain.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ] {
            prop_assert_eq!(not_public(IpAddr::V6(dress)), not_public(IpAddr::V4(plain)));
            prop_assert_eq!(never(IpAddr::V6(dress)), never(IpAddr::V4(plain)));
        }
    }

    #[test]
    fn what_is_never_dialled_is_not_public(bits in any::<u128>()) {
        let address = IpAddr::V6(Ipv6Addr::from(bits));
        prop_assert!(never(address).is_none() || not_public(address).is_some());
    }
}
