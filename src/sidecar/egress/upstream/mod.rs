//! The way out: resolving, checking, dialling, TLS, a pool of connections, HTTP/1 and HTTP/2.

mod ahead;
mod answer;
mod connect;
mod dial;
mod http1;
mod http2;
mod key;
mod pool;
mod proxy;
mod resolve;
mod resolver;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod websocket;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hickory_resolver::config::ResolveHosts;
use http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY};
use http::uri::PathAndQuery;
use http::{Method, Response, request, response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use self::http1::{Buffers, Connection, Exchanged, Failure};
use self::key::Key;
use self::pool::{Checkout, Dialling, Home, Pool};
use self::resolver::Resolver;
use self::tls::{Offer, Protocol, Tls};
use super::body::{self, Body};
use super::limits::Limits;
use super::live::Snapshot;
use super::refusal::Refusal;
use super::tls::Roots;
use super::websocket::accept_key;
use crate::policy::egress::{Route, Scheme};
use crate::policy::host::Host;
use crate::policy::reason::Reason;

/// A byte stream, whatever lies below it.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A request that the rules allowed, ready to leave: hop-by-hop headers are gone, the credential is in.
pub(crate) struct Outgoing {
    /// The policy that allowed it.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The route that allowed it.
    pub(crate) route: Arc<Route>,
    /// The scheme.
    pub(crate) scheme: Scheme,
    /// The host.
    pub(crate) host: Host,
    /// The TCP port.
    pub(crate) port: u16,
    /// The method, the path with its query as `uri`, and the headers without Host: that is made from the target.
    pub(crate) head: request::Parts,
    /// The body, trailers included.
    pub(crate) body: Body,
    /// Whether to ask for a WebSocket: the `Sec-WebSocket-*` headers are in the head, Upgrade and Connection are not.
    pub(crate) websocket: bool,
}

/// What an upstream answered.
pub(crate) enum Answer {
    /// A response; hop-by-hop headers are gone. Never 101.
    Response(Response<Body>),
    /// The WebSocket that was asked for: `Sec-WebSocket-Accept` was checked, nothing of the stream was read yet.
    Upgraded {
        /// The head of the 101.
        head: response::Parts,
        /// The stream; bytes that arrived with the head come first.
        io: Box<dyn Io>,
    },
}

/// All connections to upstreams.
#[derive(Debug)]
pub(crate) struct Upstream {
    resolver: Resolver,
    tls: Tls,
    pool: Arc<Pool>,
    limits: Limits,
    own: OnceLock<Vec<SocketAddr>>,
    /// Whether other sidecars are in the same container.
    shared: bool,
    /// The connections that may still be made.
    permits: Arc<Semaphore>,
}

impl Upstream {
    /// Prepares the way out. With other sidecars in the same container (`shared`) its addresses are no upstream's, and
    /// its `/etc/hosts` is the gate's.
    ///
    /// # Errors
    ///
    /// The resolver or TLS can't be set up.
    pub(crate) fn new(roots: &Roots, limits: &Limits, shared: bool) -> anyhow::Result<Self> {
        Ok(Self {
            resolver: Resolver::system(if shared { ResolveHosts::Never } else { ResolveHosts::Auto })?,
            tls: Tls::new(Arc::clone(&roots.store))?,
            pool: Arc::default(),
            limits: limits.clone(),
            own: OnceLock::new(),
            shared,
            permits: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Says once where egress itself listens: it never connects there.
    pub(crate) fn avoid(&self, own: Vec<SocketAddr>) {
        // Those that were said first stay.
        let _ = self.own.set(own);
    }

    /// Sends a request and gives the head of the answer as soon as it is there; the bodies go on from there. Dropping
    /// the future or the answer's body gives up the request and its connection.
    ///
    /// # Errors
    ///
    /// Everything that keeps the upstream from answering, each with its reason; nothing of it is tried again but, once and
    /// on a new connection, a request that met a pooled connection which was just closed, and which can't have been carried
    /// out, or may be carried out twice (RFC 9110, section 9.2.2), and one of which the upstream says that it has not been.
    pub(crate) async fn send(&self, request: Outgoing) -> Result<Answer, Refusal> {
        let Outgoing { snapshot, route, scheme, host, port, head, mut body, websocket } = request;
        if head.method == Method::CONNECT {
            return Err(Refusal::new(Reason::RequestMalformed, "CONNECT is no request to an upstream"));
        }
        let key = Key { generation: snapshot.generation, scheme, host, port, route };
        let authority = authority(&key);
        if websocket {
            return Box::pin(self.open_websocket(&snapshot, &key, &authority, head)).await;
        }
        let mut deadline = None;
        let (mut fresh, mut again) = (false, false);
        loop {
            let sent = match self.pool.checkout(&key, fresh) {
                Checkout::Http1(connection) => self.send_http1(connection, &head, &authority, body).await,
                Checkout::Http2(sender) => http2::exchange(sender, &head, body, &self.limits).await,
                Checkout::Wait(other) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.limits.dial);
                    wait(other, deadline, &authority).await?;
                    continue;
                }
                Checkout::Dial(dialling) => {
                    match Box::pin(self.dial(dialling, &snapshot, &key, &authority)).await? {
                        Some(Dialled::Http1(connection)) => {
                            self.send_http1(connection, &head, &authority, body).await
                        }
                        Some(Dialled::Http2(sender)) => {
                            http2::exchange(sender, &head, body, &self.limits).await
                        }
                        None => {
                            fresh = false;
                            continue;
                        }
                    }
                }
            };
            match sent {
                Ok(response) => return Ok(Answer::Response(response)),
                Err(Failure { again: Some(same), .. }) if !again => (body, fresh, again) = (same, true, true),
                Err(Failure { refusal, .. }) => return Err(refusal),
            }
        }
    }

    /// Makes a connection. None where it could not be made and another one does.
    async fn dial(
        &self,
        dialling: Dialling,
        snapshot: &Snapshot,
        key: &Key,
        authority: &str,
    ) -> Result<Option<Dialled>, Refusal> {
        let dialled = match self.connect(snapshot, key, Offer::Both).await {
            Ok((stream, Protocol::Http1)) => return Ok(Some(Dialled::Http1(dialling.http1(stream)))),
            Ok((stream, Protocol::Http2)) => http2::handshake(stream, authority, &self.limits).await,
            Err(refusal) => Err(refusal),
        };
        match dialled {
            Ok(sender) => Ok(Some(Dialled::Http2(dialling.http2(sender)))),
            Err(refusal) => dialling.failed(refusal).map_or(Ok(None), Err),
        }
    }

    async fn send_http1(
        &self,
        connection: Connection,
        head: &request::Parts,
        authority: &str,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        match http1::exchange(connection, self.http1_request(head, authority, false), body).await? {
            Exchanged::Response(response) => Ok(response),
            // Refused by the exchange already.
            Exchanged::Switched(..) => Err(invalid(authority, "it changes the protocol unasked").into()),
        }
    }

    async fn open_websocket(
        &self,
        snapshot: &Snapshot,
        key: &Key,
        authority: &str,
        mut head: request::Parts,
    ) -> Result<Answer, Refusal> {
        head.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        let Some(accept) = head.headers.get(SEC_WEBSOCKET_KEY).map(|key| accept_key(key.as_bytes())) else {
            return Err(Refusal::new(Reason::RequestMalformed, "the request for a WebSocket has no key"));
        };
        let (stream, _) = self.connect(snapshot, key, Offer::Http1).await?;
        let connection = Connection::fresh(stream, Buffers::default(), Home::none(key));
        let request = self.http1_request(&head, authority, true);
        match http1::exchange(connection, request, body::empty()).await.map_err(|failure| failure.refusal)? {
            Exchanged::Response(response) => Ok(Answer::Response(response)),
            Exchanged::Switched(answer, connection) => {
                websocket::check(&head.headers, &answer.headers, &accept)
                    .map_err(|what| invalid(authority, what))?;
                let (stream, read) = connection.into_stream();
                let head = answer::parts(&head.method, answer);
                Ok(Answer::Upgraded { head, io: Box::new(websocket::Rest { read, stream }) })
            }
        }
    }

    fn http1_request<'a>(
        &'a self,
        head: &'a request::Parts,
        authority: &'a str,
        websocket: bool,
    ) -> http1::Request<'a> {
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        http1::Request {
            method: &head.method,
            target,
            authority,
            headers: &head.headers,
            websocket,
            limits: &self.limits,
        }
    }

    /// Closes the idle connections: the policy changed, and with it what may be connected to.
    pub(crate) fn clear(&self) {
        self.pool.clear();
    }
}

/// A connection that was just made.
enum Dialled {
    Http1(Connection),
    Http2(http2::Sender),
}

/// The authority of a request's URL: the port is named where it isn't the scheme's own.
fn authority(key: &Key) -> Cow<'_, str> {
    let own = match key.scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
    };
    match &key.host {
        Host::Name(name) if key.port == own => Cow::Borrowed(name),
        host if key.port == own => Cow::Owned(host.to_string()),
        host => Cow::Owned(format!("{host}:{}", key.port)),
    }
}

/// Waits for the connection that another request makes.
async fn wait(
    mut other: watch::Receiver<Option<Refusal>>,
    deadline: Instant,
    authority: &str,
) -> Result<(), Refusal> {
    match timeout_at(deadline, other.changed()).await {
        // Without a word: there is a connection, or it was given up.
        Ok(Err(_)) => Ok(()),
        Ok(Ok(())) => other.borrow().clone().map_or(Ok(()), Err),
        Err(_) => Err(late(authority)),
    }
}

fn late(authority: &str) -> Refusal {
    Refusal::new(Reason::UpstreamTimeout, format!("{authority} could not be reached in time"))
}

fn invalid(authority: &str, what: &str) -> Refusal {
    Refusal::new(Reason::UpstreamInvalid, format!("{authority}: {what}"))
}
