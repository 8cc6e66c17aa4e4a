//! The texts that are searched for, and the searching of bytes that are all there.

use std::ops::Range;

use zeroize::Zeroizing;

/// What must not come back: a secret, and what it looks like in the notations that answers are written in.
#[derive(Default)]
pub(crate) struct Needles {
    all: Vec<Needle>,
}

/// One text to search for.
///
/// The search goes for one byte of it that is rare in answers, and compares where it finds that. A general searcher would
/// be faster only through what it knows beforehand: made for each answer it takes longer than most answers do, and kept it
/// holds a copy of the text that is never wiped.
struct Needle {
    text: Zeroizing<Vec<u8>>,
    /// The place of the rare byte.
    rare: usize,
}

/// How many of a text's first bytes tell too much of it: so many, or half of the text.
const TELLS: usize = 8;

impl Needle {
    /// How many bytes at the end may be the beginning of this text.
    fn begun(&self, bytes: &[u8]) -> Option<usize> {
        let first = *self.text.first()?;
        let from = bytes.len().saturating_sub(self.text.len() - 1);
        let end = bytes.get(from..)?;
        let mut suffixes = memchr::memchr_iter(first, end).filter_map(|at| end.get(at..));
        suffixes.find(|suffix| self.text.starts_with(suffix)).map(<[u8]>::len)
    }
}

impl Needles {
    /// Adds a text with its notations; the empty text is none.
    pub(crate) fn add(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.push(Zeroizing::new(text.to_vec()));
        self.push(percent(text, b"0123456789ABCDEF"));
        self.push(percent(text, b"0123456789abcdef"));
        // JSON (RFC 8259, section 7), whose writers differ about the slash.
        let json: &[(u8, &[u8])] = &[(b'"', b"\\\""), (b'\\', b"\\\\")];
        self.push(replaced(text, json));
        self.push(replaced(text, &[json, &[(b'/', b"\\/")]].concat()));
        let html: &[(u8, &[u8])] = &[(b'&', b"&amp;"), (b'<', b"&lt;"), (b'>', b"&gt;"), (b'"', b"&quot;")];
        self.push(replaced(text, html));
        self.push(replaced(text, &[html, &[(b'\'', b"&#39;")]].concat()));
    }

    /// Most secrets are letters and digits, and look the same in every notation.
    fn push(&mut self, text: Zeroizing<Vec<u8>>) {
        if !self.all.iter().any(|known| known.text == text) {
            let rare = text.iter().enumerate().max_by_key(|(_, byte)| rarity(**byte)).map_or(0, |(at, _)| at);
            self.all.push(Needle { text, rare });
        }
    }

    /// Tells of each place where one of the texts is, overlapping ones too.
    pub(super) fn find(&self, bytes: &[u8], mut tell: impl FnMut(Range<usize>)) {
        // Most headers are shorter than any secret.
        for Needle { text, rare } in self.all.iter().filter(|needle| needle.text.len() <= bytes.len()) {
            let Some(byte) = text.get(*rare) else { continue };
            for at in memchr::memchr_iter(*byte, bytes) {
                let place = at.checked_sub(*rare).map(|start| start..start + text.len());
                if let Some(place) = place
                    && bytes.get(place.clone()) == Some(text.as_slice())
                {
                    tell(place);
                }
            }
        }
    }

    /// How many bytes at the end may be the beginning of one of the texts.
    pub(super) fn begun(&self, bytes: &[u8]) -> usize {
        self.all.iter().filter_map(|needle| needle.begun(bytes)).max().unwrap_or_default()
    }

    /// Whether what stands at the end is so much of one of the texts that it would tell too much of it.
    pub(super) fn tells(&self, bytes: &[u8]) -> bool {
        let tells = |needle: &Needle| {
            needle.begun(bytes).is_some_and(|begun| begun >= TELLS.min(needle.text.len() / 2))
        };
        self.all.iter().any(tells)
    }

    /// What stands in the place of each byte that is taken out: none that a text begins or goes on with, so that what is
    /// left can't be one of them again.
    pub(super) fn mask(&self) -> u8 {
        let mut candidates = (b'*'..=b'~').chain(b'!'..=b')');
        candidates.find(|byte| !self.all.iter().any(|needle| needle.text.contains(byte))).unwrap_or(b'*')
    }
}

/// How rare a byte is in text, by a rough order; what isn't in it is rarer than all of it.
fn rarity(byte: u8) -> usize {
    const COMMON: &[u8] =
        b" etaoinsrlcdhum\n0pfg\"1b,y.2-:/v3w5498k67=_<>xST;A()CIEMPDRNLBFHj'GOWU{}[]zqVKY+&%XJQZ";
    COMMON.iter().position(|common| *common == byte).unwrap_or(COMMON.len())
}

/// Percent-encodes all that isn't unreserved (RFC 3986, section 2.3).
fn percent(text: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or_default();
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 3));
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

/// Writes some bytes in another way.
fn replaced(text: &[u8], table: &[(u8, &[u8])]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 6));
    for byte in text {
        match table.iter().find(|(from, _)| from == byte) {
            Some((_, to)) => out.extend_from_slice(to),
            None => out.push(*byte),
        }
    }
    out
}
