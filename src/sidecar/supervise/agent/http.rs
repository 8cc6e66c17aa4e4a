//! Plain HTTP, for an agent without MCP.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::ask::Ask;
use super::counter::{Counter, MAX_WAIT};
use super::guard::HEALTH;
use super::problem::Problem;
use crate::policy::reason::Reason;

/// What to try where nothing is.
pub(super) const PATHS: &str =
    "POST /requests, GET /requests/ID?wait=50, DELETE /requests/ID, GET /policy, or MCP at /mcp";

/// What is sent to ask.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    ask: Ask,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(default)]
    wait: u64,
}

/// The paths.
pub(super) fn router(counter: Arc<Counter>) -> Router {
    Router::new()
        .route("/", get(index))
        .route(HEALTH, get(health))
        .route("/policy", get(policy))
        .route("/requests", post(ask))
        .route("/requests/{id}", get(wait).delete(withdraw))
        .with_state(counter)
}

/// A path that isn't there.
pub(super) async fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        Reason::PathUnknown,
        "there is nothing at this path",
        format!("try {PATHS}"),
    )
}

/// A method that isn't there. The agent asks; deciding is the operator's, elsewhere.
pub(super) async fn other_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Reason::MethodUnknown,
        "this path has no such method",
        format!("try {PATHS}"),
    )
}

async fn index() -> Json<Value> {
    Json(json!({ "about": super::mcp::INSTRUCTIONS, "paths": PATHS, "longest_wait_seconds": MAX_WAIT }))
}

async fn health(State(counter): State<Arc<Counter>>) -> Result<Json<Value>, Problem> {
    counter.is_well().await?;
    Ok(Json(json!({ "status": "ok" })))
}

async fn policy(State(counter): State<Arc<Counter>>) -> Result<Json<Value>, Problem> {
    counter.policy().await.map(Json)
}

async fn ask(State(counter): State<Arc<Counter>>, body: Bytes) -> Result<Response, Problem> {
    let Asked { ask, reason } = serde_json::from_slice(&body).map_err(|error| {
        Problem::invalid(
            error.to_string(),
            r#"send such as {"ask": {"route": {"host": "api.example.org"}}, "reason": "…"}; `push` and `exception` are the others"#,
        )
    })?;
    let answer = counter.ask(ask, &reason).await?;
    let new = answer.get("count").and_then(Value::as_u64) == Some(1);
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

async fn wait(
    State(counter): State<Arc<Counter>>,
    Path(id): Path<String>,
    query: Result<Query<Wait>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Wait { wait }) =
        query.map_err(|error| Problem::invalid(error.body_text(), "send such as ?wait=50, in seconds"))?;
    counter.wait(&id, wait).await.map(Json)
}

async fn withdraw(
    State(counter): State<Arc<Counter>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    counter.withdraw(&id).await.map(Json)
}
