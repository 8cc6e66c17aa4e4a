//! Rules in the form in which they are matched.

use std::sync::Arc;

use super::super::egress::{Deny, Route};
use super::super::host::Host;
use super::super::path::{Pattern, Readings};
use super::check::{ANY, is_token};
use super::{InvalidPolicy, Once, Request, Target};

/// The host of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum HostPattern {
    /// This host.
    Host(Host),
    /// Every name with one or more labels before this domain.
    Below(String),
}

/// The rules of one host, in the order of the manifest and then of the grants.
#[derive(Debug, Default)]
pub(super) struct HostRules {
    pub(super) routes: Vec<Allow>,
    pub(super) denies: Vec<Refuse>,
}

/// How far a route went along with a request that it doesn't allow: what it refuses first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stage {
    Port,
    Method,
    Path,
    Upgrade,
}

/// How specific a route is for a request, its host aside: the path, and then whether it names the method.
pub(super) type Specificity = ((usize, bool), bool);

/// A route.
#[derive(Debug)]
pub(super) struct Allow {
    pub(super) route: Arc<Route>,
    /// The grant for one request that it comes from.
    pub(super) once: Option<Arc<Once>>,
    any: bool,
    paths: Vec<Pattern>,
}

impl Allow {
    pub(super) fn new(route: &Route, once: Option<Arc<Once>>) -> Result<Self, InvalidPolicy> {
        let paths = patterns(&route.paths, &route.source)?;
        let any = route.methods.iter().any(|method| method == ANY);
        Ok(Self { route: Arc::new(route.clone()), once, any, paths })
    }

    /// Whether it was for one request, which there was.
    pub(super) fn is_spent(&self) -> bool {
        self.once.as_ref().is_some_and(|once| once.is_spent())
    }

    /// Whether it is for this scheme and port; its host is known to be the target's.
    pub(super) fn is_for(&self, target: &Target<'_>) -> bool {
        self.route.scheme == target.scheme && self.route.ports.contains(&target.port)
    }

    /// Judges a request to its host. A path without readings is never allowed.
    pub(super) fn judge(
        &self,
        request: &Request<'_>,
        readings: Option<&Readings<'_>>,
    ) -> Result<Specificity, Stage> {
        if !self.is_for(&request.target) {
            return Err(Stage::Port);
        }
        let named = self.route.methods.iter().any(|method| method == request.method);
        let allowed = named || (self.any && may_be_any(request.method));
        if !allowed {
            return Err(Stage::Method);
        }
        let path = readings.and_then(|readings| self.path(readings)).ok_or(Stage::Path)?;
        if request.websocket && !self.route.websocket {
            return Err(Stage::Upgrade);
        }
        Ok((path, named))
    }

    /// How specifically the readings are matched; `None` where one isn't.
    fn path(&self, readings: &Readings<'_>) -> Option<(usize, bool)> {
        let mut least = None;
        for reading in readings.each() {
            let matching = self.paths.iter().filter(|pattern| pattern.matches(reading));
            let found = matching.map(Pattern::specificity).max()?;
            least = Some(least.map_or(found, |least: (usize, bool)| least.min(found)));
        }
        least
    }
}

/// What `ANY` stands for: every method but CONNECT, since egress opens no tunnel.
fn may_be_any(method: &str) -> bool {
    is_token(method) && !method.eq_ignore_ascii_case("CONNECT")
}

/// A deny rule.
#[derive(Debug)]
pub(super) struct Refuse {
    pub(super) source: String,
    /// Empty for all of them.
    ports: Vec<u16>,
    /// Empty for all of them.
    methods: Vec<String>,
    /// Empty for all of them.
    paths: Vec<Pattern>,
}

impl Refuse {
    pub(super) fn new(deny: &Deny) -> Result<Self, InvalidPolicy> {
        let Deny { source, host: _, ports, methods, paths } = deny;
        let methods = if methods.iter().any(|method| method == ANY) { Vec::new() } else { methods.clone() };
        let mut patterns = patterns(paths, source)?;
        // A rule for every path refuses also what has no readings.
        if paths.iter().any(|path| path == "/**") {
            patterns.clear();
        }
        Ok(Self { source: source.clone(), ports: ports.clone(), methods, paths: patterns })
    }

    /// Whether it refuses a request to its host. A method is compared without regard to case: an origin may do so too.
    pub(super) fn matches(&self, request: &Request<'_>, readings: Option<&Readings<'_>>) -> bool {
        let method = |method: &String| method.eq_ignore_ascii_case(request.method);
        let path = |readings: &Readings<'_>| {
            readings.each_and_opaque().any(|reading| self.paths.iter().any(|path| path.covers(reading)))
        };
        self.is_for(&request.target)
            && (self.methods.is_empty() || self.methods.iter().any(method))
            && (self.paths.is_empty() || readings.is_some_and(path))
    }

    /// Whether it refuses every request to this target.
    pub(super) fn matches_all(&self, target: &Target<'_>) -> bool {
        self.is_for(target) && self.methods.is_empty() && self.paths.is_empty()
    }

    fn is_for(&self, target: &Target<'_>) -> bool {
        self.ports.is_empty() || self.ports.contains(&target.port)
    }
}

fn patterns(paths: &[String], source: &str) -> Result<Vec<Pattern>, InvalidPolicy> {
    let read = |path: &String| {
        Pattern::parse(path)
            .map_err(|problem| super::check::invalid(source, format!("`{}`: {problem}", path.escape_debug())))
    };
    paths.iter().map(read).collect()
}
