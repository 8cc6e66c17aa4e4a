//! HTTP/2 with the agent: hyper's, with our limits; each stream is judged like any other request.

mod streams;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::COOKIE;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use self::streams::{Stream, Streamed, Streams};
use super::deadline::Deadline;
use super::exchange::Exchange;
use super::request::{self, Asked};
use super::signal::Signal;
use super::target::{Target, path};
use super::tracked::Tracked;
use super::upload::Source;
use super::wire::Wire;
use crate::policy::reason::Reason;
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::refusal::{Format, Refusal};

/// How much of one request's body may be on its way to us; many times what the few microseconds between two containers
/// need at full speed.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all streams of a connection, which bounds what a connection can make us hold.
const CONNECTION_WINDOW: u32 = 512 << 10;

/// How much of one answer may wait for the agent to read it.
const SEND_BUFFER: usize = 64 << 10;

/// How long a connection may take to say good-bye.
const LINGER: Duration = Duration::from_secs(2);

/// How long a stream that the policy refuses by now may take to end by itself.
const CUT: Duration = Duration::from_millis(50);

/// Serves a connection to its end.
pub(super) async fn serve(egress: &Arc<Egress>, target: Arc<Target>, wire: Wire, signal: Signal) {
    let streams = Arc::new(Streams::new(egress));
    let service = service_fn(|request: Request<Incoming>| {
        let stream = Stream::begin(&streams);
        let exchange = Exchange::begin(egress, "HTTP/2.0");
        let (target, signal) = (Arc::clone(&target), signal.another());
        async move {
            let answer = answer(exchange, target, signal, request, &stream).await;
            Ok::<_, Infallible>(answer.map(|body| Streamed { body, stream }))
        }
    });
    let limits = &egress.limits;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let mut signal = signal.another();
    let mut deadline = Deadline::default();
    let (mut leaving, mut cutting): (Option<Instant>, Option<Instant>) = (None, None);
    poll_fn(|context| {
        loop {
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut leave = false;
            while signal.poll_changed(context).is_ready() {
                let snapshot = egress.live.now();
                leave |= signal.draining() || snapshot.rules.judge_target(&target.as_rules()).is_err();
                if streams.any_refused(&snapshot.rules, &target) {
                    cutting = Some(Instant::now() + CUT);
                }
            }
            let idle = streams.open() == 0;
            let until = match leaving {
                // While requests are under way, the one who drains sets the limit.
                Some(since) if idle => since + LINGER,
                _ if idle => streams.last() + limits.idle,
                // An upstream that is silent has limits of its own; this one is for an agent that doesn't read.
                _ => streams.last() + limits.answer + limits.stall,
            };
            if deadline.poll(cutting.map_or(until, |cut| cut.min(until)), context).is_ready() {
                let cut = cutting.take_if(|cut| *cut <= Instant::now());
                if cut.is_some() {
                    // A stream that waits for the agent to read isn't asked for more, and so can't be cut by itself.
                    if streams.any_refused(&egress.live.now().rules, &target) {
                        return Poll::Ready(());
                    }
                } else if leaving.is_some() || !idle {
                    return Poll::Ready(());
                } else {
                    leave = true;
                }
            } else if !leave {
                return Poll::Pending;
            }
            if leave && leaving.is_none() {
                leaving = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
        }
    })
    .await;
}

/// Answers one stream.
async fn answer(
    mut exchange: Box<Exchange>,
    target: Arc<Target>,
    signal: Signal,
    request: Request<Incoming>,
    stream: &Stream,
) -> Response<Tracked> {
    let (mut head, body) = request.into_parts();
    exchange.aims_at(&target);
    let path = if head.headers.len() > exchange.egress().limits.headers {
        Err(Refusal::new(Reason::HeadTooLarge, "the head has more fields than egress accepts"))
    } else {
        place(&target, &head)
    };
    exchange.asks(head.method.as_str(), path.as_ref().map_or("", |path| path.path()), false);
    match path {
        Ok(path) => {
            exchange.stands(&stream.asks(&head.method, &path));
            head.uri = Uri::from(path);
            join_cookies(&mut head.headers);
            let body = (!body.is_end_stream()).then_some(Source::Http2(body));
            request::answer(exchange, signal, Asked { head, body }).await
        }
        Err(refusal) => Tracked::refusal(exchange, signal, &refusal, Format::preferred(&head.headers)),
    }
}

/// The path of a request for this place (RFC 9113, section 8.3.1).
fn place(target: &Target, head: &http::request::Parts) -> Result<PathAndQuery, Refusal> {
    let malformed = |detail| Refusal::new(Reason::RequestMalformed, detail);
    if head.method == Method::CONNECT {
        return Err(malformed("CONNECT is only for the proxy itself, not within a session"));
    }
    if head.uri.scheme_str().is_some_and(|scheme| scheme != "https") {
        return Err(malformed("the `:scheme` of the request is not https"));
    }
    match head.uri.authority() {
        Some(authority) if target.is(authority.as_str()) => target.check_host(&head.headers, false)?,
        Some(_) => {
            return Err(Refusal::new(
                Reason::HostMismatch,
                "the `:authority` names another place than CONNECT did",
            ));
        }
        None => target.check_host(&head.headers, true)?,
    }
    path(head.uri.path_and_query().map_or("", PathAndQuery::as_str))
}

/// Puts the pieces of a Cookie field together again (RFC 9113, section 8.2.3): HTTP/1 has one.
fn join_cookies(headers: &mut http::HeaderMap) {
    let mut values = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (values.next(), values.next()) else { return };
    let mut joined = [first, second].join(b"; ".as_slice());
    for value in values {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value);
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};

    use super::join_cookies;

    #[test]
    fn the_pieces_of_a_cookie_become_one_field() {
        let mut headers = HeaderMap::new();
        join_cookies(&mut headers);
        assert!(headers.is_empty());
        for piece in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(piece));
        }
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }
}
