//! The new commits and how they hang together.

use std::collections::{HashMap, HashSet};

use super::JudgeError;
use super::id::ObjectId;
use crate::sidecar::git_gate::git::Git;

/// The new commits with their parents, in the order in which they were listed.
#[derive(Debug, Default)]
pub(super) struct Graph {
    order: Vec<ObjectId>,
    parents: HashMap<ObjectId, Vec<ObjectId>>,
}

impl Graph {
    pub(super) fn add(&mut self, commit: ObjectId, parents: Vec<ObjectId>) {
        if self.parents.insert(commit, parents).is_none() {
            self.order.push(commit);
        }
    }

    /// Each new commit with its parents.
    pub(super) fn commits(&self) -> impl Iterator<Item = (ObjectId, &[ObjectId])> {
        self.order.iter().map(|commit| (*commit, self.parents_of(*commit)))
    }

    /// The parents of a new commit; none for any other.
    pub(super) fn parents_of(&self, commit: ObjectId) -> &[ObjectId] {
        self.parents.get(&commit).map(Vec::as_slice).unwrap_or_default()
    }

    /// Everything that is reached from a commit through new commits alone, the old commits at their border included.
    pub(super) fn reach(&self, from: ObjectId) -> HashSet<ObjectId> {
        let mut seen = HashSet::from([from]);
        let mut next = vec![from];
        while let Some(commit) = next.pop() {
            next.extend(self.parents_of(commit).iter().copied().filter(|parent| seen.insert(*parent)));
        }
        seen
    }

    /// For each new commit the first of these tips that reaches it, by its place in the list. Each commit is visited
    /// once, however many tips there are.
    pub(super) fn owners(&self, tips: impl Iterator<Item = ObjectId>) -> HashMap<ObjectId, usize> {
        let mut owners = HashMap::new();
        for (at, tip) in tips.enumerate() {
            let mut next = vec![tip];
            while let Some(commit) = next.pop() {
                if self.parents.contains_key(&commit) && !owners.contains_key(&commit) {
                    owners.insert(commit, at);
                    next.extend(self.parents_of(commit));
                }
            }
        }
        owners
    }

    /// Whether `new` descends from `old`. The usual case, a branch that grew, is read off the new commits; only for
    /// another does git walk the history.
    pub(super) fn descends(&self, git: &Git, new: ObjectId, old: ObjectId) -> Result<bool, JudgeError> {
        if self.reach(new).contains(&old) {
            return Ok(true);
        }
        let answer = git.ask(&["merge-base", "--is-ancestor", &old.to_string(), &new.to_string()])?;
        Ok(answer.is_some())
    }
}
