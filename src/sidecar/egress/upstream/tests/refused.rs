//! Requests of which an HTTP/2 upstream says that it has done nothing for them (RFC 9113, section 8.7).

use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Notify;

use super::http1::Frames;
use super::tls::Ca;
use super::*;
use crate::policy::reason::Reason;

/// An origin that refuses the first streams, as many as are said, and answers the others with their bodies. With `read`
/// it takes a body before it refuses. Gives its port, the connections, and the streams that came.
async fn refusing(ca: &Ca, refused: usize, read: bool) -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let acceptor = ca.acceptor(&["origin.example.org"], &["h2"]);
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&streams);
    let (port, connections) = server(move |_, stream| {
        let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    let mut body = request.into_body();
                    if number >= refused {
                        let body = body.collect().await.unwrap().to_bytes();
                        return Ok(Response::new(body::full(body)));
                    }
                    if read {
                        body.frame().await.unwrap().unwrap();
                    }
                    Err(h2::Error::from(h2::Reason::REFUSED_STREAM))
                }
            });
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (port, connections, streams)
}

fn post(port: u16, body: Body) -> Outgoing {
    Outgoing { scheme: Scheme::Https, ..request(port, Method::POST, body) }
}

/// A body that nobody could have sent before it was allowed to come.
fn later(allowed: &Arc<Notify>) -> Body {
    let allowed = Arc::clone(allowed);
    let frame = async move {
        allowed.notified().await;
        Ok(http_body::Frame::data(Bytes::from("hello")))
    };
    Later(Some(Box::pin(frame))).boxed_unsync()
}

type NextFrame = std::pin::Pin<Box<dyn Future<Output = Result<http_body::Frame<Bytes>, BodyError>> + Send>>;

struct Later(Option<NextFrame>);

impl http_body::Body for Later {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let Some(frame) = &mut self.0 else { return std::task::Poll::Ready(None) };
        let frame = std::task::ready!(frame.as_mut().poll(cx));
        self.0 = None;
        std::task::Poll::Ready(Some(frame))
    }
}

#[tokio::test]
async fn a_refused_request_is_sent_again_on_a_new_connection() {
    let ca = Ca::new();
    let (port, connections, streams) = refusing(&ca, 1, false).await;
    let upstream = trusting(ca.roots(), limits());
    // Also one that may not be carried out twice: it has not been carried out once.
    let response = send(&upstream, post(port, body::empty())).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "");
    assert_eq!((count(&connections), count(&streams)), (2, 2));
}

#[tokio::test]
async fn a_body_of_which_nothing_was_sent_goes_with_the_second_request() {
    let ca = Ca::new();
    let (port, _, streams) = refusing(&ca, 1, false).await;
    let upstream = trusting(ca.roots(), limits());
    let allowed = Arc::new(Notify::new());
    let request = tokio::spawn(async move {
        let (upstream, body) = (&upstream, later(&allowed));
        let allow = async {
            while count(&streams) < 2 {
                tokio::task::yield_now().await;
            }
            allowed.notify_one();
        };
        tokio::join!(send(upstream, post(port, body)), allow).0.unwrap()
    });
    let response = tokio::time::timeout(Duration::from_secs(30), request).await.expect("in time").unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_request_whose_body_was_begun_is_not_sent_again() {
    let ca = Ca::new();
    let (port, _, streams) = refusing(&ca, 1, true).await;
    let frames = [Ok(http_body::Frame::data(Bytes::from("hello")))];
    let body = Frames(frames.into_iter().collect()).boxed_unsync();
    let refusal = send(&trusting(ca.roots(), limits()), post(port, body)).await.unwrap_err();
    assert_eq!((refusal.reason, count(&streams)), (Reason::UpstreamDown, 1));
}

#[tokio::test]
async fn a_request_is_sent_again_only_once() {
    let ca = Ca::new();
    let (port, connections, streams) = refusing(&ca, usize::MAX, false).await;
    let upstream = trusting(ca.roots(), limits());
    for number in 1..=20 {
        assert_eq!(send(&upstream, https(port)).await.unwrap_err().reason, Reason::UpstreamDown);
        assert_eq!(count(&streams), 2 * number);
    }
    assert!(count(&connections) <= 21, "{} connections", count(&connections));
}

/// Reads frames until one opens a stream.
async fn stream_opens(io: &mut (impl tokio::io::AsyncRead + Unpin)) {
    io.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == 1 {
            return;
        }
    }
}

#[tokio::test]
async fn a_request_that_came_after_the_last_stream_of_a_goaway_is_sent_again() {
    for (last, again) in [(0, true), (1, false)] {
        let ca = Ca::new();
        let acceptor = ca.acceptor(&["origin.example.org"], &["h2"]);
        let (port, connections) = server(move |number, stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                if number == 0 {
                    // SETTINGS, and after the request GOAWAY (RFC 9113, section 6.8) without an error.
                    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                    stream_opens(&mut stream).await;
                    stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0]).await.unwrap();
                    stream.write_all(&[0, 0, 0, last, 0, 0, 0, 0]).await.unwrap();
                    stream.flush().await.unwrap();
                    // Where the stream was to be answered, the connection ends instead.
                    return;
                }
                let service = service_fn(|_: Request<Incoming>| async {
                    Ok::<_, std::convert::Infallible>(Response::new(body::full("hi")))
                });
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        let upstream = trusting(ca.roots(), limits());
        // It may not be carried out twice.
        let answered = send(&upstream, post(port, body::empty())).await;
        assert_eq!(answered.is_ok(), again, "the last stream is {last}");
        assert_eq!(count(&connections), if again { 2 } else { 1 });
    }
}
