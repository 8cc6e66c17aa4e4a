//! `bottle render`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::source::{Source, working_directory};
use super::{EXIT_FAILURE, EXIT_OK};
use crate::manifest::lexically_normal;
use crate::manifest::source::shown;
use crate::plan;
use crate::render::{self, ComposeName, Renderer, Target};

/// Compile the manifest into a Compose bundle
///
/// Prints compose.yaml and writes what it mounts and builds below .bottle/ in the working directory, so that
/// `bottle render > compose.yaml && docker compose up` works.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The agent to render; needs no name where the manifest has only one
    agent: Option<String>,

    #[command(flatten)]
    source: Source,

    /// Write everything into DIR, compose.yaml too
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Render every agent, each with a compose.<agent>.yaml of its own
    #[arg(long, requires = "output", conflicts_with = "agent")]
    all: bool,

    /// Write nothing; print what differs from the files on disk and exit with 1 if anything does
    #[arg(long)]
    check: bool,

    /// The Linux program that the containers run [default: this program]
    #[arg(long, value_name = "PATH", env = "BOTTLE_LINUX_BINARY")]
    linux_binary: Option<PathBuf>,
}

/// Renders, and writes or compares.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { agent, source, output, all, check, linux_binary } = args;
    let working_directory = working_directory()?;
    let directory =
        lexically_normal(&working_directory.join(output.as_deref().unwrap_or(std::path::Path::new("."))));
    let loaded = source.load(working_directory)?;
    let plans = if all { plan::resolve_all(loaded)? } else { vec![plan::resolve(loaded, agent.as_deref())?] };
    let renderer = Renderer::default();
    let bundles =
        plans.iter().map(|plan| renderer.render(plan, &directory)).collect::<Result<Vec<_>, _>>()?;
    let binary = match linux_binary {
        Some(path) => path,
        None => std::env::current_exe()
            .context("this program's own file can't be found; name it with `--linux-binary PATH`")?,
    };
    let compose = match (&output, all) {
        (_, true) => ComposeName::PerAgent,
        (None, false) if !check => ComposeName::Printed,
        _ => ComposeName::Single,
    };
    let target = Target { directory, compose, binary };
    if check {
        let drift = render::check(&bundles, &target)?;
        if drift.diff.is_empty() {
            return Ok(EXIT_OK);
        }
        let mut stderr = std::io::stderr();
        // What is on disk may come from anybody: it is shown, but it doesn't get to steer the terminal.
        for line in drift.diff.split_inclusive('\n') {
            let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
            let text: Vec<String> = text.split('\t').map(shown).collect();
            write!(stderr, "{}{end}", text.join("\t"))?;
        }
        writeln!(stderr, "error: the bundle on disk is not what the manifest renders to")?;
        writeln!(stderr, "hint: run `bottle render` as it was run before, and review the difference")?;
        return Ok(EXIT_FAILURE);
    }
    render::write(&bundles, &target)?;
    if compose == ComposeName::Printed {
        let [bundle] = bundles.as_slice() else {
            bail!("one compose.yaml at a time goes to standard output")
        };
        std::io::stdout().write_all(bundle.compose.as_bytes())?;
    }
    Ok(EXIT_OK)
}
