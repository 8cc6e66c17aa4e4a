//! What must be true of a token beside its shape.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::Deserialize;

use super::shape::Secret;

/// A condition.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// The last six characters are the CRC-32 of those before them, in base62.
    Crc32Base62,
    /// It looks like chance: letters of both cases and digits, no sequence, no word that stands for another.
    Random,
    /// It is no sequence and no word that stands for another.
    NoExample,
    /// Digits are among the letters.
    Digits,
    /// At least a fifth of the letters is of either case, as it isn't in words.
    Mixed,
    /// The first part is the header of a JSON Web Token.
    Jwt,
    /// The first part is a number in base64.
    NumberInBase64,
    /// What is in base64 is a private key in PEM form.
    PemInBase64,
    /// It is a password that is no example.
    Password,
    /// This word is in it.
    Contains(String),
    /// It ends with this word.
    Ends(String),
}

impl Check {
    pub(super) fn holds(&self, secret: &Secret) -> bool {
        let whole = &secret.canonical;
        let varying = secret.varying();
        match self {
            Self::Crc32Base62 => crc32_base62(varying),
            Self::Random => random(varying),
            Self::NoExample => !is_example(varying),
            Self::Digits => varying.iter().any(u8::is_ascii_digit),
            Self::Mixed => {
                let upper = varying.iter().filter(|byte| byte.is_ascii_uppercase()).count();
                (varying.len()..=varying.len() * 4).contains(&(upper * 5))
            }
            Self::Jwt => is_jwt(whole),
            Self::NumberInBase64 => decoded(first(whole))
                .is_some_and(|text| text.len() >= 17 && text.iter().all(u8::is_ascii_digit)),
            Self::PemInBase64 => {
                let start = whole.get(..whole.len().min(64) / 4 * 4).unwrap_or_default();
                decoded(start).is_some_and(|text| memchr::memmem::find(&text, b"PRIVATE KEY-----").is_some())
            }
            Self::Password => is_password(varying),
            Self::Contains(word) => memchr::memmem::find(whole, word.as_bytes()).is_some(),
            Self::Ends(word) => whole.ends_with(word.as_bytes()),
        }
    }
}

/// Computes how many bits a character of a text tells.
pub(super) fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let all = f32::from(u16::try_from(text.len()).unwrap_or(u16::MAX));
    let bits = |count: &u16| {
        let share = f32::from(*count) / all;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

/// Whether a text looks like chance.
pub(super) fn random(text: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && !text.iter().all(u8::is_ascii_hexdigit)
        && entropy(text) >= 4.0
        && !is_example(text)
}

/// Words that no token holds by chance.
const EXAMPLES: &[&[u8]] =
    &[b"example", b"placeholder", b"redacted", b"changeme", b"dummy", b"your-", b"your_", b"xxxxx"];

/// Whether a text stands for another one.
fn is_example(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    EXAMPLES.iter().any(|word| memchr::memmem::find(&lower, word).is_some()) || is_sequence(text)
}

/// Whether seven characters in a row are the same or count up: `aaaaaaa`, `1234567`.
fn is_sequence(text: &[u8]) -> bool {
    let steps = |step: u8| {
        let mut length = 1;
        text.array_windows().any(|[first, second]| {
            length = if first.wrapping_add(step) == *second { length + 1 } else { 1 };
            length >= 7
        })
    };
    steps(0) || steps(1)
}

fn first(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'.').next().unwrap_or_default()
}

/// Decodes base64 of either alphabet, with padding or without.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let url: Vec<u8> = text
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, config).decode(url).ok()
}

/// The payload of the token that every introduction shows: the number 1234567890 and a name.
const SHOWN: &[u8] = b"1234567890";

/// Whether the first part says how the third was made, and the second is no example.
fn is_jwt(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else { return false };
    let (Some(header), Some(payload)) = (decoded(header), decoded(payload)) else { return false };
    let object =
        |text: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text).ok();
    object(&header).is_some_and(|header| header.contains_key("alg"))
        && payload.starts_with(b"{\"")
        && memchr::memmem::find(&payload, SHOWN).is_none()
}

/// Words that stand in the passwords of examples, and what stands for a value that a program puts in.
const SHOWN_PASSWORDS: &[&[u8]] = &[b"passw", b"secret", b"token", b"1234", b"$", b"("];

/// Whether a password is more than an example.
fn is_password(password: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    password.iter().any(u8::is_ascii_digit)
        && password.iter().any(u8::is_ascii_alphabetic)
        && !SHOWN_PASSWORDS.iter().any(|word| memchr::memmem::find(&lower, word).is_some())
        && entropy(password) >= 2.75
        && !is_example(password)
}

/// The digits of base62.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Computes the CRC-32 (ISO-HDLC) of a text.
pub(super) fn crc32(text: &[u8]) -> u32 {
    !text.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

fn crc32_base62(text: &[u8]) -> bool {
    let Some((random, sum)) = text.split_last_chunk::<6>() else { return false };
    let mut rest = crc32(random) as usize;
    sum.iter().rev().all(|digit| {
        let expected = BASE62.get(rest % 62);
        rest /= 62;
        expected == Some(digit)
    })
}
