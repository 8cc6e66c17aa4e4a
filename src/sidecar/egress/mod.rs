//! Egress: the proxy that is the agent's only way out.
//!
//! `session` takes what the agent sends, `upstream` sends what was allowed, and nothing of the one ever becomes the other
//! but through a parsed request that the rules allowed: there is no tunnel.
//!
//! ```text
//! agent ─▶ session (CONNECT, TLS, HTTP/1 or HTTP/2) ─▶ rules ─▶ inspect ─▶ credential ─▶ upstream (resolve, check, dial, TLS, pool)
//! agent ◀─ session ◀──────────────────────────────────────────── scrub ◀───── upstream
//! ```

pub mod http1;
pub mod websocket;

mod admin;
mod audit;
mod body;
mod credential;
mod entered;
mod limits;
mod live;
mod metrics;
mod pipelock;
pub(crate) mod refusal;
mod run;
mod scrub;
mod session;
mod tls;
mod tools;
mod turns;
mod upstream;

pub(crate) use self::session::judge_unsent;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use tokio::sync::Semaphore;

use crate::sidecar::listen::Listen;
use crate::sidecar::report::Reporter;

/// Run the proxy that is the agent's only way out
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    serve: Option<Serve>,
    // Not within `Serve`: clap takes a group with a group in it for absent.
    #[command(flatten)]
    limits: limits::Limits,
}

/// What egress does beside being the proxy.
#[derive(Debug, clap::Subcommand)]
enum Part {
    Check(admin::check::Args),
}

/// Where everything is that the proxy needs.
#[derive(Debug, clap::Args)]
struct Serve {
    /// The rendered policy
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The address for the agent
    #[arg(long, value_name = "ADDR")]
    listen: Listen,
    /// The address for health, metrics and the effective policy
    #[arg(long, value_name = "ADDR")]
    admin: SocketAddr,
    /// The directory of the CA's key, and of the audit log where there is no report directory
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The directory of the CA's certificate and the trust bundle, which the agent reads
    #[arg(long, value_name = "DIR")]
    trust: PathBuf,
    /// The directory of the operator's grants
    #[arg(long, value_name = "DIR")]
    grants: Option<PathBuf>,
    /// The directory of the audit log and of what is in force, which supervise reads
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// The directory in which supervise leaves credentials that the operator enters, sealed
    #[arg(long, value_name = "DIR", requires = "report")]
    credentials: Option<PathBuf>,
    /// The user to become once the credentials' files are open; only root can
    #[arg(long, value_name = "ID")]
    user: Option<u32>,
    /// Other sidecars are in the same container: its addresses are no upstream's, and its /etc/hosts is the gate's
    #[arg(long)]
    bundled: bool,
}

/// What every connection shares.
#[derive(Debug)]
struct Egress {
    live: live::Live,
    authority: tls::Authority,
    upstream: upstream::Upstream,
    audit: Arc<audit::Audit>,
    /// Tells supervise what is in force, where there is one.
    reporter: Option<Reporter>,
    /// Takes the credentials that the operator enters, where somebody can.
    entered: Option<entered::Entered>,
    metrics: metrics::Metrics,
    /// The places for requests that are held while the operator is asked.
    held: Arc<Semaphore>,
    /// What asks the second scanner, where the policy has one.
    scanner: Arc<pipelock::Scanner>,
    limits: limits::Limits,
}

/// Runs egress until a signal ends it, or checks one that runs, and gives the exit code.
///
/// # Errors
///
/// A policy that can't be read, addresses that can't be bound, directories that can't be written: all of them before the
/// first connection is accepted.
pub fn run(args: Args) -> Result<u8> {
    let Args { part, serve, limits } = args;
    match (part, serve) {
        (Some(Part::Check(args)), _) => admin::check::run(&args),
        (None, Some(args)) => run::run(args, limits),
        (None, None) => bail!("`--policy` and the other options are missing"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::Part;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: super::Args,
    }

    const SERVE: &str = "egress --policy p --listen 127.0.0.1:0 --admin 127.0.0.1:0 --state s --trust t";

    #[test]
    fn egress_serves_without_a_subcommand_and_checks_with_one() {
        let serve = Line::try_parse_from(format!("{SERVE} --drain 7").split(' ')).unwrap().args;
        assert!(serve.part.is_none() && serve.serve.is_some());
        assert_eq!(serve.limits.drain.as_millis(), 7);
        let check = Line::try_parse_from("egress check --admin 127.0.0.1:1".split(' ')).unwrap().args;
        assert!(matches!(check.part, Some(Part::Check(_))));
    }

    #[test]
    fn what_is_missing_on_the_command_line_is_named() {
        for left_out in ["--policy p", "--state s", "--trust t", "--admin 127.0.0.1:0"] {
            let error =
                Line::try_parse_from(SERVE.replace(left_out, "").split_ascii_whitespace()).err().unwrap();
            assert!(error.to_string().contains(left_out.split(' ').next().unwrap()), "{error}");
        }
        assert!(Line::try_parse_from(["egress"]).is_err());
    }
}
