//! Where a connection or a request goes, and whether the names for it agree.

use http::HeaderMap;
use http::header::HOST;
use http::uri::PathAndQuery;

use crate::policy::egress::Scheme;
use crate::policy::host::{Authority, Host};
use crate::policy::reason::Reason;
use crate::policy::rules;
use crate::sidecar::egress::refusal::Refusal;

/// The place that a request goes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// The scheme.
    pub(super) scheme: Scheme,
    /// The host.
    pub(super) host: Host,
    /// The TCP port.
    pub(super) port: u16,
    /// The authority as clients usually write it: without the scheme's default port.
    usual: String,
}

/// The port that a URL without one means.
fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
    }
}

impl Target {
    /// A place.
    pub(super) fn new(scheme: Scheme, host: Host, port: u16) -> Self {
        let usual = if port == default_port(scheme) { host.to_string() } else { format!("{host}:{port}") };
        Self { scheme, host, port, usual }
    }

    /// Reads the target of CONNECT: a host and a port, nothing else (RFC 9110, section 9.3.6).
    pub(super) fn connect(text: &str) -> Result<Self, Refusal> {
        match authority(text)? {
            (host, Some(port)) => Ok(Self::new(Scheme::Https, host, port)),
            (_, None) => {
                Err(Refusal::new(Reason::RequestMalformed, "the target of CONNECT is a host and a port"))
            }
        }
    }

    /// Reads the authority of a URL.
    pub(super) fn url(scheme: Scheme, text: &str) -> Result<Self, Refusal> {
        let (host, port) = authority(text)?;
        Ok(Self::new(scheme, host, port.unwrap_or_else(|| default_port(scheme))))
    }

    /// Whether an authority names this place. An omitted port means the scheme's default one.
    pub(super) fn is(&self, text: &str) -> bool {
        text.eq_ignore_ascii_case(&self.usual)
            || authority(text).is_ok_and(|(host, port)| {
                host == self.host && port.unwrap_or_else(|| default_port(self.scheme)) == self.port
            })
    }

    /// The URL of a path here.
    pub(super) fn url_of(&self, path: &PathAndQuery) -> String {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        format!("{scheme}://{}{path}", self.usual)
    }

    /// The same for the rules.
    pub(super) fn as_rules(&self) -> rules::Target<'_> {
        rules::Target { scheme: self.scheme, host: &self.host, port: self.port }
    }

    /// Checks a request's Host fields: at most one, and it names this place.
    pub(super) fn check_host(&self, headers: &HeaderMap, required: bool) -> Result<(), Refusal> {
        match single_host(headers)? {
            Some(host) if self.is(host) => Ok(()),
            Some(_) => Err(Refusal::new(
                Reason::HostMismatch,
                format!("the Host header names another place than `{}`", self.usual),
            )),
            None if required => Err(Refusal::new(Reason::RequestMalformed, "the request has no Host header")),
            None => Ok(()),
        }
    }

    /// Checks the Host field of CONNECT, where many clients leave out the port.
    pub(super) fn check_connect_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let agrees = single_host(headers)?.is_none_or(|text| {
            authority(text)
                .is_ok_and(|(host, port)| host == self.host && port.is_none_or(|port| port == self.port))
        });
        if agrees {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::HostMismatch,
            "the Host header of CONNECT names another place than its target",
        ))
    }
}

fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::new(Reason::RequestMalformed, "the request has more than one Host header"));
    }
    let text = host.map(http::HeaderValue::to_str).transpose();
    text.map_err(|_| Refusal::new(Reason::RequestMalformed, "the Host header is no host"))
}

/// Reads `host[:port]`.
fn authority(text: &str) -> Result<(Host, Option<u16>), Refusal> {
    let Authority { host, port } =
        Authority::parse(text).map_err(|invalid| Refusal::new(invalid.reason(), invalid.to_string()))?;
    Ok((host, port))
}

/// The scheme, the authority and the rest of a request target in absolute form (RFC 9112, section 3.2.2).
pub(super) fn absolute(target: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    Some((scheme, authority, path))
}

/// Makes a path with its query of the text that a request names, without a change: what is judged is what leaves.
pub(super) fn path(text: &str) -> Result<PathAndQuery, Refusal> {
    let malformed = |what| Refusal::new(Reason::RequestMalformed, what);
    // The empty path of an absolute form is the root (RFC 9110, section 4.2.3).
    let rooted = match text.as_bytes().first() {
        Some(b'/') => text.to_owned(),
        None => "/".to_owned(),
        Some(b'?') => format!("/{text}"),
        Some(_) => return Err(malformed("the request target is neither a path nor a URL")),
    };
    let length = rooted.len();
    let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(rooted))
        .map_err(|_| malformed("the request target has characters that no URL has"))?;
    if path.as_str().len() == length {
        return Ok(path);
    }
    Err(malformed("the request target has a fragment"))
}

/// The path with its query of a request that was read.
pub(super) fn path_of(uri: &http::Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::{Target, absolute, path};
    use crate::policy::egress::Scheme;
    use crate::policy::host::Host;
    use crate::policy::reason::Reason;

    fn target(port: u16) -> Target {
        Target::new(Scheme::Https, Host::Name("example.org".into()), port)
    }

    fn headers(hosts: &[&'static str]) -> http::HeaderMap {
        hosts.iter().map(|host| (http::header::HOST, http::HeaderValue::from_static(host))).fold(
            http::HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn the_default_port_may_be_left_out_and_no_other() {
        assert!(target(443).is("example.org"));
        assert!(target(443).is("EXAMPLE.org"));
        assert!(!target(8443).is("example.org"));
        assert!(target(8443).is("example.org:8443"));
        assert!(!target(8443).is("example.org:443"));
        assert!(!target(443).is("example.net"));
        assert!(!target(443).is("user@example.org"));
        assert!(!target(443).is("example.org:"));
        assert!(!target(443).is("example.org:+443"));
    }

    #[test]
    fn a_second_host_or_none_is_malformed_and_another_one_a_mismatch() {
        let reason = |hosts: &[&'static str]| {
            target(443).check_host(&headers(hosts), true).map_err(|refusal| refusal.reason)
        };
        assert_eq!(reason(&["example.org"]), Ok(()));
        assert_eq!(reason(&["example.org", "example.org"]), Err(Reason::RequestMalformed));
        assert_eq!(reason(&[]), Err(Reason::RequestMalformed));
        assert_eq!(reason(&["evil.example.net"]), Err(Reason::HostMismatch));
        assert!(target(443).check_host(&headers(&[]), false).is_ok());
    }

    #[test]
    fn an_absolute_target_has_three_parts() {
        assert_eq!(absolute("http://a.example/b?c"), Some(("http", "a.example", "/b?c")));
        assert_eq!(absolute("http://a.example"), Some(("http", "a.example", "")));
        assert_eq!(absolute("http://a.example?q"), Some(("http", "a.example", "?q")));
        assert_eq!(absolute("/http"), None);
    }

    #[test]
    fn a_path_stays_as_it_was_sent_or_is_refused() {
        assert_eq!(path("/a/..%2f/b?c=%2F").unwrap().as_str(), "/a/..%2f/b?c=%2F");
        assert_eq!(path("").unwrap().as_str(), "/");
        assert_eq!(path("?q").unwrap().as_str(), "/?q");
        for text in ["/a#b", "*", "a", "/a b", "/a\u{0}"] {
            assert_eq!(
                path(text).map_err(|refusal| refusal.reason),
                Err(Reason::RequestMalformed),
                "{text:?}"
            );
        }
    }
}
