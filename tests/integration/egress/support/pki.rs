//! Certificates for the origins of the tests.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority.
pub(in super::super) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(in super::super) pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub(in super::super) struct Leaf {
    pub(in super::super) cert_pem: String,
    pub(in super::super) key_pem: String,
}

/// The authority that policies name as `extra_ca`.
pub(in super::super) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new("test CA of the bottle's own"))
}

/// The authority that stands for the system's.
pub(in super::super) fn system_pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new("test CA of the system"))
}

impl Pki {
    pub(in super::super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate with these subject alternative names; the common name is always `origin.test.example`.
    pub(in super::super) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| {})
    }

    /// A certificate whose time is over.
    pub(in super::super) fn expired(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "origin.test.example");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { cert_pem: cert.pem(), key_pem: key.serialize_pem() }
    }
}

impl Leaf {
    /// What most origins have: a certificate for everything below `test.example`, and for the loopback address.
    pub(in super::super) fn usual() -> &'static Self {
        static LEAF: OnceLock<Leaf> = OnceLock::new();
        LEAF.get_or_init(|| pki().leaf(&["*.test.example", "test.example", "127.0.0.1"]))
    }

    /// What a server accepts connections with.
    pub(in super::super) fn config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        self.config_for(alpn, rustls::DEFAULT_VERSIONS)
    }

    /// The same for some versions of TLS.
    pub(super) fn config_for(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let cert = CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let mut config = builder.unwrap().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
