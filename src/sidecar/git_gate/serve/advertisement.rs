//! Asks an upstream behind SSH for its refs, in git's own protocol (gitprotocol-v2(5), gitprotocol-pack(5)).
//!
//! `git ls-remote` would do the same with three more processes, and this question is asked before every fetch of the
//! agent: the processes were a third of the time it waited.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::super::message::Failure;
use super::super::wire::{self, Pending, Question, Service};
use super::refs::Refs;
use crate::policy::reason::Reason;

/// The most that an upstream may tell.
const MAX_BYTES: usize = 256 << 20;
/// The most that is kept of what `ssh` complains about.
const MAX_COMPLAINT: u64 = 64 << 10;
/// How long an answer that is complete may take to be followed by the end of the session.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Asks through the broker.
pub(super) async fn ask(run: &Path, name: &str, limit: Duration) -> Result<Refs, Failure> {
    let pipes = || -> io::Result<_> { Ok((io::pipe()?, io::pipe()?, io::pipe()?)) };
    let ((stdin, to), (from, stdout), (complaints, stderr)) = pipes().map_err(Failure::inside)?;
    let question = Question::Session {
        repository: name.to_owned(),
        service: Service::UploadPack,
        protocol: Some("version=2".to_owned()),
    };
    let socket = run.join("keys").join("broker.sock");
    let streams = [stdin.into(), stdout.into(), stderr.into()];
    let pending = wire::ask_later(&socket, &question, &streams).map_err(Failure::inside)?;
    // Their ends here would keep the other side from seeing the end of the session.
    drop(streams);
    let ends = || -> io::Result<_> {
        Ok((
            Sender::from_owned_fd(to.into())?,
            Receiver::from_owned_fd(from.into())?,
            Receiver::from_owned_fd(complaints.into())?,
        ))
    };
    let (to, from, complaints) = ends().map_err(Failure::inside)?;
    // Dropping `pending` tells the broker to end the session and to distrust its connection.
    let asked = tokio::time::timeout(limit, converse(name, to, from, complaints, pending)).await;
    asked.unwrap_or_else(|_| {
        let text = format!("{name}: the upstream did not answer for {} s", limit.as_secs());
        Err(Failure::new(Reason::UpstreamDown, text))
    })
}

async fn converse(
    name: &str,
    to: Sender,
    from: Receiver,
    complaints: Receiver,
    pending: Pending,
) -> Result<Refs, Failure> {
    let mut complaints = complaints.take(MAX_COMPLAINT);
    match (Exchange { to, from, left: MAX_BYTES }).refs().await {
        Ok(refs) => {
            // The answer is complete; the session ends by itself, and the broker wants somebody to wait for that.
            tokio::spawn(tokio::time::timeout(END_LIMIT, pending.answer()));
            Ok(refs)
        }
        Err(error) => {
            let mut said = Vec::new();
            complaints.read_to_end(&mut said).await.map_err(Failure::inside)?;
            match pending.answer().await.map_err(Failure::inside)? {
                wire::Answer::Refused(why) => Err(Failure::inside(why)),
                _ if said.is_empty() && error.kind() != io::ErrorKind::UnexpectedEof => {
                    Err(Failure::of_upstream(name, error.to_string().as_bytes()))
                }
                _ => {
                    if error.kind() == io::ErrorKind::Other {
                        said.extend_from_slice(error.to_string().as_bytes());
                    }
                    Err(Failure::of_upstream(name, &said))
                }
            }
        }
    }
}

/// A conversation with `git-upload-pack`.
struct Exchange {
    to: Sender,
    from: Receiver,
    left: usize,
}

/// A packet of git's protocol; none is a flush.
type Packet = Option<Vec<u8>>;

impl Exchange {
    async fn refs(mut self) -> io::Result<Refs> {
        let first = self.packet().await?;
        match first.as_deref().map(<[u8]>::trim_ascii_end) {
            Some(b"version 2") => self.second_version().await,
            Some(b"version 1") => {
                let first = self.packet().await?;
                self.first_version(first).await
            }
            _ => self.first_version(first).await,
        }
    }

    /// The upstream tells what it can, is asked, and answers.
    async fn second_version(&mut self) -> io::Result<Refs> {
        let (mut format, mut unborn) = (None, false);
        while let Some(line) = self.packet().await? {
            if line.starts_with(b"object-format=") {
                format = Some(line);
            } else if let Some(features) = line.strip_prefix(b"ls-refs=") {
                unborn =
                    features.split(|byte| matches!(byte, b' ' | b'\n')).any(|feature| feature == b"unborn");
            }
        }
        let mut question = packet(b"command=ls-refs\n");
        if let Some(format) = format {
            question.extend(packet(&format));
        }
        question.extend_from_slice(b"0001");
        question.extend(packet(b"symrefs\n"));
        if unborn {
            question.extend(packet(b"unborn\n"));
        }
        // The second flush ends the conversation.
        question.extend_from_slice(b"00000000");
        self.to.write_all(&question).await?;
        let mut refs = Refs::default();
        while let Some(line) = self.packet().await? {
            let line = line.trim_ascii_end();
            let mut words = line.split(|byte| *byte == b' ');
            let (Some(object), Some(name)) = (words.next(), words.next()) else {
                return Err(odd(line));
            };
            let target = words.find_map(|word| word.strip_prefix(b"symref-target:"));
            refs.add(object, name, target).map_err(io::Error::other)?;
        }
        Ok(refs)
    }

    /// The upstream tells its refs unasked, with what it can behind the first.
    async fn first_version(&mut self, first: Packet) -> io::Result<Refs> {
        let mut refs = Refs::default();
        let mut next = first;
        let mut head = None;
        while let Some(line) = next {
            let mut parts = line.splitn(2, |byte| *byte == 0);
            let told = parts.next().unwrap_or_default().trim_ascii_end();
            for feature in parts.next().unwrap_or_default().split(|byte| matches!(byte, b' ' | b'\n')) {
                if let Some(target) = feature.strip_prefix(b"symref=HEAD:") {
                    head = Some(target.to_vec());
                }
            }
            let mut words = told.splitn(2, |byte| *byte == b' ');
            let (Some(object), Some(name)) = (words.next(), words.next()) else {
                return Err(odd(told));
            };
            if !matches!(name, b"capabilities^{}" | b".have") && object != b"shallow" {
                let target = head.as_deref().filter(|_| name == b"HEAD");
                refs.add(object, name, target).map_err(io::Error::other)?;
            }
            next = self.packet().await?;
        }
        self.to.write_all(b"0000").await?;
        Ok(refs)
    }

    async fn packet(&mut self) -> io::Result<Packet> {
        let mut digits = [0; 4];
        self.from.read_exact(&mut digits).await?;
        let length =
            std::str::from_utf8(&digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        match length {
            Some(0) => Ok(None),
            Some(length @ 5..) if length <= self.left => {
                self.left -= length;
                let mut data = vec![0; length - 4];
                self.from.read_exact(&mut data).await?;
                match data.strip_prefix(b"ERR ") {
                    Some(said) => {
                        Err(io::Error::other(format!("remote error: {}", String::from_utf8_lossy(said))))
                    }
                    None => Ok(Some(data)),
                }
            }
            _ => Err(odd(&digits)),
        }
    }
}

fn packet(data: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", data.len() + 4).into_bytes();
    packet.extend_from_slice(data);
    packet
}

fn odd(line: &[u8]) -> io::Error {
    let line = String::from_utf8_lossy(line);
    io::Error::other(format!("ERROR: the upstream does not speak git's protocol: `{line}`"))
}
