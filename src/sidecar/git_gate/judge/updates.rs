//! What the hook is told on its standard input.

use super::id::ObjectId;

/// One ref that the client wants to change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefUpdate {
    /// What the ref names now, as the client says; it may be a lie.
    pub old: ObjectId,
    /// What it shall name; all zeros for a deletion.
    pub new: ObjectId,
    /// The full name of the ref: bytes, which need not be UTF-8.
    pub name: Vec<u8>,
}

/// A line that isn't `<old> SP <new> SP <ref> LF`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} of the hook's input is not `<old> <new> <ref>`")]
pub struct UpdatesError {
    /// The line, from 1.
    pub line: usize,
}

/// Parses the standard input of a `pre-receive` hook (githooks(5)).
pub fn parse_updates(input: &[u8]) -> Result<Vec<RefUpdate>, UpdatesError> {
    if input.is_empty() {
        return Ok(Vec::new());
    }
    // Each line is complete; a missing last line break means that something was cut off.
    let lines =
        input.strip_suffix(b"\n").ok_or(UpdatesError { line: input.split(|byte| *byte == b'\n').count() })?;
    let parsed = lines.split(|byte| *byte == b'\n').enumerate();
    parsed.map(|(at, line)| parse(line).ok_or(UpdatesError { line: at + 1 })).collect()
}

fn parse(line: &[u8]) -> Option<RefUpdate> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (old, new, name) =
        (ObjectId::from_hex(parts.next()?)?, ObjectId::from_hex(parts.next()?)?, parts.next()?);
    let same_hash = old.as_bytes().len() == new.as_bytes().len();
    (same_hash && !name.is_empty()).then(|| RefUpdate { old, new, name: name.to_vec() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_parsed_and_nothing_else_is() {
        let (one, two) = ("1".repeat(40), "2".repeat(64));
        let updates =
            parse_updates(format!("{one} {one} refs/heads/a b\n{two} {two} \u{e9}\n").as_bytes()).unwrap();
        assert_eq!(updates[0].name, b"refs/heads/a b");
        assert_eq!(updates[1].old.to_string(), two);
        assert_eq!(parse_updates(b""), Ok(Vec::new()));
        for bad in
            [format!("{one} {one} x"), format!("{one} {two} x\n"), format!("{one} {one} \n"), "\n".into()]
        {
            assert_eq!(parse_updates(bad.as_bytes()), Err(UpdatesError { line: 1 }), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_parsed_or_refused(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(parse_updates(&input));
        }

        #[test]
        fn what_git_writes_is_read_back(lines in proptest::collection::vec(("[0-9a-f]{40}", "[0-9a-f]{40}", "[^\n]{1,20}"), 0..9)) {
            let input: Vec<u8> =
                lines.iter().flat_map(|(old, new, name)| format!("{old} {new} {name}\n").into_bytes()).collect();
            let updates = parse_updates(&input).unwrap();
            let again: Vec<_> = updates
                .iter()
                .map(|update| (update.old.to_string(), update.new.to_string(), String::from_utf8(update.name.clone()).unwrap()))
                .collect();
            prop_assert_eq!(again, lines);
        }
    }
}
