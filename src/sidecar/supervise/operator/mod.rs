//! The operator's side: the page, and the interface that it and the terminal use.
//!
//! - [`guard`] lets in who has one of the [`secrets`], and nobody whom another page sent;
//! - [`api`] is the interface, [`view`] what it says of requests and grants, [`events`] tells that something has changed;
//! - [`traffic`] reads the audit logs of the sidecars from their end;
//! - [`page`] renders the same views as HTML.

mod api;
mod credentials;
mod events;
mod guard;
mod page;
mod problem;
mod secrets;
mod traffic;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use minijinja::Environment;
use tokio::sync::{Mutex, Semaphore};

use self::problem::Problem;
use self::secrets::Secrets;
use super::desk::Desk;

/// The most bytes of a request's body.
const MAX_BODY: usize = 64 << 10;

/// What all handlers share.
#[derive(Debug)]
struct Side {
    desk: Arc<Desk>,
    secrets: Secrets,
    /// The port that the operator's browser sees.
    port: u16,
    templates: Environment<'static>,
    /// Places for streams of events.
    streams: Arc<Semaphore>,
    /// Who may leave a letter for egress.
    letters: Mutex<()>,
}

impl Side {
    /// A browser sends the cookies of one port to all of them: each bottle has its own name.
    fn cookie_name(&self) -> String {
        format!("bottle-{}", self.port)
    }
}

/// What the operator reaches: the token opens it, and `port` is the one that is published.
///
/// # Errors
///
/// The system gives no random numbers, or a template is wrong.
pub(super) fn router(desk: Arc<Desk>, token: &str, port: u16) -> Result<Router> {
    let secrets = Secrets::new(token).context("the system gives no random numbers")?;
    let side = Arc::new(Side {
        desk,
        secrets,
        port,
        templates: page::templates()?,
        streams: Arc::new(Semaphore::new(events::MAX_STREAMS)),
        letters: Mutex::default(),
    });
    Ok(Router::new()
        .route("/", get(page::page))
        .route("/parts", get(page::parts))
        .route("/login", get(page::login))
        .route(guard::HEALTH, get(async || "ok\n"))
        .route("/static/page.css", get(page::css))
        .route("/static/page.js", get(page::js))
        .route("/api/credentials", get(credentials::list))
        .route("/api/credentials/{name}", post(credentials::enter))
        .route("/api/events", get(events::events))
        .route("/api/grants", get(api::grants))
        .route("/api/grants/{id}/revoke", post(api::revoke))
        .route("/api/health", get(api::health))
        .route("/api/login-link", post(api::login_link))
        .route("/api/logout", post(api::logout))
        .route("/api/requests", get(api::requests))
        .route("/api/requests/{id}", get(api::request))
        .route("/api/requests/{id}/approve", post(api::approve))
        .route("/api/requests/{id}/reject", post(api::reject))
        .route("/api/traffic", get(api::traffic))
        .fallback(api::nothing)
        .method_not_allowed_fallback(api::other_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(Arc::clone(&side), guard::guard))
        .with_state(side))
}

/// Does what reads or writes files where it keeps nobody waiting.
async fn aside<T, F>(side: &Arc<Side>, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&Side) -> Result<T, Problem> + Send + 'static,
{
    let side = Arc::clone(side);
    let done = tokio::task::spawn_blocking(move || work(&side)).await;
    done.unwrap_or_else(|_| Err(Problem::internal("a part of supervise failed")))
}
