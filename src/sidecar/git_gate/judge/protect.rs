//! Protected paths.
//!
//! Every new commit is compared with each of its parents, so that a change that a later commit takes back is seen as
//! well. A path counts as protected if some file system takes it for a protected one: in any case of its letters, and as
//! `names` says. So does a link, a submodule or, below a pattern without a star, a file that stands where a
//! protected path has a directory.
//!
//! The rule for a commit with one parent, or none: no protected path differs.
//!
//! The rule for a merge, path by path: what `git merge` would do by itself is honest. For each parent whose version is
//! not the one in the result, that version must be what the merge bases with the parent that the result agrees with have
//! already: that parent then left the path alone, and the other one's change wins. Therefore
//! - merging the default branch, which has changed the path, passes;
//! - a result that agrees with no parent (an "evil merge") is refused;
//! - going back to an older version by merging an old commit is refused: the older version is the merge base's, so that
//!   it is the newer one that wins;
//! - taking a side that lost is refused (`-s ours` against a default branch that changed the path).
//!
//! One more result is honest whatever the parents have: the version of the default branch's tip, as the mirror knows it.
//! It is what a conflict between two upstream versions should end with. By induction no new commit has a version of a
//! protected path that the upstream's own history does not have, and none has it in a place to which git would not have
//! brought it.

use std::collections::{HashMap, HashSet};

use super::JudgeError;
use super::diff::{Change, between};
use super::id::ObjectId;
use super::parse::Kind;
use crate::policy::glob;
use crate::sidecar::git_gate::git::Git;

/// The most questions about merges that one push may cost; each is a git process.
const MOST_QUESTIONS: u32 = 1_000;

/// The patterns.
pub(super) struct Guard {
    patterns: Vec<Vec<u8>>,
}

impl Guard {
    pub(super) fn new(patterns: &[String]) -> Self {
        Self { patterns: patterns.iter().map(|pattern| one_case(pattern).into_bytes()).collect() }
    }

    /// Whether a change is one of a protected path.
    pub(super) fn covers(&self, change: &Change) -> bool {
        let kinds = [change.old, change.new].map(|side| side.map(|(kind, _)| kind));
        // A directory is nothing but what is in it, and that is listed too.
        if kinds.iter().all(|kind| matches!(kind, None | Some(Kind::Tree))) {
            return false;
        }
        let redirects = kinds.iter().any(|kind| matches!(kind, Some(Kind::Link | Kind::Gitlink)));
        names(&change.path).iter().any(|path| {
            self.patterns.iter().any(|pattern| {
                glob::matches(pattern, path)
                    || parents(pattern)
                        .any(|parent| glob::matches(parent, path) && (redirects || !parent.contains(&b'*')))
            })
        })
    }
}

/// The letters in one case, by the rules that case-insensitive file systems go by (`ſ` is an `s`, too).
fn one_case(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// What a path may be taken for: itself, and what the file systems make of it that leave characters out. HFS+ leaves out
/// some that can't be seen; Windows the dots and spaces at the end of a name and the name of a stream behind a colon, and
/// it takes a backslash for a slash.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(path) else {
        // No file system that wants Unicode has such a name.
        return vec![path.to_ascii_lowercase()];
    };
    let text = one_case(text);
    let seen: String = text.chars().filter(|c| !is_ignored(*c)).collect();
    let end = |part: &str| part.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_owned();
    let windows: Vec<String> = seen.split(['/', '\\']).map(end).collect();
    let mut names = vec![text.into_bytes(), seen.into_bytes(), windows.join("/").into_bytes()];
    names.dedup();
    names
}

/// The characters that HFS+ leaves out of names, the same that git looks for in `.git`.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// The patterns of the directories above what a pattern matches. What follows a `**` can be anywhere, so that there is
/// no saying what is above it; it ends the list.
fn parents(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fixed = pattern.windows(2).position(|window| window == b"**").unwrap_or(pattern.len());
    let slashes = pattern.iter().enumerate().filter(move |(at, byte)| **byte == b'/' && *at <= fixed);
    slashes.filter_map(|(at, _)| pattern.get(..at)).filter(|parent| !parent.is_empty())
}

/// One new commit's protected changes, seen from each parent in turn.
pub(super) struct Touched {
    pub(super) commit: ObjectId,
    pub(super) parents: Vec<ObjectId>,
    pub(super) changes: Vec<Vec<Change>>,
}

/// Judges merges, and remembers what git has answered.
pub(super) struct Merges<'a> {
    git: &'a Git,
    guard: &'a Guard,
    default_tip: Option<ObjectId>,
    bases: HashMap<(ObjectId, ObjectId), Vec<ObjectId>>,
    differences: HashMap<(ObjectId, ObjectId), HashSet<Vec<u8>>>,
    questions: u32,
}

impl<'a> Merges<'a> {
    pub(super) fn new(git: &'a Git, guard: &'a Guard, default_tip: Option<ObjectId>) -> Self {
        Self { git, guard, default_tip, bases: HashMap::new(), differences: HashMap::new(), questions: 0 }
    }

    /// The protected paths that a commit changes and may not.
    pub(super) fn offences(&mut self, touched: &Touched) -> Result<Vec<Vec<u8>>, JudgeError> {
        let mut paths: Vec<&[u8]> = touched.changes.iter().flatten().map(|change| &*change.path).collect();
        paths.sort_unstable();
        paths.dedup();
        let mut offences = Vec::new();
        for path in paths {
            if touched.parents.len() < 2 || !self.is_honest(touched, path)? {
                offences.push(path.to_vec());
            }
        }
        Ok(offences)
    }

    fn is_honest(&mut self, touched: &Touched, path: &[u8]) -> Result<bool, JudgeError> {
        let sides: Vec<(ObjectId, Option<&Change>)> = touched
            .parents
            .iter()
            .zip(&touched.changes)
            .map(|(parent, changes)| (*parent, changes.iter().find(|change| change.path == path)))
            .collect();
        for (winner, _) in sides.iter().filter(|(_, change)| change.is_none()) {
            let mut wins = true;
            for (loser, change) in &sides {
                if let Some(change) = change {
                    wins = wins && self.left_alone(*winner, *loser, change)?;
                }
            }
            if wins {
                return Ok(true);
            }
        }
        match self.default_tip {
            Some(tip) => Ok(!self.differs(tip, touched.commit, path)?),
            None => Ok(false),
        }
    }

    /// Whether the loser's version of a path is the one that it and the winner began with.
    fn left_alone(&mut self, winner: ObjectId, loser: ObjectId, change: &Change) -> Result<bool, JudgeError> {
        let bases = self.bases(winner, loser)?;
        if bases.is_empty() {
            // Histories without a common commit began with nothing.
            return Ok(change.old.is_none());
        }
        for base in bases {
            if self.differs(base, loser, &change.path)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn bases(&mut self, one: ObjectId, two: ObjectId) -> Result<Vec<ObjectId>, JudgeError> {
        if let Some(known) = self.bases.get(&(one, two)) {
            return Ok(known.clone());
        }
        self.count()?;
        let output =
            self.git.ask(&["merge-base", "--all", &one.to_string(), &two.to_string()])?.unwrap_or_default();
        let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let bases: Option<Vec<ObjectId>> = lines.map(ObjectId::from_hex).collect();
        let bases = bases.ok_or(JudgeError::Refs)?;
        self.bases.insert((one, two), bases.clone());
        Ok(bases)
    }

    fn differs(&mut self, from: ObjectId, to: ObjectId, path: &[u8]) -> Result<bool, JudgeError> {
        if let Some(known) = self.differences.get(&(from, to)) {
            return Ok(known.contains(path));
        }
        self.count()?;
        let changes = between(self.git, from, to)?;
        let paths: HashSet<_> = changes
            .into_iter()
            .filter(|change| self.guard.covers(change))
            .map(|change| change.path)
            .collect();
        let found = paths.contains(path);
        self.differences.insert((from, to), paths);
        Ok(found)
    }

    fn count(&mut self) -> Result<(), JudgeError> {
        self.questions += 1;
        if self.questions > MOST_QUESTIONS { Err(JudgeError::TooManyMerges) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(patterns: &[&str], path: &str, kind: Kind) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let id = ObjectId::from_bytes(&[1; 20]).unwrap();
        Guard::new(&patterns).covers(&Change {
            old: None,
            new: Some((kind, id)),
            path: path.as_bytes().to_vec(),
        })
    }

    #[test]
    fn a_path_is_protected_in_any_case() {
        assert!(covers(&["bottle.yaml", ".bottle/**"], "bottle.yaml", Kind::File));
        assert!(covers(&["bottle.yaml", ".bottle/**"], "BOTTLE.yaml", Kind::File));
        assert!(covers(&["Makefile"], "makefile", Kind::File));
        assert!(covers(&[".bottle/**"], ".Bottle/x/y", Kind::File));
        assert!(!covers(&["bottle.yaml", ".bottle/**"], "sub/bottle.yaml", Kind::File));
        assert!(!covers(&["bottle.yaml"], "bottle.yaml.bak", Kind::File));
    }

    #[test]
    fn a_path_that_a_file_system_takes_for_a_protected_one_is_protected() {
        for path in [
            "bottle.yaml.",
            "bottle.yaml ",
            "bottle.yaml. .",
            "bottle.yaml::$DATA",
            "bo\u{200c}ttle.yaml",
            "\u{feff}bottle.yaml",
            ".bottle ./x",
            ".bottle\\x",
            "compo\u{17f}e.yaml",
        ] {
            assert!(covers(&["bottle.yaml", "compose.yaml", ".bottle/**"], path, Kind::File), "{path:?}");
        }
        assert!(covers(&["\u{c9}tat"], "\u{e9}tat", Kind::File));
        assert!(covers(&["a:b", "c\\d"], "a:b", Kind::File));
        assert!(!covers(&["bottle.yaml"], "bottle.yaml.x", Kind::File));
        assert!(!covers(&["bottle.yaml"], "x:bottle.yaml", Kind::File));
        assert!(!covers(&["bottle.yaml"], "...", Kind::File));
    }

    #[test]
    fn nothing_may_stand_where_a_protected_path_has_a_directory() {
        for kind in [Kind::File, Kind::Link, Kind::Gitlink] {
            assert!(covers(&[".bottle/**"], ".bottle", kind));
            assert!(covers(&["deploy/prod/x.yaml"], "deploy", kind));
            assert!(covers(&["deploy/prod/x.yaml"], "Deploy/prod", kind));
        }
        assert!(covers(&["deploy/*/x.yaml"], "deploy/one", Kind::Link));
        assert!(!covers(&["deploy/*/x.yaml"], "deploy/README", Kind::File));
        assert!(!covers(&["**/x.yaml"], "README", Kind::Link));
        assert!(!covers(&["deploy/x.yaml"], "deploy", Kind::Tree));
        assert!(!covers(&["deploy/x.yaml"], "deploy2", Kind::Link));
    }
}
