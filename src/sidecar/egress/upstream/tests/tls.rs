//! Whom egress trusts.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::policy::reason::Reason;

/// A certificate authority of the tests.
pub(super) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // By its key, that is: an authority of the same name and another key would be one with a bad signature.
        let key = KeyPair::generate().unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("{:?}", key.public_key_raw()));
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A server for these names.
    pub(super) fn acceptor(&self, names: &[&str], alpn: &[&str]) -> TlsAcceptor {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.acceptor_with(&CertificateParams::new(names).unwrap(), alpn, rustls::ALL_VERSIONS)
    }

    fn acceptor_with(
        &self,
        params: &CertificateParams,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A server with TLS that answers `hi`.
pub(super) async fn secure(acceptor: TlsAcceptor) -> (u16, Arc<AtomicUsize>) {
    server(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while let Some(_head) = read_head(&mut stream).await {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
            }
        }
    })
    .await
}

async fn refused(roots: Arc<RootCertStore>, acceptor: TlsAcceptor) -> String {
    let (port, _) = secure(acceptor).await;
    let refusal = send(&trusting(roots, limits()), https(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTls, "{}", refusal.detail);
    assert!(refusal.detail.contains("origin.example.org"), "{}", refusal.detail);
    refusal.detail
}

#[tokio::test]
async fn a_verified_upstream_is_spoken_to_and_its_connection_used_again() {
    let ca = Ca::new();
    for alpn in [&["http/1.1"][..], &[]] {
        let (port, connections) = secure(ca.acceptor(&["origin.example.org"], alpn)).await;
        let upstream = trusting(ca.roots(), limits());
        for _ in 0..3 {
            let response = send(&upstream, https(port)).await.unwrap();
            assert_eq!(text(response.into_body()).await.unwrap(), "hi");
        }
        assert_eq!(count(&connections), 1);
    }
}

#[tokio::test]
async fn an_address_is_verified_as_an_address() {
    let ca = Ca::new();
    let host = Host::Address(IpAddr::from([127, 0, 0, 1]));
    let upstream = trusting(ca.roots(), limits());
    let (port, _) = secure(ca.acceptor(&["127.0.0.1"], &[])).await;
    assert_eq!(send(&upstream, Outgoing { host: host.clone(), ..https(port) }).await.unwrap().status(), 200);
    let (port, _) = secure(ca.acceptor(&["origin.example.org"], &[])).await;
    let refusal = send(&upstream, Outgoing { host, ..https(port) }).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTls);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let acceptor = Ca::new().acceptor(&["origin.example.org"], &[]);
    let detail = refused(Ca::new().roots(), acceptor).await;
    assert!(detail.contains("UnknownIssuer"), "{detail}");
    refused(Arc::new(RootCertStore::empty()), Ca::new().acceptor(&["origin.example.org"], &[])).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = Ca::new();
    let detail = refused(ca.roots(), ca.acceptor(&["other.example.org", "example.org"], &[])).await;
    assert!(detail.contains("not valid for name"), "{detail}");
}

#[tokio::test]
async fn a_certificate_with_the_name_as_its_common_name_only_is_refused() {
    let ca = Ca::new();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "origin.example.org");
    refused(ca.roots(), ca.acceptor_with(&params, &[], rustls::ALL_VERSIONS)).await;
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    let ca = Ca::new();
    let mut params = CertificateParams::new(["origin.example.org".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let detail = refused(ca.roots(), ca.acceptor_with(&params, &[], rustls::ALL_VERSIONS)).await;
    assert!(detail.contains("expired"), "{detail}");
}

#[tokio::test]
async fn tls_1_2_is_spoken_to_those_who_have_nothing_newer() {
    let ca = Ca::new();
    let params = CertificateParams::new(["origin.example.org".to_owned()]).unwrap();
    let (port, _) = secure(ca.acceptor_with(&params, &[], &[&rustls::version::TLS12])).await;
    assert_eq!(send(&trusting(ca.roots(), limits()), https(port)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_session_is_resumed() {
    let ca = Ca::new();
    let acceptor = ca.acceptor(&["origin.example.org"], &[]);
    let (sender, mut kinds) = tokio::sync::mpsc::channel(2);
    let (port, _) = server(move |_, stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            sender.send(stream.get_ref().1.handshake_kind().unwrap()).await.unwrap();
            read_head(&mut stream).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
        }
    })
    .await;
    let upstream = trusting(ca.roots(), limits());
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        send(&upstream, https(port)).await.unwrap();
        assert_eq!(kinds.recv().await, Some(kind));
    }
}

#[tokio::test]
async fn a_server_without_tls_is_no_upstream_for_https() {
    let (port, _) = server(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let refusal = send(&upstream(limits()), https(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTls, "{refusal:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let (port, _) = server(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let limits = Limits { dial: Duration::from_millis(100), ..limits() };
    let refusal = send(&upstream(limits), https(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTimeout);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_below_tls_is_broken() {
    let ca = Ca::new();
    let acceptor = ca.acceptor(&["origin.example.org"], &[]);
    let (port, _) = server(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_head(&mut stream).await.unwrap();
            // Without a length the end of the connection is the end of the body, so that it must be authentic.
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ncut").await.unwrap();
            stream.flush().await.unwrap();
        }
    })
    .await;
    let response = send(&trusting(ca.roots(), limits()), https(port)).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap_err().reason, Reason::UpstreamInvalid);
}
