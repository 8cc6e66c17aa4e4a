//! Connections beyond the limit: told so at once, and never waited for by the listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::exchange::Exchange;
use crate::policy::reason::Reason;
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::http1::{Encoder, Framing, Version, write_response};
use crate::sidecar::egress::refusal::{Format, Refusal};

/// How many of them get the time to read the answer.
const TOLD: usize = 64;

/// How much time that is.
const LINGER: Duration = Duration::from_secs(1);

/// Those that are being told.
#[derive(Debug, Default)]
pub(super) struct Busy {
    told: Arc<AtomicUsize>,
}

impl Busy {
    /// Refuses a connection.
    pub(super) fn refuse(&mut self, stream: TcpStream, egress: &Arc<Egress>) {
        let refusal = Refusal::new(Reason::EgressBusy, "the agent has too many connections open");
        let mut exchange = Exchange::begin(egress, "");
        exchange.refused(&refusal);
        exchange.answered(refusal.status());
        exchange.end();
        if self.told.load(Ordering::Relaxed) >= TOLD {
            return;
        }
        let answer = refusal.answer(exchange.id(), Format::Json);
        let told = Arc::clone(&self.told);
        told.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LINGER, tell(stream, answer)).await;
            told.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Writes the answer, and reads until the agent has read it: closing with something unread would take the answer back.
async fn tell(
    mut stream: TcpStream,
    answer: http::Response<crate::sidecar::egress::body::Body>,
) -> Option<()> {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.ok()?.to_bytes();
    let framing = Framing::Length(bytes.len() as u64);
    let mut out = BytesMut::new();
    write_response(&mut out, Version::Http11, parts.status, &parts.headers, framing, true);
    Encoder::new(framing).data(&bytes, &mut out).ok()?;
    stream.write_all(&out).await.ok()?;
    stream.shutdown().await.ok()?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await.ok()? > 0 {}
    Some(())
}
