//! What the agent sees of the policy and of its requests: hosts, methods, refs; never where a secret comes from, what
//! stands for it, or how an upstream is reached.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::config::Policies;
use super::super::desk::Desk;
use super::super::refused::Refused;
use super::super::rule::Rule;
use super::super::state::{EndCause, Granted, Request, Scope, State};
use crate::policy::egress::{Deny, EgressPolicy, Route};
use crate::policy::gate::{GatePolicy, PushRule};
use crate::policy::grant::{AllowedFinding, AllowedSecret, GrantedPush};

/// The most grants among which that of an old request is looked for.
const MAX_GRANTS: usize = 10_000;

/// What the agent may reach and push.
pub(super) fn policy(desk: &Desk) -> Result<Value, Refused> {
    let Policies { egress, gate, digest: _ } = desk.policies()?;
    let now = now();
    let grants: Vec<_> = desk
        .grants(true, MAX_GRANTS)?
        .into_iter()
        .map(|grant| {
            json!({
                "id": grant.id,
                "request": grant.request,
                "allows": rule(&grant.rule),
                "for": scope(grant.scope),
                "seconds_left": left(&grant, now),
                "live": desk.is_live(&grant),
            })
        })
        .collect();
    Ok(json!({
        "egress": egress.as_ref().map(of_egress),
        "git": gate.as_ref().map(of_gate),
        "grants": grants,
    }))
}

/// One request with what became of it.
pub(super) fn request(desk: &Desk, request: &Request) -> Result<Value, Refused> {
    let Request { id, ask: _, rule: asked, origin: _, reason, created: _, last: _, count, state } = request;
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    put("id", json!(id));
    put("state", json!(state_text(state)));
    put("asked", rule(asked));
    put("reason", json!(reason));
    put("count", json!(count));
    let next = match state {
        State::Pending => {
            "a person decides; call the tool `wait` with this id or GET /requests/ID?wait=50, again and again, and go on \
             with other work meanwhile"
        }
        State::Approved { words, .. } => {
            put("words", json!(words));
            let grant = granted(desk, state)?;
            let live = grant.as_ref().is_some_and(|grant| is_live(desk, grant));
            put("live", json!(live));
            if let Some(grant) = &grant {
                put("grant", json!(grant.id));
                put("allowed", rule(&grant.rule));
                put("for", json!(scope(grant.scope)));
                put("seconds_left", json!(left(grant, now())));
            }
            let grant_is_once = grant.as_ref().is_some_and(|grant| grant.scope == Scope::Once);
            match grant.and_then(|grant| grant.ended) {
                None if live && grant_is_once => {
                    "send again what was refused: one request or one push passes"
                }
                None if live => "send again what was refused",
                None => {
                    "the sidecar has not taken it up yet; wait again before you send again what was refused"
                }
                Some(ended) => {
                    put("ended", json!(ended.cause));
                    match ended.cause {
                        EndCause::Expired => "its time is over; ask again if it is still needed",
                        EndCause::Used => {
                            "it was for once, and that was used; ask again if it is still needed"
                        }
                        EndCause::Revoked => "the operator took it back; go on without it",
                        EndCause::Retired => "the manifest allows it now; send again what was refused",
                    }
                }
            }
        }
        State::Rejected { words, .. } => {
            put("words", json!(words));
            "go on without it, as the operator says in `words`; the same is not taken again for some minutes"
        }
        State::Withdrawn { .. } => "ask again in a minute if it is needed after all",
        State::Expired { .. } => "nobody decided in time; ask again if it is still needed",
    };
    put("next", json!(next));
    Ok(Value::Object(members))
}

/// Whether nothing more will become of a request within moments: it is decided, and its grant live or over.
pub(super) fn is_settled(desk: &Desk, state: &State) -> Result<bool, Refused> {
    match state {
        State::Pending => Ok(false),
        State::Approved { .. } => {
            Ok(granted(desk, state)?.is_none_or(|grant| grant.ended.is_some() || desk.is_live(&grant)))
        }
        State::Rejected { .. } | State::Withdrawn { .. } | State::Expired { .. } => Ok(true),
    }
}

/// The grant of an approved request.
fn granted(desk: &Desk, state: &State) -> Result<Option<Granted>, Refused> {
    let State::Approved { grant: id, .. } = state else { return Ok(None) };
    let find = |grants: Vec<Granted>| grants.into_iter().find(|grant| grant.id == *id);
    match find(desk.grants(true, MAX_GRANTS)?) {
        Some(grant) => Ok(Some(grant)),
        None => Ok(find(desk.grants(false, MAX_GRANTS)?)),
    }
}

/// What has ended is not live, even where the sidecar has not reported that yet.
fn is_live(desk: &Desk, grant: &Granted) -> bool {
    grant.ended.is_none() && desk.is_live(grant)
}

fn state_text(state: &State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Approved { .. } => "approved",
        State::Rejected { .. } => "rejected",
        State::Withdrawn { .. } => "withdrawn",
        State::Expired { .. } => "expired",
    }
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Once => "once",
        Scope::Seconds(_) => "a time",
        Scope::Bottle => "while the bottle runs",
        Scope::Always => "always",
    }
}

fn left(grant: &Granted, now: u64) -> Option<u64> {
    grant.until.map(|until| until.saturating_sub(now))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn rule(rule: &Rule) -> Value {
    match rule {
        Rule::Route(route) => json!({ "route": of_route(route) }),
        Rule::Push(GrantedPush { repository, rule }) => {
            let PushRule { source: _, refs, allow } = rule;
            json!({ "push": { "repository": repository, "refs": refs, "operations": allow } })
        }
        Rule::Finding(AllowedFinding { repository, finding }) => {
            json!({ "exception": { "repository": repository, "finding": finding } })
        }
        Rule::Secret(AllowedSecret { source: _, host, finding }) => {
            json!({ "exception": { "host": host, "finding": finding } })
        }
    }
}

fn of_route(route: &Route) -> Value {
    let Route {
        source: _,
        host,
        scheme,
        ports,
        methods,
        paths,
        websocket,
        private: _,
        credential,
        on_secret: _,
        max_upload_bytes,
        strip_tools,
    } = route;
    json!({
        "host": host,
        "scheme": scheme,
        "ports": ports,
        "methods": methods,
        "paths": paths,
        "websocket": websocket,
        // Which one is the operator's business.
        "credential": credential.is_some(),
        "max_upload_bytes": max_upload_bytes,
        "strip_tools": strip_tools,
    })
}

fn of_egress(policy: &EgressPolicy) -> Value {
    let EgressPolicy {
        version: _,
        ask: _,
        on_refusal: _,
        scanner: _,
        deny,
        extra_hosts: _,
        upstream_proxy: _,
        extra_ca: _,
        credentials: _,
        routes,
    } = policy;
    let deny: Vec<_> = deny
        .iter()
        .map(|Deny { source: _, host, ports, methods, paths }| {
            json!({ "host": host, "ports": ports, "methods": methods, "paths": paths })
        })
        .collect();
    json!({ "routes": routes.iter().map(of_route).collect::<Vec<_>>(), "never": deny })
}

fn of_gate(policy: &GatePolicy) -> Value {
    let GatePolicy { version: _, ask: _, repositories } = policy;
    let repositories: Map<_, _> = repositories
        .iter()
        .map(|(name, repository)| {
            let push: Vec<_> = repository
                .push
                .iter()
                .map(|PushRule { source: _, refs, allow }| json!({ "refs": refs, "operations": allow }))
                .collect();
            let view = json!({
                "fetch": true,
                "push": push,
                "protected_paths": repository.protect,
                "max_pack_bytes": repository.max_pack_bytes,
            });
            (name.clone(), view)
        })
        .collect();
    json!({ "repositories": repositories })
}
