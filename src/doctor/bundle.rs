//! The bundle on disk: whether it is there, is what the manifest renders to, and is what Compose accepts.

use super::{Finding, Outcome, Subject};
use crate::engine::command::Command;
use crate::policy::reason::Reason;
use crate::render::{self, ComposeName, Target};

/// The compose file on disk: its name, and how it was rendered.
fn compose_file(subject: &Subject<'_>) -> Option<(String, ComposeName)> {
    let own = format!("compose.{}.yaml", subject.plan.slug);
    let names = [("compose.yaml".to_owned(), ComposeName::Single), (own, ComposeName::PerAgent)];
    names.into_iter().find(|(name, _)| subject.place.directory.join(name).is_file())
}

pub(super) fn drift(subject: &Subject<'_>) -> Outcome {
    let directory = subject.place.directory.clone();
    let Some((name, compose)) = compose_file(subject) else {
        let what = format!("`{}` has no compose.yaml", directory.display());
        return Ok(vec![Finding::problem(Reason::BundleMissing, what)]);
    };
    let binary = subject.place.binary.clone();
    let target = Target { directory, compose, devcontainer: false, binary };
    let drift =
        render::check(std::slice::from_ref(subject.bundle), &target).map_err(|error| error.to_string())?;
    // The headers of a unified diff: what it is about, not what the change is.
    let mut files: Vec<&str> = drift.diff.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
    files.truncate(8);
    Ok((!drift.diff.is_empty())
        .then(|| {
            Finding::problem(
                Reason::BundleDrift,
                format!("{name} is not what the manifest renders to: {}", files.join(", ")),
            )
        })
        .into_iter()
        .collect())
}

pub(super) fn compose(subject: &Subject<'_>) -> Outcome {
    let Some((name, compose)) = compose_file(subject) else {
        return Err("there is no compose file".to_owned());
    };
    let file: &[&str] = if compose == ComposeName::PerAgent { &["--file", &name] } else { &[] };
    let arguments = [&["compose"], file, &["config", "--quiet"]].concat();
    match Command::new("docker").args(arguments).directory(&subject.place.directory).run() {
        Ok(_) => Ok(Vec::new()),
        Err(failed) => Ok(vec![Finding::problem(Reason::ComposeRefuses, failed.to_string())]),
    }
}
