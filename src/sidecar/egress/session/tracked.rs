//! The body of an answer on its way to the agent: counted, and cut when the policy changes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};

use super::exchange::Exchange;
use super::signal::Signal;
use crate::sidecar::egress::body::{Body, BodyError};
use crate::sidecar::egress::refusal::{Format, Refusal};

/// A body with the exchange that it belongs to, which is recorded when this is dropped.
pub(super) struct Tracked {
    body: Body,
    exchange: Box<Exchange>,
    signal: Signal,
}

impl Tracked {
    /// Passes an answer on.
    pub(super) fn answer(
        mut exchange: Box<Exchange>,
        signal: Signal,
        response: Response<Body>,
    ) -> Response<Self> {
        exchange.answered(response.status());
        response.map(|body| {
            if body.is_end_stream() {
                exchange.end();
            }
            Self { body, exchange, signal }
        })
    }

    /// Answers with a refusal.
    pub(super) fn refusal(
        mut exchange: Box<Exchange>,
        signal: Signal,
        refusal: &Refusal,
        format: Format,
    ) -> Response<Self> {
        exchange.refused(refusal);
        let response = refusal.answer(exchange.id(), format);
        Self::answer(exchange, signal, response)
    }

    /// Whether the agent is told a refusal, or a failure.
    pub(super) fn is_refusal(&self) -> bool {
        self.exchange.is_refused()
    }

    /// The exchange and the signal, for another answer than this one or the next request.
    pub(super) fn into_parts(self) -> (Box<Exchange>, Signal) {
        let Self { exchange, signal, body: _ } = self;
        (exchange, signal)
    }

    /// Says that the agent did not get all of it.
    pub(super) fn lost(&mut self) {
        self.exchange.lost();
    }

    /// Ready with the cause when the policy refuses it by now: for one who doesn't ask for more of it.
    pub(super) fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        while self.signal.poll_changed(context).is_ready() {
            if let Err(error) = self.cut() {
                return Poll::Ready(error);
            }
        }
        Poll::Pending
    }

    fn cut(&mut self) -> Result<(), BodyError> {
        let again = self.exchange.judge_again();
        again.map_err(|refusal| BodyError { reason: refusal.reason, detail: refusal.detail })
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.signal.changed() {
            this.cut()?;
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.exchange.received(frame.data_ref().map_or(0, Bytes::len));
                if this.body.is_end_stream() {
                    this.exchange.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.exchange.broken(&error);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.exchange.end();
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_cut(context).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
