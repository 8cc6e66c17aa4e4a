//! Checking a log of decisions, by the file alone.

use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{GENESIS, VERSION, split};
use crate::fs;
use crate::sidecar::text::hex;

/// The most bytes of a line; no decision has as many.
const MAX_LINE: u64 = 1 << 20;

/// A log whose lines belong together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Chain {
    /// The numbers of the first and the last decision; none where there is none.
    pub(crate) decisions: Option<(u64, u64)>,
    /// The hash of the last line.
    pub(crate) head: String,
    /// Whether a line after the last one was cut short: a writer was killed, and completes it at its next start.
    pub(crate) torn: bool,
}

/// Where a log was tampered with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} {problem}")]
pub(crate) struct Break {
    /// The line, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// What of a line is looked at.
#[derive(Deserialize)]
struct Fields {
    v: u32,
    seq: u64,
    prev: String,
}

/// Checks a log. A log that lacks its last lines looks like one that is younger: compare [`Chain::head`] with one that was
/// noted.
///
/// # Errors
///
/// The file can't be read. Inside: the first line that was changed, or before which lines are missing or out of order.
pub(crate) fn verify(path: &Path) -> Result<Result<Chain, Break>, fs::Error> {
    let failed = |source| fs::Error { action: "read", path: path.to_owned(), source };
    let mut reader = BufReader::new(fs::open(path)?);
    let mut chain = Chain { decisions: None, head: GENESIS.to_owned(), torn: false };
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(failed)?;
        if text.is_empty() {
            break;
        }
        let Some(whole) = text.strip_suffix(b"\n") else {
            if text.len() as u64 == MAX_LINE {
                return Ok(Err(Break { line, problem: "is longer than any decision".to_owned() }));
            }
            chain.torn = true;
            break;
        };
        if let Err(problem) = add(&mut chain, whole) {
            return Ok(Err(Break { line, problem }));
        }
    }
    Ok(Ok(chain))
}

fn add(chain: &mut Chain, line: &[u8]) -> Result<(), String> {
    let none = || "is no decision".to_owned();
    let line = std::str::from_utf8(line).map_err(|_| none())?;
    let (text, hash) = split(line).ok_or_else(none)?;
    let Fields { v, seq, prev } = serde_json::from_str(line).map_err(|_| none())?;
    if v != VERSION {
        return Err(format!("has the format's version {v}; this program reads version {VERSION}"));
    }
    if hex(&Sha256::digest(text.as_bytes())) != hash {
        return Err(format!("(decision {seq}) was changed: its hash is another"));
    }
    let expected = chain.decisions.map_or(seq, |(_, last)| last + 1);
    if seq > expected {
        return Err(format!("is decision {seq}, where {expected} should be: lines before it are missing"));
    }
    if seq < expected {
        return Err(format!("is decision {seq}, where {expected} should be: the lines are out of order"));
    }
    // A log that doesn't begin with the first decision goes on from another file.
    let from_another = chain.decisions.is_none() && seq != 1;
    if prev != chain.head && !from_another {
        return Err(format!("(decision {seq}) does not follow the line before it: that one was changed"));
    }
    chain.decisions = Some((chain.decisions.map_or(seq, |(first, _)| first), seq));
    hash.clone_into(&mut chain.head);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{GENESIS, line};
    use super::{Chain, verify};
    use crate::fs;
    use crate::sidecar::supervise::store::Decision;

    fn decision(words: &str) -> Decision {
        Decision {
            verdict: "reject",
            at: 1_767_225_599,
            by: "page",
            request: "r-abc".to_owned(),
            grant: None,
            scope: None,
            until: None,
            rule: "- { host: \"api.example.org\" }".to_owned(),
            words: words.to_owned(),
        }
    }

    fn lines(count: i64) -> Vec<String> {
        let mut prev = GENESIS.to_owned();
        (1..=count)
            .map(|seq| {
                let (text, hash) = line(seq, &prev, &decision(&format!("word {seq}"))).unwrap();
                prev = hash;
                text
            })
            .collect()
    }

    struct File(tempfile::TempDir);

    impl File {
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write_atomic(&dir.path().join("log"), text.as_bytes(), 0o600).unwrap();
            Self(dir)
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("log")
        }
    }

    fn whole(lines: &[String]) -> Chain {
        verify(&File::new(&lines.concat()).path()).unwrap().unwrap()
    }

    fn broken(lines: &[String]) -> String {
        verify(&File::new(&lines.concat()).path()).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn a_log_as_it_was_written_is_whole() {
        let chain = whole(&lines(5));
        assert_eq!(chain.decisions, Some((1, 5)));
        assert!(!chain.torn);
        assert_eq!(whole(&[]).decisions, None);
    }

    #[test]
    fn a_changed_byte_anywhere_breaks_the_line_that_it_is_in() {
        let all = lines(3);
        let bytes = all[1].len() - 1;
        for at in 0..bytes {
            let mut changed = all.clone();
            let mut text = changed[1].clone().into_bytes();
            text[at] = if text[at] == b'0' { b'1' } else { b'0' };
            changed[1] = String::from_utf8(text).unwrap();
            let problem = broken(&changed);
            // A hash that was changed is one that the text doesn't have.
            assert!(problem.starts_with("line 2 "), "byte {at}: {problem}");
        }
    }

    #[test]
    fn a_line_that_was_taken_out_is_missed_at_the_next_one() {
        let mut all = lines(5);
        all.remove(2);
        assert_eq!(broken(&all), "line 3 is decision 4, where 3 should be: lines before it are missing");
    }

    #[test]
    fn lines_that_changed_places_are_named() {
        let mut all = lines(5);
        all.swap(1, 2);
        assert_eq!(broken(&all), "line 2 is decision 3, where 2 should be: lines before it are missing");
        let mut all = lines(5);
        all[3] = all[2].clone();
        assert_eq!(broken(&all), "line 4 is decision 3, where 4 should be: the lines are out of order");
    }

    #[test]
    fn a_line_that_was_forged_with_a_hash_of_its_own_breaks_the_next_one() {
        let mut all = lines(3);
        let (_, before) = super::split(all[0].trim_end()).unwrap();
        all[1] = line(2, before, &decision("approved, of course")).unwrap().0;
        assert_eq!(
            broken(&all),
            "line 3 (decision 3) does not follow the line before it: that one was changed"
        );
    }

    #[test]
    fn a_line_that_was_cut_in_the_middle_of_the_log_is_named() {
        let mut all = lines(3);
        all[1].truncate(40);
        assert_eq!(broken(&all), "line 2 is no decision");
        all[1].push('\n');
        assert_eq!(broken(&all), "line 2 is no decision");
    }

    #[test]
    fn a_last_line_that_a_kill_cut_short_is_not_called_forged() {
        let mut all = lines(3);
        all[2].truncate(40);
        let chain = whole(&all);
        assert_eq!((chain.decisions, chain.torn), (Some((1, 2)), true));
    }

    #[test]
    fn a_log_that_goes_on_from_another_file_says_where_it_begins() {
        let mut all = lines(5);
        all.drain(..2);
        assert_eq!(whole(&all).decisions, Some((3, 5)));
    }

    #[test]
    fn a_line_is_printable_ascii_whatever_its_words_are() {
        let (text, _) = line(1, GENESIS, &decision("a\u{1b}[2J\u{202e}é\u{1f600}\u{7f}\"\n")).unwrap();
        assert!(text.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["words"], "a\u{1b}[2J\u{202e}é\u{1f600}\u{7f}\"\n");
        assert_eq!(whole(&[text]).decisions, Some((1, 1)));
    }
}
