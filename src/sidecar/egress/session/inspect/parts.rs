//! The parts of a message that are encoded on their own (RFC 2045, section 6): base64 and quoted-printable.
//!
//! No structure is read, since origins differ about it: from the first header on that names an encoding, wherever it stands,
//! everything that follows is decoded in this way and searched. What isn't encoded so decodes to nonsense, in which nothing
//! is found.

use std::collections::VecDeque;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::scan::{Finding, Scanner};

/// How much is decoded at a time: what is held back is known to so many bytes.
const STEP: usize = 512;

/// The most steps that are told apart.
const MOST_MARKS: usize = 1024;

/// The most bytes of a header that are kept: its name, the space that may stand before its value, and its value.
const MOST_HEADER: usize = 256;

/// The header.
const NAME: &[u8] = b"content-transfer-encoding";

/// The search through encoded parts.
pub(super) struct Parts {
    base64: Layer,
    quoted: Layer,
    /// The header in the making, with the lines that continue it; none where the line is none, or is too long.
    header: Vec<u8>,
    line: Line,
    /// Up to where the text was looked at.
    seen: u64,
}

/// Where in a line the next byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Start,
    /// In what may be the header.
    Header,
    Other,
}

/// One encoding: its text, which is searched from the first header on that names it.
struct Layer {
    on: bool,
    code: Code,
    out: Vec<u8>,
    scanner: Scanner,
    seen: u64,
    /// Ends of steps: in what was decoded, and in the text.
    marks: VecDeque<(u64, u64)>,
    decided: u64,
}

/// A decoder.
enum Code {
    /// The bits of a group, how many digits it has, and how many line ends came since the last digit.
    Base64(u32, u8, u8),
    /// What came of an escape.
    Quoted(Quoted),
}

#[derive(Clone, Copy)]
enum Quoted {
    Plain,
    /// `=`.
    Escape,
    /// `=` and space or CR: a soft line break in the making.
    Break,
    /// `=` and a digit.
    Digit(u8),
}

impl Parts {
    /// Whether a body may have such parts.
    pub(super) fn of(headers: &HeaderMap) -> bool {
        headers.get_all(CONTENT_TYPE).iter().any(|value| {
            let value = value.as_bytes().trim_ascii_start();
            let is =
                |kind: &[u8]| value.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
            is(b"multipart/") || is(b"message/")
        })
    }

    pub(super) fn new(base64: Scanner, quoted: Scanner) -> Self {
        Self {
            base64: Layer::new(Code::Base64(0, 0, 0), base64),
            quoted: Layer::new(Code::Quoted(Quoted::Plain), quoted),
            header: Vec::new(),
            line: Line::Start,
            seen: 0,
        }
    }

    /// Looks at the next bytes of the text.
    pub(super) fn push(&mut self, text: &[u8], tell: &mut dyn FnMut(Finding)) {
        for mut step in text.chunks(STEP) {
            while !step.is_empty() {
                let on = [self.base64.on, self.quoted.on];
                let count = self.headers(step);
                let (now, rest) = step.split_at_checked(count).unwrap_or((step, &[]));
                self.seen += now.len() as u64;
                for (layer, on) in [&mut self.base64, &mut self.quoted].into_iter().zip(on) {
                    layer.push(now, on, self.seen, tell);
                }
                step = rest;
            }
        }
    }

    /// Looks for headers that name an encoding, up to the end of the first that does, and gives how far it looked.
    fn headers(&mut self, text: &[u8]) -> usize {
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            match self.line {
                // A line that begins with space continues a header.
                Line::Start if matches!(byte, b' ' | b'\t') && !self.header.is_empty() => {
                    self.line = Line::Header;
                    rest = after;
                }
                // It ends the header before it.
                Line::Start => {
                    self.header.clear();
                    self.line = Line::Header;
                }
                Line::Header if *byte == b'\n' => {
                    self.line = Line::Start;
                    rest = after;
                    if self.names() {
                        return text.len() - rest.len();
                    }
                }
                Line::Header => {
                    self.header.push(byte.to_ascii_lowercase());
                    let known = self.header.len().min(NAME.len());
                    if self.header.get(..known) != NAME.get(..known) || self.header.len() > MOST_HEADER {
                        self.header.clear();
                        self.line = Line::Other;
                    }
                    rest = after;
                }
                Line::Other => {
                    let end = memchr::memchr(b'\n', rest);
                    rest = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
                    self.line = if end.is_some() { Line::Start } else { Line::Other };
                }
            }
        }
        text.len()
    }

    /// Reads the header, and tells whether it names an encoding that was not on before.
    fn names(&mut self) -> bool {
        let Some(value) = self.header.strip_prefix(NAME) else { return false };
        let has = |word: &[u8]| memchr::memmem::find(value, word).is_some();
        let news = [has(b"base64") && !self.base64.on, has(b"quoted-printable") && !self.quoted.on];
        let [base64, quoted] = news;
        self.base64.on |= base64;
        self.quoted.on |= quoted;
        base64 || quoted
    }

    /// Up to where the text is decided.
    pub(super) fn decided(&mut self) -> u64 {
        let seen = self.seen;
        self.base64.decided(seen).min(self.quoted.decided(seen))
    }

    /// The text has ended.
    pub(super) fn finish(&mut self, tell: &mut dyn FnMut(Finding)) {
        self.base64.scanner.finish(tell);
        self.quoted.scanner.finish(tell);
    }
}

impl Layer {
    fn new(code: Code, scanner: Scanner) -> Self {
        Self { on: false, code, out: Vec::new(), scanner, seen: 0, marks: VecDeque::new(), decided: 0 }
    }

    /// Decodes text that ends at `end`, if it was on already.
    fn push(&mut self, text: &[u8], on: bool, end: u64, tell: &mut dyn FnMut(Finding)) {
        if !on {
            self.decided = end;
            return;
        }
        self.out.clear();
        match &mut self.code {
            Code::Base64(bits, digits, ends) => {
                for byte in text {
                    base64((bits, digits, ends), *byte, &mut self.out);
                }
            }
            Code::Quoted(state) => {
                for byte in text {
                    *state = quoted(*state, *byte, &mut self.out);
                }
            }
        }
        self.seen += self.out.len() as u64;
        self.scanner.push(&self.out, tell);
        if self.marks.len() >= MOST_MARKS {
            self.marks.pop_back();
        }
        self.marks.push_back((self.seen, end));
    }

    fn decided(&mut self, seen: u64) -> u64 {
        if !self.on {
            return seen;
        }
        let decided = self.seen.saturating_sub(self.scanner.held() as u64);
        while let Some((out, end)) = self.marks.front()
            && *out <= decided
        {
            self.decided = *end;
            self.marks.pop_front();
        }
        self.decided
    }
}

/// Decodes a digit. What is no digit is passed over, as many readers do; an empty line or padding begins a new text.
fn base64((bits, digits, ends): (&mut u32, &mut u8, &mut u8), byte: u8, out: &mut Vec<u8>) {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        b'\n' => {
            *ends = ends.saturating_add(1);
            if *ends > 1 {
                *digits = 0;
            }
            return;
        }
        b'=' => {
            *digits = 0;
            return;
        }
        _ => return,
    };
    *ends = 0;
    *bits = *bits << 6 | u32::from(value);
    *digits = (*digits + 1) % 4;
    // Each digit but the first of a group completes a byte.
    let [.., whole] = match *digits {
        2 => (*bits >> 4).to_be_bytes(),
        3 => (*bits >> 2).to_be_bytes(),
        0 => bits.to_be_bytes(),
        _ => return,
    };
    out.push(whole);
}

/// Decodes a byte of quoted-printable.
fn quoted(state: Quoted, byte: u8, out: &mut Vec<u8>) -> Quoted {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (state, byte) {
        (Quoted::Plain | Quoted::Digit(_), b'=') => Quoted::Escape,
        (Quoted::Escape | Quoted::Break, b' ' | b'\t' | b'\r') => Quoted::Break,
        (Quoted::Escape | Quoted::Break, b'\n') => Quoted::Plain,
        (Quoted::Escape, byte) if let Some(high) = digit(byte) => Quoted::Digit(high),
        (Quoted::Digit(high), byte) if let Some(low) = digit(byte) => {
            out.push(high << 4 | low);
            Quoted::Plain
        }
        (_, byte) => {
            out.push(byte);
            Quoted::Plain
        }
    }
}
