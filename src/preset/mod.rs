//! Presets: agents whose image and settings bottle knows, and those that a user describes in the same way.
//!
//! A preset is data, a directory such as those below `templates/presets/`: `preset.yaml` says what there is, the other files
//! are what the image is built from and the templates of what the client reads. Nothing here knows one client from another.

use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;

use crate::manifest::{self, PresetName};
use crate::policy::egress::Inject;

/// A preset: its description, and its files.
#[derive(Debug, Default)]
pub struct Preset {
    /// Its name; that of a directory as the manifest writes it.
    pub name: String,
    /// Whether it is the user's own.
    pub is_own: bool,
    /// What `preset.yaml` says.
    pub description: Description,
    /// The files of the image's build, each with its text.
    pub build: Vec<(String, String)>,
    /// The templates of what the client reads, each with its text.
    pub templates: Vec<(String, String)>,
}

/// What `preset.yaml` says.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Description {
    /// The command of the container, where the manifest has none.
    pub command: Vec<String>,
    /// The program that a session in the container starts with, where it isn't `bash`.
    pub session: Option<String>,
    /// The files that the image is built from.
    pub build: Vec<String>,
    /// Environment variables of the agent.
    pub environment: IndexMap<String, String>,
    /// Where the client's model is.
    pub model: Option<Model>,
    /// What the client reads, from templates.
    pub files: Vec<ClientFile>,
    /// Where the client reads its instructions.
    pub prompt: String,
    /// The directory in which the client looks for skills.
    pub skills: String,
    /// Links in the agent's home, made anew at each start.
    pub links: Vec<Link>,
}

impl Description {
    /// The program that a session in the container starts with.
    #[must_use]
    pub fn session(&self) -> &str {
        self.session.as_deref().unwrap_or("bash")
    }
}

/// The model's API: what a route must allow, and by which variables the client takes a credential.
#[derive(Debug, Eq, PartialEq)]
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
#[derive(Debug, Eq, PartialEq)]
pub struct Key {
    /// How requests carry it.
    pub inject: Inject,
    /// The variable.
    pub env: String,
}

/// A file that the client reads.
#[derive(Debug, Eq, PartialEq)]
pub struct ClientFile {
    /// Its name in the bundle; the template's is that and `.j2`.
    pub name: String,
    /// Where it is mounted, read-only.
    pub target: Option<String>,
    /// Where in the agent's home it is copied to, unless there is one: for a file that the client changes.
    pub once: Option<String>,
}

/// A link in the agent's home.
#[derive(Debug, Eq, PartialEq)]
pub struct Link {
    /// Its place below the home.
    pub path: String,
    /// What it leads to.
    pub target: String,
}

macro_rules! preset {
    ($files:ident, $preset:ident, $name:literal, [$($file:literal),*]) => {
        const $files: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../templates/presets/", $name, "/", $file)))),*];
        static $preset: LazyLock<Arc<Preset>> = LazyLock::new(|| {
            // The unit test below reads every preset, so a mistake in one can't get into a release.
            Arc::new(manifest::preset::built_in($name, $files).unwrap_or_default())
        });
    };
}

preset!(SHELL_FILES, SHELL, "shell", ["preset.yaml", "Dockerfile"]);
preset!(
    CLAUDE_FILES,
    CLAUDE,
    "claude",
    [
        "preset.yaml",
        "Dockerfile",
        "package.json",
        "package-lock.json",
        "managed-settings.json.j2",
        "claude.json.j2"
    ]
);
preset!(
    CODEX_FILES,
    CODEX,
    "codex",
    ["preset.yaml", "Dockerfile", "package.json", "package-lock.json", "config.toml.j2"]
);

/// All presets that come with bottle.
pub fn all() -> [Arc<Preset>; 3] {
    [&SHELL, &CLAUDE, &CODEX].map(|preset| Arc::clone(preset))
}

/// A preset that comes with bottle.
pub fn find(name: PresetName) -> Arc<Preset> {
    Arc::clone(match name {
        PresetName::Shell => &SHELL,
        PresetName::Claude => &CLAUDE,
        PresetName::Codex => &CODEX,
    })
}

/// The files of a preset that comes with bottle, as somebody finds them who makes one of their own of it.
pub(crate) fn files(name: PresetName) -> &'static [(&'static str, &'static str)] {
    match name {
        PresetName::Shell => SHELL_FILES,
        PresetName::Claude => CLAUDE_FILES,
        PresetName::Codex => CODEX_FILES,
    }
}

#[cfg(test)]
mod tests {
    use super::{CLAUDE_FILES, CODEX_FILES, SHELL_FILES, all};
    use crate::manifest::preset::built_in;

    #[test]
    fn every_preset_reads_and_is_made_of_all_the_files_of_its_directory() {
        for (name, files) in [("shell", SHELL_FILES), ("claude", CLAUDE_FILES), ("codex", CODEX_FILES)] {
            let preset = built_in(name, files).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            let mut named: Vec<&str> =
                preset.build.iter().chain(&preset.templates).map(|(name, _)| &**name).collect();
            named.push("preset.yaml");
            named.sort_unstable();
            let directory = format!("{}/templates/presets/{name}", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(named, crate::fs::file_names(directory.as_ref()).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        let files: Vec<(&str, String)> = CLAUDE_FILES
            .iter()
            .map(|(name, text)| (*name, text.replace("environment:", "environments:")))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, &**text)).collect();
        let errors = built_in("claude", &files).unwrap_err();
        assert_eq!(errors[0].message, "unknown key `environments` in a preset");
    }

    #[test]
    fn every_package_of_an_image_is_pinned_by_hash_and_names_no_registry() {
        for preset in all() {
            let lock = preset.build.iter().find(|(name, _)| name == "package-lock.json");
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
