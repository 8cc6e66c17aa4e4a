//! Compose, through its own command line, for the project in the working directory.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::sidecar::text::neutral;

/// The most characters of what Compose says that an error repeats.
const MAX_TEXT: usize = 500;

/// Runs a command in a service's container and gives its output.
///
/// # Errors
///
/// Compose is not there, or fails.
pub(crate) fn exec(service: &str, command: &[&str]) -> Result<Vec<u8>> {
    let args = [&["exec", "-T", service], command].concat();
    compose(&args)
}

/// The port of this machine at which a service is published; the first, where there are several.
///
/// # Errors
///
/// Compose is not there, or fails, or no port is published.
pub(crate) fn published(service: &str) -> Result<u16> {
    let output = compose(&["ps", "--format", "json", service])?;
    // One object a line, or a list of them: that depends on Compose's version.
    let values = serde_json::Deserializer::from_slice(&output).into_iter::<Value>().map_while(Result::ok);
    let port = values
        .flat_map(|value| match value {
            Value::Array(values) => values,
            value => vec![value],
        })
        .filter_map(|value| value.pointer("/Publishers").and_then(Value::as_array).cloned())
        .flatten()
        .filter_map(|publisher| publisher.pointer("/PublishedPort").and_then(Value::as_u64))
        .find_map(|port| u16::try_from(port).ok().filter(|port| *port > 0));
    port.with_context(|| format!("no port of `{service}` is published"))
}

fn compose(args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("docker")
        .arg("compose")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("could not run `docker compose`")?;
    if !output.status.success() {
        let text: String = neutral(&output.stderr).chars().take(MAX_TEXT).collect();
        bail!("`docker compose {}` failed: {text}", args.join(" "));
    }
    Ok(output.stdout)
}
