//! What is wrong with a manifest, and how a person is told.

use std::collections::HashSet;
use std::fmt;

use super::source::{Sources, Span, shown};

/// One thing that is wrong, and where.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// A lowercase sentence without a final period.
    pub message: String,
    /// Where it is; none where no file was read.
    pub span: Option<Span>,
    /// Other places that belong to it, each with what is there.
    pub notes: Vec<(Span, String)>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Something wrong at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), notes: Vec::new(), hint: None }
    }

    /// Something wrong that has no place in a file.
    pub fn without_place(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, notes: Vec::new(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another place that belongs to it.
    #[must_use]
    pub fn note(mut self, span: Span, label: impl Into<String>) -> Self {
        self.notes.push((span, label.into()));
        self
    }
}

/// All that one phase found wrong, with the files it speaks of; never empty.
#[derive(Debug, thiserror::Error)]
pub struct Diagnostics {
    /// The files.
    pub sources: Sources,
    /// What is wrong, in the order of the files.
    pub list: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write(f, &self.sources, diagnostic)?;
        }
        Ok(())
    }
}

fn write(f: &mut fmt::Formatter<'_>, sources: &Sources, diagnostic: &Diagnostic) -> fmt::Result {
    writeln!(f, "error: {}", diagnostic.message)?;
    let lines = diagnostic.span.into_iter().chain(diagnostic.notes.iter().map(|(span, _)| *span));
    let gutter = lines.map(|span| sources.position(span).line.to_string().len()).max().unwrap_or(1);
    if let Some(span) = diagnostic.span {
        write_excerpt(f, sources, gutter, span)?;
    }
    for (span, label) in &diagnostic.notes {
        writeln!(f, "note: {label}")?;
        write_excerpt(f, sources, gutter, *span)?;
    }
    if let Some(hint) = &diagnostic.hint {
        writeln!(f, "hint: {hint}")?;
    }
    Ok(())
}

fn write_excerpt(f: &mut fmt::Formatter<'_>, sources: &Sources, gutter: usize, span: Span) -> fmt::Result {
    let position = sources.position(span);
    let excerpt = sources.excerpt(span);
    // Not as a width of the format, which ends at 65,535.
    let carets = format!("{}{}", " ".repeat(excerpt.indent), "^".repeat(excerpt.width));
    writeln!(f, "{:gutter$}--> {}:{}:{}", "", sources.name(span.file), position.line, position.column)?;
    writeln!(f, "{:gutter$} |", "")?;
    writeln!(f, "{:>gutter$} | {}", position.line, excerpt.line)?;
    writeln!(f, "{:gutter$} | {carets}", "")
}

/// Drops what is said already: what a bottle inherits is looked at once for each heir.
pub(crate) fn said_once(list: &mut Vec<Diagnostic>) {
    let mut said = HashSet::new();
    list.retain(|error| said.insert((error.span, error.message.clone())));
}

/// A hint that names the nearest of the known names, or lists them when none is near.
pub fn suggest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, name)) => format!("did you mean `{}`?", shown(name)),
        None if known.is_empty() => "there are none to choose from".to_owned(),
        None => format!("known here: {}", list(known)),
    }
}

/// Names in backticks, separated by commas.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ")
}
