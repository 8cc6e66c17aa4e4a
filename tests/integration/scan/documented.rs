//! The page about the scan names every rule and the figures of the corpus.

use std::fmt::Write as _;
use std::path::Path;

use bottle::scan::rules;

/// What is generated stands below this line.
const MARK: &str = "<!-- Generated below: BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- scan::documented scan::corpus -->\n";

fn generated(figures: &str) -> String {
    let figure = |name: &str| {
        let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.expect("the corpus has that figure").to_owned()
    };
    let mut page = format!(
        "\n## Figures\n\n| requests | | |\n| --- | --- | --- |\n| benign | {} | {} with a finding |\n\
         | leaking | {} | {} without the finding, {} with another one beside it |\n\n## Rules\n\n{} rules.\n\n\
         | rule | what it finds |\n| --- | --- |\n",
        figure("benign"),
        figure("false_positives"),
        figure("leaking"),
        figure("misses"),
        figure("found_beside"),
        rules().len(),
    );
    for rule in rules() {
        writeln!(page, "| `{}` | {} |", rule.id, rule.title).expect("a string takes all of it");
    }
    page
}

#[test]
fn the_page_names_every_rule_and_the_figures_of_the_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/src/content-scan.md");
    let figures =
        bottle::fs::read_to_string(&root.join("tests/corpus/figures.yaml")).expect("the figures are there");
    let committed = bottle::fs::read_to_string(&path).expect("the page is there");
    let (written, _) = committed.split_once(MARK).expect("the page says what is generated");
    let page = format!("{written}{MARK}{}", generated(&figures));
    if std::env::var_os("BOTTLE_UPDATE_DOCS").is_some() {
        bottle::fs::write_atomic(&path, page.as_bytes(), 0o644).expect("the page is writable");
        return;
    }
    assert!(committed == page, "docs/src/content-scan.md is out of date: it says how it is made");
}
