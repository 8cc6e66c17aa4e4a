//! Text of somebody else, made harmless.

/// Makes text harmless for a terminal and a page: control characters and those that change the reading direction or
/// can't be seen become `?`, white space becomes a space.
pub(crate) fn neutral(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.trim_end_matches(['\n', '\r'])
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            '\u{00ad}'
            | '\u{034f}'
            | '\u{061c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' => '?',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

/// Bytes in hexadecimal digits, the small ones.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::neutral;

    #[test]
    fn what_steers_a_terminal_or_turns_the_reading_direction_becomes_a_question_mark() {
        assert_eq!(neutral(b"a\x1b[31mb\x07\tc\x9b\n"), "a?[31mb? c\u{fffd}");
        assert_eq!(neutral("a\u{202e}b\u{200b}c\u{e0041}\u{ad}d".as_bytes()), "a?b?c??d");
        assert_eq!(
            neutral("zwei\nZeilen, ein\tTab und Umlaute: äöü".as_bytes()),
            "zwei Zeilen, ein Tab und Umlaute: äöü"
        );
        assert_eq!(neutral(b"\xff"), "\u{fffd}");
    }
}
