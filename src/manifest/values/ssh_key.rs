//! An upstream's public host key.

use super::super::decode::Invalid;
use super::super::source::shown;
use super::{one_line, text};

/// The kinds of key that OpenSSH accepts as a host key (`HostKeyAlgorithms` in `sshd_config(5)`), without certificates.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

text! {
    /// A public key as OpenSSH writes it: its kind and its base64; a comment is dropped.
    HostKey, "a public host key, such as `ssh-ed25519 AAAA…`", |text: &str| {
        one_line(text, "the host key")?;
        let mut words = text.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        if !KINDS.contains(&kind) {
            let pasted = text.split_ascii_whitespace().nth(1).is_some_and(|second| KINDS.contains(&second));
            let hint = if pasted {
                "leave out the host name at the start of the line"
            } else {
                "paste the key of `ssh-keyscan HOST` without the host name, after comparing its fingerprint"
            };
            return Err(Invalid::with_hint(format!("`{}` is not a kind of host key", shown(kind)), hint));
        }
        let body = words.next().unwrap_or_default();
        if !names_kind(body, kind) {
            return Err(Invalid::with_hint(
                format!("the base64 part is not a key of the kind `{kind}`"),
                "copy the whole line of the public key",
            ));
        }
        Ok(format!("{kind} {body}"))
    }
}

/// Tells whether a base64 text is a key blob that starts with the name of its kind (RFC 4253, section 6.6), and has more.
fn names_kind(body: &str, kind: &str) -> bool {
    let Some(blob) = decode_base64(body) else { return false };
    let Some((length, rest)) = blob.split_first_chunk::<4>() else { return false };
    let length = u32::from_be_bytes(*length) as usize;
    length == kind.len() && rest.get(..length) == Some(kind.as_bytes()) && rest.len() > length + 4
}

/// Decodes base64 with its padding (RFC 4648, section 4).
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(body.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::super::decode::Scalar as _;
    use super::HostKey;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi";

    #[test]
    fn a_comment_is_dropped_and_the_key_kept() {
        assert_eq!(HostKey::parse(&format!("{KEY} ops@example.org")).expect("a key").as_str(), KEY);
    }

    #[test]
    fn a_key_of_another_kind_than_it_says_is_refused() {
        assert!(HostKey::parse(&KEY.replace("ssh-ed25519", "ssh-rsa")).is_err());
        assert!(HostKey::parse("ssh-ed25519 AAAA").is_err());
        assert!(HostKey::parse("ssh-ed25519").is_err());
    }

    #[test]
    fn a_second_line_is_refused() {
        assert!(HostKey::parse(&format!("{KEY}\nevil ssh-rsa AAAA")).is_err());
    }

    #[test]
    fn a_pasted_known_hosts_line_gets_a_hint() {
        let error = HostKey::parse(&format!("git.example.org {KEY}")).expect_err("it has a host");
        assert!(error.hint.is_some_and(|hint| hint.contains("leave out the host name")));
    }
}
