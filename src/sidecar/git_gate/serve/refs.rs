//! The refs of a repository as one value, to compare an upstream with its mirror.

use std::collections::BTreeMap;

/// Where HEAD is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Head {
    /// Not told: an empty repository, whose HEAD names a branch that isn't there yet.
    #[default]
    Untold,
    /// On a branch.
    On(Vec<u8>),
    /// On a commit.
    At(String),
}

/// All refs and HEAD.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Refs {
    /// Where HEAD is.
    pub(super) head: Head,
    /// The object that each ref names.
    pub(super) refs: BTreeMap<Vec<u8>, String>,
}

/// A line that git should not have printed.
#[derive(Debug, thiserror::Error)]
#[error("a list of refs has a line that was not understood: `{0}`")]
pub(super) struct BadLine(String);

impl Refs {
    /// Reads what `git ls-remote --symref` prints: object or symbolic target, a tab, the name.
    pub(super) fn parse(text: &[u8]) -> Result<Self, BadLine> {
        let mut all = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let bad = || BadLine(String::from_utf8_lossy(line).into_owned());
            let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(bad)?;
            let (value, name) = line.split_at_checked(tab).ok_or_else(bad)?;
            let name = name.get(1..).unwrap_or_default();
            let target = value.strip_prefix(b"ref: ");
            if name.ends_with(b"^{}") || (target.is_some() && name != b"HEAD") {
                continue;
            }
            match target {
                Some(target) => all.head = Head::On(target.to_vec()),
                None => all.add(value, name, None)?,
            }
        }
        Ok(all)
    }

    /// Adds one ref; `target` is where a symbolic one points. An unborn HEAD has the object `unborn`.
    pub(super) fn add(&mut self, object: &[u8], name: &[u8], target: Option<&[u8]>) -> Result<(), BadLine> {
        let bad = || BadLine([object, b" ", name].concat().escape_ascii().to_string());
        if name == b"HEAD"
            && let Some(target) = target
        {
            self.head = Head::On(target.to_vec());
            return Ok(());
        }
        if name.ends_with(b"^{}") {
            return Ok(());
        }
        let object = std::str::from_utf8(object).ok().filter(|id| is_object(id)).ok_or_else(bad)?.to_owned();
        if name != b"HEAD" {
            self.refs.insert(name.to_vec(), object);
        } else if self.head == Head::Untold {
            self.head = Head::At(object);
        }
        Ok(())
    }

    /// Whether the objects have the long names of SHA-256.
    pub(super) fn is_sha256(&self) -> bool {
        self.refs.values().any(|object| object.len() == 64)
    }
}

fn is_object(id: &str) -> bool {
    matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::{Head, Refs};

    #[test]
    fn the_output_of_ls_remote_is_read() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/tags/v1\n{a}\trefs/tags/v1^{{}}\n"
        );
        let refs = Refs::parse(text.as_bytes()).unwrap();
        assert_eq!(refs.head, Head::On(b"refs/heads/main".to_vec()));
        assert_eq!(refs.refs.len(), 2);
        assert_eq!(refs.refs.get(b"refs/tags/v1".as_slice()), Some(&b));
    }

    #[test]
    fn a_head_on_no_branch_is_kept_as_its_commit() {
        let a = "a".repeat(40);
        let refs = Refs::parse(format!("{a}\tHEAD\n").as_bytes()).unwrap();
        assert_eq!(refs.head, Head::At(a));
        assert_eq!(Refs::parse(b"").unwrap(), Refs::default());
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        assert!(Refs::parse(b"hello\n").is_err());
        assert!(Refs::parse(b"xyz\trefs/heads/main\n").is_err());
    }
}
