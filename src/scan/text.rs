//! Text as far as it came, and reading characters of it that may be escaped.

/// A part of a stream that begins before what is looked at and ends where the stream has come to.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether nothing comes after it.
    pub(super) ended: bool,
}

/// What is read at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Read {
    /// A byte, and where the next one is.
    Byte(u8, usize),
    /// The stream is over.
    End,
    /// It depends on what comes.
    More,
    /// What is no notation of a byte.
    Bad,
}

/// A notation that each byte may be in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layer {
    /// `%2F` (RFC 3986, section 2.1).
    Percent,
    /// `\/`, `\u002f` (RFC 8259, section 7) and, as in many languages, `\x2f`.
    Json,
}

impl Text<'_> {
    /// Reads a byte as it is.
    pub(super) fn raw(self, at: usize) -> Read {
        match self.bytes.get(at) {
            Some(byte) => Read::Byte(*byte, at + 1),
            None if self.ended => Read::End,
            None => Read::More,
        }
    }

    /// Reads a byte below these notations, of which the first is that of the text.
    pub(super) fn read(self, layers: &[Layer], at: usize) -> Read {
        let Some((inner, outer)) = layers.split_last() else { return self.raw(at) };
        let first = self.read(outer, at);
        match (inner, first) {
            (Layer::Percent, Read::Byte(b'%', next)) => self.digits(outer, next, 2),
            (Layer::Json, Read::Byte(b'\\', next)) => match self.read(outer, next) {
                Read::Byte(b'u', next) => self.digits(outer, next, 4),
                Read::Byte(b'x', next) => self.digits(outer, next, 2),
                Read::Byte(letter, next) => escape(letter).map_or(Read::Bad, |byte| Read::Byte(byte, next)),
                Read::End => Read::Bad,
                other => other,
            },
            _ => first,
        }
    }

    /// Reads the hexadecimal digits of one byte; of a character of several bytes there is none.
    fn digits(self, layers: &[Layer], mut at: usize, count: usize) -> Read {
        let mut value = 0;
        for _ in 0..count {
            match self.read(layers, at) {
                Read::Byte(digit, next) => {
                    let Some(digit) = hex(digit) else { return Read::Bad };
                    value = value << 4 | u32::from(digit);
                    at = next;
                }
                Read::End => return Read::Bad,
                other => return other,
            }
        }
        match u8::try_from(value) {
            Ok(byte) if byte < 0x80 || count == 2 => Read::Byte(byte, at),
            _ => Read::Bad,
        }
    }

    /// Reads a character of a token, whose punctuation may be escaped where its letters are not: in a URL, in JSON, and
    /// in JSON within JSON.
    #[inline]
    pub(super) fn loose(self, at: usize) -> Read {
        match self.bytes.get(at) {
            Some(byte) if !matches!(byte, b'%' | b'\\') => Read::Byte(*byte, at + 1),
            _ => self.escaped(at),
        }
    }

    fn escaped(self, at: usize) -> Read {
        match self.raw(at) {
            Read::Byte(b'%', next) => match self.digits(&[], next, 2) {
                Read::Byte(byte, next) if !byte.is_ascii_alphanumeric() => Read::Byte(byte, next),
                Read::More => Read::More,
                _ => Read::Byte(b'%', next),
            },
            Read::Byte(b'\\', next) => self.slashes(next),
            other => other,
        }
    }

    /// Reads what follows a backslash.
    fn slashes(self, after: usize) -> Read {
        let mut at = after;
        loop {
            return match self.raw(at) {
                Read::Byte(b'\\', next) if next < after + 4 => {
                    at = next;
                    continue;
                }
                Read::Byte(b'u', next) => match self.digits(&[], next, 4) {
                    Read::Bad => Read::Byte(b'\\', after),
                    other => other,
                },
                Read::Byte(letter, next) if letter != b'\\' => {
                    escape(letter).map_or(Read::Byte(b'\\', after), |byte| Read::Byte(byte, next))
                }
                Read::More => Read::More,
                _ => Read::Byte(b'\\', after),
            };
        }
    }

    /// Returns the character before a place, with its escape read where it is the end of one.
    pub(super) fn before(self, at: usize) -> Option<u8> {
        let back = |count: usize| self.bytes.get(at.checked_sub(count)?).copied();
        let last = back(1)?;
        if !last.is_ascii_alphanumeric() {
            return Some(last);
        }
        let pair = || Some(hex(back(2)?)? << 4 | hex(last)?);
        if back(3) == Some(b'%')
            && let Some(byte) = pair()
        {
            return Some(byte);
        }
        if back(6) == Some(b'\\')
            && matches!(back(5), Some(b'u'))
            && (back(4), back(3)) == (Some(b'0'), Some(b'0'))
            && let Some(byte) = pair()
        {
            return Some(byte);
        }
        if back(2) == Some(b'\\')
            && let Some(byte) = escape(last)
        {
            return Some(byte);
        }
        Some(last)
    }
}

/// Returns what a letter after a backslash stands for.
fn escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'"' | b'\\' | b'/' | b'\'' => letter,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// Returns the value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Returns the value of a digit of base64 in either alphabet (RFC 4648, sections 4 and 5).
pub(super) fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
