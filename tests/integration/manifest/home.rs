//! The user's own bottles, and trusting only them.

use insta::assert_snapshot;

use crate::support::Place;

const OWN: &str = "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n";
const HOME: &str = "agents: { a: { bottle: home/dev, preset: shell } }\n";

#[test]
fn an_agent_may_be_in_one_of_the_users_own_bottles() {
    let place = Place::with(HOME).home_bottle("dev", "supervise: false\n");
    place.bottle(["validate"]).run().ok();
    place.bottle(["render"]).run().ok();
}

#[test]
fn the_configuration_directory_of_xdg_is_used_where_it_is_set() {
    let place = Place::with(HOME);
    place.put("config/bottle/bottles/dev.yaml", "{}\n");
    let config = place.root().join("config");
    place.bottle(["validate"]).env("XDG_CONFIG_HOME", &config).run().ok();
    // A relative one is to be ignored (XDG Base Directory Specification).
    assert_eq!(
        place
            .bottle(["validate"])
            .below("")
            .env("XDG_CONFIG_HOME", "config")
            .arg("-f")
            .arg("work/bottle.yaml")
            .run()
            .code,
        1
    );
}

#[test]
fn own_bottles_extend_each_other_by_their_short_and_their_full_names() {
    let place = Place::with(HOME)
        .home_bottle("dev", "extends: middle\n")
        .home_bottle("middle", "extends: home/base\n")
        .home_bottle("base", "egress: { routes: [{ host: '*' }] }\n");
    // The fault of the last one is found, so all of them were read.
    assert_snapshot!(place.bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: a route to every host is no boundary
     --> home/base.yaml:1:28
      |
    1 | egress: { routes: [{ host: '*' }] }
      |                            ^^^
    hint: name the hosts, or a domain as `*.example.com`
    ----- exit code 1 -----
    "#);
}

#[test]
fn a_bottle_of_the_manifest_extends_an_own_one() {
    let place =
        Place::with("bottles: { b: { extends: home/dev } }\nagents: { a: { bottle: b, preset: shell } }\n")
            .home_bottle("dev", "egress: { routes: [{ host: a.example.org }] }\n");
    place.bottle(["render"]).run().ok();
    assert!(place.read(".bottle/a/egress/policy.yaml").contains("source: home/dev.yaml:1\n"));
}

#[test]
fn own_bottles_in_a_circle_are_refused_with_the_chain() {
    let place =
        Place::with(HOME).home_bottle("dev", "extends: other\n").home_bottle("other", "extends: dev\n");
    assert_snapshot!(place.bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: bottles extend each other in a circle: `home/dev` → `home/other` → `home/dev`
     --> home/other.yaml:1:10
      |
    1 | extends: dev
      |          ^^^
    hint: take one `extends` out of the circle

    error: bottles extend each other in a circle: `home/other` → `home/dev` → `home/other`
     --> home/dev.yaml:1:10
      |
    1 | extends: other
      |          ^^^^^
    hint: take one `extends` out of the circle
    ----- exit code 1 -----
    "#);
}

#[test]
fn an_own_bottle_never_extends_one_of_the_manifest() {
    let place =
        Place::with(&format!("bottles: {{ base: {{}} }}\n{HOME}")).home_bottle("dev", "extends: base\n");
    assert_snapshot!(place.bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: could not read `[TEMP]/home/.config/bottle/bottles/base.yaml`: No such file or directory (os error 2)
     --> home/dev.yaml:1:10
      |
    1 | extends: base
      |          ^^^^
    hint: `home/NAME` is the file NAME.yaml in [TEMP]/home/.config/bottle/bottles
    ----- exit code 1 -----
    "#);
}

#[test]
fn an_own_bottle_that_is_not_there_is_named_with_its_path() {
    assert_snapshot!(Place::with(HOME).bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: could not read `[TEMP]/home/.config/bottle/bottles/dev.yaml`: No such file or directory (os error 2)
     --> bottle.yaml:1:24
      |
    1 | agents: { a: { bottle: home/dev, preset: shell } }
      |                        ^^^^^^^^
    hint: `home/NAME` is the file NAME.yaml in [TEMP]/home/.config/bottle/bottles
    ----- exit code 1 -----
    "#);
    assert_snapshot!(Place::with(HOME).bottle(["validate"]).env("HOME", "").run(), @r#"
    ----- stderr -----
    error: there is no home directory to look for the bottle `dev` in
     --> bottle.yaml:1:24
      |
    1 | agents: { a: { bottle: home/dev, preset: shell } }
      |                        ^^^^^^^^
    hint: set HOME
    ----- exit code 1 -----
    "#);
}

#[test]
fn with_trust_home_the_manifests_own_bottles_are_refused() {
    let place = Place::with(OWN);
    place.bottle(["validate"]).run().ok();
    assert_snapshot!(place.bottle(["validate", "--trust", "home"]).run(), @r#"
    ----- stderr -----
    error: the bottle `b` is the manifest's own, and only your own are trusted
     --> bottle.yaml:2:24
      |
    2 | agents: { a: { bottle: b, preset: shell } }
      |                        ^
    hint: use `bottle: home/NAME`, or leave out `--trust home` after reading the manifest
    ----- exit code 1 -----
    "#);
    let by_environment = place.bottle(["render"]).env("BOTTLE_TRUST", "home").run();
    assert_eq!(by_environment.code, 1, "{by_environment}");
    assert!(place.tree() == ["bottle.yaml"], "{:?}", place.tree());
}

#[test]
fn with_trust_home_a_bottle_that_only_extends_an_own_one_is_refused() {
    let place =
        Place::with("bottles: { b: { extends: home/dev } }\nagents: { a: { bottle: b, preset: shell } }\n")
            .home_bottle("dev", "{}\n");
    assert_eq!(place.bottle(["validate", "--trust", "home"]).run().code, 1);
}

#[test]
fn with_trust_home_the_users_own_bottles_are_accepted() {
    let place = Place::with(HOME).home_bottle("dev", "extends: base\n").home_bottle("base", "{}\n");
    place.bottle(["validate", "--trust", "home"]).run().ok();
    place.bottle(["render"]).env("BOTTLE_TRUST", "home").run().ok();
}

/// The sidecars hold the credentials: a cloned repository must not choose the programs that run in them.
#[test]
fn with_trust_home_the_manifest_cannot_choose_the_sidecars_images() {
    let place = Place::with(&format!("images: {{ registry: registry.example.org/x }}\n{HOME}"))
        .home_bottle("dev", "{}\n");
    place.bottle(["validate"]).run().ok();
    assert_snapshot!(place.bottle(["validate", "--trust", "home"]).run(), @r#"
    ----- stderr -----
    error: the manifest chooses the programs that hold your credentials, and only your own bottles are trusted
     --> bottle.yaml:1:21
      |
    1 | images: { registry: registry.example.org/x }
      |                     ^^^^^^^^^^^^^^^^^^^^^^
    hint: take `images` out, so that Compose builds them, or leave out `--trust home` after reading the manifest
    ----- exit code 1 -----
    "#);
}

#[test]
fn an_unknown_trust_is_a_mistake_of_usage() {
    let place = Place::with(OWN);
    assert_eq!(place.bottle(["validate", "--trust", "everyone"]).run().code, 2);
    assert_eq!(place.bottle(["validate"]).env("BOTTLE_TRUST", "Home").run().code, 2);
}

#[test]
fn bottles_without_a_value_beside_an_own_bottle_are_one_mistake() {
    let place = Place::with(&format!("bottles:\n{HOME}")).home_bottle("dev", "{}\n");
    let output = place.bottle(["validate"]).run();
    assert_eq!((output.code, output.stderr.matches("error: ").count()), (1, 1), "{output}");
    assert!(output.stderr.contains("expected a mapping, found nothing"), "{output}");
}

#[test]
fn an_own_bottle_with_a_mistake_is_named_by_its_own_file() {
    let place = Place::with(HOME).home_bottle("dev", "egres: {}\n");
    let output = place.bottle(["validate"]).run();
    assert!(output.stderr.contains(" --> home/dev.yaml:1:1\n"), "{output}");
    let place = Place::with(HOME);
    place.put("home/.config/bottle/bottles/dev.yaml", b"a: \xff\n");
    let output = place.bottle(["validate"]).run();
    assert!(output.stderr.contains(" --> home/dev.yaml:1:4\n"), "{output}");
}

/// The way from a project to the user's configuration has the user's name in it, and differs between machines.
#[test]
fn a_path_of_an_own_bottle_is_written_from_the_home_directory() {
    let place = Place::with(HOME).home_bottle(
        "dev",
        "git: { r: { upstream: 'git@git.example.org:r', identity_file: ../keys/id, known_host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi } }\n",
    );
    let text = place.bottle(["render"]).run().ok();
    assert!(text.contains("source: \"~/.config/bottle/keys/id\""), "{text}");
    place.put("work/deep/er/x", "");
    assert_eq!(place.bottle(["render"]).below("work/deep/er").run().ok(), text);
}
