//! HTTP/1 messages as the tests read them: leniently, and with every byte of the head kept.

use std::fmt;
use std::io::{self, Read};

/// A request as it reached an origin.
#[derive(Clone, Debug)]
pub(in super::super) struct Seen {
    /// The request line and the header lines, to the empty line.
    pub(in super::super) head: String,
    /// The first of its body.
    pub(in super::super) body: Vec<u8>,
    /// How long the body was.
    pub(in super::super) length: u64,
    /// The trailer lines.
    pub(in super::super) trailers: String,
}

/// An answer as it reached a client.
#[derive(Clone)]
pub(in super::super) struct Response {
    pub(in super::super) status: u16,
    /// The status line and the header lines, to the empty line.
    pub(in super::super) head: String,
    pub(in super::super) body: Vec<u8>,
    /// The trailer lines.
    pub(in super::super) trailers: String,
    /// The body was cut off before its end.
    pub(in super::super) cut: bool,
}

/// The value of the first field of that name.
fn field<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Seen {
    /// The request line.
    pub(in super::super) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub(in super::super) fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    pub(in super::super) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl Response {
    pub(in super::super) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(in super::super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(in super::super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// An answer of the origin's with status 200.
    #[track_caller]
    pub(in super::super) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(!self.cut, "cut off: {self:?}");
        self
    }

    /// A refusal with this code, in the header and in the body.
    #[track_caller]
    pub(in super::super) fn refused(self, code: &str) -> Self {
        assert_eq!(self.header("x-bottle-reason"), Some(code), "{self:?}");
        assert!(self.status >= 400, "{self:?}");
        assert!(self.text().contains(code), "{self:?}");
        self
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(self.body.get(..600).unwrap_or(&self.body));
        write!(f, "{}\n\n{body}{}", self.head, if self.cut { " (cut off)" } else { "" })
    }
}

/// Reads messages from a stream.
pub(super) struct Reader {
    pub(super) buffer: Vec<u8>,
}

/// How much of a body is kept.
const KEPT: usize = 4 << 20;

/// A body that was read.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) length: u64,
    pub(super) trailers: String,
    pub(super) cut: bool,
}

impl Body {
    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new() }
    }

    /// Reads more; false at the end.
    pub(super) fn fill(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut piece = vec![0; 64 << 10];
        let count = loop {
            match from.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other side went without a goodbye, which is an end as well.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break 0,
                other => break other?,
            }
        };
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// Reads to a mark and gives what stands before it; `None` at the end of the stream.
    pub(super) fn until(&mut self, from: &mut impl Read, mark: &[u8]) -> io::Result<Option<String>> {
        let mut looked = 0;
        loop {
            let place = self.buffer[looked..].windows(mark.len()).position(|window| window == mark);
            if let Some(place) = place {
                let rest = self.buffer.split_off(looked + place + mark.len());
                let mut taken = std::mem::replace(&mut self.buffer, rest);
                taken.truncate(looked + place);
                return Ok(Some(String::from_utf8_lossy(&taken).into_owned()));
            }
            looked = self.buffer.len().saturating_sub(mark.len());
            if !self.fill(from)? {
                return Ok(None);
            }
        }
    }

    fn exactly(&mut self, from: &mut impl Read, mut length: u64, body: &mut Body) -> io::Result<()> {
        while length > 0 {
            if self.buffer.is_empty() && !self.fill(from)? {
                body.cut = true;
                return Ok(());
            }
            let count = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
            let rest = self.buffer.split_off(count);
            body.add(&std::mem::replace(&mut self.buffer, rest));
            length -= count as u64;
        }
        Ok(())
    }

    /// Reads a body that the head announces; `close` where one without a length goes on to the end of the stream.
    pub(super) fn body(&mut self, from: &mut impl Read, head: &str, close: bool) -> io::Result<Body> {
        let mut body = Body::default();
        if field(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = self.until(from, b"\r\n")?;
                let size = line.and_then(|line| u64::from_str_radix(line.split(';').next()?.trim(), 16).ok());
                let Some(size) = size else {
                    body.cut = true;
                    return Ok(body);
                };
                if size == 0 {
                    break;
                }
                self.exactly(from, size, &mut body)?;
                if body.cut || self.until(from, b"\r\n")?.is_none() {
                    body.cut = true;
                    return Ok(body);
                }
            }
            loop {
                match self.until(from, b"\r\n")? {
                    Some(line) if line.is_empty() => return Ok(body),
                    Some(line) => body.trailers.push_str(&(line + "\r\n")),
                    None => {
                        body.cut = true;
                        return Ok(body);
                    }
                }
            }
        } else if let Some(length) = field(head, "content-length").and_then(|value| value.parse().ok()) {
            self.exactly(from, length, &mut body)?;
        } else if close {
            while !self.buffer.is_empty() || self.fill(from)? {
                body.add(&std::mem::take(&mut self.buffer));
            }
        }
        Ok(body)
    }

    /// Reads an answer to a request with this method; `None` where the stream ended instead.
    pub(super) fn response(&mut self, from: &mut impl Read, method: &str) -> io::Result<Option<Response>> {
        let Some(head) = self.until(from, b"\r\n\r\n")? else { return Ok(None) };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {head}"));
        let none = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let none = none || (method == "CONNECT" && status == 200);
        let body = if none { Body::default() } else { self.body(from, &head, true)? };
        let Body { bytes, trailers, cut, .. } = body;
        Ok(Some(Response { status, head, body: bytes, trailers, cut }))
    }
}
