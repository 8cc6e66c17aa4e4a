//! WebSocket frames (RFC 6455, section 5), checked while they pass and never held: what an allowed upgrade carries must
//! be WebSocket, and not whatever two ends agree on.
//!
//! The sender's bytes may be passed on as soon as they were checked, in the midst of a frame too. No extension may be
//! agreed on: egress removes Sec-WebSocket-Extensions from the handshake.

mod frame;
mod handshake;

#[cfg(test)]
mod tests;

pub use frame::{Checker, Part, Sender, Violation};
pub use handshake::accept_key;
