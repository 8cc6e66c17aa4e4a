//! Requests that egress holds, as they come into its audit log: the operator is asked by itself what would let them pass.
//!
//! The agent has said nothing, so the desk marks them and keeps them to a room of their own.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::ask::Ask;
use super::desk::Desk;
use super::rule::Enforcer;
use crate::fs;
use crate::policy::reason::Reason;
use crate::sidecar::audit::FILE;
use crate::sidecar::log;

/// How often the log is looked at: a request is held for some seconds only.
const PERIOD: Duration = Duration::from_millis(200);
/// How much is read at a time.
const BLOCK: u64 = 64 << 10;
/// The most blocks of one look; what is behind them comes with the next one.
const MOST: usize = 64;
/// The most bytes of a line.
const MAX_LINE: usize = 64 << 10;
/// What every line has that is looked for. No text in a line can hold it: its quotes would be escaped.
const MARK: &[u8] = b"\"event\":\"held\"";

/// What counts of a line.
#[derive(Deserialize)]
struct Line {
    event: String,
    ask: Option<Ask>,
}

/// Follows the log for ever.
pub(super) async fn follow(desk: &Desk) {
    let Some(report) = desk.places().report(Enforcer::Egress) else {
        return std::future::pending().await;
    };
    let mut tail = Tail::of(report.join(FILE));
    let mut told = String::new();
    loop {
        tail.look(|line| take(desk, line, &mut told));
        tokio::time::sleep(PERIOD).await;
    }
}

/// Has the operator asked. A refusal is nobody's answer here: the request is refused in any case when nobody approves.
fn take(desk: &Desk, line: &[u8], told: &mut String) {
    let line = serde_json::from_slice(line).ok().filter(|line: &Line| line.event == "held");
    let Some(ask) = line.and_then(|line| line.ask) else { return };
    match desk.held(ask) {
        // Once, not for each of them.
        Err(refused) if refused.reason == Reason::StoreFailed && *told != refused.message => {
            log::line("supervise", &format!("a held request could not be shown: {refused}"));
            *told = refused.message;
        }
        Ok(_) | Err(_) => {}
    }
}

/// The end of a log that is renamed when it is full.
struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line that is not complete.
    rest: Vec<u8>,
}

impl Tail {
    /// What comes after this moment.
    fn of(path: PathBuf) -> Self {
        let mut file = fs::open_itself(&path).ok();
        if file.as_mut().is_some_and(|file| file.seek(SeekFrom::End(0)).is_err()) {
            file = None;
        }
        Self { path, file, rest: Vec::new() }
    }

    /// Gives each line that has come and may be one of a held request.
    fn look(&mut self, mut take: impl FnMut(&[u8])) {
        // First what is left of the file that is open, also if it has another name by now.
        if self.read(&mut take) && self.is_replaced() {
            self.file = fs::open_itself(&self.path).ok();
            self.rest.clear();
            self.read(&mut take);
        }
    }

    /// Whether there is another file at the path than the one that is open.
    fn is_replaced(&self) -> bool {
        let Ok(there) = fs::metadata(&self.path) else { return false };
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        open.is_none_or(|open| (open.dev(), open.ino()) != (there.dev(), there.ino()))
    }

    /// Reads on, and says whether that was all.
    fn read(&mut self, take: &mut impl FnMut(&[u8])) -> bool {
        let Some(file) = &mut self.file else { return true };
        for _ in 0..MOST {
            let mut block = Vec::new();
            match file.take(BLOCK).read_to_end(&mut block) {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
            self.rest.append(&mut block);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.windows(MARK.len()).any(|part| part == MARK) {
                    take(&line);
                }
            }
            if self.rest.len() > MAX_LINE {
                // It is none of ours, and what is left of it is none either.
                self.rest.clear();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{MAX_LINE, Tail};
    use crate::fs;

    fn lines(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        tail.look(|line| lines.push(String::from_utf8_lossy(line).trim_end().to_owned()));
        lines
    }

    fn held(number: usize) -> String {
        format!("{{\"event\":\"held\",\"id\":\"{number}\"}}")
    }

    #[test]
    fn what_comes_is_seen_once_also_over_a_change_of_files() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("audit.jsonl");
        let mut tail = Tail::of(path.clone());
        assert!(lines(&mut tail).is_empty(), "there is no file yet");
        let mut log = fs::append(&path, 0o644).unwrap();
        writeln!(log, "{}\n{{\"event\":\"request\"}}", held(1)).unwrap();
        assert_eq!(lines(&mut tail), [held(1)]);
        let line = held(2);
        let (begin, end) = line.split_at(9);
        write!(log, "{begin}").unwrap();
        assert!(lines(&mut tail).is_empty(), "a line in the making");
        writeln!(log, "{end}").unwrap();
        assert_eq!(lines(&mut tail), [held(2)]);
        writeln!(log, "{}", held(3)).unwrap();
        fs::rename(&path, &root.path().join("audit.jsonl.1")).unwrap();
        let mut log = fs::append(&path, 0o644).unwrap();
        writeln!(log, "{}", held(4)).unwrap();
        assert_eq!(lines(&mut tail), [held(3), held(4)]);
        assert!(lines(&mut tail).is_empty());
    }

    #[test]
    fn what_was_there_before_is_over_and_a_line_without_end_costs_no_memory() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("audit.jsonl");
        let mut log = fs::append(&path, 0o644).unwrap();
        writeln!(log, "{}", held(1)).unwrap();
        let mut tail = Tail::of(path);
        assert!(lines(&mut tail).is_empty());
        for _ in 0..40 {
            log.write_all(&vec![b'x'; MAX_LINE]).unwrap();
            lines(&mut tail);
        }
        assert!(tail.rest.capacity() < 4 * MAX_LINE, "{}", tail.rest.capacity());
        writeln!(log, "\n{}", held(2)).unwrap();
        assert_eq!(lines(&mut tail), [held(2)]);
    }
}
