//! What changes of what may be pushed, and of what no push may touch.
//!
//! A pattern opens no default branch, and a name without a wildcard does: which branch that is isn't known here. So both are
//! compared: the refs that are matched, and the names that are spelled out.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::analysis::language::{Atom, Languages};
use crate::policy::gate::{PushOperation, PushRule, Repository};

/// All operations.
const OPERATIONS: [PushOperation; 4] =
    [PushOperation::Create, PushOperation::FastForward, PushOperation::Force, PushOperation::Delete];

/// Refs that a change is about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Refs {
    /// The repository.
    pub repository: String,
    /// What is done to them.
    pub operations: Vec<PushOperation>,
    /// Patterns of which one matches.
    pub refs: Vec<String>,
    /// Patterns of which none matches.
    pub except: Vec<String>,
    /// Whether only the upstream's default branch is meant, should it be one of these.
    pub default_branch: bool,
    /// One of them.
    pub example: Option<String>,
    /// The rules, as `file:line`.
    pub rules: Vec<String>,
}

/// What `to` allows and `from` doesn't; no repository allows nothing.
pub(super) fn changes(name: &str, from: Option<&Repository>, to: Option<&Repository>) -> Vec<Refs> {
    let none: &[PushRule] = &[];
    let from = from.map_or(none, |repository| &repository.push);
    let to = to.map_or(none, |repository| &repository.push);
    let mut changes: Vec<Refs> = Vec::new();
    for operation in OPERATIONS {
        for change in matched(from, to, operation).into_iter().chain(spelled(from, to, operation)) {
            let Change { refs, except, default_branch, example, rules } = change;
            let change = Refs {
                repository: name.to_owned(),
                operations: vec![operation],
                refs,
                except,
                default_branch,
                example,
                rules,
            };
            let same = |known: &&mut Refs| {
                Refs { operations: known.operations.clone(), ..change.clone() } == **known
            };
            match changes.iter_mut().find(same) {
                Some(known) => known.operations.push(operation),
                None => changes.push(change),
            }
        }
    }
    changes
}

#[derive(Debug)]
struct Change {
    refs: Vec<String>,
    except: Vec<String>,
    default_branch: bool,
    example: Option<String>,
    rules: Vec<String>,
}

/// The rules that have an operation.
fn with(rules: &[PushRule], operation: PushOperation) -> Vec<&PushRule> {
    rules.iter().filter(|rule| rule.allow.contains(&operation)).collect()
}

/// The names that are spelled out, in which the default branch may be.
fn spelled(from: &[PushRule], to: &[PushRule], operation: PushOperation) -> Option<Change> {
    let literal = |rule: &&PushRule| !rule.refs.contains('*') && rule.refs.starts_with("refs/heads/");
    let known: BTreeSet<&str> =
        with(from, operation).into_iter().filter(literal).map(|rule| rule.refs.as_str()).collect();
    let new: Vec<&PushRule> = with(to, operation)
        .into_iter()
        .filter(literal)
        .filter(|rule| !known.contains(rule.refs.as_str()))
        .collect();
    // A name that was matched by nothing is told as such; as the default branch it comes with it.
    let outside = matched(from, to, operation).map(|change| change.refs).unwrap_or_default();
    let new: Vec<&PushRule> = new.into_iter().filter(|rule| !outside.contains(&rule.refs)).collect();
    (!new.is_empty()).then(|| Change {
        refs: unique(new.iter().map(|rule| rule.refs.clone())),
        except: Vec::new(),
        default_branch: true,
        example: None,
        rules: unique(new.iter().map(|rule| rule.source.clone())),
    })
}

fn matched(from: &[PushRule], to: &[PushRule], operation: PushOperation) -> Option<Change> {
    let (from, to) = (with(from, operation), with(to, operation));
    let patterns = |rules: &[&PushRule]| unique(rules.iter().map(|rule| rule.refs.clone()));
    let (old, new) = (patterns(&from), patterns(&to));
    let Difference { patterns, except, example } = difference(&old, &new, "refs/")?;
    let rules = to.iter().filter(|rule| patterns.contains(&rule.refs));
    Some(Change {
        rules: unique(rules.map(|rule| rule.source.clone())),
        refs: patterns,
        except,
        default_branch: false,
        example,
    })
}

/// What patterns match that others don't.
#[derive(Debug)]
pub(super) struct Difference {
    /// As few of the patterns as it takes.
    pub(super) patterns: Vec<String>,
    /// Those of the others that match some of it.
    pub(super) except: Vec<String>,
    /// A name.
    pub(super) example: Option<String>,
}

/// Finds what `new` matches and `old` doesn't, among the names that begin with `start`.
pub(super) fn difference(old: &[String], new: &[String], start: &str) -> Option<Difference> {
    if new.iter().all(|pattern| old.contains(pattern)) {
        return None;
    }
    let mut languages = Languages::default();
    for pattern in old.iter().chain(new) {
        let language = languages.add();
        languages.matching(language, pattern);
    }
    let Some(atoms) = languages.atoms(start) else {
        // Too many states: all that isn't the same word by word.
        let patterns = new.iter().filter(|pattern| !old.contains(pattern)).cloned().collect();
        return Some(Difference { patterns, except: Vec::new(), example: None });
    };
    let is = |atom: &Atom, language: usize| atom.members.get(language).copied().unwrap_or_default();
    let by_old = |atom: &Atom| (0..old.len()).any(|language| is(atom, language));
    let by = |atom: &Atom, pattern: usize| is(atom, old.len() + pattern);
    let mut left: Vec<&Atom> = atoms
        .iter()
        .filter(|atom| !by_old(atom) && (0..new.len()).any(|pattern| by(atom, pattern)))
        .collect();
    let example = left.iter().map(|atom| atom.example.clone()).min_by_key(String::len);
    let mut kept: Vec<usize> = Vec::new();
    while !left.is_empty() {
        let count = |pattern: &usize| left.iter().filter(|atom| by(atom, *pattern)).count();
        let Some(best) = (0..new.len()).rev().max_by_key(count) else { break };
        left.retain(|atom| !by(atom, best));
        kept.push(best);
    }
    if kept.is_empty() {
        return None;
    }
    let overlaps = |language: &usize| {
        atoms.iter().any(|atom| is(atom, *language) && kept.iter().any(|pattern| by(atom, *pattern)))
    };
    let except = (0..old.len()).filter(overlaps).filter_map(|language| old.get(language).cloned());
    Some(Difference {
        patterns: unique(kept.iter().filter_map(|pattern| new.get(*pattern).cloned())),
        except: unique(except),
        example,
    })
}

fn unique(texts: impl Iterator<Item = String>) -> Vec<String> {
    texts.collect::<BTreeSet<_>>().into_iter().collect()
}
