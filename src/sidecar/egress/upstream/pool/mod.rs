//! The connections that wait for their next request, and those that many requests share.
//!
//! HTTP/1 connections are taken and given back, the latest first; HTTP/2 connections stay and are shared. While nothing
//! is known of an origin, or HTTP/2 is, one request dials and the others wait for what comes out of it, so that a
//! thousand streams don't become a thousand connections.

mod home;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

pub(super) use self::home::{Dialling, Home};

use super::http1::{Buffers, Connection, Idle};
use super::http2::Sender;
use super::key::Key;
use super::tls::Protocol;
use crate::policy::egress::Scheme;
use crate::sidecar::egress::refusal::Refusal;

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_mins(1);

/// How often connections that waited too long are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// The most HTTP/1 connections that wait: for one origin, and in all.
const MOST_IDLE: (usize, usize) = (64, 256);

/// The most HTTP/2 connections to one origin; beyond them requests wait for a stream.
const MOST_HTTP2: usize = 8;

/// How long requests wait for a stream after another connection could not be made.
const ENOUGH: Duration = Duration::from_secs(10);

/// The most origins that are remembered. A `*.` route has as many as the agent makes up.
const MOST_ORIGINS: usize = 1024;

/// The most buffers that are kept for the next requests.
const MOST_BUFFERS: usize = 32;

/// All connections that are open and not in use, or shared.
#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    origins: HashMap<Arc<Key>, Origin>,
    idle: usize,
    buffers: Vec<Buffers>,
    sweeping: bool,
    /// Counts how often it was cleared: what was made before does not come back.
    epoch: u64,
}

#[derive(Debug, Default)]
struct Origin {
    protocol: Option<Protocol>,
    /// The oldest first.
    idle: Vec<Waiting>,
    shared: Vec<Shared>,
    /// Until when those that are shared must do, as another one could not be made.
    enough: Option<Instant>,
    /// A request that dials, which others wait for.
    dialling: Option<watch::Receiver<Option<Refusal>>>,
}

impl Origin {
    fn is_unused(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty() && self.dialling.is_none()
    }
}

#[derive(Debug)]
struct Waiting {
    idle: Idle,
    home: Home,
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    sender: Sender,
    /// The streams that it had carried when it was looked at last.
    seen: usize,
}

/// How a request gets to its origin.
#[derive(Debug)]
pub(super) enum Checkout {
    /// On a connection of its own, which waited for it.
    Http1(Connection),
    /// On a connection that it shares.
    Http2(Sender),
    /// On a connection that it has to make.
    Dial(Dialling),
    /// Another request is making one: look again when this changes, and give up with what it then says.
    Wait(watch::Receiver<Option<Refusal>>),
}

impl Pool {
    /// Finds a connection. `fresh` asks for one that has carried no request.
    pub(super) fn checkout(self: &Arc<Self>, key: &Key, fresh: bool) -> Checkout {
        let mut state = self.lock();
        if !fresh && let Some(found) = state.reuse(key) {
            return found;
        }
        let known = state.origins.get_key_value(key).map(|(known, _)| Arc::clone(known));
        let known = known.unwrap_or_else(|| {
            state.make_room();
            Arc::new(key.clone())
        });
        let epoch = state.epoch;
        let origin = state.origins.entry(Arc::clone(&known)).or_default();
        let alone = fresh || key.scheme == Scheme::Http || origin.protocol == Some(Protocol::Http1);
        let done = match &origin.dialling {
            _ if alone => None,
            Some(other) => return Checkout::Wait(other.clone()),
            None => {
                let (done, others) = watch::channel(None);
                origin.dialling = Some(others);
                Some(done)
            }
        };
        Checkout::Dial(Dialling { home: Home { pool: Some((Arc::clone(self), epoch)), key: known }, done })
    }

    /// Closes what waits, and forgets what is shared: streams that are open go on to their ends.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.origins.clear();
        state.idle = 0;
        state.epoch += 1;
    }

    /// Closes the connection that waited longest; false where none waits.
    pub(super) fn drop_oldest(&self) -> bool {
        self.lock().take_oldest().is_some()
    }

    fn sweep_later(self: &Arc<Self>, state: &mut State) {
        if state.sweeping {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        state.sweeping = true;
        runtime.spawn(sweep(Arc::downgrade(self)));
    }

    #[cfg(test)]
    pub(super) fn sweep(&self, now: Instant) {
        self.lock().sweep(now);
    }

    #[cfg(test)]
    pub(super) fn origins(&self) -> usize {
        self.lock().origins.len()
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        let state = self.lock();
        assert_eq!(state.idle, state.origins.values().map(|origin| origin.idle.len()).sum::<usize>());
        state.idle
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that waited too long, as long as there are any.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.lock();
        state.sweep(Instant::now());
        if state.origins.is_empty() {
            state.buffers = Vec::new();
            state.sweeping = false;
            return;
        }
    }
}

impl State {
    /// Finds a connection that is there.
    fn reuse(&mut self, key: &Key) -> Option<Checkout> {
        let origin = self.origins.get_mut(key)?;
        while let Some(Waiting { mut idle, home, since }) = origin.idle.pop() {
            self.idle -= 1;
            if since.elapsed() < IDLE && idle.is_quiet() {
                let buffers = self.buffers.pop().unwrap_or_default();
                return Some(Checkout::Http1(Connection::reused(idle, buffers, home)));
            }
        }
        origin.shared.retain(|shared| !shared.sender.is_closed());
        let least =
            origin.shared.iter().map(|shared| &shared.sender).min_by_key(|sender| sender.streams())?;
        let full =
            origin.shared.len() >= MOST_HTTP2 || origin.enough.is_some_and(|until| Instant::now() < until);
        (full || least.has_room()).then(|| Checkout::Http2(least.clone()))
    }

    /// Closes what waited too long by then.
    fn sweep(&mut self, now: Instant) {
        let mut idle = 0;
        self.origins.retain(|_, origin| {
            origin
                .idle
                .retain_mut(|waiting| now.duration_since(waiting.since) < IDLE && waiting.idle.is_quiet());
            idle += origin.idle.len();
            origin.shared.retain_mut(|shared| {
                let carried = shared.sender.carried();
                let unused = shared.sender.streams() == 0 && shared.seen == carried;
                shared.seen = carried;
                !unused && !shared.sender.is_closed()
            });
            !origin.is_unused()
        });
        self.idle = idle;
    }

    /// Forgets every origin that no request is using now, when there are too many.
    fn make_room(&mut self) {
        if self.origins.len() >= MOST_ORIGINS {
            let in_use = |shared: &Shared| shared.sender.streams() > 0;
            self.origins.retain(|_, origin| origin.dialling.is_some() || origin.shared.iter().any(in_use));
            self.idle = self.origins.values().map(|origin| origin.idle.len()).sum();
        }
    }

    fn take_oldest(&mut self) -> Option<Waiting> {
        let oldest = self.origins.values_mut().filter(|origin| !origin.idle.is_empty());
        let oldest = oldest.min_by_key(|origin| origin.idle.first().map(|waiting| waiting.since));
        let waiting = oldest.map(|origin| origin.idle.remove(0));
        self.idle -= usize::from(waiting.is_some());
        waiting
    }
}
