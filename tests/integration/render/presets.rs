//! Presets: what their clients read, what stands for a credential, and what is refused where they would not work.

use insta::assert_snapshot;

use crate::support::Place;

/// A bottle with a model, and supervise.
const CLAUDE: &str = "bottles:
  b:
    egress:
      routes:
        - { host: api.anthropic.com, methods: [POST], paths: [/v1/messages, /v1/messages/count_tokens], credential: model }
    credentials:
      model: { source: { env: ANTHROPIC_API_KEY }, inject: { header: x-api-key } }
    supervise: { port: 7333 }
agents:
  a: { bottle: b, preset: claude }
";

const CODEX: &str = "bottles:
  b:
    egress: { routes: [{ host: api.openai.com, methods: [POST], paths: [/v1/responses], credential: model }] }
    credentials: { model: { source: { env: OPENAI_API_KEY }, inject: { bearer: true } } }
agents:
  a: { bottle: b, preset: codex }
";

fn rendered(manifest: &str) -> (Place, String) {
    let place = Place::with(manifest);
    let compose = place.bottle(["render"]).run().ok();
    (place, compose)
}

#[test]
fn a_preset_without_a_route_to_its_model_is_refused_with_the_lines_to_add() {
    let place = Place::with("bottles: { b: {} }\nagents:\n  a:\n    bottle: b\n    preset: claude\n");
    assert_snapshot!(place.bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: the preset `claude` has no route with a credential to its model at api.anthropic.com
     --> bottle.yaml:5:13
      |
    5 |     preset: claude
      |             ^^^^^^
    hint: add to the bottle `b`:
        egress:
          routes:
            - { host: api.anthropic.com, methods: [POST], paths: [/v1/messages, /v1/messages/count_tokens], credential: model }
        credentials:
          model: { source: { env: ANTHROPIC_API_KEY }, inject: { header: x-api-key } }
    or, for a model elsewhere, set `ANTHROPIC_BASE_URL` or `CLAUDE_CODE_USE_BEDROCK` or `CLAUDE_CODE_USE_FOUNDRY` or `CLAUDE_CODE_USE_VERTEX` in the agent's `env`
    ----- exit code 1 -----
    "#);
    let place = Place::with(&CODEX.replace("preset: codex", "preset: claude"));
    assert_eq!(place.bottle(["render"]).run().code, 1);
}

#[test]
fn the_lines_to_add_are_enough() {
    for (preset, elsewhere) in [("claude", "ANTHROPIC_BASE_URL"), ("codex", "OPENAI_BASE_URL")] {
        let agents = format!("agents: {{ a: {{ bottle: b, preset: {preset} }} }}\n");
        let refused = Place::with(&format!("bottles: {{ b: {{}} }}\n{agents}")).bottle(["validate"]).run();
        assert_eq!(refused.code, 1, "{refused}");
        let lines: String = refused
            .stderr
            .lines()
            .filter(|line| line.starts_with("    "))
            .fold(String::new(), |all, line| all + line + "\n");
        let place = Place::with(&format!("bottles:\n  b:\n{lines}{agents}"));
        place.bottle(["validate"]).run().ok();
        let place = Place::with(&format!(
            "bottles: {{ b: {{}} }}\nagents: {{ a: {{ bottle: b, preset: {preset}, env: {{ {elsewhere}: \"https://llm.example.org/v1\" }} }} }}\n"
        ));
        place.bottle(["validate"]).run().ok();
    }
}

#[test]
fn a_route_that_is_closed_again_or_has_no_credential_is_none() {
    let without = CLAUDE.replace(", credential: model", "");
    let denied =
        CLAUDE.replace("    credentials:", "      deny: [{ host: \"*.anthropic.com\" }]\n    credentials:");
    let read_only = CLAUDE.replace("methods: [POST], ", "");
    for manifest in [without, denied, read_only] {
        let output = Place::with(&manifest).bottle(["validate"]).run();
        assert_eq!(output.code, 1, "{manifest}{output}");
        assert!(output.stderr.contains("has no route with a credential to its model"), "{output}");
    }
}

#[test]
fn a_credential_of_a_form_that_the_client_does_not_know_needs_a_placeholder_of_its_own() {
    let basic = CLAUDE.replace("header: x-api-key", "basic: { username: u }");
    let output = Place::with(&basic).bottle(["validate"]).run();
    assert_snapshot!(output, @r#"
    ----- stderr -----
    error: the client of the preset `claude` knows no variable for a credential of the form of `model`
      --> bottle.yaml:10:27
       |
    10 |   a: { bottle: b, preset: claude }
       |                           ^^^^^^
    note: the credential is here
      --> bottle.yaml:7:7
       |
     7 |       model: { source: { env: ANTHROPIC_API_KEY }, inject: { basic: { username: u } } }
       |       ^^^^^
    hint: write `inject: { header: x-api-key }` or `inject: { bearer: true }`, or give it a `placeholder` with the variable that the client looks for
    ----- exit code 1 -----
    "#);
    let own = basic.replace("{ source:", "{ placeholder: { env: ANTHROPIC_API_KEY }, source:");
    Place::with(&own).bottle(["validate"]).run().ok();
}

#[test]
fn the_form_of_the_credential_says_which_variable_stands_for_it() {
    let (_, compose) = rendered(CLAUDE);
    assert!(compose.contains("\"ANTHROPIC_API_KEY\": \"bottle-placeholder-model\""), "{compose}");
    assert!(!compose.contains("CLAUDE_CODE_OAUTH_TOKEN"));
    let (place, compose) = rendered(&CLAUDE.replace("header: x-api-key", "bearer: true"));
    assert!(compose.contains("\"CLAUDE_CODE_OAUTH_TOKEN\": \"bottle-placeholder-model\""), "{compose}");
    assert!(!compose.contains("\"ANTHROPIC_API_KEY\": "));
    assert!(place.read(".bottle/a/agent/claude.json").contains("\"approved\": []"));
    let own = "{ placeholder: { env: ANTHROPIC_API_KEY, value: \"sk-of-nobody\" }, source:";
    let (_, compose) = rendered(&CLAUDE.replace("{ source:", own));
    assert!(compose.contains("\"ANTHROPIC_API_KEY\": \"sk-of-nobody\""), "{compose}");
    assert!(!compose.contains("bottle-placeholder"));
}

#[test]
fn claude_reads_settings_that_it_can_not_change_and_starts_without_a_question() {
    let (place, compose) = rendered(CLAUDE);
    assert!(compose.contains("\"./.bottle/a/agent/managed-settings.json\", target: \"/etc/claude-code/managed-settings.json\", read_only: true"), "{compose}");
    let read = |path: &str| -> serde_json::Value { serde_json::from_str(&place.read(path)).expect("JSON") };
    let settings = read(".bottle/a/agent/managed-settings.json");
    assert_eq!(settings["permissions"]["defaultMode"], "bypassPermissions");
    let own = read(".bottle/a/agent/claude.json");
    assert_eq!(own["mcpServers"]["bottle"]["url"], "http://supervise:7331/mcp");
    // The client keeps the last 20 characters of a key that its user has said yes to.
    assert_eq!(own["customApiKeyResponses"]["approved"][0], "le-placeholder-model");
    let entrypoint = place.read(".bottle/a/agent/entrypoint.sh");
    assert!(entrypoint.contains("cat '/etc/bottle/once/claude.json' >\"$own.new\""), "{entrypoint}");
}

#[test]
fn codex_reads_its_settings_from_outside_of_its_home() {
    let (place, compose) = rendered(CODEX);
    assert!(compose.contains("target: \"/etc/codex/config.toml\", read_only: true"), "{compose}");
    assert!(compose.contains("\"OPENAI_API_KEY\": \"bottle-placeholder-model\""), "{compose}");
    let config = place.read(".bottle/a/agent/config.toml");
    assert!(
        config.contains("base_url = \"https://api.openai.com/v1\"") && !config.contains("mcp_servers"),
        "{config}"
    );
    let elsewhere = CODEX
        .replace("preset: codex", "preset: codex, env: { OPENAI_BASE_URL: \"https://x/\\\"\\nevil = 1\" }");
    let output = Place::with(&elsewhere).bottle(["render"]).run();
    assert_eq!(output.code, 0, "{output}");
    let (place, _) = rendered(&elsewhere);
    let config = place.read(".bottle/a/agent/config.toml");
    assert!(config.contains(r#"base_url = "https://x/\"\nevil = 1""#), "a value became structure: {config}");
}

#[test]
fn a_value_stays_a_value_in_the_files_of_a_client() {
    let own = r#"{ placeholder: { env: ANTHROPIC_API_KEY, value: "\"], \"x\": [\"$HOME\\" }, source:"#;
    let (place, _) = rendered(&CLAUDE.replace("{ source:", own));
    let text = place.read(".bottle/a/agent/claude.json");
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read["customApiKeyResponses"]["approved"][0], "\"], \"x\": [\"$HOME\\");
    assert!(read.get("x").is_none(), "{text}");
}

#[test]
fn instructions_and_skills_are_mounted_where_the_client_reads_them() {
    let agent = "prompt: prompts/fix.md, skills: [skills/review, ~/skills/other]";
    let (place, compose) = rendered(&CLAUDE.replace("preset: claude", &format!("preset: claude, {agent}")));
    for (source, target) in [
        ("./prompts/fix.md", "/etc/claude-code/CLAUDE.md"),
        ("./skills/review", "/etc/claude-code/.claude/skills/review"),
        ("~/skills/other", "/etc/claude-code/.claude/skills/other"),
    ] {
        let line = format!(
            "source: \"{source}\", target: \"{target}\", read_only: true, bind: {{ create_host_path: false }}"
        );
        assert!(compose.contains(&line), "{line}: {compose}");
    }
    assert!(!place.read(".bottle/a/agent/entrypoint.sh").contains("ln -s"));
    let (place, compose) = rendered(&CODEX.replace("preset: codex", &format!("preset: codex, {agent}")));
    assert!(compose.contains("target: \"/etc/codex/skills/review\", read_only: true"), "{compose}");
    let entrypoint = place.read(".bottle/a/agent/entrypoint.sh");
    assert!(entrypoint.contains("own=\"$HOME\"/'.codex/AGENTS.md'"), "{entrypoint}");
    assert!(entrypoint.contains("ln -sfn '/etc/bottle/prompt.md' \"$own\""), "{entrypoint}");
    // Without instructions there is nothing for a link to lead to.
    let (place, _) = rendered(CODEX);
    assert!(!place.read(".bottle/a/agent/entrypoint.sh").contains("ln -s"));
    for image in ["preset: shell", "image: registry.example.org/a, command: [x]"] {
        let manifest =
            format!("bottles: {{ b: {{}} }}\nagents: {{ a: {{ bottle: b, {image}, {agent} }} }}\n");
        let (_, compose) = rendered(&manifest);
        assert!(compose.contains("target: \"/etc/bottle/prompt.md\", read_only: true"), "{compose}");
        assert!(compose.contains("target: \"/etc/bottle/skills/review\", read_only: true"), "{compose}");
    }
}

#[test]
fn skills_without_a_name_or_with_the_same_one_are_refused() {
    let manifest = |skills: &str| {
        format!("bottles: {{ b: {{}} }}\nagents: {{ a: {{ bottle: b, preset: shell, skills: {skills} }} }}\n")
    };
    for (skills, error) in [
        ("[a/review, b/review]", "two skills are called `review`"),
        ("[.]", "gives the skill no name"),
        ("[../..]", "gives the skill no name"),
    ] {
        let output = Place::with(&manifest(skills)).bottle(["validate"]).run();
        assert!(output.code == 1 && output.stderr.contains(error), "{skills}: {output}");
    }
}

#[test]
fn the_difference_of_two_manifests_names_the_route_to_the_model_and_what_is_mounted() {
    let before = Place::with(CLAUDE);
    let path = before.work().join("new.yaml");
    before.put(
        "work/new.yaml",
        CLAUDE
            .replace("preset: claude", "preset: claude, prompt: p.md")
            .replace(", /v1/messages/count_tokens", ", /v1/**"),
    );
    let output = before.bottle(["diff", "bottle.yaml"]).arg(path).run();
    assert!(
        output.stdout.contains("/v1/**") && output.stdout.contains("/etc/claude-code/CLAUDE.md"),
        "{output}"
    );
}
