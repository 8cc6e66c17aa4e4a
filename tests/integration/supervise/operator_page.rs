//! The page in a real browser, over `WebDriver`. Where there is none, the tests say that they were skipped.

#![expect(clippy::print_stdout, reason = "what was skipped is said")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use serde_json::{Value, json};

use super::credentials::{Egress, SECRET, kept, only_kept};
use super::operator_support::{Supervise, eventually, http, text};
use crate::support::project;

/// The id of an element in `WebDriver`'s JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser that ends with the test.
struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _home: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Whose browser it is.
static TURN: Mutex<()> = Mutex::new(());

impl Drop for Browser {
    fn drop(&mut self) {
        http(self.address, "DELETE", &self.session, &[], "");
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

impl Browser {
    /// None where this machine has no browser. Then these tests fail, so that nobody takes what was skipped for what has
    /// passed; `BOTTLE_TEST_WITHOUT_BROWSER` says that it is meant.
    fn start(test: &str) -> Option<Self> {
        let has = |name: &str| {
            Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
        };
        if !has("chromedriver") || !has("chromium") {
            assert!(
                std::env::var_os("BOTTLE_TEST_WITHOUT_BROWSER").is_some(),
                "chromium or chromedriver is missing: run scripts/setup.sh, or set BOTTLE_TEST_WITHOUT_BROWSER to test without"
            );
            println!("skipped: {test}: `chromium` and `chromedriver` are not on this machine");
            return None;
        }
        // One at a time: several that start at once on two cores don't all come up.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
        let port: u16 = loop {
            let line = lines.next().expect("chromedriver tells its port").expect("text");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse().expect("a port");
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = format!("--user-data-dir={}", home.path().join("profile").display());
        let options = json!({ "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-proxy-server", "--window-size=1280,1100", "--hide-scrollbars", profile] });
        let body = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let answer = http(address, "POST", "/session", &[], &body.to_string()).json();
        let session = text(&answer, "/value/sessionId");
        let session = format!("/session/{session}");
        Some(Self { driver, address, session, _home: home, _turn: turn })
    }

    #[track_caller]
    fn call(&self, path: &str, body: &Value) -> Value {
        let answer = http(self.address, "POST", &format!("{}{path}", self.session), &[], &body.to_string());
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json().pointer("/value").cloned().unwrap_or_default()
    }

    #[track_caller]
    fn open(&self, url: &str) {
        self.call("/url", &json!({ "url": url }));
    }

    #[track_caller]
    fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The element, once it is there.
    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let find = || {
            let body = json!({ "using": "css selector", "value": selector }).to_string();
            let answer = http(self.address, "POST", &format!("{}/element", self.session), &[], &body).json();
            answer.pointer(&format!("/value/{ELEMENT}")).and_then(Value::as_str).map(str::to_owned)
        };
        eventually(&format!("`{selector}`"), find)
    }

    /// Does something with an element; once more where the page has replaced it meanwhile.
    #[track_caller]
    fn act(&self, selector: &str, what: &str, body: &Value) {
        eventually(&format!("{what} of `{selector}`"), || {
            let path = format!("{}/element/{}/{what}", self.session, self.element(selector));
            let answer = http(self.address, "POST", &path, &[], &body.to_string());
            let replaced = ["stale element reference", "element not interactable"];
            if replaced.iter().any(|error| answer.body.contains(error)) {
                return None;
            }
            assert_eq!(answer.status, 200, "{what} of {selector}: {}", answer.body);
            Some(())
        });
    }

    #[track_caller]
    fn click(&self, selector: &str) {
        self.act(selector, "click", &json!({}));
    }

    #[track_caller]
    fn write(&self, selector: &str, text: &str) {
        self.act(selector, "clear", &json!({}));
        self.act(selector, "value", &json!({ "text": text }));
    }

    /// The text that is seen of the whole page.
    fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        eventually(&format!("`{text}` on the page"), || self.text().contains(text).then_some(()));
    }

    #[track_caller]
    fn until(&self, script: &str) {
        eventually(&format!("`{script}`"), || (self.run(&format!("return {script}")) == true).then_some(()));
    }
}

fn card(id: &str, rest: &str) -> String {
    format!("#card-{id} {rest}")
}

#[test]
fn a_request_is_seen_narrowed_approved_and_revoked() {
    let Some(browser) = Browser::start("a_request_is_seen_narrowed_approved_and_revoked") else { return };
    let world = Supervise::start();
    browser.open(&world.link());
    browser.sees("Nothing waits for you");
    browser.until("document.querySelector('#link').dataset.state === 'on'");
    assert_eq!(browser.run("return location.hash + location.pathname"), "/");
    assert_eq!(browser.run("return document.cookie"), "");
    // It comes by itself.
    let id = world.ask_for(
        "api.example.org",
        "</script><script>document.title='pwned'</script><img src=x onerror=alert(1)>",
    );
    browser.sees("api.example.org");
    browser.sees("its own words; nobody has checked them");
    browser.sees("<img src=x onerror=alert(1)>");
    browser.sees("a host that can't be reached now");
    assert_eq!(browser.run("return document.title"), "(1) bottle: requests");
    assert_eq!(browser.run("return document.querySelectorAll('article img, article script').length"), 0);
    // Narrowed; what is typed stays while something else happens.
    browser.click(&card(&id, ".narrow summary"));
    browser.click(&card(&id, "input[value=POST]"));
    browser.write(&card(&id, "textarea"), "/v1/**");
    let other = world.ask_for("other.example.org", "");
    browser.element(&format!("#card-{other}"));
    browser.write(&card(&id, "input[name=words]"), "reading is enough");
    browser.click(&card(&id, "button.approve:enabled"));
    browser.until(&format!("!document.querySelector('#card-{id}')"));
    browser.sees("not in force yet");
    let [grant] = world.grants().try_into().expect("one grant");
    assert!(grant.contains("- GET\n") && !grant.contains("POST") && grant.contains("/v1/**"), "{grant}");
    assert!(world.hears(&id).to_string().contains("reading is enough"));
    world.report();
    browser.until("document.querySelector('.grant .ok')?.textContent === 'live'");
    browser.until("/^1[45] min left$/.test(document.querySelector('.grant .left').innerText)");
    browser.click(".grant button.revoke:enabled");
    browser.sees("Nothing beside what bottle.yaml says.");
    assert!(world.grants().is_empty());
    // Rejected, with words.
    browser.write(&card(&other, "input[name=words]"), "use the mirror");
    browser.click(&card(&other, "button.reject:enabled"));
    browser.until(&format!("!document.querySelector('#card-{other}')"));
    assert!(world.hears(&other).to_string().contains("use the mirror"));
}

#[test]
fn what_is_approved_always_gives_its_lines() {
    let Some(browser) = Browser::start("what_is_approved_always_gives_its_lines") else { return };
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    browser.open(&world.link());
    browser.click(&card(&id, "input[value=always]"));
    browser.click(&card(&id, "button.approve:enabled"));
    browser.element(".copy button");
    let lines = browser.run("return document.querySelector('.copy code').textContent");
    assert_eq!(lines, "# egress: routes:\n- { host: \"api.example.org\", methods: [GET, POST] }");
    browser.click(".copy button");
    browser.until("/^(Copied|Selected)/.test(document.querySelector('#told').textContent)");
}

#[test]
fn a_decision_on_what_is_no_more_so_is_made_again() {
    let Some(browser) = Browser::start("a_decision_on_what_is_no_more_so_is_made_again") else { return };
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    let other = world.ask_for("other.example.org", "");
    browser.open(&world.link());
    // A card on which somebody works is not changed below his hands; its approval is refused then.
    browser.write(&card(&id, "input[name=words]"), "go on");
    world.requests(&["approve", &other, "--yes"]).run().ok();
    browser.until(&format!("!document.querySelector('#card-{other}')"));
    browser.click(&card(&id, "button.approve:enabled"));
    browser.sees(&format!("look at {id} again"));
    assert_eq!(world.grants().len(), 1);
    browser.until(&format!("document.querySelector('#card-{id} [name=words]').value === ''"));
    browser.click(&card(&id, "button.approve:enabled"));
    browser.until(&format!("!document.querySelector('#card-{id}')"));
    assert_eq!(world.grants().len(), 2);
}

#[test]
fn a_page_on_another_port_decides_nothing() {
    let Some(browser) = Browser::start("a_page_on_another_port_decides_nothing") else { return };
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    browser.open(&world.link());
    browser.element(&format!("#card-{id}"));
    // A server of somebody else on this machine: the browser takes its page for one of the same site.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let target = format!("http://{}/api/requests/{id}/reject", world.operator);
    let html = format!(
        "<form id=f method=post action='{target}' enctype='text/plain' target=frame><input name='{{\"words\":\"' value='\"}}'></form>\
         <iframe name=frame></iframe><iframe id=page src='http://{operator}/'></iframe><script>\
         f.submit();\
         const sent = ['same-origin','no-cors','cors'].map((mode) => fetch('{target}', {{ method: 'POST', mode, credentials: 'include',\
           headers: mode === 'no-cors' ? {{}} : {{ 'content-type': 'application/json' }}, body: '{{}}' }}).catch(() => 0));\
         const read = fetch('http://{operator}/api/requests', {{ credentials: 'include' }}).then((a) => a.text()).catch(() => 'unread');\
         Promise.all([read, ...sent]).then(([text]) => {{ document.title = 'done ' + text; }});</script>",
        operator = world.operator,
    );
    let seen = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut bytes = [0; 8192];
            let count = stream.read(&mut bytes).unwrap_or_default();
            log.lock()
                .expect("unpoisoned")
                .push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                html.len()
            );
            drop(stream.write_all(format!("{head}{html}").as_bytes()));
        }
    });
    browser.open(&format!("http://127.0.0.1:{port}/"));
    browser.until("document.title.startsWith('done')");
    assert_eq!(browser.run("return document.title"), "done unread");
    assert_eq!(world.json(&["show", &id])["request"]["state"]["is"], "pending");
    // The browser gave it the cookie, too. Whoever has that can't decide: the page's key is not in it.
    let stolen = seen.lock().expect("unpoisoned").lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("cookie").then(|| value.to_owned())
    });
    let origin = format!("http://{}", world.operator);
    let stolen = stolen.expect("a browser sends cookies to every port");
    let headers = [("cookie", &*stolen), ("origin", &origin), ("content-type", "application/json")];
    let answer = http(world.operator, "POST", &format!("/api/requests/{id}/reject"), &headers, "{}");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (403, Some("origin-refused")));
    assert_eq!(world.json(&["show", &id])["request"]["state"]["is"], "pending");
}

#[test]
fn a_secret_goes_from_the_page_to_egress_and_nowhere_else() {
    let Some(browser) = Browser::start("a_secret_goes_from_the_page_to_egress_and_nowhere_else") else {
        return;
    };
    let world = Supervise::start();
    let _egress = Egress::start(&world);
    browser.open(&world.link());
    browser.sees("environment variable `BOTTLE_CREDENTIAL_token`");
    // What no request can carry is refused, and what was typed stays.
    browser.write("#credential-token input", "short");
    browser.click("#credential-token [data-do=enter]");
    browser.sees("fewer than 6 bytes");
    browser.write("#credential-token input", SECRET);
    browser.click("#credential-token [data-do=enter]");
    browser.element("#credential-token [data-do=forget]");
    browser.sees("token is entered.");
    assert_eq!(kept(&world).as_deref(), Some(SECRET));
    only_kept(&world);
    assert_eq!(browser.run("return document.querySelector('#credential-token input').value"), "");
    assert_eq!(
        browser.run(&format!("return document.documentElement.outerHTML.includes('{SECRET}')")),
        false
    );
    browser.click("#credential-token [data-do=forget]");
    browser.until("!document.querySelector('#credential-token [data-do=forget]')");
    assert_eq!(kept(&world), None);
}

#[test]
fn it_fits_a_phone_and_a_keyboard() {
    let Some(browser) = Browser::start("it_fits_a_phone_and_a_keyboard") else { return };
    let world = Supervise::start();
    fill(&world);
    browser.open(&world.link());
    browser.element(".card");
    browser.call(
        "/goog/cdp/execute",
        &json!({ "cmd": "Emulation.setDeviceMetricsOverride",
        "params": { "width": 375, "height": 800, "deviceScaleFactor": 2, "mobile": true } }),
    );
    assert_eq!(browser.run("return document.documentElement.scrollWidth"), 375);
    let unnamed = "return [...document.querySelectorAll('input, textarea, select, button')].filter((e) => \
        !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).map((e) => e.outerHTML)";
    assert_eq!(browser.run(unnamed), json!([]));
    // `j` goes to the first request, Tab through it, and Enter in a field decides nothing.
    let press = |keys: &str| {
        let path = format!("{}/element/active", browser.session);
        let active = http(browser.address, "GET", &path, &[], "").json();
        let element = active["value"][ELEMENT].as_str().expect("something has the focus");
        browser.call(&format!("/element/{element}/value"), &json!({ "text": keys }));
    };
    browser.run("document.querySelector('#pending').focus()");
    press("j");
    assert_eq!(browser.run("return document.activeElement.className"), "card");
    browser.run("document.querySelector('.card [name=words]').focus()");
    press("no\u{e007}");
    assert_eq!(world.json(&["list"])["requests"].as_array().map(Vec::len), Some(2));
    // Text has the contrast that it should have, in light and dark.
    for scheme in ["light", "dark"] {
        emulate(&browser, scheme);
        assert_eq!(browser.run(CONTRAST), json!([]), "{scheme}");
    }
}

/// The texts whose colour has a contrast below 4.5 to 1 on the ground that is behind them.
const CONTRAST: &str = "
    const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
    const found = [];
    for (const e of document.querySelectorAll('body *')) {
      if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.offsetParent || e.disabled) continue;
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (ratio < 4.5) found.push(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2));
    }
    return [...new Set(found)];";

fn emulate(browser: &Browser, scheme: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    browser.call(
        "/goog/cdp/execute",
        &json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } }),
    );
}

/// A bottle in which something is going on.
fn fill(world: &Supervise) {
    let granted = world.ask(&json!({ "route": { "host": "crates.example.org" } }), "to fetch crates");
    world.requests(&["approve", &granted, "--for=8h", "--yes"]).run().ok();
    let always = world
        .ask(&json!({ "route": { "host": "docs.example.org", "paths": ["/v2/**"] } }), "to read the docs");
    world.requests(&["approve", &always, "--for=always", "--yes"]).run().ok();
    let rejected = world.ask_for("paste.example.org", "to share a log");
    world.requests(&["reject", &rejected, "--reason=no pastebins; write it to a file"]).run().ok();
    world.report();
    let lines: Vec<String> = [
        ("allow", "", "GET", "known.example.org", "/v1/users", 200),
        ("allow", "", "GET", "crates.example.org", "/api/v1/crates/serde", 200),
        ("deny", "route-missing", "POST", "api.example.org", "/v1/messages", 403),
        ("deny", "path-denied", "POST", "known.example.org", "/v2/users", 403),
        ("deny", "route-missing", "GET", "telemetry.example.net", "/ping", 403),
        ("fail", "upstream-timeout", "GET", "known.example.org", "/v1/slow", 504),
    ]
    .iter()
    .enumerate()
    .map(|(number, (decision, reason, method, host, path, status))| {
        let mut line = json!({ "v": 1, "time": format!("2026-01-02T03:04:{:02}.000Z", number + 5), "event": "request",
            "decision": decision, "scheme": "https", "host": host, "port": 443, "method": method, "path": path, "status": status });
        if !reason.is_empty() {
            line.as_object_mut().expect("an object").insert("reason".to_owned(), json!(reason));
        }
        format!("{line}\n")
    })
    .collect();
    world.place.put("work/report/audit.jsonl", lines.concat());
    world.ask_for(
        "api.example.org",
        "The integration tests post a message to the staging API and read it back.",
    );
    world.ask(
        &json!({ "route": { "host": "known.example.org", "paths": ["/v2/users"], "methods": ["POST"] } }),
        "The new client needs the second version.",
    );
}

/// Measures how long the page takes: `cargo test --test integration page_load -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn page_load() {
    const TIMES: usize = 20;
    const TOOK: &str =
        "const [one] = performance.getEntriesByType('navigation'); return one.loadEventEnd - one.startTime";
    let world = Supervise::start();
    for number in 0..20 {
        world.ask_for(&format!("host-{number}.example.org"), "The build fetches its parts from there.");
    }
    let line = |number: usize| {
        let line = json!({ "v": 1, "time": format!("2026-01-02T03:{:02}:{:02}.000Z", number / 60, number % 60), "event": "request",
            "decision": "deny", "reason": "host-unknown", "scheme": "https", "host": format!("host-{}.example.org", number % 20),
            "port": 443, "method": "GET", "path": format!("/parts/{number}"), "status": 403 });
        format!("{line}\n")
    };
    world.place.put("work/report/audit.jsonl", (0..200).map(line).collect::<String>());
    let load = |browser: &Browser, url: &str| {
        browser.open(url);
        browser.until("document.readyState === 'complete' && performance.getEntriesByType('navigation')[0].loadEventEnd > 0");
        assert_eq!(browser.run("return document.querySelectorAll('.card').length"), 20);
        browser.run(TOOK).as_f64().expect("milliseconds")
    };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for turn in 0..TIMES {
        let Some(browser) = Browser::start("page_load") else { return };
        cold.push(load(&browser, &world.link()));
        if turn + 1 == TIMES {
            warm.extend((0..TIMES).map(|_| load(&browser, &format!("http://{}/", world.operator))));
        }
    }
    for (name, mut took) in [("cold", cold), ("warm", warm)] {
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
        println!("page load, {name}: p50 {:.0} ms, p95 {:.0} ms, of {}", at(50), at(95), took.len());
    }
}

/// Makes the pictures of the docs: `cargo test --test integration pictures -- --ignored`.
#[test]
#[ignore = "writes docs/src/img"]
fn pictures() {
    let Some(browser) = Browser::start("pictures") else { return };
    let world = Supervise::start();
    fill(&world);
    // What egress reports of a credential whose variable is not set.
    let mut status: Value = serde_json::from_str(&world.place.read("report/status.json")).expect("JSON");
    let problem = "the environment variable `BOTTLE_CREDENTIAL_token` is not set";
    let open = json!([{ "name": "token", "problem": problem, "entered": false }]);
    status["credentials"] = json!({ "key": "", "open": open, "answer": null });
    world.place.put("work/report/status.json", status.to_string());
    browser.open(&world.link());
    browser.sees("environment variable `BOTTLE_CREDENTIAL_token`");
    browser.element("button.approve:enabled");
    for scheme in ["light", "dark"] {
        emulate(&browser, scheme);
        let picture =
            http(browser.address, "GET", &format!("{}/screenshot", browser.session), &[], "").json();
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(picture["value"].as_str().expect("base64"));
        let path = project(&format!("docs/src/img/supervise-{scheme}.png"));
        crate::support::write(&path, &bytes.expect("base64"));
    }
}
