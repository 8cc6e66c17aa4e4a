//! The notations of a secret, written by encoders that the scan has nothing of.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Writes bytes in a notation.
pub(super) fn written(notation: &str, bytes: &[u8]) -> Vec<u8> {
    let text = || String::from_utf8(bytes.to_vec()).expect("a secret is text");
    let json = |text: &str| {
        let quoted = serde_json::to_string(text).expect("text is JSON");
        let text = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        text.expect("a text in JSON has quotes").to_owned()
    };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = |write: &dyn Fn(u8) -> String| bytes.iter().map(|byte| write(*byte)).collect::<String>();
    let percent =
        |byte: u8| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    match notation {
        "plain" => bytes.to_vec(),
        "json" => json(&text()).into_bytes(),
        "json-slash" => json(&text()).replace('/', "\\/").into_bytes(),
        "json-all" => each(&|byte| format!("\\u{byte:04x}")).into_bytes(),
        "json-twice" => json(&json(&text())).into_bytes(),
        "percent" => each(&percent).into_bytes(),
        "percent-all" => each(&|byte| format!("%{byte:02X}")).into_bytes(),
        "percent-lower" => {
            each(&|byte| if unreserved(byte) { percent(byte) } else { format!("%{byte:02x}") }).into_bytes()
        }
        "percent-twice" => each(&percent).replace('%', "%25").into_bytes(),
        "form" => each(&|byte| if byte == b' ' { "+".to_owned() } else { percent(byte) }).into_bytes(),
        "backslash-x" => each(&|byte| format!("\\x{byte:02X}")).into_bytes(),
        "base64" => STANDARD.encode(bytes).into_bytes(),
        "base64-after-1" => STANDARD.encode([b"u", bytes, b":more"].concat()).into_bytes(),
        "base64-after-2" => STANDARD.encode([b"u:", bytes, b"\n"].concat()).into_bytes(),
        "base64-url" => URL_SAFE_NO_PAD.encode([b"me:", bytes].concat()).into_bytes(),
        "base64-lines" => {
            lines(&STANDARD.encode([b"before it there is some text, ", bytes, b" and more"].concat()))
        }
        "base64-in-json" => STANDARD.encode(bytes).replace('/', "\\/").into_bytes(),
        "base64-in-form" => written("percent", STANDARD.encode(bytes).as_bytes()),
        "hex" => hex(bytes).into_bytes(),
        "hex-upper" => hex(bytes).to_uppercase().into_bytes(),
        _ => panic!("no such notation: {notation}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all of it");
        text
    })
}

/// Breaks a text into lines of 76 characters (RFC 2045, section 6.8).
fn lines(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..])
}
