//! The body of an HTTP/1 answer.

use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::*;
use crate::policy::reason::Reason;

/// Answers with `answer` and closes.
async fn closing(answer: &'static str) -> u16 {
    let (port, _) = server(move |_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    port
}

#[tokio::test]
async fn a_body_that_ends_before_its_length_is_broken() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
    ] {
        let response = send(&upstream(limits()), get(closing(answer).await)).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "short");
        assert_eq!(body.frame().await.unwrap().unwrap_err().reason, Reason::UpstreamInvalid, "{answer}");
        assert!(body.frame().await.is_none(), "{answer}");
    }
}

#[tokio::test]
async fn a_body_with_bad_chunks_is_broken() {
    let port = closing("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshortXX").await;
    let response = send(&upstream(limits()), get(port)).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap_err().reason, Reason::UpstreamInvalid);
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let port = closing("HTTP/1.1 200 OK\r\n\r\nthe end").await;
    let response = send(&upstream(limits()), get(port)).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "the end");
}

#[tokio::test]
async fn a_body_that_pauses_for_too_long_is_given_up() {
    let (port, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
    let limits = Limits { stall: Duration::from_millis(50), ..limits() };
    let response = send(&upstream(limits), get(port)).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap_err().reason, Reason::UpstreamTimeout);
}

#[tokio::test]
async fn a_body_comes_as_it_is_sent_and_its_end_is_known_with_its_last_byte() {
    let (go, mut gone) = mpsc::channel::<()>(1);
    let (sender, mut streams) = mpsc::channel(1);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none").await.unwrap();
            sender.send(stream).await.unwrap();
        }
    })
    .await;
    tokio::spawn(async move {
        let mut stream = streams.recv().await.unwrap();
        gone.recv().await.unwrap();
        stream.write_all(b"two").await.unwrap();
        gone.recv().await;
    });
    let mut body = send(&upstream(limits()), get(port)).await.unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());
    go.send(()).await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn trailers_come_through() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n";
    let (port, connections) = answering(answer).await;
    let upstream = upstream(limits());
    for _ in 0..2 {
        let collected = send(&upstream, get(port)).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
        assert_eq!(collected.to_bytes(), "hi");
    }
    assert_eq!(count(&connections), 1);
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection() {
    let (sender, mut closed) = mpsc::channel(1);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await.unwrap();
            sender.send(stream.read_u8().await.is_err()).await.unwrap();
        }
    })
    .await;
    drop(send(&upstream(limits()), get(port)).await.unwrap());
    assert_eq!(closed.recv().await, Some(true));
}

#[tokio::test]
async fn a_large_body_comes_through_unchanged() {
    let large: Vec<u8> = (0..3_u32 << 20).map(|byte| byte.to_le_bytes()[1]).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", large.len()).into_bytes();
    answer.extend_from_slice(&large);
    let (port, connections) = answering(answer).await;
    let upstream = upstream(limits());
    for _ in 0..2 {
        let body = send(&upstream, get(port)).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), large);
    }
    assert_eq!(count(&connections), 1);
}
