//! The text in bytes, whatever they are.
//!
//! Bytes that are UTF-8 are text as they stand, controls included. Of other bytes, pictures and archives, what is UTF-8
//! between them is text too, if it is long enough to say anything; everything between two such pieces is one replacement
//! character, so that a large file is a small text.

/// A piece that is shorter, with other bytes on both sides, is left out. No token is so short.
const SHORTEST: usize = 8;

/// What stands for bytes that are no text.
const GAP: char = char::REPLACEMENT_CHARACTER;

/// Takes the text out of bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Extract {
    /// The beginning of a character whose end is missing.
    partial: Vec<u8>,
    /// Whether other bytes were the last, and what came after them, as long as it is too short.
    after_gap: Option<String>,
}

impl Extract {
    /// Adds the text of the next bytes to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        let joined;
        let mut rest = bytes;
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.partial);
            rest = &joined;
        }
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => return self.text(text, out),
                Err(error) => {
                    let (valid, other) = rest.split_at_checked(error.valid_up_to()).unwrap_or_default();
                    self.text(std::str::from_utf8(valid).unwrap_or_default(), out);
                    let Some(length) = error.error_len() else {
                        self.partial = other.to_vec();
                        return;
                    };
                    self.gap(out);
                    rest = other.get(length..).unwrap_or_default();
                }
            }
        }
    }

    /// Adds what is left when nothing more comes.
    pub(super) fn finish(&mut self, out: &mut String) {
        self.partial.clear();
        out.push_str(&self.after_gap.take().unwrap_or_default());
    }

    fn text(&mut self, text: &str, out: &mut String) {
        match &mut self.after_gap {
            None => out.push_str(text),
            Some(short) => {
                short.push_str(text);
                if short.len() >= SHORTEST {
                    out.push_str(short);
                    self.after_gap = None;
                }
            }
        }
    }

    fn gap(&mut self, out: &mut String) {
        match &mut self.after_gap {
            None => {
                out.push(GAP);
                self.after_gap = Some(String::new());
            }
            Some(short) => short.clear(),
        }
    }
}
