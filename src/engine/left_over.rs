//! What bottles have left in the engine: everything with our label whose bundle is gone or has changed, and what a start
//! that did not come to its end has left.
//!
//! Only what has our label is ever looked at, and of that nothing that a bottle uses which runs or was stopped as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::command::Failed;
use super::docker::{self, Kind, Resource};
use crate::fs;

/// Why something is left over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Why {
    /// The compose file that it was started from isn't there, or is another bottle's.
    BundleGone,
    /// The compose file says something else now.
    BundleChanged,
    /// No container of its bottle is left.
    NoContainer,
    /// Its bottle was made and never ran.
    HalfUp,
}

impl Why {
    /// As a sentence's end.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BundleGone => "its bundle is gone",
            Self::BundleChanged => "its bundle has changed",
            Self::NoContainer => "its bottle has no container",
            Self::HalfUp => "its bottle was left half up",
        }
    }
}

/// How old something is in milliseconds before it is left over for want of a running container: before that its bottle
/// may be starting.
const STARTING: u64 = 60_000;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Compose's projects, each with the compose file that is known for it; none means all of them.
    pub(crate) projects: Option<Vec<(String, PathBuf)>>,
    /// Volumes too, which hold work and decisions.
    pub(crate) volumes: bool,
}

/// What a compose file says now.
#[derive(Clone, Debug, Default)]
struct Current {
    hash: String,
    /// The volumes, as the engine knows them.
    volumes: Vec<String>,
}

/// Finds what is left over, in the order in which it can be removed.
///
/// # Errors
///
/// The engine does not answer.
pub(crate) fn find(scope: &Scope) -> Result<Vec<(Resource, Why)>, Failed> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        if kind != Kind::Volume || scope.volumes {
            all.extend(docker::list(kind, true)?);
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(judge(all, scope, u64::try_from(now.as_millis()).unwrap_or(0), &current))
}

/// The bottles by Compose's project, and what of each is left over.
fn judge(
    all: Vec<Resource>,
    scope: &Scope,
    now: u64,
    current: &dyn Fn(&Path, &str) -> Option<Current>,
) -> Vec<(Resource, Why)> {
    let mut projects: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
    for resource in all.into_iter().filter(|resource| resource.agent().is_some()) {
        projects.entry(resource.project().unwrap_or_default().to_owned()).or_default().push(resource);
    }
    let mut found: Vec<(Resource, Why)> = Vec::new();
    for (project, resources) in projects {
        let known = scope.projects.as_ref().map(|known| known.iter().find(|(name, _)| *name == project));
        let file = match known {
            // Somebody else's.
            Some(None) => continue,
            Some(Some((_, file))) => Some(file.clone()),
            None => None,
        };
        found.extend(of_project(&project, resources, file, now, current));
    }
    found.sort_by(|(one, _), (other, _)| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    found
}

fn of_project(
    project: &str,
    resources: Vec<Resource>,
    known: Option<PathBuf>,
    now: u64,
    current: &dyn Fn(&Path, &str) -> Option<Current>,
) -> Vec<(Resource, Why)> {
    let containers: Vec<&Resource> = resources.iter().filter(|one| one.kind == Kind::Container).collect();
    let (any, running) = (!containers.is_empty(), containers.iter().any(|one| one.is_running()));
    let ran = containers.iter().any(|one| !matches!(one.status(), "created" | "dead"));
    let is_known = known.is_some();
    let file = containers.iter().find_map(|one| one.file()).map(PathBuf::from).or(known);
    let bundle = file.map(|file| current(&file, project));
    let used: Vec<String> = containers.iter().filter_map(|one| one.hash().map(str::to_owned)).collect();
    let why = move |resource: &Resource| {
        let old = now.saturating_sub(resource.created().unwrap_or(0)) >= STARTING;
        match (&bundle, resource.kind) {
            // An older image is used by no container, whether the bottle runs or not.
            (Some(Some(now)), Kind::Image) if resource.hash() != Some(&now.hash) => {
                let used = used.iter().any(|used| Some(used.as_str()) == resource.hash());
                (!used).then_some(Why::BundleChanged)
            }
            _ if running => None,
            // Where no container says whose file it is, a file that isn't there is no proof: work may hang on it.
            (Some(None), Kind::Volume) if !any && is_known => None,
            (Some(None), _) => Some(Why::BundleGone),
            // What is in it is of use as long as the bundle has a volume of that name.
            (Some(Some(now)), Kind::Volume) => {
                (!now.volumes.contains(&resource.name)).then_some(Why::BundleChanged)
            }
            // Compose goes on using a network when only its labels differ.
            (Some(Some(now)), kind)
                if resource.hash() != Some(&now.hash)
                    && (kind == Kind::Container || !used.contains(&now.hash)) =>
            {
                Some(Why::BundleChanged)
            }
            (_, Kind::Image) if any => None,
            _ if !any => old.then_some(Why::NoContainer),
            _ => (!ran && old).then_some(Why::HalfUp),
        }
    };
    resources.into_iter().filter_map(|resource| why(&resource).map(|why| (resource, why))).collect()
}

/// What a compose file of ours says now; none where there is no such file, or it is another project's.
fn current(file: &Path, project: &str) -> Option<Current> {
    let bytes = fs::read_if_exists(file).ok().flatten()?;
    let value: Value = serde_yaml::from_slice(&bytes).ok()?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let hash = text("/x-bottle/hash")?;
    if text("/name")? != project {
        return None;
    }
    let volumes = value.get("volumes").and_then(Value::as_object).into_iter().flatten();
    Some(Current { hash, volumes: volumes.map(|(name, _)| format!("{project}_{name}")).collect() })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use super::{Current, Scope, Why, judge};
    use crate::engine::docker::{Kind, Resource};

    const ALL: Scope = Scope { projects: None, volumes: true };
    /// Ten minutes after everything was made.
    const NOW: u64 = 600_000;

    fn labels(project: &str, hash: &str) -> Value {
        json!({
            "io.bottle.agent": "a", "io.bottle.hash": hash, "com.docker.compose.project": project,
            "com.docker.compose.project.config_files": format!("/{project}/compose.yaml,/x"),
        })
    }

    fn container(project: &str, hash: &str, status: &str) -> Resource {
        let value = json!({"Id": "c", "Name": format!("/{project}-{status}"), "State": {"Status": status},
            "Created": "1970-01-01T00:00:00Z", "Config": {"Labels": labels(project, hash)}});
        Resource::new(Kind::Container, value).unwrap()
    }

    fn other(kind: Kind, project: &str, hash: &str) -> Resource {
        let name = format!("{project}_{}", kind.word());
        let labels = labels(project, hash);
        let value = json!({"Id": "i", "Name": name, "RepoTags": [name], "Labels": labels, "Config": {"Labels": labels}});
        Resource::new(kind, value).unwrap()
    }

    /// The bundle of `gone` isn't there; every other one has the hash 2 and a volume.
    fn now_says(_: &Path, project: &str) -> Option<Current> {
        let bundle = Current { hash: "2".to_owned(), volumes: vec![format!("{project}_volume")] };
        (project != "gone").then_some(bundle)
    }

    fn found_at(now: u64, all: Vec<Resource>, scope: &Scope) -> Vec<(String, Why)> {
        judge(all, scope, now, &now_says).into_iter().map(|(one, why)| (one.name, why)).collect()
    }

    fn found(all: Vec<Resource>, scope: &Scope) -> Vec<(String, Why)> {
        found_at(NOW, all, scope)
    }

    fn all_for(names: &[&str], why: Why) -> Vec<(String, Why)> {
        names.iter().map(|name| ((*name).to_owned(), why)).collect()
    }

    #[test]
    fn what_runs_is_never_left_over_whatever_became_of_its_bundle() {
        for (project, hash) in [("gone", "2"), ("p", "1"), ("p", "2")] {
            let all = vec![
                container(project, hash, "running"),
                container(project, hash, "exited"),
                other(Kind::Network, project, hash),
                other(Kind::Volume, project, hash),
                other(Kind::Image, project, hash),
            ];
            assert_eq!(found(all, &ALL), []);
        }
    }

    #[test]
    fn a_bottle_that_was_stopped_is_not_left_over() {
        let all = vec![
            container("p", "2", "exited"),
            other(Kind::Network, "p", "1"),
            other(Kind::Volume, "p", "1"),
            other(Kind::Image, "p", "2"),
        ];
        assert_eq!(found(all, &ALL), []);
    }

    #[test]
    fn what_is_left_of_a_bundle_that_is_gone_or_changed_or_of_a_broken_start_is_found() {
        let gone = vec![other(Kind::Network, "gone", "1"), container("gone", "1", "exited")];
        assert_eq!(found(gone, &ALL), all_for(&["gone-exited", "gone_network"], Why::BundleGone));
        let changed = vec![container("p", "1", "exited"), other(Kind::Network, "p", "1")];
        assert_eq!(found(changed, &ALL), all_for(&["p-exited", "p_network"], Why::BundleChanged));
        let half = vec![container("p", "2", "created"), other(Kind::Network, "p", "2")];
        assert_eq!(
            found(half, &ALL),
            all_for(&["p-created"], Why::HalfUp)
                .into_iter()
                .chain(all_for(&["p_network"], Why::HalfUp))
                .collect::<Vec<_>>()
        );
        assert_eq!(
            found(vec![other(Kind::Network, "p", "2")], &ALL),
            all_for(&["p_network"], Why::NoContainer)
        );
    }

    #[test]
    fn what_was_made_a_moment_ago_may_be_starting() {
        let half = vec![container("p", "2", "created")];
        assert_eq!(found_at(30_000, half, &ALL), []);
    }

    #[test]
    fn a_volume_is_kept_as_long_as_the_bundle_has_one_of_its_name() {
        let known =
            Scope { projects: Some(vec![("p".to_owned(), PathBuf::from("/p/compose.yaml"))]), volumes: true };
        assert_eq!(found(vec![other(Kind::Volume, "p", "1")], &known), []);
        let named = |name: &str| {
            let mut volume = other(Kind::Volume, "p", "2");
            name.clone_into(&mut volume.name);
            volume
        };
        assert_eq!(found(vec![named("p_older")], &known), all_for(&["p_older"], Why::BundleChanged));
        // Nothing is known of its bundle.
        assert_eq!(
            found(vec![other(Kind::Volume, "p", "1")], &ALL),
            all_for(&["p_volume"], Why::NoContainer)
        );
    }

    #[test]
    fn a_volume_is_kept_where_its_bundle_may_only_be_elsewhere() {
        let here = |project: &str| Scope {
            projects: Some(vec![(project.to_owned(), PathBuf::from("/gone"))]),
            volumes: true,
        };
        let all = || vec![other(Kind::Volume, "gone", "1"), other(Kind::Network, "gone", "1")];
        assert_eq!(found(all(), &here("gone")), all_for(&["gone_network"], Why::BundleGone));
        // Its container has told which bundle it was.
        let all = vec![container("gone", "1", "exited"), other(Kind::Volume, "gone", "1")];
        assert_eq!(found(all, &here("gone")), all_for(&["gone-exited", "gone_volume"], Why::BundleGone));
    }

    #[test]
    fn an_older_image_is_left_over_even_while_its_bottle_runs() {
        let all =
            vec![container("p", "2", "running"), other(Kind::Image, "p", "1"), other(Kind::Image, "p", "2")];
        assert_eq!(found(all, &ALL), all_for(&["p_image"], Why::BundleChanged));
    }

    #[test]
    fn nothing_without_our_label_and_nothing_of_another_project_is_looked_at() {
        let value = json!({"Id": "c", "Name": "/theirs", "State": {"Status": "created"}, "Config": {"Labels": {
            "com.docker.compose.project": "p"}}});
        assert_eq!(found(vec![Resource::new(Kind::Container, value).unwrap()], &ALL), []);
        let known =
            Scope { projects: Some(vec![("q".to_owned(), PathBuf::from("/q/compose.yaml"))]), volumes: true };
        assert_eq!(found(vec![container("p", "1", "exited")], &known), []);
    }
}
