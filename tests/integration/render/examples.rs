//! Every manifest below `examples/`, rendered: the golden bundles.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use super::{compose_config, has_compose};
use crate::support::{Place, each, entries, files, project, snapshots};

const BINARY: &str = ".bottle/docker/bin/bottle";

fn examples() -> Vec<(String, PathBuf)> {
    let named =
        |path: PathBuf| (path.file_name().and_then(|name| name.to_str()).expect("text").to_owned(), path);
    entries(&project("examples")).into_iter().map(named).collect()
}

/// A copy of an example, in a directory as deep as asked.
fn copied(example: &Path, below: &str) -> Place {
    let place = Place::new();
    for file in files(example) {
        let path = file.strip_prefix(example).expect("it is below").to_str().expect("text");
        place.put(&format!("work/{below}/{path}"), bottle::fs::read(&file).expect("it can be read"));
    }
    place
}

/// Renders all agents of an example beside its manifest, and gives the text of each file that was written.
fn rendered(place: &Place, below: &str) -> BTreeMap<String, String> {
    let directory = place.work().join(below);
    let before = files(&directory);
    place.bottle(["render", "--all", "-o", "."]).below(&format!("work/{below}")).run().ok();
    let new = files(&directory).into_iter().filter(|path| !before.contains(path));
    let texts = new.map(|path| {
        let name = path.strip_prefix(&directory).expect("it is below").to_str().expect("text").to_owned();
        let text =
            if name == BINARY { String::new() } else { bottle::fs::read_to_string(&path).expect("a text") };
        (name, text)
    });
    texts.collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().expect("it is there").permissions().mode() & 0o111 != 0
}

/// The hash changes with every template, and says nothing to a reader.
fn without_hash(text: &str) -> String {
    let Some((_, rest)) = text.split_once("\n  hash: \"") else { return text.to_owned() };
    let hash = rest.split('"').next().expect("a quoted text ends");
    assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "`{hash}` is no hash");
    text.replace(hash, "[hash]")
}

#[test]
fn every_example_renders_to_its_golden_bundle() {
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut bundles = Vec::new();
    for (example, path) in examples() {
        let place = copied(&path, "here");
        let mut bundle = String::new();
        for (name, text) in rendered(&place, "here") {
            let mode =
                if is_executable(&place.work().join("here").join(&name)) { " (executable)" } else { "" };
            writeln!(bundle, "==> {name}{mode}").expect("a string takes it");
            let file = Path::new(&name).file_name().and_then(|name| name.to_str()).expect("text").to_owned();
            if name == BINARY {
                bundle.push_str("[the program itself]\n");
            } else if let Some(first) = seen.get(&(file.clone(), text.clone())) {
                writeln!(bundle, "[as in {first}]").expect("a string takes it");
            } else {
                bundle.push_str(&without_hash(&text));
                seen.insert((file, text), format!("{example}: {name}"));
            }
        }
        bundles.push((example, bundle));
    }
    each(bundles, |example, bundle| snapshots("examples").bind(|| assert_snapshot!(example, bundle)));
}

#[test]
fn every_golden_bundle_belongs_to_an_example() {
    for path in entries(&project("snapshots/examples")) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("text");
        assert!(project("examples").join(name).is_dir(), "there is no examples/{name}");
    }
}

#[test]
fn an_example_renders_to_the_same_bytes_again_and_in_another_directory() {
    each(examples(), |_, path| {
        let (one, other) = (copied(&path, "a"), copied(&path, "quite/another/place b"));
        let first = rendered(&one, "a");
        let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        let compose = entries(&one.work().join("a"))
            .into_iter()
            .find(|path| path.to_string_lossy().contains("/compose."))
            .expect("a compose file");
        let written = time(&compose);
        one.bottle(["render", "--all", "-o", "."]).below("work/a").run().ok();
        assert_eq!(time(&compose), written, "what hasn't changed was written again");
        one.bottle(["render", "--all", "-o", ".", "--check"]).below("work/a").run().ok();
        assert_eq!(first, rendered(&other, "quite/another/place b"));
    });
}

#[test]
fn a_bundle_names_nothing_of_the_machine_it_was_rendered_on() {
    each(examples(), |_, path| {
        let place = copied(&path, "here");
        let root = place.root().to_str().expect("text").to_owned();
        let user = std::env::var("USER").unwrap_or_default();
        for (name, text) in rendered(&place, "here") {
            assert!(
                !text.contains(&root) && !text.contains(env!("CARGO_MANIFEST_DIR")),
                "{name} has an absolute path"
            );
            assert!(user.len() < 5 || !text.contains(&user), "{name} has the name of the user");
        }
    });
}

#[test]
fn compose_accepts_every_example() {
    if !has_compose() {
        return;
    }
    each(examples(), |_, path| {
        let place = copied(&path, "here");
        for name in rendered(&place, "here").keys().filter(|name| name.starts_with("compose.")) {
            if let Err(error) = compose_config(&place.work().join("here"), name, &["-q"]) {
                unreachable!("{name}: {error}");
            }
        }
    });
}

#[test]
fn every_rendered_script_is_one_that_a_shell_can_parse() {
    each(examples(), |_, path| {
        let place = copied(&path, "here");
        for (name, text) in rendered(&place, "here") {
            assert_eq!(
                text.starts_with("#!/bin/sh\n"),
                is_executable(&place.work().join("here").join(&name)) && name != BINARY,
                "{name}"
            );
            if text.starts_with("#!") {
                let file = place.work().join("here").join(&name);
                let output = std::process::Command::new("sh").arg("-n").arg(file).output().expect("a shell");
                assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    });
}
