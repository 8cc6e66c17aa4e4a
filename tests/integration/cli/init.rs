//! `bottle init` in real repositories, with git's, OpenSSH's and npm's own programs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Bottle, Output, Place, project};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi";

/// Runs a program in the working directory, with the home directory of the place.
#[track_caller]
fn run(place: &Place, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .env("HOME", place.root().join("home"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(place.work())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A place whose working directory is a repository with these remotes.
fn repository(remotes: &[(&str, &str)]) -> Place {
    let place = Place::new();
    run(&place, "git", &["init", "--quiet", "--initial-branch=main", "."]);
    for (name, url) in remotes {
        run(&place, "git", &["remote", "add", name, url]);
    }
    place
}

/// Puts a shell script in the place of a program, before all others on the search path.
fn with_program(place: &Place, name: &str, script: &str) -> String {
    place.program(name, script);
    let path = std::env::var("PATH").expect("there is a search path");
    format!("{}:{path}", place.root().join("bin").display())
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| unreachable!("`{name}` is not installed"))
}

/// `ssh` itself, which reads its configuration from the home directory of the place: by itself it goes by the password
/// database, and not by `HOME`.
fn with_ssh(place: &Place) -> String {
    let ssh = program("ssh");
    with_program(place, "ssh", &format!("exec '{}' -F \"$HOME/.ssh/config\" \"$@\"", ssh.display()))
}

fn init<const N: usize>(place: &Place, arguments: [&str; N]) -> Output {
    arguments.into_iter().fold(place.bottle(["init"]), Bottle::arg).run()
}

/// Whether what was written loads and renders.
#[track_caller]
fn renders(place: &Place) {
    place.bottle(["validate"]).run().ok();
    place.bottle(["render", "-o", "../out"]).run().ok();
}

#[test]
fn a_remote_over_ssh_is_followed_through_nickname_port_and_hashed_host_key() {
    let place = repository(&[("origin", "work:team/App.git")]);
    let home = place.root().join("home");
    place.put("home/.ssh/known", format!("[git.example.org]:2222 {KEY}\nother.example.org {KEY}\n"));
    run(&place, "ssh-keygen", &["-q", "-H", "-f", &home.join(".ssh/known").display().to_string()]);
    run(
        &place,
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", &home.join(".ssh/work").display().to_string()],
    );
    place.put(
        "home/.ssh/config",
        "Host work\n  HostName git.example.org\n  Port 2222\n  User git\n  IdentityFile ~/.ssh/none\n  IdentityFile HOME/.ssh/work\n  UserKnownHostsFile HOME/.ssh/known\n"
            .replace("HOME", &home.display().to_string()),
    );
    let path = with_ssh(&place);
    let output = place.bottle(["init", "--no-registries"]).env("PATH", path).run();
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output}");
    let manifest = place.read("bottle.yaml");
    for line in [
        "        upstream: \"ssh://git@git.example.org:2222/team/App.git\"\n",
        "        identity_file: \"~/.ssh/work\"\n",
        &format!("          - \"{KEY}\"\n"),
        "    workspace: { clone: app }\n",
    ] {
        assert!(manifest.contains(line), "{line} in {manifest}");
    }
    assert!(!place.read(".git/config").contains(KEY));
    for word in [
        "your SSH configuration says so",
        "pAn/0FQnGuAOKL1tFUl0sRcsa2wyWz7dv8TSCcWzCDc: known here",
        "no passphrase",
    ] {
        assert!(output.stderr.contains(word), "{word} in {output}");
    }
    renders(&place);
}

#[test]
fn without_a_host_key_the_repository_is_a_comment_and_nobody_is_asked_for_one() {
    let place = repository(&[("origin", "ssh://git@git.example.org/team/app.git")]);
    place.put("home/.ssh/config", "UserKnownHostsFile /nonexistent/known\nGlobalKnownHostsFile none\n");
    with_ssh(&place);
    let path = with_program(&place, "ssh-keyscan", "echo asked > \"$HOME/asked\"; exit 1");
    let output = place.bottle(["init", "--no-registries"]).env("PATH", path.as_str()).run();
    assert!(output.stderr.contains("--scan-host-key"), "{output}");
    assert!(!place.root().join("home/asked").exists());
    assert!(
        place
            .read("bottle.yaml")
            .contains("    #     upstream: \"ssh://git@git.example.org/team/app.git\"\n")
    );
    renders(&place);

    let path = with_program(
        &place,
        "ssh-keyscan",
        &format!("echo \"$*\" > \"$HOME/asked\"; echo 'git.example.org {KEY}'"),
    );
    let output = place.bottle(["init", "--scan-host-key", "--dry-run"]).env("PATH", path).run();
    assert!(
        output.stderr.contains("SHA256:pAn/0FQnGuAOKL1tFUl0sRcsa2wyWz7dv8TSCcWzCDc: asked from the network"),
        "{output}"
    );
    assert!(output.ok().contains(&format!("          - \"{KEY}\"\n")));
    let asked = bottle::fs::read_to_string(&place.root().join("home/asked")).expect("it was asked");
    assert_eq!(asked, "-T 10 -p 22 -- git.example.org\n");
}

#[test]
fn a_password_in_a_remote_is_neither_written_nor_printed() {
    const SECRET: &str = "hunter2hunter2";
    for url in [
        format!("https://me:{SECRET}@git.example.org/team/app.git"),
        format!("https://{SECRET}@git.example.org/app?t={SECRET}"),
        format!("http://me:{SECRET}@git.example.org/app"),
        format!("ssh://git:{SECRET}@git.example.org/app"),
    ] {
        let place = repository(&[("origin", &url)]);
        let path = with_ssh(&place);
        place.put("home/.ssh/config", "");
        let output = place
            .bottle(["init", "--verbose", "--no-registries"])
            .env("PATH", path)
            .env("GIT_TOKEN", "hunter2-of-the-environment")
            .run();
        assert_eq!(output.code, 0, "{output}");
        assert!(!output.to_string().contains("hunter2"), "{output}");
        assert!(!place.read("bottle.yaml").contains("hunter2"));
        assert!(
            output.stderr.contains("left out: a user, password or query") || url.starts_with("http:"),
            "{output}"
        );
        renders(&place);
    }
}

#[test]
fn a_remote_over_https_gets_a_token_from_a_variable() {
    let place = repository(&[("origin", "https://git.example.org/team/app.git")]);
    let output = init(&place, ["--token-env", "FORGE_TOKEN"]);
    assert!(output.stderr.contains("export FORGE_TOKEN=…"), "{output}");
    assert!(place.read("bottle.yaml").contains("source: { env: FORGE_TOKEN }"));
    renders(&place);
}

#[test]
fn what_is_there_is_never_replaced() {
    let place = repository(&[]);
    place.put("work/bottle.yaml", "mine\n");
    symlink("/nonexistent/x", place.work().join("dangling.yaml")).expect("it can be made");
    std::fs::create_dir(place.work().join("directory.yaml")).expect("it can be made");
    for file in ["bottle.yaml", "dangling.yaml", "directory.yaml"] {
        let error = init(&place, ["-f", file]).fails(1);
        assert!(error.contains(&format!("`{file}` is there already")), "{error}");
    }
    assert_eq!(place.read("bottle.yaml"), "mine\n");
    assert_eq!(
        place.work().join("dangling.yaml").read_link().expect("it is a link"),
        Path::new("/nonexistent/x")
    );
    // What appears between the look and the end is safe too.
    let path = place.work().join("late.yaml");
    place.put("work/late.yaml", "mine\n");
    assert!(bottle::fs::write_new(&path, b"bottle's").is_err());
    assert_eq!(place.read("late.yaml"), "mine\n");
    assert!(!place.tree().iter().any(|path| path.contains(".tmp")), "{:?}", place.tree());
}

#[test]
fn a_dry_run_prints_the_manifest_and_writes_nothing() {
    let place = repository(&[]);
    let output = init(&place, ["--dry-run", "--agent", "true", "--no-supervise"]);
    assert!(!output.stderr.contains("written"), "{output}");
    let manifest = output.ok();
    assert!(manifest.contains("  \"true\":\n") && manifest.contains("  \"true\": {}\n"), "{manifest}");
    place.bottle(["validate", "-f", "-"]).stdin(&manifest).run().ok();
    assert!(!place.exists("bottle.yaml"));
}

#[test]
fn outside_of_a_repository_there_is_an_agent_without_one() {
    let place = Place::new();
    place.put("bottle.yaml", "bottles: {}\n");
    let output = init(&place, []);
    assert!(output.stderr.contains("repository: none: this is no git repository"), "{output}");
    assert!(output.stderr.contains("agent: `work`"), "{output}");
    assert!(output.stderr.contains("no longer `[TEMP]/bottle.yaml`"), "{output}");
    renders(&place);
}

#[test]
fn of_several_remotes_one_must_be_named() {
    let place = repository(&[
        ("fork", "https://git.example.org/me/app"),
        ("team", "https://git.example.org/team/app"),
    ]);
    let error = init(&place, []).fails(1);
    assert!(error.contains("hint: name one with `--remote`: `fork`, `team`"), "{error}");
    let error = init(&place, ["--remote", "teem"]).fails(1);
    assert!(error.contains("did you mean `team`?"), "{error}");
    let output = init(&place, ["--remote", "team"]);
    assert!(output.stderr.contains("remotes left out: `fork`"), "{output}");
    assert!(place.read("bottle.yaml").contains("https://git.example.org/team/app"));
}

/// The file-system monitor is a program that git runs when it lists files; package managers read the project's files.
#[test]
fn nothing_that_the_repository_brings_is_run_or_believed() {
    let place = repository(&[("origin", "https://git.example.org/team/app")])
        .file("package.json", "{}")
        .file("pyproject.toml", "")
        .file("Cargo.toml", "")
        .file("go.mod", "module x\ngo 99.0\ntoolchain go99.0.0\n")
        .file(".npmrc", "registry=https://evil.example/\n")
        .file(".cargo/config.toml", "[source.x]\nregistry = \"sparse+https://evil.example/\"\n");
    let monitor = place.root().join("monitor");
    place.put("monitor", "#!/bin/sh\ntouch \"$HOME/ran\"\n");
    run(&place, "chmod", &["+x", &monitor.display().to_string()]);
    run(&place, "git", &["config", "core.fsmonitor", &monitor.display().to_string()]);
    place.put("home/.npmrc", "registry=https://npm.example.org/api/\n@team:registry=https://me:hunter2@team.example.org/\n//npm.example.org/api/:_authToken=hunter3\n");
    place.put(
        "home/.cargo/config.toml",
        "[registries.team]\nindex = \"sparse+https://cargo.example.org/index/\"\n",
    );
    let here = "[ \"$PWD\" = \"$HOME\" ] || { echo \"in $PWD\" >&2; exit 1; }";
    with_program(
        &place,
        "pip",
        &format!(
            "{here}\n[ \"$*\" = 'config list' ] && echo \"global.index-url='https://pip.example.org/x/simple'\""
        ),
    );
    let mut path = with_program(
        &place,
        "go",
        &format!("{here}\n[ \"$GOTOOLCHAIN\" = local ] && printf 'https://go.example.org\\noff\\n'"),
    );
    // Where npm is not installed, a stand-in answers; that it starts at home is seen of it alone.
    if std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .all(|directory| !directory.join("npm").is_file())
    {
        path = with_program(
            &place,
            "npm",
            &format!(
                "{here}\nprintf 'https://npm.example.org/api/\\n@team:registry = \"https://me:***@team.example.org/\"\\n'"
            ),
        );
    }
    let output = place.bottle(["init"]).env("PATH", path).run();
    let manifest = place.read("bottle.yaml");
    for host in [
        "\"npm.example.org\", paths: [\"/api/**\"]",
        "\"team.example.org\"",
        "\"pip.example.org\", paths: [\"/x/**\"]",
        "\"go.example.org\"",
        "\"cargo.example.org\"",
    ] {
        assert!(manifest.contains(&format!("- {{ host: {host} }}")), "{host}: {manifest}\n{output}");
    }
    assert!(!manifest.contains("evil") && !manifest.contains("hunter"), "{manifest}");
    assert!(!output.to_string().contains("hunter") && !output.stderr.contains("warning"), "{output}");
    assert!(
        output.stderr.contains("left out: a user, password or query in a URL of npm's registries"),
        "{output}"
    );
    assert!(!place.root().join("home/ran").exists(), "the monitor ran");
    renders(&place);
}

#[test]
fn a_branch_with_a_name_made_for_a_terminal_is_shown_without_effect() {
    let place = repository(&[("origin", "https://git.example.org/team/app")]);
    let branch = "ma\u{202e}in#-'\"";
    run(
        &place,
        "git",
        &["symbolic-ref", "refs/remotes/origin/HEAD", &format!("refs/remotes/origin/{branch}")],
    );
    let output = init(&place, []);
    let manifest = place.read("bottle.yaml");
    assert!(manifest.contains("# The default branch is `ma?in#-'\"`"), "{manifest}\n{output}");
    assert!(!output.stderr.contains('\u{202e}'), "{output}");
    renders(&place);
}

#[test]
fn an_agent_that_is_installed_is_taken_with_the_way_to_its_model() {
    let place = repository(&[]);
    let path = with_program(&place, "claude", "touch \"$HOME/ran\"");
    let output = place.bottle(["init"]).env("PATH", path).run();
    assert!(output.stderr.contains("runs: the preset `claude`: `claude` is installed here"), "{output}");
    let written = place.read("bottle.yaml");
    assert!(written.contains("preset: claude") && written.contains("credential: model"), "{written}");
    assert!(!place.root().join("home/ran").exists(), "the agent was started");
    renders(&place);
}

#[test]
fn an_image_of_one_s_own_runs_its_own_command() {
    let place = repository(&[]);
    let output = init(&place, ["--image", "registry.example.org/team/worker:1", "--", "work", "--now $X"]);
    assert_eq!(output.code, 0, "{output}");
    assert!(place.read("bottle.yaml").contains("command: [\"work\", \"--now $X\"]"));
    renders(&place);
    let error = init(&place, ["-f", "x.yaml", "--image=-x"]).fails(2);
    assert!(error.contains("--image"), "{error}");
}

#[test]
fn a_compose_file_of_somebody_else_is_not_in_the_way_of_the_next_commands() {
    let place = repository(&[]);
    let next =
        |output: Output| output.stderr.split_once("next:\n").expect("it says what comes next").1.to_owned();
    let usual = next(init(&place, []));
    assert!(usual.contains("  bottle render > compose.yaml\n  bottle doctor\n"), "{usual}");
    place.bottle(["render", "-o", "."]).run().ok();
    assert_eq!(
        next(init(&place, ["-f", "other.yaml"])),
        usual
            .replace("bottle render", "bottle render -f 'other.yaml'")
            .replace("doctor", "doctor -f 'other.yaml'")
    );
    std::fs::remove_file(place.work().join("bottle.yaml")).expect("it is ours");
    place.put("work/compose.yaml", "services: {}\n");
    let beside = next(init(&place, []));
    assert!(beside.contains("  bottle render -o box && cd box") && !beside.contains('>'), "{beside}");
}

#[test]
fn a_log_of_refusals_becomes_proposals_from_files_and_standard_input() {
    let line = |host: &str| {
        format!(
            "{{\"v\":1,\"time\":\"2026-01-02T03:04:05.678Z\",\"event\":\"request\",\"decision\":\"deny\",\"reason\":\"route-missing\",\"scheme\":\"https\",\"host\":\"{host}\",\"port\":443,\"method\":\"GET\",\"path\":\"/x\"}}\n"
        )
    };
    let place = Place::new().file("audit.jsonl", line("a.example.org").repeat(2));
    let output = place
        .bottle(["init", "--from-log", "audit.jsonl", "-"])
        .stdin(&format!("{}{}junk\n", line("b.example.org"), line("b.example.org")))
        .run();
    assert_eq!(output.stderr, "warning: 1 line is none of an audit log\n");
    let text = output.ok();
    assert!(
        text.contains("  - { host: \"a.example.org\", paths: [\"/x\"] }\n") && text.contains("b.example.org"),
        "{text}"
    );
    assert_eq!(place.tree(), ["audit.jsonl"]);
    place.bottle(["init", "--from-log", "missing.jsonl"]).run().fails(1);
}

/// The lines that egress itself writes, as the book shows one.
#[test]
fn the_line_of_the_book_is_one_of_a_log() {
    let book = bottle::fs::read_to_string(&project("docs/src/audit.md")).expect("it is there");
    let line = book
        .lines()
        .find(|line| line.starts_with("{\"v\":1") && line.contains("path-denied"))
        .expect("it shows one");
    let text = Place::new().bottle(["init", "--from-log", "-"]).stdin(line).run().ok();
    assert!(text.contains("  # - { host: \"api.example.org\", paths: [\"/v2/users\"] }\n"), "{text}");
}

#[test]
fn the_credential_of_a_model_is_that_whose_variable_is_set_and_its_value_is_not_read() {
    for (preset, variable, form) in [
        ("claude", "ANTHROPIC_API_KEY", "header: x-api-key"),
        ("claude", "CLAUDE_CODE_OAUTH_TOKEN", "bearer: true"),
        ("codex", "OPENAI_API_KEY", "bearer: true"),
    ] {
        let place = repository(&[("origin", "https://git.example.org/team/app.git")]);
        let output = place.bottle(["init", "--preset", preset]).env(variable, "not-to-be-read").run();
        assert_eq!(output.code, 0, "{output}");
        let written = place.read("bottle.yaml");
        let line = format!("model: {{ source: {{ env: {variable} }}, inject: {{ {form} }} }}");
        assert!(written.contains(&line), "no `{line}` in {written}");
        assert!(
            !written.contains("not-to-be-read") && !output.stderr.contains("not-to-be-read"),
            "{written}"
        );
        renders(&place);
    }
}
