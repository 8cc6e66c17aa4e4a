//! A client that says exactly what the test says.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::message::{Reader, Response};
use super::{Egress, PATIENCE};

/// A connection to egress.
pub(in super::super) struct Client {
    io: Io,
    reader: Reader,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(io) => io.read(buffer),
            Self::Tls(io) => io.read(buffer),
        }
    }
}

/// What a client trusts that has the bottle's certificate and nothing else.
pub(in super::super) fn tls_config(egress: &Egress, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(egress.path("trust/ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

impl Client {
    pub(in super::super) fn dial(port: u16) -> Self {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { io: Io::Plain(socket), reader: Reader::new() }
    }

    /// Goes on with TLS, with this name as SNI.
    pub(in super::super) fn handshake(self, egress: &Egress, name: &str, alpn: &[&str]) -> io::Result<Self> {
        self.handshake_with(tls_config(egress, alpn), name)
    }

    /// The same with settings of the test's own.
    pub(in super::super) fn handshake_with(self, config: ClientConfig, name: &str) -> io::Result<Self> {
        let Io::Plain(socket) = self.io else { unreachable!("TLS within TLS") };
        assert!(self.reader.buffer.is_empty(), "bytes before the handshake");
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut socket = socket;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let io = Io::Tls(Box::new(StreamOwned::new(session, socket)));
        Ok(Self { io, reader: self.reader })
    }

    /// The bytes of a ClientHello with this SNI, for a client that sends them in its own way.
    pub(in super::super) fn hello(egress: &Egress, name: &str, sni: bool) -> Vec<u8> {
        let mut config = tls_config(egress, &["http/1.1"]);
        config.enable_sni = sni;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        session.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The socket, for a client that does the rest by itself.
    pub(in super::super) fn into_socket(self) -> TcpStream {
        let Io::Plain(socket) = self.io else { unreachable!("TLS is on it") };
        socket
    }

    /// The protocol that ALPN chose.
    pub(in super::super) fn alpn(&self) -> Option<String> {
        let Io::Tls(io) = &self.io else { return None };
        io.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The certificate that egress showed.
    pub(in super::super) fn certificate(&self) -> Vec<u8> {
        let Io::Tls(io) = &self.io else { unreachable!("not TLS") };
        io.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Sends bytes. A connection that egress has closed takes them as well: what came of it shows in the answer.
    pub(in super::super) fn send(&mut self, bytes: &[u8]) {
        drop(self.try_send(bytes));
    }

    pub(in super::super) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(io) => io.write_all(bytes),
            Io::Tls(io) => io.write_all(bytes).and_then(|()| io.flush()),
        }
    }

    pub(in super::super) fn say(&mut self, text: &str) {
        self.send(text.as_bytes());
    }

    /// Sends a GET on the connection and reads the answer.
    #[track_caller]
    pub(in super::super) fn get(&mut self, host: &str, path: &str) -> Response {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response("GET")
    }

    /// Reads an answer to a request with this method.
    #[track_caller]
    pub(in super::super) fn response(&mut self, method: &str) -> Response {
        self.try_response(method).expect("an answer, not the end of the connection")
    }

    /// The same; `None` where the connection ended instead.
    #[track_caller]
    pub(in super::super) fn try_response(&mut self, method: &str) -> Option<Response> {
        match self.reader.response(&mut self.io, method) {
            Ok(response) => response,
            Err(error) if ended(&error) => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Reads to an answer's empty line, and gives the head.
    #[track_caller]
    pub(in super::super) fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    /// Reads to a mark, and gives what stands before it.
    #[track_caller]
    pub(in super::super) fn until(&mut self, mark: &str) -> String {
        let text = self.reader.until(&mut self.io, mark.as_bytes()).expect("something comes");
        text.expect("the mark, not the end of the connection")
    }

    /// Reads exactly so many bytes.
    #[track_caller]
    pub(in super::super) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.reader.buffer.len() < count {
            assert!(self.reader.fill(&mut self.io).expect("something comes"), "the connection ended");
        }
        let rest = self.reader.buffer.split_off(count);
        std::mem::replace(&mut self.reader.buffer, rest)
    }

    /// The same; `None` where the connection ended before.
    pub(in super::super) fn try_take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.reader.buffer.len() < count {
            match self.reader.fill(&mut self.io) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) if ended(&error) => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
        let rest = self.reader.buffer.split_off(count);
        Some(std::mem::replace(&mut self.reader.buffer, rest))
    }

    /// Sends bytes, and gives up when they are not taken in that time.
    pub(in super::super) fn send_for(&mut self, bytes: &[u8], time: Duration) -> io::Result<()> {
        let socket = match &self.io {
            Io::Plain(io) => io,
            Io::Tls(io) => &io.sock,
        };
        socket.set_write_timeout(Some(time))?;
        self.try_send(bytes)
    }

    /// Reads to the end of the connection, and gives what came before it.
    #[track_caller]
    pub(in super::super) fn end(&mut self) -> Vec<u8> {
        loop {
            match self.reader.fill(&mut self.io) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if ended(&error) => break,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
        std::mem::take(&mut self.reader.buffer)
    }

    /// Waits for the end of the connection, and gives how long it took.
    #[track_caller]
    pub(in super::super) fn ends_within(&mut self, limit: Duration) -> Duration {
        let from = Instant::now();
        self.end();
        let took = from.elapsed();
        assert!(took < limit, "it took {took:?}");
        took
    }

    /// Whether nothing comes, not even the end, for that long.
    pub(in super::super) fn silent_for(&mut self, time: Duration) -> bool {
        let socket = match &self.io {
            Io::Plain(io) => io,
            Io::Tls(io) => &io.sock,
        };
        socket.set_read_timeout(Some(time)).unwrap();
        let silent = match self.reader.fill(&mut self.io) {
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(_) => false,
        };
        let socket = match &self.io {
            Io::Plain(io) => io,
            Io::Tls(io) => &io.sock,
        };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Says that nothing more will be sent.
    pub(in super::super) fn finish(&mut self) {
        match &mut self.io {
            Io::Plain(io) => drop(io.shutdown(Shutdown::Write)),
            Io::Tls(io) => {
                io.conn.send_close_notify();
                drop(io.flush());
            }
        }
    }
}

/// Whether the other side has ended the connection, in whatever manner.
fn ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
    )
}
