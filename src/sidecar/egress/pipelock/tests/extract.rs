use proptest::prelude::*;

use crate::sidecar::egress::pipelock::extract::Extract;

/// The text of bytes that come in pieces of this length.
fn text(bytes: &[u8], piece: usize) -> String {
    let (mut extract, mut out) = (Extract::default(), String::new());
    for piece in bytes.chunks(piece.max(1)) {
        extract.push(piece, &mut out);
    }
    extract.finish(&mut out);
    out
}

#[test]
fn text_stays_as_it_is() {
    for whole in ["", "plain", "a\0b\x1bc\r\n\t", "grüße, 日本語, 🦀", "\u{202e}\u{feff}"] {
        for piece in 1..8 {
            assert_eq!(text(whole.as_bytes(), piece), whole);
        }
    }
}

#[test]
fn of_other_bytes_what_is_long_enough_to_say_something_is_left() {
    let bytes = b"\x89PNG\xff\xfe\x80key=0123456789abcdef\xffno\xfe\xfd\xfc";
    assert_eq!(text(bytes, 100), "\u{fffd}\u{fffd}key=0123456789abcdef\u{fffd}".replacen('\u{fffd}', "", 1));
    // The first and the last piece have no other bytes on one side.
    assert_eq!(text(b"ab\xffcd", 100), "ab\u{fffd}cd");
}

#[test]
fn a_character_that_is_cut_off_at_the_end_is_no_text() {
    assert_eq!(text("abcd日".as_bytes().get(..6).unwrap(), 1), "abcd");
}

#[test]
fn what_looks_random_is_a_small_text() {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(1 << 20).collect();
    assert!(text(&bytes, 1 << 14).len() < bytes.len() / 8);
}

proptest! {
    #[test]
    fn the_pieces_make_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..20) {
        prop_assert_eq!(text(&bytes, piece), text(&bytes, 200));
    }

    #[test]
    fn a_token_between_any_bytes_is_there_whole(
        before in prop::collection::vec(any::<u8>(), 0..50),
        token in "[A-Za-z0-9_-]{8,60}",
        after in prop::collection::vec(any::<u8>(), 0..50),
        piece in 1_usize..20,
    ) {
        let bytes = [before.as_slice(), b"\xff", token.as_bytes(), b"\xff", &after].concat();
        prop_assert!(text(&bytes, piece).contains(&token));
    }
}
