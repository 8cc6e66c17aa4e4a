//! The refs of a push: their names, what they shall name, and what that does to them.

use std::collections::{HashMap, HashSet};

use super::graph::Graph;
use super::id::ObjectId;
use super::mirror::Mirror;
use super::objects::{Objects, Type};
use super::rules::Rules;
use super::show::printable;
use super::{Accepted, JudgeError, RefUpdate, Refusal, Verdict, parse, refname};
use crate::policy::gate::PushOperation;
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::git::Git;

/// A tag of a tag of a tag ... deeper than this is not passed on.
const DEEPEST_TAG: usize = 8;

fn refuse(verdict: &mut Verdict, reason: Reason, name: &[u8], detail: impl Into<String>) {
    let subject = printable(name);
    verdict.refusals.push(Refusal { reason, subject, detail: detail.into(), rule: None, ask: None });
}

/// Checks the names, and gives those that are fit to be asked for.
pub(super) fn check_names<'a>(updates: &'a [RefUpdate], verdict: &mut Verdict) -> Vec<&'a [u8]> {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut names = Vec::new();
    for RefUpdate { name, .. } in updates {
        if let Some(problem) = refname::problem(name) {
            refuse(verdict, Reason::RefNamespace, name, problem);
        } else if seen.insert(name) {
            names.push(name.as_slice());
        } else {
            refuse(verdict, Reason::ObjectDenied, name, "the push changes it twice");
        }
    }
    names
}

/// Checks what the refs shall name: branches commits, tags commits or tags of commits. Gives the types of the new values.
pub(super) fn check_targets(
    updates: &[RefUpdate],
    objects: &mut Objects,
    verdict: &mut Verdict,
) -> Result<HashMap<ObjectId, Type>, JudgeError> {
    let mut ids: Vec<ObjectId> = updates.iter().map(|update| update.new).filter(|id| !id.is_zero()).collect();
    ids.sort_unstable();
    ids.dedup();
    let types: HashMap<ObjectId, Type> =
        objects.info(&ids)?.into_iter().map(|header| (header.id, header.kind)).collect();
    let mut peeled: HashMap<ObjectId, Option<Type>> = HashMap::new();
    for RefUpdate { new, name, .. } in updates {
        let Some(kind) = types.get(new).copied() else { continue };
        let is_branch = name.starts_with(b"refs/heads/");
        if kind == Type::Tag && !is_branch {
            let found = match peeled.get(new) {
                Some(known) => *known,
                None => peel(*new, objects)?,
            };
            peeled.insert(*new, found);
            match found {
                Some(Type::Commit) => {}
                Some(other) => {
                    refuse(verdict, Reason::ObjectDenied, name, format!("the tag is of a {}", other.word()));
                }
                None => {
                    let detail =
                        format!("it is more than {DEEPEST_TAG} tags deep, or a tag that can't be read");
                    refuse(verdict, Reason::ObjectDenied, name, detail);
                }
            }
        } else if kind != Type::Commit {
            refuse(verdict, Reason::ObjectDenied, name, format!("it would name a {}", kind.word()));
        }
    }
    Ok(types)
}

/// The type of what a tag names in the end.
fn peel(tag: ObjectId, objects: &mut Objects) -> Result<Option<Type>, JudgeError> {
    let mut id = tag;
    for _ in 0..DEEPEST_TAG {
        let Some(target) = parse::tag_target(&objects.small(id)?) else { return Ok(None) };
        match objects.info(&[target])?.first() {
            Some(header) if header.kind == Type::Tag => id = target,
            other => return Ok(other.map(|header| header.kind)),
        }
    }
    Ok(None)
}

/// Judges what is done to each ref.
pub(super) fn judge(
    git: &Git,
    rules: &Rules<'_>,
    updates: &[RefUpdate],
    mirror: &Mirror,
    types: &HashMap<ObjectId, Type>,
    graph: &Graph,
    verdict: &mut Verdict,
) -> Result<(), JudgeError> {
    for RefUpdate { old, new, name } in
        updates.iter().filter(|update| refname::problem(&update.name).is_none())
    {
        let expected = mirror.value(name);
        let claimed = (!old.is_zero()).then_some(*old);
        if claimed != expected {
            let is = |value: Option<ObjectId>| value.map_or_else(|| "nothing".into(), |id| id.short());
            let detail =
                format!("the client takes it to be at {}, and the mirror has {}", is(claimed), is(expected));
            refuse(verdict, Reason::UpstreamMoved, name, detail);
        }
        let operation = match (expected, new.is_zero()) {
            (None, true) => {
                refuse(
                    verdict,
                    Reason::UpstreamMoved,
                    name,
                    "it would be deleted, and the upstream doesn't have it",
                );
                continue;
            }
            (None, false) => PushOperation::Create,
            (Some(_), true) => PushOperation::Delete,
            (Some(before), false) if before == *new => PushOperation::FastForward,
            // A tag that moves is never harmless: nobody fetches it again.
            (Some(_), false) if name.starts_with(b"refs/tags/") => PushOperation::Force,
            (Some(before), false) => {
                let forward = types.get(new) == Some(&Type::Commit) && graph.descends(git, *new, before)?;
                if forward { PushOperation::FastForward } else { PushOperation::Force }
            }
        };
        match rules.judge(&mirror.default_branch, name, operation, &verdict.accepted) {
            Err(refusal) => verdict.refusals.push(*refusal),
            Ok(rule) => verdict.accepted.push(Accepted {
                name: name.clone(),
                expected,
                new: (!new.is_zero()).then_some(*new),
                operation,
                rule: rule.to_owned(),
            }),
        }
    }
    Ok(())
}
