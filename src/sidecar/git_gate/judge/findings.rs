//! From the scanner's findings to refusals.
//!
//! A finding in a file is dropped only if the same rule finds the very same secret in an old version of that file: one
//! that a new commit replaces, or removes while it adds the file under another name, and that the upstream has (it is
//! not among the new objects, so that the mirror's branches and tags reach it). The old versions go through the same scanner. Nothing
//! can leave that way that has not left before: what is dropped is in the upstream's own history. Findings in messages,
//! tags and names are never dropped.
//!
//! A finding has an id, by which the operator can let it pass: a hash of the repository, the rule and the secret. So the
//! same secret has the same id wherever it stands, and another one, or the same one in another repository, never has it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use sha2::{Digest as _, Sha256};

use super::content::{Content, Piece, Source, pairs};
use super::diff::Diff;
use super::id::ObjectId;
use super::objects::{Objects, Type};
use super::parse::Kind;
use super::show::{printable, redact};
use super::{JudgeError, RefUpdate, Refusal, Verdict};
use crate::policy::ask::{Ask, ExceptionAsk, PushAsk};
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::scan::{RawFinding, Scanner};

/// The rule of key stores that are found by their name.
const KEY_FILE: &str = "bottle-pkcs12-file";
/// The most findings that are told; the others are counted.
const MOST_TOLD: usize = 50;
/// A commit that adds and removes more paths than this at once is not searched for files that moved.
const MOST_MOVES: usize = 100_000;

/// Rules that gitleaks ties to files of a kind, by the names of their counterparts (gitleaks.toml.j2).
const TIED: [(&str, &[&str]); 4] = [
    ("bottle-path-kubernetes", &[".yaml", ".yml"]),
    ("bottle-path-nuget", &["nuget.config"]),
    ("bottle-path-terraform", &[".tf", ".hcl"]),
    ("bottle-path-php", &[".php"]),
];

/// Where files came from.
#[derive(Default)]
struct Origins {
    /// The places of the files that have findings: the commit that brings it and the path; the oldest last.
    places: HashMap<ObjectId, Vec<(ObjectId, Vec<u8>)>>,
    /// What a new file replaces, which may be new itself.
    replaced: HashMap<ObjectId, Vec<ObjectId>>,
}

impl Origins {
    fn find(source: &Source<'_>, content: &Content, files: &HashSet<ObjectId>) -> Result<Self, JudgeError> {
        let mut origins = Self::default();
        let pairs = pairs(&content.graph);
        if files.is_empty() || pairs.is_empty() {
            return Ok(origins);
        }
        let is_file = |side: Option<(Kind, ObjectId)>| {
            side.filter(|(kind, _)| matches!(kind, Kind::File | Kind::Link)).map(|(_, id)| id)
        };
        Diff::start(source.git)?.run(&pairs, &mut |pair, changes| {
            let gone: Vec<ObjectId> = changes
                .iter()
                .filter(|change| change.new.is_none())
                .filter_map(|change| is_file(change.old))
                .collect();
            let come = changes.iter().filter(|change| change.old.is_none()).count();
            let moves = gone.len().saturating_mul(come) <= MOST_MOVES;
            for change in changes {
                let Some(new) = is_file(change.new).filter(|new| source.is_new.contains(new)) else {
                    continue;
                };
                let replaced = origins.replaced.entry(new).or_default();
                match is_file(change.old) {
                    Some(old) => replaced.push(old),
                    None if moves => replaced.extend(&gone),
                    None => {}
                }
                if files.contains(&new) {
                    origins.places.entry(new).or_default().push((pair.commit, change.path));
                }
            }
            Ok(())
        })?;
        Ok(origins)
    }

    /// The old files that a new one replaces, directly or through other new ones.
    fn old(&self, file: ObjectId, is_new: &HashSet<ObjectId>) -> HashSet<ObjectId> {
        let mut seen = HashSet::from([file]);
        let mut next = vec![file];
        while let Some(id) = next.pop() {
            let replaced = self.replaced.get(&id).into_iter().flatten().copied();
            next.extend(replaced.filter(|old| seen.insert(*old) && is_new.contains(old)));
        }
        seen.retain(|id| !is_new.contains(id));
        seen
    }
}

/// What is judged.
pub(super) struct Judged<'a> {
    /// The repository's name.
    pub(super) name: &'a str,
    /// The findings that may pass, by id, and what lets them.
    pub(super) allowed: &'a BTreeMap<String, String>,
    pub(super) updates: &'a [RefUpdate],
    pub(super) findings: &'a [RawFinding],
}

/// One finding, ready to be told.
struct Told {
    /// The commit that brings it.
    commit: Option<ObjectId>,
    /// Where it is, which may hold a secret as yet.
    detail: String,
    id: String,
}

/// The id of a finding. What is hashed is told apart by its length, so that no two findings have the same text.
pub(super) fn finding_id(repository: &str, rule: &str, secret: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    let parts = [b"bottle finding 1".as_slice(), repository.as_bytes(), rule.as_bytes()];
    for part in parts.iter().chain(secret) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    let digits = hash.first_chunk().copied().unwrap_or_default();
    format!("f-{:016x}", u64::from_be_bytes(digits))
}

/// Makes refusals of what remains of the findings.
pub(super) fn refuse(
    source: &Source<'_>,
    objects: &mut Objects,
    content: &Content,
    scanner: &dyn Scanner,
    judged: &Judged<'_>,
    verdict: &mut Verdict,
) -> Result<(), JudgeError> {
    let Judged { name, findings, .. } = *judged;
    if findings.is_empty() && content.key_files.is_empty() {
        return Ok(());
    }
    let piece = |finding: &RawFinding| {
        usize::try_from(finding.label).ok().and_then(|label| content.pieces.get(label))
    };
    let file = |finding: &RawFinding| match piece(finding) {
        Some(Piece::Object(id, Type::Blob)) => Some(*id),
        _ => None,
    };
    let files: HashSet<ObjectId> = findings.iter().filter_map(file).collect();
    let origins = Origins::find(source, content, &files)?;
    let known = known(source, objects, scanner, &origins, &files, &mut verdict.notes)?;
    let mut secrets: Vec<String> = Vec::new();
    let mut told: Vec<Told> = Vec::new();
    let in_line: HashSet<(u64, &str, &str)> =
        findings.iter().filter(|finding| finding.line.is_some()).map(RawFinding::what).collect();
    for finding in findings {
        if finding.line.is_none() && in_line.contains(&finding.what()) {
            // Another view of the file has it as well, with a line.
            continue;
        }
        let id = file(finding);
        let places = id.and_then(|id| origins.places.get(&id)).map(Vec::as_slice).unwrap_or_default();
        let is_known = id.is_some_and(|id| {
            known
                .get(&id)
                .is_some_and(|known| known.contains(&(finding.rule.clone(), finding.secret.clone())))
        });
        if is_known || !applies(&finding.rule, id.is_some(), places) {
            continue;
        }
        secrets.push(finding.secret.clone());
        let line = finding.line.map_or_else(String::new, |line| format!(" line {line}"));
        let (commit, place) = match (piece(finding), places.last()) {
            (Some(Piece::Object(..)), Some((commit, path))) => {
                (Some(*commit), format!("in `{}`{line}, commit {}", printable(path), commit.short()))
            }
            (Some(Piece::Object(id, Type::Commit)), None) => {
                (Some(*id), format!("in the message or a header of commit {}{line}", id.short()))
            }
            (Some(Piece::Object(id, kind)), None) => {
                (None, format!("in {} {}{line}", kind.word(), id.short()))
            }
            (Some(Piece::Paths(commit)), _) => {
                (Some(*commit), format!("in the name of a file, commit {}", commit.short()))
            }
            (Some(Piece::RefName(_)), _) => (None, "in the name of a ref".into()),
            (None, _) => (None, "in something new".into()),
        };
        let detail = format!("rule `{}` {place}", printable(finding.rule.as_bytes()));
        told.push(Told { commit, detail, id: finding_id(name, &finding.rule, &[finding.secret.as_bytes()]) });
    }
    for (commit, path, file) in &content.key_files {
        let place = format!("in `{}`, commit {}", printable(path), commit.short());
        let id = finding_id(name, KEY_FILE, &[path, file.as_bytes()]);
        told.push(Told { commit: Some(*commit), detail: format!("rule `{KEY_FILE}` {place}"), id });
    }
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    let mut seen = HashSet::new();
    told.retain(|told| seen.insert((told.detail.clone(), told.id.clone())));
    tell(content, judged, told, &secrets, verdict);
    Ok(())
}

/// What the old versions of each of these files have.
fn known(
    source: &Source<'_>,
    objects: &mut Objects,
    scanner: &dyn Scanner,
    origins: &Origins,
    files: &HashSet<ObjectId>,
    notes: &mut Vec<String>,
) -> Result<HashMap<ObjectId, HashSet<(String, String)>>, JudgeError> {
    let old: HashMap<ObjectId, HashSet<ObjectId>> =
        files.iter().map(|file| (*file, origins.old(*file, source.is_new))).collect();
    let mut all: Vec<ObjectId> = old.values().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return Ok(HashMap::new());
    }
    let mut failure = None;
    let outcome = scanner.scan(&mut |text| {
        let mut label = 0..;
        let fed = objects.each(&all, &mut |_, reader| {
            text.stream(label.next().unwrap_or(u64::MAX), reader).map_err(JudgeError::Text)
        });
        fed.map_err(|error| match error {
            JudgeError::Text(error) => error,
            other => {
                failure = Some(other);
                io::Error::other("the old objects could not be read")
            }
        })
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let findings = match outcome {
        Ok(scan) => {
            notes.extend(scan.notes);
            scan.findings
        }
        Err(error) => {
            // The findings then stay what they are, which is the safe side.
            notes.push(format!("the replaced versions could not be scanned: {error}"));
            return Ok(HashMap::new());
        }
    };
    let mut by_file: HashMap<ObjectId, HashSet<(String, String)>> = HashMap::new();
    for finding in findings {
        if let Some(id) = usize::try_from(finding.label).ok().and_then(|label| all.get(label)) {
            by_file.entry(*id).or_default().insert((finding.rule, finding.secret));
        }
    }
    let of =
        |ids: &HashSet<ObjectId>| ids.iter().filter_map(|id| by_file.get(id)).flatten().cloned().collect();
    Ok(old.iter().map(|(file, ids)| (*file, of(ids))).collect())
}

/// Whether a rule that is tied to a kind of file has anything to say here.
fn applies(rule: &str, is_file: bool, places: &[(ObjectId, Vec<u8>)]) -> bool {
    let Some((_, endings)) = TIED.iter().find(|(start, _)| rule.starts_with(start)) else { return true };
    let fits =
        |path: &[u8]| endings.iter().any(|ending| path.to_ascii_lowercase().ends_with(ending.as_bytes()));
    // A file whose name is not known is judged by the strictest reading.
    is_file && (places.is_empty() || places.iter().any(|(_, path)| fits(path)))
}

/// Names the ref that brings each finding, and takes the secrets out of what is said.
fn tell(content: &Content, judged: &Judged<'_>, told: Vec<Told>, secrets: &[String], verdict: &mut Verdict) {
    let Judged { name, allowed, updates, findings: _ } = *judged;
    let owners = content.graph.owners(updates.iter().map(|update| update.new));
    // What was refused before for another reason may be named after a secret.
    for refusal in &mut verdict.refusals {
        redact(&mut refusal.subject, secrets);
        redact(&mut refusal.detail, secrets);
        // What is asked for is shown to the operator and kept.
        let holds_one = |ask: &mut Ask| match ask {
            Ask::Push(PushAsk { refs, .. }) => {
                secrets.iter().any(|secret| !secret.is_empty() && refs.contains(secret))
            }
            Ask::Route(_) | Ask::Exception(_) => false,
        };
        refusal.ask.take_if(holds_one);
    }
    verdict.names.iter_mut().for_each(|name| redact(name, secrets));
    let mut count = 0;
    for Told { commit, mut detail, id } in told {
        redact(&mut detail, secrets);
        if let Some(grant) = allowed.get(&id) {
            if !verdict.allowed.contains(&id) {
                verdict.notes.push(format!("the finding {id} may pass by {grant}: {detail}"));
                verdict.allowed.push(id);
            }
            continue;
        }
        count += 1;
        if count > MOST_TOLD {
            continue;
        }
        let by = commit.and_then(|commit| updates.get(*owners.get(&commit)?));
        let mut subject = match (updates, by) {
            ([only], _) => printable(&only.name),
            (_, Some(update)) => printable(&update.name),
            _ => "the push".into(),
        };
        redact(&mut subject, secrets);
        // The id stands behind what is redacted: it must be whole, and no part of it is ever a secret.
        let detail = format!("{detail} [{id}]");
        let exception = ExceptionAsk { repository: Some(name.to_owned()), host: None, finding: id.clone() };
        let ask = Some(Ask::Exception(exception));
        verdict.refusals.push(Refusal { reason: Reason::SecretFound, subject, detail, rule: None, ask });
        if !verdict.findings.contains(&id) {
            verdict.findings.push(id);
        }
    }
    if count > MOST_TOLD {
        verdict.refusals.push(Refusal {
            reason: Reason::SecretFound,
            subject: "the push".into(),
            detail: format!("and {} more findings", count - MOST_TOLD),
            rule: None,
            ask: None,
        });
    }
}
