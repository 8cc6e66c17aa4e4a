//! Which ref names are passed on.

use super::id::ObjectId;

/// Says what is wrong with a ref's name, or nothing.
///
/// It must be a branch or a tag, and valid by the rules of git-check-ref-format(1), all of which are checked again here:
/// the name goes on to another server. A few valid names are refused as well, since they would be read as something
/// else somewhere: `HEAD`, `refs/...` and `-x` as branch or tag, and what looks like an object's name.
pub(super) fn problem(name: &[u8]) -> Option<&'static str> {
    let Some(short) = name.strip_prefix(b"refs/heads/").or_else(|| name.strip_prefix(b"refs/tags/")) else {
        return Some("it is neither a branch nor a tag");
    };
    let control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    if name.iter().any(|byte| control(byte) || b" ~^:?*[\\".contains(byte)) {
        return Some("its name has a character that a ref's name can't have");
    }
    let bad = |part: &[u8]| part.is_empty() || part.starts_with(b".") || part.ends_with(b".lock");
    if name.split(|byte| *byte == b'/').any(bad) {
        return Some("a part of its name is empty, begins with a dot or ends with `.lock`");
    }
    let within = |what: &[u8]| name.windows(what.len()).any(|window| window == what);
    if within(b"..") || within(b"@{") || name.ends_with(b".") {
        return Some("its name has `..` or `@{` in it, or ends with a dot");
    }
    if short.eq_ignore_ascii_case(b"HEAD") || short == b"@" {
        return Some("its name would be taken for HEAD");
    }
    if short.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"refs/")) || short.starts_with(b"-") {
        return Some("its name would be taken for a full ref name or for an option");
    }
    if ObjectId::from_hex(&short.to_ascii_lowercase()).is_some() {
        return Some("its name would be taken for an object's name");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn ordinary_names_are_passed_on() {
        for name in [
            "refs/heads/main",
            "refs/heads/agent/x-1_2.3",
            "refs/tags/v1.0",
            "refs/heads/@x",
            "refs/heads/\u{e9}",
        ] {
            assert_eq!(problem(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let names = [
            "",
            "HEAD",
            "refs",
            "refs/heads",
            "refs/heads/",
            "refs/notes/x",
            "refs/replace/x",
            "refs/pull/1/head",
            "refs/headsx/y",
            "refs/heads/HEAD",
            "refs/tags/head",
            "refs/heads/@",
            "refs/heads/refs/heads/x",
            "refs/heads/-x",
            "refs/heads/a//b",
            "refs/heads/a/",
            "refs/heads/.a",
            "refs/heads/a/.b",
            "refs/heads/a.lock/b",
            "refs/heads/a.lock",
            "refs/heads/a..b",
            "refs/heads/a@{b",
            "refs/heads/a.",
            "refs/heads/a b",
            "refs/heads/a\tb",
            "refs/heads/a\u{7f}",
            "refs/heads/a~",
            "refs/heads/a^",
            "refs/heads/a:b",
            "refs/heads/a?",
            "refs/heads/a*",
            "refs/heads/a[",
            "refs/heads/a\\b",
            "refs/Heads/a",
            "refs/heads/../x",
            "refs/heads/0123456789abcdef0123456789abcdef01234567",
        ];
        for name in names {
            assert!(problem(name.as_bytes()).is_some(), "{name}");
        }
    }
}
