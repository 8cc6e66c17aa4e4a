//! The listener: accepts the agent's connections, keeps the mirrors fresh and hands each connection to git's daemon.

mod advertisement;
mod connection;
mod control;
mod freshness;
mod grants;
mod mirror;
mod refs;
mod request;

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indexmap::IndexMap;
use tokio::net::{TcpListener, UnixListener};

use super::audit::{Audit, Record};
use super::message::Failure;
use super::scan::{Gitleaks, serve_scan};
use super::upstream::Surroundings;
use super::{broker, config, control as protocol, lifeline, log};
use crate::cli::EXIT_OK;
use crate::fs;
use crate::policy::gate::{GatePolicy, Repository};
use crate::policy::reason::Reason;
use crate::process::{self, Limits};
use crate::sidecar::listen::Listen;
use connection::Connection;
use freshness::Served;
use grants::Watch;
use mirror::Mirror;

/// How long one scan may take.
pub(super) const SCAN_LIMIT: Duration = Duration::from_mins(5);

/// How long the audit log may take to write what is left.
const FLUSH: Duration = Duration::from_secs(1);

/// Listen for the agent and serve the mirrors
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy
    #[arg(long)]
    pub(super) policy: PathBuf,
    /// The directory for sockets, shared with the broker
    #[arg(long)]
    pub(super) run: PathBuf,
    #[command(flatten)]
    pub(super) settings: Settings,
}

/// What `start` passes on to the listener.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Settings {
    /// The directory for the mirrors
    #[arg(long)]
    state: PathBuf,
    /// The directory with the hooks
    #[arg(long)]
    hooks: PathBuf,
    /// The scanner for secrets
    #[arg(long, default_value = "/usr/local/bin/gitleaks")]
    gitleaks: PathBuf,
    /// The scanner's rules
    #[arg(long)]
    gitleaks_config: PathBuf,
    /// The address to listen on
    #[arg(long)]
    listen: Listen,
    /// The directory of the operator's grants
    #[arg(long, value_name = "DIR")]
    grants: Option<PathBuf>,
    /// The directory of the audit log and of what is in force, which supervise reads
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// A name under which the agent knows the gate (can be repeated)
    #[arg(long = "host", default_values_t = ["git-gate".to_owned(), "localhost".to_owned()])]
    hosts: Vec<String>,
    /// Connections at a time
    #[arg(long, default_value_t = 64)]
    max_connections: usize,
    /// Seconds for the upstream to tell its refs
    #[arg(long, default_value_t = 20)]
    check_limit: u64,
    /// Seconds without progress after which an operation is given up
    #[arg(long, default_value_t = 60)]
    stall_limit: u64,
    /// Seconds for one operation on an upstream, and for one connection
    #[arg(long, default_value_t = 3600)]
    total_limit: u64,
}

impl Settings {
    /// The arguments from which the same settings are parsed.
    pub(super) fn to_args(&self) -> Vec<std::ffi::OsString> {
        let Self {
            state,
            hooks,
            gitleaks,
            gitleaks_config,
            listen,
            grants,
            report,
            hosts,
            max_connections,
            check_limit,
            stall_limit,
            total_limit,
        } = self;
        let mut args: Vec<std::ffi::OsString> = vec![
            "--state".into(),
            state.into(),
            "--hooks".into(),
            hooks.into(),
            "--gitleaks".into(),
            gitleaks.into(),
            "--gitleaks-config".into(),
            gitleaks_config.into(),
        ];
        args.push(format!("--listen={listen}").into());
        for (name, directory) in [("--grants", grants), ("--report", report)] {
            if let Some(directory) = directory {
                args.extend([name.into(), directory.into()]);
            }
        }
        args.extend(hosts.iter().map(|host| format!("--host={host}").into()));
        args.push(format!("--max-connections={max_connections}").into());
        args.push(format!("--check-limit={check_limit}").into());
        args.push(format!("--stall-limit={stall_limit}").into());
        args.push(format!("--total-limit={total_limit}").into());
        args
    }
}

/// The listener's whole state.
struct Gate {
    settings: Settings,
    surroundings: Surroundings,
    /// Where git keeps its daemon.
    daemon: PathBuf,
    repositories: IndexMap<String, Arc<Served>>,
    grants: Watch,
    /// None where there is no report directory.
    audit: Option<Arc<Audit>>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// Runs the listener until its stdin is closed. One line on stdout tells the address on which it listens.
pub(super) fn run(args: Args) -> Result<u8> {
    let policy = config::load(&args.policy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(serve(args, policy));
    // Children of connections that are still there die with the container.
    runtime.shutdown_background();
    code
}

async fn serve(args: Args, policy: GatePolicy) -> Result<u8> {
    let Args { policy: policy_file, run, settings } = args;
    let stdin = lifeline::stdin()?;
    fs::create_dir_all(&settings.state)?;
    let _only = only_one(&settings.state)?;
    let gate = Arc::new(gate(policy, policy_file, run.clone(), settings).await?);
    let control = bind(&protocol::socket(&run))?;
    tokio::spawn(control::serve(Arc::clone(&gate), control));
    let scanner = Gitleaks {
        binary: gate.settings.gitleaks.clone(),
        config: gate.settings.gitleaks_config.clone(),
        time_limit: SCAN_LIMIT,
    };
    let scan =
        serve_scan(bind(&run.join("gate").join("scan.sock"))?, scanner, |text| log::line("scan", &text));
    tokio::spawn(async move {
        if let Err(error) = scan.await {
            log::line("scan", &format!("no warm scanner any more, each push starts its own: {error}"));
        }
    });
    let listen = gate.settings.listen.address().await?;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("could not listen on {listen}"))?;
    let address = listener.local_addr()?;
    if let Some(audit) = &gate.audit {
        audit.start(address);
    }
    let audit = gate.audit.clone();
    log::line("serve", &format!("bottle {} listens on {address}", env!("CARGO_PKG_VERSION")));
    writeln!(io::stdout(), "{}", serde_json::json!({ "ready": "serve", "listening": address }))?;
    io::stdout().flush()?;
    let ended = tokio::select! {
        () = lifeline::closed(stdin) => Ok(EXIT_OK),
        error = connection::accept(gate, listener) => Err(error),
    };
    if let Some(audit) = audit {
        audit.close(FLUSH);
    }
    ended
}

/// Two listeners on one volume would repair each other's running work.
fn only_one(state: &Path) -> Result<std::fs::File> {
    let path = state.join(".lock");
    let file = fs::open_lock(&path)?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another gate uses `{}`", state.display());
    }
    Ok(file)
}

fn bind(socket: &Path) -> Result<UnixListener> {
    broker::remove_stale(socket)?;
    UnixListener::bind(socket).with_context(|| format!("could not listen on `{}`", socket.display()))
}

async fn gate(policy: GatePolicy, policy_file: PathBuf, run: PathBuf, settings: Settings) -> Result<Gate> {
    let limits = Limits {
        total: Duration::from_secs(settings.total_limit),
        stall: Duration::from_secs(settings.stall_limit),
    };
    let program = std::env::current_exe().context("could not find this program")?;
    let (gitleaks, gitleaks_config) = (settings.gitleaks.clone(), settings.gitleaks_config.clone());
    let (directory, report) = (settings.grants.clone(), settings.report.clone());
    if let Some(report) = &report {
        fs::create_dir_all(report)?;
    }
    let audit = report.as_deref().map(Audit::open).transpose()?.map(Arc::new);
    let grants = Watch::start(&policy, directory.as_deref(), report.as_deref(), audit.clone())?;
    let surroundings = Surroundings {
        program,
        policy: policy_file,
        run,
        gitleaks,
        gitleaks_config,
        grants: directory,
        report,
        limits,
    };
    let gitconfig = surroundings.run.join("gate").join("gitconfig");
    fs::write_atomic(&gitconfig, surroundings.gitconfig().as_bytes(), 0o600)?;
    let mut repositories = IndexMap::new();
    let named = policy.repositories.into_iter().map(|(name, repository)| (name, Some(repository)));
    for (name, repository) in named.chain([(config::HEALTH.to_owned(), None)]) {
        let served = mirror(&name, repository, &settings, &surroundings).await?;
        repositories.insert(name, Arc::new(served));
    }
    let daemon = exec_path(&surroundings).await?.join("git-daemon");
    Ok(Gate { settings, surroundings, daemon, repositories, grants, audit, connections: Mutex::default() })
}

async fn mirror(
    name: &str,
    repository: Option<Repository>,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Result<Served> {
    let mirror = Mirror {
        name: name.to_owned(),
        directory: settings.state.join(format!("{name}.git")),
        hooks: settings.hooks.clone(),
        surroundings: surroundings.clone(),
        repository,
    };
    mirror.prepare().await?;
    if mirror.repository.is_none() {
        mirror.fill_health().await?;
    }
    Ok(Served::new(mirror, Duration::from_secs(settings.check_limit)))
}

async fn exec_path(surroundings: &Surroundings) -> Result<PathBuf> {
    let mut command = tokio::process::Command::new("git");
    command.arg("--exec-path").env_clear().envs(surroundings.environment());
    let output = process::run(command, surroundings.limits, process::Group::Own).await?;
    let text = String::from_utf8(output.stdout).context("git's exec path is not UTF-8")?;
    Ok(PathBuf::from(text.trim()))
}

impl Gate {
    /// Puts a decision into the audit log, unless it is about the health check.
    fn record(&self, record: &Record<'_>) {
        if record.repository != config::HEALTH
            && let Some(audit) = &self.audit
        {
            audit.record(record);
        }
    }

    fn repository(&self, name: &str) -> Result<&Arc<Served>, Failure> {
        self.repositories.get(name).ok_or_else(|| {
            let known: Vec<_> = self
                .repositories
                .keys()
                .filter(|name| *name != config::HEALTH)
                .map(|name| format!("`{name}`"))
                .collect();
            let known = if known.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there is {}", known.join(", "))
            };
            Failure::new(Reason::RepositoryUnknown, format!("no repository `{name}` in this bottle; {known}"))
        })
    }

    fn connection(&self, number: u64) -> Result<Arc<Connection>, Failure> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections
            .get(&number)
            .cloned()
            .ok_or_else(|| Failure::inside(format!("there is no connection {number}")))
    }
}
