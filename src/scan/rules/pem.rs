//! A private key in PEM form, after `-----BEGIN`.

use super::shape::Secret;
use crate::scan::text::{Read, Text, sextet};
use crate::scan::value::Outcome;

/// The longest label, such as ` RSA PRIVATE KEY`.
const LABEL: usize = 40;

/// How far the key may be from the label: lines such as `Proc-Type` stand between them.
const HEADERS: usize = 400;

/// How many digits of base64 stand together at least where the key begins. Documents stop earlier, with dots.
const TOGETHER: usize = 48;

/// The most bytes that a key is looked at for.
const LONGEST: usize = 24 << 10;

/// Reads the rest of a private key. The secret is what is in it, whatever separates its lines.
pub(super) fn read(text: Text<'_>, start: usize, secret: &mut Secret) -> Outcome {
    let mut label = Vec::new();
    let mut at = start;
    loop {
        match text.loose(at) {
            Read::Byte(b'-', _) => break,
            Read::Byte(byte @ (b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'+'), next) if label.len() < LABEL => {
                label.push(if byte == b'+' { b' ' } else { byte });
                at = next;
            }
            Read::More => return Outcome::More,
            _ => return Outcome::No,
        }
    }
    if !label.ends_with(b"PRIVATE KEY") && !label.ends_with(b"PRIVATE KEY BLOCK") {
        return Outcome::No;
    }
    match dashes(text, at) {
        Outcome::Yes(end) => at = end,
        other => return other,
    }
    secret.restart(start);
    let body = at;
    let mut found = false;
    while at < body + LONGEST {
        match text.loose(at) {
            Read::Byte(byte, next) if sextet(byte).is_some() && byte != b'-' && byte != b'_' => {
                secret.canonical.push(byte);
                found |= secret.canonical.len() >= TOGETHER;
                at = next;
            }
            // Between lines, and between the texts that a program puts together.
            Read::Byte(b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\'' | b',' | b'=' | b'\\', next) if found => {
                at = next;
            }
            Read::Byte(byte, next) if !found && at < body + HEADERS => {
                if byte == b'-' {
                    match dashes(text, at) {
                        Outcome::No => {}
                        Outcome::More => return Outcome::More,
                        Outcome::Yes(_) => break,
                    }
                }
                secret.canonical.clear();
                at = next;
            }
            Read::More => return Outcome::More,
            _ => break,
        }
    }
    if found { Outcome::Yes(at) } else { Outcome::No }
}

/// Reads five dashes.
fn dashes(text: Text<'_>, mut at: usize) -> Outcome {
    for _ in 0..5 {
        match text.loose(at) {
            Read::Byte(b'-', next) => at = next,
            Read::More => return Outcome::More,
            _ => return Outcome::No,
        }
    }
    Outcome::Yes(at)
}
