//! WebSocket frames of either side.

use super::cut;
use bottle::sidecar::egress::websocket::{Checker, Sender};

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    let (size, bytes) = cut(data);
    for sender in [Sender::Client, Sender::Server] {
        let mut whole = Checker::new(sender);
        let mut pieces = Checker::new(sender);
        let passed = whole.check(bytes);
        let in_pieces: Result<usize, _> = bytes.chunks(size).map(|piece| pieces.check(piece)).sum();
        assert_eq!(passed, in_pieces);
        let frames = frames(sender, bytes);
        assert_eq!(passed.is_ok(), frames.is_some(), "{sender:?}");
        let (Ok(passed), Some((end, closed))) = (passed, frames) else { continue };
        assert_eq!((passed, whole.is_closed()), (end, closed), "{sender:?}");
        assert_eq!(whole.is_closed(), pieces.is_closed());
    }
}

/// Reads frames from bytes that are all there: where they end, and whether with a Close frame. `None` when one is wrong.
fn frames(sender: Sender, bytes: &[u8]) -> Option<(usize, bool)> {
    let mut at = 0;
    let mut in_message = false;
    let cut_off = Some((bytes.len(), false));
    loop {
        let Some(first) = bytes.get(at) else { return cut_off };
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let known = matches!(opcode, 0..=2 | 8..=10);
        let in_order = opcode >= 8 || (opcode == 0) == in_message;
        if first & 0x70 != 0 || !known || !in_order || (opcode >= 8 && !last) {
            return None;
        }
        if opcode < 8 {
            in_message = !last;
        }
        let Some(second) = bytes.get(at + 1) else { return cut_off };
        let masked = second & 0x80 != 0;
        if masked != (sender == Sender::Client) || (opcode >= 8 && second & 0x7f > 125) {
            return None;
        }
        at += 2;
        let more = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if more == 8 && bytes.get(at).is_some_and(|byte| byte & 0x80 != 0) {
            return None;
        }
        let Some(digits) = bytes.get(at..at + more) else { return cut_off };
        let long = digits.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let length = match more {
            0 => u64::from(second & 0x7f),
            2 if long < 126 => return None,
            8 if long < 0x1_0000 => return None,
            _ => long,
        };
        if opcode == 8 && length == 1 {
            return None;
        }
        at += more;
        let mask = if masked {
            let Some(mask) = bytes.get(at..at + 4) else { return cut_off };
            at += 4;
            [mask[0], mask[1]]
        } else {
            [0, 0]
        };
        let length = usize::try_from(length).ok()?;
        if opcode == 8 && length >= 2 {
            let Some(code) = bytes.get(at..at + 2) else { return cut_off };
            let code = u16::from_be_bytes([code[0] ^ mask[0], code[1] ^ mask[1]]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return None;
            }
        }
        match at.checked_add(length) {
            Some(end) if end <= bytes.len() => at = end,
            _ => return cut_off,
        }
        if opcode == 8 {
            return Some((at, true));
        }
    }
}
