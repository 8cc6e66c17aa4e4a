//! Talking to one gitleaks process, whoever started it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::report::{self, Outcome};
use super::text::Text;
use super::{Input, RawFinding, ScanError};
use crate::fs;

/// The exit code that we have gitleaks use for "something was found": one that it never uses for anything else.
pub(super) const FOUND: i32 = 42;
/// A report larger than this is not read on.
const REPORT_LIMIT: u64 = 256 * 1024 * 1024;

/// Our ends of a gitleaks process: its input (packets), its output (the report), its complaints.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) input: OwnedFd,
    pub(super) report: UnixStream,
    pub(super) complaints: UnixStream,
}

/// The other ends, for the process itself.
#[derive(Debug)]
pub(super) struct Stdio {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Makes the sockets of one process.
pub(super) fn sockets() -> Result<(Ends, Stdio), ScanError> {
    let failed = |source| ScanError::Io { action: "make sockets for gitleaks", source };
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (input, stdin) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).map_err(|e| failed(e.into()))?;
    let (report, stdout) = UnixStream::pair().map_err(failed)?;
    let (complaints, stderr) = UnixStream::pair().map_err(failed)?;
    Ok((Ends { input, report, complaints }, Stdio { stdin, stdout: stdout.into(), stderr: stderr.into() }))
}

/// The arguments for `gitleaks`. Nothing of it depends on the repository, and the working directory, which gitleaks
/// would search for files of its own, is set by who starts it.
pub(super) fn arguments(config: &Path) -> Vec<OsString> {
    let found = FOUND.to_string();
    let fixed = [
        "stdin",
        "--ignore-gitleaks-allow",
        "--gitleaks-ignore-path=/dev/null",
        "--no-banner",
        "--no-color",
        "--log-level=warn",
        "--report-format=json",
        "--report-path=-",
        "--exit-code",
        &found,
        "--config",
    ];
    fixed.iter().map(OsString::from).chain([config.into()]).collect()
}

/// Sends the text, reads what comes back, and has `status` give the exit code. None of it lasts longer than `limit`.
pub(super) fn drive(
    ends: Ends,
    limit: Duration,
    input: &mut Input<'_>,
    status: impl FnOnce(Instant) -> Result<String, ScanError>,
) -> Result<Vec<RawFinding>, ScanError> {
    let deadline = Instant::now() + limit;
    let Ends { input: socket, mut report, mut complaints } = ends;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))
        .map_err(|source| ScanError::Io { action: "limit the time of the scan", source: source.into() })?;
    // What the writer of the text reports comes back as one type; a failure to send is told apart by this.
    let mut unsent: Option<ScanError> = None;
    let mut send = |packet: &[u8]| {
        let sent = send_packet(&socket, packet, deadline, limit);
        sent.map_err(|error| {
            unsent = Some(error);
            io::Error::other("the scanner does not take the text")
        })
    };
    let written = Text::start(canary()?, &mut send).and_then(|mut text| {
        input(&mut text)?;
        Ok(text.finish())
    });
    drop(socket);
    let map = match (written, unsent) {
        (Ok(map), None) => Ok(map),
        // What gitleaks says about its early end is worth more than that it ended.
        (_, Some(error)) => {
            let stderr =
                read(&mut complaints, Instant::now() + Duration::from_secs(1), limit).unwrap_or_default();
            Err(if stderr.is_empty() { error } else { ended("an end before the text's", &stderr) })
        }
        (Err(error), None) => Err(ScanError::Input(error)),
    }?;
    let stdout = read(&mut report, deadline, limit)?;
    let stderr = read(&mut complaints, deadline, limit)?;
    let status = status(deadline)?;
    report::judge(&Outcome { status: &status, stdout: &stdout, stderr: &stderr }, &map)
}

/// Makes the error for an end that proves nothing.
fn ended(status: &str, stderr: &[u8]) -> ScanError {
    ScanError::Ended { status: status.into(), stderr: String::from_utf8_lossy(stderr).into_owned() }
}

fn send_packet(socket: &OwnedFd, packet: &[u8], deadline: Instant, limit: Duration) -> Result<(), ScanError> {
    let failed = |source| ScanError::Io { action: "send the text to gitleaks", source };
    if Instant::now() >= deadline {
        return Err(ScanError::TimedOut(limit.as_secs()));
    }
    match rustix::io::retry_on_intr(|| rustix::net::send(socket, packet, SendFlags::NOSIGNAL)) {
        Ok(length) if length == packet.len() => Ok(()),
        Ok(_) => Err(failed(io::ErrorKind::WriteZero.into())),
        Err(rustix::io::Errno::AGAIN) => Err(ScanError::TimedOut(limit.as_secs())),
        Err(source) => Err(failed(source.into())),
    }
}

fn read(stream: &mut UnixStream, deadline: Instant, limit: Duration) -> Result<Vec<u8>, ScanError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ScanError::TimedOut(limit.as_secs()),
        _ => ScanError::Io { action: "read gitleaks' report", source },
    };
    let mut bytes = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ScanError::TimedOut(limit.as_secs()));
        }
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        match stream.take(1024 * 1024).read_to_end(&mut bytes) {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() as u64 > REPORT_LIMIT => {
                let what = format!("it is longer than {REPORT_LIMIT} bytes");
                return Err(ScanError::Report { what, stderr: String::new() });
            }
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Makes the random line of one scan.
fn canary() -> Result<String, ScanError> {
    let failed = |source| ScanError::Io { action: "read random bytes", source };
    let mut random = [0; 16];
    let mut device = fs::open(Path::new("/dev/urandom")).map_err(|error| failed(error.source))?;
    device.read_exact(&mut random).map_err(failed)?;
    Ok(format!("{}{:032x}", report::CANARY, u128::from_ne_bytes(random)))
}
