//! Lines on their way to one target, which may be slow, full or gone: a thread of its own writes them, and whoever adds
//! one never waits.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::json::Line;

/// The most bytes that wait. Every line has some hundred of them, so that this bounds their number too.
pub(crate) const MAX_BYTES: usize = 512 << 10;
/// How many bytes are written at once, if so many come within [`LINGER`].
const BATCH: usize = 64 << 10;
/// How long lines are collected: a write, and the wake of the thread that does it, cost more than a line does.
const LINGER: Duration = Duration::from_millis(10);
/// When a target that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Enough for a thread that only writes.
const STACK: usize = 128 << 10;

/// Where lines go.
pub(crate) trait Target: Send + 'static {
    /// Prepares for a batch of whole lines.
    fn begin(&mut self, bytes: usize) -> io::Result<()>;

    /// Writes some of the bytes, and tells how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// A queue and its thread.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something changed that the thread waits for.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room, and of which the target doesn't know yet.
    untold: u64,
    /// All that found no room.
    dropped: u64,
    /// What the target said, while it fails.
    failure: Option<String>,
    waits: Waits,
    closing: bool,
    ended: bool,
}

/// What the thread waits for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Waits {
    /// For nothing: it writes.
    #[default]
    No,
    /// For a line.
    Line,
    /// For a batch, or for its time.
    Batch,
}

impl Queue {
    /// Starts the thread.
    pub(crate) fn start(name: &str, target: impl Target) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queue = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || shared.run(target))?;
        Ok(queue)
    }

    /// Adds a line, or counts it as dropped.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.lines.len() + line.len() > MAX_BYTES {
            state.dropped += 1;
            state.untold += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        let due = match state.waits {
            Waits::No => false,
            Waits::Line => true,
            Waits::Batch => state.lines.len() >= BATCH,
        };
        if due {
            // Once is enough, until it waits again.
            state.waits = Waits::No;
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// How many lines found no room since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// What the target said, while it fails.
    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    /// Ends the thread when everything is written, and waits for that until `limit`. A target that blocks or fails by then
    /// loses what is left.
    pub(crate) fn close(&self, limit: Instant) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.wake.notify_one();
        while !state.ended {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.ended.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut target: impl Target) {
        let mut batch = Vec::new();
        while self.next(&mut batch) {
            self.write(&mut target, &batch);
            batch.clear();
            batch.shrink_to(BATCH);
            self.linger();
        }
        self.lock().ended = true;
        self.ended.notify_all();
    }

    /// Waits for lines and takes them; false when there are none and none will come.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let mut state = self.lock();
        while state.lines.is_empty() && !state.closing {
            state.waits = Waits::Line;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waits = Waits::No;
        mem::swap(&mut state.lines, batch);
        let untold = mem::take(&mut state.untold);
        drop(state);
        if untold > 0 {
            Line::new(batch, "dropped").plain("count", untold).end();
        }
        !batch.is_empty()
    }

    fn linger(&self) {
        let limit = Instant::now() + LINGER;
        let mut state = self.lock();
        while state.lines.len() < BATCH && !state.closing {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.waits = Waits::Batch;
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waits = Waits::No;
    }

    /// Writes a batch, however long the target fails. When the queue closes, one more failure is the last.
    fn write(&self, target: &mut impl Target, batch: &[u8]) {
        let mut rest = batch;
        while !rest.is_empty() {
            let begun = if rest.len() == batch.len() { target.begin(batch.len()) } else { Ok(()) };
            let written = begun.and_then(|()| target.write(rest));
            let failure = match written {
                Ok(0) => "nothing can be written any more".to_owned(),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    let mut state = self.lock();
                    if state.failure.is_some() {
                        state.failure = None;
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error.to_string(),
            };
            let mut state = self.lock();
            state.failure = Some(failure);
            if state.closing {
                return;
            }
            drop(self.wake.wait_timeout_while(state, RETRY, |state| !state.closing));
        }
    }
}
