//! Deciding what begins at each place.
//!
//! What is said of a place depends only on a few bytes before it and on the bytes after it, never on how they came: a
//! place about which nothing can be said yet stops the search until more is there. So any split gives the same findings.

use std::ops::Range;
use std::sync::Arc;

use super::finding::{Finding, Fingerprint, Kind};
use super::known::{Known, What};
use super::rules;
use super::scanner::MOST_HELD;
use super::text::Text;
use super::value::Outcome;

/// How many bytes before a place are looked at.
pub(super) const CONTEXT: usize = 16;

/// The search through one stream.
pub(super) struct Search {
    known: Arc<Known>,
    own: Option<Box<str>>,
    /// How many bytes came before those that are looked at.
    before: u64,
    /// Where the last token ends that was told; what begins within it is no token of its own.
    token: u64,
    /// Where each value ends that was told last, by its number; only those that were.
    told: Vec<(usize, u64)>,
}

/// What begins at a place.
struct Found {
    what: What,
    end: usize,
    finding: Option<Finding>,
}

impl Search {
    pub(super) fn new(known: Arc<Known>, own: Option<&str>) -> Self {
        Self { known, own: own.map(Box::from), before: 0, token: 0, told: Vec::new() }
    }

    /// Counts bytes that are looked at no more.
    pub(super) fn skip(&mut self, count: usize) {
        self.before += count as u64;
    }

    /// Looks at what begins from this place on, and returns the first place that is not decided.
    pub(super) fn look(
        &mut self,
        bytes: &[u8],
        from: usize,
        ended: bool,
        tell: &mut dyn FnMut(Finding),
    ) -> usize {
        let known = Arc::clone(&self.known);
        let mut at = from;
        while let Some(place) = known.filter.next(bytes, at) {
            let Some(found) = self.begins(&known, bytes, place, ended) else { return place };
            for found in found {
                self.settle(found, tell);
            }
            at = place + 1;
        }
        if ended {
            return bytes.len();
        }
        known.filter.open(bytes, at).unwrap_or(bytes.len())
    }

    /// Returns what begins at a place, or nothing where that depends on what comes.
    fn begins(&self, known: &Known, bytes: &[u8], place: usize, ended: bool) -> Option<Vec<Found>> {
        let most = place + MOST_HELD;
        let text = Text {
            bytes: bytes.get(..most.min(bytes.len())).unwrap_or_default(),
            ended: ended && bytes.len() < most,
        };
        let mut all: Vec<Found> = Vec::new();
        let mut wait = false;
        for what in known.filter.at(bytes, place) {
            let found = match *what {
                What::Value(index, way) => {
                    let value = known.values.get(index)?;
                    match value.read(way, text, place) {
                        Outcome::No => continue,
                        Outcome::More => {
                            wait = true;
                            continue;
                        }
                        Outcome::Yes(end) => {
                            let own =
                                value.kind == Kind::Placeholder && self.own.as_deref() == Some(&*value.name);
                            let finding = (!own).then(|| Finding {
                                kind: value.kind,
                                what: Arc::clone(&value.name),
                                fingerprint: value.fingerprint,
                                place: self.place(place..end),
                            });
                            Found { what: *what, end, finding }
                        }
                    }
                }
                What::Token(..) if self.token > self.before + place as u64 => continue,
                What::Token(rule, start) => match rules::read(rule, start, text, place) {
                    rules::Token::No => continue,
                    rules::Token::More => {
                        wait = true;
                        continue;
                    }
                    rules::Token::Yes { id, secret, canonical } => {
                        let end = secret.end;
                        let explained = known.values.iter().any(|value| value.explains(&canonical));
                        let finding = (!explained).then(|| Finding {
                            kind: Kind::Token,
                            fingerprint: Fingerprint::of(Kind::Token, &id, &canonical),
                            what: id,
                            place: self.place(secret),
                        });
                        Found { what: *what, end, finding }
                    }
                },
            };
            // Of the ways to read a value the one counts that takes most, and of the rules the first.
            let same = all.iter_mut().find(|there| match (there.what, found.what) {
                (What::Value(one, _), What::Value(other, _)) => one == other,
                (What::Token(..), What::Token(..)) => true,
                _ => false,
            });
            match same {
                None => all.push(found),
                Some(there) => {
                    if matches!(found.what, What::Value(..)) && there.end < found.end {
                        *there = found;
                    }
                }
            }
        }
        // What is still open after so many bytes is nothing.
        if wait && bytes.len() < most { None } else { Some(all) }
    }

    fn settle(&mut self, found: Found, tell: &mut dyn FnMut(Finding)) {
        let end = self.before + found.end as u64;
        match found.what {
            What::Token(..) => self.token = end,
            What::Value(index, _) => {
                let start = found.finding.as_ref().map(|finding| finding.place.start);
                match self.told.iter_mut().find(|(value, _)| *value == index) {
                    // The same one, read from a little further on.
                    Some((_, last)) if start.is_some_and(|start| start < *last) => return,
                    Some((_, last)) => *last = end,
                    None => self.told.push((index, end)),
                }
            }
        }
        if let Some(finding) = found.finding {
            tell(finding);
        }
    }

    fn place(&self, place: Range<usize>) -> Range<u64> {
        self.before + place.start as u64..self.before + place.end as u64
    }
}
