//! The certificates under which egress answers in a host's name.
//!
//! All of them share one key, made at each start: a key of its own for each would take three times as long and protect
//! nothing, as they would all lie in the same memory. Each names one host only, so that no client takes a connection to
//! the one for a connection to the other (RFC 9113, section 9.1.1).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::SignatureScheme;
use rustls::crypto::SecureRandom;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};

use super::recent::Recent;

const DAY: Duration = Duration::from_hours(24);

/// How long before the moment of its making a certificate begins to be valid, for clients whose clock is behind.
pub(super) const BACK: Duration = DAY;

/// How long after it a certificate is valid.
const VALID: Duration = DAY.saturating_mul(30);

/// How long one is used. What is left is for connections and sessions that began with it.
const USED: Duration = DAY.saturating_mul(15);

/// The most names that are kept; a certificate and its entry have less than 1 KiB.
const MOST: usize = 512;

/// Makes certificates for hosts.
pub(super) struct Leaves {
    issuer: Issuer<'static, KeyPair>,
    public: KeyPair,
    signing: Arc<dyn SigningKey>,
    random: &'static dyn SecureRandom,
    names: Recent<String, Arc<CertifiedKey>>,
}

impl Leaves {
    pub(super) fn new(issuer: Issuer<'static, KeyPair>, random: &'static dyn SecureRandom) -> Result<Self> {
        let public = KeyPair::generate().context("could not make the key of the certificates")?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(public.serialize_der()));
        let signing = rustls::crypto::ring::sign::any_ecdsa_type(&der)?;
        Ok(Self { issuer, public, signing, random, names: Recent::new(MOST, USED) })
    }

    /// The certificate for a name, with its key.
    pub(super) fn for_name(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        let now = SystemTime::now();
        self.names.get(name, now, || self.make(SanType::DnsName(name.try_into()?), now))
    }

    /// The certificate for an address, with its key. Not kept: the caller keeps more than that.
    pub(super) fn for_address(&self, address: IpAddr, now: SystemTime) -> Result<Arc<CertifiedKey>> {
        self.make(SanType::IpAddress(address), now)
    }

    fn make(&self, host: SanType, now: SystemTime) -> Result<Arc<CertifiedKey>> {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, "bottle egress");
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.subject_alt_names = vec![host];
        params.serial_number = Some(serial(self.random)?);
        params.not_before = (now - BACK).into();
        params.not_after = (now + VALID).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate =
            params.signed_by(&self.public, &self.issuer).context("could not sign a certificate")?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate.into()], Arc::clone(&self.signing))))
    }

    /// Does once what the first handshake would otherwise be the first to do.
    pub(super) fn warm(&self) -> Result<()> {
        self.for_name("localhost")?;
        let signer = self.signing.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]);
        signer.context("the key signs with ECDSA")?.sign(b"warm")?;
        Ok(())
    }
}

/// A serial number that no other certificate has, as clients remember which they saw (RFC 5280, section 4.1.2.2).
pub(super) fn serial(random: &dyn SecureRandom) -> Result<rcgen::SerialNumber> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).ok().context("the system gives no random bytes")?;
    Ok(rcgen::SerialNumber::from(bytes.to_vec()))
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // No name, no certificate: what has no SNI is served by a configuration of its own, or not at all.
        self.for_name(client_hello.server_name()?).ok()
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaves")
    }
}
