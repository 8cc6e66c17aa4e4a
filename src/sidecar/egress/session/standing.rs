//! How a request under way stands with the policy, for those who may have to end it from outside.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::policy::rules::{Request, Rules};

/// Nothing of it has left.
const WAITS: u8 = 0;
/// It was allowed, and is for as long as the policy allows it.
const PASSES: u8 = 1;
/// It has used up a grant for one request, which is over.
const CLAIMED: u8 = 2;

/// How a request stands.
#[derive(Debug, Default)]
pub(super) struct Standing(AtomicU8);

impl Standing {
    /// Says that it is about to be sent, and whether it has used up a grant.
    pub(super) fn passes(&self, claimed: bool) {
        self.0.store(if claimed { CLAIMED } else { PASSES }, Ordering::Release);
    }

    /// Whether these rules end it. One that waits judges itself before it goes on.
    pub(super) fn is_refused(&self, rules: &Rules, request: &Request<'_>) -> bool {
        match self.0.load(Ordering::Acquire) {
            WAITS => false,
            CLAIMED => rules.judge_claimed(request).is_err(),
            _ => rules.judge(request).is_err(),
        }
    }
}
