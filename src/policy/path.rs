//! The readings that an origin may give a path.
//!
//! A path is one thing on the wire and another in each origin: one program compares it as it was sent, the next decodes
//! it, and a third decodes it, drops `;parameters`, merges slashes and resolves `..`, in an order of its own. A request
//! is allowed when a route allows every reading, and refused when a deny rule matches any.
//!
//! The readings are all that comes of these steps, in any order, each of them taken or left out:
//!
//! - escapes are decoded, at most twice: all of them, all but `%2F`, those of unreserved characters (RFC 3986,
//!   section 6.2.2.2), or those of dots (the URL Standard);
//! - `;` and what follows it is dropped from each segment (RFC 3986, section 3.3);
//! - `?` or `#` that was decoded ends the path;
//! - runs of slashes become one, or a path that starts with two loses what may be an authority;
//! - dot segments are resolved (RFC 3986, section 5.2.4).
//!
//! `%2F` counts as a slash for routes: package registries know `/@scope%2fname` and `/@scope/name` as one. Deny rules see
//! it both as a slash and as a part of its segment. What has no reading that can be trusted is [`Ambiguous`].

mod check;
mod normalise;
mod pattern;
#[cfg(test)]
mod tests;

pub use pattern::{InvalidPattern, Pattern};

/// The most readings; a path with more was made for confusion.
const MAX_READINGS: usize = 64;
/// The most bytes of all readings.
const MAX_BYTES: usize = 64 * 1024;

/// Why a path can't be judged: what it has that origins read in ways of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Ambiguous(pub &'static str);

/// All readings of a path.
#[derive(Debug)]
pub struct Readings<'a> {
    /// The path as it was sent, where that is its only reading: almost always.
    only: Option<&'a str>,
    /// The readings, with a slash for each `%2F`.
    slashed: Vec<String>,
    /// Those in which a `%2F` is part of its segment, with the `%2F`.
    opaque: Vec<String>,
}

impl<'a> Readings<'a> {
    /// Finds the readings of a path as it was sent, without its query. Allocates nothing where there is only one.
    ///
    /// # Errors
    ///
    /// [`Ambiguous`].
    pub fn of(path: &'a str) -> Result<Self, Ambiguous> {
        if check::is_plain(path) {
            return Ok(Self { only: Some(path), slashed: Vec::new(), opaque: Vec::new() });
        }
        check::sane(path)?;
        let all = closure(path)?;
        let opaque: Vec<String> = all.iter().filter(|reading| reading.contains("%2F")).cloned().collect();
        let mut slashed: Vec<String> = Vec::with_capacity(all.len());
        for reading in all {
            let reading = if reading.contains("%2F") { reading.replace("%2F", "/") } else { reading };
            if !slashed.contains(&reading) {
                slashed.push(reading);
            }
        }
        Ok(Self { only: None, slashed, opaque })
    }

    /// The readings that a route has to allow, with a slash for each `%2F`. Never empty; the first is the path as it
    /// was sent.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.only.into_iter().chain(self.slashed.iter().map(String::as_str))
    }

    /// The readings of which a deny rule has to match one: also those in which `%2F` is part of a segment.
    pub fn each_and_opaque(&self) -> impl Iterator<Item = &str> {
        self.each().chain(self.opaque.iter().map(String::as_str))
    }
}

/// Everything that the steps make of a path, in any order.
fn closure(path: &str) -> Result<Vec<String>, Ambiguous> {
    let mut found = vec![(normalise::upper_hex(path), 0)];
    let mut bytes = path.len();
    let mut next = 0;
    while let Some((reading, decoded)) = found.get(next).cloned() {
        for successor in normalise::successors(&reading, decoded)? {
            if found.contains(&successor) {
                continue;
            }
            bytes = bytes.saturating_add(successor.0.len());
            if found.len() == MAX_READINGS || bytes > MAX_BYTES {
                return Err(Ambiguous("it has more readings than can be judged"));
            }
            found.push(successor);
        }
        next += 1;
    }
    Ok(found.into_iter().map(|(reading, _)| reading).collect())
}
