//! Sets of names: which of them a number of patterns can tell apart.
//!
//! A pattern (see [`crate::policy::glob`]) is a regular language, so that inclusion, overlap and difference can be decided
//! and not only guessed. All patterns of a question become one automaton, which is made deterministic as far as it can be
//! reached. Each state says which patterns match what was read; the sets of patterns that occur are the atoms of all that
//! can be said with unions, intersections and differences of these patterns.
//!
//! The automaton reads a name with a slash behind it: so each segment ends in one.

use std::collections::HashSet;

/// The most states of patterns that are looked at, again each time: some milliseconds.
const MOST_WORK: usize = 20_000_000;

/// How a pattern is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// As it is.
    Plain,
    /// Of names with slashes at their end, of which there is at least one segment that isn't empty.
    Trailing,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Without reading anything.
    Free(usize),
    /// With this byte.
    Byte(u8, usize),
    /// With any byte but a slash.
    Within(usize),
    /// With any byte.
    Any(usize),
}

/// Patterns in one automaton.
#[derive(Debug, Default)]
pub(super) struct Languages {
    states: Vec<Vec<Step>>,
    /// The languages that end in a state.
    accepts: Vec<Option<usize>>,
    starts: Vec<usize>,
    /// The number of languages.
    count: usize,
}

/// A state of the deterministic automaton, with the one that it was reached from and the byte.
type Reached = (Vec<usize>, Option<(usize, u8)>);

/// The languages that a name is in.
pub(super) type Members = Vec<bool>;

/// Names that the languages don't tell apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Atom {
    /// The languages that they are in.
    pub(super) members: Members,
    /// One of them.
    pub(super) example: String,
}

impl Languages {
    /// Adds a language without names.
    pub(super) fn add(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }

    /// Adds the names that match a pattern to a language.
    pub(super) fn matching(&mut self, language: usize, pattern: &str) {
        self.pattern(language, pattern, Mode::Plain);
    }

    /// Adds the names that match a pattern of a path where slashes at the end make no difference.
    pub(super) fn covered(&mut self, language: usize, pattern: &str) {
        self.matching(language, pattern);
        let bare = pattern.trim_end_matches('/');
        self.pattern(language, if bare.is_empty() { "/" } else { bare }, Mode::Trailing);
        if crate::policy::glob::matches(if bare.is_empty() { b"/" } else { bare.as_bytes() }, b"/") {
            // Slashes only, one of them behind the name.
            let end = self.state(Some(language));
            let (first, second) = (self.state(None), self.state(None));
            self.step(first, Step::Byte(b'/', second));
            self.step(second, Step::Byte(b'/', end));
            self.step(end, Step::Byte(b'/', end));
            self.starts.push(first);
        }
    }

    /// Adds all names that begin so.
    pub(super) fn beginning(&mut self, language: usize, prefix: &str) {
        let mut state = self.state(None);
        self.starts.push(state);
        for byte in prefix.bytes() {
            let next = self.state(None);
            self.step(state, Step::Byte(byte, next));
            state = next;
        }
        let end = self.state(Some(language));
        self.step(state, Step::Any(end));
        self.step(end, Step::Any(end));
    }

    fn state(&mut self, accepts: Option<usize>) -> usize {
        self.states.push(Vec::new());
        self.accepts.push(accepts);
        self.states.len() - 1
    }

    fn step(&mut self, from: usize, step: Step) {
        if let Some(steps) = self.states.get_mut(from) {
            steps.push(step);
        }
    }

    fn pattern(&mut self, language: usize, pattern: &str, mode: Mode) {
        let segments: Vec<&[u8]> = pattern.as_bytes().split(|byte| *byte == b'/').collect();
        // Where a segment begins, by whether the one before it was empty.
        let begins: Vec<[usize; 2]> =
            (0..segments.len()).map(|_| [self.state(None), self.state(None)]).collect();
        let end = match mode {
            Mode::Plain => {
                let end = self.state(Some(language));
                [end, end]
            }
            Mode::Trailing => {
                let end = self.state(Some(language));
                self.step(end, Step::Byte(b'/', end));
                [self.state(None), end]
            }
        };
        let begin = |at: usize| begins.get(at).copied().unwrap_or(end);
        for (at, segment) in segments.iter().enumerate() {
            let ([empty, filled], next) = (begin(at), begin(at + 1));
            if *segment == b"**" {
                let inside = self.state(None);
                for (from, to) in [empty, filled].into_iter().zip(next) {
                    self.step(from, Step::Free(to));
                    self.step(from, Step::Byte(b'/', empty));
                    self.step(from, Step::Within(inside));
                }
                self.step(inside, Step::Within(inside));
                self.step(inside, Step::Byte(b'/', filled));
                continue;
            }
            // Where a byte of the segment is next, by whether anything of it was read.
            let mut here = [self.state(None), self.state(None)];
            for from in [empty, filled] {
                let [nothing, _] = here;
                self.step(from, Step::Free(nothing));
            }
            for byte in *segment {
                let after = [self.state(None), self.state(None)];
                let [_, something] = after;
                for (from, skipped) in here.into_iter().zip(after) {
                    if *byte == b'*' {
                        let [_, stay] = here;
                        self.step(from, Step::Free(skipped));
                        self.step(from, Step::Within(stay));
                    } else {
                        self.step(from, Step::Byte(*byte, something));
                    }
                }
                here = after;
            }
            for (from, to) in here.into_iter().zip(next) {
                self.step(from, Step::Byte(b'/', to));
            }
        }
        let [first, _] = begin(0);
        self.starts.push(first);
    }

    /// Finds the atoms of all names that begin with `start`; none where that is too much work.
    pub(super) fn atoms(&self, start: &str) -> Option<Vec<Atom>> {
        let alphabet = self.alphabet();
        let mut first = self.closed(self.starts.iter().copied());
        for byte in start.bytes() {
            first = self.after(&first, byte);
        }
        let mut known: HashSet<Vec<usize>> = HashSet::from([first.clone()]);
        let mut queue: Vec<Reached> = vec![(first, None)];
        let mut seen: HashSet<Members> = HashSet::new();
        let mut atoms = Vec::new();
        let (mut next, mut work) = (0, 0);
        while let Some((state, _)) = queue.get(next) {
            let state = state.clone();
            let members = self.members(&self.after(&state, b'/'));
            if seen.insert(members.clone()) {
                atoms.push(Atom { members, example: read(start, &queue, next) });
            }
            work += self.states.len() * alphabet.len();
            if work > MOST_WORK {
                return None;
            }
            for byte in &alphabet {
                let after = self.after(&state, *byte);
                if known.insert(after.clone()) {
                    queue.push((after, Some((next, *byte))));
                }
            }
            next += 1;
        }
        Some(atoms)
    }

    /// The bytes that patterns name, a slash, and one that stands for all others.
    fn alphabet(&self) -> Vec<u8> {
        let named = |step: &Step| if let Step::Byte(byte, _) = step { Some(*byte) } else { None };
        let mut alphabet: Vec<u8> = self.states.iter().flatten().filter_map(named).chain([b'/']).collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let other = (b'a'..=b'z').rev().chain(b'0'..=b'9').chain(b'A'..=b'Z').chain(0x80..=0xff);
        alphabet.extend(other.into_iter().find(|byte| !alphabet.contains(byte)));
        // What is easy to read is found first.
        alphabet.sort_by_key(|byte| (!byte.is_ascii_alphanumeric(), *byte));
        alphabet
    }

    fn after(&self, state: &[usize], byte: u8) -> Vec<usize> {
        let steps = state.iter().filter_map(|at| self.states.get(*at)).flatten();
        self.closed(steps.filter_map(|step| match step {
            Step::Byte(wanted, to) => (*wanted == byte).then_some(*to),
            Step::Within(to) => (byte != b'/').then_some(*to),
            Step::Any(to) => Some(*to),
            Step::Free(_) => None,
        }))
    }

    /// The states with all that can be reached from them without reading, in order.
    fn closed(&self, states: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut closed: Vec<usize> = Vec::new();
        let mut waiting: Vec<usize> = states.collect();
        let mut have = vec![false; self.states.len()];
        while let Some(state) = waiting.pop() {
            match have.get_mut(state) {
                Some(have) if !*have => *have = true,
                _ => continue,
            }
            closed.push(state);
            let steps = self.states.get(state).into_iter().flatten();
            waiting.extend(steps.filter_map(|step| if let Step::Free(to) = step { Some(*to) } else { None }));
        }
        closed.sort_unstable();
        closed
    }

    fn members(&self, state: &[usize]) -> Members {
        let mut members = vec![false; self.count];
        for language in state.iter().filter_map(|at| self.accepts.get(*at).copied().flatten()) {
            if let Some(member) = members.get_mut(language) {
                *member = true;
            }
        }
        members
    }
}

/// What was read on the way to a state.
fn read(start: &str, queue: &[Reached], state: usize) -> String {
    let mut bytes = Vec::new();
    let mut at = state;
    while let Some((_, Some((from, byte)))) = queue.get(at) {
        bytes.push(*byte);
        at = *from;
    }
    bytes.extend(start.bytes().rev());
    bytes.reverse();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Languages;
    use crate::policy::glob;
    use crate::policy::path::Pattern;

    /// Whether a name is in the one language, as the automaton reads it.
    fn has(languages: &Languages, name: &str) -> bool {
        let start = languages.closed(languages.starts.iter().copied());
        let end = name.bytes().chain([b'/']).fold(start, |state, byte| languages.after(&state, byte));
        languages.members(&end)[0]
    }

    fn names() -> impl Strategy<Value = String> {
        "/?(a|b|%|/){0,7}"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn the_automaton_and_the_glob_agree(pattern in "(a|b|\\*|\\*\\*|/){0,8}", name in names()) {
            let mut languages = Languages::default();
            let language = languages.add();
            languages.matching(language, &pattern);
            prop_assert_eq!(has(&languages, &name), glob::matches(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn the_automaton_and_a_deny_rule_agree(pattern in "/(a|b|\\*|\\*\\*|/){0,8}", name in "/(a|b|/){0,7}") {
            let mut languages = Languages::default();
            let language = languages.add();
            languages.covered(language, &pattern);
            let parsed = Pattern::parse(&pattern).unwrap();
            prop_assert_eq!(has(&languages, &name), parsed.covers(&name), "{} {}", pattern, name);
        }

        #[test]
        fn the_atoms_are_all_that_names_can_be_in(
            patterns in prop::collection::vec("/(a|b|\\*|\\*\\*|/){0,5}", 1..5),
            name in "/(a|b|c|/){0,7}",
        ) {
            let mut languages = Languages::default();
            for pattern in &patterns {
                let language = languages.add();
                languages.matching(language, pattern);
            }
            let members = |name: &str| -> Vec<bool> {
                patterns.iter().map(|pattern| glob::matches(pattern.as_bytes(), name.as_bytes())).collect()
            };
            let atoms = languages.atoms("/").unwrap();
            prop_assert!(atoms.iter().any(|atom| atom.members == members(&name)));
            for atom in atoms {
                prop_assert_eq!(members(&atom.example), atom.members, "{}", atom.example);
            }
        }
    }

    #[test]
    fn a_prefix_is_the_beginning_of_all_that_it_says() {
        let mut languages = Languages::default();
        let language = languages.add();
        languages.beginning(language, "/a");
        assert!(["/a", "/ab", "/a/b"].iter().all(|name| has(&languages, name)));
        assert!(!has(&languages, "/b") && !has(&languages, "/"));
    }

    #[test]
    fn what_is_too_much_work_is_given_up() {
        let mut languages = Languages::default();
        let language = languages.add();
        languages.matching(language, &format!("/*a{}", "?".repeat(3)));
        assert!(languages.atoms("/").is_some());
        // Each of the many places behind a star may be the one, and each set of them is a state.
        for text in 0..12 {
            let letters: String = (0..14).map(|at| if at % 12 == text { "b*" } else { "a*" }).collect();
            languages.matching(language, &format!("/*{letters}x*{text}"));
        }
        assert!(languages.atoms("/").is_none());
    }
}
