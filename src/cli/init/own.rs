//! Asking the user's own configuration for registries.
//!
//! Package managers also read files of the project in which they are started, and the project is somebody else's. They are
//! started in the user's home directory, and what they say of the repository's own files is never heard. No question goes to
//! the network.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::Decisions;
use super::look::{Place, is_on_path};
use crate::engine::command::Command;
use crate::fs::{self, Links};
use crate::init::packages::{self, Manager};
use crate::init::registry::Registry;
use crate::init::text::shortened;

/// How long a package manager may take; some start slowly.
const LIMIT: Duration = Duration::from_secs(30);
/// The most of a file of configuration that is read.
const MAX_FILE: u64 = 1 << 20;

/// The registries that the user's own configuration names.
pub(super) fn registries(manager: Manager, place: &Place, decisions: &mut Decisions) -> Vec<Registry> {
    let home = place.home.as_deref().unwrap_or(Path::new("/"));
    let mut ask = |program: &'static str, arguments: &[&str]| -> String {
        if !is_on_path(program) {
            return String::new();
        }
        let command = Command::new(program)
            .args(arguments.iter().copied())
            .directory(home)
            // None of them is to look for a newer self, or to fetch one.
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("NPM_CONFIG_UPDATE_NOTIFIER", "false")
            .env("GOTOOLCHAIN", "local")
            .limit(LIMIT);
        match command.run() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(failed) => {
                decisions.add(format!("warning: {}", shortened(&failed.to_string())));
                String::new()
            }
        }
    };
    let answer = match manager {
        // The one says what is so without a word of the user's; the other knows the scopes.
        Manager::Npm => {
            format!("{}\n{}", ask("npm", &["config", "get", "registry"]), ask("npm", &["config", "list"]))
        }
        Manager::Python => {
            let program = ["pip", "pip3"].into_iter().find(|program| is_on_path(program)).unwrap_or("pip");
            let pip = ask(program, &["config", "list"]);
            format!(
                "{pip}\n{}",
                variables(|name| matches!(name, "UV_DEFAULT_INDEX" | "UV_INDEX_URL"), "index-url")
            )
        }
        Manager::Go => ask("go", &["env", "GOPROXY", "GOSUMDB"]),
        Manager::Ruby => ask("gem", &["sources"]),
        Manager::Cargo => {
            let own =
                std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), |path| home.join(path));
            let files = ["config.toml", "config"].map(|name| file(&own.join(name)));
            let is_index = |name: &str| name.starts_with("CARGO_REGISTRIES_") && name.ends_with("_INDEX");
            format!("{}\n[registries.variables]\n{}", files.join("\n"), variables(is_index, "index"))
        }
        Manager::Jvm => file(&home.join(".m2/settings.xml")),
        Manager::Composer | Manager::Nuget => String::new(),
    };
    packages::registries(manager, &answer)
}

/// A file of the user's, where there is one.
fn file(path: &Path) -> String {
    let bytes = fs::read_regular(path, MAX_FILE, Links::Followed).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Variables with URLs, each as a line with this key.
fn variables(wanted: impl Fn(&str) -> bool, key: &str) -> String {
    let all = std::env::vars_os();
    let found = all.filter(|(name, _)| name.to_str().is_some_and(&wanted));
    found.fold(String::new(), |mut text, (_, value)| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{key} = \"{}\"", value.to_string_lossy().replace('\n', " "));
        text
    })
}
