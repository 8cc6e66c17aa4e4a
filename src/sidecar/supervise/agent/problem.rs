//! What the agent hears when something goes wrong: a code for programs, a sentence, and what would help.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::refused::{Refused, named};
use crate::policy::reason::Reason;
use crate::sidecar::log;
use crate::sidecar::text::neutral;

/// How often a failure of ours is written to the log at most.
const PERIOD: Duration = Duration::from_secs(5);

/// Something that went wrong.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    reason: Reason,
    message: String,
    hint: String,
    /// In how many seconds it may go better.
    retry: Option<u64>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        reason: Reason,
        message: impl AsRef<str>,
        hint: impl AsRef<str>,
    ) -> Self {
        let harmless = |text: &str| neutral(text.as_bytes());
        Self {
            status,
            reason,
            message: harmless(message.as_ref()),
            hint: harmless(hint.as_ref()),
            retry: None,
        }
    }

    /// What was sent is nothing that can be asked for.
    pub(super) fn invalid(message: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Reason::AskInvalid, message, hint)
    }

    /// The same may go well in so many seconds.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry: Some(seconds), ..self }
    }

    /// The members that every problem has.
    pub(super) fn json(&self) -> Value {
        json!({ "code": self.reason.code(), "message": self.message, "hint": self.hint })
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused.reason {
            Reason::AskDenied => StatusCode::FORBIDDEN,
            Reason::AskNeedless | Reason::RequestClosed => StatusCode::CONFLICT,
            Reason::AskRepeated | Reason::DeskFull => StatusCode::TOO_MANY_REQUESTS,
            Reason::RequestUnknown => StatusCode::NOT_FOUND,
            Reason::StoreFailed => {
                // It names files of ours, which are the operator's business.
                tell(&refused);
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    refused.reason,
                    "supervise can't read or keep what it needs",
                    "tell the operator to look at the log of supervise; trying again may help",
                );
            }
            // The others are the operator's.
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, refused.reason, refused.message, refused.hint)
    }
}

/// Writes a failure of ours to the log; not each time, as the agent calls as often as it likes.
fn tell(refused: &Refused) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|at| at.elapsed() > PERIOD) {
        *told = Some(Instant::now());
        log::line("supervise", &refused.to_string());
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = named((self.status, Json(self.json())).into_response(), self.reason);
        if let Some(seconds) = self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
