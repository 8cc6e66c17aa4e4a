//! The first look at each byte: whether something that is searched for may begin here.
//!
//! Everything that is searched for begins with four bytes that are known beforehand. At every second place three bytes are
//! hashed and looked up in a small table that says whether something may begin there, with which next byte, or one byte
//! before, and with which: of both only the lowest two bits count, which are enough that few places pass by chance. Only
//! where one does, all four are looked up, and only where these are right too, anything is compared. The hash folds the
//! case of letters, so that words are found in either.
//!
//! A general automaton is not used: it would hold copies of the secrets that are never wiped.

use zeroize::Zeroizing;

/// How many bits of a hash choose a bit of the table.
const BITS: u32 = 17;

/// How many buckets the entries are in: one for each word of the table of bits.
const BUCKETS: usize = 1 << (BITS - 6);

/// How many hints there are.
const HINTS: usize = 1 << 15;

/// Something begins with these three bytes: a bit for each pair of lowest bits of the byte after them.
const EVEN: u8 = 0x0f;

/// Something begins with one byte before these three: a bit for each pair of that byte's lowest bits.
const ODD: u8 = 0xf0;

/// The lowest two bits of every second byte. They are the same in both cases of a letter.
const LOW: u64 = 0x0003_0003_0003_0003;

/// What of a hint counts, by the lowest bits of the byte before, and four times those of the byte after.
const MASKS: [u8; 16] = [
    0x11, 0x21, 0x41, 0x81, //
    0x12, 0x22, 0x42, 0x82, //
    0x14, 0x24, 0x44, 0x84, //
    0x18, 0x28, 0x48, 0x88, //
];

/// The four bytes that something begins with, and what follows them.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    word: u32,
    /// The next four bytes, and which bits of them are known.
    next: u32,
    mask: u32,
    pub(super) what: T,
}

impl<T> Entry<T> {
    /// Makes the entry of something that begins with these bytes; of fewer than four there is none.
    pub(super) fn new(begin: &[u8], what: T) -> Option<Self> {
        let word = word(begin, 0)?;
        let rest = begin.get(4..).unwrap_or_default();
        let (mut next, mut mask) = (0, 0);
        for (place, byte) in rest.iter().take(4).enumerate() {
            next |= u32::from(*byte | FOLD) << (8 * place);
            mask |= 0xff << (8 * place);
        }
        Some(Self { word, next, mask, what })
    }
}

/// The bit in which the cases of a letter differ.
const FOLD: u8 = 0x20;

/// Reads four bytes with their case folded.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(fold(*four))
}

#[inline]
fn fold(four: [u8; 4]) -> u32 {
    u32::from_le_bytes(four) | u32::from_le_bytes([FOLD; 4])
}

#[inline]
fn hash(word: u32) -> u32 {
    word.wrapping_mul(0x9e37_79b1) >> (32 - BITS)
}

/// Hashes the three lowest bytes, for every second place: the table is small enough for the fastest memory.
#[inline]
fn hint(word: u32) -> usize {
    let three = (word | u32::from_le_bytes([FOLD; 4])) & 0x00ff_ffff;
    (three.wrapping_mul(0x9e37_79b1) >> (32 - HINTS.ilog2())) as usize
}

/// Where things may begin that are searched for.
pub(super) struct Filter<T> {
    /// By the hash of three bytes, whether something begins with them ([`EVEN`]), or with one byte before them ([`ODD`]).
    hints: Box<Zeroizing<[u8; HINTS]>>,
    bits: Box<Zeroizing<[u64; BUCKETS]>>,
    /// The same for the first one, two and three bytes of them, for the end of what has come.
    ends: Box<Zeroizing<[u64; BUCKETS]>>,
    /// Ordered by bucket, and within one as they were given.
    entries: Zeroizing<Wiped<T>>,
    /// Where the entries of each bucket begin.
    buckets: Vec<u32>,
}

/// Entries, whose words may be the beginning of a secret.
struct Wiped<T>(Vec<Entry<T>>);

impl<T> zeroize::Zeroize for Wiped<T> {
    fn zeroize(&mut self) {
        for entry in &mut self.0 {
            entry.word.zeroize();
            entry.next.zeroize();
        }
    }
}

impl<T> Filter<T> {
    /// Makes the filter of these.
    #[expect(
        clippy::large_stack_arrays,
        reason = "it is boxed, and made once for each change of a credential"
    )]
    pub(super) fn new(mut entries: Vec<Entry<T>>) -> Self {
        let mut hints = Box::new(Zeroizing::new([0; HINTS]));
        let mut bits = Box::new(Zeroizing::new([0; BUCKETS]));
        let mut ends = Box::new(Zeroizing::new([0; BUCKETS]));
        entries.sort_by_key(|entry| bucket(entry.word));
        let mut buckets = vec![0_u32; BUCKETS + 1];
        for entry in &entries {
            set(&mut bits, hash(entry.word));
            let bytes = entry.word.to_le_bytes();
            let [before, .., after] = bytes;
            for (word, kind) in [(entry.word, 1 << (after & 3)), (entry.word >> 8, 16 << (before & 3))] {
                if let Some(hint) = hints.get_mut(hint(word)) {
                    *hint |= kind;
                }
            }
            for count in 1..4 {
                set(&mut ends, end(bytes.get(..count).unwrap_or_default()));
            }
            if let Some(count) = buckets.get_mut(bucket(entry.word) + 1) {
                *count += 1;
            }
        }
        let mut before = 0;
        for start in &mut buckets {
            before += *start;
            *start = before;
        }
        Self { hints, bits, ends, entries: Zeroizing::new(Wiped(entries)), buckets }
    }

    /// Returns the first place, not before this one, where something may begin.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(twelve) = bytes.get(at..).and_then(<[u8]>::first_chunk::<12>) {
            let ([first @ .., _, _, _, _], [_, _, _, _, last @ ..]) = (twelve, twelve);
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            // Of the bytes before and after each three, in the lowest bits of sixteen each.
            let beside = (first & LOW) | (last & LOW) << 2;
            let hints = [
                self.hint(first >> 8, beside),
                self.hint(first >> 24, beside >> 16),
                self.hint(first >> 40, beside >> 32),
                self.hint(last >> 24, beside >> 48),
            ];
            if hints.iter().fold(0, |any, hint| any | hint) != 0 {
                for (index, hint) in hints.iter().enumerate() {
                    let here = at + 2 * index;
                    if hint & ODD != 0 && self.is(bytes, here) {
                        return Some(here);
                    }
                    if hint & EVEN != 0 && self.is(bytes, here + 1) {
                        return Some(here + 1);
                    }
                }
            }
            at += 8;
        }
        (at..bytes.len().saturating_sub(3)).find(|at| self.is(bytes, *at))
    }

    /// Looks three bytes up, which are the lowest of these, with what stands beside them.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "three bytes of them are looked up")]
    fn hint(&self, bytes: u64, beside: u64) -> u8 {
        let hint = self.hints.get(hint(bytes as u32)).copied().unwrap_or_default();
        hint & MASKS.get((beside & 15) as usize).copied().unwrap_or_default()
    }

    /// Whether something may begin at a place.
    #[inline]
    fn is(&self, bytes: &[u8], at: usize) -> bool {
        word(bytes, at).is_some_and(|word| is_set(&self.bits, hash(word)))
            && self.at(bytes, at).next().is_some()
    }

    /// Returns what may begin at a place, in the order in which it was given.
    pub(super) fn at(&self, bytes: &[u8], at: usize) -> impl Iterator<Item = &T> {
        let here = word(bytes, at);
        let after = word(bytes, at + 4);
        let bucket = here.map(bucket).unwrap_or_default();
        let start = |index: usize| self.buckets.get(index).map_or(0, |start| *start as usize);
        let entries = self.entries.0.get(start(bucket)..start(bucket + 1)).unwrap_or_default();
        let fits = move |entry: &&Entry<T>| {
            Some(entry.word) == here && after.is_none_or(|after| (after ^ entry.next) & entry.mask == 0)
        };
        entries.iter().filter(fits).map(|entry| &entry.what)
    }

    /// Returns where in the last three bytes something may begin whose fourth byte is still to come.
    pub(super) fn open(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let from = from.max(bytes.len().saturating_sub(3));
        (from..bytes.len()).find(|at| bytes.get(*at..).is_some_and(|rest| is_set(&self.ends, end(rest))))
    }
}

fn bucket(word: u32) -> usize {
    (hash(word) >> 6) as usize
}

/// Hashes up to three bytes.
fn end(bytes: &[u8]) -> u32 {
    hash(bytes.iter().fold(1, |word, byte| word << 8 | u32::from(byte | FOLD)))
}

#[inline]
fn is_set(bits: &[u64; BUCKETS], hash: u32) -> bool {
    bits.get((hash >> 6) as usize).is_some_and(|word| word >> (hash & 63) & 1 == 1)
}

fn set(bits: &mut [u64; BUCKETS], hash: u32) {
    if let Some(word) = bits.get_mut((hash >> 6) as usize) {
        *word |= 1 << (hash & 63);
    }
}
