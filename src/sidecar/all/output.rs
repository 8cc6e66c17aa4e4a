//! What the processes print, each line with the name of its process before it.

use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write};
use std::process::Stdio;

use crate::sidecar::text::neutral;

/// The most bytes of a line; a longer one becomes several.
const MAX_LINE: u64 = 256 << 10;

/// A pipe whose lines are copied, with a name before each, on a thread of its own that ends when nobody holds the pipe
/// any more: a log that is slow to be read must not keep the supervisor from its work.
pub(super) fn to(name: &'static str, log: impl Write + Send + 'static) -> std::io::Result<Stdio> {
    let (reader, writer) = std::io::pipe()?;
    std::thread::Builder::new().name(format!("log of {name}")).spawn(move || copy(name, reader, log))?;
    Ok(writer.into())
}

fn copy(name: &str, from: PipeReader, mut log: impl Write) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(MAX_LINE).read_until(b'\n', &mut line) {
            // There is nowhere to report that a pipe is broken but the log itself, which goes on.
            Ok(0) | Err(_) => return,
            // A whole line in one write: several processes share the log.
            Ok(_) => drop(log.write_all(format!("{name} | {}\n", neutral(&line)).as_bytes())),
        }
    }
}
