//! Waiting for a request and reading its head, within the limits of time and size.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Buf as _;
use tokio::time::Instant;

use super::inbound::Inbound;
use super::{Scope, Session};
use crate::policy::reason::Reason;
use crate::sidecar::egress::http1::{Malformed, Progress, RequestHead, resume_request};
use crate::sidecar::egress::refusal::Refusal;

/// What comes next on a connection.
pub(super) enum Next {
    /// A request.
    Head(Box<RequestHead>),
    /// Nothing, and nobody waits for an answer.
    Closed,
    /// Something that is no request, or not in time.
    Refused(Refusal),
}

impl Session {
    /// Waits for the next request; `opening` is the time before the first one.
    pub(super) async fn next(&mut self, opening: bool) -> Next {
        let limits = self.limits();
        let Self { egress, scope, inbound, signal, deadline, .. } = self;
        let Inbound::Here(reader) = inbound else { return Next::Closed };
        reader.release();
        let since = Instant::now();
        let mut first = (!reader.buffer.is_empty()).then_some(since);
        let mut progress = Progress::default();
        poll_fn(|context| {
            loop {
                if !reader.buffer.is_empty() {
                    match resume_request(&mut progress, &reader.buffer, limits) {
                        Ok(Some((head, length))) => {
                            reader.buffer.advance(length.min(reader.buffer.len()));
                            return Poll::Ready(Next::Head(Box::new(head)));
                        }
                        Ok(None) => {}
                        Err(malformed) => return Poll::Ready(Next::Refused(refusal(&malformed))),
                    }
                }
                match reader.poll_head(context) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Closed),
                    Poll::Ready(Ok(_)) => {
                        first.get_or_insert_with(Instant::now);
                    }
                    Poll::Pending => break,
                }
            }
            if first.is_none() && signal.draining() {
                return Poll::Ready(Next::Closed);
            }
            while signal.poll_changed(context).is_ready() {
                let refused = matches!(&*scope, Scope::Inside(target)
                    if egress.live.now().rules.judge_target(&target.as_rules()).is_err());
                // Whoever has just connected gets the refusal as the answer to what he asks.
                if first.is_none() && ((refused && !opening) || signal.draining()) {
                    return Poll::Ready(Next::Closed);
                }
            }
            let until = match (opening && matches!(scope, Scope::Front), first) {
                (true, _) => since + egress.limits.connect_line,
                (false, Some(first)) => first + egress.limits.head,
                (false, None) => since + egress.limits.idle,
            };
            if deadline.poll(until, context).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(match first {
                Some(_) => Next::Refused(Refusal::new(
                    Reason::RequestTimeout,
                    "the head of the request took too long to arrive",
                )),
                None => Next::Closed,
            })
        })
        .await
    }
}

/// The refusal of what is no request.
pub(super) fn refusal(malformed: &Malformed) -> Refusal {
    let reason = match malformed {
        Malformed::TooLarge => Reason::HeadTooLarge,
        Malformed::Ambiguous(_) => Reason::RequestMalformed,
    };
    Refusal::new(reason, malformed.to_string())
}
