//! Presets in a directory of the user's own: what is taken from there, and what is refused.

use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use crate::support::{Place, files, project};

const MANIFEST: &str = "bottles: { b: {} }\nagents:\n  a: { bottle: b, preset: ./mine }\n";
const DESCRIPTION: &str = "command: [bash]\nbuild: [Dockerfile]\nfiles: [{ name: x.conf, target: /etc/mine/x.conf }]\nprompt: /etc/mine/p.md\nskills: /etc/mine/skills\n";
const DOCKERFILE: &str = "# Rendered by bottle\nFROM base.example.org/x:1\n";
const TEMPLATE: &str = "# Rendered by bottle\nagent {{ slug }}\n";

/// A preset below a directory of the place.
fn put(place: &Place, directory: &str) {
    place.put(&format!("{directory}/preset.yaml"), DESCRIPTION);
    place.put(&format!("{directory}/Dockerfile"), DOCKERFILE);
    place.put(&format!("{directory}/x.conf.j2"), TEMPLATE);
}

fn place() -> Place {
    let place = Place::with(MANIFEST);
    put(&place, "work/mine");
    place
}

#[test]
fn the_files_of_a_directory_are_built_and_mounted() {
    let place = place();
    let compose = place.bottle(["render"]).run().ok();
    assert!(compose.contains("    build:\n      context: \"./.bottle/a/image\"\n"), "{compose}");
    assert!(compose.contains("target: \"/etc/mine/x.conf\", read_only: true"), "{compose}");
    assert_eq!(place.read(".bottle/a/image/Dockerfile"), DOCKERFILE);
    assert_eq!(place.read(".bottle/a/agent/x.conf"), "# Rendered by bottle\nagent a\n");
    // Rendered again it replaces its own copies, and another text is another hash.
    place.put("work/mine/Dockerfile", format!("{DOCKERFILE}RUN true\n"));
    let changed = place.bottle(["render"]).run().ok();
    assert!(place.read(".bottle/a/image/Dockerfile").ends_with("RUN true\n"));
    assert_ne!(compose, changed);
}

#[test]
fn a_users_own_preset_is_found_by_its_name_and_may_be_a_link() {
    let place = Place::with(&MANIFEST.replace("./mine", "home/mine"));
    put(&place, "dotfiles/mine");
    place.put("home/.config/bottle/presets/README", "");
    symlink(place.root().join("dotfiles/mine"), place.root().join("home/.config/bottle/presets/mine"))
        .unwrap();
    place.bottle(["render"]).run().ok();
    assert!(place.exists(".bottle/a/image/Dockerfile"));
}

#[test]
fn where_only_own_bottles_are_trusted_a_preset_of_the_manifest_is_refused() {
    for named in ["./mine", "../work/mine", "~/mine", "/etc/mine"] {
        let manifest = format!("agents: {{ a: {{ bottle: home/dev, preset: {named} }} }}\n");
        let place = Place::with(&manifest).home_bottle("dev", "{}\n");
        put(&place, "work/mine");
        let said = place.bottle(["render", "--trust", "home"]).run().fails(1);
        assert!(said.contains("and only your own are trusted"), "{named}: {said}");
        assert!(!place.exists(".bottle"), "{named}");
    }
    let place =
        Place::with("agents: { a: { bottle: home/dev, preset: home/mine } }\n").home_bottle("dev", "{}\n");
    put(&place, "home/.config/bottle/presets/mine");
    place.bottle(["render", "--trust", "home"]).run().ok();
}

#[test]
fn links_and_files_that_are_no_files_are_refused() {
    let outside = |place: &Place, name: &str, text: &str| {
        place.put(&format!("outside/{name}"), text);
        std::fs::remove_file(place.work().join("mine").join(name)).unwrap();
        symlink(place.root().join("outside").join(name), place.work().join("mine").join(name)).unwrap();
    };
    for (name, text) in [("preset.yaml", DESCRIPTION), ("Dockerfile", DOCKERFILE), ("x.conf.j2", TEMPLATE)] {
        let place = place();
        outside(&place, name, text);
        let said = place.bottle(["validate"]).run().fails(1);
        assert!(said.contains("it is a symbolic link"), "{name}: {said}");
    }
    // A directory on the way.
    let place = Place::with(&MANIFEST.replace("./mine", "./presets/mine"));
    put(&place, "outside/mine");
    symlink(place.root().join("outside"), place.work().join("presets")).unwrap();
    let said = place.bottle(["validate"]).run().fails(1);
    assert!(said.contains("there is a symbolic link on the way"), "{said}");
    let place = self::place();
    std::fs::remove_file(place.work().join("mine/Dockerfile")).unwrap();
    std::fs::create_dir(place.work().join("mine/Dockerfile")).unwrap();
    assert!(place.bottle(["validate"]).run().fails(1).contains("it is not a regular file"));
}

#[test]
fn what_is_too_large_or_hides_or_has_no_mark_is_refused() {
    let large = format!("{DOCKERFILE}#{}\n", "x".repeat(1 << 20));
    let cases: [(&str, &[u8], &str); 6] = [
        ("Dockerfile", large.as_bytes(), "it is larger than 1048576 bytes"),
        ("Dockerfile", b"# Rendered by bottle\nFROM x\nRUN a \x1b[2K\n", "mine/Dockerfile:3:7\n"),
        ("Dockerfile", "# Rendered by bottle\nFROM \u{202e}x\n".as_bytes(), "has no place in a preset"),
        ("Dockerfile", b"# Rendered by bottle\nFROM \xff\n", "is not UTF-8"),
        ("Dockerfile", b"FROM x\n", "hint: write the line `# Rendered by bottle` there"),
        ("x.conf.j2", b"# Rendered by bottle\r\n", "has no place in a preset"),
    ];
    for (name, text, wanted) in cases {
        let place = place().file(&format!("mine/{name}"), text);
        let said = place.bottle(["validate"]).run().fails(1);
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

#[test]
fn a_description_that_reaches_further_than_its_directory_and_its_agent_is_refused() {
    for (old, new) in [
        ("[Dockerfile]", "[Dockerfile, ../secret]"),
        ("[Dockerfile]", "[Dockerfile, /etc/passwd]"),
        ("[Dockerfile]", "[Dockerfile, .env]"),
        ("[Dockerfile]", "[Dockerfile, dockerfile]"),
        ("[Dockerfile]", "[other]"),
        ("name: x.conf", "name: ../x.conf"),
        ("name: x.conf", "name: entrypoint.sh"),
        ("name: x.conf", "name: GitConfig"),
        ("target: /etc/mine/x.conf", "target: /etc/bottle/bottle"),
        ("target: /etc/mine/x.conf", "target: /etc/bottle"),
        ("target: /etc/mine/x.conf", "target: /etc/resolv.conf"),
        ("target: /etc/mine/x.conf", "target: /proc/sys/x"),
        ("target: /etc/mine/x.conf", "target: /home/agent/x"),
        ("target: /etc/mine/x.conf", "target: /workspace/x"),
        ("target: /etc/mine/x.conf", "target: /etc"),
        ("target: /etc/mine/x.conf", "target: /etc/mine/../bottle/x"),
        ("target: /etc/mine/x.conf", "target: /etc/mine/p.md"),
        ("target: /etc/mine/x.conf", "target: /etc/mine/p.md/x"),
        ("target: /etc/mine/x.conf", "once: ../x"),
        ("target: /etc/mine/x.conf", "once: /x"),
        ("target: /etc/mine/x.conf", "once: a, target: /etc/mine/b"),
        ("prompt: /etc/mine/p.md", "prompt: /etc/bottle/entrypoint.sh"),
        ("skills: /etc/mine/skills", "skills: relative"),
        ("skills: /etc/mine/skills", "skills: /etc/s\nenvironment: { HOME: /x }"),
        ("skills: /etc/mine/skills", "skills: /etc/s\nlinks: [{ path: ../x, target: /etc/x }]"),
        ("command: [bash]", "command: [bash]\nunknown: 1"),
        ("command: [bash]", "command: [bash]\nsession: ../x"),
        ("command: [bash]", "command: [bash]\nsession: 'x; reboot'"),
    ] {
        let place = place().file("mine/preset.yaml", DESCRIPTION.replace(old, new));
        let said = place.bottle(["validate"]).run().fails(1);
        assert!(said.contains("--> ./mine/preset.yaml:"), "{new}: {said}");
    }
}

#[test]
fn a_mistake_in_a_description_and_in_a_template_is_shown_in_its_own_file() {
    let place = place().file("mine/preset.yaml", DESCRIPTION.replace("prompt:", "promt:"));
    assert_snapshot!(place.bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: a preset needs the key `prompt`
     --> ./mine/preset.yaml:1:1
      |
    1 | command: [bash]
      | ^^^^^^^
    hint: add `prompt: …` here

    error: unknown key `promt` in a preset
     --> ./mine/preset.yaml:4:1
      |
    4 | promt: /etc/mine/p.md
      | ^^^^^
    hint: did you mean `prompt`?
    ----- exit code 1 -----
    "#);
    let place = self::place().file("mine/x.conf.j2", "# Rendered by bottle\n\n  key {{ agnet }}\n");
    let said = place.bottle(["render"]).run().fails(1);
    assert!(said.starts_with("error: could not render the template: undefined value"), "{said}");
    assert!(said.contains(" --> ./mine/x.conf.j2:3:3\n"), "{said}");
    assert!(!place.exists(".bottle"));
}

#[test]
fn a_preset_is_named_in_one_of_three_ways() {
    for (written, wanted) in [
        ("mine/x", "write `./mine/x` for the directory"),
        ("..", "a directory is written with a slash"),
        ("cluade", "did you mean `claude`?"),
        ("home/../x", "is not a name"),
        ("home/none", "can't be used"),
        ("./none", "can't be used"),
    ] {
        let place = Place::with(&MANIFEST.replace("./mine", written));
        let said = place.bottle(["validate"]).run().fails(1);
        assert!(said.contains(wanted), "{written}: {said}");
    }
}

#[test]
fn no_value_of_a_preset_becomes_structure_of_the_bundle() {
    let attack = "\"x: y\\n    privileged: true # ${HOME} {{ slug }}\"";
    let description =
        DESCRIPTION.replace("[bash]", &format!("[{attack}]")) + &format!("environment: {{ A: {attack} }}\n");
    let place = place().file("mine/preset.yaml", description);
    let compose = place.bottle(["render"]).run().ok();
    let compose: serde_yaml::Value = serde_yaml::from_str(&compose).unwrap();
    let agent = &compose["services"]["agent"];
    let wanted = "x: y\n    privileged: true # $${HOME} {{ slug }}";
    assert_eq!(agent["command"][0], wanted);
    assert_eq!(agent["environment"]["A"], wanted);
    assert!(agent.get("privileged").is_none());
}

#[test]
fn a_diff_names_the_files_of_a_preset_that_changed_also_against_a_revision() {
    let place = place();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
        assert!(command.current_dir(place.work()).env("HOME", place.root()).status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=x"]);
    assert_eq!(place.bottle(["diff"]).run().ok(), "nothing changes\n");
    place.put("work/mine/Dockerfile", format!("{DOCKERFILE}RUN true\n"));
    let said = place.bottle(["diff"]).run().ok();
    assert!(said.contains("file Dockerfile of the preset"), "{said}");
    std::fs::remove_file(place.work().join("mine/x.conf.j2")).unwrap();
    symlink("Dockerfile", place.work().join("mine/x.conf.j2")).unwrap();
    git(&["commit", "--quiet", "--all", "--message=y"]);
    let said = place.bottle(["diff", "HEAD", "HEAD~1"]).run().fails(1);
    assert!(said.contains("it is not a regular file"), "{said}");
}

#[test]
fn a_preset_of_bottles_own_can_be_copied_and_renders_alike() {
    let place = Place::with(&MANIFEST.replace("./mine", "shell"));
    place.bottle(["render"]).run().ok();
    let shell = place.read(".bottle/docker/agent-shell/Dockerfile");
    for preset in ["claude", "codex", "shell"] {
        place.bottle(["init", "--preset", preset, "--preset-files", &format!("copies/{preset}")]).run().ok();
        let copied = files(&place.work().join(format!("copies/{preset}"))).len();
        assert_eq!(copied, files(&project(&format!("templates/presets/{preset}"))).len());
    }
    place.put("work/bottle.yaml", MANIFEST.replace("./mine", "./copies/shell"));
    place.bottle(["render"]).run().ok();
    assert_eq!(place.read(".bottle/a/image/Dockerfile"), shell.replace("; do not edit.", "."));
    let said = place.bottle(["init", "--preset", "shell", "--preset-files", "copies/claude"]).run().fails(1);
    assert!(said.contains("is there already"), "{said}");
}
