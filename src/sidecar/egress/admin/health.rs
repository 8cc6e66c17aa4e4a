//! `/healthz`: whether egress does what its files say.

use http::StatusCode;
use serde_json::{Map, json};

use super::Page;
use crate::sidecar::egress::Egress;

/// 503 only where the policy that is in force isn't the one in the files. A missing credential and a log that can't be
/// written are told, and are no reason to start egress anew: that would mend neither.
pub(super) fn page(egress: &Egress) -> Page {
    let snapshot = egress.live.now();
    let problem = egress.live.problem();
    let missing: Map<_, _> =
        snapshot.credentials.missing().into_iter().map(|(name, why)| (name, why.into())).collect();
    let audit = egress.audit.health();
    let worse = !missing.is_empty() || audit.iter().any(|target| target.failure.is_some());
    let (status, word) = match &problem {
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
        None if worse => (StatusCode::OK, "degraded"),
        None => (StatusCode::OK, "ok"),
    };
    let audit: Map<_, _> = audit
        .into_iter()
        .map(|target| {
            (target.name.to_owned(), json!({ "dropped": target.dropped, "failure": target.failure }))
        })
        .collect();
    let value = json!({
        "status": word,
        "generation": snapshot.generation,
        "problem": problem,
        "credentials_missing": missing,
        "audit": audit,
    });
    Page::json(status, &value)
}
