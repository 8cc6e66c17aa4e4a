//! The page: the views as HTML.
//!
//! Every value is escaped for HTML, whatever the template; there is no way for a template to say otherwise but `safe`,
//! which none uses. The page reads well without scripts; deciding needs them.

use std::sync::Arc;

use anyhow::Result;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

use super::credentials::CredentialView;
use super::problem::Problem;
use super::traffic::{Line, Wanted, youngest};
use super::view::{GrantView, HealthView, RequestView, now};
use super::{Side, aside};
use crate::policy::reason::Reason;
use crate::sidecar::supervise::refused::named;
use crate::sidecar::supervise::state::{Granted, Scope, State as Became};
use crate::sidecar::text::neutral;

/// The most decisions and lines of traffic on the page.
const MAX_DECISIONS: usize = 12;
const MAX_TRAFFIC: usize = 60;

/// A template, of pieces that several share.
const TEMPLATES: [(&str, &[&str]); 3] = [
    ("closed.html", &[include_str!("../../../../templates/supervise/closed.html.j2")]),
    ("page.html", &[TOP, PARTS, include_str!("../../../../templates/supervise/bottom.html.j2")]),
    ("parts.html", &[PARTS]),
];
const TOP: &str = include_str!("../../../../templates/supervise/top.html.j2");
const PARTS: &str = include_str!("../../../../templates/supervise/parts.html.j2");
const CSS: &str = include_str!("../../../../templates/supervise/page.css");
const JS: &str = include_str!("../../../../templates/supervise/page.js");

/// The templates, parsed.
pub(super) fn templates() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("duration", duration);
    environment.add_filter("json", |value: Value| {
        // As text: what it is escaped for is where it stands.
        serde_json::to_string(&value).unwrap_or_default()
    });
    for (name, pieces) in TEMPLATES {
        environment.add_template_owned(name, pieces.concat())?;
    }
    Ok(environment)
}

/// What the traffic is filtered by.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    code: String,
}

/// What the page shows.
#[derive(Debug, Serialize)]
struct Shown {
    now: u64,
    /// Why the requests can't be shown.
    problem: Option<String>,
    pending: Vec<RequestView>,
    decided: Vec<Decided>,
    grants: Vec<GrantView>,
    health: Vec<HealthView>,
    credentials: Vec<CredentialView>,
    traffic: Vec<TrafficView>,
    code: String,
    codes: Vec<&'static str>,
}

/// A line of the traffic with its subject.
#[derive(Debug, Serialize)]
struct TrafficView {
    action: String,
    subject: String,
    line: Line,
}

/// A request that is closed.
#[derive(Debug, Serialize)]
struct Decided {
    request: RequestView,
    at: u64,
    verdict: &'static str,
    words: String,
    /// For how long it was approved.
    scope: Option<Scope>,
    /// Why its grant is not in force any more.
    ended: Option<&'static str>,
}

/// The page.
pub(super) async fn page(
    State(side): State<Arc<Side>>,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    render(&side, "page.html", query).await
}

/// What of the page changes.
pub(super) async fn parts(
    State(side): State<Arc<Side>>,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    render(&side, "parts.html", query).await
}

async fn render(
    side: &Arc<Side>,
    name: &'static str,
    query: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Filter { code }) = query.map_err(|error| Problem::body(&error.body_text()))?;
    let html = aside(side, move |side| {
        let shown = shown(side, code)?;
        let template = side.templates.get_template(name);
        let html = template.and_then(|template| template.render(Value::from(Serde(&shown))));
        html.map_err(|error| Problem::internal(&format!("the page could not be rendered: {error:#}")))
    });
    Ok(Html(html.await?).into_response())
}

fn shown(side: &Side, code: String) -> Result<Shown, Problem> {
    // What is in force can be seen and revoked whatever is wrong with the policies.
    let (mut pending, problem) = match side.views(side.desk.requests(true, usize::MAX)?) {
        Ok(views) => (views, None),
        Err(refused) => (Vec::new(), Some(neutral(refused.to_string().as_bytes()))),
    };
    // The oldest first: what comes later moves nothing that is about to be clicked.
    pending.reverse();
    let grants = side.desk.grants(false, super::api::MOST)?;
    let closed: Vec<_> = side
        .desk
        .requests(false, super::api::MOST)?
        .into_iter()
        .filter(|request| !request.state.is_pending())
        .collect();
    let mut decided: Vec<Decided> =
        side.views(closed)?.into_iter().filter_map(|view| became(view, &grants)).collect();
    decided.sort_by_key(|decided| std::cmp::Reverse(decided.at));
    decided.truncate(MAX_DECISIONS);
    let traffic = youngest(side.desk.places(), &Wanted::parse(&code), MAX_TRAFFIC);
    Ok(Shown {
        now: now(),
        problem,
        pending,
        decided,
        grants: side.grant_views(super::api::MOST)?,
        health: side.health(),
        credentials: side.credentials(),
        traffic: traffic
            .into_iter()
            .map(|line| TrafficView { action: line.action(), subject: line.subject(), line })
            .collect(),
        code,
        codes: Reason::ALL.iter().map(|reason| reason.code()).collect(),
    })
}

fn became(request: RequestView, grants: &[Granted]) -> Option<Decided> {
    use crate::sidecar::supervise::state::EndCause;

    let (verdict, at, words) = match &request.state {
        Became::Pending => return None,
        Became::Approved { words, at, .. } => ("approved", *at, words.clone()),
        Became::Rejected { words, at } => ("rejected", *at, words.clone()),
        Became::Withdrawn { at } => ("withdrawn", *at, String::new()),
        Became::Expired { at } => ("expired", *at, String::new()),
    };
    let grant = grants.iter().find(|grant| request.grant.as_ref() == Some(&grant.id));
    let ended = grant.and_then(|grant| grant.ended.as_ref()).map(|ended| match ended.cause {
        EndCause::Expired => "over",
        EndCause::Used => "used",
        EndCause::Revoked => "revoked",
        EndCause::Retired => "in bottle.yaml now",
    });
    Some(Decided { request, at, verdict, words, scope: grant.map(|grant| grant.scope), ended })
}

/// Uses a link up: the cookie for reading, and the key in the fragment, which goes to no server.
pub(super) async fn login(
    State(side): State<Arc<Side>>,
    method: Method,
    headers: HeaderMap,
    query: Result<Query<Once>, QueryRejection>,
) -> Response {
    // A browser that only looks ahead, or a program that only asks for the head, does not use the link up.
    let ahead = ["sec-purpose", "purpose"].iter().any(|name| headers.contains_key(*name));
    let login = match query {
        Ok(Query(Once { once })) if method == Method::GET && !ahead => side.secrets.login(once.as_bytes()),
        _ => None,
    };
    let Some(login) = login else {
        if side.secrets.too_many_wrong() {
            return closed(
                &side,
                Reason::TooManyAttempts,
                "There have been too many wrong links; wait a minute.",
            );
        }
        return closed(&side, Reason::Unauthorized, "This link has been used, or is too old.");
    };
    let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", side.cookie_name(), login.cookie);
    let headers: [(HeaderName, String); 2] =
        [(SET_COOKIE, cookie), (LOCATION, format!("/#key={}", login.key))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The code of a link.
#[derive(Debug, Deserialize)]
pub(super) struct Once {
    once: String,
}

/// What a person sees who has no session.
pub(super) fn closed(side: &Side, reason: Reason, what: &str) -> Response {
    let html =
        side.templates.get_template("closed.html").and_then(|template| template.render(context! { what }));
    match html {
        Ok(html) => named((StatusCode::UNAUTHORIZED, Html(html)).into_response(), reason),
        Err(_) => Problem::internal("the page could not be rendered").into_response(),
    }
}

pub(super) async fn css() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], CSS).into_response()
}

pub(super) async fn js() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], JS).into_response()
}

/// Seconds as a person says them.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |much: String, left: u64, unit: &str| match left {
        0 => much,
        left => format!("{much} {left} {unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86400 => two(format!("{hours} h"), minutes % 60, "min"),
        _ => two(format!("{days} d"), hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_templates_parse_and_say_nothing_safe() {
        super::templates().expect("every template parses");
        for (name, pieces) in super::TEMPLATES {
            let text = pieces.concat();
            for word in ["|safe", "| safe", "autoescape", "<script>", "style=", "onclick"] {
                assert!(!text.contains(word), "{name} has `{word}`");
            }
        }
        assert!(!super::JS.contains("innerHTML"), "text is text");
    }

    #[test]
    fn durations_are_words() {
        let texts = [5, 65, 3660, 28_800, 90_000].map(super::duration);
        assert_eq!(texts, ["5 s", "1 min", "1 h 1 min", "8 h", "1 d 1 h"]);
    }
}
