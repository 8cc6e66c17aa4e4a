//! Clients that send their request, shut their sending side down, and read (RFC 9112, section 9.6).

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::support::{Origin, Setup, echo, eventually};

/// An origin that answers when the test says so.
fn patient() -> (Origin, mpsc::Sender<()>) {
    let (say, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::https(move |seen, conn| {
        let _ = told.lock().unwrap().recv();
        echo(seen, conn)
    });
    (origin, say)
}

#[test]
fn a_client_that_shuts_its_sending_side_down_gets_its_answer() {
    let (origin, say) = patient();
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.open(&origin.authority());
    // Two requests at once, and then the end: both are answered, in their order.
    for path in ["/1", "/2"] {
        client.say(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    }
    client.finish();
    eventually("the request is there", || !origin.seen().is_empty());
    assert!(client.silent_for(Duration::from_millis(100)), "egress waits for the answer");
    for path in ["/1", "/2"] {
        say.send(()).unwrap();
        assert!(client.response("GET").ok().text().starts_with(&format!("GET {path} ")));
    }
    assert_eq!(client.end(), b"");
}

#[test]
fn a_client_without_tls_that_shuts_its_sending_side_down_gets_all_of_its_answer() {
    let (say, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::http(move |_, conn| {
        let _ = told.lock().unwrap().recv();
        conn.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
        let _ = told.lock().unwrap().recv();
        conn.say("other")
    });
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.dial();
    client.say(&format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url("/"), origin.authority()));
    client.finish();
    eventually("the request is there", || !origin.seen().is_empty());
    say.send(()).unwrap();
    client.until("\r\n\r\nfirst");
    say.send(()).unwrap();
    assert_eq!(client.end(), b"other");
}

#[test]
fn a_client_that_sends_no_more_and_gets_nothing_is_given_up_in_bounded_time() {
    // Without an answer, and in the middle of one.
    for begin in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"] {
        let origin = Origin::raw(move |mut conn| {
            let Ok(Some(_)) = conn.request() else { return };
            drop(conn.say(begin));
            drop(conn.request());
        });
        let egress = Setup::new().route(origin.route()).limit("half-closed", 200).start();
        let mut client = egress.open(&origin.authority());
        client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
        eventually("the request is there", || origin.open() == 1);
        client.finish();
        client.end();
        eventually("the request upstream is given up", || origin.open() == 0);
    }
}
