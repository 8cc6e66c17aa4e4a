//! What the operator sees of requests, grants and sidecars: the same for the page and the terminal.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Side;
use super::traffic::{Line, MAX_LINES, STATUS, Wanted, youngest};
use crate::fs;
use crate::policy::egress::{Route, Scheme};
use crate::policy::gate::PushOperation;
use crate::scan::Kind;
use crate::sidecar::supervise::config::Policies;
use crate::sidecar::supervise::refused::Refused;
use crate::sidecar::supervise::rule::{Enforcer, Rule};
use crate::sidecar::supervise::state::{Granted, Origin, Request, Scope, State};
use crate::sidecar::text::hex;
use crate::sidecar::text::neutral;

/// The most refused requests that are shown with one request.
const MAX_REFUSALS: usize = 8;

/// One request with what the operator needs to decide.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RequestView {
    pub(super) id: String,
    /// `route`, `push` or `finding`.
    pub(super) kind: &'static str,
    /// The host, or the repository.
    pub(super) subject: String,
    pub(super) state: State,
    pub(super) rule: Rule,
    /// The rule in the manifest's notation.
    pub(super) manifest: String,
    /// Who asked.
    pub(super) origin: Origin,
    /// The agent's words.
    pub(super) reason: String,
    pub(super) created: u64,
    pub(super) last: u64,
    pub(super) count: u64,
    /// What an approval is bound to; only while it is pending.
    pub(super) review: Option<String>,
    /// What it adds to what is reachable now.
    pub(super) adds: Vec<String>,
    /// What to look at twice.
    pub(super) warnings: Vec<String>,
    /// The rules in force for the same host or repository.
    pub(super) now: Vec<String>,
    /// The credential that would be used.
    pub(super) credential: Option<String>,
    /// What was refused to the agent, for the same host or repository.
    pub(super) refusals: Vec<Line>,
    /// The grant of an approved request.
    pub(super) grant: Option<String>,
    /// Whether the sidecar runs with the grant.
    pub(super) live: Option<bool>,
    /// Changes with what the operator decides on, not with counts and times.
    pub(super) version: String,
}

/// One grant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GrantView {
    pub(super) id: String,
    pub(super) request: String,
    pub(super) subject: String,
    pub(super) rule: Rule,
    pub(super) manifest: String,
    pub(super) scope: Scope,
    pub(super) at: u64,
    pub(super) until: Option<u64>,
    /// Seconds left; none for those that end with the bottle or the manifest.
    pub(super) left: Option<u64>,
    pub(super) live: bool,
}

/// What one sidecar reports.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HealthView {
    pub(super) name: &'static str,
    /// `ok`, `failing`, or `silent` where there is no report.
    pub(super) status: &'static str,
    pub(super) generation: Option<u64>,
    /// How many grants it runs with.
    pub(super) grants: Option<usize>,
    pub(super) problem: Option<String>,
    /// Seconds since the report was written.
    pub(super) age: Option<u64>,
}

/// What views of several requests share.
struct Around {
    /// None where nothing is pending: what is closed can be shown even if the policies can't be read.
    policies: Option<Policies>,
    grants: Vec<Granted>,
    refusals: Vec<Line>,
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Side {
    /// Views of these requests.
    pub(super) fn views(&self, requests: Vec<Request>) -> Result<Vec<RequestView>, Refused> {
        // The review first: what changes while the rest is read makes it stale, and the approval is refused.
        let mut reviews = Vec::new();
        for request in &requests {
            reviews.push(request.state.is_pending().then(|| self.desk.review(request)).transpose()?);
        }
        let pending = reviews.iter().any(Option::is_some);
        let around = Around {
            policies: pending.then(|| self.desk.policies()).transpose()?,
            grants: self.desk.grants(true, usize::MAX)?,
            refusals: youngest(self.desk.places(), &Wanted::Refused, MAX_LINES),
        };
        let views = requests.into_iter().zip(reviews);
        Ok(views.map(|(request, review)| self.view(request, review, &around)).collect())
    }

    fn view(&self, request: Request, review: Option<String>, around: &Around) -> RequestView {
        let Request { id, ask: _, rule, origin, reason, created, last, count, state } = request;
        let pending = state.is_pending();
        let (adds, now) = if pending { adds(&rule, around) } else { (Vec::new(), Vec::new()) };
        let grant = match &state {
            State::Approved { grant, .. } => Some(grant.clone()),
            _ => None,
        };
        let granted = grant.as_ref().and_then(|id| around.grants.iter().find(|grant| grant.id == *id));
        let live = grant.as_ref().map(|_| granted.is_some_and(|grant| self.desk.is_live(grant)));
        let warnings = if pending { warnings(&rule) } else { Vec::new() };
        let refusals = around.refusals.iter().filter(|line| pending && concerns(&rule, line));
        let manifest = exact(&rule.manifest());
        let bound = format!("{manifest}\n{review:?}\n{adds:?}\n{now:?}\n{reason}");
        RequestView {
            kind: kind(&rule),
            subject: subject(&rule),
            version: digest(&bound),
            refusals: refusals.take(MAX_REFUSALS).cloned().collect(),
            credential: credential(&rule),
            origin,
            reason: neutral(reason.as_bytes()),
            state: harmless(state),
            id,
            manifest,
            rule,
            created,
            last,
            count,
            review,
            adds,
            warnings,
            now,
            grant,
            live,
        }
    }

    /// Views of the grants in force, the youngest first.
    pub(super) fn grant_views(&self, most: usize) -> Result<Vec<GrantView>, Refused> {
        Ok(self.desk.grants(true, most)?.into_iter().map(|grant| self.grant_view(grant)).collect())
    }

    /// A view of a grant, in force or not.
    pub(super) fn grant_view(&self, grant: Granted) -> GrantView {
        GrantView {
            live: self.desk.is_live(&grant),
            subject: subject(&grant.rule),
            manifest: exact(&grant.rule.manifest()),
            left: grant.until.map(|until| until.saturating_sub(now())),
            id: grant.id,
            request: grant.request,
            rule: grant.rule,
            scope: grant.scope,
            at: grant.at,
            until: grant.until,
        }
    }

    /// What the sidecars of this bottle report.
    pub(super) fn health(&self) -> Vec<HealthView> {
        let sidecars = [(Enforcer::Egress, "egress"), (Enforcer::GitGate, "git-gate")];
        let there = sidecars.into_iter().filter_map(|(enforcer, name)| {
            self.desk.places().report(enforcer).map(|directory| (enforcer, name, directory))
        });
        there
            .map(|(enforcer, name, directory)| {
                let report = self.desk.report(enforcer);
                let written = fs::metadata(&directory.join(STATUS)).and_then(|metadata| {
                    metadata.modified().map_err(|source| fs::Error {
                        action: "look at",
                        path: directory.to_owned(),
                        source,
                    })
                });
                let age = written.ok().and_then(|at| at.elapsed().ok()).map(|age| age.as_secs());
                let problem = report.as_ref().and_then(|report| report.problem.as_deref());
                HealthView {
                    name,
                    status: match (&report, problem) {
                        (None, _) => "silent",
                        (Some(_), None) => "ok",
                        (Some(_), Some(_)) => "failing",
                    },
                    generation: report.as_ref().map(|report| report.generation),
                    grants: report.as_ref().map(|report| report.grants.len()),
                    problem: problem.map(|problem| neutral(problem.as_bytes())),
                    age,
                }
            })
            .collect()
    }
}

/// Words that were kept are harmless already; the page and the terminal don't rely on it.
fn harmless(state: State) -> State {
    let clean = |words: String| neutral(words.as_bytes());
    match state {
        State::Approved { grant, words, at } => State::Approved { grant, words: clean(words), at },
        State::Rejected { words, at } => State::Rejected { words: clean(words), at },
        state @ (State::Pending | State::Withdrawn { .. } | State::Expired { .. }) => state,
    }
}

/// YAML as it is, but with escapes for what can't be seen or steers: both exact and harmless.
fn exact(yaml: &str) -> String {
    let mut text = String::with_capacity(yaml.len());
    for c in yaml.chars() {
        let mut bytes = [0; 4];
        if c == '\n' || neutral(c.encode_utf8(&mut bytes).as_bytes()).starts_with(c) {
            text.push(c);
        } else {
            let code = u32::from(c);
            // Writing to a string can't fail.
            let _ = if code > 0xffff { write!(text, "\\U{code:08x}") } else { write!(text, "\\u{code:04x}") };
        }
    }
    text
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hex(digest.as_ref().get(..8).unwrap_or_default())
}

fn kind(rule: &Rule) -> &'static str {
    match rule {
        Rule::Route(_) => "route",
        Rule::Push(_) => "push",
        Rule::Finding(_) => "finding",
        Rule::Secret(_) => "secret",
    }
}

fn subject(rule: &Rule) -> String {
    let subject = match rule {
        Rule::Route(route) => &route.host,
        Rule::Push(push) => &push.repository,
        Rule::Finding(finding) => &finding.repository,
        Rule::Secret(secret) => &secret.host,
    };
    neutral(subject.as_bytes())
}

fn credential(rule: &Rule) -> Option<String> {
    match rule {
        Rule::Route(route) => route.credential.as_ref().map(|name| neutral(name.as_bytes())),
        Rule::Push(_) | Rule::Finding(_) | Rule::Secret(_) => None,
    }
}

/// Whether a refused request is one that the rule is about.
fn concerns(rule: &Rule, line: &Line) -> bool {
    match rule {
        Rule::Route(route) => line.host.as_deref().is_some_and(|host| {
            host == route.host || route.host.strip_prefix('*').is_some_and(|domain| host.ends_with(domain))
        }),
        Rule::Push(push) => line.repository.as_ref() == Some(&push.repository),
        Rule::Finding(finding) => line.findings.contains(&finding.finding),
        Rule::Secret(secret) => line.findings.contains(&secret.finding.to_string()),
    }
}

/// What the rule adds, in sentences, and the rules that are in force for the same host or repository.
fn adds(rule: &Rule, around: &Around) -> (Vec<String>, Vec<String>) {
    let granted = || around.grants.iter().map(|grant| &grant.rule);
    match rule {
        Rule::Route(route) => {
            let of_manifest = around
                .policies
                .iter()
                .flat_map(|policies| &policies.egress)
                .flat_map(|policy| &policy.routes);
            let of_grants = granted().filter_map(|rule| match rule {
                Rule::Route(route) => Some(route),
                _ => None,
            });
            let same: Vec<&Route> =
                of_manifest.chain(of_grants).filter(|have| have.host == route.host).collect();
            let now = same.iter().map(|have| exact(&Rule::Route((*have).clone()).manifest()));
            (adds_route(route, &same), now.collect())
        }
        Rule::Push(push) => {
            let repository = around
                .policies
                .as_ref()
                .and_then(|policies| policies.gate.as_ref())
                .and_then(|policy| policy.repositories.get(&push.repository));
            let manifest = repository.iter().flat_map(|repository| &repository.push);
            let mut now: Vec<String> = manifest
                .map(|have| {
                    let rule = crate::policy::grant::GrantedPush {
                        repository: push.repository.clone(),
                        rule: have.clone(),
                    };
                    exact(&Rule::Push(rule).manifest())
                })
                .collect();
            now.extend(granted().filter_map(|rule| match rule {
                Rule::Push(have) if have.repository == push.repository => Some(exact(&rule.manifest())),
                _ => None,
            }));
            let allow: Vec<_> = push.rule.allow.iter().map(|operation| operation.text()).collect();
            let adds = format!("{} on {}", allow.join(", "), exact(&push.rule.refs));
            (vec![adds], now)
        }
        Rule::Finding(finding) => {
            let adds = format!("commits with the finding {} may be pushed", finding.finding);
            (vec![adds], Vec::new())
        }
        Rule::Secret(secret) => {
            let adds = format!("{} may be sent to {}", secret.finding.plain(), secret.host);
            (vec![exact(&adds)], Vec::new())
        }
    }
}

fn adds_route(route: &Route, same: &[&Route]) -> Vec<String> {
    let mut adds = Vec::new();
    if same.is_empty() {
        adds.push("a host that can't be reached now".to_owned());
    }
    let new = |name: &str, asked: &[String], have: &dyn Fn(&str) -> bool, all: &str| {
        let texts: Vec<_> = asked
            .iter()
            .filter(|text| !have(text))
            .map(|text| if text == all { format!("all {name}") } else { exact(text) })
            .collect();
        (!texts.is_empty()).then(|| {
            if texts.len() == 1 && texts.first().is_some_and(|text| text.starts_with("all ")) {
                texts.concat()
            } else {
                format!("{name} {}", texts.join(", "))
            }
        })
    };
    let any = |found: &dyn Fn(&Route) -> bool| same.iter().any(|have| found(have));
    adds.extend(new(
        "methods",
        &route.methods,
        &|method| any(&|have| have.methods.iter().any(|have| have == method || have == "ANY")),
        "ANY",
    ));
    adds.extend(new(
        "paths",
        &route.paths,
        &|path| any(&|have| have.paths.iter().any(|have| have == path || have == "/**")),
        "/**",
    ));
    let ports: Vec<String> = route
        .ports
        .iter()
        .filter(|port| !any(&|have| have.scheme == route.scheme && have.ports.contains(port)))
        .map(u16::to_string)
        .collect();
    if !ports.is_empty() {
        adds.push(format!("port {}", ports.join(", ")));
    }
    if route.websocket && !any(&|have| have.websocket) {
        adds.push("WebSockets".to_owned());
    }
    if adds.is_empty() {
        adds.push("another combination of what can be reached already".to_owned());
    }
    adds
}

/// What to look at twice.
fn warnings(rule: &Rule) -> Vec<String> {
    let mut warnings = Vec::new();
    match rule {
        Rule::Route(route) => {
            if let Some(domain) = route.host.strip_prefix("*.") {
                warnings.push(format!("every host below {} at once", neutral(domain.as_bytes())));
            }
            let sends: Vec<_> = route
                .methods
                .iter()
                .filter(|method| !matches!(method.as_str(), "GET" | "HEAD"))
                .map(|method| neutral(method.as_bytes()))
                .collect();
            if !sends.is_empty() {
                warnings.push(format!("{} can send data out of the bottle", sends.join(", ")));
            }
            if let Some(name) = credential(rule) {
                warnings.push(format!("the requests carry your credential {name}"));
            }
            if route.scheme == Scheme::Http {
                warnings.push("plain text: anybody on the way can read and change it".to_owned());
            }
            if route.websocket {
                warnings.push("a WebSocket sends data both ways for as long as it is open".to_owned());
            }
            if route.private {
                warnings.push("the host may be on your own network".to_owned());
            }
        }
        Rule::Push(push) => {
            let has = |operation| push.rule.allow.contains(&operation);
            if has(PushOperation::Force) {
                warnings.push("force can throw commits away at the upstream".to_owned());
            }
            if has(PushOperation::Delete) {
                warnings.push("delete removes refs at the upstream".to_owned());
            }
            if has(PushOperation::Create) && push.rule.refs.starts_with("refs/tags/") {
                warnings.push("a tag may start a release".to_owned());
            }
        }
        Rule::Finding(_) => {
            warnings.push("the gate took this for a secret: look at the commit before it leaves".to_owned());
        }
        Rule::Secret(secret) => match secret.finding.kind() {
            Kind::Credential => warnings.push(
                "this is the value of your own credential: whoever runs the host can use it from then on"
                    .to_owned(),
            ),
            Kind::Token => {
                warnings.push("egress took this for a secret: look at what the agent sends".to_owned());
            }
            Kind::Placeholder => {}
        },
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::exact;

    #[test]
    fn yaml_stays_exact_and_can_not_turn_the_reading_direction() {
        assert_eq!(
            exact("- { a: \"ü/\u{202e}x\u{1b}\u{e0041}\" }\n"),
            "- { a: \"ü/\\u202ex\\u001b\\U000e0041\" }\n"
        );
    }
}
