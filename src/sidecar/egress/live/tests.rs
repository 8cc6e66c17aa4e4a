use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use super::files::Source;
use super::reader::{Cause, Look, Reader};
use super::{Live, Snapshot};
use crate::fs;
use crate::policy::whole::END;

/// How long a change may take to be seen on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);
/// A point in time for grants that end.
const NOON: u64 = 1_800_000_000;

/// A policy file and a grants directory.
struct Bottle {
    root: TempDir,
}

fn route(host: &str) -> String {
    format!(
        "  - {{ source: \"bottle.yaml:3\", host: {host}, scheme: https, ports: [443], methods: [GET], paths: [/**] }}\n"
    )
}

fn policy(hosts: &[&str]) -> String {
    let routes: String = hosts.iter().map(|host| route(host)).collect();
    format!("version: 1\nroutes:\n{routes}")
}

fn whole(text: &str) -> String {
    format!("{}\n{END}", text.trim_end_matches('\n'))
}

fn grant(host: &str, until: Option<u64>) -> String {
    let until = until.map_or_else(|| "null".to_owned(), |until| until.to_string());
    format!("version: 1\nuntil: {until}\nroutes:\n{}", route(host))
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

impl Bottle {
    fn new() -> Self {
        let bottle = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(&bottle.grants()).unwrap();
        bottle.write(&policy(&["a.example.org"]));
        bottle
    }

    fn policy(&self) -> PathBuf {
        self.root.path().join("policy.yaml")
    }

    fn grants(&self) -> PathBuf {
        self.root.path().join("grants")
    }

    fn write(&self, text: &str) {
        fs::write_atomic(&self.policy(), whole(text).as_bytes(), 0o644).unwrap();
    }

    fn grant(&self, file: &str, text: &str) {
        fs::write_atomic(&self.grants().join(file), text.as_bytes(), 0o644).unwrap();
    }

    fn reader(&self) -> Reader {
        Reader::new(Source { policy: self.policy(), grants: Some(self.grants()), used: None, entered: None })
    }

    fn live(&self) -> Live {
        let live = Live::open(&self.policy(), Some(self.grants()), None, None).unwrap();
        live.watch().unwrap();
        live
    }
}

/// What is in force, as the reader's looks say, and what they say is wrong.
struct Looks {
    reader: Reader,
    current: Option<Arc<Snapshot>>,
}

impl Looks {
    fn at(bottle: &Bottle) -> Self {
        Self { reader: bottle.reader(), current: None }
    }

    fn look(&mut self, cause: Cause, second: u64) -> Look {
        let look = self.reader.look(cause, at(second));
        self.current = look.swap.clone().or(self.current.take());
        look
    }

    fn problem(&mut self) -> Option<String> {
        self.look(Cause::Announced, NOON).problem
    }

    /// The hosts that the policy and the grants name.
    fn hosts(&self) -> Vec<&str> {
        let snapshot = self.current.as_ref().unwrap();
        let granted = snapshot.grants.iter().flat_map(|(_, grant)| &grant.routes);
        snapshot.policy.routes.iter().chain(granted).map(|route| route.host.as_str()).collect()
    }
}

async fn when<T: Clone>(mut watched: watch::Receiver<T>, condition: impl FnMut(&T) -> bool) -> T {
    timeout(PATIENCE, watched.wait_for(condition)).await.expect("it happens in time").unwrap().clone()
}

#[test]
fn a_policy_that_is_missing_or_wrong_at_the_start_is_an_error_that_names_the_place() {
    let bottle = Bottle::new();
    let open = || Live::open(&bottle.policy(), None, None, None).map(drop).unwrap_err().to_string();
    bottle.write("version: 1\nroutes:\n  - { source: x, nonsense: 1 }\n");
    let error = open();
    assert!(error.starts_with(&format!("{}:3:18: ", bottle.policy().display())), "{error}");
    assert!(!error.contains(" at line "), "{error}");
    bottle.write("version: 2\n");
    assert!(open().contains("policy.yaml: the policy: its format has version 2"), "{}", open());
    bottle.write("");
    assert!(open().contains(&bottle.policy().display().to_string()), "{}", open());
    fs::remove_file(&bottle.policy()).unwrap();
    assert!(open().starts_with(&format!("could not read `{}`", bottle.policy().display())), "{}", open());
}

#[tokio::test]
async fn a_file_that_replaces_the_policy_is_the_policy() {
    let bottle = Bottle::new();
    let live = bottle.live();
    let before = live.now();
    assert_eq!((before.generation, live.problem()), (1, None));
    bottle.write(&policy(&["b.example.org", "c.example.org"]));
    let after = when(live.subscribe(), |snapshot| snapshot.generation > 1).await;
    assert_eq!((after.generation, after.policy.routes.len()), (2, 2));
    assert_eq!(before.policy.routes[0].host, "a.example.org", "who holds the old state keeps it");
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_the_policy_when_the_writer_has_finished() {
    let bottle = Bottle::new();
    let live = bottle.live();
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(bottle.policy()).unwrap();
    std::io::Write::write_all(&mut file, whole(&policy(&["b.example.org"])).as_bytes()).unwrap();
    drop(file);
    let after = when(live.subscribe(), |snapshot| snapshot.generation > 1).await;
    assert_eq!(after.policy.routes[0].host, "b.example.org");
    assert_eq!(live.problem(), None);
}

#[test]
fn a_policy_that_is_cut_off_anywhere_is_none() {
    let bottle = Bottle::new();
    let mut looks = Looks::at(&bottle);
    assert_eq!(looks.problem(), None);
    let text = whole(&format!(
        "extra_hosts: {{ a.example.org: 192.0.2.1 }}\n{}",
        policy(&["b.example.org", "c.example.org"])
    ));
    for length in 0..text.len() {
        fs::write_atomic(&bottle.policy(), &text.as_bytes()[..length], 0o644).unwrap();
        let problem = looks.problem().expect("it is wrong");
        assert!(problem.contains("policy.yaml"), "{length} bytes: {problem}");
        assert_eq!(looks.hosts(), ["a.example.org"], "the last good one stays, after {length} bytes");
        assert!(Live::open(&bottle.policy(), None, None, None).is_err(), "a start with {length} bytes");
    }
    fs::write_atomic(&bottle.policy(), text.as_bytes(), 0o644).unwrap();
    assert_eq!(looks.problem(), None);
    assert_eq!(looks.hosts(), ["b.example.org", "c.example.org"]);
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_policy_in_force_and_a_good_one_mends_it() {
    let bottle = Bottle::new();
    let live = bottle.live();
    bottle.write("version: 1\nroutes: [\n");
    let problem = when(live.problems(), Option::is_some).await.unwrap();
    assert!(problem.starts_with(&format!("{}:3:1: ", bottle.policy().display())), "{problem}");
    assert_eq!((live.now().generation, live.now().policy.routes.len()), (1, 1));
    fs::remove_file(&bottle.policy()).unwrap();
    let missing = when(live.problems(), |told| told.as_ref() != Some(&problem)).await;
    assert!(missing.unwrap().starts_with("could not read"));
    assert_eq!(live.now().generation, 1);
    bottle.write(&policy(&["b.example.org"]));
    when(live.subscribe(), |snapshot| snapshot.generation == 2).await;
    assert_eq!(live.problem(), None);
}

#[tokio::test]
async fn grants_come_and_go_with_their_files() {
    let bottle = Bottle::new();
    let live = bottle.live();
    bottle.grant("one.yaml", &grant("b.example.org", None));
    let after = when(live.subscribe(), |snapshot| !snapshot.grants.is_empty()).await;
    assert_eq!((after.grants[0].0.as_str(), after.generation), ("one", 2));
    fs::remove_file(&bottle.grants().join("one.yaml")).unwrap();
    when(live.subscribe(), |snapshot| snapshot.generation == 3 && snapshot.grants.is_empty()).await;
}

#[tokio::test]
async fn a_grants_directory_that_is_removed_holds_no_grant_and_one_that_is_made_again_does() {
    let bottle = Bottle::new();
    bottle.grant("one.yaml", &grant("b.example.org", None));
    let live = bottle.live();
    assert_eq!(live.now().grants.len(), 1);
    fs::remove_dir_all(&bottle.grants()).unwrap();
    when(live.subscribe(), |snapshot| snapshot.grants.is_empty()).await;
    assert_eq!(live.problem(), None);
    fs::create_dir_all(&bottle.grants()).unwrap();
    bottle.grant("two.yaml", &grant("c.example.org", None));
    when(live.subscribe(), |snapshot| snapshot.grants.len() == 1).await;
}

#[tokio::test]
async fn a_grant_ends_when_its_time_has_come_without_any_file_changing() {
    let bottle = Bottle::new();
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    bottle.grant("one.yaml", &grant("b.example.org", Some(second + 2)));
    let live = bottle.live();
    when(live.subscribe(), |snapshot| snapshot.grants.is_empty()).await;
    assert!(SystemTime::now() >= at(second + 2));
    assert_eq!(live.now().policy.routes.len(), 1);
}

#[test]
fn a_grant_is_in_force_until_its_end_and_the_next_look_is_due_then() {
    let bottle = Bottle::new();
    bottle.grant("one.yaml", &grant("b.example.org", Some(NOON + 60)));
    bottle.grant("two.yaml", &grant("c.example.org", Some(NOON + 600)));
    let mut looks = Looks::at(&bottle);
    let look = looks.look(Cause::Announced, NOON);
    assert_eq!(looks.hosts(), ["a.example.org", "b.example.org", "c.example.org"]);
    assert_eq!(look.again, Some(Duration::from_mins(1)));
    let look = looks.look(Cause::Tick, NOON + 60);
    assert_eq!(looks.hosts(), ["a.example.org", "c.example.org"]);
    assert_eq!(look.swap.unwrap().generation, 2);
    assert!(looks.look(Cause::Tick, NOON + 61).swap.is_none());
}

#[test]
fn a_clock_that_is_set_back_brings_no_grant_back() {
    let bottle = Bottle::new();
    bottle.grant("one.yaml", &grant("b.example.org", Some(NOON + 60)));
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON + 60);
    assert_eq!(looks.hosts(), ["a.example.org"]);
    looks.look(Cause::Announced, NOON - 3600);
    assert_eq!(looks.hosts(), ["a.example.org"]);
}

#[test]
fn a_grant_ends_even_while_the_policy_file_is_wrong() {
    let bottle = Bottle::new();
    bottle.grant("one.yaml", &grant("b.example.org", Some(NOON + 60)));
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON);
    bottle.write("nonsense");
    assert!(looks.look(Cause::Announced, NOON + 1).problem.is_some());
    assert_eq!(looks.hosts(), ["a.example.org", "b.example.org"]);
    let look = looks.look(Cause::Tick, NOON + 60);
    assert_eq!(looks.hosts(), ["a.example.org"]);
    assert!(look.problem.is_some());
}

#[test]
fn a_change_that_nothing_announced_counts_when_it_looks_the_same_twice() {
    let bottle = Bottle::new();
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON);
    // A writer that has come to the middle of the file: what it has written so far is a policy already.
    bottle.write(&policy(&["b.example.org"]));
    let look = looks.look(Cause::Tick, NOON);
    assert!(look.swap.is_none() && look.again.unwrap() < Duration::from_millis(50));
    bottle.write(&policy(&["b.example.org", "c.example.org"]));
    assert!(looks.look(Cause::Tick, NOON).swap.is_none());
    assert!(looks.look(Cause::Tick, NOON).swap.is_some());
    assert_eq!(looks.hosts(), ["b.example.org", "c.example.org"]);
}

#[test]
fn what_says_the_same_is_no_new_generation() {
    let bottle = Bottle::new();
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON);
    bottle.write(&policy(&["a.example.org"]));
    assert!(looks.look(Cause::Announced, NOON).swap.is_none());
    bottle.write(&(policy(&["a.example.org"]) + "# a remark\n"));
    assert!(looks.look(Cause::Announced, NOON).swap.is_none());
}

#[test]
fn credentials_are_kept_while_their_part_of_the_policy_is_the_same() {
    let bottle = Bottle::new();
    let section = |variable: &str| {
        format!(
            "credentials:\n  one: {{ source: \"bottle.yaml:9\", secret: !env {variable}, inject: bearer }}\n"
        )
    };
    bottle.write(&(policy(&["a.example.org"]) + &section("ONE")));
    let mut looks = Looks::at(&bottle);
    let first = looks.look(Cause::Announced, NOON).swap.unwrap();
    bottle.write(&(policy(&["b.example.org"]) + &section("ONE")));
    let second = looks.look(Cause::Announced, NOON).swap.unwrap();
    assert!(Arc::ptr_eq(&first.credentials, &second.credentials));
    bottle.write(&(policy(&["b.example.org"]) + &section("TWO")));
    let third = looks.look(Cause::Announced, NOON).swap.unwrap();
    assert!(!Arc::ptr_eq(&second.credentials, &third.credentials));
}

#[test]
fn a_grant_that_is_wrong_is_not_applied_and_the_others_are() {
    let bottle = Bottle::new();
    bottle.grant("a.yaml", &grant("b.example.org", None));
    bottle.grant("b.yaml", "version: 1\nroutes: {}\n");
    bottle.grant("c.yaml", &grant("c.example.org", None));
    let mut looks = Looks::at(&bottle);
    let problem = looks.problem().unwrap();
    assert!(problem.contains("grants/b.yaml:2:9: "), "{problem}");
    assert_eq!(looks.hosts(), ["a.example.org", "b.example.org", "c.example.org"]);
    // What one that was good has added goes when it is good no longer.
    bottle.grant("a.yaml", "version: 1\n");
    looks.problem();
    assert_eq!(looks.hosts(), ["a.example.org", "c.example.org"]);
}

#[test]
fn a_policy_that_says_what_can_not_be_is_not_applied() {
    let bottle = Bottle::new();
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON);
    bottle.write(&policy(&["b.example.org", "not/a/host"]));
    let problem = looks.problem().unwrap();
    assert!(problem.contains("policy.yaml: bottle.yaml:3: "), "{problem}");
    assert_eq!(looks.hosts(), ["a.example.org"]);
}

#[test]
fn a_grant_that_says_what_can_not_be_is_not_applied_and_the_others_are() {
    let bottle = Bottle::new();
    bottle.grant("a.yaml", &grant("b.example.org", None));
    bottle.grant("b.yaml", &grant("b.example.org", None).replace("paths", "credential: ghost, paths"));
    bottle.grant("c.yaml", &grant("b.example.org", None).replace("version: 1", "version: 2"));
    let mut looks = Looks::at(&bottle);
    let problem = looks.problem().unwrap();
    assert!(problem.contains("grants/b.yaml: grant b: "), "{problem}");
    assert!(problem.contains("grants/c.yaml: a grant: its format has version 2"), "{problem}");
    assert_eq!(looks.hosts(), ["a.example.org", "b.example.org"]);
    // The other way round: the policy loses what a grant needs.
    let credential =
        "credentials:\n  ghost: { source: \"bottle.yaml:9\", secret: !env GHOST, inject: bearer }\n";
    let known = policy(&["a.example.org", "b.example.org"])
        .replace("b.example.org", "b.example.org, credential: ghost");
    bottle.write(&(known + credential));
    looks.problem();
    assert_eq!(looks.hosts(), ["a.example.org", "b.example.org", "b.example.org", "b.example.org"]);
    bottle.write(&policy(&["a.example.org"]));
    looks.problem();
    assert_eq!(looks.hosts(), ["a.example.org", "b.example.org"]);
}

#[test]
fn authorities_that_are_new_take_a_new_start_and_health_says_so() {
    let bottle = Bottle::new();
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON);
    bottle.write(&(policy(&["b.example.org"]) + "extra_ca: [/etc/ca.pem]\n"));
    let problem = looks.problem().unwrap();
    assert!(problem.contains("extra_ca"), "{problem}");
    assert_eq!(looks.hosts(), ["b.example.org"]);
    bottle.write(&policy(&["b.example.org"]));
    assert_eq!(looks.problem(), None);
}

#[test]
fn a_link_a_pipe_a_directory_and_a_large_file_are_no_grants() {
    let bottle = Bottle::new();
    let elsewhere = bottle.root.path().join("elsewhere.yaml");
    fs::write_atomic(&elsewhere, grant("b.example.org", None).as_bytes(), 0o644).unwrap();
    symlink(&elsewhere, bottle.grants().join("link.yaml")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(bottle.grants().join("pipe.yaml")).status().unwrap();
    assert!(pipe.success());
    fs::create_dir_all(&bottle.grants().join("directory.yaml")).unwrap();
    bottle.grant("large.yaml", &(grant("b.example.org", None) + &"#".repeat(64 << 10)));
    let mut looks = Looks::at(&bottle);
    let problem = looks.problem().unwrap();
    for part in [
        "link.yaml`: it is a symbolic link",
        "pipe.yaml`: it is not a regular file",
        "directory.yaml`: it is not a regular file",
        "large.yaml`: it is larger than 65536 bytes",
    ] {
        assert!(problem.contains(part), "{problem}");
    }
    assert_eq!(looks.hosts(), ["a.example.org"]);
}

#[test]
fn files_that_are_on_their_way_to_be_grants_are_not_looked_at() {
    let bottle = Bottle::new();
    for name in [".one.yaml.1.tmp", ".one.yaml", "one.yaml~", "one.yaml.tmp", "one.txt", ".yaml"] {
        bottle.grant(name, &grant("b.example.org", None));
    }
    let mut looks = Looks::at(&bottle);
    assert_eq!(looks.problem(), None);
    assert_eq!(looks.hosts(), ["a.example.org"]);
}

#[test]
fn too_many_grants_are_told_and_bounded() {
    let bottle = Bottle::new();
    for number in 0..1001 {
        bottle.grant(&format!("{number:04}.yaml"), &grant("b.example.org", None));
    }
    let mut looks = Looks::at(&bottle);
    let problem = looks.problem().unwrap();
    assert!(problem.contains("more than 1000 grants"), "{problem}");
    assert_eq!(looks.current.unwrap().grants.len(), 1000);
}

#[test]
fn a_policy_that_is_too_large_is_refused() {
    let bottle = Bottle::new();
    let mut looks = Looks::at(&bottle);
    looks.look(Cause::Announced, NOON);
    bottle.write(&(policy(&["b.example.org"]) + &"#".repeat(4 << 20)));
    let problem = looks.problem().unwrap();
    assert!(problem.contains("it is larger than"), "{problem}");
    assert_eq!(looks.hosts(), ["a.example.org"]);
}

#[test]
fn many_problems_are_told_in_part_and_counted() {
    let bottle = Bottle::new();
    for number in 10..20 {
        bottle.grant(&format!("{number}.yaml"), "nonsense");
    }
    let problem = Looks::at(&bottle).problem().unwrap();
    assert!(problem.contains("17.yaml") && !problem.contains("18.yaml"), "{problem}");
    assert!(problem.ends_with("; and 2 more"), "{problem}");
}

#[test]
fn yaml_that_grows_when_it_is_read_is_refused() {
    let bottle = Bottle::new();
    let mut text =
        String::from("version: 1\nextra_hosts: &a { a.example.org: 192.0.2.1 }\nroutes:\n  - &b [*a, *a]\n");
    for _ in 0..30 {
        text += "  - [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n";
    }
    bottle.write(&text);
    let error = Live::open(Path::new(&bottle.policy()), None, None, None).map(drop).unwrap_err();
    assert!(error.to_string().contains("policy.yaml"), "{error}");
}
