//! The container's health check: asks `/healthz`, or for what is in force `/policy`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::{Method, StatusCode};

use super::LIMITS;
use crate::cli::EXIT_OK;
use crate::sidecar::egress::http1;

/// Check that egress is healthy
#[derive(Debug, clap::Args)]
pub(in crate::sidecar::egress) struct Args {
    /// The admin address
    #[arg(long, value_name = "ADDR")]
    admin: SocketAddr,
    /// Print the policy and the grants that are in force instead
    #[arg(long)]
    policy: bool,
}

/// How long each step may take.
const TIME: Duration = Duration::from_secs(3);
/// The most bytes of an answer.
const MAX_ANSWER: u64 = 64 << 20;

/// Runs the check: prints what egress says, and gives an error when that isn't health.
pub(in crate::sidecar::egress) fn run(args: &Args) -> Result<u8> {
    let page = if args.policy { "/policy" } else { "/healthz" };
    let (status, body) =
        ask(args.admin, page).with_context(|| format!("egress does not answer on {}", args.admin))?;
    if status != StatusCode::OK {
        bail!("egress is not healthy: {body}");
    }
    write!(std::io::stdout(), "{body}")?;
    Ok(EXIT_OK)
}

/// Asks, and gives the status and the body of the answer.
pub(super) fn ask(admin: SocketAddr, page: &str) -> Result<(StatusCode, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, TIME)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    write!(stream, "GET {page} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let Some((head, length)) = http1::parse_response(&answer, &Method::GET, LIMITS)? else {
        bail!("the answer ends within its head");
    };
    let body = answer.get(length..).unwrap_or_default();
    Ok((head.status, String::from_utf8_lossy(body).into_owned()))
}
