//! What changes for requests that differ in nothing but their path.

use std::collections::BTreeMap;

use super::hosts::rank;
use crate::analysis::language::{Atom, Languages};
use crate::policy::egress::{Deny, OnSecret, Route};
use crate::policy::path::Pattern;

/// A pattern of a rule, or all paths where it stands for those without readings too.
#[derive(Debug)]
struct Known {
    text: String,
    pattern: Option<Pattern>,
    deny: bool,
}

/// All patterns of both sides, each once.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: Vec<Known>,
    ids: BTreeMap<(bool, String), usize>,
}

impl Patterns {
    /// The number of a pattern.
    pub(super) fn id(&mut self, text: &str, deny: bool) -> usize {
        *self.ids.entry((deny, text.to_owned())).or_insert_with(|| {
            let every = deny && text == EVERY;
            // Rules are made of them before; a pattern that is none matches nothing there either.
            let pattern = Pattern::parse(text).ok().filter(|_| !every);
            self.known.push(Known { text: text.to_owned(), pattern, deny });
            self.known.len() - 1
        })
    }

    fn text(&self, id: usize) -> &str {
        self.known.get(id).map_or("", |known| &known.text)
    }

    fn pattern(&self, id: usize) -> Option<&Pattern> {
        self.known.get(id).and_then(|known| known.pattern.as_ref())
    }

    /// The most bytes with which every path begins that a deny rule's pattern may match under a reading in which `%2F` is
    /// part of a segment; none where it can match no such path.
    fn opaque_prefix(&self, id: usize) -> Option<&str> {
        let known = self.known.get(id)?;
        let Some(pattern) = &known.pattern else { return Some("/") };
        let prefixes = pattern.forms().filter_map(|form| form.find(['*', '%']).and_then(|at| form.get(..at)));
        prefixes.min_by_key(|prefix| prefix.len())
    }
}

/// The pattern for all paths.
pub(super) const EVERY: &str = "/**";

/// A route that applies.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Allow {
    /// The route's place in its policy.
    pub(super) route: usize,
    /// Its patterns.
    pub(super) paths: Vec<usize>,
    /// Whether it names the method.
    pub(super) named: bool,
}

/// What applies to requests that differ in nothing but their path.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Applies {
    /// The routes in their order.
    pub(super) allows: Vec<Allow>,
    /// The deny rules: their places in the policy and their patterns.
    pub(super) denies: Vec<(usize, Vec<usize>)>,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) routes: &'a [Route],
    pub(super) denies: &'a [Deny],
    pub(super) applies: &'a Applies,
}

/// What a change is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Facet {
    /// It is allowed, and no route allowed it.
    Route,
    /// It is allowed, and a deny rule refused it.
    Deny,
    /// It is allowed where the path has several readings, which no one route allowed together.
    Readings,
    /// It carries this credential, and carried the other one or none.
    Credential(String, Option<String>),
    /// Its host may have any address.
    Private,
    /// Its body may have so many bytes, and could have so many.
    Upload(Option<u64>, Option<u64>),
    /// A secret in it meets this answer, and met the other one, which is stricter.
    Secret(OnSecret, OnSecret),
    /// This tool is left in its body, and was taken out.
    Tool(String),
}

/// The paths of a change.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Paths {
    /// Patterns of which one matches.
    pub(super) of: Vec<String>,
    /// Patterns of which none matches: there it was so before, or it is denied.
    pub(super) except: Vec<String>,
    /// One of the paths.
    pub(super) example: Option<String>,
    /// The rules that bring it, or whose end does.
    pub(super) rules: Vec<String>,
}

/// What `to` allows or does that `from` doesn't.
pub(super) fn compare(patterns: &Patterns, from: Side<'_>, to: Side<'_>) -> Vec<(Facet, Paths)> {
    if to.applies.allows.is_empty() {
        return Vec::new();
    }
    if is_the_same(from, to) {
        return Vec::new();
    }
    let mut languages = Languages::default();
    let mut ids: Vec<usize> = Vec::new();
    for side in [from, to] {
        ids.extend(side.applies.allows.iter().flat_map(|allow| &allow.paths));
        ids.extend(side.applies.denies.iter().flat_map(|(_, paths)| paths));
    }
    ids.sort_unstable();
    ids.dedup();
    for id in &ids {
        let language = languages.add();
        match patterns.known.get(*id) {
            Some(Known { pattern: Some(pattern), deny: false, .. }) => {
                pattern.forms().for_each(|form| languages.matching(language, form));
            }
            Some(Known { pattern: Some(pattern), deny: true, .. }) => {
                pattern.forms().for_each(|form| languages.covered(language, form));
            }
            Some(Known { text, pattern: None, deny: true }) if text == EVERY => {
                languages.beginning(language, "/");
            }
            _ => {}
        }
    }
    let opaque: Vec<(usize, usize)> = from
        .applies
        .denies
        .iter()
        .flat_map(|(_, paths)| paths)
        .filter_map(|id| Some((*id, patterns.opaque_prefix(*id)?)))
        .map(|(id, prefix)| {
            let language = languages.add();
            languages.beginning(language, prefix);
            (id, language)
        })
        .collect();
    match languages.atoms("/") {
        Some(atoms) => Comparison { patterns, from, to, ids, opaque, atoms }.changes(),
        None => undecided(patterns, to),
    }
}

/// Whether both sides say the same in the same order.
fn is_the_same(from: Side<'_>, to: Side<'_>) -> bool {
    let allows = |side: Side<'_>| {
        let allows = side.applies.allows.iter();
        let route = |allow: &Allow| {
            side.routes.get(allow.route).map(|route| Route { source: String::new(), ..route.clone() })
        };
        allows.map(|allow| (route(allow), allow.paths.clone(), allow.named)).collect::<Vec<_>>()
    };
    let denies = |side: Side<'_>| {
        let mut denies: Vec<usize> =
            side.applies.denies.iter().flat_map(|(_, paths)| paths.clone()).collect();
        denies.sort_unstable();
        denies
    };
    allows(from) == allows(to) && denies(from) == denies(to)
}

/// What can be said without looking at the patterns: that all of it may be new.
fn undecided(patterns: &Patterns, to: Side<'_>) -> Vec<(Facet, Paths)> {
    let mut changes = Vec::new();
    for allow in &to.applies.allows {
        let Some(route) = to.routes.get(allow.route) else { continue };
        let facets = [
            Some(Facet::Route),
            route.credential.clone().map(|credential| Facet::Credential(credential, None)),
            route.private.then_some(Facet::Private),
        ];
        let paths: Vec<String> = allow.paths.iter().map(|id| patterns.text(*id).to_owned()).collect();
        let rules = vec![route.source.clone()];
        let of = |facet| (facet, Paths { of: paths.clone(), rules: rules.clone(), ..Paths::default() });
        changes.extend(facets.into_iter().flatten().map(of));
    }
    changes
}

struct Comparison<'a> {
    patterns: &'a Patterns,
    from: Side<'a>,
    to: Side<'a>,
    /// The pattern of each language.
    ids: Vec<usize>,
    /// The deny patterns of `from` that may match a segment with `%2F` in it, with the language of where.
    opaque: Vec<(usize, usize)>,
    atoms: Vec<Atom>,
}

impl Comparison<'_> {
    fn changes(&self) -> Vec<(Facet, Paths)> {
        let mut changes = Vec::new();
        let is_new = |atom: &Atom| self.allowed(self.to, atom) && !self.by_route(self.from, atom);
        changes.extend(self.of_route(Facet::Route, &is_new));
        changes.extend(self.undenied());
        changes.extend(self.readings());
        let mut facets: Vec<Facet> = Vec::new();
        for atom in &self.atoms {
            facets.extend(self.facets(atom));
        }
        facets.sort();
        facets.dedup();
        for facet in facets {
            let has = |atom: &Atom| self.facets(atom).contains(&facet);
            changes.extend(self.of_route(facet.clone(), &has));
        }
        changes
    }

    fn matches(&self, atom: &Atom, id: usize) -> bool {
        let language = self.ids.binary_search(&id).ok();
        language.and_then(|language| atom.members.get(language)).copied().unwrap_or_default()
    }

    fn by_route(&self, side: Side<'_>, atom: &Atom) -> bool {
        side.applies.allows.iter().any(|allow| allow.paths.iter().any(|id| self.matches(atom, *id)))
    }

    fn denied(&self, side: Side<'_>, atom: &Atom) -> bool {
        side.applies.denies.iter().any(|(_, paths)| paths.iter().any(|id| self.matches(atom, *id)))
    }

    fn allowed(&self, side: Side<'_>, atom: &Atom) -> bool {
        self.by_route(side, atom) && !self.denied(side, atom)
    }

    /// The route that decides about a path with one reading.
    fn winner<'s>(&self, side: Side<'s>, atom: &Atom) -> Option<&'s Route> {
        if self.denied(side, atom) {
            return None;
        }
        let mut best = None;
        for allow in &side.applies.allows {
            let matching = allow.paths.iter().filter(|id| self.matches(atom, **id));
            let specificity =
                matching.filter_map(|id| self.patterns.pattern(*id)).map(Pattern::specificity).max();
            let (Some(specificity), Some(route)) = (specificity, side.routes.get(allow.route)) else {
                continue;
            };
            let found = (rank(&route.host), specificity, allow.named);
            if best.is_none_or(|(best, _)| found > best) {
                best = Some((found, route));
            }
        }
        best.map(|(_, route)| route)
    }

    /// What is done with a request that wasn't done before.
    fn facets(&self, atom: &Atom) -> Vec<Facet> {
        let Some(now) = self.winner(self.to, atom) else { return Vec::new() };
        let before = self.winner(self.from, atom);
        let mut facets = Vec::new();
        let carried = before.and_then(|route| route.credential.clone());
        if let Some(credential) = &now.credential
            && carried.as_ref() != Some(credential)
        {
            facets.push(Facet::Credential(credential.clone(), carried));
        }
        if now.private && !before.is_some_and(|route| route.private) {
            facets.push(Facet::Private);
        }
        if let Some(before) = before {
            let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
            if most(now.max_upload_bytes) > most(before.max_upload_bytes) {
                facets.push(Facet::Upload(now.max_upload_bytes, before.max_upload_bytes));
            }
            if now.on_secret > before.on_secret {
                facets.push(Facet::Secret(now.on_secret, before.on_secret));
            }
            let left = before.strip_tools.iter().filter(|tool| !now.strip_tools.contains(tool));
            facets.extend(left.cloned().map(Facet::Tool));
        }
        facets
    }

    /// The patterns of routes of `to` that match the wanted paths, as few as it takes, and those that have to be taken out.
    fn of_route(&self, facet: Facet, wanted: &dyn Fn(&Atom) -> bool) -> Option<(Facet, Paths)> {
        let (is, not): (Vec<&Atom>, Vec<&Atom>) = self.atoms.iter().partition(|atom| wanted(atom));
        let winners = !matches!(facet, Facet::Route | Facet::Deny | Facet::Readings);
        let routes: Vec<&Allow> = self
            .to
            .applies
            .allows
            .iter()
            .filter(|allow| {
                let decides = |atom: &&&Atom| {
                    let matches = allow.paths.iter().any(|id| self.matches(atom, *id));
                    matches
                        && (!winners
                            || self.winner(self.to, atom).map(|route| &route.source) == self.source(allow))
                };
                is.iter().any(|atom| decides(&atom))
            })
            .collect();
        let candidates: Vec<usize> = unique(routes.iter().flat_map(|allow| allow.paths.iter().copied()));
        let kept = self.cover(&candidates, &is);
        if kept.is_empty() {
            return None;
        }
        let rules =
            || -> Vec<String> { routes.iter().filter_map(|allow| self.source(allow).cloned()).collect() };
        let example = is.iter().map(|atom| atom.example.clone()).min_by_key(String::len);
        // Patterns that match nothing else say it best.
        let of_routes = [self.to, self.from]
            .into_iter()
            .flat_map(|side| &side.applies.allows)
            .flat_map(|allow| &allow.paths);
        let pure: Vec<usize> = unique(of_routes.copied())
            .into_iter()
            .filter(|id| !not.iter().any(|atom| self.matches(atom, *id)))
            .collect();
        let exact = self.cover(&pure, &is);
        if is.iter().all(|atom| exact.iter().any(|id| self.matches(atom, *id))) {
            let paths = self.texts(&exact);
            return Some((facet, Paths { of: paths, except: Vec::new(), example, rules: rules() }));
        }
        let inside: Vec<&Atom> =
            not.into_iter().filter(|atom| kept.iter().any(|id| self.matches(atom, *id))).collect();
        let known = |side: Side<'_>| {
            let paths = side.applies.allows.iter().flat_map(|allow| allow.paths.clone());
            let denied = side.applies.denies.iter().flat_map(|(_, paths)| paths.clone());
            paths.chain(denied).collect::<Vec<_>>()
        };
        // Only what takes away nothing that is wanted.
        let harmless = unique(known(self.from).into_iter().chain(known(self.to)))
            .into_iter()
            .filter(|id| !is.iter().any(|atom| self.matches(atom, *id)));
        let except = self.cover(&harmless.collect::<Vec<_>>(), &inside);
        let (paths, except) = (self.texts(&kept), self.texts(&except));
        Some((facet, Paths { of: paths, except, example, rules: rules() }))
    }

    fn source(&self, allow: &Allow) -> Option<&String> {
        self.to.routes.get(allow.route).map(|route| &route.source)
    }

    /// What a deny rule refused that is gone or became narrower.
    fn undenied(&self) -> Option<(Facet, Paths)> {
        let free = |atom: &Atom| self.allowed(self.to, atom) && self.by_route(self.from, atom);
        let plain = |id: usize| self.atoms.iter().any(|atom| free(atom) && self.matches(atom, id));
        // A reading in which `%2F` is part of a segment is refused by patterns that match no reading of the routes. Unless
        // all that such a pattern matches is denied still.
        let hidden = |id: usize| {
            let wider = self.atoms.iter().any(|atom| self.matches(atom, id) && !self.denied(self.to, atom));
            let prefix = self.opaque.iter().find(|(known, _)| *known == id);
            wider
                && prefix.is_some_and(|(_, language)| {
                    self.atoms
                        .iter()
                        .any(|atom| atom.members.get(*language).copied().unwrap_or_default() && free(atom))
                })
        };
        let mut paths: Vec<usize> = Vec::new();
        let mut rules = Vec::new();
        for (rule, ids) in &self.from.applies.denies {
            let gone: Vec<usize> = ids.iter().copied().filter(|id| plain(*id) || hidden(*id)).collect();
            if !gone.is_empty() {
                rules.extend(self.from.denies.get(*rule).map(|deny| deny.source.clone()));
            }
            paths.extend(gone);
        }
        let paths = unique(paths.into_iter());
        let example =
            self.atoms.iter().filter(|atom| free(atom) && paths.iter().any(|id| self.matches(atom, *id)));
        (!paths.is_empty()).then(|| {
            (
                Facet::Deny,
                Paths {
                    of: self.texts(&paths),
                    except: Vec::new(),
                    example: example.map(|atom| atom.example.clone()).min_by_key(String::len),
                    rules,
                },
            )
        })
    }

    /// Where a route allows readings together that several routes allowed apart.
    fn readings(&self) -> Option<(Facet, Paths)> {
        let mut paths: Vec<usize> = Vec::new();
        let mut rules = Vec::new();
        for allow in &self.to.applies.allows {
            let within = |allow: &Allow, atom: &Atom| allow.paths.iter().any(|id| self.matches(atom, *id));
            let both: Vec<&Atom> = self
                .atoms
                .iter()
                .filter(|atom| {
                    within(allow, atom) && self.allowed(self.to, atom) && self.allowed(self.from, atom)
                })
                .collect();
            let by_one = self.from.applies.allows.iter().any(|one| both.iter().all(|atom| within(one, atom)));
            if !both.is_empty() && !by_one {
                paths.extend(&allow.paths);
                rules.extend(self.source(allow).cloned());
            }
        }
        let paths = unique(paths.into_iter());
        (!paths.is_empty()).then(|| {
            (Facet::Readings, Paths { of: self.texts(&paths), except: Vec::new(), example: None, rules })
        })
    }

    /// As few of the patterns as it takes to match all of the atoms that any of them matches.
    fn cover(&self, candidates: &[usize], atoms: &[&Atom]) -> Vec<usize> {
        let mut left: Vec<&&Atom> =
            atoms.iter().filter(|atom| candidates.iter().any(|id| self.matches(atom, *id))).collect();
        let mut kept = Vec::new();
        while !left.is_empty() {
            let count = |id: &usize| left.iter().filter(|atom| self.matches(atom, *id)).count();
            // The first of the best ones, so that the order of the manifest is kept.
            let Some(best) = candidates.iter().rev().max_by_key(|id| count(id)).copied() else { break };
            left.retain(|atom| !self.matches(atom, best));
            kept.push(best);
        }
        kept.sort_unstable();
        kept
    }

    fn texts(&self, ids: &[usize]) -> Vec<String> {
        let mut texts: Vec<String> = ids.iter().map(|id| self.patterns.text(*id).to_owned()).collect();
        texts.sort();
        texts.dedup();
        texts
    }
}

fn unique(ids: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut ids: Vec<usize> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
