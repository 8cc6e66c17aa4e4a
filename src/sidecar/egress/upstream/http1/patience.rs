//! A limit for pauses, which costs next to nothing while there are none.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What a limit means that is beyond what a clock can tell.
const FAR: Duration = Duration::from_hours(365 * 24);

/// A limit that begins anew with each step forward.
#[derive(Debug)]
pub(in super::super) struct Patience {
    limit: Duration,
    last: Instant,
    /// Made at the first pause, and not moved at each step: when it fires it looks at `last`. It stays with its
    /// connection from one request to the next.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(in super::super) fn new(limit: Duration) -> Self {
        Self { limit, last: Instant::now(), timer: None }
    }

    /// There was a step.
    pub(in super::super) fn step(&mut self) {
        self.last = Instant::now();
    }

    /// From now on there is another limit.
    pub(in super::super) fn limit(&mut self, limit: Duration) {
        self.limit = limit;
        self.step();
    }

    /// From now on there is another limit, and the last step was then.
    pub(in super::super) fn limit_since(&mut self, last: Instant, limit: Duration) {
        (self.last, self.limit) = (last, limit);
    }

    /// Is ready when the pause has become too long.
    pub(in super::super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.last.checked_add(self.limit).unwrap_or(self.last + FAR);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }

    /// Lets go of the task that waited: its memory would be held as long as the timer.
    pub(in super::super) fn rest(&mut self) {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.timer = None;
        }
    }
}
