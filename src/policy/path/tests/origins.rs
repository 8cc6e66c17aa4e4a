//! Independent models of how origins read a path: what was allowed is allowed as each of them reads it, and what was not
//! denied is not what one of them takes for a denied path.
//!
//! None of them uses the steps of this module.

#![expect(clippy::string_slice, reason = "a model is as plain as can be; where it panics a test fails")]

use proptest::prelude::*;

use super::super::super::glob;
use super::super::{Pattern, Readings};

type Origin = fn(&str) -> Option<String>;

/// The models, by the programs that read like this.
const ORIGINS: &[(&str, Origin)] = &[
    ("node: as sent", |path| Some(path.to_owned())),
    ("node: WHATWG URL", |path| {
        let mut rest = path;
        if let Some(authority) = path.strip_prefix("//") {
            rest = authority.find('/').map_or("/", |at| &authority[at..]);
        }
        let dot = |segment: &str| segment.to_ascii_lowercase().replace("%2e", ".");
        stack(rest, &|segment| match dot(segment).as_str() {
            "." => ".".to_owned(),
            ".." => "..".to_owned(),
            _ => segment.to_owned(),
        })
    }),
    ("nginx: decode, merge, resolve", |path| stack(&squeeze(&unquote(path)?), &str::to_owned)),
    ("nginx without merge_slashes", |path| stack(&unquote(path)?, &str::to_owned)),
    ("nginx before an origin that decodes again", |path| {
        unquote(&stack(&squeeze(&unquote(path)?), &str::to_owned)?)
    }),
    ("apache: AllowEncodedSlashes On", |path| stack(&squeeze(&unquote(path)?), &str::to_owned)),
    ("apache: AllowEncodedSlashes NoDecode", |path| {
        let kept = path.replace("%2f", "\u{1}").replace("%2F", "\u{1}");
        Some(stack(&squeeze(&unquote(&kept)?), &str::to_owned)?.replace('\u{1}', "%2F"))
    }),
    ("tomcat: parameters, decode, merge, resolve", |path| {
        stack(&squeeze(&unquote(&cut(path))?), &str::to_owned)
    }),
    ("jetty: decode, parameters, resolve", |path| stack(&cut(&unquote(path)?), &str::to_owned)),
    ("spring behind nginx", |path| {
        stack(&cut(&stack(&squeeze(&unquote(path)?), &str::to_owned)?), &str::to_owned)
    }),
    ("go: ServeMux", |path| stack(&squeeze(&unquote(path)?), &str::to_owned)),
    ("go: a router over the escaped path", |path| stack(&squeeze(path), &str::to_owned)),
    ("rust: segments, each decoded", |path| {
        let segments: Option<Vec<String>> = path.split('/').map(unquote).collect();
        Some(segments?.join("/"))
    }),
    ("python: unquote and normpath", |path| {
        let clean = stack(&squeeze(&unquote(path)?), &str::to_owned)?;
        Some(if clean.len() > 1 { clean.trim_end_matches('/').to_owned() } else { clean })
    }),
    ("python: urlsplit of the decoded path", |path| {
        let decoded = unquote(path)?;
        let rest = match decoded.strip_prefix("//") {
            Some(authority) => authority.find('/').map_or("/", |at| &authority[at..]).to_owned(),
            None => decoded,
        };
        Some(rest.split(['?', '#']).next()?.to_owned())
    }),
    ("RFC 3986: normalised", |path| {
        let mut out = String::new();
        let mut rest = path;
        while let Some(at) = rest.find('%') {
            let code = u8::from_str_radix(&rest[at + 1..at + 3], 16).ok()?;
            let unreserved = code.is_ascii_alphanumeric() || b"-._~".contains(&code);
            out += &rest[..at];
            out += &if unreserved {
                char::from(code).to_string()
            } else {
                rest[at..at + 3].to_ascii_uppercase()
            };
            rest = &rest[at + 3..];
        }
        stack(&(out + rest), &str::to_owned)
    }),
];

fn unquote(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut pieces = text.split('%');
    out.extend(pieces.next()?.bytes());
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if !piece.starts_with('+') => {
                out.push(byte);
                out.extend(piece[2..].bytes());
            }
            _ => out.extend(format!("%{piece}").bytes()),
        }
    }
    String::from_utf8(out).ok()
}

fn squeeze(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("//") {
        text = text.replace("//", "/");
    }
    text
}

fn cut(text: &str) -> String {
    let segments: Vec<&str> =
        text.split('/').map(|segment| segment.split_once(';').map_or(segment, |cut| cut.0)).collect();
    segments.join("/")
}

/// Resolves dot segments; `None` where they lead above the root. The slash at the end stays.
fn stack(text: &str, read: &dyn Fn(&str) -> String) -> Option<String> {
    let segments: Vec<String> = text[1..].split('/').map(read).collect();
    let mut kept: Vec<&str> = Vec::new();
    for segment in &segments {
        match segment.as_str() {
            "." => {}
            ".." => drop(kept.pop()?),
            _ => kept.push(segment),
        }
    }
    let open = matches!(segments.last().map(String::as_str), Some("." | ".."));
    Some(format!("/{}{}", kept.join("/"), if open && !kept.is_empty() { "/" } else { "" }))
}

/// Routes and deny rules, without what is only spelled otherwise.
const PATTERNS: &[&str] = &[
    "/**",
    "/ok/**",
    "/ok/*",
    "/ok",
    "/",
    "/*",
    "/a/*/b",
    "/denied",
    "/denied/**",
    "/ok/a b",
    "/**/x",
    "/A/**",
];

/// What a path is made of: every piece is one that some origin does something with.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "/",
        "//",
        "%2f",
        "%2F",
        "ok",
        "ok",
        "denied",
        "den%69ed",
        "a",
        "A",
        "%41",
        "%2541",
        "%61",
        "b",
        "x",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        ".%2e",
        ";",
        ";v=1",
        "%3b",
        "%3B",
        "%20",
        "%3f",
        "%23",
        "%25",
        "%40",
        "@",
        "*",
        "%2a",
        "%e6%bc%a2",
        "%252e",
        "%5c",
        "%00",
        "/ok/",
        "/../",
        "/./",
        "/..;/",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Compares as the rules are documented: a slash at the end aside, and with `%2F` as a slash where `slash` says so.
fn matches(pattern: &str, reading: &str, slash: bool) -> bool {
    let reading = if slash { reading.replace("%2f", "/").replace("%2F", "/") } else { reading.to_owned() };
    let bare = if reading.len() > 1 { reading.trim_end_matches('/') } else { &reading };
    let bare = if bare.is_empty() { "/" } else { bare };
    let readings = [reading.clone(), format!("{bare}/"), bare.to_owned()];
    // The one pattern that isn't spelled as it is sent.
    let forms = [pattern.to_owned(), pattern.replace(' ', "%20")];
    forms.iter().any(|form| readings.iter().any(|reading| glob::matches(form.as_bytes(), reading.as_bytes())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_origin_reads_an_allowed_path_as_one_that_the_same_route_allows(
        path in paths(),
        route in prop::collection::vec(prop::sample::select(PATTERNS), 1..4),
    ) {
        let Ok(readings) = Readings::of(&path) else { return Ok(()) };
        let patterns: Vec<Pattern> = route.iter().map(|text| Pattern::parse(text).expect(text)).collect();
        if readings.each().all(|reading| patterns.iter().any(|pattern| pattern.matches(reading))) {
            for (name, origin) in ORIGINS {
                let read = origin(&path);
                prop_assert!(read.is_some(), "{} can't read `{}`", name, path);
                let read = read.unwrap_or_default();
                let allowed = route.iter().any(|pattern| matches(pattern, &read, true));
                prop_assert!(allowed, "{} reads `{}` as `{}`", name, path, read);
            }
        }
    }

    #[test]
    fn no_origin_reads_a_path_as_one_that_is_denied_when_the_rule_did_not_match(
        path in paths(),
        deny in prop::sample::select(PATTERNS),
    ) {
        let Ok(readings) = Readings::of(&path) else { return Ok(()) };
        let pattern = Pattern::parse(deny).expect(deny);
        let denied = readings.each_and_opaque().any(|reading| pattern.covers(reading));
        for (name, origin) in ORIGINS {
            let read = origin(&path).unwrap_or_default();
            prop_assert!(denied || !glob::matches(deny.as_bytes(), read.as_bytes()), "{} reads `{}` as `{}`", name, path, read);
        }
    }

    #[test]
    fn any_text_has_readings_or_is_ambiguous(text in "/\\PC{0,40}", raw in "[/.%;a2efEF5cC?# \\\\]{0,40}") {
        for path in [text, format!("/{raw}"), raw] {
            if let Ok(readings) = Readings::of(&path) {
                prop_assert!(readings.each().count() > 0);
                prop_assert!(readings.each_and_opaque().all(|reading| reading.starts_with('/') && !reading.contains(['\0', '\\'])));
            }
        }
    }
}
