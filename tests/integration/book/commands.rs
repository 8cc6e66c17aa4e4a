//! The commands of the start and of the guides are run, in the order of the page, in a clone of a repository and with a home
//! directory of their own.
//!
//! | fence | what happens |
//! | --- | --- |
//! | `sh` | It runs, and must go well. |
//! | `sh,refused` | It runs, and must end with another exit code than 0. |
//! | `sh,engine` | It needs a container engine: not run here, but the shell reads it, and bottle the options of its own commands. Those of the start are run end to end (tests/e2e/start.rs). |
//! | `sh,inside` | It is for the agent's container: read in the same way. |
//! | `sh,remote` | It asks a host that isn't here, or builds for minutes: read in the same way. |
//! | `text,output` | What the block before it printed; `BOTTLE_UPDATE_DOCS` writes it. |
//! | `yaml` that begins with `# NAME` | It is written to that file, in the working directory. |

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Block, Page, pages};
use crate::support::{PROGRAM, Place, each};

/// The key of the host that the examples name.
pub(super) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi";
/// The pages whose commands are run.
const START: [&str; 2] = ["init.md", "start.md"];
/// Why a block is not run here.
const ELSEWHERE: [&str; 3] = ["engine", "inside", "remote"];

/// A machine as the reader has it: a clone of a repository, keys, hosts that are known.
pub(super) struct Machine {
    pub(super) place: Place,
    directory: PathBuf,
}

impl Machine {
    pub(super) fn new() -> Self {
        let place = Place::new().file("app/README.md", "# app\n");
        let home = place.root().join("home").display().to_string();
        place.put("home/.ssh/known_hosts", format!("git.example.org {KEY}\n"));
        place.put(
            "home/.ssh/config",
            format!("IdentityFile {home}/.ssh/id_ed25519\nUserKnownHostsFile {home}/.ssh/known_hosts\nGlobalKnownHostsFile none\n"),
        );
        place.put(
            "home/.gitconfig",
            "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n",
        );
        // OpenSSH goes by the password database, and not by `HOME`.
        place.program("ssh", "exec /usr/bin/ssh -F \"$HOME/.ssh/config\" \"$@\"");
        let link = std::os::unix::fs::symlink(PROGRAM, place.root().join("bin/bottle"));
        link.expect("the directory is ours");
        let directory = place.work().join("app");
        let mut machine = Self { place, directory };
        let (output, well) = machine.run(
            "ssh-keygen -q -t ed25519 -N '' -C '' -f ~/.ssh/id_ed25519
             git init --quiet . && git remote add origin git@git.example.org:team/app.git
             git add . && git commit --quiet -m first",
        );
        assert!(well, "{output}");
        machine
    }

    /// Runs a block, and gives what it printed and whether it went well. The next block begins where this one ended.
    pub(super) fn run(&mut self, commands: &str) -> (String, bool) {
        let state = self.place.root().join("directory");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c"])
            .arg(format!("exec 2>&1; trap 'pwd > \"$STATE\"' EXIT\n{commands}"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.place.root().join("bin").display()))
            .env("HOME", self.place.root().join("home"))
            .env("STATE", &state)
            .env("LC_ALL", "C.UTF-8")
            // The program of a test is large, and most of the time would be that of copying it.
            .env("BOTTLE_LINUX_BINARY", "/bin/true")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        let text = String::from_utf8(output.stdout).expect("commands print text");
        let directory = bottle::fs::read_to_string(&state).expect("the shell says where it ended");
        self.directory = directory.trim_end().into();
        (self.shown(&text), output.status.success())
    }

    /// A text with the places of this run as a reader would have them.
    fn shown(&self, text: &str) -> String {
        let root = self.place.root().display().to_string();
        text.replace(&format!("{root}/home"), "/home/ada").replace(&format!("{root}/work"), "/home/ada/src")
    }

    fn write(&self, name: &str, text: &str) {
        crate::support::write(&self.directory.join(name), text.as_bytes());
    }
}

/// The name of the file that a block is, where it is one.
fn file_of(block: &Block) -> Option<&str> {
    let name = block.text.lines().next()?.strip_prefix("# ")?;
    let is_name =
        name.contains('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    is_name.then_some(name)
}

/// Whether a shell can read it.
#[track_caller]
fn is_read(place: &str, commands: &str) {
    let output = Command::new("bash").args(["-n", "-c", commands]).output().expect("bash runs");
    assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether bottle knows the commands and options of its own that are not run here.
fn is_understood(place: &str, machine: &mut Machine, commands: &str) {
    for part in commands.lines().flat_map(|line| line.split('|')).map(str::trim) {
        let part = part.split(" #").next().unwrap_or_default().split('>').next().unwrap_or_default();
        if part.starts_with("bottle ") {
            let (output, well) = machine.run(&format!("{part} --help"));
            assert!(well, "{place}: {part}: {output}");
        }
    }
}

/// Runs a page from its beginning to its end, and gives its text with what the commands printed.
fn follow(page: &Page) -> String {
    let mut machine = Machine::new();
    let mut text: Vec<String> = page.text.lines().map(str::to_owned).collect();
    let (mut printed, mut moved) = (None, 0_isize);
    for block in page.blocks() {
        let place = format!("docs/src/{}:{}", page.name, block.line);
        match block.language() {
            "yaml" => {
                if let Some(name) = file_of(&block) {
                    machine.write(name, &block.text);
                }
            }
            "sh" if ELSEWHERE.iter().any(|word| block.has(word)) => {
                is_read(&place, &block.text);
                is_understood(&place, &mut machine, &block.text);
                printed = None;
            }
            "sh" => {
                let (output, well) = machine.run(&block.text);
                assert_eq!(well, !block.has("refused"), "{place}: {}{output}", block.text);
                printed = Some(output);
            }
            "text" if block.has("output") => {
                let output = printed.take().unwrap_or_else(|| unreachable!("{place}: nothing ran before it"));
                let first = block.line.saturating_add_signed(moved);
                let old = block.text.lines().count();
                let new: Vec<String> = output.lines().map(str::to_owned).collect();
                moved += isize::try_from(new.len()).expect("small") - isize::try_from(old).expect("small");
                text.splice(first..first + old, new);
            }
            _ => {}
        }
    }
    text.join("\n") + "\n"
}

fn guides() -> Vec<Page> {
    let mut all = pages();
    all.retain(|page| page.name.starts_with("guides/") || START.contains(&page.name.as_str()));
    all
}

#[test]
fn every_command_of_the_guides_does_what_the_page_says() {
    let pages = guides();
    // Each is a machine of its own, and most of its time is that of other programs.
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = pages.iter().map(|page| scope.spawn(|| follow(page))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    each(
        pages.iter().zip(done).map(|(page, done)| (page.name.clone(), (page, done))),
        |name, (page, done)| {
            let Ok(text) = done else { unreachable!("{name}: see above") };
            super::is_current(&page.path, &text);
        },
    );
}

#[test]
fn no_block_of_commands_escapes_the_test() {
    const LANGUAGES: [&str; 7] = ["json", "md", "sh", "text", "yaml", "dockerfile", "toml"];
    for page in guides() {
        for block in page.blocks() {
            let place = format!("docs/src/{}:{}", page.name, block.line);
            assert!(LANGUAGES.contains(&block.language()), "{place}: `{}`", block.language());
            let words: &[&str] = match block.language() {
                "sh" => &["engine", "inside", "remote", "refused"],
                "text" => &["output"],
                _ => continue,
            };
            for word in block.words.iter().skip(1) {
                assert!(words.contains(&word.as_str()), "{place}: `{word}`");
            }
            if block.language() == "text" {
                assert!(!block.text.lines().any(|line| line.starts_with("$ ")), "{place}: commands are `sh`");
            }
        }
    }
}
