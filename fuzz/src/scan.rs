//! The content scan: pieces against the whole, and what may be passed on.

use std::sync::{Arc, LazyLock};

use super::cut;
use bottle::scan::{Known, MOST_HELD, Scanner, scan};

/// What is searched for beside tokens.
static KNOWN: LazyLock<Arc<Known>> = LazyLock::new(|| {
    let known = Known::builder().credential("api", b"k7Zq2/mX9v+Tr4W").credential("short", b"a1b2c3");
    Arc::new(
        known
            .placeholder("other", b"bottle-placeholder-other")
            .placeholder("own", b"bottle-placeholder-own")
            .build(),
    )
});

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    let (size, bytes) = cut(data);
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    scan(&KNOWN, Some("own"), bytes, &mut |finding| whole.push(finding));
    let mut scanner = Scanner::new(Arc::clone(&KNOWN), Some("own"));
    let (mut seen, mut passed) = (0, 0);
    for piece in bytes.chunks(size) {
        scanner.push(piece, &mut |finding| {
            assert!(finding.place.start >= passed, "a part of it was passed on");
            pieces.push(finding);
        });
        seen += piece.len() as u64;
        assert!(scanner.held() <= MOST_HELD);
        let free = seen - scanner.held() as u64;
        assert!(free >= passed, "what was passed on is held");
        passed = free;
    }
    scanner.finish(&mut |finding| {
        assert!(finding.place.start >= passed, "a part of it was passed on");
        pieces.push(finding);
    });
    assert_eq!(whole, pieces);
    assert!(whole.iter().all(|finding| finding.place.start < finding.place.end && finding.place.end <= seen));
    assert!(whole.iter().all(|finding| &*finding.what != "own"));
}
