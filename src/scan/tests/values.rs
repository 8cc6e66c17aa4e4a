use std::sync::Arc;

use super::notations::written;
use super::{names, whole};
use crate::scan::{Finding, Fingerprint, Kind, Known, scan};

fn one(name: &str, value: &[u8]) -> Arc<Known> {
    Arc::new(Known::builder().credential(name, value).build())
}

/// What is found in what follows a word.
fn found(known: &Arc<Known>, text: &[u8]) -> Vec<Finding> {
    whole(known, None, &[b"it is ", text, b" here"].concat())
}

#[test]
fn the_same_secret_has_one_fingerprint_in_every_notation() {
    let known = one("api", b"k7Zq2/mX9vTr4WnB8sYc");
    let plain = found(&known, b"k7Zq2/mX9vTr4WnB8sYc");
    assert_eq!((plain.len(), plain[0].place.clone(), plain[0].kind), (1, 6..26, Kind::Credential));
    for notation in
        ["json-slash", "json-all", "percent-all", "base64", "base64-after-1", "base64-after-2", "hex"]
    {
        let again = found(&known, &written(notation, b"k7Zq2/mX9vTr4WnB8sYc"));
        assert_eq!(again.len(), 1, "{notation}");
        assert_eq!(again[0].fingerprint, plain[0].fingerprint, "{notation}");
    }
    let other = found(&one("other", b"k7Zq2/mX9vTr4WnB8sYc"), b"k7Zq2/mX9vTr4WnB8sYc");
    assert_ne!(other[0].fingerprint, plain[0].fingerprint);
}

#[test]
fn a_fingerprint_is_sixteen_digits_and_reads_as_itself() {
    let fingerprint = found(&one("api", b"k7Zq2LmX9v"), b"k7Zq2LmX9v")[0].fingerprint;
    let text = fingerprint.to_string();
    assert_eq!((text.len(), text.parse()), (16, Ok(fingerprint)));
    for wrong in ["", "0123", "0123456789ABCDEF", "+123456789abcdef", "0123456789abcdef0"] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}

#[test]
fn nothing_of_a_value_is_in_what_debug_shows() {
    let builder = Known::builder().credential("api", b"k7Zq2LmX9v").placeholder("other", b"stands-for-it");
    let shown = format!("{builder:?}");
    let known = format!("{:?}", builder.build());
    for shown in [shown, known] {
        assert!(shown.contains("api") && shown.contains("other"), "{shown}");
        assert!(!shown.contains("k7Zq") && !shown.contains("stands") && !shown.contains("107"), "{shown}");
    }
}

#[test]
fn a_value_of_less_than_six_bytes_is_not_searched_for_and_one_of_less_than_eight_counts_alone() {
    assert!(found(&one("api", b"a1b2c"), b"a1b2c").is_empty());
    let known = one("api", b"a1b2c3");
    for text in
        ["a1b2c3", "\"a1b2c3\"", "x=a1b2c3&y", "%22a1b2c3%22", "\\na1b2c3\\n", "\\u0022a1b2c3", "_a1b2c3-"]
    {
        assert_eq!(names(&found(&known, text.as_bytes())), ["api"], "{text}");
    }
    for text in ["xa1b2c3", "a1b2c3x", "0a1b2c34", "na1b2c3"] {
        assert!(found(&known, text.as_bytes()).is_empty(), "{text}");
    }
    for notation in ["base64", "base64-after-1", "base64-after-2", "hex"] {
        assert_eq!(names(&found(&known, &written(notation, b"a1b2c3"))), ["api"], "{notation}");
    }
    assert_eq!(names(&found(&one("api", b"a1b2c3d4"), b"xa1b2c3d4x")), ["api"]);
}

#[test]
fn a_pair_of_user_and_secret_is_found_within_the_basic_scheme() {
    let known = one("api", b"k7Zq2LmX9vTr");
    for user in ["", "a", "ab", "abc", "reader"] {
        let value = written("base64", format!("{user}:k7Zq2LmX9vTr").as_bytes());
        assert_eq!(names(&found(&known, &[b"Basic ", &value[..]].concat())), ["api"], "{user}");
    }
}

#[test]
fn the_placeholder_of_the_route_may_stand_there_and_that_of_another_may_not() {
    let builder = Known::builder().placeholder("api", b"bottle-placeholder-api");
    let known = Arc::new(builder.placeholder("db", b"bottle-placeholder-db").build());
    let text = b"bottle-placeholder-api bottle-placeholder-db";
    assert_eq!(names(&whole(&known, None, text)), ["api", "db"]);
    let others = whole(&known, Some("api"), text);
    assert_eq!((names(&others), others[0].kind), (vec!["db"], Kind::Placeholder));
}

#[test]
fn a_placeholder_with_the_shape_of_a_token_is_no_token() {
    let rule = crate::scan::rules().iter().find(|rule| &*rule.id == "anthropic-key").unwrap();
    let shaped = rule.matches().next().unwrap();
    let known = Arc::new(Known::builder().placeholder("api", shaped.as_bytes()).build());
    assert!(whole(&known, Some("api"), shaped.as_bytes()).is_empty());
    assert_eq!(
        whole(&known, None, shaped.as_bytes()).iter().map(|f| f.kind).collect::<Vec<_>>(),
        [Kind::Placeholder]
    );
    // A placeholder in a URL is no password.
    let known = Arc::new(Known::builder().placeholder("db", b"held-7f3a-by-bottle").build());
    assert!(whole(&known, Some("db"), b"postgres://app:held-7f3a-by-bottle@db/app").is_empty());
}

#[test]
fn a_credential_with_the_shape_of_a_token_is_told_as_the_credential() {
    let rule = crate::scan::rules().iter().find(|rule| &*rule.id == "github-pat").unwrap();
    let token = rule.matches().next().unwrap();
    let findings = found(&one("forge", token.as_bytes()), token.as_bytes());
    assert_eq!((names(&findings), findings[0].kind), (vec!["forge"], Kind::Credential));
}

#[test]
fn all_of_a_long_value_is_found_in_parts() {
    let value: Vec<u8> =
        (0..16 << 10).map(|at: u32| b'!' + (at.wrapping_mul(2_654_435_761) >> 25) as u8 % 90).collect();
    let known = one("key", &value);
    for notation in ["plain", "json-all", "base64", "hex"] {
        let text = written(notation, &value);
        let mut covered = 0;
        scan(&known, None, &text, &mut |finding| {
            assert!(
                finding.place.start >= covered && finding.place.start <= covered + 8,
                "{notation} {finding:?}"
            );
            covered = finding.place.end;
        });
        assert!(covered + 4 >= text.len() as u64, "{notation}: {covered} of {}", text.len());
    }
}

#[test]
fn a_part_of_a_value_is_not_the_value() {
    let known = one("api", b"k7Zq2LmX9vTr4WnB8sYc");
    for text in [&b"k7Zq2LmX9vTr4WnB8sY"[..], b"k7Zq2LmX9vTr4WnB8sYd", b"7Zq2LmX9vTr4WnB8sYc"] {
        assert!(found(&known, text).is_empty());
    }
}
