//! Paths: whatever an origin makes of one must be what was judged.

use std::sync::LazyLock;

use bottle::policy::egress::{Deny, EgressPolicy, OnSecret, Route, Scheme, VERSION};
use bottle::policy::host::Host;
use bottle::policy::path::Readings;
use bottle::policy::rules::{Request, Rules, Target};

static HOST: LazyLock<Host> = LazyLock::new(|| Host::parse("a.example.org").expect("a name"));

/// `/ok` and what is below it is allowed, `/ok/no` and what is below that is not.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let host = "a.example.org".to_owned();
    let allow = Route {
        source: "bottle.yaml:1".to_owned(),
        host: host.clone(),
        scheme: Scheme::Https,
        ports: vec![443],
        methods: vec!["GET".to_owned()],
        paths: vec!["/ok/**".to_owned()],
        websocket: false,
        private: false,
        credential: None,
        on_secret: OnSecret::Block,
        max_upload_bytes: None,
        strip_tools: Vec::new(),
    };
    let deny = Deny {
        source: "bottle.yaml:2".to_owned(),
        host,
        ports: Vec::new(),
        methods: Vec::new(),
        paths: vec!["/ok/no".to_owned(), "/ok/no/**".to_owned()],
    };
    let policy = EgressPolicy {
        routes: vec![allow],
        deny: vec![deny],
        ..serde_yaml::from_str(&format!("version: {VERSION}")).expect("the version is enough")
    };
    Rules::new(&policy, &[]).expect("a policy")
});

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let readings = Readings::of(path);
    let target = Target { scheme: Scheme::Https, host: &HOST, port: 443 };
    let judged = RULES.judge(&Request { target, method: "GET", path, websocket: false });
    let Ok(readings) = readings else {
        assert!(judged.is_err(), "a path without a sane reading is allowed");
        return;
    };
    let all: Vec<&str> = readings.each().collect();
    assert!(!all.is_empty());
    assert!(all.iter().all(|reading| reading.starts_with('/')));
    if judged.is_err() {
        return;
    }
    for origin in ORIGINS {
        let seen = origin.iter().fold(path.to_owned(), |path, step| step(&path));
        // A route takes an escaped slash for one (docs/src/egress-policy.md), a deny rule takes it for both.
        let slashed = seen.replace("%2F", "/").replace("%2f", "/");
        assert!(slashed == "/ok" || slashed.starts_with("/ok/"), "an origin sees {seen:?}");
        for seen in [&seen, &slashed] {
            assert!(seen != "/ok/no" && !seen.starts_with("/ok/no/"), "an origin sees {seen:?}");
        }
    }
}

type Step = fn(&str) -> String;

/// Origins, as simple as they can be: what each does with a path, in its order.
const ORIGINS: &[&[Step]] = &[
    &[],
    &[decode],
    &[resolve],
    &[decode, resolve],
    &[resolve, decode],
    &[resolve, decode, resolve],
    &[decode, decode, resolve],
    &[decode, resolve, decode, resolve],
    &[merge, decode, resolve],
    &[decode, merge, resolve],
    &[decode, resolve, merge],
    &[parameters, decode, resolve],
    &[parameters, decode, merge, resolve],
    &[decode, parameters, resolve],
    &[parameters, resolve],
];

/// Decodes every escape.
fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two digits"));
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Resolves dot segments.
fn resolve(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Makes one slash of many.
fn merge(path: &str) -> String {
    let mut merged = String::new();
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

/// Drops `;` and what follows it from each segment.
fn parameters(path: &str) -> String {
    let segments: Vec<&str> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    segments.join("/")
}
