//! The end-to-end tests: real containers, a real upstream, real git.
//!
//! They need a Docker engine and Compose (`scripts/setup.sh`). Where there is none, each test is reported as ignored, by
//! its name; so are those that need an image or a program which this machine doesn't have and nobody fetches for them. Those
//! of one lane share bottles, and run one after another, each on branches of its own; the lanes run side by side, since most
//! of the time is spent waiting for containers. With `BOTTLE_E2E_SIDECARS=bundled` each bottle has one container for all its
//! sidecars; without it those of the group `bundled` have.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a harness prints, and a test's own files need no path in their errors"
)]

mod agent;
#[path = "../shared/blocks.rs"]
mod blocks;
mod bottles;
mod bundled;
mod doctor;
mod egress;
mod failures;
mod gate;
mod https;
mod images;
mod own_preset;
mod pipelock;
mod presets;
mod start;
mod supervise;
mod workspace;
mod world;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::{iter, ptr};

use libtest_mimic::{Arguments, Failed, Trial};

/// A test: its name, and what it does.
type Test = (&'static str, fn() -> Result<(), Failed>);

/// A group of tests that use the same bottles: its name, its lane and the tests.
type Group = (&'static str, &'static Lane, &'static [&'static [Test]]);

/// Whose turn it is.
type Lane = Mutex<()>;

static FIRST: Lane = Mutex::new(());
static SECOND: Lane = Mutex::new(());
static THIRD: Lane = Mutex::new(());
static FOURTH: Lane = Mutex::new(());

const GROUPS: [Group; 15] = [
    ("agent", &FIRST, &[agent::TESTS]),
    ("gate", &FIRST, &[gate::TESTS]),
    ("failures", &FIRST, &[failures::TESTS]),
    ("https", &THIRD, &[https::TESTS]),
    ("bottles", &THIRD, &[bottles::TESTS]),
    ("egress", &SECOND, egress::TESTS),
    ("workspace", &THIRD, &[workspace::TESTS]),
    ("doctor", &FOURTH, &[doctor::TESTS]),
    ("bundled", &FOURTH, &[bundled::TESTS]),
    ("pipelock", &FOURTH, &[pipelock::TESTS]),
    ("images", &FOURTH, &[images::TESTS]),
    ("presets", &FOURTH, &[presets::TESTS]),
    ("own_preset", &FOURTH, &[own_preset::TESTS]),
    ("start", &FOURTH, &[start::TESTS]),
    ("supervise", &THIRD, &[supervise::TESTS]),
];

/// Enough that a test that waits for its lane doesn't keep the other lanes from their next ones.
const THREADS: usize = 12;

fn trials(lane: &'static Lane, ignored: &[&str]) -> impl Iterator<Item = Trial> {
    GROUPS.into_iter().filter(move |(_, of, _)| ptr::eq(*of, lane)).flat_map(move |(group, _, tests)| {
        tests.iter().copied().flatten().map(move |(name, test)| {
            let run = move || {
                let _turn = lane.lock().unwrap_or_else(PoisonError::into_inner);
                test()
            };
            Trial::test(format!("{group}::{name}"), run).with_ignored_flag(ignored.contains(&group))
        })
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(THREADS);
    if let Some(mistake) = world::mistake() {
        println!("{mistake}");
        return ExitCode::FAILURE;
    }
    let missing = if arguments.list { None } else { world::missing() };
    if let Some(missing) = &missing {
        println!("the end-to-end tests are not run: {missing}");
    }
    let mut ignored = Vec::new();
    if missing.is_some() {
        ignored.extend(GROUPS.map(|(group, ..)| group));
    } else if !arguments.list {
        for (group, missing) in [
            ("pipelock", pipelock::missing()),
            ("images", images::missing()),
            ("presets", presets::missing()),
        ] {
            if let Some(missing) = missing {
                println!("the tests of {group} are not run: {missing}");
                ignored.push(group);
            }
        }
    }
    let mut lanes = [&FIRST, &SECOND, &THIRD, &FOURTH].map(|lane| trials(lane, &ignored));
    // By turns, so that all lanes begin at once.
    let turns = iter::from_fn(|| {
        let turn: Vec<Trial> = lanes.iter_mut().filter_map(Iterator::next).collect();
        (!turn.is_empty()).then_some(turn)
    });
    let trials = turns.flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    world::end();
    conclusion.exit_code()
}
