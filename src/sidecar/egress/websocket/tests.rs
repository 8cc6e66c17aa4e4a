use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Checker, Sender, Violation, accept_key};

const MASK: [u8; 4] = [0xa1, 0xb2, 0xc3, 0xd4];

/// A frame as `sender` writes it.
fn frame(sender: Sender, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if sender == Sender::Client {
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn check(sender: Sender, bytes: &[u8]) -> Result<(usize, bool), Violation> {
    let mut checker = Checker::new(sender);
    checker.check(bytes).map(|passed| (passed, checker.is_closed()))
}

/// All frames must pass, from either side.
fn passes(frames: &[(u8, &[u8])]) {
    for sender in [Sender::Client, Sender::Server] {
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(first, payload)| frame(sender, *first, payload)).collect();
        assert_eq!(check(sender, &bytes), Ok((bytes.len(), false)), "{sender:?} {frames:x?}");
    }
}

/// The last frame must be refused, from either side, and those before it must not.
#[track_caller]
fn refused(frames: &[(u8, &[u8])]) {
    let (last, before) = frames.split_last().unwrap();
    passes(before);
    for sender in [Sender::Client, Sender::Server] {
        let bytes = |frames: &[(u8, &[u8])]| -> Vec<u8> {
            frames.iter().flat_map(|(first, payload)| frame(sender, *first, payload)).collect()
        };
        let mut checker = Checker::new(sender);
        checker.check(&bytes(before)).unwrap();
        checker.check(&bytes(&[*last])).unwrap_err();
    }
}

#[test]
fn the_accept_key_is_the_one_of_the_standard() {
    // RFC 6455, section 1.3.
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn messages_of_every_length_pass() {
    for length in [0, 1, 125, 126, 0xffff, 0x1_0000] {
        passes(&[(0x81, &vec![b'x'; length]), (0x82, &[0xff])]);
    }
}

#[test]
fn a_message_may_come_in_fragments_with_control_frames_between() {
    passes(&[(0x01, b"a"), (0x89, b"ping"), (0x00, b""), (0x8a, b"pong"), (0x80, b"c"), (0x82, b"d")]);
}

#[test]
fn fragments_belong_to_one_message() {
    refused(&[(0x80, b"a")]);
    refused(&[(0x00, b"a")]);
    refused(&[(0x81, b"a"), (0x80, b"b")]);
    refused(&[(0x01, b"a"), (0x81, b"b")]);
    refused(&[(0x01, b"a"), (0x02, b"b")]);
    refused(&[(0x01, b"a"), (0x80, b"b"), (0x80, b"c")]);
}

#[test]
fn every_frame_of_the_client_is_masked_and_none_of_the_server() {
    for first in [0x81, 0x82, 0x89, 0x8a, 0x88] {
        check(Sender::Client, &frame(Sender::Server, first, b"")).unwrap_err();
        check(Sender::Server, &frame(Sender::Client, first, b"")).unwrap_err();
    }
}

#[test]
fn reserved_bits_and_opcodes_are_refused_with_their_first_byte() {
    for sender in [Sender::Client, Sender::Server] {
        for first in [0xc1, 0xa1, 0x91, 0x83, 0x84, 0x85, 0x86, 0x87, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f] {
            check(sender, &[first]).unwrap_err();
        }
        // What isn't WebSocket at all.
        check(sender, b"GET / HTTP/1.1\r\n").unwrap_err();
        check(sender, b"SSH-2.0-").unwrap_err();
        check(sender, b"\x16\x03\x01").unwrap_err();
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    for opcode in [8, 9, 10] {
        refused(&[(opcode, b"")]);
        refused(&[(0x80 | opcode, &[b'x'; 126])]);
        refused(&[(0x80 | opcode, &vec![b'x'; 0x1_0000])]);
    }
    passes(&[(0x89, &[b'x'; 125]), (0x8a, &[b'x'; 125])]);
}

#[test]
fn a_length_is_written_in_one_way() {
    assert_eq!(check(Sender::Server, &[0x82, 126, 0, 126]), Ok((4, false)));
    check(Sender::Server, &[0x82, 126, 0, 125]).unwrap_err();
    assert_eq!(check(Sender::Server, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Ok((10, false)));
    check(Sender::Server, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).unwrap_err();
    assert_eq!(check(Sender::Server, &[0x82, 127, 0x7f]), Ok((3, false)));
    check(Sender::Server, &[0x82, 127, 0x80]).unwrap_err();
}

#[test]
fn nothing_passes_after_a_close_frame() {
    for sender in [Sender::Client, Sender::Server] {
        for payload in [&b""[..], b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0"] {
            let close = frame(sender, 0x88, payload);
            let bytes = [close.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
            let mut checker = Checker::new(sender);
            assert_eq!(checker.check(&bytes[..close.len() - 1]), Ok(close.len() - 1));
            assert!(!checker.is_closed());
            assert_eq!(checker.check(&bytes[close.len() - 1..]), Ok(1));
            assert!(checker.is_closed());
            assert_eq!(checker.check(&frame(sender, 0x81, b"more")), Ok(0));
        }
    }
}

#[test]
fn a_message_may_be_given_up_with_a_close_frame() {
    for sender in [Sender::Client, Sender::Server] {
        let bytes = [frame(sender, 0x01, b"a"), frame(sender, 0x88, b"")].concat();
        assert_eq!(check(sender, &bytes), Ok((bytes.len(), true)));
    }
}

#[test]
fn a_status_code_is_one_that_may_be_sent() {
    for sender in [Sender::Client, Sender::Server] {
        check(sender, &frame(sender, 0x88, &[3])).unwrap_err();
        for code in [1000_u16, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(check(sender, &frame(sender, 0x88, &code.to_be_bytes())).unwrap().1, "{code}");
        }
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            check(sender, &frame(sender, 0x88, &code.to_be_bytes())).unwrap_err();
        }
    }
}

fn senders() -> impl Strategy<Value = Sender> {
    select(&[Sender::Client, Sender::Server][..])
}

/// Frames, most of them right.
fn frames() -> impl Strategy<Value = (Sender, Vec<u8>)> {
    let first = select(&[0x81, 0x81, 0x82, 0x89, 0x8a, 0x01, 0x00, 0x80, 0x88, 0xc1, 0x83][..]);
    let payload = prop_oneof![8 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 120..300)];
    (senders(), vec((first, payload), 0..8)).prop_map(|(sender, frames)| {
        (sender, frames.into_iter().flat_map(|(first, payload)| frame(sender, first, &payload)).collect())
    })
}

/// What passes of bytes that arrive in pieces, until they are refused or end with a Close frame.
fn arriving<'a>(sender: Sender, pieces: impl Iterator<Item = &'a [u8]>) -> Result<(usize, bool), Violation> {
    let (mut checker, mut passed) = (Checker::new(sender), 0);
    for piece in pieces {
        passed += checker.check(piece)?;
    }
    Ok((passed, checker.is_closed()))
}

proptest! {
    #[test]
    fn frames_are_judged_alike_in_whatever_pieces_they_arrive(
        (sender, bytes) in frames(),
        place in any::<Index>(),
        other in any::<Index>(),
    ) {
        let whole = check(sender, &bytes);
        let (low, high) = (place.index(bytes.len() + 1), other.index(bytes.len() + 1));
        let (low, high) = (low.min(high), low.max(high));
        let pieces = [&bytes[..low], &bytes[low..high], &bytes[high..]];
        prop_assert_eq!(whole, arriving(sender, pieces.into_iter()));
        prop_assert_eq!(whole, arriving(sender, bytes.chunks(1)));
    }

    #[test]
    fn no_bytes_pass_that_are_not_there(sender in senders(), bytes in vec(any::<u8>(), 0..100)) {
        if let Ok((passed, closed)) = check(sender, &bytes) {
            prop_assert!(passed == bytes.len() || (closed && passed < bytes.len()));
        }
    }
}
