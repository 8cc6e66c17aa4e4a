//! Names the commit that the program is built from, for `bottle --version`.
//!
//! The files of git are read and git is not run: it may not be there, and refuses a directory of somebody else's. Nothing of
//! the machine and no time is told, so that the same commit gives the same program. Changes that are not committed are not
//! told either, since that would need a look at every file for each build.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = std::env::var_os("CARGO_MANIFEST_DIR").and_then(|root| commit(Path::new(&root)));
    println!("cargo::rustc-env=BOTTLE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit of a work tree, or the one that a crate's package says it was made of; none of another directory, such as an
/// unpacked archive, whatever it is in.
fn commit(root: &Path) -> Option<String> {
    let Some(git) = git_directory(root) else { return packaged(root) };
    // Another work tree of a repository shares its refs (gitrepository-layout(5)).
    let common = read(&git.join("commondir")).map_or_else(|| git.clone(), |common| git.join(common));
    let head = watched(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else { return id(&head) };
    let file = common.join(name);
    if let Some(found) = watched(&file) {
        return id(&found);
    }
    // A packed ref gets a file of its own with the next commit, in a directory that may not be there yet. Cargo would
    // build each time for a file that is missing.
    if let Some(directory) = file.ancestors().skip(1).find(|directory| directory.is_dir()) {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    let packed = watched(&common.join("packed-refs"))?;
    packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').and_then(id))
}

/// What `cargo package` has written.
fn packaged(root: &Path) -> Option<String> {
    let text = watched(&root.join(".cargo_vcs_info.json"))?;
    let (_, rest) = text.split_once("\"sha1\": \"")?;
    id(rest.split_once('"')?.0)
}

/// `.git`, or where the file of that name says that it is.
fn git_directory(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    Some(root.join(watched(&git)?.strip_prefix("gitdir: ")?))
}

/// The text of a file whose change makes another build.
fn watched(path: &Path) -> Option<String> {
    let text = read(path)?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}

#[expect(clippy::disallowed_methods, reason = "the ban points to a module of the program, which this builds")]
fn read(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim_end().to_owned())
}

fn id(text: &str) -> Option<String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hexadecimal && [40, 64].contains(&text.len())).then(|| text.to_owned())
}
