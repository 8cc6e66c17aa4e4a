//! What must be true of the search, whatever the text.

mod filter;
mod properties;
mod stream;
mod values;

/// The encoders of the corpus, which know nothing of the search.
#[path = "../../../tests/integration/scan/notations.rs"]
mod notations;

use std::sync::Arc;

use super::{Finding, Known, Scanner, scan};

/// What is found in a text that is all there.
fn whole(known: &Arc<Known>, own: Option<&str>, text: &[u8]) -> Vec<Finding> {
    let mut all = Vec::new();
    scan(known, own, text, &mut |finding| all.push(finding));
    all
}

/// What is found in pieces, and what must be true in between.
fn pieces<'a>(
    known: &Arc<Known>,
    own: Option<&str>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut scanner = Scanner::new(Arc::clone(known), own);
    let (mut seen, mut passed) = (0_u64, 0_u64);
    for piece in pieces {
        scanner.push(piece, &mut |finding| {
            assert!(finding.place.start >= passed, "{finding:?} begins in what was passed on, {passed}");
            all.push(finding);
        });
        seen += piece.len() as u64;
        assert!(scanner.held() <= super::MOST_HELD, "{} held", scanner.held());
        let free = seen.checked_sub(scanner.held() as u64).expect("no more is held than was seen");
        assert!(free >= passed, "what was passed on is held again: {free}, {passed}");
        passed = free;
    }
    scanner.finish(&mut |finding| {
        assert!(finding.place.start >= passed, "{finding:?} begins in what was passed on, {passed}");
        all.push(finding);
    });
    all
}

/// The names of what was found.
fn names(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| &*finding.what).collect()
}
