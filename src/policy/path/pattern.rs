//! A pattern of a rule, made ready to be compared with readings.

use std::fmt::Write as _;

use super::super::glob;
use super::normalise::{decode, escape, upper_hex};

/// A pattern (see [`glob`]) over the path with its leading slash.
///
/// It is written as in a URL or as people write a path: readings are compared with both its encoded and its decoded form.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it is sent: what can't stand in a URL is encoded, `%2F` is a slash.
    sent: String,
    /// As it is decoded, where that is another text.
    decoded: Option<String>,
}

/// Why a text is no pattern over paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(pub &'static str);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// A text that can match no path that is judged, or other paths than it says.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if !text.starts_with('/') {
            return Err(InvalidPattern("a path starts with `/`"));
        }
        if text.contains(['?', '#', '\\']) {
            return Err(InvalidPattern("a path has no query, fragment or backslash"));
        }
        let mut escapes = text.match_indices('%').map(|(at, _)| text.get(at..).and_then(escape));
        if escapes.clone().any(|escape| escape.is_none()) {
            return Err(InvalidPattern(
                "a `%` is followed by two hexadecimal digits; it stands for itself as `%25`",
            ));
        }
        if escapes.any(|escape| escape == Some(b'*')) {
            return Err(InvalidPattern("a `*` can't be escaped; it is always a wildcard"));
        }
        let decoded =
            decode(text, |_| true).map_err(|_| InvalidPattern("the escapes of a path are UTF-8"))?;
        let decoded = decoded.unwrap_or_else(|| text.to_owned());
        if decoded.contains(|character: char| character.is_control() || character == '\\') {
            return Err(InvalidPattern("a path has no control characters or backslashes"));
        }
        let dots = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte == b'.');
        if decoded.split('/').any(dots) {
            return Err(InvalidPattern("a path has no `.` or `..` segments"));
        }
        let sent = encoded(&upper_hex(text).replace("%2F", "/"));
        let decoded = (decoded != sent).then_some(decoded);
        Ok(Self { sent, decoded })
    }

    /// Whether it matches a reading.
    pub fn matches(&self, reading: &str) -> bool {
        let matches = |pattern: &String| glob::matches(pattern.as_bytes(), reading.as_bytes());
        matches(&self.sent) || self.decoded.as_ref().is_some_and(matches)
    }

    /// Whether it matches a reading for a deny rule, where a slash at the end makes no difference: most origins have one
    /// handler for both.
    pub fn covers(&self, reading: &str) -> bool {
        let forms = || [Some(&self.sent), self.decoded.as_ref()].into_iter().flatten();
        self.matches(reading)
            || forms().any(|form| glob::matches(bare(form).as_bytes(), bare(reading).as_bytes()))
    }

    /// Whether every reading that it matches is matched by `wide`; no where that can't be seen.
    pub fn is_within(&self, wide: &Self) -> bool {
        let forms =
            |pattern: &'_ Self| [Some(pattern.sent.clone()), pattern.decoded.clone()].into_iter().flatten();
        forms(self).all(|narrow| forms(wide).any(|wide| glob::is_within(narrow.as_bytes(), wide.as_bytes())))
    }

    /// The patterns, in the notation of [`glob`], of which a reading has to match one.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &str> {
        [Some(self.sent.as_str()), self.decoded.as_deref()].into_iter().flatten()
    }

    /// How specific it is: the bytes before its first wildcard, and then whether it has none.
    pub fn specificity(&self) -> (usize, bool) {
        match self.sent.find('*') {
            Some(wildcard) => (wildcard, false),
            None => (self.sent.len(), true),
        }
    }
}

/// The path without slashes at its end.
fn bare(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    if bare.is_empty() { "/" } else { bare }
}

/// Encodes what can't stand in a URL. Escapes and wildcards stay.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            ..=b' ' | 0x7f.. => drop(write!(out, "%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}
