//! The authorities that upstreams are verified against.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_native_certs::{CertificateResult, ErrorKind};

use super::pem;
use crate::fs;

/// The variables that name other files than the system's (`openssl-env(7)`).
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The authorities that upstreams are verified against.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The same as rustls wants them.
    pub(crate) store: Arc<RootCertStore>,
    /// The same as a PEM file.
    pub(crate) pem: String,
    /// How many of the system's certificates were left out, since they can't be read.
    pub(crate) skipped: usize,
}

impl Roots {
    /// Reads the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured) and the bottle's own.
    ///
    /// A certificate of the system's that can't be read is left out and counted: nobody chose it for this bottle.
    ///
    /// # Errors
    ///
    /// A file of `extra` that can't be read, holds no certificate or one that is none; the same for a file that one of
    /// the variables names, as far as it can't be read. No root at all is no error, as a policy may have no https route.
    pub(crate) fn load(extra: &[PathBuf]) -> Result<Self> {
        let chosen = VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
        let found = if chosen { rustls_native_certs::load_native_certs() } else { system() };
        if chosen {
            readable(&found)?;
        }
        let mut roots = Collected::default();
        let mut skipped = found.errors.len();
        for certificate in found.certs {
            if roots.add(&certificate).is_err() {
                skipped += 1;
            }
        }
        for path in extra {
            roots.add_file(path)?;
        }
        Ok(Self { store: Arc::new(roots.store), pem: roots.pem, skipped })
    }
}

/// Reads the file in which a distribution collects its roots.
///
/// The directory beside it holds the same ones again, each in a file of its own with several links to it: reading them
/// takes longer than everything else that happens before the first connection is accepted.
fn system() -> CertificateResult {
    let file = openssl_probe::probe().cert_file;
    let found = file.map(|file| rustls_native_certs::load_certs_from_paths(Some(&file), None));
    match found {
        Some(found) if !found.certs.is_empty() => found,
        _ => rustls_native_certs::load_native_certs(),
    }
}

/// Says when a file or directory that somebody named can't be read.
fn readable(found: &CertificateResult) -> Result<()> {
    for error in &found.errors {
        if let ErrorKind::Io { inner, path } = &error.kind {
            bail!("could not read `{}`, which SSL_CERT_FILE or SSL_CERT_DIR names: {inner}", path.display());
        }
    }
    Ok(())
}

/// The roots as far as they were read.
struct Collected {
    store: RootCertStore,
    pem: String,
}

impl Default for Collected {
    fn default() -> Self {
        Self { store: RootCertStore::empty(), pem: String::new() }
    }
}

impl Collected {
    fn add(&mut self, certificate: &CertificateDer<'static>) -> Result<(), rustls::Error> {
        self.store.add(CertificateDer::from_slice(certificate))?;
        pem::push_certificate(&mut self.pem, certificate);
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let text = fs::read(path).context("the bottle's `extra_ca` can't be used")?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            count += 1;
            let added = match certificate {
                Ok(certificate) => self.add(&certificate).map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            added.with_context(|| {
                format!("certificate {count} of `{}`, which `extra_ca` names, can't be read", path.display())
            })?;
        }
        if count == 0 {
            bail!("`{}`, which `extra_ca` names, holds no certificate in PEM", path.display());
        }
        Ok(())
    }
}
