//! What the policy alone says of a push, without a repository: `bottle explain` asks the judge's own rules.
//!
//! What only the objects of a push can tell is left out: whether it is a fast-forward, what the commits touch, and whether
//! there is a secret in them.

use super::diff::Change;
use super::id::ObjectId;
use super::parse::Kind;
use super::protect::Guard;
use super::rules::Rules;
use super::{Granted, Refusal, refname};
use crate::policy::gate::{PushOperation, PushRule, Repository};
use crate::policy::reason::Reason;

/// Judges one operation on one ref. `default_branch` is the full name of the upstream's default branch, empty where it isn't
/// known. Gives the rule that allows it.
///
/// # Errors
///
/// The refusal that the push would get.
pub(crate) fn judge(
    name: &str,
    repository: &Repository,
    granted: &[PushRule],
    default_branch: &str,
    refname: &str,
    operation: PushOperation,
) -> Result<String, Box<Refusal>> {
    if let Some(problem) = refname::problem(refname.as_bytes()) {
        return Err(Box::new(Refusal {
            reason: Reason::RefNamespace,
            subject: super::printable(refname.as_bytes()),
            detail: problem.to_owned(),
            rule: None,
            ask: None,
        }));
    }
    // One ref at a time: whether a grant is for a single one makes no difference.
    let granted = Granted { push: granted.to_vec(), ..Granted::default() };
    let rules = Rules { name, repository, granted: &granted };
    rules.judge(default_branch.as_bytes(), refname.as_bytes(), operation, &[]).map(str::to_owned)
}

/// Whether a commit that changes the file at this path touches a protected one.
pub(crate) fn protects(repository: &Repository, path: &str) -> bool {
    let file = ObjectId::from_bytes(&[1; 20]).map(|id| (Kind::File, id));
    Guard::new(&repository.protect).covers(&Change { old: None, new: file, path: path.as_bytes().to_vec() })
}
