//! What a policy must be, whoever wrote it: the manifest's own checks once more.

use super::super::egress::{
    Credential, Deny, EgressPolicy, Inject, MAX_HELD, OnRefusal, Route, Scheme, VERSION, may_carry_credential,
};
use super::super::gate::SecretSource;
use super::super::grant::AllowedSecret;
use super::super::host::{Authority, Host};
use super::InvalidPolicy;
use super::compiled::HostPattern;

/// The method that stands for all of them.
pub(super) const ANY: &str = "ANY";

pub(super) fn invalid(place: &str, problem: impl Into<String>) -> InvalidPolicy {
    InvalidPolicy { place: place.escape_debug().to_string(), problem: problem.into() }
}

pub(super) fn version(place: &str, version: u32) -> Result<(), InvalidPolicy> {
    if version == VERSION {
        return Ok(());
    }
    Err(invalid(place, format!("its format has version {version}; this program reads version {VERSION}")))
}

/// Checks all of a policy but its rules.
pub(super) fn policy(policy: &EgressPolicy) -> Result<(), InvalidPolicy> {
    let EgressPolicy {
        version: format,
        routes: _,
        deny: _,
        extra_hosts,
        upstream_proxy,
        extra_ca,
        credentials,
        ask,
        on_refusal,
        scanner,
    } = policy;
    version("the policy", *format)?;
    if ask.as_deref().is_some_and(|url| !is_address(url)) {
        return Err(invalid("ask", "it is not written as `http://host:port`"));
    }
    if let Some(OnRefusal::Ask(seconds)) = on_refusal
        && !(1..=MAX_HELD).contains(seconds)
    {
        return Err(invalid("on_refusal", format!("a request is held for 1 to {MAX_HELD} seconds")));
    }
    for name in extra_hosts.keys() {
        if !matches!(Host::normalise(name), Ok(Host::Name(_))) {
            return Err(invalid("extra_hosts", format!("`{}` is no name of a host", name.escape_debug())));
        }
    }
    for (place, url) in [("upstream_proxy", upstream_proxy), ("scanner", scanner)] {
        if url.as_deref().is_some_and(|url| !is_address(url)) {
            return Err(invalid(place, "it is not written as `http://host:port`"));
        }
    }
    if extra_ca.iter().any(|path| !path.starts_with('/') || path.contains('\0')) {
        return Err(invalid("extra_ca", "a file is not named by its absolute path"));
    }
    credentials.values().try_for_each(credential)
}

/// Whether it is an address of another program.
fn is_address(url: &str) -> bool {
    matches!(url.strip_prefix("http://").map(Authority::parse_with_port), Some(Ok(_)))
}

fn credential(credential: &Credential) -> Result<(), InvalidPolicy> {
    let Credential { source: place, secret, inject, placeholder: _ } = credential;
    source(place, "a credential")?;
    let (SecretSource::Env(from) | SecretSource::File(from)) = secret;
    if from.is_empty() || from.contains('\0') {
        return Err(invalid(place, "its secret has no source"));
    }
    let problem = match inject {
        Inject::Header(name) if !is_token(name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            "the header is no name of a header in lower case"
        }
        Inject::Header(name) if !may_carry_credential(name) => "the header is one that HTTP itself needs",
        Inject::Basic(user) if user.contains(':') || user.contains(char::is_control) => {
            "a user name has no colon and no control character (RFC 7617)"
        }
        Inject::Bearer | Inject::Header(_) | Inject::Basic(_) => return Ok(()),
    };
    Err(invalid(place, problem))
}

/// Checks a route but its paths, and gives its host.
pub(super) fn route(route: &Route, policy: &EgressPolicy) -> Result<HostPattern, InvalidPolicy> {
    let place = &route.source;
    source(place, "a route")?;
    let lists = [
        ("ports", route.ports.is_empty()),
        ("methods", route.methods.is_empty()),
        ("paths", route.paths.is_empty()),
    ];
    if let Some((list, _)) = lists.iter().find(|(_, empty)| *empty) {
        return Err(invalid(place, format!("`{list}` is empty")));
    }
    ports(&route.ports, place)?;
    methods(&route.methods, place)?;
    if let Some(name) = &route.credential {
        if !policy.credentials.contains_key(name) {
            return Err(invalid(place, format!("there is no credential `{}`", name.escape_debug())));
        }
        if route.scheme == Scheme::Http {
            return Err(invalid(place, "a credential doesn't travel in the clear: `scheme: http` has none"));
        }
    }
    tools(&route.strip_tools, route.websocket, place)?;
    host(&route.host, place)
}

/// Checks the tools that are taken out of requests.
fn tools(tools: &[String], websocket: bool, place: &str) -> Result<(), InvalidPolicy> {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if let Some(tool) = tools.iter().find(|tool| tool.is_empty() || !tool.bytes().all(word)) {
        return Err(invalid(place, format!("`{}` is no tool's name in lower case", tool.escape_debug())));
    }
    if websocket && !tools.is_empty() {
        return Err(invalid(place, "tools can't be taken out of what a WebSocket carries"));
    }
    Ok(())
}

/// Checks what only the manifest may open, whoever wrote the grant: addresses of a network of one's own, and credentials
/// for a host.
pub(super) fn granted(route: &Route, policy: &EgressPolicy) -> Result<(), InvalidPolicy> {
    let known = || policy.routes.iter().filter(|known| known.host == route.host);
    let place = &route.source;
    if route.private && !known().any(|known| known.private) {
        return Err(invalid(place, "no route of the manifest has `private: true` for this host"));
    }
    let uses = |known: &Route, port| known.credential == route.credential && known.ports.contains(port);
    if route.credential.is_some() && !route.ports.iter().all(|port| known().any(|known| uses(known, port))) {
        return Err(invalid(place, "no route of the manifest uses this credential for this host and port"));
    }
    if route.host.parse::<std::net::IpAddr>().is_ok() && known().next().is_none() {
        return Err(invalid(place, "no route of the manifest names this address"));
    }
    Ok(())
}

/// Checks a secret that a grant lets pass.
pub(super) fn secret(secret: &AllowedSecret) -> Result<(), InvalidPolicy> {
    let AllowedSecret { source: place, host, finding: _ } = secret;
    source(place, "a secret")?;
    match Host::normalise(host) {
        Ok(known) if known.to_string() == *host => Ok(()),
        _ => Err(invalid(place, format!("`{}` is no host in its one form", host.escape_debug()))),
    }
}

/// Checks a deny rule but its paths, and gives its host.
pub(super) fn deny(deny: &Deny) -> Result<HostPattern, InvalidPolicy> {
    source(&deny.source, "a deny rule")?;
    ports(&deny.ports, &deny.source)?;
    methods(&deny.methods, &deny.source)?;
    host(&deny.host, &deny.source)
}

/// What goes into logs and answers is one printable line.
fn source(source: &str, kind: &str) -> Result<(), InvalidPolicy> {
    if source.is_empty() || source.contains(char::is_control) {
        return Err(invalid(kind, "its `source` is not one line of text"));
    }
    Ok(())
}

fn ports(ports: &[u16], place: &str) -> Result<(), InvalidPolicy> {
    if ports.contains(&0) { Err(invalid(place, "`0` is no port")) } else { Ok(()) }
}

fn methods(methods: &[String], place: &str) -> Result<(), InvalidPolicy> {
    for method in methods {
        let capital = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
        if method == "CONNECT" {
            return Err(invalid(place, "CONNECT can't be allowed: the proxy opens no tunnels"));
        }
        if method.is_empty() || !method.bytes().all(capital) {
            let problem =
                format!("`{}` is no method in capital letters; all of them are `ANY`", method.escape_debug());
            return Err(invalid(place, problem));
        }
    }
    Ok(())
}

fn host(text: &str, place: &str) -> Result<HostPattern, InvalidPolicy> {
    let read = |text| Host::normalise(text).map_err(|error| invalid(place, error.to_string()));
    match text.strip_prefix("*.") {
        None => read(text).map(HostPattern::Host),
        Some(domain) => match read(domain)? {
            Host::Name(domain) if domain.contains('.') => Ok(HostPattern::Below(domain)),
            Host::Name(_) => Err(invalid(place, format!("`{text}` covers a whole top-level domain"))),
            Host::Address(_) => Err(invalid(place, "a pattern over an address means nothing")),
        },
    }
}

/// A token (RFC 9110, section 5.6.2): what a method and the name of a header field are.
pub(super) fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}
