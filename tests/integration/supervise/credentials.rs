//! A missing credential that the operator enters, with the real egress: where the secret gets to, and where it doesn't.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::operator_support::{Supervise, eventually, http};
use crate::support::PROGRAM;

pub(super) const SECRET: &str = "sk-entered-0123456789-abcdefghij";

/// An egress beside a supervise. It ends with the test.
pub(super) struct Egress(Child);

impl Egress {
    /// Starts it, and waits until it has said which credentials it lacks.
    #[track_caller]
    pub(super) fn start(world: &Supervise) -> Self {
        let work = world.place.work();
        drop(bottle::fs::remove_file(&work.join("report/status.json")));
        let child = Command::new(PROGRAM)
            .args([
                "sidecar",
                "egress",
                "--policy=policy.yaml",
                "--listen=127.0.0.1:0",
                "--admin=127.0.0.1:0",
            ])
            .args(["--state=egress-state", "--trust=trust", "--grants=grants", "--report=report"])
            .arg("--credentials=letters")
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let egress = Self(child);
        eventually("egress reports", || world.json(&["credential"]).pointer("/key")?.as_str().map(drop));
        egress
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What egress keeps.
pub(super) fn kept(world: &Supervise) -> Option<String> {
    let path = world.place.work().join("egress-state/credentials/token");
    let mode = bottle::fs::metadata(&path).ok()?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is for egress alone");
    Some(bottle::fs::read_to_string(&path).expect("it is text"))
}

/// The secret is in no file but the one that egress keeps.
#[track_caller]
pub(super) fn only_kept(world: &Supervise) {
    let files = bottle::fs::walk(&world.place.work()).expect("the directories are ours");
    let digits = SECRET.bytes().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
    for path in files.iter().filter(|path| !path.ends_with("egress-state/credentials/token")) {
        // A file may go while they are looked through.
        let text = bottle::fs::read(path).unwrap_or_default();
        let has = |what: &str| text.windows(what.len()).any(|part| part == what.as_bytes());
        assert!(!has(SECRET) && !has(&digits), "{}", path.display());
    }
}

fn listed(world: &Supervise) -> Value {
    world.json(&["credential"]).pointer("/credentials").cloned().unwrap_or_default()
}

fn missing() -> Value {
    json!([{ "name": "token", "problem": "environment variable `BOTTLE_CREDENTIAL_token`: it is not set, or empty", "entered": false }])
}

#[test]
fn a_secret_goes_from_the_terminal_to_egress_and_nowhere_else() {
    let world = Supervise::start();
    assert_eq!(listed(&world), json!([]), "without egress there is nothing to enter");
    let egress = Egress::start(&world);
    assert_eq!(listed(&world), missing());
    let said = world.requests(&["credential", "token"]).stdin(&format!("{SECRET}\n")).run().ok();
    assert_eq!(said, "token is entered\n");
    assert_eq!(kept(&world).as_deref(), Some(SECRET));
    let there = json!([{ "name": "token", "problem": null, "entered": true }]);
    assert_eq!(listed(&world), there);
    only_kept(&world);
    let decisions =
        bottle::fs::read_to_string(&world.place.work().join("state/decisions.jsonl")).expect("a log");
    assert!(decisions.contains(r#""id":"token","decision":"enter","by":"terminal""#), "{decisions}");
    let token = bottle::fs::read_to_string(&world.place.work().join("state/token")).expect("a token");
    let bearer = format!("Bearer {token}");
    for path in ["/parts", "/", "/api/credentials", "/api/traffic", "/api/health", "/api/requests?state=all"]
    {
        let answer = http(world.operator, "GET", path, &[("authorization", &bearer)], "");
        assert!(answer.status == 200 && !answer.body.contains(SECRET), "{path}: {answer:?}");
    }
    // It stays over a restart, and goes when it is removed.
    drop(egress);
    let _egress = Egress::start(&world);
    assert_eq!(listed(&world), there);
    assert_eq!(world.requests(&["credential", "token", "--remove"]).run().ok(), "token is removed\n");
    assert_eq!(listed(&world), missing());
    assert_eq!(kept(&world), None);
}

#[test]
fn what_can_not_be_entered_is_refused_and_says_nothing_of_the_secret() {
    let world = Supervise::start();
    let _egress = Egress::start(&world);
    let long = "x".repeat(17 << 10);
    for (name, secret, why) in [
        ("token", "short\n", "credential-refused"),
        ("token", "two-lines\nof-secret\n", "credential-refused"),
        ("token", "nul\0in-secret", "credential-refused"),
        ("token", long.as_str(), "credential-refused"),
        ("token", "", "nothing was entered"),
        ("token", &"x".repeat(21 << 10), "more than 20480 bytes"),
        ("other", SECRET, "(credential-unknown)"),
        ("../token", SECRET, "is no id"),
    ] {
        let said = world.requests(&["credential", name]).stdin(secret).run().fails(1);
        assert!(said.contains(why) && !said.contains("secret\n") && !said.contains(SECRET), "{said}");
        assert_eq!(kept(&world), None);
    }
    only_kept(&world);
}

#[test]
fn neither_the_agent_nor_another_page_enters_anything() {
    let world = Supervise::start();
    let _egress = Egress::start(&world);
    let token = bottle::fs::read_to_string(&world.place.work().join("state/token")).expect("a token");
    let bearer = format!("Bearer {token}");
    let json = ("content-type", "application/json");
    let line = "/api/credentials/token";
    // By the agent's door there is no such thing, with the token or without.
    for headers in [vec![json], vec![json, ("authorization", &bearer)]] {
        let answer = http(world.agent, "POST", line, &headers, "{}");
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert!((400..500).contains(&http(world.agent, "GET", "/api/credentials", &headers, "").status));
    }
    let evil = ("origin", "http://evil.example");
    for (headers, status) in [
        (vec![json], 401),
        (vec![json, evil], 403),
        (vec![json, evil, ("authorization", &*bearer)], 403),
        (vec![json, ("authorization", &*bearer), ("sec-fetch-site", "cross-site")], 403),
        (vec![json, ("authorization", "Bearer wrong")], 401),
    ] {
        let answer = http(world.operator, "POST", line, &headers, "{}");
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
    // With the token, what is not sealed for the key of egress goes no further.
    let headers = [json, ("authorization", &*bearer)];
    let sealed = json!({ "message": { "key": "04aa", "from": "04bb", "text": "00" } }).to_string();
    for (body, status, code) in [
        (sealed.as_str(), 409, "review-stale"),
        ("{}", 400, "body-invalid"),
        (r#"{"value":"sk-entered-0123456789-abcdefghij"}"#, 400, "body-invalid"),
    ] {
        let answer = http(world.operator, "POST", line, &headers, body);
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)));
        assert!(!answer.body.contains(SECRET), "{answer:?}");
    }
    assert_eq!(kept(&world), None);
}

#[test]
fn an_egress_that_is_gone_takes_nothing_later() {
    let world = Supervise::start();
    drop(Egress::start(&world));
    let said = world.requests(&["credential", "token"]).stdin(SECRET).run().fails(1);
    assert!(said.contains("egress-silent"), "{said}");
    assert!(!world.place.work().join("letters/letter.json").exists(), "the letter is taken back");
    let _egress = Egress::start(&world);
    assert_eq!(listed(&world), missing());
}
