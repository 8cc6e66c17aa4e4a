//! Whether a request is allowed.

use indexmap::IndexMap;

use super::{Answer, NOBODY, Request, Verdict, used};
use crate::plan::Secret;
use crate::policy::ask::Ask;
use crate::policy::egress::{EgressPolicy, OnRefusal, OnSecret, Route, VERSION};
use crate::policy::grant::Grant;
use crate::policy::reason::Reason;
use crate::policy::rules::{InvalidPolicy, Rules};
use crate::sidecar::egress::{judge_unsent, refusal::Refusal};
use crate::sidecar::supervise::lines;

/// A request that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL.
    pub url: &'a str,
    /// Whether a WebSocket is to be opened.
    pub websocket: bool,
}

/// Judges a request by a policy and the grants that are in force. `secrets` are the plan's, where there is one.
///
/// # Errors
///
/// A policy that egress would refuse.
pub fn egress(
    policy: &EgressPolicy,
    secrets: &[Secret],
    grants: &[Grant],
    asked: Asked<'_>,
) -> Result<Answer, InvalidPolicy> {
    let Asked { method, url, websocket } = asked;
    // What could be asked for is also what the lines for the manifest are made of.
    let asking =
        EgressPolicy { ask: Some(policy.ask.clone().unwrap_or_else(|| NOBODY.to_owned())), ..policy.clone() };
    let rules = Rules::new(&asking, grants)?;
    let kind = if websocket { " as a WebSocket" } else { "" };
    let question = format!("{method} {url}{kind}");
    let mut notes = Vec::new();
    let verdict = match judge_unsent(&rules, method, url, websocket) {
        Ok(route) => allowed(&question, &route, policy, secrets, &mut notes),
        Err(refusal) => {
            if let (Reason::RouteMissing, Some(OnRefusal::Ask(seconds))) = (refusal.reason, policy.on_refusal)
            {
                notes.push(format!(
                    "egress holds such a request for at most {seconds} s, while the operator is asked"
                ));
            }
            refused(&question, refusal, policy)
        }
    };
    Ok(Answer::new(question, vec![verdict], notes))
}

/// The policy of a bottle without egress.
pub fn no_egress() -> EgressPolicy {
    EgressPolicy {
        version: VERSION,
        deny: Vec::new(),
        extra_hosts: IndexMap::new(),
        upstream_proxy: None,
        extra_ca: Vec::new(),
        credentials: IndexMap::new(),
        ask: None,
        on_refusal: None,
        scanner: None,
        routes: Vec::new(),
    }
}

fn allowed(
    question: &str,
    route: &Route,
    policy: &EgressPolicy,
    secrets: &[Secret],
    notes: &mut Vec<String>,
) -> Verdict {
    let credential = route
        .credential
        .as_ref()
        .and_then(|name| policy.credentials.get(name).map(|credential| used(name, credential, secrets)));
    if let Some(limit) = route.max_upload_bytes {
        notes.push(format!("its body may have at most {limit} bytes (upload-too-large)"));
    }
    match route.on_secret {
        OnSecret::Block => {}
        OnSecret::Ask => {
            notes.push("a secret in it is refused, and the operator is asked (secret-pending)".to_owned());
        }
        OnSecret::Redact => notes
            .push("a secret in it is covered, or refused where that can't be done (secret-sent)".to_owned()),
    }
    if !route.strip_tools.is_empty() {
        notes.push(format!(
            "its body must be JSON (body-unreadable), and these tools are taken out of it: {}",
            route.strip_tools.join(", ")
        ));
    }
    let addresses = if route.private { "private addresses too" } else { "public addresses only" };
    notes.push(format!("the host may resolve to {addresses}, which shows when it is sent"));
    Verdict {
        subject: question.to_owned(),
        allowed: true,
        rule: Some(route.source.clone()),
        credential,
        ..Verdict::default()
    }
}

fn refused(question: &str, refusal: Refusal, policy: &EgressPolicy) -> Verdict {
    let Refusal { reason, rule, detail, hint, ask } = refusal;
    let body = ask.map(|asking| asking.ask);
    let manifest = body.as_ref().and_then(|ask: &Ask| lines(ask, Some(policy), None));
    // What no approval would help is not asked for; what nobody hears neither.
    let ask = policy.ask.as_ref().zip(body).filter(|_| manifest.is_some());
    let told = Verdict::refused(question.to_owned(), reason);
    Verdict {
        detail: Some(detail).filter(|detail| !detail.is_empty()),
        rule,
        hint: hint.or(told.hint),
        manifest,
        ask: ask.map(|(url, body)| Request::new(url, body)),
        ..told
    }
}
