//! Writing one line of JSON, without a tree and without an allocation: this is on the way of every request.
//!
//! Most of the text was chosen by the agent. What is written is printable ASCII only, so that no line can be forged, no
//! terminal steered and no reading direction turned.

use std::fmt;
use std::io::Write as _;
use std::time::SystemTime;

use super::shape::Event;
use super::time::Rfc3339;

/// The version of the lines' format.
const VERSION: u32 = 1;
/// The most bytes of a text; a longer one loses its end, and gets an ellipsis for it.
const MAX_TEXT: usize = 2048;

/// A line in the making.
pub(crate) struct Line<'a> {
    out: &'a mut Vec<u8>,
    event: &'a str,
}

impl<'a> Line<'a> {
    /// Begins a line at the end of `out`, with the fields that all lines have.
    pub(crate) fn new(out: &'a mut Vec<u8>, event: &'a str) -> Self {
        // A Vec takes everything that is written to it; so nothing is lost here and below.
        let time = Rfc3339(SystemTime::now());
        drop(write!(out, "{{\"v\":{VERSION},\"time\":\"{time}\",\"event\":\"{event}\""));
        Self { out, event }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        self.quoted(value);
        self
    }

    fn quoted(&mut self, value: &str) {
        self.out.push(b'"');
        let kept = value.get(..value.floor_char_boundary(MAX_TEXT)).unwrap_or(value);
        escape(kept, self.out);
        if kept.len() < value.len() {
            escape("…", self.out);
        }
        self.out.push(b'"');
    }

    /// Adds a list of texts if it has any.
    pub(crate) fn texts(&mut self, name: &str, values: &[String]) -> &mut Self {
        if values.is_empty() {
            return self;
        }
        self.name(name);
        for (value, before) in values.iter().zip(std::iter::once(b'[').chain(std::iter::repeat(b','))) {
            self.out.push(before);
            self.quoted(value);
        }
        self.out.push(b']');
        self
    }

    /// Adds a text if there is one.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) if !value.is_empty() => self.text(name, value),
            _ => self,
        }
    }

    /// Adds what is displayed as JSON writes it: a number, `true` or `false`.
    pub(crate) fn plain(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.name(name);
        drop(write!(self.out, "{value}"));
        self
    }

    /// Ends the line.
    pub(crate) fn end(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }

    fn name(&mut self, name: &str) {
        debug_assert!(
            Event::named(self.event).is_some_and(|event| event.has(name)),
            "`{name}` of `{}` is not documented in shape.rs",
            self.event
        );
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    // Nearly always that is all.
    if text.as_bytes().iter().all(plain) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            ' '..='~' => out.push(c as u8),
            _ => {
                for unit in c.encode_utf16(&mut units) {
                    drop(write!(out, "\\u{unit:04x}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    fn line(value: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Line::new(&mut out, "panic").text("place", value).end();
        out
    }

    fn read_back(value: &str) -> String {
        let parsed: serde_json::Value = serde_json::from_slice(&line(value)).unwrap();
        parsed["place"].as_str().unwrap().to_owned()
    }

    #[test]
    fn text_of_the_agent_is_printable_ascii_on_one_line_and_comes_back_as_it_was() {
        let hostile =
            "/a\"b\\c\n{\"v\":1}\r\u{0}\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{feff}é\u{1f600}\u{e0041}";
        let written = line(hostile);
        let (end, rest) = written.split_last().unwrap();
        assert_eq!(*end, b'\n');
        assert!(rest.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(read_back(hostile), hostile);
    }

    #[test]
    fn a_list_is_an_array_and_an_empty_one_is_left_out() {
        let mut out = Vec::new();
        let refs = ["a\n\"", "b"].map(str::to_owned);
        Line::new(&mut out, "push").texts("findings", &[]).texts("refs", &refs).end();
        let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(parsed["refs"], serde_json::json!(refs));
        assert!(parsed.get("findings").is_none());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = format!("a{}", "é".repeat(10_000));
        let cut = read_back(&long);
        assert!(cut.len() <= 2048 + '…'.len_utf8());
        assert!(long.starts_with(cut.strip_suffix('…').unwrap()));
    }
}
