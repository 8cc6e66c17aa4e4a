//! The agent's side: what it may ask, and what it hears. Nothing here decides.
//!
//! - [`counter`] is what can be done, [`http`] and [`mcp`] are the two ways to call it;
//! - [`view`] is what the agent sees of the policy, of its requests and of grants;
//! - [`guard`] looks at a call before it is read: by what name, from what page, how large.

mod counter;
mod guard;
mod http;
mod mcp;
mod pace;
mod problem;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

use super::desk::Desk;
use counter::Counter;
use guard::Names;

/// The names by which the agent calls. A page that made its own name lead here would call by that one.
pub(super) const NAMES: [&str; 5] = ["supervise", "inside.supervise", "localhost", "127.0.0.1", "::1"];

/// What the agent reaches, when it calls by one of these names, at any port.
pub(super) fn router(desk: Arc<Desk>, names: &[&str]) -> Router {
    let counter = Arc::new(Counter::new(desk));
    let names = Names::new(names);
    http::router(Arc::clone(&counter))
        .merge(mcp::router(&counter, &names))
        .fallback(http::unknown)
        .method_not_allowed_fallback(http::other_method)
        .layer(from_fn_with_state(Arc::new(names), guard::guard))
}
