//! `bottle graph`.

use std::io::Write as _;

use anyhow::Result;
use clap::ValueEnum;

use super::EXIT_OK;
use super::source::{Source, working_directory};
use crate::analysis::graph::{Picture, dot, mermaid, svg};
use crate::plan;

/// Draw a bottle: containers, routes, repositories, and who holds which secret
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The agent; needs no name where the manifest has only one
    agent: Option<String>,

    #[command(flatten)]
    source: Source,

    /// How it is drawn
    #[arg(long, value_name = "FORMAT", default_value = "mermaid")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A flowchart, as forges show it in Markdown
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
}

/// Prints the picture.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { agent, source, format } = args;
    let plan = plan::resolve(source.load(working_directory()?)?, agent.as_deref())?;
    let picture = Picture::new(&plan);
    let text = match format {
        Format::Mermaid => mermaid(&picture),
        Format::Dot => dot(&picture),
        Format::Svg => svg(&picture),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(EXIT_OK)
}
