//! Taking tools out of requests that the server would run, such as a search of the web: whoever may only reach a model's
//! provider would reach everything through it.
//!
//! A choice of tools may stand before the tools, so that a body is collected before any of it leaves: [`MOST`] bytes at
//! most, unpacked, and all bodies together no more than the bound that the decoders share. What is larger, packed in an
//! unknown way or not JSON is refused: nothing passes unread. What stays is sent byte for byte, plain and with its length.

mod json;
mod strip;
#[cfg(test)]
mod tests;
mod words;

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRAILER;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::body::{self, Body};
use super::refusal::Refusal;
use super::scrub::{Share, Unpacked, coding, unpack_headers};
use crate::policy::reason::Reason;

/// The most bytes of a body, unpacked.
pub(crate) const MOST: usize = 32 << 20;

/// What to do about a body that can't be read.
const HINT: &str = "send one JSON value of at most 32 MiB, plain or in gzip, deflate, br or zstd; or take \
                    `strip_tools` off the route in bottle.yaml";

/// The text of a body, which counts as long as it is there.
struct Text {
    text: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// Takes the tools out of a body. Its trailers, which could only speak of what it was, go too.
///
/// # Errors
///
/// `body-unreadable`, or what broke the body.
pub(crate) async fn take_out(tools: &[String], headers: &mut HeaderMap, body: Body) -> Result<Body, Refusal> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let Ok(coding) = coding(headers) else {
        return Err(unreadable("its coding is none that egress knows"));
    };
    let mut body = match coding {
        None => body,
        Some(coding) => Unpacked::new(coding, body).boxed_unsync(),
    };
    let (mut text, mut share) = (Vec::new(), Share::of_text(MOST));
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| match error.reason {
            Reason::ScrubFailed => unreadable(&error.detail),
            _ => error.into(),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if text.len() + data.len() > MOST {
            return Err(unreadable("it is larger than 32 MiB"));
        }
        if !share.grow(data.len()) {
            return Err(unreadable("too many large bodies are read at a time"));
        }
        text.extend_from_slice(&data);
    }
    let changed = match std::str::from_utf8(&text) {
        Ok("") => None,
        Ok(text) => strip::strip(text, tools).map_err(|error| unreadable(&error.to_string()))?,
        Err(_) => return Err(unreadable("it is not UTF-8")),
    };
    headers.remove(TRAILER);
    if coding.is_some() || changed.is_some() {
        unpack_headers(headers);
    }
    let text = Text { text: changed.unwrap_or(text), _share: share };
    Ok(body::full(Bytes::from_owner(text)))
}

fn unreadable(detail: &str) -> Refusal {
    Refusal {
        hint: Some(HINT.to_owned()),
        ..Refusal::new(
            Reason::BodyUnreadable,
            format!("the route takes tools out of bodies, and this one can't be read: {detail}"),
        )
    }
}
