use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use proptest::prelude::*;

use super::super::stream::Scrubber;
use super::fixture::{SECRET, needles};

/// Sends pieces through, and gives what came out for each and at the end.
fn through(texts: &[&str], pieces: &[&[u8]]) -> (Vec<Bytes>, Bytes) {
    let mut scrubber = Scrubber::new(needles(texts));
    let out = pieces.iter().map(|piece| scrubber.push(Bytes::copy_from_slice(piece))).collect();
    (out, scrubber.finish())
}

fn joined(texts: &[&str], pieces: &[&[u8]]) -> Vec<u8> {
    let (out, rest) = through(texts, pieces);
    [out.concat().as_slice(), &rest].concat()
}

/// What should come out: every byte of every text covered, found the slow way.
fn expected(texts: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for text in texts {
        for start in 0..bytes.len() {
            if bytes[start..].starts_with(text.as_bytes()) {
                out[start..start + text.len()].fill(b'*');
            }
        }
    }
    out
}

#[test]
fn a_secret_is_covered_wherever_the_stream_is_cut() {
    let text = format!("before {SECRET}{SECRET} after");
    let covered = text.replace(SECRET, &"*".repeat(SECRET.len()));
    for one in 0..=text.len() {
        for two in one..=text.len() {
            let bytes = text.as_bytes();
            let out = joined(&[SECRET], &[&bytes[..one], &bytes[one..two], &bytes[two..]]);
            assert_eq!(String::from_utf8(out).expect("text"), covered, "cut at {one} and {two}");
        }
    }
}

#[test]
fn a_secret_that_comes_byte_by_byte_is_covered() {
    let text = format!("{SECRET}x");
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(joined(&[SECRET], &pieces), format!("{}x", "*".repeat(SECRET.len())).into_bytes());
}

#[test]
fn secrets_that_overlap_are_covered_whole() {
    let cases: &[(&[&str], &str)] = &[
        (&["abcabc"], "abcabcabc"),
        (&["abcdef", "defghi"], "xabcdefghix"),
        (&["abcdef", "cd"], "abcdef cd"),
        (&["aaaaaa"], "aaaaaaaaa"),
        (&["abcab"], "abcabcab"),
    ];
    for (texts, bytes) in cases {
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.as_bytes().split_at(cut);
            assert_eq!(
                joined(texts, &[first, second]),
                expected(texts, bytes.as_bytes()),
                "{bytes} at {cut}"
            );
        }
    }
}

#[test]
fn what_is_left_is_never_the_secret_again() {
    // The character that covers is one that the secret has.
    let secret = "******ab";
    let out = joined(&[secret], &[b"******ab******ab"]);
    assert!(memmem::find(&out, secret.as_bytes()).is_none());
    assert!(!out.contains(&b'a'));
}

#[test]
fn nothing_is_held_back_that_begins_no_secret() {
    let (out, rest) = through(&[SECRET], &[b"data: one\n\n", b"data: sk-exam", b"ination\n\n"]);
    assert_eq!(out, ["data: one\n\n", "data: ", "sk-examination\n\n"]);
    assert!(rest.is_empty());
}

#[test]
fn what_is_held_back_at_the_end_is_passed_on() {
    let (out, rest) = through(&[SECRET], &[b"ends with sk-example"]);
    assert_eq!(out, ["ends with "]);
    assert_eq!(rest, "sk-example");
}

#[test]
fn a_piece_without_a_secret_is_not_copied() {
    let mut scrubber = Scrubber::new(needles(&[SECRET]));
    let piece = Bytes::from(vec![b'x'; 1 << 16]);
    let at = piece.as_ptr();
    assert_eq!(scrubber.push(piece).as_ptr(), at);
}

#[test]
fn what_is_held_back_does_not_keep_its_piece() {
    let mut scrubber = Scrubber::new(needles(&[SECRET]));
    let piece = Bytes::from(format!("{}sk-", "x".repeat(1 << 16)).into_bytes());
    let kept = piece.clone();
    drop(scrubber.push(piece));
    assert_eq!(scrubber.held(), 3);
    assert!(kept.is_unique(), "only the test holds the piece");
}

#[test]
fn a_secret_is_found_in_the_notations_of_answers() {
    let secret = r#"a/b+c="d"<e>&'\f"#;
    for shown in [
        secret.to_owned(),
        "a%2Fb%2Bc%3D%22d%22%3Ce%3E%26%27%5Cf".to_owned(),
        "a%2fb%2bc%3d%22d%22%3ce%3e%26%27%5cf".to_owned(),
        serde_json::to_string(secret).expect("a string").trim_matches('"').to_owned(),
        r#"a\/b+c=\"d\"<e>&'\\f"#.to_owned(),
        "a/b+c=&quot;d&quot;&lt;e&gt;&amp;'\\f".to_owned(),
        "a/b+c=&quot;d&quot;&lt;e&gt;&amp;&#39;\\f".to_owned(),
    ] {
        let out = joined(&[secret], &[format!("<{shown}>").as_bytes()]);
        let left = String::from_utf8(out).expect("text");
        assert!(!left.contains("b+c") && !left.contains("b%2"), "{shown} became {left}");
    }
}

proptest! {
    #[test]
    fn any_stream_comes_out_as_it_went_in_but_for_the_secrets(
        parts in prop::collection::vec(prop_oneof![
            Just("abcabcd".to_owned()), Just("bcdabc".to_owned()), Just("abc".to_owned()), "[a-d]{0,9}",
        ], 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let texts = ["abcabcd", "bcdabc", "aaaaaa"];
        let bytes = parts.concat().into_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();

        let mut scrubber = Scrubber::new(needles(&texts));
        let mut out = Vec::new();
        let mut sent = 0;
        for piece in pieces {
            sent += piece.len();
            out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(piece)));
            // As much as can be known is there.
            prop_assert_eq!(out.len() + scrubber.held(), sent);
            let begun = (1..7).filter(|length| texts.iter().any(|text| {
                text.len() > *length && bytes[..sent].ends_with(&text.as_bytes()[..*length])
            }));
            prop_assert_eq!(scrubber.held(), begun.max().unwrap_or_default());
        }
        out.extend_from_slice(&scrubber.finish());
        prop_assert_eq!(&out, &expected(&texts, &bytes));
        for text in texts {
            prop_assert!(memmem::find(&out, text.as_bytes()).is_none());
        }
    }

    #[test]
    fn no_secret_of_any_bytes_comes_out(
        secret in prop::collection::vec(any::<u8>(), 1..20),
        around in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        size in 1_usize..40,
    ) {
        let mut set = super::super::Needles::default();
        set.add(&secret);
        let mut bytes = around;
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, secret.iter().copied());
        let mut scrubber = Scrubber::new(Arc::new(set));
        let mut out: Vec<u8> = bytes.chunks(size).flat_map(|piece| {
            scrubber.push(Bytes::copy_from_slice(piece))
        }).collect();
        out.extend_from_slice(&scrubber.finish());
        prop_assert_eq!(out.len(), bytes.len());
        prop_assert!(memmem::find(&out, &secret).is_none());
    }
}
