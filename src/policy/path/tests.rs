//! Attacks on paths, and what ordinary clients send.

use super::{Pattern, Readings};

mod origins;

/// Whether a route with these patterns allows the path: each reading is matched. `None` for an ambiguous path.
fn allows(patterns: &[&str], path: &str) -> Option<bool> {
    let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).expect(text)).collect();
    let readings = Readings::of(path).ok()?;
    Some(readings.each().all(|reading| patterns.iter().any(|pattern| pattern.matches(reading))))
}

/// Whether a deny rule with this pattern matches any reading.
fn denies(pattern: &str, path: &str) -> bool {
    let pattern = Pattern::parse(pattern).expect(pattern);
    Readings::of(path).expect(path).each_and_opaque().any(|reading| pattern.covers(reading))
}

#[test]
fn an_allowed_directory_is_not_left() {
    let attacks = [
        "/ok/../denied",
        "/ok/..%2fdenied",
        "/ok/..%2Fdenied",
        "/ok%2f..%2fdenied",
        "/ok%2f../denied",
        "/ok/%2e%2e/denied",
        "/ok/%2E%2E/denied",
        "/ok/.%2e/denied",
        "/ok/%2e./denied",
        "/ok/%2e%2e%2fdenied",
        "/ok//../denied",
        "/ok///..//../denied",
        "/ok/x/../../denied",
        "/ok/./../denied",
        "/ok/x/%2e%2e/%2e%2e/denied",
        "/ok/..;/denied",
        "/ok/..;x=1/denied",
        "/ok/..%3b/denied",
        "/ok/..%3bx=1/denied",
        "/ok/%2e%2e;/denied",
        "/ok/..;%2fdenied",
        "/ok/..;/..;/ok/../denied",
        "/ok;/../denied",
        "/ok/a;b/../../denied",
        "/ok%2fx/../denied",
        "/ok/..",
        "/ok/%2e%2e",
        "/ok/../",
        "/ok/..;",
        "//ok/x",
        "/%2fok/x",
        "/ok%3f/x",
        "/x/../ok/y",
    ];
    for path in attacks {
        assert_ne!(allows(&["/ok/*", "/ok/*/**"], path), Some(true), "`{path}` was allowed");
    }
}

#[test]
fn a_denied_path_is_denied_in_every_spelling() {
    let spellings = [
        "/denied/x",
        "/denied%2fx",
        "/denied%2Fx",
        "/d%65nied/x",
        "/%64%65%6e%69%65%64/%78",
        "//denied/x",
        "/denied//x",
        "/./denied/x",
        "/%2e/denied/x",
        "/ok/../denied/x",
        "/ok/..%2fdenied/x",
        "/ok/%2e%2e%2fdenied%2fx",
        "/ok/..;/denied/x",
        "/denied;v=1/x",
        "/denied%3bv=1/x",
        "/denied/x;y/../x",
        "/denied/x%3fy",
        "/denied/x%23y",
        "//host/denied/x",
        "/%2fhost/denied/x",
        "//host%2fdenied/x",
        "/d%2565nied/x",
        "/%25%36%34enied/x",
        "/denied/%78",
        "/ok/.%2e/d%65nied/x",
    ];
    for path in spellings {
        assert!(denies("/denied/x", path), "`{path}` was not denied");
        assert!(denies("/denied/**", path), "`{path}` was not denied");
    }
    assert!(denies("/denied", "/denied/") && denies("/denied/", "/denied") && denies("/", "/"));
    assert!(!denies("/", "/denied") && !denies("/denied", "/denied/x"));
    // The letter's case is another path.
    assert!(!denies("/denied/x", "/Denied/x"));
    assert!(!denies("/denied/x", "/denied/xy"));
    assert!(!denies("/denied/x", "/ok/denied/x"));
}

#[test]
fn an_escaped_slash_is_part_of_a_segment_for_a_deny_rule_too() {
    assert!(denies("/files/*", "/files/a%2fb"));
    assert!(denies("/files/a/b", "/files/a%2fb"));
    assert!(denies("/*", "/@scope%2fname"));
}

#[test]
fn what_has_no_sane_reading_is_ambiguous() {
    let paths = [
        // No path.
        "",
        "*",
        "ok",
        "ok/x",
        "http://example.org/ok",
        "?",
        // Raw characters that the HTTP layer would not pass either.
        "/ok x",
        "/ok\tx",
        "/ok\0x",
        "/ok\rx",
        "/ok\nx",
        "/ok\x7fx",
        "/ok?x",
        "/ok#x",
        "/ok/é",
        "/ok/．．/denied",
        // NUL and other control characters.
        "/ok%00",
        "/ok/%00../denied",
        "/ok%0d%0aHost:%20x",
        "/ok%09x",
        "/ok%1fx",
        "/ok%7f",
        "/ok%c2%80",
        "/ok%c2%85x",
        // Backslashes.
        "/ok\\x",
        "/ok/..\\denied",
        "/ok/..%5cdenied",
        "/ok/..%5Cdenied",
        "/ok/%5c..%5cdenied",
        // Bad escapes.
        "/ok/%",
        "/ok/%2",
        "/ok/%zz",
        "/ok/%2z",
        "/ok/%g0",
        "/ok/%u002e%u002e/denied",
        "/ok/%%32e",
        "/ok/%+2e",
        "/ok/% 2e",
        // Double encoding.
        "/ok/%252e%252e/denied",
        "/ok/.%252e/denied",
        "/ok/..%252fdenied",
        "/ok/..%252Fdenied",
        "/ok/..%255cdenied",
        "/ok/%25252e",
        "/ok/%2525",
        "/ok/%25%32%65%25%32%65/denied",
        "/ok/%25%32e",
        "/ok/..%253b/denied",
        "/ok%253fx",
        "/ok%2523x",
        "/ok%2500",
        "/ok%250a",
        "/ok/%25c0%25ae",
        "/ok/%25%2534%2531",
        // Above the root.
        "/..",
        "/../",
        "/../denied",
        "/ok/../../denied",
        "/ok/../../ok/x",
        "/ok/..%2f..%2fok/x",
        "/%2e%2e/ok",
        "/ok/..;/..;/ok",
        "//../ok",
        "/ok%2fx/../../ok",
        // Overlong and otherwise broken UTF-8.
        "/ok/%c0%ae%c0%ae/denied",
        "/ok/..%c0%afdenied",
        "/ok/%e0%80%ae",
        "/ok/%f0%80%80%ae",
        "/ok/%c1%9c",
        "/ok/%ff",
        "/ok/%e9",
        "/ok/%ed%a0%80",
        // Characters that become delimiters.
        "/ok/%ef%bc%8e%ef%bc%8e/denied",
        "/ok/..%ef%bc%8fdenied",
        "/ok/%e2%80%a4%e2%80%a4/denied",
        "/ok/..%e2%88%95denied",
        "/ok/..%ef%bc%bcdenied",
        "/ok/..%cd%be/denied",
        "/ok/%ef%bc%852e",
        // Segments of dots.
        "/ok/.../denied",
        "/ok/....",
        "/ok/..%20/denied",
        "/ok/%2e%2e%20/denied",
        "/ok/.%20/x",
        "/ok/%20../denied",
        "/ok/..%c2%a0/denied",
    ];
    for path in paths {
        assert!(Readings::of(path).is_err(), "`{path}` has the readings {:?}", Readings::of(path));
    }
}

#[test]
fn a_path_that_was_made_to_have_many_readings_is_ambiguous() {
    let path = "//a;/%2541/%2e/b%2f/..//%3b%3f//c%2f%2e%2e/%2561;//d%3f;".repeat(4);
    assert!(Readings::of(&path).is_err());
    let long = format!("/{}", "a;%2e/%2541//".repeat(4_000));
    assert!(Readings::of(&long).is_err());
}

#[test]
fn what_ordinary_clients_send_is_allowed() {
    let allowed = [
        ("/**", "/"),
        ("/**", "/@scope%2fname"),
        ("/**", "/%40scope%2fname"),
        ("/**", "/a/../b"),
        ("/**", "//a"),
        ("/@scope/*", "/@scope%2fname"),
        ("/@scope/*", "/@scope%2Fname"),
        ("/@scope/name", "/@scope%2fname"),
        ("/@scope/*", "/@scope/name"),
        ("/@scope%2fname", "/@scope%2Fname"),
        ("/@scope%2fname", "/@scope/name"),
        ("/ok/**", "/ok"),
        ("/ok/**", "/ok/"),
        ("/ok/**", "/ok/x"),
        ("/ok/**", "/ok/./x"),
        ("/ok/**", "/ok/a/../x"),
        ("/ok/**", "/ok//x"),
        ("/ok/**", "/ok/.hidden/..x/x../a..b"),
        ("/ok/**", "/ok/100%25"),
        ("/ok/**", "/ok/100%25%20sure"),
        ("/ok/**", "/ok/a%2bb+c%20d"),
        ("/ok/**", "/ok/%E6%BC%A2%e5%ad%97"),
        ("/ok/**", "/ok/x%257Ey"),
        ("/ok/**", "/ok/a;b=c"),
        ("/ok/**", "/ok/what%3F"),
        ("/ok/**", "/ok/~a!$&'()*+,=:@[]{}|^`\"<>-_"),
        ("/ok/a b", "/ok/a%20b"),
        ("/ok/a%20b", "/ok/a%20b"),
        ("/ok/漢", "/ok/%e6%bc%a2"),
        ("/ok/%e6%bc%a2", "/ok/%E6%BC%A2"),
        ("/ok/100%25", "/ok/100%25"),
        ("/v1/x:run", "/v1/x:run"),
        ("/projects/group%2Fproject/*", "/projects/group%2Fproject/issues"),
        ("/projects/group%2fpro%3Aject/*", "/projects/group%2Fpro%3aject/issues"),
        ("/simple/*/", "/simple/name/"),
    ];
    for (pattern, path) in allowed {
        assert_eq!(allows(&[pattern], path), Some(true), "`{path}` under `{pattern}`");
    }
}

#[test]
fn a_route_allows_no_more_than_it_says() {
    let refused = [
        ("/OK", "/ok"),
        ("/ok", "/OK"),
        ("/ok", "/ok/"),
        ("/ok", "/o%6b"),
        ("/ok", "/ok/x"),
        ("/ok/*", "/ok/a/b"),
        ("/ok/*", "/ok/a%2fb"),
        ("/*", "/@scope%2fname"),
        ("/ok/*", "/ok"),
        ("/ok/*", "/okx"),
        ("/ok/**", "/okx"),
        ("/a/b", "/a//b"),
        ("/a;v=1", "/a;v=1"),
        ("/a b", "/a b"),
    ];
    for (pattern, path) in refused {
        assert_ne!(allows(&[pattern], path), Some(true), "`{path}` under `{pattern}`");
    }
    // Several patterns of one route may share the readings.
    assert_eq!(allows(&["/a;v=1", "/a"], "/a;v=1"), Some(true));
    assert_eq!(allows(&["/ok", "/o%6b"], "/o%6b"), Some(true));
}

#[test]
fn each_step_may_be_taken_alone() {
    for (path, reading) in [
        // The URL Standard takes `%2e` for a dot and decodes nothing else.
        ("/ok/%2e%2e/d%65nied", "/d%65nied"),
        ("/%7Ea%3Ab", "/~a%3Ab"),
        ("/a%2fb%3Ac", "/a%2Fb:c"),
        ("/a%2fb%3Ac", "/a/b:c"),
        ("/a%2541", "/a%41"),
        ("/a%2541", "/aA"),
        ("/a;b/%3b", "/a/%3B"),
        ("/a;b/%3b", "/a;b/;"),
        ("/a//b/./c", "/a/b/./c"),
        ("/a//b/./c", "/a//b/c"),
        ("//a/b", "/b"),
        ("//a", "/"),
        ("/a%3fb", "/a"),
        ("/a/b/..", "/a"),
        ("/a/b/..", "/a/"),
        ("/a/b/%2e", "/a/b"),
    ] {
        let readings = Readings::of(path).expect(path);
        assert!(
            readings.each_and_opaque().any(|found| found == reading),
            "`{path}` has no reading `{reading}`"
        );
    }
    assert_eq!(allows(&["/ok/**", "/denied"], "/ok/%2e%2e/d%65nied"), Some(false));
}

#[test]
fn an_ordinary_path_has_one_reading_and_that_is_the_path_itself() {
    for path in ["/", "/v1/messages", "/.well-known/x", "/a/..b/c../d.e/", "/a.b", "/@x/y:z", "/x/*"] {
        let readings = Readings::of(path).expect(path);
        assert!(readings.each().chain(readings.each_and_opaque()).all(|reading| std::ptr::eq(reading, path)));
    }
}

#[test]
fn the_first_reading_is_what_was_sent() {
    for path in ["/a/../b", "/a;b", "//a", "/a%20b", "/%2e/a"] {
        let readings = Readings::of(path).expect(path);
        let first = readings.each().next().expect("there is a reading");
        assert!(first.eq_ignore_ascii_case(path), "{first} for {path}");
    }
}

#[test]
fn a_pattern_that_means_nothing_is_refused() {
    let texts = [
        "",
        "ok",
        "*",
        "**",
        "ok/**",
        "/a?b",
        "/a#b",
        "/a\\b",
        "/a\0",
        "/a\nb",
        "/a/../b",
        "/a/./b",
        "/..",
        "/a/...",
        "/a/%2e%2e/b",
        "/a%2f..%2fb",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%00",
        "/a%0a",
        "/a%5cb",
        "/a%2a",
        "/a%2A",
        "/a%ff",
    ];
    for text in texts {
        assert!(Pattern::parse(text).is_err(), "`{text}` was accepted");
    }
}

#[test]
fn specificity_is_what_stands_before_the_first_wildcard() {
    let specificity = |text| Pattern::parse(text).expect(text).specificity();
    assert!(specificity("/v1/x") > specificity("/v1/x*"));
    assert!(specificity("/v1/*") > specificity("/v1*"));
    assert!(specificity("/v1/**") > specificity("/**"));
    assert_eq!(specificity("/v1/*"), specificity("/v1/**"));
}
