//! The question and the answer on the broker's socket.
//!
//! One connection, one question: a line of JSON, together with the caller's stdin, stdout and stderr where a session is
//! asked for; then one line of JSON as the answer. The caller chooses among the repositories of the policy and between
//! two services, nothing else: not the host, not the path, no option.

use std::io::{self, BufReader, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest question or answer.
const MAX_LINE: usize = 16 << 10;

/// Which of git's two services.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Service {
    /// Fetching.
    UploadPack,
    /// Pushing.
    ReceivePack,
}

impl Service {
    /// The service behind `git-upload-pack` or `git-receive-pack`.
    pub(crate) fn from_program(program: &str) -> Option<Self> {
        match program {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    /// The program that provides it.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// What the broker is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Question {
    /// Runs a service on the upstream of a repository; the caller's three standard streams come along.
    Session {
        /// The repository's name.
        repository: String,
        /// The service.
        service: Service,
        /// The caller's `GIT_PROTOCOL`.
        protocol: Option<String>,
    },
    /// Gives the user name and password for a repository's upstream.
    Credential {
        /// The repository's name.
        repository: String,
        /// The protocol for which git asks.
        protocol: String,
        /// The host, with its port, for which git asks.
        host: String,
    },
    /// Answers, to prove that the broker does.
    Ping,
}

/// What the broker answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The session ended with this status.
    Ended(i32),
    /// The user name and the password.
    Credential {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// It was not done; a line for a person.
    Refused(String),
    /// The broker is there.
    Pong,
}

/// The broker could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The socket.
    #[error("could not ask the broker at `{}`: {source}", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The answer.
    #[error("the broker's answer was not understood: {0}")]
    Answer(String),
}

/// Asks the broker and waits for its answer.
pub(crate) fn ask(
    socket: &Path,
    question: &Question,
    streams: &[BorrowedFd<'_>],
) -> Result<Answer, WireError> {
    let fail = |source| WireError::Socket { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).map_err(fail)?;
    let mut line = serde_json::to_vec(question).map_err(|error| WireError::Answer(error.to_string()))?;
    line.push(b'\n');
    match send(stream.as_fd(), &line, streams) {
        // A caller who may not ask is answered before he has asked; the answer is there to be read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        sent => sent.map_err(fail)?,
    }
    let mut answer = String::new();
    let mut reader = io::Read::take(BufReader::new(&stream), MAX_LINE as u64);
    io::BufRead::read_line(&mut reader, &mut answer).map_err(fail)?;
    understand(&answer)
}

/// A question whose answer comes later; dropping it takes the question back.
pub(crate) struct Pending {
    stream: tokio::net::UnixStream,
    path: PathBuf,
}

/// Asks the broker for a session without waiting; the caller closes its copies of the streams.
pub(crate) fn ask_later(
    socket: &Path,
    question: &Question,
    streams: &[OwnedFd; 3],
) -> Result<Pending, WireError> {
    let fail = |source| WireError::Socket { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).map_err(fail)?;
    let mut line = serde_json::to_vec(question).map_err(|error| WireError::Answer(error.to_string()))?;
    line.push(b'\n');
    send(stream.as_fd(), &line, &streams.each_ref().map(AsFd::as_fd)).map_err(fail)?;
    stream.set_nonblocking(true).map_err(fail)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(fail)?;
    Ok(Pending { stream, path: socket.to_owned() })
}

impl Pending {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> Result<Answer, WireError> {
        let Self { stream, path } = self;
        let mut answer = String::new();
        let mut reader = tokio::io::BufReader::new(stream).take(MAX_LINE as u64);
        let read = reader.read_line(&mut answer).await;
        read.map_err(|source| WireError::Socket { path, source })?;
        understand(&answer)
    }
}

fn understand(answer: &str) -> Result<Answer, WireError> {
    if answer.is_empty() {
        return Err(WireError::Answer("it closed the connection".to_owned()));
    }
    serde_json::from_str(answer).map_err(|error| WireError::Answer(error.to_string()))
}

fn send(socket: BorrowedFd<'_>, line: &[u8], streams: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !streams.is_empty() && !control.push(SendAncillaryMessage::ScmRights(streams)) {
        return Err(io::Error::other("too many file descriptors"));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?;
    // A question is far smaller than a socket's buffer; a part of one would have lost its descriptors.
    if sent == line.len() { Ok(()) } else { Err(io::Error::other("the question was sent only in part")) }
}

/// Receives a part of a question, and the descriptors that come with it.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    line: &mut Vec<u8>,
    streams: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            streams.extend(descriptors);
        }
    }
    line.extend_from_slice(buffer.get(..received.bytes).unwrap_or_default());
    if line.len() > MAX_LINE {
        return Err(io::Error::other("the question is too long"));
    }
    Ok(received.bytes)
}

/// Tells whether a `GIT_PROTOCOL` may be passed on.
pub(crate) fn is_protocol(value: &str) -> bool {
    matches!(value, "version=0" | "version=1" | "version=2")
}
