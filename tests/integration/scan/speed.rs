//! How fast the scan is: `cargo test --release --test integration -- --ignored --nocapture scan::speed` (docs/benchmarks.md).

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bottle::scan::{Known, Scanner, scan};

use super::fill::{Dice, Secret, fill};

/// A bottle with five credentials and their placeholders.
fn known() -> Arc<Known> {
    let mut known = Known::builder();
    for number in 0..5 {
        let name = format!("credential-{number}");
        let value = fill("<<alnum:48>>", &mut Dice::of(&name), &Secret::None);
        known = known
            .credential(&name, &value)
            .placeholder(&name, format!("bottle-placeholder-{name}").as_bytes());
    }
    Arc::new(known.build())
}

/// About a megabyte of a kind.
fn megabyte(kind: &str) -> Vec<u8> {
    let template = match kind {
        "a conversation" => return conversation(),
        "many beginnings in code" => {
            "{\"messages\":[<<repeat:40>>{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\
             \"toolu_<<alnum:24>>\",\"content\":\"<<code:12000>>\\n<<sentence:1500>>\\n<<sha1>> <<uuid>>\"}]},\n<<end>>{}]}"
        }
        "sentences" => "<<sentence:200000>>",
        "base64" => "<<base64:1000000>>",
        "hexadecimal" => "<<hex:1000000>>",
        "random bytes" => "<<bytes:1000000>>",
        "zeros" => return vec![0; 1_000_000],
        "percent signs" => "<<repeat:20000>>%<<hex:2>>%<<hex:2>>%2F%3A<<end>>",
        "escapes" => "<<repeat:40000>>\\u00<<hex:2>>\\u04<<hex:2>><<end>>",
        "dashes" => "<<repeat:40000>>-----BEGIN -----<<end>>",
        "beginnings" => "<<repeat:30000>>sk-ant-api03- ghp_ eyJ ://a:<<end>>",
        "beginnings that go on" => "<<repeat:30000>>.sk-proj-.eyJ_://a:ya29.<<end>>",
        _ => panic!("no such kind: {kind}"),
    };
    fill(template, &mut Dice::of(kind), &Secret::None)
}

/// What an agent sends that reads this project: its sources as the results of a tool.
fn conversation() -> Vec<u8> {
    let mut text = String::from("{\"messages\":[");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in [
        "docs/src/egress.md",
        "docs/src/supervise.md",
        "tests/integration/scan/corpus.rs",
        "src/scan/search.rs",
    ] {
        let source = bottle::fs::read_to_string(&root.join(name)).expect("a source is text");
        let content = serde_json::Value::from(source.repeat(1_000_000 / 4 / source.len()));
        writeln!(
            text,
            "{{\"role\":\"user\",\"content\":[{{\"type\":\"tool_result\",\"content\":{content}}}]}},"
        )
        .expect("a string takes all of it");
    }
    text.push_str("{}]}");
    text.into_bytes()
}

/// How long this thread has had a processor, which other programs don't change.
fn used() -> Duration {
    let text = bottle::fs::read_to_string(Path::new("/proc/thread-self/schedstat")).expect("Linux tells");
    Duration::from_nanos(
        text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds come first"),
    )
}

fn tell(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error is there");
}

/// A stream of so many megabytes in pieces as they come from a connection.
fn stream(known: &Arc<Known>, megabyte: &[u8], times: usize) -> usize {
    let mut found = 0;
    let mut scanner = Scanner::new(Arc::clone(known), None);
    for _ in 0..times {
        for piece in megabyte.chunks(16 << 10) {
            scanner.push(piece, &mut |_| found += 1);
        }
    }
    scanner.finish(&mut |_| found += 1);
    found
}

#[test]
fn megabytes_of_any_kind_pass_without_a_finding() {
    let known = known();
    for kind in ["a conversation", "base64", "random bytes", "beginnings that go on"] {
        assert_eq!(stream(&known, &megabyte(kind), 1), 0, "{kind}");
    }
}

#[test]
#[ignore = "100 MB need a release build"]
fn a_hundred_megabytes_pass_without_a_finding() {
    let known = known();
    for kind in ["a conversation", "base64", "random bytes"] {
        for part in 0..100 {
            let kind = megabyte(kind);
            assert_eq!(stream(&known, &kind, 1), 0, "{part}");
        }
    }
}

#[test]
#[ignore = "it measures"]
fn figures_of_speed() {
    let known = known();
    for kind in [
        "a conversation",
        "many beginnings in code",
        "sentences",
        "base64",
        "hexadecimal",
        "random bytes",
        "zeros",
        "percent signs",
        "escapes",
        "dashes",
        "beginnings",
        "beginnings that go on",
    ] {
        let megabyte = megabyte(kind);
        let mut rates: Vec<f64> = (0..7)
            .map(|_| {
                let began = used();
                stream(&known, &megabyte, 32);
                32.0 * f64::from(u32::try_from(megabyte.len()).unwrap())
                    / f64::from(1 << 20)
                    / used().saturating_sub(began).as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        tell(&format!("{kind}: {:.0} MiB/s, best {:.0}", rates[rates.len() / 2], rates[rates.len() - 1]));
    }
    let body = fill(
        "{\"a\":\"<<sentence:100>>\",\"b\":\"<<uuid>>\",\"c\":\"<<code:300>>\"}",
        &mut Dice::of("body"),
        &Secret::None,
    );
    let headers: Vec<Vec<u8>> = (0..15)
        .map(|number| {
            fill("x-header: <<alnum:24>>; <<uuid>>", &mut Dice::of(&number.to_string()), &Secret::None)
        })
        .collect();
    let began = used();
    let rounds = 20_000;
    for _ in 0..rounds {
        scan(&known, None, b"/v1/messages?beta=true&id=7f3a9c21", &mut |finding| panic!("{finding:?}"));
        for header in &headers {
            scan(&known, None, header, &mut |finding| panic!("{finding:?}"));
        }
        let mut scanner = Scanner::new(Arc::clone(&known), None);
        scanner.push(&body, &mut |finding| panic!("{finding:?}"));
        scanner.finish(&mut |finding| panic!("{finding:?}"));
    }
    let micros = used().saturating_sub(began).as_secs_f64() * 1e6 / f64::from(rounds);
    tell(&format!("a URL, 15 headers and a body of {} bytes: {micros:.2} µs", body.len()));
    let began = used();
    for _ in 0..100 {
        self::known();
    }
    tell(&format!(
        "what is known of five credentials: {:.0} µs",
        used().saturating_sub(began).as_secs_f64() * 1e4
    ));
}
