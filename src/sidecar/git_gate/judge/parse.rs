//! Reading commits, tags and trees.
//!
//! The formats are those of gitformat-commit and git's `Documentation/technical`; git's own `fsck` may or may not have
//! run before, so that what is not exactly in form is refused here: a tree that two programs read differently could
//! show the judge one thing and the upstream another.

use super::id::ObjectId;

/// What kind of entry a tree has, by its mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `100644`, `100755`, and the old `100664`.
    File,
    /// `120000`.
    Link,
    /// `160000`: a commit of another repository.
    Gitlink,
    /// `40000`.
    Tree,
}

impl Kind {
    /// Reads a mode as a tree has it, or with the leading zero of diff output.
    pub(super) fn of(mode: &[u8]) -> Option<Self> {
        match mode {
            b"100644" | b"100755" | b"100664" => Some(Self::File),
            b"120000" => Some(Self::Link),
            b"160000" => Some(Self::Gitlink),
            b"40000" | b"040000" => Some(Self::Tree),
            _ => None,
        }
    }
}

/// What a commit's header says about its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Commit {
    pub(super) parents: Vec<ObjectId>,
}

/// Reads a commit's `tree` and `parent` lines, which must come first.
pub(super) fn commit(raw: &[u8]) -> Option<Commit> {
    let mut lines = raw.split(|byte| *byte == b'\n');
    ObjectId::from_hex(lines.next()?.strip_prefix(b"tree ")?)?;
    let mut parents = Vec::new();
    for line in lines {
        match line.strip_prefix(b"parent ") {
            Some(hex) => parents.push(ObjectId::from_hex(hex)?),
            // A parent after another header is one that git doesn't see.
            None => return line.starts_with(b"author ").then_some(Commit { parents }),
        }
    }
    None
}

/// Reads what a tag names.
pub(super) fn tag_target(raw: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(raw.split(|byte| *byte == b'\n').next()?.strip_prefix(b"object ")?)
}

/// Says whether a tree is in form: known modes, names that a checkout would accept, in git's order, none twice.
pub(super) fn tree_is_sound(mut raw: &[u8], id_length: usize) -> bool {
    let mut previous: Option<Vec<u8>> = None;
    let mut names = std::collections::HashSet::new();
    while !raw.is_empty() {
        let Some((mode, name, rest)) = entry(raw, id_length) else { return false };
        let Some(kind) = Kind::of(mode).filter(|_| mode.first() != Some(&b'0')) else { return false };
        let forbidden =
            name.is_empty() || name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git");
        if forbidden || name.contains(&b'/') || !names.insert(name) {
            return false;
        }
        // Git orders a tree's name as if it ended with a slash.
        let mut key = name.to_vec();
        if kind == Kind::Tree {
            key.push(b'/');
        }
        if previous.as_ref().is_some_and(|previous| *previous >= key) {
            return false;
        }
        previous = Some(key);
        raw = rest;
    }
    true
}

/// Takes the first entry: its mode, its name, and what follows.
fn entry(raw: &[u8], id_length: usize) -> Option<(&[u8], &[u8], &[u8])> {
    let space = raw.iter().position(|byte| *byte == b' ')?;
    let (mode, rest) = (raw.get(..space)?, raw.get(space + 1..)?);
    let nul = rest.iter().position(|byte| *byte == 0)?;
    rest.get(nul + 1..nul + 1 + id_length)?;
    Some((mode, rest.get(..nul)?, rest.get(nul + 1 + id_length..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(entries: &[(&str, &str)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(mode, name)| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; 20]].concat())
            .collect()
    }

    #[test]
    fn trees_in_form_are_sound() {
        assert!(tree_is_sound(b"", 20));
        assert!(tree_is_sound(&tree(&[("100644", "a"), ("100755", "a.b")]), 20));
        assert!(tree_is_sound(
            &tree(&[("100644", "a.c"), ("40000", "a"), ("160000", "b"), ("120000", "c")]),
            20
        ));
    }

    #[test]
    fn trees_that_could_be_read_in_two_ways_are_not() {
        for entries in [
            &[("100644", "b"), ("100644", "a")][..],
            &[("100644", "a"), ("100644", "a")],
            &[("100644", "a"), ("100644", "a.b"), ("40000", "a")],
            &[("40000", "a"), ("100644", "a.c")],
            &[("040000", "a")],
            &[("100666", "a")],
            &[("", "a")],
            &[("100644", "")],
            &[("100644", "a/b")],
            &[("40000", "..")],
            &[("40000", ".GIT")],
        ] {
            assert!(!tree_is_sound(&tree(entries), 20), "{entries:?}");
        }
        let whole = tree(&[("100644", "a")]);
        assert!((1..whole.len()).all(|length| !tree_is_sound(&whole[..length], 20)));
    }

    #[test]
    fn parents_stand_where_git_looks_for_them() {
        let id = "1".repeat(40);
        let parsed = commit(format!("tree {id}\nparent {id}\nauthor x\n\nparent {id}\n").as_bytes()).unwrap();
        assert_eq!(parsed.parents.len(), 1);
        assert_eq!(commit(format!("tree {id}\nfoo bar\nparent {id}\nauthor x\n").as_bytes()), None);
        assert_eq!(commit(format!("tree {id}\n").as_bytes()), None);
        assert_eq!(commit(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop((commit(&raw), tag_target(&raw), tree_is_sound(&raw, 20), tree_is_sound(&raw, 32)));
        }

        #[test]
        fn a_sorted_tree_is_sound(names in proptest::collection::btree_set("[a-z.]{3,8}", 0..9)) {
            let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_str())).collect();
            prop_assert!(tree_is_sound(&tree(&entries), 20));
        }
    }
}
