//! What commits change, by `git diff-tree`.

use std::io::BufReader;

use super::JudgeError;
use super::id::ObjectId;
use super::parse::Kind;
use crate::sidecar::git_gate::git::{Git, Running};

/// One path that two trees don't have alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Change {
    /// What stood there; none for a path that is new.
    pub(super) old: Option<(Kind, ObjectId)>,
    /// What stands there; none for a path that is gone.
    pub(super) new: Option<(Kind, ObjectId)>,
    /// The path, as the tree has it.
    pub(super) path: Vec<u8>,
}

/// A commit seen from one of its parents; no parent for a root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pair {
    pub(super) commit: ObjectId,
    pub(super) parent: Option<ObjectId>,
}

/// The most changes that one push may have, over all its commits.
const MOST_CHANGES: usize = 20_000_000;
/// The memory for the changes of one commit, some two million: git holds them all before it gives out the first. A few
/// small trees that name each other many times unfold to any number of paths.
const MOST_MEMORY: u64 = 768 << 20;

/// `git diff-tree`, started ahead of time and waiting for what to compare.
pub(super) struct Diff(Running);

impl Diff {
    /// Starts the process. Renames are not looked for: a renamed path is one that goes and one that comes. Trees are
    /// listed as well as what is in them. `--always` has it name each commit, also one without a difference, so that the
    /// answers can be told apart.
    pub(super) fn start(git: &Git) -> Result<Self, JudgeError> {
        let fixed = ["diff-tree", "--stdin", "--always", "--root", "-r", "-t", "-z", "--raw", "--no-abbrev"];
        let more = ["--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none"];
        let running = git.start(&[&fixed[..], &more].concat())?;
        running.limit_memory(MOST_MEMORY)?;
        Ok(Self(running))
    }

    /// Compares all pairs, in order, and gives the changes of each as soon as they are complete.
    pub(super) fn run(
        mut self,
        pairs: &[Pair],
        visit: &mut dyn FnMut(Pair, Vec<Change>) -> Result<(), JudgeError>,
    ) -> Result<(), JudgeError> {
        let line = |pair: &Pair| match pair.parent {
            // "The remaining commits, when given, are used as if they are its parents."
            Some(parent) => format!("{} {parent}\n", pair.commit),
            None => format!("{}\n", pair.commit),
        };
        self.0.feed(pairs.iter().map(line).collect::<String>().into_bytes());
        let mut records = Records { input: BufReader::new(self.0.take_stdout()?) };
        let mut pending = pairs.iter().copied();
        let mut current: Option<(Pair, Vec<Change>)> = None;
        let mut left = MOST_CHANGES;
        loop {
            let record = records.next().map_err(|source| self.0.broken(source))?;
            match record {
                None => break,
                Some(record) if record.starts_with(b":") => {
                    left = left.checked_sub(1).ok_or(JudgeError::TooManyChanges)?;
                    let path = records.next().map_err(|source| self.0.broken(source))?;
                    let change = path.and_then(|path| change(&record, path));
                    match (change, &mut current) {
                        (Some(change), Some((_, changes))) => changes.push(change),
                        _ => return Err(self.0.unexpected("a change that can't be read").into()),
                    }
                }
                Some(record) => {
                    let expected = pending.next();
                    if let Some((pair, changes)) = current.take() {
                        visit(pair, changes)?;
                    }
                    let Some(pair) = expected.filter(|pair| pair.commit.to_string().as_bytes() == record)
                    else {
                        return Err(self.0.unexpected("an answer to something that was not asked").into());
                    };
                    current = Some((pair, Vec::new()));
                }
            }
        }
        self.0.finish()?;
        if let Some((pair, changes)) = current {
            visit(pair, changes)?;
        }
        if pending.next().is_some() {
            return Err(self.0.unexpected("fewer answers than questions").into());
        }
        Ok(())
    }
}

/// Compares two commits.
pub(super) fn between(git: &Git, from: ObjectId, to: ObjectId) -> Result<Vec<Change>, JudgeError> {
    let mut found = Vec::new();
    Diff::start(git)?.run(&[Pair { commit: to, parent: Some(from) }], &mut |_, changes| {
        found = changes;
        Ok(())
    })?;
    Ok(found)
}

struct Records<R> {
    input: R,
}

impl<R: std::io::BufRead> Records<R> {
    fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        match self.input.read_until(0, &mut record)? {
            0 => Ok(None),
            _ if record.pop() == Some(0) => Ok(Some(record)),
            _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Parses `:<mode> <mode> <id> <id> <status>` (git-diff-tree(1), "RAW OUTPUT FORMAT"). The status is left alone: the
/// modes say as much.
fn change(record: &[u8], path: Vec<u8>) -> Option<Change> {
    let mut parts = record.strip_prefix(b":")?.split(|byte| *byte == b' ');
    let (old_mode, new_mode) = (parts.next()?, parts.next()?);
    let (old_id, new_id) = (ObjectId::from_hex(parts.next()?)?, ObjectId::from_hex(parts.next()?)?);
    let side = |mode: &[u8], id| match mode {
        b"000000" => Some(None),
        mode => Some(Some((Kind::of(mode)?, id))),
    };
    (!path.is_empty()).then_some(Change { old: side(old_mode, old_id)?, new: side(new_mode, new_id)?, path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_record_is_parsed_or_refused(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(change(&record, b"x".to_vec()));
        }
    }

    #[test]
    fn both_sides_are_read() {
        let (one, none) = ("1".repeat(40), "0".repeat(40));
        let parsed = change(format!(":000000 100644 {none} {one} A").as_bytes(), b"x".to_vec()).unwrap();
        assert_eq!((parsed.old, parsed.new.unwrap().0), (None, Kind::File));
        assert_eq!(change(format!(":000000 100600 {none} {one} A").as_bytes(), b"x".to_vec()), None);
    }
}
