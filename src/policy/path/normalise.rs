//! The steps by which origins normalise a path. Each gives nothing where it would change nothing.

use super::Ambiguous;

/// How often an origin may decode: once as it should, and once more behind another program that already did.
const MAX_DECODED: u8 = 2;

/// What each of the steps makes of a reading that was decoded so many times.
pub(super) fn successors(reading: &str, decoded: u8) -> Result<Vec<(String, u8)>, Ambiguous> {
    #[cfg(test)]
    super::super::work::did(reading.len());
    let mut found = Vec::new();
    if decoded < MAX_DECODED && reading.contains('%') {
        found.extend(decode(reading, |_| true)?.map(|next| (next, decoded + 1)));
        found.extend(decode(reading, |byte| byte != b'/')?.map(|next| (next, decoded + 1)));
        // What decodes only these does it before it looks for dot segments; it may be decoded like any other after.
        found.extend(decode(reading, is_unreserved)?.map(|next| (next, decoded)));
        found.extend(decode(reading, |byte| byte == b'.')?.map(|next| (next, decoded)));
    }
    found.extend(without_parameters(reading).map(|next| (next, decoded)));
    found.extend(without_query(reading).map(|next| (next, decoded)));
    found.extend(merged(reading).map(|next| (next, decoded)));
    found.extend(without_authority(reading).map(|next| (next, decoded)));
    if let Some(resolved) = resolved(reading)? {
        // Some leave the slash that a last dot segment leaves behind, and some don't.
        let bare = resolved.strip_suffix('/').filter(|bare| !bare.is_empty()).map(str::to_owned);
        found.extend(bare.map(|next| (next, decoded)));
        found.push((resolved, decoded));
    }
    // Without an escape it doesn't matter how often it was decoded.
    for (next, decoded) in &mut found {
        if !next.contains('%') {
            *decoded = MAX_DECODED;
        }
    }
    Ok(found)
}

/// The byte that the escape at the start of `text` stands for.
pub(super) fn escape(text: &str) -> Option<u8> {
    text.strip_prefix('%').and_then(hexadecimal)
}

/// The byte of two hexadecimal digits at the start of `text`.
fn hexadecimal(text: &str) -> Option<u8> {
    let &[high, low, ..] = text.as_bytes() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Decodes the escapes of bytes that are `wanted`, once. A `%` that escapes nothing stands for itself: only a path that
/// was decoded before can have one.
pub(super) fn decode(text: &str, wanted: impl Fn(u8) -> bool) -> Result<Option<String>, Ambiguous> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut changed = false;
    while let Some((before, after)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        if let Some(byte) = hexadecimal(after).filter(|byte| wanted(*byte)) {
            out.push(byte);
            changed = true;
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(b'%');
            rest = after;
        }
    }
    if !changed {
        return Ok(None);
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).map(Some).map_err(|_| Ambiguous("it is not UTF-8 when it is decoded"))
}

/// Writes the digits of escapes in capital letters (RFC 3986, section 6.2.2.1).
pub(super) fn upper_hex(text: &str) -> String {
    let mut digits = 0;
    let upper = |character: char| {
        let shown = if digits > 0 { character.to_ascii_uppercase() } else { character };
        digits = if character == '%' { 2_u8 } else { digits.saturating_sub(1) };
        shown
    };
    text.chars().map(upper).collect()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Drops the parameters of each segment.
fn without_parameters(text: &str) -> Option<String> {
    let segments = || text.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    text.contains(';').then(|| segments().collect::<Vec<_>>().join("/"))
}

/// Ends the path where a program that parses a decoded path once more sees a query or a fragment.
fn without_query(text: &str) -> Option<String> {
    text.find(['?', '#']).and_then(|at| text.get(..at)).map(str::to_owned)
}

/// Makes one slash of each run.
fn merged(text: &str) -> Option<String> {
    if !text.contains("//") {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    Some(out)
}

/// Drops what a program that takes the path for a reference reads as an authority (RFC 3986, section 4.2).
fn without_authority(text: &str) -> Option<String> {
    let rest = text.strip_prefix("//")?;
    Some(rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned())
}

/// Resolves the dot segments.
fn resolved(text: &str) -> Result<Option<String>, Ambiguous> {
    let mut out: Vec<&str> = Vec::new();
    let mut changed = false;
    let mut ends_in_dots = false;
    for segment in text.split('/').skip(1) {
        let trimmed = segment.trim();
        ends_in_dots = false;
        match segment {
            "." => ends_in_dots = true,
            ".." => {
                ends_in_dots = true;
                out.pop().ok_or(Ambiguous("its dot segments lead above the root"))?;
            }
            // Windows drops dots and spaces at the end of a name.
            _ if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte == b'.') => {
                return Err(Ambiguous("it has a segment of dots that is neither `.` nor `..`"));
            }
            _ => out.push(segment),
        }
        changed |= ends_in_dots;
    }
    if ends_in_dots {
        out.push("");
    }
    Ok(changed.then(|| format!("/{}", out.join("/"))))
}
