//! Which connections are used again, and which are not.

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::policy::reason::Reason;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_connection_is_used_again() {
    let (port, connections) = answering(OK).await;
    let upstream = upstream(limits());
    for _ in 0..5 {
        assert_eq!(get_text(&upstream, port).await, "hi");
    }
    assert_eq!(count(&connections), 1);
}

#[tokio::test]
async fn a_connection_that_its_answer_closes_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let (port, connections) = answering(answer).await;
        let upstream = upstream(limits());
        for _ in 0..2 {
            assert_eq!(get_text(&upstream, port).await, "hi");
        }
        assert_eq!(count(&connections), 2, "{answer}");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_never_the_next_answer() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let (port, connections) = answering(format!("{OK}{poison}")).await;
    let upstream = upstream(limits());
    for _ in 0..3 {
        assert_eq!(get_text(&upstream, port).await, "hi");
    }
    assert_eq!(count(&connections), 3);
}

#[tokio::test]
async fn bytes_that_arrive_while_a_connection_waits_are_never_the_next_answer() {
    let go = Arc::new(Notify::new());
    let (sender, mut sent) = mpsc::channel(1);
    let wait = Arc::clone(&go);
    let (port, connections) = server(move |number, mut stream| {
        let (wait, sender) = (Arc::clone(&wait), sender.clone());
        async move {
            while read_head(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
                if number == 0 {
                    wait.notified().await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").await.unwrap();
                    sender.send(()).await.unwrap();
                }
            }
        }
    })
    .await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    go.notify_one();
    sent.recv().await.unwrap();
    assert_eq!(get_text(&upstream, port).await, "hi");
    assert_eq!(count(&connections), 2);
}

/// Answers the first request of each connection, and closes when the second one comes.
async fn closing_on_second() -> (u16, Arc<AtomicUsize>) {
    server(move |_, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn a_get_that_met_a_closed_connection_is_sent_once_more_on_a_fresh_one() {
    let (port, connections) = closing_on_second().await;
    let upstream = upstream(limits());
    for _ in 0..3 {
        assert_eq!(get_text(&upstream, port).await, "hi");
    }
    assert_eq!(count(&connections), 3);
}

#[tokio::test]
async fn a_post_that_may_have_been_carried_out_is_never_sent_twice() {
    let (port, connections) = closing_on_second().await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    for body in [body::empty(), body::full("pay")] {
        let sent = send(&upstream, request(port, Method::POST, body)).await;
        assert_eq!(sent.unwrap_err().reason, Reason::UpstreamDown);
        assert_eq!(get_text(&upstream, port).await, "hi");
    }
    assert_eq!(count(&connections), 3);
}

#[tokio::test]
async fn an_upstream_that_closes_every_connection_is_not_asked_without_end() {
    let (port, connections) = server(|number, mut stream| async move {
        read_head(&mut stream).await.unwrap();
        if number == 0 {
            stream.write_all(OK.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    assert_eq!(send(&upstream, get(port)).await.unwrap_err().reason, Reason::UpstreamDown);
    assert_eq!(count(&connections), 2);
}

#[tokio::test]
async fn what_was_connected_under_another_policy_is_not_used() {
    let (port, connections) = answering(OK).await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    upstream.clear();
    assert_eq!(get_text(&upstream, port).await, "hi");
    assert_eq!(count(&connections), 2);
    let policy = policy();
    let (rules, credentials) = (Rules::new(&policy, &[]).unwrap(), Arc::default());
    let snapshot = Arc::new(Snapshot { generation: 2, policy, grants: Vec::new(), rules, credentials });
    send(&upstream, Outgoing { snapshot, ..get(port) }).await.unwrap();
    assert_eq!(count(&connections), 3);
}

#[tokio::test]
async fn a_connection_that_was_open_when_the_policy_changed_does_not_come_back() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let (port, connections) = server(move |number, mut stream| {
        let wait = Arc::clone(&wait);
        async move {
            while read_head(&mut stream).await.is_some() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
                if number == 0 {
                    wait.notified().await;
                }
                stream.write_all(b"hi").await.unwrap();
            }
        }
    })
    .await;
    let upstream = upstream(limits());
    let open = send(&upstream, get(port)).await.unwrap();
    upstream.clear();
    go.notify_one();
    assert_eq!(text(open.into_body()).await.unwrap(), "hi");
    assert_eq!(get_text(&upstream, port).await, "hi");
    assert_eq!(count(&connections), 2);
}

#[tokio::test]
async fn routes_that_differ_in_credential_share_no_connection() {
    let (port, connections) = answering(OK).await;
    let upstream = upstream(limits());
    for credential in [None, Some("one"), Some("other"), Some("one")] {
        let mut request = get(port);
        Arc::make_mut(&mut request.route).credential = credential.map(str::to_owned);
        send(&upstream, request).await.unwrap();
    }
    assert_eq!(count(&connections), 3);
}

#[tokio::test]
async fn what_a_private_route_connected_is_closed_to_the_others() {
    let (port, connections) = answering(OK).await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    let refusal = send(&upstream, Outgoing { route: route(false), ..get(port) }).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::AddressPrivate);
    assert_eq!(count(&connections), 1);
}

/// Sends so many requests at once, each so often as there are credentials, and gives the connections that wait then.
async fn waiting(requests: usize, credentials: usize) -> usize {
    // All requests are there before the first is answered: each has a connection of its own.
    let all = Arc::new(tokio::sync::Barrier::new(requests * credentials));
    let (port, connections) = server(move |_, mut stream| {
        let all = Arc::clone(&all);
        async move {
            read_head(&mut stream).await.unwrap();
            all.wait().await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let upstream = Arc::new(upstream(limits()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..requests * credentials {
        let upstream = Arc::clone(&upstream);
        let mut request = get(port);
        // Credentials make origins of their own.
        Arc::make_mut(&mut request.route).credential = Some((number % credentials).to_string());
        tasks.spawn(async move { send(&upstream, request).await.unwrap().status() });
    }
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(count(&connections), requests * credentials);
    upstream.pool.idle()
}

#[tokio::test]
async fn no_more_connections_wait_than_there_may_be() {
    assert_eq!(waiting(70, 1).await, 64);
    assert_eq!(waiting(52, 5).await, 256);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_while_it_waited_is_not_used() {
    let (sender, mut closed) = mpsc::channel(1);
    let (port, connections) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            sender.send(()).await.unwrap();
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    closed.recv().await.unwrap();
    let request = request(port, Method::POST, body::full("pay"));
    assert_eq!(send(&upstream, request).await.unwrap().status(), 200);
    assert_eq!(count(&connections), 2);
}

#[tokio::test]
async fn a_connection_that_waited_too_long_is_closed() {
    let (sender, mut closed) = mpsc::channel(1);
    let (port, _) = server(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            sender.send(stream.read_u8().await.is_err()).await.unwrap();
        }
    })
    .await;
    let upstream = upstream(limits());
    assert_eq!(get_text(&upstream, port).await, "hi");
    let now = tokio::time::Instant::now();
    upstream.pool.sweep(now + Duration::from_secs(50));
    assert_eq!(upstream.pool.idle(), 1);
    upstream.pool.sweep(now + Duration::from_secs(61));
    assert_eq!(upstream.pool.idle(), 0);
    assert_eq!(closed.recv().await, Some(true));
}

#[tokio::test]
async fn an_agent_that_makes_up_names_does_not_fill_the_memory() {
    let (port, _) = answering(OK).await;
    let upstream = upstream(limits());
    for number in 0..3000 {
        let mut request = get(port);
        Arc::make_mut(&mut request.route).credential = Some(number.to_string());
        send(&upstream, request).await.unwrap();
    }
    assert!(upstream.pool.origins() <= 1025, "{}", upstream.pool.origins());
    assert!(upstream.pool.idle() <= 256);
}

#[tokio::test]
async fn there_are_no_more_connections_than_there_may_be_and_those_that_wait_make_room() {
    let (port, _) = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await;
    let (other, connections) = answering(OK).await;
    let upstream = upstream(Limits { connections: 2, ..limits() });
    let first = send(&upstream, get(port)).await.unwrap();
    assert_eq!(get_text(&upstream, other).await, "hi");
    let second = send(&upstream, get(port)).await.unwrap();
    assert_eq!(send(&upstream, get(other)).await.unwrap_err().reason, Reason::EgressBusy);
    drop((first, second));
    assert_eq!(get_text(&upstream, other).await, "hi");
    assert_eq!(count(&connections), 2);
}
