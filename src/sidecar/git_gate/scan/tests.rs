//! What the real gitleaks does with our frames. The expectations about its ways are measured facts of 8.30.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Gitleaks, RawFinding, RemoteScanner, Scan, ScanError, Scanner, Text, serve_scan};

/// The gitleaks of the machine: on the path, or where scripts/setup.sh puts it.
pub(crate) fn binary() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(cache.map(|cache| cache.join("bottle/bin")))
        .map(|directory| directory.join("gitleaks"))
        .find(|file| file.is_file())
        .expect("gitleaks is neither on the PATH nor in the cache: run scripts/setup.sh")
}

/// A scanner with the gate's own rules.
pub(crate) fn gitleaks() -> Gitleaks {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/git-gate/gitleaks.toml.j2");
    Gitleaks { binary: binary(), config, time_limit: Duration::from_mins(1) }
}

/// A key of AWS' form, put together here so that none stands in the tree.
pub(crate) fn key() -> String {
    ["AK", "IA", "Z7QRTW5N", "MX4VBSKD"].concat()
}

/// Writes a program, by a process of its own: a file that another thread's child has open for writing can't be run.
pub(crate) fn script(path: &Path, body: &str) {
    let command = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let mut shell = std::process::Command::new("sh");
    assert!(shell.args(["-c", command, "sh", body]).arg(path).status().unwrap().success());
}

fn scan(pieces: &[&[u8]]) -> Vec<RawFinding> {
    scan_with(&gitleaks(), pieces).unwrap().findings
}

fn scan_with(scanner: &dyn Scanner, pieces: &[&[u8]]) -> Result<Scan, ScanError> {
    scanner.scan(&mut |text: &mut Text<'_>| {
        (0..).zip(pieces).try_for_each(|(label, piece)| text.put(label, piece))
    })
}

fn places(findings: &[RawFinding]) -> Vec<(u64, Option<u64>)> {
    let mut places: Vec<_> = findings.iter().map(|finding| (finding.label, finding.line)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[test]
fn a_secret_is_found_wherever_it_stands() {
    let key = key();
    let plain = format!("one\ntwo {key}\n");
    let allowed = format!("{key} # gitleaks:allow\n");
    let binary = [b"PK\x03\x04\0\0", key.as_bytes(), b"\0\xff\xfe"].concat();
    let tar = [&[b'x'; 257][..], b"ustar\0", key.as_bytes()].concat();
    let little: Vec<u8> = format!("\u{feff}{key}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = key.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let odd: Vec<u8> = [b"\x01\x02\x03", &*little].concat();
    let sprinkled = key.replace('Q', "Q\0");
    let invalid = [b"\xc3\x28\xff\r\x0b\x85", key.as_bytes(), b"\xff"].concat();
    let long = "x ".repeat(1_000_000) + &key + &" y".repeat(1_000_000);
    let pieces: [&[u8]; 11] = [
        b"nothing",
        plain.as_bytes(),
        allowed.as_bytes(),
        &binary,
        &tar,
        &little,
        &big,
        &odd,
        sprinkled.as_bytes(),
        &invalid,
        long.as_bytes(),
    ];
    let mut labels: Vec<u64> = scan(&pieces).iter().map(|finding| finding.label).collect();
    labels.dedup();
    assert_eq!(labels.iter().copied().collect::<std::collections::BTreeSet<_>>(), (1..11).collect());
    assert_eq!(places(&scan(&[plain.as_bytes()])), [(0, Some(2))]);
}

#[test]
fn a_secret_across_a_frame_border_is_found() {
    let key = key();
    // Before it, with its end at it, one over it, in the middle, with its beginning at it.
    for before in [30, 20, 19, 10, 1, 0] {
        let at = super::text::FRAME - before;
        let piece = " ".repeat(at) + &key + &" ".repeat(1000);
        assert_eq!(places(&scan(&[piece.as_bytes()])), [(0, Some(1))], "at {at}");
    }
}

#[test]
fn a_key_with_empty_lines_stays_in_one_frame() {
    let (begin, end) =
        (["-----BEGIN PGP PRI", "VATE KEY BLOCK-----"].concat(), "-----END PGP PRIVATE KEY BLOCK-----");
    let piece = "a\n".repeat(30_000) + &begin + "\n\n" + &"lQOYBF".repeat(40) + "\n\n" + end;
    assert_eq!(places(&scan(&[piece.as_bytes()])), [(0, Some(30_001))]);
}

#[test]
fn a_harmless_word_beside_a_private_key_does_not_hide_it() {
    let body = "MIIEpAIBAAKCAQEA7bq98fJxJ0y5tVQ2mXo1kz3cW4uHnRdP6sLg".repeat(4);
    let pem = |kind: &str, before: &str, end: &str| {
        format!("-----BEGIN {kind}PRI{}{before}{body}\n{end}", "VATE KEY-----\n")
    };
    for text in [
        pem("RSA ", "", "-----END RSA PRIVATE KEY-----\n"),
        pem("RSA ", "Comment: false\n\n", "-----END RSA PRIVATE KEY-----\n"),
        pem("FALSE ", "", "-----END FALSE PRIVATE KEY-----\n"),
        pem("", "", ""),
    ] {
        assert!(!scan(&[text.as_bytes()]).is_empty(), "{text}");
    }
}

#[test]
fn pieces_do_not_run_into_each_other() {
    let key = key();
    let (one, two) = key.split_at(10);
    assert!(scan(&[one.as_bytes(), two.as_bytes()]).is_empty());
}

#[test]
fn the_rules_that_gitleaks_ties_to_a_path_have_a_counterpart() {
    let value = ["c3VwZXJ", "zZWNyZXQ="].concat();
    let yaml = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\ndata:\n  word: {value}\n");
    let reversed = format!("apiVersion: v1\ndata:\n  word: {value}\nkind: Secret\n");
    let nuget = format!("<add key=\"ClearTextPassword\" value=\"{}\" />", ["Tr0ub", "ador&3x"].concat());
    let terraform = format!("administrator_login_password = \"{}\"", ["Zx81", "kQp7Lm"].concat());
    let php = format!("'secret_key' => 'sk_{}',", ["aB3$dE6&hI9", "kL2!nO5@qR8(tU1)w"].concat() + "x");
    let apart = format!("kind: Secret\ntype: x\n---\nkind: ConfigMap\ndata:\n  word: {value}\n");
    assert!(scan(&[apart.as_bytes()]).is_empty());
    let pieces = [&yaml, &reversed, &nuget, &terraform, &php].map(String::as_bytes);
    let findings = scan(&pieces);
    for (label, rule) in [(0, "secret"), (1, "reversed"), (2, "nuget"), (3, "terraform"), (4, "php")] {
        let found = findings
            .iter()
            .any(|f| f.label == label && f.rule.starts_with("bottle-path") && f.rule.contains(rule));
        assert!(found, "{rule}: {findings:?}");
    }
}

#[test]
fn a_scanner_that_proves_nothing_is_a_failure() {
    let good = gitleaks();
    let missing = Gitleaks { config: "/nonexistent.toml".into(), ..good.clone() };
    let error = scan_with(&missing, &[b"x"]).unwrap_err();
    assert!(error.to_string().contains("nonexistent.toml"), "{error}");
    for program in ["/bin/true", "/bin/cat", "/nonexistent"] {
        assert!(
            scan_with(&Gitleaks { binary: program.into(), ..good.clone() }, &[b"x"]).is_err(),
            "{program}"
        );
    }
    // Rules without the canary: everything else is as it should be.
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gitleaks.toml");
    crate::fs::write_atomic(&config, b"[extend]\nuseDefault = true\n", 0o644).unwrap();
    assert!(scan_with(&Gitleaks { config, ..good.clone() }, &[b"x"]).is_err());
    let impatient = Gitleaks { time_limit: Duration::from_millis(50), ..good.clone() };
    assert!(matches!(scan_with(&impatient, &[b"x"]), Err(ScanError::TimedOut(_))));
    let broken = good.scan(&mut |_| Err(io::Error::other("no text")));
    assert!(matches!(broken, Err(ScanError::Input(_))));
}

#[test]
fn a_stuck_scanner_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("stuck");
    script(&program, "exec sleep 60");
    let stuck = Gitleaks { binary: program, time_limit: Duration::from_millis(300), ..gitleaks() };
    let started = std::time::Instant::now();
    let large = vec![b'x'; 10_000_000];
    assert!(matches!(scan_with(&stuck, &[&large]), Err(ScanError::TimedOut(_))));
    assert!(matches!(scan_with(&stuck, &[b"x"]), Err(ScanError::TimedOut(_))));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_warm_scanner_finds_the_same_and_its_absence_is_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("scan.sock");
    let scanner = RemoteScanner { socket: socket.clone(), fallback: gitleaks() };
    let key = key();
    let pieces: [&[u8]; 2] = [b"nothing", key.as_bytes()];
    let cold = scan_with(&scanner, &pieces).unwrap();
    assert_eq!((places(&cold.findings), cold.notes.len()), (vec![(1, Some(1))], 1));

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let daemon = std::thread::spawn({
        let socket = socket.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::bind(&socket).unwrap();
                tokio::select! {
                    served = serve_scan(listener, gitleaks(), |_| {}) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        }
    });
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::yield_now();
    }
    for _ in 0..3 {
        let warm = scan_with(&scanner, &pieces).unwrap();
        assert_eq!((places(&warm.findings), warm.notes.len()), (vec![(1, Some(1))], 0), "{:?}", warm.notes);
    }
    stop.send(()).unwrap();
    daemon.join().unwrap();
    assert_eq!(scan_with(&scanner, &pieces).unwrap().notes.len(), 1);
}
