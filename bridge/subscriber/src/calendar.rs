//! Days and microseconds as the text of ISO 8601, for any value that a column can hold.

use std::io::Write;

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// `2026-01-31`; a year outside 0000 to 9999 has a sign and at least six digits.
pub(crate) fn date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    // Writing into a Vec does not fail.
    let _ = if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+07}-{month:02}-{day:02}")
    };
}

/// `23:59:59.000001`; 24:00:00 is the end of the day.
pub(crate) fn time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros.div_euclid(1_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, micros.rem_euclid(1_000_000));
}

/// `2026-01-31T23:59:59.000001`, of microseconds since 1970.
pub(crate) fn timestamp(out: &mut Vec<u8>, micros: i64) {
    date(out, micros.div_euclid(MICROS_OF_DAY));
    out.push(b'T');
    time(out, micros.rem_euclid(MICROS_OF_DAY));
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar. The year is thought to
/// begin in March, so that the day that leap years add is its last one.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(text(|out| date(out, days)), wanted);
        }
        for extreme in [i64::from(i32::MIN), i64::from(i32::MAX)] {
            assert!(text(|out| date(out, extreme)).len() > 10);
        }
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(text(|out| time(out, 86_399_000_001)), "23:59:59.000001");
        assert_eq!(text(|out| time(out, MICROS_OF_DAY)), "24:00:00.000000");
        assert_eq!(text(|out| timestamp(out, -1)), "1969-12-31T23:59:59.999999");
        assert!(text(|out| timestamp(out, i64::MAX)).starts_with("+294247-"));
        assert!(text(|out| timestamp(out, i64::MIN)).starts_with("-290308-"));
    }
}
