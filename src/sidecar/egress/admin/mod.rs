//! The admin address: `/healthz`, `/metrics`, `/policy`. The agent can't reach it.
//!
//! It is read by a health check, a scraper and an operator: one request a connection, no body, everything bounded.

pub(super) mod check;

mod health;
mod numbers;
mod policy;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Egress;
use super::http1::{self, Framing, HeadLimits, Malformed, RequestHead, Version};

/// The most connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 16;
/// How long a request may take to arrive. Whoever connects and says nothing keeps the others waiting so long.
const HEAD_TIME: Duration = Duration::from_secs(1);
/// How long a connection may last.
const TIME: Duration = Duration::from_secs(5);
/// How long to wait when a connection can't be accepted, because there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// The limits of a request.
const LIMITS: HeadLimits = HeadLimits { bytes: 8 << 10, headers: 64 };

/// What is answered.
struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

/// Serves the admin address until it is dropped.
pub(crate) async fn serve(listener: TcpListener, egress: Arc<Egress>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let egress = Arc::clone(&egress);
                tokio::spawn(async move {
                    // A client that is slow or goes away has nobody to be told of it.
                    drop(timeout(TIME, answer(stream, &egress)).await);
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn answer(mut stream: TcpStream, egress: &Egress) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(1024);
    let (version, head_only, page) = match timeout(HEAD_TIME, read(&mut stream, &mut buffer)).await?? {
        Ok(head) => (head.version, head.method == Method::HEAD, page(&head, egress)),
        Err(error) => (Version::Http11, false, Page::text(StatusCode::BAD_REQUEST, error.to_string())),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    buffer.clear();
    let framing = Framing::Length(page.body.len() as u64);
    http1::write_response(&mut buffer, version, page.status, &headers, framing, true);
    if head_only {
        stream.write_all(&buffer).await?;
    } else {
        stream.write_all_buf(&mut buffer.chain(page.body.as_bytes())).await?;
    }
    stream.shutdown().await
}

/// Reads the head of the request.
async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Result<RequestHead, Malformed>> {
    loop {
        match http1::parse_request(buffer, LIMITS) {
            Ok(Some((head, _))) => return Ok(Ok(head)),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn page(head: &RequestHead, egress: &Egress) -> Page {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD".to_owned());
    }
    let path = head.target.split_once('?').map_or(head.target.as_str(), |(path, _)| path);
    match path {
        "/healthz" => health::page(egress),
        "/metrics" => numbers::page(egress),
        "/policy" => policy::page(egress),
        _ => Page::text(StatusCode::NOT_FOUND, "there is /healthz, /metrics and /policy".to_owned()),
    }
}

impl Page {
    fn text(status: StatusCode, text: String) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: text + "\n" }
    }

    fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self { status, kind: "application/json", body: format!("{value:#}\n") }
    }
}
