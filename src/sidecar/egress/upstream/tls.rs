//! TLS to upstreams: TLS 1.2 or later, always verified, against subjectAltName only.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ahead::Ahead;
use super::stream::Kind;
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::refusal::Refusal;

/// TLS sessions that are kept for resumption.
const SESSIONS: usize = 256;

/// What is offered by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    /// HTTP/2 and HTTP/1.1.
    Both,
    /// HTTP/1.1 only: a WebSocket is an upgrade of it.
    Http1,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// HTTP/1.1: negotiated, or nothing was.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The client's side of TLS.
pub(super) struct Tls {
    both: TlsConnector,
    http1: TlsConnector,
}

impl Tls {
    /// Prepares both offers; they share the sessions.
    pub(super) fn new(roots: Arc<RootCertStore>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // No client certificate, and no early data: it may be replayed (RFC 8446, section 8).
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("the TLS versions of upstreams")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { both: TlsConnector::from(Arc::new(config)), http1 })
    }

    /// Makes the handshake on a dialled connection.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &Host,
        offer: Offer,
    ) -> Result<(Kind, Protocol), Refusal> {
        let name = server_name(host)?;
        let connector = match offer {
            Offer::Both => &self.both,
            Offer::Http1 => &self.http1,
        };
        let stream = connector.connect(name, Ahead::new(stream)).await.map_err(|error| {
            // What is not about TLS itself is a matter of the connection.
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some();
            let reason = if tls { Reason::UpstreamTls } else { Reason::UpstreamDown };
            Refusal::new(reason, format!("TLS with {host} failed: {error}"))
        })?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((Kind::Tls(Box::new(stream)), protocol))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// The name that a certificate must have, as one of its alternative names: a DNS name or an address.
fn server_name(host: &Host) -> Result<ServerName<'static>, Refusal> {
    match host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| {
            Refusal::new(Reason::UpstreamTls, format!("`{host}` is in no certificate: {error}"))
        }),
        Host::Address(address) => Ok(ServerName::from(IpAddr::to_canonical(address))),
    }
}
