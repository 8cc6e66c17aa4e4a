//! Requests, decisions and grants, as they are kept and shown. Times are in seconds since the Unix epoch.

use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::rule::Rule;

/// One request, with what became of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Request {
    /// Its id, `r-` and letters.
    pub(crate) id: String,
    /// What the agent sent.
    pub(crate) ask: Ask,
    /// The exact rule that this means.
    pub(crate) rule: Rule,
    /// Who asked.
    #[serde(default)]
    pub(crate) origin: Origin,
    /// The agent's own words, made harmless.
    pub(crate) reason: String,
    /// When it was first asked for.
    pub(crate) created: u64,
    /// When it was last asked for.
    pub(crate) last: u64,
    /// How often it was asked for.
    pub(crate) count: u64,
    /// What became of it.
    pub(crate) state: State,
}

/// Who asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// The agent, in its own words.
    #[default]
    Agent,
    /// Egress, which holds or held a request of the agent; the agent has said nothing.
    Held,
}

/// What became of a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub(crate) enum State {
    /// Nobody has decided yet.
    Pending,
    /// The operator approved it, perhaps less than was asked for.
    Approved {
        /// The grant.
        grant: String,
        /// The operator's words.
        words: String,
        /// When.
        at: u64,
    },
    /// The operator rejected it.
    Rejected {
        /// The operator's words.
        words: String,
        /// When.
        at: u64,
    },
    /// The agent took it back.
    Withdrawn {
        /// When.
        at: u64,
    },
    /// Nobody decided in time.
    Expired {
        /// When.
        at: u64,
    },
}

impl State {
    /// Whether it still waits for the operator.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

/// For how long something is approved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// For one request, or one push.
    Once,
    /// For so many seconds.
    Seconds(u64),
    /// While this bottle runs: until the operator revokes it or the grants volume is removed.
    Bottle,
    /// Until the manifest has the rule.
    Always,
}

/// One grant, with the request that it comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Granted {
    /// Its id, `g-` and letters; its file is named by it.
    pub(crate) id: String,
    /// The request.
    pub(crate) request: String,
    /// The rule.
    pub(crate) rule: Rule,
    /// For how long.
    pub(crate) scope: Scope,
    /// When it was approved.
    pub(crate) at: u64,
    /// When it ends; none for those that end with the bottle or the manifest.
    pub(crate) until: Option<u64>,
    /// What ended it, and when; none while it is in force.
    pub(crate) ended: Option<Ended>,
}

/// What ended a grant.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Ended {
    /// The cause.
    pub(crate) cause: EndCause,
    /// When.
    pub(crate) at: u64,
}

/// The causes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EndCause {
    /// Its time was over.
    Expired,
    /// It was for once, and was used.
    Used,
    /// The operator revoked it.
    Revoked,
    /// The manifest has the rule itself now.
    Retired,
}
