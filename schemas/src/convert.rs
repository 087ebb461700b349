//! A source's value as a column's Avro bytes: exact, or refused.
//!
//! ```text
//! column type             taken from
//! boolean                 Bool; Integer 0 or 1
//! int, long               Integer, within 32 or 64 bits
//! float                   Float that 32 bits hold exactly (or NaN); Integer to 2^24
//! double                  Float; Integer to 2^53
//! string                  Text; Decimal
//! bytes                   Bytes
//! date                    Date; Text YYYY-MM-DD
//! time-micros             Time, 0 to 24:00:00; Text HH:MM:SS[.ffffff]
//! timestamp-micros        Instant; Text as RFC 3339 with an offset
//! local-timestamp-micros  Timestamp; Text without an offset
//! uuid                    Uuid; Text of 36 characters; Bytes, 16 of them
//! govbridge.decimal       Decimal, Text in the decimal form; Integer
//! ```

use crate::column::ColumnType;
use crate::moment;
use crate::wire::{put_bytes, put_long};
use bridge_event::Value;

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The column's type takes no value of this kind.
    Kind {
        /// What came.
        seen: &'static str,
    },
    /// The kind is right, the value is not one of the type.
    Value {
        /// What came.
        seen: &'static str,
    },
}

/// Appends a value as a column's bare Avro value. After an error the buffer's end is undefined.
#[inline]
pub(crate) fn put_value(out: &mut Vec<u8>, kind: ColumnType, value: &Value<'_>) -> Result<(), Mismatch> {
    match (kind, value) {
        (ColumnType::Long, Value::Integer(n)) => put_long(out, *n),
        (ColumnType::String, Value::Text(text) | Value::Decimal(text)) => put_bytes(out, text.as_bytes()),
        (ColumnType::Int, Value::Integer(n)) => {
            i32::try_from(*n).map_err(|_| Mismatch::Value { seen: "an integer outside 32 bits" })?;
            put_long(out, *n);
        }
        (ColumnType::Instant, Value::Instant(micros)) => put_long(out, *micros),
        (ColumnType::Timestamp, Value::Timestamp(micros)) => put_long(out, *micros),
        (ColumnType::Date, Value::Date(days)) => put_long(out, i64::from(*days)),
        (ColumnType::Bytes, Value::Bytes(bytes)) => put_bytes(out, bytes),
        (ColumnType::Double, Value::Float(number)) => out.extend_from_slice(&one_nan(*number).to_le_bytes()),
        (ColumnType::Boolean, Value::Bool(truth)) => out.push(u8::from(*truth)),
        (ColumnType::UuidFixed, Value::Uuid(uuid)) => out.extend_from_slice(uuid),
        (ColumnType::Decimal, Value::Decimal(text) | Value::Text(text)) => {
            is_decimal(text).then(|| put_bytes(out, text.as_bytes())).ok_or(DECIMAL)?;
        }
        _ => return put_converted(out, kind, value),
    }
    Ok(())
}

const DECIMAL: Mismatch = Mismatch::Value { seen: "text that is no decimal number" };

/// The conversions that a loosely typed source needs.
fn put_converted(out: &mut Vec<u8>, kind: ColumnType, value: &Value<'_>) -> Result<(), Mismatch> {
    let refuse = |seen| Err(Mismatch::Value { seen });
    match (kind, value) {
        (ColumnType::Boolean, Value::Integer(n)) => match n {
            0 => out.push(0),
            1 => out.push(1),
            _ => return refuse("an integer that is neither 0 nor 1"),
        },
        (ColumnType::Float, Value::Float(number)) => {
            let single = narrowed(*number)
                .ok_or(Mismatch::Value { seen: "a number that 32 bits do not hold exactly" })?;
            out.extend_from_slice(&single.to_le_bytes());
        }
        (ColumnType::Float, Value::Integer(n)) => {
            let single =
                whole(*n, 24).and_then(narrowed).ok_or(Mismatch::Value { seen: "an integer over 2^24" })?;
            out.extend_from_slice(&single.to_le_bytes());
        }
        (ColumnType::Double, Value::Integer(n)) => {
            let double = whole(*n, 53).ok_or(Mismatch::Value { seen: "an integer over 2^53" })?;
            out.extend_from_slice(&double.to_le_bytes());
        }
        (ColumnType::Date, Value::Text(text)) => match moment::date(text) {
            Some(days) => put_long(out, i64::from(days)),
            None => return refuse("text that is no date"),
        },
        (ColumnType::Time, Value::Time(micros)) if is_time(*micros) => put_long(out, *micros),
        (ColumnType::Time, Value::Time(_)) => return refuse("a time before 00:00:00 or after 24:00:00"),
        (ColumnType::Time, Value::Text(text)) => match moment::time(text) {
            Some(micros) => put_long(out, micros),
            None => return refuse("text that is no time"),
        },
        (ColumnType::Instant, Value::Text(text)) => match moment::instant(text) {
            Some(micros) => put_long(out, micros),
            None => return refuse("text that is no RFC 3339 timestamp with an offset"),
        },
        (ColumnType::Timestamp, Value::Text(text)) => match moment::civil(text) {
            Some(micros) => put_long(out, micros),
            None => return refuse("text that is no timestamp without an offset"),
        },
        (ColumnType::UuidFixed | ColumnType::UuidText, _) => return put_uuid(out, kind, value),
        (ColumnType::Decimal, Value::Integer(n)) => {
            let mut digits = [0; 20];
            put_bytes(out, decimal_digits(*n, &mut digits));
        }
        _ => return Err(Mismatch::Kind { seen: kind_of(value) }),
    }
    Ok(())
}

fn put_uuid(out: &mut Vec<u8>, kind: ColumnType, value: &Value<'_>) -> Result<(), Mismatch> {
    let uuid: [u8; 16] = match value {
        Value::Uuid(uuid) => *uuid,
        Value::Text(text) => {
            uuid_of(text.as_bytes()).ok_or(Mismatch::Value { seen: "text that is no UUID" })?
        }
        Value::Bytes(bytes) => {
            <[u8; 16]>::try_from(*bytes).map_err(|_| Mismatch::Value { seen: "bytes, but not 16 of them" })?
        }
        _ => return Err(Mismatch::Kind { seen: kind_of(value) }),
    };
    if kind == ColumnType::UuidFixed {
        out.extend_from_slice(&uuid);
    } else {
        put_bytes(out, &uuid_text(&uuid));
    }
    Ok(())
}

/// What a kind of value is called.
pub(crate) fn kind_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Bool(_) => "a truth value",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a binary floating-point number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Decimal(_) => "a decimal number",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time of day",
        Value::Timestamp(_) => "a timestamp without a zone",
        Value::Instant(_) => "an instant",
        Value::Uuid(_) => "a UUID",
    }
}

/// What a column's type takes, for messages.
pub(crate) fn needed_by(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Boolean => "a truth value, or the integer 0 or 1",
        ColumnType::Int => "an integer of 32 bits",
        ColumnType::Long => "an integer of 64 bits",
        ColumnType::Float => "a number that 32 bits hold exactly",
        ColumnType::Double => "a floating-point number, or an integer to 2^53",
        ColumnType::String => "text",
        ColumnType::Bytes => "bytes",
        ColumnType::Date => "a date, or text YYYY-MM-DD",
        ColumnType::Time => "a time from 00:00:00 to 24:00:00, or text HH:MM:SS[.ffffff]",
        ColumnType::Instant => "an instant, or text like 2026-03-01T08:30:00+08:00",
        ColumnType::Timestamp => "a timestamp without a zone, or text like 2026-03-01 08:30:00",
        ColumnType::UuidFixed | ColumnType::UuidText => "a UUID, its text of 36 characters, or its 16 bytes",
        ColumnType::Decimal => "an exact decimal number: text like -12.30, or an integer",
    }
}

/// A decimal number's text: an optional '-', digits without leading zeros, optionally '.' and digits; or `NaN`,
/// `Infinity`, `-Infinity`.
pub(crate) fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let whole = unsigned.iter().take_while(|b| b.is_ascii_digit()).count();
    match unsigned.split_at_checked(whole) {
        Some(([], b"Infinity")) => true,
        Some(([], _)) => text == "NaN",
        Some(([b'0', _, ..], _)) => false,
        Some((_, [])) => true,
        Some((_, [b'.', places @ ..])) => !places.is_empty() && places.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether microseconds are a time of day.
pub(crate) fn is_time(micros: i64) -> bool {
    (0..=moment::MICROS_PER_DAY).contains(&micros)
}

/// A UUID of its text, in either case of letters.
pub(crate) fn uuid_of(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut uuid = [0; 16];
    let mut characters = text.iter();
    for (i, byte) in uuid.iter_mut().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) && characters.next() != Some(&b'-') {
            return None;
        }
        *byte = nibble(*characters.next()?)? << 4 | nibble(*characters.next()?)?;
    }
    Some(uuid)
}

fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

/// A UUID's text, in lower case.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> [u8; 36] {
    let mut text = [b'-'; 36];
    let hex = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
    let digits = uuid.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]);
    let places = text.iter_mut().enumerate().filter(|(i, _)| !matches!(i, 8 | 13 | 18 | 23)).map(|(_, c)| c);
    for (place, digit) in places.zip(digits) {
        *place = digit;
    }
    text
}

/// The bits of the one NaN that is written, as a double and as a single.
pub(crate) const NAN_BITS: (u64, u32) = (0x7ff8_0000_0000_0000, 0x7fc0_0000);

/// The number, with one NaN in place of all.
fn one_nan(number: f64) -> f64 {
    if number.is_nan() { f64::from_bits(NAN_BITS.0) } else { number }
}

/// A double as a single, when nothing is lost.
fn narrowed(number: f64) -> Option<f32> {
    if number.is_nan() {
        return Some(f32::from_bits(NAN_BITS.1));
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the next line refuses a number that the cast changed"
    )]
    let single = number as f32;
    (f64::from(single).to_bits() == number.to_bits()).then_some(single)
}

/// An integer as a double, when it has at most `bits` bits.
fn whole(n: i64, bits: u32) -> Option<f64> {
    // Every integer of at most 53 bits is a double.
    (n.unsigned_abs() <= 1 << bits).then_some(n as f64)
}

/// An integer's decimal digits, without an allocation.
fn decimal_digits(n: i64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut rest = n.unsigned_abs();
    let mut start = buffer.len();
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        // i64::MIN has 19 digits, so a place is left.
        start = start.saturating_sub(1);
        if let Some(sign) = buffer.get_mut(start) {
            *sign = b'-';
        }
    }
    buffer.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(kind: ColumnType, value: Value<'_>) -> Result<Vec<u8>, Mismatch> {
        let mut out = Vec::new();
        put_value(&mut out, kind, &value).map(|()| out)
    }

    #[test]
    fn integers_become_what_they_are_exactly() {
        assert_eq!(bytes_of(ColumnType::Int, Value::Integer(-1)).unwrap(), [1]);
        assert!(bytes_of(ColumnType::Int, Value::Integer(1 << 31)).is_err());
        assert_eq!(bytes_of(ColumnType::Boolean, Value::Integer(1)).unwrap(), [1]);
        assert!(bytes_of(ColumnType::Boolean, Value::Integer(2)).is_err());
        assert_eq!(
            bytes_of(ColumnType::Double, Value::Integer(1 << 53)).unwrap(),
            (2f64.powi(53)).to_le_bytes()
        );
        assert!(bytes_of(ColumnType::Double, Value::Integer((1 << 53) + 1)).is_err());
        assert!(bytes_of(ColumnType::Float, Value::Integer((1 << 24) + 1)).is_err());
        for n in [0, 7, -7, i64::MIN, i64::MAX] {
            let written = bytes_of(ColumnType::Decimal, Value::Integer(n)).unwrap();
            assert_eq!(&written[1..], n.to_string().as_bytes());
            assert!(is_decimal(&n.to_string()));
        }
    }

    #[test]
    fn a_binary_fraction_is_never_a_decimal() {
        assert_eq!(
            bytes_of(ColumnType::Decimal, Value::Float(12.3)),
            Err(Mismatch::Kind { seen: "a binary floating-point number" })
        );
        assert!(bytes_of(ColumnType::Float, Value::Float(0.1)).is_err());
        assert!(bytes_of(ColumnType::Float, Value::Float(0.5)).is_ok());
        assert!(bytes_of(ColumnType::Float, Value::Float(-0.0)).is_ok());
        assert!(bytes_of(ColumnType::Float, Value::Float(f64::NAN)).is_ok());
        assert!(bytes_of(ColumnType::Float, Value::Float(1e300)).is_err());
    }

    #[test]
    fn decimals_have_one_form_for_each_scale() {
        for good in
            ["0", "-0.00", "12.30", "-12", "NaN", "Infinity", "-Infinity", "123456789012345678901234567890.1"]
        {
            assert!(is_decimal(good), "{good}");
        }
        for bad in
            ["", "-", "+1", "01", ".5", "5.", "1e3", "1,0", " 1", "1 ", "-NaN", "nan", "Inf", "--1", "１"]
        {
            assert!(!is_decimal(bad), "{bad}");
        }
    }

    #[test]
    fn a_uuid_has_three_forms_and_one_meaning() {
        let uuid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x00\x11\x22\x33\x44\x55\x66\xff";
        let text = "01234567-89ab-cdef-0011-2233445566ff";
        assert_eq!(uuid_text(&uuid), text.as_bytes());
        for value in
            [Value::Uuid(uuid), Value::Text(text), Value::Text(&text.to_uppercase()), Value::Bytes(&uuid)]
        {
            assert_eq!(bytes_of(ColumnType::UuidFixed, value).unwrap(), uuid);
            assert_eq!(&bytes_of(ColumnType::UuidText, value).unwrap()[1..], text.as_bytes());
        }
        for bad in ["", "0123456789abcdef00112233445566ff", "01234567-89ab-cdef-0011-2233445566fg"] {
            assert!(bytes_of(ColumnType::UuidText, Value::Text(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_becomes_a_time_only_in_the_exact_form() {
        assert_eq!(bytes_of(ColumnType::Date, Value::Text("1970-01-02")).unwrap(), [2]);
        assert!(bytes_of(ColumnType::Date, Value::Text("1970-1-2")).is_err());
        assert_eq!(bytes_of(ColumnType::Time, Value::Text("00:00:00")).unwrap(), [0]);
        assert!(bytes_of(ColumnType::Time, Value::Time(-1)).is_err());
        assert_eq!(bytes_of(ColumnType::Instant, Value::Text("1970-01-01T08:00:00+08:00")).unwrap(), [0]);
        assert!(bytes_of(ColumnType::Instant, Value::Text("1970-01-01 00:00:00")).is_err());
        assert_eq!(bytes_of(ColumnType::Timestamp, Value::Text("1970-01-01 00:00:00")).unwrap(), [0]);
        assert!(bytes_of(ColumnType::Timestamp, Value::Integer(0)).is_err());
    }
}
