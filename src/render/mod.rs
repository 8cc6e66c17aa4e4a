//! From a plan to the bundle: the files, their text, and how they are written and checked.

mod client;
mod context;
mod devcontainer;
mod environment;
pub(crate) mod escape;
mod read_back;
mod workspace;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use minijinja::value::{Serde, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::manifest::diagnostic::Diagnostics;
use crate::plan::{Egress, Gate, Image, Path, Pipelock, Plan};
use crate::policy::gate::GatePolicy;
use crate::policy::rules::Rules;
use crate::policy::whole::END;
use crate::preset::Preset;

pub use workspace::Ground;
pub(crate) use workspace::{ENVIRONMENT, OVERRIDE, SECRET_NAMES, SECRET_VALUES};
pub use write::{ComposeName, Drift, Target, WriteError, check, write};
pub(crate) use write::{is_ours, look_at};

/// The words by which a rendered file is known; in its first lines.
pub const MARK: &str = "Rendered by bottle";

/// The compose file, where a directory has one.
pub(crate) const COMPOSE: &str = "compose.yaml";

/// The compose file of one agent, where a directory has those of several.
pub(crate) fn compose_of(slug: &str) -> String {
    format!("compose.{slug}.yaml")
}

/// The directory beside compose.yaml that holds everything else.
pub const DIRECTORY: &str = ".bottle";

/// What the agent finds in the place of Compose's environment file.
const ENV: &str = "# Rendered by bottle; do not edit.\n# The operator's own `.env` is not for the agent.\n";
/// What the agent's git makes of a file of Git LFS.
const LFS: &str = include_str!("../../templates/agent/lfs-clean.sh");
const MCP: &str = include_str!("../../templates/agent/mcp.json");
pub(crate) const EGRESS: &str = include_str!("../../docker/egress/Dockerfile");
pub(crate) const GIT_GATE: &str = include_str!("../../docker/git-gate/Dockerfile");
pub(crate) const BUNDLE: &str = include_str!("../../docker/bundle/Dockerfile");
pub(crate) const SUPERVISE: &str = include_str!("../../docker/supervise/Dockerfile");

/// The files of one agent's bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The agent's name.
    pub slug: String,
    /// The text of compose.yaml.
    pub compose: String,
    /// The other files by their path below the directory of compose.yaml, `/` between the parts.
    pub files: BTreeMap<String, File>,
    /// The directories of those that a container mounts whole.
    pub mounted: Vec<String>,
    /// What has to be on the host for a mounted workspace, where there is one.
    pub ground: Option<Ground>,
}

/// A rendered file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its text.
    pub text: String,
    /// Whether it is a program.
    pub executable: bool,
}

/// Why a plan could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template failed, or a value can't stand where the template puts it.
    #[error("could not render `{template}`: {}", detail(.source))]
    Template {
        /// The template.
        template: String,
        /// What is wrong.
        source: minijinja::Error,
    },
    /// A rendered file does not have the structure of its plan.
    #[error(
        "the rendered `{file}` does not read back as planned: {detail}; this is a mistake in bottle, and nothing was written"
    )]
    ReadBack {
        /// The file.
        file: String,
        /// Where they differ.
        detail: String,
    },
    /// A template of a preset is wrong, or what comes of it.
    #[error("{0}")]
    Client(#[from] Box<Diagnostics>),
    /// A file that the manifest names has a path that isn't text.
    #[error("the path from `{}` to `{}` is not UTF-8", from.display(), to.display())]
    Path {
        /// The directory of compose.yaml.
        from: PathBuf,
        /// The file.
        to: PathBuf,
    },
}

fn detail(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Renders plans. Building it parses the templates, once for any number of plans.
#[derive(Debug)]
pub struct Renderer {
    environment: minijinja::Environment<'static>,
    client: client::Templates,
    checker: read_back::Checker,
}

impl Default for Renderer {
    fn default() -> Self {
        Self {
            environment: environment::new(),
            client: client::Templates::default(),
            checker: read_back::Checker::default(),
        }
    }
}

impl Renderer {
    /// Renders a plan. `base` is the directory of compose.yaml, absolute: paths of the manifest are rewritten to start
    /// there, so that no absolute path of this machine is in the bundle.
    ///
    /// # Errors
    ///
    /// A value that can't be written safely where it belongs, and a rendered file that doesn't read back as planned.
    pub fn render(&self, plan: &Plan, base: &std::path::Path) -> Result<Bundle, RenderError> {
        self.render_beside(plan, base, &[COMPOSE.to_owned()])
    }

    /// The same, with the names of all compose files of the directory, this agent's first.
    ///
    /// # Errors
    ///
    /// As [`Self::render`].
    pub fn render_beside(
        &self,
        plan: &Plan,
        base: &std::path::Path,
        names: &[String],
    ) -> Result<Bundle, RenderError> {
        let mounted = plan.agent.mount.as_ref().map(|mounted| workspace::new(mounted, base, names));
        let (mounted, ground) = mounted.transpose()?.unzip();
        let mut context = context::Context::new(plan, base, mounted)?;
        context.hash = hash(&context, plan);
        let values = Value::from(Serde(&context));
        let compose = self.compose(&context, &values)?;
        let mut bundle =
            Bundle { slug: plan.slug.clone(), compose, files: BTreeMap::new(), mounted: Vec::new(), ground };
        let own = |path: &str| format!("{DIRECTORY}/{}/{path}", plan.slug);
        bundle.add(&format!("{DIRECTORY}/.gitignore"), self.text("gitignore.j2", &values)?, false);
        bundle.add(&own("agent/entrypoint.sh"), self.text("agent/entrypoint.sh.j2", &values)?, true);
        bundle.add(&own("agent/gitconfig"), self.text("agent/gitconfig.j2", &values)?, false);
        bundle.add(&own("agent/lfs-clean.sh"), LFS.to_owned(), false);
        if let Some(mounted) = &context.agent.mounted {
            bundle.add(&own("agent/closed.sh"), self.text("agent/closed.sh.j2", &values)?, false);
            if mounted.hides() {
                bundle.add(&own("agent/env"), ENV.to_owned(), false);
            }
        }
        if let Image::Preset(preset) = &plan.agent.image {
            self.preset(&mut bundle, preset, &context, own)?;
        }
        let separately_built = context.images.is_none() && context.bundled.is_none();
        if context.images.is_none() && context.bundled.is_some() {
            bundle.add(&docker("bundle"), BUNDLE.to_owned(), false);
        }
        if let Some(egress) = &plan.egress {
            let Egress { policy, secrets: _ } = egress;
            // What egress would refuse at its start is better refused here.
            Rules::new(policy, &[]).map_err(|invalid| RenderError::ReadBack {
                file: "egress/policy.yaml".to_owned(),
                detail: invalid.to_string(),
            })?;
            bundle.add(&own("egress/policy.yaml"), policy_yaml("egress/policy.yaml", policy)?, false);
            bundle.mounted.push(own("egress"));
            if separately_built {
                bundle.add(&docker("egress"), EGRESS.to_owned(), false);
            }
        }
        if let Some(gate) = &plan.gate {
            self.gate(&mut bundle, gate, &context, &values, own)?;
        }
        if let Some(Pipelock { image: _, config }) = &plan.pipelock {
            // It is no sidecar of ours: its reader knows nothing of our mark of an end.
            let name = "pipelock/pipelock.yaml";
            bundle.add(&own(name), read_back_yaml(name, config, "")?, false);
            // It follows its file as well.
            bundle.mounted.push(own("pipelock"));
        }
        if plan.supervise.is_some() {
            bundle.add(&own("agent/mcp.json"), MCP.to_owned(), false);
            // It judges requests by the policies as they are, and a file that is rendered anew is another one.
            bundle.mounted.extend(plan.gate.as_ref().map(|_| own("git-gate")));
            if separately_built {
                bundle.add(&docker("supervise"), SUPERVISE.to_owned(), false);
            }
        }
        Ok(bundle)
    }

    fn preset(
        &self,
        bundle: &mut Bundle,
        preset: &Preset,
        context: &context::Context,
        own: impl Fn(&str) -> String,
    ) -> Result<(), RenderError> {
        let directory = context::preset_directory(&bundle.slug, preset);
        for (name, text) in &preset.build {
            // Of a file's mode only this is kept: what says how it is run can be run.
            bundle.add(&format!("{directory}/{name}"), text.clone(), text.starts_with("#!"));
        }
        for (name, template) in &preset.templates {
            let text = self.client.render(preset, name, template, context)?;
            bundle.add(&own(&format!("agent/{}", name.trim_end_matches(".j2"))), text, false);
        }
        Ok(())
    }

    fn gate(
        &self,
        bundle: &mut Bundle,
        gate: &Gate,
        context: &context::Context,
        values: &Value,
        own: impl Fn(&str) -> String,
    ) -> Result<(), RenderError> {
        bundle.add(&own("git-gate/gate.yaml"), policy_yaml("git-gate/gate.yaml", &gate.policy)?, false);
        bundle.add(&own("git-gate/known_hosts"), self.text("git-gate/known_hosts.j2", values)?, false);
        bundle.add(&own("git-gate/entrypoint.sh"), self.text("git-gate/entrypoint.sh.j2", values)?, true);
        bundle.add(&own("git-gate/pre-receive"), self.text("git-gate/pre-receive.sh.j2", values)?, true);
        bundle.add(&own("git-gate/access-hook"), self.text("git-gate/access-hook.sh.j2", values)?, true);
        bundle.add(&own("git-gate/gitleaks.toml"), self.text("git-gate/gitleaks.toml.j2", values)?, false);
        if context.images.is_none() && context.bundled.is_none() {
            bundle.add(&docker("git-gate"), GIT_GATE.to_owned(), false);
        }
        Ok(())
    }

    fn text(&self, template: &str, values: &Value) -> Result<String, RenderError> {
        self.environment
            .get_template(template)
            .and_then(|found| found.render(values.clone()))
            .map_err(|source| RenderError::Template { template: template.to_owned(), source })
    }

    fn compose(&self, context: &context::Context, values: &Value) -> Result<String, RenderError> {
        let template = "compose.yaml.j2";
        let text = self.text(template, values)?;
        let found = self
            .environment
            .get_template(template)
            .map_err(|source| RenderError::Template { template: template.to_owned(), source })?;
        self.checker
            .check(&found, context, &text)
            .map_err(|detail| RenderError::ReadBack { file: "compose.yaml".to_owned(), detail })?;
        Ok(text)
    }
}

impl Bundle {
    fn add(&mut self, path: &str, text: String, executable: bool) {
        self.files.insert(path.to_owned(), File { text, executable });
    }
}

fn docker(name: &str) -> String {
    format!("{DIRECTORY}/docker/{name}/Dockerfile")
}

/// A sidecar's policy as its own reader will read it.
fn policy_yaml<T: Serialize + DeserializeOwned + PartialEq>(
    file: &str,
    policy: &T,
) -> Result<String, RenderError> {
    read_back_yaml(file, policy, END)
}

/// A value as YAML. It is no Compose file, so serde may choose the notation; that it reads back as the same value is
/// checked here.
fn read_back_yaml<T: Serialize + DeserializeOwned + PartialEq>(
    file: &str,
    policy: &T,
    end: &str,
) -> Result<String, RenderError> {
    let failed = |detail: String| RenderError::ReadBack { file: file.to_owned(), detail };
    let body = serde_yaml::to_string(policy).map_err(|error| failed(error.to_string()))?;
    let text = format!("# {MARK} from bottle.yaml; do not edit.\n{body}{end}");
    match serde_yaml::from_str::<T>(&text) {
        Ok(read) if read == *policy => Ok(text),
        Ok(_) => Err(failed("another policy comes back".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A hash of everything that the containers are made from. It labels what Compose makes, so that what an older bundle left
/// behind can be told from what belongs to this one.
///
/// Egress's policy is no part of it: egress follows the file while it runs, and another hash would make the next
/// `docker compose up` replace every container, the agent's with its work in it, for the sake of a route.
fn hash(context: &context::Context, plan: &Plan) -> String {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    for (name, text) in environment::TEMPLATES {
        hasher.update(name);
        hasher.update([0]);
        hasher.update(text);
        hasher.update([0]);
    }
    for text in [BUNDLE, EGRESS, GIT_GATE, SUPERVISE] {
        hasher.update(text);
        hasher.update([0]);
    }
    if let Image::Preset(preset) = &plan.agent.image {
        for (name, text) in preset.build.iter().chain(&preset.templates) {
            hasher.update(name);
            hasher.update([0]);
            hasher.update(text);
            hasher.update([0]);
        }
    }
    // What the gate goes by is mounted as a file, and a container keeps the file that it was started with; only another
    // hash in its labels makes Compose start it anew.
    hasher.update(serde_json::to_vec(&plan.gate.as_ref().map(without_lines)).unwrap_or_default());
    hasher.update([0]);
    // pipelock follows its file but for the addresses and limits in it.
    let pipelock = plan.pipelock.as_ref().map(|pipelock| pipelock.config.without_hosts());
    hasher.update(serde_json::to_vec(&pipelock).unwrap_or_default());
    hasher.update([0]);
    // The context serializes maps in their own order, and nothing else in it could fail.
    hasher.update(serde_json::to_vec(context).unwrap_or_default());
    let digest = hasher.finalize();
    let prefix = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(prefix))
}

/// The gate's policy without the places in the manifest: a route that is added above a repository moves its line, and that
/// is no reason to start anything anew.
fn without_lines(gate: &Gate) -> GatePolicy {
    let mut policy = gate.policy.clone();
    for repository in policy.repositories.values_mut() {
        repository.source.clear();
        repository.push.iter_mut().for_each(|rule| rule.source.clear());
    }
    policy
}

/// A path on the host as compose.yaml writes it: `~/…`, absolute, or relative to its own directory with `./` before it.
fn compose_path(path: &Path, base: &std::path::Path) -> Result<String, RenderError> {
    use crate::manifest::values::PathBase;
    let Path { written, directory } = path;
    match written.base {
        PathBase::Home => Ok(format!("~/{}", written.rest)),
        PathBase::Root => Ok(format!("/{}", written.rest)),
        PathBase::File => {
            let target = crate::manifest::lexically_normal(&directory.join(&written.rest));
            let relative = relative(base, &target);
            relative.ok_or_else(|| RenderError::Path { from: base.to_owned(), to: target })
        }
    }
}

/// The way from one absolute directory to another path, both in normal form.
fn relative(from: &std::path::Path, to: &std::path::Path) -> Option<String> {
    let mut from = from.components().peekable();
    let mut to = to.components().peekable();
    while let (Some(left), Some(right)) = (from.peek(), to.peek()) {
        if left != right {
            break;
        }
        from.next();
        to.next();
    }
    let up = from.map(|_| Some("..")).collect::<Vec<_>>();
    let down = to.map(|part| part.as_os_str().to_str());
    let start = if up.is_empty() { vec![Some(".")] } else { up };
    let parts: Option<Vec<&str>> = start.into_iter().chain(down).collect();
    Some(parts?.join("/"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BUNDLE, EGRESS, GIT_GATE, SUPERVISE, relative};

    #[test]
    fn every_template_says_in_its_first_lines_that_it_was_rendered() {
        // The sidecars in one container are a part of another template.
        let own =
            super::environment::TEMPLATES.iter().filter(|(name, _)| *name != "sidecars.yaml.j2").copied();
        let dockerfiles =
            [("bundle", BUNDLE), ("egress", EGRESS), ("git-gate", GIT_GATE), ("supervise", SUPERVISE)];
        for (name, text) in own.chain(dockerfiles) {
            assert!(super::write::is_ours(text.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_relative_path_starts_at_the_compose_file() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/a/b", "/a/b/c/d").as_deref(), Some("./c/d"));
        assert_eq!(way("/a/b/c", "/a/x").as_deref(), Some("../../x"));
        assert_eq!(way("/a", "/a").as_deref(), Some("."));
    }
}
