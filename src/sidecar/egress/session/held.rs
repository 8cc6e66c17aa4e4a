//! Requests to hosts that no route names, held for some seconds while the operator is asked.
//!
//! What is held is refused unless the policy allows it in time. Few are held at a time, and each waits for itself alone:
//! it holds a place, its own head, and nothing that another request could be waiting for.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::exchange::Exchange;
use super::inspect::covered_path;
use super::signal::Signal;
use crate::policy::egress::OnRefusal;
use crate::policy::reason::Reason;
use crate::sidecar::egress::refusal::Refusal;

/// The most requests that are held at a time; further ones are refused at once.
pub(crate) const MOST: usize = 16;

/// A request that is held.
pub(super) struct Held {
    /// Given back when the waiting is over, however it ends.
    _place: OwnedSemaphorePermit,
    until: Instant,
}

impl Held {
    /// Begins to hold a request that no route names; none where it is to be judged as every other one.
    pub(super) fn begin(exchange: &mut Exchange, signal: &Signal) -> Option<Self> {
        let egress = Arc::clone(exchange.egress());
        let snapshot = egress.live.now();
        let Some(OnRefusal::Ask(seconds)) = snapshot.policy.on_refusal else { return None };
        // No approval would lead anywhere. The agent's own first request is one of these: it waits for its refusal.
        if exchange.target().is_some_and(|target| target.host.is_nobodys()) {
            return None;
        }
        let refusal =
            exchange.judge(&snapshot).err().filter(|refusal| refusal.reason == Reason::RouteMissing)?;
        // What is held is told at once, and the operator is asked for its path: none with a secret in it.
        if signal.draining() || covered_path(&snapshot.credentials.known(), exchange.path()).is_some() {
            return None;
        }
        let place = Arc::clone(&egress.held).try_acquire_owned().ok()?;
        // Until it is allowed it is a refused one, also where the agent leaves.
        exchange.hold(&pending(refusal));
        Some(Self { _place: place, until: Instant::now() + Duration::from_secs(seconds) })
    }

    /// Waits until the policy allows the request, refuses it for another reason, or the time is over.
    pub(super) async fn wait(self, exchange: &mut Exchange, signal: &mut Signal) -> Result<(), Refusal> {
        loop {
            let in_time = timeout_at(self.until, poll_fn(|context| signal.poll_changed(context))).await;
            let snapshot = exchange.egress().live.now();
            match exchange.judge(&snapshot) {
                Ok(_) => {
                    exchange.release();
                    return Ok(());
                }
                Err(refusal) if refusal.reason != Reason::RouteMissing => return Err(refusal),
                Err(refusal) if in_time.is_err() || signal.draining() => return Err(pending(refusal)),
                Err(_) => {}
            }
        }
    }
}

fn pending(refusal: Refusal) -> Refusal {
    Refusal { reason: Reason::PendingApproval, hint: None, ..refusal }
}
