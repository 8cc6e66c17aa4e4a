//! One signal for every connection: the policy changed, or the process drains.
//!
//! A connection looks at a counter; only one that has nothing else to do is registered to be woken. So a request costs
//! nothing for it, and a change still reaches every connection at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The sending side.
#[derive(Debug, Default)]
pub(super) struct Changes {
    epoch: AtomicU64,
    draining: AtomicBool,
    waiting: Arc<Notify>,
}

impl Changes {
    /// Says that the policy is another one.
    pub(super) fn policy(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.waiting.notify_waiters();
    }

    /// Says that no new request is to be taken.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.policy();
    }
}

/// The receiving side, one for each connection or stream.
#[derive(Debug)]
pub(super) struct Signal {
    changes: Arc<Changes>,
    seen: u64,
    waiting: Option<Pin<Box<OwnedNotified>>>,
}

impl Signal {
    /// Sees every change from now on.
    pub(super) fn new(changes: &Arc<Changes>) -> Self {
        let seen = changes.epoch.load(Ordering::Acquire);
        Self { changes: Arc::clone(changes), seen, waiting: None }
    }

    /// Another receiver of the same changes.
    pub(super) fn another(&self) -> Self {
        Self { changes: Arc::clone(&self.changes), seen: self.seen, waiting: None }
    }

    /// Whether the process drains.
    pub(super) fn draining(&self) -> bool {
        self.changes.draining.load(Ordering::Acquire)
    }

    /// Whether something changed since the last time that one of these functions said so.
    pub(super) fn changed(&mut self) -> bool {
        let epoch = self.changes.epoch.load(Ordering::Acquire);
        let changed = epoch != self.seen;
        self.seen = epoch;
        changed
    }

    /// Ready when something changed; otherwise the task is woken when it does.
    pub(super) fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.changed() {
                return Poll::Ready(());
            }
            match &mut self.waiting {
                Some(waiting) => match waiting.as_mut().poll(context) {
                    Poll::Ready(()) => self.waiting = None,
                    Poll::Pending => return Poll::Pending,
                },
                // It hears what is said from here on, so that the counter is looked at once more.
                None => {
                    self.waiting = Some(Box::pin(Arc::clone(&self.changes.waiting).notified_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::{Changes, Signal};

    #[tokio::test]
    async fn a_change_wakes_a_waiting_receiver_once() {
        let changes = Arc::new(Changes::default());
        let mut signal = Signal::new(&changes);
        let mut waiting = tokio::spawn({
            let mut signal = signal.another();
            async move {
                poll_fn(|context| signal.poll_changed(context)).await;
                signal.changed()
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        changes.policy();
        assert!(!(&mut waiting).await.unwrap(), "the change was told once");
        assert!(signal.changed(), "another receiver hears of it for itself");
        assert!(!signal.changed());
        assert!(!signal.draining());
    }

    #[tokio::test]
    async fn draining_is_a_change_that_stays() {
        let changes = Arc::new(Changes::default());
        let mut signal = Signal::new(&changes);
        changes.drain();
        poll_fn(|context| signal.poll_changed(context)).await;
        assert!(signal.draining());
        assert!(!signal.changed());
        assert!(signal.draining());
    }
}
