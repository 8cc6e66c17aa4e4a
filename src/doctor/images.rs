//! The images that the bundle is made from: whether they are on this machine, or can be had.

use serde_json::Value;

use super::subject::Engine;
use super::{Finding, Level, Outcome, Subject};
use crate::engine::command::Command;
use crate::policy::reason::Reason;

pub(super) fn images(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let asked =
        needed(&subject.bundle.compose, |path| subject.bundle.files.get(path).map(|file| file.text.clone()))?;
    Ok(asked.iter().filter_map(|image| look(engine, image)).collect())
}

/// The images that a compose file names, and those that its Dockerfiles begin with, each once.
fn needed(compose: &str, dockerfile: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let value: Value = serde_yaml::from_str(compose).map_err(|error| error.to_string())?;
    let services = value.pointer("/services").and_then(Value::as_object);
    let mut images: Vec<String> = Vec::new();
    for service in services.into_iter().flat_map(|services| services.values()) {
        let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str);
        // An image that is built has a name that no registry knows.
        match (text("/build/context"), text("/image")) {
            (Some(context), _) => {
                let name = text("/build/dockerfile").unwrap_or("Dockerfile");
                let path = format!("{}/{name}", context.trim_start_matches("./"));
                images.extend(dockerfile(&path).iter().flat_map(|text| bases(text)));
            }
            (None, Some(image)) if service.get("build").is_none() => images.push(image.to_owned()),
            _ => {}
        }
    }
    images.sort();
    images.dedup();
    Ok(images)
}

/// What a Dockerfile begins its stages with: its own stages, and what it builds from nothing, are none.
fn bases(dockerfile: &str) -> Vec<String> {
    let mut defaults: Vec<(&str, &str)> = Vec::new();
    let mut stages: Vec<&str> = vec!["scratch"];
    let mut images = Vec::new();
    for line in dockerfile.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("ARG") => defaults.extend(words.next().and_then(|word| word.split_once('='))),
            Some("FROM") => {
                let Some(name) = words.next() else { continue };
                let argument = name.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
                let value =
                    argument.and_then(|argument| defaults.iter().find(|(known, _)| *known == argument));
                let image = value.map_or(name, |(_, value)| *value);
                if !stages.contains(&image) {
                    images.push(image.to_owned());
                }
                stages.extend(words.nth(1));
            }
            _ => {}
        }
    }
    images
}

fn look(engine: &Engine, image: &str) -> Option<Finding> {
    let docker = |arguments: &[&str]| Command::new("docker").args(arguments.iter().copied()).run();
    if docker(&["image", "inspect", "--format", "{{.Id}}", "--", image]).is_ok() {
        return None;
    }
    let failed = docker(&["manifest", "inspect", "--", image]).err()?;
    let what =
        format!("the image `{image}` is not on this machine, and its registry was asked in vain: {failed}");
    let found = Finding::problem(Reason::ImageMissing, what)
        .mend(format!("`docker pull {image}` shows what the engine gets"));
    // The engine pulls, and may have another way than this command has.
    Some(if has_own_way(&engine.info) { Finding { level: Level::Warning, ..found } } else { found })
}

fn has_own_way(info: &Value) -> bool {
    let proxy = ["/HttpProxy", "/HttpsProxy"].iter().filter_map(|name| info.pointer(name)?.as_str());
    let mirrors = info.pointer("/RegistryConfig/Mirrors").and_then(Value::as_array);
    proxy.into_iter().any(|proxy| !proxy.is_empty()) || mirrors.is_some_and(|mirrors| !mirrors.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{bases, has_own_way, needed};

    #[test]
    fn a_dockerfile_needs_what_its_stages_begin_with() {
        let text = "ARG TOOL=registry.example.org/tool:1\nFROM ${TOOL} AS tool\nFROM base.example.org/x:2 AS own\nFROM own\nFROM scratch\n";
        assert_eq!(bases(text), ["registry.example.org/tool:1", "base.example.org/x:2"]);
    }

    #[test]
    fn a_bundle_needs_the_images_it_names_and_those_it_builds_on() {
        let compose = "services:\n  a: { image: named.example.org/a:1 }\n  b: { build: { context: ./here, dockerfile: x/Dockerfile }, image: own }\n  c: { build: { context: ./mine } }\n  d: { build: { context: ./here, dockerfile: x/Dockerfile } }\n";
        let of = |name: &str| (name == "here/x/Dockerfile").then(|| "FROM base.example.org/b:2\n".to_owned());
        assert_eq!(needed(compose, of).unwrap(), ["base.example.org/b:2", "named.example.org/a:1"]);
    }

    #[test]
    fn an_engine_with_a_proxy_or_a_mirror_may_get_what_this_command_does_not() {
        assert!(!has_own_way(&json!({ "HttpProxy": "", "RegistryConfig": { "Mirrors": [] } })));
        assert!(!has_own_way(&json!({})));
        assert!(has_own_way(&json!({ "HttpsProxy": "http://proxy.example.org:3128" })));
        assert!(has_own_way(&json!({ "RegistryConfig": { "Mirrors": ["https://mirror.example.org/"] } })));
    }
}
