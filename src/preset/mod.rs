//! Presets: agents whose image and settings bottle knows.
//!
//! A preset is data, a directory below `templates/presets/`: `preset.yaml` says what there is, the other files are what the
//! image is built from and what the client reads. Nothing here knows one client from another.

use std::sync::LazyLock;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::manifest;
use crate::policy::egress::Inject;

/// A preset: its description, and the files that it is built from.
#[derive(Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What `preset.yaml` says.
    pub description: Description,
    /// The files of the image's build, each with its text.
    pub build: &'static [(&'static str, &'static str)],
}

/// What `preset.yaml` says. The schema is closed, as the manifest's is.
#[derive(Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The command of the container, where the manifest has none.
    pub command: Vec<String>,
    /// The files that the image is built from.
    pub build: Vec<String>,
    /// Environment variables of the agent.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Where the client's model is.
    pub model: Option<Model>,
    /// What the client reads, from templates.
    #[serde(default)]
    pub files: Vec<ClientFile>,
    /// Where the client reads its instructions.
    pub prompt: String,
    /// The directory in which the client looks for skills.
    pub skills: String,
    /// Links in the agent's home, made anew at each start.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// The model's API: what a route must allow, and by which variables the client takes a credential.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The host.
    pub host: String,
    /// The methods that the client uses.
    pub methods: Vec<String>,
    /// The paths that it uses; without the first one it doesn't work.
    pub paths: Vec<String>,
    /// The variables that stand for a credential, by the form in which requests carry it; the usual one first.
    pub keys: Vec<Key>,
    /// Variables with which the client asks another host.
    pub elsewhere: Vec<String>,
}

/// A variable that stands for a credential.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// How requests carry it.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub inject: Inject,
    /// The variable.
    pub env: String,
}

/// A file that the client reads.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ClientFile {
    /// Its name in the bundle; the template's is that and `.j2`.
    pub name: String,
    /// Where it is mounted, read-only.
    pub target: Option<String>,
    /// Where in the agent's home it is copied to, unless there is one: for a file that the client changes.
    pub once: Option<String>,
}

/// A link in the agent's home.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its place below the home.
    pub path: String,
    /// What it leads to.
    pub target: String,
}

macro_rules! preset {
    ($name:literal, [$($file:literal),*]) => {
        LazyLock::new(|| Preset {
            name: $name,
            // The unit test below reads every description, so a mistake in one can't get into a release.
            description: serde_yaml::from_str(
                include_str!(concat!("../../templates/presets/", $name, "/preset.yaml"))
            ).unwrap_or_default(),
            build: &[$(($file, include_str!(concat!("../../templates/presets/", $name, "/", $file)))),*],
        })
    };
}

static SHELL: LazyLock<Preset> = preset!("shell", ["Dockerfile"]);
static CLAUDE: LazyLock<Preset> = preset!("claude", ["Dockerfile", "package.json", "package-lock.json"]);
static CODEX: LazyLock<Preset> = preset!("codex", ["Dockerfile", "package.json", "package-lock.json"]);

/// All presets.
pub fn all() -> [&'static Preset; 3] {
    [&SHELL, &CLAUDE, &CODEX]
}

/// The preset that the manifest names.
pub fn find(preset: manifest::Preset) -> &'static Preset {
    match preset {
        manifest::Preset::Shell => &SHELL,
        manifest::Preset::Claude => &CLAUDE,
        manifest::Preset::Codex => &CODEX,
    }
}

#[cfg(test)]
mod tests {
    use super::{Description, all};

    fn text(name: &str) -> String {
        let path = format!("{}/templates/presets/{name}/preset.yaml", env!("CARGO_MANIFEST_DIR"));
        crate::fs::read_to_string(path.as_ref()).unwrap()
    }

    #[test]
    fn every_description_reads_and_names_the_files_of_its_build() {
        for preset in all() {
            let read: Description = serde_yaml::from_str(&text(preset.name)).unwrap();
            assert_eq!(preset.description, read, "{}", preset.name);
            let files: Vec<&str> = preset.build.iter().map(|(name, _)| *name).collect();
            assert_eq!(read.build, files, "{}", preset.name);
            assert!(!read.command.is_empty() && files.contains(&"Dockerfile"), "{}", preset.name);
        }
    }

    #[test]
    fn every_file_is_either_mounted_or_copied_once_and_nothing_is_made_outside_of_the_home() {
        for preset in all() {
            for file in &preset.description.files {
                assert!(file.target.is_some() != file.once.is_some(), "{}: {file:?}", preset.name);
                assert!(file.target.iter().all(|target| target.starts_with("/etc/")), "{file:?}");
            }
            let once = preset.description.files.iter().filter_map(|file| file.once.as_deref());
            for path in once.chain(preset.description.links.iter().map(|link| link.path.as_str())) {
                assert!(!path.starts_with('/') && !path.contains(".."), "{}: {path}", preset.name);
            }
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        let text = text("claude").replace("environment:", "environments:");
        let error = serde_yaml::from_str::<Description>(&text).unwrap_err();
        assert!(error.to_string().contains("environments"), "{error}");
    }

    #[test]
    fn every_package_of_an_image_is_pinned_by_hash_and_names_no_registry() {
        for preset in all() {
            let lock = preset.build.iter().find(|(name, _)| *name == "package-lock.json");
            let Some((_, lock)) = lock else { continue };
            let lock: serde_json::Value = serde_json::from_str(lock).unwrap();
            let packages = lock["packages"].as_object().unwrap();
            assert!(packages.len() > 1, "{}", preset.name);
            for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
                assert!(package["integrity"].as_str().unwrap().starts_with("sha512-"), "{name}");
                assert!(package.get("resolved").is_none(), "{name}");
            }
        }
    }
}
