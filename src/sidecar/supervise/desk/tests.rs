//! The desk as the agent and the operator use it, at a time that the test sets.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::ask::{Ask, PushAsk, RouteAsk};
use super::super::decisions;
use super::super::rule::Rule;
use super::super::state::{EndCause, Origin, Scope, State};
use super::asking::{AGENT, HELD};
use super::deciding::{MAX_SECONDS, ONCE};
use super::looking::{CLOCK_PERIOD, PATIENCE, PATIENCE_HELD};
use super::*;
use crate::fs;
use crate::policy::egress::Scheme;
use crate::policy::gate::PushOperation;
use crate::sidecar::used::Used;

thread_local! {
    /// How far the wall clock of this test is from the real one, in seconds.
    static SKEW: Cell<i64> = const { Cell::new(0) };
}

/// The wall clock of this test.
pub(super) fn wall() -> SystemTime {
    let skew = SKEW.get();
    let by = Duration::from_secs(skew.unsigned_abs());
    if skew < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
}

fn later(seconds: i64) {
    SKEW.set(SKEW.get() + seconds);
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        for name in ["state", "grants", "egress", "gate"] {
            fs::create_dir_all(&place.path(name)).unwrap();
        }
        place.manifest("");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Renders a policy with these routes, each a line.
    fn manifest(&self, routes: &str) {
        self.policy(&format!("routes:\n{routes}- {}", route("known.example.org", "credential: one")));
    }

    fn policy(&self, rest: &str) {
        let credentials = "credentials:\n  one: { source: 'b:1', secret: !env A, inject: bearer }\n";
        let text = format!("version: 1\n{credentials}{rest}");
        fs::write_atomic(&self.path("policy.yaml"), text.as_bytes(), 0o644).unwrap();
        let gate = "version: 1\nrepositories:\n  app:\n    source: 'b:3'\n    upstream: !https { url: 'https://git.example.org/app' }\n    max_pack_bytes: 1000\n";
        fs::write_atomic(&self.path("gate.yaml"), gate.as_bytes(), 0o644).unwrap();
    }

    fn places(&self) -> Places {
        Places {
            egress_policy: Some(self.path("policy.yaml")),
            gate_policy: Some(self.path("gate.yaml")),
            egress_report: Some(self.path("egress")),
            gate_report: Some(self.path("gate")),
            letters: None,
            grants: self.path("grants"),
            state: self.path("state"),
        }
    }

    #[track_caller]
    fn open(&self) -> Desk {
        Desk::open(self.places()).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let names = fs::file_names(&self.path("grants")).unwrap();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    #[track_caller]
    fn log(&self) -> Vec<String> {
        let path = self.path("state").join(decisions::FILE);
        decisions::verify(&path).unwrap().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["decision"].as_str().unwrap().to_owned()).collect()
    }
}

fn route(host: &str, rest: &str) -> String {
    format!(
        "{{ source: 'b:9', host: '{host}', scheme: https, ports: [443], methods: [GET, HEAD], paths: ['/**'], {rest} }}\n"
    )
}

fn to(host: &str) -> Ask {
    Ask::Route(RouteAsk {
        host: host.to_owned(),
        scheme: Scheme::Https,
        port: None,
        methods: Vec::new(),
        paths: Vec::new(),
        websocket: false,
    })
}

#[track_caller]
fn approve(desk: &Desk, id: &str, scope: Scope) -> Granted {
    let review = desk.review(&desk.request(id).unwrap()).unwrap();
    desk.approve(id, Approval { scope, rule: None, review, words: "yes".to_owned() }, By::Page).unwrap().1
}

#[track_caller]
fn granted(desk: &Desk, host: &str, scope: Scope) -> Granted {
    let id = desk.ask(to(host), "").unwrap().id;
    approve(desk, &id, scope)
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
    result.unwrap_err().reason
}

#[test]
fn an_approval_becomes_a_file_and_its_end_takes_the_file_away() {
    let place = Place::new();
    let desk = place.open();
    let grant = granted(&desk, "api.example.com", Scope::Seconds(900));
    assert_eq!(place.files(), [format!("{}.yaml", grant.id)]);
    desk.revoke(&grant.id, By::Terminal).unwrap();
    assert!(place.files().is_empty());
    assert_eq!(code(desk.revoke(&grant.id, By::Terminal)), Reason::GrantUnknown);
    assert_eq!(place.log(), ["approve", "revoke"]);
}

#[test]
fn a_grant_is_in_force_again_after_a_restart_without_a_gap_and_a_revoked_one_is_not() {
    let place = Place::new();
    let desk = place.open();
    let kept = granted(&desk, "a.example.com", Scope::Bottle);
    let revoked = granted(&desk, "b.example.com", Scope::Bottle);
    let file = place.path("grants").join(format!("{}.yaml", revoked.id));
    let old = fs::read(&file).unwrap();
    desk.revoke(&revoked.id, By::Page).unwrap();
    drop(desk);
    // As if the power had gone before the file was.
    fs::write_atomic(&file, &old, 0o644).unwrap();
    let inode = |id: &str| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(&place.path("grants").join(format!("{id}.yaml"))).unwrap().ino()
    };
    let before = inode(&kept.id);
    let desk = place.open();
    assert_eq!(place.files(), [format!("{}.yaml", kept.id)]);
    assert_eq!(inode(&kept.id), before);
    assert_eq!(desk.grants(true, 10).unwrap().len(), 1);
}

#[test]
fn an_expired_grant_is_not_revived_by_a_clock_that_is_set_back_nor_by_a_restart() {
    let place = Place::new();
    let desk = place.open();
    let grant = granted(&desk, "api.example.com", Scope::Seconds(60));
    later(61);
    assert!(desk.grants(true, 10).unwrap().is_empty());
    assert!(code(desk.revoke(&grant.id, By::Page)) == Reason::GrantUnknown);
    desk.look().unwrap();
    assert!(place.files().is_empty());
    later(-100_000);
    desk.look().unwrap();
    drop(desk);
    let desk = place.open();
    desk.look().unwrap();
    assert!(place.files().is_empty());
    assert_eq!(place.log(), ["approve", "expire"]);
}

#[test]
fn a_clock_that_is_set_back_between_two_lives_makes_no_grant_last_longer() {
    let place = Place::new();
    let desk = place.open();
    granted(&desk, "api.example.com", Scope::Seconds(600));
    later(300);
    desk.look().unwrap();
    drop(desk);
    later(-100_000);
    let desk = place.open();
    let left = desk.look().unwrap().unwrap();
    assert!(left <= 300 + CLOCK_PERIOD, "{left}");
    later(100_000 + 301);
    desk.look().unwrap();
    assert!(place.files().is_empty());
}

#[test]
fn a_clock_that_jumps_ahead_ends_grants_and_back_again_revives_none() {
    let place = Place::new();
    let desk = place.open();
    granted(&desk, "a.example.com", Scope::Seconds(600));
    granted(&desk, "b.example.com", Scope::Bottle);
    later(1_000_000);
    desk.look().unwrap();
    later(-1_000_000);
    desk.look().unwrap();
    assert_eq!(place.files().len(), 1);
    // What is approved after that lasts as long as was said.
    let grant = granted(&desk, "c.example.com", Scope::Seconds(60));
    later(1_000_000 + 61);
    desk.look().unwrap();
    assert!(!place.files().contains(&format!("{}.yaml", grant.id)));
}

#[test]
fn what_the_store_does_not_vouch_for_is_removed() {
    let place = Place::new();
    let stray = place.path("grants").join("g-stray.yaml");
    let half = place.path("grants").join(".g-half.yaml.7.tmp");
    for path in [&stray, &half] {
        fs::write_atomic(path, b"version: 1", 0o644).unwrap();
    }
    let desk = place.open();
    assert!(place.files().is_empty());
    fs::write_atomic(&stray, b"version: 1", 0o644).unwrap();
    desk.look().unwrap();
    assert!(place.files().is_empty());
}

#[test]
fn a_grant_whose_file_was_changed_is_written_again() {
    let place = Place::new();
    let desk = place.open();
    let grant = granted(&desk, "api.example.com", Scope::Bottle);
    let path = place.path("grants").join(format!("{}.yaml", grant.id));
    let good = fs::read(&path).unwrap();
    fs::write_atomic(&path, b"version: 1\nroutes: []\n", 0o644).unwrap();
    desk.look().unwrap();
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn a_store_that_can_not_be_relied_on_puts_no_grant_in_force() {
    let place = Place::new();
    let desk = place.open();
    granted(&desk, "api.example.com", Scope::Bottle);
    drop(desk);
    let store = place.path("state/store.db");
    std::fs::File::options().write(true).open(&store).unwrap().set_len(5_000).unwrap();
    let refused = Desk::open(place.places()).unwrap_err();
    assert!(refused.message.contains("can't be relied on"), "{refused}");
    assert!(place.files().is_empty());
}

#[test]
fn a_second_desk_is_refused_and_leaves_the_grants_of_the_first_one_alone() {
    let place = Place::new();
    let desk = place.open();
    granted(&desk, "api.example.com", Scope::Bottle);
    assert!(Desk::open(place.places()).unwrap_err().message.contains("in use"));
    assert_eq!(place.files().len(), 1);
}

#[test]
fn an_approval_is_bound_to_what_was_reviewed() {
    let place = Place::new();
    let desk = place.open();
    let first = desk.ask(to("a.example.com"), "").unwrap();
    let second = desk.ask(to("b.example.com"), "").unwrap();
    let approval =
        |review: String| Approval { scope: Scope::Bottle, rule: None, review, words: String::new() };
    let of_first = desk.review(&first).unwrap();
    let of_second = desk.review(&second).unwrap();
    assert_eq!(code(desk.approve(&first.id, approval(of_second.clone()), By::Page)), Reason::ReviewStale);
    desk.approve(&first.id, approval(of_first.clone()), By::Page).unwrap();
    // Another grant is in force now.
    assert_eq!(code(desk.approve(&second.id, approval(of_second), By::Page)), Reason::ReviewStale);
    let again = desk.review(&second).unwrap();
    place.manifest(&format!("- {}", route("new.example.com", "")));
    assert_eq!(code(desk.approve(&second.id, approval(again), By::Page)), Reason::ReviewStale);
    assert_eq!(code(desk.approve(&first.id, approval(of_first), By::Page)), Reason::RequestClosed);
}

#[test]
fn of_racing_approvals_one_wins() {
    let place = Place::new();
    let desk = Arc::new(place.open());
    let request = desk.ask(to("api.example.com"), "").unwrap();
    let review = desk.review(&request).unwrap();
    let racers: Vec<_> = (0..8)
        .map(|number| {
            let (desk, id, review) = (Arc::clone(&desk), request.id.clone(), review.clone());
            std::thread::spawn(move || {
                let approval =
                    Approval { scope: Scope::Seconds(60 + number), rule: None, review, words: String::new() };
                desk.approve(&id, approval, By::Page).is_ok()
            })
        })
        .collect();
    let won = racers.into_iter().map(|racer| racer.join().unwrap()).filter(|won| *won).count();
    assert_eq!(won, 1);
    assert_eq!(place.files().len(), 1);
    assert_eq!(place.log(), ["approve"]);
}

#[test]
fn identical_requests_are_one_with_a_count_and_the_first_words() {
    let place = Place::new();
    let desk = place.open();
    let first = desk.ask(to("api.example.com"), "the truth").unwrap();
    for _ in 0..1_000 {
        let again = desk.ask(to("API.example.com."), "another story").unwrap();
        assert_eq!((&again.id, again.reason.as_str()), (&first.id, "the truth"));
    }
    assert_eq!(desk.requests(true, 10).unwrap().len(), 1);
    later(2);
    desk.look().unwrap();
    assert_eq!(desk.request(&first.id).unwrap().count, 1_001);
    desk.ask(to("api.example.com"), "").unwrap();
    assert_eq!(desk.request(&first.id).unwrap().count, 1_002);
    assert_eq!(desk.reject(&first.id, "no", By::Page).unwrap().count, 1_002);
}

#[test]
fn a_flood_of_ten_thousand_requests_leaves_a_bounded_desk() {
    let place = Place::new();
    let desk = place.open();
    let (mut taken, mut refused) = (0, 0);
    for number in 0..10_000 {
        match desk.ask(to(&format!("h{number}.example.com")), "flood") {
            Ok(_) => taken += 1,
            Err(error) => {
                assert_eq!(error.reason, Reason::DeskFull);
                refused += 1;
            }
        }
    }
    assert_eq!((taken, refused), (AGENT.pending, 10_000 - AGENT.pending));
}

#[test]
fn taking_requests_back_makes_no_room_for_a_flood_of_decisions() {
    let place = Place::new();
    let desk = place.open();
    let mut made = 0;
    for number in 0..200 {
        if let Ok(request) = desk.ask(to(&format!("h{number}.example.com")), "") {
            desk.withdraw(&request.id).unwrap();
            made += 1;
        }
    }
    assert_eq!(made, AGENT.made.0);
    assert_eq!(place.log().len(), AGENT.made.0);
    later(700);
    desk.ask(to("later.example.com"), "").unwrap();
}

#[test]
fn what_was_answered_is_not_asked_again_at_once() {
    let place = Place::new();
    let desk = place.open();
    let asked = desk.ask(to("api.example.com"), "").unwrap();
    desk.reject(&asked.id, "use the mirror", By::Page).unwrap();
    let refused = desk.ask(to("api.example.com"), "please").unwrap_err();
    assert_eq!(refused.reason, Reason::AskRepeated);
    assert!(refused.message.contains("use the mirror"));
    later(301);
    let asked = desk.ask(to("api.example.com"), "please").unwrap();
    desk.withdraw(&asked.id).unwrap();
    assert_eq!(code(desk.ask(to("api.example.com"), "")), Reason::AskRepeated);
    later(61);
    let grant = granted(&desk, "api.example.com", Scope::Bottle);
    assert_eq!(code(desk.ask(to("api.example.com"), "")), Reason::AskNeedless);
    desk.revoke(&grant.id, By::Page).unwrap();
    assert_eq!(code(desk.ask(to("api.example.com"), "")), Reason::AskRepeated);
    later(301);
    desk.ask(to("api.example.com"), "").unwrap();
}

#[test]
fn what_was_approved_in_part_is_not_asked_again_at_once() {
    let place = Place::new();
    let desk = place.open();
    let asked = desk.ask(to("api.example.com"), "").unwrap();
    let Rule::Route(route) = asked.rule.clone() else { unreachable!() };
    let narrow = Rule::Route(crate::policy::egress::Route { paths: vec!["/v1/**".to_owned()], ..route });
    let review = desk.review(&asked).unwrap();
    let approval =
        Approval { scope: Scope::Bottle, rule: Some(narrow.clone()), review, words: "v1 will do".to_owned() };
    let (_, grant) = desk.approve(&asked.id, approval, By::Page).unwrap();
    assert_eq!(grant.rule, narrow);
    let refused = desk.ask(to("api.example.com"), "").unwrap_err();
    assert_eq!(refused.reason, Reason::AskRepeated);
    assert!(refused.message.contains("v1 will do"));
}

#[test]
fn a_wider_rule_than_the_asked_one_is_not_approved() {
    let place = Place::new();
    let desk = place.open();
    let asked = desk.ask(to("api.example.com"), "").unwrap();
    let Rule::Route(route) = asked.rule.clone() else { unreachable!() };
    let wide = crate::policy::egress::Route { methods: vec!["ANY".to_owned()], ..route };
    let review = desk.review(&asked).unwrap();
    let approval =
        Approval { scope: Scope::Bottle, rule: Some(Rule::Route(wide)), review, words: String::new() };
    assert_eq!(code(desk.approve(&asked.id, approval, By::Page)), Reason::TooWide);
    assert!(place.files().is_empty());
    assert!(desk.request(&asked.id).unwrap().state.is_pending());
}

#[test]
fn a_time_that_is_none_or_too_long_is_not_approved() {
    let place = Place::new();
    let desk = place.open();
    let asked = desk.ask(to("api.example.com"), "").unwrap();
    for seconds in [0, MAX_SECONDS + 1, u64::MAX] {
        let review = desk.review(&asked).unwrap();
        let approval = Approval { scope: Scope::Seconds(seconds), rule: None, review, words: String::new() };
        assert_eq!(code(desk.approve(&asked.id, approval, By::Page)), Reason::TooWide);
    }
}

#[test]
fn a_megabyte_of_reason_is_cut_and_made_harmless() {
    let place = Place::new();
    let desk = place.open();
    let reason = format!("\u{1b}]0;owned\u{7}<script>\u{202e}{}", "x".repeat(1 << 20));
    let asked = desk.ask(to("api.example.com"), &reason).unwrap();
    assert!(asked.reason.len() <= MAX_WORDS * 4);
    assert!(asked.reason.starts_with("?]0;owned?<script>?x"));
}

#[test]
fn a_request_that_nobody_decides_expires_and_can_not_be_approved() {
    let place = Place::new();
    let desk = place.open();
    let asked = desk.ask(to("api.example.com"), "").unwrap();
    let review = desk.review(&asked).unwrap();
    later(PATIENCE.cast_signed() + 1);
    desk.look().unwrap();
    assert!(matches!(desk.request(&asked.id).unwrap().state, State::Expired { .. }));
    let approval = Approval { scope: Scope::Bottle, rule: None, review, words: String::new() };
    assert_eq!(code(desk.approve(&asked.id, approval, By::Page)), Reason::RequestClosed);
    assert_eq!(code(desk.withdraw(&asked.id)), Reason::RequestClosed);
}

#[test]
fn an_always_grant_is_retired_when_the_manifest_has_its_very_rule() {
    let place = Place::new();
    let desk = place.open();
    let always = granted(&desk, "api.example.com", Scope::Always);
    let bottle = granted(&desk, "two.example.com", Scope::Bottle);
    place.manifest(&format!("- {}", route("api.example.com", "credential: one")));
    desk.look().unwrap();
    assert_eq!(place.files().len(), 2, "another credential is another rule");
    place.manifest(&format!("- {}- {}", route("api.example.com", ""), route("two.example.com", "")));
    desk.look().unwrap();
    assert_eq!(place.files(), [format!("{}.yaml", bottle.id)]);
    let all = desk.grants(false, 10).unwrap();
    let ended = all.iter().find(|grant| grant.id == always.id).unwrap().ended.clone();
    assert!(ended.is_some_and(|ended| ended.cause == EndCause::Retired));
    // The manifest drops the rule again: what has ended stays so.
    place.manifest("");
    desk.look().unwrap();
    assert_eq!(place.files(), [format!("{}.yaml", bottle.id)]);
}

#[test]
fn a_grant_that_the_manifest_no_longer_bears_is_kept_out_of_force() {
    let place = Place::new();
    let desk = place.open();
    place.manifest(&format!("- {}", route("10.1.2.3", "private: true").replace("[GET, HEAD]", "[PUT]")));
    let Granted { rule, .. } = granted(&desk, "10.1.2.3", Scope::Bottle);
    assert!(matches!(rule, Rule::Route(route) if route.private));
    granted(&desk, "known.example.com", Scope::Bottle);
    assert_eq!(place.files().len(), 2);
    place.manifest("");
    desk.look().unwrap();
    assert_eq!(place.files().len(), 1);
    place.policy("deny:\n- { source: 'b:5', host: known.example.com }\nroutes: []\n");
    desk.look().unwrap();
    assert!(place.files().is_empty());
}

#[test]
fn a_policy_that_can_not_be_read_ends_nothing_and_approves_nothing() {
    let place = Place::new();
    let desk = place.open();
    granted(&desk, "a.example.com", Scope::Always);
    let asked = desk.ask(to("b.example.com"), "").unwrap();
    let review = desk.review(&asked).unwrap();
    fs::write_atomic(&place.path("policy.yaml"), b"version: [", 0o644).unwrap();
    desk.look().unwrap();
    assert_eq!(place.files().len(), 1);
    let approval = Approval { scope: Scope::Bottle, rule: None, review, words: String::new() };
    assert_eq!(code(desk.approve(&asked.id, approval, By::Page)), Reason::StoreFailed);
}

#[test]
fn a_push_is_asked_for_and_granted() {
    let place = Place::new();
    let desk = place.open();
    let push = PushAsk {
        repository: "app".to_owned(),
        refs: "agent/**".to_owned(),
        operations: vec![PushOperation::Create, PushOperation::FastForward],
    };
    let asked = desk.ask(Ask::Push(push), "").unwrap();
    let grant = approve(&desk, &asked.id, Scope::Seconds(60));
    let text = fs::read_to_string(&place.path("grants").join(format!("{}.yaml", grant.id))).unwrap();
    assert!(text.contains("refs/heads/agent/**"), "{text}");
}

#[test]
fn a_revocation_that_the_disk_does_not_take_is_in_force_all_the_same() {
    let place = Place::new();
    let desk = place.open();
    let grant = granted(&desk, "api.example.com", Scope::Bottle);
    desk.lock().store.fail(true);
    assert_eq!(code(desk.revoke(&grant.id, By::Page)), Reason::StoreFailed);
    assert!(place.files().is_empty());
    desk.look().unwrap_err();
    assert!(place.files().is_empty());
    assert!(desk.grants(true, 10).unwrap().is_empty());
    desk.lock().store.fail(false);
    desk.look().unwrap();
    assert_eq!(place.log(), ["approve", "revoke"]);
}

#[test]
fn an_approval_that_the_disk_does_not_take_is_none() {
    let place = Place::new();
    let desk = place.open();
    let asked = desk.ask(to("api.example.com"), "").unwrap();
    let review = desk.review(&asked).unwrap();
    desk.lock().store.fail(true);
    let approval = Approval { scope: Scope::Bottle, rule: None, review, words: String::new() };
    assert_eq!(code(desk.approve(&asked.id, approval, By::Page)), Reason::StoreFailed);
    desk.lock().store.fail(false);
    assert!(place.files().is_empty());
    assert!(desk.request(&asked.id).unwrap().state.is_pending());
    granted(&desk, "other.example.com", Scope::Bottle);
    assert_eq!(place.log(), ["approve"]);
}

#[test]
fn everybody_who_listens_hears_of_a_change() {
    let place = Place::new();
    let desk = place.open();
    let mut changes = desk.subscribe();
    changes.mark_unchanged();
    desk.ask(to("api.example.com"), "").unwrap();
    assert!(changes.has_changed().unwrap());
}

#[test]
fn what_is_approved_once_is_over_when_the_sidecar_has_used_it() {
    let place = Place::new();
    let desk = place.open();
    let grant = granted(&desk, "api.example.com", Scope::Once);
    let text = fs::read_to_string(&place.path("grants").join(format!("{}.yaml", grant.id))).unwrap();
    assert!(text.contains("once: true"), "{text}");
    desk.look().unwrap();
    assert_eq!(place.files().len(), 1);
    assert_eq!(code(desk.ask(to("api.example.com"), "")), Reason::AskNeedless);
    Used::of(&place.path("egress")).claim(&grant.id, grant.until).unwrap();
    // From the mark on, not from the next look.
    assert!(desk.grants(true, 10).unwrap().is_empty());
    assert_eq!(code(desk.revoke(&grant.id, By::Page)), Reason::GrantUnknown);
    desk.look().unwrap();
    assert!(place.files().is_empty());
    let ended = desk.grants(false, 1).unwrap().remove(0).ended;
    assert_eq!(ended.map(|ended| ended.cause), Some(EndCause::Used));
    assert_eq!(place.log(), ["approve", "use"]);
    // What was used up can be asked for again at once, and the old mark does nothing to the new grant.
    granted(&desk, "api.example.com", Scope::Once);
    drop(desk);
    let desk = place.open();
    assert_eq!(desk.grants(true, 10).unwrap().len(), 1);
    assert_eq!(place.files().len(), 1);
}

#[test]
fn a_mark_that_was_made_while_supervise_was_away_ends_the_grant_before_its_file_comes_back() {
    let place = Place::new();
    let grant = granted(&place.open(), "api.example.com", Scope::Once);
    fs::remove_file(&place.path("grants").join(format!("{}.yaml", grant.id))).unwrap();
    Used::of(&place.path("egress")).claim(&grant.id, grant.until).unwrap();
    let desk = place.open();
    assert!(place.files().is_empty());
    assert_eq!(place.log(), ["approve", "use"]);
    assert!(desk.grants(true, 10).unwrap().is_empty());
}

#[test]
fn a_mark_of_the_other_sidecar_or_on_a_lasting_grant_means_nothing() {
    let place = Place::new();
    let desk = place.open();
    let once = granted(&desk, "a.example.com", Scope::Once);
    let lasting = granted(&desk, "b.example.com", Scope::Bottle);
    Used::of(&place.path("gate")).claim(&once.id, None).unwrap();
    Used::of(&place.path("egress")).claim(&lasting.id, None).unwrap();
    desk.look().unwrap();
    assert_eq!(place.files().len(), 2);
}

#[test]
fn what_was_approved_once_and_never_used_ends_after_8_hours() {
    let place = Place::new();
    let desk = place.open();
    let grant = granted(&desk, "api.example.com", Scope::Once);
    assert_eq!(grant.until, Some(grant.at + ONCE));
    later(ONCE.cast_signed() + 1);
    desk.look().unwrap();
    assert!(place.files().is_empty());
    assert_eq!(place.log(), ["approve", "expire"]);
}

#[test]
fn held_requests_have_a_room_of_their_own() {
    let place = Place::new();
    let desk = place.open();
    let mine = desk.ask(to("mine.example.com"), "my words").unwrap();
    let mut taken = 0;
    for number in 0..1_000 {
        match desk.held(to(&format!("h{number}.example.com"))) {
            Ok(request) => {
                assert_eq!((request.origin, request.reason.as_str()), (Origin::Held, ""));
                taken += 1;
            }
            Err(refused) => assert_eq!(refused.reason, Reason::DeskFull),
        }
    }
    assert_eq!(taken, HELD.pending);
    assert!(desk.request(&mine.id).unwrap().state.is_pending());
    for number in 1..AGENT.pending {
        desk.ask(to(&format!("a{number}.example.com")), "").unwrap();
    }
    // The same one is counted, whoever asks, and is nobody else's then.
    assert_eq!(desk.held(to("mine.example.com")).unwrap().count, 2);
    assert_eq!(desk.request(&mine.id).unwrap().origin, Origin::Agent);
    // Nobody repeats them: they make room for others after an hour.
    later(PATIENCE_HELD.cast_signed() + 1);
    desk.look().unwrap();
    desk.held(to("late.example.com")).unwrap();
    let pending = desk.requests(true, usize::MAX).unwrap();
    assert_eq!(pending.len(), AGENT.pending + 1);
}

#[test]
fn many_held_requests_in_a_row_are_bounded_too() {
    let place = Place::new();
    let desk = place.open();
    let mut taken = 0;
    for number in 0..200 {
        if let Ok(request) = desk.held(to(&format!("h{number}.example.com"))) {
            desk.reject(&request.id, "", By::Page).unwrap();
            taken += 1;
        }
    }
    assert_eq!(taken, HELD.made.0);
    desk.ask(to("mine.example.com"), "").unwrap();
}

#[test]
fn the_agent_gives_a_held_request_its_words_and_nothing_else() {
    let place = Place::new();
    let desk = place.open();
    let held = desk.held(to("api.example.com")).unwrap();
    let asked = desk.ask(to("api.example.com"), "to read the news").unwrap();
    assert_eq!(asked.id, held.id);
    assert_eq!((asked.origin, asked.reason.as_str(), asked.count), (Origin::Agent, "to read the news", 2));
    assert_eq!(asked.rule, held.rule);
    desk.reject(&asked.id, "no", By::Page).unwrap();
    assert_eq!(code(desk.held(to("api.example.com"))), Reason::AskRepeated);
}
