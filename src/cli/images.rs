//! `bottle images`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use super::EXIT_OK;
use super::source::{Source, working_directory};
use crate::fs;
use crate::images::{self, Context, IMAGES, Lock};
use crate::manifest::Loaded;

/// Publish the sidecars' images, and lock their digests
///
/// For a manifest with `images: { registry: …, digests: FILE }`: `build`, `push` and `lock` in this order, once for
/// each version of bottle. Whoever renders the manifest then needs the lock file alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the images of this version, under the registry's names
    Build {
        #[command(flatten)]
        source: Source,

        /// The Linux program that the containers run [default: this program]
        #[arg(long, value_name = "PATH", env = "BOTTLE_LINUX_BINARY")]
        linux_binary: Option<PathBuf>,
    },
    /// Push what was built to the registry
    Push {
        #[command(flatten)]
        source: Source,
    },
    /// Write the digests of what was pushed or pulled to the lock file
    Lock {
        #[command(flatten)]
        source: Source,
    },
}

/// Builds, pushes or locks; prints what it made, a line each.
pub(super) fn run(args: Args) -> Result<u8> {
    match args.command {
        Command::Build { source, linux_binary } => build(source, linux_binary),
        Command::Push { source } => each(source, images::push),
        Command::Lock { source } => lock(source),
    }
}

/// The manifest, and the registry that it names.
fn registry(source: Source) -> Result<(Loaded, String)> {
    let loaded = source.load(working_directory()?)?;
    let images = loaded.manifest.images.as_ref();
    let registry =
        images.context("the manifest has no `images: { registry: … }`")?.registry.value.as_str().to_owned();
    Ok((loaded, registry))
}

fn each(source: Source, act: impl Fn(&str, &str) -> Result<String>) -> Result<u8> {
    let (_, registry) = registry(source)?;
    for (image, _) in IMAGES {
        writeln!(std::io::stdout(), "{}", act(&registry, image)?)?;
    }
    Ok(EXIT_OK)
}

fn build(source: Source, linux_binary: Option<PathBuf>) -> Result<u8> {
    let binary = match linux_binary {
        Some(path) => path,
        None => std::env::current_exe()
            .context("this program's own file can't be found; name it with `--linux-binary PATH`")?,
    };
    let context = Context::new(&binary)?;
    each(source, |registry, image| images::build(context.path(), registry, image))
}

fn lock(source: Source) -> Result<u8> {
    let (loaded, registry) = registry(source)?;
    let path =
        loaded.lock_path().context("the manifest names no lock file with `images: { digests: FILE }`")?;
    let digests =
        IMAGES.iter().map(|(image, _)| Ok(((*image).to_owned(), images::digest(&registry, image)?)));
    let lock = Lock::new(&registry, digests.collect::<Result<BTreeMap<_, _>>>()?)?;
    let text = lock.text()?;
    match fs::read_if_exists(&path)? {
        Some(there) if there == text.as_bytes() => {}
        Some(there) if !images::is_ours(&there) => bail!("`{}` was not written by bottle", path.display()),
        _ => fs::write_atomic(&path, text.as_bytes(), 0o644)?,
    }
    for (image, _) in IMAGES {
        writeln!(std::io::stdout(), "{}", lock.image(image).unwrap_or_default())?;
    }
    Ok(EXIT_OK)
}
