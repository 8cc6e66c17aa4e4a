//! An origin under the test's own hand: it keeps what reaches it, and answers what the test says, well-formed or not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bottle::policy::egress::{Route, Scheme};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::message::{Reader, Seen};
use super::setup::{methods, paths};
use super::{Leaf, PATIENCE};

/// A connection to an origin.
pub(in super::super) struct Conn {
    io: Io,
    reader: Reader,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Conn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.reader.buffer.is_empty() {
            let count = buffer.len().min(self.reader.buffer.len());
            let rest = self.reader.buffer.split_off(count);
            buffer[..count].copy_from_slice(&self.reader.buffer);
            self.reader.buffer = rest;
            return Ok(count);
        }
        self.io.read(buffer)
    }
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(io) => io.read(buffer),
            Self::Tls(io) => io.read(buffer),
        }
    }
}

impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.io {
            Io::Plain(io) => io.write(bytes),
            Io::Tls(io) => io.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(io) => io.flush(),
            Io::Tls(io) => io.flush(),
        }
    }
}

impl Conn {
    /// Writes raw text.
    pub(in super::super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.write_all(text.as_bytes())?;
        self.flush()
    }

    /// Reads the next request; `None` at the end of the connection.
    pub(in super::super) fn request(&mut self) -> io::Result<Option<Seen>> {
        let Self { io, reader } = self;
        let Some(head) = reader.until(io, b"\r\n\r\n")? else { return Ok(None) };
        if head.to_ascii_lowercase().contains("expect: 100-continue") {
            self.say("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let Self { io, reader } = self;
        let body = reader.body(io, &head, false)?;
        let seen = Seen { head, body: body.bytes, length: body.length, trailers: body.trailers };
        Ok((!body.cut).then_some(seen))
    }

    /// Sends no more, and waits until the other side doesn't either.
    pub(in super::super) fn bye(mut self) {
        if let Io::Tls(io) = &mut self.io {
            io.conn.send_close_notify();
            drop(io.flush());
        }
        drop(self.socket().shutdown(Shutdown::Write));
        drop(io::copy(&mut self, &mut io::sink()));
    }

    /// Ends the connection with a reset.
    pub(in super::super) fn reset(self) {
        let socket = match self.io {
            Io::Plain(io) => io,
            Io::Tls(io) => io.sock,
        };
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    }

    fn socket(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(io) => io,
            Io::Tls(io) => &io.sock,
        }
    }
}

/// An origin on loopback. It ends with the test.
pub(in super::super) struct Origin {
    /// The name by which routes and clients know it.
    pub(in super::super) host: String,
    pub(in super::super) port: u16,
    address: SocketAddr,
    scheme: Scheme,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    stopped: AtomicBool,
}

impl Origin {
    /// An origin with TLS whose `handler` answers each request.
    pub(in super::super) fn https(
        handler: impl Fn(&Seen, &mut Conn) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(Leaf::usual().config(&["http/1.1"])), each(handler))
    }

    /// The same on another address of this machine's.
    pub(in super::super) fn https_on(
        address: Ipv4Addr,
        handler: impl Fn(&Seen, &mut Conn) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(address, Some(Leaf::usual().config(&["http/1.1"])), each(handler))
    }

    /// The same without TLS.
    pub(in super::super) fn http(
        handler: impl Fn(&Seen, &mut Conn) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, each(handler))
    }

    /// An origin with TLS and a certificate of its own.
    pub(in super::super) fn with(leaf: &Leaf) -> Self {
        Self::start(Some(leaf.config(&["http/1.1"])), each(echo))
    }

    /// An origin that speaks only these versions of TLS.
    pub(in super::super) fn with_versions(versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        Self::start(Some(Leaf::usual().config_for(&["http/1.1"], versions)), each(echo))
    }

    /// An origin with TLS that does with each connection what `handler` says.
    pub(in super::super) fn raw(handler: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::start(Some(Leaf::usual().config(&["http/1.1"])), move |conn, _: &Shared| handler(conn))
    }

    /// The same without TLS: the handler gets the connection's first byte.
    pub(in super::super) fn raw_http(handler: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::start(None, move |conn, _: &Shared| handler(conn))
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(Conn, &Shared) + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST, tls, handler)
    }

    fn start_on(
        address: Ipv4Addr,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(Conn, &Shared) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let (kept, handler) = (Arc::clone(&shared), Arc::new(handler));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if kept.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                kept.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, handler, tls) = (Arc::clone(&kept), Arc::clone(&handler), tls.clone());
                std::thread::spawn(move || {
                    socket.set_nodelay(true).unwrap();
                    socket.set_read_timeout(Some(PATIENCE * 2)).unwrap();
                    let io = match tls {
                        Some(config) => {
                            let session = ServerConnection::new(config).unwrap();
                            Io::Tls(Box::new(StreamOwned::new(session, socket)))
                        }
                        None => Io::Plain(socket),
                    };
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    handler(Conn { io, reader: Reader::new() }, &shared);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { host: "origin.test.example".to_owned(), port: address.port(), address, scheme, shared }
    }

    /// The same origin under another name.
    pub(in super::super) fn named(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// `host:port`.
    pub(in super::super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(in super::super) fn url(&self, path: &str) -> String {
        let scheme = if self.scheme == Scheme::Https { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority())
    }

    /// A route that allows GET and HEAD for every path.
    pub(in super::super) fn route(&self) -> Route {
        Route {
            source: "bottle.yaml:7".to_owned(),
            host: self.host.clone(),
            scheme: self.scheme,
            ports: vec![self.port],
            methods: methods(&["GET", "HEAD"]),
            paths: paths(&["/**"]),
            websocket: false,
            private: true,
            credential: None,
            on_secret: bottle::policy::egress::OnSecret::Block,
            max_upload_bytes: None,
            strip_tools: Vec::new(),
        }
    }

    /// The requests that came, in their order.
    pub(in super::super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The last request.
    #[track_caller]
    pub(in super::super) fn last(&self) -> Seen {
        self.seen().pop().expect("a request came")
    }

    /// The targets of the requests that came.
    pub(in super::super) fn targets(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.target().to_owned()).collect()
    }

    /// How many connections came.
    pub(in super::super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(in super::super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Nothing came at all.
    #[track_caller]
    pub(in super::super) fn untouched(&self) {
        assert_eq!(self.connections(), 0, "the origin was connected to");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// Keeps each request of a connection and hands it to the handler, until one of both sides ends it.
fn each(
    handler: impl Fn(&Seen, &mut Conn) -> io::Result<()> + Send + Sync + 'static,
) -> impl Fn(Conn, &Shared) + Send + Sync + 'static {
    move |mut conn, shared| {
        while let Ok(Some(seen)) = conn.request() {
            shared.seen.lock().unwrap().push(seen.clone());
            if handler(&seen, &mut conn).is_err() {
                break;
            }
        }
    }
}

/// Answers with what came: the request's line as the body.
pub(in super::super) fn echo(seen: &Seen, conn: &mut Conn) -> io::Result<()> {
    let text = format!("{} {}", seen.line(), seen.length);
    let body = if seen.line().starts_with("HEAD ") { "" } else { &text };
    conn.say(&format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        text.len()
    ))
}

/// Answers always the same, with the length written in.
pub(in super::super) fn answer(
    head: &'static str,
    body: impl AsRef<[u8]> + Send + Sync + 'static,
) -> impl Fn(&Seen, &mut Conn) -> io::Result<()> + Send + Sync + 'static {
    move |seen, conn| {
        let body = body.as_ref();
        conn.say(&format!("{head}\r\nContent-Length: {}\r\n\r\n", body.len()))?;
        if !seen.line().starts_with("HEAD ") {
            conn.write_all(body)?;
        }
        conn.flush()
    }
}

/// An upstream that agrees to HTTP/2, and then says these bytes whatever it hears.
pub(in super::super) struct RawHttp2(Origin);

impl RawHttp2 {
    pub(in super::super) fn start(bytes: &'static [u8]) -> Self {
        Self(Origin::start(Some(Leaf::usual().config(&["h2"])), move |mut conn, _: &Shared| {
            drop(conn.write_all(bytes).and_then(|()| conn.flush()));
            conn.bye();
        }))
    }
}

impl std::ops::Deref for RawHttp2 {
    type Target = Origin;

    fn deref(&self) -> &Origin {
        &self.0
    }
}
