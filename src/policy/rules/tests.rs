//! Requests against policies. A policy is written in the notation of `policy.yaml`, with the manifest's defaults.

use super::super::egress::{Deny, EgressPolicy, OnSecret, Route, Scheme, VERSION};
use super::super::grant::Grant;
use super::super::host::{Authority, Host};
use super::super::reason::Reason;
use super::{Denied, Request, Rules, Target};

mod asks;
mod attacks;
mod hints;
mod invalid;
mod model;
mod once;
mod precedence;
mod work;

/// A route as the renderer writes it for one that names only its host.
fn route(source: &str, host: &str) -> Route {
    Route {
        source: source.to_owned(),
        host: host.to_owned(),
        scheme: Scheme::Https,
        ports: vec![443],
        methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        paths: vec!["/**".to_owned()],
        websocket: false,
        private: false,
        credential: None,
        on_secret: OnSecret::Block,
        max_upload_bytes: None,
        strip_tools: Vec::new(),
    }
}

fn deny(source: &str, host: &str) -> Deny {
    Deny { source: source.to_owned(), host: host.to_owned(), ports: vec![], methods: vec![], paths: vec![] }
}

fn strings(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

fn policy(routes: Vec<Route>, deny: Vec<Deny>) -> EgressPolicy {
    let text = format!("version: {VERSION}\n");
    EgressPolicy { deny, routes, ..serde_yaml::from_str(&text).expect("the version is enough") }
}

fn grant(routes: Vec<Route>) -> Grant {
    Grant {
        version: VERSION,
        until: None,
        once: false,
        routes,
        push: Vec::new(),
        findings: Vec::new(),
        secrets: Vec::new(),
    }
}

fn rules(routes: Vec<Route>, deny: Vec<Deny>) -> Rules {
    Rules::new(&policy(routes, deny), &[]).expect("the test's policy is valid")
}

/// Judges `METHOD URL`, or `WEBSOCKET URL`; gives the route's source.
fn ask(rules: &Rules, request: &str) -> Result<String, Denied> {
    let (method, url) = request.split_once(' ').expect("a method and a URL");
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Authority { host, port } = Authority::parse(authority).expect("a host");
    let (scheme, usual) = if scheme == "http" { (Scheme::Http, 80) } else { (Scheme::Https, 443) };
    let target = Target { scheme, host: &host, port: port.unwrap_or(usual) };
    let websocket = method == "WEBSOCKET";
    let method = if websocket { "GET" } else { method };
    let judged = rules.judge(&Request { target, method, path, websocket });
    if judged.is_ok() {
        assert_eq!(rules.judge_target(&target), Ok(()), "{request}");
    }
    judged.map(|route| route.source.clone())
}

/// The code of a refusal, or `allowed`.
fn code(rules: &Rules, request: &str) -> &'static str {
    ask(rules, request).map_or_else(|denied| denied.reason.code(), |_| "allowed")
}
