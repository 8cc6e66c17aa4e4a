//! How connections come into the pool: those that were made, and those that have carried their request.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{ENOUGH, MOST_BUFFERS, MOST_HTTP2, MOST_IDLE, Pool, Shared, State, Waiting};
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::upstream::http1::{Buffers, Connection, Idle};
use crate::sidecar::egress::upstream::http2::Sender;
use crate::sidecar::egress::upstream::key::Key;
use crate::sidecar::egress::upstream::stream::Stream;
use crate::sidecar::egress::upstream::tls::Protocol;

/// Where a connection goes back to.
#[derive(Clone, Debug)]
pub(in super::super) struct Home {
    /// None for one that is never used again.
    pub(super) pool: Option<(Arc<Pool>, u64)>,
    /// The origin.
    pub(super) key: Arc<Key>,
}

impl Home {
    /// The home of a connection that is never used again.
    pub(in super::super) fn none(key: &Key) -> Self {
        Self { pool: None, key: Arc::new(key.clone()) }
    }

    /// The origin, for messages.
    pub(in super::super) fn origin(&self) -> String {
        format!("{}:{}", self.key.host, self.key.port)
    }

    /// Changes the pool, unless it was cleared since.
    fn with<T>(&self, change: impl FnOnce(&mut State, &Arc<Key>) -> T) -> Option<T> {
        let (pool, epoch) = self.pool.as_ref()?;
        let mut state = pool.lock();
        pool.sweep_later(&mut state);
        (state.epoch == *epoch).then(|| change(&mut state, &self.key))
    }

    /// Takes a connection back that has carried its request and its answer to their ends. Where the pool was cleared
    /// since it was made, it is closed.
    pub(in super::super) fn give_back(self, idle: Idle, buffers: Buffers) {
        let Some((pool, epoch)) = self.pool.clone() else { return };
        let mut state = pool.lock();
        if let Some(buffers) = buffers.spare().filter(|_| state.buffers.len() < MOST_BUFFERS) {
            state.buffers.push(buffers);
        }
        if state.epoch != epoch {
            return;
        }
        if state.idle >= MOST_IDLE.1 {
            drop(state.take_oldest());
        }
        let State { origins, idle: count, .. } = &mut *state;
        let origin = origins.entry(Arc::clone(&self.key)).or_default();
        origin.protocol = Some(Protocol::Http1);
        if origin.idle.len() >= MOST_IDLE.0 {
            drop(origin.idle.remove(0));
            *count -= 1;
        }
        origin.idle.push(Waiting { idle, home: self, since: Instant::now() });
        *count += 1;
        pool.sweep_later(&mut state);
    }
}

/// The making of a connection. Dropped without an outcome, the next request that waits makes one.
#[derive(Debug)]
pub(in super::super) struct Dialling {
    /// Where it belongs.
    pub(super) home: Home,
    /// Tells those who wait, where others do.
    pub(super) done: Option<watch::Sender<Option<Refusal>>>,
}

impl Dialling {
    /// It speaks HTTP/1: the request that made it has it for its own.
    pub(in super::super) fn http1(self, stream: Stream) -> Connection {
        let buffers = self.home.with(|state, key| {
            if let Some(origin) = state.origins.get_mut(key) {
                origin.protocol = Some(Protocol::Http1);
            }
            state.buffers.pop()
        });
        Connection::fresh(stream, buffers.flatten().unwrap_or_default(), self.home.clone())
    }

    /// It speaks HTTP/2: all requests share it from now on.
    pub(in super::super) fn http2(self, sender: Sender) -> Sender {
        self.home.with(|state, key| {
            let origin = state.origins.entry(Arc::clone(key)).or_default();
            origin.protocol = Some(Protocol::Http2);
            // Beyond them it carries the one request that asked for it: an upstream that refuses streams could make any
            // number of them.
            if origin.shared.len() < MOST_HTTP2 {
                origin.shared.push(Shared { sender: sender.clone(), seen: 0 });
            }
        });
        sender
    }

    /// It could not be made: those who wait need not try it too. None where there is a connection that does, and only
    /// has no room now.
    pub(in super::super) fn failed(self, refusal: Refusal) -> Option<Refusal> {
        let others = self.home.with(|state, key| {
            let origin = state.origins.get_mut(key)?;
            origin.shared.retain(|shared| !shared.sender.is_closed());
            (!origin.shared.is_empty()).then(|| origin.enough = Some(Instant::now() + ENOUGH))
        });
        if others.flatten().is_some() {
            return None;
        }
        if let Some(done) = &self.done {
            done.send_replace(Some(refusal.clone()));
        }
        Some(refusal)
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if self.done.is_some() {
            self.home.with(|state, key| {
                if let Some(origin) = state.origins.get_mut(key) {
                    origin.dialling = None;
                }
            });
        }
    }
}
