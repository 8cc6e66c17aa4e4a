//! Asking supervise, on a thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::requests::client::Client;

/// How often what is shown is asked for at least.
const PERIOD: Duration = Duration::from_secs(1);
/// The lines of traffic that are asked for.
const LINES: usize = 200;

/// What supervise said last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: Value,
    pub(super) grants: Value,
    pub(super) traffic: Value,
    pub(super) health: Value,
}

/// What comes from supervise.
#[derive(Debug)]
pub(super) enum News {
    /// How things are.
    Seen(Box<Seen>),
    /// What became of an order.
    Done(String),
    /// Something failed.
    Failed(String),
}

/// What supervise is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// To change something: the path, the body, and what to say once it is done.
    Post(String, Value, String),
    /// To show only the traffic with this reason code, or all of it.
    Filter(String),
}

/// The thread.
#[derive(Debug)]
pub(super) struct Source {
    orders: Sender<Order>,
    news: Receiver<News>,
}

impl Source {
    /// Starts the thread, which ends with this.
    pub(super) fn start(client: Client) -> Result<Self> {
        let (orders, taken) = channel();
        let (told, news) = channel();
        thread::Builder::new().name("source".to_owned()).spawn(move || run(&client, &taken, &told))?;
        Ok(Self { orders, news })
    }

    /// Has something done; what became of it is news.
    pub(super) fn ask(&self, order: Order) {
        // Without the thread there is no news, and that is seen.
        drop(self.orders.send(order));
    }

    /// What has come, if anything has.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

fn run(client: &Client, orders: &Receiver<Order>, told: &Sender<News>) {
    let mut code = String::new();
    loop {
        let news = match seen(client, &code) {
            Ok(seen) => News::Seen(Box::new(seen)),
            Err(error) => News::Failed(format!("{error:#}")),
        };
        if told.send(news).is_err() {
            return;
        }
        match orders.recv_timeout(PERIOD) {
            Ok(Order::Filter(wanted)) => code = wanted,
            Ok(Order::Post(path, body, done)) => {
                let news = match client.post(&path, &body) {
                    Ok(_) => News::Done(done),
                    Err(error) => News::Failed(format!("{error:#}")),
                };
                drop(told.send(news));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn seen(client: &Client, code: &str) -> Result<Seen> {
    Ok(Seen {
        requests: client.get("/api/requests?state=pending")?,
        grants: client.get("/api/grants")?,
        traffic: client.get(&format!("/api/traffic?n={LINES}&code={code}"))?,
        health: client.get("/api/health")?,
    })
}

/// The order to approve a request as it was seen.
pub(super) fn approve(id: &str, seen: &Value, scope: &Value, words: &str) -> Order {
    let body = json!({ "scope": scope, "rule": seen.pointer("/rule"), "review": seen.pointer("/review"), "words": words });
    Order::Post(format!("/api/requests/{id}/approve"), body, format!("{id} is approved"))
}

/// The order to reject a request.
pub(super) fn reject(id: &str, words: &str) -> Order {
    Order::Post(format!("/api/requests/{id}/reject"), json!({ "words": words }), format!("{id} is rejected"))
}

/// The order to end a grant.
pub(super) fn revoke(id: &str) -> Order {
    Order::Post(format!("/api/grants/{id}/revoke"), json!({}), format!("{id} is revoked"))
}
