//! Compose, through its own command line, for the project in the working directory.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::command::Command;

/// The service of all sidecars in one container (`sidecars: bundled`).
pub(crate) const BUNDLED: &str = "sidecars";

/// A sidecar: the service in whose container it runs where it has one of its own, and the user who may read what is its own
/// there. Root in a sidecar's container has no right to override permissions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sidecar {
    /// The service.
    pub(crate) service: &'static str,
    /// The user's number.
    user: &'static str,
}

/// Egress.
pub(crate) const EGRESS: Sidecar = Sidecar { service: "egress", user: "9443" };
/// The git gate.
pub(crate) const GATE: Sidecar = Sidecar { service: "git-gate", user: "9418" };
/// Supervise.
pub(crate) const SUPERVISE: Sidecar = Sidecar { service: "supervise", user: "9444" };

/// Runs a command as a sidecar's user in its container and gives its output.
///
/// # Errors
///
/// Compose is not there, or fails.
pub(crate) fn exec(sidecar: Sidecar, command: &[&str]) -> Result<Vec<u8>> {
    in_one_or_the_other(sidecar, |service| {
        compose(&[&["exec", "-T", "--user", sidecar.user, service], command].concat())
    })
}

/// Does something with a sidecar's own service, and where that fails with the one of all sidecars: which of them there is
/// would be a question as long as the thing itself. A failure is told of the first.
fn in_one_or_the_other<T>(sidecar: Sidecar, act: impl Fn(&str) -> Result<T>) -> Result<T> {
    act(sidecar.service).or_else(|error| act(BUNDLED).map_err(|_| error))
}

/// The port of this machine at which a sidecar is published; the first, where there are several.
///
/// # Errors
///
/// Compose is not there, or fails, or no port is published.
pub(crate) fn published(sidecar: Sidecar) -> Result<u16> {
    in_one_or_the_other(sidecar, published_of)
}

fn published_of(service: &str) -> Result<u16> {
    let port = ps(&[service])?
        .into_iter()
        .filter_map(|value| value.pointer("/Publishers").and_then(Value::as_array).cloned())
        .flatten()
        .filter_map(|publisher| publisher.pointer("/PublishedPort").and_then(Value::as_u64))
        .find_map(|port| u16::try_from(port).ok().filter(|port| *port > 0));
    port.with_context(|| format!("no port of `{service}` is published"))
}

/// The container of a service.
#[derive(Debug)]
pub(crate) struct Container {
    /// The project that it is part of.
    pub(crate) project: String,
    /// The service.
    pub(crate) service: String,
    /// What it does, in the engine's words: `running`, `exited`, ….
    pub(crate) state: String,
}

/// The project's containers, those that do not run too.
///
/// # Errors
///
/// Compose is not there, or fails.
pub(crate) fn containers() -> Result<Vec<Container>> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let containers = ps(&["--all"])?.into_iter().filter_map(|value| {
        Some(Container {
            project: text(&value, "Project")?,
            service: text(&value, "Service")?,
            state: text(&value, "State")?,
        })
    });
    Ok(containers.collect())
}

fn ps(args: &[&str]) -> Result<Vec<Value>> {
    let output = compose(&[&["ps", "--format", "json"], args].concat())?;
    // One object a line, or a list of them: that depends on Compose's version.
    let values = serde_json::Deserializer::from_slice(&output).into_iter::<Value>().map_while(Result::ok);
    Ok(values
        .flat_map(|value| match value {
            Value::Array(values) => values,
            value => vec![value],
        })
        .collect())
}

fn compose(args: &[&str]) -> Result<Vec<u8>> {
    Ok(Command::new("docker").args(["compose"]).args(args.iter().copied()).run()?)
}
