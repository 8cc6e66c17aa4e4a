use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::notations::written;
use super::{names, pieces, whole};
use crate::scan::{Known, rules};

const NOTATIONS: &[&str] = &[
    "plain",
    "json",
    "json-slash",
    "json-all",
    "json-twice",
    "percent",
    "percent-all",
    "percent-lower",
    "percent-twice",
    "form",
    "backslash-x",
    "base64",
    "base64-after-1",
    "base64-after-2",
    "base64-url",
    "base64-lines",
    "base64-in-json",
    "base64-in-form",
    "hex",
    "hex-upper",
];

/// Printable characters.
fn value(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(0x20_u8..0x7f, lengths)
}

fn known() -> Arc<Known> {
    let builder = Known::builder().credential("api", b"k7Zq2LmX9vTr4WnB8sYc").credential("short", b"a1b2c3d");
    Arc::new(
        builder
            .credential("odd", b"p@ss/\"w\\rd+1 =")
            .placeholder("other", b"bottle-placeholder-other")
            .build(),
    )
}

/// A piece of text that something may begin in: a token or a part of one, a value in a notation, chance.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let token = (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, real)| {
        let rule = index.get(rules());
        let text = if real { rule.matches().next() } else { rule.differ().next() };
        text.unwrap_or_default().into_bytes()
    });
    let secret = (0..4_usize, prop::sample::select(NOTATIONS)).prop_map(|(which, notation)| {
        let values: [&[u8]; 4] =
            [b"k7Zq2LmX9vTr4WnB8sYc", b"a1b2c3d", b"p@ss/\"w\\rd+1 =", b"bottle-placeholder-other"];
        written(notation, values[which])
    });
    let begun = (piece_of(token.clone()), piece_of(secret.clone()));
    prop_oneof![
        2 => token,
        2 => secret,
        1 => begun.0,
        1 => begun.1,
        1 => vec(any::<u8>(), 0..40),
        1 => "[ \"'&=:/.%\\\\nrtu0-9a-fA-Z_-]{0,30}".prop_map(String::into_bytes),
    ]
}

fn piece_of(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (text, any::<prop::sample::Index>()).prop_map(|(mut text, at)| {
        text.truncate(at.index(text.len() + 1));
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_finds_what_is_found_in_the_whole(
        text in vec(piece(), 0..12).prop_map(|pieces| pieces.concat()),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
        own in prop::option::of(Just("other")),
    ) {
        let known = known();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let mut start = 0;
        let split: Vec<&[u8]> = cuts.iter().map(|end| &text[std::mem::replace(&mut start, *end)..*end]).collect();
        let whole = whole(&known, own, &text);
        prop_assert_eq!(&whole, &pieces(&known, own, split));
        prop_assert_eq!(&whole, &pieces(&known, own, text.chunks(1)));
        prop_assert!(whole.iter().all(|finding| finding.place.start < finding.place.end));
        prop_assert!(whole.iter().all(|finding| finding.place.end <= text.len() as u64));
    }

    #[test]
    fn a_value_is_found_in_every_notation_wherever_it_stands(
        secret in value(8..60),
        before in vec(any::<u8>(), 0..50),
        after in vec(any::<u8>(), 0..50),
    ) {
        let known = Arc::new(Known::builder().credential("api", &secret).build());
        for notation in NOTATIONS {
            let written = written(notation, &secret);
            // A backslash or a percent sign before it would make another text of it.
            let text = [&before[..], b" ", &written, b" ", &after].concat();
            let found = whole(&known, None, &text);
            let start = before.len() as u64 + 1;
            let within = |place: &std::ops::Range<u64>| place.start < start + written.len() as u64 && start < place.end;
            prop_assert!(
                found.iter().any(|finding| &*finding.what == "api" && within(&finding.place)),
                "{} {:?} in {:?}", notation, String::from_utf8_lossy(&secret), names(&found)
            );
        }
    }
}
