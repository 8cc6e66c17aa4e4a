//! Hosts, addresses and ports.

use std::net::IpAddr;

use super::super::decode::{Decode, Decoder, Invalid, integer};
use super::super::node::Node;
use super::super::source::shown;
use super::{no_option, one_line, text};
use crate::policy::egress::MAX_HELD;
use crate::policy::host::Authority;

/// Checks the name of a host (RFC 1123, section 2.1) or an address, and gives it in lower case without a final dot.
pub(super) fn host(text: &str) -> Result<String, Invalid> {
    one_line(text, "the host")?;
    no_option(text, "the host")?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        let hint = if text.is_ascii() {
            "write only the name, such as `git.example.com`: no scheme, port or path"
        } else {
            "write an international name in its ASCII form (`xn--…`)"
        };
        return Err(Invalid::with_hint(format!("`{}` is not the name of a host", shown(text)), hint));
    }
    // Numbers that some resolvers read as an address (inet_aton(3)) would be judged as a name and dialled as another.
    if name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x"))
    {
        return Err(Invalid::with_hint(
            format!("`{}` is neither a name nor an address in its usual form", shown(text)),
            "write an IPv4 address as four decimal numbers",
        ));
    }
    Ok(name)
}

text! {
    /// The name or address of a host.
    Host, "the name of a host", host
}

text! {
    /// A host of a route: exact, or `*.` before a name for everything below it, but not the name itself.
    HostPattern, "the name of a host, or `*.` and a name", |text: &str| {
        if text == "*" || text == "*." || text == "**" {
            return Err(Invalid::with_hint(
                "a route to every host is no boundary",
                "name the hosts, or a domain as `*.example.com`",
            ));
        }
        if let Some(domain) = text.strip_prefix("*.") {
            let domain = host(domain)?;
            if !domain.contains('.') {
                return Err(Invalid::with_hint(
                    format!("`{}` covers a whole top-level domain", shown(text)),
                    "name a domain below it, such as `*.example.com`",
                ));
            }
            if domain.parse::<IpAddr>().is_ok() {
                return Err(Invalid::new("a pattern over an address means nothing"));
            }
            return Ok(format!("*.{domain}"));
        }
        if text.contains('*') {
            return Err(Invalid::with_hint(
                format!("`{}` has a `*` that isn't its first label", shown(text)),
                "write `*.example.com` for everything below example.com",
            ));
        }
        host(text)
    }
}

text! {
    /// An IP address, in its canonical form.
    Address, "an IP address", |text: &str| {
        text.parse::<IpAddr>().map(|address| address.to_string()).map_err(|_| Invalid::with_hint(
            format!("`{}` is not an IP address", shown(text)),
            "write an address such as `10.0.0.7` or `fd00::7`",
        ))
    }
}

text! {
    /// The proxy through which egress itself goes out.
    ProxyUrl, "the URL of a proxy, such as `http://proxy.example.org:3128`", |text: &str| {
        one_line(text, "the URL")?;
        let rest = text.strip_prefix("http://").ok_or_else(|| Invalid::with_hint(
            format!("`{}` is not the URL of an HTTP proxy", shown(text)),
            "write it as `http://proxy.example.org:3128`",
        ))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(Invalid::new("a password has no place in the manifest"));
        }
        let authority = Authority::parse(authority).map_err(|_| Invalid::with_hint(
            format!("`{}` names no host and port", shown(text)),
            "write it as `http://proxy.example.org:3128`",
        ))?;
        Ok::<_, Invalid>(format!("http://{}:{}", authority.host, authority.port.unwrap_or(80)))
    }
}

/// A TCP port.
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema)]
pub struct Port(#[schemars(range(min = 1, max = 65535))] pub u16);

impl Decode for Port {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        integer(node, decoder, 1, 65_535).and_then(|number| u16::try_from(number).ok()).map(Self)
    }
}

/// The seconds for which a request is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema)]
pub struct HeldSeconds(#[schemars(range(min = 1, max = 20))] pub u64);

impl Decode for HeldSeconds {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        integer(node, decoder, 1, MAX_HELD).map(Self)
    }
}
