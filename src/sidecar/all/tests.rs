//! The supervisor with programs of a test's own.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::keeper::{Ending, FIRST_PAUSE, keep, pause};
use super::left::belongs;
use super::process::{Process, Section, Sidecar, sections, users};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// A shell script that is kept running, and where it leaves its marks.
struct Kept {
    place: TempDir,
    end: watch::Sender<Ending>,
    task: JoinHandle<()>,
}

impl Kept {
    fn new(script: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (end, ending) = watch::channel(Ending::Not);
        let process = Process {
            name: "test",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), format!("cd {}; {script}", place.path().display()).into()],
            environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            users: Vec::new(),
        };
        Self { place, end, task: tokio::spawn(keep(process, ending)) }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    fn lines(&self, name: &str) -> usize {
        crate::fs::read_to_string(&self.path(name)).map_or(0, |text| text.lines().count())
    }

    async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}

#[test]
fn each_section_is_a_sidecar_with_its_arguments() {
    let read = sections(&words("egress --user=1 --x -- git-gate --git-user=2 --keys-user=3")).unwrap();
    let [egress, gate] = read.as_slice() else { panic!("{read:?}") };
    assert_eq!((egress.sidecar, gate.sidecar), (Sidecar::Egress, Sidecar::GitGate));
    assert_eq!(egress.arguments, words("--user=1 --x"));
    assert_eq!(users(&gate.arguments).unwrap(), [2, 3]);
    for text in ["agent", "egress -- egress", "egress -- ", "egress --", "--user=1"] {
        assert!(sections(&words(text)).is_err(), "`{text}` was accepted");
    }
    assert!(users(&words("--user=root")).is_err());
}

#[test]
fn a_process_gets_nothing_of_the_environment_but_what_is_its_own() {
    let environment = || {
        [
            ("PATH", "/bin"),
            ("EGRESS_BOTTLE_CREDENTIAL_a", "one"),
            ("GIT_GATE_BOTTLE_CREDENTIAL_a", "two"),
            ("EGRESS_", "three"),
            ("HOME", "/root"),
            ("SSL_CERT_FILE", "/x"),
        ]
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .into_iter()
    };
    let of = |sidecar| {
        let process = Process::new(Section { sidecar, arguments: Vec::new() }, environment()).unwrap();
        let text = |text: OsString| text.into_string().unwrap();
        process.environment.into_iter().map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let path = pair("PATH", "/bin");
    assert_eq!(of(Sidecar::Egress), [path.clone(), pair("BOTTLE_CREDENTIAL_a", "one")]);
    assert_eq!(of(Sidecar::GitGate), [path.clone(), pair("BOTTLE_CREDENTIAL_a", "two")]);
    assert_eq!(of(Sidecar::Supervise), [path]);
}

#[tokio::test]
async fn the_environment_of_a_process_is_what_it_was_given_and_nothing_of_the_supervisors() {
    let kept = Kept::new("env >all; mv all environment; exec sleep 60");
    eventually("it has started", || kept.path("environment").is_file()).await;
    let text = crate::fs::read_to_string(&kept.path("environment")).unwrap();
    let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    // The shell adds these itself.
    let given: Vec<_> = names.filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(given, ["PATH"], "{text}");
    kept.end.send_replace(Ending::Asked);
    kept.ended().await;
}

#[tokio::test]
async fn what_ends_is_started_again_whatever_its_status_is() {
    let kept = Kept::new(
        "echo >>starts; [ $(wc -l <starts) -gt 1 ] || exit 0; [ $(wc -l <starts) -gt 2 ] || exit 3; exec sleep 60",
    );
    eventually("it was started three times", || kept.lines("starts") == 3).await;
    kept.end.send_replace(Ending::Asked);
    kept.ended().await;
}

#[test]
fn the_pauses_grow_and_are_short_again_once_it_has_run() {
    let at_once = Duration::from_millis(5);
    let mut last = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        last = pause(last, at_once);
        pauses.push(last.as_millis());
    }
    assert_eq!(pauses[..4], [100, 200, 400, 800]);
    assert_eq!(pauses[10..], [60_000, 60_000]);
    assert_eq!(pause(last, Duration::from_secs(11)), FIRST_PAUSE);
}

#[tokio::test]
async fn the_signal_is_passed_on_and_what_was_begun_comes_to_its_end() {
    let kept =
        Kept::new("trap 'sleep 0.2; touch drained; exit 0' TERM; touch up; while :; do sleep 0.02; done");
    eventually("it is up", || kept.path("up").is_file()).await;
    kept.end.send_replace(Ending::Asked);
    let drained = kept.path("drained");
    let place = tokio::time::timeout(PATIENCE, kept.task).await.map(|_| kept.place).unwrap();
    assert!(drained.is_file());
    drop(place);
}

#[tokio::test]
async fn one_that_does_not_listen_is_ended_by_a_second_signal() {
    let kept = Kept::new("trap '' TERM; touch up; while :; do sleep 0.02; done");
    eventually("it is up", || kept.path("up").is_file()).await;
    kept.end.send_modify(Ending::advance);
    kept.end.send_modify(Ending::advance);
    kept.ended().await;
}

#[tokio::test]
async fn nothing_is_started_again_while_all_is_ending() {
    let kept = Kept::new("echo >>starts; exit 1");
    eventually("it waits for its next start", || kept.lines("starts") >= 4).await;
    // Its keeper is the only one who could start it, and has ended.
    kept.end.send_replace(Ending::Asked);
    kept.ended().await;
}

#[test]
fn only_what_still_runs_as_one_of_the_users_is_left_behind() {
    let status = |state: &str, user: &str| format!("Name:\tgit\nState:\t{state}\nUid:\t{user}\t0\t0\t0\n");
    assert!(belongs(&status("S (sleeping)", "9419"), &[9418, 9419]));
    for (state, user) in [("Z (zombie)", "9419"), ("S (sleeping)", "0"), ("R (running)", "94190")] {
        assert!(!belongs(&status(state, user), &[9418, 9419]), "{state} {user}");
    }
    // A name is a process's own to choose, and may have lines.
    assert!(!belongs("Name:\tx\nState:\tS\n", &[0]));
}

#[test]
fn a_line_of_a_process_has_its_name_before_it_and_can_do_nothing_to_a_terminal() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("log");
    let log = crate::fs::append(&path, 0o600).unwrap();
    let script = "printf 'one\\ntwo \\033[2J\\nthree'";
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .stdout(super::output::to("gate", log).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let read = |path: &Path| crate::fs::read_to_string(path).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while read(&path).lines().count() < 3 {
        assert!(std::time::Instant::now() < deadline, "{}", read(&path));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(read(&path), "gate | one\ngate | two ?[2J\ngate | three\n");
}
