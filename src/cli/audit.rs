//! `bottle audit`.

mod entry;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Subcommand;

use self::entry::{Entry, From};
use super::{EXIT_FAILURE, EXIT_OK};
use crate::engine::compose::{self, EGRESS, SUPERVISE, Sidecar};
use crate::fs;
use crate::sidecar::supervise::decisions::{self, time};

/// The audit logs in the containers: a sidecar, the directory in which it has them, and whose they are.
const REPORTS: [(Sidecar, &str, From); 3] = [
    (SUPERVISE, "/var/lib/bottle/egress-report", From::Egress),
    (SUPERVISE, "/var/lib/bottle/gate-report", From::Gate),
    (SUPERVISE, "/var/lib/bottle/supervise", From::Desk),
];
/// The same where a bottle has no supervise.
const ALONE: (Sidecar, &str, From) = (EGRESS, "/var/lib/bottle/egress", From::Egress);
/// Prints the logs of a directory, the oldest first. The names are our own.
const PRINT: &str = "for file in audit.jsonl.3 audit.jsonl.2 audit.jsonl.1 audit.jsonl decisions.jsonl; do \
                     [ ! -f \"$file\" ] || cat \"$file\"; done";

/// Read what was allowed, refused and decided
///
/// Egress's lines, the git gate's and the operator's decisions, in the order of their time. Where a grant allowed a
/// request, the line names the agent's request for it.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// The log to read (can be repeated) [default: those of the Compose project in the working directory]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Only what is not older than TIME: RFC 3339, or how long ago, such as `90s`, `15m`, `8h` or `7d`
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,

    /// Only what was refused with this reason code, or decided so (can be repeated)
    #[arg(long, value_name = "CODE")]
    code: Vec<String>,

    /// Only what belongs to this request or grant
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that no decision of a log was changed, taken out or moved
    Verify {
        /// The log of decisions
        file: PathBuf,

        /// The hash that the last line must have; without it a log that lacks its end passes
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

/// Reads or checks.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { command, files, since, code, id, json } = args;
    if let Some(Command::Verify { file, head }) = command {
        return verify(&file, head.as_deref());
    }
    let mut logs = Logs::default();
    if files.is_empty() {
        logs.read_containers()?;
    }
    for path in &files {
        logs.add(None, &fs::read(path)?);
    }
    let Logs { mut entries, unread } = logs;
    entries.sort_by_key(|entry| entry.millis);
    let requests = join(&mut entries);
    // A grant's id stands for the request that it came from.
    let id = id.map(|id| requests.get(&id).cloned().unwrap_or(id));
    let wanted = |entry: &&Entry| {
        since.is_none_or(|since| entry.millis >= since)
            && (code.is_empty() || code.iter().any(|code| entry.has_code(code)))
            && id.as_deref().is_none_or(|id| entry.belongs_to(id))
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in entries.iter().filter(wanted) {
        writeln!(out, "{}", if json { entry.json() } else { entry.text() })?;
    }
    out.flush()?;
    if unread > 0 {
        let lines = if unread == 1 { "line is none" } else { "lines are none" };
        writeln!(std::io::stderr(), "warning: {unread} {lines} of an audit log")?;
    }
    Ok(EXIT_OK)
}

#[derive(Default)]
struct Logs {
    entries: Vec<Entry>,
    /// How many lines could not be understood.
    unread: usize,
}

impl Logs {
    fn read_containers(&mut self) -> Result<()> {
        let print =
            |sidecar, directory| compose::exec(sidecar, &["sh", "-c", &format!("cd {directory} && {PRINT}")]);
        let [first, ..] = REPORTS;
        // A bottle that has no supervise has only this one.
        if let Err(error) = print(first.0, "/") {
            let (sidecar, directory, from) = ALONE;
            let text = print(sidecar, directory).map_err(|_| error)?;
            self.add(Some(from), &text);
            return Ok(());
        }
        for (sidecar, directory, from) in REPORTS {
            self.add(Some(from), &print(sidecar, directory)?);
        }
        Ok(())
    }

    fn add(&mut self, from: Option<From>, bytes: &[u8]) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read: Vec<_> = lines.map(Entry::read).collect();
        // What only one sidecar writes tells whose the whole log is.
        let from = from.or_else(|| read.iter().flatten().find_map(Entry::writer));
        for entry in read {
            match entry {
                Some(mut entry) => {
                    entry.from = entry.writer().or(from);
                    self.entries.push(entry);
                }
                None => self.unread += 1,
            }
        }
    }
}

/// Tells each entry that was allowed by a grant which request that was; gives the requests by grant.
fn join(entries: &mut [Entry]) -> HashMap<String, String> {
    let pairs = entries.iter().filter_map(Entry::granted);
    let requests: HashMap<_, _> =
        pairs.map(|(grant, request)| (grant.to_owned(), request.to_owned())).collect();
    for entry in entries {
        let request = entry.grants().find_map(|grant| requests.get(grant).cloned());
        entry.request = request;
    }
    requests
}

fn verify(file: &std::path::Path, head: Option<&str>) -> Result<u8> {
    let mut stderr = std::io::stderr();
    let chain = match decisions::verify(file)? {
        Ok(chain) => chain,
        Err(broken) => {
            writeln!(stderr, "error: `{}`: {broken}", file.display())?;
            return Ok(EXIT_FAILURE);
        }
    };
    if let Some(head) = head.filter(|head| *head != chain.head) {
        writeln!(stderr, "error: `{}`: it ends with {}, and not with {head}", file.display(), chain.head)?;
        return Ok(EXIT_FAILURE);
    }
    let mut out = std::io::stdout();
    match chain.decisions {
        Some((first, last)) => writeln!(out, "whole: decisions {first} to {last}, head {}", chain.head)?,
        None => writeln!(out, "whole: no decisions")?,
    }
    if chain.torn {
        writeln!(stderr, "warning: the last line is cut short; supervise completes it when it starts")?;
    }
    Ok(EXIT_OK)
}

/// Reads a point in time, in milliseconds since the epoch.
fn since(text: &str) -> Result<u64> {
    if let Some(millis) = time::read(text) {
        return Ok(millis);
    }
    let unit = text.chars().last().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    });
    let number = text.get(..text.len().saturating_sub(1)).and_then(|digits| digits.parse::<u64>().ok());
    let ago = unit.zip(number).and_then(|(unit, number)| number.checked_mul(unit));
    let ago = ago.context("it is neither a time such as `2026-01-02T03:04:05Z` nor one such as `15m`")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(now.saturating_sub(Duration::from_secs(ago)).as_millis()).unwrap_or(u64::MAX))
}
