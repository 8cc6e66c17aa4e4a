//! Finding secrets in text that leaves a bottle.
//!
//! Searched are the values of the bottle's own credentials, whole and in the usual notations, the placeholders that stand
//! for them, and texts with the shape of a well-known token. The search is pure: it takes bytes as they come and tells of
//! findings, and knows nothing of where the bytes come from or go to.
//!
//! Each place is first looked up in a table of what may begin there ([`filter`]); only where something may is anything
//! read ([`value`], [`rules`]), and what is said of a place never depends on how the bytes came ([`search`]).

mod filter;
mod finding;
mod known;
mod rules;
mod scanner;
mod search;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use self::finding::{Finding, Fingerprint, Kind, NotAFingerprint};
pub use self::known::{Known, KnownBuilder};
pub use self::rules::{Rule, rules};
pub use self::scanner::{MOST_HELD, Scanner, scan};
