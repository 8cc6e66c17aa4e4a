//! What an agent sends through a WebSocket, behind the second scanner.
//!
//! All messages are one text, unmasked, so that what comes in fragments or in several messages is seen as a whole; control
//! frames are another, since they may stand within a message. A message is asked about as soon as it is complete: the other
//! side may have to answer it.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Hold, Inspection};
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::websocket::{Checker, Part, Sender, Violation};

/// The frames that wait.
#[derive(Debug)]
pub(crate) struct Frames {
    hold: Hold,
    checker: Checker,
    frame: Frame,
}

/// The frame that is under way.
#[derive(Debug, Default)]
struct Frame {
    /// Its first byte: FIN and the opcode.
    first: Option<u8>,
    /// The last four bytes of its head: the mask.
    mask: [u8; 4],
    /// How many bytes of its payload there were.
    at: usize,
}

/// The bit of the first byte that ends a message.
const FIN: u8 = 0x80;

impl Frames {
    pub(crate) fn new(inspection: Inspection) -> Self {
        Self { hold: Hold::new(inspection), checker: Checker::new(Sender::Client), frame: Frame::default() }
    }

    /// Takes frames that were found sound.
    ///
    /// # Errors
    ///
    /// They are not.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let Self { hold, checker, frame } = self;
        checker.check_each(bytes, |part| match part {
            Part::Head(head) => {
                for byte in head {
                    frame.head(*byte);
                }
                hold.push(head, &[]);
            }
            Part::Message(payload) => {
                let text = frame.unmasked(payload);
                hold.push(payload, &text);
            }
            Part::Control(payload) => {
                let text = frame.unmasked(payload);
                hold.push_aside(payload, &text);
            }
            Part::End => {
                if frame.first.is_some_and(|first| first & FIN != 0) {
                    hold.settle();
                }
                *frame = Frame::default();
            }
        })?;
        Ok(())
    }

    /// The next bytes that may leave. It is pending while it waits for a verdict or for more.
    ///
    /// # Errors
    ///
    /// The text isn't allowed.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        match self.hold.poll_next(context) {
            Poll::Ready(Ok(Some(bytes))) => Poll::Ready(Ok(bytes)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // It never ends by itself.
            Poll::Ready(Ok(None)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether it takes more.
    pub(crate) fn takes(&self) -> bool {
        self.hold.takes()
    }

    /// Whether nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        self.hold.is_over()
    }
}

impl Frame {
    fn head(&mut self, byte: u8) {
        self.first.get_or_insert(byte);
        let [_, first, second, third] = self.mask;
        self.mask = [first, second, third, byte];
    }

    fn unmasked(&mut self, payload: &[u8]) -> Vec<u8> {
        let mask = self.mask.iter().cycle().skip(self.at % self.mask.len());
        self.at += payload.len();
        payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
    }
}
