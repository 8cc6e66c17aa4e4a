//! The threat model names, for each thing that is guaranteed, tests that are there.

use super::page;
use crate::support::project;

/// Whether a test of this name is in the file: a function, or an entry of the end-to-end tests' lists.
fn is_there(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let directory = if file.starts_with("src/") { "" } else { "tests" };
    let path = project(directory).join(format!("{file}.rs"));
    let Ok(source) = bottle::fs::read_to_string(&path) else { return false };
    let declared = match source.split_once(&format!("fn {name}(")) {
        Some((before, _)) => before.trim_end().trim_end_matches("async").trim_end().ends_with(']'),
        None => false,
    };
    declared || source.contains(&format!("(\"{name}\", "))
}

#[test]
fn every_guarantee_names_tests_that_are_there() {
    let page = page("threat-model.md");
    let (_, table) = page.text.split_once("| shown by |\n").expect("the table has that column");
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, tests] = cells.as_slice() else { unreachable!("three columns: {row}") };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test shows it: {row}");
        for test in named {
            assert!(is_there(test), "there is no test `{test}`");
        }
    }
}
