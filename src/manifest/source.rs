//! The files that a manifest is made of, and places in them.

use unicode_width::UnicodeWidthChar as _;

/// The index of a file in a [`Sources`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileId(usize);

/// A place in a file: byte offsets, the end exclusive.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte.
    pub end: usize,
}

/// A value together with the place where it is written.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts a value and its place together.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

// Two values are the same wherever they stand.
impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// All files that were read for one manifest.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    text: String,
    /// The offset of the first byte of each line.
    lines: Vec<usize>,
}

/// A place as people count: the first line and the first column are 1; columns count characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The most characters of one line that are shown.
const MAX_CHARACTERS: usize = 300;
/// The most characters before the marked part that are shown, and how many are kept where there are more.
const MAX_BEFORE: usize = 200;
const KEPT_BEFORE: usize = 60;

/// One line of a file made fit for a terminal, with the part that a span covers.
pub(super) struct Excerpt {
    pub(super) line: String,
    /// The terminal columns before the marked part.
    pub(super) indent: usize,
    /// The terminal columns of the marked part, at least 1.
    pub(super) width: usize,
}

impl Sources {
    /// Adds a file under the name that messages give it.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.files.push(File { name: name.into(), text, lines });
        FileId(self.files.len() - 1)
    }

    /// The text of a file.
    pub fn text(&self, file: FileId) -> &str {
        self.files.get(file.0).map_or("", |file| &file.text)
    }

    /// The name of a file.
    pub fn name(&self, file: FileId) -> &str {
        self.files.get(file.0).map_or("", |file| &file.name)
    }

    /// The line and column where a span starts.
    pub fn position(&self, span: Span) -> Position {
        let lines = self.files.get(span.file.0).map_or(&[][..], |file| &file.lines);
        let line = lines.partition_point(|start| *start <= span.start);
        let line_start = lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text(span.file).get(line_start..span.start).unwrap_or_default();
        Position { line: line.max(1), column: before.chars().count() + 1 }
    }

    /// `file:line`, as the rendered files and the refusals name a rule.
    pub fn file_line(&self, span: Span) -> String {
        format!("{}:{}", self.name(span.file), self.position(span).line)
    }

    /// The line that a span starts in, or the part of it around the span.
    pub(super) fn excerpt(&self, span: Span) -> Excerpt {
        let text = self.text(span.file);
        let start = span.start.min(text.len());
        let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let raw = rest.lines().next().unwrap_or_default();
        let (mut line, mut indent, mut width) = (String::new(), 0, 0);
        // Of a very long line, what is around the marked part.
        let marked = raw.get(..start - line_start).map_or(0, |before| before.chars().count());
        let skipped = if marked > MAX_BEFORE { marked - KEPT_BEFORE } else { 0 };
        if skipped > 0 {
            line.push('…');
            indent += 1;
        }
        for (count, (offset, character)) in raw.char_indices().skip(skipped).enumerate() {
            if count >= MAX_CHARACTERS {
                line.push('…');
                break;
            }
            let shown = printable(character);
            let columns: usize = shown.chars().map(|shown| shown.width().unwrap_or(0)).sum();
            let at = line_start + offset;
            if at < start {
                indent += columns;
            } else if at < span.end {
                width += columns;
            }
            line.push_str(&shown);
        }
        Excerpt { line, indent, width: width.max(1) }
    }
}

/// A character as it may be shown on a terminal: what would move the cursor, hide text or turn its direction is
/// written as an escape.
fn printable(character: char) -> String {
    match character {
        '\t' => "    ".to_owned(),
        _ if is_unprintable(character) => character.escape_unicode().to_string(),
        _ => character.to_string(),
    }
}

/// Tells whether a character would steer a terminal or mislead a reader: controls, bidirectional overrides, invisible
/// separators and byte-order marks.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as it may be shown in a message.
pub(crate) fn shown(text: &str) -> String {
    let escape = |character: char| match character {
        _ if is_unprintable(character) => character.escape_default().to_string(),
        _ => character.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::{Sources, Span};

    #[test]
    fn an_excerpt_marks_wide_characters_and_tabs_by_terminal_columns() {
        let mut sources = Sources::default();
        let file = sources.add("f", "a: 1\n\t漢: bad\n");
        let start = sources.text(file).find("bad").expect("the text has it");
        let excerpt = sources.excerpt(Span { file, start, end: start + 3 });
        assert_eq!((excerpt.line.as_str(), excerpt.indent, excerpt.width), ("    漢: bad", 8, 3));
    }

    #[test]
    fn an_excerpt_of_a_very_long_line_shows_what_is_around_the_mark() {
        let mut sources = Sources::default();
        let file = sources.add("f", format!("{}bad{}", "a".repeat(100_000), "b".repeat(100_000)));
        let excerpt = sources.excerpt(Span { file, start: 100_000, end: 100_003 });
        assert_eq!((excerpt.indent, excerpt.width), (61, 3));
        assert_eq!(excerpt.line, format!("…{}bad{}…", "a".repeat(60), "b".repeat(237)));
        let excerpt = sources.excerpt(Span { file, start: 0, end: 200_000 });
        assert_eq!((excerpt.indent, excerpt.width), (0, 300));
    }

    #[test]
    fn an_excerpt_cannot_steer_the_terminal() {
        let mut sources = Sources::default();
        let file = sources.add("f", "a: \u{1b}[2J\u{202e}x");
        assert_eq!(sources.excerpt(Span { file, start: 0, end: 1 }).line, "a: \\u{1b}[2J\\u{202e}x");
    }
}
