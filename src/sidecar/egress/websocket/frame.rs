//! Frames, one direction of a connection.

/// Why bytes are no WebSocket frames; the text quotes nothing of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(&'static str);

/// Whose frames are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The client, which masks every frame.
    Client,
    /// The server, which masks none.
    Server,
}

/// Checks what one side sends after the handshake.
#[derive(Debug)]
pub struct Checker {
    sender: Sender,
    state: State,
    frame: Frame,
    /// Whether a message was begun whose last frame is missing.
    in_message: bool,
}

/// A part of what was checked, in its order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part<'a> {
    /// Bytes before a frame's payload.
    Head(&'a [u8]),
    /// Bytes of the payload of a message.
    Message(&'a [u8]),
    /// Bytes of the payload of a control frame, which may stand within a message.
    Control(&'a [u8]),
    /// The end of a frame.
    End,
}

/// The part of a frame that the next byte belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// FIN, RSV and the opcode.
    First,
    /// The mask bit and the length, or how it is written.
    Second,
    /// A longer length: so many bytes of it are missing.
    Length(u8),
    /// The masking key: so many bytes of it are missing.
    Mask(u8),
    /// The payload.
    Payload,
    /// After a Close frame: nothing.
    Closed,
}

/// What is known of the frame.
#[derive(Debug, Default)]
struct Frame {
    opcode: u8,
    /// The bytes of the payload that are missing.
    missing: u64,
    /// The smallest length that the notation in use may say.
    smallest: u64,
    /// The masking key; zero where there is none.
    mask: u32,
    /// The bytes of a Close frame's status code that were read, and the code so far.
    code: (u8, u16),
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Checker {
    /// Begins after the handshake.
    pub fn new(sender: Sender) -> Self {
        Self { sender, state: State::First, frame: Frame::default(), in_message: false }
    }

    /// Checks the next bytes and says how many of them may be passed on: all, or those up to the end of a Close frame,
    /// after which this side has nothing to say.
    ///
    /// # Errors
    ///
    /// A [`Violation`] of the protocol; the connection must be broken.
    pub fn check(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        self.check_each(bytes, |_| {})
    }

    /// The same, and tells of each part that may be passed on.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]; of the parts that were told of before it nothing may be passed on.
    pub fn check_each<'a>(
        &mut self,
        bytes: &'a [u8],
        mut tell: impl FnMut(Part<'a>),
    ) -> Result<usize, Violation> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            let before = rest;
            match self.state {
                State::Closed => break,
                State::Payload => {
                    rest = self.payload(rest)?;
                    let payload = before.get(..before.len() - rest.len()).unwrap_or_default();
                    tell(if self.frame.opcode >= CLOSE {
                        Part::Control(payload)
                    } else {
                        Part::Message(payload)
                    });
                }
                State::First => self.first(*byte)?,
                State::Second => self.second(*byte)?,
                State::Length(missing) => self.length(missing, *byte)?,
                State::Mask(missing) => self.mask(missing, *byte),
            }
            if rest.len() == before.len() {
                rest = after;
                tell(Part::Head(before.get(..1).unwrap_or_default()));
            }
            if matches!(self.state, State::First | State::Closed) {
                tell(Part::End);
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the next byte begins a frame.
    pub fn is_between(&self) -> bool {
        self.state == State::First
    }

    /// Whether a Close frame is complete.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn first(&mut self, byte: u8) -> Result<(), Violation> {
        let (last, reserved, opcode) = (byte & 0x80 != 0, byte & 0x70, byte & 0x0f);
        if reserved != 0 {
            return Err(Violation("a frame with a reserved bit, though no extension was agreed on"));
        }
        match opcode {
            CONTINUATION if !self.in_message => {
                return Err(Violation("a frame that continues no message"));
            }
            TEXT | BINARY if self.in_message => {
                return Err(Violation("a message that begins before the last one is complete"));
            }
            CONTINUATION | TEXT | BINARY => self.in_message = !last,
            CLOSE | PING | PONG if !last => return Err(Violation("a control frame in fragments")),
            CLOSE | PING | PONG => {}
            _ => return Err(Violation("a frame with an unknown opcode")),
        }
        self.frame = Frame { opcode, ..Frame::default() };
        self.state = State::Second;
        Ok(())
    }

    fn second(&mut self, byte: u8) -> Result<(), Violation> {
        match (self.sender, byte & 0x80 != 0) {
            (Sender::Client, false) => return Err(Violation("a frame of the client without a mask")),
            (Sender::Server, true) => return Err(Violation("a frame of the server with a mask")),
            (Sender::Client, true) | (Sender::Server, false) => {}
        }
        let length = byte & 0x7f;
        if length > 125 && self.frame.opcode >= CLOSE {
            return Err(Violation("a control frame with more than 125 bytes"));
        }
        match length {
            126 => (self.frame.smallest, self.state) = (126, State::Length(2)),
            127 => (self.frame.smallest, self.state) = (1 << 16, State::Length(8)),
            length => {
                self.frame.missing = u64::from(length);
                self.length_known()?;
            }
        }
        Ok(())
    }

    fn length(&mut self, missing: u8, byte: u8) -> Result<(), Violation> {
        if missing == 8 && byte & 0x80 != 0 {
            return Err(Violation("a frame whose length doesn't fit in 63 bits"));
        }
        self.frame.missing = self.frame.missing << 8 | u64::from(byte);
        if missing > 1 {
            self.state = State::Length(missing - 1);
            return Ok(());
        }
        if self.frame.missing < self.frame.smallest {
            return Err(Violation("a frame whose length is written longer than it needs to be"));
        }
        self.length_known()
    }

    fn length_known(&mut self) -> Result<(), Violation> {
        if self.frame.opcode == CLOSE && self.frame.missing == 1 {
            return Err(Violation("a Close frame with half a status code"));
        }
        if self.sender == Sender::Client {
            self.state = State::Mask(4);
        } else {
            self.begin_payload();
        }
        Ok(())
    }

    fn mask(&mut self, missing: u8, byte: u8) {
        self.frame.mask = self.frame.mask << 8 | u32::from(byte);
        if missing > 1 {
            self.state = State::Mask(missing - 1);
        } else {
            self.begin_payload();
        }
    }

    fn begin_payload(&mut self) {
        self.state = State::Payload;
        self.end_if_complete();
    }

    fn end_if_complete(&mut self) {
        if self.frame.missing == 0 {
            self.state = if self.frame.opcode == CLOSE { State::Closed } else { State::First };
        }
    }

    /// Takes what belongs to the payload off the bytes.
    fn payload<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        let length = usize::try_from(self.frame.missing).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        if self.frame.opcode == CLOSE {
            self.status_code(payload)?;
        }
        self.frame.missing -= payload.len() as u64;
        self.end_if_complete();
        Ok(rest)
    }

    /// Reads the status code at the start of a Close frame's payload.
    fn status_code(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let [mask @ .., _, _] = self.frame.mask.to_be_bytes();
        for byte in payload {
            let (read, code) = self.frame.code;
            let Some(mask) = mask.get(usize::from(read)) else { return Ok(()) };
            self.frame.code = (read + 1, code << 8 | u16::from(byte ^ mask));
            if read == 1 && !may_be_sent(self.frame.code.1) {
                return Err(Violation("a Close frame with a status code that none may have"));
            }
        }
        Ok(())
    }
}

/// Whether a Close frame may have this status code (RFC 6455, section 7.4): the others are undefined, or mean a
/// connection that ended without a Close frame.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
