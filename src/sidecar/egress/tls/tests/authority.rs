use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::fixture::{Fixture, no_roots, open, shake};
use crate::fs;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn the_key_is_for_its_owner_and_the_rest_for_everybody() {
    let fixture = Fixture::new();
    let directory = fixture.directory.path();
    assert_eq!(mode(&directory.join("ca.key")), 0o600);
    for public in ["ca.pem", "bundle.pem", "truststore.jks"] {
        assert_eq!(mode(&directory.join(public)), 0o644, "{public}");
        let bytes = fs::read(&directory.join(public)).expect("it is there");
        assert!(memchr::memmem::find(&bytes, b"PRIVATE").is_none(), "{public}");
    }
}

#[test]
fn whoever_trusts_the_authority_still_does_after_a_restart() {
    let fixture = Fixture::new();
    let client = Arc::new(fixture.client("ca.pem"));
    let again = open(fixture.directory.path()).expect("the same authority");
    shake(&client, again.server_config(), "api.example.org").expect("the certificate from before is enough");
}

#[test]
fn another_bottle_is_not_trusted() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let client = Arc::new(one.client("bundle.pem"));
    shake(&client, other.authority.server_config(), "api.example.org").expect_err("another authority");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    for open_to_others in [0o640, 0o604, 0o620, 0o677] {
        let fixture = Fixture::new();
        let key = fixture.directory.path().join("ca.key");
        set_mode(&key, open_to_others);
        let error = open(fixture.directory.path()).expect_err("it may have been read").to_string();
        assert!(error.contains("open to others") && error.contains("ca.key"), "{error}");
    }
}

#[test]
fn a_damaged_key_is_neither_used_nor_replaced() {
    let fixture = Fixture::new();
    let directory = fixture.directory.path();
    let key = directory.join("ca.key");
    let good = fs::read_to_string(&key).expect("the key");
    let cut = good.get(..good.len() / 2).expect("half of it").to_owned();
    let another_kind = good.replace("PRIVATE KEY", "CERTIFICATE");
    for damaged in [String::new(), "no key".to_owned(), cut, another_kind] {
        fs::write_atomic(&key, damaged.as_bytes(), 0o600).expect("it is ours");
        let error = open(directory).expect_err("no key").to_string();
        assert!(error.contains("ca.key") && error.contains("remove it"), "{error}");
        assert_eq!(fs::read_to_string(&key).expect("it is still there"), damaged);
    }
}

#[test]
fn an_error_about_a_key_holds_nothing_of_it() {
    let fixture = Fixture::new();
    let key = fixture.directory.path().join("ca.key");
    let good = fs::read_to_string(&key).expect("the key");
    let line = good.lines().nth(1).expect("a line of base64").to_owned();
    fs::write_atomic(&key, good.replace("-----END", "-----TO").as_bytes(), 0o600).expect("it is ours");
    let error = format!("{:?}", open(fixture.directory.path()).expect_err("no key"));
    assert!(!error.contains(&line), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let fixture = Fixture::new();
    let missing = fixture.directory.path().join("missing");
    let error = super::super::Authority::open(fixture.directory.path(), &missing, &no_roots());
    assert!(error.expect_err("no directory").to_string().contains("missing"));
}
