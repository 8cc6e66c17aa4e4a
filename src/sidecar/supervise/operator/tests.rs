//! The operator's side over a real connection: who gets in, and what can't be decided.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::IntoResponse as _;
use minijinja::Environment;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};

use super::api::approved;
use super::problem::Problem;
use super::{MAX_BODY, Secrets, Side, aside, events, guard, router};
use crate::fs;
use crate::policy::reason::Reason;
use crate::sidecar::supervise::ask::Ask;
use crate::sidecar::supervise::config::Places;
use crate::sidecar::supervise::desk::{Approval, By, Desk};
use crate::sidecar::supervise::serve::serve;
use crate::sidecar::supervise::state::{Request, Scope};

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const POLICY: &str = "version: 1
credentials:
  deploy:
    source: bottle.yaml:9
    secret: !env DEPLOY_TOKEN
    inject: bearer
routes:
  - { source: 'bottle.yaml:4', host: known.example.org, scheme: https, ports: [443], methods: [GET], paths: [/v1/**], credential: deploy }
";

/// A desk with its operator's side.
struct World {
    desk: Arc<Desk>,
    address: SocketAddr,
    root: TempDir,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A refusal has a reason, and its body the same one; a page for people, or no body, has it in the header alone.
    fn checked(self) -> Self {
        if self.status < 400 {
            return self;
        }
        let code = self.header("x-bottle-reason").unwrap_or_default();
        assert!(code.parse::<Reason>().is_ok(), "no reason: {self:?}");
        if self.header("content-type") == Some("application/json") && !self.body.is_empty() {
            assert_eq!(self.code(), code);
            let error = &self.json()["error"];
            assert!(error["message"].is_string() && error["hint"].is_string(), "{self:?}");
        } else {
            assert!(self.body.is_empty() || self.body.starts_with("<!"), "{self:?}");
        }
        self
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for name in ["grants", "state", "egress"] {
            fs::create_dir_all(&path(name)).unwrap();
        }
        fs::write_atomic(&path("policy.yaml"), POLICY.as_bytes(), 0o644).unwrap();
        let places = Places {
            egress_policy: Some(path("policy.yaml")),
            gate_policy: None,
            egress_report: Some(path("egress")),
            gate_report: None,
            letters: None,
            grants: path("grants"),
            state: path("state"),
        };
        let desk = Arc::new(Desk::open(places).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Arc::clone(&desk), TOKEN, address.port()).unwrap();
        tokio::spawn(serve(listener, router));
        Self { desk, address, root }
    }

    fn ask(&self, host: &str, reason: &str) -> Request {
        let ask = json!({ "route": { "host": host, "methods": ["GET", "POST"] } });
        let ask: Ask = serde_json::from_value(ask).unwrap();
        self.desk.ask(ask, reason).unwrap()
    }

    /// The same desk's side without a connection.
    fn side(&self) -> Side {
        Side {
            desk: Arc::clone(&self.desk),
            secrets: Secrets::new(TOKEN).unwrap(),
            port: 1,
            templates: Environment::new(),
            streams: Arc::new(Semaphore::new(0)),
            letters: Mutex::default(),
        }
    }

    /// Sends a request as it is written; `Host` is ours unless the headers have one.
    async fn raw(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            write!(text, "host: {}\r\n", self.address).unwrap();
        }
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }.checked()
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw(&format!("GET {path}"), &[("authorization", &format!("Bearer {TOKEN}"))], "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("authorization", &*format!("Bearer {TOKEN}")), ("content-type", "application/json")];
        self.raw(&format!("POST {path}"), &headers, &body.to_string()).await
    }

    /// Logs in; gives the cookie and the key.
    async fn login(&self) -> (String, String) {
        let link = self.post("/api/login-link", &json!({})).await.json();
        let answer = self.raw(&format!("GET {}", link["path"].as_str().unwrap()), &[], "").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        let key = answer.header("location").unwrap().strip_prefix("/#key=").unwrap();
        (cookie.split(';').next().unwrap().to_owned(), key.to_owned())
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn approval(request: &Value) -> Value {
    json!({ "scope": { "seconds": 900 }, "review": request["review"], "words": "go on" })
}

#[tokio::test]
async fn without_the_token_nothing_is_told_and_nothing_changes() {
    let world = World::new().await;
    let id = world.ask("api.example.org", "please").id;
    let short = format!("Bearer {}", TOKEN.trim_end_matches('f'));
    let tries: [&[(&str, &str)]; 6] = [
        &[],
        &[("authorization", "Bearer")],
        &[("authorization", &short)],
        &[("authorization", "Bearer ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")],
        &[("authorization", TOKEN)],
        &[("cookie", "bottle=x")],
    ];
    for headers in tries {
        for line in [
            "GET /api/requests".to_owned(),
            "GET /parts".to_owned(),
            "GET /api/events".to_owned(),
            "GET /nowhere".to_owned(),
            format!("POST /api/requests/{id}/reject"),
            "POST /api/login-link".to_owned(),
        ] {
            let answer = world.raw(&line, headers, "{}").await;
            assert!(matches!(answer.status, 401 | 429), "{line} {headers:?}: {answer:?}");
            assert!(!answer.body.contains("example.org"), "{answer:?}");
        }
    }
    let answer = world.raw("GET /", &[], "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("bottle requests open"), "{answer:?}");
    // So many wrong ones are too many; the right one is let in all the same.
    let answer = world.raw("GET /api/requests", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "too-many-attempts"));
    assert_eq!(world.get("/api/requests").await.json()["requests"][0]["state"]["is"], "pending");
}

#[tokio::test]
async fn every_answer_keeps_the_browser_strict() {
    let world = World::new().await;
    for (line, token) in
        [("GET /", false), ("GET /static/page.js", false), ("GET /api/health", true), ("GET /x", true)]
    {
        let answer = if token {
            world.get(line.trim_start_matches("GET ")).await
        } else {
            world.raw(line, &[], "").await
        };
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{answer:?}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_login_link_opens_the_page_once() {
    let world = World::new().await;
    let made = world.post("/api/login-link", &json!({})).await.json();
    let line = format!("GET {}", made["path"].as_str().unwrap());
    // What only looks ahead doesn't use it up.
    assert_eq!(world.raw(&line.replace("GET", "HEAD"), &[], "").await.status, 401);
    assert_eq!(world.raw(&line, &[("sec-purpose", "prefetch")], "").await.status, 401);
    assert_eq!(world.raw(&line, &[], "").await.status, 303);
    let replayed = world.raw(&line, &[], "").await;
    assert_eq!(replayed.status, 401);
    assert!(replayed.body.contains("has been used"), "{replayed:?}");
    assert_eq!(replayed.header("set-cookie"), None);
    let (cookie, key) = world.login().await;
    assert_eq!(world.raw("GET /", &[("cookie", &cookie)], "").await.status, 200);
    // Two cookies of the name: one of them is somebody else's.
    let two = format!("{cookie}; {cookie}");
    assert_eq!(world.raw("GET /api/requests", &[("cookie", &two)], "").await.status, 401);
    // A page makes no links for others.
    let headers = [("cookie", &*cookie), ("bottle-key", &key), ("origin", &world.origin())];
    assert_eq!(world.raw("POST /api/login-link", &headers, "").await.status, 403);
    assert_eq!(world.raw("POST /api/logout", &headers, "").await.status, 200);
    assert_eq!(world.raw("GET /api/requests", &[("cookie", &cookie)], "").await.status, 401);
}

#[tokio::test]
async fn another_page_decides_nothing_with_the_cookie() {
    let world = World::new().await;
    let id = world.ask("api.example.org", "please").id;
    let (cookie, key) = world.login().await;
    let (cookie, key) = (cookie.as_str(), key.as_str());
    let origin = world.origin();
    let json = ("content-type", "application/json");
    let tries: [&[(&str, &str)]; 9] = [
        &[json, ("cookie", cookie)],
        &[json, ("cookie", cookie), ("origin", &origin)],
        &[json, ("cookie", cookie), ("bottle-key", key)],
        &[json, ("cookie", cookie), ("bottle-key", key), ("origin", "http://evil.example")],
        &[json, ("cookie", cookie), ("bottle-key", key), ("origin", "http://127.0.0.1:1")],
        &[json, ("cookie", cookie), ("bottle-key", key), ("origin", "null")],
        &[
            json,
            ("cookie", cookie),
            ("bottle-key", key),
            ("origin", &origin),
            ("origin", "http://evil.example"),
        ],
        &[
            json,
            ("cookie", cookie),
            ("bottle-key", key),
            ("origin", &origin),
            ("sec-fetch-site", "same-site"),
        ],
        &[
            json,
            ("cookie", cookie),
            ("bottle-key", key),
            ("origin", &origin),
            ("sec-fetch-site", "cross-site"),
        ],
    ];
    let line = format!("POST /api/requests/{id}/reject");
    for headers in tries {
        let answer = world.raw(&line, headers, r#"{"words":"no"}"#).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "origin-refused"), "{headers:?}");
    }
    let all =
        [("cookie", cookie), ("bottle-key", key), ("origin", &origin), ("sec-fetch-site", "same-origin")];
    // A form's body, which a page may send without asking.
    let form = [all.as_slice(), &[("content-type", "text/plain")]].concat();
    assert_eq!(world.raw(&line, &form, r#"{"words":"no"}"#).await.code(), "type-unsupported");
    // Reading from another port of this machine, too.
    let read = [("cookie", cookie), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")];
    assert_eq!(world.raw("GET /api/requests", &read, "").await.status, 403);
    assert_eq!(world.get("/api/requests").await.json()["requests"][0]["state"]["is"], "pending");
    let ours = [all.as_slice(), &[json]].concat();
    let answer = world.raw(&line, &ours, r#"{"words":"no"}"#).await;
    assert_eq!(answer.json()["request"]["state"]["is"], "rejected", "{answer:?}");
}

#[tokio::test]
async fn health_is_told_by_any_name_and_nothing_else_is() {
    let world = World::new().await;
    let elsewhere = [("host", "operator.supervise:1")];
    let answer = world.raw("GET /healthz", &elsewhere, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    for line in
        ["POST /healthz", "GET /healthz/", "GET //healthz", "GET /healthz/../api/requests", "GET /api/health"]
    {
        let answer = world.raw(line, &elsewhere, "").await;
        assert!((400..500).contains(&answer.status), "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn a_rebound_name_is_not_ours() {
    let world = World::new().await;
    let port = world.address.port();
    let bearer = format!("Bearer {TOKEN}");
    for host in [
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        format!("0.0.0.0:{port}"),
        format!("localhost.:{port}"),
        format!("x@127.0.0.1:{port}"),
        String::new(),
    ] {
        for line in ["GET /api/requests", "GET /", "GET /login?once=x", "GET /static/page.js"] {
            let answer = world.raw(line, &[("host", &host), ("authorization", &bearer)], "").await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "host-unknown"), "{host} {line}");
        }
    }
    let absolute = world.raw("GET http://evil.example/api/requests", &[("authorization", &bearer)], "").await;
    assert_eq!(absolute.status, 403);
    let localhost = [("host", &*format!("localhost:{port}")), ("authorization", &bearer)];
    assert_eq!(world.raw("GET /api/requests", &localhost, "").await.status, 200);
}

#[tokio::test]
async fn an_approval_is_of_what_was_seen() {
    let world = World::new().await;
    let (one, other) = (world.ask("one.example.org", "").id, world.ask("other.example.org", "").id);
    let seen = world.get(&format!("/api/requests/{one}")).await.json()["request"].clone();
    let seen_other = world.get(&format!("/api/requests/{other}")).await.json()["request"].clone();
    let answer = world.post(&format!("/api/requests/{one}/approve"), &approval(&seen)).await;
    assert_eq!(answer.json()["grant"]["subject"], "one.example.org", "{answer:?}");
    assert_eq!(answer.json()["grant"]["live"], false);
    // A grant has come since the other one was looked at.
    let stale = world.post(&format!("/api/requests/{other}/approve"), &approval(&seen_other)).await;
    assert_eq!((stale.status, stale.code().as_str()), (409, "review-stale"));
    // And now the policy changes.
    let seen = world.get(&format!("/api/requests/{other}")).await.json()["request"].clone();
    let path = world.root.path().join("policy.yaml");
    fs::write_atomic(&path, format!("# other\n{POLICY}").as_bytes(), 0o644).unwrap();
    let stale = world.post(&format!("/api/requests/{other}/approve"), &approval(&seen)).await;
    assert_eq!(stale.code(), "review-stale");
    let again = world.post(&format!("/api/requests/{one}/approve"), &approval(&seen)).await;
    assert_eq!((again.status, again.code().as_str()), (409, "request-closed"));
}

#[tokio::test]
async fn of_racing_decisions_one_wins() {
    let world = Arc::new(World::new().await);
    let id = world.ask("api.example.org", "").id;
    let seen = world.get(&format!("/api/requests/{id}")).await.json()["request"].clone();
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let (world, id, body) = (Arc::clone(&world), id.clone(), approval(&seen));
            tokio::spawn(async move {
                if number % 3 == 0 {
                    world.post(&format!("/api/requests/{id}/reject"), &json!({ "words": "no" })).await
                } else {
                    world.post(&format!("/api/requests/{id}/approve"), &body).await
                }
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            200 => won += 1,
            _ => assert_eq!(answer.code(), "request-closed", "{answer:?}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn an_approval_can_be_narrower_and_never_wider() {
    let world = World::new().await;
    let id = world.ask("api.example.org", "").id;
    let path = format!("/api/requests/{id}/approve");
    let seen = world.get(&format!("/api/requests/{id}")).await.json()["request"].clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let (mut body, mut rule) = (approval(&seen), seen["rule"].clone());
        change(&mut rule["route"]);
        body["rule"] = rule;
        body
    };
    for change in [
        &|route: &mut Value| route["host"] = json!("other.example.org") as _,
        &|route: &mut Value| route["methods"] = json!(["GET", "DELETE"]),
        &|route: &mut Value| route["ports"] = json!([22]),
        &|route: &mut Value| route["private"] = json!(true),
        &|route: &mut Value| route["credential"] = json!("deploy"),
    ] as [&dyn Fn(&mut Value); 5]
    {
        let answer = world.post(&path, &with(change)).await;
        assert_eq!(answer.code(), "too-wide", "{answer:?}");
    }
    let unknown = with(&|route| route["surprise"] = json!(1));
    assert_eq!(world.post(&path, &unknown).await.code(), "body-invalid");
    let narrow = with(&|route| {
        route["methods"] = json!(["GET"]);
        route["paths"] = json!(["/v2/**"]);
    });
    let answer = world.post(&path, &narrow).await.json();
    assert_eq!(
        answer["grant"]["manifest"],
        "# egress: routes:\n- { host: \"api.example.org\", methods: [GET], paths: [\"/v2/**\"] }"
    );
    let revoke = format!("/api/grants/{}/revoke", answer["grant"]["id"].as_str().unwrap());
    assert_eq!(world.get("/api/grants").await.json()["grants"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.post(&revoke, &json!({})).await.status, 200);
    assert_eq!(world.post(&revoke, &json!({})).await.status, 404);
    assert_eq!(world.get("/api/grants").await.json()["grants"], json!([]));
}

#[tokio::test]
async fn a_request_is_shown_with_what_it_means() {
    let world = World::new().await;
    let line = r#"{"time":"2026-01-02T03:04:05Z","event":"request","decision":"deny","reason":"path-denied","host":"known.example.org","path":"/v2/x","method":"POST"}"#;
    let log = format!("{line}\n{}\n", line.replace("known.", "other."));
    fs::write_atomic(&world.root.path().join("egress/audit.jsonl"), log.as_bytes(), 0o644).unwrap();
    let id = world.ask("known.example.org", "for the build").id;
    let shown = world.get(&format!("/api/requests/{id}")).await.json()["request"].clone();
    assert_eq!(shown["credential"], "deploy");
    assert_eq!(shown["adds"], json!(["methods POST", "all paths"]));
    assert_eq!(shown["now"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["refusals"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["refusals"][0]["path"], "/v2/x");
    assert_eq!(
        shown["warnings"],
        json!(["POST can send data out of the bottle", "the requests carry your credential deploy"])
    );
    let health = world.get("/api/health").await.json();
    assert_eq!(health["sidecars"][0]["status"], "silent");
    let status = br#"{"generation":3,"grants":[],"problem":"bottle.yaml:7: \u001b[31mwrong"}"#;
    fs::write_atomic(&world.root.path().join("egress/status.json"), status, 0o644).unwrap();
    let health = world.get("/api/health").await.json();
    assert_eq!(health["sidecars"][0]["status"], "failing");
    assert_eq!(health["sidecars"][0]["problem"], "bottle.yaml:7: ?[31mwrong");
    let traffic = world.get("/api/traffic?code=path-denied&n=1").await.json();
    assert_eq!(traffic["lines"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.get("/api/traffic?n=x").await.code(), "body-invalid");
}

#[tokio::test]
async fn markup_of_the_agent_is_text_on_the_page() {
    let world = World::new().await;
    let reason =
        "</blockquote><script>alert(1)</script><img src=x onerror='alert(2)'>\u{202e}\u{1b}[31m{{ 997*997 }}";
    let ask = json!({ "route": { "host": "api.example.org", "paths": ["/\"><script>alert(3)</script>"] } });
    let asked = world.desk.ask(serde_json::from_value(ask).unwrap(), reason);
    if asked.is_err() {
        world.ask("api.example.org", reason);
    }
    let line = r#"{"time":"t","event":"request","decision":"deny","reason":"host-unknown","host":"api.example.org","path":"/<script>alert(4)</script>","method":"<b>"}"#;
    fs::write_atomic(&world.root.path().join("egress/audit.jsonl"), line.as_bytes(), 0o644).unwrap();
    let (cookie, _) = world.login().await;
    for path in ["/", "/parts?code=%3Cscript%3E", "/?code=%22%3E%3Cscript%3E"] {
        let page = world.raw(&format!("GET {path}"), &[("cookie", &cookie)], "").await;
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        for bad in ["<script>", "<img", "<b>&", "\u{202e}", "\u{1b}", "994009"] {
            assert!(!page.body.contains(bad), "{bad:?} in {}", page.body);
        }
        assert!(page.body.contains("&lt;script&gt;alert(1)"), "{}", page.body);
    }
}

#[tokio::test]
async fn with_a_policy_that_can_not_be_read_the_grants_are_still_seen_and_revoked() {
    let world = World::new().await;
    let id = world.ask("one.example.org", "").id;
    let seen = world.get(&format!("/api/requests/{id}")).await.json()["request"].clone();
    let answer = world.post(&format!("/api/requests/{id}/approve"), &approval(&seen)).await.json();
    world.ask("other.example.org", "");
    fs::write_atomic(&world.root.path().join("policy.yaml"), b"version: 1\nroutes: {{{", 0o644).unwrap();
    assert_eq!(world.get("/api/requests").await.code(), "store-failed");
    let page = world.get("/").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("show what waits") && page.body.contains("one.example.org"), "{}", page.body);
    let revoke = format!("/api/grants/{}/revoke", answer["grant"]["id"].as_str().unwrap());
    assert_eq!(world.post(&revoke, &json!({})).await.status, 200);
}

#[tokio::test]
async fn a_change_is_told_at_once() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let text = format!(
        "GET /api/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\r\n",
        world.address
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut read = String::new();
    let mut told = async |word: &str| {
        tokio::time::timeout(std::time::Duration::from_secs(10), async {
            while !read.contains(word) {
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the stream ended: {read}");
                read.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        })
        .await
        .unwrap_or_else(|_| panic!("`{word}` was not told: {read}"));
        read.clear();
    };
    told("event: desk").await;
    world.ask("api.example.org", "please");
    told("event: desk").await;
    fs::write_atomic(
        &world.root.path().join("egress/status.json"),
        br#"{"generation":1,"grants":[]}"#,
        0o644,
    )
    .unwrap();
    told("event: report").await;
}

/// Every answer that [`World::raw`] gets is checked to have a reason; here are those that nothing else asks for.
#[tokio::test]
async fn no_refusal_is_without_a_reason() {
    let world = World::new().await;
    let bearer = format!("Bearer {TOKEN}");
    let json = ("content-type", "application/json");
    let token = ("authorization", bearer.as_str());
    let mut seen = BTreeSet::new();
    for path in [
        "/",
        "/parts?code=x&code=y",
        "/login",
        "/login?once=%ff",
        guard::HEALTH,
        "/static/page.js",
        "/static/",
        "/api/credentials",
        "/api/credentials/none",
        "/api/credentials/%ff",
        "/api/grants",
        "/api/grants/g-aaaaaaaaaa/revoke",
        "/api/health",
        "/api/login-link",
        "/api/requests?state=no",
        "/api/requests/r-aaaaaaaaaa",
        "/api/requests/%ff",
        "/api/requests/r-aaaaaaaaaa/approve",
        "/api/requests/r-aaaaaaaaaa/reject",
        "/api/traffic?n=x",
        "/nowhere",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
            for headers in [&[token, json] as &[_], &[token], &[json], &[]] {
                let answer = world.raw(&format!("{method} {path}"), headers, "{}").await;
                seen.extend(answer.header("x-bottle-reason").map(str::to_owned));
            }
        }
    }
    let large = "x".repeat(MAX_BODY + 1);
    let answer = world.raw("POST /api/requests/r-aaaaaaaaaa/reject", &[token, json], &large).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body-too-large"));
    assert_eq!(world.raw("POST /api/grants", &[token], "").await.header("allow"), Some("GET,HEAD"));
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    let expected = [
        "body-invalid",
        "grant-unknown",
        "method-unknown",
        "path-unknown",
        "request-unknown",
        "too-many-attempts",
        "type-unsupported",
        "unauthorized",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn one_page_too_many_is_refused() {
    let world = World::new().await;
    let text = format!(
        "GET /api/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\r\n",
        world.address
    );
    let mut open = Vec::new();
    for _ in 0..events::MAX_STREAMS {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        // Its place is taken once it is answered.
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        open.push(stream);
    }
    let answer = world.get("/api/events").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "too-many-streams"));
}

#[tokio::test]
async fn an_approval_answers_with_its_grant_even_if_that_is_over_by_then() {
    let world = World::new().await;
    let asked = world.ask("one.example.org", "");
    let approval = Approval {
        scope: Scope::Once,
        rule: None,
        review: world.desk.review(&asked).unwrap(),
        words: String::new(),
    };
    let (request, grant) = world.desk.approve(&asked.id, approval, By::Page).unwrap();
    let id = grant.id.clone();
    world.desk.revoke(&id, By::Page).unwrap();
    let answer = approved(&world.side(), request, grant).unwrap_or_else(|_| panic!("it is no problem"));
    assert_eq!((&answer["grant"]["id"], &answer["grant"]["live"]), (&json!(id), &json!(false)));
}

#[tokio::test]
async fn a_part_that_fails_is_told_as_a_failure_of_supervise() {
    let world = World::new().await;
    let failed: Result<(), Problem> = aside(&Arc::new(world.side()), |_| panic!("a part fails")).await;
    let answer = failed.unwrap_err().into_response();
    assert_eq!(answer.status().as_u16(), 500);
    assert_eq!(answer.headers()["x-bottle-reason"], "supervise-failed");
}
