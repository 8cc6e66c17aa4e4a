//! One value that is searched for, and reading it in the notations that it may be in.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::filter::Entry;
use super::finding::{Fingerprint, Kind};
use super::text::{Layer, Read, Text, hex, sextet};

/// The fewest bytes that are searched for: a shorter value is in too many texts by chance.
pub(super) const LEAST: usize = 6;

/// A shorter value counts only where no letter and no digit stands beside it, unless it is in base64 or hexadecimal.
const ALONE_BELOW: usize = 8;

/// A longer value is searched for in parts of at most so many bytes, so that little need be held back.
const PART: usize = 2048;

/// One value, or one part of a long one.
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
    pub(super) fingerprint: Fingerprint,
    text: Zeroizing<Vec<u8>>,
    alone: bool,
}

/// How a value may be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Way {
    /// The notations of each character, that of the text first.
    layers: &'static [Layer],
    core: Core,
}

/// What the characters are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Core {
    /// The value's own bytes.
    Bytes,
    /// Two hexadecimal digits a byte.
    Hex,
    /// Base64, of which the first digits that belong to the value alone begin this many bits into it; some are left out.
    Base64 { skip: usize },
}

/// What came of reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// It isn't there.
    No,
    /// It depends on what comes.
    More,
    /// It is there, and ends here.
    Yes(usize),
}

const RAW: &[Layer] = &[];
const JSON: &[Layer] = &[Layer::Json];
const JSON_TWICE: &[Layer] = &[Layer::Json, Layer::Json];
const PERCENT: &[Layer] = &[Layer::Percent];
const PERCENT_TWICE: &[Layer] = &[Layer::Percent, Layer::Percent];
const PERCENT_JSON: &[Layer] = &[Layer::Percent, Layer::Json];

impl Value {
    /// Makes the values to search for, none for one that is too short.
    pub(super) fn parts(kind: Kind, name: &str, text: &[u8]) -> Vec<Self> {
        if text.len() < LEAST {
            return Vec::new();
        }
        let name: Arc<str> = Arc::from(name);
        let fingerprint = Fingerprint::of(kind, &name, text);
        let size = text.len().div_ceil(text.len().div_ceil(PART));
        let part = |part: &[u8]| Self {
            kind,
            name: Arc::clone(&name),
            fingerprint,
            text: Zeroizing::new(part.to_vec()),
            alone: text.len() < ALONE_BELOW,
        };
        text.chunks(size).map(part).collect()
    }

    /// Whether it is this one.
    pub(super) fn is(&self, kind: Kind, name: &str, text: &[u8]) -> bool {
        self.kind == kind && &*self.name == name && *self.text == text
    }

    /// Whether a text is this value, or for a placeholder a part of it.
    pub(super) fn explains(&self, text: &[u8]) -> bool {
        match self.kind {
            Kind::Placeholder => memchr::memmem::find(&self.text, text).is_some(),
            _ => *self.text == text,
        }
    }

    /// Returns what it may begin with, and how it is to be read there.
    pub(super) fn begins<T>(&self, what: impl Fn(Way) -> T) -> Vec<Entry<T>> {
        let mut ways: Vec<(Vec<u8>, Way)> = Vec::new();
        let mut add = |begin: Zeroizing<Vec<u8>>, layers, core| {
            let begin = begin.get(..8.min(begin.len())).unwrap_or_default();
            let way = Way { layers, core };
            let fold = |begin: &[u8]| begin.to_ascii_lowercase();
            if !ways.iter().any(|(known, there)| *there == way && fold(known) == fold(begin)) {
                ways.push((begin.to_vec(), way));
            }
        };
        let head = self.text.get(..8.min(self.text.len())).unwrap_or_default();
        for (layers, encoders) in NOTATIONS {
            for encoder in *encoders {
                add(encoder(head), layers, Core::Bytes);
            }
        }
        add(each(head, |byte, out| digits(b"", byte, out)), RAW, Core::Hex);
        // After 0, 2 and 1 bytes of another text.
        for skip in [0, 2, 4] {
            let all = (self.text.len() * 8 - skip) / 6;
            // Where a line ends within the first digits, it is found by those that follow.
            for left_out in [0, 4] {
                if left_out > 0 && all < left_out + 10 {
                    continue;
                }
                let skip = skip + left_out * 6;
                for (layers, alphabet) in ALPHABETS {
                    let digits = (0..4).filter_map(|at| self.sextet(skip + at * 6));
                    let begin = digits.flat_map(|sextet| alphabet(sextet).as_bytes().to_vec()).collect();
                    add(Zeroizing::new(begin), layers, Core::Base64 { skip });
                }
            }
        }
        ways.into_iter().filter_map(|(begin, way)| Entry::new(&begin, what(way))).collect()
    }

    /// Reads it at a place.
    pub(super) fn read(&self, way: Way, text: Text<'_>, start: usize) -> Outcome {
        match way.core {
            Core::Bytes => self.read_bytes(way.layers, text, start),
            Core::Hex => self.read_hex(text, start),
            Core::Base64 { skip } => self.read_base64(way.layers, skip, text, start),
        }
    }

    fn read_bytes(&self, layers: &[Layer], text: Text<'_>, start: usize) -> Outcome {
        if self.alone && text.before(start).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            return Outcome::No;
        }
        let mut at = start;
        for expected in self.text.iter() {
            match text.read(layers, at) {
                Read::Byte(byte, next)
                    if byte == *expected
                        || (byte == b'+' && *expected == b' ' && layers.contains(&Layer::Percent)) =>
                {
                    at = next;
                }
                Read::More => return Outcome::More,
                _ => return Outcome::No,
            }
        }
        match text.raw(at) {
            Read::More if self.alone => Outcome::More,
            Read::Byte(byte, _) if self.alone && byte.is_ascii_alphanumeric() => Outcome::No,
            _ => Outcome::Yes(at),
        }
    }

    fn read_hex(&self, text: Text<'_>, start: usize) -> Outcome {
        let mut at = start;
        for expected in self.text.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
            match text.raw(at) {
                Read::Byte(byte, next) if hex(byte) == Some(expected) => at = next,
                Read::More => return Outcome::More,
                _ => return Outcome::No,
            }
        }
        Outcome::Yes(at)
    }

    fn read_base64(&self, layers: &[Layer], skip: usize, text: Text<'_>, start: usize) -> Outcome {
        let mut at = start;
        let count = (self.text.len() * 8).saturating_sub(skip) / 6;
        for index in 0..count {
            let mut breaks = 0;
            loop {
                match text.read(layers, at) {
                    Read::Byte(b'\r' | b'\n', next) if breaks < 2 && index > 0 => {
                        breaks += 1;
                        at = next;
                    }
                    Read::Byte(byte, next) if sextet(byte) == self.sextet(skip + index * 6) => {
                        at = next;
                        break;
                    }
                    Read::More => return Outcome::More,
                    _ => return Outcome::No,
                }
            }
        }
        Outcome::Yes(at)
    }

    /// Returns the six bits from here on, if there are as many.
    fn sextet(&self, bit: usize) -> Option<u8> {
        let byte = |at: usize| self.text.get(at).map(|byte| u16::from(*byte));
        let (at, within) = (bit / 8, bit % 8);
        let second = if within > 2 { byte(at + 1)? } else { 0 };
        let pair = byte(at)? << 8 | second;
        Some((pair >> (10 - within) & 63) as u8)
    }
}

/// Writes a digit of base64.
type Digit = fn(u8) -> String;

/// Writes bytes in a notation.
type Encoder = fn(&[u8]) -> Zeroizing<Vec<u8>>;

/// The notations of bytes, with all that the writers of each differ in.
const NOTATIONS: &[(&[Layer], &[Encoder])] = &[
    (RAW, &[raw]),
    (JSON, &[raw, json, json_slash, json_html, json_careful, json_all, hex_all]),
    (JSON_TWICE, &[raw, |text| json(&json(text)), |text| json(&json_slash(text))]),
    (PERCENT, &[raw, percent, percent_path, percent_marks, percent_all, form]),
    (PERCENT_TWICE, &[raw, |text| percent(&percent(text)), |text| percent(&percent_all(text))]),
    (PERCENT_JSON, &[raw, |text| percent(&json(text)), |text| percent(&json_all(text))]),
];

/// The alphabets of base64, with what may become of its punctuation.
const ALPHABETS: &[(&[Layer], Digit)] = &[
    (JSON, |digit| alphabet(digit, "+", "/")),
    (JSON, |digit| alphabet(digit, "-", "_")),
    (JSON, |digit| alphabet(digit, "+", "\\/")),
    (JSON, |digit| alphabet(digit, "\\u002b", "/")),
    (PERCENT, |digit| alphabet(digit, "%2b", "%2f")),
    (PERCENT, |digit| alphabet(digit, "+", "/")),
    (PERCENT_TWICE, |digit| alphabet(digit, "%252b", "%252f")),
];

fn alphabet(digit: u8, plus: &str, slash: &str) -> String {
    match digit {
        0..26 => char::from(b'A' + digit).to_string(),
        26..52 => char::from(b'a' + digit - 26).to_string(),
        52..62 => char::from(b'0' + digit - 52).to_string(),
        62 => plus.to_owned(),
        _ => slash.to_owned(),
    }
}

fn each(text: &[u8], mut write: impl FnMut(u8, &mut Vec<u8>)) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 16));
    for byte in text {
        write(*byte, &mut out);
    }
    out
}

fn raw(text: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.to_vec())
}

fn digits(before: &[u8], byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    for digit in [byte >> 4, byte & 15] {
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

fn percent(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            digits(b"%", byte, out);
        }
    })
}

/// As those write it who leave the slash.
fn percent_path(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b'/' => out.push(byte),
        _ => out.extend_from_slice(&percent(&[byte])),
    })
}

/// As JavaScript writes a component.
fn percent_marks(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b'!' | b'\'' | b'(' | b')' | b'*' => out.push(byte),
        _ => out.extend_from_slice(&percent(&[byte])),
    })
}

/// As forms have it, with a plus sign for a space.
fn form(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b' ' => out.push(b'+'),
        _ => out.extend_from_slice(&percent(&[byte])),
    })
}

fn percent_all(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| digits(b"%", byte, out))
}

fn json(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'\n' => out.extend(b"\\n"),
        b'\r' => out.extend(b"\\r"),
        b'\t' => out.extend(b"\\t"),
        0..32 => digits(b"\\u00", byte, out),
        _ => out.push(byte),
    })
}

fn json_slash(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b'/' => out.extend(b"\\/"),
        _ => out.extend_from_slice(&json(&[byte])),
    })
}

/// As those write it who want JSON to be no HTML.
fn json_html(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b'<' | b'>' | b'&' => digits(b"\\u00", byte, out),
        _ => out.extend_from_slice(&json(&[byte])),
    })
}

/// As those write it who want JSON to be harmless within HTML.
fn json_careful(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| match byte {
        b'<' | b'>' | b'&' | b'\'' | b'"' | b'+' | b'=' | b'/' | b'`' => digits(b"\\u00", byte, out),
        _ => out.extend_from_slice(&json(&[byte])),
    })
}

fn json_all(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| digits(b"\\u00", byte, out))
}

fn hex_all(text: &[u8]) -> Zeroizing<Vec<u8>> {
    each(text, |byte, out| digits(b"\\x", byte, out))
}
