//! The id of a secret that was found in a request: it says what was found and tells it from all others, and holds nothing
//! of its text. A refusal names it, the operator approves it, and a grant is for exactly it.
//!
//! Kind and name are part of the id, and not only shown beside it: who approves `token:github-pat:…` has not approved the
//! value of a credential, whatever the one who asked calls it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::scan::{Finding, Fingerprint, Kind};

/// The most bytes of the name of a rule or a credential.
const MAX_NAME: usize = 128;

/// The id of a secret, written as `KIND:NAME:FINGERPRINT`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SecretId {
    kind: Kind,
    name: Arc<str>,
    fingerprint: Fingerprint,
}

/// What isn't the id of a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the id of a secret is its kind, its name and 16 digits, such as `token:github-pat:0123456789abcdef`"
)]
pub struct NotASecretId;

impl SecretId {
    /// The id of what was found.
    pub fn of(finding: &Finding) -> Self {
        let Finding { kind, what, fingerprint, place: _ } = finding;
        Self { kind: *kind, name: Arc::clone(what), fingerprint: *fingerprint }
    }

    /// What kind of secret it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was found, for people.
    pub fn plain(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Credential => format!("the value of your credential `{name}`"),
            Kind::Token => format!("what looks like a token (`{name}`)"),
            Kind::Placeholder => format!("the placeholder of the credential `{name}`"),
        }
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.fingerprint)
    }
}

impl FromStr for SecretId {
    type Err = NotASecretId;

    fn from_str(text: &str) -> Result<Self, NotASecretId> {
        let mut parts = text.split(':');
        let (Some(kind), Some(name), Some(fingerprint), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotASecretId);
        };
        let kinds = [Kind::Credential, Kind::Token, Kind::Placeholder];
        let kind = kinds.into_iter().find(|known| known.word() == kind).ok_or(NotASecretId)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(NotASecretId);
        }
        let fingerprint = fingerprint.parse().map_err(|_| NotASecretId)?;
        Ok(Self { kind, name: Arc::from(name), fingerprint })
    }
}

impl Serialize for SecretId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::SecretId;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for text in [
            "credential:github:0123456789abcdef",
            "token:github-pat:ffffffffffffffff",
            "placeholder:a.b_c:0000000000000000",
        ] {
            assert_eq!(text.parse::<SecretId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "github:0123456789abcdef",
            "secret:github:0123456789abcdef",
            "credential::0123456789abcdef",
            "credential:git hub:0123456789abcdef",
            "credential:git\u{202e}hub:0123456789abcdef",
            "credential:github:0123456789ABCDEF",
            "credential:github:0123456789abcde",
            "credential:github:0123456789abcdef:",
            "credential:*:0123456789abcdef",
        ] {
            assert!(text.parse::<SecretId>().is_err(), "{text}");
        }
    }
}
