//! What the agent can do, however it calls: plain HTTP and MCP are two spellings of this.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use super::super::ask::{Ask, ExceptionAsk, PushAsk, RouteAsk};
use super::super::desk::Desk;
use super::super::refused::Refused;
use super::pace::Pace;
use super::problem::Problem;
use super::view;
use crate::policy::reason::Reason;
use crate::sidecar::text::neutral;

/// The longest wait, in seconds. Common clients give up a call after 60.
pub(super) const MAX_WAIT: u64 = 50;
/// The most waits at a time.
const MAX_WAITS: usize = 16;
/// How often a sidecar's report is looked at while its grant is expected there, at first and after [`SOON`].
const LOOK: Duration = Duration::from_millis(20);
const LOOK_LATER: Duration = Duration::from_millis(250);
/// Within what time a sidecar takes up a grant, if it is there at all.
const SOON: Duration = Duration::from_secs(2);

/// The agent's side of the desk.
#[derive(Debug)]
pub(super) struct Counter {
    desk: Arc<Desk>,
    waits: Semaphore,
    /// One call of the agent is worked on at a time: a flood of them stands in line here, and not before the operator.
    turn: Semaphore,
    pace: Mutex<Pace>,
}

impl Counter {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            waits: Semaphore::new(MAX_WAITS),
            turn: Semaphore::new(1),
            pace: Mutex::new(Pace::new(Instant::now())),
        }
    }

    /// What the agent may reach and push.
    pub(super) async fn policy(&self) -> Result<Value, Problem> {
        let _turn = self.turn().await;
        Ok(view::policy(&self.desk)?)
    }

    /// Whether the desk works.
    pub(super) async fn is_well(&self) -> Result<(), Problem> {
        let _turn = self.turn().await;
        self.desk.requests(true, 1)?;
        Ok(())
    }

    /// Asks. The same as what is pending already is counted there.
    pub(super) async fn ask(&self, ask: Ask, reason: &str) -> Result<Value, Problem> {
        if reason.trim().is_empty() {
            return Err(Problem::invalid("there is no reason", "say in `reason` what it is needed for"));
        }
        if !is_plain(&ask) {
            return Err(Problem::invalid(
                "there are characters in it that can't be seen or that turn the reading direction",
                "write names, paths and refs in plain characters",
            ));
        }
        let _turn = self.turn().await;
        self.pace()?;
        let request = self.desk.ask(ask, reason)?;
        Ok(view::request(&self.desk, &request)?)
    }

    /// Takes back a request that is pending.
    pub(super) async fn withdraw(&self, id: &str) -> Result<Value, Problem> {
        let _turn = self.turn().await;
        // Known before the pace is judged: a wrong id writes nothing.
        self.desk.request(id)?;
        self.pace()?;
        let request = self.desk.withdraw(id)?;
        Ok(view::request(&self.desk, &request)?)
    }

    /// What became of a request; waits up to so many seconds for a decision that is in force.
    pub(super) async fn wait(&self, id: &str, seconds: u64) -> Result<Value, Problem> {
        if seconds > 0 {
            let turn = self.turn().await;
            self.desk.request(id)?;
            drop(turn);
            let _place = self.waits.try_acquire().map_err(|_| {
                Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    Reason::WaitsFull,
                    format!("{MAX_WAITS} calls wait already"),
                    "wait in one place, or look without waiting",
                )
                .after(1)
            })?;
            let limit = Duration::from_secs(seconds.min(MAX_WAIT));
            // The answer says what is known then, settled or not.
            if let Ok(settled) = timeout(limit, self.settled(id)).await {
                settled?;
            }
        }
        let _turn = self.turn().await;
        let request = self.desk.request(id)?;
        Ok(view::request(&self.desk, &request)?)
    }

    /// Ends when a request is decided, and its grant live or over.
    async fn settled(&self, id: &str) -> Result<(), Refused> {
        // Before the first look: a change in between wakes us at once.
        let mut news = self.desk.subscribe();
        let mut decided: Option<Instant> = None;
        loop {
            let state = self.desk.request(id)?.state;
            if view::is_settled(&self.desk, &state)? {
                return Ok(());
            }
            let change = async {
                if news.changed().await.is_err() {
                    // The desk is gone, and with it this process in a moment.
                    sleep(LOOK_LATER).await;
                }
            };
            if state.is_pending() {
                change.await;
                continue;
            }
            let since = decided.get_or_insert_with(Instant::now);
            let pause = if since.elapsed() < SOON { LOOK } else { LOOK_LATER };
            drop(timeout(pause, change).await);
        }
    }

    /// Waits for this call's turn.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        let turn = self.turn.acquire().await.ok();
        // Whoever became ready meanwhile comes first: the operator waits for one call of the agent at most.
        tokio::task::yield_now().await;
        turn
    }

    fn pace(&self) -> Result<(), Problem> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.take(Instant::now()).map_err(|seconds| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                Reason::TooFast,
                "too many requests in a short time",
                format!("ask for less, with patterns; once more in {seconds} s"),
            )
            .after(seconds)
        })
    }
}

/// Whether all texts can be shown as they are.
fn is_plain(ask: &Ask) -> bool {
    let texts: Vec<&String> = match ask {
        Ask::Route(RouteAsk { host, scheme: _, port: _, methods, paths, websocket: _ }) => {
            methods.iter().chain(paths).chain([host]).collect()
        }
        Ask::Push(PushAsk { repository, refs, operations: _ }) => vec![repository, refs],
        Ask::Exception(ExceptionAsk { repository, host, finding }) => {
            repository.iter().chain(host).chain([finding]).collect()
        }
    };
    texts.into_iter().all(|text| neutral(text.as_bytes()) == *text)
}
