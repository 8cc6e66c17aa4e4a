//! Makes the exact rule of what the agent asks for, by the same types and checks as the manifest's, or says why it can't be
//! approved whatever the operator thinks of it.

#[cfg(test)]
mod tests;

use super::ask::{Ask, ExceptionAsk, PushAsk, RouteAsk};
use super::config::Policies;
use super::refused::Refused;
use super::rule::{Rule, allows, covers};
use crate::manifest::values::RefPattern;
use crate::policy::egress::{Deny, EgressPolicy, OnSecret, Route, Scheme};
use crate::policy::gate::{PushOperation, PushRule, Repository};
use crate::policy::grant::{AllowedFinding, AllowedSecret, Grant, GrantedPush};
use crate::policy::host::Host;
use crate::policy::path::Pattern;
use crate::policy::reason::Reason;
use crate::policy::rules::Rules;
use crate::policy::secret::NotASecretId;

/// What a rule's source is until it is granted.
const SOURCE: &str = "request";
/// The most entries of a list, and the most bytes of one.
const MAX_LIST: usize = 32;
const MAX_TEXT: usize = 1024;
/// The most bytes of a grant's file; the sidecars read twice as many.
const MAX_GRANT: usize = 32 << 10;

/// Makes the rule.
///
/// # Errors
///
/// What is asked for is no rule, is allowed already, or is denied by the manifest.
pub(super) fn rule(ask: &Ask, policies: &Policies) -> Result<Rule, Refused> {
    match ask {
        Ask::Route(ask) => route(ask, policies).map(Rule::Route),
        Ask::Push(ask) => push(ask, policies).map(Rule::Push),
        Ask::Exception(ask) => exception(ask, policies),
    }
}

/// Checks a rule that was made under another policy.
///
/// # Errors
///
/// As [`rule`].
pub(super) fn check(rule: &Rule, policies: &Policies) -> Result<(), Refused> {
    match rule {
        Rule::Route(route) => check_route(route, egress(policies)?),
        Rule::Push(push) => check_push(push, policies),
        Rule::Finding(finding) => repository(&finding.repository, policies).map(|_| ()),
        Rule::Secret(secret) => check_secret(secret, policies),
    }?;
    let grant = rule.grant("g-preflight", Some(u64::MAX), true);
    let text = serde_yaml::to_string(&grant).unwrap_or_default();
    if text.len() > MAX_GRANT || serde_yaml::from_str::<Grant>(&text).ok().as_ref() != Some(&grant) {
        return Err(invalid("no sidecar would read its grant", "ask for fewer or shorter paths"));
    }
    Ok(())
}

/// Makes the rule that the operator has narrowed an asked one to.
///
/// # Errors
///
/// It isn't provably within what was asked for, or as [`rule`].
pub(super) fn narrowed(rule: Rule, asked: &Rule, policies: &Policies) -> Result<Rule, Refused> {
    let rule = match rule {
        Rule::Route(route) => Rule::Route(Route {
            source: SOURCE.to_owned(),
            methods: texts(&route.methods)?,
            paths: texts(&route.paths)?,
            ..route
        }),
        Rule::Push(GrantedPush { repository, rule }) => {
            Rule::Push(GrantedPush { repository, rule: push_rule(&rule.refs, &rule.allow)? })
        }
        Rule::Secret(secret) => Rule::Secret(AllowedSecret { source: SOURCE.to_owned(), ..secret }),
        rule @ Rule::Finding(_) => rule,
    };
    if !rule.is_within(asked) {
        return Err(Refused::new(
            Reason::TooWide,
            "this is more than the agent asked for, or can't be seen to be less",
            "keep to the methods and operations that were asked for and to narrower patterns, or write the rule into \
             bottle.yaml; a branch without a wildcard may be the default one, which no pattern opens",
        ));
    }
    check(&rule, policies)?;
    Ok(rule)
}

/// Whether the manifest has the rule itself, so that nothing would change without the grant.
pub(super) fn is_in_manifest(rule: &Rule, policies: &Policies) -> bool {
    match rule {
        Rule::Route(route) => policies
            .egress
            .as_ref()
            .is_some_and(|policy| policy.routes.iter().any(|have| covers(have, route))),
        Rule::Push(GrantedPush { repository, rule }) => policies.gate.as_ref().is_some_and(|policy| {
            policy.repositories.get(repository).is_some_and(|repository| {
                rule.allow.iter().all(|operation| {
                    let allows = |have: &PushRule| have.refs == rule.refs && have.allow.contains(operation);
                    repository.push.iter().any(allows)
                })
            })
        }),
        Rule::Finding(_) | Rule::Secret(_) => false,
    }
}

fn invalid(message: impl Into<String>, hint: &str) -> Refused {
    Refused::new(Reason::AskInvalid, message, hint)
}

/// A list of methods or paths in its one form: sorted, each once.
fn texts(list: &[String]) -> Result<Vec<String>, Refused> {
    if list.len() > MAX_LIST {
        return Err(invalid("the lists are too long", "ask for fewer methods and paths, with patterns"));
    }
    list.iter().try_for_each(|item| plain(item))?;
    let mut list = list.to_vec();
    list.sort();
    list.dedup();
    Ok(list)
}

/// Refuses text that may look like another: whoever approves it has to see each of its characters.
fn plain(text: &str) -> Result<(), Refused> {
    if text.len() > MAX_TEXT {
        return Err(invalid("a text is too long", "use a pattern"));
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(invalid("a text has a space or a character that isn't ASCII", "write it as in a URL, such as `%20`"))
}

fn egress(policies: &Policies) -> Result<&EgressPolicy, Refused> {
    policies.egress.as_ref().ok_or_else(|| invalid("this bottle has no egress", "ask for a push instead"))
}

fn route(ask: &RouteAsk, policies: &Policies) -> Result<Route, Refused> {
    let policy = egress(policies)?;
    let RouteAsk { host, scheme, port, methods, paths, websocket } = ask;
    if host.len() > MAX_TEXT {
        return Err(invalid("the host is too long", "name a host such as `api.example.org`"));
    }
    let host = host_of(host, policy)?;
    let or = |list: &[String], usual: &[&str]| {
        if list.is_empty() { usual.iter().map(|text| (*text).to_owned()).collect() } else { list.to_vec() }
    };
    let known = || policy.routes.iter().filter(|have| have.host == host && have.scheme == *scheme);
    let usual = if *scheme == Scheme::Https { 443 } else { 80 };
    let port = port.unwrap_or(usual);
    // Of several credentials it isn't clear which one is meant, and another port is another service; that is for the
    // manifest to say.
    let same_port = known().filter(|have| have.ports.contains(&port));
    let mut credentials: Vec<_> = same_port.filter_map(|have| have.credential.clone()).collect();
    credentials.sort();
    credentials.dedup();
    let route = Route {
        source: SOURCE.to_owned(),
        private: known().any(|have| have.private),
        credential: credentials.pop().filter(|_| credentials.is_empty()),
        host: host.clone(),
        scheme: *scheme,
        ports: vec![port],
        methods: texts(&or(methods, &["GET", "HEAD"]))?,
        paths: texts(&or(paths, &["/**"]))?,
        websocket: *websocket,
        on_secret: OnSecret::default(),
        max_upload_bytes: None,
        strip_tools: stripped(&host, policy),
    };
    check(&Rule::Route(route.clone()), policies)?;
    if policy.routes.iter().any(|have| allows(have, &route)) {
        return Err(Refused::new(
            Reason::AskNeedless,
            "a route of the manifest allows this already",
            "send the request again; if it is refused, its answer says why",
        ));
    }
    Ok(route)
}

/// The tools that the manifest has taken out of requests to a host, whatever the route: no approval brings them back.
fn stripped(host: &str, policy: &EgressPolicy) -> Vec<String> {
    let known = policy.routes.iter().filter(|have| have.host == host);
    let mut tools: Vec<String> = known.flat_map(|have| have.strip_tools.iter().cloned()).collect();
    tools.sort();
    tools.dedup();
    tools
}

/// The host in the form of a policy. An address is only one that the manifest names: what lies on the operator's own
/// network is not for the agent to choose.
fn host_of(text: &str, policy: &EgressPolicy) -> Result<String, Refused> {
    let wrong = |error: String| invalid(error, "name a host such as `api.example.org`");
    if let Some(domain) = text.strip_prefix("*.") {
        return match Host::normalise(domain).map_err(|error| wrong(error.to_string()))? {
            Host::Name(domain) if domain.contains('.') => Ok(format!("*.{domain}")),
            _ => Err(wrong(format!("`*.{}` is too wide", domain.escape_debug()))),
        };
    }
    match Host::normalise(text).map_err(|error| wrong(error.to_string()))? {
        Host::Name(name) => Ok(name),
        Host::Address(address) => {
            let text = address.to_string();
            let named = policy.routes.iter().any(|have| have.host == text);
            if named {
                Ok(text)
            } else {
                Err(wrong(format!("`{text}` is an address, and no route names it")))
            }
        }
    }
}

fn check_route(route: &Route, policy: &EgressPolicy) -> Result<(), Refused> {
    if host_of(&route.host, policy)? != route.host {
        return Err(invalid("the host is not in its one form", "name a host such as `api.example.org`"));
    }
    // Private addresses, credentials and all the rest: as egress itself judges the grant.
    let grant = Rule::Route(route.clone()).grant("g-preflight", None, false);
    Rules::new(policy, &[grant]).map_err(|error| {
        invalid(error.problem, "see the names of methods and paths in docs/src/egress-policy.md")
    })?;
    match policy.deny.iter().find(|deny| denies_all(deny, route)) {
        Some(deny) => Err(Refused::new(
            Reason::AskDenied,
            format!("the deny rule at {} refuses this whatever is approved", deny.source),
            "go on without it; only the manifest can change that",
        )),
        None => Ok(()),
    }
}

/// Whether a deny rule refuses all that a route allows. Egress goes by the deny rule in any case; this spares the operator
/// the question.
fn denies_all(deny: &Deny, route: &Route) -> bool {
    let host = match deny.host.strip_prefix('*') {
        Some(below) => route.host.trim_start_matches('*').ends_with(below),
        None => deny.host == route.host,
    };
    let any = |methods: &[String]| methods.is_empty() || methods.iter().any(|method| method == "ANY");
    let method = |method: &String| deny.methods.iter().any(|denied| denied.eq_ignore_ascii_case(method));
    let path = |path: &String| match Pattern::parse(path) {
        Ok(path) => {
            let denied = deny.paths.iter().filter_map(|denied| Pattern::parse(denied).ok());
            denied.into_iter().any(|denied| path.is_within(&denied))
        }
        Err(_) => false,
    };
    host && (deny.ports.is_empty() || route.ports.iter().all(|port| deny.ports.contains(port)))
        && (any(&deny.methods) || route.methods.iter().all(method))
        && (deny.paths.is_empty() || route.paths.iter().all(path))
}

fn repository<'a>(name: &str, policies: &'a Policies) -> Result<&'a Repository, Refused> {
    let gate = policies
        .gate
        .as_ref()
        .ok_or_else(|| invalid("this bottle has no git gate", "ask for a route instead"))?;
    gate.repositories.get(name).ok_or_else(|| {
        let names: Vec<_> = gate.repositories.keys().map(String::as_str).collect();
        invalid("there is no such repository", &format!("the repositories are: {}", names.join(", ")))
    })
}

fn push(ask: &PushAsk, policies: &Policies) -> Result<GrantedPush, Refused> {
    let PushAsk { repository: name, refs, operations } = ask;
    repository(name, policies)?;
    let push = GrantedPush { repository: name.clone(), rule: push_rule(refs, operations)? };
    check(&Rule::Push(push.clone()), policies)?;
    if is_in_manifest(&Rule::Push(push.clone()), policies) {
        return Err(Refused::new(
            Reason::AskNeedless,
            "a push rule of the manifest allows this already",
            "push again; if it is refused, the gate says why",
        ));
    }
    Ok(push)
}

/// A push rule in the form of a policy.
fn push_rule(refs: &str, operations: &[PushOperation]) -> Result<PushRule, Refused> {
    if operations.is_empty() || operations.len() > MAX_LIST {
        return Err(invalid("no operation is named", "name some of create, fast-forward, force, delete"));
    }
    plain(refs)?;
    let pattern: RefPattern =
        refs.parse().map_err(|error: String| invalid(error, "name refs such as `agent/**`"))?;
    let mut allow = operations.to_vec();
    allow.sort_by_key(|operation| operation.text());
    allow.dedup();
    Ok(PushRule { source: SOURCE.to_owned(), refs: pattern.as_str().to_owned(), allow })
}

fn check_push(push: &GrantedPush, policies: &Policies) -> Result<(), Refused> {
    repository(&push.repository, policies)?;
    if push_rule(&push.rule.refs, &push.rule.allow)?.refs == push.rule.refs {
        return Ok(());
    }
    Err(invalid("the refs are not in their one form", "name refs such as `refs/heads/agent/**`"))
}

fn exception(ask: &ExceptionAsk, policies: &Policies) -> Result<Rule, Refused> {
    let ExceptionAsk { repository, host, finding: id } = ask;
    match (repository, host) {
        (Some(repository), None) => finding(repository, id, policies).map(Rule::Finding),
        (None, Some(host)) => secret(host, id, policies).map(Rule::Secret),
        (Some(_), Some(_)) | (None, None) => Err(invalid(
            "it names neither a repository nor a host, or both",
            "name the `repository` for a push, or the `host` for a request",
        )),
    }
}

/// An exception for a secret that a request carried.
fn secret(host: &str, id: &str, policies: &Policies) -> Result<AllowedSecret, Refused> {
    let finding = id.parse().map_err(|error: NotASecretId| {
        invalid(error.to_string(), "send the id that the refusal of the request says")
    })?;
    let host = Host::normalise(host).map_err(|error| {
        invalid(error.to_string(), "name the host of the request, such as `api.example.org`")
    })?;
    let secret = AllowedSecret { source: SOURCE.to_owned(), host: host.to_string(), finding };
    check_secret(&secret, policies)?;
    Ok(secret)
}

/// Only a route of the manifest can ask: where none does, egress would pass over the grant.
fn check_secret(secret: &AllowedSecret, policies: &Policies) -> Result<(), Refused> {
    let asks = |route: &Route| {
        let below = route.host.strip_prefix('*').is_some_and(|domain| secret.host.ends_with(domain));
        route.on_secret == OnSecret::Ask && (below || route.host == secret.host)
    };
    if egress(policies)?.routes.iter().any(asks) {
        return Ok(());
    }
    Err(invalid(
        "no route to this host has `on_secret: ask`",
        "take the secret out of the request; only the manifest can say that the operator is asked",
    ))
}

fn finding(repository: &str, id: &str, policies: &Policies) -> Result<AllowedFinding, Refused> {
    self::repository(repository, policies)?;
    let is_id = id
        .strip_prefix("f-")
        .is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_id {
        return Err(invalid(
            "this is no id of a finding",
            "send the id that the refusal of the push says: `f-` and 16 digits",
        ));
    }
    Ok(AllowedFinding { repository: repository.to_owned(), finding: id.to_ascii_lowercase() })
}
