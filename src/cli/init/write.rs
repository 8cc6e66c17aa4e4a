//! Proving what will be written, and saying what comes next.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::init::{Access, Key, Proposal, Runs};
use crate::manifest::source::shown;
use crate::manifest::{FILE_NAME, Input, Options, Trust, load};
use crate::plan;
use crate::render::escape::shell;
use crate::render::{self, Renderer};

/// Takes the text the whole way that `bottle render` takes it, in memory.
///
/// # Errors
///
/// What the loader, the plan or the renderer has against it.
pub(super) fn prove(text: &str, directory: &Path, file: &Path) -> Result<()> {
    let options = Options {
        input: Input::Text {
            name: file
                .file_name()
                .map_or_else(|| FILE_NAME.to_owned(), |name| shown(&name.to_string_lossy())),
            directory: directory.to_owned(),
            bytes: text.as_bytes().to_vec(),
        },
        trust: Trust::Manifest,
        working_directory: directory.to_owned(),
        home_bottles: None,
        home: super::super::source::absolute("HOME"),
    };
    let plan = plan::resolve(load(&options)?, None)?;
    Renderer::default().render(&plan, directory)?;
    Ok(())
}

/// Says which commands come next.
pub(super) fn next(out: &mut impl Write, proposal: &Proposal, directory: &Path, file: &Path) -> Result<()> {
    let Proposal { slug: _, runs, model: _, repository, needs: _, supervise: _ } = proposal;
    let named = file.as_os_str() == FILE_NAME;
    let option =
        if named { String::new() } else { format!(" -f {}", shell(&shown(&file.to_string_lossy()))) };
    writeln!(out, "next:")?;
    if let Some(Access::Https(variable)) = repository.as_ref().map(|repository| &repository.access) {
        writeln!(
            out,
            "  export {}=…    # the token for the repository; Compose reads it",
            variable.as_str()
        )?;
    }
    if let Some(Access::Ssh { key: Key::Agent, .. }) =
        repository.as_ref().map(|repository| &repository.access)
    {
        writeln!(out, "  ssh-add -l    # the agent must have the key, in the shell that starts the bottle")?;
    }
    // The shell's `>` would replace it.
    let compose = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
    let taken = compose.into_iter().find(|name| {
        let path = directory.join(name);
        let bytes = crate::fs::read_if_exists(&path).ok().flatten();
        crate::fs::is_there(&path).unwrap_or(true) && !bytes.is_some_and(|bytes| render::is_ours(&bytes))
    });
    match taken {
        None => writeln!(out, "  bottle render{option} > compose.yaml")?,
        Some(name) => {
            writeln!(
                out,
                "  bottle render{option} -o box && cd box    # `{name}` here is not bottle's, and stays as it is"
            )?;
        }
    }
    // From there the manifest is found in the directory above, unless it has another name.
    let doctor = match taken {
        Some(_) if !named && file.is_relative() => {
            format!(" -f {}", shell(&shown(&Path::new("..").join(file).to_string_lossy())))
        }
        _ => option,
    };
    writeln!(out, "  bottle doctor{doctor}")?;
    writeln!(out, "  docker compose up --detach --wait")?;
    let program = match runs {
        Runs::Preset(_) => "bash",
        Runs::Image(..) => "sh",
    };
    writeln!(out, "  docker compose exec agent {program}")?;
    Ok(())
}
