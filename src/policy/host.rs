//! The host that a request names, in the one form that rules are compared with.
//!
//! CONNECT, Host, `:authority` and SNI all come through here, so two of them agree exactly when their [`Host`]s are
//! equal. What one resolver takes for a name and another for an address is refused, rather than judged as the one and
//! dialled as the other.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::reason::Reason;

#[cfg(test)]
mod tests;

/// The longest name, without a final dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
/// The longest label (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
/// How much of a text that is no host is repeated.
const MAX_SHOWN: usize = 80;

/// A host: a name, or an address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A name: lower case, ASCII (IDNA), without a final dot.
    Name(String),
    /// An address in its usual notation. An IPv4-mapped IPv6 address is the IPv4 address that it stands for.
    Address(IpAddr),
}

/// What the text names is no host that egress can judge. The text is shortened, and printable.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no host")]
pub struct InvalidHost(pub String);

impl InvalidHost {
    fn new(text: &str) -> Self {
        Self(text.chars().take(MAX_SHOWN).flat_map(char::escape_default).collect())
    }

    /// The code to refuse a request with: a number that a resolver may read as an address is one of its own.
    pub fn reason(&self) -> Reason {
        let name = self.0.strip_suffix('.').unwrap_or(&self.0);
        if ends_in_number(&name.to_ascii_lowercase()) {
            Reason::AddressDenied
        } else {
            Reason::RequestMalformed
        }
    }
}

impl Host {
    /// Reads the host of an authority (RFC 3986, section 3.2.2): a name, an IPv4 address or an IPv6 address in brackets.
    ///
    /// A name is ASCII here, as HTTP and TLS have it; labels of letters, digits, `-` and `_`, and one final dot that is
    /// dropped. Labels that begin with `xn--` must be what IDNA would have made (UTS #46, section 4).
    ///
    /// # Errors
    ///
    /// No host, or a number that some resolvers read as an address (`inet_aton(3)`) in another notation than the usual.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost::new(text);
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or_else(invalid)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| invalid())?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(invalid());
        }
        let name = name.to_ascii_lowercase();
        if ends_in_number(&name) || !name.split('.').all(is_idna) {
            return Err(invalid());
        }
        Ok(Self::Name(name))
    }

    /// Reads a host as a person writes it in a manifest: also a name that isn't ASCII, which becomes what IDNA makes of
    /// it (UTS #46, section 4.2), and an IPv6 address without brackets.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`]. An address in other digits than ASCII's is one too.
    pub fn normalise(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if text.is_ascii() {
            return Self::parse(text);
        }
        let invalid = || InvalidHost::new(text);
        let ascii = Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::URL,
                Hyphens::CheckFirstLast,
                DnsLength::VerifyAllowRootDot,
            )
            .map_err(|_| invalid())?;
        match Self::parse(&ascii) {
            Ok(Self::Name(name)) => Ok(Self::Name(name)),
            Ok(Self::Address(_)) | Err(_) => Err(invalid()),
        }
    }

    /// Whether nobody can have this name: it is below `invalid` (RFC 6761, section 6.4).
    pub fn is_nobodys(&self) -> bool {
        matches!(self, Self::Name(name) if name.rsplit('.').next() == Some("invalid"))
    }
}

/// Letters, digits and hyphens inside (RFC 1123, section 2.1), and `_`, which names of services have (RFC 8552).
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether the last label is a number, in lower case: no top-level domain is one, and `inet_aton(3)` reads the whole name
/// as an address (the URL Standard's "ends in a number").
fn ends_in_number(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| {
        let digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        digits || last.starts_with("0x")
    })
}

/// Whether a lower-case label has no IDNA prefix, or stands for characters that IDNA turns into this very label.
fn is_idna(label: &str) -> bool {
    if !label.starts_with("xn--") {
        return true;
    }
    let ascii = Uts46::new().to_ascii(
        label.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    ascii.is_ok_and(|ascii| ascii == label)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The authority of a request (RFC 3986, section 3.2): a host and perhaps a port, and never a user.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The TCP port, where it is written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads a Host header or `:authority`, where the scheme's own port may be left out.
    ///
    /// A port is 1 to 65535 in digits without a sign or leading zeros. A colon without a port is refused, though
    /// RFC 3986 has it: no client sends it, and not every server reads it the same.
    ///
    /// # Errors
    ///
    /// A host or port that is none, or a user.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let in_brackets = text.starts_with('[');
        let (host, port) = match text.rsplit_once(':') {
            // The last colon of `[::1]` belongs to the address.
            Some((host, port)) if !in_brackets || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(digits) => Some(read_port(digits).ok_or_else(|| InvalidHost::new(text))?),
            None => None,
        };
        Ok(Self { host: Host::parse(host)?, port })
    }

    /// Reads the target of CONNECT, where the port is always written (RFC 9110, section 9.3.6).
    ///
    /// # Errors
    ///
    /// As [`Self::parse`], and when there is no port.
    pub fn parse_with_port(text: &str) -> Result<(Host, u16), InvalidHost> {
        let Self { host, port } = Self::parse(text)?;
        port.map(|port| (host, port)).ok_or_else(|| InvalidHost::new(text))
    }
}

fn read_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}
