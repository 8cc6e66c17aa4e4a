//! What the heads of requests and responses and the trailers have in common: lines, header fields and their meaning for
//! the connection.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{HeadLimits, Malformed, Version};

/// How far a head that arrives in pieces was looked at, so that a slow sender doesn't have it looked at from the start
/// with every byte. A new one for each head; it may be used again once the head was complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The bytes that were looked at.
    seen: usize,
    /// Where the first line begins: after an empty line that was skipped.
    start: usize,
    /// Where the unfinished line begins.
    line: usize,
    /// The complete lines.
    lines: usize,
}

/// What a head begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A request line, and before it at most one empty line: some clients end a body with a CRLF that it doesn't count
    /// (RFC 9112, section 2.2).
    Request,
    /// A status line.
    Response,
    /// Header fields.
    Trailers,
}

/// The complete lines of a head.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// The lines, the empty one at the end included if it is there.
    pub(super) bytes: &'a [u8],
    /// The number of header fields.
    pub(super) fields: usize,
    /// Whether the head is complete, and the number of its bytes with an empty line before it.
    pub(super) complete: Option<usize>,
}

impl Progress {
    /// Looks at what is new in `bytes`, which begin where the head begins. `None` when no line was completed.
    ///
    /// It finds what no line may hold: a line end that isn't CRLF, control characters, a line that continues another.
    pub(super) fn advance<'a>(
        &mut self,
        bytes: &'a [u8],
        kind: Kind,
        limits: HeadLimits,
    ) -> Result<Option<Lines<'a>>, Malformed> {
        let allowed = bytes.get(..limits.bytes).unwrap_or(bytes);
        let (first_line, before) = (usize::from(kind != Kind::Trailers), self.lines);
        while let Some(rest) = allowed.get(self.seen..) {
            let Some(offset) = memchr::memchr2(b'\r', b'\n', rest) else {
                refuse_controls(rest)?;
                self.seen = allowed.len();
                break;
            };
            let (text, end) = rest.split_at(offset);
            refuse_controls(text)?;
            self.seen += offset;
            match end {
                [b'\r'] => break,
                [b'\r', b'\n', ..] => self.seen += 2,
                [b'\r', ..] => return Err(Malformed::Ambiguous("a CR that no LF follows")),
                _ => return Err(Malformed::Ambiguous("a line that ends without CR")),
            }
            let line = allowed.get(self.line..self.seen).unwrap_or_default();
            let (from, first) = (self.line, self.lines == 0);
            self.line = self.seen;
            match line {
                [b'\r', ..] if first && kind == Kind::Request => {
                    if from > 0 {
                        return Err(Malformed::Ambiguous("empty lines before the request line"));
                    }
                    self.start = self.seen;
                }
                [b'\r', ..] if first && kind == Kind::Response => {
                    return Err(Malformed::Ambiguous("an empty line before the status line"));
                }
                [b'\r', ..] => {
                    let (fields, end) = (self.lines.saturating_sub(first_line), self.seen);
                    let bytes = allowed.get(self.start..end).unwrap_or_default();
                    *self = Self::default();
                    return Ok(Some(Lines { bytes, fields, complete: Some(end) }));
                }
                [b' ' | b'\t', ..] => {
                    return Err(Malformed::Ambiguous("a line that begins with white space"));
                }
                _ => {
                    self.lines += 1;
                    if self.lines.saturating_sub(first_line) > limits.headers {
                        return Err(Malformed::TooLarge);
                    }
                }
            }
        }
        if bytes.len() >= limits.bytes {
            return Err(Malformed::TooLarge);
        }
        if self.lines == before {
            return Ok(None);
        }
        let bytes = bytes.get(self.start..self.line).unwrap_or_default();
        Ok(Some(Lines { bytes, fields: self.lines.saturating_sub(first_line), complete: None }))
    }
}

/// Refuses every control character but the tab.
fn refuse_controls(text: &[u8]) -> Result<(), Malformed> {
    // No early end: the loop without one is vectorised.
    let found = text.iter().filter(|byte| (**byte < b' ' && **byte != b'\t') || **byte == 0x7f).count() > 0;
    if found { Err(Malformed::Ambiguous("a control character in the head")) } else { Ok(()) }
}

/// Room for the header fields of one head; most heads need no allocation.
pub(super) struct Slots<'a> {
    few: [httparse::Header<'a>; 32],
    many: Vec<httparse::Header<'a>>,
}

impl<'a> Slots<'a> {
    pub(super) fn new(fields: usize) -> Self {
        let few = [httparse::EMPTY_HEADER; 32];
        let many = if fields > few.len() { vec![httparse::EMPTY_HEADER; fields] } else { Vec::new() };
        Self { few, many }
    }

    pub(super) fn as_mut(&mut self) -> &mut [httparse::Header<'a>] {
        if self.many.is_empty() { &mut self.few } else { &mut self.many }
    }
}

/// Says what httparse found.
pub(super) fn refused(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooLarge,
        httparse::Error::HeaderName => {
            Malformed::Ambiguous("a header name that isn't a token before a colon")
        }
        httparse::Error::HeaderValue => {
            Malformed::Ambiguous("a header value with a character that none may have")
        }
        httparse::Error::Version => Malformed::Ambiguous("a version other than HTTP/1.0 and HTTP/1.1"),
        httparse::Error::Status => {
            Malformed::Ambiguous("a status line without a status code of three digits")
        }
        httparse::Error::NewLine | httparse::Error::Token => {
            Malformed::Ambiguous("a first line whose parts aren't separated by one space each")
        }
    }
}

/// Collects the header fields that httparse found in `head`. The values share its memory.
pub(super) fn fields(head: &Bytes, found: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    // Room for those that the proxy adds.
    let mut headers = HeaderMap::try_with_capacity(found.len() + 4).map_err(|_| Malformed::TooLarge)?;
    for field in found {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Malformed::Ambiguous("a header name that isn't a token before a colon"))?;
        let value = if field.value.is_empty() {
            HeaderValue::from_static("")
        } else {
            HeaderValue::from_maybe_shared(head.slice_ref(field.value))
                .map_err(|_| Malformed::Ambiguous("a header value with a character that none may have"))?
        };
        headers.try_append(name, value).map_err(|_| Malformed::TooLarge)?;
    }
    Ok(headers)
}

/// The version that httparse found.
pub(super) fn version(minor: Option<u8>) -> Result<Version, Malformed> {
    match minor {
        Some(0) => Ok(Version::Http10),
        Some(1) => Ok(Version::Http11),
        _ => Err(Malformed::Ambiguous("a version other than HTTP/1.0 and HTTP/1.1")),
    }
}

/// What a head says about the length of a body, before method and status are considered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Announced {
    /// Nothing.
    Nothing,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Reads Content-Length and Transfer-Encoding. `repeated`: the same length may be said more than once.
pub(super) fn announced(
    headers: &HeaderMap,
    version: Version,
    repeated: bool,
) -> Result<Announced, Malformed> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Announced::Nothing),
        (Some(_), Some(_)) => Err(Malformed::Ambiguous("Content-Length beside Transfer-Encoding")),
        (Some(first), None) => {
            let length = decimal(first.as_bytes())
                .ok_or(Malformed::Ambiguous("a Content-Length that is no number"))?;
            for other in lengths {
                if !repeated || decimal(other.as_bytes()) != Some(length) {
                    return Err(Malformed::Ambiguous("more than one Content-Length"));
                }
            }
            Ok(Announced::Length(length))
        }
        (None, Some(_)) if version == Version::Http10 => {
            Err(Malformed::Ambiguous("Transfer-Encoding in HTTP/1.0, which has none"))
        }
        (None, Some(coding)) => {
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::Ambiguous("a Transfer-Encoding other than one `chunked`"));
            }
            Ok(Announced::Chunked)
        }
    }
}

/// Digits and nothing else, if they fit.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The elements of a field that is a list (RFC 9110, section 5.6.1).
pub(super) fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether Connection has this option (RFC 9110, section 7.6.1).
pub(super) fn connection_has(headers: &HeaderMap, option: &str) -> bool {
    elements(headers, &header::CONNECTION).any(|element| element.eq_ignore_ascii_case(option.as_bytes()))
}

/// Whether the connection may be used again after the message (RFC 9112, section 9.3).
pub(super) fn persists(headers: &HeaderMap, version: Version) -> bool {
    !connection_has(headers, "close") && (version == Version::Http11 || connection_has(headers, "keep-alive"))
}

/// What ends with the connection, beside what Connection names.
static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    HeaderName::from_static("http2-settings"),
];

/// What Connection can't name (RFC 9110, section 7.6.1, forbids it): without these the other side would read the same
/// bytes as something else, or egress would scan and scrub something else than what is read.
static END_TO_END: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::HOST,
    header::SET_COOKIE,
    header::TRAILER,
    header::VARY,
];

/// Removes the fields that mean only one connection (RFC 9110, section 7.6.1): Connection and all that it names,
/// Keep-Alive, Proxy-*, TE, Transfer-Encoding, Upgrade, HTTP2-Settings, and Content-Length, which framing writes anew.
/// Trailer stays.
///
/// It comes before egress adds anything, so that nothing that egress adds can be named by Connection. Via, Forwarded and
/// X-Forwarded-* are never added; those of the other side are its own words and stay.
///
/// The answer to a HEAD has a Content-Length that frames nothing; whoever wants to pass it on keeps it before.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = elements(headers, &header::CONNECTION)
            .filter(|element| {
                !element.eq_ignore_ascii_case(b"close") && !element.eq_ignore_ascii_case(b"keep-alive")
            })
            .filter_map(|element| HeaderName::from_bytes(element).ok())
            .filter(|name| !END_TO_END.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}
