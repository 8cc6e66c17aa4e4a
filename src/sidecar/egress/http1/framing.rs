//! Bodies: finding their end while they arrive (RFC 9112, sections 6 and 7) and framing them while they are sent.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};

use super::head::{self, Kind, Progress, Slots};
use super::write::{put_fields, put_hexadecimal};
use super::{Framing, HeadLimits, Malformed};

/// The most bytes of a chunk's extension.
const MAX_EXTENSION: usize = 256;
/// The most digits of a chunk's size: what fits in 64 bits.
const MAX_SIZE_DIGITS: usize = 16;

/// What is smaller is put together with what comes after it: copying it costs less than passing it on alone.
const SMALL: usize = 512;
/// How much is put together.
const TOGETHER: usize = 16 << 10;

/// Finds the end of a body while it arrives.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    limits: HeadLimits,
    /// Whether extensions and forbidden trailers are dropped; refused otherwise.
    lenient: bool,
    /// What comes after the pieces that were put together.
    next: Option<Result<Decoded, Malformed>>,
}

#[derive(Debug)]
enum State {
    /// So many bytes are missing.
    Length(u64),
    /// The line with a chunk's size comes next.
    Size,
    /// So many bytes of the chunk are missing.
    Chunk(u64),
    /// The line end after a chunk's bytes comes next.
    ChunkEnd,
    /// The trailers come next.
    Trailers(Progress),
    /// Everything up to the end of the connection.
    Close,
    Done,
}

/// What a [`Decoder`] found.
#[derive(Debug)]
pub enum Decoded {
    /// More bytes are needed.
    Partial,
    /// A piece of the body; never empty.
    Data(Bytes),
    /// The trailers, after the last piece; given once, and only when there are any.
    Trailers(HeaderMap),
    /// The body is complete; what is left in the buffer belongs to the next message.
    End,
}

impl Decoder {
    /// Begins a body as strictly as a request's must be: a chunk extension is refused, since no client has a use for it
    /// and programs disagree about where it ends, and so is a trailer that a trailer can't be.
    pub fn new(framing: Framing, limits: HeadLimits) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::Close => State::Close,
        };
        Self { state, limits, lenient: false, next: None }
    }

    /// Begins the body of a response: chunk extensions and trailers that can't be trailers are dropped.
    pub fn of_response(framing: Framing, limits: HeadLimits) -> Self {
        Self { lenient: true, ..Self::new(framing, limits) }
    }

    /// Takes the next piece from the start of the buffer. Small chunks that are there together make one piece: whoever
    /// sends chunks of one byte must not make everybody behind this work a thousand times for what one read brought.
    ///
    /// # Errors
    ///
    /// [`Malformed`] framing.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, Malformed> {
        if let Some(next) = self.next.take() {
            return next;
        }
        let first = loop {
            match self.step(buffer)? {
                None => {}
                Some(Decoded::Data(piece)) if piece.len() < SMALL && !buffer.is_empty() => break piece,
                Some(other) => return Ok(other),
            }
        };
        // A piece that is alone is given as it is.
        let mut together: Option<BytesMut> = None;
        while together.as_ref().map_or(0, BytesMut::len) < TOGETHER {
            // Copied from where it is: to share the memory of a few bytes costs more than to copy them.
            if let State::Chunk(missing) = self.state
                && let Some(length) = usize::try_from(missing).ok().filter(|length| *length < SMALL)
                && let Some(piece) = buffer.get(..length)
            {
                together.get_or_insert_with(|| BytesMut::from(first.as_ref())).extend_from_slice(piece);
                buffer.advance(length);
                self.state = State::ChunkEnd;
                continue;
            }
            match self.step(buffer) {
                Ok(None) => {}
                Ok(Some(Decoded::Partial)) => break,
                Ok(Some(next)) => {
                    self.next = Some(Ok(next));
                    break;
                }
                Err(malformed) => {
                    self.next = Some(Err(malformed));
                    break;
                }
            }
        }
        Ok(Decoded::Data(together.map_or(first, BytesMut::freeze)))
    }

    /// Goes on by one state; with what that gave, if it gave anything.
    fn step(&mut self, buffer: &mut BytesMut) -> Result<Option<Decoded>, Malformed> {
        let given = match &mut self.state {
            State::Done => Decoded::End,
            State::Close => take(u64::MAX, buffer).map_or(Decoded::Partial, Decoded::Data),
            State::Length(missing) => {
                let Some(piece) = take(*missing, buffer) else { return Ok(Some(Decoded::Partial)) };
                *missing -= piece.len() as u64;
                if *missing == 0 {
                    self.state = State::Done;
                }
                Decoded::Data(piece)
            }
            State::Chunk(missing) => {
                let Some(piece) = take(*missing, buffer) else { return Ok(Some(Decoded::Partial)) };
                *missing -= piece.len() as u64;
                if *missing == 0 {
                    self.state = State::ChunkEnd;
                }
                Decoded::Data(piece)
            }
            State::ChunkEnd => {
                match buffer.as_ref() {
                    [] | [b'\r'] => return Ok(Some(Decoded::Partial)),
                    [b'\r', b'\n', ..] => buffer.advance(2),
                    _ => {
                        return Err(Malformed::Ambiguous("a chunk that doesn't end where its size says"));
                    }
                }
                self.state = State::Size;
                return Ok(None);
            }
            State::Size => {
                let Some((size, length)) = chunk_size(buffer, self.lenient)? else {
                    return Ok(Some(Decoded::Partial));
                };
                buffer.advance(length);
                self.state =
                    if size == 0 { State::Trailers(Progress::default()) } else { State::Chunk(size) };
                return Ok(None);
            }
            State::Trailers(progress) => {
                let Some(trailers) = trailers(progress, buffer, self.limits, self.lenient)? else {
                    return Ok(Some(Decoded::Partial));
                };
                self.state = State::Done;
                if trailers.is_empty() {
                    return Ok(None);
                }
                Decoded::Trailers(trailers)
            }
        };
        Ok(Some(given))
    }

    /// Says that the connection ended: whether the body may end there.
    pub fn at_close(&self) -> bool {
        self.next.is_none() && matches!(self.state, State::Close | State::Done)
    }
}

/// Takes at most so many bytes off the buffer, without copying them; `None` when it is empty.
fn take(most: u64, buffer: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
    (length > 0).then(|| buffer.split_to(length).freeze())
}

/// Reads a chunk's size, and gives with it the length of its line.
fn chunk_size(buffer: &[u8], extensions: bool) -> Result<Option<(u64, usize)>, Malformed> {
    let digits = buffer.iter().take(MAX_SIZE_DIGITS + 1).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > MAX_SIZE_DIGITS {
        return Err(Malformed::Ambiguous("a chunk size with more than 16 digits"));
    }
    let (number, rest) = buffer.split_at_checked(digits).unwrap_or((buffer, &[]));
    let length = match rest {
        [] => return Ok(None),
        _ if digits == 0 => return Err(Malformed::Ambiguous("a chunk without a size")),
        [b'\r'] => return Ok(None),
        [b'\r', b'\n', ..] => digits + 2,
        [b';', ..] if extensions => match extension(rest)? {
            Some(extension) => digits + extension,
            None => return Ok(None),
        },
        [b';', ..] => return Err(Malformed::Ambiguous("a chunk extension")),
        _ => return Err(Malformed::Ambiguous("a chunk size that is no hexadecimal number")),
    };
    let size = number.iter().filter_map(|digit| char::from(*digit).to_digit(16));
    Ok(Some((size.fold(0, |size, digit| size << 4 | u64::from(digit)), length)))
}

/// The length of an extension with its line end.
fn extension(rest: &[u8]) -> Result<Option<usize>, Malformed> {
    let end = rest.iter().take(MAX_EXTENSION + 1).position(|byte| byte.is_ascii_control() && *byte != b'\t');
    let Some(end) = end else {
        return if rest.len() > MAX_EXTENSION { Err(Malformed::TooLarge) } else { Ok(None) };
    };
    match rest.get(end..) {
        Some([b'\r']) => Ok(None),
        Some([b'\r', b'\n', ..]) => Ok(Some(end + 2)),
        _ => Err(Malformed::Ambiguous("a control character in a chunk extension")),
    }
}

/// Reads the trailers and takes them off the buffer.
fn trailers(
    progress: &mut Progress,
    buffer: &mut BytesMut,
    limits: HeadLimits,
    lenient: bool,
) -> Result<Option<HeaderMap>, Malformed> {
    let Some(lines) = progress.advance(buffer, Kind::Trailers, limits)? else { return Ok(None) };
    let Some(length) = lines.complete else { return Ok(None) };
    let mut trailers = HeaderMap::new();
    if lines.fields > 0 {
        let bytes = Bytes::copy_from_slice(lines.bytes);
        let mut slots = Slots::new(lines.fields);
        match httparse::parse_headers(&bytes, slots.as_mut()).map_err(head::refused)? {
            httparse::Status::Complete((_, found)) => trailers = head::fields(&bytes, found)?,
            httparse::Status::Partial => return Err(Malformed::Ambiguous("trailers whose end isn't clear")),
        }
    }
    buffer.advance(length);
    if !lenient {
        check_trailers(&trailers)?;
    }
    remove_forbidden(&mut trailers);
    Ok(Some(trailers))
}

/// What can't be a trailer (RFC 9110, section 6.5.1): framing, routing, authentication, conditions, what says how the
/// body is to be read, and what belongs to the connection.
static NO_TRAILER: [HeaderName; 31] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::EXPIRES,
    header::FORWARDED,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("x-http-method-override"),
];

/// Checks the trailers of a request, whatever version of HTTP they came in.
///
/// # Errors
///
/// One of them can't be a trailer.
pub fn check_trailers(trailers: &HeaderMap) -> Result<(), Malformed> {
    if trailers.keys().any(is_no_trailer) {
        return Err(Malformed::Ambiguous("a trailer that can only be a header"));
    }
    Ok(())
}

fn is_no_trailer(name: &HeaderName) -> bool {
    NO_TRAILER.contains(name)
        || ["if-", "x-forwarded-"].iter().any(|prefix| name.as_str().starts_with(prefix))
}

fn remove_forbidden(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| is_no_trailer(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// Frames a body while it is sent.
#[derive(Debug)]
pub struct Encoder {
    framing: Framing,
}

impl Encoder {
    /// Begins a body.
    pub fn new(framing: Framing) -> Self {
        Self { framing }
    }

    /// Appends a piece in its frame to `out`.
    ///
    /// # Errors
    ///
    /// More bytes than were announced.
    pub fn data(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
        let after = self.frame(piece.len(), out)?;
        out.extend_from_slice(piece);
        out.extend_from_slice(after);
        Ok(())
    }

    /// Appends what comes before a piece of this length to `out`, and gives what comes after it: for a piece that is
    /// sent from where it is.
    ///
    /// # Errors
    ///
    /// More bytes than were announced.
    pub fn frame(&mut self, length: usize, out: &mut BytesMut) -> Result<&'static [u8], Malformed> {
        const MORE: Malformed = Malformed::Ambiguous("a body with more bytes than were announced");
        match &mut self.framing {
            // A chunk without a byte would be the last one.
            _ if length == 0 => {}
            Framing::Empty => return Err(MORE),
            Framing::Length(missing) => *missing = missing.checked_sub(length as u64).ok_or(MORE)?,
            Framing::Chunked => {
                put_hexadecimal(out, length as u64);
                out.extend_from_slice(b"\r\n");
                return Ok(b"\r\n");
            }
            Framing::Close => {}
        }
        Ok(b"")
    }

    /// Ends the body. Trailers are written after chunks, except those that can't be trailers; other framing has no place
    /// for them.
    ///
    /// # Errors
    ///
    /// Fewer bytes than were announced.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut BytesMut) -> Result<(), Malformed> {
        match std::mem::replace(&mut self.framing, Framing::Empty) {
            Framing::Length(missing) if missing > 0 => {
                self.framing = Framing::Length(missing);
                Err(Malformed::Ambiguous("a body with fewer bytes than were announced"))
            }
            Framing::Chunked => {
                out.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    put_fields(out, trailers, |name| !is_no_trailer(name));
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
            Framing::Empty | Framing::Length(_) | Framing::Close => Ok(()),
        }
    }
}
