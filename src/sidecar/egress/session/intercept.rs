//! TLS with the agent, under a certificate of the bottle's authority. There is no other way on from CONNECT: what isn't
//! a ClientHello for the host that CONNECT named is closed.

use std::io;
use std::sync::Arc;

use rustls::server::Acceptor;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::exchange::Exchange;
use super::h1::Connected;
use super::signal::Signal;
use super::target::Target;
use super::wire::{Early, Wire};
use crate::policy::host::Host;
use crate::policy::reason::Reason;
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::refusal::Refusal;

/// The alert `unrecognized_name` as a record (RFC 8446, section 6).
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// A TLS session of the agent with one host.
pub(super) struct Inside {
    /// The host.
    pub(super) target: Arc<Target>,
    /// The session.
    pub(super) wire: Wire,
    /// Whether HTTP/2 was agreed on.
    pub(super) http2: bool,
    /// What tells of changes.
    pub(super) signal: Signal,
}

/// Begins TLS after CONNECT; nothing where that fails.
pub(super) async fn begin(egress: &Arc<Egress>, connected: Connected) -> Option<Inside> {
    let Connected { target, wire, signal } = connected;
    let until = Instant::now() + egress.limits.handshake;
    let handshake = timeout_at(until, handshake(egress, &target, wire));
    let late = || Refusal::new(Reason::RequestTimeout, "the TLS handshake took too long");
    match handshake.await.unwrap_or_else(|_| Err(late())) {
        Ok(tls) => {
            let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            Some(Inside { target, wire: Wire::Tls(tls), http2, signal })
        }
        Err(refusal) => {
            let mut exchange = Exchange::begin(egress, "");
            exchange.aims_at(&target);
            exchange.asks("CONNECT", "", false);
            exchange.refused(&refusal);
            exchange.end();
            None
        }
    }
}

async fn handshake(egress: &Egress, target: &Target, wire: Early) -> Result<Box<TlsStream<Early>>, Refusal> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), wire).await;
    let mut start = start.map_err(|error| no_hello(&error))?;
    let config = match config(egress, target, start.client_hello().server_name()) {
        Ok(config) => config,
        Err(refusal) => {
            // The agent's own log then says what it was.
            let _ = start.io.write_all(UNRECOGNIZED_NAME).await;
            let _ = start.io.shutdown().await;
            return Err(refusal);
        }
    };
    let accepted = start.into_stream(config).await;
    accepted.map(Box::new).map_err(|error| unfinished(&error))
}

/// What to accept with: the SNI (RFC 6066, section 3) is the host that CONNECT named.
fn config(egress: &Egress, target: &Target, sni: Option<&str>) -> Result<Arc<ServerConfig>, Refusal> {
    match (&target.host, sni) {
        (Host::Name(name), Some(sni)) if sni.eq_ignore_ascii_case(name) => {
            Ok(egress.authority.server_config())
        }
        (Host::Address(address), None) => egress.authority.server_config_for(*address).map_err(|error| {
            Refusal::new(Reason::EgressFailed, format!("no certificate could be made: {error:#}"))
        }),
        (_, Some(_)) => {
            Err(Refusal::new(Reason::HostMismatch, "the SNI names another host than CONNECT did"))
        }
        (Host::Name(_), None) => Err(Refusal::new(Reason::HostMismatch, "the TLS ClientHello has no SNI")),
    }
}

fn no_hello(error: &io::Error) -> Refusal {
    let detail = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection ended before a whole TLS ClientHello",
        _ => "what came after CONNECT is no TLS ClientHello",
    };
    Refusal::new(Reason::RequestMalformed, detail)
}

fn unfinished(error: &io::Error) -> Refusal {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let detail = match cause {
        Some(rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate,
        )) => "the client does not trust the bottle's certificate authority: point it at the trust bundle".to_owned(),
        Some(cause) => format!("the TLS handshake failed: {cause}"),
        None => "the client ended the TLS handshake; if it says nothing else, it may not trust the bottle's certificate authority".to_owned(),
    };
    Refusal::new(Reason::RequestMalformed, detail)
}
