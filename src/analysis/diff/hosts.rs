//! The hosts that rules tell apart.
//!
//! Each pattern stands for the hosts for which no other pattern is more specific. That divides all hosts: a host is in the
//! share of exactly one pattern, or no rule names it.

/// Whether every host of `narrow` is one of `wide`. Both are a name or an address, or `*.` and a domain.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    wide == narrow || below(wide, narrow)
}

/// Whether `narrow` is something below a domain.
fn below(wide: &str, narrow: &str) -> bool {
    let is_address = narrow.parse::<std::net::IpAddr>().is_ok();
    // With the dot: `*.a.example` is below `*.example`, and `a.example` too, and neither is below `*.a.example`.
    wide.strip_prefix('*').is_some_and(|domain| {
        let name = narrow.strip_prefix("*.").unwrap_or(narrow);
        !is_address && name.len() > domain.len() && name.ends_with(domain)
    })
}

/// How specific a pattern is: a name before every domain, and a longer domain before a shorter one.
pub(super) fn rank(pattern: &str) -> (bool, usize) {
    (!pattern.starts_with("*."), pattern.len())
}

/// The pattern in whose share a host is.
#[cfg(test)]
pub(super) fn share<'a>(patterns: impl Iterator<Item = &'a str>, host: &str) -> Option<&'a str> {
    patterns.filter(|pattern| covers(pattern, host)).max_by_key(|pattern| rank(pattern))
}

#[cfg(test)]
mod tests {
    use super::{covers, share};

    #[test]
    fn a_domain_covers_what_is_below_it_and_not_itself() {
        assert!(covers("*.a.example", "x.a.example") && covers("*.a.example", "*.x.a.example"));
        assert!(covers("*.a.example", "*.a.example") && covers("a.example", "a.example"));
        assert!(!covers("*.a.example", "a.example") && !covers("*.a.example", "xa.example"));
        assert!(!covers("a.example", "*.a.example") && !covers("*.x.a.example", "*.a.example"));
        assert!(!covers("*.0.0.1", "10.0.0.1"));
    }

    #[test]
    fn a_host_is_in_the_share_of_the_most_specific_pattern() {
        let patterns = ["*.b.example", "a.b.example", "*.a.b.example"];
        let share = |host| share(patterns.into_iter(), host);
        assert_eq!(share("a.b.example"), Some("a.b.example"));
        assert_eq!(share("x.a.b.example"), Some("*.a.b.example"));
        assert_eq!(share("x.b.example"), Some("*.b.example"));
        assert_eq!(share("b.example"), None);
    }
}
