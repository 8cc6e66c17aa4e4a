use std::path::PathBuf;

use super::super::Roots;
use super::fixture::Fixture;
use crate::fs;

fn load(path: PathBuf) -> anyhow::Result<Roots> {
    Roots::load(&[path])
}

#[test]
fn a_file_of_the_bottle_is_trusted_and_its_text_is_not_passed_on() {
    let fixture = Fixture::new();
    let own = fs::read_to_string(&fixture.directory.path().join("ca.pem")).expect("a certificate");
    let path = fixture.directory.path().join("extra.pem");
    let crlf = own.replace('\n', "\r\n");
    fs::write_atomic(&path, format!("subject: secret remark\n{own}more\n{crlf}").as_bytes(), 0o644)
        .expect("it is ours");
    let (without, with) = (Roots::load(&[]).expect("the system's"), load(path).expect("two certificates"));
    assert_eq!(with.store.len(), without.store.len() + 2);
    assert_eq!(with.pem, format!("{}{own}{own}", without.pem));
}

#[test]
fn every_root_is_in_the_store_and_in_the_text() {
    let roots = Roots::load(&[]).expect("the system's");
    assert_eq!(roots.pem.matches("-----BEGIN CERTIFICATE-----\n").count(), roots.store.len());
    assert!(roots.pem.lines().all(|line| line.len() <= 64));
}

#[test]
fn a_file_that_is_missing_or_holds_no_certificate_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("corp.pem");
    let missing = format!("{:#}", load(path.clone()).expect_err("there is no such file"));
    assert!(missing.contains("corp.pem"), "{missing}");

    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    for text in ["", "no certificate\n", broken, cut] {
        fs::write_atomic(&path, text.as_bytes(), 0o644).expect("it is ours");
        let error = format!("{:#}", load(path.clone()).expect_err("no certificate"));
        assert!(error.contains("corp.pem") && error.contains("extra_ca"), "{error}");
    }
}
