//! Patterns over slash-separated names: refs, paths in a tree.
//!
//! `*` stands for any run of characters within one segment, `**` as a whole segment for any number of segments,
//! everything else for itself. There are no classes and no escapes: what a reviewer reads is what matches.

/// Tells whether `name` matches `pattern` as a whole.
///
/// Both are bytes, since neither a git ref nor a path in a tree needs to be UTF-8.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let pattern: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').collect();
    let name: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    // Greedy matching with one point to come back to: linear in practice, quadratic at worst, never exponential.
    run(&pattern, &name, |segment| *segment == b"**", |pattern, name| segment(pattern, name))
}

fn segment(pattern: &[u8], name: &[u8]) -> bool {
    run(pattern, name, |byte| *byte == b'*', |pattern, name| pattern == name)
}

fn run<T>(pattern: &[T], name: &[T], star: impl Fn(&T) -> bool, equal: impl Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while let Some(item) = name.get(n) {
        match pattern.get(p) {
            Some(want) if star(want) => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(want) if equal(want, item) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((after_star, taken)) => {
                    back = Some((after_star, taken + 1));
                    p = after_star;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(star)
}

#[cfg(test)]
mod tests {
    use super::matches;

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
}
