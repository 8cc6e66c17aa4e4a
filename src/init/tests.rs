//! Whatever a repository, a configuration or a log says, what is written is what was meant.

use std::path::PathBuf;

use proptest::prelude::*;

use super::git::{Remote, Way, choose, remote, upstream};
use super::log::Log;
use super::packages::{Manager, registries, used};
use super::registry::registry;
use super::ssh::{Config, config, fingerprint, host_keys};
use super::{Access, Key, Need, Proposal, Repository, Runs, name_of, text};
use crate::manifest::values::{HostKey, Name};
use crate::manifest::{Input, Loaded, Manifest, Options, Preset, PresetName, Trust, load};
use crate::policy::egress::Route;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

fn loaded(text: &str) -> Loaded {
    let options = Options {
        input: Input::Text {
            name: "bottle.yaml".into(),
            directory: PathBuf::from("/w"),
            bytes: text.as_bytes().to_vec(),
            files: None,
        },
        trust: Trust::Manifest,
        working_directory: PathBuf::from("/w"),
        home_bottles: None,
        home_presets: None,
        home: None,
    };
    load(&options).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What `ssh -G` says where nothing is configured.
fn configured(user: Option<&str>, host: &str, port: Option<u16>) -> Config {
    let user = user.unwrap_or("me").to_owned();
    Config { user, hostname: host.to_owned(), port: port.unwrap_or(22), ..Config::default() }
}

fn leads_to(url: &str) -> Result<String, String> {
    match remote(url)?.way {
        Way::Https(url) => Ok(url.to_string()),
        Way::Ssh { user, host, port, path } => {
            upstream(&configured(user.as_deref(), &host, port), &path).map(|url| url.to_string())
        }
    }
}

#[test]
fn a_remote_is_understood_in_every_spelling() {
    for (url, expected) in [
        ("git@git.example.org:team/app.git", "git@git.example.org:team/app.git"),
        ("git.example.org:team/app.git", "me@git.example.org:team/app.git"),
        ("nickname:team/app", "me@nickname:team/app"),
        ("ssh://git@git.example.org/team/app.git", "ssh://git@git.example.org/team/app.git"),
        ("ssh://git@git.example.org:2222/team/app.git", "ssh://git@git.example.org:2222/team/app.git"),
        ("ssh://git@git.example.org:/team/app.git", "ssh://git@git.example.org/team/app.git"),
        ("git+ssh://git@git.example.org/team/app", "ssh://git@git.example.org/team/app"),
        ("ssh+git://git@git.example.org/~/app", "ssh://git@git.example.org/~/app"),
        ("git@[fd00::1]:team/app", "git@[fd00::1]:team/app"),
        ("[git.example.org]:team/app", "me@git.example.org:team/app"),
        ("ssh://git@[fd00::1]:2222/app", "ssh://git@[fd00::1]:2222/app"),
        ("https://git.example.org/team/app.git", "https://git.example.org/team/app.git"),
        ("https://git.example.org:8443/team/app", "https://git.example.org:8443/team/app"),
    ] {
        assert_eq!(leads_to(url).as_deref(), Ok(expected), "{url}");
    }
}

#[test]
fn what_the_gate_can_not_go_to_is_no_repository() {
    for url in [
        "",
        "/srv/app.git",
        "../app.git",
        "./a:b",
        "file:///srv/app.git",
        "http://git.example.org/app",
        "git://git.example.org/app",
        "ext::sh -c id",
        "fd::17",
        "-oProxyCommand=id:app",
        "git@-oProxyCommand=id:app",
        "ssh://-oProxyCommand=id/app",
        "ssh://-l@host/app",
        "git@host:--upload-pack=id",
        "git@host:a\nb",
        "git@host:a'b",
        "git@host:../../etc",
        "ssh://git@host:0/app",
        "ssh://git@host:99999/app",
        "https://host",
        "https://host/",
        "git@host:",
        "git@ho st:app",
        "git@host\u{202e}:app",
    ] {
        assert!(leads_to(url).is_err(), "{url:?} leads to {:?}", leads_to(url));
    }
}

#[test]
fn a_token_in_a_url_goes_no_further_whichever_part_it_stands_in() {
    const TOKEN: &str = "hunter2hunter2";
    for url in [
        format!("https://{TOKEN}@git.example.org/app"),
        format!("https://me:{TOKEN}@git.example.org/app"),
        format!("https://{TOKEN}:x-oauth-basic@git.example.org/app"),
        format!("https://a@b:{TOKEN}@git.example.org/app"),
        format!("https://git.example.org/app?private_token={TOKEN}"),
        format!("https://git.example.org/app#{TOKEN}"),
        format!("ssh://git:{TOKEN}@git.example.org/app"),
        format!("git:{TOKEN}@git.example.org:app"),
        format!("git:{TOKEN}@git.example.org/app"),
        format!("http://me:{TOKEN}@git.example.org/app"),
        format!("https://me:{TOKEN}@/app"),
        format!("ftp://me:{TOKEN}@git.example.org/app"),
    ] {
        let read = remote(&url);
        assert!(!format!("{read:?}").contains("hunter2"), "{url}: {read:?}");
        assert!(!read.is_ok_and(|read| !read.dropped), "{url} is not said to have lost anything");
    }
    for url in ["https://me:hunter2@r.example.org/x", "https://r.example.org/x?t=hunter2"] {
        let read = registry(url).unwrap();
        assert!(read.dropped && !format!("{read:?}").contains("hunter2"), "{read:?}");
    }
}

#[test]
fn of_several_remotes_origin_is_taken_and_without_a_reason_none() {
    let remotes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let chosen = |names: &[&str], tracked| choose(&remotes(names), tracked).map(|(name, _)| name);
    assert_eq!(chosen(&["fork"], None).as_deref(), Some("fork"));
    assert_eq!(chosen(&["fork", "origin"], Some("fork")).as_deref(), Some("origin"));
    assert_eq!(chosen(&["fork", "upstream"], Some("upstream")).as_deref(), Some("upstream"));
    assert_eq!(chosen(&["fork", "upstream"], Some("gone")), None);
    assert_eq!(chosen(&["fork", "upstream"], None), None);
    assert_eq!(chosen(&[], Some("origin")), None);
}

#[test]
fn the_configuration_of_ssh_says_where_a_nickname_leads() {
    let answer = "host work\nuser git\nhostname git.example.org\nport 2222\nproxyjump none\nhostkeyalias forge\n\
                  identityfile ~/.ssh/a\nidentityfile none\nidentityfile ~/.ssh/b\n\
                  globalknownhostsfile none\nuserknownhostsfile /k/one /k/two\n";
    let read = config(answer).unwrap();
    assert_eq!(upstream(&read, "team/app").unwrap().to_string(), "ssh://git@git.example.org:2222/team/app");
    assert_eq!(read.known_as(), "forge");
    assert_eq!(read.identity_files, ["~/.ssh/a", "~/.ssh/b"]);
    assert_eq!(read.known_hosts, ["/k/one", "/k/two"]);
    assert!(!read.indirect);
    assert!(config(&answer.replace("proxyjump none", "proxyjump bastion")).unwrap().indirect);
    assert_eq!(Config { alias: None, ..read }.known_as(), "[git.example.org]:2222");
    assert_eq!(config("user git\nport 22\n"), None);
}

#[test]
fn a_revoked_key_and_that_of_an_authority_are_no_host_keys() {
    let lines = format!(
        "# Host h found: line 1\nh {KEY}\n|1|c2FsdA==|aGFzaA== {KEY}\n# Host h found: line 3\nh {OTHER} comment\n\
         @revoked h {OTHER}\n@cert-authority *.example.org {OTHER}\nh ssh-ed25519 AAAA\nh\n"
    );
    assert_eq!(host_keys(&lines), [KEY.parse::<HostKey>().unwrap()]);
    // As `ssh-keygen -l` shows it.
    assert_eq!(
        fingerprint(&KEY.parse().unwrap()).unwrap(),
        "ssh-ed25519 SHA256:pAn/0FQnGuAOKL1tFUl0sRcsa2wyWz7dv8TSCcWzCDc"
    );
}

fn routes_of(manager: Manager, answer: &str) -> Vec<String> {
    let shown = |route: Route| {
        let Route { scheme, host, ports, paths, .. } = route;
        format!("{scheme:?} {host} {ports:?} {}", paths.join(" ")).to_lowercase()
    };
    registries(manager, answer).iter().map(|registry| shown(registry.route())).collect()
}

#[test]
fn each_package_manager_s_answer_is_understood() {
    let npm = "https://r.example.org/api/npm/\n; \"user\" config from /home/me/.npmrc\n; registry = \"https://no.example.org/\" ; overridden\n\
               @team:registry = \"http://npm.team.example:4873/\"\nregistry = \"https://r.example.org/api/npm/\"\ncafile = \"https://no.example.org/\"\n";
    assert_eq!(
        routes_of(Manager::Npm, npm),
        ["https r.example.org [443] /api/npm/**", "http npm.team.example [4873] /**"]
    );
    let pip = ":env:.cert='/etc/x'\nglobal.index-url='https://me:pw@pip.example.org/root/dev/+simple/'\n\
               install.extra-index-url='https://a.example.org/simple\\nhttps://b.example.org/x'\nindex-url = \"https://uv.example.org/simple\"\n";
    assert_eq!(
        routes_of(Manager::Python, pip),
        [
            "https pip.example.org [443] /root/dev/**",
            "https a.example.org [443] /**",
            "https b.example.org [443] /x/**",
            "https uv.example.org [443] /**",
        ]
    );
    let cargo = "[net]\ngit-fetch-with-cli = true\nindex = \"https://no.example.org\"\n[source.crates]\nreplace-with = 'm'\n\
                 [source.m]\nregistry = \"sparse+https://m.example.org/index/\"\n[registries.team]\ntoken = \"https://no.example.org\"\n\
                 index = 'https://git.example.org/index.git' # which\n";
    assert_eq!(
        routes_of(Manager::Cargo, cargo),
        ["https m.example.org [443] /**", "https git.example.org [443] /index.git/**"]
    );
    let go = "https://go.example.org/a|https://b.example.org,direct\nsum.example.org+1234+key\n";
    let expected = [
        "https go.example.org [443] /a/**",
        "https b.example.org [443] /**",
        "https sum.example.org [443] /**",
    ];
    assert_eq!(routes_of(Manager::Go, go), expected);
    assert_eq!(routes_of(Manager::Go, "off\noff\n"), [""; 0]);
    assert_eq!(
        routes_of(Manager::Ruby, "*** SOURCES ***\n\nhttps://gems.example.org/\n"),
        ["https gems.example.org [443] /**"]
    );
    let maven = "<mirror><id>x</id><url>https://m.example.org/maven</url></mirror><url>\n ${env.X} </url>";
    assert_eq!(routes_of(Manager::Jvm, maven), ["https m.example.org [443] /maven/**"]);
}

#[test]
fn a_registry_opens_nothing_but_what_is_below_it() {
    for url in [
        "https://*/",
        "https://*.example.org/",
        "https://r.example.org/**/x",
        "https://r.example.org/a/../b",
        "https://r.example.org\n/x",
        "ftp://r.example.org/",
        "r.example.org",
        "https://r.example.org:0/",
        "https://0x7f.1/",
    ] {
        assert_eq!(registry(url), None, "{url:?}");
    }
    assert_eq!(registry("https://r.example.org/%2a").map(|read| read.route().paths), None);
}

#[test]
fn a_package_manager_is_known_by_the_file_that_is_nearest_to_the_root() {
    let found = used(
        ["a/b/package.json", "a/package.json", "docs/go.mod", "Cargo.toml.orig", "x/Gemfile"].into_iter(),
    );
    assert_eq!(
        found,
        [
            (Manager::Npm, "a/package.json".to_owned()),
            (Manager::Go, "docs/go.mod".to_owned()),
            (Manager::Ruby, "x/Gemfile".to_owned())
        ]
    );
}

#[test]
fn a_name_comes_of_any_text_or_none_does() {
    let named = |text: &str| name_of(text).map(|name| name.as_str().to_owned());
    assert_eq!(named("My App").as_deref(), Some("my-app"));
    assert_eq!(named("--force").as_deref(), Some("force"));
    assert_eq!(named("docker").as_deref(), Some("docker-agent"));
    assert_eq!(named("漢"), None);
    assert_eq!(named(&"a".repeat(300)).map(|name| name.len()), Some(30));
}

fn proposal(repository: Option<Repository>, needs: Vec<Need>, supervise: Option<u16>) -> Proposal {
    Proposal { slug: name("app"), runs: Runs::Preset("shell"), model: None, repository, needs, supervise }
}

fn over_ssh(hosts: &[&str]) -> Repository {
    Repository {
        name: name("app"),
        remote: "origin".to_owned(),
        upstream: "git@git.example.org:team/app.git".parse().unwrap(),
        access: Access::Ssh {
            key: Key::Agent,
            hosts: hosts.iter().map(|key| key.parse().unwrap()).collect(),
        },
        default_branch: Some("main".to_owned()),
    }
}

#[test]
fn whatever_is_left_out_the_rest_loads_and_what_is_a_comment_loads_when_it_is_none() {
    for repository in [None, Some(over_ssh(&[])), Some(over_ssh(&[KEY, OTHER]))] {
        for needs in [
            vec![],
            vec![Need {
                manager: Manager::Composer,
                shown_by: "composer.json".to_owned(),
                registries: vec![],
            }],
        ] {
            for supervise in [None, Some(7333)] {
                let text = text::manifest(&proposal(repository.clone(), needs.clone(), supervise));
                let manifest = loaded(&text).manifest;
                let with_repository = repository.as_ref().is_some_and(
                    |repository| matches!(&repository.access, Access::Ssh { hosts, .. } if !hosts.is_empty()),
                );
                let (_, bottle) = &manifest.bottles.as_ref().unwrap().0[0];
                assert_eq!(bottle.git.is_some(), with_repository, "{text}");
                // A person takes the `# ` from the lines and fills the key in.
                let filled: String = text
                    .lines()
                    .skip(2)
                    .filter(|line| !line.contains("take the `# ` away") && !line.contains("No host key"))
                    .map(|line| match line.trim_start().strip_prefix("# ") {
                        Some(rest) if rest.trim_start().starts_with(['#', '-']) || is_key(rest) => {
                            let indent = line.len() - line.trim_start().len();
                            format!("{:indent$}{}\n", "", rest.replace("ssh-ed25519 AAAA…", KEY))
                        }
                        _ => format!("{line}\n"),
                    })
                    .filter(|line| !line.contains("supervise: false"))
                    .collect();
                let manifest = loaded(&filled).manifest;
                let (_, bottle) = &manifest.bottles.as_ref().unwrap().0[0];
                assert_eq!(bottle.git.is_some(), repository.is_some(), "{filled}");
            }
        }
    }
}

/// Whether a line without its `# ` is one of YAML and no sentence.
fn is_key(line: &str) -> bool {
    let key = line.trim_start().split_once(':').map(|(key, _)| key);
    key.is_some_and(|key| {
        !key.contains(' ') && line.starts_with(|first: char| first == ' ' || first.is_lowercase())
    })
}

/// Texts that mean something to YAML, a terminal or a URL, and any others.
fn hostile() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\n",
        "\r\n",
        "\t",
        " ",
        ": ",
        " #",
        "# ",
        "- ",
        "'",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        "&a",
        "*",
        "!!str",
        "|",
        ">",
        "%",
        "---",
        "...",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "\u{feff}",
        "\u{1b}[2J",
        "\0",
        "null",
        "true",
        "<<",
        "~",
        "routes:",
        "host: evil.example",
        "agents:",
        "git@",
        "ssh://",
        "https://",
        "git.example.org",
        ":",
        "/",
        "@",
        "app",
        ".git",
    ]);
    prop::collection::vec(prop_oneof![3 => nasty.prop_map(str::to_owned), 1 => any::<String>()], 0..8)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_text_of_a_repository_or_a_configuration_becomes_structure(
        url in prop_oneof![hostile(), hostile().prop_map(|path| format!("git@git.example.org:{path}")), hostile().prop_map(|path| format!("https://git.example.org/{path}"))],
        remote_name in hostile(),
        branch in hostile(),
        file in hostile(),
        urls in prop::collection::vec(hostile().prop_map(|path| format!("https://r.example.org/{path}")), 0..4),
    ) {
        let repository = remote(&url).ok().and_then(|Remote { way, .. }| {
            let (upstream, access) = match way {
                Way::Https(upstream) => (upstream, Access::Https("GIT_TOKEN".parse().unwrap())),
                Way::Ssh { user, host, port, path } => {
                    let upstream = upstream(&configured(user.as_deref(), &host, port), &path).ok()?;
                    (upstream, Access::Ssh { key: Key::Agent, hosts: vec![KEY.parse().unwrap()] })
                }
            };
            Some(Repository { name: name("app"), remote: remote_name, upstream, access, default_branch: Some(branch) })
        });
        let registries: Vec<_> = urls.iter().filter_map(|url| registry(url)).collect();
        let mut routes: Vec<Route> = Vec::new();
        for route in registries.iter().map(super::registry::Registry::route) {
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        let needs = vec![Need { manager: Manager::Npm, shown_by: file, registries }];
        let text = text::manifest(&proposal(repository.clone(), needs, Some(7333)));
        prop_assert!(text.chars().all(|c| c == '\n' || !crate::manifest::source::is_unprintable(c)), "{:?}", text);
        let Manifest { bottles, agents, images } = loaded(&text).manifest;
        prop_assert!(images.is_none());
        let (bottles, agents) = (bottles.unwrap().0, agents.unwrap().0);
        prop_assert_eq!((bottles.len(), agents.len()), (1, 1));
        let (_, bottle) = &bottles[0];
        let found = bottle.git.as_ref().map(|git| {
            let (_, repository) = &git.0[0];
            (git.0.len(), repository.upstream.value.clone(), repository.push.as_ref().map(|push| push.0.len()))
        });
        prop_assert_eq!(found, repository.map(|repository| (1, repository.upstream, Some(1))));
        let egress = &bottle.egress.as_ref().unwrap().value;
        let written: Vec<_> = egress.routes.iter().flat_map(|routes| routes.iter()).map(|route| {
            let paths = route.value.paths.iter().flat_map(|paths| paths.iter()).map(|path| path.value.as_str().to_owned());
            (route.value.host.value.as_str().to_owned(), paths.collect::<Vec<_>>(), route.value.methods.is_some())
        }).collect();
        let meant: Vec<_> = routes.into_iter().map(|route| {
            let paths = if route.paths == ["/**"] { Vec::new() } else { route.paths };
            (route.host, paths, false)
        }).collect();
        prop_assert_eq!(written, meant);
        let (_, agent) = &agents[0];
        prop_assert_eq!(agent.preset.as_ref().map(|preset| preset.value.clone()), Some(Preset::Named(PresetName::Shell)));
        prop_assert!(agent.env.is_none() && agent.command.is_none());
    }

    #[test]
    fn no_line_of_a_log_becomes_more_than_a_route(
        requests in prop::collection::vec((hostile(), hostile(), hostile(), hostile(), any::<u16>()), 0..6),
        junk in hostile(),
    ) {
        let mut log = Log::default();
        for (host, method, path, reason, port) in &requests {
            for (host, method, reason) in [(host.as_str(), "GET", "route-missing"), ("a.example.org", method, "path-denied"), ("a.example.org", "GET", reason)] {
                let line = serde_json::json!({ "v": 1, "event": "request", "reason": reason, "scheme": "https", "host": host, "port": port, "method": method, "path": format!("/{path}") });
                log.add(line.to_string().as_bytes());
            }
        }
        log.add(junk.as_bytes());
        let text = log.text();
        prop_assert!(text.chars().all(|c| c == '\n' || !crate::manifest::source::is_unprintable(c)), "{:?}", text);
        if text.contains("\nroutes:\n") {
            let (_, routes) = text.split_once("routes:\n").unwrap();
            let routes: Vec<String> = routes.lines().map(|line| format!("     {line}")).collect();
            let manifest = format!("bottles:\n  b:\n    egress:\n     routes:\n{}\n", routes.join("\n"));
            let bottles = loaded(&manifest).manifest.bottles.unwrap().0;
            let egress = &bottles[0].1.egress.as_ref().unwrap().value;
            prop_assert!(egress.deny.is_none() && egress.routes.as_ref().unwrap().iter().all(|route| route.value.credential.is_none()));
        }
    }
}

fn log_of(lines: &[(&str, &str, &str, &str)]) -> Log {
    let mut log = Log::default();
    for (reason, method, host, path) in lines {
        let line = serde_json::json!({
            "v": 1, "time": "2026-01-02T03:04:05.678Z", "event": "request", "decision": "deny", "reason": reason, "scheme": "https",
            "host": host, "port": 443, "method": method, "path": path,
        });
        log.add(line.to_string().as_bytes());
    }
    log
}

#[test]
fn a_log_gives_routes_by_host_with_methods_and_the_beginnings_of_paths() {
    let mut log = log_of(&[
        ("route-missing", "GET", "docs.example.org", "/guide/start"),
        ("route-missing", "HEAD", "docs.example.org", "/guide/start"),
        ("path-denied", "GET", "docs.example.org", "/api/12345"),
        ("path-denied", "GET", "docs.example.org", "/api/67890"),
        ("method-denied", "POST", "api.example.org", "/v1/messages"),
        ("method-denied", "POST", "api.example.org", "/v1/messages"),
        ("secret-found", "POST", "api.example.org", "/v1/messages"),
        ("route-missing", "GET", "10.0.0.7", "/"),
    ]);
    log.add(b"{\"v\":1,\"event\":\"request\",\"decision\":\"allow\",\"scheme\":\"https\",\"host\":\"ok.example.org\",\"port\":443,\"method\":\"GET\",\"path\":\"/\"}");
    log.add(b"not a line");
    assert_eq!(log.unread(), 1);
    insta::assert_snapshot!(log.text(), @r#"
    # Proposals from 9 requests in the audit log: what was refused for want of a route. The agent chose every
    # one of them. Look at each before you put it below `egress:` in bottle.yaml; what is a comment here is doubtful.
    routes:
      # GET 1 of 1 request
      # Doubtful: an address says nothing of who is behind it.
      # Doubtful: it was asked for once.
      # - { host: "10.0.0.7", paths: ["/"] }
      # POST 2 of 2 requests
      # Doubtful: other methods than GET and HEAD send data out or change something.
      # - { host: "api.example.org", methods: [POST], paths: ["/v1/messages"] }
      # GET 3, HEAD 1 of 4 requests
      - { host: "docs.example.org", paths: ["/api/*", "/guide/start"] }
    # Not proposed: 1 request refused as `secret-found`; no route changes that.
    "#);
}

#[test]
fn a_secret_in_a_path_is_not_in_the_proposal() {
    let token = format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let path = format!("/bot/{token}/send");
    let text = log_of(&[
        ("route-missing", "GET", "a.example.org", &path),
        ("route-missing", "GET", "a.example.org", &path),
        ("route-missing", "GET", "b.example.org", "/key/0123456789abcdef0123/x"),
    ])
    .text();
    assert!(!text.contains("a1B2") && !text.contains("0123456789"), "{text}");
    assert!(text.contains("paths: [\"/key/*/x\"]"), "{text}");
}

#[test]
fn many_paths_become_few_patterns_and_many_hosts_end_somewhere() {
    let paths: Vec<String> = ('a'..='z').flat_map(|a| [format!("/x/{a}/one"), format!("/y/{a}")]).collect();
    let lines: Vec<_> =
        paths.iter().map(|path| ("route-missing", "GET", "a.example.org", path.as_str())).collect();
    let text = log_of(&lines).text();
    assert!(text.contains("paths: [\"/x/**\", \"/y/**\"]"), "{text}");
    let hosts: Vec<String> = (0..1200).map(|number| format!("h{number}.example.org")).collect();
    let lines: Vec<_> = hosts.iter().map(|host| ("route-missing", "GET", host.as_str(), "/")).collect();
    assert!(log_of(&lines).text().contains("# Not proposed: 200 requests to hosts"));
}
