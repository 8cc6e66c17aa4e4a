//! Running the program in a directory of its own, and printing what it did.

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bottle");

/// A temporary directory with a working directory and a home directory in it.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("bottle-test-").tempdir().expect("a temporary directory");
        for name in ["work", "home"] {
            std::fs::create_dir(root.path().join(name)).expect("the temporary directory is writable");
        }
        Self { root }
    }

    /// A place whose working directory has this manifest.
    pub(crate) fn with(manifest: &str) -> Self {
        Self::new().file("bottle.yaml", manifest)
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// Writes a file below the working directory.
    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.put(&format!("work/{path}"), text);
        self
    }

    /// Writes one of the user's own bottles.
    pub(crate) fn home_bottle(self, name: &str, text: &str) -> Self {
        self.put(&format!("home/.config/bottle/bottles/{name}.yaml"), text);
        self
    }

    pub(crate) fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.root().join(path), text.as_ref());
    }

    /// Puts a shell script in the place of a program, and gives the search path on which it is found first.
    pub(crate) fn program(&self, name: &str, script: &str) -> String {
        let path = format!("bin/{name}");
        self.put(&path, format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(self.root().join(path), mode).expect("the script is ours");
        format!("{}:/usr/bin:/bin", self.root().join("bin").display())
    }

    /// A file below the working directory as text.
    pub(crate) fn read(&self, path: &str) -> String {
        bottle::fs::read_to_string(&self.work().join(path)).expect("the file is there")
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.work().join(path).symlink_metadata().is_ok()
    }

    /// All files below the working directory, sorted, with `/` between the parts.
    pub(crate) fn tree(&self) -> Vec<String> {
        let work = self.work();
        files(&work)
            .iter()
            .map(|path| path.strip_prefix(&work).expect("it is below").display().to_string())
            .collect()
    }

    /// The command with these arguments, in the working directory.
    pub(crate) fn bottle<const N: usize>(&self, args: [&str; N]) -> Bottle<'_> {
        Bottle {
            place: self,
            args: args.map(OsString::from).to_vec(),
            env: Vec::new(),
            directory: self.work(),
            stdin: Vec::new(),
        }
    }
}

/// One run of the program.
#[must_use = "it runs with `run`"]
pub(crate) struct Bottle<'a> {
    place: &'a Place,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    directory: PathBuf,
    stdin: Vec<u8>,
}

impl Bottle<'_> {
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Runs in another directory, given below the temporary one.
    pub(crate) fn below(mut self, path: &str) -> Self {
        self.directory = self.place.root().join(path);
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        text.as_bytes().clone_into(&mut self.stdin);
        self
    }

    pub(crate) fn run(self) -> Output {
        let Self { place, args, env, directory, stdin } = self;
        let mut child = Command::new(PROGRAM)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", place.root().join("home"))
            .envs(env)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // A program that doesn't read its input closes the pipe, which is its right.
        drop(child.stdin.take().map(|mut pipe| pipe.write_all(&stdin)));
        let output = child.wait_with_output().expect("the program ends");
        let root = place.root().to_str().expect("the temporary path is text");
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).expect("the program writes UTF-8").replace(root, "[TEMP]")
        };
        Output {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().expect("the program was not killed"),
        }
    }
}

/// What a run wrote, with `[TEMP]` in the place of the temporary directory.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Output {
    /// The standard output of a run that must have gone well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// The standard error of a run that must have failed with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.stderr
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stdout, stderr, code } = self;
        write!(f, "{stdout}----- stderr -----\n{stderr}----- exit code {code} -----")
    }
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    bottle::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("it is writable");
    bottle::fs::write_atomic(path, bytes, 0o644).expect("it is writable");
}

/// The entries of a directory, sorted.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| unreachable!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("the directory can be read").path())
        .collect();
    paths.sort();
    paths
}

/// The files below a directory, sorted; links are not followed.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(directory) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a directory of this repository that end in `.yaml`, with their names.
pub(crate) fn manifests(directory: &str) -> Vec<(String, PathBuf)> {
    let paths = entries(&project(directory)).into_iter();
    let yaml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    yaml.map(|path| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a file name is text").to_owned();
        (name, path)
    })
    .collect()
}

/// Settings for snapshots in files below `snapshots/`, each named after its input.
pub(crate) fn snapshots(directory: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(project("snapshots").join(directory));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// Runs a check for each case and reports all that fail, not only the first.
#[track_caller]
pub(crate) fn each<T>(cases: impl IntoIterator<Item = (String, T)>, check: impl Fn(&str, T)) {
    let (mut failed, mut count) = (Vec::new(), 0);
    for (name, case) in cases {
        count += 1;
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&name, case))).is_err() {
            failed.push(name);
        }
    }
    assert!(count > 0, "there are no cases");
    assert!(failed.is_empty(), "{} of {count} failed: {}", failed.len(), failed.join(", "));
}
