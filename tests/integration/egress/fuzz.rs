//! The fuzz targets for a moment: their seeds, and what chance makes of them. It is the same each time, and nothing guides it;
//! to look for something new is what `scripts/fuzz.sh run` is for. Where that can't be had, `BOTTLE_FUZZ_ROUNDS` says how many
//! times as many inputs there are.

use std::panic::catch_unwind;
use std::path::Path;

use super::super::support::entries;

#[expect(unreachable_pub, reason = "it is a library, which the instrumented targets use")]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// The longest input.
const LONGEST: usize = 2048;

/// Texts that matter to one target or another.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    "/",
    "//",
    "/../",
    "/./",
    "%2f",
    "%2e%2e",
    "%25",
    "%00",
    ";",
    "?",
    "*",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 1\r\n",
    "Host: b\r\n",
    "HTTP/1.0",
    "HTTP/1.1",
    "CONNECT ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "!env x",
    "&a ",
    "*a",
    "\u{81}",
    "\u{7f}",
    "\u{fe}",
];

/// Pseudo-random numbers (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which isn't zero.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A part of this many bytes.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(32) + 1)
    }

    /// What becomes of an input by one step.
    fn step(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let part = self.part(bytes.len());
        match self.below(7) {
            0 => drop(bytes.drain(part)),
            1 => drop(bytes.splice(part, WORDS[self.below(WORDS.len())].bytes())),
            2 => bytes.insert(part.start, self.byte()),
            3 => bytes.splice(part.start..part.start, bytes[part].to_vec()).for_each(drop),
            4 => {
                let other = &seeds[self.below(seeds.len())];
                let taken = self.part(other.len());
                bytes.splice(part, other[taken].iter().copied()).for_each(drop);
            }
            _ if bytes.is_empty() => bytes.push(self.byte()),
            5 => {
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << self.below(8);
            }
            _ => {
                let at = self.below(bytes.len());
                bytes[at] = self.byte();
            }
        }
    }
}

/// Runs a target on each of its seeds, and on so many inputs that chance makes of them.
fn shake(name: &str, inputs: u32, run: fn(&[u8])) {
    let check = |input: &[u8]| {
        assert!(catch_unwind(|| run(input)).is_ok(), "{name} failed with \"{}\"", input.escape_ascii());
    };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let seeds: Vec<Vec<u8>> =
        entries(&directory).iter().map(|path| bottle::fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for seed in &seeds {
        check(seed);
    }
    let rounds = std::env::var("BOTTLE_FUZZ_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut dice = Dice(1);
    for _ in 0..inputs.checked_mul(rounds).unwrap() {
        let mut input = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(6) {
            dice.step(&mut input, &seeds);
        }
        input.truncate(LONGEST);
        check(&input);
    }
}

#[test]
fn what_comes_after_connect_is_a_client_hello_or_refused() {
    shake("hello", 3_000, targets::hello::run);
}

#[test]
fn no_origin_sees_a_path_that_was_not_judged() {
    shake("path", 10_000, targets::path::run);
}

#[test]
fn nothing_is_allowed_that_no_route_names() {
    shake("policy", 2_000, targets::policy::run);
}

#[test]
fn a_request_is_read_in_one_way_or_refused() {
    shake("request", 10_000, targets::request::run);
}

#[test]
fn a_response_is_read_in_one_way_or_refused() {
    shake("response", 10_000, targets::response::run);
}

#[test]
fn any_pieces_of_a_text_hold_the_secrets_of_the_whole() {
    shake("scan", 3_000, targets::scan::run);
}

#[test]
fn frames_are_judged_as_a_simple_reader_judges_them() {
    shake("websocket", 10_000, targets::websocket::run);
}
