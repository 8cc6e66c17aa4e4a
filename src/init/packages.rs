//! Package managers: which ones a repository uses, and what the answers of each say of its registries.

use super::registry::{Registry, registry};

/// A package manager.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Manager {
    Cargo,
    Npm,
    Python,
    Go,
    Ruby,
    Jvm,
    Composer,
    Nuget,
}

/// The files by which each is known.
const FILES: [(Manager, &[&str]); 8] = [
    (Manager::Cargo, &["Cargo.toml"]),
    (Manager::Npm, &["package.json", "package-lock.json", "yarn.lock", "pnpm-lock.yaml"]),
    (
        Manager::Python,
        &[
            "pyproject.toml",
            "requirements.txt",
            "Pipfile",
            "setup.py",
            "uv.lock",
            "poetry.lock",
            "environment.yml",
        ],
    ),
    (Manager::Go, &["go.mod"]),
    (Manager::Ruby, &["Gemfile"]),
    (Manager::Jvm, &["pom.xml", "build.gradle", "build.gradle.kts"]),
    (Manager::Composer, &["composer.json"]),
    (Manager::Nuget, &["nuget.config", "Directory.Packages.props", "packages.lock.json"]),
];

impl Manager {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cargo => "Cargo",
            Self::Npm => "npm",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Ruby => "Ruby",
            Self::Jvm => "Maven or Gradle",
            Self::Composer => "Composer",
            Self::Nuget => "NuGet",
        }
    }

    /// Where its registries were looked for; `None` where bottle doesn't know how to ask.
    pub(crate) fn asked(self) -> Option<&'static str> {
        match self {
            Self::Cargo => Some("Cargo's own configuration"),
            Self::Npm => Some("`npm config list`"),
            Self::Python => Some("`pip config list`"),
            Self::Go => Some("`go env`"),
            Self::Ruby => Some("`gem sources`"),
            Self::Jvm => Some("~/.m2/settings.xml"),
            Self::Composer | Self::Nuget => None,
        }
    }
}

/// The managers that are used, each with the file that shows it: the one nearest to the root.
pub(crate) fn used<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<(Manager, String)> {
    let mut found: Vec<(Manager, &str)> = Vec::new();
    for path in paths {
        let name = path.rsplit('/').next().unwrap_or(path);
        let Some((manager, _)) = FILES.iter().find(|(_, names)| names.contains(&name)) else { continue };
        let depth = |path: &str| path.matches('/').count();
        match found.iter_mut().find(|(other, _)| other == manager) {
            Some((_, there)) if depth(path) < depth(there) => *there = path,
            Some(_) => {}
            None => found.push((*manager, path)),
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(manager, path)| (manager, path.to_owned())).collect()
}

/// The registries that an answer names, each once.
pub(crate) fn registries(manager: Manager, answer: &str) -> Vec<Registry> {
    let urls: Vec<String> = match manager {
        Manager::Npm => npm(answer),
        Manager::Python => python(answer),
        Manager::Cargo => cargo(answer),
        Manager::Go => go(answer),
        Manager::Ruby | Manager::Composer | Manager::Nuget => words(answer),
        Manager::Jvm => elements(answer),
    };
    let mut found: Vec<Registry> = Vec::new();
    for registry in urls.iter().filter_map(|url| registry(url)) {
        let registry = match manager {
            // The index links to files beside it.
            Manager::Python => registry.without_last(&["simple", "+simple"]),
            // Its configuration leads to downloads beside it.
            Manager::Cargo => registry.without_last(&["index"]),
            _ => registry,
        };
        if !found.iter().any(|there| there.route() == registry.route()) {
            found.push(registry);
        }
    }
    found
}

/// `npm config get registry`, a URL alone, and then `npm config list`: `registry = "…"`, and `@scope:registry = "…"` for each
/// scope. What is overridden there is a comment.
fn npm(answer: &str) -> Vec<String> {
    let is_registry = |key: &str| key == "registry" || (key.starts_with('@') && key.ends_with(":registry"));
    let lines = answer.lines().filter(|line| !line.starts_with(';'));
    let values = lines.filter_map(|line| match line.split_once(" = ") {
        Some((key, value)) => is_registry(key).then(|| value.trim_matches('"')),
        None => Some(line),
    });
    values.map(str::to_owned).collect()
}

/// `pip config list`: `global.index-url='…'`, several of `extra-index-url` with `\n` between them.
fn python(answer: &str) -> Vec<String> {
    let settings = answer.lines().filter_map(|line| line.split_once('='));
    let is_index = |key: &str| matches!(key.trim().rsplit('.').next(), Some("index-url" | "extra-index-url"));
    let values =
        settings.filter(|(key, _)| is_index(key)).map(|(_, value)| value.trim().trim_matches(['\'', '"']));
    values.flat_map(|value| words(&value.replace("\\n", "\n"))).collect()
}

/// Cargo's configuration: the value of `index` in `[registries.…]` and `registry` in `[source.…]`. Of TOML only this much is
/// read: a header, a key and a text on a line each.
fn cargo(answer: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in answer.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default().trim();
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().trim_start_matches(['"', '\'']);
            let value = value.split(['"', '\'']).next().unwrap_or_default();
            let wanted = match key.trim() {
                "index" => section.starts_with("registries.") || section == "registry",
                "registry" => section.starts_with("source."),
                _ => false,
            };
            if wanted {
                found.push(value.to_owned());
            }
        }
    }
    found
}

/// `go env GOPROXY GOSUMDB`: proxies with `,` or `|` between them; then the name of a database, or a name, a key and a URL.
fn go(answer: &str) -> Vec<String> {
    let mut lines = answer.lines();
    let mut found: Vec<String> =
        lines.next().unwrap_or_default().split([',', '|']).map(str::to_owned).collect();
    let mut words = lines.next().unwrap_or_default().split_whitespace();
    match (words.next(), words.next()) {
        (None | Some("off"), _) => {}
        (Some(_), Some(url)) => found.push(url.to_owned()),
        (Some(name), None) => {
            let name = name.split('+').next().unwrap_or_default();
            found.push(format!("https://{name}"));
        }
    }
    found
}

/// Every `<url>` of a settings.xml.
fn elements(answer: &str) -> Vec<String> {
    let parts = answer.split("<url>").skip(1);
    parts.filter_map(|part| Some(part.split_once("</url>")?.0.trim().to_owned())).collect()
}

/// Every word; what is no URL falls out later.
fn words(answer: &str) -> Vec<String> {
    answer.split_whitespace().map(str::to_owned).collect()
}
