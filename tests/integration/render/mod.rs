//! Rendering: what is written, where, and that nothing else is touched.

mod bundled;
mod devcontainer;
mod egress;
mod escaping;
mod examples;
mod own_preset;
mod pipelock;
mod presets;
mod supervise;
mod workspace;
mod writing;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_yaml::Value as Yaml;

/// `docker compose`, which needs no engine to read a file. Without it the tests that ask Compose fail, so that nobody
/// takes what was skipped for what has passed; `BOTTLE_TEST_WITHOUT_COMPOSE` says that it is meant.
pub(crate) fn has_compose() -> bool {
    let there = Command::new("docker")
        .args(["compose", "version"])
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        there || std::env::var_os("BOTTLE_TEST_WITHOUT_COMPOSE").is_some(),
        "`docker compose` is missing: run scripts/setup.sh, or set BOTTLE_TEST_WITHOUT_COMPOSE to test without it"
    );
    there
}

/// Reads a bundle with `docker compose config`, with a home directory and an environment that name nothing real.
pub(crate) fn compose_config(directory: &Path, file: &str, args: &[&str]) -> Result<String, String> {
    let home = directory.join("home-of-nobody");
    std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let output = Command::new("docker")
        .args(["compose", "--project-directory"])
        .arg(directory)
        .arg("-f")
        .arg(directory.join(file))
        .arg("config")
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // The plugins may be the user's own.
        .env("DOCKER_CONFIG", docker_config())
        .env("HOME", home)
        .env("SSH_AUTH_SOCK", directory.join("agent.sock"))
        .env("FORGE_TOKEN", "not-a-token")
        .env("EXAMPLE_API_KEY", "not-a-key")
        .env("ANTHROPIC_API_KEY", "not-a-key")
        .env("OPENAI_API_KEY", "not-a-key")
        .output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() && output.stderr.is_empty() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

fn docker_config() -> std::ffi::OsString {
    std::env::var_os("DOCKER_CONFIG").unwrap_or_else(|| {
        Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".docker").into_os_string()
    })
}

/// A service of a rendered compose.yaml.
pub(crate) fn service<'a>(compose: &'a Yaml, name: &str) -> &'a Yaml {
    compose.get("services").and_then(|services| services.get(name)).expect("the service is there")
}

/// What a service mounts: the source, the target, and whether it can't write there.
pub(crate) fn mounts<'a>(compose: &'a Yaml, name: &str) -> impl Iterator<Item = (&'a str, &'a str, bool)> {
    let text = |mount: &'a Yaml, key: &str| mount.get(key).and_then(Yaml::as_str).expect("a text");
    let volumes = service(compose, name).get("volumes").and_then(Yaml::as_sequence).expect("a list");
    volumes.iter().map(move |mount| {
        let read_only = mount.get("read_only").and_then(Yaml::as_bool).unwrap_or_default();
        (text(mount, "source"), text(mount, "target"), read_only)
    })
}

/// Which services mount a source, and whether they can't write there.
pub(crate) fn mounting(compose: &Yaml, volume: &str) -> BTreeSet<(String, bool)> {
    let services = compose.get("services").and_then(Yaml::as_mapping).expect("services");
    let names = services.keys().map(|name| name.as_str().expect("a text"));
    let mounts = names.flat_map(|name| {
        mounts(compose, name).map(move |(source, _, read_only)| (source, name.to_owned(), read_only))
    });
    mounts.filter(|(source, ..)| *source == volume).map(|(_, name, read_only)| (name, read_only)).collect()
}
