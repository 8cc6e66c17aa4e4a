//! What follows the beginning of a token: characters of a set, so and so many, and words between them.

use std::ops::Range;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::class::Class;
use super::pem;
use crate::scan::text::{Read, Text};
use crate::scan::value::Outcome;

/// The parts of a shape, each read as far as it goes: `base62:36 '_' digit:10-13`, with `+` where the end is open.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Shape {
    parts: Vec<Part>,
}

enum Part {
    /// A word between single quotes.
    Word(Vec<u8>),
    /// So many characters of a set; where it is cut, more of them may follow.
    Run { of: Class, least: usize, most: usize, cut: bool },
    /// `secret`: the secret begins here.
    Secret,
    /// `assigned`: from a name to its value, such as the `" => "` in `"key" => "value"`. The secret begins after it.
    Assigned,
    /// `near:N`: up to so many characters, of which the first run of the next part's length is the secret.
    Near(usize),
    /// `pem`: the rest of a private key that begins with `-----BEGIN`.
    Pem,
}

/// The secret, as far as it was read.
pub(super) struct Secret {
    pub(super) place: Range<usize>,
    /// Its text without escapes.
    pub(super) canonical: Zeroizing<Vec<u8>>,
    /// How much of it is the beginning that is always the same.
    fixed: usize,
    /// Whether it may go on after its end.
    pub(super) cut: bool,
    /// Whether its text is kept: first only its end is looked for.
    pub(super) kept: bool,
}

impl Secret {
    /// Begins one whose beginning is there, without its text.
    pub(super) fn new(place: Range<usize>) -> Self {
        Self { place, canonical: Zeroizing::default(), fixed: 0, cut: false, kept: false }
    }

    /// Begins one whose beginning is there.
    pub(super) fn kept(place: Range<usize>, start: &[u8]) -> Self {
        let canonical = Zeroizing::new(start.to_vec());
        Self { place, canonical, fixed: start.len(), cut: false, kept: true }
    }

    /// Begins anew: what was read until here only led to it.
    pub(super) fn restart(&mut self, at: usize) {
        self.place.start = at;
        self.canonical.clear();
        self.fixed = 0;
    }

    /// What differs from one token to the next.
    pub(super) fn varying(&self) -> &[u8] {
        self.canonical.get(self.fixed..).unwrap_or_default()
    }
}

/// The longest run whose end is open.
const LONGEST: usize = 4096;

impl Shape {
    /// Returns the first bytes of a beginning: where these are only three, each that may come next is tried.
    pub(super) fn continued(&self, start: &[u8]) -> Vec<Vec<u8>> {
        match self.parts.first() {
            Some(Part::Run { of, .. }) if start.len() == 3 => {
                let mut last = None;
                // The filter folds the case.
                let next = (b'!'..=b'~').filter(|byte| of.has(*byte));
                let mut all: Vec<Vec<u8>> =
                    next.map(|byte| [start, &[byte.to_ascii_lowercase()]].concat()).collect();
                all.sort();
                all.retain(|begin| last.replace(begin.clone()).as_ref() != Some(begin));
                all
            }
            _ => vec![start.to_vec()],
        }
    }

    /// Reads what follows a beginning.
    pub(super) fn read(&self, text: Text<'_>, mut at: usize, secret: &mut Secret) -> Outcome {
        let mut parts = self.parts.iter();
        while let Some(part) = parts.next() {
            let outcome = match part {
                Part::Word(word) => read_word(word, text, at, secret),
                Part::Run { of, least, most, cut } => read_run(*of, *least, *most, *cut, text, at, secret),
                Part::Secret => {
                    secret.restart(at);
                    Outcome::Yes(at)
                }
                Part::Assigned => read_assignment(text, at, secret),
                Part::Pem => pem::read(text, at, secret),
                Part::Near(within) => match parts.next() {
                    Some(Part::Run { of, least, .. }) => read_near(*within, *of, *least, text, at, secret),
                    _ => Outcome::No,
                },
            };
            match outcome {
                Outcome::Yes(end) => at = end,
                other => return other,
            }
        }
        Outcome::Yes(at)
    }
}

fn read_word(word: &[u8], text: Text<'_>, mut at: usize, secret: &mut Secret) -> Outcome {
    for expected in word {
        match text.loose(at) {
            Read::Byte(byte, next) if byte == *expected => at = next,
            Read::More => return Outcome::More,
            _ => return Outcome::No,
        }
    }
    if secret.kept {
        secret.canonical.extend_from_slice(word);
    }
    Outcome::Yes(at)
}

fn read_run(
    of: Class,
    least: usize,
    most: usize,
    cut: bool,
    text: Text<'_>,
    mut at: usize,
    secret: &mut Secret,
) -> Outcome {
    let mut count = 0;
    while count < most {
        match text.loose(at) {
            Read::Byte(byte, next) if of.has(byte) => {
                if secret.kept {
                    secret.canonical.push(byte);
                }
                at = next;
                count += 1;
            }
            Read::More => return Outcome::More,
            _ => break,
        }
    }
    secret.cut = cut && count == most;
    if count < least { Outcome::No } else { Outcome::Yes(at) }
}

/// Reads from the rest of a name to the value: at most 24 characters of the name, then at most 16 of punctuation, and once
/// more after the word `value`, as lists of variables have it.
fn read_assignment(text: Text<'_>, start: usize, secret: &mut Secret) -> Outcome {
    let mut at = start;
    let name = Class::alnum();
    for _ in 0..24 {
        match text.loose(at) {
            Read::Byte(byte, next) if name.has(byte) || b"_-.".contains(&byte) => at = next,
            Read::More => return Outcome::More,
            _ => break,
        }
    }
    for round in 0..2 {
        let mut count = 0;
        loop {
            match text.loose(at) {
                Read::Byte(byte, next) if count < 16 && b" \t\r\n\"'`:=><,|()[]{}\\&".contains(&byte) => {
                    at = next;
                    count += 1;
                }
                Read::More => return Outcome::More,
                _ => break,
            }
        }
        if count == 0 {
            return Outcome::No;
        }
        if round == 0 {
            let value: &[u8] = b"value";
            let mut end = at;
            let mut is_value = true;
            for expected in value {
                match text.loose(end) {
                    Read::Byte(byte, next) if byte.eq_ignore_ascii_case(expected) => end = next,
                    Read::More => return Outcome::More,
                    _ => {
                        is_value = false;
                        break;
                    }
                }
            }
            if !is_value || matches!(text.loose(end), Read::Byte(byte, _) if name.has(byte)) {
                break;
            }
            at = end;
        }
    }
    secret.restart(at);
    Outcome::Yes(at)
}

/// Looks for a run of exactly this length that stands alone and looks like chance.
fn read_near(
    within: usize,
    of: Class,
    length: usize,
    text: Text<'_>,
    start: usize,
    secret: &mut Secret,
) -> Outcome {
    let end = start + within;
    let mut at = start;
    match text.loose(at) {
        Read::Byte(byte, _) if of.has(byte) => return Outcome::No,
        Read::More => return Outcome::More,
        _ => {}
    }
    while at < end {
        let mut next = at;
        secret.restart(at);
        loop {
            match text.loose(next) {
                Read::Byte(byte, after) if of.has(byte) && secret.canonical.len() <= length => {
                    secret.canonical.push(byte);
                    next = after;
                }
                Read::More => return Outcome::More,
                Read::Byte(b'=', _) if secret.canonical.len() == length => {
                    secret.canonical.clear();
                    break;
                }
                _ => break,
            }
        }
        if secret.canonical.len() == length && super::check::random(&secret.canonical) {
            return Outcome::Yes(next);
        }
        if secret.canonical.len() > length {
            // The rest of a longer run.
            loop {
                match text.raw(next) {
                    Read::Byte(byte, after) if of.has(byte) && next < end => next = after,
                    Read::More if next < end => return Outcome::More,
                    _ => break,
                }
            }
        }
        at = match text.loose(next) {
            Read::Byte(_, after) => after,
            Read::More => return Outcome::More,
            _ => return Outcome::No,
        };
    }
    Outcome::No
}

impl TryFrom<String> for Shape {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = |part: &str| part_of(part).ok_or_else(|| format!("no part of a shape: `{part}`"));
        Ok(Self { parts: text.split_whitespace().map(part).collect::<Result<_, _>>()? })
    }
}

fn part_of(part: &str) -> Option<Part> {
    if let Some(word) = part.strip_prefix('\'') {
        return Some(Part::Word(word.strip_suffix('\'')?.as_bytes().to_vec()));
    }
    match part {
        "assigned" => return Some(Part::Assigned),
        "secret" => return Some(Part::Secret),
        "pem" => return Some(Part::Pem),
        _ => {}
    }
    let (name, count) = part.split_once(':')?;
    if name == "near" {
        return Some(Part::Near(count.parse().ok()?));
    }
    let of = Class::named(name)?;
    let (least, most, cut) = if let Some(least) = count.strip_suffix('+') {
        (least.parse().ok()?, LONGEST, true)
    } else if let Some((least, most)) = count.split_once('-') {
        (least.parse().ok()?, most.parse().ok()?, false)
    } else {
        let exact = count.parse().ok()?;
        (exact, exact, false)
    };
    Some(Part::Run { of, least, most, cut })
}
