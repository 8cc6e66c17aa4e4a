//! Bytes that wait for a verdict about the text in them.
//!
//! A text is asked about in windows, each of which begins with the end of the one before. Bytes leave when every window
//! that their text is in is allowed, so that what comes without a pause leaves in no part before all of it was seen.
//! Where the agent pauses, or has nothing more to say, what is there is asked about at once and leaves: the other side may
//! have to answer it before there is more. What comes after a pause is still asked about together with the end of what
//! came before.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Sleep, sleep};

use super::extract::Extract;
use super::question::Question;
use super::{Inspection, OVERLAP, WINDOW};
use crate::sidecar::egress::body::BodyError;

/// How long a pause is.
const PAUSE: Duration = Duration::from_millis(20);
/// Pieces that are shorter are put together.
const PIECE: usize = 4 << 10;
/// The most bytes that wait, whatever text is in them.
const MOST: usize = 4 * WINDOW;

/// A text, cut into windows.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// The end of the last window.
    tail: String,
    /// What no window had yet.
    fresh: String,
}

impl Windows {
    pub(super) fn push(&mut self, text: &str) {
        self.fresh.push_str(text);
    }

    fn is_full(&self) -> bool {
        self.tail.len() + self.fresh.len() >= WINDOW
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty()
    }

    /// The next window, with how many bytes of it are new; none where nothing is.
    pub(super) fn take(&mut self) -> Option<(String, usize)> {
        if self.fresh.is_empty() {
            return None;
        }
        let room = self.fresh.floor_char_boundary(WINDOW - self.tail.len());
        let rest = self.fresh.split_off(room);
        let new = std::mem::replace(&mut self.fresh, rest);
        let mut window = std::mem::take(&mut self.tail);
        window.push_str(&new);
        let from = window.ceil_char_boundary(window.len().saturating_sub(OVERLAP));
        self.tail.push_str(window.get(from..).unwrap_or_default());
        Some((window, new.len()))
    }
}

type Verdict = Pin<Box<dyn Future<Output = Result<(), BodyError>> + Send>>;

/// Bytes that wait.
pub(crate) struct Hold {
    inspection: Inspection,
    extract: Extract,
    windows: Windows,
    /// A text beside it, whose bytes stand among the others.
    aside: Windows,
    /// The bytes, each piece with where its text ends.
    waiting: VecDeque<(BytesMut, u64)>,
    /// How many there are.
    length: usize,
    /// Where the text ends that was pushed, and that was asked about.
    pushed: u64,
    asked: u64,
    /// Up to where the bytes of the text may leave.
    cleared: u64,
    /// The verdict that is waited for, and what it clears.
    verdict: Option<(Verdict, u64)>,
    /// What was not allowed; it stays so.
    refused: Option<BodyError>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether everything that is there is to be asked about.
    urgent: bool,
    ended: bool,
}

impl fmt::Debug for Hold {
    /// Says nothing of the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("length", &self.length)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Hold {
    pub(crate) fn new(inspection: Inspection) -> Self {
        Self {
            inspection,
            extract: Extract::default(),
            windows: Windows::default(),
            aside: Windows::default(),
            waiting: VecDeque::new(),
            length: 0,
            pushed: 0,
            asked: 0,
            cleared: 0,
            verdict: None,
            refused: None,
            pause: None,
            urgent: false,
            ended: false,
        }
    }

    /// Adds bytes that are to leave, and what is to be asked about for them.
    pub(crate) fn push(&mut self, bytes: &[u8], content: &[u8]) {
        self.content(content);
        self.length += bytes.len();
        self.pause = None;
        match self.waiting.back_mut() {
            // Few pieces, however the agent cuts what it sends.
            Some((last, end)) if last.len() + bytes.len() <= PIECE => {
                last.extend_from_slice(bytes);
                *end = self.pushed;
            }
            // Bytes of their own: a slice would keep what it was read into.
            _ => self.waiting.push_back((BytesMut::from(bytes), self.pushed)),
        }
    }

    /// Adds what is to be asked about for bytes that are added later.
    pub(crate) fn content(&mut self, content: &[u8]) {
        let before = self.windows.fresh.len();
        self.extract.push(content, &mut self.windows.fresh);
        self.pushed += (self.windows.fresh.len() - before) as u64;
    }

    /// Adds bytes that are to leave, whose content is no part of the text; it is asked about at once.
    pub(crate) fn push_aside(&mut self, bytes: &[u8], content: &[u8]) {
        self.push(bytes, &[]);
        self.aside.push(&String::from_utf8_lossy(content));
    }

    /// Says that nothing waits for more: a message is complete.
    pub(crate) fn settle(&mut self) {
        self.urgent = true;
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            let before = self.windows.fresh.len();
            self.extract.finish(&mut self.windows.fresh);
            self.pushed += (self.windows.fresh.len() - before) as u64;
        }
    }

    /// Whether it takes more: not while a verdict is waited for, so that what waits stays small.
    pub(crate) fn takes(&self) -> bool {
        self.verdict.is_none() && !self.ended
    }

    /// Whether nothing waits, though the end may not have been seen yet.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.windows.is_empty() && self.aside.is_empty() && self.verdict.is_none()
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The next bytes that may leave; none where all of them have left and nothing more comes. It is pending while it waits
    /// for a verdict, for a pause, or for more.
    ///
    /// # Errors
    ///
    /// The text isn't allowed; nothing of it that waits may leave.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            if let Some(refused) = &self.refused {
                return Poll::Ready(Err(refused.clone()));
            }
            if let Some((verdict, clears)) = &mut self.verdict {
                match ready!(verdict.as_mut().poll(context)) {
                    Ok(()) => self.cleared = *clears,
                    Err(error) => self.refused = Some(error),
                }
                (self.verdict, self.pause) = (None, None);
                continue;
            }
            if let Some((window, _)) = self.aside.take() {
                self.ask(window, self.cleared);
                continue;
            }
            if let Some((bytes, _)) = self.waiting.pop_front_if(|(_, end)| *end <= self.cleared) {
                self.length -= bytes.len();
                return Poll::Ready(Ok(Some(bytes.freeze())));
            }
            if self.windows.is_full() {
                self.ask_next();
                continue;
            }
            if self.ended || self.urgent || self.length >= MOST {
                if self.windows.is_empty() {
                    (self.cleared, self.urgent) = (self.pushed, false);
                    if self.waiting.is_empty() {
                        return if self.ended { Poll::Ready(Ok(None)) } else { Poll::Pending };
                    }
                } else {
                    self.ask_next();
                }
                continue;
            }
            if self.waiting.is_empty() {
                return Poll::Pending;
            }
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE)));
            ready!(pause.as_mut().poll(context));
            (self.pause, self.urgent) = (None, true);
        }
    }

    /// Asks about the next window.
    fn ask_next(&mut self) {
        let Some((window, new)) = self.windows.take() else { return };
        self.asked += new as u64;
        let is_last = self.windows.is_empty() && (self.ended || self.urgent || self.length >= MOST);
        let clears = if is_last { self.pushed } else { self.asked.saturating_sub(OVERLAP as u64) };
        self.ask(window, clears);
    }

    fn ask(&mut self, window: String, clears: u64) {
        let inspection = self.inspection.clone();
        let verdict = async move { inspection.ask(Question::text(window)).await };
        self.verdict = Some((Box::pin(verdict), clears));
    }
}
