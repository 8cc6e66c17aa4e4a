//! `/policy`: what is in force. It holds no secret, since neither the policy nor a grant can: they name where secrets are.

use http::StatusCode;
use serde_json::{Map, json};

use super::Page;
use crate::sidecar::egress::Egress;

pub(super) fn page(egress: &Egress) -> Page {
    let snapshot = egress.live.now();
    let grants: Map<_, _> =
        snapshot.grants.iter().map(|(name, grant)| (name.clone(), json!(grant))).collect();
    let value = json!({ "generation": snapshot.generation, "policy": snapshot.policy, "grants": grants });
    Page::json(StatusCode::OK, &value)
}
