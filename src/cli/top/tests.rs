use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::model::{Model, Wish};
use super::screen;
use super::source::{News, Order, Seen};

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn request(id: &str, host: &str, reason: &str) -> Value {
    json!({
        "id": id, "kind": "route", "subject": host, "count": 2, "created": 900, "last": 940, "reason": reason,
        "manifest": format!("# egress: routes:\n- {{ host: \"{host}\", methods: [POST] }}\n"),
        "rule": { "route": { "host": host } }, "review": format!("review-{id}"), "adds": ["a host that can't be reached now"],
        "warnings": ["POST can send data out of the bottle"], "now": [], "credential": null,
        "refusals": [{ "method": "POST", "path": "/v1/messages", "reason": "host-unknown" }],
    })
}

fn seen(requests: &[Value]) -> News {
    let grant = |id: &str, live: bool, left: Option<u64>, scope: Value| {
        json!({ "id": id, "subject": "docs.example.org", "live": live, "left": left, "scope": scope,
            "manifest": "- { host: \"docs.example.org\" }\n" })
    };
    News::Seen(Box::new(Seen {
        requests: json!({ "now": 1000, "requests": requests }),
        grants: json!({ "grants": [grant("g-two", true, Some(840), json!({ "seconds": 900 })), grant("g-one", false, None, json!("always"))] }),
        traffic: json!({ "lines": [
            { "time": "2026-01-02T03:04:06.000Z", "decision": "deny", "reason": "host-unknown", "method": "POST", "host": "api.example.org", "path": "/v1/messages" },
            { "time": "2026-01-02T03:04:05.000Z", "decision": "allow", "method": "GET", "host": "docs.example.org", "path": "/" },
        ] }),
        health: json!({ "sidecars": [{ "name": "egress", "status": "ok", "generation": 3 }, { "name": "git-gate", "status": "silent" }] }),
    }))
}

fn model(requests: &[Value]) -> Model {
    let mut model = Model::default();
    model.take(seen(requests));
    model
}

fn two() -> Model {
    // The youngest first, as supervise lists them.
    model(&[
        request("r-two", "other.example.org", "the tests need it"),
        request("r-one", "api.example.org", "it is the API"),
    ])
}

fn terminal(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(model, frame)).unwrap();
    terminal
}

fn shown(model: &Model) -> String {
    terminal(model, 80, 24).backend().to_string()
}

fn keys(model: &mut Model, keys: &[KeyCode]) -> Option<Wish> {
    keys.iter().map(|code| model.press(key(*code))).last().flatten()
}

fn write(model: &mut Model, text: &str) {
    for c in text.chars() {
        model.press(key(KeyCode::Char(c)));
    }
}

fn posted(wish: Option<Wish>) -> (String, Value) {
    match wish {
        Some(Wish::Ask(Order::Post(path, body, _))) => (path, body),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn all_of_it_stands_on_a_small_terminal() {
    let settings = || {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/top"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
    };
    let mut model = two();
    settings().bind(|| insta::assert_snapshot!("screen", shown(&model)));
    keys(&mut model, &[KeyCode::Char('a'), KeyCode::Down]);
    write(&mut model, "go on");
    settings().bind(|| insta::assert_snapshot!("approve", shown(&model)));
    for (width, height) in [(1, 1), (10, 4), (200, 60), (80, 5)] {
        terminal(&model, width, height);
    }
}

#[test]
fn nothing_that_the_agent_wrote_steers_the_terminal() {
    let hostile = "\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\u{202e}kcab\u{200b}\n\r\tend";
    let mut request = request("r-one", hostile, hostile);
    for pointer in
        ["/kind", "/credential", "/refusals/0/path", "/refusals/0/method", "/adds/0", "/warnings/0", "/id"]
    {
        *request.pointer_mut(pointer).unwrap() = hostile.into();
    }
    let mut model = model(&[request]);
    let News::Seen(mut seen) = seen(&[]) else { unreachable!() };
    for pointer in ["/lines/0/path", "/lines/0/host", "/lines/0/reason", "/lines/0/time"] {
        *seen.traffic.pointer_mut(pointer).unwrap() = hostile.into();
    }
    *seen.health.pointer_mut("/sidecars/1/status").unwrap() = hostile.into();
    *seen.grants.pointer_mut("/grants/0/subject").unwrap() = hostile.into();
    seen.requests = std::mem::take(&mut model.seen.requests);
    model.take(News::Seen(seen));
    model.take(News::Failed(hostile.to_owned()));
    for opened in [None, Some('a'), Some('r')] {
        model.dialog = None;
        opened.map(|c| model.press(key(KeyCode::Char(c))));
        let terminal = terminal(&model, 120, 40);
        let cells = terminal.backend().buffer().content();
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert!(text.contains("?]0;x?"), "it is shown, and harmless");
        let steers = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}' | '\u{9b}');
        assert!(!text.contains(steers), "{text:?}");
    }
}

#[test]
fn what_is_approved_is_what_was_seen() {
    let mut model = two();
    assert_eq!(keys(&mut model, &[KeyCode::Char('a')]), None);
    // Something else is there when the decision is made: it is still the one of the dialog.
    let changed = json!({ "id": "r-one", "subject": "evil.example", "review": "another", "rule": {} });
    model.take(seen(&[changed]));
    write(&mut model, "qax");
    let (path, body) =
        posted(keys(&mut model, &[KeyCode::Down, KeyCode::Down, KeyCode::Down, KeyCode::Enter]));
    assert_eq!(path, "/api/requests/r-one/approve");
    assert_eq!(
        body,
        json!({ "scope": "bottle", "rule": { "route": { "host": "api.example.org" } }, "review": "review-r-one", "words": "qax" })
    );
    assert!(model.dialog.is_none());
    // And each of the others.
    for (downs, scope) in [
        (0, json!("once")),
        (1, json!({ "seconds": 900 })),
        (2, json!({ "seconds": 28800 })),
        (4, json!("always")),
    ] {
        let mut model = two();
        keys(&mut model, &[KeyCode::Char('j'), KeyCode::Char('a')]);
        keys(&mut model, &vec![KeyCode::Down; downs]);
        let (path, body) = posted(keys(&mut model, &[KeyCode::Enter]));
        assert_eq!((path.as_str(), &body["scope"]), ("/api/requests/r-two/approve", &scope));
    }
}

#[test]
fn a_rejection_has_words_and_escape_decides_nothing() {
    let mut model = two();
    assert_eq!(keys(&mut model, &[KeyCode::Char('r'), KeyCode::Enter]), None);
    assert!(shown(&model).contains("say why"));
    write(&mut model, "use the mirror!");
    keys(&mut model, &[KeyCode::Backspace]);
    let (path, body) = posted(keys(&mut model, &[KeyCode::Enter]));
    assert_eq!((path.as_str(), body), ("/api/requests/r-one/reject", json!({ "words": "use the mirror" })));
    for c in ['a', 'r'] {
        assert_eq!(keys(&mut model, &[KeyCode::Char(c), KeyCode::Esc, KeyCode::Enter]), None);
        assert!(model.dialog.is_none());
    }
}

#[test]
fn a_grant_is_revoked_after_it_was_asked_twice_and_only_in_its_pane() {
    let mut model = two();
    assert_eq!(keys(&mut model, &[KeyCode::Char('x'), KeyCode::Enter]), None);
    keys(&mut model, &[KeyCode::Tab, KeyCode::Char('j'), KeyCode::Char('x')]);
    let (path, body) = posted(keys(&mut model, &[KeyCode::Enter]));
    assert_eq!((path.as_str(), body), ("/api/grants/g-one/revoke", json!({})));
    assert_eq!(keys(&mut model, &[KeyCode::Char('a'), KeyCode::Enter]), None);
}

#[test]
fn the_filter_is_a_reason_code() {
    let mut model = two();
    keys(&mut model, &[KeyCode::Char('f')]);
    write(&mut model, "host-unknown&x=/ \u{e9}");
    let wish = keys(&mut model, &[KeyCode::Backspace, KeyCode::Enter]);
    assert_eq!(wish, Some(Wish::Ask(Order::Filter("host-unknown".to_owned()))));
    assert!(shown(&model).contains("traffic with host-unknown"));
}

#[test]
fn the_choice_stays_with_the_request_and_an_id_is_no_path() {
    let mut model = two();
    keys(&mut model, &[KeyCode::Char('j')]);
    model.take(seen(&[
        request("r-three", "third.example.org", ""),
        request("r-two", "other.example.org", ""),
        request("r-one", "api.example.org", ""),
    ]));
    let (path, _) = posted(keys(&mut model, &[KeyCode::Char('a'), KeyCode::Enter]));
    assert_eq!(path, "/api/requests/r-two/approve");
    model.take(seen(&[request("../x", "api.example.org", "")]));
    assert_eq!(keys(&mut model, &[KeyCode::Char('a'), KeyCode::Enter]), None);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    keys(&mut model, &[KeyCode::Char('r')]);
    assert_eq!(model.press(interrupt), Some(Wish::Quit));
}
