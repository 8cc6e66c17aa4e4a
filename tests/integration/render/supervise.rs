//! What supervise gets, and what the others get because of it.

use bottle::policy::egress::EgressPolicy;
use serde_yaml::Value as Yaml;

use super::{mounting, service};
use crate::support::Place;

const AGENT: &str = "agents: { a: { bottle: b, preset: shell } }\n";
const GATE: &str = "    git: { app: { upstream: \"https://git.example.org/app.git\" } }\n";

fn rendered(bottle: &str) -> (Yaml, Place) {
    let place = Place::with(&format!("bottles:\n  b:\n{bottle}{AGENT}"));
    place.bottle(["render", "-o", "."]).run().ok();
    (serde_yaml::from_str(&place.read("compose.yaml")).expect("it is YAML"), place)
}

fn names(compose: &Yaml, service_name: &str, key: &str) -> Vec<String> {
    let text = |value: &Yaml| value.as_str().expect("a text").to_owned();
    match service(compose, service_name).get(key) {
        Some(Yaml::Mapping(map)) => map.keys().map(text).collect(),
        Some(Yaml::Sequence(list)) => list.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn supervise_alone_writes_grants_and_each_sidecar_its_own_report() {
    let (compose, _) = rendered(&format!("    supervise: {{ port: 7333 }}\n{GATE}"));
    let of = |mounts: &[(&str, bool)]| mounts.iter().map(|(name, ro)| ((*name).to_owned(), *ro)).collect();
    assert_eq!(
        mounting(&compose, "grants"),
        of(&[("egress", true), ("git-gate", true), ("supervise", false)])
    );
    assert_eq!(mounting(&compose, "egress-report"), of(&[("egress", false), ("supervise", true)]));
    assert_eq!(mounting(&compose, "gate-report"), of(&[("git-gate", false), ("supervise", true)]));
    assert_eq!(mounting(&compose, "supervise-state"), of(&[("supervise", false)]));
    assert_eq!(mounting(&compose, "egress-state"), of(&[("egress", false)]));
    assert_eq!(mounting(&compose, "./.bottle/a/git-gate"), of(&[("supervise", true)]));
}

#[test]
fn only_supervise_is_on_the_operators_network_and_only_loopback_leads_there() {
    let (compose, _) = rendered(&format!("    supervise: {{ port: 7444 }}\n{GATE}"));
    let services = compose.get("services").and_then(Yaml::as_mapping).expect("services");
    for name in services.keys().map(|name| name.as_str().expect("a text")) {
        let networks = names(&compose, name, "networks");
        assert_eq!(networks.contains(&"operator".to_owned()), name == "supervise", "{name}: {networks:?}");
        let ports = names(&compose, name, "ports");
        let wanted: &[&str] = if name == "supervise" { &["127.0.0.1:7444:7444"] } else { &[] };
        assert_eq!(ports, wanted, "{name}");
    }
    let command = names(&compose, "supervise", "command");
    for word in ["--listen=inside.supervise:7331", "--operator=operator.supervise:7444"] {
        assert!(command.iter().any(|have| have == word), "{command:?}");
    }
    let networks = service(&compose, "supervise").get("networks").expect("it has some");
    let text = serde_yaml::to_string(networks).expect("YAML");
    let wanted = "inside:\n  aliases:\n  - inside.supervise\noperator:\n  aliases:\n  - operator.supervise\n";
    assert_eq!(text, wanted);
}

#[test]
fn supervise_has_no_capability_no_root_and_no_secret() {
    let (compose, _) = rendered(
        "    supervise: { port: 7333 }\n    egress: { routes: [{ host: a.example, credential: c }] }\n    \
         credentials: { c: { source: { env: SECRET }, inject: { bearer: true } } }\n",
    );
    let supervise = service(&compose, "supervise");
    assert_eq!(names(&compose, "supervise", "cap_drop"), ["ALL"]);
    for key in ["cap_add", "privileged", "network_mode", "environment"] {
        assert!(supervise.get(key).is_none(), "it has {key}");
    }
    assert_eq!(supervise.get("user").and_then(Yaml::as_str), Some("9444:9444"));
    assert_eq!(supervise.get("read_only").and_then(Yaml::as_bool), Some(true));
}

#[test]
fn a_bottle_without_routes_has_an_egress_to_which_routes_can_be_granted() {
    let (compose, place) = rendered("    supervise: { port: 7333 }\n");
    let policy: EgressPolicy =
        serde_yaml::from_str(&place.read(".bottle/a/egress/policy.yaml")).expect("it can be read");
    assert!(policy.routes.is_empty(), "{policy:?}");
    let command = names(&compose, "egress", "command");
    assert!(command.iter().any(|word| word == "--report=/var/lib/bottle/report"), "{command:?}");
    let needed = names(&compose, "agent", "depends_on");
    assert_eq!(needed, ["egress", "supervise"]);
}

#[test]
fn where_supervise_is_off_nothing_of_it_is_there() {
    for off in ["", "    supervise: false\n"] {
        let (compose, _) =
            rendered(&format!("{off}    egress: {{ routes: [{{ host: a.example }}] }}\n{GATE}"));
        assert!(
            mounting(&compose, "egress-report").is_empty() && mounting(&compose, "gate-report").is_empty()
        );
        assert!(compose.get("services").and_then(|services| services.get("supervise")).is_none());
        assert!(!names(&compose, "egress", "command").iter().any(|word| word.starts_with("--report")));
        assert!(!names(&compose, "git-gate", "command").iter().any(|word| word.starts_with("--grants")));
    }
}
