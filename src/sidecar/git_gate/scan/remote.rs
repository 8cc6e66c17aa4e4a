//! A warm gitleaks process, borrowed from the daemon.

use std::io::{self, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::process::{Ends, drive};
use super::{Gitleaks, Input, Scan, ScanError, Scanner};

/// How long the daemon may take to hand a process over; a cold start takes about as long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Scans with the daemon's warm process, and with one of its own where that does not work out.
#[derive(Clone, Debug)]
pub struct RemoteScanner {
    /// The daemon's socket, served by [`super::serve_scan`].
    pub socket: PathBuf,
    /// What scans otherwise.
    pub fallback: Gitleaks,
}

impl Scanner for RemoteScanner {
    fn scan(&self, input: &mut Input<'_>) -> Result<Scan, ScanError> {
        match self.warm(input) {
            Ok(scan) => Ok(scan),
            // What the pushed objects are to blame for would happen again.
            Err(error @ (ScanError::Input(_) | ScanError::TimedOut(_))) => Err(error),
            Err(error) => {
                let mut scan = self.fallback.scan(input)?;
                scan.notes.push(format!("scanned with a cold start, since the warm scanner failed: {error}"));
                Ok(scan)
            }
        }
    }
}

impl RemoteScanner {
    fn warm(&self, input: &mut Input<'_>) -> Result<Scan, ScanError> {
        let failed = |source| ScanError::Io { action: "borrow the warm scanner", source };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let ends = receive(&stream).map_err(failed)?;
        let limit = self.fallback.time_limit;
        let findings = drive(ends, limit, input, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left)).map_err(failed)?;
            let mut code = [0; 4];
            stream.read_exact(&mut code).map_err(failed)?;
            Ok(i32::from_le_bytes(code).to_string())
        })?;
        Ok(Scan { findings, notes: Vec::new() })
    }
}

fn receive(stream: &UnixStream) -> io::Result<Ends> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)
    })?;
    if received.bytes != 1 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let [input, report, complaints] = <[OwnedFd; 3]>::try_from(descriptors)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not three file descriptors"))?;
    Ok(Ends { input, report: report.into(), complaints: complaints.into() })
}
