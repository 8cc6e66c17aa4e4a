use std::sync::Arc;

use super::{names, pieces, whole};
use crate::scan::{Known, MOST_HELD, Scanner, rules};

fn none() -> Arc<Known> {
    Arc::new(Known::builder().build())
}

/// The text of a rule.
fn token(id: &str) -> String {
    rules().iter().find(|rule| &*rule.id == id).and_then(|rule| rule.matches().next()).unwrap()
}

#[test]
fn each_token_is_found_across_every_border() {
    let known = none();
    for rule in rules() {
        for text in rule.matches() {
            let text = format!("x {text} y");
            let expected = whole(&known, None, text.as_bytes());
            assert_eq!(names(&expected), [&*rule.id]);
            for at in 1..text.len().min(200) {
                let (first, second) = text.as_bytes().split_at(at);
                assert_eq!(expected, pieces(&known, None, [first, second]), "{} at {at}", rule.id);
            }
        }
    }
}

#[test]
fn only_what_may_be_a_beginning_is_held() {
    let known = none();
    let held = |text: &str| {
        let mut scanner = Scanner::new(Arc::clone(&known), None);
        scanner.push(text.as_bytes(), &mut |finding| panic!("{finding:?}"));
        scanner.held()
    };
    assert_eq!(held("nothing in here,"), 0);
    assert_eq!(held("a token: ghp_"), 4);
    assert_eq!(held("a token: ghp_abc"), 7);
    assert_eq!(held("a token: ghp_abc!"), 0);
    assert_eq!(held("a token: gh"), 2);
}

#[test]
fn what_never_ends_is_not_held_for_ever() {
    let known = none();
    for begin in [
        "-----BEGIN PRIVATE KEY-----\n",
        "ya29.",
        "eyJhbGciOiJIUzI1NiJ9.",
        "postgres://",
        "aws_secret_key = ",
    ] {
        let mut scanner = Scanner::new(Arc::clone(&known), None);
        scanner.push(begin.as_bytes(), &mut |_| {});
        let mut most = 0;
        for _ in 0..200 {
            scanner.push(&[b'A'; 1000], &mut |_| {});
            most = most.max(scanner.held());
        }
        assert!(most <= MOST_HELD, "{begin}: {most}");
        assert!(scanner.held() < 1000, "{begin}: {}", scanner.held());
    }
}

#[test]
fn a_token_far_into_a_stream_is_told_where_it_is() {
    let known = none();
    let mut scanner = Scanner::new(Arc::clone(&known), None);
    let block: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut seen = 0;
    for _ in 0..20 {
        scanner.push(&block, &mut |finding| panic!("{finding:?}"));
        seen += block.len() as u64;
    }
    let (text, mut all) = (format!(" {} ", token("npm-token")), Vec::new());
    for byte in text.as_bytes() {
        scanner.push(&[*byte], &mut |finding| all.push(finding));
    }
    assert_eq!(names(&all), ["npm-token"]);
    assert_eq!(all[0].place, seen + 1..seen + text.len() as u64 - 1);
    assert!(scanner.held() <= 1);
}

#[test]
fn a_token_at_the_end_of_a_stream_is_found_when_it_ends() {
    let mut scanner = Scanner::new(none(), None);
    let mut all = Vec::new();
    scanner.push(token("npm-token").as_bytes(), &mut |finding| all.push(finding));
    assert!(all.is_empty(), "it may go on");
    scanner.finish(&mut |finding| all.push(finding));
    assert_eq!(names(&all), ["npm-token"]);
    scanner.finish(&mut |finding| all.push(finding));
    assert_eq!(all.len(), 1);
}

#[test]
fn one_secret_in_another_is_told_once() {
    let token = token("github-pat");
    let within = format!("https://ci:{token}@example.org/");
    assert_eq!(names(&whole(&none(), None, within.as_bytes())), ["url-password"]);
    let twice = format!("{token} {token}");
    assert_eq!(names(&whole(&none(), None, twice.as_bytes())), ["github-pat"; 2]);
}
