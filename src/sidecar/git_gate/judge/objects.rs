//! Reading objects through one `git cat-file` process.

use std::io::{BufRead as _, BufReader, Read};
use std::process::ChildStdout;

use super::JudgeError;
use super::id::ObjectId;
use crate::sidecar::git_gate::git::{Git, Running};

/// How many requests are written before their answers are read: few enough for the pipe to hold them all, so that
/// neither side waits for the other.
const BATCH: usize = 200;

/// An object's type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Type {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Type {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// What `cat-file` says ahead of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) id: ObjectId,
    pub(super) kind: Type,
    pub(super) size: u64,
}

/// Receives one object; what it leaves unread is passed over.
pub(super) type Visit<'a> = dyn FnMut(Header, &mut dyn Read) -> Result<(), JudgeError> + 'a;

/// `git cat-file --batch-command`.
pub(super) struct Objects {
    git: Git,
    running: Running,
    output: BufReader<ChildStdout>,
    /// Whether somebody left before all answers of a batch were read.
    abandoned: bool,
}

impl Objects {
    /// Starts the process, which then waits.
    pub(super) fn start(git: &Git) -> Result<Self, JudgeError> {
        let mut running = git.start(&["cat-file", "--batch-command", "--buffer"])?;
        let output = BufReader::with_capacity(64 * 1024, running.take_stdout()?);
        Ok(Self { git: git.clone(), running, output, abandoned: false })
    }

    /// Asks for types and sizes. An object that isn't there is an error.
    pub(super) fn info(&mut self, ids: &[ObjectId]) -> Result<Vec<Header>, JudgeError> {
        let mut headers = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH) {
            self.request("info", batch)?;
            for id in batch {
                headers.push(self.header(*id)?);
            }
        }
        Ok(headers)
    }

    /// Reads objects, in order.
    pub(super) fn each(&mut self, ids: &[ObjectId], visit: &mut Visit<'_>) -> Result<(), JudgeError> {
        for batch in ids.chunks(BATCH) {
            self.request("contents", batch)?;
            self.abandoned = true;
            for id in batch {
                let header = self.header(*id)?;
                let mut content = (&mut self.output).take(header.size);
                let visited = visit(header, &mut content);
                let rest = std::io::copy(&mut content, &mut std::io::sink());
                let missing = content.limit();
                let mut end = [0];
                let read = rest.and_then(|_| self.output.read_exact(&mut end));
                read.map_err(|source| self.running.broken(source))?;
                if missing != 0 || end != *b"\n" {
                    return Err(self
                        .running
                        .unexpected(format!("object {id} doesn't end where it should"))
                        .into());
                }
                visited?;
            }
            self.abandoned = false;
        }
        Ok(())
    }

    /// Reads one object that is meant to be small.
    pub(super) fn small(&mut self, id: ObjectId) -> Result<Vec<u8>, JudgeError> {
        let mut bytes = Vec::new();
        self.each(&[id], &mut |_, content| {
            // A tag's target stands in its first line; the text below it is scanned elsewhere.
            content
                .take(4096)
                .read_to_end(&mut bytes)
                .map(drop)
                .map_err(|source| JudgeError::Read { id, source })
        })?;
        Ok(bytes)
    }

    fn request(&mut self, command: &str, ids: &[ObjectId]) -> Result<(), JudgeError> {
        if self.abandoned {
            // What the process still has to say answers nobody's question.
            *self = Self::start(&self.git)?;
        }
        let lines = ids.iter().flat_map(|id| format!("{command} {id}\n").into_bytes());
        let lines: Vec<u8> = lines.chain(*b"flush\n").collect();
        Ok(self.running.write(&lines)?)
    }

    fn header(&mut self, expected: ObjectId) -> Result<Header, JudgeError> {
        let mut line = Vec::new();
        let read = (&mut self.output).take(256).read_until(b'\n', &mut line);
        read.map_err(|source| self.running.broken(source))?;
        if line.is_empty() {
            return Err(self.running.broken(std::io::ErrorKind::UnexpectedEof.into()).into());
        }
        match header(&line) {
            Some(header) if header.id == expected => Ok(header),
            _ => Err(self
                .running
                .unexpected(format!("no header for object {expected}: it may be missing"))
                .into()),
        }
    }
}

/// Parses `<id> SP <type> SP <size> LF` (git-cat-file(1), "BATCH OUTPUT").
fn header(line: &[u8]) -> Option<Header> {
    let mut parts = line.strip_suffix(b"\n")?.split(|byte| *byte == b' ');
    let id = ObjectId::from_hex(parts.next()?)?;
    let kind = match parts.next()? {
        b"commit" => Type::Commit,
        b"tree" => Type::Tree,
        b"blob" => Type::Blob,
        b"tag" => Type::Tag,
        _ => return None,
    };
    let digits = parts.next().filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    parts.next().is_none().then_some(Header { id, kind, size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_object_has_no_header() {
        let id = "1".repeat(40);
        assert_eq!(header(format!("{id} blob 12\n").as_bytes()).unwrap().size, 12);
        for bad in [
            "missing\n",
            "blob\n",
            "blob +1\n",
            "blob 1",
            "blob 1 2\n",
            "blob 99999999999999999999\n",
            "note 1\n",
        ] {
            assert_eq!(header(format!("{id} {bad}").as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_or_refused(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(header(&line).is_none_or(|header| line.starts_with(header.id.to_string().as_bytes())));
        }

        #[test]
        fn what_git_writes_is_read(hex in "[0-9a-f]{40}", size in any::<u64>()) {
            let parsed = header(format!("{hex} tree {size}\n").as_bytes()).unwrap();
            prop_assert_eq!((parsed.id.to_string(), parsed.size, parsed.kind), (hex, size, Type::Tree));
        }
    }
}
