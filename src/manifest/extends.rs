//! `extends`: a bottle adds to another one.
//!
//! The rules, in full: mappings merge key by key; lists are the parent's items and then the child's; anything else is
//! the child's where it has one. A child can therefore add and replace, and a list only ever grows. Merging happens on
//! the tree, before types apply, so that a message about a merged value still names the line it was written on.

use super::diagnostic::{Diagnostic, suggest};
use super::node::{Kind, Node};
use super::source::{Span, Spanned, shown};

/// The bottles of all files, by the name under which they can be extended.
pub(super) struct Bottles {
    entries: Vec<(Spanned<String>, Node)>,
    /// Where a bottle is named that can't be there, which has been said.
    refused: Vec<Span>,
}

/// The most bottles that one may be built on.
const MAX_CHAIN: usize = 16;

/// The prefix of the names of bottles from the user's own configuration.
pub(super) const HOME: &str = "home/";

impl Bottles {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), refused: Vec::new() }
    }

    pub(super) fn add(&mut self, name: Spanned<String>, node: Node) {
        self.entries.push((name, node));
    }

    /// Notes that an error speaks of the bottle that is named here.
    pub(super) fn refuse(&mut self, span: Span) {
        self.refused.push(span);
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Spanned<String>, Node)> {
        self.entries.iter()
    }

    fn get(&self, name: &str) -> Option<&(Spanned<String>, Node)> {
        self.entries.iter().find(|(key, _)| key.value == name)
    }

    /// All bottles with what they inherit.
    pub(super) fn resolved(&self, errors: &mut Vec<Diagnostic>) -> Vec<(Spanned<String>, Node)> {
        let resolve = |(name, node): &(Spanned<String>, Node)| {
            let mut chain = vec![name.value.clone()];
            (name.clone(), self.resolve(node, &mut chain, errors))
        };
        self.entries.iter().map(resolve).collect()
    }

    fn resolve(&self, node: &Node, chain: &mut Vec<String>, errors: &mut Vec<Diagnostic>) -> Node {
        let own = chain.last().cloned().unwrap_or_default();
        let Some((parent, span)) = parent(&own, node) else { return node.clone() };
        let shown_chain = || {
            chain
                .iter()
                .chain([&parent])
                .map(|name| format!("`{}`", shown(name)))
                .collect::<Vec<_>>()
                .join(" → ")
        };
        if chain.len() > MAX_CHAIN {
            errors.push(
                Diagnostic::new(
                    span,
                    format!("the bottle `{}` extends more than {MAX_CHAIN} others", shown(&own)),
                )
                .hint("nobody can review that: merge some of them"),
            );
            return node.clone();
        }
        if chain.contains(&parent) {
            errors.push(
                Diagnostic::new(span, format!("bottles extend each other in a circle: {}", shown_chain()))
                    .hint("take one `extends` out of the circle"),
            );
            return node.clone();
        }
        let Some((_, parent_node)) = self.get(&parent) else {
            if self.refused.contains(&span) {
                return node.clone();
            }
            let message = if chain.len() > 1 {
                format!("there is no bottle `{}`, which is needed by {}", shown(&parent), shown_chain())
            } else {
                format!("there is no bottle `{}` to extend", shown(&parent))
            };
            let known = self.entries.iter().map(|(name, _)| name.value.as_str()).filter(|name| *name != own);
            errors.push(Diagnostic::new(span, message).hint(suggest(&parent, known)));
            return node.clone();
        };
        chain.push(parent);
        let inherited = self.resolve(parent_node, chain, errors);
        chain.pop();
        merge(&inherited, node)
    }
}

/// The bottle that a node extends, under its full name: within the user's own configuration, names are its own.
pub(super) fn parent(own: &str, node: &Node) -> Option<(String, Span)> {
    let Kind::Mapping(entries) = &node.kind else { return None };
    let (_, value) = entries.iter().find(|(key, _)| key.value == "extends")?;
    let Kind::Scalar { text, .. } = &value.kind else { return None };
    if value.is_null() {
        return None;
    }
    let name =
        if own.starts_with(HOME) && !text.starts_with(HOME) { format!("{HOME}{text}") } else { text.clone() };
    Some((name, value.span))
}

fn merge(parent: &Node, child: &Node) -> Node {
    let kind = match (&parent.kind, &child.kind) {
        (Kind::Mapping(inherited), Kind::Mapping(own)) => {
            let mut entries: Vec<(Spanned<String>, Node)> = Vec::with_capacity(inherited.len() + own.len());
            for (key, value) in inherited {
                match own.iter().find(|(own_key, _)| own_key.value == key.value) {
                    Some((own_key, own_value)) => entries.push((own_key.clone(), merge(value, own_value))),
                    None => entries.push((key.clone(), value.clone())),
                }
            }
            let is_new = |key: &str| !inherited.iter().any(|(inherited, _)| inherited.value == key);
            entries.extend(own.iter().filter(|(key, _)| is_new(&key.value)).cloned());
            Kind::Mapping(entries)
        }
        (Kind::Sequence(inherited), Kind::Sequence(own)) if !own.is_empty() => {
            Kind::Sequence(inherited.iter().chain(own).cloned().collect())
        }
        (_, own) => own.clone(),
    };
    Node { kind, span: child.span }
}
