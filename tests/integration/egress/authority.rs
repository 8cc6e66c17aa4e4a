//! The bottle's certificate authority: its key, its certificates, the trust bundle.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::support::{Client, Egress, Origin, Setup, echo, pki, system_pki, tool};
use crate::support;

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    (origin, egress)
}

/// The files of the state directory that hold a private key.
fn keys(egress: &Egress) -> Vec<PathBuf> {
    let has_key = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains("PRIVATE KEY"));
    support::files(&egress.path("state")).into_iter().filter(has_key).collect()
}

fn openssl(args: &[&str]) -> String {
    let output = Command::new(tool("openssl")).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn the_key_is_readable_for_its_owner_only_and_leaves_the_state_directory_never() {
    let (_origin, egress) = world();
    let keys = keys(&egress);
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mode = fs::metadata(&keys[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "{mode:o}");
    for file in support::files(&egress.path("trust")) {
        let bytes = fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("PRIVATE KEY"), "{}", file.display());
    }
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let (_origin, mut egress) = world();
    let key = keys(&egress).remove(0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    egress.terminate();
    egress.wait();
    let mut setup = Setup::new();
    fs::copy(&key, setup.root.path().join("state").join(key.file_name().unwrap())).unwrap();
    let copy = setup.root.path().join("state").join(key.file_name().unwrap());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    setup.policy.extra_ca.clear();
    let log = setup.fails();
    assert!(log.contains(key.file_name().unwrap().to_str().unwrap()), "{log}");
}

#[test]
fn a_key_file_that_is_none_is_told_and_not_replaced() {
    let (_origin, egress) = world();
    let name = keys(&egress).remove(0);
    let name = name.file_name().unwrap();
    let setup = Setup::new();
    let place = setup.root.path().join("state").join(name);
    fs::write(&place, "no key").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
    let log = setup.fails();
    assert!(log.contains(name.to_str().unwrap()), "{log}");
}

#[test]
fn the_authority_survives_a_restart_and_a_crash() {
    let (origin, mut egress) = world();
    // What an agent has loaded that runs already.
    let trusted = super::support::tls_config(&egress, &["http/1.1"]);
    let ask = |egress: &Egress| {
        let (_, client) = egress.connect(&origin.authority());
        let mut client = client.handshake_with(trusted.clone(), "origin.test.example").unwrap();
        client.get(&origin.authority(), "/").ok();
    };
    egress.restart();
    ask(&egress);
    egress.crash_and_restart();
    ask(&egress);
}

#[test]
fn each_bottle_has_an_authority_of_its_own() {
    let (_first, first) = world();
    let (_second, second) = world();
    assert_ne!(fs::read(first.path("trust/ca.pem")).unwrap(), fs::read(second.path("trust/ca.pem")).unwrap());
}

#[test]
fn the_certificate_is_one_of_an_authority_with_p_256() {
    let (_origin, egress) = world();
    let path = egress.path("trust/ca.pem").display().to_string();
    let text = openssl(&["x509", "-in", &path, "-noout", "-text"]);
    assert!(text.contains("prime256v1") || text.contains("P-256"), "{text}");
    assert!(text.contains("CA:TRUE"), "{text}");
    assert!(text.contains("Certificate Sign"), "{text}");
}

#[test]
fn a_leaf_is_for_one_name_with_p_256_and_a_time_that_clients_accept() {
    let (origin, egress) = world();
    let client = egress.open(&origin.authority());
    let der = egress.path("leaf.der");
    fs::write(&der, client.certificate()).unwrap();
    let der = der.display().to_string();
    let text = openssl(&["x509", "-inform", "DER", "-in", &der, "-noout", "-text"]);
    assert!(text.contains("DNS:origin.test.example"), "{text}");
    assert_eq!(text.matches("DNS:").count(), 1, "{text}");
    assert!(text.contains("prime256v1") || text.contains("P-256"), "{text}");
    assert!(text.contains("TLS Web Server Authentication"), "{text}");
    assert!(!text.contains("CA:TRUE"), "{text}");
    // Valid for an hour more, and for no more than what browsers and curl's TLS libraries take (398 days).
    openssl(&["x509", "-inform", "DER", "-in", &der, "-noout", "-checkend", "3600"]);
    let output = Command::new(tool("openssl"))
        .args(["x509", "-inform", "DER", "-in", &der, "-noout", "-checkend", "34387200"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "the leaf lives longer than 398 days");
}

#[test]
fn a_leaf_is_kept_for_the_next_connection() {
    let (origin, egress) = world();
    let first = egress.open(&origin.authority()).certificate();
    let second = egress.open(&origin.authority()).certificate();
    assert_eq!(first, second);
}

#[test]
fn names_without_end_do_not_fill_memory() {
    let (_origin, egress) = world();
    // A first flight is enough for a certificate to be made; the rest of the handshake would only cost this side.
    let refuse = |number: usize| {
        let name = format!("n{number}.example.net");
        let (_, mut client) = egress.connect(&format!("{name}:443"));
        client.send(&Client::hello(&egress, &name, true));
        client.take(5);
    };
    (0..50).for_each(refuse);
    let before = egress.memory("VmRSS");
    (50..700).for_each(refuse);
    let after = egress.memory("VmRSS");
    assert!(after < before + 6 * 1024, "{before} kB, then {after} kB");
}

#[test]
fn a_wildcard_or_strange_name_gets_no_wildcard_certificate() {
    let (_origin, egress) = world();
    for name in ["*.example.net", "*", "a b.example.net"] {
        let (response, _) = egress.connect(&format!("{name}:443"));
        assert!(response.status >= 400, "{name}: {response:?}");
    }
}

#[test]
fn the_bundle_has_the_systems_roots_the_bottles_own_and_the_ca() {
    let (_origin, egress) = world();
    let bundle = fs::read_to_string(egress.path("trust/bundle.pem")).unwrap();
    let flat = |text: &str| text.lines().collect::<String>();
    let ca = fs::read_to_string(egress.path("trust/ca.pem")).unwrap();
    for pem in [&ca, &pki().pem, &system_pki().pem] {
        assert!(flat(&bundle).contains(&flat(pem)), "{bundle}");
    }
    for name in ["ca.pem", "bundle.pem"] {
        let mode = fs::metadata(egress.path("trust").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "the agent is another user: {mode:o}");
        assert_eq!(mode & 0o022, 0, "{mode:o}");
    }
}

#[test]
fn an_extra_ca_that_is_missing_or_none_keeps_egress_from_starting() {
    let mut setup = Setup::new();
    setup.policy.extra_ca.push("/nonexistent/corp-root.pem".to_owned());
    assert!(setup.fails().contains("corp-root.pem"));
    let mut setup = Setup::new();
    let path = setup.root.path().join("no-certificate.pem");
    fs::write(&path, "hello").unwrap();
    setup.policy.extra_ca.push(path.display().to_string());
    assert!(setup.fails().contains("no-certificate.pem"));
}
