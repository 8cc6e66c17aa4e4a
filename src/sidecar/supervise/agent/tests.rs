//! The agent's side over a desk in this process, with the decisions made here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::config::Places;
use super::super::desk::{Approval, By, Desk};
use super::super::state::Scope;
use super::{NAMES, router};
use crate::fs;
use crate::policy::reason::Reason;
use crate::sidecar::REASON;
use crate::sidecar::report::Report;

const EGRESS: &str = "
version: 1
deny:
- { source: 'bottle.yaml:3', host: evil.example.org }
credentials:
  token: { source: 'bottle.yaml:5', secret: !env VERY_SECRET_SOURCE, inject: bearer }
extra_hosts: { inner.example.org: 10.9.8.7 }
upstream_proxy: http://upstream-proxy.example.org:3128
routes:
- { source: 'bottle.yaml:9', host: api.example.org, scheme: https, ports: [443], methods: [GET, HEAD], paths: [/v1/**],
    credential: token }
";

const GATE: &str = "
version: 1
repositories:
  app:
    source: 'bottle.yaml:20'
    upstream: !https
      url: https://code.example.org/team/app.git
      credential: { name: forge, username: robot, source: !file /run/secrets/forge }
    push: [{ source: 'bottle.yaml:24', refs: 'refs/heads/agent/**', allow: [create, fast-forward] }]
    protect: [/.github/**]
    max_pack_bytes: 1000000
";

/// A desk with the agent's side of it.
struct World {
    place: TempDir,
    desk: Arc<Desk>,
    router: Router,
}

impl World {
    fn new() -> Self {
        let place = TempDir::new().expect("a directory can be made");
        let path = |name: &str| place.path().join(name);
        for directory in ["grants", "state", "egress", "gate"] {
            fs::create_dir_all(&path(directory)).expect("it is writable");
        }
        fs::write_atomic(&path("policy.yaml"), EGRESS.as_bytes(), 0o644).expect("it is writable");
        fs::write_atomic(&path("gate.yaml"), GATE.as_bytes(), 0o644).expect("it is writable");
        let places = Places {
            egress_policy: Some(path("policy.yaml")),
            gate_policy: Some(path("gate.yaml")),
            egress_report: Some(path("egress")),
            gate_report: Some(path("gate")),
            letters: None,
            grants: path("grants"),
            state: path("state"),
        };
        let desk = Arc::new(Desk::open(places).expect("the desk opens"));
        let router = router(Arc::clone(&desk), &NAMES);
        Self { place, desk, router }
    }

    /// Egress runs these grants.
    fn report(&self, grants: &[&str]) {
        let grants = grants.iter().map(|&id| id.to_owned()).collect();
        let report = Report { generation: 1, grants, ..Report::default() };
        report.write(&self.place.path().join("egress")).expect("it is writable");
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let service = TowerToHyperService::new(self.router.clone());
        let response = service.call(request).await.expect("it always answers");
        let status = response.status();
        let reason = response.headers().get(REASON).map(|code| code.to_str().unwrap_or_default().to_owned());
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("the body is whole");
        let answer = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.as_u16() >= 400 {
            let reason = reason.unwrap_or_default();
            assert!(reason.parse::<Reason>().is_ok(), "{status} without a reason: {answer}");
            // What MCP refuses in its own words, it says in its own form. The head of an answer has no body.
            if answer.get("jsonrpc").is_none() && !body.is_empty() {
                assert_eq!(text(&answer, "code"), reason);
                assert!(answer.get("message").is_some() && answer.get("hint").is_some(), "{answer}");
            }
        }
        (status, answer)
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "supervise:7331");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.body(body).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn ask(&self, host: &str) -> String {
        let (status, answer) = self.call("POST", "/requests", route(host)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        text(&answer, "id").to_owned()
    }

    fn approve(&self, id: &str, scope: Scope) -> String {
        let request = self.desk.request(id).expect("it is there");
        let review = self.desk.review(&request).expect("it can be reviewed");
        let approval = Approval { scope, rule: None, review, words: "be careful".to_owned() };
        self.desk.approve(id, approval, By::Page).expect("it can be approved").1.id
    }

    /// Calls a tool without a handshake, and gives the result.
    async fn tool(&self, name: &str, arguments: Value) -> Value {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments },
        });
        let request = Request::builder().method("POST").uri("/mcp").header(header::HOST, "supervise:7331");
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18");
        let (status, answer) =
            self.send(request.body(Body::from(message.to_string())).expect("a request")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer.get("result").cloned().unwrap_or(answer)
    }
}

fn route(host: &str) -> Value {
    json!({ "ask": { "route": { "host": host } }, "reason": "the build needs it" })
}

#[track_caller]
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_else(|| unreachable!("no `{name}` in {value}"))
}

/// In a runtime of one thread, as in the process.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(future)
}

#[test]
fn a_request_is_pending_until_it_is_approved_and_live_once_the_sidecar_runs_the_grant() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        let answer = world.get(&format!("/requests/{id}")).await;
        assert_eq!(text(&answer, "state"), "pending");
        assert_eq!(answer.pointer("/asked/route/host"), Some(&json!("docs.example.org")));
        let grant = world.approve(&id, Scope::Seconds(900));
        let answer = world.get(&format!("/requests/{id}")).await;
        assert_eq!(text(&answer, "state"), "approved");
        assert_eq!(answer.get("live"), Some(&json!(false)));
        // The sidecar takes it up while the agent waits.
        let path = format!("/requests/{id}?wait=20");
        let (answer, ()) = tokio::join!(world.get(&path), async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.report(&[&grant]);
        });
        assert_eq!(answer.get("live"), Some(&json!(true)), "{answer}");
        assert_eq!(text(&answer, "words"), "be careful");
        assert!(
            answer.get("seconds_left").and_then(Value::as_u64).is_some_and(|left| left > 890),
            "{answer}"
        );
    });
}

#[test]
fn a_wait_ends_with_the_decision() {
    run(async {
        let world = World::new();
        for (approve, state) in [(true, "approved"), (false, "rejected")] {
            let id = world.ask(&format!("{state}.example.org")).await;
            let started = Instant::now();
            let (answer, ()) = tokio::join!(world.tool("wait", json!({ "id": id })), async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if approve {
                    let grant = world.approve(&id, Scope::Bottle);
                    world.report(&[&grant]);
                } else {
                    world
                        .desk
                        .reject(&id, "use the mirror\u{1b}[2J instead", By::Terminal)
                        .expect("it is pending");
                }
            });
            let answer = answer.get("structuredContent").expect("there is an answer").clone();
            assert_eq!(text(&answer, "state"), state);
            assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
            if approve {
                assert_eq!(answer.get("live"), Some(&json!(true)));
            } else {
                assert_eq!(text(&answer, "words"), "use the mirror?[2J instead");
            }
        }
    });
}

#[test]
fn a_wait_without_a_decision_says_what_is_known() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        let started = Instant::now();
        let answer = world.get(&format!("/requests/{id}?wait=1")).await;
        assert_eq!(text(&answer, "state"), "pending");
        assert!(started.elapsed() >= Duration::from_secs(1));
        // A sidecar that is down: approved, and said not to be live.
        world.approve(&id, Scope::Bottle);
        let answer = world.get(&format!("/requests/{id}?wait=1")).await;
        assert_eq!(answer.get("live"), Some(&json!(false)), "{answer}");
    });
}

#[test]
fn what_was_revoked_is_not_live_even_if_the_sidecar_has_not_heard() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        let grant = world.approve(&id, Scope::Bottle);
        world.report(&[&grant]);
        world.desk.revoke(&grant, By::Page).expect("it is in force");
        let answer = world.get(&format!("/requests/{id}?wait=20")).await;
        assert_eq!(answer.get("live"), Some(&json!(false)));
        assert_eq!(text(&answer, "ended"), "revoked");
    });
}

#[test]
fn a_wait_ends_when_the_request_is_withdrawn() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        let path = format!("/requests/{id}?wait=20");
        let (answer, (status, _)) = tokio::join!(world.get(&path), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.call("DELETE", &format!("/requests/{id}"), Value::Null).await
        });
        assert_eq!((status, text(&answer, "state")), (StatusCode::OK, "withdrawn"));
        let (status, answer) = world.call("DELETE", &format!("/requests/{id}"), Value::Null).await;
        assert_eq!((status, text(&answer, "code")), (StatusCode::CONFLICT, "request-closed"));
    });
}

#[test]
fn waits_are_bounded_in_number_and_a_client_that_leaves_gives_its_place_back() {
    run(async {
        let world = Arc::new(World::new());
        let id = world.ask("docs.example.org").await;
        let waits: Vec<_> = (0..16)
            .map(|_| {
                let (world, path) = (Arc::clone(&world), format!("/requests/{id}?wait=50"));
                tokio::spawn(async move { world.get(&path).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (status, answer) = world.call("GET", &format!("/requests/{id}?wait=50"), Value::Null).await;
        assert_eq!((status, text(&answer, "code")), (StatusCode::TOO_MANY_REQUESTS, "waits-full"));
        // Looking without waiting works all the same.
        assert_eq!(text(&world.get(&format!("/requests/{id}")).await, "state"), "pending");
        waits.first().expect("there are some").abort();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = world.get(&format!("/requests/{id}?wait=1")).await;
        assert_eq!(text(&answer, "state"), "pending");
        for wait in waits {
            wait.abort();
        }
    });
}

#[test]
fn an_id_that_is_not_there_is_not_waited_for() {
    run(async {
        let world = World::new();
        for id in ["r-aaaaaaaaaa", "g-aaaaaaaaaa", "..%2f..%2fetc", "%00", &"x".repeat(4000)] {
            let started = Instant::now();
            let (status, answer) = world.call("GET", &format!("/requests/{id}?wait=50"), Value::Null).await;
            assert_eq!((status, text(&answer, "code")), (StatusCode::NOT_FOUND, "request-unknown"), "{id}");
            let (status, _) = world.call("DELETE", &format!("/requests/{id}"), Value::Null).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{id}");
            assert!(started.elapsed() < Duration::from_secs(5));
        }
    });
}

#[test]
fn the_policy_says_what_is_allowed_and_no_secret() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        world.approve(&id, Scope::Seconds(60));
        let answer = world.get("/policy").await;
        let route = answer.pointer("/egress/routes/0").expect("there is a route");
        assert_eq!(text(route, "host"), "api.example.org");
        assert_eq!(route.get("credential"), Some(&json!(true)));
        assert_eq!(answer.pointer("/egress/never/0/host"), Some(&json!("evil.example.org")));
        assert_eq!(
            answer.pointer("/git/repositories/app/push/0"),
            Some(&json!({ "refs": "refs/heads/agent/**", "operations": ["create", "fast-forward"] }))
        );
        assert_eq!(answer.pointer("/grants/0/allows/route/host"), Some(&json!("docs.example.org")));
        assert_eq!(answer.pointer("/grants/0/live"), Some(&json!(false)));
        let tool = world.tool("policy", json!({})).await;
        assert_eq!(tool.get("structuredContent"), Some(&answer));
        for secret in [
            "VERY_SECRET",
            "/run/secrets",
            "robot",
            "forge",
            "code.example.org",
            "bearer",
            "10.9.8.7",
            "upstream",
        ] {
            assert!(!answer.to_string().contains(secret), "`{secret}` is in {answer}");
        }
    });
}

#[test]
fn what_can_never_be_approved_is_refused_at_once() {
    run(async {
        let world = World::new();
        let cases = [
            (json!({ "route": { "host": "evil.example.org" } }), 403, "ask-denied"),
            (json!({ "route": { "host": "*" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "*.org" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "169.254.169.254" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "10.0.0.1" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "0x7f.1" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "a.example.org", "private": true } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "a.example.org", "credential": "token" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "api.example.org", "paths": ["/v1/**"] } }), 409, "ask-needless"),
            (
                json!({ "push": { "repository": "other", "refs": "x", "operations": ["create"] } }),
                400,
                "ask-invalid",
            ),
            (json!({ "push": { "repository": "app", "refs": "x", "operations": [] } }), 400, "ask-invalid"),
            (json!({ "exception": { "repository": "app", "finding": "*" } }), 400, "ask-invalid"),
            (json!({ "approve": { "id": "r-aaaaaaaaaa" } }), 400, "ask-invalid"),
            (json!({ "route": { "host": "a.example.org" }, "push": {} }), 400, "ask-invalid"),
            (json!(null), 400, "ask-invalid"),
        ];
        for (ask, status, code) in cases {
            let (got, answer) =
                world.call("POST", "/requests", json!({ "ask": ask, "reason": "please" })).await;
            assert_eq!((got.as_u16(), text(&answer, "code")), (status, code), "{ask}: {answer}");
            assert!(answer.get("message").is_some() && answer.get("hint").is_some(), "{answer}");
        }
        assert_eq!(world.desk.requests(false, 10).expect("it can be read").len(), 0);
    });
}

#[test]
fn what_is_not_known_is_refused_and_never_passed_over() {
    run(async {
        let world = World::new();
        let good = route("docs.example.org");
        for (name, value) in [
            ("state", json!("approved")),
            ("id", json!("r-aaaaaaaaaa")),
            ("rule", json!({})),
            ("by", json!("page")),
        ] {
            let mut body = good.clone();
            body.as_object_mut().expect("an object").insert(name.to_owned(), value);
            let (status, answer) = world.call("POST", "/requests", body).await;
            assert_eq!((status.as_u16(), text(&answer, "code")), (400, "ask-invalid"), "{answer}");
        }
        let (status, _) =
            world.call("POST", "/requests", json!({ "ask": { "route": { "host": "a.b" } } })).await;
        assert_eq!(status.as_u16(), 400);
        let twice = r#"{"ask":{"route":{"host":"a.example.org","host":"b.example.org"}},"reason":"x"}"#;
        let deep = format!("{{\"ask\":{}1{},\"reason\":\"x\"}}", "[".repeat(20_000), "]".repeat(20_000));
        for body in [twice, &deep, "", "{", "[]", "null", "\u{feff}{}"] {
            let request =
                Request::builder().method("POST").uri("/requests").header(header::HOST, "supervise");
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let request = request.body(Body::from(body.to_owned())).expect("a request");
            let (status, answer) = world.send(request).await;
            assert_eq!((status.as_u16(), text(&answer, "code")), (400, "ask-invalid"), "{answer}");
        }
        for query in ["wait=-1", "wait=x", "wait=1&wait=2", "until=approved", "wait=99999999999999999999"] {
            let (status, _) =
                world.call("GET", &format!("/requests/r-aaaaaaaaaa?{query}"), Value::Null).await;
            assert_eq!(status.as_u16(), 400, "{query}");
        }
        assert_eq!(world.desk.requests(false, 10).expect("it can be read").len(), 0);
    });
}

#[test]
fn the_agents_words_are_kept_as_harmless_text() {
    run(async {
        let world = World::new();
        let reason =
            "\u{1b}]0;owned\u{7}\u{202e}lla evorppa\u{200b}<img src=x onerror=alert(1)>\n\n  approve all";
        let ask = json!({ "route": { "host": "docs.example.org" } });
        let (status, answer) = world.call("POST", "/requests", json!({ "ask": ask, "reason": reason })).await;
        assert_eq!(status.as_u16(), 201, "{answer}");
        let kept = text(&answer, "reason");
        assert!(!kept.chars().any(|c| c.is_control() || "\u{202e}\u{200b}".contains(c)), "{kept:?}");
        assert!(kept.contains("<img src=x"), "text stays text: {kept}");
        // What becomes a rule has no such characters at all.
        for ask in [
            json!({ "route": { "host": "docs\u{202e}.example.org" } }),
            json!({ "route": { "host": "docs.example.org\u{1b}[2J" } }),
            json!({ "route": { "host": "docs.example.org", "paths": ["/\u{202e}x"] } }),
            json!({ "route": { "host": "docs.example.org", "paths": ["/\u{1b}[2J"] } }),
            json!({ "route": { "host": "docs.example.org", "methods": ["GET\r\nX: y"] } }),
            json!({ "push": { "repository": "app", "refs": "a\u{200b}b", "operations": ["create"] } }),
            json!({ "push": { "repository": "app\u{7}", "refs": "a", "operations": ["create"] } }),
        ] {
            let (status, answer) =
                world.call("POST", "/requests", json!({ "ask": ask, "reason": "x" })).await;
            assert_eq!((status.as_u16(), text(&answer, "code")), (400, "ask-invalid"), "{ask}");
            assert!(!answer.to_string().contains('\u{202e}'), "{answer}");
        }
        let ask = json!({ "route": { "host": "other.example.org" } });
        let (status, _) = world.call("POST", "/requests", json!({ "ask": ask, "reason": " \n" })).await;
        assert_eq!(status.as_u16(), 400);
    });
}

#[test]
fn a_flood_fills_the_desk_and_nothing_else() {
    run(async {
        let world = World::new();
        let mut codes = std::collections::BTreeMap::new();
        for number in 0..10_000 {
            let (_, answer) = world.call("POST", "/requests", route(&format!("h{number}.example.org"))).await;
            let code = answer.get("code").and_then(Value::as_str).unwrap_or("taken").to_owned();
            *codes.entry(code).or_insert(0) += 1;
        }
        assert_eq!(codes.get("taken"), Some(&20), "{codes:?}");
        assert!(codes.get("desk-full").is_some_and(|&count| count >= 80), "{codes:?}");
        assert!(codes.get("too-fast").is_some_and(|&count| count > 9_000), "{codes:?}");
        assert_eq!(world.desk.requests(false, usize::MAX).expect("it can be read").len(), 20);
        // Withdrawing makes room, and is counted as well.
        let (status, answer) = world.call("GET", "/policy", Value::Null).await;
        assert_eq!(status.as_u16(), 200, "{answer}");
    });
}

#[test]
fn the_same_is_one_request_with_a_count() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        for count in 2..20 {
            let (status, answer) = world.call("POST", "/requests", route("DOCS.example.org")).await;
            assert_eq!((status.as_u16(), text(&answer, "id")), (200, id.as_str()));
            assert_eq!(answer.get("count"), Some(&json!(count)));
        }
        world.desk.reject(&id, "no", By::Page).expect("it is pending");
        let (status, answer) = world.call("POST", "/requests", route("docs.example.org")).await;
        assert_eq!((status.as_u16(), text(&answer, "code")), (429, "ask-repeated"));
    });
}

#[test]
fn the_operators_turn_comes_while_a_flood_goes_on() {
    run(async {
        let world = Arc::new(World::new());
        let id = world.ask("docs.example.org").await;
        let floods: Vec<_> = (0..100)
            .map(|number| {
                let world = Arc::clone(&world);
                tokio::spawn(async move {
                    loop {
                        world.call("POST", "/requests", route(&format!("h{number}.example.org"))).await;
                        world.call("GET", "/policy", Value::Null).await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        // What the operator's side does is another task: its steps come at once and not after a hundred calls.
        let desk = Arc::clone(&world.desk);
        let operator = tokio::spawn(async move {
            let started = Instant::now();
            for _ in 0..20 {
                tokio::task::yield_now().await;
                desk.requests(true, 20).expect("it can be read");
            }
            desk.reject(&id, "no", By::Page).expect("it is pending");
            started.elapsed()
        });
        let took = operator.await.expect("it goes well");
        for flood in floods {
            flood.abort();
        }
        assert!(took < Duration::from_secs(2), "the operator waited {took:?}");
    });
}

#[test]
fn no_path_and_no_method_approves() {
    run(async {
        let world = World::new();
        let id = world.ask("docs.example.org").await;
        let request = world.desk.request(&id).expect("it is there");
        let review = world.desk.review(&request).expect("it can be reviewed");
        let body = json!({ "id": id, "review": review, "scope": "always", "words": "" });
        for path in [
            format!("/requests/{id}/approve"),
            format!("/requests/{id}/approval"),
            format!("/api/requests/{id}/approve"),
            format!("/requests/{id}"),
            format!("/requests/{id}/../{id}/approve"),
            format!("//requests/{id}/approve"),
            "/approve".to_owned(),
            "/grants".to_owned(),
            "/grants/g-aaaaaaaaaa".to_owned(),
            "/policy".to_owned(),
            "/requests".to_owned(),
            "/".to_owned(),
        ] {
            for method in ["POST", "PUT", "PATCH", "OPTIONS", "TRACE", "APPROVE"] {
                let (status, _) = world.call(method, &path, body.clone()).await;
                assert!(status.is_client_error(), "{method} {path}: {status}");
            }
        }
        for tool in ["approve", "requests/approve", "Policy", "grant", ""] {
            let answer = world.tool(tool, body.clone()).await;
            assert!(answer.get("error").is_some(), "{tool}: {answer}");
        }
        assert!(world.desk.request(&id).expect("it is there").state.is_pending());
        assert_eq!(world.desk.grants(false, 10).expect("it can be read").len(), 0);
    });
}

#[test]
fn asking_and_withdrawing_at_once_ends_in_one_of_both() {
    run(async {
        let world = World::new();
        for number in 0..20 {
            let host = format!("h{number}.example.org");
            let id = world.ask(&host).await;
            let path = format!("/requests/{id}");
            let ((asked, again), (_, withdrawn)) = tokio::join!(
                world.call("POST", "/requests", route(&host)),
                world.call("DELETE", &path, Value::Null)
            );
            // Counted on the first one before that was withdrawn, or refused after.
            assert!(asked == StatusCode::OK || text(&again, "code") == "ask-repeated", "{again}");
            assert_eq!(text(&withdrawn, "state"), "withdrawn");
            assert_eq!(world.desk.requests(true, 20).expect("it can be read"), []);
        }
    });
}

#[test]
fn a_tool_that_refuses_says_why_in_a_result() {
    run(async {
        let world = World::new();
        let cases = [
            ("request_route", json!({ "host": "evil.example.org", "reason": "x" }), "ask-denied"),
            ("request_route", json!({ "host": "docs.example.org" }), "ask-invalid"),
            (
                "request_route",
                json!({ "host": "docs.example.org", "reason": "x", "always": true }),
                "ask-invalid",
            ),
            ("request_push", json!({ "repository": "app", "reason": "x" }), "ask-invalid"),
            (
                "request_exception",
                json!({ "repository": "app", "finding": "x", "reason": "x" }),
                "ask-invalid",
            ),
            ("wait", json!({ "id": "r-aaaaaaaaaa", "seconds": 50 }), "request-unknown"),
            ("withdraw", json!({ "id": "r-aaaaaaaaaa" }), "request-unknown"),
            ("withdraw", json!({}), "ask-invalid"),
            ("policy", json!({ "secrets": true }), "ask-invalid"),
        ];
        for (name, arguments, code) in cases {
            let result = world.tool(name, arguments).await;
            assert_eq!(result.get("isError"), Some(&json!(true)), "{name}: {result}");
            let problem = result.get("structuredContent").expect("there is an answer");
            assert_eq!(text(problem, "code"), code, "{name}: {result}");
            assert!(problem.get("message").is_some() && problem.get("hint").is_some(), "{result}");
        }
        let result = world.tool(
            "request_push",
            json!({
                "repository": "app", "refs": "main", "operations": ["force"], "reason": "the history was cut",
            }),
        );
        let result = result.await;
        assert_eq!(
            result.pointer("/structuredContent/asked/push/refs"),
            Some(&json!("refs/heads/main")),
            "{result}"
        );
        let finding =
            json!({ "repository": "app", "finding": "f-0123456789abcdef", "reason": "a made-up key" });
        let result = world.tool("request_exception", finding).await;
        assert_eq!(result.pointer("/structuredContent/state"), Some(&json!("pending")), "{result}");
    });
}

#[test]
fn a_policy_that_cannot_be_read_names_no_file_to_the_agent() {
    run(async {
        let world = World::new();
        fs::write_atomic(&world.place.path().join("policy.yaml"), b"version: [", 0o644)
            .expect("it is writable");
        let (status, answer) = world.call("POST", "/requests", route("docs.example.org")).await;
        assert_eq!((status.as_u16(), text(&answer, "code")), (503, "store-failed"));
        assert!(!answer.to_string().contains("policy.yaml"), "{answer}");
    });
}

/// Every answer that [`World::send`] gets is checked to have a reason; here are those that nothing else asks for.
#[test]
fn no_refusal_is_without_a_reason() {
    run(async {
        let world = World::new();
        let mut refused = 0;
        for path in [
            "/",
            "/healthz",
            "/policy",
            "/requests",
            "/requests/r-aaaaaaaaaa",
            "/requests/%ff",
            "/requests/r-aaaaaaaaaa?wait=x",
            "/mcp",
            "/mcp/",
            "/nowhere",
        ] {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
                for (host, kind, accept) in [
                    ("supervise", "application/json", "application/json, text/event-stream"),
                    ("supervise", "application/json", "text/html"),
                    ("supervise", "text/plain", "*/*"),
                    ("evil.example.org", "application/json", "*/*"),
                ] {
                    for body in ["", "{}", r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#] {
                        let request = Request::builder().method(method).uri(path).header(header::HOST, host);
                        let request =
                            request.header(header::CONTENT_TYPE, kind).header(header::ACCEPT, accept);
                        let (status, _) =
                            world.send(request.body(Body::from(body)).expect("a request")).await;
                        refused += u32::from(status.as_u16() >= 400);
                    }
                }
            }
        }
        assert!(refused > 500, "{refused}");
        // A tool that isn't there is refused in MCP's way, with the reason beside it.
        let answer = world.tool("approve", json!({})).await;
        assert_eq!(answer.pointer("/error/data/code"), Some(&json!("ask-invalid")), "{answer}");
    });
}
