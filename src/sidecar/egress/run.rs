//! From the command line to a proxy that listens, and from a signal to its end.

use std::io;
use std::net::SocketAddr;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use super::audit::{Audit, Event};
use super::credential::become_user;
use super::entered::{self, Entered};
use super::limits::Limits;
use super::live::{Live, Snapshot};
use super::metrics::Metrics;
use super::pipelock::Scanner;
use super::tls::{Authority, Roots};
use super::upstream::Upstream;
use super::{Egress, Serve, admin, session};
use crate::cli::EXIT_OK;
use crate::fs;
use crate::sidecar::audit::Readers;
use crate::sidecar::listen::Listen;
use crate::sidecar::log;
use crate::sidecar::report::{Report, Reporter};

/// How many connections may wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: u32 = 4096;
/// How long the drain may take beyond its own limit, before the process ends anyway.
const DRAIN_SLACK: Duration = Duration::from_millis(500);
/// How long the audit log may take to write what is left.
const FLUSH: Duration = Duration::from_secs(1);

/// Runs the proxy until a signal ends it.
pub(super) fn run(args: Serve, limits: Limits) -> Result<u8> {
    raise_file_limit();
    let (listen, admin) = (args.listen.clone(), args.admin);
    let egress = Arc::new(open(args, limits)?);
    let log = Flushed(Arc::clone(&egress.audit));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(listen, admin, egress));
    // What is still open ends here, and is recorded.
    runtime.shutdown_background();
    let graceful = ended?;
    log.0.event(Event::Shutdown { graceful });
    drop(log);
    log::line("egress", if graceful { "ended" } else { "ended with connections under way" });
    Ok(EXIT_OK)
}

/// Reads and opens everything but the addresses.
fn open(args: Serve, limits: Limits) -> Result<Egress> {
    let Serve { policy, listen: _, admin: _, state, trust, grants, report, credentials, user, bundled } =
        args;
    if let Some(user) = user {
        // Before there is another thread: a user is a thread's.
        become_user(user, &Live::open(&policy, None, None, None)?.now().policy)?;
    }
    fs::create_dir_all(&state)?;
    let entered = credentials.map(|directory| Entered::open(directory, &state)).transpose()?;
    let kept = entered.as_ref().map(|entered| entered.kept().to_owned());
    let live = Live::open(&policy, grants, report.as_deref(), kept)?;
    let extra: Vec<PathBuf> = live.now().policy.extra_ca.iter().map(PathBuf::from).collect();
    let roots = Roots::load(&extra)?;
    if roots.skipped > 0 {
        log::line("egress", &format!("{} of the system's certificates can't be read", roots.skipped));
    }
    fs::create_dir_all(&trust)?;
    let authority = Authority::open(&state, &trust, &roots)?;
    let upstream = Upstream::new(&roots, &limits, bundled)?;
    let reporter = report.as_deref().map(|directory| Reporter::start("egress", directory)).transpose()?;
    let audit = Arc::new(match &report {
        Some(report) => Audit::open(report, Readers::All)?,
        None => Audit::open(&state, Readers::Owner)?,
    });
    let (metrics, held) = (Metrics::default(), Arc::new(Semaphore::new(session::MOST_HELD)));
    let scanner = Arc::new(Scanner::new(&limits));
    let egress =
        Egress { live, authority, upstream, audit, reporter, entered, metrics, held, scanner, limits };
    tell(&egress);
    Ok(egress)
}

/// Writes what is left of the audit log, however the process ends.
struct Flushed(Arc<Audit>);

impl Drop for Flushed {
    fn drop(&mut self) {
        self.0.close(FLUSH);
    }
}

/// Every connection is a file descriptor or two; what the system gives is taken.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // It stays as it is where it can't be raised, and connections beyond it wait.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Serves until a signal comes and the drain is over, and tells whether every connection came to its own end.
async fn serve(listen: Listen, admin: SocketAddr, egress: Arc<Egress>) -> Result<bool> {
    let mut signals = Signals::new()?;
    let listen = listen.address().await?;
    let (listener, admin_listener) = (bind(listen)?, bind(admin)?);
    let (listen, admin) = (listener.local_addr()?, admin_listener.local_addr()?);
    egress.upstream.avoid(vec![listen, admin]);
    let version = env!("CARGO_PKG_VERSION");
    log::line("egress", &format!("bottle {version} listens for the agent on {listen}"));
    log::line("egress", &format!("health, metrics and the policy are on {admin}"));
    std::panic::set_hook(Box::new(panic_reporter(Arc::clone(&egress.audit))));
    let generation = egress.live.now().generation;
    egress.audit.event(Event::Start { generation, listen, admin });
    // From before the first change there can be: what changes before this is looked at would never be told.
    let changes = Changes { snapshots: egress.live.subscribe(), problems: egress.live.problems() };
    tokio::spawn(follow(Arc::clone(&egress), changes));
    egress.live.watch().context("could not watch the policy")?;
    entered::watch(&egress).context("could not watch for credentials")?;
    tokio::spawn(admin::serve(admin_listener, Arc::clone(&egress)));
    let (drain, draining) = watch::channel(false);
    let mut session = std::pin::pin!(session::serve(listener, Arc::clone(&egress), draining));
    tokio::select! {
        () = &mut session => bail!("egress stopped listening"),
        () = signals.next() => {}
    }
    log::line("egress", "ending: no new connections, and open requests have their time");
    drain.send_replace(true);
    tokio::select! {
        () = &mut session => {}
        () = tokio::time::sleep(egress.limits.drain + DRAIN_SLACK) => {}
        // Whoever asks twice is in a hurry.
        () = signals.next() => {}
    }
    Ok(egress.metrics.open.load(Ordering::Relaxed) == 0)
}

/// Binds an address that an earlier process may have left behind in `TIME_WAIT`.
fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| format!("could not listen on {address}"))
}

/// Tells supervise what is in force.
pub(super) fn tell(egress: &Egress) {
    let Some(reporter) = &egress.reporter else { return };
    let make = |credentials| {
        let snapshot = egress.live.now();
        let grants = snapshot.grants.iter().map(|(name, _)| name.clone()).collect();
        let problem = egress.live.problem();
        reporter.tell(Report { generation: snapshot.generation, grants, problem, credentials });
    };
    match &egress.entered {
        // What is told last must be what is known last.
        Some(entered) => entered.in_turn(|| make(Some(entered.report(&egress.live.now().credentials)))),
        None => make(None),
    }
}

/// What `follow` is woken by.
struct Changes {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    problems: watch::Receiver<Option<String>>,
}

/// Acts on each change of the policy and its files.
async fn follow(egress: Arc<Egress>, Changes { mut snapshots, mut problems }: Changes) {
    let first = egress.live.problem();
    if let Some(problem) = first.as_deref() {
        egress
            .audit
            .event(Event::Policy { generation: egress.live.now().generation, problem: Some(problem) });
    }
    loop {
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
                egress.upstream.clear();
            }
            changed = problems.changed() => if changed.is_err() {
                return;
            }
        }
        tell(&egress);
        let problem = egress.live.problem();
        let generation = egress.live.now().generation;
        egress.audit.event(Event::Policy { generation, problem: problem.as_deref() });
    }
}

/// A panic is told by its place alone: its message may hold what a request held.
pub(super) fn panic_reporter(audit: Arc<Audit>) -> impl Fn(&PanicHookInfo<'_>) {
    move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        audit.event(Event::Panic { place: &place });
    }
}

/// The signals that end egress.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
