//! A mirror and a client, with the client's objects in the place of a quarantine.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::super::{Granted, JudgeError, ObjectId, RefUpdate, Verdict, judge_in};
use crate::policy::gate::{HttpsUpstream, PushOperation, PushRule, Repository, Upstream};
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::git::Git;
use crate::sidecar::git_gate::scan::{Input, Scan, ScanError, Scanner, Text};

pub(crate) const EVERYTHING: &[PushOperation] =
    &[PushOperation::Create, PushOperation::FastForward, PushOperation::Force, PushOperation::Delete];

/// A repository's policy.
pub(crate) fn repository(rules: &[(&str, &[PushOperation])], protect: &[&str]) -> Repository {
    let rules = rules.iter().zip(10..).map(|((refs, allow), line)| PushRule {
        source: format!("bottle.yaml:{line}"),
        refs: (*refs).into(),
        allow: allow.to_vec(),
    });
    Repository {
        source: "bottle.yaml:3".into(),
        upstream: Upstream::Https(HttpsUpstream {
            url: "https://git.example.com/app.git".into(),
            credential: None,
            ca_file: None,
        }),
        push: rules.collect(),
        protect: protect.iter().map(|pattern| (*pattern).into()).collect(),
        max_pack_bytes: 1 << 30,
    }
}

/// Takes the whole text and finds nothing.
pub(crate) struct FindsNothing;

impl Scanner for FindsNothing {
    fn scan(&self, input: &mut Input<'_>) -> Result<Scan, ScanError> {
        let mut send = |_: &[u8]| Ok(());
        let mut text = Text::start(String::new(), &mut send).map_err(ScanError::Input)?;
        input(&mut text).map_err(ScanError::Input)?;
        Ok(Scan::default())
    }
}

/// Both sides of a push.
pub(crate) struct Pair {
    directory: TempDir,
    pub(crate) policy: Repository,
    pub(crate) granted: Granted,
}

impl Pair {
    /// A mirror whose default branch has one commit with `README` and `bottle.yaml`, and a client that has fetched it.
    pub(crate) fn new() -> Self {
        Self::with_hash("sha1")
    }

    /// The same in a repository with this hash.
    pub(crate) fn with_hash(hash: &str) -> Self {
        let hash = format!("--object-format={hash}");
        let rules: &[(&str, &[PushOperation])] =
            &[("refs/heads/agent/**", EVERYTHING), ("refs/tags/**", EVERYTHING)];
        let policy = repository(rules, &["bottle.yaml", "compose.yaml", ".bottle/**"]);
        let pair = Self { directory: tempfile::tempdir().unwrap(), policy, granted: Granted::default() };
        let (mirror, work) = (pair.mirror(), pair.work());
        run(
            pair.directory.path(),
            &["init", "--quiet", &hash, "--bare", "-b", "main", mirror.to_str().unwrap()],
            b"",
        );
        run(pair.directory.path(), &["init", "--quiet", &hash, "-b", "main", work.to_str().unwrap()], b"");
        pair.write("README", "hello\n");
        pair.write("bottle.yaml", "version one\n");
        pair.commit("first");
        pair.publish("main");
        pair.git(&["checkout", "--quiet", "-b", "agent/x"]);
        pair
    }

    pub(crate) fn mirror(&self) -> PathBuf {
        self.directory.path().join("mirror.git")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Runs git in the client's repository.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        String::from_utf8(run(&self.work(), arguments, b"")).unwrap().trim_end().to_owned()
    }

    /// Runs git in the client's repository on an input.
    pub(crate) fn git_on(&self, arguments: &[&str], input: &[u8]) -> String {
        String::from_utf8(run(&self.work(), arguments, input)).unwrap().trim_end().to_owned()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::fs::write_atomic(&path, content.as_ref(), 0o644).unwrap();
    }

    /// Commits everything in the work tree.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-m", message]);
        self.id("HEAD")
    }

    pub(crate) fn id(&self, revision: &str) -> String {
        self.git(&["rev-parse", "--verify", revision])
    }

    /// Puts a revision onto a ref of the upstream, and so of the mirror, past the judge.
    pub(crate) fn publish(&self, name: &str) {
        let full = if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") };
        self.git(&["push", "--quiet", "--force", self.mirror().to_str().unwrap(), &format!("{name}:{full}")]);
    }

    pub(crate) fn mirror_value(&self, name: &str) -> ObjectId {
        let arguments = ["for-each-ref", "--format=%(objectname) %(refname)"];
        let output = String::from_utf8(run(&self.mirror(), &arguments, b"")).unwrap();
        let line = output.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '));
        ObjectId::from_hex(line.unwrap_or(&self.zero()).as_bytes()).unwrap()
    }

    /// What stands for no object.
    fn zero(&self) -> String {
        "0".repeat(self.id("HEAD").len())
    }

    /// An honest client's update of a ref; an empty revision deletes it.
    pub(crate) fn update(&self, revision: &str, name: &str) -> RefUpdate {
        let new = if revision.is_empty() { self.zero() } else { self.id(revision) };
        RefUpdate {
            old: self.mirror_value(name),
            new: ObjectId::from_hex(new.as_bytes()).unwrap(),
            name: name.as_bytes().to_vec(),
        }
    }

    pub(crate) fn judge_with(
        &self,
        updates: &[RefUpdate],
        scanner: &dyn Scanner,
    ) -> Result<Verdict, JudgeError> {
        let objects = self.work().join(".git/objects");
        let quarantine = [
            ("GIT_QUARANTINE_PATH", objects.clone()),
            ("GIT_OBJECT_DIRECTORY", objects),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.mirror().join("objects")),
        ];
        let quarantine = quarantine.map(|(name, value)| (name.into(), value.into()));
        let git = Git::with_quarantine(&self.mirror(), quarantine.into());
        judge_in(&git, "app", &self.policy, &self.granted, updates, scanner)
    }

    /// Judges without a scan and gives the reasons with the refused names.
    pub(crate) fn judge(&self, updates: &[RefUpdate]) -> Vec<(Reason, String)> {
        let verdict = self.judge_with(updates, &FindsNothing).unwrap();
        verdict.refusals.into_iter().map(|refusal| (refusal.reason, refusal.subject)).collect()
    }

    /// Pushes HEAD to `agent/x` without a scan and gives the reasons.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let refused = self.judge(&[self.update("HEAD", "refs/heads/agent/x")]);
        refused.into_iter().map(|(reason, _)| reason).collect()
    }
}

/// Runs git with fixed names and without anybody's configuration.
pub(crate) fn run(directory: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("git");
    command.current_dir(directory).args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("LC_ALL", "C")]);
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "A U Thor")
            .env(format!("GIT_{who}_EMAIL"), "author@example.com");
    }
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
