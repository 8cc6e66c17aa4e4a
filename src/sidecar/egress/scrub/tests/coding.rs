use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::super::coding::{Coding, Unknown, coding, textual};

fn encoded(values: &[&'static str]) -> Result<Option<Coding>, Unknown> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
    }
    coding(&headers)
}

#[test]
fn a_coding_is_known_by_its_registered_name_in_any_case() {
    assert_eq!(encoded(&[]), Ok(None));
    assert_eq!(encoded(&["identity"]), Ok(None));
    assert_eq!(encoded(&["GZip"]), Ok(Some(Coding::Gzip)));
    assert_eq!(encoded(&["x-gzip"]), Ok(Some(Coding::Gzip)));
    assert_eq!(encoded(&[" deflate "]), Ok(Some(Coding::Deflate)));
    assert_eq!(encoded(&["br", "identity"]), Ok(Some(Coding::Brotli)));
    assert_eq!(encoded(&["zstd,"]), Ok(Some(Coding::Zstd)));
}

#[test]
fn several_codings_or_an_unknown_one_are_none_that_is_looked_into() {
    for values in [&["gzip, br"][..], &["gzip", "gzip"], &["compress"], &["aes128gcm"], &["gzip;q=1"]] {
        assert_eq!(encoded(values), Err(Unknown), "{values:?}");
    }
}

#[test]
fn text_is_told_by_its_type_and_what_has_none_may_be_text() {
    let is = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        textual(&headers)
    };
    assert!(textual(&HeaderMap::new()));
    for text in [
        "text/html; charset=utf-8",
        "TEXT/EVENT-STREAM",
        "application/json",
        "application/problem+json;a=b",
        "image/svg+xml",
        "application/x-www-form-urlencoded",
        "multipart/byteranges; boundary=x",
        "",
    ] {
        assert!(is(text), "{text}");
    }
    for bytes in ["application/octet-stream", "image/png", "application/gzip"] {
        assert!(!is(bytes), "{bytes}");
    }
}
