//! `sidecars: bundled`: the one container has all that three have, and nothing of a sidecar's is forgotten.

use std::collections::BTreeSet;

use serde_yaml::Value;

use crate::support::{Place, project};

/// The rendered compose file of an example, with its sidecars arranged so.
fn compose(arrangement: &str) -> Value {
    let text =
        bottle::fs::read_to_string(&project("examples/one-container/bottle.yaml")).expect("an example");
    let place = Place::with(&text.replace("sidecars: bundled", &format!("sidecars: {arrangement}")));
    place.bottle(["render", "-o", "."]).run().ok();
    let text = place.read("compose.yaml");
    let hash = text.split("hash: \"").nth(1).and_then(|rest| rest.split('"').next()).expect("it has a hash");
    serde_yaml::from_str(&text.replace(hash, "")).expect("it is YAML")
}

fn service<'a>(compose: &'a Value, name: &str) -> &'a Value {
    compose.get("services").and_then(|services| services.get(name)).expect("a service")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_sequence().expect("a list").iter().map(|item| item.as_str().expect("a text")).collect()
}

/// The arguments of a sidecar in the one container's command.
fn section<'a>(command: &[&'a str], name: &str) -> Vec<&'a str> {
    let mut sections = command.split(|word| *word == "--").filter(|section| section.first() == Some(&name));
    sections.next().expect("a section").get(1..).expect("a name").to_vec()
}

const SIDECARS: [&str; 3] = ["egress", "git-gate", "supervise"];

#[test]
fn each_sidecar_has_the_arguments_that_it_has_in_a_container_of_its_own() {
    let (separate, bundled) = (compose("separate"), compose("bundled"));
    let command = texts(&service(&bundled, "sidecars")["command"]);
    for name in SIDECARS {
        let (own, section) = (texts(&service(&separate, name)["command"]), section(&command, name));
        // Two reports would be in one place, and the gate listens where only the agent is.
        let moved = |argument: &str| match (name, argument) {
            ("egress", "--report=/var/lib/bottle/report") => {
                "--report=/var/lib/bottle/egress-report".to_owned()
            }
            ("git-gate", "--report=/var/lib/bottle/report") => {
                "--report=/var/lib/bottle/gate-report".to_owned()
            }
            ("git-gate", "--listen=0.0.0.0:9418") => "--listen=inside.git-gate:9418".to_owned(),
            (_, other) => other.to_owned(),
        };
        let mut wanted: BTreeSet<String> = own.into_iter().map(moved).collect();
        match name {
            "egress" => wanted.extend(["--user=9443".to_owned(), "--bundled".to_owned()]),
            "supervise" => wanted.extend(["--user=9444".to_owned()]),
            _ => {}
        }
        assert_eq!(section.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), wanted, "{name}");
    }
}

#[test]
fn the_one_container_has_the_mounts_the_variables_and_the_networks_of_all() {
    let (separate, bundled) = (compose("separate"), compose("bundled"));
    let own = service(&bundled, "sidecars");
    let sources = |service: &Value| -> BTreeSet<String> {
        let mounts = service["volumes"].as_sequence().expect("a list").iter();
        mounts.map(|mount| mount["source"].as_str().expect("a text").to_owned()).collect()
    };
    let variables = |service: &Value| -> BTreeSet<String> {
        let variables = service["environment"].as_mapping();
        variables.into_iter().flatten().filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
    };
    let networks = |service: &Value| -> BTreeSet<String> {
        match &service["networks"] {
            Value::Sequence(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            networks => networks
                .as_mapping()
                .into_iter()
                .flatten()
                .filter_map(|(name, _)| name.as_str().map(str::to_owned))
                .collect(),
        }
    };
    let all = |of: &dyn Fn(&Value) -> BTreeSet<String>| -> BTreeSet<String> {
        SIDECARS.iter().flat_map(|name| of(service(&separate, name))).collect()
    };
    assert_eq!(sources(own), all(&sources));
    assert_eq!(variables(own), all(&variables));
    assert_eq!(networks(own), all(&networks));
    // No place is mounted twice, and what nobody writes stays read-only.
    let mounts = own["volumes"].as_sequence().expect("a list");
    let targets: BTreeSet<_> = mounts.iter().filter_map(|mount| mount["target"].as_str()).collect();
    assert_eq!(targets.len(), mounts.len());
    let open = mounts.iter().filter(|mount| mount["type"] == "bind" && mount["read_only"] != true).count();
    assert_eq!(open, 0);
    assert_eq!(bundled["networks"], separate["networks"]);
    let names = |compose: &Value| -> Vec<String> {
        compose["volumes"]
            .as_mapping()
            .expect("volumes")
            .iter()
            .filter_map(|(name, _)| name.as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(names(&bundled), names(&separate));
}

#[test]
fn the_agents_container_is_the_same_but_for_what_it_waits_for() {
    let (mut separate, mut bundled) = (compose("separate"), compose("bundled"));
    let mut waits = Vec::new();
    for compose in [&mut separate, &mut bundled] {
        let agent = compose["services"]["agent"].as_mapping_mut().expect("a service");
        agent.remove("labels");
        let waited = agent.remove("depends_on").expect("it waits");
        waits.push(waited.as_mapping().expect("services").len());
    }
    assert_eq!(service(&bundled, "agent"), service(&separate, "agent"));
    assert_eq!(waits, [3, 1]);
}

#[test]
fn a_bundled_bottle_without_sidecars_has_none() {
    let place =
        Place::with("bottles: { b: { sidecars: bundled } }\nagents: { a: { bottle: b, preset: shell } }\n");
    place.bottle(["render", "-o", "."]).run().ok();
    let compose: Value = serde_yaml::from_str(&place.read("compose.yaml")).expect("it is YAML");
    assert_eq!(compose["services"].as_mapping().map(serde_yaml::Mapping::len), Some(1));
}
