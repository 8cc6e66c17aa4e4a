//! The store alone: what is durable, what is refused, and what is forgotten.

use std::path::{Path, PathBuf};

use super::super::ask::{Ask, ExceptionAsk};
use super::super::decisions::verify::Chain;
use super::super::decisions::{self, verify};
use super::super::rule::Rule;
use super::super::state::{EndCause, Ended, Granted, Origin, Request, Scope, State};
use super::{Change, Decision, FILE, Store, Unopened};
use crate::fs;
use crate::policy::grant::AllowedFinding;

fn request(id: &str, state: State) -> Request {
    let finding = AllowedFinding { repository: "app".to_owned(), finding: format!("f-{id}") };
    let ask = ExceptionAsk { repository: Some("app".to_owned()), host: None, finding: format!("f-{id}") };
    Request {
        id: id.to_owned(),
        ask: Ask::Exception(ask),
        rule: Rule::Finding(finding),
        origin: Origin::Agent,
        reason: "because".to_owned(),
        created: 1_000,
        last: 1_000,
        count: 1,
        state,
    }
}

fn grant(id: &str, request: &str, ended: Option<Ended>) -> Granted {
    let finding = AllowedFinding { repository: "app".to_owned(), finding: format!("f-{request}") };
    Granted {
        id: id.to_owned(),
        request: request.to_owned(),
        rule: Rule::Finding(finding),
        scope: Scope::Seconds(60),
        at: 1_000,
        until: Some(1_060),
        ended,
    }
}

fn decision(request: &str, verdict: &'static str, at: u64) -> Decision {
    Decision {
        verdict,
        at,
        by: "page",
        request: request.to_owned(),
        grant: None,
        scope: None,
        until: None,
        rule: "rule".to_owned(),
        words: "words".to_owned(),
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[track_caller]
    fn open(&self) -> Store {
        Store::open(self.0.path()).unwrap()
    }

    #[track_caller]
    fn broken(&self) -> String {
        match Store::open(self.0.path()) {
            Err(Unopened::Broken(refused)) => refused.message,
            other => unreachable!("{other:?}"),
        }
    }

    /// A place with this many decisions in it.
    fn with(count: u64) -> Self {
        let place = Self::new();
        let mut store = place.open();
        store.log.kept = 20;
        for number in 0..count {
            decide(&mut store, number);
        }
        drop(store);
        place
    }

    #[track_caller]
    fn chain(&self) -> Chain {
        verify(&self.path(decisions::FILE)).unwrap().unwrap()
    }
}

fn decide(store: &mut Store, number: u64) {
    let id = format!("r-{number}");
    let state = State::Rejected { words: "no".to_owned(), at: 1_000 + number };
    store
        .save(Change {
            request: Some(request(&id, state)),
            grants: Vec::new(),
            decision: Some(decision(&id, "reject", 1_000 + number)),
        })
        .unwrap();
}

fn cut(path: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write_atomic(path, bytes, 0o600).unwrap();
}

#[test]
fn what_was_saved_is_there_after_it_was_opened_again() {
    let place = Place::new();
    let mut store = place.open();
    let asked = request("r-1", State::Pending);
    store.save(Change { request: Some(asked.clone()), ..Change::default() }).unwrap();
    let given = grant("g-1", "r-1", None);
    store.save(Change { grants: vec![given.clone()], ..Change::default() }).unwrap();
    drop(store);
    let store = place.open();
    assert_eq!(store.request("r-1").unwrap(), Some(asked.clone()));
    assert_eq!(store.requests(true, 10).unwrap(), vec![asked.clone()]);
    assert_eq!(store.latest_for(&asked.rule).unwrap(), Some(asked));
    assert_eq!(store.grants(true, 10).unwrap(), vec![given]);
    assert_eq!(store.made_after(999, Origin::Agent).unwrap(), 1);
    assert_eq!(store.made_after(1_000, Origin::Agent).unwrap(), 0);
    assert_eq!(store.clock().unwrap(), 1_000);
}

#[test]
fn a_store_is_opened_by_one_process_at_a_time() {
    let place = Place::new();
    let _open = place.open();
    assert!(matches!(Store::open(place.0.path()), Err(Unopened::InUse(_))));
}

#[test]
fn a_change_of_which_one_part_fails_is_not_made_at_all() {
    let place = Place::new();
    let mut store = place.open();
    let orphan = Change {
        request: Some(request("r-1", State::Pending)),
        grants: vec![grant("g-1", "r-of-nobody", None)],
        decision: Some(decision("r-1", "approve", 1_000)),
    };
    store.save(orphan).unwrap_err();
    assert_eq!(store.request("r-1").unwrap(), None);
    decide(&mut store, 1);
    drop(store);
    assert_eq!(place.chain().decisions, Some((1, 1)));
}

#[test]
fn a_grant_that_has_ended_can_not_be_saved_as_one_in_force() {
    let mut store = Place::new().open();
    let asked = Change { request: Some(request("r-1", State::Pending)), ..Change::default() };
    store.save(asked).unwrap();
    let ended = grant("g-1", "r-1", Some(Ended { cause: EndCause::Revoked, at: 1_001 }));
    store.save(Change { grants: vec![ended.clone()], ..Change::default() }).unwrap();
    store.save(Change { grants: vec![grant("g-1", "r-1", None)], ..Change::default() }).unwrap_err();
    assert_eq!(store.grant("g-1").unwrap(), Some(ended));
}

#[test]
fn a_truncated_database_is_an_error_and_not_an_empty_store() {
    for keep in [0, 50, 100, 4_096, 8_192] {
        let place = Place::with(20);
        cut(&place.path(FILE), keep);
        let problem = place.broken();
        assert!(problem.contains("can't be relied on"), "{keep}: {problem}");
    }
}

#[test]
fn a_database_that_is_gone_while_its_log_is_there_is_an_error() {
    let place = Place::with(1);
    fs::remove_file(&place.path(FILE)).unwrap();
    assert!(place.broken().contains("it is gone"));
}

#[test]
fn pages_of_garbage_are_an_error() {
    let place = Place::with(50);
    let mut bytes = fs::read(&place.path(FILE)).unwrap();
    let end = bytes.len();
    bytes[4_096..end].fill(0x5a);
    write(&place.path(FILE), &bytes);
    assert!(place.broken().contains("can't be relied on"));
}

#[test]
fn a_file_of_another_program_or_of_a_newer_version_is_an_error() {
    let place = Place::with(1);
    let db = rusqlite::Connection::open(place.path(FILE)).unwrap();
    db.pragma_update(None, "user_version", 2).unwrap();
    drop(db);
    assert!(place.broken().contains("version 2"));
    let place = Place::new();
    rusqlite::Connection::open(place.path(FILE)).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(place.broken().contains("no store of bottle"));
}

#[test]
fn a_store_that_was_set_back_to_an_older_copy_is_found_by_the_log() {
    let place = Place::with(3);
    let old = fs::read(&place.path(FILE)).unwrap();
    let mut store = place.open();
    decide(&mut store, 4);
    drop(store);
    write(&place.path(FILE), &old);
    assert!(place.broken().contains("decisions that the store has lost"));
}

#[test]
fn a_log_that_lags_behind_is_completed() {
    for lost in [1, 10, 400, 1_000] {
        let place = Place::with(5);
        let log = fs::read(&place.path(decisions::FILE)).unwrap();
        cut(&place.path(decisions::FILE), log.len() as u64 - lost);
        drop(place.open());
        assert_eq!(fs::read(&place.path(decisions::FILE)).unwrap(), log, "{lost} bytes");
    }
}

#[test]
fn zeros_that_a_power_cut_left_at_the_end_of_the_log_are_written_over() {
    let place = Place::with(5);
    let log = fs::read(&place.path(decisions::FILE)).unwrap();
    let mut damaged = log.clone();
    let end = damaged.len();
    damaged[end - 30..].fill(0);
    damaged.extend([0; 100]);
    write(&place.path(decisions::FILE), &damaged);
    drop(place.open());
    assert_eq!(fs::read(&place.path(decisions::FILE)).unwrap(), log);
}

#[test]
fn a_log_that_was_changed_is_named_and_not_mended() {
    let place = Place::with(5);
    let mut log = fs::read(&place.path(decisions::FILE)).unwrap();
    let line = log.iter().position(|byte| *byte == b'\n').unwrap();
    log[line + 30] ^= 1;
    write(&place.path(decisions::FILE), &log);
    assert!(place.broken().contains("decision 2 is not the one of the store"));
    assert_eq!(fs::read(&place.path(decisions::FILE)).unwrap(), log);
}

#[test]
fn a_log_that_was_put_aside_goes_on_in_a_new_file() {
    let place = Place::with(50);
    fs::remove_file(&place.path(decisions::FILE)).unwrap();
    let mut store = place.open();
    decide(&mut store, 2_000);
    drop(store);
    let (first, last) = place.chain().decisions.unwrap();
    assert!(first > 1);
    assert_eq!(last, 51);
    drop(place.open());
}

#[test]
fn the_table_keeps_the_end_of_the_log_only() {
    let place = Place::with(50);
    let store = place.open();
    let count = |query: &str| store.db.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM decision") < 40);
    assert_eq!(place.chain().decisions, Some((1, 50)));
}

#[test]
fn the_oldest_closed_requests_are_forgotten_but_none_with_a_grant_in_force() {
    let mut store = Place::new().open();
    store.kept = 10;
    let approved = |grant: &str| State::Approved { grant: grant.to_owned(), words: String::new(), at: 1 };
    let ended = Some(Ended { cause: EndCause::Expired, at: 1_060 });
    let pairs = [("r-a", grant("g-a", "r-a", None)), ("r-b", grant("g-b", "r-b", ended))];
    for (id, grant) in pairs {
        let request = Some(request(id, approved(&grant.id)));
        store.save(Change { request, grants: vec![grant], decision: None }).unwrap();
    }
    store.save(Change { request: Some(request("r-c", State::Pending)), ..Change::default() }).unwrap();
    for number in 0..20 {
        decide(&mut store, number);
    }
    assert!(store.request("r-a").unwrap().is_some());
    assert!(store.grant("g-a").unwrap().is_some());
    assert!(store.request("r-b").unwrap().is_none());
    assert!(store.grant("g-b").unwrap().is_none());
    assert!(store.request("r-c").unwrap().is_some());
    assert_eq!(store.requests(false, usize::MAX).unwrap().len(), 12);
}

#[test]
fn the_saved_time_only_goes_forward() {
    let mut store = Place::new().open();
    store.save_clock(500).unwrap();
    store.save_clock(400).unwrap();
    assert_eq!(store.clock().unwrap(), 500);
}

#[test]
fn ten_thousand_requests_are_listed_and_looked_up_at_once() {
    let place = Place::new();
    let mut store = place.open();
    store.db.pragma_update(None, "synchronous", "OFF").unwrap();
    for number in 0..10_000 {
        let id = format!("r-{number}");
        let state = State::Rejected { words: "no".to_owned(), at: 1_000 };
        store.save(Change { request: Some(request(&id, state)), ..Change::default() }).unwrap();
    }
    let measure = |work: &dyn Fn() -> usize| {
        let start = std::time::Instant::now();
        assert!(work() <= 10_000);
        start.elapsed()
    };
    let limit = std::time::Duration::from_secs(5);
    assert!(measure(&|| store.requests(false, usize::MAX).unwrap().len()) < limit);
    assert!(measure(&|| store.requests(false, 100).unwrap().len()) < limit / 10);
    assert!(measure(&|| store.requests(true, 100).unwrap().len()) < limit / 10);
    assert!(measure(&|| usize::from(store.request("r-77").unwrap().is_some())) < limit / 10);
}
