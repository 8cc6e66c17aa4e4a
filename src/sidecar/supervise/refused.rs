//! Why supervise refuses something, to the agent and to the operator alike.

use serde::Serialize;

/// A refusal: a code for programs, a sentence for people, and what would help.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message} ({code}); {hint}", code = .code.text())]
pub(crate) struct Refused {
    /// The cause.
    pub(crate) code: Code,
    /// What happened.
    pub(crate) message: String,
    /// What would help.
    pub(crate) hint: String,
}

/// The causes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// What is asked for is no rule that could be approved.
    AskInvalid,
    /// What is asked for is allowed already.
    AskNeedless,
    /// The manifest denies or protects it: no approval could change that.
    AskDenied,
    /// The same was rejected a short while ago.
    AskRepeated,
    /// Too many requests wait for an answer.
    DeskFull,
    /// There is no such request or grant.
    Unknown,
    /// The request has been decided, withdrawn or has expired.
    Closed,
    /// What was reviewed is not what is in force now.
    ReviewStale,
    /// What is to be approved is more than was asked for.
    TooWide,
    /// The decision could not be made durable, or its grant could not be written.
    StoreFailed,
}

impl Code {
    /// The code as it is shown.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::AskInvalid => "ask-invalid",
            Self::AskNeedless => "ask-needless",
            Self::AskDenied => "ask-denied",
            Self::AskRepeated => "ask-repeated",
            Self::DeskFull => "desk-full",
            Self::Unknown => "unknown",
            Self::Closed => "closed",
            Self::ReviewStale => "review-stale",
            Self::TooWide => "too-wide",
            Self::StoreFailed => "store-failed",
        }
    }
}

impl Refused {
    pub(crate) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}
