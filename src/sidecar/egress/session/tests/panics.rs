//! A fault in egress itself: it ends the connection that it is in.

use std::panic::{set_hook, take_hook};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::exchange::Exchange;
use super::super::{Open, spawn};
use super::fixture::{Bottle, Origin, route, soon};
use crate::policy::reason::Reason;
use crate::sidecar::egress::run::panic_reporter;

/// A connection that comes to grief in the middle of a request.
async fn fails(open: Open) {
    let mut exchange = Exchange::begin(&open.egress, "HTTP/1.1");
    exchange.asks("GET", "/ok", false);
    tokio::task::yield_now().await;
    panic!("a message with s3cr3t in it");
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_and_is_recorded_by_its_place() {
    let origin = Origin::echo().await;
    let bottle = Bottle::start(&route(&origin, "")).await;
    let mut other = bottle.client().await;
    assert_eq!(other.ask(&origin.request("GET", "/ok/1", "")).await.body, "/ok/1");
    // As the program sets it; a panic of another test is told as ever.
    let (report, default) = (panic_reporter(Arc::clone(&bottle.egress.audit)), take_hook());
    let here = std::thread::current().id();
    set_hook(Box::new(
        move |info| {
            if std::thread::current().id() == here { report(info) } else { default(info) }
        },
    ));

    spawn(Open::new(&bottle.egress, &Arc::default()), fails);
    assert_eq!(bottle.refused(Reason::EgressFailed).await, 1);
    let numbers = &bottle.egress.metrics;
    assert_eq!(numbers.panics.load(Ordering::Relaxed), 1);
    assert_eq!(numbers.open.load(Ordering::Relaxed), 1, "only the other connection is open");
    assert_eq!(other.ask(&origin.request("GET", "/ok/2", "")).await.body, "/ok/2");
    let mut new = bottle.client().await;
    assert_eq!(new.ask(&origin.request("GET", "/ok/3", "")).await.body, "/ok/3");

    let log = bottle.directory.path().join("state/audit.jsonl");
    let lines = soon(async {
        loop {
            let text = crate::fs::read_to_string(&log).unwrap();
            let lines: Vec<serde_json::Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            if lines.iter().filter(|line| line["event"] == "request").count() == 4 {
                return lines;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let panic = lines.iter().find(|line| line["event"] == "panic").expect("it is recorded");
    assert!(panic["place"].as_str().unwrap().contains("session/tests/panics.rs:"), "{panic}");
    let failed = lines.iter().find(|line| line["reason"] == "egress-failed").expect("so is its request");
    assert_eq!((&failed["decision"], &failed["path"]), (&"fail".into(), &"/ok".into()), "{failed}");
    assert!(!format!("{lines:?}").contains("s3cr3t"), "{lines:?}");
}
