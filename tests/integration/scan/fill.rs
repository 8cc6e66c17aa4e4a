//! Filling the holes of a text (tests/corpus/README.md).

use super::notations;

/// Words of plain text.
const WORDS: &[&str] = &[
    "the", "file", "was", "changed", "and", "tests", "pass", "now", "we", "should", "look", "at", "how",
    "it", "reads", "token", "key", "secret", "password", "of", "a", "user", "in", "this", "service",
    "before", "next", "release", "because", "error", "handling", "is", "missing", "for", "empty", "input",
    "deploy", "staging", "api", "database",
];

/// Pieces of code, as they stand in a JSON text.
const CODE: &[&str] = &[
    "function ",
    "return ",
    "const ",
    "(e,t)=>",
    "{",
    "}",
    ";",
    "if(",
    ")",
    "n.",
    "this.state.",
    "=== ",
    "!0",
    "await ",
    "token",
    "apiKey",
    "secret_",
    "password:",
    "sk-",
    "key-",
    "ghp",
    "npm_",
    "hf_",
    "AKIA",
    "eyJ",
    "://",
    ".map(",
    "\\n  ",
    "\\t",
    "[0]",
    "||",
    "&&",
    "0x1f",
    "42",
    "async ",
    "import ",
    "fn ",
    "let ",
    "self.",
    "pub ",
    "impl ",
    "// ",
    "#include <",
    "def ",
    "class ",
    "http",
    "Bearer ",
    "x-api-key",
    "-----",
    "SG.",
    "pat",
    "secret",
    "heroku",
    "aws_",
];

/// Pseudo-random numbers (`SplitMix64`).
pub(super) struct Dice(u64);

impl Dice {
    /// Begins with a number made of a name.
    pub(super) fn of(name: &str) -> Self {
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which isn't zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn chars(&mut self, count: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..count).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    fn pieces(&mut self, count: usize, pieces: &[&str], between: &str) -> Vec<u8> {
        (0..count).map(|_| pieces[self.below(pieces.len())]).collect::<Vec<_>>().join(between).into_bytes()
    }
}

/// What is put into the holes for a secret.
pub(super) enum Secret<'a> {
    None,
    /// A text, which each place escapes as it needs to.
    Text(&'a str),
    /// Bytes that are in a notation already.
    Written(&'a [u8]),
}

/// The holes for a secret.
const SECRETS: [&str; 5] = ["secret", "line", "json", "json-twice", "percent"];

/// Whether a text has a hole for a secret.
pub(super) fn has_secret(text: &str) -> bool {
    SECRETS.iter().any(|hole| text.contains(&format!("<<{hole}>>")))
}

/// Fills the holes of a text.
pub(super) fn fill(text: &str, dice: &mut Dice, secret: &Secret<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    // A bracket more belongs to the text.
    while let Some(at) =
        rest.find("<<").map(|at| at + rest[at..].len() - rest[at..].trim_start_matches('<').len() - 2)
    {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (hole, after) = rest[at + 2..].split_once(">>").expect("a hole ends");
        let (kind, count) =
            hole.split_once(':').map_or((hole, 0), |(kind, count)| (kind, count.parse().expect(hole)));
        rest = after;
        if kind == "repeat" {
            let (inner, after) = repeated(rest);
            for _ in 0..count {
                out.extend(fill(inner, dice, secret));
            }
            rest = after;
        } else if SECRETS.contains(&kind) {
            match secret {
                Secret::None => panic!("no secret for the hole of {text}"),
                Secret::Written(bytes) => out.extend_from_slice(bytes),
                Secret::Text(secret) => out.extend(match kind {
                    "json" => notations::written("json", secret.as_bytes()),
                    "json-twice" => notations::written("json-twice", secret.as_bytes()),
                    "percent" => notations::written("percent", secret.as_bytes()),
                    _ => secret.as_bytes().to_vec(),
                }),
            }
        } else {
            out.extend(made(kind, count, dice));
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Splits what is repeated from what follows.
fn repeated(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, _) in text.match_indices("<<") {
        let hole = &text[at..];
        if hole.starts_with("<<repeat:") {
            depth += 1;
        } else if let Some(after) = hole.strip_prefix("<<end>>") {
            depth -= 1;
            if depth == 0 {
                return (&text[..at], after);
            }
        }
    }
    panic!("what is repeated has no end: {text}");
}

fn made(kind: &str, count: usize, dice: &mut Dice) -> Vec<u8> {
    const HEX: &[u8] = b"0123456789abcdef";
    const DIGITS: &[u8] = b"0123456789";
    const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    match kind {
        "uuid" => {
            let hex = dice.chars(32, HEX);
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join(&b'-')
        }
        "sha1" => dice.chars(40, HEX),
        "sha256" => dice.chars(64, HEX),
        "hex" => dice.chars(count, HEX),
        "digits" => dice.chars(count, DIGITS),
        "base32" => dice.chars(count, BASE32),
        "alnum" => dice.chars(count, &BASE64[..62]),
        "base64" => dice.chars(count, &BASE64[..64]),
        "word" => dice.chars(count, &[&BASE64[..62], b"-_"].concat()),
        "bytes" => dice.bytes(count),
        "sentence" => dice.pieces(count, WORDS, " "),
        "code" => dice.pieces(count.div_ceil(5), CODE, ""),
        // In parts, so that this file holds none.
        "key-id" => [b"AK", &b"IA"[..], &dice.chars(16, BASE32)].concat(),
        "private" => b"PRIVATE".to_vec(),
        _ => panic!("no such hole: {kind}"),
    }
}
