//! Why a secret can't be used. None of the messages quotes anything of it.

use super::form::{LEAST, MOST};

/// Why a secret can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it is not set, or empty")]
    Unset,
    #[error("it is empty")]
    Empty,
    #[error("the secret has fewer than {LEAST} bytes; it could not be told from other text in an answer")]
    TooShort,
    #[error("the secret has more than {MOST} bytes")]
    TooLong,
    #[error("the secret has a control character in it, such as a second line")]
    ControlCharacter,
    #[error("the secret begins or ends with a space")]
    Space,
    #[error("it is a symbolic link that leaves its directory")]
    Escape,
    #[error("it is no regular file")]
    NotAFile,
    #[error("{0}")]
    Unreadable(String),
    #[error("its `inject` names a header that requests can't carry a credential in")]
    Header,
    #[error("the user name of its `inject` has a colon or a control character, which Basic can't carry")]
    User,
}

impl From<crate::fs::Error> for Problem {
    fn from(error: crate::fs::Error) -> Self {
        Self::Unreadable(error.source.to_string())
    }
}
