//! What a release is made of: the crate's package and the bill of materials.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{files, project};

/// What a program prints that must end well.
fn run(command: &mut Command) -> String {
    let output = command.current_dir(project("")).output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

fn name(path: &Path) -> String {
    path.strip_prefix(project("")).expect("it is in the repository").display().to_string()
}

/// The files that a source of the program itself includes; its tests may include others.
fn included(source: &Path) -> Vec<String> {
    let text = bottle::fs::read_to_string(source).expect("a source is text");
    let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let literals =
        ["include_str!(\"", "include_bytes!(\""].into_iter().flat_map(|start| program.split(start).skip(1));
    let found = literals.map(|rest| {
        let (path, _) = rest.split_once("\")").expect("the text ends");
        source
            .parent()
            .expect("a file has a directory")
            .join(path)
            .canonicalize()
            .expect("what is included is there")
    });
    found.map(|path| name(&path)).collect()
}

#[test]
fn the_package_has_every_file_that_the_program_is_built_from_and_no_test_data() {
    let listed = run(Command::new(env!("CARGO")).args([
        "package",
        "--list",
        "--locked",
        "--offline",
        "--allow-dirty",
    ]));
    let listed: BTreeSet<&str> = listed.lines().collect();

    let mut wanted = vec!["Cargo.lock".to_owned(), "Cargo.toml".to_owned(), "build.rs".to_owned()];
    wanted.extend(["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"].map(str::to_owned));
    // Some are named by a macro that puts the path together, so all of them must be there.
    wanted.extend(
        ["src", "templates", "docker"].iter().flat_map(|root| files(&project(root))).map(|path| name(&path)),
    );
    let sources = files(&project("src"));
    let program = sources.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let includes: Vec<String> =
        program.filter(|path| !path.ends_with("tests.rs")).flat_map(|path| included(path)).collect();
    assert!(
        includes.contains(&"docker/egress/Dockerfile".to_owned()),
        "the search finds nothing: {includes:?}"
    );
    assert!(includes.contains(&"src/scan/rules.yaml".to_owned()), "the search finds nothing: {includes:?}");
    wanted.extend(includes);
    let missing: Vec<&String> = wanted.iter().filter(|path| !listed.contains(path.as_str())).collect();
    assert!(missing.is_empty(), "not in the package (`include` in Cargo.toml): {missing:?}");

    let made_by_cargo = [".cargo_vcs_info.json", "Cargo.toml.orig"];
    let strange: Vec<_> = listed
        .iter()
        .filter(|path| !made_by_cargo.contains(path) && !wanted.iter().any(|known| known == *path))
        .collect();
    assert!(strange.is_empty(), "in the package, and nothing is built from it: {strange:?}");
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn bill() -> (String, Value) {
    let mut command = Command::new("python3");
    command.args(["scripts/sbom.py", "--target", TARGET, "--libc", "1.2.3"]);
    let text = run(command.env("CARGO", env!("CARGO")).env("SOURCE_DATE_EPOCH", "86400"));
    let value = serde_json::from_str(&text).expect("it is JSON");
    (text, value)
}

/// The checksum of each package of Cargo.lock; the packages of this repository have none.
fn locked() -> BTreeMap<String, Option<String>> {
    let text = bottle::fs::read_to_string(&project("Cargo.lock")).expect("the lock file is there");
    let field = |package: &str, field: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{field} = \"")))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    let packages = text.split("[[package]]").skip(1);
    packages
        .map(|package| {
            let [name, version] =
                ["name", "version"].map(|wanted| field(package, wanted).expect("a package has it"));
            (format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")), field(package, "checksum"))
        })
        .collect()
}

#[test]
fn the_bill_of_materials_has_each_package_with_its_checksum_and_licence_and_is_closed() {
    let (text, bill) = bill();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(bill["metadata"]["timestamp"], "1970-01-02T00:00:00Z");
    for place in [env!("CARGO_MANIFEST_DIR"), env!("CARGO")] {
        assert!(!text.contains(place), "it names {place}");
    }

    let locked = locked();
    let components = bill["components"].as_array().expect("components");
    let mut scopes = BTreeMap::new();
    for component in components {
        let reference = component["bom-ref"].as_str().expect("each has a reference");
        let licence = &component["licenses"][0];
        assert!(licence["expression"].is_string() || licence["license"]["name"].is_string(), "{component}");
        assert!(
            scopes.insert(reference, component["scope"].as_str().expect("a scope")).is_none(),
            "{reference} twice"
        );
        if reference.starts_with("pkg:cargo/") {
            let checksum =
                locked.get(reference).unwrap_or_else(|| unreachable!("{reference} is not in Cargo.lock"));
            assert_eq!(component["hashes"][0]["content"].as_str(), checksum.as_deref(), "{reference}");
        }
    }
    let root = bill["metadata"]["component"]["bom-ref"].as_str().expect("a root");
    let dependencies = bill["dependencies"].as_array().expect("dependencies");
    let mut reached = BTreeSet::from([root]);
    for entry in dependencies {
        for other in entry["dependsOn"].as_array().into_iter().flatten() {
            let other = other.as_str().expect("a reference is text");
            assert!(scopes.contains_key(other), "{entry} depends on what is not there");
            reached.insert(other);
        }
    }
    let unreached: Vec<_> = scopes.keys().filter(|reference| !reached.contains(*reference)).collect();
    assert!(unreached.is_empty(), "nothing depends on {unreached:?}");

    // What Cargo.toml says, less what is for tests alone.
    let manifest = bottle::fs::read_to_string(&project("Cargo.toml")).expect("the manifest is there");
    let section = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("\n[{name}]\n")).expect("the section is there");
        let lines = rest.lines().take_while(|line| !line.starts_with('['));
        let entries =
            lines.filter_map(|line| line.split_once(" = ")).filter(|(name, _)| !name.starts_with('#'));
        let renamed =
            |rest: &str| rest.split_once("package = \"")?.1.split_once('"').map(|(name, _)| name.to_owned());
        entries.map(|(name, rest)| renamed(rest).unwrap_or_else(|| name.to_owned())).collect::<BTreeSet<_>>()
    };
    let names = |references: Vec<&str>| -> BTreeSet<String> {
        let names =
            references.iter().filter_map(|reference| reference.strip_prefix("pkg:cargo/")?.split_once('@'));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    let of_root = dependencies.iter().find(|entry| entry["ref"] == root).expect("the root has dependencies");
    let direct = of_root["dependsOn"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(names(direct), section("dependencies"));
    let all = names(scopes.keys().copied().collect());
    for name in ["insta", "jsonschema", "libtest-mimic", "proptest", "tempfile", "reqwest"] {
        assert!(!all.contains(name), "{name} is for tests alone");
    }
    // What runs only while it is built is not in the binary; what is no package of Cargo can be.
    let scope = |name: &str| {
        scopes.iter().find(|(reference, _)| reference.contains(&format!("{name}@"))).map(|(_, scope)| *scope)
    };
    for (name, expected) in [
        ("/ring", "required"),
        ("/cc", "excluded"),
        ("/syn", "excluded"),
        ("glibc", "required"),
        ("sqlite", "required"),
        ("rust-std", "required"),
    ] {
        assert_eq!(scope(name), Some(expected), "{name}");
    }
}

#[test]
fn the_bill_of_materials_is_the_same_each_time() {
    assert_eq!(bill().0, bill().0);
}
