//! Whatever a text of the manifest is made of, it is refused with a place, or it arrives as it is, where it belongs, and
//! moves nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bottle::manifest::{Input, Options, Trust, load};
use bottle::plan;
use bottle::policy::egress::{EgressPolicy, Inject};
use bottle::policy::gate::{GatePolicy, SecretSource, Upstream};
use bottle::render::{Bundle, Renderer};
use proptest::prelude::*;
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

use super::{compose_config, has_compose};
use crate::support::{Place, write};

/// What means something to YAML, a shell, Compose, a Dockerfile, a template, a terminal or bottle itself.
const NASTY: &[&str] = &[
    "${",
    "}",
    "$",
    "$$",
    "${HOME}",
    "${HOME:-x}",
    "${UNSET?}",
    "$(id)",
    "`id`",
    "{{ version }}",
    "{{",
    "{%",
    "{#",
    "%}",
    "#}",
    "1_000",
    "2024-01-01",
    "12:30:45",
    "<<",
    "~",
    "null",
    "Null",
    "true",
    "yes",
    "on",
    "0x1F",
    "0o7",
    "010",
    "1e3",
    ".inf",
    "!!str",
    "!x",
    "&a",
    "*a",
    "- ",
    ": ",
    ":",
    " #",
    "# ",
    "'",
    "\"",
    "\\",
    "\\n",
    "\\u0041",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{202e}",
    "\u{2028}",
    "\u{2066}",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{e0041}",
    "\u{10ffff}",
    "\u{1fffe}",
    "😀",
    "👨\u{200d}👩\u{200d}👧",
    "é",
    "e\u{301}",
    "漢",
    "|",
    ">",
    "---",
    "...",
    "%YAML 1.1",
    "?",
    "@",
    ",",
    "[",
    "]",
    "{",
    "=",
    ";",
    "&&",
    " ",
    "  ",
    "FROM scratch",
    "\nRUN id\n",
    "--",
    "-",
    "..",
    "/",
    "../",
    "./",
    "//",
    "Qz0zQ",
    "Qz1zQ",
    "EOF",
    "x-bottle:",
    "\nservices: {}\n",
    "\n    privileged: true\n",
    "host.docker.internal",
    "C:\\x",
    "a:b:ro",
    "https://h/x",
    "git@h:x",
    "service:x",
];

fn nasty() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        4 => proptest::sample::select(NASTY).prop_map(str::to_owned),
        1 => "[ -~]{1,6}",
        1 => "[a-z0-9]{1,6}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop_oneof![
        20 => proptest::collection::vec(fragment, 0..5).prop_map(|parts| parts.concat()),
        1 => proptest::sample::select(NASTY).prop_map(|part| part.repeat(2_000)),
    ]
}

/// A double-quoted YAML scalar in which nothing but printable ASCII stands for itself.
fn quoted(text: &str) -> String {
    let escape = |character: char| match character {
        '"' | '\\' => format!("\\{character}"),
        ' '..='~' => character.to_string(),
        _ => format!("\\U{:08x}", u32::from(character)),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// Renders in this process. The error of a manifest must have a place for everything that is wrong with it.
fn render(directory: &Path, manifest: &str) -> Result<Bundle, String> {
    write(&directory.join("bottle.yaml"), manifest.as_bytes());
    let options = Options {
        input: Input::File("bottle.yaml".into()),
        trust: Trust::Manifest,
        working_directory: directory.to_owned(),
        home_bottles: None,
        home_presets: None,
        home: None,
    };
    let plan = load(&options).and_then(|loaded| plan::resolve(loaded, None)).map_err(|errors| {
        assert!(errors.list.iter().all(|error| error.span.is_some()), "an error has no place: {errors}");
        errors.to_string()
    })?;
    Ok(Renderer::default().render(&plan, directory).expect("what is accepted can be rendered"))
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKOM5fZHxUBxNvYOLcrR3hlg8rQxCRvsXNkFKX7qCXHi";

/// The texts of one manifest, by the field that they stand in.
#[derive(Clone, Debug)]
struct Texts {
    env: Vec<String>,
    command: Vec<String>,
    identity_files: Vec<String>,
    credential_files: Vec<String>,
    usernames: Vec<String>,
    protect: Vec<String>,
    build: String,
}

impl Texts {
    fn manifest(&self) -> String {
        let Self { env, command, identity_files, credential_files, usernames, protect, build } = self;
        let mut text = vec!["bottles:\n  b:\n    credentials:\n".to_owned()];
        for (index, (file, user)) in credential_files.iter().zip(usernames).enumerate() {
            text.push(format!(
                "      c{index}: {{ source: {{ file: {} }}, inject: {{ basic: {{ username: {} }} }} }}\n",
                quoted(file),
                quoted(user)
            ));
        }
        text.push("    git:\n".to_owned());
        for index in 0..credential_files.len() {
            text.push(format!(
                "      h{index}: {{ upstream: \"https://git.example.org/h{index}\", credential: c{index} }}\n"
            ));
        }
        let protect: Vec<String> = protect.iter().map(|pattern| quoted(pattern)).collect();
        for (index, file) in identity_files.iter().enumerate() {
            text.push(format!(
                "      s{index}: {{ upstream: \"git@git.example.org:s{index}\", identity_file: {}, known_host_key: {KEY}, protect: [{}] }}\n",
                quoted(file),
                protect.join(", ")
            ));
        }
        text.push(format!("agents:\n  a:\n    bottle: b\n    build: {}\n    command:\n", quoted(build)));
        for word in command {
            text.push(format!("      - {}\n", quoted(word)));
        }
        text.push("    env:\n".to_owned());
        for (index, value) in env.iter().enumerate() {
            text.push(format!("      V{index}: {}\n", quoted(value)));
        }
        text.concat()
    }

    /// The same with a harmless word in the place of each text, and the text for each word.
    fn harmless(&self) -> (Self, BTreeMap<String, String>) {
        let mut words = BTreeMap::new();
        let mut word = |text: &String| {
            let word = format!("word{:04}end", words.len());
            words.insert(word.clone(), text.clone());
            word
        };
        let mut list = |texts: &Vec<String>| texts.iter().map(&mut word).collect::<Vec<_>>();
        let mut harmless = Self {
            env: list(&self.env),
            command: list(&self.command),
            identity_files: list(&self.identity_files),
            credential_files: list(&self.credential_files),
            usernames: list(&self.usernames),
            protect: list(&self.protect),
            build: String::new(),
        };
        harmless.build = word(&self.build);
        for path in harmless
            .identity_files
            .iter_mut()
            .chain(&mut harmless.credential_files)
            .chain([&mut harmless.build])
        {
            // The word stands for the path in its normal form.
            if let Some(text) = words.get_mut(path) {
                let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
                *text = parts.join("/");
            }
            *path = format!("./{path}");
        }
        (harmless, words)
    }
}

/// The text for which a scalar with a word in it stands.
fn filled(scalar: &str, words: &BTreeMap<String, String>) -> String {
    let Some(start) = scalar.find("word") else { return scalar.to_owned() };
    let (before, rest) = scalar.split_at(start);
    let (word, after) = rest.split_at(11);
    format!("{before}{}{after}", words.get(word).expect("only words look like this"))
}

/// Compares what Compose reads from the harmless bundle with what it reads from the other, and says where they differ.
fn compare(
    harmless: &Json,
    actual: &Json,
    words: &BTreeMap<String, String>,
    place: &str,
) -> Result<(), String> {
    match (harmless, actual) {
        (Json::String(_), Json::String(_)) if place.ends_with("hash") => Ok(()),
        (Json::String(harmless), Json::String(actual)) => {
            // `config` prints what could be read again: with `$` doubled.
            let expected = filled(harmless, words).replace('$', "$$");
            if expected == *actual {
                Ok(())
            } else {
                Err(format!("{place}: {actual:?} instead of {expected:?}"))
            }
        }
        (Json::Array(harmless), Json::Array(actual)) if harmless.len() == actual.len() => {
            harmless.iter().zip(actual).enumerate().try_for_each(|(index, (harmless, actual))| {
                compare(harmless, actual, words, &format!("{place}[{index}]"))
            })
        }
        (Json::Object(harmless), Json::Object(actual)) if harmless.keys().eq(actual.keys()) => {
            harmless.iter().zip(actual.values()).try_for_each(|((key, harmless), actual)| {
                compare(harmless, actual, words, &format!("{place}.{key}"))
            })
        }
        _ if harmless == actual => Ok(()),
        _ => Err(format!("{place}: {actual} instead of {harmless}")),
    }
}

fn config(directory: &Path, bundle: &Bundle) -> Json {
    write(&directory.join("compose.yaml"), bundle.compose.as_bytes());
    let text = compose_config(directory, "compose.yaml", &["--format", "json"]).unwrap_or_else(|error| {
        unreachable!("Compose refuses what was rendered: {error}\n{}", bundle.compose)
    });
    serde_json::from_str(&text).expect("Compose prints JSON")
}

fn policy(bundle: &Bundle) -> GatePolicy {
    let file = bundle.files.get(".bottle/a/git-gate/gate.yaml").expect("the gate has a policy");
    serde_yaml::from_str(&file.text).expect("the policy can be read")
}

/// Renders texts that are all accepted, and looks for each with the programs that will read it.
fn arrives(texts: &Texts) {
    let place = Place::new();
    let directory = place.work();
    let (harmless_texts, words) = texts.harmless();
    let actual = render(&directory, &texts.manifest()).expect("each of the texts is accepted");
    let harmless = render(&directory, &harmless_texts.manifest()).expect("words are harmless");
    for (index, (path, file)) in actual.files.iter().enumerate() {
        let (other_path, other) = harmless.files.iter().nth(index).expect("the same files");
        assert_eq!(path, other_path);
        // Nothing of these texts is in the other files.
        if !path.ends_with("gate.yaml") {
            assert_eq!(file, other, "{path}");
        }
    }
    let policy = policy(&actual);
    for (index, user) in texts.usernames.iter().enumerate() {
        let Some(Upstream::Https(upstream)) =
            policy.repositories.get(&format!("h{index}")).map(|found| &found.upstream)
        else {
            unreachable!("h{index} is behind HTTPS");
        };
        let credential = upstream.credential.as_ref().expect("it has a credential");
        assert_eq!(&credential.username, user);
        assert_eq!(credential.source, SecretSource::File(format!("/etc/bottle/credentials/c{index}")));
    }
    for index in 0..texts.identity_files.len() {
        assert_eq!(
            policy.repositories.get(&format!("s{index}")).expect("it is there").protect,
            texts.protect
        );
    }
    if has_compose() {
        let (harmless, actual) = (config(&directory, &harmless), config(&directory, &actual));
        compare(&harmless, &actual, &words, "").unwrap_or_else(|error| unreachable!("{error}"));
    }
}

/// The part of the texts that one field accepts.
fn accepted(texts: &[String], field: impl Fn(&str) -> Texts) -> Vec<String> {
    let place = Place::new();
    let is_accepted = |text: &&String| match render(&place.work(), &field(text).manifest()) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.contains(" --> bottle.yaml:"), "{error}");
            false
        }
    };
    texts.iter().filter(is_accepted).cloned().collect()
}

fn minimal() -> Texts {
    let one = |text: &str| vec![text.to_owned()];
    Texts {
        env: one("x"),
        command: one("x"),
        identity_files: one("./x"),
        credential_files: one("./x"),
        usernames: one("x"),
        protect: one("x"),
        build: "./x".to_owned(),
    }
}

/// Puts the texts into every field that accepts them.
fn everywhere(texts: &[String]) {
    let list = |text: &str| vec![text.to_owned()];
    // Below the manifest's directory and without climbing out of it, so that the normal form is easy to say.
    let paths: Vec<String> = texts
        .iter()
        .filter(|text| !text.split('/').any(|part| part == ".."))
        .map(|text| format!("./p/{text}"))
        .collect();
    let env = accepted(texts, |text| Texts { env: list(text), ..minimal() });
    let nul = texts.iter().filter(|text| text.contains('\0')).count();
    assert_eq!(env.len(), texts.len() - nul, "an environment variable takes all but NUL");
    let command = accepted(texts, |text| Texts { command: list(text), ..minimal() });
    assert_eq!(command.len(), env.len(), "a command takes what an environment variable takes");
    let identity_files = accepted(&paths, |text| Texts { identity_files: list(text), ..minimal() });
    let mut credential_files = accepted(&paths, |text| Texts { credential_files: list(text), ..minimal() });
    let mut usernames = accepted(texts, |text| Texts { usernames: list(text), ..minimal() });
    let protect = accepted(texts, |text| Texts { protect: list(text), ..minimal() });
    let build = accepted(&paths, |text| Texts { build: text.to_owned(), ..minimal() });
    let count = credential_files.len().max(usernames.len()).max(1);
    credential_files.resize(count, "./x".to_owned());
    usernames.resize(count, "x".to_owned());
    // A list with nothing in it would be refused as such.
    let some = |accepted: Vec<String>, other: &str| if accepted.is_empty() { list(other) } else { accepted };
    arrives(&Texts {
        env: some(env, "x"),
        command: some(command, "x"),
        identity_files: some(identity_files, "./x"),
        credential_files,
        usernames,
        protect: some(protect, "x"),
        build: build.last().map_or("./x", |path| path).to_owned(),
    });
}

#[test]
fn every_known_trap_is_refused_or_arrives_as_it_is() {
    let alone = NASTY.iter().map(|text| (*text).to_owned());
    let inside = NASTY.iter().map(|text| format!("a{text}b"));
    let all: Vec<String> = alone.chain(inside).collect();
    for texts in all.chunks(60) {
        everywhere(texts);
    }
}

#[test]
fn a_very_long_text_arrives_whole() {
    everywhere(&["a".repeat(70_000), "漢$\"'\\".repeat(9_000)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_free_field_is_refused_or_arrives_as_it_is(texts in proptest::collection::vec(nasty(), 1..40)) {
        everywhere(&texts);
    }
}

/// A field with a syntax of its own: the manifest around it, and where Compose must show it.
fn shows(manifest: &str, text: &str, found: impl Fn(&Json) -> Option<String>) {
    let place = Place::new();
    match render(&place.work(), &manifest.replace("@@", &quoted(text))) {
        Err(error) => assert!(error.contains(" --> bottle.yaml:"), "{error}"),
        Ok(bundle) => {
            let yaml: Yaml = serde_yaml::from_str(&bundle.compose).expect("it is YAML");
            assert!(yaml.get("services").is_some());
            if has_compose() {
                let config = config(&place.work(), &bundle);
                assert_eq!(found(&config).as_deref(), Some(text.replace('$', "$$").as_str()), "{text:?}");
            }
        }
    }
}

fn at<'a>(config: &'a Json, path: &str) -> Option<&'a str> {
    config.pointer(path).and_then(Json::as_str)
}

const CLOSED: &str = "bottles: { b: {} }\nagents: { a: { bottle: b, ";

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn an_image_is_refused_or_arrives(text in prop_oneof![nasty(), "[a-zA-Z0-9._/:@-]{1,24}", "([a-z0-9]{1,4}[.:/_-]{0,2}){1,5}"]) {
        shows(&format!("{CLOSED}image: @@, command: [x] }} }}"), &text, |config| at(config, "/services/agent/image").map(str::to_owned));
    }

    #[test]
    fn a_registry_is_refused_or_arrives(text in prop_oneof![nasty(), "[a-z0-9.:/_-]{1,16}"]) {
        let manifest = "images: { registry: @@ }\nbottles: { b: { git: { r: { upstream: \"https://h.example/r\" } } } }\nagents: { a: { bottle: b, preset: shell } }";
        shows(manifest, &text, |config| {
            at(config, "/services/git-gate/image").and_then(|image| image.split("/bottle-git-gate:").next()).map(str::to_owned)
        });
    }

    #[test]
    fn a_runtime_is_refused_or_arrives(text in prop_oneof![nasty(), "[a-zA-Z0-9._-]{1,12}"]) {
        shows(&format!("{CLOSED}preset: shell, runtime: @@ }} }}"), &text, |config| at(config, "/services/agent/runtime").map(str::to_owned));
    }

    #[test]
    fn an_agents_name_is_refused_or_arrives(text in prop_oneof![nasty(), "[a-z0-9_-]{1,12}", "[a-zA-Z0-9._-]{1,44}"]) {
        shows("bottles: { b: {} }\nagents: { @@: { bottle: b, preset: shell } }", &text, |config| {
            at(config, "/services/agent/labels/io.bottle.agent").map(str::to_owned)
                .filter(|name| at(config, "/name") == Some(&format!("bottle-{name}")))
        });
    }

    #[test]
    fn a_host_is_refused_or_arrives(text in prop_oneof![nasty(), "[a-z0-9._-]{1,16}", "[a-f0-9:]{2,9}"]) {
        let manifest = "bottles: { b: { git: { r: { upstream: \"https://h.example/r\", extra_hosts: { @@: 10.0.0.7 } } } } }\nagents: { a: { bottle: b, preset: shell } }";
        shows(manifest, &text, |config| {
            let host = at(config, "/services/git-gate/extra_hosts/0")?.strip_suffix("=10.0.0.7")?;
            // A final dot is dropped, and addresses have one spelling.
            let same = text.strip_suffix('.').unwrap_or(&text) == host || text.parse::<std::net::IpAddr>().ok() == host.parse().ok();
            Some(if same { text.clone() } else { host.to_owned() })
        });
    }

    #[test]
    fn the_name_of_a_credentials_variable_is_refused_or_is_what_compose_asks_for(text in prop_oneof![nasty(), "[A-Za-z0-9_]{1,12}"]) {
        let manifest = "bottles: { b: { credentials: { c: { source: { env: @@ }, inject: { basic: { username: u } } } }, git: { r: { upstream: \"https://h.example/r\", credential: c } } } }\nagents: { a: { bottle: b, preset: shell } }";
        let place = Place::new();
        if let Ok(bundle) = render(&place.work(), &manifest.replace("@@", &quoted(&text))) {
            let line = format!("      \"BOTTLE_CREDENTIAL_c\": \"${{{text}-}}\"\n");
            prop_assert!(bundle.compose.contains(&line), "{}", bundle.compose);
        }
    }

    #[test]
    fn limits_are_refused_or_arrive_as_the_same_numbers(memory in prop_oneof![nasty(), "[0-9]{1,22}[kmgKMGb]{0,2}"], cpus in prop_oneof![nasty(), "[0-9.]{1,6}"]) {
        let place = Place::new();
        for (key, text) in [("memory", &memory), ("cpus", &cpus)] {
            let manifest = format!("{CLOSED}preset: shell, resources: {{ {key}: {} }} }} }}", quoted(text));
            let Ok(bundle) = render(&place.work(), &manifest) else { continue };
            if !has_compose() { continue }
            let config = config(&place.work(), &bundle);
            if key == "cpus" {
                let number = config.pointer("/services/agent/cpus").and_then(Json::as_f64).expect("a number");
                let expected: f64 = text.parse().expect("a number");
                prop_assert!((number - expected).abs() < 1e-3, "{number} {expected}");
            } else {
                let digits: u64 = text.trim_end_matches(|character: char| character.is_ascii_alphabetic()).parse().expect("digits");
                let shift = match text.to_ascii_lowercase().chars().find(char::is_ascii_alphabetic) {
                    Some('k') => 10,
                    Some('m') => 20,
                    Some('g') => 30,
                    _ => 0,
                };
                let bytes = (digits << shift).to_string();
                prop_assert_eq!(at(&config, "/services/agent/mem_limit"), Some(bytes.as_str()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_path_of_an_upstream_is_refused_or_reaches_the_script_the_git_configuration_and_the_gate(
        path in prop_oneof![nasty(), "[a-zA-Z0-9._~/+@,=%é漢-]{1,20}"],
    ) {
        let place = Place::new();
        let url = format!("https://git.example.org/{path}");
        let manifest = format!(
            "bottles: {{ b: {{ git: {{ r: {{ upstream: {} }} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell, workspace: {{ clone: r }} }} }}",
            quoted(&url)
        );
        let Ok(bundle) = render(&place.work(), &manifest) else { return Ok(()) };
        let policy = policy(&bundle);
        let Some(Upstream::Https(upstream)) = policy.repositories.get("r").map(|found| &found.upstream) else {
            unreachable!("r is behind HTTPS");
        };
        prop_assert_eq!(&upstream.url, &url);

        let script = &bundle.files.get(".bottle/a/agent/entrypoint.sh").expect("it is rendered").text;
        let line = script.lines().find(|line| line.starts_with("url=")).expect("it clones");
        let output = Command::new("sh").args(["-c", &format!("{line}\nprintf %s \"$url\"")]).output().expect("a shell");
        prop_assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), url.clone());

        let file = place.work().join("gitconfig");
        write(&file, bundle.files.get(".bottle/a/agent/gitconfig").expect("it is rendered").text.as_bytes());
        let output = Command::new("git")
            .args(["config", "--file"])
            .arg(file)
            .args(["--null", "--get-all", "url.git://git-gate/r.git.insteadOf"])
            .output()
            .expect("git");
        let list = String::from_utf8(output.stdout).expect("UTF-8");
        prop_assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // A prefix of the URL leads to the gate; what follows it is `.git` or a slash.
        prop_assert!(list.split('\0').any(|prefix| !prefix.is_empty() && url.starts_with(prefix)), "{list:?} has no prefix of {url:?}");
    }

    #[test]
    fn a_push_pattern_is_refused_or_reaches_the_gate_as_a_full_name(text in prop_oneof![nasty(), "(refs/(heads|tags)/)?[a-z*./-]{1,10}"]) {
        let place = Place::new();
        let manifest = format!(
            "bottles: {{ b: {{ git: {{ r: {{ upstream: \"https://h.example/r\", push: [{{ refs: {}, allow: [create] }}] }} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell }} }}",
            quoted(&text)
        );
        let Ok(bundle) = render(&place.work(), &manifest) else { return Ok(()) };
        let full = if text.starts_with("refs/") { text.clone() } else { format!("refs/heads/{text}") };
        let refs: Vec<String> = policy(&bundle).repositories.get("r").expect("it is there").push.iter().map(|rule| rule.refs.clone()).collect();
        prop_assert_eq!(refs, [full.clone()]);
        // A pattern without a wildcard is a name that git accepts.
        if !full.contains('*') {
            prop_assert!(Command::new("git").args(["check-ref-format", &full]).status().expect("git").success(), "{full}");
        }
    }

    #[test]
    fn a_rule_of_egress_is_refused_or_reaches_its_policy(
        host in prop_oneof![nasty(), "(\\*\\.)?[a-z0-9._-]{1,16}"],
        path in prop_oneof![nasty().prop_map(|text| format!("/{text}")), "/[a-zA-Z0-9._~@*/%-]{1,12}"],
        method in prop_oneof![nasty(), "[A-Z-]{1,8}"],
        header in prop_oneof![nasty(), "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}"],
    ) {
        let place = Place::new();
        for (field, text) in [("host", &host), ("path", &path), ("method", &method), ("header", &header)] {
            let say = |name: &str, other: &str| if name == field { quoted(text) } else { other.to_owned() };
            let manifest = format!(
                "bottles: {{ b: {{ egress: {{ routes: [{{ host: {}, paths: [{}], methods: [{}], credential: c }}] }}, credentials: {{ c: {{ source: {{ env: C }}, inject: {{ header: {} }} }} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell }} }}",
                say("host", "h.example"), say("path", "/p"), say("method", "M"), say("header", "x-h")
            );
            let Ok(bundle) = render(&place.work(), &manifest) else { continue };
            let file = bundle.files.get(".bottle/a/egress/policy.yaml").expect("egress has a policy");
            let policy: EgressPolicy = serde_yaml::from_str(&file.text).expect("the policy can be read");
            let route = policy.routes.first().expect("it has a route");
            let Some(Inject::Header(carries)) = policy.credentials.get("c").map(|found| &found.inject) else {
                unreachable!("the credential goes into a header");
            };
            // A host and a header have one spelling.
            let plain = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
            match field {
                "host" => prop_assert!(route.host == plain || route.host.parse::<std::net::IpAddr>().ok() == host.parse().ok(), "{} {host:?}", route.host),
                "path" => prop_assert_eq!(&route.paths, std::slice::from_ref(&path)),
                "method" => prop_assert_eq!(&route.methods, std::slice::from_ref(&method)),
                _ => prop_assert_eq!(carries, &header.to_ascii_lowercase()),
            }
        }
    }

    #[test]
    fn the_value_of_a_placeholder_arrives_as_it_is(text in nasty()) {
        let manifest = "bottles: { b: { credentials: { c: { source: { env: C }, placeholder: { env: TOKEN, value: @@ } } } } }\nagents: { a: { bottle: b, preset: shell } }";
        shows(manifest, &text, |config| at(config, "/services/agent/environment/TOKEN").map(str::to_owned));
    }

    /// What is never rendered: loading it must end in a value or a place, never in a panic.
    #[test]
    fn any_text_in_a_route_is_accepted_or_refused_with_a_place(text in nasty()) {
        let place = Place::new();
        let text = quoted(&text);
        let manifest = format!("bottles: {{ b: {{ egress: {{ routes: [{{ host: {text}, paths: [{text}], methods: [{text}], credential: {text} }}], upstream_proxy: {text}, extra_ca: [{text}] }} }}, {text}: {{ extends: {text} }} }}\nagents: {{ a: {{ bottle: {text}, prompt: {text}, workspace: {{ mount: {text} }} }} }}\n{text}: {text}\n");
        let error = render(&place.work(), &manifest).expect_err("the last key is never known");
        prop_assert!(error.contains(" --> bottle.yaml:"));
        let hidden = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}' || character == '\u{2066}';
        prop_assert!(!error.contains(hidden), "{error:?}");
    }
}
