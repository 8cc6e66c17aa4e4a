//! A preset of the user's own, as examples/own-preset has it: built, started, and talking to its model.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

use crate::Test;
use crate::egress::world::{KEY, overrides, prepare, seen};

pub(crate) const TESTS: &[Test] =
    &[("its_client_runs_with_its_files_and_reaches_its_model_with_a_key_that_it_never_has", works)];

fn works() -> Result<(), Failed> {
    let project = prepare("own")?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own-preset");
    let preset = project.directory.join("presets/mine");
    fs::create_dir_all(&preset)?;
    for entry in fs::read_dir(example.join("presets/mine"))? {
        let entry = entry?;
        fs::copy(entry.path(), preset.join(entry.file_name()))?;
    }
    let mut manifest = fs::read_to_string(example.join("bottle.yaml"))?;
    for (theirs, ours) in [
        ("paths: [/v1/chat], ", "paths: [/v1/chat], private: true, "),
        ("    credentials:\n", "      extra_ca: [ca.pem]\n    credentials:\n"),
        ("env: MODEL_TOKEN", "env: E2E_KEY"),
        ("  mine:\n", &format!("  {}:\n    prompt: rules.md\n", project.slug)),
    ] {
        assert!(manifest.contains(theirs), "the example has no `{theirs}`");
        manifest = manifest.replace(theirs, ours);
    }
    project.write("bottle.yaml", &manifest);
    project.write("rules.md", "Be brief.\n");
    project.write("compose.override.yaml", &overrides(&project.slug));
    project.render()?;
    project.up()?;
    let said = project.agent("mine").expect_ok()?;
    assert_eq!(said, "the origin saw POST models.example.org/v1/chat\n");
    let arrived = format!("POST https://models.example.org/v1/chat key=- authorization=Bearer {KEY} ");
    assert!(seen(&project).contains(&arrived), "{}", seen(&project));
    // What stands for the key is in its environment, and what the client reads is in its place.
    let holds = project.agent("env; cat ~/.mine/state.toml").expect_ok()?;
    assert!(holds.contains("MODEL_TOKEN=bottle-placeholder-model\n"), "{holds}");
    assert!(holds.contains("approved = \"bottle-placeholder-model\"\n"), "{holds}");
    assert!(!holds.contains(KEY), "{holds}");
    let linked = project.agent("cat ~/.mine/settings.json").expect_ok()?;
    assert!(linked.contains(&format!("\"agent\": \"{}\"", project.slug)), "{linked}");
    assert_eq!(project.agent("cat /etc/mine/INSTRUCTIONS.md").expect_ok()?, "Be brief.\n");
    // What binds it stays as it is; what is its own it changes, and keeps.
    for fixed in ["/etc/mine/settings.json", "/etc/mine/INSTRUCTIONS.md", "/usr/local/bin/mine"] {
        assert!(!project.agent(&format!("echo x >>{fixed}")).ok, "{fixed} was changed");
    }
    project.agent("echo 'mine = true' >>~/.mine/state.toml").expect_ok()?;
    project.compose(&["down"]).expect_ok()?;
    project.up_again(&[]).expect_ok()?;
    let kept = project.agent("cat ~/.mine/state.toml").expect_ok()?;
    assert!(kept.contains("mine = true"), "{kept}");
    Ok(())
}
