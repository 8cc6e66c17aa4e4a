//! What an agent sends through a WebSocket.
//!
//! A message is one text, in however many frames it comes, and what may be the beginning of a secret is held back within
//! it. All messages together are another text: a secret that comes in several messages ends the connection before its last
//! part leaves, but a message is never kept waiting for the next one, as the other side may be waiting for it. Control
//! frames are a third text.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::BytesMut;

use super::body::MOST_KEPT;
use super::packed::unreadable;
use super::{Answer, COVER, Inspector, Place};
use crate::policy::reason::Reason;
use crate::scan::{Finding, Scanner};
use crate::sidecar::egress::audit::Noted;
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::websocket::{Checker, Part};

/// What a control frame has in its first byte (RFC 6455, section 5.2).
const CONTROL: u8 = 0x08;

/// The search through what a client sends.
pub(in super::super) struct Frames {
    inspector: Inspector,
    /// The message that is under way.
    message: Scanner,
    /// All messages, and all control frames.
    messages: Scanner,
    control: Scanner,
    frame: Frame,
    /// Where in the stream the control frame began that is under way.
    open_control: Option<u64>,
    /// What it has said: 125 bytes at most (RFC 6455, section 5.5).
    said: Vec<u8>,
    /// Where in the messages each of them ended, as far as it may still count.
    borders: VecDeque<u64>,
    /// How many bytes of messages there were, and how many before the one that is under way.
    seen: u64,
    begun: u64,
    /// What is held back, and the places in it where payload of messages stands.
    held: BytesMut,
    payload: VecDeque<Payload>,
    /// How many bytes were taken and passed on.
    taken: u64,
    released: u64,
    scanned: u64,
}

/// The frame that is under way.
#[derive(Default)]
struct Frame {
    /// The first byte: FIN and the opcode.
    first: Option<u8>,
    /// The last four bytes of the head: the mask.
    mask: [u8; 4],
    /// How many bytes of the payload there were.
    at: usize,
}

/// A piece of payload of a message: where it stands in the messages, where in the stream, and how it is masked.
struct Payload {
    place: Range<u64>,
    stream: u64,
    mask: [u8; 4],
    at: usize,
}

impl Frames {
    pub(in super::super) fn new(inspector: Inspector) -> Self {
        Self {
            message: inspector.scanner(),
            messages: inspector.scanner(),
            control: inspector.scanner(),
            inspector,
            frame: Frame::default(),
            open_control: None,
            said: Vec::new(),
            borders: VecDeque::new(),
            seen: 0,
            begun: 0,
            held: BytesMut::new(),
            payload: VecDeque::new(),
            taken: 0,
            released: 0,
            scanned: 0,
        }
    }

    /// Checks the next bytes, and gives how many of them were taken and what can be passed on now.
    ///
    /// # Errors
    ///
    /// A violation of the protocol, or a secret: the connection must be broken.
    pub(in super::super) fn pass(
        &mut self,
        checker: &mut Checker,
        bytes: &[u8],
    ) -> Result<(usize, BytesMut), Refusal> {
        let mut found = Vec::new();
        let taken = checker.check_each(bytes, |part| self.part(part, &mut found));
        let taken =
            taken.map_err(|violation| Refusal::new(Reason::RequestMalformed, violation.to_string()))?;
        for (finding, place) in found {
            self.judge(&finding, place)?;
        }
        if self.held.len() > MOST_KEPT {
            return Err(unreadable("too much of it can't be decided").into());
        }
        let end = self.decided();
        let passed = usize::try_from(end.saturating_sub(self.released)).unwrap_or(usize::MAX);
        let passed = self.held.split_to(passed.min(self.held.len()));
        self.released += passed.len() as u64;
        while self.payload.front().is_some_and(|payload| {
            payload.stream + (payload.place.end - payload.place.start) <= self.released
        }) {
            self.payload.pop_front();
        }
        Ok((taken, passed))
    }

    /// How many bytes were searched since this was asked last, and what was found.
    pub(in super::super) fn take_seen(&mut self) -> (u64, Vec<Noted>) {
        (std::mem::take(&mut self.scanned), self.inspector.take_noted())
    }

    fn part(&mut self, part: Part<'_>, found: &mut Vec<(Finding, Option<Place>)>) {
        match part {
            Part::Head(head) => {
                for byte in head {
                    if *self.frame.first.get_or_insert(*byte) & CONTROL != 0 {
                        self.open_control.get_or_insert(self.taken);
                    }
                    let [_, b, c, d] = self.frame.mask;
                    self.frame.mask = [b, c, d, *byte];
                }
                self.hold(head);
            }
            Part::Message(payload) => {
                let plain = self.unmasked(payload);
                let place = self.seen..self.seen + payload.len() as u64;
                let (stream, mask, at) = (self.taken, self.frame.mask, self.frame.at);
                self.payload.push_back(Payload { place: place.clone(), stream, mask, at });
                self.hold(payload);
                self.frame.at += payload.len();
                let begun = self.begun;
                self.message
                    .push(&plain, &mut |finding| found.push((moved(finding, begun), Some(Place::Open))));
                self.search_all(&plain, found);
                self.seen = place.end;
            }
            Part::Control(payload) => {
                let plain = self.unmasked(payload);
                self.hold(payload);
                self.frame.at += payload.len();
                self.scanned += plain.len() as u64;
                self.said.extend_from_slice(&plain);
                self.control.push(&plain, &mut |finding| found.push((finding, Some(Place::Fixed))));
            }
            Part::End => {
                let Frame { first, .. } = std::mem::take(&mut self.frame);
                if self.open_control.take().is_some() {
                    // What began in it may go on in the next one, and is still known then.
                    let mut alone = self.inspector.scanner();
                    alone.push(&self.said, &mut |finding| found.push((finding, Some(Place::Fixed))));
                    alone.finish(&mut |finding| found.push((finding, Some(Place::Fixed))));
                    self.said.clear();
                }
                // FIN, and no control frame.
                if first.is_some_and(|first| first & (0x80 | CONTROL) == 0x80) {
                    self.inspector.renew();
                    let mut message = std::mem::replace(&mut self.message, self.inspector.scanner());
                    let begun = self.begun;
                    message.finish(&mut |finding| found.push((moved(finding, begun), Some(Place::Open))));
                    self.begun = self.seen;
                    // Of messages without a byte there is one border.
                    if self.borders.back() != Some(&self.seen) {
                        self.borders.push_back(self.seen);
                    }
                }
            }
        }
    }

    /// Searches all messages as one text. What lies within one of them is found there.
    fn search_all(&mut self, plain: &[u8], found: &mut Vec<(Finding, Option<Place>)>) {
        let open = self.seen.saturating_sub(self.messages.held() as u64);
        while self.borders.front().is_some_and(|border| *border <= open) {
            self.borders.pop_front();
        }
        self.scanned += plain.len() as u64;
        let borders = &self.borders;
        self.messages.push(plain, &mut |finding| {
            if borders.iter().any(|border| finding.place.start < *border && *border < finding.place.end) {
                found.push((finding, None));
            }
        });
    }

    fn unmasked(&self, payload: &[u8]) -> Vec<u8> {
        let mask = self.frame.mask.iter().cycle().skip(self.frame.at % 4);
        payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        self.taken += bytes.len() as u64;
    }

    /// Judges a finding; without a place it began in a message that has left.
    fn judge(&mut self, finding: &Finding, place: Option<Place>) -> Result<(), Refusal> {
        if self.inspector.judge(finding, place.unwrap_or(Place::Fixed))? == Answer::Pass {
            return Ok(());
        }
        let Range { start, end } = finding.place;
        let mut covered = 0;
        for Payload { place, stream, mask, at } in &self.payload {
            let from = start.max(place.start);
            let length = end.min(place.end).saturating_sub(from);
            let before = from.saturating_sub(place.start);
            let here =
                (stream + before).checked_sub(self.released).and_then(|here| usize::try_from(here).ok());
            let Some(bytes) = here.and_then(|here| self.held.get_mut(here..)) else { continue };
            let shift = at + usize::try_from(before % 4).unwrap_or_default();
            let masks = mask.iter().cycle().skip(shift % 4);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            for (byte, mask) in bytes.iter_mut().zip(masks).take(length) {
                *byte = COVER ^ mask;
                covered += 1;
            }
        }
        if covered == end - start {
            return Ok(());
        }
        Err(self.inspector.too_late(finding))
    }

    /// Up to where the stream is decided.
    fn decided(&self) -> u64 {
        // A control frame goes on whole.
        self.decided_messages().min(self.open_control.unwrap_or(u64::MAX))
    }

    fn decided_messages(&self) -> u64 {
        let held = self.message.held().max(self.messages.held()) as u64;
        // No more than the message that is under way.
        let open = self.seen.saturating_sub(held).max(self.begun);
        if open >= self.seen {
            return self.taken;
        }
        let holds = |payload: &&Payload| payload.place.contains(&open);
        self.payload
            .iter()
            .find(holds)
            .map_or(self.taken, |payload| payload.stream + (open - payload.place.start))
    }
}

/// A finding in all messages that was found in one of them.
fn moved(finding: Finding, begun: u64) -> Finding {
    let place = finding.place.start + begun..finding.place.end + begun;
    Finding { place, ..finding }
}
