//! The JSON interface.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, extract::rejection::QueryRejection};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::problem::Problem;
use super::traffic::{MAX_LINES, Wanted, youngest};
use super::view::now;
use super::{Side, aside, guard};
use crate::policy::reason::Reason;
use crate::sidecar::supervise::desk::{Approval, By};
use crate::sidecar::supervise::rule::Rule;
use crate::sidecar::supervise::state::{Granted, Request, Scope};

/// The most requests and grants of an answer.
pub(super) const MOST: usize = 200;

pub(super) type Answer = Result<Json<Value>, Problem>;

/// Which requests are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    #[serde(default)]
    state: WhichState,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum WhichState {
    #[default]
    Pending,
    All,
}

/// Which lines are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lines {
    #[serde(default)]
    code: String,
    #[serde(default = "usual_lines")]
    n: usize,
}

fn usual_lines() -> usize {
    100
}

/// The body of an approval.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    scope: Scope,
    #[serde(default)]
    rule: Option<Rule>,
    review: String,
    #[serde(default)]
    words: String,
}

/// The body of a rejection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reject {
    #[serde(default)]
    words: String,
}

pub(super) async fn requests(
    State(side): State<Arc<Side>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Answer {
    let Query(Which { state }) = query.map_err(|error| Problem::body(&error.body_text()))?;
    let views =
        aside(&side, move |side| Ok(side.views(side.desk.requests(state == WhichState::Pending, MOST)?)?));
    Ok(Json(json!({ "now": now(), "requests": views.await? })))
}

pub(super) async fn request(State(side): State<Arc<Side>>, Path(id): Path<String>) -> Answer {
    let view = aside(&side, move |side| Ok(side.views(vec![side.desk.request(&id)?])?.pop()));
    Ok(Json(json!({ "now": now(), "request": view.await? })))
}

pub(super) async fn approve(
    State(side): State<Arc<Side>>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Approve { scope, rule, review, words } = read(&headers, &body)?;
    let answer = aside(&side, move |side| {
        let (request, grant) = side.desk.approve(&id, Approval { scope, rule, review, words }, by)?;
        approved(side, request, grant)
    });
    Ok(Json(answer.await?))
}

/// What the operator hears of an approval: the grant as it was given, even if it is used up or revoked by now. A request
/// that egress holds for it may be quicker than this answer.
pub(super) fn approved(side: &Side, request: Request, grant: Granted) -> Result<Value, Problem> {
    let request = side.views(vec![request])?.pop();
    Ok(json!({ "now": now(), "request": request, "grant": side.grant_view(grant) }))
}

pub(super) async fn reject(
    State(side): State<Arc<Side>>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Reject { words } = read(&headers, &body)?;
    let view = aside(&side, move |side| Ok(side.views(vec![side.desk.reject(&id, &words, by)?])?.pop()));
    Ok(Json(json!({ "now": now(), "request": view.await? })))
}

pub(super) async fn grants(State(side): State<Arc<Side>>) -> Answer {
    let grants = aside(&side, |side| Ok(side.grant_views(MOST)?));
    Ok(Json(json!({ "now": now(), "grants": grants.await? })))
}

pub(super) async fn revoke(
    State(side): State<Arc<Side>>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
) -> Answer {
    let ended = aside(&side, move |side| Ok(side.desk.revoke(&id, by)?));
    Ok(Json(json!({ "now": now(), "grant": ended.await? })))
}

pub(super) async fn traffic(
    State(side): State<Arc<Side>>,
    query: Result<Query<Lines>, QueryRejection>,
) -> Answer {
    let Query(Lines { code, n }) = query.map_err(|error| Problem::body(&error.body_text()))?;
    let lines = aside(&side, move |side| {
        Ok(youngest(side.desk.places(), &Wanted::parse(&code), n.clamp(1, MAX_LINES)))
    });
    Ok(Json(json!({ "now": now(), "lines": lines.await? })))
}

pub(super) async fn health(State(side): State<Arc<Side>>) -> Answer {
    let sidecars = aside(&side, |side| Ok(side.health()));
    Ok(Json(json!({ "now": now(), "sidecars": sidecars.await? })))
}

/// Makes a link that opens the page once. Only the token gets one.
pub(super) async fn login_link(State(side): State<Arc<Side>>, Extension(by): Extension<By>) -> Answer {
    if by != By::Terminal {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            Reason::Unauthorized,
            "a page can't make a link",
            "make one with `bottle requests open`",
        ));
    }
    let code = side.secrets.link().ok_or_else(|| Problem::internal("the system gives no random numbers"))?;
    Ok(Json(json!({ "path": format!("/login?once={code}") })))
}

/// Ends the session of the page.
pub(super) async fn logout(State(side): State<Arc<Side>>, headers: HeaderMap) -> Response {
    if let Some(cookie) = guard::cookie(&side, &headers) {
        side.secrets.logout(cookie);
    }
    let gone = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", side.cookie_name());
    let mut response = Json(json!({ "now": now() })).into_response();
    if let Ok(gone) = HeaderValue::from_str(&gone) {
        response.headers_mut().insert(SET_COOKIE, gone);
    }
    response
}

pub(super) async fn nothing() -> Problem {
    Problem::plain(StatusCode::NOT_FOUND, Reason::PathUnknown, "there is nothing here")
}

pub(super) async fn other_method() -> Problem {
    Problem::plain(StatusCode::METHOD_NOT_ALLOWED, Reason::MethodUnknown, "this path has no such method")
}

/// Reads a JSON body. A form of another page can't send this content type without asking first, and is refused then.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let content = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = content.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(Problem::plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::TypeUnsupported,
            "the content type is not `application/json`",
        ));
    }
    serde_json::from_slice(body).map_err(|error| Problem::body(&error.to_string()))
}
