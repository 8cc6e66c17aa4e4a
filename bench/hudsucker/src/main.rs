//! A proxy of hudsucker's that does what egress does where hudsucker can: it judges host, method and path, and injects a
//! credential. Its certificate authority and its client are those of its documentation.
//!
//! usage: hudsucker-bench ADDR CA_CERT CA_KEY HOST [nodelay]

use std::net::SocketAddr;
use std::sync::Arc;

use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::hyper::header::{HeaderName, HeaderValue};
use hudsucker::hyper::{Method, Request, Response, StatusCode};
use hudsucker::rcgen::{Issuer, KeyPair};
use hudsucker::rustls::crypto::ring;
use hudsucker::rustls::{ClientConfig, RootCertStore};
use hudsucker::{Body, HttpContext, HttpHandler, Proxy, RequestOrResponse};
use hyper_util::client::legacy::connect::HttpConnector;

#[derive(Clone)]
struct Policy {
    host: Arc<str>,
    name: HeaderName,
    value: HeaderValue,
}

impl HttpHandler for Policy {
    async fn handle_request(&mut self, _: &HttpContext, mut request: Request<Body>) -> RequestOrResponse {
        if request.method() == Method::CONNECT {
            return request.into();
        }
        let allowed = matches!(*request.method(), Method::GET | Method::HEAD)
            && request.uri().host() == Some(&self.host)
            && request.uri().path().starts_with("/bench/");
        if !allowed {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response.into();
        }
        request.headers_mut().insert(self.name.clone(), self.value.clone());
        request.into()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, cert, key, host, rest @ ..] = args.as_slice() else {
        return Err("usage: hudsucker-bench ADDR CA_CERT CA_KEY HOST [nodelay]".into());
    };
    let nodelay = rest.first().is_some_and(|word| word == "nodelay");
    let key = KeyPair::from_pem(&std::fs::read_to_string(key)?)?;
    let issuer = Issuer::from_ca_cert_pem(&std::fs::read_to_string(cert)?, key)?;
    let authority = RcgenAuthority::new(issuer, 1_000, ring::default_provider());
    let mut roots = RootCertStore::empty();
    for cert in rustls_native_certs::load_native_certs().certs {
        roots.add(cert)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(nodelay);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // Connections that are accepted have it from the socket that listens.
    socket.set_nodelay(nodelay)?;
    socket.bind(address.parse::<SocketAddr>()?)?;
    let policy = Policy {
        host: host.as_str().into(),
        name: HeaderName::from_static("x-api-key"),
        value: HeaderValue::from_static("bench-secret-0123456789"),
    };
    let proxy = Proxy::builder()
        .with_listener(socket.listen(1024)?)
        .with_ca(authority)
        .with_http_connector(connector)
        .with_http_handler(policy)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .build()?;
    Ok(proxy.start().await?)
}
