//! `bottle render`.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::source::{Source, working_directory};
use super::{EXIT_FAILURE, EXIT_OK};
use crate::doctor::workspace::owner;
use crate::manifest::lexically_normal;
use crate::manifest::source::shown;
use crate::plan::{self, Plan};
use crate::policy::glob;
use crate::render::escape::{json, shell};
use crate::render::{self, COMPOSE, ComposeName, Renderer, Target};

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

    /// Write .devcontainer/devcontainer.json too, by which an editor opens the agent's container
    #[arg(long)]
    devcontainer: bool,

    /// Write nothing; print what differs from the files on disk and exit with 1 if anything does
    #[arg(long)]
    check: bool,

    /// The Linux program that the containers run [default: this program]
    #[arg(long, value_name = "PATH", env = "BOTTLE_LINUX_BINARY")]
    linux_binary: Option<PathBuf>,
}

/// The file that editors open.
const DEVCONTAINER: &str = ".devcontainer/devcontainer.json";

/// Renders, and writes or compares.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { agent, source, output, all, devcontainer, check, linux_binary } = args;
    let working_directory = working_directory()?;
    let directory = lexically_normal(&working_directory.join(output.as_deref().unwrap_or(Path::new("."))));
    let loaded = source.load(working_directory)?;
    let plans = if all { plan::resolve_all(loaded)? } else { vec![plan::resolve(loaded, agent.as_deref())?] };
    let renderer = Renderer::default();
    let bundles = plans
        .iter()
        .map(|plan| renderer.render_beside(plan, &directory, &names(&plans, plan, all)))
        .collect::<Result<Vec<_>, _>>()?;
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
    let target = Target { directory, compose, devcontainer, binary };
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
    let mut stderr = std::io::stderr();
    if devcontainer {
        warn(&plans, &mut stderr)?;
    }
    if compose == ComposeName::Printed {
        let [bundle] = bundles.as_slice() else {
            bail!("one compose.yaml at a time goes to standard output")
        };
        std::io::stdout().write_all(bundle.compose.as_bytes())?;
    }
    // For a person. A script has no use for it, and a log of CI should have what went wrong and nothing else.
    if stderr.is_terminal() {
        let slug = bundles.first().filter(|_| all).map(|bundle| bundle.slug.as_str());
        for owner in plans.iter().filter_map(|plan| owner(plan.agent.mount.as_ref()?, &target.directory)) {
            writeln!(stderr, "warning: {}\nhint: {}", shown(&owner.what), shown(&owner.mend))?;
        }
        let session = plans.first().map_or("sh", |plan| plan.agent.image.session());
        let printed = std::io::stdout().is_terminal();
        stderr.write_all(closing(output.as_deref(), slug, session, printed).as_bytes())?;
    }
    Ok(EXIT_OK)
}

/// The names of the compose files that are rendered into one directory, that of one plan first.
fn names(plans: &[Plan], first: &Plan, all: bool) -> Vec<String> {
    if !all {
        return vec![COMPOSE.to_owned()];
    }
    let others = plans.iter().filter(|plan| plan.slug != first.slug);
    std::iter::once(first).chain(others).map(|plan| render::compose_of(&plan.slug)).collect()
}

/// Says what an editor does that the bottle can't prevent, and what a push may do to the file.
fn warn(plans: &[Plan], stderr: &mut impl Write) -> Result<()> {
    writeln!(
        stderr,
        "warning: an editor may hand its container your SSH agent and git credentials, and the agent there can use them; see \
         `dev-container.md` in the book"
    )?;
    for plan in plans {
        let repositories = plan.gate.iter().flat_map(|gate| &gate.policy.repositories);
        for (name, repository) in repositories.filter(|(_, repository)| !repository.push.is_empty()) {
            let guarded = |pattern: &String| glob::matches(pattern.as_bytes(), DEVCONTAINER.as_bytes());
            if !repository.protect.iter().any(guarded) {
                writeln!(
                    stderr,
                    "warning: a push to `{name}` may change `{DEVCONTAINER}`, which can run commands on the host of whoever opens \
                     it\nhint: write `protect: [{}]` in the repository",
                    repository
                        .protect
                        .iter()
                        .map(String::as_str)
                        .chain([".devcontainer/**"])
                        .map(json)
                        .collect::<Vec<_>>()
                        .join(", ")
                )?;
            }
        }
    }
    Ok(())
}

/// What to do with the bundle: Compose's own commands.
fn closing(output: Option<&Path>, slug: Option<&str>, session: &str, printed: bool) -> String {
    let file = slug.map(|slug| format!(" -f compose.{slug}.yaml")).unwrap_or_default();
    let mut lines = Vec::new();
    match output {
        Some(output) => lines.push(format!("cd {}", shell(&shown(&output.to_string_lossy())))),
        None if printed => lines.push("bottle render > compose.yaml".to_owned()),
        None => {}
    }
    lines.extend(
        ["up --detach --wait", &format!("exec agent {}", shown(session)), "logs --follow", "down"]
            .map(|rest| format!("docker compose{file} {rest}")),
    );
    lines.into_iter().fold("next:\n".to_owned(), |text, line| format!("{text}  {line}\n"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::closing;

    #[test]
    fn the_closing_lines_say_which_commands_of_compose_come_next() {
        let all = "  docker compose up --detach --wait\n  docker compose exec agent claude\n  docker compose logs --follow\n  docker compose down\n";
        assert_eq!(closing(None, None, "claude", false), format!("next:\n{all}"));
        assert_eq!(
            closing(None, None, "claude", true),
            format!("next:\n  bottle render > compose.yaml\n{all}")
        );
        let per_agent = all.replace("compose ", "compose -f compose.one.yaml ");
        assert_eq!(
            closing(Some(Path::new("it's")), Some("one"), "claude", true),
            format!("next:\n  cd 'it'\\''s'\n{per_agent}")
        );
    }
}
