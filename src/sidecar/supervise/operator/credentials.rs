//! Credentials that the operator enters: the browser or the terminal seals them for egress, and what passes here is closed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::api::{Answer, read};
use super::problem::Problem;
use super::view::now;
use super::{Side, aside};
use crate::policy::reason::Reason;
use crate::sidecar::letter::Letter;
use crate::sidecar::report;
use crate::sidecar::seal::Sealed;
use crate::sidecar::supervise::desk::By;
use crate::sidecar::text::neutral;

/// How long egress may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often its report is looked at meanwhile.
const PERIOD: Duration = Duration::from_millis(20);

/// One credential that has no secret, or one that was entered.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CredentialView {
    name: String,
    /// Why requests can't carry it.
    problem: Option<String>,
    entered: bool,
}

/// The body of an entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Enter {
    message: Sealed,
    /// Whether the message is to forget what was entered.
    #[serde(default)]
    remove: bool,
}

impl Side {
    /// The credentials that can be entered or removed.
    pub(super) fn credentials(&self) -> Vec<CredentialView> {
        self.desk.credentials().map(views).unwrap_or_default()
    }
}

fn views(reported: report::Credentials) -> Vec<CredentialView> {
    let clean = |text: String| neutral(text.as_bytes());
    let view = |report::Credential { name, problem, entered }| CredentialView {
        name: clean(name),
        problem: problem.map(clean),
        entered,
    };
    reported.open.into_iter().map(view).collect()
}

/// Lists them, with the key to seal for.
pub(super) async fn list(State(side): State<Arc<Side>>) -> Answer {
    let reported = aside(&side, |side| Ok(side.desk.credentials())).await?;
    let key = reported.as_ref().map(|reported| reported.key.clone());
    Ok(Json(json!({ "now": now(), "key": key, "credentials": reported.map(views).unwrap_or_default() })))
}

/// Hands a message to egress, and waits for what it says.
pub(super) async fn enter(
    State(side): State<Arc<Side>>,
    Extension(by): Extension<By>,
    Path(credential): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Enter { message, remove } = read(&headers, &body)?;
    let key = message.key.clone();
    let letter = Letter { credential: credential.clone(), remove, message };
    // Egress takes one at a time.
    let _turn = side.letters.lock().await;
    aside(&side, move |side| Ok(side.desk.enter(&letter, by)?)).await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let reported = aside(&side, |side| Ok(side.desk.credentials())).await?;
        let answer = reported.as_ref().and_then(|reported| reported.answer.clone());
        if let Some(report::Answer { key: _, problem }) = answer.filter(|answer| answer.key == key) {
            if let Some(problem) = problem {
                return Err(refused(&neutral(problem.as_bytes())));
            }
            let views = reported.map(views).unwrap_or_default();
            let view = views.into_iter().find(|view| view.name == credential);
            return Ok(Json(json!({ "now": now(), "credential": view })));
        }
        if Instant::now() > until {
            aside(&side, |side| Ok(side.desk.take_letter_back()?)).await?;
            return Err(silent());
        }
        sleep(PERIOD).await;
    }
}

fn refused(problem: &str) -> Problem {
    let message = format!("egress did not take it: {problem}");
    Problem::plain(StatusCode::BAD_REQUEST, Reason::CredentialRefused, &message)
}

fn silent() -> Problem {
    Problem::plain(
        StatusCode::GATEWAY_TIMEOUT,
        Reason::EgressSilent,
        "egress does not answer; nothing was entered",
    )
}
