//! A mounted workspace: what lies over it, and what the host must have for that.

use std::collections::BTreeMap;
use std::path::Path;

use super::has_compose;
use crate::support::Place;

fn manifest(workspace: &str) -> String {
    format!(
        "bottles: {{ b: {{}} }}\nagents:\n  a: {{ bottle: b, preset: shell, workspace: {{ {workspace} }} }}\n"
    )
}

/// The binds of the agent: the target, the source and whether it is read-only.
fn binds(compose: &str) -> BTreeMap<String, (String, bool)> {
    let value: serde_json::Value = serde_yaml::from_str(compose).expect("YAML");
    let volumes =
        value.pointer("/services/agent/volumes").and_then(serde_json::Value::as_array).expect("a list");
    let binds =
        volumes.iter().filter(|volume| volume.get("type").is_some_and(|kind| kind == "bind")).map(|volume| {
            assert!(volume.pointer("/bind/create_host_path").is_some_and(|made| *made == false), "{volume}");
            let text =
                |key: &str| volume.get(key).and_then(serde_json::Value::as_str).expect("a text").to_owned();
            (text("target"), (text("source"), volume.get("read_only").is_some_and(|only| *only == true)))
        });
    binds.collect()
}

#[test]
fn what_steers_the_host_is_closed_in_a_mounted_directory() {
    let place = Place::with(&manifest("mount: ., read_only: [tools/git/hooks]"));
    let compose = place.bottle(["render"]).run().ok();
    let binds = binds(&compose);
    assert_eq!(binds["/workspace"], (".".to_owned(), false));
    for closed in [
        ".bottle",
        ".devcontainer",
        "bottle.yaml",
        "compose.yaml",
        "compose.override.yaml",
        "tools/git/hooks",
    ] {
        assert_eq!(binds[&format!("/workspace/{closed}")], (format!("./{closed}"), true), "{closed}");
    }
    // A directory above a mount could be moved away with it; a mount can't.
    for way in ["tools", "tools/git"] {
        assert_eq!(binds[&format!("/workspace/{way}")], (format!("./{way}"), false));
    }
    // The operator's variables are not the agent's to read, nor is the host's repository to write.
    assert_eq!(binds["/workspace/.env"], ("./.bottle/a/agent/env".to_owned(), true));
    assert_eq!(binds["/etc/bottle/git"], ("./.git".to_owned(), true));
    assert!(compose.contains("source: git, target: \"/workspace/.git\""), "{compose}");
    assert!(!compose.contains("source: workspace"), "{compose}");
    let checked = place.read(".bottle/a/agent/closed.sh");
    let checked = checked.lines().filter(|line| line.starts_with("closed '")).count();
    assert_eq!(checked, 7);
}

#[test]
fn a_manifest_in_a_directory_of_its_own_is_closed_as_a_whole() {
    let place = Place::new().file("bottle/bottle.yaml", manifest("mount: .."));
    let compose = place.bottle(["render"]).below("work/bottle").run().ok();
    let binds = binds(&compose);
    assert_eq!(binds["/workspace"], ("..".to_owned(), false));
    assert_eq!(binds["/workspace/bottle"], (".".to_owned(), true));
    assert_eq!(binds["/workspace/bottle/.env"], ("./.bottle/a/agent/env".to_owned(), true));
    assert!(!binds.contains_key("/workspace/bottle/bottle.yaml"));
    // Nothing can be made beside the compose file, so that Compose may look for what it likes.
    assert!(!compose.contains("COMPOSE_FILE") && !place.exists("bottle/compose.override.yaml"), "{compose}");
    assert!(place.exists("bottle/.env") && place.exists(".git"));
    // Rendered elsewhere, only the manifest is in reach, and Compose has nothing to find.
    let compose = place.bottle(["render", "-o", "../../out"]).below("work/bottle").run().ok();
    assert_eq!(compose, "");
    let compose = bottle::fs::read_to_string(&place.root().join("out/compose.yaml")).unwrap();
    assert!(!compose.contains("COMPOSE_FILE"), "{compose}");
    assert!(!place.root().join("out/.env").exists());
}

#[test]
fn what_is_mounted_over_it_is_made_once_and_never_changed() {
    let place = Place::with(&manifest("mount: ."));
    place.bottle(["render", "-o", "."]).run().ok();
    assert!(place.read(".env").ends_with("\nCOMPOSE_FILE=compose.yaml\n"));
    assert!(place.work().join(".git").is_dir() && place.work().join(".devcontainer").is_dir());
    let place = place.file(".env", "TOKEN=x\n").file("compose.override.yaml", "services: {}\n");
    place.bottle(["render", "-o", "."]).run().ok();
    assert_eq!(place.read(".env"), "TOKEN=x\n");
    assert_eq!(place.read("compose.override.yaml"), "services: {}\n");
    // They are the user's own: no part of what is compared.
    place.bottle(["render", "-o", ".", "--check"]).run().ok();
}

#[test]
fn the_files_of_all_agents_are_closed_to_each() {
    let place = Place::with(
        "bottles: { b: {} }\nagents:\n  one: { bottle: b, preset: shell, workspace: { mount: . } }\n  two: { bottle: b, preset: shell }\n",
    );
    place.bottle(["render", "--all", "-o", "."]).run().ok();
    let binds = binds(&place.read("compose.one.yaml"));
    assert!(
        binds.contains_key("/workspace/compose.one.yaml")
            && binds.contains_key("/workspace/compose.two.yaml")
    );
    assert!(place.read(".env").contains("COMPOSE_FILE=compose.one.yaml\n"));
}

#[test]
fn what_any_agent_of_the_manifest_is_made_of_is_closed() {
    let place = Place::with(
        "bottles: { b: {} }\nagents:\n  one: { bottle: b, preset: shell, workspace: { mount: . } }\n  \
         two: { bottle: b, build: image, command: [bash], prompt: two.md, skills: [skills/review] }\n  \
         three: { bottle: b, preset: ./presets/mine }\n",
    )
    .file(
        "presets/mine/preset.yaml",
        "command: [bash]\nbuild: [Dockerfile]\nprompt: /etc/mine/p.md\nskills: /etc/mine/skills\n",
    )
    .file("presets/mine/Dockerfile", "# Rendered by bottle\nFROM base.example.org/x:1\n");
    let compose = place.bottle(["render", "one"]).run().ok();
    let binds = binds(&compose);
    for closed in ["image", "two.md", "skills/review", "presets/mine"] {
        let bind = binds.get(&format!("/workspace/{closed}"));
        assert_eq!(bind, Some(&(format!("./{closed}"), true)), "{closed}");
    }
}

#[test]
fn a_secret_of_any_bottle_and_by_any_name_is_refused_in_a_mounted_directory() {
    let key = |path: &str| {
        format!(
            "bottles:\n  b: {{}}\n  other:\n    credentials: {{ token: {{ source: {{ file: {path} }}, inject: {{ bearer: true }} }} }}\n    \
             egress: {{ routes: [{{ host: api.example.org, credential: token }}] }}\nagents:\n  \
             a: {{ bottle: b, preset: shell, workspace: {{ mount: . }} }}\n"
        )
    };
    for path in ["secrets/token", "~/app/token"] {
        let place = Place::new();
        place.put("home/app/bottle.yaml", key(path));
        let said = place.bottle(["validate"]).below("home/app").run().fails(1);
        assert!(said.contains("this secret is in the mounted directory"), "{path}: {said}");
    }
    // A link to it, and one on the way to it: Docker mounts what they lead to. The directory may be a link as well.
    for (link, to, path, mount) in [
        ("key", "app/token", "~/key", "."),
        ("keys", "app/keys", "~/keys/token", "."),
        ("linked", "app", "~/app/token", "../linked"),
    ] {
        let place = Place::new();
        let directory = if mount == "." { "home/app" } else { "home/other" };
        place.put(
            &format!("{directory}/bottle.yaml"),
            key(path).replace("mount: .", &format!("mount: {mount}")),
        );
        for secret in ["home/app/token", "home/app/keys/token"] {
            place.put(secret, "secret-of-a-test");
        }
        std::os::unix::fs::symlink(to, place.root().join("home").join(link)).unwrap();
        let said = place.bottle(["validate"]).below(directory).run().fails(1);
        assert!(said.contains("this secret is in the mounted directory"), "{path}: {said}");
        assert!(!said.contains("secret-of-a-test"), "{said}");
    }
}

#[test]
fn what_steers_the_host_is_not_named_from_the_home_directory_where_it_could_not_be_closed() {
    for key in ["prompt: ~/app/p.md", "build: ~/app/image, command: [bash]", "preset: ~/app/mine"] {
        let place = Place::new();
        let preset = if key.contains("p.md") { "preset: shell, " } else { "" };
        place.put(
            "home/app/bottle.yaml",
            format!("bottles: {{ b: {{}} }}\nagents: {{ a: {{ bottle: b, {preset}{key}, workspace: {{ mount: . }} }} }}\n"),
        );
        place.put(
            "home/app/mine/preset.yaml",
            "command: [bash]\nbuild: [Dockerfile]\nprompt: /etc/mine/p.md\nskills: /etc/mine/skills\n",
        );
        place.put("home/app/mine/Dockerfile", "# Rendered by bottle\nFROM base.example.org/x:1\n");
        let said = place.bottle(["validate"]).below("home/app").run().fails(1);
        assert!(said.contains("name it relative to this file"), "{key}: {said}");
    }
}

fn refused(place: &Place) -> String {
    let before = place.tree();
    let error = place.bottle(["render", "-o", "."]).run().fails(1);
    assert_eq!(place.tree(), before, "something was written");
    error
}

#[test]
fn a_working_tree_whose_repository_is_elsewhere_is_refused() {
    let place = Place::with(&manifest("mount: .")).file(".git", "gitdir: /srv/app/.git/worktrees/x\n");
    let error = refused(&place);
    assert!(
        error.contains(".git` is no directory") && error.contains("mount the main working tree"),
        "{error}"
    );
}

#[test]
fn a_link_in_the_place_of_what_is_closed_is_refused() {
    for (path, to) in
        [(".devcontainer", "tools"), (".git", "tools"), ("hooks", "tools"), (".env", "tools/env")]
    {
        let place = Place::with(&manifest("mount: ., read_only: [hooks]")).file("tools/env", "");
        std::os::unix::fs::symlink(to, place.work().join(path)).unwrap();
        let error = refused(&place);
        assert!(error.contains("is a symbolic link in the mounted workspace"), "{path}: {error}");
    }
}

/// What is closed is told by its name from the mounted directory, so nothing of it may be there under another name.
#[test]
fn what_steers_the_host_and_is_in_the_mounted_directory_by_a_link_is_refused() {
    for (what, file, mount, agent) in [
        ("the bundle", "../link/bottle.yaml", ".", "preset: shell"),
        ("the bundle and the manifest", "bottle.yaml", "../link", "preset: shell"),
        ("a build", "bottle.yaml", ".", "build: ../link/image, command: [bash]"),
        ("a prompt", "bottle.yaml", ".", "preset: shell, prompt: ../link/p.md"),
    ] {
        let manifest = format!(
            "bottles: {{ b: {{}} }}\nagents: {{ a: {{ bottle: b, {agent}, workspace: {{ mount: {mount} }} }} }}\n"
        );
        let place =
            Place::with(&manifest).file("p.md", "").file("image/Dockerfile", "FROM base.example.org/x:1\n");
        std::os::unix::fs::symlink(place.work(), place.root().join("link")).unwrap();
        let before = place.tree();
        let error = place.bottle(["render", "-f", file, "-o", "."]).run().fails(1);
        assert!(error.contains("is in the mounted workspace by another name"), "{what}: {error}");
        assert_eq!(place.tree(), before, "{what}: something was written");
    }
    // What an image is built from has the directory in it.
    let place = Place::with(
        "bottles: { b: {} }\nagents: { a: { bottle: b, build: ../up, command: [bash], workspace: { mount: . } } }\n",
    );
    std::os::unix::fs::symlink(place.root(), place.root().join("up")).unwrap();
    assert!(refused(&place).contains("the agent could change what its image is built from"));
    // The user's own presets, kept among their dotfiles.
    let place = Place::with(&manifest("mount: .")).file("dotfiles/presets/x", "");
    place.put("home/.config/bottle/bottles/x.yaml", "");
    std::os::unix::fs::symlink(
        place.work().join("dotfiles/presets"),
        place.root().join("home/.config/bottle/presets"),
    )
    .unwrap();
    assert!(refused(&place).contains("is in the mounted workspace by another name"));
    // A mount by a link to a directory of something else closes the same as one without.
    let place = Place::with(&manifest("mount: ../beside")).file("../other/x", "");
    std::os::unix::fs::symlink("other", place.root().join("beside")).unwrap();
    place.bottle(["render", "-o", "."]).run().ok();
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    let error = refused(&Place::with(&manifest("mount: ../beside")));
    assert!(error.contains("beside` is to be the workspace, and is no directory"), "{error}");
}

/// Compose merges `docker-compose.override.yml` and others by itself, and the agent can make them.
#[test]
fn compose_refuses_to_look_for_files_by_itself_beside_the_agent() {
    if !has_compose() {
        return;
    }
    let place = Place::with(&manifest("mount: ."));
    place.bottle(["render", "-o", "."]).run().ok();
    let place = place.file("docker-compose.override.yml", "services: { evil: { image: evil } }\n");
    let output = compose(&place.work());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("bottle-a") && !said.contains("evil"), "{said}");
    let place = place.file(".env", "");
    let output = compose(&place.work());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("COMPOSE_FILE=compose.yaml in .env"), "{error}");
}

fn compose(directory: &Path) -> std::process::Output {
    let mut command = std::process::Command::new("docker");
    command.args(["compose", "config"]).current_dir(directory).env_remove("COMPOSE_FILE");
    command.output().expect("docker")
}
