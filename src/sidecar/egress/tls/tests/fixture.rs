//! An authority in temporary directories, and clients that trust what it published.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::super::{Authority, Roots};

pub(super) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) authority: Authority,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = open(directory.path()).expect("an authority");
        Self { directory, authority }
    }

    /// A client that trusts the certificates of one of the published files.
    pub(super) fn client(&self, file: &str) -> ClientConfig {
        self.client_of(file, rustls::DEFAULT_VERSIONS)
    }

    /// The same with these versions of TLS.
    pub(super) fn client_of(
        &self,
        file: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let pem = crate::fs::read(&self.directory.path().join(file)).expect("the file is there");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("a certificate")).expect("a root");
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// No system roots: what they are differs between machines.
pub(super) fn no_roots() -> Roots {
    Roots { store: Arc::new(RootCertStore::empty()), pem: String::new(), skipped: 0 }
}

/// Opens an authority whose two directories are the same one.
pub(super) fn open(directory: &Path) -> anyhow::Result<Authority> {
    Authority::open(directory, directory, &no_roots())
}

/// Lets two ends talk until neither has more to say.
pub(super) fn shake(
    client: &Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(server)?;
    let mut bytes = Vec::new();
    while client.wants_write() || server.wants_write() {
        bytes.clear();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("a vector takes everything");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("a slice gives everything");
            server.process_new_packets()?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("a vector takes everything");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("a slice gives everything");
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "the handshake is complete");
    Ok((client, server))
}
