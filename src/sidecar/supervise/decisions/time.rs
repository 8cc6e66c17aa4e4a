//! Times as RFC 3339 has them, both ways.

use std::time::{Duration, UNIX_EPOCH};

use crate::sidecar::audit::time::{Rfc3339, date};

/// A time in seconds since the epoch, in UTC with milliseconds, as every log here writes it.
pub(crate) fn written(seconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    Rfc3339(time).to_string()
}

/// Reads a time, in milliseconds since the epoch. Times before that are none that a log here has.
pub(crate) fn read(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
    };
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    if !(mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // A leap second is the second after.
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, day);
    if date(days) != (year, month, day) {
        return None;
    }
    let rest = text.get(19..)?;
    let (millis, zone) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            let (digits, zone) = fraction.split_at_checked(end)?;
            let first: String = digits.chars().chain("000".chars()).take(3).collect();
            if digits.is_empty() {
                return None;
            }
            (first.parse::<u64>().ok()?, zone)
        }
        None => (0, rest),
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = match zone {
        "Z" | "z" => seconds,
        _ => {
            let east = zone.starts_with('+');
            let of =
                |from: usize, to: usize| zone.get(from..to).and_then(|digits| digits.parse::<u64>().ok());
            if zone.len() != 6 || !(east || zone.starts_with('-')) || zone.get(3..4) != Some(":") {
                return None;
            }
            let offset =
                of(1, 3).filter(|hours| *hours < 24)? * 3600 + of(4, 6).filter(|minutes| *minutes < 60)? * 60;
            if east { seconds.checked_sub(offset)? } else { seconds + offset }
        }
    };
    Some(seconds * 1000 + millis)
}

/// The other way of [`date`], for years from 1970: Howard Hinnant's `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::{read, written};

    #[test]
    fn a_time_that_was_written_is_read_back() {
        for seconds in [0, 951_782_399, 951_782_400, 1_709_251_200, 1_767_225_599, 4_107_542_400] {
            assert_eq!(read(&written(seconds)), Some(seconds * 1000));
        }
        assert_eq!(written(1_709_251_200), "2024-03-01T00:00:00.000Z");
    }

    #[test]
    fn fractions_and_offsets_are_read() {
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(read("1969-12-31T23:00:00-01:00"), None);
        assert_eq!(read("1970-01-01T00:00:00.5Z"), Some(500));
        assert_eq!(read("1970-01-01T00:00:01.123456789Z"), Some(1123));
        assert_eq!(read("1970-01-01 00:00:01z"), Some(1000));
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1:00",
            "+024-01-01T00:00:00Z",
            "2024-01-01T00:00:00Zz",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
