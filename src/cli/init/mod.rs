//! `bottle init`.

mod from_log;
mod look;
mod over_ssh;
mod own;
mod write;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::EXIT_OK;
use super::source::working_directory;
use crate::init::text::shortened;
use crate::init::{Key, Proposal, Runs, name_of, packages, text};
use crate::manifest::source::shown;
use crate::manifest::values::{EnvName, HostPath, ImageName, Name};
use crate::manifest::{FILE_NAME, PresetName, discover};
use crate::plan::ModelLines;

/// Write a first bottle.yaml for the repository in the working directory
///
/// Looks at the remotes, SSH's configuration, the package managers that the repository uses and the registries that your own
/// configuration names. What is written loads and renders; what could not be found out is in it as a comment. Says on
/// standard error what was decided, and why. Never replaces a file. Asks nobody on the network, but with
/// `--scan-host-key`, and reads no secret.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Args {
    /// Write to FILE
    #[arg(short, long, value_name = "FILE", default_value = FILE_NAME)]
    file: PathBuf,

    /// The name of the agent and its bottle [default: the repository's]
    #[arg(long, value_name = "NAME")]
    agent: Option<Name>,

    /// What runs: a preset [default: that of an agent that is installed here, or `shell`]
    #[arg(long, value_name = "PRESET")]
    preset: Option<Preset>,

    /// Only write the files of the preset into DIR, to make a preset of your own of them
    #[arg(long, value_name = "DIR", requires = "preset")]
    preset_files: Option<PathBuf>,

    /// What runs: an image of your own
    #[arg(long, value_name = "IMAGE", conflicts_with = "preset")]
    image: Option<ImageName>,

    /// The remote to take [default: the only one, `origin`, or that of the branch that is checked out]
    #[arg(long, value_name = "NAME", conflicts_with = "no_repository")]
    remote: Option<String>,

    /// Write an agent without a repository
    #[arg(long)]
    no_repository: bool,

    /// The private key for a remote over SSH [default: the first one without a passphrase]
    #[arg(long, value_name = "FILE", conflicts_with = "ssh_agent")]
    identity_file: Option<HostPath>,

    /// Use the keys in your SSH agent for a remote over SSH
    #[arg(long)]
    ssh_agent: bool,

    /// Ask a host whose key is not known here for it, over the network; compare the fingerprint
    #[arg(long)]
    scan_host_key: bool,

    /// The environment variable with the token for a remote over HTTPS; its value is not read
    #[arg(long, value_name = "VARIABLE", default_value = "GIT_TOKEN")]
    token_env: EnvName,

    /// Ask no package manager for its registries
    #[arg(long)]
    no_registries: bool,

    /// The port of the operator's page on 127.0.0.1
    #[arg(long, value_name = "PORT", default_value_t = 7333, value_parser = clap::value_parser!(u16).range(1..))]
    supervise_port: u16,

    /// Without the sidecar that the agent asks
    #[arg(long, conflicts_with = "supervise_port")]
    no_supervise: bool,

    /// Print the manifest and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Print proposals for routes from an audit log of egress instead, `-` for standard input (can be repeated)
    ///
    /// What was refused for want of a route, by host, with the methods and the beginnings of the paths.
    #[arg(long, value_name = "FILE", num_args = 1.., exclusive = true)]
    from_log: Vec<PathBuf>,

    /// The command of the image
    #[arg(last = true, value_name = "COMMAND", requires = "image")]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Preset {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
    /// A shell with git
    Shell,
}

impl Preset {
    fn known(self) -> PresetName {
        match self {
            Self::Claude => PresetName::Claude,
            Self::Codex => PresetName::Codex,
            Self::Shell => PresetName::Shell,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Shell => "shell",
        }
    }
}

/// What was decided and why, a line each, for standard error.
#[derive(Debug, Default)]
struct Decisions(Vec<String>);

impl Decisions {
    fn add(&mut self, line: impl AsRef<str>) {
        self.0.push(shown(line.as_ref()));
    }
}

/// Looks, decides, and writes or prints.
pub(super) fn run(args: &Args) -> Result<u8> {
    if !args.from_log.is_empty() {
        return from_log::run(&args.from_log);
    }
    if let (Some(directory), Some(preset)) = (&args.preset_files, args.preset) {
        return write::preset_files(preset.known(), directory);
    }
    if args.file.as_os_str() == "-" {
        bail!("`-` is no file\nhint: `--dry-run` prints the manifest");
    }
    let here = working_directory()?;
    let path = here.join(&args.file);
    if !args.dry_run && crate::fs::is_there(&path)? {
        bail!(
            "`{}` is there already\nhint: it is never replaced; move it away, or name another with `-f FILE`",
            shown(&args.file.to_string_lossy())
        );
    }
    let mut decisions = Decisions::default();
    let place = look::Place::new(&here, &mut decisions);
    let repository = look::repository(&place, args, &mut decisions)?;
    let needs = needs(&place, args.no_registries, &mut decisions);
    let slug = slug(args.agent.as_ref(), &place, repository.as_ref(), &mut decisions)?;
    let supervise = (!args.no_supervise).then_some(args.supervise_port);
    let proposal = |runs| Proposal {
        slug: slug.clone(),
        model: model(&runs),
        runs,
        repository: repository.clone(),
        needs: needs.clone(),
        supervise,
    };
    let directory = path.parent().unwrap_or(&here);
    if let Some(above) = directory.parent().and_then(discover) {
        decisions.add(format!(
            "place: from now on commands here find this one, and no longer `{}`",
            above.display()
        ));
    }
    let (text, proposal) =
        render(runs(args, &mut decisions), proposal, directory, &args.file, &mut decisions)?;
    match supervise {
        Some(port) => decisions
            .add(format!("operator: http://127.0.0.1:{port}, where you approve what the agent asks for")),
        None => decisions.add("operator: none, so that nothing can be approved while the bottle runs"),
    }
    let mut stderr = std::io::stderr();
    for line in &decisions.0 {
        writeln!(stderr, "{line}")?;
    }
    if args.dry_run {
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(EXIT_OK);
    }
    crate::fs::write_new(&path, text.as_bytes())?;
    writeln!(stderr, "written: {}", shown(&args.file.to_string_lossy()))?;
    write::next(&mut stderr, &proposal, directory, &args.file)?;
    Ok(EXIT_OK)
}

/// The candidates for what runs, the best first.
fn runs(args: &Args, decisions: &mut Decisions) -> Vec<(Runs, String)> {
    if let Some(image) = &args.image {
        let command = if args.command.is_empty() { vec!["bash".to_owned()] } else { args.command.clone() };
        return vec![(Runs::Image(image.clone(), command), "you named it".to_owned())];
    }
    if let Some(preset) = args.preset {
        return vec![(Runs::Preset(preset.name()), "you named it".to_owned())];
    }
    let installed = |program: &&str| look::is_on_path(program);
    let found: Vec<&'static str> = ["claude", "codex"].into_iter().filter(installed).collect();
    if let [_, other, ..] = found.as_slice() {
        decisions.add(format!("agents: `{other}` is installed here too; take it with `--preset {other}`"));
    }
    let agents = found.first().map(|agent| (Runs::Preset(agent), format!("`{agent}` is installed here")));
    let shell = (Runs::Preset("shell"), "no agent that bottle has a preset for was found".to_owned());
    agents.into_iter().chain([shell]).collect()
}

/// What the manifest says of a preset's model: with the credential whose variable is set here, or the first that the client
/// takes.
fn model(runs: &Runs) -> Option<ModelLines> {
    let Runs::Preset(name) = runs else { return None };
    let preset = crate::preset::all().into_iter().find(|preset| preset.name == *name)?;
    let model = preset.description.model.as_ref()?;
    let set = model.keys.iter().find(|key| std::env::var_os(&key.env).is_some());
    Some(ModelLines::new(model, set.or(model.keys.first())?))
}

/// The text with the first candidate that loads and renders.
fn render(
    candidates: Vec<(Runs, String)>,
    proposal: impl Fn(Runs) -> Proposal,
    directory: &Path,
    file: &Path,
    decisions: &mut Decisions,
) -> Result<(String, Proposal)> {
    let mut refused = None;
    for (runs, why) in candidates {
        let what = match &runs {
            Runs::Preset(preset) => format!("the preset `{preset}`"),
            Runs::Image(image, _) => format!("the image `{}`", image.as_str()),
        };
        let proposal = proposal(runs);
        let text = text::manifest(&proposal);
        match write::prove(&text, directory, file) {
            Ok(()) => {
                decisions.add(format!("runs: {what}: {why}"));
                return Ok((text, proposal));
            }
            Err(error) => {
                decisions.add(format!("runs: not {what}, though {why}: this version does not render it"));
                refused.get_or_insert(error);
            }
        }
    }
    Err(refused.unwrap_or_else(|| anyhow::anyhow!("there is nothing to run")))
}

fn slug(
    named: Option<&Name>,
    place: &look::Place,
    repository: Option<&crate::init::Repository>,
    decisions: &mut Decisions,
) -> Result<Name> {
    let directory = place.top.file_name().map(|name| name.to_string_lossy().into_owned());
    let (name, why) = match (named, repository) {
        (Some(name), _) => (Some(name.clone()), "you named it"),
        (None, Some(repository)) => (Some(repository.name.clone()), "the name of the repository"),
        (None, None) => (directory.and_then(|name| name_of(&name)), "the name of the directory"),
    };
    let name = match name {
        Some(name) => name,
        None => "agent".parse().map_err(anyhow::Error::msg)?,
    };
    decisions.add(format!(
        "agent: `{}`: {why}; Compose's project is `bottle-{}`",
        name.as_str(),
        name.as_str()
    ));
    Ok(name)
}

fn needs(place: &look::Place, ask_none: bool, decisions: &mut Decisions) -> Vec<crate::init::Need> {
    let used = packages::used(place.files.iter().map(String::as_str));
    let mut needs = Vec::new();
    for (manager, shown_by) in used {
        let registries = if ask_none { Vec::new() } else { own::registries(manager, place, decisions) };
        let because = format!("{} is used (`{}`)", manager.name(), shortened(&shown_by));
        let hosts: Vec<String> = registries.iter().map(|registry| format!("`{}`", registry.host())).collect();
        let (route, why) = match (hosts.is_empty(), manager.asked()) {
            (false, Some(asked)) => (hosts.join(", "), format!("{asked} names it")),
            _ if ask_none => ("none".to_owned(), "you want nobody asked; fill in its registry".to_owned()),
            (_, Some(asked)) => ("none".to_owned(), format!("{asked} names no registry; fill it in")),
            (_, None) => ("none".to_owned(), "bottle can't ask for its registries; fill them in".to_owned()),
        };
        decisions.add(format!("route: {route}: {because}, and {why}"));
        if registries.iter().any(|registry| registry.dropped) {
            decisions.add(format!(
                "left out: a user, password or query in a URL of {}'s registries",
                manager.name()
            ));
        }
        needs.push(crate::init::Need { manager, shown_by, registries });
    }
    needs
}

/// The key as a decision says it.
fn key_text(key: &Key) -> String {
    match key {
        Key::Agent => "the keys in your SSH agent".to_owned(),
        Key::File(path) => format!("`{}`", text::shown(path)),
    }
}
