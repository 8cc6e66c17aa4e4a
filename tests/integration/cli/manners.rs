//! Completions and manual pages know every command; exit codes are documented; nothing is coloured; a manifest may come from
//! standard input.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Bottle, PROGRAM, Place, project};

/// The commands of the program, below another one or at the top, by its own help.
fn commands(place: &Place, above: &[&str]) -> Vec<Vec<String>> {
    let output =
        above.iter().fold(place.bottle([]), |bottle, word| bottle.arg(*word)).arg("--help").run().ok();
    let Some((_, rest)) = output.split_once("Commands:\n") else { return Vec::new() };
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    let names =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let mut found = Vec::new();
    for name in names.filter(|name| *name != "help") {
        let path: Vec<&str> = above.iter().copied().chain([name]).collect();
        found.push(path.iter().map(|word| (*word).to_owned()).collect());
        found.extend(commands(place, &path));
    }
    found
}

#[test]
fn the_completions_of_each_shell_know_every_command() {
    let place = Place::new();
    let commands = commands(&place, &[]);
    assert!(commands.contains(&vec!["explain".to_owned(), "egress".to_owned()]), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = place.bottle(["completions", shell]).run().ok();
        // What is deeper is for the sidecars' own use, and fish's completions don't go there.
        let words = commands.iter().filter(|path| path.len() <= 2).flatten().map(String::as_str);
        for word in words.chain(["exit-code", "default-branch"]) {
            assert!(script.contains(word), "{word} of {shell}");
        }
    }
    assert_eq!(place.bottle(["completions", "csh"]).run().code, 2);
}

#[test]
fn bash_completes_a_command() {
    let place = Place::new();
    place.put("completions", place.bottle(["completions", "bash"]).run().ok());
    let ask = "source completions; COMP_WORDS=(bottle expl); COMP_CWORD=1; _bottle bottle expl bottle; echo ${COMPREPLY[*]}";
    let output = Command::new("bash").args(["-c", ask]).current_dir(place.root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "explain", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let place = Place::new();
    place.bottle(["man", "pages"]).run().ok();
    let mut wanted: Vec<String> =
        commands(&place, &[]).iter().map(|path| format!("pages/bottle-{}.1", path.join("-"))).collect();
    wanted.push("pages/bottle.1".to_owned());
    wanted.sort();
    assert_eq!(place.tree(), wanted);
    let page = place.read("pages/bottle-explain-egress.1");
    assert!(page.contains(".TH") && page.contains("websocket"), "{page}");
    assert!(place.read("pages/bottle.1").contains("explain"));
}

/// The constants as the source has them, so that one that is new is not forgotten.
#[test]
fn every_exit_code_is_in_the_documentation() {
    let text = |path: &str| bottle::fs::read_to_string(&project(path)).expect("it is there");
    let source = text("src/cli/mod.rs");
    let constants: Vec<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const EXIT_")?.strip_suffix(';')?.split_once(": u8 = "))
        .map(|(name, code)| format!("| {code} | `EXIT_{name}` | "))
        .collect();
    assert!(constants.len() >= 5, "{constants:?}");
    let rows: Vec<_> = text("docs/src/exit-codes.md").lines().map(str::to_owned).collect();
    for wanted in &constants {
        assert!(rows.iter().any(|row| row.starts_with(wanted)), "no row `{wanted}`");
    }
    let documented = rows.iter().filter(|row| row.contains("`EXIT_"));
    assert_eq!(documented.count(), constants.len(), "a row has no constant");
}

const MANIFEST: &str = "bottles:\n  b:\n    egress:\n      routes: [{ host: a.example.org }]\n    credentials: { c: { source: { env: C }, inject: { bearer: true } } }\nagents: { a: { bottle: b, preset: shell } }\n";

/// Everything that a terminal would show of these, the answer of an engine that is not there too.
#[test]
fn no_command_writes_an_escape_sequence_to_a_terminal() {
    let place = Place::with(MANIFEST)
        .file("other.yaml", MANIFEST.replace("a.example", "b.example"))
        .file("bad.yaml", "bottles: 1\n");
    for words in [
        &["--help"][..],
        &["--version"],
        &["rendr"],
        &["render"],
        &["render", "--chekc"],
        &["validate"],
        &["validate", "-f", "bad.yaml"],
        &["explain", "egress", "GET", "https://x.example.org/"],
        &["diff", "bottle.yaml", "other.yaml"],
        &["graph"],
        &["schema"],
        &["doctor", "-f", "bad.yaml"],
        &["audit", "--help"],
        &["requests", "list"],
    ] {
        let shown = on_a_terminal(&place, words);
        assert!(
            !shown.is_empty() && !shown.contains(&0x1b),
            "{words:?}: {}",
            String::from_utf8_lossy(&shown)
        );
    }
}

#[test]
fn a_person_at_a_terminal_is_told_which_commands_come_after_render_and_a_script_is_not() {
    let place = Place::with(MANIFEST);
    let shown = String::from_utf8(on_a_terminal(&place, &["render", "-o", "box"])).expect("it is text");
    let expected = "next:\r\n  cd 'box'\r\n  docker compose up --detach --wait\r\n  docker compose exec agent bash\r\n  \
                    docker compose logs --follow\r\n  docker compose down\r\n";
    assert_eq!(shown, expected);
    assert_eq!(place.bottle(["render", "-o", "box"]).run().stderr, "");
}

fn on_a_terminal(place: &Place, words: &[&str]) -> Vec<u8> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("a path");
    let terminal = File::options().read(true).write(true).open(name).expect("it opens");
    // The command is dropped at once: it holds the terminal open, and what is read ends when nobody does.
    let mut child = {
        let descriptor = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        Command::new(PROGRAM)
            .args(words)
            .current_dir(place.work())
            .env("TERM", "xterm-256color")
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(descriptor())
            .stderr(descriptor())
            .spawn()
            .expect("the program starts")
    };
    drop(terminal);
    let mut shown = Vec::new();
    // Linux ends it with an error where nobody holds the other side any more.
    drop(File::from(master).read_to_end(&mut shown));
    child.wait().expect("it ends");
    shown
}

#[test]
fn every_command_that_reads_a_manifest_reads_it_from_standard_input_too() {
    let place = Place::new();
    place.put("elsewhere/bottle.yaml", MANIFEST);
    // An engine on which nothing is, so that what needs one comes past the manifest.
    let path = place.program("docker", "exit 0");
    for words in [
        &["cleanup", "--dry-run"][..],
        &["diff", "../elsewhere/bottle.yaml"],
        &["doctor", "a"],
        &["explain", "egress", "GET", "https://a.example.org/"],
        &["explain", "credential", "c"],
        &["graph"],
        &["render"],
        &["validate"],
    ] {
        let run = |text: &str| {
            let run = words.iter().fold(place.bottle([]), Bottle::arg);
            run.env("PATH", path.as_str()).env("BOTTLE_FILE", "-").stdin(text).run()
        };
        let missing = run("bottles: { b: 1 }\n");
        assert!(missing.code == 1 && missing.stderr.contains("b: 1"), "{words:?}: {missing}");
        let output = run(MANIFEST);
        assert!(
            !output.stderr.contains("manifest") && !output.stderr.contains("bottle.yaml"),
            "{words:?}: {output}"
        );
        // Doctor misses a bundle and an engine, and a credential that nothing uses travels nowhere: that was read.
        let read = output.code == 0
            || output.stdout.contains("bundle-missing")
            || output.stdout.contains("credential");
        assert!(read, "{words:?}: {output}");
    }
}

#[test]
fn verbose_tells_which_programs_are_run_and_how_they_ended() {
    let place = Place::with("bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n");
    let path = place.program("docker", "echo no engine here >&2; exit 3");
    for words in [["--verbose", "doctor"], ["doctor", "-v"]] {
        let output = place.bottle(words).env("PATH", path.as_str()).run();
        let told = "bottle: ran `docker version --format '{{json .}}'`: exit status: 3, ";
        assert!(output.stderr.contains(told) && output.stderr.contains(" ms\n"), "{output}");
    }
    assert_eq!(place.bottle(["doctor"]).env("PATH", path.as_str()).run().stderr, "");
}
