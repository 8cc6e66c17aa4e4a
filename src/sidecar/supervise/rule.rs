//! The exact rule that a request would add: what is shown, narrowed, approved, written and enforced is this one value.

use serde::{Deserialize, Serialize};

use crate::policy::egress::{OnSecret, Route, Scheme};
use crate::policy::glob;
use crate::policy::grant::{AllowedFinding, AllowedSecret, Grant, GrantedPush, VERSION};
use crate::policy::path::Pattern;
use crate::render::escape::json;
use crate::sidecar::grants;

/// One rule.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Rule {
    /// A route of egress.
    Route(Route),
    /// A push rule of the gate.
    Push(GrantedPush),
    /// A secret finding that may pass the gate.
    Finding(AllowedFinding),
    /// A secret that may be sent to a host.
    Secret(AllowedSecret),
}

/// The sidecar that enforces a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Enforcer {
    /// The proxy.
    Egress,
    /// The git gate.
    GitGate,
}

impl Enforcer {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::GitGate => "git-gate",
        }
    }
}

impl Rule {
    /// Who enforces it.
    pub(crate) fn enforcer(&self) -> Enforcer {
        match self {
            Self::Route(_) | Self::Secret(_) => Enforcer::Egress,
            Self::Push(_) | Self::Finding(_) => Enforcer::GitGate,
        }
    }

    /// The grant that has this rule and no other. The rule's source names the grant.
    pub(crate) fn grant(&self, id: &str, until: Option<u64>, once: bool) -> Grant {
        let (routes, push, findings, secrets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut grant = Grant { version: VERSION, until, once, routes, push, findings, secrets };
        let source = grants::source_of(id);
        match self.clone() {
            Self::Route(route) => grant.routes.push(Route { source, ..route }),
            Self::Push(mut push) => {
                push.rule.source = source;
                grant.push.push(push);
            }
            Self::Finding(finding) => grant.findings.push(finding),
            Self::Secret(secret) => grant.secrets.push(AllowedSecret { source, ..secret }),
        }
        grant
    }

    /// The rule in the manifest's own notation, with where it belongs as a comment line before it.
    pub(crate) fn manifest(&self) -> String {
        match self {
            Self::Route(route) => format!("# egress: routes:\n- {}", written(route)),
            Self::Push(GrantedPush { repository, rule }) => {
                let allow: Vec<_> = rule.allow.iter().map(|operation| operation.text()).collect();
                format!(
                    "# git: {repository}: push:\n- {{ refs: {}, allow: [{}] }}",
                    json(&rule.refs),
                    allow.join(", ")
                )
            }
            Self::Finding(AllowedFinding { repository, finding }) => {
                format!("# git: {repository}: finding {finding}; only a grant can let it pass")
            }
            Self::Secret(AllowedSecret { source: _, host, finding }) => {
                let what = finding.plain();
                format!(
                    "# egress: {what} may be sent to {}; only a grant can let it pass: {finding}",
                    json(host)
                )
            }
        }
    }

    /// Whether it allows nothing but what `asked` allows. It may say no where that is so, and never yes where it isn't.
    pub(crate) fn is_within(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Route(new), Self::Route(old)) => {
                allows(old, new)
                    && (!new.private || old.private)
                    && (new.credential.is_none() || new.credential == old.credential)
                    && (new.on_secret == OnSecret::Block || new.on_secret == old.on_secret)
                    && is_at_most(new.max_upload_bytes, old.max_upload_bytes)
                    && old.strip_tools.iter().all(|tool| new.strip_tools.contains(tool))
            }
            (Self::Push(new), Self::Push(old)) => {
                new.repository == old.repository
                    && is_ref_within(&new.rule.refs, &old.rule.refs)
                    && new.rule.allow.iter().all(|operation| old.rule.allow.contains(operation))
            }
            (Self::Finding(new), Self::Finding(old)) => new == old,
            (Self::Secret(new), Self::Secret(old)) => new.host == old.host && new.finding == old.finding,
            _ => false,
        }
    }
}

/// Whether a route allows every request that another one does. What it does with them may differ: see [`covers`].
pub(super) fn allows(wide: &Route, narrow: &Route) -> bool {
    wide.host == narrow.host
        && wide.scheme == narrow.scheme
        && narrow.ports.iter().all(|port| wide.ports.contains(port))
        && (wide.methods.iter().any(|method| method == "ANY")
            || narrow.methods.iter().all(|method| wide.methods.contains(method)))
        && (wide.websocket || !narrow.websocket)
        && are_paths_within(&narrow.paths, &wide.paths)
}

fn are_paths_within(narrow: &[String], wide: &[String]) -> bool {
    let read =
        |paths: &[String]| paths.iter().map(|path| Pattern::parse(path)).collect::<Result<Vec<_>, _>>();
    let (Ok(narrow), Ok(wide)) = (read(narrow), read(wide)) else { return false };
    narrow.iter().all(|path| wide.iter().any(|wide| path.is_within(wide)))
}

/// Whether a route makes another one needless: it allows the same requests, and does the same with them.
pub(super) fn covers(wide: &Route, narrow: &Route) -> bool {
    allows(wide, narrow)
        && (wide.private || !narrow.private)
        && wide.credential == narrow.credential
        && wide.on_secret == narrow.on_secret
        && is_at_most(narrow.max_upload_bytes, wide.max_upload_bytes)
        && wide.strip_tools.iter().all(|tool| narrow.strip_tools.contains(tool))
}

/// Without a number there is no limit.
fn is_at_most(narrow: Option<u64>, wide: Option<u64>) -> bool {
    match (narrow, wide) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(narrow), Some(wide)) => narrow <= wide,
    }
}

/// A pattern opens the default branch only where it spells it out. So the name of a branch may open more than a pattern that
/// it matches, and which branch is the default one isn't known here.
fn is_ref_within(narrow: &str, wide: &str) -> bool {
    let could_be_default = narrow.starts_with("refs/heads/") && !narrow.contains('*');
    narrow == wide || (!could_be_default && glob::is_within(narrow.as_bytes(), wide.as_bytes()))
}

/// A route in the manifest's own notation, as a flow mapping.
pub(crate) fn written(route: &Route) -> String {
    let mut keys = vec![format!("host: {}", json(&route.host))];
    let usual = match route.scheme {
        Scheme::Https => 443,
        Scheme::Http => {
            keys.push("scheme: http".to_owned());
            80
        }
    };
    if route.ports != [usual] {
        let ports: Vec<_> = route.ports.iter().map(u16::to_string).collect();
        keys.push(format!("ports: [{}]", ports.join(", ")));
    }
    if route.methods != ["GET", "HEAD"] {
        keys.push(format!("methods: [{}]", route.methods.join(", ")));
    }
    if route.paths != ["/**"] {
        keys.push(format!("paths: [{}]", list(&route.paths)));
    }
    if route.websocket {
        keys.push("websocket: true".to_owned());
    }
    if route.private {
        keys.push("private: true".to_owned());
    }
    if let Some(credential) = &route.credential {
        keys.push(format!("credential: {}", json(credential)));
    }
    if !route.strip_tools.is_empty() {
        keys.push(format!("strip_tools: [{}]", route.strip_tools.join(", ")));
    }
    format!("{{ {} }}", keys.join(", "))
}

fn list(texts: &[String]) -> String {
    texts.iter().map(|text| json(text)).collect::<Vec<_>>().join(", ")
}
