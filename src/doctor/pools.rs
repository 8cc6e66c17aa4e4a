//! Whether the engine has address ranges for the networks that the bottle needs.
//!
//! The engine takes the first range of its pools that overlaps no network of its own and no route of the machine
//! (`default-address-pools` in the reference of `dockerd`).

use std::net::Ipv4Addr;

use serde_json::Value;

use super::subject::Engine;
use super::{Finding, Outcome, Subject};
use crate::fs;
use crate::policy::reason::Reason;

/// The engine's own pools, where it is given none: base address, length of its prefix, and that of a network in it.
const DEFAULT: [([u8; 4], u32, u32); 7] = [
    ([172, 17, 0, 0], 16, 16),
    ([172, 18, 0, 0], 16, 16),
    ([172, 19, 0, 0], 16, 16),
    ([172, 20, 0, 0], 14, 16),
    ([172, 24, 0, 0], 14, 16),
    ([172, 28, 0, 0], 14, 16),
    ([192, 168, 0, 0], 16, 20),
];
/// The most ranges of a pool that are counted.
const MAX_RANGES: u32 = 4096;

/// A range of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Range {
    first: u32,
    last: u32,
}

impl Range {
    fn new(base: Ipv4Addr, prefix: u32) -> Option<Self> {
        let hosts = u32::MAX.checked_shr(prefix).unwrap_or(0);
        (prefix <= 32).then(|| Self { first: base.to_bits() & !hosts, last: base.to_bits() | hosts })
    }

    fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = text.split_once('/')?;
        Self::new(base.parse().ok()?, prefix.parse().ok()?)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The ranges of a size in it.
    fn parts(self, prefix: u32) -> impl Iterator<Item = Self> {
        let count = (0..MAX_RANGES).take_while(move |_| prefix <= 32);
        let parts = count.map_while(move |number| {
            let size = 1_u64.checked_shl(32 - prefix)?;
            let first = u32::try_from(u64::from(self.first) + size * u64::from(number)).ok()?;
            (first <= self.last).then_some(first)
        });
        parts.filter_map(move |first| Self::new(Ipv4Addr::from_bits(first), prefix))
    }
}

pub(super) fn addresses(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let there = |name: &&String| engine.networks.iter().any(|network| network.name == **name);
    let needed = subject.names.networks.iter().filter(|name| !there(name)).count();
    let networks = engine.networks.iter().flat_map(|network| network.subnets().filter_map(Range::parse));
    let routes = fs::read_to_string(std::path::Path::new("/proc/net/route")).unwrap_or_default();
    let used: Vec<Range> = networks.chain(routed(&routes)).collect();
    Ok(exhausted(needed, free(&pools(engine), &used, needed)).into_iter().collect())
}

fn exhausted(needed: usize, free: usize) -> Option<Finding> {
    let what = || format!("the bottle needs {needed} more networks, and the engine has addresses for {free}");
    (free < needed).then(|| Finding::problem(Reason::AddressesExhausted, what()))
}

fn pools(engine: &Engine) -> Vec<(Range, u32)> {
    let given = engine.info.get("DefaultAddressPools").and_then(Value::as_array);
    let given = given.filter(|given| !given.is_empty()).into_iter().flatten();
    let given: Vec<_> = given
        .filter_map(|pool| {
            let size = pool.get("Size")?.as_u64()?;
            Some((Range::parse(pool.get("Base")?.as_str()?)?, u32::try_from(size).ok()?))
        })
        .collect();
    if !given.is_empty() {
        return given;
    }
    let own =
        DEFAULT.into_iter().filter_map(|(base, prefix, size)| Some((Range::new(base.into(), prefix)?, size)));
    own.collect()
}

/// How many networks there is room for; no more than `enough` are counted.
fn free(pools: &[(Range, u32)], used: &[Range], enough: usize) -> usize {
    let ranges = pools.iter().flat_map(|(pool, size)| pool.parts(*size));
    ranges.filter(|range| !used.iter().any(|used| used.overlaps(*range))).take(enough).count()
}

/// The ranges to which the machine has a route, but for the one to everywhere (`/proc/net/route`, proc(5)).
fn routed(text: &str) -> Vec<Range> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // The bytes stand as they are in memory.
        let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::from_be);
        let (base, mask) = (number(1)?, number(7)?);
        Range::new(Ipv4Addr::from_bits(base), mask.leading_ones()).filter(|_| mask != 0)
    });
    routes.collect()
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, Range, exhausted, free, routed};
    use crate::policy::reason::Reason;

    fn default() -> Vec<(Range, u32)> {
        DEFAULT
            .into_iter()
            .map(|(base, prefix, size)| (Range::new(base.into(), prefix).unwrap(), size))
            .collect()
    }

    fn ranges(texts: &[&str]) -> Vec<Range> {
        texts.iter().map(|text| Range::parse(text).unwrap()).collect()
    }

    #[test]
    fn an_engine_without_pools_of_its_own_has_room_for_31_networks() {
        assert_eq!(free(&default(), &[], 100), 31);
        assert_eq!(free(&default(), &ranges(&["172.17.0.0/16", "192.168.16.0/20"]), 100), 29);
        // A route of a virtual private network takes many at once.
        assert_eq!(free(&default(), &ranges(&["172.16.0.0/12", "192.168.0.0/17"]), 100), 8);
        let none = free(&default(), &ranges(&["172.16.0.0/12", "192.168.0.0/16"]), 3);
        assert_eq!((none, exhausted(3, 3)), (0, None));
        let finding = exhausted(3, none).unwrap();
        assert_eq!(finding.reason, Reason::AddressesExhausted);
        assert_eq!(finding.what, "the bottle needs 3 more networks, and the engine has addresses for 0");
    }

    #[test]
    fn pools_that_are_nonsense_have_no_room() {
        let whole = Range::parse("0.0.0.0/0").unwrap();
        assert_eq!(free(&[(whole, 33)], &[], 3), 0);
        assert_eq!(free(&[(whole, 0)], &[], 3), 1);
        assert_eq!(Range::parse("10.0.0.0/40"), None);
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n\
                    docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n";
        assert_eq!(routed(text), ranges(&["172.17.0.0/16"]));
    }
}
