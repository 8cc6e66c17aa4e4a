//! The integration tests: one binary, one file a subject.

#[path = "../shared/blocks.rs"]
mod blocks;
mod book;
mod cli;
mod egress;
mod git_gate;
mod manifest;
mod release;
mod render;
mod scan;
mod supervise;
mod support;

use std::path::Path;

/// A file that is in no module is never compiled, and its tests pass by never running.
#[test]
fn every_test_file_is_a_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration");
    let mut missing = Vec::new();
    look(&root, &root.join("main.rs"), &mut missing);
    assert!(missing.is_empty(), "not declared with `mod`: {}", missing.join(", "));
}

/// Looks for the files of a directory that its module file doesn't declare.
fn look(directory: &Path, module_file: &Path, missing: &mut Vec<String>) {
    let declared = bottle::fs::read_to_string(module_file).expect("a directory of tests has a mod.rs");
    for path in support::entries(directory) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a file name is text").to_owned();
        let rust = path.extension().is_some_and(|extension| extension == "rs");
        if path == module_file || !(rust || path.is_dir()) {
            continue;
        }
        if !declared.lines().any(|line| line.trim_end() == format!("mod {name};")) {
            missing.push(path.display().to_string());
        }
        if path.is_dir() {
            look(&path, &path.join("mod.rs"), missing);
        }
    }
}
