//! The bottle's certificate authority.

use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;

use super::leaf::{self, Leaves};
use super::recent::Recent;
use super::{Roots, key, pem, server, truststore};
use crate::fs;

/// How long the authority's certificate is valid, from each start.
const VALID: Duration = Duration::from_hours(24 * 3_652);

/// The most addresses whose configuration is kept, and for how long.
const ADDRESSES: (usize, Duration) = (64, Duration::from_hours(24));

/// The bottle's certificate authority: it gives the certificates under which egress answers for the hosts.
///
/// Its certificate has no name constraints (RFC 5280, section 4.2.1.10). Routes come with grants at run time, when the
/// agent's programs have long read the certificate, and clients disagree about what a constraint on names means for
/// addresses. What bounds the authority instead: only this bottle's agent trusts it, only egress has its key, and no
/// authority below it is valid.
pub(crate) struct Authority {
    provider: Arc<CryptoProvider>,
    leaves: Arc<Leaves>,
    config: Arc<ServerConfig>,
    addresses: Recent<IpAddr, Arc<ServerConfig>>,
}

impl Authority {
    /// Opens the authority whose key is `ca.key` in `state`, made there at the first start, and writes to `trust` what
    /// makes clients trust it: `ca.pem` is its certificate, `bundle.pem` the roots and its certificate, `truststore.jks`
    /// its certificate for Java.
    ///
    /// # Errors
    ///
    /// Directories that can't be written, a key that can't be read or is readable for others. A key that is damaged is
    /// never replaced: the agent's programs would go on trusting the old one.
    pub(crate) fn open(state: &Path, trust: &Path, roots: &Roots) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = key::open(&state.join("ca.key"))?;
        let now = SystemTime::now();
        let params = params(&key, now, provider.secure_random)?;
        let certificate = params.self_signed(&key).context("could not sign the authority's certificate")?;
        publish(trust, roots, certificate.der(), now)?;

        let leaves = Arc::new(Leaves::new(Issuer::new(params, key), provider.secure_random)?);
        leaves.warm()?;
        let config = server::config(&provider, Arc::clone(&leaves) as _)?;
        let addresses = Recent::new(ADDRESSES.0, ADDRESSES.1);
        Ok(Self { provider, leaves, config, addresses })
    }

    /// What a connection is accepted with: the certificate is chosen by the SNI, which the session has checked before.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The same for a host that is an address, which has no SNI (RFC 6066, section 3).
    ///
    /// # Errors
    ///
    /// The certificate could not be made.
    pub(crate) fn server_config_for(&self, address: IpAddr) -> Result<Arc<ServerConfig>> {
        let now = SystemTime::now();
        self.addresses.get(&address, now, || {
            let certified = self.leaves.for_address(address, now)?;
            server::config(&self.provider, Arc::new(SingleCertAndKey::from(certified)))
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// What the authority's certificate says. Its name is a function of the key, as clients look an authority up by it.
fn params(key: &KeyPair, now: SystemTime, random: &dyn SecureRandom) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let mut name = String::from("bottle egress CA ");
    for byte in params.key_identifier(key).iter().take(4) {
        write!(name, "{byte:02x}")?;
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(leaf::serial(random)?);
    params.not_before = (now - leaf::BACK).into();
    params.not_after = (now + VALID).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Writes what the agent reads.
fn publish(trust: &Path, roots: &Roots, certificate: &CertificateDer<'_>, now: SystemTime) -> Result<()> {
    let mut own = String::new();
    pem::push_certificate(&mut own, certificate);
    let mut bundle = String::with_capacity(roots.pem.len() + own.len());
    // First the one that is needed: some programs look through all of them.
    bundle.push_str(&own);
    bundle.push_str(&roots.pem);
    let milliseconds = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let store = truststore::jks(certificate, u64::try_from(milliseconds).unwrap_or_default());
    fs::write_atomic(&trust.join("bundle.pem"), bundle.as_bytes(), 0o644)?;
    fs::write_atomic(&trust.join("truststore.jks"), &store, 0o644)?;
    fs::write_atomic(&trust.join("ca.pem"), own.as_bytes(), 0o644)?;
    Ok(())
}
