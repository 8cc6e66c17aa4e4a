//! A registry's URL, made a route that allows no more than reading below it.

use crate::manifest::values::{HostPattern, RoutePath};
use crate::policy::egress::{OnSecret, Route, Scheme};
use crate::policy::host::{Authority, Host};

/// A registry. What a URL has of users, passwords and queries is not here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Registry {
    scheme: Scheme,
    host: HostPattern,
    port: u16,
    /// Where it starts: a path with a slash at both ends.
    prefix: String,
    /// Whether something that may be secret was left out.
    pub(crate) dropped: bool,
}

/// Reads the URL of a registry; nothing where no route leads there.
pub(crate) fn registry(url: &str) -> Option<Registry> {
    let url = url.trim().strip_prefix("sparse+").unwrap_or(url.trim());
    let (scheme, rest) = match url.split_once("://")? {
        ("https", rest) => (Scheme::Https, rest),
        ("http", rest) => (Scheme::Http, rest),
        _ => return None,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, authority) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (path, query) = path.split_once(['?', '#']).map_or((path, None), |(path, query)| (path, Some(query)));
    let Authority { host, port } = Authority::parse(authority).ok()?;
    let host = match host {
        Host::Name(name) => name,
        Host::Address(address) => address.to_string(),
    };
    let path = path.trim_matches('/');
    let prefix = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
    // A wildcard in it would be one of the route's.
    if prefix.contains('*') || prefix.parse::<RoutePath>().is_err() {
        return None;
    }
    let usual = if scheme == Scheme::Https { 443 } else { 80 };
    Some(Registry {
        scheme,
        host: host.parse().ok()?,
        port: port.unwrap_or(usual),
        prefix,
        dropped: user.is_some() || query.is_some(),
    })
}

impl Registry {
    /// The host.
    pub(crate) fn host(&self) -> &str {
        self.host.as_str()
    }

    /// The same without the last part of its path, where that is only the index and the files are beside it.
    #[must_use]
    pub(crate) fn without_last(mut self, names: &[&str]) -> Self {
        let inner = self.prefix.trim_matches('/');
        let (parent, last) = inner.rsplit_once('/').unwrap_or(("", inner));
        if names.contains(&last) {
            self.prefix = if parent.is_empty() { "/".to_owned() } else { format!("/{parent}/") };
        }
        self
    }

    /// The route to it: GET and HEAD, below its path.
    pub(crate) fn route(&self) -> Route {
        Route {
            source: String::new(),
            host: self.host.as_str().to_owned(),
            scheme: self.scheme,
            ports: vec![self.port],
            methods: ["GET", "HEAD"].map(str::to_owned).to_vec(),
            paths: vec![format!("{}**", self.prefix)],
            websocket: false,
            private: false,
            credential: None,
            on_secret: OnSecret::default(),
            max_upload_bytes: None,
            strip_tools: Vec::new(),
        }
    }
}
