//! Dates and times as text: strict, lossless, without a calendar library.
//!
//! ```text
//! date            2026-03-01                      years 0000 to 9999, proleptic Gregorian
//! time            08:30:00  08:30:00.25           to 24:00:00; 1 to 6 digits after the dot
//! civil           date, 'T' or ' ', time          no zone; to 23:59:59.999999
//! instant         civil, then Z or +08:00         RFC 3339 section 5.6; no leap second
//! ```

use std::io::Write;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;

/// Microseconds in a day.
pub(crate) const MICROS_PER_DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;

/// Days since 1970-01-01 of a date `YYYY-MM-DD`, `None` when the text is not one.
pub(crate) fn date(text: &str) -> Option<i32> {
    let (days, rest) = take_date(text.as_bytes())?;
    rest.is_empty().then_some(days)
}

/// Microseconds since midnight of `HH:MM:SS[.ffffff]`, 24:00:00 being the last.
pub(crate) fn time(text: &str) -> Option<i64> {
    let (micros, rest) = take_time(text.as_bytes())?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 1970-01-01T00:00:00 of a date and a time of no zone.
pub(crate) fn civil(text: &str) -> Option<i64> {
    let (micros, rest) = take_civil(text.as_bytes())?;
    rest.is_empty().then_some(micros)
}

/// Microseconds since 1970-01-01T00:00:00Z of a date, a time and an offset.
pub(crate) fn instant(text: &str) -> Option<i64> {
    let (micros, rest) = take_civil(text.as_bytes())?;
    let offset_minutes = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    Some(micros - offset_minutes * MICROS_PER_MINUTE)
}

/// An instant as RFC 3339 in UTC, for people.
pub(crate) fn show_instant(micros: i64) -> String {
    let (day, in_day) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let mut text = Vec::new();
    write_date(&mut text, day);
    text.push(b'T');
    write_seconds(&mut text, in_day.div_euclid(MICROS_PER_SECOND));
    let fraction = in_day.rem_euclid(MICROS_PER_SECOND);
    if fraction != 0 {
        let _ = write!(text, ".{fraction:06}");
    }
    text.push(b'Z');
    String::from_utf8(text).unwrap_or_default()
}

/// Writes days since 1970-01-01 as `2026-01-31`; a year outside 0000 to 9999 has a sign and at least six digits.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    // Writing into a Vec does not fail.
    let _ = if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+07}-{month:02}-{day:02}")
    };
}

/// Writes microseconds since midnight as `23:59:59.000001`; 24:00:00 is the end of the day.
pub fn write_time(out: &mut Vec<u8>, micros: i64) {
    write_seconds(out, micros.div_euclid(MICROS_PER_SECOND));
    let _ = write!(out, ".{:06}", micros.rem_euclid(MICROS_PER_SECOND));
}

/// Writes microseconds since 1970 as `2026-01-31T23:59:59.000001`, of any value that a column can hold.
pub fn write_timestamp(out: &mut Vec<u8>, micros: i64) {
    write_date(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(b'T');
    write_time(out, micros.rem_euclid(MICROS_PER_DAY));
}

fn write_seconds(out: &mut Vec<u8>, seconds: i64) {
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn take_date(text: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = text.split_at_checked(10)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = head else { return None };
    let year = digits(&[*y1, *y2, *y3, *y4])?;
    let month = digits(&[*m1, *m2])?;
    let day = digits(&[*d1, *d2])?;
    if day < 1 || day > days_in_month(year, month)? {
        return None;
    }
    Some((i32::try_from(days_from_civil(year, month, day)).ok()?, rest))
}

fn take_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = head else { return None };
    let (hours, minutes, seconds) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    let mut fraction = 0;
    let mut rest = rest;
    if let Some(after_dot) = rest.strip_prefix(b".") {
        let width = after_dot.iter().take_while(|b| b.is_ascii_digit()).count();
        let (places, left) = after_dot.split_at_checked(width)?;
        if !(1..=6).contains(&width) {
            return None;
        }
        fraction = (width..6).fold(digits(places)?, |n, _| n * 10);
        rest = left;
    }
    let micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + fraction;
    (minutes < 60 && seconds < 60 && micros <= MICROS_PER_DAY).then_some((micros, rest))
}

fn take_civil(text: &[u8]) -> Option<(i64, &[u8])> {
    let (days, rest) = take_date(text)?;
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?;
    let (micros, rest) = take_time(rest)?;
    (micros < MICROS_PER_DAY).then_some((i64::from(days) * MICROS_PER_DAY + micros, rest))
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days since 1970-01-01. A year is counted from March, so that the leap day is its last one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_days_from_1970() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert_eq!(date("2000-02-29"), Some(11_016));
        assert_eq!(date("0000-01-01"), Some(-719_528));
        assert_eq!(date("9999-12-31"), Some(2_932_896));
        for bad in [
            "1900-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-1-1",
            "2026-01-01 ",
            "２０２６-01-01",
            "",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_is_shown_as_it_is_read() {
        for day in -719_528..=2_932_896 {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
    }

    #[test]
    fn instants_are_rfc_3339() {
        assert_eq!(instant("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(instant("1970-01-01T08:00:00+08:00"), Some(0));
        assert_eq!(instant("1969-12-31 20:30:00.000001-03:30"), Some(1));
        assert_eq!(instant("2026-01-01T00:00:00+08:00").map(show_instant).unwrap(), "2025-12-31T16:00:00Z");
        assert_eq!(show_instant(-1), "1969-12-31T23:59:59.999999Z");
        for bad in [
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:59:60Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567Z",
            "2026-01-01T00:00Z",
            "2026-01-01t00:00:00z",
            "2026-01-01T00:00:00Z ",
        ] {
            assert_eq!(instant(bad), None, "{bad}");
        }
    }

    #[test]
    fn civil_times_have_no_zone() {
        assert_eq!(civil("1970-01-02 00:00:00.5"), Some(MICROS_PER_DAY + 500_000));
        assert_eq!(civil("1970-01-02T00:00:00Z"), None);
        assert_eq!(time("24:00:00"), Some(MICROS_PER_DAY));
        assert_eq!(time("24:00:00.000001"), None);
        assert_eq!(time("08:30"), None);
    }

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, wanted) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_454, "2026-01-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-000001-12-31"),
            (2_932_897, "+010000-01-01"),
        ] {
            assert_eq!(text(|out| write_date(out, days)), wanted);
        }
        for extreme in [i64::from(i32::MIN), i64::from(i32::MAX)] {
            assert!(text(|out| write_date(out, extreme)).len() > 10);
        }
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(text(|out| write_time(out, 86_399_000_001)), "23:59:59.000001");
        assert_eq!(text(|out| write_time(out, MICROS_PER_DAY)), "24:00:00.000000");
        assert_eq!(text(|out| write_timestamp(out, -1)), "1969-12-31T23:59:59.999999");
        assert!(text(|out| write_timestamp(out, i64::MAX)).starts_with("+294247-"));
        assert!(text(|out| write_timestamp(out, i64::MIN)).starts_with("-290308-"));
    }
}
