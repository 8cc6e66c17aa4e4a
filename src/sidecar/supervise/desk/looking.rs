//! What is over, and the files of what is not: the grants directory is made to agree with the store.

use std::path::Path;

use super::super::refused::Refused;
use super::super::state::{EndCause, Ended, Granted, Origin, Request, Scope, State};
use super::super::store::{Change, Decision};
use super::{Desk, Inner, decision, failed};
use crate::fs::{self, Links};

/// For how long a request waits for an answer, in seconds.
pub(super) const PATIENCE: u64 = 24 * 3600;
/// The same for one that egress held: whoever sent it has been refused by then, and asks again.
pub(super) const PATIENCE_HELD: u64 = 3600;
/// How often the time is saved while a grant has an end, in seconds.
pub(super) const CLOCK_PERIOD: u64 = 5;
/// The most bytes of a grant's file that are read to compare it.
const MAX_GRANT: u64 = 64 << 10;

impl Desk {
    /// Ends what is over, and makes the grants directory agree with the store. Gives the seconds until the next end.
    ///
    /// # Errors
    ///
    /// The store or the directory can't be read or written. What can be done without is done.
    pub(crate) fn look(&self) -> Result<Option<u64>, Refused> {
        let mut inner = self.lock();
        let policies = self.read_policies();
        let now = inner.now();
        let grants = match inner.store.grants(true, usize::MAX) {
            Ok(grants) => grants,
            Err(refused) => {
                clear(&self.places.grants, &[])?;
                return Err(refused);
            }
        };
        let mut first = Ok(());
        let mut note = |done: Result<(), Refused>| {
            if first.is_ok() {
                first = done;
            }
        };
        let (mut next, mut wanted) = (None, Vec::new());
        for grant in grants {
            if let Some((cause, by)) = inner.is_over(&grant, policies.as_deref().ok(), now) {
                note(self.end(&mut inner, grant, cause, by).map(drop));
                continue;
            }
            next = next.into_iter().chain(grant.until.map(|until| until.saturating_sub(now))).min();
            // What the manifest no longer bears is not in force, and is again when it does.
            if policies.as_ref().is_ok_and(|policies| !inner.is_borne(&grant, policies)) {
                continue;
            }
            wanted.push(grant);
        }
        // First this: what a killed writer has left would be in the way of the next one.
        let names: Vec<_> = wanted.iter().map(|grant| file_name(&grant.id)).collect();
        note(clear(&self.places.grants, &names));
        for grant in &wanted {
            note(self.write(grant));
        }
        note(self.close_requests(&mut inner, now));
        // A restart with the clock set back costs no more than this.
        if next.is_some() && now >= inner.clock_saved + CLOCK_PERIOD {
            note(inner.store.save_clock(now));
            inner.clock_saved = now;
        }
        inner.store.write_log();
        first.map(|()| next)
    }

    /// Closes the requests that nobody has decided in time, and saves how often the others were repeated.
    fn close_requests(&self, inner: &mut Inner, now: u64) -> Result<(), Refused> {
        for request in inner.store.requests(true, usize::MAX)? {
            let patience = match request.origin {
                Origin::Agent => PATIENCE,
                Origin::Held => PATIENCE_HELD,
            };
            if request.last + patience <= now {
                let request = Request { state: State::Expired { at: now }, ..inner.pending(&request.id)? };
                let decision = decision("expire", "clock", now, &request, "");
                self.save(
                    inner,
                    Change { request: Some(request), decision: Some(decision), ..Change::default() },
                )?;
            } else if inner.repeats.contains_key(&request.id) {
                let request = Request { last: now, ..inner.pending(&request.id)? };
                self.save_request(inner, request)?;
            }
        }
        Ok(())
    }

    /// Ends a grant: its file is gone when this is told.
    pub(super) fn end(
        &self,
        inner: &mut Inner,
        grant: Granted,
        cause: EndCause,
        by: &'static str,
    ) -> Result<Granted, Refused> {
        let at = inner.now();
        let verdict = match cause {
            EndCause::Expired => "expire",
            EndCause::Used => "use",
            EndCause::Revoked => "revoke",
            EndCause::Retired => "retire",
        };
        let grant = Granted { ended: Some(Ended { cause, at }), ..grant };
        let decision = Decision {
            verdict,
            at,
            by,
            request: grant.request.clone(),
            grant: Some(grant.id.clone()),
            scope: None,
            until: None,
            rule: grant.rule.manifest(),
            words: String::new(),
        };
        let change = Change { grants: vec![grant.clone()], decision: Some(decision), request: None };
        let saved = self.save(inner, change);
        match &saved {
            Ok(()) => drop(inner.over.remove(&grant.id)),
            // Whatever the disk says: it is over.
            Err(_) => drop(inner.over.insert(grant.id.clone(), (cause, by))),
        }
        remove(&self.places.grants, Path::new(&file_name(&grant.id)))?;
        saved.map(|()| grant)
    }

    /// Writes a grant's file, if it isn't there as it should be.
    pub(super) fn write(&self, grant: &Granted) -> Result<(), Refused> {
        let path = self.places.grants.join(file_name(&grant.id));
        let value = grant.rule.grant(&grant.id, grant.until, grant.scope == Scope::Once);
        let text = serde_yaml::to_string(&value).map_err(failed)?;
        if fs::read_regular(&path, MAX_GRANT, Links::Refused).is_ok_and(|have| have == text.as_bytes()) {
            return Ok(());
        }
        fs::write_atomic(&path, text.as_bytes(), 0o644).map_err(failed)
    }
}

/// Removes every grant from the directory that isn't one of these files, and what a writer that was killed has left.
pub(super) fn clear(grants: &Path, wanted: &[String]) -> Result<(), Refused> {
    let mut first = Ok(());
    for file in fs::file_names(grants).map_err(failed)? {
        let file = Path::new(&file);
        let ours = file.extension().is_some_and(|extension| extension == "yaml" || extension == "tmp");
        if ours && !wanted.iter().any(|name| Path::new(name) == file) {
            first = first.and(remove(grants, file));
        }
    }
    first
}

/// Removes a file for good: it isn't there again after the power was lost.
pub(super) fn remove(directory: &Path, file: &Path) -> Result<(), Refused> {
    match fs::remove_file(&directory.join(file)) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => fs::sync_directory(directory).map_err(failed),
    }
}

fn file_name(grant: &str) -> String {
    format!("{grant}.yaml")
}
