//! The first look leaves no place out: a plain comparison of every place says the same.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::scan::filter::{Entry, Filter};

/// Few letters in both cases, so that beginnings are in a text by chance, and nearly so even more often.
fn text(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(b"abAB-%\x00\xff".to_vec()), lengths)
}

/// Whether a text begins so, but for the bit that tells the cases apart.
fn begins(text: &[u8], begin: &[u8]) -> bool {
    let fold = |byte: &u8| byte | 0x20;
    // Of what is beyond the fourth byte only as much counts as is there in one go.
    let count = if text.len() < 8 { 4 } else { begin.len() };
    text.len() >= 4 && text.iter().zip(begin).take(count).all(|(one, other)| fold(one) == fold(other))
}

proptest! {
    #[test]
    fn every_place_where_something_may_begin_is_seen_and_no_other(
        begins_with in vec(text(4..9), 1..6),
        around in text(0..64),
        from in 0_usize..24,
    ) {
        let entries = begins_with.iter().enumerate().filter_map(|(index, begin)| Entry::new(begin, index));
        let filter = Filter::new(entries.collect());
        for begin in &begins_with {
            // At each distance from where a look begins.
            for place in 0..around.len() {
                let mut text = around.clone();
                text.splice(place..place, begin.iter().copied());
                let expected = (from..text.len())
                    .find(|at| begins_with.iter().any(|begin| begins(&text[*at..], begin)));
                prop_assert_eq!(filter.next(&text, from), expected, "{:?}", text);
            }
        }
    }
}
