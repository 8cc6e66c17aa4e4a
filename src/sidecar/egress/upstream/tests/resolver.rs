//! The system's file with the name servers, which changes while egress runs.

use std::path::Path;

use super::address::{dns, dns_config};
use super::*;

/// A file that says the port of the one server.
fn follow(path: &Path, hosts: ResolveHosts) -> Resolver {
    let read = |path: &Path| {
        let port = crate::fs::read_to_string(path)?.parse()?;
        Ok((dns_config(port), hickory_resolver::config::ResolverOpts::default()))
    };
    Resolver::following(path, read, hosts).unwrap()
}

/// Writes the file in place.
fn write(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path);
    std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
}

async fn resolved(resolver: &Resolver, name: &str) -> Option<IpAddr> {
    resolver.lookup(name).await.ok().and_then(|addresses| addresses.first().copied())
}

/// Looks the name up until it has this address.
async fn becomes(resolver: &Resolver, name: &str, address: [u8; 4]) {
    let becomes = async {
        while resolved(resolver, name).await != Some(address.into()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), becomes).await.expect("the new server is asked");
}

#[tokio::test]
async fn servers_that_change_are_read_anew() {
    let (before, after) = (dns(&[[10, 0, 0, 1]]), dns(&[[10, 0, 0, 2]]));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    write(&path, &before.port.to_string());
    let resolver = follow(&path, ResolveHosts::Auto);
    assert_eq!(resolved(&resolver, "a.example.org").await, Some([10, 0, 0, 1].into()));
    // Written in place, as Docker does; what was kept of the other server is forgotten.
    write(&path, &after.port.to_string());
    becomes(&resolver, "a.example.org", [10, 0, 0, 2]).await;
    // And replaced, as others do.
    crate::fs::write_atomic(&path, before.port.to_string().as_bytes(), 0o644).unwrap();
    becomes(&resolver, "a.example.org", [10, 0, 0, 1]).await;
}

#[tokio::test]
async fn a_file_without_servers_leaves_those_of_before() {
    let server = dns(&[[10, 0, 0, 1]]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    write(&path, &server.port.to_string());
    let resolver = follow(&path, ResolveHosts::Auto);
    write(&path, "");
    // Longer than the time between two looks.
    let since = std::time::Instant::now();
    let mut number = 0;
    while since.elapsed() < Duration::from_millis(1200) {
        number += 1;
        let name = format!("name-{number}.example.org");
        assert_eq!(resolved(&resolver, &name).await, Some([10, 0, 0, 1].into()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn servers_that_come_later_are_found() {
    let server = dns(&[[10, 0, 0, 1]]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    let resolver = follow(&path, ResolveHosts::Auto);
    assert_eq!(resolved(&resolver, "a.example.org").await, None);
    write(&path, &server.port.to_string());
    becomes(&resolver, "a.example.org", [10, 0, 0, 1]).await;
}

/// In a container with other sidecars the file is the gate's: `localhost` is in it on every machine.
#[tokio::test]
async fn a_hosts_file_that_is_another_sidecars_has_no_say() {
    let server = dns(&[[10, 0, 0, 3]]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    write(&path, &server.port.to_string());
    let name = crate::fs::read_to_string(Path::new("/etc/hosts")).unwrap();
    let names =
        name.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split_whitespace().skip(1));
    // The names of this machine itself have an answer of their own (RFC 6761).
    let name = names.filter(|name| !name.contains("localhost")).last().unwrap_or("a.example.org").to_owned();
    let resolver = follow(&path, ResolveHosts::Never);
    assert_eq!(resolved(&resolver, &name).await, Some([10, 0, 0, 3].into()), "{name}");
}
