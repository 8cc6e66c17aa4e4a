//! What the operator's side answers when it refuses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::sidecar::supervise::refused::{Code, Refused};

/// A refusal with its status.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: &str, hint: &str) -> Self {
        Self { status, code, message: message.to_owned(), hint: hint.to_owned() }
    }

    /// The body of a request is not what it should be.
    pub(super) fn body(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "body-invalid", message, "see docs/src/supervise-operator.md")
    }

    /// A part of the program failed.
    pub(super) fn internal(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, "see the log of supervise")
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Refused { code, message, hint } = refused;
        let status = match code {
            Code::Unknown => StatusCode::NOT_FOUND,
            Code::Closed | Code::ReviewStale => StatusCode::CONFLICT,
            Code::StoreFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Code::DeskFull => StatusCode::TOO_MANY_REQUESTS,
            Code::AskInvalid | Code::AskNeedless | Code::AskDenied | Code::AskRepeated | Code::TooWide => {
                StatusCode::BAD_REQUEST
            }
        };
        Self { status, code: code.text(), message, hint }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, message, hint } = self;
        let body = json!({ "error": { "code": code, "message": message, "hint": hint } });
        (status, Json(body)).into_response()
    }
}
