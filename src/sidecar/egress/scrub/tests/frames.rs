use bytes::BytesMut;
use proptest::prelude::*;

use super::super::Frames;
use super::fixture::{SECRET, needles};
use crate::sidecar::egress::websocket::{Checker, Sender};

/// The first bytes of [`SECRET`] that may be shown: one more would tell too much.
const SHOWN: usize = 7;

/// A frame of a server: its first byte, and a short payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).unwrap()], payload].concat()
}

/// Sends what arrives through, and gives what comes out for each arrival.
fn through(arriving: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut frames, mut checker) = (Frames::new(needles(&[SECRET])), Checker::new(Sender::Server));
    let pass = |bytes: &&[u8]| {
        let mut out = BytesMut::new();
        assert_eq!(frames.pass(&mut checker, bytes, &mut out), Ok(bytes.len()));
        out.to_vec()
    };
    arriving.iter().map(pass).collect()
}

/// The payloads of short frames.
fn payloads(mut bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (payload, after) = rest.split_at(usize::from(*length));
        found.push(String::from_utf8(payload.to_vec()).unwrap());
        bytes = after;
    }
    found
}

/// The first bytes of [`SECRET`].
fn first(length: usize) -> &'static str {
    SECRET.split_at(length).0
}

fn covered(length: usize) -> String {
    "*".repeat(length)
}

#[test]
fn a_secret_in_two_frames_is_covered_wherever_it_is_cut() {
    // Two fragments of one message, two messages, and two pings.
    for (first, second) in [(0x01, 0x80), (0x81, 0x81), (0x82, 0x82), (0x89, 0x89)] {
        for cut in 0..=SECRET.len() {
            let (one, two) = SECRET.split_at(cut);
            let frames =
                [frame(first, format!("<{one}").as_bytes()), frame(second, format!("{two}>").as_bytes())];
            let out = through(&[&frames[0], &frames[1]]);
            let shown = if cut <= SHOWN { one.to_owned() } else { covered(cut) };
            let rest = covered(SECRET.len() - cut);
            let rest = if cut == SECRET.len() { String::new() } else { rest };
            assert_eq!(payloads(&out[0]), [format!("<{shown}")], "cut at {cut}");
            assert_eq!(payloads(&out[1]), [format!("{rest}>")], "cut at {cut}");
        }
    }
}

#[test]
fn a_secret_in_many_small_messages_is_covered() {
    for size in 1..SHOWN {
        let messages: Vec<Vec<u8>> = SECRET.as_bytes().chunks(size).map(|piece| frame(0x81, piece)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let out = through(&messages).concat();
        let text = payloads(&out).concat();
        let shown = SHOWN / size * size;
        assert_eq!(text, format!("{}{}", first(shown), covered(SECRET.len() - shown)), "{size} at a time");
    }
}

#[test]
fn control_frames_within_a_message_do_not_hide_a_secret() {
    let (one, two) = SECRET.split_at(10);
    let arriving = [
        frame(0x01, one.as_bytes()),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x80, two.as_bytes()),
    ];
    let arriving: Vec<&[u8]> = arriving.iter().map(Vec::as_slice).collect();
    let out = payloads(&through(&arriving).concat());
    assert_eq!(out, [&covered(10), "ping", "", "", &covered(SECRET.len() - 10)]);
}

#[test]
fn a_message_is_passed_on_when_it_is_complete_whatever_it_ends_with() {
    for end in ["s", "sk-", first(SHOWN), first(SECRET.len() - 1)] {
        let message = frame(0x81, format!("message {end}").as_bytes());
        let out = through(&[&message]);
        assert_eq!(out[0].len(), message.len(), "ends with {end}");
    }
    // And what was no secret in the end goes on as it is.
    let out = through(&[
        &frame(0x81, b"task"),
        &frame(0x81, b"-force"),
        &frame(0x81, b"sk-e"),
        &frame(0x81, b"lse"),
    ]);
    assert_eq!(payloads(&out.concat()), ["task", "-force", "sk-e", "lse"]);
}

#[test]
fn the_heads_of_frames_are_never_covered() {
    // The length of the frame is the first byte of the secret, and its payload the rest.
    let length = SECRET.as_bytes()[0];
    let payload = format!("{}{}", SECRET.split_at(1).1, "x".repeat(usize::from(length) + 1 - SECRET.len()));
    let bytes = frame(0x81, payload.as_bytes());
    assert_eq!(through(&[&bytes]).concat(), bytes);
}

proptest! {
    #[test]
    fn frames_keep_their_form_and_lose_the_secret_however_they_arrive(
        messages in prop::collection::vec(prop_oneof![
            Just(SECRET.to_owned()), "[sk-]{0,5}", (0..SECRET.len()).prop_map(|at| first(at).to_owned()),
            (0..SECRET.len()).prop_map(|at| SECRET.split_at(at).1.to_owned()),
        ], 0..12),
        size in 1_usize..40,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|text| frame(0x81, text.as_bytes())).collect();
        let arriving: Vec<&[u8]> = bytes.chunks(size).collect();
        let out = through(&arriving).concat();
        let texts = payloads(&out);
        let lengths = |texts: &[String]| texts.iter().map(String::len).collect::<Vec<_>>();
        prop_assert_eq!(lengths(&texts), lengths(&messages));
        // All of a secret is covered but what a message before may show of its beginning.
        let (before, after) = (messages.concat(), texts.concat());
        for (at, _) in before.match_indices(SECRET) {
            let rest = covered(SECRET.len() - SHOWN);
            prop_assert_eq!(after.get(at + SHOWN..at + SECRET.len()), Some(rest.as_str()));
        }
        for (was, is) in before.bytes().zip(after.bytes()) {
            prop_assert!(was == is || is == b'*');
        }
    }
}
