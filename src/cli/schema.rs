//! `bottle schema`.

use std::io::Write as _;

use anyhow::Result;

use super::EXIT_OK;
use crate::manifest;

/// Print the JSON Schema of the manifest
#[derive(Debug, clap::Args)]
pub(super) struct Args;

/// Prints the schema.
pub(super) fn run() -> Result<u8> {
    std::io::stdout().write_all(manifest::schema().as_bytes())?;
    Ok(EXIT_OK)
}
