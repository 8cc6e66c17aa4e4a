//! Building and pushing, through the `docker` command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{IMAGES, repository, tagged};
use crate::engine::command::Command;
use crate::fs;
use crate::sidecar::text::hex;

/// How long a build or a push may take.
const LIMIT: Duration = Duration::from_mins(30);

/// The directory that the images are built from, as the bundle has one below `.bottle`. It is removed with this.
#[derive(Debug)]
pub(crate) struct Context(PathBuf);

impl Context {
    /// A new directory with the program for the containers in it.
    ///
    /// # Errors
    ///
    /// The program can't be read, or the directory not written.
    pub(crate) fn new(binary: &Path) -> Result<Self> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).ok().context("the system gives no random numbers")?;
        // Nobody can have made it before.
        let context = Self(std::env::temp_dir().join(format!("bottle-images-{}", hex(&random))));
        let program = fs::read(binary)?;
        ensure!(
            program.starts_with(b"\x7fELF"),
            "`{}` is not a Linux program, which the containers need; name one with `--linux-binary PATH`",
            binary.display()
        );
        fs::create_dir_all(&context.0.join("bin"))?;
        fs::write_atomic(&context.0.join("bin/bottle"), &program, 0o755)?;
        Ok(context)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // What is left in a directory for temporary files is no failure.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Builds an image from its Dockerfile, in a directory with the program.
///
/// # Errors
///
/// The directory can't be written, or the build fails.
pub(crate) fn build(context: &Path, registry: &str, image: &str) -> Result<String> {
    let (_, dockerfile) = IMAGES.iter().find(|(name, _)| *name == image).context("there is no such image")?;
    let file = context.join(image).join("Dockerfile");
    fs::create_dir_all(&context.join(image))?;
    fs::write_atomic(&file, dockerfile.as_bytes(), 0o644)?;
    let tag = tagged(registry, image);
    let (file, context) = (text(&file)?, text(context)?);
    Command::new("docker").args(["build", "--tag", &tag, "--file", file, context]).limit(LIMIT).run()?;
    Ok(tag)
}

/// Pushes an image of this version.
///
/// # Errors
///
/// It isn't there, or the registry refuses it.
pub(crate) fn push(registry: &str, image: &str) -> Result<String> {
    let tag = tagged(registry, image);
    Command::new("docker").args(["push", &tag]).limit(LIMIT).run()?;
    Ok(tag)
}

/// The digest that the registry gave to an image of this version: the engine knows it of what was pushed or pulled.
///
/// # Errors
///
/// The image isn't there, or was neither pushed nor pulled.
pub(crate) fn digest(registry: &str, image: &str) -> Result<String> {
    let tag = tagged(registry, image);
    let said =
        Command::new("docker").args(["image", "inspect", "--format", "{{json .RepoDigests}}", &tag]).run()?;
    let all: Vec<String> = serde_json::from_slice(&said).context("the engine's answer can't be read")?;
    let start = format!("{}@", repository(registry, image));
    let mut own = all.iter().filter_map(|name| name.strip_prefix(&start));
    match (own.next(), own.next()) {
        (Some(digest), None) => Ok(digest.to_owned()),
        (None, _) => bail!("`{tag}` has no digest; push it with `bottle images push`, or pull it"),
        // One image that was pushed in two forms.
        (Some(_), Some(_)) => bail!("`{tag}` has several digests; remove it and pull it again"),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("the path `{}` is not UTF-8", path.display()))
}
