//! Taking an injected credential out of what comes back.
//!
//! Headers, bodies and trailers are searched for the secret and for what it looks like in the usual notations, and each
//! byte of it is covered. This keeps an upstream that shows what it was sent (an echo, a page about an error) from
//! handing the secret to the agent. It can't do so where an upstream computes with it: what is reversed, hashed or cut
//! on request is not recognised.
//!
//! A packed body is unpacked, whatever its type: what can't be looked into is not passed on.

mod body;
mod coding;
mod frames;
mod needles;
mod share;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;

pub(crate) use self::coding::{Coding, coding, unpack as unpack_headers};
pub(crate) use self::frames::Frames;
pub(crate) use self::needles::Needles;
pub(crate) use self::share::Share;
pub(crate) use self::unpack::Unpacked;

use self::body::Scrubbed;
use super::body::Body;
use super::credential::Injected;
use super::refusal::Refusal;
use crate::policy::reason::Reason;

/// Removes what was injected from the headers and the body of a response. A body in gzip, deflate, br or zstd is
/// unpacked as it comes and passed on plain.
///
/// # Errors
///
/// A body whose encoding can't be looked into, or a part of one that a secret may be cut in two by.
pub(crate) fn response(injected: Injected, response: Response<Body>) -> Result<Response<Body>, Refusal> {
    let Some(needles) = injected.needles else { return Ok(response) };
    let (mut head, body) = response.into_parts();
    headers(&needles, &mut head.headers);
    let coding = coding(&head.headers);
    if body.is_end_stream() {
        // The head alone says what the head of the whole would (RFC 9110, section 9.3.2).
        if let Ok(Some(_)) = coding {
            coding::unpack(&mut head.headers);
        }
        return Ok(Response::from_parts(head, body));
    }
    let Ok(coding) = coding else {
        return Err(Refusal::new(
            Reason::ScrubFailed,
            "the answer is packed in a way that can't be looked into for the credential",
        ));
    };
    if head.status == StatusCode::PARTIAL_CONTENT && (coding.is_some() || coding::textual(&head.headers)) {
        return Err(Refusal {
            hint: Some("send the request without Range".to_owned()),
            ..Refusal::new(
                Reason::ScrubFailed,
                "the answer is a part of a text, whose parts can't be looked into for the credential one by one",
            )
        });
    }
    let body = match coding {
        None => Scrubbed::new(body, needles).boxed_unsync(),
        Some(coding) => {
            coding::unpack(&mut head.headers);
            Scrubbed::new(Unpacked::new(coding, body), needles).boxed_unsync()
        }
    };
    Ok(Response::from_parts(head, body))
}

/// Removes what was injected from the values of headers or trailers.
pub(crate) fn headers(needles: &Arc<Needles>, headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let mut covered: Option<Vec<u8>> = None;
        needles.find(value.as_bytes(), |place| {
            let covered = covered.get_or_insert_with(|| value.as_bytes().to_vec());
            if let Some(place) = covered.get_mut(place) {
                place.fill(needles.mask());
            }
        });
        if let Some(covered) = covered {
            *value = HeaderValue::from_bytes(&covered).unwrap_or(HeaderValue::from_static(""));
        }
    }
}
