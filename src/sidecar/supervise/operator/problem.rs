//! What the operator's side answers when it refuses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::policy::reason::Reason;
use crate::sidecar::supervise::refused::{Refused, named};

/// A refusal with its status.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    reason: Reason,
    message: String,
    hint: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, reason: Reason, message: &str, hint: &str) -> Self {
        Self { status, reason, message: message.to_owned(), hint: hint.to_owned() }
    }

    /// With the hint that the reason has itself.
    pub(super) fn plain(status: StatusCode, reason: Reason, message: &str) -> Self {
        Self::new(status, reason, message, reason.hint())
    }

    /// The body of a request is not what it should be.
    pub(super) fn body(message: &str) -> Self {
        Self::plain(StatusCode::BAD_REQUEST, Reason::BodyInvalid, message)
    }

    /// A part of the program failed.
    pub(super) fn internal(message: &str) -> Self {
        Self::plain(StatusCode::INTERNAL_SERVER_ERROR, Reason::SuperviseFailed, message)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Refused { reason, message, hint } = refused;
        let status = match reason {
            Reason::RequestUnknown | Reason::GrantUnknown | Reason::CredentialUnknown => {
                StatusCode::NOT_FOUND
            }
            Reason::RequestClosed | Reason::ReviewStale => StatusCode::CONFLICT,
            Reason::StoreFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Reason::DeskFull => StatusCode::TOO_MANY_REQUESTS,
            Reason::EgressSilent => StatusCode::GATEWAY_TIMEOUT,
            // What is asked for, or approved, can't be.
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, reason, message, hint }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, reason, message, hint } = self;
        let body = json!({ "error": { "code": reason.code(), "message": message, "hint": hint } });
        named((status, Json(body)).into_response(), reason)
    }
}
