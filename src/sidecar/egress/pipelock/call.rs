//! Calls to the scanner: few at a time, on connections that are kept, each within a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::question::Question;
use super::{answer, unavailable};
use crate::policy::host::{Authority, Host};
use crate::policy::pipelock::TOKEN;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::limits::Limits;
use crate::sidecar::listen::lookup;

/// How long a connection is kept for the next call: less than the scanner keeps it.
const IDLE: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 256 << 10;

/// The numbers since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// What was allowed.
    pub(crate) allowed: AtomicU64,
    /// What was denied.
    pub(crate) denied: AtomicU64,
    /// What was asked without getting a verdict.
    pub(crate) unavailable: AtomicU64,
    /// The calls that are under way, those that wait for their turn among them.
    pub(crate) under_way: AtomicU64,
    /// The connections that were made.
    pub(crate) connections: AtomicU64,
    /// How long the verdicts took together, in microseconds.
    pub(crate) micros: AtomicU64,
}

/// What all requests share to ask the scanner.
#[derive(Debug)]
pub(crate) struct Scanner {
    places: Semaphore,
    time: Duration,
    idle: Mutex<Vec<Connection>>,
    figures: Figures,
}

/// A connection between two calls.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: Arc<str>,
    since: Instant,
}

impl Scanner {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            places: Semaphore::new(limits.scans.min(Semaphore::MAX_PERMITS)),
            time: limits.scan,
            idle: Mutex::default(),
            figures: Figures::default(),
        }
    }

    /// The numbers since the start.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Asks, and waits for the verdict or for the end of the time that it may take.
    ///
    /// # Errors
    ///
    /// It isn't allowed, or there is no verdict.
    pub(super) async fn ask(
        &self,
        authority: &Arc<str>,
        question: &Question,
        id: &str,
    ) -> Result<(), BodyError> {
        let _under_way = UnderWay::new(&self.figures.under_way);
        let started = Instant::now();
        let verdict = match timeout(self.time, self.call(authority, question, id)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(unavailable("the scanner gave no verdict in time")),
        };
        let counter = match verdict.as_ref().map_err(|error| error.reason) {
            Ok(()) => &self.figures.allowed,
            Err(Reason::ScannerDenied) => &self.figures.denied,
            Err(_) => &self.figures.unavailable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.figures.micros.fetch_add(micros, Ordering::Relaxed);
        verdict
    }

    async fn call(&self, authority: &Arc<str>, question: &Question, id: &str) -> Result<(), BodyError> {
        // It is never closed.
        let _place = self.places.acquire().await;
        let body = question.json(id);
        loop {
            let kept = self.kept(authority);
            let reused = kept.is_some();
            let sender = match kept {
                Some(sender) => sender,
                None => self.connect(authority).await?,
            };
            match exchange(sender, authority, &body).await {
                Ok((status, answer, sender)) => {
                    self.keep(sender, authority);
                    return answer::verdict(status, &answer, question, id);
                }
                // A scan changes nothing, so one that met a connection which was just closed is asked for again.
                Err(_) if reused => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A connection that an earlier call has left.
    fn kept(&self, authority: &Arc<str>) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| {
            !kept.sender.is_closed() && kept.since.elapsed() < IDLE && kept.authority == *authority
        });
        idle.pop().map(|kept| kept.sender)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>, authority: &Arc<str>) {
        let kept = Connection { sender, authority: Arc::clone(authority), since: Instant::now() };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
    }

    async fn connect(&self, authority: &str) -> Result<SendRequest<Full<Bytes>>, BodyError> {
        let stream = dial(authority).await.ok_or_else(|| unavailable("the scanner can't be reached"))?;
        self.figures.connections.fetch_add(1, Ordering::Relaxed);
        // Without it the end of a question waits for an acknowledgement (Nagle's algorithm).
        let _ = stream.set_nodelay(true);
        let begun = Builder::new().max_buf_size(MAX_ANSWER).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = begun.map_err(|_| unavailable("the scanner can't be reached"))?;
        // How it ends is told to its call, and without one it doesn't matter.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn dial(authority: &str) -> Option<TcpStream> {
    let (host, port) = Authority::parse_with_port(authority).ok()?;
    let addresses = match host {
        Host::Address(address) => vec![address],
        Host::Name(name) => lookup(&name).await.ok()?,
    };
    for address in addresses {
        if let Ok(stream) = TcpStream::connect((address, port)).await {
            return Some(stream);
        }
    }
    None
}

/// Sends a question and reads the whole answer, after which the connection can take the next one.
async fn exchange(
    mut sender: SendRequest<Full<Bytes>>,
    authority: &str,
    body: &Bytes,
) -> Result<(StatusCode, Bytes, SendRequest<Full<Bytes>>), BodyError> {
    let broken = |_| unavailable("the scanner broke the connection off, or answered what is no HTTP");
    let request = Request::post("/api/v1/scan")
        .header(HOST, authority)
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body.clone()));
    let request = request.map_err(|_| unavailable("the scanner has no address"))?;
    sender.ready().await.map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let answer = answer.map_err(|_| unavailable("the scanner's answer breaks off, or is too long"))?;
    Ok((status, answer.to_bytes(), sender))
}

/// Counts a call while it is under way.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
