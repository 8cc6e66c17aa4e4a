//! Reading JSON (RFC 8259) strictly, with the place of everything: what is left of a body is left byte for byte.

use std::ops::Range;

/// How deep values may lie in each other.
const DEPTH: usize = 128;

/// The most values that are kept: what they take is many times what a text of brackets does.
const VALUES: usize = 100_000;

/// What isn't JSON, or lies too deep, or has too many values beside its messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it is not JSON (RFC 8259), or deeper than {DEPTH} levels, or has more than {VALUES} values beside its messages"
)]
pub(super) struct NotJson;

/// A value, with where it stands.
#[derive(Debug)]
pub(super) struct Value {
    /// From its first byte to behind its last one.
    pub(super) place: Range<usize>,
    pub(super) what: What,
}

/// A value as far as it counts here.
#[derive(Debug)]
pub(super) enum What {
    Object(Vec<Member>),
    Array(Vec<Value>),
    /// An object of a conversation that brings tools: what else it has is only its place.
    Item(Vec<Member>),
    Text(String),
    /// A number, `true`, `false` or `null`; or a value that nobody looks into.
    Other,
}

/// One member of an object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) value: Value,
    /// From its key to the end of its value.
    pub(super) place: Range<usize>,
}

/// How much of a value counts.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Keep {
    All,
    /// The tools that its objects bring.
    Tools,
    Nothing,
}

/// What is known of the members of objects by their keys.
pub(super) struct Keys {
    /// An array of messages: it may be large, and nothing of it counts but the tools that a message brings.
    pub(super) is_conversation: fn(&str) -> bool,
    /// Tools.
    pub(super) is_tools: fn(&str) -> bool,
}

/// Reads a whole text.
pub(super) fn read(text: &str, keys: Keys) -> Result<Value, NotJson> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, kept: 0, keys };
    let value = reader.value(0, Keep::All)?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(NotJson) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    kept: usize,
    keys: Keys,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.take(byte) { Ok(()) } else { Err(NotJson) }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Reads a value. One that nobody keeps is only checked.
    fn value(&mut self, depth: usize, keep: Keep) -> Result<Value, NotJson> {
        self.kept += usize::from(keep == Keep::All);
        if depth > DEPTH || self.kept > VALUES {
            return Err(NotJson);
        }
        self.space();
        let start = self.at;
        let what = match self.peek().ok_or(NotJson)? {
            b'{' => self.object(depth, keep)?,
            b'[' => self.array(depth, keep)?,
            b'"' => What::Text(self.text(keep == Keep::All)?),
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        };
        Ok(Value { place: start..self.at, what })
    }

    fn object(&mut self, depth: usize, keep: Keep) -> Result<What, NotJson> {
        self.expect(b'{')?;
        let mut members = Vec::new();
        let (before, mut has_tools) = (self.kept, false);
        self.space();
        if self.take(b'}') {
            return Ok(What::Object(members));
        }
        loop {
            self.space();
            let start = self.at;
            let key = self.text(keep != Keep::Nothing)?;
            self.space();
            self.expect(b':')?;
            self.space();
            let inner = match keep {
                Keep::All if self.peek() == Some(b'[') && (self.keys.is_conversation)(&key) => Keep::Tools,
                Keep::Tools if (self.keys.is_tools)(&key) => Keep::All,
                Keep::All => Keep::All,
                Keep::Tools | Keep::Nothing => Keep::Nothing,
            };
            let value = self.value(depth + 1, inner)?;
            if keep != Keep::Nothing {
                has_tools |= keep == Keep::Tools && inner == Keep::All;
                self.kept += usize::from(inner == Keep::Nothing);
                members.push(Member { key, value, place: start..self.at });
            }
            self.space();
            if self.take(b'}') {
                return Ok(match keep {
                    Keep::Tools if has_tools => What::Item(members),
                    // Nothing of it stays in memory.
                    Keep::Tools => {
                        self.kept = before;
                        What::Other
                    }
                    Keep::All | Keep::Nothing => What::Object(members),
                });
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self, depth: usize, keep: Keep) -> Result<What, NotJson> {
        self.expect(b'[')?;
        let mut values = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(What::Array(values));
        }
        loop {
            let value = self.value(depth + 1, keep)?;
            let is_item = match &value.what {
                What::Item(_) => true,
                What::Array(values) => !values.is_empty(),
                _ => false,
            };
            if keep == Keep::All || (keep == Keep::Tools && is_item) {
                values.push(value);
            }
            self.space();
            if self.take(b']') {
                return Ok(What::Array(values));
            }
            self.expect(b',')?;
        }
    }

    fn text(&mut self, keep: bool) -> Result<String, NotJson> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain =
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).ok_or(NotJson)?;
            if keep {
                text.extend_from_slice(rest.get(..plain).unwrap_or_default());
            }
            self.at += plain;
            if self.take(b'"') {
                // The whole text is UTF-8, and escapes are too; only surrogates on their own are none.
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            self.expect(b'\\')?;
            let escaped = self.escape()?;
            if keep {
                text.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let kind = self.peek().ok_or(NotJson)?;
        self.at += 1;
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let before = self.at;
                if (0xd800..0xdc00).contains(&first) && self.take(b'\\') && self.take(b'u') {
                    let second = self.unit()?;
                    if let Some(Ok(pair)) = char::decode_utf16([first, second]).next() {
                        return Ok(pair);
                    }
                }
                if (0xd800..0xdc00).contains(&first) {
                    self.at = before;
                }
                char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(NotJson),
        })
    }

    fn unit(&mut self) -> Result<u16, NotJson> {
        let digits = self.bytes.get(self.at..self.at + 4).ok_or(NotJson)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NotJson);
        }
        self.at += 4;
        let digits = std::str::from_utf8(digits).map_err(|_| NotJson)?;
        u16::from_str_radix(digits, 16).map_err(|_| NotJson)
    }

    fn word(&mut self, word: &[u8]) -> Result<What, NotJson> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(What::Other)
    }

    fn number(&mut self) -> Result<What, NotJson> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(What::Other)
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Keys, What, read};

    const ALL: Keys = Keys { is_conversation: |_| false, is_tools: |_| false };
    const TALK: Keys = Keys { is_conversation: |key| key == "a", ..ALL };

    #[test]
    fn a_text_is_read_with_its_places() {
        let text = " { \"to\\u006fls\" : [ 1, \"\\ud83d\\ude00\\n\" ] } ";
        let value = read(text, ALL).unwrap();
        assert_eq!(text.get(value.place.clone()), Some(text.trim()));
        let What::Object(members) = value.what else { panic!("an object") };
        assert_eq!(members[0].key, "tools");
        let What::Array(values) = &members[0].value.what else { panic!("an array") };
        assert_eq!(text.get(values[0].place.clone()), Some("1"));
        assert!(matches!(&values[1].what, What::Text(text) if text == "😀\n"));
    }

    #[test]
    fn what_some_parsers_take_and_others_do_not_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\":1,}",
            "[1,]",
            "{\"a\" 1}",
            "{'a':1}",
            "{a:1}",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[NaN]",
            "[1] [2]",
            "{}{}",
            "// a\n{}",
            "\u{feff}{}",
            "[\"a\u{1}\"]",
            "[\"\\x41\"]",
            "[\"\\u00g0\"]",
            "[\"a]",
            "[tru]",
            "{\"a\":1 \"b\":2}",
        ] {
            assert!(read(text, ALL).is_err(), "{text:?}");
        }
        let many = |count: usize| format!("[{}1]", "1,".repeat(count));
        assert!(read(&many(super::VALUES - 2), ALL).is_ok());
        assert!(read(&many(super::VALUES), ALL).is_err());
        assert!(read(&format!("{{\"a\":{}}}", many(super::VALUES)), TALK).is_ok());
        assert!(read(&("[".repeat(129) + &"]".repeat(129)), ALL).is_ok());
        assert!(read(&("[".repeat(130) + &"]".repeat(130)), ALL).is_err());
    }

    proptest! {
        #[test]
        fn it_never_takes_what_another_reader_refuses(text in "[\\[\\]{}\",:0-9a-e.\\-\\\\u trufalsn]{0,40}") {
            if read(&text, ALL).is_ok() {
                // The other one takes no surrogates on their own.
                let other = serde_json::from_str::<serde_json::Value>(&text);
                prop_assert!(other.is_ok() || text.contains("\\u"), "{text}: {other:?}");
            }
        }
    }
}
