//! Values in the text form of COPY: each is what the source had, and nothing is rounded.

use std::io::Write;

use bridge_event::Value;
use schemas::{write_date, write_time};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// NULL.
pub(super) const NULL: &[u8] = b"\\N";

/// Writes one value. What the server's type cannot hold it refuses when it reads the line.
pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    // Writing into a Vec does not fail, here and below.
    let _ = match value {
        // 0 and 1 are truth values, and numbers once the column is widened.
        Value::Bool(truth) => write!(out, "{}", u8::from(truth)),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Float(number) if number.is_finite() => write!(out, "{number:e}"),
        Value::Float(number) if number.is_nan() => write!(out, "NaN"),
        Value::Float(number) => write!(out, "{}Infinity", if number > 0.0 { "" } else { "-" }),
        Value::Decimal(digits) => write!(out, "{digits}"),
        Value::Text(words) => {
            escaped(out, words.as_bytes());
            Ok(())
        }
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"\\\\x");
            for byte in bytes {
                let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            Ok(())
        }
        Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) | Value::Instant(i64::MAX) => {
            write!(out, "infinity")
        }
        Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) | Value::Instant(i64::MIN) => {
            write!(out, "-infinity")
        }
        Value::Date(days) => {
            let era = date(out, i64::from(days));
            write!(out, "{era}")
        }
        Value::Time(micros) => {
            write_time(out, micros);
            Ok(())
        }
        Value::Timestamp(micros) => {
            let era = moment(out, micros);
            write!(out, "{era}")
        }
        Value::Instant(micros) => {
            let era = moment(out, micros);
            write!(out, "+00{era}")
        }
        Value::Uuid(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
    };
}

/// Writes a value as it compares: two decimals of one number are one key.
pub(super) fn write_identity(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Decimal(digits) => {
            let short = match digits.split_once('.') {
                Some(_) => digits.trim_end_matches('0').trim_end_matches('.'),
                None => digits,
            };
            out.extend_from_slice(if short == "-0" { "0" } else { short }.as_bytes());
        }
        other => write(out, other),
    }
}

/// Writes a date as PostgreSQL reads it, and gives the era that stands behind it all.
fn date(out: &mut Vec<u8>, days: i64) -> &'static str {
    let mut text = Vec::new();
    write_date(&mut text, days);
    let text = String::from_utf8(text).unwrap_or_default();
    let mut parts = text.rsplitn(3, '-');
    let (day, month) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let year: i64 = parts.next().and_then(|year| year.parse().ok()).unwrap_or_default();
    // There is no year 0: 1 BC is the one before 1.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let _ = write!(out, "{year:04}-{month}-{day}");
    era
}

fn moment(out: &mut Vec<u8>, micros: i64) -> &'static str {
    let era = date(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(b' ');
    write_time(out, micros.rem_euclid(MICROS_PER_DAY));
    era
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Value<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_have_the_text_that_copy_reads() {
        for (value, wanted) in [
            (Value::Bool(true), "1"),
            (Value::Integer(i64::MIN), "-9223372036854775808"),
            (Value::Float(0.1), "1e-1"),
            (Value::Float(f64::NEG_INFINITY), "-Infinity"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Decimal("-12.30"), "-12.30"),
            (Value::Text("a\\N\tb\nc\r税"), "a\\\\N\\tb\\nc\\r税"),
            (Value::Bytes(&[0, 171]), "\\\\x00ab"),
            (Value::Date(0), "1970-01-01"),
            (Value::Date(i32::MAX), "infinity"),
            (Value::Date(-719_529), "0002-12-31 BC"),
            (Value::Time(86_400_000_000), "24:00:00.000000"),
            (Value::Timestamp(-1), "1969-12-31 23:59:59.999999"),
            (Value::Instant(0), "1970-01-01 00:00:00.000000+00"),
            (Value::Instant(i64::MIN), "-infinity"),
            (Value::Timestamp(253_402_300_800_000_000), "10000-01-01 00:00:00.000000"),
            (Value::Uuid([0x1f; 16]), "1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"),
        ] {
            assert_eq!(text(value), wanted);
        }
    }

    #[test]
    fn decimals_of_one_number_are_one_key() {
        let identity = |digits| {
            let mut out = Vec::new();
            write_identity(&mut out, Value::Decimal(digits));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(identity("12.30"), identity("12.3"));
        assert_eq!(identity("-0.00"), identity("0"));
        assert_eq!(identity("100"), "100");
        assert_ne!(identity("1"), identity("10"));
    }
}
