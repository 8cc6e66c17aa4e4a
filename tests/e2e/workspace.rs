//! A mounted workspace: whose the files are, and what of the host the agent can't change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libtest_mimic::Failed;

use crate::Test;
use crate::world::{Project, eventually, upstream_override};

pub(crate) const TESTS: &[Test] = &[
    ("what_the_agent_makes_is_the_users", owner),
    ("what_steers_the_host_stays_as_it_is", closed),
    ("a_commit_goes_through_the_gate_and_the_hosts_repository_stays_as_it_is", commit),
    ("a_file_that_is_replaced_on_the_host_ends_the_agent_and_is_closed_again", replaced),
    ("a_repository_with_submodules_or_with_a_secret_in_its_settings_is_refused", refused),
    ("a_directory_of_the_manifests_own_is_closed_as_a_whole_also_for_what_is_replaced_in_it", apart),
];

const URL: &str = "ssh://git@git.example.org:2222/srv/git/app.git";

/// A repository that is the workspace, with the manifest and the bundle in it.
static MOUNTED: LazyLock<Result<Project, String>> = LazyLock::new(|| arrange("mounted", "repo"));

/// A bottle whose workspace is a repository of the host, with the manifest and the bundle in a directory of it.
fn arrange(name: &str, inside: &str) -> Result<Project, String> {
    let outside = Project::new(name)?;
    let host_key = outside.keys()?;
    let project = outside.below(inside)?;
    let (root, up) = (outside.directory.join("repo"), if inside == "repo" { "." } else { ".." });
    let failed = |error: std::io::Error| error.to_string();
    fs::create_dir_all(root.join("tools/hooks")).map_err(failed)?;
    fs::write(root.join("tools/hooks/pre-commit"), "#!/bin/sh\n").map_err(failed)?;
    project.write(
        "bottle.yaml",
        &format!(
            "bottles:\n  dev:\n    git:\n      app:\n        upstream: {URL}\n        identity_file: {up}/../id_ed25519\n        \
             known_host_key: {host_key}\n        push: [{{ refs: \"agent/**\", allow: [create] }}]\nagents:\n  {}:\n    \
             bottle: dev\n    preset: shell\n    workspace: {{ mount: {up}, read_only: [{up}/tools/hooks] }}\n",
            project.slug
        ),
    );
    let own = upstream_override("app").replace("./upstream:", &format!("{up}/../upstream:"));
    project.write("compose.override.yaml", &own);
    let (user, group) = user(&outside.directory)?;
    let files = if up == "." { "COMPOSE_FILE=compose.yaml:compose.override.yaml\n" } else { "" };
    project.write(".env", &format!("BOTTLE_UID={user}\nBOTTLE_GID={group}\n{files}TOKEN=host-secret\n"));
    for command in [
        "init -q -b main",
        "config core.hooksPath tools/hooks",
        &format!("remote add origin {URL}"),
        "add tools",
        "-c user.name=u -c user.email=u@example.org commit -q -m first",
    ] {
        host_git(&project, &format!("-C {up} {command}"))?;
    }
    project.render()?;
    for path in walk(&root) {
        std::os::unix::fs::lchown(path, Some(user), Some(group)).map_err(failed)?;
    }
    project.up()?;
    Ok(project)
}

/// The owner of the files: another one than the first user of a machine, where the tests may choose.
fn user(directory: &Path) -> Result<(u32, u32), String> {
    let metadata = fs::metadata(directory).map_err(|error| error.to_string())?;
    Ok(if metadata.uid() == 0 { (4242, 4343) } else { (metadata.uid(), metadata.gid()) })
}

fn mounted() -> Result<&'static Project, Failed> {
    MOUNTED.as_ref().map_err(|error| Failed::from(error.clone()))
}

/// Runs git on the host, as its user would.
fn host_git(project: &Project, arguments: &str) -> Result<String, String> {
    // Without the locks of a mere look, which has git write what it found into its index.
    let script = format!("GIT_OPTIONAL_LOCKS=0 git -c safe.directory='*' {arguments}");
    let said = project.run("sh", &["-c", &script]);
    if said.ok { Ok(said.text) } else { Err(said.text) }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    if directory.is_dir() && !directory.is_symlink() {
        let entries = fs::read_dir(directory).expect("the directory is ours");
        found.extend(entries.flat_map(|entry| walk(&entry.expect("an entry").path())));
    }
    found
}

/// Everything on the host that steers it: its paths, and what is in the files.
fn steering(project: &Project) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = [
        ".git",
        ".bottle",
        ".devcontainer",
        ".env",
        "bottle.yaml",
        "compose.yaml",
        "compose.override.yaml",
        "tools/hooks",
    ];
    let own = project.directory.as_path();
    let places = [own, own.parent().unwrap_or(own)];
    let paths = places.iter().flat_map(|place| names.iter().flat_map(|name| walk(&place.join(name))));
    paths.map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

const NOTHING: [&Path; 0] = [];

/// The paths that are new, gone or not what they were.
fn changed<'a>(
    before: &'a BTreeMap<PathBuf, Vec<u8>>,
    after: &'a BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<&'a Path> {
    let paths = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    paths.filter(|path| before.get(*path) != after.get(*path)).map(PathBuf::as_path).collect()
}

fn owner() -> Result<(), Failed> {
    let project = mounted()?;
    let said = project
        .agent("id -un; cd ~ && echo kept >kept && mkdir -p /workspace/src && echo x >/workspace/src/made")
        .expect_ok()?;
    assert_eq!(said, "agent\n");
    let metadata = fs::metadata(project.directory.join("src/made"))?;
    assert_eq!((metadata.uid(), metadata.gid()), user(&project.directory)?);
    Ok(())
}

fn closed() -> Result<(), Failed> {
    let project = mounted()?;
    let before = steering(project);
    for file in ["bottle.yaml", "compose.yaml", "compose.override.yaml", ".env"] {
        for attack in [
            "echo x >>F",
            "rm -f F",
            "mv F moved",
            "ln -sf /etc/passwd F",
            "mv -f src/made F",
            "chmod 777 F",
            "truncate -s 0 F",
        ] {
            let attack = attack.replace('F', file);
            assert!(!project.agent(&format!("cd /workspace && echo x >src/made && {attack}")).ok, "{attack}");
        }
    }
    for directory in [".bottle", ".devcontainer", "tools/hooks", "tools", ".git"] {
        for attack in ["mv D moved", "mv -T src D", "rm -rf D && ln -s src D"] {
            let attack = attack.replace('D', directory);
            // What is in the agent's own repository is its own to remove.
            if directory == ".git" && attack.starts_with("rm") {
                continue;
            }
            assert!(!project.agent(&format!("cd /workspace && {attack}")).ok, "{attack}");
        }
    }
    for file in [
        ".bottle/new",
        ".devcontainer/devcontainer.json",
        "tools/hooks/post-checkout",
        "tools/hooks/pre-commit",
    ] {
        assert!(!project.agent(&format!("echo x >/workspace/{file}")).ok, "{file}");
    }
    // What runs in the host's own git directory, and leads to another one.
    let run = format!("touch {}/ran", project.directory.display());
    project
        .agent(&format!(
            "cd /workspace && git config core.fsmonitor '{run}' && printf '#!/bin/sh\\n{run}\\n' >.git/hooks/pre-commit && \
             chmod +x .git/hooks/pre-commit && git config core.hooksPath .git/hooks && git config alias.x '!{run}' && \
             echo '[core] fsmonitor = {run}' >.git/config.worktree && mkdir -p .git/info && echo '* filter=x' >.git/info/attributes && \
             cp -r .git evil && echo evil >.git/commondir; rm -f .git/commondir; ! touch /etc/bottle/git/commondir"
        ))
        .expect_ok()?;
    host_git(project, "status")?;
    assert!(!project.directory.join("ran").exists(), "the host ran what the agent wrote");
    project
        .agent("cd /workspace && git config --unset core.fsmonitor; git config --unset core.hooksPath; rm -rf evil .git/hooks/pre-commit .git/info/attributes .git/config.worktree")
        .expect_ok()?;
    assert!(
        !project.agent("grep -rs host-secret /workspace /etc/bottle /proc/self/environ").ok,
        "the agent reads the operator's variables"
    );
    assert_eq!(changed(&before, &steering(project)), NOTHING);
    // Compose would read it, and was told which files to read.
    project.agent("cd /workspace && echo 'services: { evil: { image: evil } }' | tee docker-compose.override.yml >compose.override.yml").expect_ok()?;
    let services = project.compose(&["config", "--services"]).expect_ok()?;
    project.agent("rm /workspace/docker-compose.override.yml /workspace/compose.override.yml").expect_ok()?;
    assert!(!services.contains("evil"), "{services}");
    Ok(())
}

fn commit() -> Result<(), Failed> {
    let project = mounted()?;
    let before = steering(project);
    let said = project
        .agent("cd /workspace && git log --format=%s && git symbolic-ref HEAD && git remote get-url origin")
        .expect_ok()?;
    assert_eq!(said, "first\nrefs/heads/main\ngit://git-gate/app.git\n");
    project
        .agent("cd /workspace && echo work >work.txt && git add work.txt && git commit -q -m work && git push -q origin HEAD:refs/heads/agent/mounted")
        .expect_ok()?;
    let id = project.agent("git -C /workspace rev-parse HEAD").expect_ok()?;
    assert_eq!(project.upstream_ref("refs/heads/agent/mounted").as_deref(), Some(id.trim()));
    // A submodule of an upstream that the bottle doesn't have, and a file of Git LFS.
    for url in [
        "ssh://git@other.example.org/x.git",
        "git@other.example.org:x.git",
        "https://other.example.org/x.git",
    ] {
        project.agent(&format!("cd /tmp && git clone {url} other")).expect_refused("repository-unknown")?;
    }
    project
        .agent(
            "cd /workspace && echo '*.bin filter=lfs' >.gitattributes && echo content >large.bin && git add .gitattributes large.bin && \
             git commit -q -m large && git push -q origin HEAD:refs/heads/agent/large",
        )
        .expect_refused("lfs-pointer")?;
    assert_eq!(changed(&before, &steering(project)), NOTHING);
    assert_eq!(fs::read_to_string(project.directory.join("work.txt"))?, "work\n");
    Ok(())
}

fn replaced() -> Result<(), Failed> {
    let project = mounted()?;
    let path = project.directory.join("bottle.yaml");
    let (user, group) = user(&project.directory)?;
    // As an editor saves.
    let beside = project.directory.join("bottle.yaml~");
    fs::copy(&path, &beside)?;
    chown(&beside, Some(user), Some(group))?;
    fs::rename(&beside, &path)?;
    eventually("the agent is ended", || project.inspect("agent", "{{.State.Running}}") == "false")?;
    project.up_again(&[]).expect_ok()?;
    assert!(!project.agent("echo x >>/workspace/bottle.yaml").ok, "the new file is open");
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let project = mounted()?;
    let id = host_git(project, "rev-parse HEAD")?;
    for (wrong, right, told) in [
        (
            format!("update-index --add --cacheinfo 160000,{},vendor", id.trim()),
            "update-index --force-remove vendor",
            "has submodules",
        ),
        (
            "remote add other https://correct-horse@git.example.org/app.git".to_owned(),
            "remote remove other",
            "the repository's setting remote.other.url has a secret in it",
        ),
        (
            "config url.https://correct-horse@git.example.org/.insteadOf app:".to_owned(),
            "config --remove-section url.https://correct-horse@git.example.org/",
            "have a URL with a secret in it",
        ),
    ] {
        host_git(project, &wrong)?;
        let said = project.compose(&["restart", "--timeout", "2", "agent"]);
        let ended = eventually("the agent refuses to start", || {
            project.inspect("agent", "{{.State.Running}}") == "false"
        });
        let logs = project.compose(&["logs", "--tail", "5", "agent"]).text;
        host_git(project, right)?;
        project.up_again(&[]).expect_ok()?;
        ended?;
        assert!(logs.contains(told) && !logs.contains("correct-horse"), "{}{logs}", said.text);
    }
    Ok(())
}

/// The manifest in a directory of its own, as the book recommends (docs/src/workspaces.md).
fn apart() -> Result<(), Failed> {
    let project = arrange("apart", "repo/bottle")?;
    let before = steering(&project);
    let attacks = [
        "echo x >>bottle/F",
        "rm -f bottle/F",
        "mv bottle/F moved",
        "ln -sf /etc/passwd bottle/F",
        "mv -f made bottle/F",
        "chmod 777 bottle/F",
    ];
    // The last two are not there, and Compose would read them.
    let files = [
        "bottle.yaml",
        "compose.yaml",
        "compose.override.yaml",
        ".env",
        "new",
        "docker-compose.override.yml",
    ];
    let mut scripts: Vec<String> = Vec::new();
    for file in files {
        scripts.extend(attacks.map(|attack| attack.replace('F', file)));
    }
    scripts.retain(|script| !script.contains("rm -f bottle/new") && !script.contains("rm -f bottle/docker-"));
    scripts.extend(
        [
            "mv bottle moved",
            "rm -rf bottle && ln -s made bottle",
            "mv .git moved",
            "echo x >tools/hooks/pre-commit",
        ]
        .map(str::to_owned),
    );
    for attack in scripts {
        assert!(!project.agent(&format!("cd /workspace && echo x >made && {attack}")).ok, "{attack}");
    }
    assert!(
        !project.agent("grep -rs host-secret /workspace /etc/bottle /proc/self/environ").ok,
        "the agent reads the operator's variables"
    );
    assert_eq!(changed(&before, &steering(&project)), NOTHING);
    // As an editor saves: the new file is as closed as the old one, and the agent goes on.
    let (path, beside) = (project.directory.join("bottle.yaml"), project.directory.join("bottle.yaml~"));
    let text = format!("{}# edited\n", fs::read_to_string(&path)?);
    fs::write(&beside, text)?;
    fs::rename(&beside, &path)?;
    let container = project.container("agent");
    assert!(project.agent("tail -n 1 /workspace/bottle/bottle.yaml").expect_ok()?.contains("# edited"));
    assert!(!project.agent("echo x >>/workspace/bottle/bottle.yaml").ok, "the new file is open");
    project.up_again(&[]).expect_ok()?;
    assert_eq!(project.container("agent"), container);
    project
        .agent("cd /workspace && git add made && git commit -q -m made && git push -q origin HEAD:refs/heads/agent/apart")
        .expect_ok()?;
    assert!(project.upstream_ref("refs/heads/agent/apart").is_some());
    Ok(())
}
