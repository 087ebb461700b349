//! A sheet: named fields in their order, printed for people or as JSON.

use bridge_event::UnixMicros;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

/// The fields of one thing, in the order of its format.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sheet(Vec<(&'static str, Field)>);

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    Nothing,
    Flag(bool),
    Number(u64),
    Signed(i64),
    Text(String),
    List(Vec<Field>),
    Sheet(Sheet),
}

impl Sheet {
    /// A sheet that begins with what it shows.
    pub(crate) fn of(what: &'static str) -> Sheet {
        Sheet::default().with("is", what)
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &'static str, field: impl Into<Field>) -> Sheet {
        self.0.push((name, field.into()));
        self
    }

    /// Adds all fields of another sheet.
    pub(crate) fn and(mut self, other: Sheet) -> Sheet {
        self.0.extend(other.0);
        self
    }
}

impl Field {
    /// The value's own text.
    pub(crate) fn text(value: impl fmt::Display) -> Field {
        Field::Text(value.to_string())
    }

    /// Bytes as hex.
    pub(crate) fn hex(bytes: &[u8]) -> Field {
        Field::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// An instant as RFC 3339 in UTC, with microseconds.
    pub(crate) fn instant(time: UnixMicros) -> Field {
        Field::Text(instant(time.0))
    }

    /// A list.
    pub(crate) fn list<T>(items: impl IntoIterator<Item = T>, field: impl Fn(T) -> Field) -> Field {
        Field::List(items.into_iter().map(field).collect())
    }

    /// A field that may be absent.
    pub(crate) fn option<T>(item: Option<T>, field: impl FnOnce(T) -> Field) -> Field {
        item.map_or(Field::Nothing, field)
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Field {
        Field::Text(text.to_owned())
    }
}

impl From<u64> for Field {
    fn from(number: u64) -> Field {
        Field::Number(number)
    }
}

impl From<u32> for Field {
    fn from(number: u32) -> Field {
        Field::Number(number.into())
    }
}

impl From<i64> for Field {
    fn from(number: i64) -> Field {
        Field::Signed(number)
    }
}

impl From<bool> for Field {
    fn from(flag: bool) -> Field {
        Field::Flag(flag)
    }
}

impl From<Sheet> for Field {
    fn from(sheet: Sheet) -> Field {
        Field::Sheet(sheet)
    }
}

impl Serialize for Sheet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, field) in &self.0 {
            map.serialize_entry(name, field)?;
        }
        map.end()
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Nothing => serializer.serialize_none(),
            Field::Flag(flag) => serializer.serialize_bool(*flag),
            Field::Number(number) => serializer.serialize_u64(*number),
            Field::Signed(number) => serializer.serialize_i64(*number),
            Field::Text(text) => serializer.serialize_str(text),
            Field::List(list) => list.serialize(serializer),
            Field::Sheet(sheet) => sheet.serialize(serializer),
        }
    }
}

/// Fields as lines, what is inside of a field two spaces further in.
impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Sheet {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        for (name, field) in &self.0 {
            write!(f, "{:1$}{name}:", "", 2 * depth)?;
            field.write(f, depth + 1)?;
        }
        Ok(())
    }
}

impl Field {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Field::Nothing => writeln!(f, " none"),
            Field::Flag(flag) => writeln!(f, " {}", if *flag { "yes" } else { "no" }),
            Field::Number(number) => writeln!(f, " {number}"),
            Field::Signed(number) => writeln!(f, " {number}"),
            Field::Text(text) if text.contains('\n') => {
                writeln!(f)?;
                text.lines().try_for_each(|line| writeln!(f, "{:1$}| {line}", "", 2 * depth))
            }
            Field::Text(text) => writeln!(f, " {text}"),
            Field::List(list) if list.is_empty() => writeln!(f, " none"),
            Field::List(list) => {
                writeln!(f)?;
                for (number, field) in list.iter().enumerate() {
                    write!(f, "{:1$}{number}:", "", 2 * depth)?;
                    field.write(f, depth + 1)?;
                }
                Ok(())
            }
            Field::Sheet(sheet) => {
                writeln!(f)?;
                sheet.write(f, depth)
            }
        }
    }
}

/// RFC 3339 in UTC; the days are counted in 400-year cycles from 0000-03-01, so that the leap day ends a year.
fn instant(micros: i64) -> String {
    let (second, micro) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (day, second) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let days = day + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let year = year + 400 * cycle;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_in_utc() {
        assert_eq!(instant(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(instant(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(instant(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(instant(1_709_164_800_123_456), "2024-02-29T00:00:00.123456Z");
        assert_eq!(instant(4_107_542_399_000_000), "2100-02-28T23:59:59.000000Z");
        assert!(instant(i64::MAX).starts_with("294247-"));
        assert!(instant(i64::MIN).starts_with("-29"));
    }

    #[test]
    fn fields_keep_their_order_in_both_forms() {
        let sheet = Sheet::of("test")
            .with("b", 1u64)
            .with("a", Sheet::default().with("z", true).with("y", Field::Nothing))
            .with("list", Field::list(["x", "y"], Field::from));
        let json = serde_json::to_string(&sheet).unwrap();
        assert_eq!(json, r#"{"is":"test","b":1,"a":{"z":true,"y":null},"list":["x","y"]}"#);
        assert_eq!(sheet.to_string(), "is: test\nb: 1\na:\n  z: yes\n  y: none\nlist:\n  0: x\n  1: y\n");
    }
}
