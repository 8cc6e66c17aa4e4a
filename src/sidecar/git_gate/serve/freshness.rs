//! Keeping a mirror as fresh as its upstream: never stale, and no work done twice.
//!
//! A request may rely only on a check of the upstream's refs that began after the request came: a running check may have
//! seen the state before. So whoever comes while a check runs shares the next one with all others that wait. If the refs
//! differ, one fetch runs at a time; those who wait for it are served when it has brought what their own check saw, or
//! when it began after they came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard, oneshot};

use super::super::log;
use super::super::message::Failure;
use super::mirror::Mirror;
use super::refs::Refs;
use crate::policy::reason::Reason;

type Checked = Result<Arc<Refs>, Failure>;

/// A repository that is served.
pub(super) struct Served {
    /// Its mirror.
    pub(super) mirror: Mirror,
    /// How long a check may take.
    check_limit: Duration,
    /// Held by whoever changes the mirror's refs: a fetch, and a push until its connection has ended.
    lock: Arc<Lock<()>>,
    checks: Mutex<Checks>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Checks {
    running: bool,
    waiting: Vec<oneshot::Sender<Checked>>,
}

#[derive(Default)]
struct Seen {
    /// The mirror's refs; none when a push may have changed them.
    refs: Option<Arc<Refs>>,
    /// When the last successful fetch began.
    fetched: Option<Instant>,
    /// Whether the mirror was found equal to its upstream since the start.
    once: bool,
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Served {
    /// A repository whose mirror has been prepared.
    pub(super) fn new(mirror: Mirror, check_limit: Duration) -> Self {
        Self { mirror, check_limit, lock: Arc::default(), checks: Mutex::default(), seen: Mutex::default() }
    }

    /// Whether the mirror was equal to its upstream at some time since the start.
    pub(super) fn was_fetched(&self) -> bool {
        open(&self.seen).once
    }

    /// Returns when the mirror is at least as new as the upstream was when this was called.
    pub(super) async fn fresh(self: &Arc<Self>) -> Result<(), Failure> {
        let came = Instant::now();
        let upstream = self.check().await?;
        if self.is_known(&upstream) {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        // A task of its own: the work goes on, and the lock is held to its end, when the agent gives up.
        let served = Arc::clone(self);
        tokio::spawn(async move { drop(sender.send(served.update(came, &upstream).await)) });
        receiver.await.map_err(|_| Failure::inside("a fetch was dropped"))?
    }

    /// The lock for a push; whoever gives it back calls [`Self::pushed`] first.
    pub(super) async fn lock(&self) -> Result<OwnedMutexGuard<()>, Failure> {
        let limit = self.mirror.surroundings.limits.total;
        tokio::time::timeout(limit, Arc::clone(&self.lock).lock_owned()).await.map_err(|_| {
            let text =
                format!("{}: other operations took longer than {} s", self.mirror.name, limit.as_secs());
            Failure::new(Reason::GateBusy, text)
        })
    }

    /// Forgets what the mirror's refs were, and gives the lock back after maintenance.
    pub(super) async fn pushed(&self, guard: OwnedMutexGuard<()>) {
        open(&self.seen).refs = None;
        self.mirror.maintain().await;
        drop(guard);
    }

    fn is_known(&self, upstream: &Refs) -> bool {
        let mut seen = open(&self.seen);
        let known = seen.refs.as_deref() == Some(upstream);
        seen.once |= known;
        known
    }

    async fn check(self: &Arc<Self>) -> Checked {
        let (sender, receiver) = oneshot::channel();
        let first = {
            let mut checks = open(&self.checks);
            checks.waiting.push(sender);
            !std::mem::replace(&mut checks.running, true)
        };
        if first {
            tokio::spawn(Arc::clone(self).run_checks());
        }
        receiver.await.map_err(|_| Failure::inside("a check was dropped"))?
    }

    async fn run_checks(self: Arc<Self>) {
        loop {
            let waiting = {
                let mut checks = open(&self.checks);
                if checks.waiting.is_empty() {
                    checks.running = false;
                    return;
                }
                std::mem::take(&mut checks.waiting)
            };
            let result = self.mirror.upstream_refs(self.check_limit).await.map(Arc::new);
            if let Err(failure) = &result {
                log::line("check", &failure.to_string());
            }
            for sender in waiting {
                // One who has left in the meantime needs no answer.
                drop(sender.send(result.clone()));
            }
        }
    }

    async fn update(&self, came: Instant, upstream: &Refs) -> Result<(), Failure> {
        let _guard = self.lock().await?;
        if open(&self.seen).refs.is_none() {
            let refs = Arc::new(self.mirror.refs().await?);
            open(&self.seen).refs = Some(refs);
        }
        if self.is_known(upstream) || open(&self.seen).fetched.is_some_and(|fetched| fetched >= came) {
            return Ok(());
        }
        let began = Instant::now();
        self.fetch(upstream).await.inspect_err(|failure| log::line("fetch", &failure.to_string()))?;
        let refs = Arc::new(self.mirror.refs().await?);
        *open(&self.seen) = Seen { refs: Some(refs), fetched: Some(began), once: true };
        log::line("fetch", &format!("{}: fetched in {} ms", self.mirror.name, began.elapsed().as_millis()));
        self.mirror.maintain().await;
        Ok(())
    }

    /// Fetches; a mirror that can't be fetched into although the upstream answers is repaired.
    async fn fetch(&self, upstream: &Refs) -> Result<(), Failure> {
        open(&self.seen).refs = None;
        if !upstream.refs.is_empty() && upstream.is_sha256() != self.mirror.is_sha256()? {
            self.mirror.anew("the upstream's object format is another", upstream.is_sha256()).await?;
            return self.mirror.fetch(&upstream.head).await;
        }
        let Err(first) = self.mirror.fetch(&upstream.head).await else {
            return Ok(());
        };
        log::line("fetch", &first.to_string());
        if first.reason == Reason::HostKeyMismatch || first.text.contains("did not answer for") {
            return Err(first);
        }
        self.mirror.unlock()?;
        let Err(second) = self.mirror.fetch(&upstream.head).await else {
            return Ok(());
        };
        if self.mirror.is_whole().await {
            return Err(second);
        }
        self.mirror.anew(&second.text, upstream.is_sha256()).await?;
        self.mirror.fetch(&upstream.head).await
    }
}
