//! What was found, without any of it.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// What kind of secret was found.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// The value of one of the bottle's credentials.
    Credential,
    /// A text with the shape of a token.
    Token,
    /// The placeholder of another route's credential.
    Placeholder,
}

impl Kind {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Token => "token",
            Self::Placeholder => "placeholder",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What was found, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What kind of secret it is.
    pub kind: Kind,
    /// The credential's name, the rule's id, or the name of the credential whose placeholder it is.
    pub what: Arc<str>,
    /// What tells it from other findings and nothing of its text.
    pub fingerprint: Fingerprint,
    /// Where it stands, in bytes from the start of the stream.
    pub place: Range<u64>,
}

/// The first 64 bits of a SHA-256 over the kind, the name and the secret itself: the same secret has the same one in
/// every notation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Makes the fingerprint of a secret.
    pub(super) fn of(kind: Kind, what: &str, secret: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [kind.word(), "\0", what, "\0"] {
            hash.update(part.as_bytes());
        }
        hash.update(secret);
        let first = hash.finalize().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        Self(first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What isn't 16 lower case hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a fingerprint is 16 lower case hexadecimal digits")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let bits = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        bits.map(Self).ok_or(NotAFingerprint)
    }
}
