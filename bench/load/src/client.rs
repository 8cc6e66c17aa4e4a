//! One connection, and one request at a time on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Options;

/// Where requests go, and how.
#[derive(Clone)]
pub(crate) struct Way {
    address: SocketAddr,
    authority: String,
    name: ServerName<'static>,
    connect: bool,
    connector: TlsConnector,
}

impl Way {
    /// `--proxy ADDR` for CONNECT through it, `--to ADDR` for TLS with it; `--authority HOST:PORT`, `--ca FILE`.
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let (address, connect) = match options.text("proxy") {
            Ok(address) => (address, true),
            Err(_) => (options.text("to")?, false),
        };
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(options.text("ca")?).map_err(io::Error::other)? {
            roots.add(cert.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        // Each new connection is a whole one, on every way alike.
        config.resumption = rustls::client::Resumption::disabled();
        let authority = options.text("authority")?.to_owned();
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).to_owned();
        Ok(Self {
            address: address.parse().map_err(io::Error::other)?,
            name: ServerName::try_from(host).map_err(io::Error::other)?,
            authority,
            connect,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn open(&self) -> io::Result<Client> {
        let mut socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        if self.connect {
            let text = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", self.authority);
            socket.write_all(text.as_bytes()).await?;
            let mut head = Vec::with_capacity(256);
            while !head.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut head).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            if head.get(9..12) != Some(b"200") {
                return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
            }
        }
        let io = self.connector.connect(self.name.clone(), socket).await?;
        Ok(Client { io, buffer: Vec::with_capacity(64 << 10) })
    }

    /// The bytes of a POST with a body of text.
    pub(crate) fn post(&self, path: &str, bytes: usize) -> Vec<u8> {
        let mut request = self.post_head(path, bytes);
        request.extend(text(bytes));
        request
    }

    /// The head of a POST.
    pub(crate) fn post_head(&self, path: &str, bytes: usize) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\nAccept: */*\r\nContent-Type: application/json\r\n\
             Content-Length: {bytes}\r\n\r\n",
            self.authority
        )
        .into_bytes()
    }

    /// The bytes of a GET.
    pub(crate) fn request(&self, path: &str, close: bool) -> Vec<u8> {
        let close = if close { "Connection: close\r\n" } else { "" };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\nAccept: */*\r\n{close}\r\n",
            self.authority
        )
        .into_bytes()
    }
}

/// Text as a model's client sends it: words in JSON, no two lines alike, nothing that looks like a secret.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let words = [
        "the", "request", "is", "read", "once", "and", "passed", "on", "as", "it", "came", "before", "a",
        "review",
    ];
    let mut out = Vec::with_capacity(bytes + 64);
    out.extend_from_slice(b"{\"messages\":[");
    let mut state = 7_usize;
    while out.len() < bytes {
        out.extend_from_slice(b"{\"role\":\"user\",\"content\":\"");
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            out.extend_from_slice(words[(state >> 33) % words.len()].as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(format!("{state:x}\"}},\n").as_bytes());
    }
    out.truncate(bytes);
    out
}

pub(crate) struct Client {
    io: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends a piece of a request.
    pub(crate) async fn send(&mut self, piece: &[u8]) -> io::Result<()> {
        self.io.write_all(piece).await
    }

    /// Sends the request and reads the whole answer; gives the number of its body's bytes.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<u64> {
        self.io.write_all(request).await?;
        self.io.flush().await?;
        self.buffer.clear();
        let end = loop {
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(place) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break place + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        if head.get(9..12) != Some("200") {
            return Err(io::Error::other(String::from_utf8_lossy(&self.buffer).into_owned()));
        }
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let rest = self.buffer.split_off(end);
        if let Some(length) = field("content-length").and_then(|length| length.parse::<u64>().ok()) {
            return self.exactly(length, rest.len() as u64).await;
        }
        if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.buffer = rest;
            return self.chunks().await;
        }
        Err(io::Error::other("the answer has no length"))
    }

    /// Reads away what is missing of a body of `length`, of which `got` bytes are there.
    async fn exactly(&mut self, length: u64, mut got: u64) -> io::Result<u64> {
        while got < length {
            self.buffer.clear();
            let count = self.io.read_buf(&mut self.buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            got += count as u64;
        }
        Ok(length)
    }

    async fn chunks(&mut self) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let line = loop {
                if let Some(place) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                    let rest = self.buffer.split_off(place + 2);
                    break std::mem::replace(&mut self.buffer, rest);
                }
                if self.io.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            };
            let line = String::from_utf8_lossy(&line);
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::other("no chunk size"))?;
            let mut missing = size + 2;
            loop {
                let taken = missing.min(self.buffer.len());
                self.buffer.drain(..taken);
                missing -= taken;
                if missing == 0 {
                    break;
                }
                if self.io.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            if size == 0 {
                return Ok(total);
            }
            total += size as u64;
        }
    }

    /// Ends the connection in order.
    pub(crate) async fn bye(mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}
