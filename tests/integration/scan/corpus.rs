//! The corpus through the engine: what it finds in requests as agents send them, and what it finds in none.
//!
//! The figures are committed. Worse ones fail, and better ones have to be written down:
//! `BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- scan::corpus`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bottle::scan::{Finding, Known, MOST_HELD, Scanner, rules, scan};
use serde::Deserialize;

use super::fill::{Dice, Secret, fill, has_secret};
use super::notations::written;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Benign {
    requests: Vec<Harmless>,
    places: Vec<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Harmless {
    name: String,
    seeds: usize,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(default)]
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaking {
    rules: usize,
    credentials: Vec<Named>,
    placeholders: Vec<Named>,
    notations: Vec<String>,
    places: Vec<Place>,
    requests: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    expects: String,
    #[serde(default)]
    utf16: bool,
    #[serde(default)]
    base64: bool,
    text: String,
}

/// A request, filled.
struct Request {
    name: String,
    /// What must be found in it; nothing in one that is benign.
    expects: Option<String>,
    /// The texts that are looked at one by one: the URL, each header with its name, the body.
    texts: Vec<Vec<u8>>,
}

impl Request {
    fn new(name: String, expects: Option<String>, text: &str, secret: &Secret<'_>) -> Self {
        let mut dice = Dice::of(&name);
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a request has a target");
        let body = body.strip_suffix('\n').unwrap_or(body);
        let texts = [first].into_iter().chain(lines).chain([body]);
        let texts = texts.map(|text| fill(text, &mut dice, secret)).collect();
        Self { name, expects, texts }
    }
}

fn data<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let text = bottle::fs::read_to_string(&path(name)).expect("the corpus is there");
    serde_yaml::from_str(&text).expect("the corpus is YAML")
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn benign() -> Vec<Request> {
    let Benign { requests, places } = data("benign.yaml");
    let mut all = Vec::new();
    for Harmless { name, seeds, text } in &requests {
        for seed in 0..*seeds {
            all.push(Request::new(format!("{name}, {seed}"), None, text, &Secret::None));
        }
    }
    let texts = rules().iter().flat_map(|rule| rule.differ().map(move |text| (&rule.id, text)));
    for (index, (id, text)) in texts.enumerate() {
        let place = &places[index % places.len()];
        all.push(Request::new(format!("no {id}, {index}"), None, &place.text, &Secret::Text(&text)));
    }
    all
}

/// Whether a text can't stand in the place, as a header and a target have no line ends and no space.
fn unfit(place: &Place, text: &[u8]) -> bool {
    let head = place.text.split("\n\n").next().unwrap_or_default();
    has_secret(head) && text.iter().any(|byte| *byte <= b' ' || *byte >= 0x7f || *byte == b'"')
}

/// Whether a rule's text can't: it is escaped there, or a line.
fn unfit_text(place: &Place, text: &str) -> bool {
    text.contains('\n') && place.text.contains("<<line>>")
}

/// The leaking requests, and what is known where they are sent.
fn leaking() -> (Vec<Request>, Arc<Known>) {
    let leaking: Leaking = data("leaking.yaml");
    let mut all = Vec::new();
    let mut turn = 0;
    let mut next = |fits: &dyn Fn(&Place) -> bool| {
        loop {
            turn += 1;
            let place = &leaking.places[turn % leaking.places.len()];
            if fits(place) {
                return place;
            }
        }
    };
    for rule in rules() {
        for text in rule.matches() {
            for _ in 0..leaking.rules {
                let place = next(&|place| !unfit_text(place, &text));
                let name = format!("{} {}, {}", rule.id, place.name, all.len());
                all.push(Request::new(name, Some(rule.id.to_string()), &place.text, &Secret::Text(&text)));
            }
        }
    }
    let mut known = Known::builder();
    let named = leaking.credentials.iter().map(|named| (false, named));
    for (placeholder, Named { name, value }) in
        named.chain(leaking.placeholders.iter().map(|named| (true, named)))
    {
        let value = fill(value, &mut Dice::of(name), &Secret::None);
        known = if placeholder { known.placeholder(name, &value) } else { known.credential(name, &value) };
        for notation in &leaking.notations {
            let text = written(notation, &value);
            let place = next(&|place| !unfit(place, &text));
            let name = format!("{name} as {notation} {}", place.name);
            let expects = Some(name.split(' ').next().unwrap_or_default().to_owned());
            all.push(Request::new(name, expects, &place.text, &Secret::Written(&text)));
        }
    }
    for Written { name, expects, utf16, base64, text } in &leaking.requests {
        let mut request = Request::new(name.clone(), Some(expects.clone()), text, &Secret::None);
        let body = request.texts.last_mut().expect("a request has a body");
        if *utf16 {
            *body = body.iter().flat_map(|byte| [*byte, 0]).collect();
        }
        if *base64 {
            *body = written("base64", body);
        }
        all.push(request);
    }
    (all, Arc::new(known.build()))
}

/// Looks at a text whole and in pieces of several sizes, which must come to the same.
fn findings(known: &Arc<Known>, text: &[u8]) -> Vec<Finding> {
    let mut whole = Vec::new();
    scan(known, None, text, &mut |finding| whole.push(finding));
    for size in [1, 3, 17, 1000, 16 << 10] {
        if text.len() > size << 12 || (text.len() <= size && size > 1) {
            continue;
        }
        let mut pieces = Vec::new();
        let mut scanner = Scanner::new(Arc::clone(known), None);
        let mut passed = 0;
        for (index, piece) in text.chunks(size).enumerate() {
            scanner.push(piece, &mut |finding| pieces.push(finding));
            assert!(scanner.held() <= MOST_HELD);
            let seen = (index * size + piece.len()) as u64;
            passed = passed.max(seen - scanner.held() as u64);
        }
        scanner.finish(&mut |finding| pieces.push(finding));
        assert_eq!(whole, pieces, "pieces of {size}");
        assert!(passed <= text.len() as u64);
    }
    whole
}

/// What the engine says of a request, by name.
fn found(known: &Arc<Known>, request: &Request) -> BTreeSet<String> {
    let findings = request.texts.iter().flat_map(|text| findings(known, text));
    findings.map(|finding| finding.what.to_string()).collect()
}

fn figures() -> String {
    let (leaking, known) = leaking();
    let benign = benign();
    assert!(benign.len().min(leaking.len()) >= 300, "{} and {}", benign.len(), leaking.len());
    let mut wrong = Vec::new();
    for request in &benign {
        let found = found(&known, request);
        if !found.is_empty() {
            wrong.push((&request.name, found));
        }
    }
    let (mut missed, mut others) = (Vec::new(), Vec::new());
    for request in &leaking {
        let mut found = found(&known, request);
        if !request.expects.as_ref().is_some_and(|expected| found.remove(expected)) {
            missed.push(&request.name);
        }
        if !found.is_empty() {
            others.push((&request.name, found));
        }
    }
    let mut page = String::from(
        "# What the scan says of the corpus. Written by BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- scan::corpus\n",
    );
    let mut line =
        |name: &str, count: usize| writeln!(page, "{name}: {count}").expect("a string takes all of it");
    line("benign", benign.len());
    line("false_positives", wrong.len());
    line("leaking", leaking.len());
    line("misses", missed.len());
    line("found_beside", others.len());
    for (name, list) in [("false_positive", &wrong), ("beside", &others)] {
        for (request, found) in list {
            writeln!(
                page,
                "# {name}: {request}: {}",
                found.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )
            .expect("a string takes all of it");
        }
    }
    for request in missed {
        writeln!(page, "# miss: {request}").expect("a string takes all of it");
    }
    page
}

#[test]
fn the_figures_of_the_corpus_are_the_committed_ones() {
    let path = path("figures.yaml");
    let figures = figures();
    if std::env::var_os("BOTTLE_UPDATE_DOCS").is_some() {
        bottle::fs::write_atomic(&path, figures.as_bytes(), 0o644).expect("the figures are writable");
    }
    let committed = bottle::fs::read_to_string(&path).expect("the figures are there");
    assert!(committed == figures, "tests/corpus/figures.yaml says otherwise than the scan:\n{figures}");
}

#[test]
fn no_file_of_the_corpus_holds_a_secret() {
    let known = Arc::new(Known::builder().build());
    for name in ["benign.yaml", "leaking.yaml", "README.md", "figures.yaml"] {
        let text = bottle::fs::read_to_string(&path(name)).expect("the corpus is there");
        scan(&known, None, text.as_bytes(), &mut |finding| panic!("{name}: {finding:?}"));
    }
}
