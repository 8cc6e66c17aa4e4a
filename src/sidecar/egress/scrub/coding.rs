//! What the headers say about a body.

use http::header::{self, HeaderMap, HeaderValue};

/// A content coding that can be looked into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// None of those: unknown, or several.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Unknown;

/// Reads Content-Encoding (RFC 9110, section 8.4); none where the body is plain.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Unknown> {
    let mut found = None;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let coding = match token.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                _ => return Err(Unknown),
            };
            if found.replace(coding).is_some() {
                return Err(Unknown);
            }
        }
    }
    Ok(found)
}

/// Makes the headers those of the unpacked body: without what counts or hashes the packed one, and with an `ETag` that
/// says only that the meaning is the same (RFC 9110, section 8.8.1).
pub(crate) fn unpack(headers: &mut HeaderMap) {
    for gone in [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::ACCEPT_RANGES] {
        headers.remove(gone);
    }
    for gone in ["content-digest", "repr-digest", "digest", "content-md5"] {
        headers.remove(gone);
    }
    if let Some(tag) = headers.get_mut(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
    {
        let weak = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat());
        if let Ok(weak) = weak {
            *tag = weak;
        }
    }
}

/// Whether people or programs read the body as text. What doesn't say its type may be.
pub(super) fn textual(headers: &HeaderMap) -> bool {
    const TYPES: [&[u8]; 9] = [
        b"application/graphql",
        b"application/javascript",
        b"application/json",
        b"application/toml",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/x-www-form-urlencoded",
        b"application/xml",
        b"application/yaml",
    ];
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let value = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let value = value.trim_ascii().to_ascii_lowercase();
    // Several parts of one text, and messages within messages, are text as well.
    let whole = [b"text/".as_slice(), b"multipart/", b"message/"].iter().any(|kind| value.starts_with(kind));
    value.is_empty()
        || whole
        || value.ends_with(b"+json")
        || value.ends_with(b"+xml")
        || TYPES.contains(&value.as_slice())
}
