//! Rendering: what is written, where, and that nothing else is touched.

mod egress;
mod escaping;
mod examples;
mod writing;

use std::path::Path;
use std::process::Command;

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
