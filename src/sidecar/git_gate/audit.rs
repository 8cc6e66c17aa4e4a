//! The gate's audit log: one line of JSON for each fetch and each push that was decided, in the report directory. The
//! format is documented in `docs/src/audit.md`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::wire::Service;
use crate::policy::reason::Reason;
use crate::sidecar::audit::{FILE, Line, MAX_BYTES, Queue, Readers, Rotated};

/// The most refs, findings or rules that one line names.
pub(super) const MOST: usize = 50;

/// What a hook has decided about a push. Its texts are fit for a terminal and hold no secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    /// The code of the first reason against it; none where the upstream has taken it.
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// What is wrong.
    #[serde(default)]
    pub(super) detail: Option<String>,
    /// The rules that decided.
    #[serde(default)]
    pub(super) rules: Vec<String>,
    /// The refs.
    #[serde(default)]
    pub(super) refs: Vec<String>,
    /// What the push does to them, where that is known.
    #[serde(default)]
    pub(super) operations: Vec<String>,
    /// The ids of the secrets that were found.
    #[serde(default)]
    pub(super) findings: Vec<String>,
    /// The ids of those that a grant let pass.
    #[serde(default)]
    pub(super) allowed: Vec<String>,
}

/// A decision and what it is about.
pub(super) struct Record<'a> {
    pub(super) id: &'a str,
    /// None where the first line was no request.
    pub(super) service: Option<Service>,
    pub(super) repository: &'a str,
    pub(super) decision: &'a Decision,
    /// From the first byte on.
    pub(super) took: Duration,
}

/// The log.
#[derive(Debug)]
pub(super) struct Audit {
    file: Queue,
    generation: AtomicU64,
}

impl Audit {
    /// Opens the log in the directory and starts the thread that writes it.
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        let file = Rotated::open(directory.join(FILE), Readers::All, MAX_BYTES)?;
        Ok(Self { file: Queue::start("audit-file", file)?, generation: AtomicU64::new(0) })
    }

    /// Records that the gate listens.
    pub(super) fn start(&self, listen: std::net::SocketAddr) {
        self.add("start", |line| {
            line.text("program", concat!("bottle ", env!("CARGO_PKG_VERSION")))
                .plain("generation", self.generation())
                .plain("listen", format_args!("\"{listen}\""));
        });
    }

    /// Records that other grants are in force, or that something else is wrong with their files.
    pub(super) fn policy(&self, generation: u64, problem: Option<&str>) {
        self.generation.store(generation, Ordering::Relaxed);
        self.add("policy", |line| {
            line.plain("generation", generation).maybe("problem", problem);
        });
    }

    /// Records a decision. Never waits.
    pub(super) fn record(&self, record: &Record<'_>) {
        let Record { id, service, repository, decision, took } = record;
        let event = match service {
            Some(Service::UploadPack) => "fetch",
            Some(Service::ReceivePack) => "push",
            None => "connection",
        };
        let Decision { reason, detail, rules, refs, operations, findings, allowed } = decision;
        self.add(event, |line| {
            line.text("id", id).plain("generation", self.generation());
            line.text("decision", verdict(reason.as_deref())).maybe("reason", reason.as_deref());
            line.maybe("rule", rules.first().map(String::as_str)).maybe("detail", detail.as_deref());
            line.maybe("repository", Some(repository));
            line.texts("rules", if rules.len() > 1 { rules } else { &[] });
            line.texts("refs", refs).texts("operations", operations);
            line.texts("findings", findings).texts("allowed", allowed);
            line.plain("total_us", took.as_micros());
        });
    }

    fn add(&self, event: &str, fields: impl FnOnce(&mut Line<'_>)) {
        let mut text = Vec::new();
        let mut line = Line::new(&mut text, event);
        fields(&mut line);
        line.end();
        self.file.push(&text);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Records the end and writes what is left, no longer than `limit`.
    pub(super) fn close(&self, limit: Duration) {
        self.add("shutdown", |_| {});
        self.file.close(Instant::now() + limit);
    }
}

/// `deny` where what was asked for was the cause, `fail` where it was allowed and something else kept it from its end.
fn verdict(code: Option<&str>) -> &'static str {
    let Some(code) = code else { return "allow" };
    match code.parse() {
        Ok(
            Reason::ScanFailed
            | Reason::UpstreamAuth
            | Reason::UpstreamDown
            | Reason::UpstreamMoved
            | Reason::UpstreamRefused
            | Reason::UpstreamTls
            | Reason::HostKeyMismatch
            | Reason::CredentialMissing
            | Reason::GateFailed,
        ) => "fail",
        _ => "deny",
    }
}
