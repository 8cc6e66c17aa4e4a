//! What pipelock gets, who reaches it, and that its configuration says nothing but what its documentation has.

use bottle::policy::egress::EgressPolicy;
use bottle::policy::pipelock::{Mode, PipelockConfig, SCANNER};
use serde_yaml::Value as Yaml;

use super::{mounts, service};
use crate::support::Place;

const AGENT: &str = "agents: { a: { bottle: b, preset: shell } }\n";
const IMAGE: &str = "registry.example.org/pipelock:2.3.0";

/// The keys of pipelock's configuration that its documentation has (docs/configuration.md, docs/scan-api.md). It refuses
/// every other one at its start.
const DOCUMENTED: &[&str] = &[
    "version",
    "mode",
    "enforce",
    "explain_blocks",
    "api_allowlist",
    "internal",
    "fetch_proxy.listen",
    "fetch_proxy.timeout_seconds",
    "fetch_proxy.max_response_mb",
    "fetch_proxy.user_agent",
    "fetch_proxy.monitoring.max_url_length",
    "fetch_proxy.monitoring.entropy_threshold",
    "fetch_proxy.monitoring.max_requests_per_minute",
    "fetch_proxy.monitoring.max_data_per_minute",
    "fetch_proxy.monitoring.blocklist",
    "fetch_proxy.monitoring.subdomain_entropy_exclusions",
    "forward_proxy.enabled",
    "websocket_proxy.enabled",
    "reverse_proxy.enabled",
    "tls_interception.enabled",
    "session_profiling.enabled",
    "adaptive_enforcement.enabled",
    "cross_request_detection.enabled",
    "git_protection.enabled",
    "sentry.enabled",
    "dlp.scan_env",
    "dlp.secrets_file",
    "dlp.min_env_secret_length",
    "dlp.include_defaults",
    "dlp.patterns",
    "logging.format",
    "logging.output",
    "logging.file",
    "logging.include_allowed",
    "logging.include_blocked",
    "scan_api.listen",
    "scan_api.auth.bearer_tokens",
    "scan_api.rate_limit.requests_per_minute",
    "scan_api.rate_limit.burst",
    "scan_api.max_body_bytes",
    "scan_api.field_limits.url",
    "scan_api.field_limits.text",
    "scan_api.field_limits.content",
    "scan_api.field_limits.arguments",
    "scan_api.timeouts.read",
    "scan_api.timeouts.write",
    "scan_api.timeouts.scan",
    "scan_api.connection_limit",
    "scan_api.kinds.url",
    "scan_api.kinds.dlp",
    "scan_api.kinds.prompt_injection",
    "scan_api.kinds.tool_call",
];

fn rendered(bottle: &str) -> (Yaml, Place) {
    let place = Place::with(&format!("bottles:\n  b:\n{bottle}{AGENT}"));
    place.bottle(["render", "-o", "."]).run().ok();
    (serde_yaml::from_str(&place.read("compose.yaml")).expect("it is YAML"), place)
}

fn with(rest: &str) -> String {
    format!(
        "    pipelock: {{ image: \"{IMAGE}\"{rest} }}\n    egress: {{ routes: [{{ host: a.example }}] }}\n"
    )
}

fn config(place: &Place) -> PipelockConfig {
    serde_yaml::from_str(&place.read(".bottle/a/pipelock/pipelock.yaml")).expect("it can be read")
}

fn yaml(value: &Yaml, key: &str) -> String {
    value.get(key).map(|value| serde_yaml::to_string(value).expect("YAML")).unwrap_or_default()
}

#[test]
fn nobody_but_egress_reaches_it_and_it_reaches_nobody() {
    let git = "    git: { app: { upstream: \"https://git.example.org/app.git\" } }\n    supervise: { port: 7333 }\n";
    let (compose, _) = rendered(&format!("{}{git}", with("")));
    let pipelock = service(&compose, "pipelock");
    assert_eq!(yaml(pipelock, "networks"), "inspect:\n  aliases:\n  - inspect.pipelock\n");
    let services = compose.get("services").and_then(Yaml::as_mapping).expect("services");
    for (name, other) in services {
        let name = name.as_str().expect("a text");
        let on_it =
            yaml(other, "networks").contains("inspect:") || yaml(other, "networks").contains("- inspect\n");
        assert_eq!(on_it, ["egress", "pipelock"].contains(&name), "{name}");
    }
    let network = compose.get("networks").and_then(|networks| networks.get("inspect")).expect("it is there");
    let inside = compose.get("networks").and_then(|networks| networks.get("inside")).expect("it is there");
    assert_eq!(network, inside, "it is as closed as the agent's network");
    assert_eq!(network.get("internal").and_then(Yaml::as_bool), Some(true));
    assert_eq!(yaml(pipelock, "dns"), "- 127.0.0.1\n");
    assert_eq!(yaml(pipelock, "ports"), "");
}

#[test]
fn it_has_no_right_and_no_secret_and_its_image_is_the_one_that_was_named() {
    let digest = format!("registry.example.org/pipelock@sha256:{}", "0a".repeat(32));
    for image in [IMAGE, digest.as_str()] {
        let (compose, _) = rendered(&format!(
            "    pipelock: {{ image: \"{image}\" }}\n    egress: {{ routes: [{{ host: a.example, credential: c }}] }}\n    \
             credentials: {{ c: {{ source: {{ env: SECRET }}, inject: {{ bearer: true }} }} }}\n"
        ));
        let pipelock = service(&compose, "pipelock");
        assert_eq!(pipelock.get("image").and_then(Yaml::as_str), Some(image));
        assert_eq!(yaml(pipelock, "cap_drop"), "- ALL\n");
        assert_eq!(pipelock.get("read_only").and_then(Yaml::as_bool), Some(true));
        assert_eq!(pipelock.get("user").and_then(Yaml::as_str), Some("9445:9445"));
        for key in ["cap_add", "privileged", "network_mode", "environment", "build", "sysctls"] {
            assert!(pipelock.get(key).is_none(), "it has {key}");
        }
        for key in ["mem_limit", "pids_limit", "security_opt", "init", "restart", "logging"] {
            assert!(pipelock.get(key).is_some(), "it has no {key}");
        }
        let health = pipelock.get("healthcheck").expect("it has one");
        assert_eq!(yaml(health, "test"), "- CMD\n- /pipelock\n- healthcheck\n");
        let mounted: Vec<_> = mounts(&compose, "pipelock").collect();
        assert_eq!(mounted, [("./.bottle/a/pipelock", "/etc/bottle/pipelock", true)]);
    }
}

#[test]
fn egress_is_told_where_it_is_and_starts_after_it() {
    let (compose, place) = rendered(&with(""));
    let policy: EgressPolicy =
        serde_yaml::from_str(&place.read(".bottle/a/egress/policy.yaml")).expect("it can be read");
    assert_eq!(policy.scanner.as_deref(), Some(SCANNER));
    let needed = yaml(service(&compose, "egress"), "depends_on");
    assert_eq!(needed, "pipelock:\n  condition: service_healthy\n");
    let (compose, place) = rendered("    egress: { routes: [{ host: a.example }] }\n");
    assert!(!place.read(".bottle/a/egress/policy.yaml").contains("scanner"));
    assert!(!serde_yaml::to_string(&compose).expect("YAML").contains("inspect"));
}

#[test]
fn a_bottle_with_it_has_egress_even_without_a_route() {
    let (compose, _) = rendered(&format!("    pipelock: {{ image: \"{IMAGE}\" }}\n"));
    assert!(service(&compose, "egress").is_mapping() && service(&compose, "pipelock").is_mapping());
}

/// The kinds that are asked for are on and nothing else is, and the limits are those of a proxy.
#[test]
fn its_configuration_opens_the_scan_api_and_nothing_else() {
    let (_, place) = rendered(&with(""));
    let config = config(&place);
    let api = &config.scan_api;
    assert_eq!((api.kinds.url, api.kinds.dlp), (true, true));
    assert_eq!((api.kinds.prompt_injection, api.kinds.tool_call), (false, false));
    assert!(
        api.rate_limit.requests_per_minute > 600 && api.rate_limit.burst > 50 && api.connection_limit > 100
    );
    assert!(config.enforce && config.internal.is_empty() && !config.dlp.scan_env);
    assert!(config.fetch_proxy.listen.starts_with("127.0.0.1:"), "{}", config.fetch_proxy.listen);
    // An empty list is written out: without it the addresses are the usual ones, and names would be resolved.
    let text = place.read(".bottle/a/pipelock/pipelock.yaml");
    assert!(text.lines().any(|line| line == "internal: []"), "{text}");
    let value: Yaml = serde_yaml::from_str(&text).expect("YAML");
    for (key, part) in value.as_mapping().expect("a mapping") {
        let on = part.get("enabled").and_then(Yaml::as_bool).unwrap_or_default();
        assert!(!on, "{key:?} is on");
    }
}

fn keys(value: &Yaml, place: &str, found: &mut Vec<String>) {
    match value {
        Yaml::Mapping(map) => {
            for (key, value) in map {
                let key = key.as_str().expect("a text");
                let place = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
                keys(value, &place, found);
            }
        }
        _ => found.push(place.to_owned()),
    }
}

#[test]
fn every_key_of_its_configuration_is_documented() {
    for mode in ["", ", mode: balanced", ", mode: strict"] {
        let (_, place) = rendered(&with(mode));
        let value: Yaml =
            serde_yaml::from_str(&place.read(".bottle/a/pipelock/pipelock.yaml")).expect("it is YAML");
        let mut found = Vec::new();
        keys(&value, "", &mut found);
        let unknown: Vec<_> = found.iter().filter(|key| !DOCUMENTED.contains(&key.as_str())).collect();
        assert!(unknown.is_empty() && found.len() > 30, "not documented: {unknown:?}");
    }
}

#[test]
fn the_mode_strict_has_the_hosts_of_the_routes_and_never_an_empty_list() {
    let egress = "    egress: { routes: [{ host: a.example }, { host: \"*.b.example\" }, { host: a.example, methods: [PUT] }] }\n";
    let strict = format!("    pipelock: {{ image: \"{IMAGE}\", mode: strict }}\n");
    let (compose, place) = rendered(&format!("{strict}{egress}"));
    assert_eq!(config(&place).api_allowlist, ["a.example", "*.b.example"]);
    assert_eq!(config(&place).mode, Mode::Strict);
    // Another route changes the file that it follows, and starts no container anew.
    let more = egress.replace("routes: [", "routes: [{ host: c.example }, ");
    let (other, place) = rendered(&format!("{strict}{more}"));
    assert_eq!(config(&place).api_allowlist, ["c.example", "a.example", "*.b.example"]);
    assert_eq!(compose, other);
    let (_, place) = rendered(&strict);
    assert_eq!(config(&place).api_allowlist, ["none.invalid"]);
    let (other, place) = rendered(&format!("    pipelock: {{ image: \"{IMAGE}\" }}\n{egress}"));
    assert_eq!(config(&place).api_allowlist, [""; 0]);
    assert_ne!(compose, other, "another mode is another hash");
}
