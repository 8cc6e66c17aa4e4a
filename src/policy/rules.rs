//! Judging a request: the code that both egress and the command line run.
//!
//! A request is allowed when a route allows all of it: host, scheme and port, method, every reading of its path (see
//! [`super::path`]), and a WebSocket where it asks for one; and when no deny rule matches. A grant's routes are routes; a
//! deny rule beats them too. There is no other way to be allowed.
//!
//! Of several routes that allow a request the most specific one decides about its credential and limits. The first
//! difference counts:
//!
//! 1. a host that is named before `*.` and a domain, and a domain with more labels before one with fewer;
//! 2. more bytes of the path's pattern before its first wildcard, and then a pattern without one. Of a route's patterns
//!    the most specific one that matches counts, and of a path's readings the one that is matched least specifically;
//! 3. a method that is named before `ANY`;
//! 4. the order of the manifest, and then of the grants.
//!
//! A grant for one request comes after all of them: what is allowed without it doesn't use it up.
//!
//! A refusal names the nearest route: the one that allows the most of the request, in the order host, port, method, path,
//! WebSocket.

use std::collections::HashMap;
use std::iter::successors;
use std::net::IpAddr;
use std::sync::Arc;

use super::ask::{Ask, ExceptionAsk, RouteAsk};
use super::egress::{EgressPolicy, Route, Scheme};
use super::grant::{AllowedSecret, Grant};
use super::host::Host;
use super::path::Readings;
use super::reason::Reason;
use super::secret::SecretId;
use compiled::{Allow, HostPattern, HostRules, Refuse, Specificity, Stage};
pub use once::Once;

mod check;
mod compiled;
mod hint;
mod once;
#[cfg(test)]
mod tests;

/// The rules of a policy and its grants, made ready to be matched.
#[derive(Debug)]
pub struct Rules {
    /// By name.
    names: HashMap<String, HostRules>,
    /// By the domain below which they are.
    below: HashMap<String, HostRules>,
    /// By address.
    addresses: HashMap<IpAddr, HostRules>,
    /// Secrets that may be sent.
    secrets: Vec<Exception>,
    /// Where the agent may ask for what was refused.
    ask: Option<String>,
}

/// What lets a secret pass that a request carries.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The secret, and where it may be sent.
    pub secret: AllowedSecret,
    /// The grant for one request that it comes from: it has to be claimed before anything leaves.
    pub once: Option<Arc<Once>>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it goes.
    pub target: Target<'a>,
    /// The method as it was sent; methods are case-sensitive (RFC 9110, section 9.1).
    pub method: &'a str,
    /// The path as it was sent, without the query; it starts with a slash (`*` for `OPTIONS *`).
    pub path: &'a str,
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: &'a Host,
    /// The TCP port.
    pub port: u16,
}

/// What allows a request.
#[derive(Clone, Debug)]
pub struct Permit {
    /// The route.
    pub route: Arc<Route>,
    /// The grant for one request that it comes from: it has to be claimed before anything leaves.
    pub once: Option<Arc<Once>>,
}

/// Why it was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// The cause.
    pub reason: Reason,
    /// The rule that decided, as `file:line`, where one did.
    pub rule: Option<String>,
    /// What would allow this very request, in a sentence with the manifest's own notation.
    pub hint: String,
    /// What the agent could ask for; none where no approval would help, or nobody is there to be asked.
    pub ask: Option<Box<Asking>>,
}

/// A request of the agent that an operator could approve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asking {
    /// Where it is sent, as `http://host:port`.
    pub url: String,
    /// The request.
    pub ask: Ask,
}

/// A policy or grant that can't be made into rules.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct InvalidPolicy {
    /// The rule, as its `source` says.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl Rules {
    /// Makes rules of a policy and the grants that are in force.
    ///
    /// # Errors
    ///
    /// A value that the manifest's own checks would have refused: a policy file is not trusted to be a rendered one.
    pub fn new(policy: &EgressPolicy, grants: &[Grant]) -> Result<Self, InvalidPolicy> {
        check::policy(policy)?;
        let ask = policy.ask.clone();
        let mut rules = Self {
            names: HashMap::new(),
            below: HashMap::new(),
            addresses: HashMap::new(),
            secrets: Vec::new(),
            ask,
        };
        for route in &policy.routes {
            rules.allow(route, None, policy)?;
        }
        for grant in grants {
            check::version("a grant", grant.version)?;
            let once = grant.once.then(|| Arc::new(Once::new(grant.until)));
            for route in &grant.routes {
                check::granted(route, policy)?;
                rules.allow(route, once.as_ref(), policy)?;
            }
            for secret in &grant.secrets {
                check::secret(secret)?;
                rules.secrets.push(Exception { secret: secret.clone(), once: once.clone() });
            }
        }
        // What passes without one for a single request doesn't use it up.
        rules.secrets.sort_by_key(|exception| exception.once.is_some());
        for deny in &policy.deny {
            let host = check::deny(deny)?;
            rules.named(host).denies.push(Refuse::new(deny)?);
        }
        Ok(rules)
    }

    /// Judges a request by what is allowed for longer than one request. The route that is given is the most specific one
    /// that allows it.
    ///
    /// # Errors
    ///
    /// The refusal, when no route allows it or a deny rule matches.
    pub fn judge(&self, request: &Request<'_>) -> Result<Arc<Route>, Denied> {
        let permit = self.find(request, |allow| allow.once.is_none())?;
        Ok(permit.route)
    }

    /// Judges a request that is about to be sent, and tells of the grant that it would use up.
    ///
    /// # Errors
    ///
    /// As [`Self::judge`].
    pub fn permit(&self, request: &Request<'_>) -> Result<Permit, Denied> {
        self.find(request, |allow| !allow.is_spent())
    }

    fn find(&self, request: &Request<'_>, counts: impl Fn(&Allow) -> bool) -> Result<Permit, Denied> {
        let readings = Readings::of(request.path);
        let mut best: Option<(Specificity, &Allow)> = None;
        let mut once = None;
        let mut nearest: Option<(Stage, &Allow)> = None;
        for rules in self.of(request.target.host) {
            if let Some(deny) = rules.denies.iter().find(|deny| deny.matches(request, readings.as_ref().ok()))
            {
                return Err(hint::denied(&deny.source));
            }
            if best.is_some() {
                // Only a deny rule of a wider domain may still have a say.
                continue;
            }
            let mut once_here = None;
            for allow in rules.routes.iter().filter(|allow| counts(allow)) {
                match allow.judge(request, readings.as_ref().ok()) {
                    Ok(found) => {
                        let best = if allow.once.is_some() { &mut once_here } else { &mut best };
                        if best.is_none_or(|(best, _)| found > best) {
                            *best = Some((found, allow));
                        }
                    }
                    Err(stage) => {
                        if nearest.is_none_or(|(nearest, _)| stage > nearest) {
                            nearest = Some((stage, allow));
                        }
                    }
                }
            }
            once = once.or(once_here);
        }
        if let Some((_, allow)) = best.or(once) {
            return Ok(Permit { route: Arc::clone(&allow.route), once: allow.once.clone() });
        }
        let nearest = nearest.map(|(stage, allow)| (stage, &*allow.route));
        let (denied, ask) = hint::refused(request, nearest, &readings);
        Err(self.with(denied, ask))
    }

    /// Judges a request under way that a grant for one request has let through: that grant is over, and only a deny rule
    /// may end the request.
    ///
    /// # Errors
    ///
    /// The refusal, when a deny rule matches.
    pub fn judge_claimed(&self, request: &Request<'_>) -> Result<(), Denied> {
        let readings = Readings::of(request.path);
        let mut denies = self.of(request.target.host).flat_map(|rules| &rules.denies);
        match denies.find(|deny| deny.matches(request, readings.as_ref().ok())) {
            Some(deny) => Err(hint::denied(&deny.source)),
            None => Ok(()),
        }
    }

    /// What lets a secret be sent to a host; where the route asks for it, for no other route goes by it.
    pub fn exception(&self, host: &Host, id: &SecretId) -> Option<&Exception> {
        let mut secrets = self.secrets.iter();
        secrets.find(|Exception { secret, once }| {
            secret.finding == *id
                && secret.host == host.to_string()
                && !once.as_ref().is_some_and(|once| once.is_spent())
        })
    }

    /// The refusal's word on how to ask for a secret to be sent, where somebody is there to be asked.
    pub fn ask_for(&self, host: &Host, id: &SecretId) -> Option<Box<Asking>> {
        let url = self.ask.clone()?;
        let ask = ExceptionAsk { repository: None, host: Some(host.to_string()), finding: id.to_string() };
        Some(Box::new(Asking { url, ask: Ask::Exception(ask) }))
    }

    /// Judges a connection before its first request: whether any request to this target could be allowed.
    ///
    /// # Errors
    ///
    /// The refusal that every request would get.
    pub fn judge_target(&self, target: &Target<'_>) -> Result<(), Denied> {
        let mut allowed = false;
        let mut nearest = None;
        for rules in self.of(target.host) {
            if let Some(deny) = rules.denies.iter().find(|deny| deny.matches_all(target)) {
                return Err(hint::denied(&deny.source));
            }
            let mut routes = rules.routes.iter().filter(|allow| !allow.is_spent());
            allowed |= routes.clone().any(|allow| allow.is_for(target));
            nearest = nearest.or_else(|| routes.next());
        }
        if allowed {
            return Ok(());
        }
        let (denied, ask) = hint::refused_target(target, nearest.map(|allow| &*allow.route));
        Err(self.with(denied, ask))
    }

    /// The refusal with what could be asked for, where somebody is there to be asked.
    fn with(&self, denied: Denied, ask: Option<RouteAsk>) -> Denied {
        let ask = self.ask.clone().zip(ask).map(|(url, ask)| Box::new(Asking { url, ask: Ask::Route(ask) }));
        Denied { ask, ..denied }
    }

    fn allow(
        &mut self,
        route: &Route,
        once: Option<&Arc<Once>>,
        policy: &EgressPolicy,
    ) -> Result<(), InvalidPolicy> {
        let host = check::route(route, policy)?;
        self.named(host).routes.push(Allow::new(route, once.cloned())?);
        Ok(())
    }

    fn named(&mut self, host: HostPattern) -> &mut HostRules {
        match host {
            HostPattern::Host(Host::Name(name)) => self.names.entry(name).or_default(),
            HostPattern::Host(Host::Address(address)) => self.addresses.entry(address).or_default(),
            HostPattern::Below(domain) => self.below.entry(domain).or_default(),
        }
    }

    /// The rules that name a host, the most specific ones first.
    fn of<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a HostRules> {
        let (exact, name) = match host {
            Host::Name(name) => (self.names.get(name), Some(name.as_str())),
            Host::Address(address) => (self.addresses.get(address), None),
        };
        let parent = |name: &str| name.find('.').map(|dot| dot + 1);
        let above = successors(name, move |name| parent(name).and_then(|start| name.get(start..))).skip(1);
        exact.into_iter().chain(above.filter_map(|domain| self.below.get(domain)))
    }
}
