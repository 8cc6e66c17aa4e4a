//! A connection of the agent, from its first byte to its last.
//!
//! ```text
//! connection ─▶ h1 (front) ── CONNECT ──▶ intercept ─▶ h1 (inside) ┬─▶ request ─▶ upstream
//!                   │ http:// URLs                 └─▶ h2 ─────────┤
//!                   └──────────────────────────────────────────────┘
//! ```

mod behind;
mod busy;
mod deadline;
mod exchange;
mod h1;
mod h2;
mod held;
mod inspect;
mod intercept;
mod request;
mod signal;
mod standing;
mod target;
mod tracked;
mod upload;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

pub(crate) use self::h1::unsent::judge as judge_unsent;
pub(crate) use self::held::MOST as MOST_HELD;

use self::h1::{Scope, Session};
use self::intercept::Inside;
use self::signal::{Changes, Signal};
use self::wire::Wire;
use super::Egress;

/// How long the listener rests when the process has no file descriptors left (EMFILE): trying again at once would only
/// keep the connections from ending that would free some.
const REST: Duration = Duration::from_millis(20);

/// Accepts connections until `draining` becomes true, then waits for those that are open, no longer than the limit.
pub(crate) async fn serve(listener: TcpListener, egress: Arc<Egress>, mut draining: watch::Receiver<bool>) {
    let changes = Arc::new(Changes::default());
    let closed = Arc::new(Notify::new());
    let mut policy = egress.live.subscribe();
    let mut busy = busy::Busy::default();
    loop {
        tokio::select! {
            biased;
            // A sender that is gone will never say it; then this process is ending.
            () = async { drop(draining.wait_for(|draining| *draining).await) } => break,
            Ok(()) = policy.changed() => changes.policy(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if egress.metrics.open.load(Ordering::Relaxed) >= egress.limits.connections as u64 => {
                    busy.refuse(stream, &egress);
                }
                Ok((stream, _)) => {
                    // Whoever asks for the policy may see a new one a moment before this loop is woken for it. A
                    // connection that came after that change must not be told of it later, and be closed for it.
                    if policy.has_changed().unwrap_or(false) {
                        policy.mark_unchanged();
                        changes.policy();
                    }
                    let signal = Signal::new(&changes);
                    spawn(Open::new(&egress, &closed), |open| connection(open, stream, signal));
                }
                Err(_) => tokio::time::sleep(REST).await,
            },
        }
    }
    drop(listener);
    changes.drain();
    let all_closed = async {
        while egress.metrics.open.load(Ordering::Acquire) > 0 {
            tokio::select! {
                () = closed.notified() => {}
                Ok(()) = policy.changed() => changes.policy(),
            }
        }
    };
    // What is still open after the limit ends with the process.
    let _ = tokio::time::timeout(egress.limits.drain, all_closed).await;
}

/// Begins a task for a connection, which is open as long as the task lives, and whose panic is the end of nothing else.
fn spawn<F>(open: Open, task: impl FnOnce(Open) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(task(open));
}

async fn connection(open: Open, stream: TcpStream, signal: Signal) {
    // Without it a small answer waits for the agent's acknowledgement (Nagle's algorithm).
    let _ = stream.set_nodelay(true);
    let egress = &open.egress;
    // Each stage in a box of its own, so that a connection holds only what its stage needs.
    let front = Session::new(egress, Scope::Front, Wire::Plain(stream), signal);
    let Some(connected) = Box::pin(front.run()).await else { return };
    let Some(inside) = Box::pin(intercept::begin(egress, connected)).await else { return };
    let Inside { target, wire, http2, signal } = inside;
    if http2 {
        Box::pin(h2::serve(egress, target, wire, signal)).await;
    } else {
        let inside = Session::new(egress, Scope::Inside(target), wire, signal);
        // There is no CONNECT within a session, and so nothing that could come after it.
        let _ = Box::pin(inside.run()).await;
    }
}

/// Counts a connection while it is open.
struct Open {
    egress: Arc<Egress>,
    closed: Arc<Notify>,
}

impl Open {
    fn new(egress: &Arc<Egress>, closed: &Arc<Notify>) -> Self {
        egress.metrics.connections.fetch_add(1, Ordering::Relaxed);
        egress.metrics.open.fetch_add(1, Ordering::Relaxed);
        Self { egress: Arc::clone(egress), closed: Arc::clone(closed) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The panic took this task with it and no other; it must not go unseen.
        if std::thread::panicking() {
            self.egress.metrics.panics.fetch_add(1, Ordering::Relaxed);
        }
        if self.egress.metrics.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.closed.notify_one();
        }
    }
}
