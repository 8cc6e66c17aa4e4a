//! `bottle init --from-log`.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::super::EXIT_OK;
use crate::fs;
use crate::init::log::Log;

/// The longest line that is read; egress writes none that is nearly as long.
const MAX_LINE: u64 = 1 << 20;

/// Reads the logs and prints the proposals.
pub(super) fn run(files: &[PathBuf]) -> Result<u8> {
    let mut log = Log::default();
    for path in files {
        if path.as_os_str() == "-" {
            read(std::io::stdin().lock(), &mut log).context("could not read standard input")?;
        } else {
            read(fs::open(path)?, &mut log)
                .with_context(|| format!("could not read `{}`", path.display()))?;
        }
    }
    std::io::stdout().write_all(log.text().as_bytes())?;
    if log.unread() > 0 {
        let lines = if log.unread() == 1 { "line is none" } else { "lines are none" };
        writeln!(std::io::stderr(), "warning: {} {lines} of an audit log", log.unread())?;
    }
    Ok(EXIT_OK)
}

fn read(from: impl Read, log: &mut Log) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        log.add(&line);
    }
}
