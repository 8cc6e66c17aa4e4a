//! Patterns over slash-separated names: refs, paths in a tree.
//!
//! `*` stands for any run of characters within one segment, `**` as a whole segment for any number of segments,
//! everything else for itself. There are no classes and no escapes: what a reviewer reads is what matches.

/// Tells whether `name` matches `pattern` as a whole.
///
/// Both are bytes, since neither a git ref nor a path in a tree needs to be UTF-8.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let slash = |byte: &u8| *byte == b'/';
    // Greedy matching with one point to come back to: linear in practice, quadratic at worst, never exponential. Segments
    // are found as they are needed: a request's path is judged without an allocation.
    run(
        pattern.split(slash),
        name.split(slash),
        |segment| *segment == b"**",
        |pattern, name| segment(pattern, name),
    )
}

/// Tells whether all names that match `narrow` match `wide` too. It may say no where that is so, and never yes where it isn't.
///
/// The narrow pattern is matched like a name, whose wildcards stand for what they may become: so one that stands for any
/// number of segments is taken by nothing but another such one.
pub fn is_within(narrow: &[u8], wide: &[u8]) -> bool {
    let slash = |byte: &u8| *byte == b'/';
    run(
        wide.split(slash),
        narrow.split(slash),
        |segment| *segment == b"**",
        |wide, narrow| *narrow != b"**" && segment(wide, narrow),
    )
}

fn segment(pattern: &[u8], name: &[u8]) -> bool {
    run(pattern.iter(), name.iter(), |byte| **byte == b'*', |pattern, name| pattern == name)
}

fn run<T>(
    mut pattern: impl Iterator<Item = T> + Clone,
    mut name: impl Iterator<Item = T> + Clone,
    star: impl Fn(&T) -> bool,
    equal: impl Fn(&T, &T) -> bool,
) -> bool {
    // What follows the last star, and what it has not taken yet.
    let mut back = None;
    loop {
        #[cfg(test)]
        super::work::did(1);
        let here = name.clone();
        let Some(item) = name.next() else { return pattern.all(|want| star(&want)) };
        match pattern.next() {
            Some(want) if star(&want) => {
                back = Some((pattern.clone(), here.clone()));
                name = here;
            }
            Some(want) if equal(&want, &item) => {}
            _ => match &mut back {
                Some((after_star, untaken)) => {
                    untaken.next();
                    (pattern, name) = (after_star.clone(), untaken.clone());
                }
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_within, matches};

    fn check(pattern: &str, name: &str) -> bool {
        matches(pattern.as_bytes(), name.as_bytes())
    }

    #[test]
    fn a_star_stays_within_one_segment() {
        assert!(check("agent/*", "agent/fix"));
        assert!(check("a*c/x", "abbc/x"));
        assert!(!check("agent/*", "agent/fix/two"));
        assert!(!check("agent/*", "agent"));
    }

    #[test]
    fn two_stars_span_segments() {
        assert!(check("agent/**", "agent/fix/two"));
        assert!(check("**", "anything/at/all"));
        assert!(check("**/x", "x"));
        assert!(check("a/**/z", "a/z"));
        assert!(check("a/**/z", "a/b/c/z"));
        assert!(!check("agent/**", "agents/fix"));
    }

    #[test]
    fn everything_else_stands_for_itself() {
        assert!(check("a.b", "a.b"));
        assert!(!check("a.b", "axb"));
        assert!(!check("[ab]", "a"));
        assert!(check("[ab]", "[ab]"));
    }

    #[test]
    fn a_hostile_pattern_ends_in_bounded_time() {
        let pattern = "*a".repeat(2_000) + "b";
        let name = "a".repeat(4_000);
        assert!(!check(&pattern, &name));
    }

    #[test]
    fn a_pattern_is_within_one_that_matches_all_that_it_matches() {
        let within = |narrow: &str, wide: &str| is_within(narrow.as_bytes(), wide.as_bytes());
        for (narrow, wide) in [
            ("a/b", "a/b"),
            ("a/b", "a/*"),
            ("a/b*", "a/*"),
            ("a/*", "a/**"),
            ("a/**", "a/**"),
            ("a/**", "**"),
            ("a/b/**/c", "a/**/c"),
            ("a/x*y", "a/*y"),
        ] {
            assert!(within(narrow, wide), "{narrow} in {wide}");
        }
        for (narrow, wide) in [
            ("a/**", "a/*"),
            ("**", "*"),
            ("**", "a/**"),
            ("a/*", "a/b"),
            ("a/*", "a/b*"),
            ("a/*y", "a/x*y"),
            ("ab/**", "a/**"),
            ("a/**/c", "a/*/c"),
        ] {
            assert!(!within(narrow, wide), "{narrow} not in {wide}");
        }
    }

    proptest! {
        #[test]
        fn no_name_of_a_pattern_is_outside_of_one_that_it_is_within(
            narrow in "(a|b|\\*|\\*\\*|/){0,6}",
            wide in "(a|b|\\*|\\*\\*|/){0,6}",
            name in "[ab/]{0,6}",
        ) {
            let [narrow, wide, name] = [&narrow, &wide, &name].map(String::as_bytes);
            if is_within(narrow, wide) && matches(narrow, name) {
                prop_assert!(matches(wide, name));
            }
        }
    }
}
