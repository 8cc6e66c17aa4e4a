//! The frames of a WebSocket without what was injected.
//!
//! The payloads are searched, and not the frames: all messages are one text, so that a secret is found that comes in
//! fragments or in several messages, and all control frames are another, as they may come between. Nothing is held back
//! longer than its frame is: who waits for a message that ends like the secret begins gets it at once, with what would
//! tell too much of the secret covered.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::needles::Needles;
use super::stream::Scrubber;
use crate::sidecar::egress::websocket::{Checker, Part, Violation};

/// The search through what a server sends.
pub(crate) struct Frames {
    messages: Scrubber,
    control: Scrubber,
}

impl Frames {
    pub(crate) fn new(needles: Arc<Needles>) -> Self {
        Self { messages: Scrubber::new(Arc::clone(&needles)), control: Scrubber::new(needles) }
    }

    /// Checks the next bytes, writes what can be passed on now, and gives how many bytes were taken.
    ///
    /// # Errors
    ///
    /// A violation of the protocol; the connection must be broken.
    pub(crate) fn pass(
        &mut self,
        checker: &mut Checker,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> Result<usize, Violation> {
        let Self { messages, control } = self;
        checker.check_each(bytes, |part| match part {
            Part::Head(head) => out.extend_from_slice(head),
            Part::Message(payload) => out.extend_from_slice(&messages.push(Bytes::copy_from_slice(payload))),
            Part::Control(payload) => out.extend_from_slice(&control.push(Bytes::copy_from_slice(payload))),
            // Of one of the two there is nothing.
            Part::End => {
                out.extend_from_slice(&messages.settle());
                out.extend_from_slice(&control.settle());
            }
        })
    }
}
