//! The head of an HTTP/1 answer, and the request that it answers.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::*;
use crate::policy::reason::Reason;

async fn refused(answer: impl Into<Bytes>) -> Refusal {
    let (port, _) = answering(answer).await;
    send(&upstream(limits()), get(port)).await.unwrap_err()
}

#[tokio::test]
async fn a_request_is_written_with_the_origins_host_and_without_a_body() {
    let (sender, mut heads) = mpsc::channel(1);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            sender.send(head).await.unwrap();
        }
    })
    .await;
    let mut request = get(port);
    request.head.headers.insert("x-own", "1".parse().unwrap());
    assert_eq!(send(&upstream(limits()), request).await.unwrap().status(), StatusCode::NO_CONTENT);
    let head = heads.recv().await.unwrap();
    assert_eq!(
        head,
        format!("GET /path?query HTTP/1.1\r\nhost: origin.example.org:{port}\r\nx-own: 1\r\n\r\n")
    );
}

#[tokio::test]
async fn a_method_that_means_a_body_says_that_there_is_none() {
    let (port, _) = server(|_, mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        let said = head.contains("\r\ncontent-length: 0\r\n");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{said:5}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let response = send(&upstream(limits()), request(port, Method::POST, body::empty())).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "true ");
}

/// Echoes what came after the head, up to `end`.
async fn echo(end: &'static [u8]) -> u16 {
    let (port, _) = server(move |_, mut stream| async move {
        let mut got = Vec::new();
        while !got.ends_with(end) {
            got.push(stream.read_u8().await.unwrap());
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", got.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&got).await.unwrap();
    })
    .await;
    port
}

#[tokio::test]
async fn a_body_of_known_length_is_sent_with_its_length() {
    let port = echo(b"\r\n\r\nhello").await;
    let request = request(port, Method::POST, body::full("hello"));
    let echoed = text(send(&upstream(limits()), request).await.unwrap().into_body()).await.unwrap();
    assert!(echoed.contains("\r\ncontent-length: 5\r\n"), "{echoed}");
    assert!(!echoed.contains("transfer-encoding"), "{echoed}");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks_with_its_trailers() {
    let port = echo(b"x-sum: 1\r\n\r\n").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let frames = [Ok(http_body::Frame::data(Bytes::from("hello"))), Ok(http_body::Frame::trailers(trailers))];
    let frames = frames.map(|frame: Result<_, BodyError>| frame);
    let request = request(port, Method::POST, Frames(frames.into_iter().collect()).boxed_unsync());
    let echoed = text(send(&upstream(limits()), request).await.unwrap().into_body()).await.unwrap();
    assert!(echoed.contains("\r\ntransfer-encoding: chunked\r\n"), "{echoed}");
    assert!(echoed.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"), "{echoed}");
}

/// A body of these frames.
pub(super) struct Frames(pub(super) std::collections::VecDeque<Result<http_body::Frame<Bytes>, BodyError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        std::task::Poll::Ready(self.get_mut().0.pop_front())
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_refused_at_once() {
    assert_eq!(refused("SSH-2.0-hello\r\n").await.reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn a_megabyte_of_header_fields_is_refused() {
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    while answer.len() < 1 << 20 {
        answer.extend_from_slice(b"x-field: some value that is not short\r\n");
    }
    assert_eq!(refused(answer).await.reason, Reason::UpstreamInvalid);
    let mut endless = b"HTTP/1.1 200 OK\r\nx-field: ".to_vec();
    endless.resize(1 << 20, b'a');
    assert_eq!(refused(endless).await.reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn a_change_of_protocol_that_was_not_asked_for_is_refused_and_the_connection_closed() {
    let (sender, mut closed) = mpsc::channel(1);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            let answer =
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            sender.send(stream.read_u8().await.is_err()).await.unwrap();
        }
    })
    .await;
    let refusal = send(&upstream(limits()), get(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamInvalid);
    assert_eq!(closed.recv().await, Some(true));
}

#[tokio::test]
async fn interim_answers_are_passed_over_but_not_without_end() {
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let (port, _) = answering(format!("{early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")).await;
    assert_eq!(get_text(&upstream(limits()), port).await, "hi");
    let refusal = refused(early.repeat(50)).await;
    assert_eq!(refusal.reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn a_head_that_ends_early_is_refused() {
    let (port, _) = server(|_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
    })
    .await;
    let refusal = send(&upstream(limits()), get(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_is_down() {
    let (port, connections) = server(|_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
    })
    .await;
    let refusal = send(&upstream(limits()), get(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamDown);
    assert_eq!(count(&connections), 1, "a fresh connection is no reason to try again");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up() {
    let (port, _) = server(|_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        // Each byte is a sign of life, and no answer.
        for byte in b"HTTP/1.1 200 OK\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\nx: 1\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let limits = Limits { answer: Duration::from_millis(100), ..limits() };
    let refusal = send(&upstream(limits), get(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTimeout);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_the_request_is_given_up() {
    let (port, _) = server(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let limits = Limits { stall: Duration::from_millis(100), ..limits() };
    let request = request(
        port,
        Method::POST,
        Full::new(Bytes::from(vec![0; 64 << 20])).map_err(|e| match e {}).boxed_unsync(),
    );
    let refusal = send(&upstream(limits), request).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamTimeout);
}

#[tokio::test]
async fn a_refused_connection_is_told_in_the_words_of_the_system() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refusal = send(&upstream(limits()), get(port)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UpstreamDown);
    assert!(refusal.detail.contains("refused"), "{}", refusal.detail);
    assert!(refusal.detail.contains("origin.example.org"), "{}", refusal.detail);
}

#[tokio::test]
async fn fields_of_the_connection_do_not_come_through() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-gone\r\nkeep-alive: timeout=5\r\nx-gone: 1\r\n\
                  x-kept: 1\r\ncontent-length: 0\r\n\r\n";
    let (port, _) = answering(answer).await;
    let response = send(&upstream(limits()), get(port)).await.unwrap();
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-kept"]);
}

#[tokio::test]
async fn the_length_in_an_answer_to_head_and_in_a_304_stays_and_no_body_is_waited_for() {
    let (port, connections) = answering("HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n").await;
    let upstream = upstream(limits());
    for method in [Method::GET, Method::HEAD] {
        let response = send(&upstream, request(port, method, body::empty())).await.unwrap();
        assert_eq!(response.headers()["content-length"], "1000");
        assert_eq!(text(response.into_body()).await.unwrap(), "");
    }
    assert_eq!(count(&connections), 1);
}

#[tokio::test]
async fn a_request_whose_body_breaks_is_broken_off() {
    let (sender, mut ended) = mpsc::channel(1);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let mut got = Vec::new();
            let _ = stream.read_to_end(&mut got).await;
            sender.send(String::from_utf8(got).unwrap()).await.unwrap();
        }
    })
    .await;
    let error = BodyError { reason: Reason::UploadTooLarge, detail: "too much".to_owned() };
    let frames = [Ok(http_body::Frame::data(Bytes::from("hello"))), Err(error)];
    let request = request(port, Method::POST, Frames(frames.into_iter().collect()).boxed_unsync());
    let refusal = send(&upstream(limits()), request).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UploadTooLarge);
    assert!(
        !ended.recv().await.unwrap().ends_with("0\r\n\r\n"),
        "the upstream must not take it for the whole"
    );
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_was_sent_whole_is_passed_on() {
    let (port, _) = server(|_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        let answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nmuch";
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Closed with bytes unread: a reset, which the answer must survive where it has arrived.
        stream.shutdown().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let body = Full::new(Bytes::from(vec![0; 16 << 20])).map_err(|e| match e {}).boxed_unsync();
    let response = send(&upstream(limits()), request(port, Method::POST, body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(response.into_body()).await.unwrap(), "much");
}

#[tokio::test]
async fn a_client_that_sends_everything_before_it_reads_does_not_hang() {
    const SIZE: usize = 8 << 20;
    let (port, _) = server(|_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await
            .unwrap();
        let mut left = SIZE;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            left -= stream.read(&mut buffer).await.unwrap();
        }
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let body = Channel(receiver, SIZE as u64).boxed_unsync();
    let response = send(&upstream(limits()), request(port, Method::POST, body)).await.unwrap();
    for _ in 0..SIZE >> 16 {
        sender.send(Bytes::from(vec![0; 1 << 16])).await.unwrap();
    }
    drop(sender);
    assert_eq!(text(response.into_body()).await.unwrap(), "firstlast");
}

/// A body that comes through a channel, of a length that is known.
struct Channel(mpsc::Receiver<Bytes>, u64);

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.get_mut().0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

#[tokio::test]
async fn an_answer_fails_when_its_request_breaks_afterwards() {
    let (port, _) = server(|_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let body = Channel(receiver, 100).boxed_unsync();
    let response = send(&upstream(limits()), request(port, Method::POST, body)).await.unwrap();
    drop(sender);
    let error = text(response.into_body()).await.unwrap_err();
    assert_eq!(error.reason, Reason::RequestMalformed);
}
