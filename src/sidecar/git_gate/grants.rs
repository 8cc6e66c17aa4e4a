//! What the operator's grants add for the gate.
//!
//! A grant is applied as a whole or not at all, whoever wrote it: its rules go through the manifest's own checks once
//! more. What it adds are push rules beside those of the policy and findings that may pass; there is no word in it that
//! could lift the protection of a path, or of the default branch from a wildcard.

use std::path::Path;
use std::time::Duration;

use super::judge::Granted;
use crate::manifest::values::RefPattern;
use crate::policy::gate::{GatePolicy, PushRule};
use crate::policy::grant::{AllowedFinding, Grant, GrantedPush, VERSION};
use crate::sidecar::grants::{Files, Grants, path, source_of, told, unended};
use crate::sidecar::used::Used;

/// The longest name of a grant: it goes into refusals and logs.
const MAX_NAME: usize = 64;

/// What the directory says at one moment.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Look {
    /// The grants that are in force.
    pub(super) grants: Grants,
    /// What is wrong with others.
    pub(super) problem: Option<String>,
    /// When the next of them ends.
    pub(super) next_end: Option<Duration>,
}

/// Reads the directory as it is now.
pub(super) fn look(directory: &Path, used: Option<&Used>, policy: &GatePolicy, now: Duration) -> Look {
    let (mut grants, mut problems) = Files::read(directory).understand(directory);
    grants.retain(|(name, grant)| match check(name, grant, policy) {
        Ok(()) => true,
        Err(problem) => {
            problems.push(format!("{}: {problem}", path(directory, name).display()));
            false
        }
    });
    let (grants, next_end) = unended(&grants, used, now);
    Look { grants, problem: told(&problems), next_end }
}

/// What the grants add for one repository.
pub(crate) fn granted(grants: &Grants, repository: &str) -> Granted {
    let mut granted = Granted::default();
    // What is allowed without one for a single push doesn't use it up.
    let (once, lasting): (Vec<_>, Vec<_>) = grants.iter().partition(|(_, grant)| grant.once);
    for (name, Grant { version: _, until, once, routes: _, push, findings, secrets: _ }) in
        lasting.into_iter().chain(once)
    {
        let push = push.iter().filter(|push| push.repository == repository);
        // Whatever the file says of itself: it is the one whose removal takes the rule away.
        granted.push.extend(push.map(|push| PushRule { source: source_of(name), ..push.rule.clone() }));
        for allowed in findings.iter().filter(|finding| finding.repository == repository) {
            granted.findings.entry(allowed.finding.clone()).or_insert_with(|| source_of(name));
        }
        if *once {
            granted.once.insert(source_of(name), *until);
        }
    }
    granted
}

fn check(name: &str, grant: &Grant, policy: &GatePolicy) -> Result<(), String> {
    let Grant { version, until: _, once: _, routes: _, push, findings, secrets: _ } = grant;
    if *version != VERSION {
        return Err(format!("its format has version {version}; this program reads version {VERSION}"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err("its name is not made of letters, digits, `-`, `_` and `.`".to_owned());
    }
    let known = |repository: &str| {
        if policy.repositories.contains_key(repository) {
            return Ok(());
        }
        Err(format!("there is no repository `{}`", repository.escape_debug()))
    };
    for GrantedPush { repository, rule: PushRule { source: _, refs, allow } } in push {
        known(repository)?;
        let pattern: RefPattern = refs.parse()?;
        if pattern.as_str() != refs {
            return Err(format!("`{}` is not written from `refs/` on", refs.escape_debug()));
        }
        if allow.is_empty() {
            return Err(format!("the rule for `{refs}` allows nothing"));
        }
    }
    for AllowedFinding { repository, finding } in findings {
        known(repository)?;
        let digits = finding.strip_prefix("f-").unwrap_or_default();
        if digits.len() != 16 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("`{}` is no id of a finding", finding.escape_debug()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::{granted, look};
    use crate::fs;
    use crate::policy::gate::{GatePolicy, VERSION};
    use crate::sidecar::git_gate::judge::tests::fixture::repository;

    const NOW: Duration = Duration::from_hours(500_000);
    const GOOD: &str = "version: 1\npush:\n- repository: app\n  rule: { source: x, refs: refs/heads/feature/**, allow: [create] }\n";

    struct Bottle {
        root: TempDir,
        policy: GatePolicy,
    }

    impl Bottle {
        fn new() -> Self {
            let repositories = ["app", "web"].map(|name| (name.to_owned(), repository(&[], &[])));
            let policy =
                GatePolicy { version: VERSION, ask: None, repositories: repositories.into_iter().collect() };
            let bottle = Self { root: tempfile::tempdir().unwrap(), policy };
            fs::create_dir_all(&bottle.grants()).unwrap();
            bottle
        }

        fn grants(&self) -> PathBuf {
            self.root.path().join("grants")
        }

        fn write(&self, name: &str, text: &str) {
            fs::write_atomic(&self.grants().join(name), text.as_bytes(), 0o644).unwrap();
        }

        fn look(&self) -> (Vec<String>, String) {
            let look = look(&self.grants(), None, &self.policy, NOW);
            let names = look.grants.into_iter().map(|(name, _)| name).collect();
            (names, look.problem.unwrap_or_default())
        }
    }

    #[test]
    fn a_grant_counts_for_its_own_repository_and_under_its_own_name() {
        let bottle = Bottle::new();
        bottle.write("g-1.yaml", GOOD);
        bottle
            .write("g-2.yaml", "version: 1\nfindings:\n- { repository: app, finding: f-0123456789abcdef }\n");
        let look = look(&bottle.grants(), None, &bottle.policy, NOW);
        let app = granted(&look.grants, "app");
        assert_eq!(app.push.len(), 1);
        assert_eq!(app.push[0].source, "grant g-1");
        assert_eq!(app.findings["f-0123456789abcdef"], "grant g-2");
        let web = granted(&look.grants, "web");
        assert!(web.push.is_empty() && web.findings.is_empty());
    }

    #[test]
    fn a_grant_that_is_wrong_in_one_part_is_not_applied_at_all_and_the_others_are() {
        let bottle = Bottle::new();
        bottle.write("good.yaml", GOOD);
        for (number, (from, to)) in [
            ("version: 1", "version: 2"),
            ("repository: app", "repository: ghost"),
            ("refs/heads/feature/**", "\"*\""),
            ("refs/heads/feature/**", "\"**\""),
            ("refs/heads/feature/**", "refs/**"),
            ("refs/heads/feature/**", "refs/pull/1/head"),
            ("refs/heads/feature/**", "feature/**"),
            ("refs/heads/feature/**", "refs/heads/-x"),
            ("refs/heads/feature/**", "\"refs/heads/a\\nb\""),
            ("[create]", "[]"),
            ("[create]", "[everything]"),
            ("push:", "protect: []\npush:"),
            ("version: 1", "version: 1\nuntil: -1"),
            ("version: 1", "version: 1\nuntil: soon"),
            ("push:", "findings: [{ repository: app, finding: f-1 }]\npush:"),
            ("push:", "findings: [{ repository: app, finding: \"*\" }]\npush:"),
            ("push:", "findings: [{ repository: app, finding: F-0123456789ABCDEF }]\npush:"),
            ("push:", "findings: [{ repository: ghost, finding: f-0123456789abcdef }]\npush:"),
        ]
        .into_iter()
        .enumerate()
        {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let name = format!("bad-{number}.yaml");
            bottle.write(&name, &text);
            let (names, problem) = bottle.look();
            // `-x` is a branch that git itself refuses; a pattern for it opens nothing.
            if names == ["bad-7", "good"] {
                fs::remove_file(&bottle.grants().join(&name)).unwrap();
                continue;
            }
            assert_eq!(names, ["good"], "{text}");
            assert!(problem.contains(&name), "{text}: {problem}");
            fs::remove_file(&bottle.grants().join(&name)).unwrap();
        }
    }

    #[test]
    fn a_grant_that_is_written_half_never_allows_more() {
        let bottle = Bottle::new();
        // Without the last line break nothing is missing.
        for length in 0..GOOD.len() - 1 {
            bottle.write("g-1.yaml", GOOD.get(..length).unwrap());
            let look = look(&bottle.grants(), None, &bottle.policy, NOW);
            assert!(granted(&look.grants, "app").push.is_empty(), "{}", GOOD.get(..length).unwrap());
        }
    }

    #[test]
    fn a_link_a_directory_a_large_file_and_a_temporary_one_are_no_grants() {
        let bottle = Bottle::new();
        let elsewhere = bottle.root.path().join("elsewhere.yaml");
        fs::write_atomic(&elsewhere, GOOD.as_bytes(), 0o644).unwrap();
        symlink(&elsewhere, bottle.grants().join("link.yaml")).unwrap();
        fs::create_dir_all(&bottle.grants().join("directory.yaml")).unwrap();
        bottle.write("large.yaml", &(GOOD.to_owned() + &"#".repeat(1 << 20)));
        for name in [".g-1.yaml.1.tmp", ".g-1.yaml", "g-1.yaml~", "g-1.txt", ".yaml"] {
            bottle.write(name, GOOD);
        }
        let (names, problem) = bottle.look();
        assert!(names.is_empty(), "{names:?}");
        for part in ["link.yaml", "directory.yaml", "large.yaml"] {
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn a_name_that_is_no_name_never_reaches_a_refusal() {
        let bottle = Bottle::new();
        for name in ["a\u{1b}[2J.yaml", "a b.yaml", "\u{202e}x.yaml"] {
            bottle.write(name, GOOD);
        }
        bottle.write(&format!("{}.yaml", "x".repeat(100)), GOOD);
        assert!(bottle.look().0.is_empty());
    }

    #[test]
    fn a_grant_that_has_ended_is_none() {
        let bottle = Bottle::new();
        let until = |seconds: u64| GOOD.replace("version: 1", &format!("version: 1\nuntil: {seconds}"));
        bottle.write("past.yaml", &until(NOW.as_secs() - 1));
        bottle.write("now.yaml", &until(NOW.as_secs()));
        bottle.write("soon.yaml", &until(NOW.as_secs() + 1));
        let look = look(&bottle.grants(), None, &bottle.policy, NOW);
        assert_eq!(look.grants.len(), 1);
        assert_eq!(look.grants[0].0, "soon");
        assert_eq!(look.next_end, Some(NOW + Duration::from_secs(1)));
    }

    #[test]
    fn a_hundred_thousand_files_are_bounded_and_soon_looked_at() {
        let bottle = Bottle::new();
        // Links are made fast, and count as files that can't be read.
        for number in 0..100_000 {
            symlink("nowhere", bottle.grants().join(format!("{number:06}.yaml"))).unwrap();
        }
        let start = std::time::Instant::now();
        let (names, problem) = bottle.look();
        assert!(names.is_empty());
        assert!(problem.contains("more than 1000 grants"), "{problem}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn without_the_directory_there_is_no_grant() {
        let bottle = Bottle::new();
        fs::remove_dir_all(&bottle.grants()).unwrap();
        assert_eq!(bottle.look(), (Vec::new(), String::new()));
    }
}
