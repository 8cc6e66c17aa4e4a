//! Running git on a mirror with an environment that nobody else has a say in.
//!
//! Neither the system's configuration nor the user's is read, replace refs and grafts are switched off, and nothing is
//! fetched on demand: what git says about an object is what the object says. Of the surrounding environment only the
//! variables with which `git receive-pack` points its hooks at the quarantine are passed on
//! (git-receive-pack(1), "QUARANTINE ENVIRONMENT").

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// The variables that `git receive-pack` sets for `pre-receive` and that git needs to see the pushed objects.
const QUARANTINE: [&str; 3] =
    ["GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"];

/// A git command that failed, with everything it said.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It could not be started, or its pipes broke.
    #[error("could not run `git {command}`: {source}")]
    Run {
        /// The arguments, for the message.
        command: String,
        /// What the operating system answered.
        source: io::Error,
    },
    /// It ended with a failure, or it ended well and complained all the same.
    #[error("`git {command}` ended with {status}: {}", stderr.trim_end())]
    Failed {
        /// The arguments, for the message.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// All it wrote on its standard error.
        stderr: String,
    },
    /// Its output is not what git documents.
    #[error("`git {command}` gave something unexpected: {what}")]
    Output {
        /// The arguments, for the message.
        command: String,
        /// What was wrong.
        what: String,
    },
}

/// One bare repository and the environment to look at it with.
#[derive(Clone, Debug)]
pub struct Git {
    git_dir: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Git {
    /// Looks at a repository as a `pre-receive` hook does, with the quarantine that this process was given.
    pub fn in_hook(git_dir: &Path) -> Self {
        let variables =
            QUARANTINE.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        Self::with_quarantine(git_dir, variables.collect())
    }

    /// Looks at a repository with these quarantine variables; none means without a quarantine.
    pub fn with_quarantine(git_dir: &Path, quarantine: Vec<(OsString, OsString)>) -> Self {
        let fixed = [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            // A file that can't be there: git complains about an empty one.
            ("GIT_GRAFT_FILE", "/dev/null/none"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_PAGER", "cat"),
            ("LC_ALL", "C"),
        ];
        let mut environment = quarantine;
        environment.extend(fixed.map(|(name, value)| (name.into(), value.into())));
        environment.extend(std::env::var_os("PATH").map(|path| ("PATH".into(), path)));
        Self { git_dir: git_dir.to_owned(), environment }
    }

    /// The repository's own directory.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The directory of the quarantine, where there is one.
    pub fn quarantine(&self) -> Option<&Path> {
        let found = self.environment.iter().find(|(name, _)| name == "GIT_QUARANTINE_PATH");
        found.map(|(_, path)| Path::new(path))
    }

    /// Makes a command without starting it.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--no-pager").arg("--git-dir").arg(&self.git_dir).args(arguments);
        command
    }

    /// Starts a command whose input and output are pipes.
    pub fn start(&self, arguments: &[&str]) -> Result<Running, GitError> {
        let name = arguments.join(" ");
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| GitError::Run { command: name.clone(), source })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // Read beside the output: a child that waits for room on its standard error would never end.
        let complaints = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stderr.map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut bytes));
            (bytes, read.err())
        });
        Ok(Running { name, child, stdin, stdout, complaints: Some(complaints), ended: false })
    }

    /// Runs a command on an input and gives its whole output. A complaint on standard error is a failure, whatever the
    /// exit status says: none of the commands that judge a push has a reason to complain.
    pub fn output(&self, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError> {
        let mut running = self.start(arguments)?;
        running.feed(input);
        let output = running.read_all()?;
        running.finish()?;
        Ok(output)
    }

    /// Runs a command whose exit status 1 means "no", as `merge-base --is-ancestor` does; gives its output for "yes".
    pub fn ask(&self, arguments: &[&str]) -> Result<Option<Vec<u8>>, GitError> {
        let mut running = self.start(arguments)?;
        running.feed(Vec::new());
        let output = running.read_all()?;
        let (status, stderr) = running.end()?;
        match status.code() {
            Some(0) if stderr.is_empty() => Ok(Some(output)),
            Some(1) if stderr.is_empty() => Ok(None),
            _ => Err(GitError::Failed { command: running.name.clone(), status, stderr }),
        }
    }
}

/// A git command that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    complaints: Option<JoinHandle<(Vec<u8>, Option<io::Error>)>>,
    ended: bool,
}

impl Running {
    /// The arguments it was started with, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the whole input from a thread of its own, so that neither side waits for the other, and closes it.
    pub fn feed(&mut self, input: Vec<u8>) {
        if let Some(mut stdin) = self.stdin.take() {
            // A command that ends early says so with its status; the broken pipe adds nothing to that.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
    }

    /// Lets the command fail where it would need more memory than this for its data.
    pub fn limit_memory(&self, bytes: u64) -> Result<(), GitError> {
        let pid = rustix::process::Pid::from_child(&self.child);
        let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Data, limit)
            .map(drop)
            .map_err(|source| GitError::Run { command: self.name.clone(), source: source.into() })
    }

    /// Writes to the input and leaves it open.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        let written = match self.stdin.as_mut() {
            Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|source| self.broken(source))
    }

    /// Takes the output, to be read as it comes.
    pub fn take_stdout(&mut self) -> Result<ChildStdout, GitError> {
        self.stdout.take().ok_or_else(|| self.unexpected("its output was taken twice"))
    }

    /// Reads the whole output.
    pub fn read_all(&mut self) -> Result<Vec<u8>, GitError> {
        let mut bytes = Vec::new();
        let mut stdout = self.take_stdout()?;
        stdout.read_to_end(&mut bytes).map_err(|source| self.broken(source))?;
        Ok(bytes)
    }

    /// Waits for the end and fails on a bad status and on any complaint.
    pub fn finish(&mut self) -> Result<(), GitError> {
        let (status, stderr) = self.end()?;
        if status.success() && stderr.is_empty() {
            return Ok(());
        }
        Err(GitError::Failed { command: self.name.clone(), status, stderr })
    }

    /// Makes the error for a broken pipe; where the command itself has failed, that is the better reason.
    pub fn broken(&mut self, source: io::Error) -> GitError {
        drop(self.child.kill());
        match self.end() {
            Ok((status, stderr)) if !stderr.is_empty() => {
                GitError::Failed { command: self.name.clone(), status, stderr }
            }
            Ok(_) | Err(_) => GitError::Run { command: self.name.clone(), source },
        }
    }

    /// Makes the error for output that is not what git documents.
    pub fn unexpected(&self, what: impl Into<String>) -> GitError {
        GitError::Output { command: self.name.clone(), what: what.into() }
    }

    fn end(&mut self) -> Result<(ExitStatus, String), GitError> {
        drop(self.stdin.take());
        drop(self.stdout.take());
        let run = |source| GitError::Run { command: self.name.clone(), source };
        let status = self.child.wait().map_err(run)?;
        self.ended = true;
        let complaints = self.complaints.take().map(JoinHandle::join);
        let (bytes, error) = match complaints {
            None => (Vec::new(), None),
            Some(Ok(read)) => read,
            Some(Err(_)) => (b"(the standard error could not be read)".to_vec(), None),
        };
        error.map_or(Ok(()), |source| Err(GitError::Run { command: self.name.clone(), source }))?;
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            // An error ends the judgement early; what still runs then has nobody to report to.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
