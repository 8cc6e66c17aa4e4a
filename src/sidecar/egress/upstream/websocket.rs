//! Opening a WebSocket (RFC 6455, section 4.1): always on a connection of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;

/// Checks that the answer is the one to this request.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check(request: &HeaderMap, response: &HeaderMap, accept: &str) -> Result<(), &'static str> {
    let only = |name: &HeaderName| {
        let mut values = response.get_all(name).iter();
        (values.next(), values.next().is_some())
    };
    let mut protocols = tokens(response, &UPGRADE);
    let websocket = protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    let upgrade = tokens(response, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if !websocket || protocols.next().is_some() || !upgrade {
        return Err("it changes to another protocol than the WebSocket that was asked for");
    }
    match only(&SEC_WEBSOCKET_ACCEPT) {
        (Some(value), false) if value.as_bytes() == accept.as_bytes() => {}
        _ => return Err("its `Sec-WebSocket-Accept` is not the one of this request"),
    }
    if response.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err("it uses a WebSocket extension that was not offered");
    }
    match only(&SEC_WEBSOCKET_PROTOCOL) {
        (None, _) => Ok(()),
        (Some(chosen), false) if offered(request, chosen) => Ok(()),
        _ => Err("it uses a WebSocket subprotocol that was not offered"),
    }
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn offered(request: &HeaderMap, chosen: &HeaderValue) -> bool {
    tokens(request, &SEC_WEBSOCKET_PROTOCOL).any(|offered| offered.as_bytes() == chosen.as_bytes())
}

/// A stream of which something was read before.
#[derive(Debug)]
pub(super) struct Rest {
    /// What was read.
    pub(super) read: BytesMut,
    /// The stream.
    pub(super) stream: Stream,
}

impl AsyncRead for Rest {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let length = this.read.len().min(buf.remaining());
        buf.put_slice(&this.read.split_to(length));
        if this.read.is_empty() {
            this.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rest {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
