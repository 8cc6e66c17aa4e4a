//! One module for each direction and for bodies; `properties` holds what is true of any input.

mod bodies;
mod naive;
mod properties;
mod requests;
mod responses;
mod writing;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use super::{
    Decoded, Decoder, HeadLimits, Malformed, RequestHead, ResponseHead, parse_request, parse_response,
};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, headers: 40 };

/// A complete head of a request, which must use all bytes.
fn request(text: &str) -> RequestHead {
    let (head, length) = parse_request(text.as_bytes(), LIMITS).unwrap().unwrap();
    assert_eq!(length, text.len());
    head
}

/// Why a request is refused.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>) -> Malformed {
    match parse_request(bytes.as_ref(), LIMITS) {
        Err(malformed) => malformed,
        Ok(read) => panic!("{:?} was read as {read:?}", String::from_utf8_lossy(bytes.as_ref())),
    }
}

/// A complete head of a response, which must use all bytes.
fn response(method: &Method, text: &str) -> ResponseHead {
    let (head, length) = parse_response(text.as_bytes(), method, LIMITS).unwrap().unwrap();
    assert_eq!(length, text.len());
    head
}

/// What a decoder makes of a whole body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// What is left for the next message.
    rest: Vec<u8>,
}

/// Decodes a body that arrives in these pieces.
fn decode<'a>(mut decoder: Decoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Body, Malformed> {
    let (mut body, mut buffer) = (Body::default(), BytesMut::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !body.ended {
            match decoder.decode(&mut buffer)? {
                Decoded::Partial => break,
                Decoded::Data(data) => {
                    assert_ne!(data, Bytes::new(), "a piece is never empty");
                    assert_eq!(body.trailers, None, "nothing comes after the trailers");
                    body.data.extend_from_slice(&data);
                }
                Decoded::Trailers(trailers) => assert_eq!(body.trailers.replace(trailers), None),
                Decoded::End => body.ended = true,
            }
        }
    }
    body.rest = buffer.to_vec();
    Ok(body)
}
