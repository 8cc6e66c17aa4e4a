//! The text that is scanned, in frames, and the way back from a line of it.
//!
//! `gitleaks stdin` reads its input in chunks of up to 100,000 bytes, each of which it searches by itself. Where a chunk
//! ends depends on how the pipe was filled, so that on a pipe a secret can lie across a border by chance, or by
//! somebody's design. Two more facts steer this module (all of them are held by tests against the real binary): a chunk
//! that ends with an empty line is taken as it is, and a first chunk that looks like a binary file makes gitleaks drop
//! the whole input without a word.
//!
//! The input is therefore a packet socket, and one packet is one chunk: at most [`FRAME`] bytes of one piece of text, a
//! line break, the canary, an empty line. A longer piece continues in the next frame, which repeats the last
//! [`OVERLAP`] bytes. The first packet holds nothing but a canary, so that no content is ever sniffed at.
//!
//! A piece with NUL bytes is searched in more views: without its NULs (UTF-32, keys with NULs sprinkled in), and as
//! the runs of characters that have a NUL after or before each (UTF-16 of either byte order, at any offset).

use std::io::{self, Read};

/// The most bytes of content in one frame.
pub const FRAME: usize = 80_000;
/// How much of a frame's end the next one repeats: more than the PEM form of an RSA key of 16,384 bits.
pub const OVERLAP: usize = 16_384;

/// Takes one frame to the scanner.
pub type Send<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Where a frame came from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// The frame's first line in the whole text, from 1.
    start: u64,
    /// The line of the canary.
    canary: u64,
    label: u64,
    /// The first line's number within the piece; none for a view whose lines are not the piece's own.
    line: Option<u64>,
}

/// Writes the text and keeps the way back.
pub struct Text<'a> {
    send: &'a mut Send<'a>,
    canary: String,
    next_line: u64,
    frames: Vec<Origin>,
    packet: Vec<u8>,
}

impl<'a> Text<'a> {
    /// Starts a text with the frame that holds nothing but the canary.
    pub fn start(canary: String, send: &'a mut Send<'a>) -> io::Result<Self> {
        send(format!("{canary}\n\n").as_bytes())?;
        let first = Origin { start: 1, canary: 1, label: u64::MAX, line: None };
        Ok(Self { send, canary, next_line: 3, frames: vec![first], packet: Vec::new() })
    }

    /// Writes one piece.
    pub fn put(&mut self, label: u64, mut bytes: &[u8]) -> io::Result<()> {
        self.stream(label, &mut bytes)
    }

    /// Writes one piece as it comes, however long it is.
    pub fn stream(&mut self, label: u64, reader: &mut dyn Read) -> io::Result<()> {
        let mut plain = Segments::new(label, Some(1));
        let mut views: Option<Views> = None;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = chunk.get(..length).unwrap_or_default();
            match &mut views {
                Some(views) => views.push(self, bytes)?,
                None if bytes.contains(&0) => {
                    // They begin with as much before the first NUL as a secret may have.
                    let tail = plain.held.len().saturating_sub(OVERLAP);
                    let mut begun = Views::new(label);
                    begun.push(self, plain.held.get(tail..).unwrap_or_default())?;
                    begun.push(self, bytes)?;
                    views = Some(begun);
                }
                None => {}
            }
            plain.push(self, bytes)?;
        }
        plain.end(self)?;
        views.map_or(Ok(()), |views| views.end(self))
    }

    /// Finishes the text and gives the way back.
    pub(super) fn finish(self) -> Map {
        Map { canary: self.canary, frames: self.frames }
    }

    fn frame(&mut self, label: u64, line: Option<u64>, content: &[u8]) -> io::Result<()> {
        self.packet.clear();
        self.packet.extend_from_slice(content);
        self.packet.push(b'\n');
        self.packet.extend_from_slice(self.canary.as_bytes());
        self.packet.extend_from_slice(b"\n\n");
        (self.send)(&self.packet)?;
        let canary = self.next_line + lines(content) + 1;
        self.frames.push(Origin { start: self.next_line, canary, label, line });
        self.next_line = canary + 2;
        Ok(())
    }
}

/// The views of a piece that has NUL bytes.
struct Views {
    without: Segments,
    wide: [(Wide, Segments); 2],
}

impl Views {
    fn new(label: u64) -> Self {
        let wide = [Order::Little, Order::Big].map(|order| (Wide::new(order), Segments::new(label, None)));
        Self { without: Segments::new(label, None), wide }
    }

    fn push(&mut self, text: &mut Text<'_>, bytes: &[u8]) -> io::Result<()> {
        self.without.push(text, &strip(bytes))?;
        self.wide.iter_mut().try_for_each(|(wide, segments)| segments.push(text, &wide.push(bytes)))
    }

    fn end(self, text: &mut Text<'_>) -> io::Result<()> {
        self.without.end(text)?;
        self.wide.into_iter().try_for_each(|(_, segments)| segments.end(text))
    }
}

/// One view of one piece, cut into frames.
struct Segments {
    label: u64,
    line: Option<u64>,
    held: Vec<u8>,
    /// How many of the held bytes the last frame has had.
    sent: usize,
}

impl Segments {
    fn new(label: u64, line: Option<u64>) -> Self {
        Self { label, line, held: Vec::new(), sent: 0 }
    }

    fn push(&mut self, text: &mut Text<'_>, bytes: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        while let Some(frame) = self.held.get(..FRAME) {
            text.frame(self.label, self.line, frame)?;
            let done = FRAME - OVERLAP;
            let passed = lines(frame.get(..done).unwrap_or_default());
            self.line = self.line.map(|line| line + passed);
            self.held.drain(..done);
            self.sent = OVERLAP;
        }
        Ok(())
    }

    fn end(self, text: &mut Text<'_>) -> io::Result<()> {
        if self.held.len() > self.sent { text.frame(self.label, self.line, &self.held) } else { Ok(()) }
    }
}

/// The characters that are paired with a NUL on one side, each run of at least four on a line of its own.
#[derive(Debug)]
struct Wide {
    order: Order,
    /// What the last byte left to be completed: a character that wants its NUL, or the NUL itself.
    half: Option<u8>,
    run: Vec<u8>,
    /// Whether the run was long enough and has begun to be given out.
    open: bool,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    /// The NUL comes second.
    Little,
    /// The NUL comes first.
    Big,
}

impl Wide {
    const SHORTEST: usize = 4;

    fn new(order: Order) -> Self {
        Self { order, half: None, run: Vec::new(), open: false }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes.iter().copied() {
            let text = matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
            let first = match self.order {
                Order::Little => text,
                Order::Big => byte == 0,
            };
            let character = match (self.order, self.half) {
                (Order::Little, Some(character)) if byte == 0 => Some(character),
                (Order::Big, Some(_)) if text => Some(byte),
                _ => None,
            };
            if let Some(character) = character {
                self.half = None;
                self.run.push(character);
                if self.open || self.run.len() >= Self::SHORTEST {
                    self.open = true;
                    out.append(&mut self.run);
                }
                continue;
            }
            // A half after a whole goes on with the run; a half after a half, or anything else, ends it.
            if self.half.is_some() || !first {
                self.run.clear();
                if std::mem::take(&mut self.open) {
                    out.push(b'\n');
                }
            }
            self.half = first.then_some(byte);
        }
        out
    }
}

fn strip(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != 0).collect()
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// The way back from a line of the text to a piece and its line.
#[derive(Debug)]
pub(super) struct Map {
    canary: String,
    frames: Vec<Origin>,
}

impl Map {
    /// The canary of this text.
    pub(super) fn canary(&self) -> &str {
        &self.canary
    }

    /// The lines on which a canary must be found, in order.
    pub(super) fn canaries(&self) -> impl Iterator<Item = u64> {
        self.frames.iter().map(|frame| frame.canary)
    }

    /// The label and the line within the piece of a line of the text; none for a line that holds no content.
    pub(super) fn locate(&self, line: u64) -> Option<(u64, Option<u64>)> {
        let after = self.frames.partition_point(|frame| frame.start <= line);
        let frame = self.frames.get(after.checked_sub(1)?)?;
        // The first frame has no content.
        (after > 1 && line < frame.canary)
            .then(|| (frame.label, frame.line.map(|first| first + line - frame.start)))
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAME, OVERLAP, Order, Text, Wide};

    const CANARY: &str = "bottle-canary-00000000000000000000000000000000";

    fn frames(content: &[u8]) -> Vec<Vec<u8>> {
        let mut packets: Vec<Vec<u8>> = Vec::new();
        let mut send = |packet: &[u8]| {
            packets.push(packet.to_vec());
            Ok(())
        };
        let mut text = Text::start(CANARY.into(), &mut send).unwrap();
        text.put(7, content).unwrap();
        drop(text);
        packets.remove(0);
        let end = format!("\n{CANARY}\n\n");
        packets.iter().map(|packet| packet.strip_suffix(end.as_bytes()).unwrap().to_vec()).collect()
    }

    #[test]
    fn every_window_of_the_overlap_stands_whole_in_one_frame() {
        for size in [1, OVERLAP, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME - 2 * OVERLAP, 300_001] {
            let content: Vec<u8> = (0..size).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect();
            let frames = frames(&content);
            let mut joined = frames[0].clone();
            for frame in &frames[1..] {
                assert_eq!(joined[joined.len() - OVERLAP..], frame[..OVERLAP]);
                joined.extend_from_slice(&frame[OVERLAP..]);
            }
            assert_eq!(joined, content);
            assert!(frames.iter().all(|frame| frame.len() <= FRAME));
        }
    }

    #[test]
    fn a_piece_with_nul_bytes_is_seen_in_every_view() {
        let utf16: Vec<u8> = "\u{feff}key=secret\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(frames(&utf16).iter().any(|frame| frame == b"key=secret\n"));
        // Neighbours whose other byte looks like a letter are told apart.
        for text in ["ч\u{447}key=secretч", "\u{4747}key=secret\u{4747}"] {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in [little, big] {
                assert!(
                    frames(&bytes).iter().any(|frame| frame == b"key=secret\n" || frame == b"key=secret")
                );
            }
        }
        assert_eq!(frames(b"ke\0y=sec\0\0ret")[1], b"key=secret");
        let mut far = vec![b'x'; 200_000];
        far.extend_from_slice(b"ke\0y");
        assert!(frames(&far).iter().any(|frame| frame.ends_with(b"xkey")));
    }

    #[test]
    fn runs_survive_any_cut() {
        let bytes = b"plain\0s\0e\0c\0r\0e\0t\0\0x\0y\0\0\0z\0z\0z\0z\xffend";
        for (order, expected) in [(Order::Little, "nsecret\n"), (Order::Big, "secret\nzzzz\n")] {
            assert_eq!(Wide::new(order).push(bytes), expected.as_bytes());
            for cut in 0..bytes.len() {
                let mut wide = Wide::new(order);
                let mut out = wide.push(&bytes[..cut]);
                out.extend(wide.push(&bytes[cut..]));
                assert_eq!(out, expected.as_bytes());
            }
        }
    }

    #[test]
    fn lines_are_found_again() {
        let mut send = |_: &[u8]| Ok(());
        let mut text = Text::start(CANARY.into(), &mut send).unwrap();
        text.put(7, b"one\ntwo").unwrap();
        text.put(8, b"").unwrap();
        text.put(9, &b"line\n".repeat(40_000)).unwrap();
        let map = text.finish();
        assert_eq!(map.canaries().take(2).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(map.locate(3), Some((7, Some(1))));
        assert_eq!(map.locate(4), Some((7, Some(2))));
        assert_eq!(map.locate(5), None);
        assert_eq!(map.locate(1), None);
        assert_eq!(map.locate(7), Some((9, Some(1))));
        // The second frame begins FRAME - OVERLAP bytes on, in the middle of a line.
        let second = map.frames[3];
        assert_eq!(map.locate(second.start), Some((9, Some(1 + (FRAME - OVERLAP) as u64 / 5))));
    }
}
