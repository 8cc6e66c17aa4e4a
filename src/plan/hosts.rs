//! Merging `extra_hosts` into one map, as the container's `/etc/hosts` is one file.

use indexmap::IndexMap;

use crate::manifest::Map;
use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::source::Spanned;
use crate::manifest::values::{Address, Host};

/// The `extra_hosts` of one repository, with the repository's name.
pub(super) type Part<'a> = (&'a str, &'a Map<Host, Spanned<Address>>);

/// Merges parts. The same host with the same address is harmless; with another one it is an error that names both
/// repositories and both lines.
pub(super) fn merge<'a>(
    parts: impl IntoIterator<Item = Part<'a>>,
    errors: &mut Vec<Diagnostic>,
) -> IndexMap<String, String> {
    let mut merged: IndexMap<&str, (&str, &Spanned<Host>, &Spanned<Address>)> = IndexMap::new();
    for (repository, hosts) in parts {
        for (host, address) in hosts {
            let name = host.value.as_str();
            match merged.get(name) {
                Some((other, first, first_address)) if first_address.value != address.value => {
                    errors.push(
                        Diagnostic::new(
                            address.span,
                            format!(
                                "`{name}` is {} for the repository `{repository}` and {} for `{other}`",
                                address.value.as_str(),
                                first_address.value.as_str()
                            ),
                        )
                        .note(first.span, format!("the address for `{other}` is here"))
                        .hint("both are fetched by one container with one /etc/hosts: give the host one address"),
                    );
                }
                Some(_) => {}
                None => {
                    merged.insert(name, (repository, host, address));
                }
            }
        }
    }
    merged
        .into_iter()
        .map(|(name, (_, _, address))| (name.to_owned(), address.value.as_str().to_owned()))
        .collect()
}
