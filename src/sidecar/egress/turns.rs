//! Turns: one thread serves all connections, so what could go on for long lets the others come between.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Counts what is done in one go, and ends the go when it is enough.
pub(crate) struct Turns {
    most: usize,
    done: usize,
    /// The others' turn. Not a mere wake: the runtime looks at its sockets first.
    others: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Turns {
    /// Goes of at most so much, and of one step beyond it.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, done: 0, others: None }
    }

    /// Counts a step.
    pub(crate) fn step(&mut self, amount: usize) {
        self.done = self.done.saturating_add(amount);
    }

    /// Begins a new go: the others had their turn, or what is done is no burden.
    pub(crate) fn begin(&mut self) {
        self.done = 0;
    }

    /// Ready when it may go on; pending, and woken soon, when the others come first.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.done > self.most {
            let others = self.others.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
            ready!(others.as_mut().poll(context));
            self.others = None;
            self.begin();
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("most", &self.most).field("done", &self.done).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::{Context, Poll, Waker};

    use super::Turns;

    #[tokio::test]
    async fn a_go_ends_when_enough_was_done_and_the_next_one_begins_after_the_others() {
        let mut turns = Turns::new(2);
        turns.step(2);
        poll_fn(|context| turns.poll(context)).await;
        turns.step(1);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(turns.poll(&mut context), Poll::Pending);
        poll_fn(|context| turns.poll(context)).await;
        assert_eq!(turns.poll(&mut context), Poll::Ready(()));
    }
}
