use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Audit, Done, Event, Noted, Record};
use crate::policy::egress::Scheme;
use crate::policy::reason::Reason;
use crate::sidecar::audit::{self, Readers, Rotated, Target};

/// How long something may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A target that passes on what it gets, and takes nothing while nobody lets it.
struct Tap {
    permits: Option<Receiver<()>>,
    lines: Sender<Value>,
    part: Vec<u8>,
}

impl Target for Tap {
    fn begin(&mut self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(permits) = &self.permits {
            permits.recv().map_err(io::Error::other)?;
        }
        self.part.extend_from_slice(bytes);
        while let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.part.drain(..=end).collect();
            // The test may have seen enough.
            drop(self.lines.send(serde_json::from_slice(&line).expect("a line is JSON")));
        }
        Ok(bytes.len())
    }
}

fn tap() -> (Tap, Receiver<Value>) {
    let (lines, seen) = channel();
    (Tap { permits: None, lines, part: Vec::new() }, seen)
}

/// The same, but each write waits for a permit.
fn slow_tap() -> (Tap, Sender<()>, Receiver<Value>) {
    let (tap, seen) = tap();
    let (permit, permits) = channel();
    (Tap { permits: Some(permits), ..tap }, permit, seen)
}

fn next(seen: &Receiver<Value>) -> Value {
    seen.recv_timeout(PATIENCE).expect("a line comes in time")
}

fn record(id: &str) -> Record {
    Record { id: id.to_owned(), host: "a.example.org".to_owned(), port: 443, ..Record::default() }
}

/// Waits until a condition holds.
fn eventually(mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "not in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Enough records to fill a queue more than once.
fn flood(audit: &Audit) -> u64 {
    let many = 3 * audit::MAX_QUEUE / 200;
    for _ in 0..many {
        audit.record(record("flood"));
    }
    many as u64
}

#[test]
fn a_decision_is_one_line_on_both_targets() {
    let ((stdout, seen), (file, filed)) = (tap(), tap());
    let audit = Audit::start(stdout, file).unwrap();
    audit.record(Record {
        id: "7".to_owned(),
        generation: 3,
        scheme: Scheme::Https,
        host: "api.example.org".to_owned(),
        port: 8443,
        method: "POST".to_owned(),
        path: "/v1/\"\n".to_owned(),
        version: "HTTP/2.0",
        reason: Some(Reason::PathDenied),
        rule: Some("bottle.yaml:7".to_owned()),
        detail: Some("no route".to_owned()),
        credential: Some("token".to_owned()),
        replaced: true,
        scans: Some((2, 50)),
        scanned: 9,
        unread: true,
        found: [
            ("token:a:0123456789abcdef", Done::Covered),
            ("token:b:0123456789abcdef", Done::Refused),
            ("token:c:0123456789abcdef", Done::Passed),
        ]
        .map(|(id, done)| Noted { id: id.parse().unwrap(), done })
        .to_vec(),
        status: Some(403),
        sent: 1,
        received: 2,
        micros: (Some(30), 40),
    });
    let mut line = next(&seen);
    assert_eq!(line, next(&filed));
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    assert_eq!(time.as_str().unwrap().len(), "2026-01-02T03:04:05.678Z".len());
    let expected = serde_json::json!({
        "v": 1, "event": "request", "id": "7", "generation": 3, "decision": "deny", "reason": "path-denied",
        "rule": "bottle.yaml:7", "detail": "no route", "scheme": "https", "host": "api.example.org", "port": 8443,
        "method": "POST", "path": "/v1/\"\n", "http": "HTTP/2.0", "status": 403, "credential": "token",
        "replaced": true, "scanner": "allow", "scans": 2, "scans_us": 50, "findings": ["token:a:0123456789abcdef", "token:b:0123456789abcdef", "token:c:0123456789abcdef"],
        "covered": ["token:a:0123456789abcdef"], "passed": ["token:c:0123456789abcdef"], "scanned": 9, "unread": true, "sent": 1, "received": 2, "head_us": 30, "total_us": 40,
    });
    assert_eq!(line, expected);
    // What is documented is what there is: the rest of a debug build sees that nothing else is written.
    let documented = audit::shape::Event::named("request").unwrap().fields.iter();
    let missing: Vec<_> = documented.filter(|field| line.get(field.name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(audit.bytes(), (1, 2));
}

#[test]
fn a_request_is_allowed_denied_or_failed() {
    let ((stdout, seen), (file, _filed)) = (tap(), tap());
    let audit = Audit::start(stdout, file).unwrap();
    for (reason, word) in [
        (None, "allow"),
        (Some(Reason::RouteMissing), "deny"),
        (Some(Reason::EgressBusy), "deny"),
        (Some(Reason::AddressPrivate), "deny"),
        (Some(Reason::UpstreamTimeout), "fail"),
        (Some(Reason::CredentialMissing), "fail"),
    ] {
        audit.record(Record { reason, ..record("1") });
        assert_eq!(next(&seen)["decision"], word, "{reason:?}");
    }
}

#[test]
fn events_are_lines_too() {
    let ((stdout, seen), (file, _filed)) = (tap(), tap());
    let audit = Audit::start(stdout, file).unwrap();
    let address = "127.0.0.1:8080".parse().unwrap();
    audit.event(Event::Start { generation: 1, listen: address, admin: address });
    audit.event(Event::Policy { generation: 2, problem: Some("policy.yaml:3:1: no") });
    audit.event(Event::Policy { generation: 2, problem: None });
    audit.event(Event::Panic { place: "src/x.rs:1:2" });
    audit.event(Event::Shutdown { graceful: true });
    let lines: Vec<_> = (0..5).map(|_| next(&seen)).collect();
    assert_eq!(lines[0]["event"], "start");
    assert_eq!(lines[0]["listen"], "127.0.0.1:8080");
    assert_eq!(lines[1]["problem"], "policy.yaml:3:1: no");
    assert!(lines[2].get("problem").is_none());
    assert_eq!(lines[3]["place"], "src/x.rs:1:2");
    assert_eq!(lines[4]["graceful"], true);
}

#[test]
fn a_reader_of_stdout_that_stopped_reading_stops_neither_the_file_nor_the_proxy() {
    let (stdout, permit, seen) = slow_tap();
    let (file, filed) = tap();
    let audit = Audit::start(stdout, file).unwrap();
    audit.record(record("first"));
    assert_eq!(next(&filed)["id"], "first");
    let start = Instant::now();
    let many = flood(&audit);
    assert!(start.elapsed() < PATIENCE);
    let [stdout, _] = audit.health();
    assert!(stdout.dropped > 0);
    assert_eq!(stdout.failure, None);
    let mut more = 0;
    eventually(|| {
        audit.record(record("more"));
        more += 1;
        filed.try_iter().any(|line| line["id"] == "more")
    });
    // It reads again: everything that was kept comes in order, then the number of what wasn't.
    for _ in 0..3 {
        // The thread may have ended by the last.
        let _ = permit.send(());
    }
    assert_eq!(next(&seen)["id"], "first");
    let mut kept = 0;
    let dropped = loop {
        let line = next(&seen);
        if line["event"] == "dropped" {
            break line["count"].as_u64().unwrap();
        }
        assert_eq!(line["id"], "flood");
        kept += 1;
    };
    // What came after the flood found no room either.
    assert_eq!(kept + dropped, many + more);
}

#[test]
fn a_full_disk_is_told_and_stops_nothing() {
    let (stdout, seen) = tap();
    let full = Rotated::open(Path::new("/dev/full").to_owned(), Readers::Owner, audit::MAX_BYTES).unwrap();
    let audit = Audit::start(stdout, full).unwrap();
    audit.record(record("1"));
    assert_eq!(next(&seen)["id"], "1");
    eventually(|| audit.health()[1].failure.is_some());
    let [stdout, file] = audit.health();
    assert_eq!(stdout.failure, None);
    assert!(file.failure.unwrap().contains("No space left"), "ENOSPC has that text");
    flood(&audit);
    assert!(audit.health()[1].dropped > 0);
    let start = Instant::now();
    audit.close(PATIENCE);
    assert!(start.elapsed() < PATIENCE, "a target that fails does not use up the time");
}

#[test]
fn a_target_that_works_again_gets_what_was_kept() {
    /// Fails until the test says otherwise, and takes a few bytes at a time.
    struct Flaky(Receiver<()>, Tap);

    impl Target for Flaky {
        fn begin(&mut self, _bytes: usize) -> io::Result<()> {
            self.0.try_recv().map_err(io::Error::other)
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(&bytes[..bytes.len().min(7)])
        }
    }

    let ((stdout, _seen), (file, filed)) = (tap(), tap());
    let (mend, mended) = channel();
    let audit = Audit::start(stdout, Flaky(mended, file)).unwrap();
    audit.record(record("kept"));
    eventually(|| audit.health()[1].failure.is_some());
    mend.send(()).unwrap();
    assert_eq!(next(&filed)["id"], "kept");
    eventually(|| audit.health()[1].failure.is_none());
}

#[test]
fn what_was_recorded_is_written_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let (stdout, _seen) = tap();
    let audit =
        Audit::start(stdout, Rotated::open(path.clone(), Readers::Owner, audit::MAX_BYTES).unwrap()).unwrap();
    for number in 0..100 {
        audit.record(record(&number.to_string()));
    }
    audit.close(PATIENCE);
    let text = crate::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 100);
}

#[test]
fn an_end_does_not_wait_for_a_reader_that_stopped_reading() {
    let (stdout, _permit, _seen) = slow_tap();
    let (file, filed) = tap();
    let audit = Audit::start(stdout, file).unwrap();
    audit.record(record("1"));
    audit.close(Duration::from_millis(50));
    assert_eq!(next(&filed)["id"], "1");
}

#[test]
fn the_log_is_readable_only_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    Rotated::open(path.clone(), Readers::Owner, audit::MAX_BYTES).unwrap();
    assert_eq!(crate::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
