//! The end-to-end tests: real containers, a real upstream, real git.
//!
//! They need a Docker engine and Compose (`scripts/setup.sh`). Where there is none, each test is reported as ignored, by
//! its name. They run one after another against bottles that they share, each on branches of its own.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a harness prints, and a test's own files need no path in their errors"
)]

mod agent;
mod bottles;
mod egress;
mod failures;
mod gate;
mod https;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test: its name, and what it does.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share containers.
    arguments.test_threads = Some(1);
    let missing = if arguments.list { None } else { world::missing() };
    if let Some(missing) = &missing {
        println!("the end-to-end tests are not run: {missing}");
    }
    let groups: [(&str, &[&[Test]]); 6] = [
        ("agent", &[agent::TESTS]),
        ("gate", &[gate::TESTS]),
        ("failures", &[failures::TESTS]),
        ("https", &[https::TESTS]),
        ("bottles", &[bottles::TESTS]),
        ("egress", egress::TESTS),
    ];
    let trials = groups.into_iter().flat_map(|(group, tests)| {
        let ignored = missing.is_some();
        tests.iter().copied().flatten().map(move |(name, test)| {
            Trial::test(format!("{group}::{name}"), *test).with_ignored_flag(ignored)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    world::end();
    conclusion.exit_code()
}
