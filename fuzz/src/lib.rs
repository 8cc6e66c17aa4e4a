//! The targets, and what they share: how bytes become pieces, and what must be true of bodies.
//!
//! They are functions of a library, so that the integration tests can run them too, for a moment and without libFuzzer.

pub mod hello;
pub mod path;
pub mod policy;
pub mod request;
pub mod response;
pub mod scan;
pub mod websocket;

use bottle::sidecar::egress::http1::{Decoded, Decoder, Encoder, Framing, HeadLimits, Malformed, Progress};
use bytes::BytesMut;
use http::HeaderMap;

/// Limits that short inputs reach.
pub const LIMITS: HeadLimits = HeadLimits { bytes: 512, headers: 8 };

/// Takes the first byte off: it says how the others are cut into pieces.
pub fn cut(data: &[u8]) -> (usize, &[u8]) {
    data.split_first().map_or((1, data), |(first, rest)| (usize::from(*first).max(1), rest))
}

/// What a head is read as that arrives in pieces of this size, and where it ends.
///
/// # Errors
///
/// What the parser says of it.
pub fn arriving<T>(
    bytes: &[u8],
    size: usize,
    mut read: impl FnMut(&mut Progress, &[u8]) -> Result<Option<T>, Malformed>,
) -> Result<Option<T>, Malformed> {
    let mut progress = Progress::default();
    let mut there = 0;
    while there < bytes.len() {
        there = (there + size).min(bytes.len());
        if let Some(head) = read(&mut progress, &bytes[..there])? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// A body, as far as it came.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Body {
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// Whether it is complete.
    pub ended: bool,
    /// What is left for the next message.
    pub rest: Vec<u8>,
}

/// Decodes a body that arrives in these pieces.
///
/// # Errors
///
/// What the decoder says of it.
pub fn decode<'a>(mut decoder: Decoder, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Body, Malformed> {
    let (mut body, mut buffer) = (Body::default(), BytesMut::new());
    // Also when nothing comes: a body without a byte ends all the same.
    for piece in pieces.chain([&[][..]]) {
        buffer.extend_from_slice(piece);
        while !body.ended {
            match decoder.decode(&mut buffer)? {
                Decoded::Partial => break,
                Decoded::Data(data) => {
                    assert!(!data.is_empty(), "an empty piece");
                    assert!(body.trailers.is_none(), "a piece after the trailers");
                    body.data.extend_from_slice(&data);
                }
                Decoded::Trailers(trailers) => {
                    assert!(!trailers.is_empty(), "no trailers");
                    assert!(body.trailers.replace(trailers).is_none(), "trailers twice");
                }
                Decoded::End => body.ended = true,
            }
        }
    }
    assert!(!body.ended || decoder.at_close(), "an end that is none");
    body.rest = buffer.to_vec();
    Ok(body)
}

/// Checks what must be true of any body: it doesn't depend on the pieces, and framed again it is the same one.
///
/// # Panics
///
/// When it isn't true.
pub fn check_body(begin: impl Fn(Framing) -> Decoder, framing: Framing, bytes: &[u8], size: usize) {
    let whole = decode(begin(framing), std::iter::once(bytes));
    assert_eq!(whole, decode(begin(framing), bytes.chunks(size)));
    let Ok(body) = whole else { return };
    assert!(body.data.len() + body.rest.len() <= bytes.len());
    if !body.ended {
        return;
    }
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(framing);
    for piece in body.data.chunks(size) {
        encoder.data(piece, &mut out).expect("as many bytes as were announced");
    }
    encoder.end(body.trailers.as_ref(), &mut out).expect("as many bytes as were announced");
    out.extend_from_slice(&body.rest);
    let again = decode(begin(framing), std::iter::once(&out[..]));
    assert_eq!(again.as_ref(), Ok(&body));
}
