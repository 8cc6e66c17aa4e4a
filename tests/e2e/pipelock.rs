//! The second scanner as it really is: pipelock's own image, where the engine has it.

use std::process::Command;

use libtest_mimic::Failed;

use crate::Test;
use crate::world::Project;

pub(crate) const TESTS: &[Test] =
    &[("the_real_image_is_healthy_and_its_verdicts_keep_requests_back", verdicts)];

/// The image; the variable names another one.
fn image() -> String {
    std::env::var("BOTTLE_TEST_PIPELOCK")
        .unwrap_or_else(|_| "ghcr.io/luckypipewrench/pipelock:2.3.0".to_owned())
}

/// What is missing for these tests to run, if anything: nothing is pulled for them.
pub(crate) fn missing() -> Option<String> {
    let output = Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", &image()]).output();
    let there = output.is_ok_and(|output| output.status.success());
    (!there).then(|| format!("the engine has no image `{}`", image()))
}

fn verdicts() -> Result<(), Failed> {
    let project = Project::new("pipelock")?;
    let (slug, image) = (&project.slug, image());
    // Nothing has to answer: what the scanner allows fails one step later, on the address.
    project.write(
        "bottle.yaml",
        &format!(
            "bottles:\n  dev:\n    egress:\n      routes: [{{ host: origin.example.org, methods: [ANY] }}]\n      \
             extra_hosts: {{ origin.example.org: 10.255.255.1 }}\n    pipelock: {{ image: \"{image}\" }}\nagents:\n  \
             {slug}: {{ bottle: dev, preset: shell }}\n"
        ),
    );
    project.render()?;
    project.up()?;
    let asked = |what: &str| {
        let script = format!("curl -s -o /dev/null -D - {what} | grep -i x-bottle-reason");
        project.agent(&script).text.to_ascii_lowercase()
    };
    for (what, reason) in [
        ("https://origin.example.org/plain", "address-private"),
        ("-d 'a harmless text' https://origin.example.org/", "address-private"),
        ("'https://origin.example.org/?password=correct-horse-battery-99'", "scanner-denied"),
    ] {
        let said = asked(what);
        if !said.contains(reason) {
            let logs = project.compose(&["logs", "--tail", "40", "pipelock", "egress"]).text;
            return Err(format!("`{what}` was answered with {said:?} and not with {reason}:\n{logs}").into());
        }
    }
    // Without it nothing passes.
    project.compose(&["stop", "pipelock"]).expect_ok()?;
    let said = asked("https://origin.example.org/plain");
    if said.contains("scanner-unavailable") {
        Ok(())
    } else {
        Err(format!("it was answered with {said:?}").into())
    }
}
