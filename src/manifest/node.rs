//! A YAML document as a tree in which every key and value knows its place.
//!
//! The manifest is decoded from this tree and not from serde directly, because serde stops at the first error, and
//! because `extends` merges mappings before types apply. The tree is deliberately small: no anchors, aliases, tags,
//! merge keys or second documents. What a reviewer reads is what there is.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};

use super::diagnostic::Diagnostic;
use super::source::{FileId, Span, Spanned, shown};

/// How deep a document may nest; the manifest itself needs 8 levels.
const MAX_DEPTH: usize = 32;

/// A value in the document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A scalar's text after YAML's escapes; `plain` where it was written without quotes.
    Scalar {
        /// The text.
        text: String,
        /// Whether it had no quotes, so that it may stand for a number, a truth value or nothing.
        plain: bool,
    },
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the file; keys are unique.
    Mapping(Vec<(Spanned<String>, Node)>),
}

impl Node {
    /// Tells whether the value was left out, as in `key:`, or is a plain `null` or `~`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What the value is, for a message.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".to_owned(),
            Kind::Scalar { text, .. } => format!("`{}`", shown(text)),
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// Parses a file that holds one YAML document. An empty file is an empty mapping.
///
/// Everything that is wrong with it is in the error; a syntax error ends the search for more.
pub(super) fn parse(file: FileId, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut builder = Builder { file, text, parser: Parser::new_from_str(text), errors: Vec::new() };
    match builder.document() {
        Ok(node) if builder.errors.is_empty() => Ok(node),
        Ok(_) => Err(builder.errors),
        Err(error) => {
            builder.errors.push(error);
            Err(builder.errors)
        }
    }
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    errors: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok((event, self.trimmed(range.start, range.end)))
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.text.len());
                let end = self
                    .text
                    .get(at..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(at, |c| at + c.len_utf8());
                let span = Span { file: self.file, start: at, end };
                Err(Diagnostic::new(span, format!("this is not YAML: {}", shown(&error.kind().to_string()))))
            }
            None => {
                Ok((Event::StreamEnd, Span { file: self.file, start: self.text.len(), end: self.text.len() }))
            }
        }
    }

    /// The parser's spans of collections and block scalars end after white space that no reader counts to them.
    fn trimmed(&self, start: usize, end: usize) -> Span {
        let text = self.text.get(start..end).unwrap_or_default();
        Span { file: self.file, start, end: start + text.trim_end().len() }
    }

    fn document(&mut self) -> Result<Node, Diagnostic> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    return Err(Diagnostic::new(
                        span,
                        "a manifest is one YAML document, and a second one starts here",
                    ));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let nothing = Span { file: self.file, start: 0, end: 0 };
        Ok(match root {
            Some(root) if !root.is_null() => root,
            _ => Node { kind: Kind::Mapping(Vec::new()), span: nothing },
        })
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(Diagnostic::new(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor != 0 || matches!(event, Event::Alias(_) | Event::UnresolvedAlias(_)) {
            self.errors.push(
                Diagnostic::new(span, "anchors and aliases are not part of the manifest")
                    .hint("write the value out, or share it between bottles with `extends`"),
            );
        }
        if tagged {
            self.errors
                .push(Diagnostic::new(span, "tags are not part of the manifest").hint("remove the `!…`"));
        }
        let kind = match event {
            Event::Scalar(text, style, ..) => {
                Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Kind::Sequence(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.mapping(depth)?,
            _ => Kind::Scalar { text: String::new(), plain: true },
        };
        let span = match &kind {
            // The whole of a long value is no help in a message; its first line is what the caret marks.
            Kind::Mapping(entries) => {
                entries.first().map_or(span, |(key, _)| Span { end: key.span.end.max(span.start), ..span })
            }
            _ => span,
        };
        Ok(Node { kind, span })
    }

    fn mapping(&mut self, depth: usize) -> Result<Kind, Diagnostic> {
        let mut entries: Vec<(Spanned<String>, Node)> = Vec::new();
        let mut first_written: HashMap<String, Span> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Kind::Mapping(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            let Kind::Scalar { text, plain } = key.kind else {
                self.errors.push(Diagnostic::new(
                    key.span,
                    "a key is a single word or a text, not a list or a mapping",
                ));
                continue;
            };
            if plain && text == "<<" {
                self.errors.push(
                    Diagnostic::new(key.span, "merge keys are not part of the manifest")
                        .hint("share values between bottles with `extends`"),
                );
                continue;
            }
            if let Some(first) = first_written.insert(text.clone(), key.span) {
                self.errors.push(
                    Diagnostic::new(key.span, format!("duplicate key `{}`", shown(&text)))
                        .note(first, "first written here")
                        .hint("remove one of them, or put both under one key"),
                );
                continue;
            }
            entries.push((Spanned::new(text, key.span), value));
        }
    }
}
