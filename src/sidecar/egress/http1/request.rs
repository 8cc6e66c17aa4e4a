//! The head of a request.

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::head::{self, Announced, Kind, Progress, Slots};
use super::{Framing, HeadLimits, Malformed, RequestHead, Version};

/// Reads the head of a request from the start of `bytes`; `None` when it isn't all there. With it the number of its
/// bytes. One empty line before it is skipped and counted (RFC 9112, section 2.2).
///
/// # Errors
///
/// [`Malformed`], as soon as it shows, even when the head isn't all there: at the latest with the end of its line.
pub fn parse_request(bytes: &[u8], limits: HeadLimits) -> Result<Option<(RequestHead, usize)>, Malformed> {
    resume_request(&mut Progress::default(), bytes, limits)
}

/// As [`parse_request`], for a head that arrives in pieces: `bytes` are always those from the start of the head, and
/// `progress` says how far they were looked at.
///
/// # Errors
///
/// As [`parse_request`].
pub fn resume_request(
    progress: &mut Progress,
    bytes: &[u8],
    limits: HeadLimits,
) -> Result<Option<(RequestHead, usize)>, Malformed> {
    let Some(lines) = progress.advance(bytes, Kind::Request, limits)? else { return Ok(None) };
    let bytes = Bytes::copy_from_slice(lines.bytes);
    let mut slots = Slots::new(lines.fields);
    let mut parsed = httparse::Request::new(slots.as_mut());
    let status = parsed.parse(&bytes).map_err(head::refused)?;
    if status.is_complete() != lines.complete.is_some() {
        return Err(Malformed::Ambiguous("a head whose end isn't clear"));
    }
    let version = head::version(parsed.version)?;
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(Malformed::Ambiguous("a request line without a method or a target"));
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Malformed::Ambiguous("a method that isn't a token"))?;
    check_target(&method, target)?;
    let headers = head::fields(&bytes, parsed.headers.get(..lines.fields).unwrap_or_default())?;
    let framing = framing(&headers, &method, version)?;
    let expect_continue = expects_continue(&headers, version, framing)?;
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 {
        return Err(Malformed::Ambiguous("more than one Host"));
    }
    let upgrade = upgrade(&headers, version)?;
    let Some(length) = lines.complete else { return Ok(None) };
    if hosts == 0 && version == Version::Http11 {
        return Err(Malformed::Ambiguous("no Host"));
    }
    let keep_alive = head::persists(&headers, version);
    let target = target.to_owned();
    Ok(Some((
        RequestHead { method, target, version, headers, framing, keep_alive, expect_continue, upgrade },
        length,
    )))
}

/// Checks the characters of the target and that its form is one that the method has (RFC 9112, section 3.2).
fn check_target(method: &Method, target: &str) -> Result<(), Malformed> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::Ambiguous("a target with a character that isn't printable ASCII"));
    }
    if target.contains('#') {
        return Err(Malformed::Ambiguous("a target with a fragment"));
    }
    let has_form = if *method == Method::CONNECT {
        !target.contains(['/', '?', '*'])
    } else {
        target.starts_with('/') || is_absolute(target) || (target == "*" && *method == Method::OPTIONS)
    };
    if has_form {
        Ok(())
    } else {
        Err(Malformed::Ambiguous("a target in a form that the method doesn't have"))
    }
}

/// Whether it is a URI with an authority (RFC 3986, section 3).
fn is_absolute(target: &str) -> bool {
    target.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

fn framing(headers: &HeaderMap, method: &Method, version: Version) -> Result<Framing, Malformed> {
    match head::announced(headers, version, false)? {
        Announced::Nothing => Ok(Framing::Empty),
        // A CONNECT has no body (RFC 9110, section 9.3.6): what follows is the other protocol.
        Announced::Length(0) if *method == Method::CONNECT => Ok(Framing::Empty),
        _ if *method == Method::CONNECT => Err(Malformed::Ambiguous("a CONNECT with a body")),
        Announced::Length(length) => Ok(Framing::Length(length)),
        Announced::Chunked => Ok(Framing::Chunked),
    }
}

/// Reads Expect (RFC 9110, section 10.1.1). Without a body there is nothing to wait for.
fn expects_continue(headers: &HeaderMap, version: Version, framing: Framing) -> Result<bool, Malformed> {
    let mut expected = false;
    for element in head::elements(headers, &header::EXPECT) {
        if !element.eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::Ambiguous("an expectation other than 100-continue"));
        }
        expected = true;
    }
    Ok(expected && version == Version::Http11 && !matches!(framing, Framing::Empty | Framing::Length(0)))
}

/// Reads Upgrade, which HTTP/1.0 doesn't have (RFC 9110, section 7.8).
fn upgrade(headers: &HeaderMap, version: Version) -> Result<Option<String>, Malformed> {
    if version == Version::Http10
        || !headers.contains_key(header::UPGRADE)
        || !head::connection_has(headers, "upgrade")
    {
        return Ok(None);
    }
    let mut protocols = String::new();
    for element in head::elements(headers, &header::UPGRADE) {
        let protocol = std::str::from_utf8(element)
            .ok()
            .filter(|protocol| protocol.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or(Malformed::Ambiguous("a protocol in Upgrade that isn't a token"))?;
        if !protocols.is_empty() {
            protocols.push(',');
        }
        protocols.push_str(protocol);
    }
    protocols.make_ascii_lowercase();
    Ok(Some(protocols).filter(|protocols| !protocols.is_empty()))
}
