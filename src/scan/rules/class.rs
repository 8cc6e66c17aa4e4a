//! Sets of characters.

use serde::Deserialize;

/// A set of ASCII characters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(super) struct Class(u128);

impl Class {
    /// Whether a character is in it.
    pub(super) fn has(self, byte: u8) -> bool {
        byte < 128 && self.0 >> byte & 1 == 1
    }

    /// Letters and digits.
    pub(super) fn alnum() -> Self {
        Self::none().and(b'0'..=b'9').and(b'A'..=b'Z').and(b'a'..=b'z')
    }

    const fn none() -> Self {
        Self(0)
    }

    fn and(self, range: std::ops::RangeInclusive<u8>) -> Self {
        Self(range.fold(self.0, |set, byte| set | 1 << byte))
    }

    fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |set, byte| set | 1 << byte))
    }

    /// Finds one by its name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let none = Self::none();
        Some(match name {
            "none" => none,
            "digit" => none.and(b'0'..=b'9'),
            "hex" => none.and(b'0'..=b'9').and(b'a'..=b'f'),
            "any-hex" => none.and(b'0'..=b'9').and(b'a'..=b'f').and(b'A'..=b'F'),
            "letter" => none.and(b'A'..=b'Z').and(b'a'..=b'z'),
            "upper" => none.and(b'0'..=b'9').and(b'A'..=b'Z'),
            "lower" => none.and(b'0'..=b'9').and(b'a'..=b'z'),
            "base32" => none.and(b'2'..=b'7').and(b'A'..=b'Z'),
            "bech32" => none.with(b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
            "alnum" => Self::alnum(),
            "word" => Self::alnum().with(b"_-"),
            "base64" => Self::alnum().with(b"+/"),
            "base64-any" => Self::alnum().with(b"+/_-="),
            "padded" => Self::alnum().with(b"+/="),
            "word-padded" => Self::alnum().with(b"_-="),
            "dotted" => Self::alnum().with(b"_-."),
            "tilde" => Self::alnum().with(b"_-.~"),
            // What a password in a URL may hold (RFC 3986, section 3.2.1).
            "userinfo" => Self::alnum().with(b"-._~!$&'()*+,;=%^#"),
            _ => return None,
        })
    }
}

impl TryFrom<String> for Class {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("no set of characters is called `{name}`"))
    }
}
