//! What is run: the sections of the command line, and what each becomes.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

use super::output;

/// The gate's own entrypoint, where the container has it.
const GATE_ENTRYPOINT: &str = "/etc/bottle/entrypoint.sh";

/// A sidecar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sidecar {
    Egress,
    GitGate,
    Supervise,
}

impl Sidecar {
    const ALL: [Self; 3] = [Self::Egress, Self::GitGate, Self::Supervise];

    /// Its name, which is also its subcommand.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::GitGate => "git-gate",
            Self::Supervise => "supervise",
        }
    }

    /// How the container's variables begin that are for it alone. A container has one environment.
    fn prefix(self) -> &'static str {
        match self {
            Self::Egress => "EGRESS_",
            Self::GitGate => "GIT_GATE_",
            Self::Supervise => "SUPERVISE_",
        }
    }
}

/// A sidecar and its arguments.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Section {
    pub(super) sidecar: Sidecar,
    pub(super) arguments: Vec<OsString>,
}

/// Takes `egress ARG... -- git-gate ARG...` apart.
///
/// # Errors
///
/// A name that no sidecar has, one that is there twice, or none at all.
pub(super) fn sections(words: &[OsString]) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    for words in words.split(|word| word == "--") {
        let Some((name, arguments)) = words.split_first() else {
            bail!("a sidecar's name is missing after `--`");
        };
        let Some(sidecar) = Sidecar::ALL.into_iter().find(|sidecar| name == sidecar.name()) else {
            let known = Sidecar::ALL.map(Sidecar::name).join(", ");
            bail!("there is no sidecar `{}`; there are {known}", name.display());
        };
        if sections.iter().any(|section| section.sidecar == sidecar) {
            bail!("`{}` is there twice", sidecar.name());
        }
        sections.push(Section { sidecar, arguments: arguments.to_vec() });
    }
    Ok(sections)
}

/// The users that arguments name: `--user=`, `--git-user=`, `--keys-user=`.
pub(super) fn users(arguments: &[OsString]) -> Result<Vec<u32>> {
    let texts = arguments.iter().filter_map(|argument| argument.to_str()?.strip_prefix("--"));
    let ids = texts.filter_map(|text| text.split_once('=').filter(|(name, _)| name.ends_with("user")));
    ids.map(|(name, id)| id.parse().with_context(|| format!("`--{name}={id}` names no user"))).collect()
}

/// A process that is kept running.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// All of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// The users that nobody else has: whatever runs as one of them is its own.
    pub(super) users: Vec<u32>,
}

impl Process {
    /// What a section means, with what of the container's environment is for it: `PATH`, and what begins with its name.
    pub(super) fn new(
        section: Section,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let Section { sidecar, mut arguments } = section;
        let own = |(name, value): (OsString, OsString)| {
            if name == "PATH" {
                return Some((name, value));
            }
            let name = name.to_str()?.strip_prefix(sidecar.prefix())?.to_owned();
            (!name.is_empty()).then(|| (name.into(), value))
        };
        let (program, before) = match sidecar {
            Sidecar::GitGate => (PathBuf::from("/bin/sh"), vec![GATE_ENTRYPOINT.into()]),
            Sidecar::Egress | Sidecar::Supervise => {
                let program = std::env::current_exe().context("could not find this program")?;
                (program, vec![OsStr::new("sidecar").to_owned(), sidecar.name().into()])
            }
        };
        let users = users(&arguments)?;
        arguments.splice(0..0, before);
        Ok(Self {
            name: sidecar.name(),
            program,
            arguments,
            environment: environment.filter_map(own).collect(),
            users,
        })
    }

    /// Starts it. What it prints goes to the log.
    pub(super) fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned()).current_dir("/");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(output::to(self.name, std::io::stdout())?);
        command.stderr(output::to(self.name, std::io::stderr())?);
        command.spawn()
    }
}
