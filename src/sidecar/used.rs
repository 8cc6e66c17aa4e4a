//! Which grants for one request, or one push, were used: a file `used/ID` in the report directory of the sidecar that
//! enforces them.
//!
//! The file is made before anything leaves, by whoever is the first to make it, and is on the disk then: so a grant is
//! used at most once, whichever process is killed when. Supervise sees the file and ends the grant.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::grants::Grants;
use crate::fs::{self, Links};

/// The directory in the report directory.
const DIRECTORY: &str = "used";
/// The most bytes of a mark.
const MAX_MARK: u64 = 64;

/// The marks of a sidecar.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    directory: PathBuf,
}

/// What became of an attempt to use a grant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Claim {
    /// It is this one's.
    Won,
    /// It was used before.
    Lost,
}

impl Used {
    /// Those of a report directory.
    pub(crate) fn of(report: &Path) -> Self {
        Self { directory: report.join(DIRECTORY) }
    }

    /// Whether a grant was used, for the one who enforces it: where that can't be found out it counts as used.
    pub(crate) fn has(&self, grant: &str) -> bool {
        self.is_marked(grant).unwrap_or(true)
    }

    /// Whether a grant is marked as used.
    ///
    /// # Errors
    ///
    /// It can't be found out.
    pub(crate) fn is_marked(&self, grant: &str) -> Result<bool, fs::Error> {
        fs::is_there(&self.directory.join(grant))
    }

    /// Uses a grant that ends at `until`.
    ///
    /// # Errors
    ///
    /// That it was used can't be made to stay: then it must not be used.
    pub(crate) fn claim(&self, grant: &str, until: Option<u64>) -> Result<Claim, fs::Error> {
        if !fs::is_there(&self.directory)? {
            fs::create_dir_all(&self.directory)?;
            self.directory.parent().map_or(Ok(()), fs::sync_directory)?;
        }
        fs::open_for_others(&self.directory)?;
        let text = until.map(|until| until.to_string()).unwrap_or_default();
        match fs::create_new(&self.directory.join(grant), text.as_bytes()) {
            Ok(()) => Ok(Claim::Won),
            Err(error) if error.source.kind() == ErrorKind::AlreadyExists => Ok(Claim::Lost),
            Err(error) => Err(error),
        }
    }

    /// Takes those out that were used.
    pub(crate) fn unused(&self, grants: &mut Grants) {
        grants.retain(|(name, grant)| !grant.once || !self.has(name));
    }

    /// Removes the marks of grants that are gone and whose time is over: a grant that is only gone may come back, since
    /// supervise takes its file away also while it can't rely on its store.
    pub(crate) fn tidy(&self, grants: &Grants, now: Duration) {
        for name in fs::file_names(&self.directory).unwrap_or_default() {
            let path = self.directory.join(&name);
            let mark = fs::read_regular(&path, MAX_MARK, Links::Refused).unwrap_or_default();
            let until = std::str::from_utf8(&mark).ok().and_then(|text| text.parse().ok());
            let is_over = until.is_some_and(|until| Duration::from_secs(until) <= now);
            if is_over && grants.iter().all(|(grant, _)| name != grant.as_str()) {
                // A mark that stays does no harm.
                drop(fs::remove_file(&path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread;
    use std::time::Duration;

    use super::{Claim, Used};
    use crate::fs;
    use crate::policy::grant::{Grant, VERSION};

    fn once() -> Grant {
        Grant {
            version: VERSION,
            until: Some(100),
            once: true,
            routes: Vec::new(),
            push: Vec::new(),
            findings: Vec::new(),
            secrets: Vec::new(),
        }
    }

    #[test]
    fn of_many_who_claim_a_grant_at_a_time_one_has_it() {
        let root = tempfile::tempdir().unwrap();
        let used = Used::of(&root.path().join("report"));
        fs::create_dir_all(&root.path().join("report")).unwrap();
        for round in 0..20 {
            let grant = format!("g-{round}");
            let claims: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| used.claim(&grant, None))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
            });
            assert_eq!(claims.iter().filter(|claim| **claim == Claim::Won).count(), 1);
            assert!(used.has(&grant));
        }
    }

    #[test]
    fn what_can_not_be_marked_is_not_used_and_what_can_not_be_looked_at_counts_as_used() {
        let root = tempfile::tempdir().unwrap();
        let used = Used::of(root.path());
        symlink("nowhere", root.path().join("used")).unwrap();
        assert!(!used.has("g-1"));
        used.claim("g-1", None).expect_err("the directory leads nowhere");
        fs::remove_file(&root.path().join("used")).unwrap();
        fs::write_atomic(&root.path().join("used"), b"", 0o644).unwrap();
        used.claim("g-1", None).expect_err("it is no directory");
        assert!(used.has("g-1"));
    }

    #[test]
    fn a_mark_stays_until_the_grant_is_gone_and_its_time_is_over() {
        let root = tempfile::tempdir().unwrap();
        let used = Used::of(root.path());
        for (grant, until) in [("g-1", Some(100)), ("g-2", None)] {
            used.claim(grant, until).unwrap();
        }
        let there = vec![("g-1".to_owned(), once())];
        let mut left = there.clone();
        used.unused(&mut left);
        assert!(left.is_empty());
        used.tidy(&there, Duration::from_secs(1_000));
        used.tidy(&Vec::new(), Duration::from_secs(99));
        assert!(used.has("g-1"));
        used.tidy(&Vec::new(), Duration::from_secs(100));
        assert!(!used.has("g-1"));
        // Nobody knows for how long that one could come back.
        assert!(used.has("g-2"));
    }
}
