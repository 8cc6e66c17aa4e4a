//! A mounted workspace: whether the agent may have it as it is, whose it is, and which files Compose reads beside it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::files::value_of;
use super::{Finding, Outcome, Subject};
use crate::engine::command::Command;
use crate::fs;
use crate::manifest::lexically_normal;
use crate::manifest::source::shown;
use crate::plan::{Mounted, below};
use crate::policy::reason::Reason;
use crate::render::{COMPOSE, ENVIRONMENT, Ground, OVERRIDE, SECRET_NAMES, SECRET_VALUES, look_at};

/// The user of the agent's container, where nothing says another one.
const DEFAULT: u32 = 1000;

pub(super) fn workspace(subject: &Subject<'_>) -> Outcome {
    let (Some(mounted), Some(ground)) = (&subject.plan.agent.mount, &subject.bundle.ground) else {
        return Ok(Vec::new());
    };
    let refused = |what: String| Finding::problem(Reason::WorkspaceRefused, what);
    if let Err(error) = look_at(ground) {
        let text = error.to_string();
        let (what, mend) = text.split_once("\nhint: ").unwrap_or((&text, Reason::WorkspaceRefused.hint()));
        return Ok(vec![refused(what.to_owned()).mend(mend)]);
    }
    let mut findings = Vec::new();
    findings.extend(
        owner(mounted, &subject.place.directory)
            .map(|what| Finding::problem(Reason::WorkspaceOwner, what.what).mend(what.mend)),
    );
    findings.extend(compose_files(ground, &subject.place.directory));
    if ground.closed.iter().any(|path| mounted.directory.join(path).is_file()) {
        findings.push(Finding::warning(
            Reason::WorkspaceFiles,
            "single files of the workspace steer the host, and most editors replace a file that they save",
        ));
    }
    findings.extend(repository(mounted, ground)?);
    Ok(findings)
}

/// Whose the workspace is, where the agent would be somebody else: what it is, and what mends it.
pub(crate) struct Owner {
    pub(crate) what: String,
    pub(crate) mend: String,
}

/// Compares the agent's user with the person who runs this, or for root with the owner of the directory.
pub(crate) fn owner(mounted: &Mounted, beside: &Path) -> Option<Owner> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let (user, group) = if user == 0 {
        let metadata = fs::metadata(&mounted.directory).ok()?;
        (metadata.uid(), metadata.gid())
    } else {
        (user, group)
    };
    let file = fs::read_if_exists(&beside.join(ENVIRONMENT)).ok().flatten().unwrap_or_default();
    let file = String::from_utf8_lossy(&file);
    let set = |name: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        let value = value.or_else(|| value_of(&file, name).map(str::to_owned));
        value.map_or(Some(DEFAULT), |value| value.parse().ok())
    };
    compare((user, group), (set("BOTTLE_UID"), set("BOTTLE_GID")), &mounted.directory)
}

fn compare(
    (user, group): (u32, u32),
    (agent, agents_group): (Option<u32>, Option<u32>),
    directory: &Path,
) -> Option<Owner> {
    let directory = directory.display();
    if user == 0 {
        return Some(Owner {
            what: format!("`{directory}` is root's, and the agent is never root"),
            mend: format!(
                "`chown -R {DEFAULT}:{DEFAULT} {directory}`, or mount a directory of another user's"
            ),
        });
    }
    (agent != Some(user) || agents_group != Some(group)).then(|| Owner {
        what: format!(
            "the agent would be another user than {user}:{group}, whose the files in `{directory}` are to be"
        ),
        mend: format!(
            "write `BOTTLE_UID={user}` and `BOTTLE_GID={group}` into `{ENVIRONMENT}` beside {COMPOSE}"
        ),
    })
}

/// What Compose reads where the bundle is in the workspace.
fn compose_files(ground: &Ground, beside: &Path) -> Option<Finding> {
    let (_, compose) = ground.compose.as_ref().filter(|(own, _)| own.is_empty())?;
    let file = fs::read_if_exists(&beside.join(ENVIRONMENT)).ok().flatten().unwrap_or_default();
    let file = String::from_utf8_lossy(&file);
    let own = std::env::var("COMPOSE_FILE").ok().filter(|value| !value.is_empty());
    let Some(value) = own.or_else(|| value_of(&file, "COMPOSE_FILE").map(str::to_owned)) else {
        return Some(
            Finding::problem(
                Reason::ComposeFilesOpen,
                "COMPOSE_FILE is not set, and Compose looks for files by itself",
            )
            .mend(format!("write `COMPOSE_FILE={compose}` into `{ENVIRONMENT}` beside {compose}")),
        );
    };
    let open = value.split(':').find(|name| {
        let path = lexically_normal(&beside.join(name));
        let inside = below(&ground.directory, &path);
        inside.is_some_and(|inside| !is_closed(ground, &inside)) && *name != OVERRIDE
    })?;
    Some(
        Finding::problem(
            Reason::ComposeFilesOpen,
            format!("COMPOSE_FILE names `{open}`, which the agent can write"),
        )
        .mend("move it out of the workspace, or add it to `read_only` in bottle.yaml"),
    )
}

fn is_closed(ground: &Ground, path: &str) -> bool {
    let over = |closed: &String| {
        path.strip_prefix(closed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ground.closed.iter().any(over)
}

/// What the host's git goes by and the agent can write.
fn repository(mounted: &Mounted, ground: &Ground) -> Outcome {
    let directory = &mounted.directory;
    if !directory.join(".git/HEAD").exists() {
        return Ok(Vec::new());
    }
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(["-c", "core.fsmonitor=false"])
            .args(arguments.iter().copied())
            .directory(directory)
    };
    let refused = |what: String, mend: &str| Finding::problem(Reason::WorkspaceRefused, what).mend(mend);
    let mut findings = Vec::new();
    let index = git(&["ls-files", "--stage"]).run().map_err(|failed| failed.to_string())?;
    let mut submodules = String::from_utf8_lossy(&index)
        .lines()
        .filter_map(|line| {
            line.strip_prefix("160000 ")
                .and_then(|rest| rest.split_once('\t'))
                .map(|(_, path)| path.to_owned())
        })
        .collect::<Vec<_>>();
    submodules.truncate(4);
    if !submodules.is_empty() {
        let what = format!(
            "the repository has submodules ({}), and git on the host goes by what is in them",
            submodules.join(", ")
        );
        findings.push(refused(what, "let the agent have a clone: `workspace: { clone: … }`"));
    }
    // Of the user's own configuration too, which the agent's container doesn't see.
    let hooks = git(&["config", "--type=path", "--get", "core.hooksPath"]).output();
    if let Some(hooks) = hooks.ok().filter(|output| output.status.success()) {
        let written = String::from_utf8_lossy(&hooks.stdout).trim().to_owned();
        let inside = below(directory, &lexically_normal(&directory.join(&written)));
        if inside.is_some_and(|inside| !is_closed(ground, &inside)) {
            let what = format!("git on the host runs hooks from `{written}`, which the agent can write");
            findings.push(refused(what, "add the directory to `read_only` in bottle.yaml"));
        }
    }
    // The values may be secrets: only the names are asked for, and of those the ones that hold a URL are not told.
    let settings = |expressions: &[&str]| {
        let asked = git(&[
            ["config", "--local", "--includes", "--name-only", "--get-regexp"].as_slice(),
            expressions,
        ]
        .concat());
        let output = asked.output().ok().filter(|output| output.status.success());
        output.map(|output| {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        })
    };
    let secrets = [settings(&[SECRET_NAMES]), settings(&[".", SECRET_VALUES])];
    if let Some(name) = secrets.into_iter().flatten().flatten().next() {
        let setting = if name.contains("://") {
            "a setting".to_owned()
        } else {
            format!("the setting `{}`", shown(&name))
        };
        findings.push(refused(
            format!(
                "{setting} of the repository has a secret in it, which the agent could read in `.git/config`"
            ),
            "take it out, and use a credential helper",
        ));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::compare;

    #[test]
    fn the_agents_user_is_the_owner_or_it_is_told_which_variables_say_so() {
        let said = |user, agent| compare(user, agent, Path::new("/src/app")).map(|owner| owner.mend);
        assert_eq!(said((1000, 1000), (Some(1000), Some(1000))), None);
        assert_eq!(said((501, 20), (Some(501), Some(20))), None);
        let other = said((501, 20), (Some(1000), Some(1000))).unwrap();
        assert!(other.contains("BOTTLE_UID=501") && other.contains("BOTTLE_GID=20"), "{other}");
        // What is no number is no user.
        assert!(said((1000, 1000), (None, Some(1000))).is_some());
        assert!(said((0, 0), (Some(0), Some(0))).unwrap().contains("chown"));
    }
}
