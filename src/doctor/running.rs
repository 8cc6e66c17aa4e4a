//! What runs: the health of each container, and its last words where it isn't well.

use serde_json::Value;

use super::{Finding, Outcome, Subject};
use crate::engine::command::Command;
use crate::engine::compose::BUNDLED;
use crate::engine::docker::Resource;
use crate::policy::reason::Reason;
use crate::sidecar::all::NOT_HEALTHY;
use crate::sidecar::text::neutral;

/// How many lines of a log are looked at for the last one that says something.
const LINES: &str = "100";
/// The most characters of a line.
const MAX_LINE: usize = 300;

pub(super) fn containers(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let own: Vec<&Resource> = subject.own_containers(engine).collect();
    Ok(own
        .into_iter()
        .filter_map(|container| unwell(container).map(|state| finding(container, &state)))
        .collect())
}

/// What is wrong with a container; nothing where it is well, or was stopped.
fn unwell(container: &Resource) -> Option<String> {
    let code = container.value.pointer("/State/ExitCode").and_then(Value::as_i64).unwrap_or(0);
    let killed = container.value.pointer("/State/OOMKilled").and_then(Value::as_bool).unwrap_or(false);
    match (container.status(), container.text("/State/Health/Status")) {
        (_, _) if killed => Some("was ended since it needed more memory than it may have".to_owned()),
        ("restarting", _) => Some(format!("is started again and again, last after exit code {code}")),
        ("paused", _) => Some("is paused".to_owned()),
        ("running", "unhealthy") => Some("runs and is unhealthy".to_owned()),
        // 137 and 143 are what `docker compose stop` and `kill` leave.
        ("exited", _) if !matches!(code, 0 | 137 | 143) => Some(format!("ended with exit code {code}")),
        _ => None,
    }
}

fn finding(container: &Resource, state: &str) -> Finding {
    let service = container.service().unwrap_or(&container.name);
    let health = container.value.pointer("/State/Health/Log").and_then(Value::as_array);
    let health = health.and_then(|log| log.last()?.get("Output")?.as_str()).unwrap_or_default();
    let logs = Command::new("docker").args(["logs", "--tail", LINES, &container.id]).output();
    // The log of a sidecar is what it writes on stderr; what it writes on stdout is for programs.
    let logs = logs.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said: Vec<String> = if service == BUNDLED && health.contains(NOT_HEALTHY) {
        each(health, &logs)
    } else {
        [health.as_bytes(), &logs].into_iter().filter_map(last).collect()
    };
    let what = if said.is_empty() {
        format!("`{service}` {state}, without a word")
    } else {
        format!("`{service}` {state}: {}", said.join("; its log ends with: "))
    };
    Finding::problem(Reason::SidecarUnhealthy, what).mend(format!("see `docker compose logs {service}`"))
}

/// What each process of the one container says that isn't well: of its health, and at the end of its own log.
fn each(health: &str, logs: &[u8]) -> Vec<String> {
    let of = |line: &str| {
        let (name, problem) = line.split_once(NOT_HEALTHY)?;
        let own: Vec<u8> = logs
            .split(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_prefix(format!("{name} | ").as_bytes()))
            .flat_map(|line| [line, b"\n"].concat())
            .collect();
        let problem: String = neutral(problem.as_bytes()).chars().take(MAX_LINE).collect();
        let name = neutral(name.as_bytes());
        Some(match last(&own) {
            Some(words) => format!("{name}: {problem}; its log ends with: {words}"),
            None => format!("{name}: {problem}"),
        })
    };
    health.lines().filter_map(of).collect()
}

/// The last line that says something: of our own logs its message alone.
fn last(text: &[u8]) -> Option<String> {
    let lines = text.split(|byte| *byte == b'\n').rev();
    let line = lines.map(neutral).find(|line| !line.trim().is_empty())?;
    let message = serde_json::from_str::<Value>(&line).ok();
    let message = message.as_ref().and_then(|line| line.get("message")?.as_str()).unwrap_or(&line);
    Some(message.trim().chars().take(MAX_LINE).collect())
}

#[cfg(test)]
mod tests {
    use super::{each, last};

    #[test]
    fn of_several_processes_in_one_container_each_that_is_not_well_has_its_own_last_words() {
        let health = "egress: not healthy: the policy is bad\ngit-gate: ok\nsupervise: not healthy: no answer\nerror: red: egress, supervise\n";
        let log = b"egress | {\"message\":\"it broke\"}\ngit-gate | fine\nsupervise | one \x1b[2J\n{\"message\":\"started again\"}\n";
        assert_eq!(
            each(health, log),
            [
                "egress: the policy is bad; its log ends with: it broke",
                "supervise: no answer; its log ends with: one ?[2J"
            ]
        );
        assert_eq!(each("egress: not healthy: x\n", b""), ["egress: x"]);
    }

    #[test]
    fn the_last_words_are_a_harmless_line() {
        let log = b"{\"time\":\"1\",\"part\":\"egress\",\"message\":\"it broke\"}\n\n";
        assert_eq!(last(log).as_deref(), Some("it broke"));
        assert_eq!(last(b"one\ntwo \x1b[2J\n").as_deref(), Some("two ?[2J"));
        assert_eq!(last(b"\n \n"), None);
    }
}
