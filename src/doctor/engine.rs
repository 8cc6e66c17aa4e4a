//! The engine and Compose: whether they are there, and are what the bundle needs.

#![expect(clippy::unnecessary_wraps, reason = "all checks have one type")]

use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::subject::Engine;
use super::{Finding, Outcome, Subject};
use crate::engine::command::{Command, Failed};
use crate::plan::amount::bytes;
use crate::policy::reason::Reason;
use crate::sidecar::supervise::decisions::time;

/// The oldest engine that a bottle was seen to work on.
const OLDEST_ENGINE: (u64, u64) = (20, 10);
/// The oldest Compose whose documentation has all that the bundle uses.
const OLDEST_COMPOSE: (u64, u64) = (2, 20);
/// The most seconds by which two clocks may differ.
const MAX_SKEW: u64 = 5;
/// The room below which an image may not fit.
const LITTLE_ROOM: u64 = 2 << 30;

pub(super) fn engine(subject: &Subject<'_>) -> Outcome {
    match &subject.engine {
        Ok(engine) => Ok(of_engine(engine)),
        Err(failed @ Failed::Missing { .. }) => {
            Ok(vec![Finding::problem(Reason::EngineMissing, failed.to_string())])
        }
        Err(failed) if failed.to_string().contains("permission denied") => {
            let found = Finding::problem(Reason::EngineDown, failed.to_string());
            Ok(vec![found.mend("`sudo usermod --append --groups docker $USER`, and log in again")])
        }
        Err(failed) => Ok(vec![Finding::problem(Reason::EngineDown, failed.to_string())]),
    }
}

fn of_engine(engine: &Engine) -> Vec<Finding> {
    let mut findings = Vec::new();
    let server = |pointer: &str| {
        engine.version.pointer("/Server").and_then(|server| server.pointer(pointer)).and_then(Value::as_str)
    };
    let version = server("/Version").unwrap_or_default();
    let components = engine.version.pointer("/Server/Components").and_then(Value::as_array);
    let names = components.into_iter().flatten().filter_map(|component| component.get("Name")?.as_str());
    let podman = names.chain(server("/Platform/Name")).any(|name| name.contains("Podman"));
    if podman {
        findings.push(Finding::problem(Reason::EnginePodman, format!("the engine is Podman {version}")));
    } else if number(version).is_some_and(|version| version < OLDEST_ENGINE) {
        findings.push(Finding::problem(Reason::EngineOld, format!("the engine is Docker {version}")));
    }
    let system = engine.info("/OSType");
    if !matches!(system, "linux" | "") {
        findings.push(Finding::problem(
            Reason::EngineNotLinux,
            format!("the engine runs containers of `{system}`"),
        ));
    }
    let security = engine.info.pointer("/SecurityOptions").and_then(Value::as_array).into_iter().flatten();
    for option in security.filter_map(Value::as_str) {
        if option.starts_with("name=rootless") {
            findings.push(Finding::warning(Reason::EngineRootless, "the engine runs without root"));
        } else if option.starts_with("name=selinux") {
            findings.push(Finding::warning(
                Reason::EngineSelinux,
                "the engine labels its containers for SELinux",
            ));
        }
    }
    findings
}

pub(super) fn compose(_: &Subject<'_>) -> Outcome {
    let said = match Command::new("docker").args(["compose", "version", "--short"]).run() {
        Ok(said) => String::from_utf8_lossy(&said).trim().to_owned(),
        Err(failed) => return Ok(vec![Finding::problem(Reason::ComposeMissing, failed.to_string())]),
    };
    Ok(of_compose(&said).into_iter().collect())
}

fn of_compose(said: &str) -> Option<Finding> {
    let old = number(said).is_none_or(|version| version < OLDEST_COMPOSE);
    old.then(|| Finding::problem(Reason::ComposeOld, format!("`docker compose` is version `{said}`")))
}

/// The programs that would build and run the bottle, with their versions. What is not there is told by the checks.
pub(super) fn machine(subject: &Subject<'_>) -> Vec<(&'static str, String)> {
    let version = |arguments: &[&str]| {
        let said = Command::new("docker").args(arguments.iter().copied()).run().ok()?;
        Some(String::from_utf8_lossy(&said).trim().to_owned())
    };
    let engine = subject.engine.as_ref().ok();
    let engine = engine.and_then(|engine| engine.version.pointer("/Server/Version")?.as_str());
    let compose = version(&["compose", "version", "--short"]);
    // Compose builds with the classic builder where buildx isn't installed; the Dockerfiles are made for both.
    let builder = version(&["buildx", "version"])
        .unwrap_or_else(|| "classic, since buildx is not installed".to_owned());
    let builder = compose.is_some().then_some(builder);
    let all = [("engine", engine.map(str::to_owned)), ("compose", compose), ("builder", builder)];
    all.into_iter().filter_map(|(name, version)| Some((name, version?))).collect()
}

pub(super) fn memory(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let total = engine.info.pointer("/MemTotal").and_then(Value::as_u64);
    Ok(total.and_then(|total| short(&subject.plan.agent.memory, total)).into_iter().collect())
}

fn short(wanted: &str, total: u64) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "only the larger one is asked for")]
    let is_short = bytes(wanted) > total as f64;
    is_short.then(|| {
        let what = format!("the agent may use {wanted}, and the engine has {} MiB", total >> 20);
        Finding::warning(Reason::MemoryShort, what)
    })
}

pub(super) fn runtime(subject: &Subject<'_>) -> Outcome {
    let Some(runtime) = &subject.plan.agent.runtime else { return Ok(Vec::new()) };
    let known = subject.engine()?.info.get("Runtimes").and_then(Value::as_object);
    let known: Vec<&str> = known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
    if known.contains(&runtime.as_str()) {
        return Ok(Vec::new());
    }
    let what = format!("the engine knows no runtime `{runtime}`, only {}", known.join(", "));
    Ok(vec![Finding::problem(Reason::RuntimeMissing, what)])
}

pub(super) fn clock(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let asked = engine.asked.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(skew(engine.info("/SystemTime"), asked).into_iter().collect())
}

fn skew(engine: &str, now: u64) -> Option<Finding> {
    let seconds = (time::read(engine)? / 1000).abs_diff(now);
    (seconds > MAX_SKEW).then(|| {
        Finding::warning(
            Reason::ClockSkew,
            format!("the engine's clock differs from this machine's by {seconds} s"),
        )
    })
}

pub(super) fn disk(subject: &Subject<'_>) -> Outcome {
    let root =
        subject.engine.as_ref().map(|engine| engine.info("/DockerRootDir").to_owned()).unwrap_or_default();
    let places = [subject.place.directory.as_path(), Path::new(&root)];
    Ok(places
        .into_iter()
        .filter(|place| place.is_absolute() && place.exists())
        .filter_map(|place| room(place, LITTLE_ROOM))
        .collect())
}

fn room(place: &Path, enough: u64) -> Option<Finding> {
    let found = rustix::fs::statvfs(place).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let what = || format!("{} MiB are free for `{}`", free >> 20, place.display());
    (free < enough).then(|| Finding::warning(Reason::DiskFull, what()))
}

/// The first two numbers of a version.
fn number(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::{Engine, number, of_compose, of_engine, room, short, skew};
    use crate::policy::reason::Reason;

    fn reasons(version: serde_json::Value, info: serde_json::Value) -> Vec<Reason> {
        let (containers, networks, volumes) = (Vec::new(), Vec::new(), Vec::new());
        let engine = Engine { version, info, asked: UNIX_EPOCH, containers, networks, volumes };
        of_engine(&engine).into_iter().map(|finding| finding.reason).collect()
    }

    #[test]
    fn an_engine_that_is_old_of_another_kind_or_without_root_is_told() {
        let linux = json!({"OSType": "linux", "SecurityOptions": ["name=seccomp,profile=default"]});
        let docker =
            |version: &str| json!({"Server": {"Version": version, "Components": [{"Name": "Engine"}]}});
        assert_eq!(reasons(docker("20.10.24+dfsg1"), linux.clone()), []);
        assert_eq!(reasons(docker("28.5.1"), linux.clone()), []);
        assert_eq!(reasons(docker("19.03.15"), linux.clone()), [Reason::EngineOld]);
        let podman = json!({"Server": {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}});
        assert_eq!(reasons(podman, linux), [Reason::EnginePodman]);
        assert_eq!(reasons(docker("28.0.0"), json!({"OSType": "windows"})), [Reason::EngineNotLinux]);
        let guarded = json!({"OSType": "linux", "SecurityOptions": ["name=rootless", "name=selinux"]});
        assert_eq!(reasons(docker("28.0.0"), guarded), [Reason::EngineRootless, Reason::EngineSelinux]);
    }

    #[test]
    fn a_compose_that_is_old_or_of_no_known_version_is_told() {
        assert_eq!(of_compose("2.20.0"), None);
        for old in ["2.17.3", "1.29.2", "unknown"] {
            assert_eq!(of_compose(old).unwrap().reason, Reason::ComposeOld, "{old}");
        }
    }

    #[test]
    fn little_room_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(room(root.path(), 0), None);
        let finding = room(root.path(), u64::MAX).unwrap();
        assert_eq!(finding.reason, Reason::DiskFull);
        assert!(finding.what.contains(" MiB are free for `"), "{}", finding.what);
    }

    #[test]
    fn an_agent_that_may_use_more_than_there_is_is_told() {
        assert_eq!(short("4g", 4 << 30), None);
        assert_eq!(short("512m", 1 << 30), None);
        let finding = short("4g", 2 << 30).unwrap();
        assert_eq!(finding.reason, Reason::MemoryShort);
        assert_eq!(finding.what, "the agent may use 4g, and the engine has 2048 MiB");
    }

    #[test]
    fn versions_are_read_as_they_are_written() {
        for (text, wanted) in [("5.6.1", (5, 6)), ("v2.20.0-desktop.1", (2, 20)), ("2.30.3+ds", (2, 30))] {
            assert_eq!(number(text), Some(wanted), "{text}");
        }
        assert_eq!(number("unknown"), None);
    }

    #[test]
    fn clocks_that_differ_are_told_and_zones_are_no_difference() {
        assert_eq!(skew("1970-01-01T03:00:03.5+02:00", 3600), None);
        assert_eq!(skew("1970-01-01T02:00:10Z", 3600).unwrap().reason, Reason::ClockSkew);
    }
}
