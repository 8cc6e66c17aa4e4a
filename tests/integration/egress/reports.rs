//! What egress tells supervise: the policy that it runs, after it runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use bottle::policy::egress::{Route, VERSION};
use bottle::policy::grant::Grant;
use serde_json::{Value, json};

use super::support::{Egress, Origin, Setup, deny, echo, elsewhere, eventually};

fn report(egress: &Egress) -> Option<Value> {
    let text = fs::read(egress.path("report/status.json")).ok()?;
    Some(serde_json::from_slice(&text).expect("a report is whole whenever it is read"))
}

fn in_force(egress: &Egress) -> Value {
    report(egress).map_or(Value::Null, |report| report["grants"].clone())
}

fn grant(egress: &Egress, name: &str, routes: Vec<Route>) {
    let grant = Grant {
        version: VERSION,
        until: None,
        once: false,
        routes,
        push: Vec::new(),
        findings: Vec::new(),
        secrets: Vec::new(),
    };
    let path = egress.path("grants").join(format!("{name}.yaml"));
    bottle::fs::write_atomic(&path, serde_yaml::to_string(&grant).unwrap().as_bytes(), 0o644).unwrap();
}

fn revoke(egress: &Egress, name: &str) {
    fs::remove_file(egress.path("grants").join(format!("{name}.yaml"))).unwrap();
}

/// Two origins, of which the policy allows the first.
fn world() -> (Origin, Origin, Egress) {
    let origin = Origin::https(echo);
    let other = Origin::https(echo).named("other.test.example");
    let egress = Setup::new().route(origin.route()).route(elsewhere(other.route())).report().start();
    (origin, other, egress)
}

#[test]
fn a_grant_that_the_report_names_is_in_force_and_one_that_it_no_longer_names_is_not() {
    let (_origin, other, egress) = world();
    eventually("the first report is there", || in_force(&egress) == json!([]));
    for turn in 0..10 {
        grant(&egress, "g-1", vec![other.route()]);
        eventually("the report names it", || in_force(&egress) == json!(["g-1"]));
        egress.get(&other.url("/")).ok();
        revoke(&egress, "g-1");
        eventually("the report names it no longer", || in_force(&egress) == json!([]));
        egress.get(&other.url("/")).refused("path-denied");
        assert_eq!(report(&egress).unwrap()["generation"], json!(turn * 2 + 3));
    }
}

#[test]
fn a_change_is_reported_within_100_ms() {
    let (_origin, other, egress) = world();
    let mut fastest = Duration::MAX;
    for turn in 0..6 {
        let name = format!("g-{turn}");
        let from = Instant::now();
        grant(&egress, &name, vec![other.route()]);
        eventually("it is reported", || in_force(&egress) == json!([name]));
        fastest = fastest.min(from.elapsed());
        revoke(&egress, &name);
        eventually("its end is reported", || in_force(&egress) == json!([]));
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[test]
fn a_problem_is_reported_and_so_is_its_end() {
    let (_origin, _other, egress) = world();
    let problem = |egress: &Egress| report(egress).map(|report| report["problem"].clone());
    fs::write(egress.path("grants/g-1.yaml"), "version: 1\nroutes: {}\n").unwrap();
    eventually("it is reported", || {
        problem(&egress).is_some_and(|problem| problem.to_string().contains("grants/g-1.yaml:2:9: "))
    });
    assert_eq!(in_force(&egress), json!([]));
    revoke(&egress, "g-1");
    eventually("all is well", || problem(&egress) == Some(Value::Null));
}

#[test]
fn a_grant_that_can_not_be_in_force_is_not_reported_as_if_it_were() {
    let (origin, other, egress) = world();
    for (name, host) in [("all", "*"), ("top", "*.example"), ("every", "**"), ("empty", "")] {
        grant(&egress, name, vec![Route { host: host.to_owned(), ..other.route() }]);
    }
    grant(&egress, "last", vec![other.route()]);
    eventually("the good one is reported", || in_force(&egress) == json!(["last"]));
    egress.get("https://evil.test.example/").refused("route-missing");
    egress.get(&origin.url("/")).ok();
}

#[test]
fn a_grant_changes_nothing_about_what_is_denied() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).deny(deny("origin.test.example")).report().start();
    grant(&egress, "g-1", vec![origin.route()]);
    eventually("it is reported", || in_force(&egress) == json!(["g-1"]));
    egress.get(&origin.url("/")).refused("route-denied");
}

#[test]
fn grants_and_their_report_are_there_again_before_traffic_after_a_restart() {
    let (_origin, other, mut egress) = world();
    grant(&egress, "g-1", vec![other.route()]);
    eventually("it is reported", || in_force(&egress) == json!(["g-1"]));
    fs::remove_file(egress.path("report/status.json")).unwrap();
    egress.crash_and_restart();
    egress.get(&other.url("/")).ok();
    eventually("it is reported again", || in_force(&egress) == json!(["g-1"]));
}

#[test]
fn a_report_that_can_not_be_written_closes_nothing_and_opens_nothing() {
    let (origin, other, egress) = world();
    eventually("the first report is there", || in_force(&egress) == json!([]));
    // A directory in the place of the file: root could write into anything else.
    fs::remove_file(egress.path("report/status.json")).unwrap();
    fs::create_dir_all(egress.path("report/status.json/in-the-way")).unwrap();
    grant(&egress, "g-1", vec![other.route()]);
    eventually("it is in force all the same", || egress.get(&other.url("/")).status == 200);
    egress.get(&origin.url("/")).ok();
    eventually("the log says so", || egress.log().contains("supervise can't be told"));
    fs::remove_dir_all(egress.path("report/status.json")).unwrap();
    eventually("it is told in the end", || in_force(&egress) == json!(["g-1"]));
    assert_eq!(egress.log().matches("supervise can't be told").count(), 1);
}

#[test]
fn the_audit_log_is_in_the_report_directory_for_supervise_to_read() {
    let (origin, _other, egress) = world();
    egress.get(&origin.url("/seen")).ok();
    let path = egress.path("report/audit.jsonl");
    eventually("the line is there", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("\"path\":\"/seen\""))
    });
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!egress.path("state/audit.jsonl").exists());
}
