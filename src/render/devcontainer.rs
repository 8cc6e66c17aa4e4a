//! The dev container: a file by which an editor opens the agent's container, as the rendered Compose file has it.
//!
//! An editor adds to a container whatever the file doesn't settle. So each property with a default that would change the
//! agent's container is written out: its command is the bottle's own, its user keeps its number, no port is forwarded by
//! itself, and the sidecars start with it.

use serde_json::json;

use super::{ComposeName, MARK};

/// The path of the file and its text, for an agent, whose workspace may be mounted. Where several agents have a file each it is one directory further down,
/// where editors look too and let the user choose.
pub(super) fn file(slug: &str, compose: ComposeName, mounted: bool) -> (String, String) {
    let (path, compose) = match compose {
        ComposeName::PerAgent => {
            (format!(".devcontainer/{slug}/devcontainer.json"), format!("../../compose.{slug}.yaml"))
        }
        ComposeName::Single | ComposeName::Printed => {
            (".devcontainer/devcontainer.json".to_owned(), "../compose.yaml".to_owned())
        }
    };
    let mut body = json!({
        "name": format!("bottle-{slug}"),
        "dockerComposeFile": compose,
        "service": "agent",
        "workspaceFolder": "/workspace",
        // The bottle's entrypoint looks at the network before anything starts.
        "overrideCommand": false,
        "shutdownAction": "stopCompose",
        "remoteUser": "1000",
        // It would build another image, whose user has another number.
        "updateRemoteUserUID": false,
        // What the agent listens on is not for the host's browser.
        "otherPortsAttributes": { "onAutoForward": "ignore" },
    });
    // With a mounted workspace it is whoever the container says: the owner of the files.
    if let Some(body) = body.as_object_mut().filter(|_| mounted) {
        body.shift_remove("remoteUser");
    }
    // The format has comments (JSONC), and the schema no room for a member of ours. A value of JSON can't fail.
    let body = serde_json::to_string_pretty(&body).unwrap_or_default();
    (path, format!("// {MARK} from bottle.yaml; do not edit.\n{body}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::ComposeName;
    use super::file;

    /// The properties of the specification's schema that are used, with what it says of each: those of every dev container,
    /// and those of one from a Compose file. It allows no others.
    const TEXTS: [&str; 5] = ["name", "dockerComposeFile", "service", "workspaceFolder", "remoteUser"];
    const TRUTHS: [&str; 2] = ["overrideCommand", "updateRemoteUserUID"];
    const WORDS: [(&str, &[&str]); 1] = [("shutdownAction", &["none", "stopCompose"])];
    const REQUIRED: [&str; 3] = ["dockerComposeFile", "service", "workspaceFolder"];
    const ON_FORWARD: [&str; 5] = ["notify", "openBrowser", "openPreview", "silent", "ignore"];

    #[test]
    fn the_file_has_only_properties_of_the_specification_each_of_its_type() {
        for compose in [ComposeName::Single, ComposeName::Printed, ComposeName::PerAgent] {
            let (_, text) = file("app", compose, false);
            let body: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let body: serde_json::Map<String, Value> = serde_json::from_str(&body).unwrap();
            for (key, value) in &body {
                let fits = match key.as_str() {
                    key if TEXTS.contains(&key) => value.is_string(),
                    key if TRUTHS.contains(&key) => value.is_boolean(),
                    "otherPortsAttributes" => {
                        let attributes = value.as_object().unwrap();
                        attributes.keys().eq(["onAutoForward"])
                            && ON_FORWARD.contains(&attributes["onAutoForward"].as_str().unwrap())
                    }
                    key => WORDS.iter().any(|(name, words)| {
                        *name == key && words.contains(&value.as_str().unwrap_or_default())
                    }),
                };
                assert!(fits, "{key}: {value}");
            }
            assert!(REQUIRED.iter().all(|key| body.contains_key(*key)), "{text}");
        }
    }
}
