//! What a path costs to judge, counted and not timed.

use super::super::super::work;
use super::*;

/// The steps of judging a GET for this path by rules as a bottle has them.
fn judging(path: &str) -> usize {
    let with = |source: &str, paths: &str| Route { paths: strings(paths), ..route(source, "a.example.org") };
    let rules = rules(
        vec![
            with("bottle.yaml:1", "/v1/messages /v1/messages/** /ok/*/x*y"),
            with("bottle.yaml:2", "/**/api/*.json"),
        ],
        vec![Deny { paths: strings("/v1/admin/** /**/secret/*"), ..deny("bottle.yaml:3", "a.example.org") }],
    );
    work::of(|| ask(&rules, &format!("GET https://a.example.org{path}")))
}

/// Paths of nearly this length that were made for confusion.
fn crafted(length: usize) -> Vec<String> {
    let fill = |unit: &str, rest: &str| format!("/{}{rest}", unit.repeat(length / unit.len()));
    vec![
        fill("a", ""),
        fill("a/", ""),
        fill("secret/", ""),
        fill("ok/xx/", "%41"),
        fill("%41", ""),
        fill("%2e/", ""),
        fill("//", ".."),
        fill("a;b/", "%3b"),
        fill("a%2f../", "x"),
        // As a pattern its star would be tried in every place of the other reading.
        format!("/*{}%62", "a".repeat(length / 2)),
        format!("/{}%62", "*a".repeat(length / 4)),
        format!("/**/{}%62", "a/".repeat(length / 4)),
    ]
}

#[test]
fn a_path_costs_in_proportion_to_its_length() {
    // Some ten readings of it at most before they are too many, and a few patterns for each.
    const A_BYTE: usize = 100;
    for length in [100, 1_000, 8_000, 30_000, 60_000] {
        for path in crafted(length) {
            let steps = judging(&path);
            let bound = A_BYTE * length.max(1_000);
            assert!(steps < bound, "{length} bytes, {}…: {steps} steps", path.get(..12).unwrap());
        }
    }
}

#[test]
fn many_readings_cost_no_more_than_a_long_path() {
    // Each step may be taken or left out, which doubles the readings: there are at most 64 of them, and 64 KiB.
    for unit in ["%41;a//./", "%2541//;x", "a;%42/%2e%2e/"] {
        for count in [1, 10, 100, 1_000] {
            let steps = judging(&format!("/{}", unit.repeat(count)));
            assert!(steps < 100 * (64 << 10), "{unit} {count} times: {steps} steps");
        }
    }
}
