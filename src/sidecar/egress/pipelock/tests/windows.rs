use proptest::prelude::*;

use crate::policy::pipelock::MAX_TEXT;
use crate::sidecar::egress::pipelock::hold::Windows;
use crate::sidecar::egress::pipelock::{OVERLAP, WINDOW};

fn windows(text: &str) -> Vec<String> {
    let mut windows = Windows::default();
    windows.push(text);
    std::iter::from_fn(|| windows.take()).map(|(window, _)| window).collect()
}

const _: () = assert!(WINDOW <= MAX_TEXT && OVERLAP < WINDOW / 2);

#[test]
fn a_short_text_is_one_window_and_an_empty_one_is_none() {
    assert_eq!(windows(""), [""; 0]);
    assert_eq!(windows("short"), ["short"]);
    assert_eq!(windows(&"x".repeat(WINDOW)).len(), 1);
    assert_eq!(windows(&"x".repeat(WINDOW + 1)).len(), 2);
}

#[test]
fn what_is_shorter_than_the_overlap_is_whole_in_a_window_wherever_it_stands() {
    let token = "t".repeat(OVERLAP - 4);
    for start in (WINDOW - OVERLAP - 8)..(WINDOW + 8) {
        if start % 97 != 0 && start.abs_diff(WINDOW) > 8 {
            continue;
        }
        let text = format!("{}{token}{}", "é".repeat(start / 2), "x".repeat(WINDOW));
        assert!(windows(&text).iter().any(|window| window.contains(&token)), "at {start}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn windows_are_within_the_limit_and_miss_nothing(
        unit in "[a-z€🦀\u{e9}]{1,7}",
        length in 0_usize..(5 * WINDOW),
    ) {
        let text = unit.repeat(length / unit.len());
        let mut whole = String::new();
        let mut all = Windows::default();
        all.push(&text);
        while let Some((window, new)) = all.take() {
            prop_assert!(window.len() <= WINDOW && new > 0);
            let (seen, fresh) = window.split_at(window.len() - new);
            prop_assert!(whole.ends_with(seen));
            // A character may stand on the border.
            prop_assert!(whole.is_empty() || seen.len() + 4 > OVERLAP.min(whole.len()));
            whole.push_str(fresh);
        }
        prop_assert_eq!(whole, text);
    }
}
