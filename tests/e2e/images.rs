//! Published images: built, pushed to a registry on this machine, locked, and started by their digests.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;

use crate::Test;
use crate::world::{Project, binary, eventually};

pub(crate) const TESTS: &[Test] =
    &[("what_was_pushed_and_locked_starts_by_its_digest_whatever_the_tag_says_later", by_digest)];

/// What is missing for these tests.
pub(crate) fn missing() -> Option<String> {
    let there =
        Command::new("docker-registry").arg("--version").output().is_ok_and(|output| output.status.success());
    (!there).then(|| "`docker-registry` is not on this machine: run scripts/setup.sh".to_owned())
}

/// A registry on loopback.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(project: &Project) -> Result<Self, Failed> {
        // Free a moment ago; the registry itself can't be asked for its port.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = project.directory.join("registry");
        project.write(
            "registry.yml",
            &format!(
                "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: \"127.0.0.1:{port}\" }}\n",
                root.display()
            ),
        );
        let child = Command::new("docker-registry")
            .args(["serve", "registry.yml"])
            .current_dir(&project.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let registry = Self { child, port };
        eventually("the registry answers", || {
            project.run("curl", &["-sf", &format!("http://127.0.0.1:{port}/v2/")]).ok
        })?;
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn by_digest() -> Result<(), Failed> {
    let project = Project::new("images")?;
    let registry = Registry::start(&project)?;
    let (slug, prefix) = (&project.slug, format!("127.0.0.1:{}/e2e", registry.port));
    project.write("bottle.yaml", &format!(
        "images: {{ registry: \"{prefix}\", digests: images.lock }}\nbottles:\n  dev:\n    egress: {{ routes: [{{ host: api.example.org }}] }}\n\
         agents:\n  {slug}: {{ bottle: dev, preset: shell }}\n"
    ));
    let bottle = |arguments: &[&str]| project.run(env!("CARGO_BIN_EXE_bottle"), arguments);
    let said = bottle(&["render", "-o", "."]);
    assert!(
        !said.ok && said.text.contains("images.lock") && said.text.contains("bottle images"),
        "{}",
        said.text
    );
    let names =
        ["egress", "git-gate", "sidecars", "supervise"].map(|image| format!("{prefix}/bottle-{image}"));
    let run = || -> Result<(), Failed> {
        let built = bottle(&["images", "build", "--linux-binary", binary()?]).expect_ok()?;
        assert_eq!(built.lines().count(), names.len(), "{built}");
        bottle(&["images", "lock"]).expect_refused("push it with `bottle images push`")?;
        bottle(&["images", "push"]).expect_ok()?;
        let locked = bottle(&["images", "lock"]).expect_ok()?;
        let lock = std::fs::read_to_string(project.directory.join("images.lock"))?;
        let egress =
            locked.lines().find(|line| line.contains("bottle-egress@sha256:")).ok_or("no egress")?.to_owned();
        // To lock again changes nothing.
        bottle(&["images", "lock"]).expect_ok()?;
        assert_eq!(std::fs::read_to_string(project.directory.join("images.lock"))?, lock);
        project.render()?;
        let compose = std::fs::read_to_string(project.directory.join("compose.yaml"))?;
        let used =
            if project.bundled { egress.replace("bottle-egress", "bottle-sidecars") } else { egress.clone() };
        let start = used.split('@').next().unwrap_or_default();
        let image =
            locked.lines().find(|line| line.starts_with(&format!("{start}@"))).ok_or("no image")?.to_owned();
        assert!(
            compose.contains(&format!("image: \"{image}\"")) && !compose.contains("egress/Dockerfile"),
            "{compose}"
        );
        // Everything of the images goes, and the tag comes back as something else: the digest is what counts.
        let tag = format!("{start}:{}", env!("CARGO_PKG_VERSION"));
        for name in &names {
            project
                .run("docker", &["image", "rm", &format!("{name}:{}", env!("CARGO_PKG_VERSION"))])
                .expect_ok()?;
        }
        project.run("docker", &["tag", "debian:trixie-slim", &tag]).expect_ok()?;
        project.run("docker", &["push", &tag]).expect_ok()?;
        project.run("docker", &["image", "rm", &tag]).expect_ok()?;
        project.up()?;
        let checked = project
            .agent("curl -s -o /dev/null -w '%{http_code}' https://other.example.org/ || true")
            .expect_ok()?;
        assert!(checked.contains("403"), "{checked}");
        assert_eq!(project.inspect("egress", "{{.Config.Image}}"), image);
        Ok(())
    };
    let done = run();
    project.down();
    for name in &names {
        // By every name that is left of it; those that are gone are none.
        for word in [format!("{name}:{}", env!("CARGO_PKG_VERSION")), name.clone()] {
            let listed = project_images(&word);
            for image in listed {
                drop(Command::new("docker").args(["image", "rm", &image]).output());
            }
        }
    }
    done
}

/// The references of the images of a repository.
fn project_images(repository: &str) -> Vec<String> {
    let form = "{{if ne .Tag \"<none>\"}}{{.Repository}}:{{.Tag}}{{else}}{{.Repository}}@{{.Digest}}{{end}}";
    let listed =
        Command::new("docker").args(["image", "ls", "--digests", "--format", form, repository]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
