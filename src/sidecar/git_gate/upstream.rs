//! How the gate's own git reaches an upstream, the same in the listener and in a hook.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::policy::gate::{HttpsUpstream, Repository, SshUpstream, Upstream};
use crate::process::Limits;

/// Names the repository to `ssh` and to the credential helper.
pub(crate) const REPOSITORY: &str = "BOTTLE_REPOSITORY";
/// Names the directory for sockets to every child of the listener.
pub(crate) const RUN: &str = "BOTTLE_GATE_RUN";
/// Names the policy to every child of the listener.
pub(crate) const POLICY: &str = "BOTTLE_GATE_POLICY";
/// Names the agent's connection to the hooks.
pub(crate) const CONNECTION: &str = "BOTTLE_CONNECTION";
/// Tells the access hook the one service and directory for which the connection was admitted.
pub(crate) const GRANTED: &str = "BOTTLE_GRANTED";
/// Names the scanner's program to the hooks.
pub(crate) const GITLEAKS: &str = "BOTTLE_GITLEAKS";
/// Names the scanner's rules to the hooks.
pub(crate) const GITLEAKS_CONFIG: &str = "BOTTLE_GITLEAKS_CONFIG";
/// Names the directory of the operator's grants to the hooks; not set where there is none.
pub(crate) const GRANTS: &str = "BOTTLE_GATE_GRANTS";
/// The directory in which the gate reports, and marks the grants that were used.
pub(crate) const REPORT: &str = "BOTTLE_GATE_REPORT";
/// Tells the hooks the limits, as two numbers of seconds.
pub(crate) const LIMITS: &str = "BOTTLE_GATE_LIMITS";

/// The URL by which git is told to reach the upstream. For SSH it carries the path as it is; user, host and port are
/// the broker's business.
pub(crate) fn url(repository: &Repository) -> String {
    match &repository.upstream {
        Upstream::Ssh(SshUpstream { user, host, path, .. }) if host.contains(':') => {
            format!("{user}@[{host}]:{path}")
        }
        Upstream::Ssh(SshUpstream { user, host, path, .. }) => format!("{user}@{host}:{path}"),
        Upstream::Https(HttpsUpstream { url, .. }) => url.clone(),
    }
}

/// Adds to a git command what it needs to reach the upstream of `name`. The rest of its environment is that of the
/// listener's children (see [`Surroundings::environment`]).
pub(crate) fn adorn(command: &mut Command, name: &str, repository: &Repository) {
    command.env(REPOSITORY, name);
    if let Upstream::Https(HttpsUpstream { ca_file: Some(file), .. }) = &repository.upstream {
        command.env("GIT_SSL_CAINFO", file);
    }
}

/// What the environment of the listener's children is made from.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// This program.
    pub(crate) program: PathBuf,
    /// The policy.
    pub(crate) policy: PathBuf,
    /// The directory for sockets.
    pub(crate) run: PathBuf,
    /// The scanner's program, an absolute path.
    pub(crate) gitleaks: PathBuf,
    /// The scanner's rules.
    pub(crate) gitleaks_config: PathBuf,
    /// The directory of the operator's grants.
    pub(crate) grants: Option<PathBuf>,
    /// The report directory.
    pub(crate) report: Option<PathBuf>,
    /// The limits for an operation on an upstream.
    pub(crate) limits: Limits,
}

impl Surroundings {
    /// The whole environment of a child of the listener: nothing is inherited but `PATH`.
    pub(crate) fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let mut path = self.program.parent().map(Path::as_os_str).unwrap_or_default().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let gate = self.run.join("gate");
        let (total, stall) = (self.limits.total.as_secs(), self.limits.stall.as_secs());
        let shared = [(GRANTS, &self.grants), (REPORT, &self.report)];
        let shared = shared.into_iter().filter_map(|(name, path)| Some((name, path.clone()?.into())));
        let mut environment = vec![
            ("PATH", path),
            ("LC_ALL", "C".into()),
            ("HOME", gate.clone().into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", gate.join("gitconfig").into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("GIT_SSH_VARIANT", "ssh".into()),
            ("GIT_SSH_COMMAND", format!("{} sidecar git-gate ssh", shell_quote(&self.program)).into()),
            (RUN, self.run.clone().into()),
            (POLICY, self.policy.clone().into()),
            (GITLEAKS, self.gitleaks.clone().into()),
            (GITLEAKS_CONFIG, self.gitleaks_config.clone().into()),
            (LIMITS, format!("{total} {stall}").into()),
        ];
        environment.extend(shared);
        environment
    }

    /// The text of the git configuration for every child of the listener.
    pub(crate) fn gitconfig(&self) -> String {
        let helper = config_quote(&format!("!{} sidecar git-gate credential", shell_quote(&self.program)));
        let stall = self.limits.stall.as_secs();
        format!(
            "[safe]\n\tdirectory = *\n\
             [protocol]\n\tallow = never\n\
             [protocol \"ssh\"]\n\tallow = always\n\
             [protocol \"https\"]\n\tallow = always\n\
             [http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1\n\tlowSpeedTime = {stall}\n\
             [credential]\n\thelper = {helper}\n\
             [transfer]\n\tunpackLimit = 1\n\
             [gc]\n\tauto = 0\n\
             [maintenance]\n\tauto = false\n\
             [core]\n\tfsmonitor = false\n\
             [push]\n\trecurseSubmodules = no\n\
             [fetch]\n\trecurseSubmodules = no\n"
        )
    }
}

fn shell_quote(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// Quotes a value for a git configuration file.
pub(crate) fn config_quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
