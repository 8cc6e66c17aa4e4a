//! HTTP/2 to upstreams.

use std::convert::Infallible;

use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Barrier, Semaphore};

use super::tls::Ca;
use super::*;
use crate::policy::reason::Reason;

/// An origin with HTTP/2, and what it answers to the connection with that number.
async fn origin<F, S>(ca: &Ca, streams: u32, answer: F) -> (u16, Arc<AtomicUsize>)
where
    F: Fn(usize, Request<Incoming>) -> S + Clone + Send + 'static,
    S: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let acceptor = ca.acceptor(&["origin.example.org"], &["h2", "http/1.1"]);
    server(move |number, stream| {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request| answer(number, request));
            let mut builder = Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

fn post(port: u16, body: Body) -> Outgoing {
    Outgoing { scheme: Scheme::Https, ..request(port, Method::POST, body) }
}

#[tokio::test]
async fn a_request_comes_as_it_was_and_its_answer_too() {
    let ca = Ca::new();
    let (port, _) = origin(&ca, 10, |_, request| async move {
        let seen =
            format!("{:?} {} {} {:?}", request.version(), request.method(), request.uri(), request.headers());
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let body = request.into_body().collect().await.unwrap();
        let seen = format!("{seen} {:?}", body.trailers());
        let body = Full::new(Bytes::from(seen)).with_trailers(async move { Some(Ok(trailers)) });
        Ok(Response::new(body.map_err(|never: Infallible| match never {}).boxed_unsync()))
    })
    .await;
    let upstream = trusting(ca.roots(), limits());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "2".parse().unwrap());
    let body = body::full("hello").with_trailers(async move { Some(Ok(trailers)) });
    let mut request = post(port, body.boxed_unsync());
    request.head.headers.insert("content-type", "application/grpc+proto".parse().unwrap());
    let response = send(&upstream, request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
    let seen = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    let start = format!("HTTP/2.0 POST https://origin.example.org:{port}/path?query ");
    assert!(seen.starts_with(&start), "{seen}");
    assert!(seen.contains(r#""te": "trailers""#), "{seen}");
    assert!(seen.contains(r#"{"x-end": "2"}"#), "{seen}");
}

fn plain(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(body::full(text))
}

#[tokio::test]
async fn many_requests_at_once_share_one_connection_from_the_first_on() {
    let ca = Ca::new();
    let all = Arc::new(Barrier::new(50));
    let (port, connections) = origin(&ca, 100, move |_, _| {
        let all = Arc::clone(&all);
        async move {
            all.wait().await;
            Ok(plain("hi"))
        }
    })
    .await;
    let upstream = Arc::new(trusting(ca.roots(), limits()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(
            async move { text(send(&upstream, https(port)).await.unwrap().into_body()).await.unwrap() },
        );
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), "hi");
    }
    assert_eq!(count(&connections), 1);
}

#[tokio::test]
async fn streams_that_never_end_do_not_keep_others_waiting() {
    let ca = Ca::new();
    let (port, connections) = origin(&ca, 2, |_, request| async move {
        if request.method() == Method::POST {
            return Ok(Response::new(Endless.boxed_unsync()));
        }
        Ok(plain("hi"))
    })
    .await;
    let upstream = trusting(ca.roots(), limits());
    let mut open = Vec::new();
    // The first two say how many streams there may be; nothing is known before they are answered.
    for _ in 0..2 {
        open.push(send(&upstream, post(port, body::empty())).await.unwrap());
    }
    assert_eq!(count(&connections), 1);
    let answer = send(&upstream, https(port)).await.unwrap();
    assert_eq!(text(answer.into_body()).await.unwrap(), "hi");
    assert_eq!(count(&connections), 2);
}

#[tokio::test]
async fn where_no_other_connection_can_be_made_requests_wait_for_a_stream() {
    let ca = Ca::new();
    let acceptor = ca.acceptor(&["origin.example.org"], &["h2"]);
    let (port, connections) = server(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            if number > 0 {
                return;
            }
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                let endless = request.method() == Method::POST;
                Ok::<_, Infallible>(if endless { Response::new(Endless.boxed_unsync()) } else { plain("hi") })
            });
            let mut builder = Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(2);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let upstream = Arc::new(trusting(ca.roots(), limits()));
    let open = send(&upstream, post(port, body::empty())).await.unwrap();
    // How many streams there may be is seen with the second request.
    let second = send(&upstream, post(port, body::empty())).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(
            async move { text(send(&upstream, https(port)).await.unwrap().into_body()).await.unwrap() },
        );
    }
    while count(&connections) < 2 {
        tokio::task::yield_now().await;
    }
    drop((open, second));
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), "hi");
    }
    assert_eq!(count(&connections), 2);
}

/// A body that neither goes on nor ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn a_request_that_could_not_connect_fails_all_that_waited_for_it() {
    let (port, connections) = server(|_, stream| async move { drop(stream) }).await;
    let upstream = Arc::new(upstream(limits()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(async move { send(&upstream, https(port)).await.unwrap_err().reason });
    }
    while let Some(reason) = tasks.join_next().await {
        assert_eq!(reason.unwrap(), Reason::UpstreamDown);
    }
    assert_eq!(count(&connections), 1);
}

#[tokio::test]
async fn a_request_that_is_given_up_while_others_wait_for_its_connection_leaves_it_to_them() {
    let ca = Ca::new();
    let acceptor = ca.acceptor(&["origin.example.org"], &[]);
    let (port, connections) = server(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            if number == 0 {
                return std::future::pending().await;
            }
            let mut stream = acceptor.accept(stream).await.unwrap();
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        }
    })
    .await;
    let upstream = Arc::new(trusting(ca.roots(), limits()));
    let task = |upstream: &Arc<Upstream>| {
        let upstream = Arc::clone(upstream);
        tokio::spawn(async move { send(&upstream, https(port)).await.map(|response| response.status()) })
    };
    let first = task(&upstream);
    while count(&connections) == 0 {
        tokio::task::yield_now().await;
    }
    let second = task(&upstream);
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_replaced() {
    let ca = Ca::new();
    let acceptor = ca.acceptor(&["origin.example.org"], &["h2"]);
    let (port, connections) = server(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            // One request, then it says that it is going away (GOAWAY).
            let served = Arc::new(Semaphore::new(0));
            let answered = Arc::clone(&served);
            let service = service_fn(move |_| {
                answered.add_permits(1);
                async { Ok::<_, Infallible>(plain("hi")) }
            });
            let connection =
                Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => return,
                permit = served.acquire() => permit.unwrap().forget(),
            }
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    })
    .await;
    let upstream = trusting(ca.roots(), limits());
    for _ in 0..4 {
        let response = send(&upstream, https(port)).await.unwrap();
        assert_eq!(text(response.into_body()).await.unwrap(), "hi");
    }
    assert!(count(&connections) > 1);
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up_and_its_connection_stays() {
    let ca = Ca::new();
    let (port, connections) = origin(&ca, 10, |_, request| async move {
        if request.method() == Method::POST {
            return std::future::pending().await;
        }
        Ok(plain("hi"))
    })
    .await;
    let limits = Limits { answer: Duration::from_millis(50), stall: Duration::from_millis(50), ..limits() };
    let upstream = trusting(ca.roots(), limits);
    for body in [body::empty(), body::full("hello"), body::full(vec![0; 4 << 20])] {
        let refusal = send(&upstream, post(port, body)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::UpstreamTimeout);
    }
    assert_eq!(text(send(&upstream, https(port)).await.unwrap().into_body()).await.unwrap(), "hi");
    assert_eq!(count(&connections), 1);
}

#[tokio::test]
async fn an_answer_that_pauses_for_too_long_is_given_up() {
    let ca = Ca::new();
    let answer = |_, _| async { Ok(Response::new(Endless.boxed_unsync())) };
    let (port, _) = origin(&ca, 10, answer).await;
    let upstream = trusting(ca.roots(), Limits { stall: Duration::from_millis(50), ..limits() });
    let response = send(&upstream, https(port)).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap_err().reason, Reason::UpstreamTimeout);
}

#[tokio::test]
async fn an_answer_that_breaks_is_broken() {
    let ca = Ca::new();
    let answer = |_, _| async {
        let error = BodyError { reason: Reason::EgressFailed, detail: String::new() };
        let frames = [Ok(http_body::Frame::data(Bytes::from("short"))), Err(error)];
        Ok(Response::new(http1::Frames(frames.into_iter().collect()).boxed_unsync()))
    };
    let (port, _) = origin(&ca, 10, answer).await;
    // Whether the reset overtakes the head is up to the origin.
    match send(&trusting(ca.roots(), limits()), https(port)).await {
        Ok(response) => {
            assert_eq!(text(response.into_body()).await.unwrap_err().reason, Reason::UpstreamInvalid);
        }
        Err(refusal) => assert_eq!(refusal.reason, Reason::UpstreamDown),
    }
}

#[tokio::test]
async fn a_megabyte_of_header_fields_is_refused() {
    let ca = Ca::new();
    let answer = |_, _| async {
        let mut response = Response::new(body::empty());
        for number in 0..1000 {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            response.headers_mut().insert(name, "v".repeat(1000).parse().unwrap());
        }
        Ok(response)
    };
    let (port, _) = origin(&ca, 10, answer).await;
    assert!(send(&trusting(ca.roots(), limits()), https(port)).await.is_err());
    let many = |_, _| async {
        let mut response = Response::new(body::empty());
        for number in 0..100 {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            response.headers_mut().insert(name, "v".parse().unwrap());
        }
        Ok(response)
    };
    let (port, _) = origin(&ca, 10, many).await;
    let refusal = send(&trusting(ca.roots(), limits()), https(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn the_length_in_an_answer_to_head_stays() {
    let ca = Ca::new();
    let answer = |_, _| async {
        let mut response = Response::new(body::empty());
        response.headers_mut().insert("content-length", "1000".parse().unwrap());
        Ok(response)
    };
    let (port, _) = origin(&ca, 10, answer).await;
    let head = Outgoing { scheme: Scheme::Https, ..request(port, Method::HEAD, body::empty()) };
    let response = send(&trusting(ca.roots(), limits()), head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "1000");
    assert_eq!(text(response.into_body()).await.unwrap(), "");
}

#[tokio::test]
async fn a_request_whose_body_breaks_has_that_reason() {
    let ca = Ca::new();
    let (port, _) = origin(&ca, 10, |_, request| async move {
        let _ = request.into_body().collect().await;
        std::future::pending().await
    })
    .await;
    let error = BodyError { reason: Reason::UploadTooLarge, detail: "too much".to_owned() };
    let frames = [Ok(http_body::Frame::data(Bytes::from("hello"))), Err(error)];
    let body = http1::Frames(frames.into_iter().collect()).boxed_unsync();
    let refusal = send(&trusting(ca.roots(), limits()), post(port, body)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UploadTooLarge);
}
