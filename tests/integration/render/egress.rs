//! What egress and the agent get: the policy, the secrets, the volumes.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;

use bottle::policy::egress::{Credential, Deny, EgressPolicy, Inject, OnSecret, Route, Scheme};
use bottle::policy::gate::SecretSource;
use serde_yaml::Value as Yaml;

use super::{mounting, mounts, service};
use crate::support::Place;

const AGENT: &str = "agents: { a: { bottle: b, preset: shell } }\n";

/// The rendered bundle of a bottle: compose.yaml and egress's policy.
fn rendered(bottle: &str) -> (Yaml, EgressPolicy, Place) {
    let place = Place::with(&format!("bottles:\n  b:\n{bottle}{AGENT}"));
    place.bottle(["render", "-o", "."]).run().ok();
    let compose = serde_yaml::from_str(&place.read("compose.yaml")).expect("it is YAML");
    let policy = serde_yaml::from_str(&place.read(".bottle/a/egress/policy.yaml")).expect("it can be read");
    (compose, policy, place)
}

fn variables(compose: &Yaml, name: &str) -> Vec<(String, String)> {
    let environment = service(compose, name).get("environment").and_then(Yaml::as_mapping);
    let text = |value: &Yaml| value.as_str().expect("a text").to_owned();
    environment.into_iter().flatten().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn the_policy_has_every_rule_with_its_line_and_its_defaults_written_out() {
    let (_, policy, _) = rendered(
        "    egress:
      routes:
        - host: API.example.org.
        - host: \"*.plain.example\"
          scheme: http
          max_upload: 2k
        - { host: 10.0.0.7, ports: [8443, 9443], methods: [ANY], paths: [/a, \"/b/**\"], private: true, websocket: true, credential: c }
      deny:
        - host: x.example
        - { host: \"*.y.example\", ports: [1], methods: [PUT], paths: [/x] }
      extra_hosts: { Api.Example.Org: 10.0.0.7 }
      upstream_proxy: http://proxy.example
      extra_ca: [a.pem, b.pem]
    credentials:
      c: { source: { env: TOKEN }, inject: { header: X-Key } }
",
    );
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let route = |line: u32, host: &str| Route {
        source: format!("bottle.yaml:{line}"),
        host: host.to_owned(),
        scheme: Scheme::Https,
        ports: vec![443],
        methods: texts(&["GET", "HEAD"]),
        paths: texts(&["/**"]),
        websocket: false,
        private: false,
        credential: None,
        on_secret: OnSecret::Block,
        max_upload_bytes: None,
        strip_tools: Vec::new(),
    };
    let deny = |line: u32, host: &str| Deny {
        source: format!("bottle.yaml:{line}"),
        host: host.to_owned(),
        ports: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
    };
    let credential = Credential {
        source: "bottle.yaml:17".to_owned(),
        secret: SecretSource::Env("BOTTLE_CREDENTIAL_c".to_owned()),
        inject: Inject::Header("x-key".to_owned()),
        placeholder: Some("bottle-placeholder-c".to_owned()),
    };
    let expected = EgressPolicy {
        version: 1,
        routes: vec![
            route(5, "api.example.org"),
            Route {
                scheme: Scheme::Http,
                ports: vec![80],
                max_upload_bytes: Some(2048),
                ..route(6, "*.plain.example")
            },
            Route {
                ports: vec![8443, 9443],
                methods: texts(&["ANY"]),
                paths: texts(&["/a", "/b/**"]),
                websocket: true,
                private: true,
                credential: Some("c".to_owned()),
                ..route(9, "10.0.0.7")
            },
        ],
        deny: vec![
            deny(11, "x.example"),
            Deny {
                ports: vec![1],
                methods: texts(&["PUT"]),
                paths: texts(&["/x"]),
                ..deny(12, "*.y.example")
            },
        ],
        extra_hosts: [("api.example.org".to_owned(), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)))].into(),
        upstream_proxy: Some("http://proxy.example:80".to_owned()),
        extra_ca: texts(&["/etc/bottle/ca/0.pem", "/etc/bottle/ca/1.pem"]),
        ask: None,
        on_refusal: None,
        scanner: None,
        credentials: [("c".to_owned(), credential)].into(),
    };
    assert_eq!(policy, expected);
}

#[test]
fn egress_gets_the_secrets_that_its_routes_use_and_the_agent_gets_none() {
    let (compose, policy, place) = rendered(
        "    egress:
      routes:
        - { host: a.example, credential: by-variable }
        - { host: b.example, credential: file }
    credentials:
      by-variable: { source: { env: A_TOKEN }, inject: { bearer: true } }
      file: { source: { file: ./b-token }, inject: { basic: { username: u } }, placeholder: { env: B_TOKEN } }
      unused: { source: { env: OTHER }, inject: { bearer: true }, placeholder: { env: OTHER, value: \"x $y\" } }
      git: { source: { file: ./git-token }, inject: { basic: { username: g } } }
    git:
      r: { upstream: \"https://git.example/r\", credential: git }
",
    );
    let names: Vec<&str> = policy.credentials.keys().map(String::as_str).collect();
    assert_eq!(names, ["by-variable", "file"]);
    let own = [("BOTTLE_CREDENTIAL_byDvariable".to_owned(), "${A_TOKEN-}".to_owned())];
    assert_eq!(variables(&compose, "egress"), own);
    let files: Vec<_> =
        mounts(&compose, "egress").filter(|(source, ..)| source.ends_with("-token")).collect();
    assert_eq!(files, [("./b-token", "/etc/bottle/credentials/file", true)]);
    // The gate has its own and none of these.
    let files: Vec<_> =
        mounts(&compose, "git-gate").filter(|(source, ..)| source.ends_with("-token")).collect();
    assert_eq!(files, [("./git-token", "/etc/bottle/credentials/git", true)]);
    assert_eq!(variables(&compose, "git-gate"), []);

    assert!(mounts(&compose, "agent").all(|(source, ..)| !source.ends_with("-token")));
    let agent = variables(&compose, "agent");
    assert!(agent.contains(&("B_TOKEN".to_owned(), "bottle-placeholder-file".to_owned())), "{agent:?}");
    assert!(agent.contains(&("OTHER".to_owned(), "x $$y".to_owned())), "{agent:?}");
    assert!(agent.iter().all(|(_, value)| !value.contains("${")), "{agent:?}");

    // Rendering reads neither a variable nor a file.
    let before = place.read("compose.yaml");
    place.put("work/b-token", "hunter2");
    place.bottle(["render", "-o", "."]).env("A_TOKEN", "hunter3").run().ok();
    assert_eq!(place.read("compose.yaml"), before);
}

const ROUTES: &str = "    egress:
      routes:
        - { host: a.example }
    git:
      r:
        upstream: https://git.example/r
        push: [{ refs: \"agent/**\", allow: [create] }]
";

#[test]
fn another_route_changes_the_policy_and_nothing_that_compose_reads() {
    let place = Place::with(&format!("bottles:\n  b:\n{ROUTES}{AGENT}"));
    let render = || {
        place.bottle(["render", "-o", "."]).run().ok();
        (place.read("compose.yaml"), place.read(".bottle/a/egress/policy.yaml"))
    };
    let (compose, policy) = render();
    for routes in [
        "        - { host: a.example }\n        - { host: b.example, methods: [ANY] }\n",
        "        - { host: a.example, private: true }\n      deny:\n        - host: c.example\n      extra_hosts: { a.example: 10.0.0.1 }\n",
    ] {
        let other = ROUTES.replace("        - { host: a.example }\n", routes);
        place.put("work/bottle.yaml", format!("bottles:\n  b:\n{other}{AGENT}"));
        let (other_compose, other_policy) = render();
        assert_eq!(other_compose, compose);
        assert_ne!(other_policy, policy);
    }
    // What a container is made with does change it: a push rule of the gate, a credential of egress.
    for (old, new) in [
        ("allow: [create]", "allow: [create, force]"),
        (
            "    git:\n",
            "    credentials: { c: { source: { env: C }, inject: { bearer: true } } }\n    git:\n",
        ),
    ] {
        let other =
            ROUTES.replace(old, new).replace("{ host: a.example }", "{ host: a.example, credential: c }");
        let other = if new.contains("credentials") { other } else { ROUTES.replace(old, new) };
        place.put("work/bottle.yaml", format!("bottles:\n  b:\n{other}{AGENT}"));
        assert_ne!(render().0, compose, "{new}");
    }
}

#[test]
fn only_egress_has_the_volume_of_the_key_and_only_egress_writes_what_is_trusted() {
    let (compose, ..) = rendered(ROUTES);
    let mounting = |volume: &str| mounting(&compose, volume);
    let of = |mounts: &[(&str, bool)]| mounts.iter().map(|(name, ro)| ((*name).to_owned(), *ro)).collect();
    assert_eq!(mounting("egress-state"), of(&[("egress", false)]));
    assert_eq!(mounting("trust"), of(&[("agent", true), ("egress", false)]));
    assert_eq!(mounting("grants"), of(&[("egress", true)]));
    assert_eq!(mounting("./.bottle/a/egress"), of(&[("egress", true)]));
}

#[test]
fn egress_has_no_capability_no_root_and_an_admin_address_of_its_own() {
    let (compose, ..) = rendered(ROUTES);
    let egress = service(&compose, "egress");
    let text = |key: &str| serde_yaml::to_string(egress.get(key).expect("it is there")).expect("YAML");
    assert_eq!(text("cap_drop"), "- ALL\n");
    for key in ["cap_add", "ports", "privileged", "network_mode"] {
        assert!(egress.get(key).is_none(), "it has {key}");
    }
    assert_eq!(egress.get("user").and_then(Yaml::as_str), Some("9443:9443"));
    assert_eq!(egress.get("read_only").and_then(Yaml::as_bool), Some(true));
    let command = text("command");
    assert!(command.contains("--admin=127.0.0.1:") && !command.contains("--user"), "{command}");
    // Only the agent's network has the name by which it listens.
    assert_eq!(text("networks"), "inside:\n  aliases:\n  - inside.egress\noutside: {}\n");
    assert!(command.contains("--listen=inside.egress:3128"), "{command}");
    let agent = service(&compose, "agent");
    assert_eq!(
        serde_yaml::to_string(agent.get("networks").expect("it has one")).expect("YAML"),
        "- inside\n"
    );
}

/// Whose the file is, nobody knows before it is mounted.
#[test]
fn a_credential_in_a_file_lets_egress_start_as_root_and_nothing_else_does() {
    let bottle = |source: &str| {
        format!(
            "    egress: {{ routes: [{{ host: a.example, credential: c }}], extra_ca: [x.pem] }}\n    \
             credentials: {{ c: {{ source: {{ {source} }}, inject: {{ bearer: true }} }} }}\n"
        )
    };
    for (source, user) in [("env: C", "9443:9443"), ("file: ./c", "0:0")] {
        let (compose, ..) = rendered(&bottle(source));
        let egress = service(&compose, "egress");
        assert_eq!(egress.get("user").and_then(Yaml::as_str), Some(user));
        let command = egress.get("command").and_then(Yaml::as_sequence).expect("a list");
        let becomes = command.iter().any(|word| word.as_str() == Some("--user=9443"));
        let capabilities = egress.get("cap_add").map(|list| serde_yaml::to_string(list).expect("YAML"));
        let expected = (user == "0:0").then(|| "- KILL\n- SETGID\n- SETUID\n".to_owned());
        assert_eq!((becomes, capabilities), (user == "0:0", expected));
    }
}

#[test]
fn any_key_of_egress_but_the_certificates_brings_the_sidecar() {
    for key in [
        "deny: [{ host: x.example }]",
        "extra_hosts: { x.example: 10.0.0.1 }",
        "upstream_proxy: http://p.example:1",
    ] {
        let (_, policy, _) = rendered(&format!("    egress: {{ {key} }}\n"));
        assert_eq!(policy.routes, [], "{key}");
    }
}

#[test]
fn an_agent_without_egress_may_set_what_would_lead_to_it() {
    let place = Place::with(
        "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell, env: { SSL_CERT_FILE: /x } } }\n",
    );
    let compose = place.bottle(["render"]).run().ok();
    assert!(compose.contains("\"SSL_CERT_FILE\": \"/x\"") && !compose.contains("PROXY"), "{compose}");
}

/// Egress's container mounts the directory, and its user is none of the host's.
#[test]
fn the_policy_is_readable_for_everybody_whatever_the_umask_is_and_was() {
    let manifest = format!("bottles:\n  b:\n{ROUTES}{AGENT}");
    let place = Place::with(&manifest);
    let render = || {
        let script = format!("umask 077 && exec {} render -o .", crate::support::PROGRAM);
        let status =
            std::process::Command::new("sh").args(["-c", &script]).current_dir(place.work()).status();
        assert!(status.expect("a shell").success());
    };
    let mode =
        |path: &str| place.work().join(path).metadata().expect("it is there").permissions().mode() & 0o777;
    render();
    assert_eq!((mode(".bottle/a/egress"), mode(".bottle/a/egress/policy.yaml")), (0o755, 0o644));
    // As a clone under such a umask leaves them.
    for (path, strict) in [(".bottle/a/egress", 0o700), (".bottle/a/egress/policy.yaml", 0o600)] {
        let permissions = std::fs::Permissions::from_mode(strict);
        std::fs::set_permissions(place.work().join(path), permissions).expect("it is ours");
    }
    render();
    assert_eq!((mode(".bottle/a/egress"), mode(".bottle/a/egress/policy.yaml")), (0o755, 0o644));
}
