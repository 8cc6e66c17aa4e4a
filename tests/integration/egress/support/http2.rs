//! An HTTP/2 client over one connection through egress.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Egress, Response, tls_config};

/// Runs a future to its end.
pub(in super::super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One HTTP/2 connection. Cheap to clone: the clones share it.
#[derive(Clone)]
pub(in super::super) struct Http2 {
    pub(in super::super) send: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Http2 {
    /// Opens it: CONNECT, TLS with ALPN, the preface.
    pub(in super::super) async fn open(egress: &Egress, authority: &str) -> Self {
        let io = Self::stream(egress, authority).await.unwrap();
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self { send, authority: authority.to_owned() }
    }

    /// The TLS stream below it.
    pub(in super::super) async fn stream(
        egress: &Egress,
        authority: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut socket = TcpStream::connect(egress.address()).await?;
        socket.set_nodelay(true)?;
        let text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        socket.write_all(text.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
        let connector = TlsConnector::from(Arc::new(tls_config(egress, &["h2"])));
        connector.connect(ServerName::try_from(host).unwrap(), socket).await
    }

    /// A request to the connection's own authority.
    pub(in super::super) fn build(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> http::Request<Full<Bytes>> {
        let uri = format!("https://{}{path}", self.authority);
        let body = Full::new(Bytes::copy_from_slice(body));
        http::Request::builder().method(method).uri(uri).body(body).unwrap()
    }

    /// Sends a request and collects the answer.
    pub(in super::super) async fn send(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<Response, hyper::Error> {
        let mut send = self.send.clone();
        send.ready().await?;
        let (head, body) = send.send_request(request).await?.into_parts();
        let collected = body.collect().await?;
        let mut trailers = String::new();
        for (name, value) in collected.trailers().into_iter().flatten() {
            trailers = trailers + name.as_str() + ": " + value.to_str().unwrap() + "\r\n";
        }
        let mut text = format!("HTTP/2 {}", head.status.as_u16());
        for (name, value) in &head.headers {
            text = text + "\r\n" + name.as_str() + ": " + value.to_str().unwrap();
        }
        Ok(Response {
            status: head.status.as_u16(),
            head: text,
            body: collected.to_bytes().to_vec(),
            trailers,
            cut: false,
        })
    }

    pub(in super::super) async fn get(&self, path: &str) -> Response {
        self.send(self.build("GET", path, b"")).await.unwrap()
    }
}
