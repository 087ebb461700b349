//! SQLite's values, by what their columns are declared to be.
//!
//! SQLite stores five classes of values whatever a column is declared. A value is read as a date, a time or a truth
//! value only when the column is declared so and the value has exactly that form; anything else keeps its storage
//! class, and the contract's encoder says whether it fits. Nothing is rounded.

use bridge_event::{Cell, Value};

/// A value as it is stored; texts and blobs are ranges of the chunk's bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    Null,
    Integer(i64),
    Real(f64),
    Text(std::ops::Range<usize>),
    Blob(std::ops::Range<usize>),
}

/// What a column's declared type says about its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    Plain,
    Bool,
    Decimal,
    Date,
    Time,
    Timestamp,
    Uuid,
}

/// A text that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Declared {
    /// Reads a declared type: the first of its words that says something, `DECIMAL TEXT` being a decimal in text.
    pub(crate) fn of(declared: &str) -> Declared {
        declared
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find_map(|word| match word.to_ascii_uppercase().as_str() {
                "BOOL" | "BOOLEAN" => Some(Declared::Bool),
                "DECIMAL" | "NUMERIC" | "MONEY" | "NUMBER" => Some(Declared::Decimal),
                "DATE" => Some(Declared::Date),
                "TIME" => Some(Declared::Time),
                "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" => Some(Declared::Timestamp),
                "UUID" | "GUID" => Some(Declared::Uuid),
                _ => None,
            })
            .unwrap_or(Declared::Plain)
    }

    /// The value that a stored one is. `bytes` are those that its ranges mean.
    pub(crate) fn read<'a>(self, stored: &Stored, bytes: &'a [u8]) -> Result<Cell<'a>, NotUtf8> {
        let value = match stored {
            Stored::Null => return Ok(Cell::Null),
            Stored::Integer(number) => match (self, number) {
                (Declared::Bool, 0) => Value::Bool(false),
                (Declared::Bool, 1) => Value::Bool(true),
                _ => Value::Integer(*number),
            },
            Stored::Real(number) => Value::Float(*number),
            Stored::Text(range) => {
                let text =
                    bytes.get(range.clone()).and_then(|b| std::str::from_utf8(b).ok()).ok_or(NotUtf8)?;
                self.text(text)
            }
            Stored::Blob(range) => {
                let blob = bytes.get(range.clone()).ok_or(NotUtf8)?;
                match (self, <[u8; 16]>::try_from(blob)) {
                    (Declared::Uuid, Ok(uuid)) => Value::Uuid(uuid),
                    _ => Value::Bytes(blob),
                }
            }
        };
        Ok(Cell::Value(value))
    }

    fn text(self, text: &str) -> Value<'_> {
        let read = match self {
            Declared::Plain | Declared::Bool => None,
            Declared::Decimal => is_decimal(text).then_some(Value::Decimal(text)),
            Declared::Date => date(text.as_bytes()).map(Value::Date),
            Declared::Time => time(text.as_bytes()).map(Value::Time),
            Declared::Timestamp => timestamp(text.as_bytes()),
            Declared::Uuid => uuid(text.as_bytes()).map(Value::Uuid),
        };
        read.unwrap_or(Value::Text(text))
    }
}

/// `-?digits(.digits)?`
fn is_decimal(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0_i64, |n, d| n.checked_mul(10)?.checked_add(i64::from(d - b'0')))
}

/// `YYYY-MM-DD`, as days since 1970-01-01.
fn date(text: &[u8]) -> Option<i32> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text else { return None };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last.
    let shifted = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    i32::try_from(days).ok()
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` with up to six digits, as microseconds since midnight.
fn time(text: &[u8]) -> Option<i64> {
    let (clock, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, &[][..]),
    };
    let (hour, minute, second) = match *clock {
        [h0, h1, b':', m0, m1, b':', s0, s1] => (number(&[h0, h1])?, number(&[m0, m1])?, number(&[s0, s1])?),
        [h0, h1, b':', m0, m1] if clock.len() == text.len() => (number(&[h0, h1])?, number(&[m0, m1])?, 0),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 6 || clock.len() + 1 == text.len() {
        return None;
    }
    let mut micros = if fraction.is_empty() { 0 } else { number(fraction)? };
    for _ in fraction.len()..6 {
        micros *= 10;
    }
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// A date, a space or `T`, a time, and perhaps `Z` or an offset, which makes it an instant.
fn timestamp(text: &[u8]) -> Option<Value<'_>> {
    let (day, rest) = text.split_at_checked(10)?;
    let (b' ' | b'T', rest) = rest.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    let day = i64::from(date(day)?) * 86_400_000_000;
    if let Some(clock) = rest.strip_suffix(b"Z") {
        return Some(Value::Instant(day + time(clock)?));
    }
    match rest.iter().position(|b| *b == b'+' || *b == b'-') {
        None => Some(Value::Timestamp(day + time(rest)?)),
        Some(at) => {
            let (clock, offset) = rest.split_at_checked(at)?;
            let [sign, h0, h1, b':', m0, m1] = *offset else { return None };
            let (hours, minutes) = (number(&[h0, h1])?, number(&[m0, m1])?);
            if hours > 18 || minutes > 59 {
                return None;
            }
            let ahead = (hours * 60 + minutes) * 60_000_000;
            let local = day + time(clock)?;
            Some(Value::Instant(if sign == b'+' { local - ahead } else { local + ahead }))
        }
    }
}

/// 36 characters, 8-4-4-4-12.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut out = [0; 16];
    let mut nibbles = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        // Upper case is another text for the same identity: it stays text, so that nothing is rewritten.
        let nibble = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        let slot = out.get_mut(nibbles / 2)?;
        *slot = (*slot << 4) | nibble;
        nibbles += 1;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(declared: &str, text: &'static str) -> Value<'static> {
        match Declared::of(declared).read(&Stored::Text(0..text.len()), text.as_bytes()) {
            Ok(Cell::Value(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_declared_type_is_read_by_its_first_telling_word() {
        assert_eq!(Declared::of("DECIMAL(12,2) TEXT"), Declared::Decimal);
        assert_eq!(Declared::of("text decimal"), Declared::Decimal);
        assert_eq!(Declared::of("INTEGER"), Declared::Plain);
        assert_eq!(Declared::of(""), Declared::Plain);
        assert_eq!(Declared::of("UPDATED"), Declared::Plain);
        assert_eq!(Declared::of("timestamp with time zone"), Declared::Timestamp);
    }

    #[test]
    fn dates_count_from_1970_over_leap_years() {
        for (day, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
        ] {
            assert_eq!(text("DATE", day), Value::Date(days), "{day}");
        }
        for odd in ["1900-02-29", "2024-13-01", "2024-00-10", "2024-1-01", "2024-01-01 ", "24-01-01", ""] {
            assert_eq!(text("DATE", odd), Value::Text(odd));
        }
    }

    #[test]
    fn a_timestamp_with_a_zone_is_an_instant() {
        assert_eq!(text("DATETIME", "1970-01-02 00:00:01.5"), Value::Timestamp(86_401_500_000));
        assert_eq!(text("TIMESTAMP", "1970-01-01T08:00:00+08:00"), Value::Instant(0));
        assert_eq!(text("TIMESTAMP", "1970-01-01T00:00:00.000001Z"), Value::Instant(1));
        assert_eq!(text("TIMESTAMP", "1969-12-31T16:30-07:30"), Value::Instant(0));
        for odd in [
            "1970-01-01",
            "1970-01-01T00:00:00.0000001Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.Z",
            "now",
        ] {
            assert_eq!(text("TIMESTAMP", odd), Value::Text(odd));
        }
    }

    #[test]
    fn values_that_are_not_of_the_declared_form_stay_as_they_are() {
        assert_eq!(text("DECIMAL TEXT", "-012.30"), Value::Decimal("-012.30"));
        assert_eq!(text("DECIMAL TEXT", "1e5"), Value::Text("1e5"));
        assert_eq!(text("TIME", "23:59:59.999999"), Value::Time(86_399_999_999));
        assert_eq!(text("TIME", "24:00:00"), Value::Text("24:00:00"));
        assert_eq!(
            text("UUID", "00000000-0000-0000-0000-0000000000ff"),
            Value::Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255])
        );
        assert_eq!(
            text("UUID", "00000000-0000-0000-0000-0000000000FF"),
            Value::Text("00000000-0000-0000-0000-0000000000FF")
        );
        assert_eq!(Declared::Bool.read(&Stored::Integer(2), b""), Ok(Cell::Value(Value::Integer(2))));
        assert_eq!(Declared::Bool.read(&Stored::Integer(1), b""), Ok(Cell::Value(Value::Bool(true))));
        assert_eq!(Declared::Plain.read(&Stored::Text(0..2), b"\xff\xfe"), Err(NotUtf8));
    }
}
