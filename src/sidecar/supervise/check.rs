//! The container's health check: asks `/healthz` on the operator's side, where the agent can take no connection away.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cli::EXIT_OK;
use crate::sidecar::listen::Listen;

/// Check that supervise is healthy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address for the operator
    #[arg(long, value_name = "ADDR")]
    operator: Listen,
}

/// How long it may take.
const TIME: Duration = Duration::from_secs(3);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Runs the check: prints what supervise says, and gives an error when that isn't health.
pub(super) fn run(args: &Args) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(async {
        let address = args.operator.address().await?;
        let asked = tokio::time::timeout(TIME, ask(address)).await;
        asked
            .context("no answer in time")
            .flatten()
            .with_context(|| format!("supervise does not answer on {address}"))
    })?;
    ensure!(status == StatusCode::OK, "supervise is not healthy: {body}");
    writeln!(std::io::stdout(), "{}", body.trim_end())?;
    Ok(EXIT_OK)
}

async fn ask(address: SocketAddr) -> Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let request = Request::get("/healthz").header("host", "localhost").body(Empty::<bytes::Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}
