//! WebSockets: the handshake (RFC 6455, section 4.2.1), and frames in both directions until one side ends.
//!
//! It is no tunnel: what either side sends is checked to be WebSocket frames, and only checked bytes go on.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

use super::inbound::Inbound;
use super::{Flow, Session};
use crate::policy::reason::Reason;
use crate::sidecar::egress::http1::{Framing, Version, write_response};
use crate::sidecar::egress::pipelock;
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::scrub::Frames;
use crate::sidecar::egress::session::exchange::Exchange;
use crate::sidecar::egress::session::inspect;
use crate::sidecar::egress::session::request::Opened;
use crate::sidecar::egress::session::wire::{Outbox, Reader, Shared};
use crate::sidecar::egress::upstream::Io;
use crate::sidecar::egress::websocket::{Checker, Sender, Violation};

/// How much of what the upstream sends is read at a time.
const READ: usize = 8 << 10;

/// The status code of a Close frame that says that a message violates a policy (RFC 6455, section 7.4.1).
const POLICY: u16 = 1008;

/// How long that frame may take to leave.
const CLOSING: Duration = Duration::from_secs(2);

/// The most bytes of its text: a control frame has 125, and two of them are the code.
const CLOSE_TEXT: usize = 123;

/// Checks what asks for another protocol: only a WebSocket is passed on, if the rules say so. Extensions are taken out,
/// since with them frames could not be checked.
pub(super) fn check(
    protocol: &str,
    method: &Method,
    framing: Framing,
    headers: &mut HeaderMap,
) -> Result<(), Refusal> {
    if protocol != "websocket" {
        return Err(Refusal::new(
            Reason::UpgradeDenied,
            "the request asks for another protocol than a WebSocket",
        ));
    }
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    let single = |name| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
    };
    let problem = if *method != Method::GET || !matches!(framing, Framing::Empty | Framing::Length(0)) {
        "a WebSocket is asked for with GET, and without a body"
    } else if single(SEC_WEBSOCKET_VERSION) != Some(b"13") {
        "the WebSocket's version is not 13"
    } else if !single(SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        "the WebSocket's key is not one of 16 bytes"
    } else {
        return Ok(());
    };
    Err(Refusal::new(Reason::RequestMalformed, problem))
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(digit))
}

/// Writes a Close frame that says why the connection ends.
fn say_close(out: &mut BytesMut, refusal: &Refusal) {
    let mut text = format!("{}: {}", refusal.reason.code(), refusal.detail);
    while text.len() > CLOSE_TEXT {
        text.pop();
    }
    out.extend_from_slice(&[0x88, u8::try_from(text.len() + 2).unwrap_or_default()]);
    out.extend_from_slice(&POLICY.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

impl Session {
    /// Tells the agent that the WebSocket is open, and passes frames on until it ends.
    pub(super) async fn relay(&mut self, opened: Opened) -> Flow {
        let Opened { mut head, io, scrubber, inspector, scanned, exchange, signal } = opened;
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let Inbound::Here(reader) = &mut self.inbound else { return Flow::Drop };
        let mut to_agent = Outbox::default();
        let (out, version) = (&mut to_agent.small, Version::Http11);
        write_response(out, version, head.status, &head.headers, Framing::Empty, false);
        let mut relay = Relay {
            shared: &self.shared,
            reader,
            upstream: io,
            scrubber,
            inspector,
            scanned,
            agent: Side::new(Sender::Client),
            origin: Side::new(Sender::Server),
            to_agent,
            to_upstream: BytesMut::new(),
            exchange,
        };
        let (mut signal, stall, mut last) = (signal, self.egress.limits.stall, Instant::now());
        let deadline = &mut self.deadline;
        let ended = poll_fn(|context| {
            while signal.poll_changed(context).is_ready() {
                relay.exchange.judge_again()?;
            }
            while relay.poll_step(context)? {
                last = Instant::now();
            }
            if relay.is_over() {
                return Poll::Ready(Ok(()));
            }
            deadline.poll(last + stall, context).map(|()| {
                Err(Refusal::new(
                    Reason::RequestTimeout,
                    "neither side of the WebSocket sent anything for too long",
                ))
            })
        })
        .await;
        match ended {
            Ok(()) => {
                relay.exchange.end();
                Flow::Close
            }
            Err(refusal) => {
                relay.exchange.refused(&refusal);
                // The other reasons speak of a side that is gone, or of frames that can't be trusted.
                if !matches!(
                    refusal.reason,
                    Reason::SecretSent
                        | Reason::SecretPending
                        | Reason::ScannerDenied
                        | Reason::ScannerUnavailable
                ) || !relay.origin.checker.is_between()
                {
                    return Flow::Drop;
                }
                let mut out = relay.to_agent;
                say_close(&mut out.small, &refusal);
                let (shared, until) = (&self.shared, Instant::now() + CLOSING);
                let written = poll_fn(|context| match shared.poll_write(context, &mut out) {
                    Poll::Ready(written) => Poll::Ready(written.is_ok()),
                    Poll::Pending => deadline.poll(until, context).map(|()| false),
                });
                if written.await { Flow::Linger } else { Flow::Drop }
            }
        }
    }
}

/// What one side has sent.
struct Side {
    checker: Checker,
    /// Whether its connection has ended.
    gone: bool,
}

impl Side {
    fn new(sender: Sender) -> Self {
        Self { checker: Checker::new(sender), gone: false }
    }

    /// Checks what was read and gives the number of bytes that go on. After a Close frame there is
    /// nothing to say.
    fn check(
        &mut self,
        bytes: &[u8],
        reason: Reason,
        check: impl FnOnce(&mut Checker, &[u8]) -> Result<usize, Violation>,
    ) -> Result<usize, Refusal> {
        let checked = check(&mut self.checker, bytes);
        let checked = checked.map_err(|violation| Refusal::new(reason, violation.to_string()))?;
        self.gone |= checked < bytes.len();
        Ok(checked)
    }
}

/// An open WebSocket. It holds buffers only while something passes through.
struct Relay<'a> {
    shared: &'a Shared,
    reader: &'a mut Reader,
    upstream: Box<dyn Io>,
    scrubber: Option<Frames>,
    inspector: Option<inspect::Frames>,
    /// What the agent sends waits there for the second scanner.
    scanned: Option<pipelock::Frames>,
    agent: Side,
    origin: Side,
    to_agent: Outbox,
    to_upstream: BytesMut,
    exchange: Box<Exchange>,
}

impl Relay<'_> {
    fn is_over(&self) -> bool {
        let closed = self.agent.checker.is_closed() && self.origin.checker.is_closed();
        let all_sent =
            self.to_upstream.is_empty() && self.scanned.as_ref().is_none_or(pipelock::Frames::is_over);
        (all_sent && (self.agent.gone || closed))
            || (self.to_agent.is_empty() && (self.origin.gone || closed))
    }

    /// Passes on what is there; tells whether anything moved.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Result<bool, Refusal> {
        Ok(self.poll_up(context)? | self.poll_down(context)?)
    }

    /// From the agent to the upstream.
    fn poll_up(&mut self, context: &mut Context<'_>) -> Result<bool, Refusal> {
        let mut moved = false;
        let has_room = self.scanned.as_ref().is_none_or(pipelock::Frames::takes);
        if self.to_upstream.is_empty() && !self.agent.gone && has_room {
            // What followed the handshake at once is there already.
            if self.reader.buffer.is_empty()
                && let Poll::Ready(read) = self.reader.poll_head(context)
            {
                self.agent.gone = matches!(read, Ok(0) | Err(_));
            }
            let read = std::mem::take(&mut self.reader.buffer);
            moved |= !read.is_empty();
            self.to_upstream = self.look(read)?;
            if let Some(scanned) = &mut self.scanned {
                let taken = scanned.push(&self.to_upstream.split());
                taken.map_err(|violation| Refusal::new(Reason::RequestMalformed, violation.to_string()))?;
            }
            self.exchange.sent(self.to_upstream.len());
        }
        if let Some(scanned) = &mut self.scanned {
            while self.to_upstream.len() < READ
                && let Poll::Ready(frames) = scanned.poll_next(context)
            {
                let frames = frames?;
                self.exchange.sent(frames.len());
                self.to_upstream.extend_from_slice(&frames);
            }
        }
        while !self.to_upstream.is_empty() {
            match Pin::new(&mut self.upstream).poll_write(context, &self.to_upstream) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.to_upstream.advance(count);
                    moved = true;
                }
                Poll::Ready(_) => {
                    self.origin.gone = true;
                    self.to_upstream.clear();
                }
                Poll::Pending => return Ok(moved),
            }
        }
        if Pin::new(&mut self.upstream).poll_flush(context).map_err(drop) == Poll::Ready(Err(())) {
            self.origin.gone = true;
        }
        Ok(moved)
    }

    /// Checks and looks into what the agent sent, and gives what goes on.
    fn look(&mut self, mut read: BytesMut) -> Result<BytesMut, Refusal> {
        let Some(inspector) = &mut self.inspector else {
            let checked = self.agent.check(&read, Reason::RequestMalformed, Checker::check)?;
            read.truncate(checked);
            return Ok(read);
        };
        let passed = inspector.pass(&mut self.agent.checker, &read);
        let (scanned, found) = inspector.take_seen();
        self.exchange.looked(scanned, found);
        let (checked, passed) = passed?;
        self.agent.gone |= checked < read.len();
        Ok(passed)
    }

    /// From the upstream to the agent.
    fn poll_down(&mut self, context: &mut Context<'_>) -> Result<bool, Refusal> {
        let mut moved = false;
        if self.to_agent.is_empty() && !self.origin.gone {
            let mut space = [MaybeUninit::uninit(); READ];
            let mut read = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.upstream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    let (scrubber, out) = (&mut self.scrubber, &mut self.to_agent.small);
                    let checked =
                        self.origin.check(read.filled(), Reason::UpstreamInvalid, |checker, bytes| {
                            if let Some(scrubber) = scrubber {
                                return scrubber.pass(checker, bytes, out);
                            }
                            let checked = checker.check(bytes)?;
                            out.extend_from_slice(bytes.get(..checked).unwrap_or_default());
                            Ok(checked)
                        })?;
                    self.exchange.received(checked);
                    moved = true;
                }
                Poll::Ready(_) => self.origin.gone = true,
                Poll::Pending => {}
            }
        }
        if !self.to_agent.is_empty() {
            match self.shared.poll_write(context, &mut self.to_agent) {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => {
                    self.agent.gone = true;
                    self.to_agent = Outbox::default();
                }
                Poll::Pending => return Ok(moved),
            }
        }
        if self.to_agent.is_empty() {
            self.to_agent = Outbox::default();
            if self.shared.poll_flush(context).map_err(drop) == Poll::Ready(Err(())) {
                self.agent.gone = true;
            }
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
    use http::{HeaderMap, HeaderValue, Method};

    use super::check;
    use crate::policy::reason::Reason;
    use crate::sidecar::egress::http1::Framing;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        headers
    }

    fn refused(protocol: &str, method: &Method, framing: Framing, mut headers: HeaderMap) -> Option<Reason> {
        check(protocol, method, framing, &mut headers).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_websocket_is_asked_for_without_extensions() {
        let mut headers = headers();
        assert!(check("websocket", &Method::GET, Framing::Empty, &mut headers).is_ok());
        assert!(!headers.contains_key(SEC_WEBSOCKET_EXTENSIONS));
    }

    #[test]
    fn every_other_protocol_is_refused() {
        for protocol in ["h2c", "websocket,h2c", "tls/1.0", "connect-udp"] {
            let reason = refused(protocol, &Method::GET, Framing::Empty, headers());
            assert_eq!(reason, Some(Reason::UpgradeDenied), "{protocol}");
        }
    }

    #[test]
    fn a_handshake_that_is_none_is_refused() {
        let malformed = Some(Reason::RequestMalformed);
        assert_eq!(refused("websocket", &Method::POST, Framing::Empty, headers()), malformed);
        assert_eq!(refused("websocket", &Method::GET, Framing::Length(1), headers()), malformed);
        assert_eq!(refused("websocket", &Method::GET, Framing::Chunked, headers()), malformed);
        for version in ["8", "13, 8", ""] {
            let mut headers = headers();
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(version));
            assert_eq!(refused("websocket", &Method::GET, Framing::Empty, headers), malformed, "{version}");
        }
        for key in ["", "short==", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub2 jZQ=="] {
            let mut headers = headers();
            headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static(key));
            assert_eq!(refused("websocket", &Method::GET, Framing::Empty, headers), malformed, "{key}");
        }
    }
}
