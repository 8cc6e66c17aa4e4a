//! `/metrics`: the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use http::StatusCode;

use super::Page;
use crate::fs;
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::pipelock::Figures;

/// The text in the making.
struct Text(String);

pub(super) fn page(egress: &Egress) -> Page {
    let metrics = &egress.metrics;
    let (sent, received) = egress.audit.bytes();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut text = Text(String::with_capacity(4096));
    text.counter(
        "connections_total",
        "Connections of the agent that were accepted.",
        load(&metrics.connections),
    );
    text.gauge("connections_open", "Connections of the agent that are open.", load(&metrics.open));
    text.counter("requests_allowed_total", "Requests that the policy allowed.", load(&metrics.allowed));
    text.family("requests_refused_total", "counter", "Requests that egress answered itself, by reason code.");
    for (reason, count) in metrics.refusals() {
        text.sample("requests_refused_total", Some(("reason", reason.code())), count);
    }
    text.counter("sent_bytes_total", "Bytes of request bodies that were sent upstream.", sent);
    text.counter("received_bytes_total", "Bytes of response bodies that were sent to the agent.", received);
    let Figures { allowed, denied, unavailable, under_way, connections, micros } = egress.scanner.figures();
    text.family("scans_total", "counter", "Questions to the second scanner, by verdict.");
    for (verdict, count) in [("allow", allowed), ("deny", denied), ("none", unavailable)] {
        text.sample("scans_total", Some(("verdict", verdict)), load(count));
    }
    text.gauge("scans_under_way", "Questions to the second scanner without a verdict yet.", load(under_way));
    text.counter("scan_microseconds_total", "How long verdicts took together.", load(micros));
    text.counter(
        "scan_connections_total",
        "Connections to the second scanner that were made.",
        load(connections),
    );
    text.counter(
        "scanned_bytes_total",
        "Bytes of requests that were searched for secrets.",
        load(&metrics.scanned),
    );
    text.family(
        "secrets_total",
        "counter",
        "Secrets that were found in requests, by what was done about them.",
    );
    for (done, count) in metrics.findings() {
        text.sample("secrets_total", Some(("done", done.word())), count);
    }
    text.counter("panics_total", "Tasks that ended in a panic.", load(&metrics.panics));
    text.family("audit_dropped_total", "counter", "Lines of the audit log that found no room, by target.");
    let audit = egress.audit.health();
    for target in &audit {
        text.sample("audit_dropped_total", Some(("target", target.name)), target.dropped);
    }
    text.family("audit_failing", "gauge", "Whether a target of the audit log can't be written, by target.");
    for target in &audit {
        text.sample("audit_failing", Some(("target", target.name)), u8::from(target.failure.is_some()));
    }
    let snapshot = egress.live.now();
    text.gauge("policy_generation", "The generation of the policy in force.", snapshot.generation);
    text.gauge(
        "policy_problem",
        "Whether a file of the policy is wrong.",
        u8::from(egress.live.problem().is_some()),
    );
    text.gauge("grants", "Grants that are in force.", snapshot.grants.len());
    let missing = snapshot.credentials.missing().len();
    text.gauge("credentials_missing", "Credentials that are missing or unreadable.", missing);
    text.gauge("uptime_seconds", "Seconds since the start.", metrics.start.elapsed().as_secs());
    if let Some(bytes) = resident() {
        text.gauge("resident_memory_bytes", "Memory of the process that is in RAM.", bytes);
    }
    Page { status: StatusCode::OK, kind: "text/plain; version=0.0.4; charset=utf-8", body: text.0 }
}

impl Text {
    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, None, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, None, value);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A String takes everything that is written to it.
        let _ = writeln!(self.0, "# HELP bottle_egress_{name} {help}\n# TYPE bottle_egress_{name} {kind}");
    }

    /// Labels are words of our own, which need no escape.
    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = match label {
            Some((label, word)) => writeln!(self.0, "bottle_egress_{name}{{{label}=\"{word}\"}} {value}"),
            None => writeln!(self.0, "bottle_egress_{name} {value}"),
        };
    }
}

/// The bytes of the process that are in RAM, as `proc_pid_status(5)` says.
fn resident() -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
