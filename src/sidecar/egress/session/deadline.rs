//! A time limit that moves with every request and still costs nothing while it moves.
//!
//! The timer stays where it was set as long as that is early enough: it is moved when it fires too early, so that a busy
//! connection touches the timer wheel once in a limit, not once in a request.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all the limits of a connection, of which one holds at a time.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready when `at` has come; otherwise the task is woken then, or earlier.
    pub(super) fn poll(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= at || Instant::now() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Deadline;

    async fn reached(deadline: &mut Deadline, at: Instant) {
        poll_fn(|context| deadline.poll(at, context)).await;
        assert!(Instant::now() >= at, "not before its time");
    }

    #[tokio::test]
    async fn a_limit_may_move_in_both_directions() {
        let mut deadline = Deadline::default();
        let now = Instant::now();
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        // Set for later, then wanted earlier.
        let far = poll_fn(|context| Poll::Ready(deadline.poll(after(3_600_000), context))).await;
        assert!(far.is_pending());
        reached(&mut deadline, after(10)).await;
        // Fired at an early time, wanted later.
        reached(&mut deadline, after(30)).await;
        // What lies in the past is reached at once.
        let past = poll_fn(|context| Poll::Ready(deadline.poll(now, context))).await;
        assert!(past.is_ready());
    }
}
