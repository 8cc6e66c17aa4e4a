//! What changes of what egress allows: by host, port, method and path.
//!
//! The rules of both sides divide all requests into cells: a host's share (see [`super::hosts`]), a scheme and port, a
//! method, and whether it is for a WebSocket. To all requests of one cell the same rules apply but for their path, and
//! [`super::paths`] compares those. Cells with the same outcome are put together again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::hosts;
use super::paths::{Allow, Applies, EVERY, Facet, Paths, Patterns, Side, compare};
use crate::policy::egress::{Deny, EgressPolicy, Route, Scheme};

/// The method that stands for all of them.
const ANY: &str = "ANY";

/// Requests that a change is about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Region {
    /// The host, or `*.` and a domain.
    pub host: String,
    /// Hosts below the domain for which it isn't so.
    pub except_hosts: Vec<String>,
    /// The scheme.
    pub scheme: Scheme,
    /// The ports.
    pub ports: Vec<u16>,
    /// The methods; `ANY` stands for all but those below.
    pub methods: Vec<String>,
    /// Methods for which it isn't so, where all others are meant.
    pub except_methods: Vec<String>,
    /// Whether WebSockets are meant.
    pub websocket: Websocket,
    /// Patterns of paths of which one matches.
    pub paths: Vec<String>,
    /// Patterns of paths for which it isn't so.
    pub except_paths: Vec<String>,
    /// A path of those.
    pub example: Option<String>,
    /// The rules that bring it, as `file:line`.
    pub rules: Vec<String>,
}

/// Whether WebSockets are meant.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Websocket {
    /// Not them.
    No,
    /// They too.
    Also,
    /// Only them.
    Only,
}

/// A method, as far as rules tell it from others.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Method {
    /// One that a rule names.
    Named(String),
    /// That one in other letters: routes see another method, and deny rules the same.
    Cased(String),
    /// One that no rule names.
    Other,
}

impl Method {
    fn is_allowed(&self, route: &Route) -> Option<bool> {
        let named = matches!(self, Self::Named(name) if route.methods.contains(name));
        (named || route.methods.iter().any(|method| method == ANY)).then_some(named)
    }

    fn is_denied(&self, deny: &Deny) -> bool {
        let same = |method: &String| match self {
            Self::Named(name) | Self::Cased(name) => method.eq_ignore_ascii_case(name),
            Self::Other => false,
        };
        deny.methods.is_empty() || deny.methods.iter().any(|method| method == ANY || same(method))
    }
}

/// A policy that is compared.
struct Policy<'a> {
    rules: &'a EgressPolicy,
    /// The patterns of each route and deny rule.
    routes: Vec<Vec<usize>>,
    denies: Vec<Vec<usize>>,
}

impl<'a> Policy<'a> {
    fn new(policy: &'a EgressPolicy, patterns: &mut Patterns) -> Self {
        let mut ids = |texts: &[String], deny: bool| -> Vec<usize> {
            if deny && (texts.is_empty() || texts.iter().any(|text| text == EVERY)) {
                return vec![patterns.id(EVERY, true)];
            }
            texts.iter().map(|text| patterns.id(text, deny)).collect()
        };
        let routes = policy.routes.iter().map(|route| ids(&route.paths, false)).collect();
        let denies = policy.deny.iter().map(|deny| ids(&deny.paths, true)).collect();
        Self { rules: policy, routes, denies }
    }

    /// The routes and deny rules for a host's share, by their places.
    fn of_host(&self, host: &str) -> (Vec<usize>, Vec<usize>) {
        let places = |hosts: &mut dyn Iterator<Item = &str>| {
            hosts.enumerate().filter(|(_, wide)| hosts::covers(wide, host)).map(|(place, _)| place).collect()
        };
        (
            places(&mut self.rules.routes.iter().map(|route| route.host.as_str())),
            places(&mut self.rules.deny.iter().map(|deny| deny.host.as_str())),
        )
    }

    fn side<'s>(&'s self, applies: &'s Applies) -> Side<'s> {
        Side { routes: &self.rules.routes, denies: &self.rules.deny, applies }
    }

    fn applies(&self, of_host: &(Vec<usize>, Vec<usize>), cell: &Cell<'_>) -> Applies {
        let Cell { scheme, port, method, websocket } = *cell;
        let allow = |place: &usize| {
            let route = self.rules.routes.get(*place)?;
            let fits =
                route.scheme == scheme && route.ports.contains(&port) && (!websocket || route.websocket);
            let named = fits.then(|| method.is_allowed(route)).flatten()?;
            Some(Allow { route: *place, paths: self.routes.get(*place)?.clone(), named })
        };
        let refuse = |place: &usize| {
            let deny = self.rules.deny.get(*place)?;
            let fits = (deny.ports.is_empty() || deny.ports.contains(&port)) && method.is_denied(deny);
            fits.then(|| Some((*place, self.denies.get(*place)?.clone())))?
        };
        let (routes, denies) = of_host;
        Applies {
            allows: routes.iter().filter_map(allow).collect(),
            denies: denies.iter().filter_map(refuse).collect(),
        }
    }
}

/// What requests have in common but their host.
#[derive(Clone, Copy)]
struct Cell<'a> {
    scheme: Scheme,
    port: u16,
    method: &'a Method,
    websocket: bool,
}

/// By host and port: the methods and whether they are for a WebSocket.
type Cells = BTreeMap<String, BTreeMap<u16, BTreeSet<(Method, bool)>>>;

/// What all requests that are put together have in common.
type Outcome = (Facet, Paths);

/// What `to` allows or does that `from` doesn't.
pub(super) fn changes(from: &EgressPolicy, to: &EgressPolicy) -> Vec<(Facet, Region)> {
    let mut patterns = Patterns::default();
    let (from, to) = (Policy::new(from, &mut patterns), Policy::new(to, &mut patterns));
    let methods = methods(&from, &to);
    // By outcome and scheme.
    let mut found: BTreeMap<(Outcome, bool), Cells> = BTreeMap::new();
    let mut known: HashMap<(Applies, Applies), Vec<Outcome>> = HashMap::new();
    let all = hosts_of(&from, &to);
    for host in &all {
        let (old, new) = (from.of_host(host), to.of_host(host));
        let places: BTreeSet<(bool, u16)> = new
            .0
            .iter()
            .filter_map(|place| to.rules.routes.get(*place))
            .flat_map(|route| route.ports.iter().map(|port| (route.scheme == Scheme::Https, *port)))
            .collect();
        for (https, port) in places {
            let scheme = if https { Scheme::Https } else { Scheme::Http };
            for (method, websocket) in methods.iter().flat_map(|method| [(method, false), (method, true)]) {
                let cell = Cell { scheme, port, method, websocket };
                let sides = (from.applies(&old, &cell), to.applies(&new, &cell));
                let outcomes = known
                    .entry(sides)
                    .or_insert_with_key(|(old, new)| compare(&patterns, from.side(old), to.side(new)));
                for outcome in outcomes {
                    let hosts = found.entry((outcome.clone(), https)).or_default();
                    let ports = hosts.entry(host.clone()).or_default();
                    ports.entry(port).or_default().insert((method.clone(), websocket));
                }
            }
        }
    }
    let mut changes = Vec::new();
    for (((facet, paths), https), hosts) in found {
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        changes.extend(
            regions(&all, &methods, scheme, &paths, hosts).into_iter().map(|region| (facet.clone(), region)),
        );
    }
    changes.sort_by(|(_, one), (_, two)| (&one.host, &one.ports).cmp(&(&two.host, &two.ports)));
    changes
}

fn hosts_of(from: &Policy<'_>, to: &Policy<'_>) -> Vec<String> {
    let policies = [from, to].into_iter().map(|policy| policy.rules);
    let hosts = policies.flat_map(|policy| {
        let routes = policy.routes.iter().map(|route| &route.host);
        routes.chain(policy.deny.iter().map(|deny| &deny.host))
    });
    hosts.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn methods(from: &Policy<'_>, to: &Policy<'_>) -> Vec<Method> {
    let policies = [from, to].into_iter().map(|policy| policy.rules);
    let names: BTreeSet<&String> = policies
        .flat_map(|policy| {
            let routes = policy.routes.iter().flat_map(|route| &route.methods);
            routes.chain(policy.deny.iter().flat_map(|deny| &deny.methods))
        })
        .filter(|method| *method != ANY)
        .collect();
    let cased = names.iter().filter(|name| name.contains(|c: char| c.is_ascii_alphabetic()));
    let cased: Vec<Method> = cased.map(|name| Method::Cased((*name).clone())).collect();
    names.iter().map(|name| Method::Named((*name).clone())).chain(cased).chain([Method::Other]).collect()
}

/// Puts together what has the same outcome: first ports with the same methods, then hosts with the same ports.
fn regions(all: &[String], every: &[Method], scheme: Scheme, paths: &Paths, hosts: Cells) -> Vec<Region> {
    let mut of_host: BTreeMap<String, Vec<Region>> = BTreeMap::new();
    for (host, ports) in hosts {
        let mut together: BTreeMap<(BTreeSet<Method>, Websocket), Vec<u16>> = BTreeMap::new();
        for (port, methods) in ports {
            let with = |websocket: bool| -> BTreeSet<Method> {
                methods.iter().filter(|(_, is)| *is == websocket).map(|(method, _)| method.clone()).collect()
            };
            let (plain, upgraded) = (with(false), with(true));
            let both: BTreeSet<Method> = plain.intersection(&upgraded).cloned().collect();
            let parts = [
                (plain.difference(&both).cloned().collect(), Websocket::No),
                (upgraded.difference(&both).cloned().collect(), Websocket::Only),
                (both, Websocket::Also),
            ];
            for (methods, websocket) in parts.into_iter().filter(|(methods, _)| !methods.is_empty()) {
                together.entry((methods, websocket)).or_default().push(port);
            }
        }
        let regions: Vec<Region> = together
            .into_iter()
            .map(|((methods, websocket), ports)| {
                let (methods, except_methods) = written(&methods, every);
                Region {
                    host: host.clone(),
                    except_hosts: Vec::new(),
                    scheme,
                    ports,
                    methods,
                    except_methods,
                    websocket,
                    paths: paths.of.clone(),
                    except_paths: paths.except.clone(),
                    example: paths.example.clone(),
                    rules: paths.rules.clone(),
                }
            })
            .collect();
        of_host.insert(host, regions);
    }
    let same = |one: &Region, two: &Region| Region { host: one.host.clone(), ..two.clone() } == *one;
    let mut regions = Vec::new();
    for (host, own) in &of_host {
        for region in own {
            let has = |other: &String| {
                of_host.get(other).is_some_and(|regions| regions.iter().any(|two| same(region, two)))
            };
            // The nearest domain above it speaks for it, if it says the same.
            let above = all.iter().filter(|wide| *wide != host && hosts::covers(wide, host));
            if above.max_by_key(|wide| hosts::rank(wide)).is_some_and(has) {
                continue;
            }
            // Below it, what doesn't: not what lies below that again, unless it does.
            let below = all.iter().filter(|narrow| *narrow != host && hosts::covers(host, narrow));
            let except_hosts = below.filter(|narrow| !has(narrow)).cloned().collect();
            regions.push(Region { except_hosts, ..region.clone() });
        }
    }
    regions
}

/// Methods as a rule writes them, and those that are taken out.
fn written(methods: &BTreeSet<Method>, every: &[Method]) -> (Vec<String>, Vec<String>) {
    let names = |wanted: &dyn Fn(&Method) -> bool| -> Vec<String> {
        let named = every.iter().filter(|method| wanted(method));
        let texts: BTreeSet<String> = named
            .map(|method| match method {
                Method::Named(name) => name.clone(),
                // As an agent may spell it.
                Method::Cased(name) => name.to_ascii_lowercase(),
                Method::Other => "others".to_owned(),
            })
            .collect();
        texts.into_iter().collect()
    };
    if methods.contains(&Method::Other) {
        (vec![ANY.to_owned()], names(&|method| !methods.contains(method)))
    } else {
        (names(&|method| methods.contains(method)), Vec::new())
    }
}
