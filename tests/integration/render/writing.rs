//! Where a bundle goes, and what is left alone.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use insta::assert_snapshot;

use crate::support::{PROGRAM, Place, entries};

const CLOSED: &str = "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n";
const GATE: &str = "bottles:
  b:
    git:
      app:
        upstream: git@git.example.org:app
        identity_file: ./id
        known_host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi
agents: { a: { bottle: b, preset: shell } }
";
const TWO: &str =
    "bottles: { b: {} }\nagents:\n  one: { bottle: b, preset: shell }\n  two: { bottle: b, preset: shell }\n";

#[test]
fn compose_goes_to_standard_output_and_the_rest_beside_it() {
    let place = Place::with(CLOSED);
    let output = place.bottle(["render"]).run();
    assert_eq!(output.stderr, "");
    assert!(output.ok().starts_with("# Rendered by bottle"));
    assert_eq!(
        place.tree(),
        [
            ".bottle/.gitignore",
            ".bottle/a/agent/entrypoint.sh",
            ".bottle/a/agent/gitconfig",
            ".bottle/a/agent/lfs-clean.sh",
            ".bottle/docker/agent-shell/Dockerfile",
            ".bottle/docker/bin/bottle",
            "bottle.yaml",
        ]
    );
}

#[test]
fn with_a_directory_everything_is_written_there_and_nothing_printed() {
    let place = Place::with(CLOSED);
    let printed = place.bottle(["render"]).run().ok();
    let other = Place::with(CLOSED);
    assert_snapshot!(other.bottle(["render", "-o", "out/there"]).run(), @r#"
    ----- stderr -----
    ----- exit code 0 -----
    "#);
    assert_eq!(other.read("out/there/compose.yaml"), printed);
    assert_eq!(other.tree().iter().filter(|path| !path.starts_with("out/there/")).count(), 1);
}

#[test]
fn paths_of_the_manifest_start_at_the_directory_of_compose() {
    let place = Place::with(GATE);
    let source = |text: &str| {
        let line =
            text.lines().find(|line| line.contains("/etc/bottle/identity/")).expect("the key is mounted");
        line.split('"').nth(1).expect("a quoted path").to_owned()
    };
    assert_eq!(source(&place.bottle(["render"]).run().ok()), "./id");
    place.bottle(["render", "-o", "out"]).run().ok();
    assert_eq!(source(&place.read("out/compose.yaml")), "../id");
    place.put("work/sub/x", "");
    assert_eq!(source(&place.bottle(["render"]).below("work/sub").run().ok()), "../id");
}

#[test]
fn files_have_the_modes_that_their_use_needs() {
    let place = Place::with(GATE);
    place.bottle(["render", "-o", "."]).run().ok();
    for path in place.tree() {
        let mode = place.work().join(&path).metadata().expect("it is there").permissions().mode() & 0o777;
        let programs = ["/entrypoint.sh", "/pre-receive", "/access-hook", "/bin/bottle"];
        let program = programs.iter().any(|name| path.ends_with(name));
        assert_eq!(mode, if program { 0o755 } else { 0o644 }, "{path}: {mode:o}");
    }
}

#[test]
fn the_program_of_the_containers_is_the_running_one_or_the_named_one() {
    let place = Place::with(CLOSED);
    place.bottle(["render", "-o", "."]).run().ok();
    let read = |path: &std::path::Path| bottle::fs::read(path).expect("it is there");
    let copy = place.work().join(".bottle/docker/bin/bottle");
    assert!(read(&copy) == read(PROGRAM.as_ref()));
    place.put("work/other", b"\x7fELF and more");
    place.bottle(["render", "-o", ".", "--linux-binary", "other"]).run().ok();
    assert_eq!(read(&copy), b"\x7fELF and more");
    place.bottle(["render", "-o", "."]).env("BOTTLE_LINUX_BINARY", PROGRAM).run().ok();
    assert!(read(&copy) == read(PROGRAM.as_ref()));
}

#[test]
fn a_program_that_is_not_for_linux_is_refused_before_anything_is_written() {
    let place = Place::with(CLOSED).file("script", "#!/bin/sh\n").file("tiny", "x");
    assert_snapshot!(place.bottle(["render", "--linux-binary", "script"]).run(), @r#"
    ----- stderr -----
    error: `script` is not a Linux program, which the containers need
    hint: name one with `--linux-binary PATH`
    ----- exit code 1 -----
    "#);
    assert_eq!(place.bottle(["render", "--linux-binary", "tiny"]).run().code, 1);
    assert_snapshot!(place.bottle(["render", "--linux-binary", "missing"]).run(), @r#"
    ----- stderr -----
    error: could not open `missing`: No such file or directory (os error 2)
    ----- exit code 1 -----
    "#);
    assert_eq!(place.bottle(["render", "--linux-binary", "."]).run().code, 1);
    assert_eq!(place.tree(), ["bottle.yaml", "script", "tiny"]);
}

#[test]
fn check_is_silent_where_nothing_differs() {
    let place = Place::with(GATE);
    place.bottle(["render", "-o", "."]).run().ok();
    assert_snapshot!(place.bottle(["render", "--check"]).run(), @r#"
    ----- stderr -----
    ----- exit code 0 -----
    "#);
    assert_snapshot!(place.bottle(["render", "--check", "-o", "."]).run(), @r#"
    ----- stderr -----
    ----- exit code 0 -----
    "#);
}

#[test]
fn check_shows_what_differs_and_writes_nothing() {
    let place = Place::with(CLOSED);
    place.bottle(["render", "-o", "."]).run().ok();
    let changed = place.read(".bottle/a/agent/gitconfig").replace("main", "ma\u{1b}[31m\u{202e}in");
    place.put("work/.bottle/a/agent/gitconfig", &changed);
    place.put("work/.bottle/a/agent/old", "# Rendered by bottle; do not edit.\n");
    std::fs::remove_file(place.work().join(".bottle/.gitignore")).expect("it is there");
    std::fs::set_permissions(
        place.work().join(".bottle/a/agent/entrypoint.sh"),
        std::fs::Permissions::from_mode(0o644),
    )
    .expect("it is ours");
    let before = place.tree();
    assert_snapshot!(place.bottle(["render", "--check"]).run(), @r#"
    ----- stderr -----
    --- /dev/null
    +++ b/.bottle/.gitignore
    @@ -0,0 +1,3 @@
    +# Rendered by bottle; do not edit.
    +# The bundle is reviewed and committed; the program that its images are built from is not.
    +/docker/bin/
    --- a/.bottle/a/agent/entrypoint.sh
    +++ b/.bottle/a/agent/entrypoint.sh
    (the mode should be 755)
    --- a/.bottle/a/agent/gitconfig
    +++ b/.bottle/a/agent/gitconfig
    @@ -4,7 +4,7 @@
     	name = a
     	email = a@bottle.invalid
     [init]
    -	defaultBranch = ma\u{1b}[31m\u{202e}in
    +	defaultBranch = main
     # Files of Git LFS are their pointers here: a checkout has them as they are, and the gate takes no new one.
     [filter "lfs"]
     	clean = /bin/sh /etc/bottle/lfs-clean.sh
    --- a/.bottle/a/agent/old
    +++ /dev/null
    @@ -1 +0,0 @@
    -# Rendered by bottle; do not edit.
    error: the bundle on disk is not what the manifest renders to
    hint: run `bottle render` as it was run before, and review the difference
    ----- exit code 1 -----
    "#);
    assert_eq!(place.tree(), before);
    assert_eq!(place.read(".bottle/a/agent/gitconfig"), changed);
    place.bottle(["render", "-o", "."]).run().ok();
    place.bottle(["render", "--check"]).run().ok();
    assert!(!place.exists(".bottle/a/agent/old"));
}

#[test]
fn check_of_a_bundle_that_was_never_rendered_finds_everything_missing() {
    let place = Place::with(CLOSED);
    let output = place.bottle(["render", "--check"]).run();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("--- /dev/null\n+++ b/compose.yaml\n"), "{output}");
    assert_eq!(place.tree(), ["bottle.yaml"]);
}

#[test]
fn a_compose_file_of_somebody_else_is_left_alone() {
    let place = Place::with(CLOSED).file("compose.yaml", "services: {}\n");
    assert_snapshot!(place.bottle(["render", "-o", "."]).run(), @r#"
    ----- stderr -----
    error: `[TEMP]/work/compose.yaml` is not a file that bottle wrote
    hint: move it away, or render into another directory with `-o DIR`
    ----- exit code 1 -----
    "#);
    assert_eq!(place.read("compose.yaml"), "services: {}\n");
    assert_eq!(place.tree(), ["bottle.yaml", "compose.yaml"]);
    // Standard output is the user's to send where they like.
    place.bottle(["render"]).run().ok();
}

#[test]
fn the_mark_counts_only_as_a_comment_at_the_start() {
    for text in ["x: Rendered by bottle\n", "a: 1\nb: 2\nc: 3\n# Rendered by bottle\n", ""] {
        let place = Place::with(CLOSED).file("compose.yaml", text);
        let output = place.bottle(["render", "-o", "."]).run();
        assert_eq!(output.code, 1, "`{text}` was taken for ours");
        assert_eq!(place.read("compose.yaml"), text);
    }
}

#[test]
fn a_file_of_somebody_else_in_the_bundle_is_left_alone() {
    let place = Place::with(CLOSED)
        .file(".bottle/a/agent/gitconfig", "[user]\n")
        .file(".bottle/a/notes.md", "mine\n");
    assert_snapshot!(place.bottle(["render", "-o", "."]).run(), @r#"
    ----- stderr -----
    error: `[TEMP]/work/.bottle/a/agent/gitconfig` is not a file that bottle wrote
    hint: move it away, or render into another directory with `-o DIR`
    ----- exit code 1 -----
    "#);
    assert_eq!(place.tree(), [".bottle/a/agent/gitconfig", ".bottle/a/notes.md", "bottle.yaml"]);
    assert_eq!(place.read(".bottle/a/agent/gitconfig"), "[user]\n");
}

#[test]
fn what_bottle_wrote_and_no_longer_renders_is_removed_and_nothing_else() {
    let place = Place::with(GATE)
        .file(".bottle/a/git-gate/notes.md", "mine\n")
        .file(".bottle/z/agent/gitconfig", "# Rendered by bottle\n");
    place.bottle(["render", "-o", "."]).run().ok();
    assert!(place.exists(".bottle/a/git-gate/gate.yaml"));
    place.put("work/bottle.yaml", CLOSED);
    assert_eq!(place.bottle(["render", "--check"]).run().code, 1);
    place.bottle(["render", "-o", "."]).run().ok();
    place.bottle(["render", "--check"]).run().ok();
    let left: Vec<String> = place
        .tree()
        .into_iter()
        .filter(|path| path.contains("/git-gate/") && !path.contains("/docker/"))
        .collect();
    assert_eq!(left, [".bottle/a/git-gate/notes.md"]);
    // Another agent's bundle may be rendered from another manifest.
    assert!(place.exists(".bottle/z/agent/gitconfig"));
}

#[test]
fn a_link_in_the_place_of_a_directory_is_refused() {
    for link in [".bottle", ".bottle/a", ".bottle/a/agent", ".bottle/docker", ".bottle/docker/bin"] {
        let place = Place::with(CLOSED).file("elsewhere/x", "");
        let path = place.work().join(link);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("it is writable");
        symlink(place.work().join("elsewhere"), &path).expect("a link");
        let output = place.bottle(["render", "-o", "."]).run();
        assert_eq!(output.code, 1, "{link}: {output}");
        assert!(output.stderr.contains("is a symbolic link"), "{output}");
        assert_eq!(
            entries(&place.work().join("elsewhere")).len(),
            1,
            "{link}: something was written through it"
        );
    }
}

#[test]
fn a_link_in_the_place_of_a_file_is_refused() {
    for target in ["theirs", "nowhere"] {
        let place = Place::with(CLOSED).file("theirs", "# Rendered by bottle\n");
        symlink(target, place.work().join("compose.yaml")).expect("a link");
        let output = place.bottle(["render", "-o", "."]).run();
        assert_eq!(output.code, 1, "{output}");
        assert!(place.work().join("compose.yaml").is_symlink());
        assert_eq!(place.read("theirs"), "# Rendered by bottle\n");
    }
}

#[test]
fn a_link_in_the_place_of_the_program_does_not_lead_anywhere() {
    let place = Place::with(CLOSED).file("theirs", "mine\n").file(".bottle/docker/bin/x", "");
    symlink("../../../theirs", place.work().join(".bottle/docker/bin/bottle")).expect("a link");
    let output = place.bottle(["render", "-o", "."]).run();
    assert_eq!(place.read("theirs"), "mine\n", "{output}");
}

#[test]
fn no_temporary_file_is_left_and_one_of_a_crash_is_cleared_away() {
    let place = Place::with(CLOSED);
    place.put(
        "work/.bottle/a/agent/.gitconfig.12345.tmp",
        "# Rendered by bottle from bottle.yaml; do not edit.\n",
    );
    place.bottle(["render", "-o", "."]).run().ok();
    let left: Vec<String> = place.tree().into_iter().filter(|path| path.contains(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::with(CLOSED).file("out", "a file\n");
    let output = place.bottle(["render", "-o", "out"]).run();
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("[TEMP]/work/out"), "{output}");
    assert_eq!(place.read("out"), "a file\n");
}

#[test]
fn several_agents_need_a_name() {
    let place = Place::with(TWO);
    assert_snapshot!(place.bottle(["render"]).run(), @r#"
    ----- stderr -----
    error: the manifest has several agents, and none is named
    hint: name one of `one`, `two`, or render all with `--all`
    ----- exit code 1 -----
    "#);
    assert_snapshot!(place.bottle(["render", "tow"]).run(), @r#"
    ----- stderr -----
    error: there is no agent `tow`
    hint: did you mean `two`?
    ----- exit code 1 -----
    "#);
    assert!(place.bottle(["render", "two"]).run().ok().contains("name: \"bottle-two\""));
    assert!(!place.exists(".bottle/one"));
}

#[test]
fn all_renders_every_agent_with_a_file_of_its_own() {
    let place = Place::with(TWO);
    assert_snapshot!(place.bottle(["render", "--all", "-o", "."]).run(), @r#"
    ----- stderr -----
    ----- exit code 0 -----
    "#);
    for name in ["one", "two"] {
        assert!(place.read(&format!("compose.{name}.yaml")).contains(&format!("name: \"bottle-{name}\"")));
    }
    place.bottle(["render", "--all", "-o", ".", "--check"]).run().ok();
    assert_eq!(place.bottle(["render", "--all"]).run().code, 2);
    assert_eq!(place.bottle(["render", "--all", "-o", ".", "one"]).run().code, 2);
}

#[test]
fn a_manifest_without_agents_validates_and_renders_nothing() {
    let place = Place::with("bottles: { b: {} }\n");
    place.bottle(["validate"]).run().ok();
    assert_snapshot!(place.bottle(["render"]).run(), @r#"
    ----- stderr -----
    error: the manifest has no agents
    hint: add one under `agents:`
    ----- exit code 1 -----
    "#);
    assert_eq!(place.bottle(["render", "--all", "-o", "."]).run().code, 1);
    assert_eq!(place.tree(), ["bottle.yaml"]);
}

#[test]
fn the_manifest_may_come_from_standard_input() {
    let place = Place::with(GATE);
    let from_file = place.bottle(["render"]).run().ok();
    let other = Place::new();
    // The hash covers what refusals call the file.
    let but_the_hash =
        |text: &str| text.lines().filter(|line| !line.contains("hash: ")).collect::<Vec<_>>().join("\n");
    let from_input = other.bottle(["render", "-f", "-"]).stdin(GATE).run().ok();
    assert_eq!(but_the_hash(&from_input), but_the_hash(&from_file));
    assert!(other.read(".bottle/a/git-gate/gate.yaml").contains("<stdin>:4"));
}

#[test]
fn an_error_in_one_agent_leaves_the_others_unwritten_too() {
    let place = Place::with(
        "bottles: { b: {} }\nagents:\n  one: { bottle: b, preset: shell }\n  two: { bottle: b, preset: shell, workspace: { mount: ../missing } }\n",
    );
    assert_eq!(place.bottle(["render", "--all", "-o", "."]).run().code, 1);
    assert_eq!(place.tree(), ["bottle.yaml"]);
    place.bottle(["render", "one"]).run().ok();
}

#[test]
fn the_hash_changes_with_whatever_a_container_goes_by() {
    let hash = |manifest: &str| {
        let text = Place::with(manifest).bottle(["render"]).run().ok();
        text.split("hash: \"").nth(1).expect("it has one").get(..16).expect("16 digits").to_owned()
    };
    let base = hash(GATE);
    assert_eq!(base, hash(GATE));
    let gate = "        push: [{ refs: main, allow: [create] }]\nagents:";
    let changed = [
        GATE.replace("agents:", gate),
        GATE.replace("agents:", "        protect: [x]\nagents:"),
        GATE.replace("agents:", "        max_pack: 1m\nagents:"),
        GATE.replace("preset: shell", "preset: shell, env: { A: b }"),
        GATE.replace("./id", "./id2"),
    ];
    for manifest in changed {
        assert_ne!(base, hash(&manifest), "{manifest}");
    }
}
