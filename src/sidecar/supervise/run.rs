//! The process: what it reads and opens, and how it ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::config::Places;
use super::desk::Desk;
use super::serve::serve;
use super::{agent, held, operator};
use crate::cli::EXIT_OK;
use crate::fs;
use crate::sidecar::listen::Listen;
use crate::sidecar::log;
use crate::sidecar::text::hex;
use crate::sidecar::user::become_user;

/// How often what is over is looked for at least.
const PERIOD: Duration = Duration::from_secs(1);
/// The file of the operator's token in the state directory.
pub(super) const TOKEN: &str = "token";

/// Where everything is.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Egress's policy
    #[arg(long, value_name = "FILE", requires = "egress_report")]
    egress_policy: Option<PathBuf>,
    /// The directory in which egress reports
    #[arg(long, value_name = "DIR")]
    egress_report: Option<PathBuf>,
    /// The directory in which egress takes credentials that the operator enters, sealed
    #[arg(long, value_name = "DIR", requires = "egress_report")]
    credentials: Option<PathBuf>,
    /// The git gate's policy
    #[arg(long, value_name = "FILE", requires = "gate_report")]
    gate_policy: Option<PathBuf>,
    /// The directory in which the git gate reports
    #[arg(long, value_name = "DIR")]
    gate_report: Option<PathBuf>,
    /// The directory of the grants, which egress and the git gate follow
    #[arg(long, value_name = "DIR")]
    grants: PathBuf,
    /// The directory of requests, decisions and the operator's token
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The address for the agent
    #[arg(long, value_name = "ADDR")]
    listen: Listen,
    /// The address for the operator
    #[arg(long, value_name = "ADDR")]
    operator: Listen,
    /// The port under which the operator's browser reaches that address [default: the address's own]
    #[arg(long, value_name = "PORT")]
    operator_port: Option<u16>,
    /// The user to become at the start; only root can
    #[arg(long, value_name = "ID")]
    user: Option<u32>,
}

/// Runs until a signal ends it.
pub(super) fn run(args: Serve) -> Result<u8> {
    let Serve {
        egress_policy,
        egress_report,
        credentials: letters,
        gate_policy,
        gate_report,
        grants,
        state,
        listen,
        operator,
        operator_port,
        user,
    } = args;
    if let Some(user) = user {
        become_user(user)?;
    }
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&grants)?;
    let token = token(&state)?;
    let places = Places { egress_policy, gate_policy, egress_report, gate_report, letters, grants, state };
    let desk = Arc::new(Desk::open(places)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve_all(desk, &token, &listen, (&operator, operator_port)))?;
    runtime.shutdown_background();
    Ok(EXIT_OK)
}

async fn serve_all(
    desk: Arc<Desk>,
    token: &str,
    listen: &Listen,
    (operator, port): (&Listen, Option<u16>),
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (for_agent, for_operator) =
        (bind(listen.address().await?).await?, bind(operator.address().await?).await?);
    let port = port.unwrap_or(for_operator.local_addr()?.port());
    let page = operator::router(Arc::clone(&desk), token, port)?;
    let version = env!("CARGO_PKG_VERSION");
    log::line("supervise", &format!("bottle {version} listens for the agent on {}", for_agent.local_addr()?));
    log::line("supervise", &format!("the operator's page is on {}", for_operator.local_addr()?));
    tokio::select! {
        _ = serve(for_agent, agent::router(Arc::clone(&desk), &agent::NAMES)) => bail!("supervise stopped listening"),
        _ = serve(for_operator, page) => bail!("supervise stopped listening"),
        () = look(&desk) => bail!("supervise stopped looking"),
        () = held::follow(&desk) => bail!("supervise stopped following egress"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    log::line("supervise", "ended");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("could not listen on {address}"))
}

/// Ends what is over, each at its time.
async fn look(desk: &Desk) {
    let mut told = String::new();
    loop {
        match desk.look() {
            Ok(_) => told.clear(),
            // Once, not every second.
            Err(error) if told == error.message => {}
            Err(error) => {
                log::line("supervise", &error.to_string());
                told = error.message;
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The operator's token: made at the first start, and kept.
fn token(state: &Path) -> Result<String> {
    let path = state.join(TOKEN);
    if let Some(bytes) = fs::read_if_exists(&path)? {
        let token = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
        return token.filter(|token| token.len() == 64).with_context(|| {
            format!("`{}` holds no token; remove it, and the next start makes a new one", path.display())
        });
    }
    let mut random = [0; 32];
    SystemRandom::new().fill(&mut random).ok().context("the system gives no random numbers")?;
    let token = hex(&random);
    fs::write_atomic(&path, token.as_bytes(), 0o600)?;
    Ok(token)
}
