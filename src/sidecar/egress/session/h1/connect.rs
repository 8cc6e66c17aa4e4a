//! CONNECT, after which TLS comes and nothing else.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::Instant;

use super::inbound::Inbound;
use super::respond::Shape;
use super::{Flow, Session, place, version_name};
use crate::policy::host::Host;
use crate::sidecar::egress::http1::RequestHead;
use crate::sidecar::egress::refusal::Format;
use crate::sidecar::egress::session::exchange::Exchange;
use crate::sidecar::egress::session::signal::Signal;
use crate::sidecar::egress::session::target::Target;
use crate::sidecar::egress::session::wire::{Early, Outbox, Wire};

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A CONNECT that was answered; TLS comes next.
pub(in super::super) struct Connected {
    /// Where to.
    pub(in super::super) target: Arc<Target>,
    /// The connection.
    pub(in super::super) wire: Early,
    /// What tells of changes.
    pub(in super::super) signal: Signal,
}

impl Session {
    /// Answers CONNECT; with the target where TLS may begin.
    pub(super) async fn connect(&mut self, head: RequestHead) -> Result<Arc<Target>, Flow> {
        let shape = Shape { version: head.version, head_only: false, keep_alive: head.keep_alive };
        let mut exchange = Exchange::begin(&self.egress, version_name(head.version));
        exchange.asks("CONNECT", "", false);
        let target = match place::connect(&head) {
            Ok(target) => Arc::new(target),
            Err(refusal) => {
                let format = Format::preferred(&head.headers);
                return Err(self
                    .refuse(exchange, &refusal, format, Shape { keep_alive: false, ..shape })
                    .await);
            }
        };
        exchange.aims_at(&target);
        // An address has no SNI by which TLS could begin; what no route names is refused right here.
        if matches!(target.host, Host::Address(_))
            && let Err(denied) = self.egress.live.now().rules.judge_target(&target.as_rules())
        {
            let format = Format::preferred(&head.headers);
            return Err(self.refuse(exchange, &denied.into(), format, shape).await);
        }
        if self.write(ESTABLISHED).await {
            // The requests inside are what is recorded.
            exchange.forget();
            Ok(target)
        } else {
            Err(Flow::Drop)
        }
    }

    /// Gives up the connection for TLS.
    pub(super) fn into_connected(self, target: Arc<Target>) -> Option<Connected> {
        let Self { shared, inbound, signal, .. } = self;
        let Inbound::Here(reader) = inbound else { return None };
        let bytes = reader.into_rest();
        match shared.into_wire()? {
            Wire::Plain(tcp) => Some(Connected { target, wire: Early { bytes, tcp }, signal }),
            Wire::Tls(_) => None,
        }
    }

    /// Writes a few bytes; tells whether that was possible in time.
    async fn write(&mut self, bytes: &'static [u8]) -> bool {
        let mut outbox = Outbox::default();
        outbox.small.extend_from_slice(bytes);
        let until = Instant::now() + self.egress.limits.connect_line;
        poll_fn(|context| {
            match self.shared.poll_write(context, &mut outbox) {
                Poll::Ready(Ok(())) if outbox.is_empty() => return Poll::Ready(true),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            self.deadline.poll(until, context).map(|()| false)
        })
        .await
    }
}
