use std::cell::Cell;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use super::super::recent::Recent;

const HOUR: Duration = Duration::from_hours(1);

fn counted(cache: &Recent<String, u32>, key: &str, now: SystemTime, made: &Cell<u32>) -> u32 {
    let value = || {
        made.set(made.get() + 1);
        Ok::<_, Infallible>(made.get())
    };
    cache.get(key, now, value).unwrap_or_else(|never| match never {})
}

#[test]
fn what_is_fresh_is_made_once() {
    let (cache, made, now) = (Recent::new(8, HOUR), Cell::new(0), SystemTime::now());
    assert_eq!(counted(&cache, "a", now, &made), 1);
    assert_eq!(counted(&cache, "a", now + HOUR / 2, &made), 1);
    assert_eq!(counted(&cache, "b", now, &made), 2);
}

#[test]
fn what_is_old_is_made_anew_and_so_is_what_comes_from_the_future() {
    let (cache, made, now) = (Recent::new(8, HOUR), Cell::new(0), SystemTime::now());
    counted(&cache, "a", now, &made);
    assert_eq!(counted(&cache, "a", now + HOUR, &made), 2);
    assert_eq!(counted(&cache, "a", now, &made), 3, "the clock was set back");
    assert_eq!(cache.len(), 1);
}

#[test]
fn there_are_never_more_than_the_most_and_what_is_used_stays() {
    let (cache, made, now) = (Recent::new(16, HOUR), Cell::new(0), SystemTime::now());
    counted(&cache, "kept", now, &made);
    for index in 0..1_000_u32 {
        let later = now + Duration::from_millis(u64::from(index));
        counted(&cache, &format!("other-{index}"), later, &made);
        assert_eq!(counted(&cache, "kept", later, &made), 1);
        assert!(cache.len() <= 16);
    }
}

#[test]
fn a_failure_is_not_kept() {
    let (cache, now) = (Recent::<String, u32>::new(8, HOUR), SystemTime::now());
    assert_eq!(cache.get("a", now, || Err("no")), Err("no"));
    assert_eq!(cache.get("a", now, || Ok::<_, &str>(1)), Ok(1));
}
