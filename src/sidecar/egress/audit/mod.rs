//! The audit log: one JSON object a line for each decision, on stdout and in a file of the report directory, or of the
//! state directory where there is none. The format is documented in `docs/src/audit.md`.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::StatusCode;

use super::refusal::Refusal;
use crate::policy::ask::Ask;
use crate::policy::egress::Scheme;
use crate::policy::reason::Reason;
use crate::policy::secret::SecretId;
use crate::sidecar::audit::{self, FILE, Line, Queue, Readers, Rotated, Target};
use crate::sidecar::supervise::decisions::printable;

/// The most bytes of the buffer that is kept from line to line.
const KEPT: usize = 16 << 10;

/// One decision, recorded when the request has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The request's id, the same as in the answer's body.
    pub(crate) id: String,
    /// The generation of the policy that decided.
    pub(crate) generation: u64,
    /// The scheme.
    pub(crate) scheme: Scheme,
    /// The host.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// The method; empty where none was read.
    pub(crate) method: String,
    /// The path without the query; empty where none was read.
    pub(crate) path: String,
    /// The HTTP version of the agent's request, such as `HTTP/2.0`.
    pub(crate) version: &'static str,
    /// None where it was allowed.
    pub(crate) reason: Option<Reason>,
    /// The rule that decided, as `file:line`.
    pub(crate) rule: Option<String>,
    /// What happened, for people.
    pub(crate) detail: Option<String>,
    /// The credential that was used.
    pub(crate) credential: Option<String>,
    /// Whether a value of the agent's was dropped for it.
    pub(crate) replaced: bool,
    /// How often the second scanner was asked, and how long that took, in microseconds.
    pub(crate) scans: Option<(u32, u64)>,
    /// How many bytes of the request were searched for secrets; those that were unpacked count too.
    pub(crate) scanned: u64,
    /// Whether the body was packed in an unknown way, so that only what was sent was searched.
    pub(crate) unread: bool,
    /// The secrets that were found.
    pub(crate) found: Vec<Noted>,
    /// The status that the agent got.
    pub(crate) status: Option<u16>,
    /// Bytes of the request's body that were sent upstream.
    pub(crate) sent: u64,
    /// Bytes of the response's body that were sent to the agent.
    pub(crate) received: u64,
    /// From the request's head to the response's head, and to the end, in microseconds.
    pub(crate) micros: (Option<u64>, u64),
}

/// A secret that was found, without anything of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Noted {
    /// Which one.
    pub(crate) id: SecretId,
    /// What was done about it.
    pub(crate) done: Done,
}

/// What was done about a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Done {
    /// The request was refused.
    Refused,
    /// It was covered.
    Covered,
    /// A grant let it pass.
    Passed,
}

impl Done {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Refused, Self::Covered, Self::Passed];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Covered => "covered",
            Self::Passed => "passed",
        }
    }
}

/// What is recorded beside decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// Egress listens.
    Start {
        /// The generation of the policy.
        generation: u64,
        /// The address for the agent.
        listen: SocketAddr,
        /// The admin address.
        admin: SocketAddr,
    },
    /// Another policy is in force, or what is wrong with its files has changed.
    Policy {
        /// The generation in force.
        generation: u64,
        /// What is wrong.
        problem: Option<&'a str>,
    },
    /// The operator entered a credential, or removed one that was entered.
    Credential {
        /// Its name.
        name: &'a str,
        /// `entered` or `removed`; none where that failed.
        done: Option<&'static str>,
        /// Why it failed.
        problem: Option<&'a str>,
    },
    /// A request is held while the operator is asked. Its own line follows when it has ended.
    Held {
        /// What is known of it.
        record: &'a Record,
        /// What could be approved, for supervise to ask the operator.
        ask: Option<&'a Ask>,
    },
    /// A task ended in a panic.
    Panic {
        /// Where in the program.
        place: &'a str,
    },
    /// Egress ends.
    Shutdown {
        /// Whether everything that was under way came to its own end.
        graceful: bool,
    },
}

/// The audit log.
#[derive(Debug)]
pub(crate) struct Audit {
    stdout: Queue,
    file: Queue,
    /// The line in the making, kept for its memory.
    line: Mutex<Vec<u8>>,
    sent: AtomicU64,
    received: AtomicU64,
}

/// How one of the two targets of the log is.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    /// Its name.
    pub(crate) name: &'static str,
    /// How many lines it lost.
    pub(crate) dropped: u64,
    /// Why it can't be written now.
    pub(crate) failure: Option<String>,
}

impl Audit {
    /// Opens the log in the directory and starts the threads that write it.
    ///
    /// # Errors
    ///
    /// The directory can't be written.
    pub(crate) fn open(directory: &Path, readers: Readers) -> anyhow::Result<Self> {
        let file = Rotated::open(directory.join(FILE), readers, audit::MAX_BYTES)?;
        // Not through std's buffer: it would hold lines that this side takes for written.
        let stdout = io::stdout().as_fd().try_clone_to_owned().context("could not use stdout")?;
        Ok(Self::start(Pipe(stdout.into()), file)?)
    }

    fn start(stdout: impl Target, file: impl Target) -> io::Result<Self> {
        let (stdout, file) = (Queue::start("audit-stdout", stdout)?, Queue::start("audit-file", file)?);
        Ok(Self {
            stdout,
            file,
            line: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// Records a decision. Never waits: what can't be written is counted, and the count is written when it can be.
    pub(crate) fn record(&self, record: Record) {
        self.sent.fetch_add(record.sent, Ordering::Relaxed);
        self.received.fetch_add(record.received, Ordering::Relaxed);
        self.add(|out| request(record, out));
    }

    /// Records something else. Never waits either.
    pub(crate) fn event(&self, event: Event<'_>) {
        self.add(|out| match event {
            Event::Start { generation, listen, admin } => Line::new(out, "start")
                .text("program", concat!("bottle ", env!("CARGO_PKG_VERSION")))
                .plain("generation", generation)
                .plain("listen", format_args!("\"{listen}\""))
                .plain("admin", format_args!("\"{admin}\""))
                .end(),
            Event::Policy { generation, problem } => {
                Line::new(out, "policy").plain("generation", generation).maybe("problem", problem).end();
            }
            Event::Credential { name, done, problem } => Line::new(out, "credential")
                .text("credential", name)
                .maybe("done", done)
                .maybe("problem", problem)
                .end(),
            Event::Held { record, ask } => {
                let mut line = Line::new(out, "held");
                line.text("id", &record.id).plain("generation", record.generation);
                line.text("scheme", scheme(record.scheme)).text("host", &record.host);
                line.plain("port", record.port).maybe("method", Some(&record.method));
                line.maybe("path", Some(&record.path));
                if let Some(ask) = ask.and_then(|ask| serde_json::to_string(ask).ok()) {
                    line.plain("ask", printable(&ask));
                }
                line.end();
            }
            Event::Panic { place } => Line::new(out, "panic").text("place", place).end(),
            Event::Shutdown { graceful } => Line::new(out, "shutdown").plain("graceful", graceful).end(),
        });
    }

    fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.clear();
        write(&mut line);
        self.stdout.push(&line);
        self.file.push(&line);
        line.shrink_to(KEPT);
    }

    /// How the log's targets are.
    pub(crate) fn health(&self) -> [Health; 2] {
        [("stdout", &self.stdout), ("file", &self.file)].map(|(name, queue)| Health {
            name,
            dropped: queue.dropped(),
            failure: queue.failure(),
        })
    }

    /// Bytes of bodies that were sent upstream and to the agent, by requests that have ended.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Writes what is left, no longer than `limit`.
    pub(crate) fn close(&self, limit: Duration) {
        let limit = Instant::now() + limit;
        self.file.close(limit);
        self.stdout.close(limit);
    }
}

/// Stdout: a pipe to the engine, a file or a terminal.
struct Pipe(File);

impl Target for Pipe {
    fn begin(&mut self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut self.0, bytes)
    }
}

/// Writes the line of a decision.
fn request(record: Record, out: &mut Vec<u8>) {
    let Record {
        id,
        generation,
        scheme,
        host,
        port,
        method,
        path,
        version,
        reason,
        rule,
        detail,
        credential,
        replaced,
        scans,
        scanned,
        unread,
        found,
        status,
        sent,
        received,
        micros: (head, total),
    } = record;
    let mut line = Line::new(out, "request");
    line.text("id", &id).plain("generation", generation).text("decision", decision(reason));
    line.maybe("reason", reason.map(Reason::code)).maybe("rule", rule.as_deref());
    line.maybe("detail", detail.as_deref());
    line.text("scheme", self::scheme(scheme));
    line.text("host", &host).plain("port", port);
    line.maybe("method", Some(&method)).maybe("path", Some(&path)).maybe("http", Some(version));
    if let Some(status) = status {
        line.plain("status", status);
    }
    line.maybe("credential", credential.as_deref());
    if replaced {
        line.plain("replaced", true);
    }
    if let Some((scans, micros)) = scans {
        line.text("scanner", verdict(reason)).plain("scans", scans).plain("scans_us", micros);
    }
    findings(&mut line, &found);
    line.plain("scanned", scanned);
    if unread {
        line.plain("unread", true);
    }
    line.plain("sent", sent).plain("received", received);
    if let Some(head) = head {
        line.plain("head_us", head);
    }
    line.plain("total_us", total).end();
}

/// Writes what was found: the ids, and beside them those that went on, covered or as they were.
fn findings(line: &mut Line<'_>, found: &[Noted]) {
    let ids = |wanted: &dyn Fn(Done) -> bool| {
        let ids = found.iter().filter(|noted| wanted(noted.done)).map(|noted| format!("\"{}\"", noted.id));
        ids.collect::<Vec<_>>().join(",")
    };
    let lists = [
        ("findings", ids(&|_| true)),
        ("covered", ids(&|done| done == Done::Covered)),
        ("passed", ids(&|done| done == Done::Passed)),
    ];
    for (name, ids) in lists.iter().filter(|(_, ids)| !ids.is_empty()) {
        line.plain(name, format_args!("[{ids}]"));
    }
}

fn scheme(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Https => "https",
        Scheme::Http => "http",
    }
}

/// What the second scanner said in the end, where it was asked.
fn verdict(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::ScannerDenied) => "deny",
        Some(Reason::ScannerUnavailable) => "none",
        _ => "allow",
    }
}

/// `deny` where the request was the cause, `fail` where it was allowed and something behind egress kept it from its
/// answer: the same line that the statuses draw.
fn decision(reason: Option<Reason>) -> &'static str {
    match reason.map(|reason| Refusal::new(reason, "").status()) {
        None => "allow",
        Some(StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) => "fail",
        Some(_) => "deny",
    }
}
