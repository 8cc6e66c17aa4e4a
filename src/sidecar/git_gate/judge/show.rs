//! Names and paths in messages.

/// Makes bytes that somebody else chose fit for a terminal: control characters, and the ones that change the direction
/// of the text, are written as escapes, and so is what isn't UTF-8.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let turns = matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
            if character.is_control() || turns {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Takes secrets out of a message.
pub(super) fn redact(message: &mut String, secrets: &[String]) {
    for secret in secrets {
        // The form in which the message would have it, should it have it at all.
        for form in [secret.clone(), printable(secret.as_bytes())] {
            if !form.is_empty() && message.contains(&form) {
                *message = message.replace(&form, "[redacted]");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{printable, redact};

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(printable("a/\u{e9} b".as_bytes()), "a/\u{e9} b");
        assert_eq!(printable(b"a\n\x1b[2J\xff"), "a\\n\\u{1b}[2J\\xff");
        assert_eq!(printable("\u{202e}".as_bytes()), "\\u{202e}");
    }

    #[test]
    fn secrets_are_taken_out() {
        let mut message = "in `x-hush\\n.txt`".to_owned();
        redact(&mut message, &["hush\n".into(), String::new()]);
        assert_eq!(message, "in `x-[redacted].txt`");
    }
}
