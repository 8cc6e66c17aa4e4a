//! The book under `docs/`: its links lead somewhere, its manifests load, its commands run, and what can be made of the code
//! is made of it.

mod commands;
mod generated;
mod links;
mod manifests;
mod recording;
mod settings;
mod threats;

use std::path::PathBuf;

/// For the tests of egress, which write its metrics.
pub(crate) use generated::{cell, sections};

use crate::blocks::{Block, blocks};
use crate::support::{files, project};

/// A page of the book.
struct Page {
    /// Its path below `docs/src`.
    name: String,
    path: PathBuf,
    text: String,
}

fn page(name: &str) -> Page {
    let path = project("docs/src").join(name);
    let text = bottle::fs::read_to_string(&path).expect("a page is text");
    Page { name: name.to_owned(), path, text }
}

/// All pages, the summary included.
fn pages() -> Vec<Page> {
    let root = project("docs/src");
    let names = files(&root).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md"));
    names
        .map(|path| page(path.strip_prefix(&root).expect("it is below").to_str().expect("a name is text")))
        .collect()
}

impl Page {
    /// The fenced blocks, in their order.
    fn blocks(&self) -> Vec<Block> {
        blocks(&self.name, &self.text)
    }

    /// The text without its fenced blocks, each line in its place.
    fn prose(&self) -> Vec<&str> {
        let mut inside = false;
        let prose = self.text.lines().map(|line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            if inside || fence { "" } else { line }
        });
        prose.collect()
    }
}

/// Whether the pages are to be written anew.
fn updates() -> bool {
    std::env::var_os("BOTTLE_UPDATE_DOCS").is_some()
}

/// Compares a file of the documentation with what it must be, or writes it.
#[track_caller]
fn is_current(path: &std::path::Path, wanted: &str) {
    if updates() {
        crate::support::write(path, wanted.as_bytes());
    }
    let committed = bottle::fs::read_to_string(path).expect("the file is there");
    assert!(
        committed == wanted,
        "{} is out of date; write it with BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- book::",
        path.display()
    );
}
