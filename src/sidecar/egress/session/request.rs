//! One request, whatever it came in on: judged, given its credential, sent, and its answer looked into.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{ACCEPT_ENCODING, ALT_SVC, EXPECT, HOST};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;

use super::behind::Behind;
use super::exchange::Exchange;
use super::held::Held;
use super::inspect::{self, Frames, Inspected, Inspector};
use super::signal::Signal;
use super::target;
use super::tracked::Tracked;
use super::upload::{Judged, Progress, Source, Upload, too_large};
use crate::policy::egress::{OnSecret, Route, Scheme};
use crate::policy::reason::Reason;
use crate::policy::rules::Permit;
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::body::{self, Body};
use crate::sidecar::egress::credential::{Injected, is_same};
use crate::sidecar::egress::http1::strip_hop_by_hop;
use crate::sidecar::egress::live::Snapshot;
use crate::sidecar::egress::pipelock::{self, Inspection};
use crate::sidecar::egress::refusal::{Format, Refusal};
use crate::sidecar::egress::scrub;
use crate::sidecar::egress::tools;
use crate::sidecar::egress::upstream::{Answer, Io, Outgoing};
use crate::sidecar::used::Claim;

/// A request whose head was read and found sound.
pub(super) struct Asked {
    /// The method, the path with its query as `uri`, and all headers.
    pub(super) head: http::request::Parts,
    /// The body; none where there is none.
    pub(super) body: Option<Source>,
}

/// A WebSocket that was opened.
pub(super) struct Opened {
    /// The head of the 101.
    pub(super) head: http::response::Parts,
    /// The stream of the upstream.
    pub(super) io: Box<dyn Io>,
    /// What takes the credential out of what the upstream sends.
    pub(super) scrubber: Option<scrub::Frames>,
    /// What looks into what the agent sends.
    pub(super) inspector: Option<Frames>,
    /// Where that waits for the second scanner.
    pub(super) scanned: Option<pipelock::Frames>,
    /// The request that opened it.
    pub(super) exchange: Box<Exchange>,
    /// What cuts it.
    pub(super) signal: Signal,
}

/// Answers a request: with what its upstream says, or with the refusal.
pub(super) fn answer(
    mut exchange: Box<Exchange>,
    mut signal: Signal,
    asked: Asked,
) -> impl Future<Output = Response<Tracked>> {
    let format = Format::preferred(&asked.head.headers);
    // Before the future begins, so that it holds only what sending needs, or waiting.
    let prepared = match Held::begin(&mut exchange, &signal) {
        None => Judgement::Made(Prepared::new(&mut exchange, &signal, asked, false)),
        Some(held) => Judgement::Waits(Box::new((held, asked))),
    };
    async move {
        let prepared = match prepared {
            Judgement::Made(prepared) => prepared,
            Judgement::Waits(waiting) => {
                let (held, asked) = *waiting;
                Box::pin(Prepared::later(held, &mut exchange, &mut signal, asked, false)).await
            }
        };
        let answer = match prepared {
            Ok(prepared) => prepared.send(&mut exchange, &mut signal).await,
            Err(refusal) => Err(refusal),
        };
        let refusal = match answer {
            Ok((Answer::Response(response), ..)) => return Tracked::answer(exchange, signal, response),
            Ok((Answer::Upgraded { .. }, ..)) => {
                Refusal::new(Reason::UpstreamInvalid, "the upstream changed the protocol without being asked")
            }
            Err(refusal) => refusal,
        };
        Tracked::refusal(exchange, signal, &refusal, format)
    }
}

/// Opens a WebSocket, or answers as any other request is answered.
pub(super) async fn open(
    mut exchange: Box<Exchange>,
    mut signal: Signal,
    asked: Asked,
) -> Result<Opened, Response<Tracked>> {
    let format = Format::preferred(&asked.head.headers);
    let prepared = match Held::begin(&mut exchange, &signal) {
        None => Prepared::new(&mut exchange, &signal, asked, true),
        Some(held) => Box::pin(Prepared::later(held, &mut exchange, &mut signal, asked, true)).await,
    };
    let scan = prepared.as_ref().ok().and_then(|prepared| prepared.scan.as_deref());
    let scanned = scan.map(|scan| pipelock::Frames::new(scan.inspection.clone()));
    let answer = match prepared {
        Ok(prepared) => prepared.send(&mut exchange, &mut signal).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok((Answer::Upgraded { head, io }, scrubber, inspector)) => {
            exchange.answered(head.status);
            Ok(Opened { head, io, scrubber, inspector, scanned, exchange, signal })
        }
        Ok((Answer::Response(response), ..)) => Err(Tracked::answer(exchange, signal, response)),
        Err(refusal) => Err(Tracked::refusal(exchange, signal, &refusal, format)),
    }
}

/// How a request was judged.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is nearly every one, and an allocation costs more than the room"
)]
enum Judgement {
    Made(Result<Prepared, Refusal>),
    Waits(Box<(Held, Asked)>),
}

/// A request that was allowed.
struct Prepared {
    egress: Arc<Egress>,
    outgoing: Outgoing,
    injected: Option<Injected>,
    upload: Option<Arc<Progress>>,
    /// What looks into the messages of a WebSocket.
    frames: Option<Frames>,
    /// What the second scanner is asked about, where there is one.
    scan: Option<Box<Scan>>,
}

/// What the second scanner is asked about before anything leaves.
struct Scan {
    inspection: Inspection,
    url: String,
    /// The headers, but for the one that the credential takes.
    fields: String,
    /// What is known of the body.
    upload: Option<Arc<Progress>>,
}

impl Prepared {
    /// Judges a request and makes of it what leaves.
    fn new(exchange: &mut Exchange, signal: &Signal, asked: Asked, websocket: bool) -> Result<Self, Refusal> {
        let Asked { mut head, body } = asked;
        let egress = Arc::clone(exchange.egress());
        let snapshot = egress.live.now();
        let target = exchange.target().cloned();
        let target =
            target.ok_or_else(|| Refusal::new(Reason::EgressFailed, "a request without a target"))?;
        let length = body.as_ref().and_then(Source::length);
        strip_hop_by_hop(&mut head.headers);
        head.headers.remove(HOST);
        // Answered here: an upstream that waits for a body gets it.
        head.headers.remove(EXPECT);
        let (route, inspector) = allow(exchange, &snapshot, &mut head, length)?;

        let mut progress = None;
        let mut frames = None;
        let body: Body = if let Some(source) = body {
            let judged = Judged {
                egress: Arc::clone(&egress),
                signal: signal.another(),
                target: Arc::clone(&target),
                method: head.method.clone(),
                path: target::path_of(&head.uri),
                snapshot: Arc::clone(&snapshot),
                credential: route.credential.clone(),
                claimed: exchange.is_claimed(),
            };
            let upload = Upload::new(source, judged, route.max_upload_bytes, egress.limits.stall);
            exchange.counts(upload.progress());
            progress = Some(Arc::clone(upload.progress()));
            Body::new(Inspected::new(upload, inspector, &head.headers)?)
        } else {
            frames = websocket.then(|| Frames::new(inspector));
            body::empty()
        };

        let scan = exchange.inspect(&snapshot).map(|inspection| {
            let own = route.credential.as_ref().and_then(|name| snapshot.credentials.header(name));
            let fields = head.headers.iter().filter(|(name, _)| own.is_none_or(|own| !is_same(own, name)));
            let (url, fields) = (target.url_of(&target::path_of(&head.uri)), pipelock::written(fields));
            Box::new(Scan { inspection, url, fields, upload: progress.clone() })
        });

        let mut injected = None;
        if let Some(name) = &route.credential {
            if target.scheme != Scheme::Https {
                return Err(Refusal::new(Reason::EgressFailed, "a credential never travels without TLS"));
            }
            readable_encodings(&mut head.headers);
            let put_in = snapshot.credentials.inject(name, &mut head.headers)?;
            exchange.carries(name, put_in.replaced);
            injected = Some(put_in);
        }

        let outgoing = Outgoing {
            snapshot,
            route,
            scheme: target.scheme,
            host: target.host.clone(),
            port: target.port,
            head,
            body,
            websocket,
        };
        Ok(Self { egress, outgoing, injected, upload: progress, frames, scan })
    }

    /// The same for a request that is held, once it is allowed.
    async fn later(
        held: Held,
        exchange: &mut Exchange,
        signal: &mut Signal,
        asked: Asked,
        websocket: bool,
    ) -> Result<Self, Refusal> {
        held.wait(exchange, signal).await?;
        Self::new(exchange, signal, asked, websocket)
    }

    /// Sends it and waits for the head of its answer, or until the policy refuses it.
    async fn send(
        self,
        exchange: &mut Exchange,
        signal: &mut Signal,
    ) -> Result<(Answer, Option<scrub::Frames>, Option<Frames>), Refusal> {
        let Self { egress, outgoing, injected, upload, frames, scan } = self;
        let inspection = scan.as_ref().map(|scan| scan.inspection.clone());
        let mut sending = pin!(send(&egress, outgoing, scan));
        let answer = poll_fn(|context| {
            // Before the body says so, which doesn't know the rule.
            if signal.changed() {
                exchange.judge_again()?;
            }
            if let Poll::Ready(answer) = sending.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            while signal.poll_changed(context).is_ready() {
                exchange.judge_again()?;
            }
            Poll::Pending
        })
        .await;
        if inspection.is_some_and(|inspection| inspection.tally().has_denied_url()) {
            // Where in the path it is, only the scanner knows.
            exchange.tells("/***");
        }
        // Where the agent's own body is the cause, the upstream's side of it is only a consequence.
        let cause = || upload.as_deref().and_then(Progress::failure).cloned();
        let mut answer = answer.map_err(|refusal| cause().unwrap_or(refusal))?;
        if let Answer::Response(response) = &mut answer {
            // It would invite the agent to another place.
            response.headers_mut().remove(ALT_SVC);
        }
        match (answer, injected) {
            (Answer::Response(response), Some(injected)) => {
                Ok((Answer::Response(scrub::response(injected, response)?), None, None))
            }
            (Answer::Upgraded { mut head, io }, Some(Injected { needles: Some(needles), .. })) => {
                scrub::headers(&needles, &mut head.headers);
                Ok((Answer::Upgraded { head, io }, Some(scrub::Frames::new(needles)), frames))
            }
            (answer, _) => Ok((answer, None, frames)),
        }
    }
}

/// Sends a request that the second scanner allows, without the tools that its route takes out of bodies.
async fn send(egress: &Egress, mut outgoing: Outgoing, scan: Option<Box<Scan>>) -> Result<Answer, Refusal> {
    if let Some(scan) = &scan {
        Box::pin(scan.inspection.head(&scan.url, &scan.fields)).await?;
    }
    if !outgoing.route.strip_tools.is_empty() {
        let Outgoing { route, head, body, .. } = &mut outgoing;
        let whole = std::mem::replace(body, body::empty());
        *body = Box::pin(tools::take_out(&route.strip_tools, &mut head.headers, whole)).await?;
    }
    if let Some(Scan { inspection, upload: Some(upload), .. }) = scan.map(|scan| *scan)
        && !outgoing.body.is_end_stream()
    {
        let inner = std::mem::replace(&mut outgoing.body, body::empty());
        outgoing.body = Body::new(Behind::new(inner, &outgoing.head.headers, inspection, upload)?);
    }
    egress.upstream.send(outgoing).await
}

/// Judges a request that is about to be sent, and uses up what lets it through once. What else would have it refused
/// comes before that.
fn allow(
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    head: &mut http::request::Parts,
    length: Option<u64>,
) -> Result<(Arc<Route>, Inspector), Refusal> {
    loop {
        let permit = judge(exchange, snapshot, head)?;
        let route = Arc::clone(&permit.route);
        let inspector = inspect(exchange, snapshot, &route, head)?;
        let mut permits = vec![permit];
        overrides(exchange, snapshot, &head.headers, &mut permits)?;
        match (length, route.max_upload_bytes) {
            (Some(length), Some(limit)) if length > limit => return Err(too_large(limit).into()),
            _ => {}
        }
        let is_once = permits.iter().any(|permit| permit.once.is_some());
        if let Some(name) = route.credential.as_ref().filter(|_| is_once) {
            snapshot.credentials.inject(name, &mut HeaderMap::new())?;
        }
        // What was another request's is known to be from here on.
        if exchange.claim(&permits)? == Claim::Won {
            return Ok((route, inspector));
        }
    }
}

/// Judges a request. One that is refused may have a secret in its path, which must not be told.
fn judge(
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    head: &http::request::Parts,
) -> Result<Permit, Refusal> {
    exchange.judge(snapshot).map_err(|refusal| {
        let path = target::path_of(&head.uri);
        match inspect::covered_path(&snapshot.credentials.known(), path.path()) {
            Some(path) => {
                exchange.tells(&path);
                // A hint and what could be asked for would have the path.
                Refusal { hint: None, ask: None, ..refusal }
            }
            None => refusal,
        }
    })
}

/// Looks for secrets in the head of a request.
fn inspect(
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    route: &Arc<Route>,
    head: &mut http::request::Parts,
) -> Result<Inspector, Refusal> {
    let target = exchange.target().cloned();
    let target = target.ok_or_else(|| Refusal::new(Reason::EgressFailed, "a request without a target"))?;
    let mut inspector = Inspector::new(exchange.egress(), &target, route, snapshot);
    let own = route.credential.as_ref().and_then(|name| snapshot.credentials.header(name));
    let (looked, judged) =
        inspect::look(&mut inspector, head.method.as_str(), &head.uri, &mut head.headers, own);
    exchange.looked(looked.scanned, inspector.take_noted());
    let Some(covered) = looked.uri else { return judged.map(|()| inspector) };
    let path = target::path_of(&covered);
    let is_same = path.path() == target::path_of(&head.uri).path();
    exchange.tells(path.path());
    judged?;
    if route.on_secret == OnSecret::Redact {
        head.uri = covered;
        exchange.is_covered();
        // It is another path now.
        if !is_same && exchange.judge(snapshot)?.route != *route {
            let detail = "the path without the secret belongs to another route";
            return Err(Refusal {
                rule: Some(route.source.clone()),
                ..Refusal::new(Reason::SecretSent, detail)
            });
        }
    }
    Ok(inspector)
}

/// Judges what the headers make of a request at origins that let them override its method or its path.
fn overrides(
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    permits: &mut Vec<Permit>,
) -> Result<(), Refusal> {
    let names = ["x-http-method", "x-http-method-override", "x-method-override"];
    let count = names.iter().map(|name| headers.get_all(*name).iter().count()).sum::<usize>();
    if count > names.len() {
        // Each of them is a judgement of the path, which may be a long one.
        let detail = "the headers that override the method are more than their names";
        return Err(Refusal::new(Reason::RequestMalformed, detail));
    }
    for name in names {
        for value in headers.get_all(name) {
            let method = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_uppercase();
            permits.push(exchange.judge_as(snapshot, &method)?);
        }
    }
    match ["x-original-url", "x-rewrite-url"].iter().find(|name| headers.contains_key(**name)) {
        Some(name) => Err(Refusal::new(
            Reason::PathDenied,
            format!("the header `{name}` is the path of the request to some origins"),
        )),
        None => Ok(()),
    }
}

/// Asks only for encodings that can be looked into: the answer may hold what was injected.
fn readable_encodings(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let mut kept = String::new();
    for value in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for entry in value.split(',').map(str::trim) {
            let coding = entry.split(';').next().unwrap_or_default().trim();
            if ["gzip", "br", "zstd", "identity"].iter().any(|known| coding.eq_ignore_ascii_case(known)) {
                if !kept.is_empty() {
                    kept.push_str(", ");
                }
                kept.push_str(entry);
            }
        }
    }
    let value = if kept.is_empty() { None } else { HeaderValue::from_str(&kept).ok() };
    headers.insert(ACCEPT_ENCODING, value.unwrap_or(HeaderValue::from_static("identity")));
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;
    use http::{HeaderMap, HeaderValue};

    use super::readable_encodings;

    fn kept(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        readable_encodings(&mut headers);
        assert!(headers.get_all(ACCEPT_ENCODING).iter().count() < 2);
        headers.get(ACCEPT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_encodings_that_can_be_looked_into_are_asked_for() {
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&["gzip, deflate, br;q=0.5"]).as_deref(), Some("gzip, br;q=0.5"));
        assert_eq!(kept(&["deflate", "ZSTD"]).as_deref(), Some("ZSTD"));
        assert_eq!(kept(&["deflate, compress"]).as_deref(), Some("identity"));
        assert_eq!(kept(&["*"]).as_deref(), Some("identity"));
    }
}
