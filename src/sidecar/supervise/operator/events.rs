//! Server-sent events: that something has changed. What it is, the page and the terminal ask for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use super::problem::Problem;
use super::{Side, traffic};
use crate::policy::reason::Reason;

/// The most streams at a time.
pub(super) const MAX_STREAMS: usize = 32;
/// How often the sidecars' files are looked at.
const PERIOD: Duration = Duration::from_millis(300);
/// How long one stream lasts; a browser begins another one, with its session judged anew.
const LONGEST: Duration = Duration::from_mins(10);

/// Tells `desk` when a request or a grant has changed, `report` when a sidecar runs with something else, `traffic` when
/// only its audit log has grown.
pub(super) async fn events(State(side): State<Arc<Side>>) -> Response {
    let Ok(place) = Arc::clone(&side.streams).try_acquire_owned() else {
        return Problem::plain(
            StatusCode::TOO_MANY_REQUESTS,
            Reason::TooManyStreams,
            "too many pages are open",
        )
        .into_response();
    };
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(4);
    tokio::spawn(async move {
        let _place = place;
        tell(&side, &sender).await;
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()).into_response()
}

async fn tell(side: &Side, sender: &mpsc::Sender<Result<Event, Infallible>>) {
    let until = Instant::now() + LONGEST;
    let mut desk = side.desk.subscribe();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = traffic::stamps(side.desk.places());
    // Whatever happened before the stream began.
    let mut told = sender.send(Ok(Event::default().event("desk").data("0"))).await;
    while told.is_ok() && Instant::now() < until {
        let name = tokio::select! {
            changed = desk.changed() => {
                if changed.is_err() {
                    return;
                }
                "desk"
            }
            _ = ticks.tick() => {
                let found = traffic::stamps(side.desk.places());
                if found == seen {
                    continue;
                }
                let name = if found.0 == seen.0 { "traffic" } else { "report" };
                seen = found;
                name
            }
            () = sender.closed() => return,
        };
        let number = desk.borrow_and_update().to_string();
        told = sender.send(Ok(Event::default().event(name).data(number))).await;
    }
}
