//! Proving what will be written, and saying what comes next.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};

use super::super::EXIT_OK;
use super::super::source::{absolute, configuration};
use crate::init::{Access, Key, Proposal, Runs};
use crate::manifest::source::shown;
use crate::manifest::{FILE_NAME, Input, Options, PresetName, Trust, load};
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
            files: None,
        },
        trust: Trust::Manifest,
        working_directory: directory.to_owned(),
        home_bottles: None,
        home_presets: configuration("presets"),
        home: absolute("HOME"),
    };
    let plan = plan::resolve(load(&options)?, None)?;
    Renderer::default().render(&plan, directory)?;
    Ok(())
}

/// Writes the files of a preset, for somebody to make one of their own of them. Nothing is replaced.
pub(super) fn preset_files(preset: PresetName, directory: &Path) -> Result<u8> {
    let files = crate::preset::files(preset);
    for (name, _) in files {
        let path = directory.join(name);
        if crate::fs::is_there(&path)? {
            bail!(
                "`{}` is there already\nhint: it is never replaced; name another directory",
                shown(&path.to_string_lossy())
            );
        }
    }
    crate::fs::create_dir_all(directory)?;
    for (name, text) in files {
        crate::fs::write_new(&directory.join(name), text.replace("; do not edit.", ".").as_bytes())?;
    }
    let text = directory.to_string_lossy();
    let text = text.trim_end_matches('/');
    let dot = if ["/", "./", "../"].iter().any(|start| text.starts_with(start)) { "" } else { "./" };
    writeln!(
        std::io::stderr(),
        "written: {} files below {}\nnext:\n  change them, and write `preset: {dot}{}` in {FILE_NAME}",
        files.len(),
        shown(text),
        shown(text)
    )?;
    Ok(EXIT_OK)
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
        Runs::Preset(name) => crate::preset::all()
            .into_iter()
            .find(|preset| preset.name == *name)
            .map_or_else(|| "bash".to_owned(), |preset| preset.description.session().to_owned()),
        Runs::Image(..) => "sh".to_owned(),
    };
    writeln!(out, "  docker compose exec agent {program}")?;
    Ok(())
}
