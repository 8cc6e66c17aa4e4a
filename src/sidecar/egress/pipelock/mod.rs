//! The second opinion: what the agent wrote is shown to pipelock's Scan API before any of it leaves, and before a
//! credential is added to it (docs/src/pipelock.md).
//!
//! [`Inspection`] is one request's way to it, [`Hold`] keeps bytes back until the text in them is allowed. Whatever isn't
//! a plain permission is a refusal: a scanner that is slow, gone or says something new lets nothing through.

mod answer;
mod call;
mod extract;
mod frames;
mod hold;
mod question;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub(crate) use self::call::{Figures, Scanner};
pub(crate) use self::frames::Frames;
pub(crate) use self::hold::Hold;
use self::question::Question;
use crate::policy::pipelock::MAX_URL;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::refusal::Refusal;

/// The most bytes of text that are asked about at a time. The interface takes eight times as much; a request holds as
/// much in memory, and waits for it, before its first byte leaves.
pub(crate) const WINDOW: usize = 64 << 10;

/// How much of a text is asked about again with what follows it. Nothing that is shorter can hide on a border, and so
/// much is kept back until what follows is allowed too.
pub(crate) const OVERLAP: usize = 8 << 10;

/// What was asked for one request.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    verdicts: AtomicU32,
    micros: AtomicU64,
    /// Whether the URL was denied.
    url: AtomicBool,
}

impl Tally {
    /// The verdicts, and how long they took together, in microseconds; none where nothing was asked.
    pub(crate) fn told(&self) -> Option<(u32, u64)> {
        let verdicts = self.verdicts.load(Ordering::Relaxed);
        (verdicts > 0).then(|| (verdicts, self.micros.load(Ordering::Relaxed)))
    }

    /// Whether the URL was denied: what is in it must not be told.
    pub(crate) fn has_denied_url(&self) -> bool {
        self.url.load(Ordering::Relaxed)
    }

    fn add(&self, time: Duration) {
        self.verdicts.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// One request's way to the scanner.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    scanner: Arc<Scanner>,
    /// `host:port`.
    authority: Arc<str>,
    id: Arc<str>,
    tally: Arc<Tally>,
}

impl Inspection {
    /// Begins for the request with this id, where the policy has a scanner at `url`.
    pub(crate) fn begin(scanner: &Arc<Scanner>, url: &str, id: &str) -> Self {
        // A policy with another scheme was refused when it was read; this would be no address.
        let authority = url.strip_prefix("http://").unwrap_or_default().into();
        Self { scanner: Arc::clone(scanner), authority, id: id.into(), tally: Arc::default() }
    }

    /// What has been asked for it so far.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Asks about the URL and the headers of a request, as the agent wrote them.
    ///
    /// # Errors
    ///
    /// Either isn't allowed.
    pub(crate) async fn head(&self, url: &str, fields: &str) -> Result<(), Refusal> {
        if url.len() > MAX_URL {
            let detail = format!("the scanner takes a URL of at most {MAX_URL} bytes");
            return Err(Refusal::new(Reason::HeadTooLarge, detail));
        }
        let asked_about_url = async {
            let verdict = self.ask(Question::url(url.to_owned())).await;
            if verdict.as_ref().is_err_and(|error| error.reason == Reason::ScannerDenied) {
                self.tally.url.store(true, Ordering::Relaxed);
            }
            verdict
        };
        tokio::try_join!(asked_about_url, self.text(fields))?;
        Ok(())
    }

    /// Asks about a text, however long it is.
    ///
    /// # Errors
    ///
    /// A part of it isn't allowed.
    async fn text(&self, text: &str) -> Result<(), BodyError> {
        let mut windows = hold::Windows::default();
        windows.push(text);
        while let Some((window, _)) = windows.take() {
            self.ask(Question::text(window)).await?;
        }
        Ok(())
    }

    async fn ask(&self, question: Question) -> Result<(), BodyError> {
        let started = tokio::time::Instant::now();
        let verdict = self.scanner.ask(&self.authority, &question, &self.id).await;
        self.tally.add(started.elapsed());
        verdict
    }
}

/// Header fields as text, a line each.
pub(crate) fn written<'a>(fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        text.push('\n');
    }
    text
}

/// A refusal for want of a verdict.
fn unavailable(detail: impl Into<String>) -> BodyError {
    BodyError { reason: Reason::ScannerUnavailable, detail: detail.into() }
}
