//! How a value is written into a file, so that it stays a value there.

use std::fmt::Write as _;

use crate::manifest::source::is_unprintable;

/// A double-quoted JSON string, which is also a double-quoted YAML scalar (YAML 1.2, section 7.3.1).
///
/// Everything that isn't printable ASCII or harmless text is escaped: a reviewer sees a direction override as `\u202e`.
/// For the invisible characters beyond the basic plane the two notations differ (a pair of surrogates in JSON is an error
/// in YAML), and YAML's is taken.
pub(crate) fn json(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            _ if is_unprintable(character) || is_noncharacter(character) => {
                let code = u32::from(character);
                // Writing to a string can't fail.
                let _ = match u16::try_from(code) {
                    Ok(code) => write!(quoted, "\\u{code:04x}"),
                    Err(_) => write!(quoted, "\\U{code:08x}"),
                };
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// What YAML doesn't count as printable (YAML 1.2, section 5.1) beside the controls.
fn is_noncharacter(character: char) -> bool {
    matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// [`json`] with `$` doubled, for files in which Compose replaces variables (Compose specification, "Interpolation").
pub(super) fn compose(text: &str) -> String {
    json(text).replace('$', "$$")
}

/// A single word of a POSIX shell in single quotes (POSIX.1-2024, Shell Command Language, 2.2.2).
pub(crate) fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{compose, json, shell};

    #[test]
    fn what_hides_from_a_reviewer_is_escaped() {
        assert_eq!(json("a\u{202e}b\u{0}\u{feff}\u{2028}"), "\"a\\u202eb\\u0000\\ufeff\\u2028\"");
        assert_eq!(json("\u{e0041}\u{1f600}"), "\"\\U000e0041\u{1f600}\"");
        assert_eq!(serde_yaml::from_str::<String>(&json("\u{e0041}")).expect("YAML"), "\u{e0041}");
        assert_eq!(compose("${HOME} $$"), "\"$${HOME} $$$$\"");
        assert_eq!(shell("it's"), "'it'\\''s'");
    }

    proptest! {
        #[test]
        fn every_text_reads_back_from_yaml_and_json(text in any::<String>()) {
            let quoted = json(&text);
            if !quoted.contains("\\U") {
                prop_assert_eq!(&serde_json::from_str::<String>(&quoted).expect("JSON"), &text);
            }
            prop_assert_eq!(&serde_yaml::from_str::<String>(&quoted).expect("YAML"), &text);
        }

        #[test]
        fn every_text_without_nul_reaches_a_shell_unchanged(text in "[^\0]*") {
            let output = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", shell(&text))]).output().expect("a shell");
            prop_assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), text);
        }
    }
}
