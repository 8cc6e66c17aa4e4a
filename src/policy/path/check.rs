//! What a path must not have, since no two origins would agree on it.

use super::Ambiguous;
use super::normalise::{decode, escape};

/// Whether a path has one reading only: nothing to decode, drop, merge or resolve.
pub(super) fn is_plain(path: &str) -> bool {
    let mut rest = path.bytes();
    if rest.next() != Some(b'/') {
        return false;
    }
    // The start of a segment, a segment of dots only, or any other.
    let (mut start, mut dots) = (true, false);
    for byte in rest {
        match byte {
            b'/' if start || dots => return false,
            b'/' => start = true,
            b'.' => (start, dots) = (false, start || dots),
            b'%' | b';' | b'#' | b'?' | b'\\' | ..=b' ' | 0x7f.. => return false,
            _ => (start, dots) = (false, false),
        }
    }
    !dots
}

/// Refuses what has no sane reading, as it was sent and after it was decoded.
pub(super) fn sane(path: &str) -> Result<(), Ambiguous> {
    if !path.starts_with('/') {
        return Err(Ambiguous("it does not start with a slash"));
    }
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'\\' => return Err(Ambiguous("it has a backslash")),
            b'#' | b'?' => return Err(Ambiguous("it has a query or a fragment")),
            ..=b' ' | 0x7f.. => {
                return Err(Ambiguous("it has a space, a control character or one that isn't ASCII"));
            }
            b'%' if path.get(at..).and_then(escape).is_none() => {
                return Err(Ambiguous("it has a `%` that escapes nothing"));
            }
            _ => {}
        }
    }
    let Some(once) = decode(path, |_| true)? else { return Ok(()) };
    characters(&once)?;
    // What an origin that decodes twice would make of it.
    let Some(twice) = decode(&once, |_| true)? else { return Ok(()) };
    characters(&twice)?;
    let mut escapes = (0..once.len()).filter_map(|at| once.get(at..).and_then(escape));
    if escapes.any(|byte| b"./\\%;?#".contains(&byte))
        || (0..twice.len()).any(|at| twice.get(at..).is_some_and(|rest| escape(rest).is_some()))
    {
        return Err(Ambiguous("it has dots, slashes or other delimiters that are encoded twice"));
    }
    Ok(())
}

/// Refuses characters that end a text, or that some origins turn into delimiters.
fn characters(decoded: &str) -> Result<(), Ambiguous> {
    for character in decoded.chars() {
        match character {
            '\\' => return Err(Ambiguous("it has an encoded backslash")),
            _ if character.is_control() => return Err(Ambiguous("it has an encoded control character")),
            _ if is_lookalike(character) => {
                return Err(Ambiguous(
                    "it has a character that may be read as a dot, a slash or another delimiter",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Characters that compatibility normalisation (Unicode, NFKC) or a code page's best fit turns into `.`, `/`, `\`, `%` or
/// `;`.
fn is_lookalike(character: char) -> bool {
    matches!(
        character,
        // Dots.
        '\u{2024}' | '\u{2025}' | '\u{fe52}' | '\u{ff0e}'
        // Slashes, alone and in `a/c` and the like.
        | '\u{2044}' | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' | '\u{2215}' | '\u{ff0f}'
        // Backslashes.
        | '\u{2216}' | '\u{29f5}' | '\u{29f9}' | '\u{fe68}' | '\u{ff3c}'
        // Percent signs and semicolons.
        | '\u{fe6a}' | '\u{ff05}' | '\u{37e}' | '\u{fe54}' | '\u{ff1b}'
    )
}
