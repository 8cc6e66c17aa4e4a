//! The clients that people use, as they come: nothing is set but what the bundle sets.

use std::path::Path;
use std::sync::LazyLock;

use libtest_mimic::Failed;

use super::world::{overrides, prepare};
use crate::Test;
use crate::world::Project;

pub(crate) const TESTS: &[Test] = &[
    ("curl_and_wget_work_untouched", curl_and_wget),
    ("git_clones_over_https", git),
    ("pip_and_requests_work_untouched", python),
    ("cargo_fetches_from_a_sparse_registry", cargo),
    ("a_program_in_go_works_untouched", go),
    ("openssl_s_client_verifies_what_egress_presents", openssl),
];

static BOTTLE: LazyLock<Result<Project, String>> = LazyLock::new(|| {
    let project = prepare("clients")?;
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients");
    project.write(
        "bottle.yaml",
        &format!(
            "bottles:\n  dev:\n    egress:\n      routes: [{{ host: packages.example.org, private: true }}]\n      extra_ca: [ca.pem]\n\
             agents:\n  {}: {{ bottle: dev, build: \"{}\", command: [bash] }}\n",
            project.slug,
            context.display()
        ),
    );
    // The toolchain of whoever runs these tests, so that none has to be fetched.
    let toolchain = Path::new(env!("CARGO")).ancestors().nth(2).unwrap_or(Path::new("/nowhere"));
    project.write(
        "compose.override.yaml",
        &format!(
            "{}  agent:\n    volumes: [\"{}:/opt/rust:ro\"]\n",
            overrides(&project.slug),
            toolchain.display()
        ),
    );
    project.render()?;
    project.up()?;
    Ok(project)
});

/// Runs a script in the agent's container, in a directory of its own, and looks for words in what it says.
fn says(script: &str, words: &str) -> Result<String, Failed> {
    let project = BOTTLE.as_ref().map_err(|error| Failed::from(error.clone()))?;
    let text = project.agent(&format!("set -e; cd $(mktemp -d); {script}")).expect_ok()?;
    if text.contains(words) { Ok(text) } else { Err(format!("`{words}` is not in\n{text}").into()) }
}

fn curl_and_wget() -> Result<(), Failed> {
    says("curl -sS https://packages.example.org/says.json", "hello from a file")?;
    says("curl -sS --http1.1 https://packages.example.org/says.json", "hello from a file")?;
    says("wget -q -O - https://packages.example.org/says.json", "hello from a file")?;
    says("wget -O - https://other.example.org/ 2>&1 || echo refused", "403 Forbidden")?;
    Ok(())
}

fn git() -> Result<(), Failed> {
    says("git clone -q https://packages.example.org/demo.git && cat demo/README", "hello from git")?;
    says("git clone https://other.example.org/demo.git 2>&1 || echo refused", "403")?;
    Ok(())
}

fn python() -> Result<(), Failed> {
    let install = "pip install --quiet --target . --index-url https://packages.example.org/pip/ demo && \
                   python3 -c 'import demo; print(demo.SAYS)'";
    says(install, "hello from pip")?;
    let get =
        "python3 -c 'import requests; print(requests.get(\"https://packages.example.org/says.json\").text)'";
    says(get, "hello from a file")?;
    let get = "python3 -c 'import urllib.request as u; print(u.urlopen(\"https://packages.example.org/says.json\").read())'";
    says(get, "hello from a file")?;
    Ok(())
}

fn cargo() -> Result<(), Failed> {
    let fetch = "mkdir src && echo 'fn main() {}' >src/main.rs && printf '[package]\\nname = \"own\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n\
                 [dependencies]\\ndemo = { version = \"1\", registry = \"local\" }\\n' >Cargo.toml && \
                 export CARGO_HOME=$PWD/home CARGO_REGISTRIES_LOCAL_INDEX=sparse+https://packages.example.org/cargo/ PATH=/opt/rust/bin:$PATH && \
                 cargo fetch && cat home/registry/src/*/demo-1.0.0/src/lib.rs";
    says(fetch, "hello from cargo").map(drop)
}

fn go() -> Result<(), Failed> {
    says("rclone copyurl --stdout https://packages.example.org/says.json", "hello from a file").map(drop)
}

fn openssl() -> Result<(), Failed> {
    let client = "printf 'GET /says.json HTTP/1.1\\r\\nHost: packages.example.org\\r\\nConnection: close\\r\\n\\r\\n' | \
                  openssl s_client -proxy egress:3128 -connect packages.example.org:443 -servername packages.example.org \
                  -verify_return_error -verify_hostname packages.example.org -quiet 2>&1";
    says(client, "hello from a file").map(drop)
}
