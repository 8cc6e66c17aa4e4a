//! The hosts that routes name: whether they have addresses, and such as egress may dial.

use std::net::IpAddr;
use std::time::Duration;

use super::{Finding, Outcome, Subject};
use crate::policy::address::not_public;
use crate::policy::egress::Route;
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::listen::lookup;

/// How long a name may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn routes(subject: &Subject<'_>) -> Outcome {
    let Some(egress) = &subject.plan.egress else { return Ok(Vec::new()) };
    if egress.policy.upstream_proxy.is_some() {
        return Err("names are resolved by the `upstream_proxy`".to_owned());
    }
    let mut hosts: Vec<(String, &Route)> = Vec::new();
    for route in &egress.policy.routes {
        let Ok(Host::Name(name)) = Host::parse(&route.host) else { continue };
        if !egress.policy.extra_hosts.contains_key(&name) && !hosts.iter().any(|(host, _)| *host == name) {
            hosts.push((name, route));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let findings = runtime.block_on(async {
        let asked: Vec<_> = hosts
            .iter()
            .map(|(name, _)| {
                let name = name.clone();
                tokio::spawn(async move { tokio::time::timeout(LIMIT, lookup(&name)).await })
            })
            .collect();
        let mut findings = Vec::new();
        for (asked, (name, route)) in asked.into_iter().zip(&hosts) {
            let addresses = match asked.await {
                Ok(Ok(Ok(addresses))) => addresses,
                Ok(Ok(Err(error))) => {
                    findings.push(unresolved(name, route, &error.to_string()));
                    continue;
                }
                Ok(Err(_)) | Err(_) => {
                    findings.push(unresolved(name, route, "no answer in time"));
                    continue;
                }
            };
            findings.extend(private(name, route, &addresses));
        }
        findings
    });
    Ok(findings)
}

fn unresolved(name: &str, route: &Route, why: &str) -> Finding {
    let what = format!("`{name}` ({}) has no address: {why}", route.source);
    Finding::warning(Reason::NameUnresolved, what)
        .mend("check the name, or give its address under `extra_hosts`")
}

/// Egress dials the public ones, so that it is refused only where there is none.
fn private(name: &str, route: &Route, addresses: &[IpAddr]) -> Option<Finding> {
    let mut kinds = addresses.iter().map(|address| (address, not_public(*address)));
    let first = kinds.next().filter(|_| !route.private)?;
    let (address, kind) = (first.0, first.1?);
    if kinds.any(|(_, kind)| kind.is_none()) {
        return None;
    }
    let what = format!("`{name}` ({}) leads to {address}, which is {kind}", route.source);
    Some(Finding::problem(Reason::AddressPrivate, what))
}

#[cfg(test)]
mod tests {
    use super::private;
    use crate::policy::egress::Route;
    use crate::policy::reason::Reason;

    #[test]
    fn a_host_with_private_addresses_alone_is_told_unless_its_route_says_so() {
        let yaml = "{source: \"bottle.yaml:3\", host: a.example.org, scheme: https, ports: [443], methods: [GET], \
                    paths: [\"/**\"], websocket: false, private: false, credential: null, on_secret: block, max_upload_bytes: null}";
        let route: Route = serde_yaml::from_str(yaml).unwrap();
        let found = |addresses: &[&str], route: &Route| {
            let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            private("a.example.org", route, &addresses).map(|finding| (finding.reason, finding.what))
        };
        let (reason, what) = found(&["10.0.0.7"], &route).unwrap();
        assert_eq!(reason, Reason::AddressPrivate);
        assert!(what.starts_with("`a.example.org` (bottle.yaml:3) leads to 10.0.0.7, which is "), "{what}");
        assert_eq!(found(&["10.0.0.7", "93.184.215.14"], &route), None);
        assert_eq!(found(&["93.184.215.14"], &route), None);
        assert_eq!(found(&["10.0.0.7"], &Route { private: true, ..route.clone() }), None);
    }
}
