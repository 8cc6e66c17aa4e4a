//! What is fed to the scanner: every object that is new, the names that come with it, and the names of new refs.
//!
//! Whole files are scanned, not differences: a key that two commits put together line by line stands whole in the second
//! one's file. Commits and tags are scanned as they are, with every header. Of a path only what no parent has is new.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;

use super::diff::{Change, Diff, Pair};
use super::graph::Graph;
use super::id::ObjectId;
use super::objects::{Header, Objects, Type};
use super::parse;
use super::protect::{Guard, Touched};
use super::show::printable;
use super::{JudgeError, Refusal};
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::git::Git;
use crate::sidecar::git_gate::scan::Text;

/// The largest file that is passed on; `git cat-file` holds it in memory.
pub(super) const LARGEST_BLOB: u64 = 256 * 1024 * 1024;
/// The largest commit, tag or tree that is passed on.
pub(super) const LARGEST_OTHER: u64 = 32 * 1024 * 1024;
/// The most parents of a commit that is passed on.
const MOST_PARENTS: usize = 100;

/// How a pointer of Git LFS begins, its older name too, and the most bytes that one has (git-lfs, `docs/spec.md`).
const POINTERS: [&[u8]; 2] =
    [b"version https://git-lfs.github.com/spec/v1", b"version https://hawser.github.com/spec/v1"];
const LARGEST_POINTER: u64 = 1024;

/// What a piece of the scanned text is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    /// A new object.
    Object(ObjectId, Type),
    /// The paths that are new in a commit.
    Paths(ObjectId),
    /// The name of a new ref.
    RefName(Vec<u8>),
}

/// What was learned on the way.
#[derive(Default)]
pub(super) struct Content {
    /// The pieces, by label.
    pub(super) pieces: Vec<Piece>,
    /// The new commits.
    pub(super) graph: Graph,
    /// Objects that are not passed on.
    pub(super) refusals: Vec<Refusal>,
    /// Commits that change protected paths.
    pub(super) touched: Vec<Touched>,
    /// New files that hold keys by their name alone: the commit, the path and the file's own id.
    pub(super) key_files: Vec<(ObjectId, Vec<u8>, ObjectId)>,
    /// New files that are pointers of Git LFS, with the first path that each is found at.
    pointers: HashMap<ObjectId, Option<Vec<u8>>>,
}

/// Where it all comes from.
pub(super) struct Source<'a> {
    pub(super) git: &'a Git,
    /// Everything that is new, in the order of `git rev-list`.
    pub(super) new: &'a [ObjectId],
    /// The same, to look up.
    pub(super) is_new: &'a HashSet<ObjectId>,
    pub(super) guard: &'a Guard,
    /// The names of refs that the upstream doesn't have yet.
    pub(super) ref_names: &'a [&'a [u8]],
}

impl Content {
    /// Feeds everything. `diff` is a process started ahead of time, where there is one.
    pub(super) fn feed(
        source: &Source<'_>,
        objects: &mut Objects,
        diff: Option<Diff>,
        text: &mut Text<'_>,
    ) -> Result<Self, JudgeError> {
        let mut content = Self::default();
        objects.each(source.new, &mut |header, reader| content.object(header, reader, text))?;
        let pairs = pairs(&content.graph);
        if !pairs.is_empty() {
            let diff = diff.map_or_else(|| Diff::start(source.git), Ok)?;
            content.changes(source, diff, &pairs, text)?;
        }
        content.refuse_pointers();
        for name in source.ref_names {
            content.piece(Piece::RefName(name.to_vec()), name, text)?;
        }
        Ok(content)
    }

    fn label(&mut self, piece: Piece) -> u64 {
        self.pieces.push(piece);
        self.pieces.len() as u64 - 1
    }

    fn piece(&mut self, piece: Piece, bytes: &[u8], text: &mut Text<'_>) -> Result<(), JudgeError> {
        let label = self.label(piece);
        text.put(label, bytes).map_err(JudgeError::Text)
    }

    fn refuse(&mut self, reason: Reason, header: Header, what: &str) {
        let subject = format!("{} {}", header.kind.word(), header.id.short());
        self.refusals.push(Refusal { reason, subject, detail: what.into(), rule: None, ask: None });
    }

    /// The content of a pointer can't have come along, and without it nobody could check the file out. One that the upstream
    /// has already is no new object, wherever it is moved.
    fn refuse_pointers(&mut self) {
        let mut pointers: Vec<_> = std::mem::take(&mut self.pointers).into_iter().collect();
        pointers.sort_unstable();
        for (id, path) in pointers {
            let path = path.map_or_else(|| "?".to_owned(), |path| printable(&path));
            self.refusals.push(Refusal {
                reason: Reason::LfsPointer,
                subject: format!("blob {}", id.short()),
                detail: format!("`{path}` is a pointer of Git LFS, and its content does not pass the gate"),
                rule: None,
                ask: None,
            });
        }
    }

    fn object(
        &mut self,
        header: Header,
        reader: &mut dyn std::io::Read,
        text: &mut Text<'_>,
    ) -> Result<(), JudgeError> {
        let Header { id, kind, size } = header;
        let limit = if kind == Type::Blob { LARGEST_BLOB } else { LARGEST_OTHER };
        if size > limit {
            self.refuse(
                Reason::ObjectTooLarge,
                header,
                &format!("it has {size} bytes, and at most {limit} are passed on"),
            );
            return Ok(());
        }
        if kind == Type::Blob {
            if size <= LARGEST_POINTER {
                let mut raw = Vec::new();
                reader.read_to_end(&mut raw).map_err(|source| JudgeError::Read { id, source })?;
                if POINTERS.iter().any(|start| raw.starts_with(start)) {
                    self.pointers.insert(id, None);
                }
                return self.piece(Piece::Object(id, kind), &raw, text);
            }
            let label = self.label(Piece::Object(id, kind));
            return text.stream(label, reader).map_err(JudgeError::Text);
        }
        let mut raw = Vec::new();
        reader.take(limit).read_to_end(&mut raw).map_err(|source| JudgeError::Read { id, source })?;
        match kind {
            Type::Commit => match parse::commit(&raw) {
                Some(commit) if commit.parents.len() <= MOST_PARENTS => self.graph.add(id, commit.parents),
                Some(_) => self.refuse(Reason::ObjectDenied, header, "it has too many parents"),
                None => self.refuse(Reason::ObjectDenied, header, "its header is not in form"),
            },
            // The names in a tree are scanned as paths, with the commit that brings them.
            Type::Tree => {
                if !parse::tree_is_sound(&raw, id.as_bytes().len()) {
                    self.refuse(Reason::ObjectDenied, header, "its entries are not in form (see `git fsck`)");
                }
                return Ok(());
            }
            Type::Tag | Type::Blob => {}
        }
        self.piece(Piece::Object(id, kind), &raw, text)
    }

    fn changes(
        &mut self,
        source: &Source<'_>,
        diff: Diff,
        pairs: &[Pair],
        text: &mut Text<'_>,
    ) -> Result<(), JudgeError> {
        // The answers for one commit come one after the other, one for each parent.
        let mut added: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut protected: Vec<Vec<Change>> = Vec::new();
        let mut seen = HashSet::new();
        diff.run(pairs, &mut |pair, changes| {
            for change in &changes {
                if change.old.is_none() {
                    *added.entry(change.path.clone()).or_default() += 1;
                }
                if let Some((_, id)) = change.new
                    && let Some(path @ None) = self.pointers.get_mut(&id)
                {
                    *path = Some(change.path.clone());
                }
                if let Some((parse::Kind::File, id)) = change.new {
                    let fresh = source.is_new.contains(&id) && is_key_file(&change.path);
                    if fresh && seen.insert((id, change.path.clone())) {
                        self.key_files.push((pair.commit, change.path.clone(), id));
                    }
                }
            }
            protected.push(changes.into_iter().filter(|change| source.guard.covers(change)).collect());
            let parents = self.graph.parents_of(pair.commit);
            if protected.len() < parents.len() {
                return Ok(());
            }
            let changes = std::mem::take(&mut protected);
            if changes.iter().any(|changes| !changes.is_empty()) {
                self.touched.push(Touched { commit: pair.commit, parents: parents.to_vec(), changes });
            }
            let mut paths: Vec<_> =
                added.drain().filter(|(_, times)| *times >= parents.len()).map(|(path, _)| path).collect();
            paths.sort_unstable();
            if paths.is_empty() {
                return Ok(());
            }
            // A line break between them and something that no rule takes for part of a value.
            let paths = paths.join(&b"\n\x1e\n"[..]);
            self.piece(Piece::Paths(pair.commit), &paths, text)
        })
    }
}

/// Each new commit with each of its parents.
pub(super) fn pairs(graph: &Graph) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (commit, parents) in graph.commits() {
        if parents.is_empty() {
            pairs.push(Pair { commit, parent: None });
        }
        pairs.extend(parents.iter().map(|parent| Pair { commit, parent: Some(*parent) }));
    }
    pairs
}

/// Whether a file of this name is a PKCS #12 key store, which is a secret as a whole and has none that a pattern finds.
fn is_key_file(path: &[u8]) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with(b".p12") || path.ends_with(b".pfx")
}
