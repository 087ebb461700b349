//! PostgreSQL's types: from the bytes on the wire, binary or text, to values.
//!
//! ```text
//! boolean                         Bool
//! smallint, integer, bigint, oid  Integer
//! real, double precision          Float; NaN and infinity as they are
//! numeric                         Decimal: the server's own digits, NaN, Infinity, -Infinity
//! text, varchar, char(n), name,   Text; char(n) with its padding
//!   json, jsonb, enum
//! bytea                           Bytes
//! date                            Date; infinity is i32::MAX, -infinity is i32::MIN
//! time                            Time
//! timestamp, timestamptz          Timestamp, Instant; infinity is i64::MAX, -infinity is i64::MIN
//! uuid                            Uuid
//! a domain                        as its base type
//! every other type, every array   Text: the server's own text form under the pinned settings; of intervals and of most
//!                                 arrays it is made here from the binary form, any other type makes the whole stream text
//! ```
//!
//! A value is the same whether it came as text or as binary, from a snapshot or from the stream. What 64 bits cannot
//! hold is refused, never wrapped.

use crate::array::{self, Item};
use crate::interval;
use bridge_event::{Cell, Value};
use bridge_pgwire::Reader;
use std::ops::Range;

/// Days from 1970-01-01 to PostgreSQL's day 0, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// How a type's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Bytea,
    Date,
    Time,
    Timestamp,
    Instant,
    Uuid,
    Interval,
    Array(Item),
    /// Only the server's text form is understood.
    Other,
}

impl Kind {
    /// The kind of a base type (a domain's own base type), by its number in `pg_type`; `is_enum` by its `typtype`.
    pub(crate) fn of(oid: u32, is_enum: bool) -> Kind {
        match oid {
            16 => Kind::Bool,
            17 => Kind::Bytea,
            20 => Kind::Int8,
            21 => Kind::Int2,
            23 => Kind::Int4,
            26 => Kind::Oid,
            19 | 25 | 114 | 1042 | 1043 => Kind::Text,
            700 => Kind::Float4,
            701 => Kind::Float8,
            1082 => Kind::Date,
            1083 => Kind::Time,
            1114 => Kind::Timestamp,
            1184 => Kind::Instant,
            1186 => Kind::Interval,
            1700 => Kind::Numeric,
            2950 => Kind::Uuid,
            3802 => Kind::Jsonb,
            _ if is_enum => Kind::Text,
            _ => Kind::Other,
        }
    }

    /// The kind of an array of this kind.
    pub(crate) fn array_of(item: Kind) -> Kind {
        Item::of(item).map_or(Kind::Other, Kind::Array)
    }

    /// Whether the type's binary form is understood.
    pub(crate) fn has_binary(self) -> bool {
        self != Kind::Other
    }
}

/// Bytes that are no value of their type; the word says which type. Never the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOfType(pub(crate) &'static str);

/// A column's state: what is not plain stands as a range of the message, or of the scratch buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    Null,
    Unchanged,
    Absent,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Range<usize>),
    ScratchText(Range<usize>),
    Bytes(Range<usize>),
    ScratchBytes(Range<usize>),
    Decimal(Range<usize>),
    ScratchDecimal(Range<usize>),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Instant(i64),
    Uuid([u8; 16]),
}

impl Stored {
    /// The cell, borrowing from the message and the scratch buffer.
    pub(crate) fn cell<'a>(&self, message: &'a [u8], scratch: &'a [u8]) -> Result<Cell<'a>, NotOfType> {
        let text = |from: &'a [u8], range: &Range<usize>| {
            std::str::from_utf8(from.get(range.clone()).unwrap_or_default())
                .map_err(|_| NotOfType("UTF-8 text"))
        };
        Ok(Cell::Value(match self {
            Stored::Null => return Ok(Cell::Null),
            Stored::Unchanged => return Ok(Cell::Unchanged),
            Stored::Absent => return Ok(Cell::Absent),
            Stored::Bool(truth) => Value::Bool(*truth),
            Stored::Integer(number) => Value::Integer(*number),
            Stored::Float(number) => Value::Float(*number),
            Stored::Text(range) => Value::Text(text(message, range)?),
            Stored::ScratchText(range) => Value::Text(text(scratch, range)?),
            Stored::Bytes(range) => Value::Bytes(message.get(range.clone()).unwrap_or_default()),
            Stored::ScratchBytes(range) => Value::Bytes(scratch.get(range.clone()).unwrap_or_default()),
            Stored::Decimal(range) => Value::Decimal(text(message, range)?),
            Stored::ScratchDecimal(range) => Value::Decimal(text(scratch, range)?),
            Stored::Date(days) => Value::Date(*days),
            Stored::Time(micros) => Value::Time(*micros),
            Stored::Timestamp(micros) => Value::Timestamp(*micros),
            Stored::Instant(micros) => Value::Instant(*micros),
            Stored::Uuid(uuid) => Value::Uuid(*uuid),
        }))
    }
}

/// Reads a value in the server's binary form. `range` is where its bytes stand in the message.
pub(crate) fn from_binary(
    kind: Kind,
    bytes: &[u8],
    range: Range<usize>,
    scratch: &mut Vec<u8>,
) -> Result<Stored, NotOfType> {
    let mut reader = Reader::new(bytes);
    let read = match kind {
        Kind::Bool => reader.u8().map(|b| Stored::Bool(b != 0)),
        Kind::Int2 => reader.i16().map(|n| Stored::Integer(n.into())),
        Kind::Int4 => reader.i32().map(|n| Stored::Integer(n.into())),
        Kind::Int8 => reader.i64().map(Stored::Integer),
        Kind::Oid => reader.u32().map(|n| Stored::Integer(n.into())),
        Kind::Float4 => reader.u32().map(|n| Stored::Float(f64::from(f32::from_bits(n)))),
        Kind::Float8 => reader.u64().map(|n| Stored::Float(f64::from_bits(n))),
        Kind::Date => reader.i32().and_then(date_of).map(Stored::Date),
        Kind::Time => reader.i64().map(Stored::Time),
        Kind::Timestamp => reader.i64().and_then(micros_of).map(Stored::Timestamp),
        Kind::Instant => reader.i64().and_then(micros_of).map(Stored::Instant),
        Kind::Uuid => <[u8; 16]>::try_from(bytes).ok().map(Stored::Uuid),
        Kind::Text => return Ok(Stored::Text(range)),
        Kind::Bytea => return Ok(Stored::Bytes(range)),
        // A version byte, then the text.
        Kind::Jsonb if bytes.first() == Some(&1) => return Ok(Stored::Text(range.start + 1..range.end)),
        Kind::Numeric => return numeric(bytes, scratch),
        Kind::Array(item) => {
            let start = scratch.len();
            return array::write(item, bytes, scratch).map(|()| Stored::ScratchText(start..scratch.len()));
        }
        Kind::Interval => {
            let start = scratch.len();
            let written = interval::write(bytes, scratch).ok_or(NotOfType(word(kind)));
            return written.map(|()| Stored::ScratchText(start..scratch.len()));
        }
        Kind::Jsonb | Kind::Other => None,
    };
    let fits = kind == Kind::Uuid || reader.is_empty();
    read.filter(|_| fits).ok_or(NotOfType(word(kind)))
}

/// Reads a value in the server's text form, under the pinned settings.
pub(crate) fn from_text(
    kind: Kind,
    bytes: &[u8],
    range: Range<usize>,
    scratch: &mut Vec<u8>,
) -> Result<Stored, NotOfType> {
    let text = || std::str::from_utf8(bytes).ok();
    let read = match kind {
        Kind::Bool => match bytes {
            b"t" => Some(Stored::Bool(true)),
            b"f" => Some(Stored::Bool(false)),
            _ => None,
        },
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid => {
            text().and_then(|t| t.parse().ok()).map(Stored::Integer)
        }
        Kind::Float4 => {
            text().and_then(|t| t.parse::<f32>().ok()).map(|n| Stored::Float(f64::from(quiet(n))))
        }
        Kind::Float8 => text().and_then(|t| t.parse().ok()).map(Stored::Float),
        Kind::Numeric => return Ok(Stored::Decimal(range)),
        Kind::Text | Kind::Jsonb | Kind::Interval | Kind::Array(_) | Kind::Other => {
            return Ok(Stored::Text(range));
        }
        Kind::Bytea => return hexadecimal(bytes, scratch),
        Kind::Date => text_date(bytes).map(Stored::Date),
        Kind::Time => {
            text_time(bytes).filter(|(_, rest)| rest.is_empty()).map(|(micros, _)| Stored::Time(micros))
        }
        Kind::Timestamp => text_timestamp(bytes, b"").map(Stored::Timestamp),
        Kind::Instant => text_timestamp(bytes, b"+00").map(Stored::Instant),
        Kind::Uuid => text_uuid(bytes).map(Stored::Uuid),
    };
    read.ok_or(NotOfType(word(kind)))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "a boolean",
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Oid => "an integer",
        Kind::Float4 | Kind::Float8 => "a floating-point number",
        Kind::Numeric => "a numeric",
        Kind::Text => "a text",
        Kind::Jsonb => "a jsonb",
        Kind::Bytea => "a bytea",
        Kind::Date => "a date",
        Kind::Time => "a time",
        Kind::Timestamp | Kind::Instant => "a timestamp that 64 bits of microseconds since 1970 hold",
        Kind::Uuid => "a uuid",
        Kind::Interval => "an interval",
        Kind::Array(_) => "an array",
        Kind::Other => "a value in its text form",
    }
}

/// One NaN: the text form knows no payload.
fn quiet(number: f32) -> f32 {
    if number.is_nan() { f32::NAN } else { number }
}

fn date_of(days: i32) -> Option<i32> {
    if days == i32::MAX || days == i32::MIN { Some(days) } else { days.checked_add(EPOCH_DAYS) }
}

fn micros_of(micros: i64) -> Option<i64> {
    if micros == i64::MAX || micros == i64::MIN { Some(micros) } else { micros.checked_add(EPOCH_MICROS) }
}

/// Writes the digits of a binary numeric as the server does: sign, whole digits, and `dscale` digits after the dot.
pub(crate) fn numeric(bytes: &[u8], scratch: &mut Vec<u8>) -> Result<Stored, NotOfType> {
    let broken = NotOfType("a numeric");
    let mut reader = Reader::new(bytes);
    let mut head = || reader.u16().ok_or(broken);
    let (count, weight, sign, scale) = (head()?, head()?, head()?, head()?);
    let start = scratch.len();
    match sign {
        0 => {}
        0x4000 => scratch.push(b'-'),
        0xC000 => scratch.extend_from_slice(b"NaN"),
        0xD000 => scratch.extend_from_slice(b"Infinity"),
        0xF000 => scratch.extend_from_slice(b"-Infinity"),
        _ => return Err(broken),
    }
    if sign >= 0xC000 {
        return Ok(Stored::ScratchDecimal(start..scratch.len()));
    }
    let weight = i32::from(weight.cast_signed());
    let digits = bytes.get(8..).unwrap_or_default();
    if digits.len() != usize::from(count) * 2 {
        return Err(broken);
    }
    // The group of four digits at a power of 10,000; those that are not sent are zero.
    let group = |power: i32| -> Result<u16, NotOfType> {
        let Ok(at) = usize::try_from(weight - power) else { return Ok(0) };
        let Some([high, low]) = digits.get(at * 2..).and_then(|rest| rest.first_chunk()) else {
            return Ok(0);
        };
        let value = u16::from_be_bytes([*high, *low]);
        if value < 10_000 { Ok(value) } else { Err(broken) }
    };
    if weight < 0 {
        scratch.push(b'0');
    }
    for power in (0..=weight).rev() {
        let four = four_digits(group(power)?);
        let leading =
            if power == weight { four.iter().take(3).take_while(|d| **d == b'0').count() } else { 0 };
        scratch.extend_from_slice(four.get(leading..).unwrap_or_default());
    }
    let scale = usize::from(scale);
    if scale > 0 {
        scratch.push(b'.');
        let end = scratch.len() + scale;
        let mut power = -1;
        while scratch.len() < end {
            scratch.extend_from_slice(&four_digits(group(power)?));
            power -= 1;
        }
        scratch.truncate(end);
    }
    Ok(Stored::ScratchDecimal(start..scratch.len()))
}

fn four_digits(value: u16) -> [u8; 4] {
    let digit = |divisor: u16| b'0' + u8::try_from(value / divisor % 10).unwrap_or(0);
    [digit(1000), digit(100), digit(10), digit(1)]
}

fn hexadecimal(bytes: &[u8], scratch: &mut Vec<u8>) -> Result<Stored, NotOfType> {
    let broken = NotOfType("a bytea in hexadecimal");
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(broken),
    };
    let (pairs, rest) = bytes.strip_prefix(b"\\x").ok_or(broken)?.as_chunks::<2>();
    let start = scratch.len();
    for [high, low] in pairs {
        scratch.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    if rest.is_empty() { Ok(Stored::ScratchBytes(start..scratch.len())) } else { Err(broken) }
}

fn text_uuid(bytes: &[u8]) -> Option<[u8; 16]> {
    if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|at| bytes.get(*at) != Some(&b'-')) {
        return None;
    }
    let mut uuid = [0; 16];
    let mut digits = bytes.iter().filter(|b| **b != b'-').map(|b| char::from(*b).to_digit(16));
    for byte in &mut uuid {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(uuid)
}

/// A run of digits, and what follows it.
fn number(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let width = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at_checked(width).filter(|_| (1..=9).contains(&width))?;
    Some((digits.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')), rest))
}

/// `YYYY-MM-DD`, with more digits of the year where there are; ` BC` is the caller's to say.
fn text_day(bytes: &[u8], before_christ: bool) -> Option<(i64, &[u8])> {
    let (year, rest) = number(bytes)?;
    let (month, rest) = number(rest.strip_prefix(b"-")?)?;
    let (day, rest) = number(rest.strip_prefix(b"-")?)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    Some((days_from_civil(year, month, day), rest))
}

/// Days since 1970-01-01. A year is counted from March, so that the leap day is its last one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn text_date(bytes: &[u8]) -> Option<i32> {
    match bytes {
        b"infinity" => return Some(i32::MAX),
        b"-infinity" => return Some(i32::MIN),
        _ => {}
    }
    let (bytes, before_christ) = strip_era(bytes);
    let (days, rest) = text_day(bytes, before_christ)?;
    rest.is_empty().then(|| i32::try_from(days).ok())?
}

fn strip_era(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.strip_suffix(b" BC") {
        Some(rest) => (rest, true),
        None => (bytes, false),
    }
}

fn text_time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (hours, rest) = number(bytes)?;
    let (minutes, rest) = number(rest.strip_prefix(b":")?)?;
    let (seconds, mut rest) = number(rest.strip_prefix(b":")?)?;
    let mut micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND;
    if let Some(after) = rest.strip_prefix(b".") {
        let (fraction, left) = number(after)?;
        let width = after.len() - left.len();
        micros += (width..6).fold(fraction, |n, _| n * 10);
        rest = left;
        if width > 6 {
            return None;
        }
    }
    (micros <= MICROS_PER_DAY && minutes < 60 && seconds < 60).then_some((micros, rest))
}

fn text_timestamp(bytes: &[u8], zone: &[u8]) -> Option<i64> {
    match bytes {
        b"infinity" => return Some(i64::MAX),
        b"-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (bytes, before_christ) = strip_era(bytes);
    let (days, rest) = text_day(bytes, before_christ)?;
    let (micros, rest) = text_time(rest.strip_prefix(b" ")?)?;
    if rest != zone {
        return None;
    }
    days.checked_mul(MICROS_PER_DAY)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary_numeric(parts: &[u16]) -> String {
        let bytes: Vec<u8> = parts.iter().flat_map(|p| p.to_be_bytes()).collect();
        let mut scratch = Vec::new();
        numeric(&bytes, &mut scratch).unwrap();
        String::from_utf8(scratch).unwrap()
    }

    #[test]
    fn a_binary_numeric_has_the_servers_own_digits() {
        assert_eq!(binary_numeric(&[2, 0, 0, 2, 12, 3000]), "12.30");
        assert_eq!(binary_numeric(&[0, 0, 0, 0]), "0");
        assert_eq!(binary_numeric(&[0, 0, 0, 3]), "0.000");
        assert_eq!(binary_numeric(&[1, 0xFFFF, 0x4000, 4, 1]), "-0.0001");
        assert_eq!(binary_numeric(&[1, 0xFFFE, 0, 6, 100]), "0.000001");
        assert_eq!(binary_numeric(&[1, 2, 0, 0, 1]), "100000000");
        assert_eq!(binary_numeric(&[2, 1, 0, 1, 1, 9999]), "19999.0");
        assert_eq!(binary_numeric(&[0, 0, 0xC000, 0]), "NaN");
        assert_eq!(binary_numeric(&[0, 0, 0xD000, 0]), "Infinity");
        assert_eq!(binary_numeric(&[0, 0, 0xF000, 0]), "-Infinity");
    }

    #[test]
    fn a_numeric_whose_head_and_digits_disagree_is_refused() {
        for bytes in
            [&[0, 1, 0, 0, 0, 0, 0][..], &[0, 1, 0, 0, 0, 0, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]]
        {
            assert!(numeric(bytes, &mut Vec::new()).is_err());
        }
    }

    /// A parser that cut its text between two bytes of a character would panic here.
    #[test]
    fn a_bytea_that_is_no_hexadecimal_is_refused_whatever_its_bytes_are() {
        for bytes in
            [&b""[..], b"\\", b"\\x0", b"\\x0g", "\\x长".as_bytes(), b"\\x\xff\xfe", "长长".as_bytes()]
        {
            assert!(hexadecimal(bytes, &mut Vec::new()).is_err(), "{bytes:?}");
            for kind in
                [Kind::Uuid, Kind::Date, Kind::Time, Kind::Timestamp, Kind::Instant, Kind::Int4, Kind::Float8]
            {
                assert!(
                    from_text(kind, bytes, 0..bytes.len(), &mut Vec::new()).is_err(),
                    "{kind:?} {bytes:?}"
                );
            }
        }
    }

    #[test]
    fn dates_before_christ_and_after_9999_are_read() {
        assert_eq!(text_date(b"1970-01-01"), Some(0));
        assert_eq!(text_date(b"0001-01-01 BC"), Some(-719_528));
        assert_eq!(text_date(b"10000-01-01"), Some(2_932_897));
        assert_eq!(text_date(b"infinity"), Some(i32::MAX));
        assert_eq!(text_date(b"2026-13-01"), None);
        assert_eq!(text_date(b"2026-01-01x"), None);
    }

    #[test]
    fn a_timestamp_that_64_bits_cannot_hold_is_refused() {
        assert_eq!(text_timestamp(b"1970-01-01 00:00:00.25", b""), Some(250_000));
        assert_eq!(text_timestamp(b"1970-01-01 00:00:00+00", b"+00"), Some(0));
        assert_eq!(text_timestamp(b"1970-01-01 00:00:00+08", b"+00"), None);
        assert_eq!(text_timestamp(b"294276-12-31 23:59:59", b""), None);
        assert_eq!(micros_of(i64::MAX - 1), None);
        assert_eq!(micros_of(i64::MAX), Some(i64::MAX));
    }
}
