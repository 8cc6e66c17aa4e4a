use std::sync::Arc;

use super::rules;
use crate::scan::{Known, MOST_HELD, scan};

fn found(text: &str) -> Vec<String> {
    let known = Arc::new(Known::builder().build());
    let mut all = Vec::new();
    scan(&known, None, text.as_bytes(), &mut |finding| all.push(finding.what.to_string()));
    all
}

#[test]
fn each_rule_finds_its_texts_and_no_other_rule_does() {
    let mut wrong = Vec::new();
    for rule in rules() {
        assert!(rule.matches().count() > 0, "{} has no text to find", rule.id);
        for text in rule.matches() {
            let found = found(&text);
            if found != [&*rule.id] {
                wrong.push(format!("{}: {text:?} is found by {found:?}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_rule_finds_what_only_looks_like_its_texts() {
    let mut wrong = Vec::new();
    for rule in rules() {
        assert!(rule.differ().count() > 0, "{} has no text to pass", rule.id);
        for text in rule.differ() {
            let found = found(&text);
            if !found.is_empty() {
                wrong.push(format!("{}: {text:?} is found by {found:?}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_has_a_name_of_its_own_and_begins_with_enough_to_look_for() {
    let mut ids: Vec<_> = rules().iter().map(|rule| &rule.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), rules().len());
    for rule in rules() {
        for start in &rule.starts {
            let begins = rule.shape.continued(start.as_bytes());
            assert!(!begins.is_empty() && begins.iter().all(|begin| begin.len() >= 4), "{}", rule.id);
        }
    }
}

#[test]
fn no_file_of_the_rules_holds_a_token() {
    let known = Arc::new(Known::builder().build());
    let text = include_str!("../rules.yaml");
    scan(&known, None, text.as_bytes(), &mut |finding| panic!("{finding:?}"));
    assert!(text.len() < MOST_HELD * 4);
}

#[test]
fn an_unknown_key_and_an_unknown_set_are_errors() {
    let rule = "- { id: a, title: b, starts: [abcd], shape: 'alnum:4', match: [[a]], differ: [[b]]";
    assert!(serde_yaml::from_str::<Vec<super::Rule>>(&format!("{rule} }}")).is_ok());
    for more in [", regex: a", ", before: letters", ", checks: [perhaps]"] {
        assert!(serde_yaml::from_str::<Vec<super::Rule>>(&format!("{rule}{more} }}")).is_err(), "{more}");
    }
    for shape in ["alnum", "alnum:a", "letters:4", "'a"] {
        let text = rule.replace("'alnum:4'", &format!("\"{shape}\""));
        assert!(serde_yaml::from_str::<Vec<super::Rule>>(&format!("{text} }}")).is_err(), "{shape}");
    }
}
