//! `bottle doctor` against real upstreams: what the gate would meet.

use std::fs;
use std::path::Path;

use crate::support::{Output, Place};

use super::sshd::{Sshd, keygen};
use super::support::git;

/// An upstream with a repository, and a manifest that leads to it.
struct World {
    place: Place,
    sshd: Sshd,
}

fn key(path: &Path) -> String {
    let text = fs::read_to_string(path.with_extension("pub")).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let sshd = Sshd::new(place.root());
        git(place.root(), &["init", "-q", "--bare", "app.git"]).success();
        Self { place, sshd }
    }

    fn root(&self) -> &Path {
        self.place.root()
    }

    /// What doctor says of the upstream when the manifest has these keys.
    fn doctor(&self, host_key: &str, identity: &Path) -> Output {
        let (port, root) = (self.sshd.port, self.root().display());
        self.place.put(
            "work/bottle.yaml",
            format!(
                "bottles:\n  b:\n    git:\n      app:\n        upstream: ssh://root@git.example.org:{port}{root}/app.git\n        \
                 identity_file: {}\n        known_host_key: {host_key}\n        extra_hosts: {{ git.example.org: 127.0.0.1 }}\n\
                 agents: {{ a: {{ bottle: b, preset: shell }} }}\n",
                identity.display()
            ),
        );
        self.place.bottle(["doctor"]).run()
    }
}

#[test]
fn doctor_tells_what_the_gate_would_meet_at_an_upstream() {
    let mut world = World::new();
    let (host, identity) = (world.root().join("sshd/host"), world.root().join("etc/identity/app"));
    let good = world.doctor(&key(&host), &identity);
    assert!(good.stdout.lines().last().unwrap().contains("upstreams"), "{good}");

    let other = world.root().join("other");
    keygen(&other);
    let mismatch = world.doctor(&key(&other), &identity);
    assert!(mismatch.stdout.contains("problem: host-key-mismatch: app: "), "{mismatch}");
    // What it presents is there to be compared, and to be copied.
    assert!(mismatch.stdout.contains(&format!("write it as `known_host_key`: {}", key(&host))), "{mismatch}");
    assert_eq!(mismatch.code, 1);

    let stranger = world.doctor(&key(&host), &other);
    assert!(stranger.stdout.contains("problem: upstream-auth: app: "), "{stranger}");

    world.sshd.stop();
    let down = world.doctor(&key(&host), &identity);
    assert!(down.stdout.contains("problem: upstream-down: app: "), "{down}");
}

#[test]
fn nothing_of_the_users_own_ssh_and_git_configuration_changes_what_doctor_sees() {
    let world = World::new();
    let (host, identity) = (world.root().join("sshd/host"), world.root().join("etc/identity/app"));
    let other = world.root().join("other");
    keygen(&other);
    // Both would let the gate's own attempt look better than it is.
    world
        .place
        .put("home/.ssh/config", "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n");
    world.place.put("home/.gitconfig", format!("[core]\n\tsshCommand = ssh -i {}\n", identity.display()));
    let said = world.doctor(&key(&other), &identity);
    assert!(said.stdout.contains("problem: host-key-mismatch: app: "), "{said}");
    let said = world.doctor(&key(&host), &other);
    assert!(said.stdout.contains("problem: upstream-auth: app: "), "{said}");
    assert!(!world.root().join("home/.ssh/known_hosts").exists(), "{said}");
}
