//! The HTTP proxy through which egress itself goes out: a tunnel by CONNECT (RFC 9110, section 9.3.6). What goes
//! through it is verified end to end, like without it.

use std::net::IpAddr;

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::http1::{self, Framing, HeadLimits};
use crate::sidecar::egress::refusal::Refusal;

/// The port of a proxy that names none.
const PORT: u16 = 80;

/// The most answers in front of the one that counts.
const INTERIM: usize = 8;

/// Where the proxy is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Proxy {
    /// Its host.
    pub(super) host: Host,
    /// Its TCP port.
    pub(super) port: u16,
}

impl Proxy {
    /// Reads `http://host:port`.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::new(Reason::EgressFailed, "`upstream_proxy` is no `http://host:port`");
        let uri: http::Uri = text.parse().map_err(|_| invalid())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.filter(|_| uri.scheme_str() == Some("http")).ok_or_else(invalid)?;
        let text = authority.host();
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(text.to_ascii_lowercase()),
        };
        Ok(Self { host, port: authority.port_u16().unwrap_or(PORT) })
    }
}

/// Asks for a tunnel to `target`, a host or an address with its port.
///
/// # Errors
///
/// The proxy refused, or answered what is no HTTP.
pub(super) async fn tunnel(
    mut stream: TcpStream,
    proxy: &Proxy,
    target: &str,
    limits: HeadLimits,
) -> Result<TcpStream, Refusal> {
    let refuse = |reason, what: &dyn std::fmt::Display| {
        Refusal::new(
            reason,
            format!("the upstream proxy {}:{}, asked for {target}: {what}", proxy.host, proxy.port),
        )
    };
    let mut buffer = BytesMut::new();
    let headers = HeaderMap::new();
    http1::write_request(&mut buffer, &Method::CONNECT, target, target, &headers, Framing::Empty, None);
    stream.write_all(&buffer).await.map_err(|error| refuse(Reason::UpstreamDown, &error))?;
    buffer.clear();
    let mut interim = 0;
    loop {
        let parsed = http1::parse_response(&buffer, &Method::CONNECT, limits);
        match parsed.map_err(|error| refuse(Reason::UpstreamInvalid, &error))? {
            Some((head, length)) if head.status.is_informational() => {
                interim += 1;
                if interim > INTERIM || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Err(refuse(Reason::UpstreamInvalid, &"it answered what was not asked for"));
                }
                drop(buffer.split_to(length));
            }
            Some((head, _)) if !head.status.is_success() => {
                return Err(refuse(Reason::UpstreamDown, &format_args!("it answered {}", head.status)));
            }
            // No origin of ours speaks first: what stands behind the head is the proxy's own.
            Some((_, length)) if length != buffer.len() => {
                return Err(refuse(Reason::UpstreamInvalid, &"its answer goes on behind its end"));
            }
            Some(_) => return Ok(stream),
            None => {
                let read = stream.read_buf(&mut buffer).await;
                if read.map_err(|error| refuse(Reason::UpstreamDown, &error))? == 0 {
                    return Err(refuse(Reason::UpstreamDown, &"it closed the connection"));
                }
            }
        }
    }
}
