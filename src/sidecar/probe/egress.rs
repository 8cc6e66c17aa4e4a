//! One request through egress that it must refuse: the name is reserved and nobody's (RFC 6761, section 6.4).
//!
//! Its refusal shows all at once that egress is there, that it ends TLS itself, that the agent trusts its certificate,
//! and that it judges.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fs;

/// How long all of it may take. Egress was healthy just before.
const LIMIT: Duration = Duration::from_secs(10);

/// The most that an answer's head may have.
const MAX_HEAD: usize = 16 << 10;

/// The name that no route allows.
const NOBODY: &str = "probe.bottle.invalid";

/// Asks egress for what it must refuse.
///
/// # Errors
///
/// It is not there, its certificate is not one of the agent's, or what answers doesn't refuse as egress does.
pub(super) fn ask(address: &str, trust: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = client(trust)?;
    let asked = runtime.block_on(async { tokio::time::timeout(LIMIT, exchange(address, config)).await });
    asked.with_context(|| format!("egress did not answer within {} seconds", LIMIT.as_secs()))?
}

fn client(trust: &Path) -> Result<rustls::ClientConfig> {
    let pem = fs::read(trust)?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.with_context(|| format!("`{}` is no list of certificates", trust.display()))?;
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn exchange(address: &str, config: rustls::ClientConfig) -> Result<()> {
    let address = resolve(address).await?;
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("could not connect to egress at {address}"))?;
    stream
        .write_all(format!("CONNECT {NOBODY}:443 HTTP/1.1\r\nHost: {NOBODY}:443\r\n\r\n").as_bytes())
        .await?;
    let answer = head(&mut stream).await.context("egress does not answer a CONNECT")?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "egress answers a CONNECT with `{}`", first_line(&answer));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(ServerName::try_from(NOBODY)?, stream)
        .await
        .context("egress has no certificate that this container trusts")?;
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: {NOBODY}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let answer = head(&mut stream).await.context("egress does not answer a request")?;
    let refused = answer.lines().any(|line| line.to_ascii_lowercase().starts_with("x-bottle-reason:"));
    ensure!(refused, "what answers at {address} refuses nothing: `{}`", first_line(&answer));
    Ok(())
}

/// The address of `host:port`. A static glibc must not look names up itself.
pub(super) async fn resolve(address: &str) -> Result<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    let (host, port) = address.rsplit_once(':').context("the address of egress has no port")?;
    let port = port.parse().context("the address of egress has no port")?;
    let resolver = hickory_resolver::Resolver::builder_tokio()?.build()?;
    let found = resolver.lookup_ip(host).await.with_context(|| format!("`{host}` has no address here"))?;
    let first: IpAddr = found.iter().next().with_context(|| format!("`{host}` has no address here"))?;
    Ok(SocketAddr::new(first, port))
}

/// The head of an answer; what belongs to its body may be read with it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure!(bytes.len() < MAX_HEAD, "the answer has no end");
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the connection was closed");
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn first_line(answer: &str) -> String {
    answer
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_control())
        .take(100)
        .collect()
}
