//! The book's first ten minutes (docs/src/start.md), block by block as a reader would run them: a clone of a repository that a
//! real sshd serves, a home directory with a key, and no file of Compose's but those that the page has him make.
//!
//! The page's example is Claude Code. Its image holds a client from a package registry, which takes minutes, and its work
//! needs a model: the tests of `presets` show those. Here the agent's image is that of the preset `shell`, and a script
//! does the work.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;

use crate::Test;
use crate::blocks::blocks;
use crate::world::{Project, Said, binary, eventually, free_port};

pub(crate) const TESTS: &[Test] = &[("every_step_of_the_page_goes_well", page)];

const PAGE: &str = include_str!("../../docs/src/start.md");

/// What is done in the agent's container where the page starts the client.
const WORK: &str = "docker compose exec -T agent sh -euc '
    cd /workspace
    git switch --quiet --create agent/first
    echo done >work
    git add work
    git -c user.name=agent -c user.email=agent@example.org commit --quiet --message work
    git push --quiet origin HEAD'\n";

/// A reader's machine, with the forge that his remote names.
struct Reader {
    /// The clone of his repository; the directory above it holds the rest.
    project: Project,
    root: PathBuf,
    forge: Child,
    port: u16,
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.forge.kill());
        drop(self.forge.wait());
    }
}

fn text(said: Said) -> Result<String, String> {
    if said.ok { Ok(said.text.trim().to_owned()) } else { Err(said.text) }
}

impl Reader {
    fn new() -> Result<Self, Failed> {
        let above = Project::arranged("first", false)?;
        let root = above.directory.clone();
        // An address that both this machine and the gate reach.
        let gateway = "{{(index .IPAM.Config 0).Gateway}}";
        let host = text(above.run("docker", &["network", "inspect", "bridge", "--format", gateway]))?;
        let (ssh_port, user) = (free_port()?, text(above.run("id", &["-un"]))?);
        let place = root.display().to_string();
        above.write(
            "sshd_config",
            &format!(
                "Port {ssh_port}\nListenAddress {host}\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/home/.ssh/id_ed25519.pub\n\
                 PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            ),
        );
        text(above.run(
            "bash",
            &[
                "-euo",
                "pipefail",
                "-c",
                &format!(
                    "mkdir -p bin home/.ssh shell
                     printf '[user]\\n\\tname = Ada\\n\\temail = ada@example.org\\n' >home/.gitconfig
                     ssh-keygen -q -t ed25519 -N '' -C '' -f host_key
                     ssh-keygen -q -t ed25519 -N '' -C '' -f home/.ssh/id_ed25519
                     printf '[%s]:%s %s\\n' {host} {ssh_port} \"$(cut -d ' ' -f 1,2 host_key.pub)\" >home/.ssh/known_hosts
                     printf 'IdentityFile %s\\nUserKnownHostsFile %s\\nGlobalKnownHostsFile none\\n' \
                         {place}/home/.ssh/id_ed25519 {place}/home/.ssh/known_hosts >home/.ssh/config
                     printf '#!/bin/sh\\nexec /usr/bin/ssh -F {place}/home/.ssh/config \"$@\"\\n' >bin/ssh
                     chmod 0755 bin/ssh
                     ln -s {} bin/bottle
                     git init --quiet --bare --initial-branch main forge/{}.git
                     # Debian's sshd wants the directory when it runs as root.
                     [ \"$(id -u)\" != 0 ] || mkdir -p /run/sshd",
                    env!("CARGO_BIN_EXE_bottle"),
                    above.slug
                ),
            ],
        ))?;
        let log = File::create(root.join("sshd.log"))?;
        let forge = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(root.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let reader = Self { project: above.below(&above.slug)?, root, forge, port: free_port()? };
        let url = format!("ssh://{user}@{host}:{ssh_port}{place}/forge/{}.git", above.slug);
        let clone = format!(
            "git clone --quiet {url} . && git switch --quiet --create main && echo app >README.md && git add . \
             && git commit --quiet --message first && git push --quiet origin main"
        );
        eventually("the forge answers", || reader.run(&format!("git ls-remote {url}")).ok)?;
        reader.run(&clone).expect_ok()?;
        Ok(reader)
    }

    /// Runs commands in the clone as the reader's shell would.
    fn run(&self, commands: &str) -> Said {
        let mut path = self.root.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        // Compose is a plugin of the directory that this machine's user has.
        let docker = std::env::var_os("DOCKER_CONFIG").map_or_else(
            || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".docker"),
            PathBuf::from,
        );
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(&self.project.directory)
            .env("PATH", path)
            .env("HOME", self.root.join("home"))
            .env("DOCKER_CONFIG", docker)
            .env("BOTTLE_LINUX_BINARY", binary().unwrap_or_default())
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .output();
        output.map_or_else(|error| Said { ok: false, text: format!("bash: {error}") }, Said::from)
    }

    /// The page's commands with what is another here: the name of the repository, the port, the client.
    fn adapted(&self, commands: &str) -> String {
        let slug = &self.project.slug;
        commands
            .replace(
                "bottle init --preset claude",
                &format!("bottle init --preset claude --supervise-port {}", self.port),
            )
            .replace("explain push app ", &format!("explain push {slug} "))
            .replace("docker compose exec agent claude\n", WORK)
    }

    /// Has the agent's image be built from the preset `shell`.
    fn without_the_client(&self) -> Result<(), Failed> {
        let manifest = "bottles: { dev: {} }\nagents: { x: { bottle: dev, preset: shell } }\n";
        fs::write(self.root.join("shell/bottle.yaml"), manifest)?;
        self.run("cd ../shell && bottle render -o .").expect_ok()?;
        let context = self.root.join("shell/.bottle/docker/agent-shell");
        self.project.write(
            "compose.override.yaml",
            &format!("services:\n  agent:\n    build: {{ context: \"{}\" }}\n", context.display()),
        );
        Ok(())
    }

    /// A request to a host without a route is shown as it comes, and what is approved is no longer refused for that.
    fn watches(&self) -> Result<(), Failed> {
        let asks = "docker compose exec -T agent curl --silent --show-error --output /tmp/got --write-out '%header{x-bottle-reason}' https://docs.example.org/guide";
        let shown = self.root.join("shown");
        let mut watch = Command::new(env!("CARGO_BIN_EXE_bottle"))
            .args(["requests", "watch"])
            .current_dir(&self.project.directory)
            .stdin(Stdio::null())
            .stdout(File::create(&shown)?)
            .stderr(Stdio::inherit())
            .spawn()?;
        let seen = std::thread::scope(|scope| {
            let asking = scope.spawn(|| self.run(asks));
            let seen = eventually("the request is shown", || {
                fs::read_to_string(&shown).is_ok_and(|text| text.contains("docs.example.org"))
            });
            drop(asking.join());
            seen
        });
        watch.kill()?;
        watch.wait()?;
        seen?;
        let listed = self.run("bottle requests list --json").expect_ok()?;
        let waiting: serde_json::Value = serde_json::from_str(&listed)?;
        let [id, review] =
            ["id", "review"].map(|name| waiting.pointer(&format!("/requests/0/{name}"))?.as_str());
        let (Some(id), Some(review)) = (id, review) else { return Err(format!("no id in {listed}").into()) };
        self.run(&format!("bottle requests approve {id} --for 10m --review {review}")).expect_ok()?;
        // The host is nobody's: egress looks for it, now that it may.
        let mut last = String::new();
        eventually("the route is there", || {
            last = self.run(asks).text;
            !last.contains("route-missing") && !last.is_empty()
        })
        .map_err(|_| last.clone())?;
        Ok(())
    }

    /// What Docker still has of the bottle.
    fn left(&self, kind: &str) -> Result<String, Failed> {
        let label = format!("label=com.docker.compose.project=bottle-{}", self.project.slug);
        self.run(&format!("docker {kind} ls --quiet --filter {label}")).expect_ok()
    }
}

fn page() -> Result<(), Failed> {
    let reader = Reader::new()?;
    let mut steps = 0;
    for block in blocks("start.md", PAGE) {
        if block.language() != "sh" || block.has("remote") {
            continue;
        }
        let commands = reader.adapted(&block.text);
        if commands.contains("docker compose up") {
            reader.without_the_client()?;
        }
        let (watched, commands): (Vec<_>, Vec<_>) =
            commands.lines().partition(|line| line.starts_with("bottle requests watch"));
        let commands = commands.join("\n");
        let said = reader.run(&commands);
        let place = format!("docs/src/start.md:{}: {commands}\n", block.line);
        if said.ok == block.has("refused") {
            let logs = reader.run("docker compose logs --no-color --tail 20").text;
            return Err(format!("{place}{}\n--- logs\n{logs}", said.text).into());
        }
        steps += 1;
        if commands.contains("--create agent/first") {
            let branch = "git fetch --quiet origin && git show origin/agent/first:work";
            assert_eq!(reader.run(branch).expect_ok()?, "done\n");
        }
        if commands.starts_with("bottle requests open") {
            let link = said.text.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:"));
            let link = link.ok_or_else(|| format!("{place}no link in {}", said.text))?;
            let opens = format!(
                "curl --silent --location --cookie '' --output ../page --write-out '%{{http_code}}' '{link}'"
            );
            assert_eq!(reader.run(&opens).expect_ok()?, "200");
            assert_eq!(watched.len(), 1, "{place}");
            reader.watches()?;
        }
        if commands.starts_with("bottle audit") {
            assert!(said.text.contains("docs.example.org"), "{place}{}", said.text);
            assert!(said.text.contains("agent/first"), "{place}{}", said.text);
        }
    }
    assert!(steps >= 10, "the page has lost its commands: {steps}");
    for kind in ["container", "volume", "network"] {
        assert_eq!(reader.left(kind)?, "", "{kind}");
    }
    Ok(())
}
