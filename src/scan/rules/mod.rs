//! The shapes of well-known tokens.
//!
//! They are data, in `rules.yaml`, each with texts that it must match and texts that it must not.

mod check;
mod class;
mod pem;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer};

use self::check::Check;
use self::class::Class;
use self::shape::{Secret, Shape};
use super::filter::Entry;
use super::known::What;
use super::text::{Read, Text};
use super::value::Outcome;

/// The shape of one token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Its name.
    #[serde(deserialize_with = "shared")]
    pub id: Arc<str>,
    /// What it finds.
    pub title: String,
    /// What it may begin with: at least four characters, or three where the shape says what follows them.
    starts: Vec<String>,
    /// Whether the beginning is a word, found in either case.
    #[serde(default)]
    any_case: bool,
    /// What follows.
    shape: Shape,
    /// What must stand before the beginning, and how often at least.
    behind: Option<Behind>,
    /// What must not stand before it.
    #[serde(default = "Class::alnum")]
    before: Class,
    /// What must not stand after it, beside what the shape ends with.
    #[serde(default = "Class::alnum")]
    after: Class,
    /// What must stand after it.
    followed: Option<char>,
    /// The fewest bits a character of what varies.
    #[serde(default)]
    entropy: f32,
    /// What else must be true.
    #[serde(default)]
    checks: Vec<Check>,
    /// Texts that it must find, each in parts, so that the file itself holds no token.
    #[serde(rename = "match")]
    matches: Vec<Vec<String>>,
    /// Texts that look like it and are none.
    differ: Vec<Vec<String>>,
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

/// What must stand before a beginning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    of: Class,
    least: usize,
}

/// The rules, in the order in which they count.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| parse(include_str!("../rules.yaml")));

/// What they begin with, made once.
static BEGINS: LazyLock<Vec<Entry<What>>> = LazyLock::new(|| {
    let mut begins = Vec::new();
    for (index, rule) in RULES.iter().enumerate() {
        for (number, start) in rule.starts.iter().enumerate() {
            for begin in rule.shape.continued(start.as_bytes()) {
                begins.extend(Entry::new(&begin, What::Token(index, number)));
            }
        }
    }
    begins
});

/// Parses rules. The text is a part of the program: what is wrong with it is found by the tests, and without rules there
/// would be a scan that finds nothing.
#[expect(clippy::expect_used, reason = "a test parses the very same text")]
fn parse(text: &str) -> Vec<Rule> {
    serde_yaml::from_str(text).expect("the rules are valid")
}

/// Returns all rules.
pub fn rules() -> &'static [Rule] {
    &RULES
}

/// Returns what the tokens begin with.
pub(super) fn begins() -> &'static [Entry<What>] {
    &BEGINS
}

/// What came of reading a token.
pub(super) enum Token {
    No,
    More,
    Yes {
        id: Arc<str>,
        /// Where the secret is.
        secret: std::ops::Range<usize>,
        /// The secret itself, without the escapes of its notation.
        canonical: zeroize::Zeroizing<Vec<u8>>,
    },
}

/// Reads a token at a place where the first bytes of a rule's beginning are.
pub(super) fn read(rule: usize, start: usize, text: Text<'_>, place: usize) -> Token {
    let Some(rule) = RULES.get(rule) else { return Token::No };
    let Some(start) = rule.starts.get(start) else { return Token::No };
    rule.read(start, text, place)
}

impl Rule {
    /// Returns the texts that it must find.
    pub fn matches(&self) -> impl Iterator<Item = String> {
        self.matches.iter().map(|parts| parts.concat())
    }

    /// Returns the texts that look like what it finds.
    pub fn differ(&self) -> impl Iterator<Item = String> {
        self.differ.iter().map(|parts| parts.concat())
    }

    fn read(&self, start: &str, text: Text<'_>, place: usize) -> Token {
        if text.before(place).is_some_and(|byte| self.before.has(byte)) {
            return Token::No;
        }
        let mut at = place;
        for expected in start.bytes() {
            match text.raw(at) {
                Read::Byte(byte, next)
                    if byte == expected || (self.any_case && byte.eq_ignore_ascii_case(&expected)) =>
                {
                    at = next;
                }
                Read::More => return Token::More,
                _ => return Token::No,
            }
        }
        if let Some(Behind { of, least }) = &self.behind {
            let behind = text.bytes.get(..place).unwrap_or_default();
            if behind.iter().rev().take(*least).filter(|byte| of.has(**byte)).count() < *least {
                return Token::No;
            }
        }
        // Most of what begins like a token goes on otherwise: its text is kept only when it is there.
        match self.shape.read(text, at, &mut Secret::new(place..at)) {
            Outcome::No => return Token::No,
            Outcome::More => return Token::More,
            Outcome::Yes(_) => {}
        }
        let mut secret = Secret::kept(place..at, start.as_bytes());
        let Outcome::Yes(end) = self.shape.read(text, at, &mut secret) else { return Token::No };
        secret.place.end = end;
        match text.loose(secret.place.end) {
            Read::More if !secret.cut => return Token::More,
            Read::Byte(byte, _) if self.after.has(byte) && !secret.cut => return Token::No,
            next => {
                let follows =
                    |character| matches!(next, Read::Byte(byte, _) if char::from(byte) == character);
                if !self.followed.is_none_or(follows) {
                    return Token::No;
                }
            }
        }
        if check::entropy(secret.varying()) < self.entropy
            || !self.checks.iter().all(|check| check.holds(&secret))
        {
            return Token::No;
        }
        Token::Yes { id: Arc::clone(&self.id), secret: secret.place, canonical: secret.canonical }
    }
}
