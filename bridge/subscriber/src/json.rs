//! Rows as JSON lines in Debezium's shape (docs/guide/json-lines.md).
//!
//! Values are written straight from the opened bytes: nothing is kept of a row but its line.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_event::{Cell, Operation, Value};
use schemas::{EventHead, ReadRow, write_date, write_time, write_timestamp};

/// What every line of one batch has in common, as JSON without its outer braces.
#[derive(Clone, Debug)]
pub(crate) struct BatchWords {
    /// `"department":..` to `"incarnation":..`.
    pub(crate) source: String,
    /// `"origin":..` and the rest of the batch's provenance.
    pub(crate) provenance: String,
    /// Whether the rows are a snapshot's.
    pub(crate) snapshot: bool,
}

/// Writes one row: the same event of every section that the department opened.
pub(crate) fn row(out: &mut Vec<u8>, words: &BatchWords, leaf: usize, sections: &[ReadRow<'_>]) {
    let Some(first) = sections.first() else { return };
    let head = first.head();
    let truncate = first.operation() == Operation::Truncate;
    // Writing into a Vec does not fail, here and below.
    pieces(out, &[b"{\"op\":\"", letter(first.operation()), b"\",\"before\":"]);
    let mut missing = Missing::default();
    let states = [(Side::Before, first.states().has_before()), (Side::After, first.states().has_after())];
    for (side, there) in states {
        if side == Side::After {
            out.extend_from_slice(b",\"after\":");
        }
        if there && !truncate {
            state(out, side, sections, &mut missing)
        } else {
            out.extend_from_slice(b"null")
        }
    }
    missing.write(out);
    let EventHead { commit, ordinal, commit_time, transaction, index } = head;
    // Seven numbers a row: the formatting machinery would take longer for them than all of the row's texts.
    pieces(out, &[b",\"source\":{", words.source.as_bytes(), b",\"commit\":"]);
    number(out, commit);
    out.extend_from_slice(b",\"ordinal\":");
    number(out, ordinal);
    out.extend_from_slice(b",\"transaction\":");
    number(out, transaction);
    out.extend_from_slice(b",\"index\":");
    number(out, index);
    out.extend_from_slice(b",\"commit_ts_us\":");
    number(out, commit_time.0);
    out.extend_from_slice(b",\"snapshot\":");
    value(out, Value::Bool(words.snapshot));
    out.extend_from_slice(b"},\"ts_ms\":");
    number(out, commit_time.0.div_euclid(1000));
    pieces(out, &[b",\"provenance\":{", words.provenance.as_bytes(), b",\"leaf\":"]);
    number(out, leaf);
    out.extend_from_slice(b"}}");
    out.push(b'\n');
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Columns that a state does not have a value of.
#[derive(Debug, Default)]
struct Missing<'a> {
    unchanged: [Vec<&'a str>; 2],
    absent: [Vec<&'a str>; 2],
}

impl<'a> Missing<'a> {
    fn add(&mut self, side: Side, cell: Cell<'_>, name: &'a str) {
        let list = match cell {
            Cell::Unchanged => &mut self.unchanged,
            _ => &mut self.absent,
        };
        let [before, after] = list;
        match side {
            Side::Before => before.push(name),
            Side::After => after.push(name),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (word, [before, after]) in [("unchanged", &self.unchanged), ("absent", &self.absent)] {
            if before.is_empty() && after.is_empty() {
                continue;
            }
            let _ = write!(out, ",\"{word}\":{{");
            let mut comma = "";
            for (side, names) in [("before", before), ("after", after)] {
                if !names.is_empty() {
                    let _ = write!(out, "{comma}\"{side}\":");
                    let _ = serde_json::to_writer(&mut *out, names);
                    comma = ",";
                }
            }
            out.push(b'}');
        }
    }
}

fn state<'a>(out: &mut Vec<u8>, side: Side, sections: &[ReadRow<'a>], missing: &mut Missing<'a>) {
    let mut comma = "{";
    let mut put = |out: &mut Vec<u8>, name: &str| {
        out.extend_from_slice(comma.as_bytes());
        text(out, name);
        out.push(b':');
        comma = ",";
    };
    if let Some(first) = sections.first() {
        for (name, key) in first.named_keys() {
            put(out, name);
            value(out, key);
        }
    }
    for section in sections {
        let mut column = |name: &'a str, cell: Cell<'a>| match cell {
            Cell::Value(found) => {
                put(out, name);
                value(out, found);
            }
            Cell::Null => {
                put(out, name);
                out.extend_from_slice(b"null");
            }
            Cell::Unchanged | Cell::Absent => missing.add(side, cell, name),
        };
        match side {
            Side::Before => {
                section.named_before().into_iter().flatten().for_each(|(name, cell)| column(name, cell))
            }
            Side::After => {
                section.named_after().into_iter().flatten().for_each(|(name, cell)| column(name, cell))
            }
        }
    }
    out.extend_from_slice(if comma == "{" { b"{}" } else { b"}" });
}

fn value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Value::Integer(whole) => number(out, whole),
        Value::Float(number) => float(out, number),
        Value::Text(words) => text(out, words),
        Value::Decimal(digits) => text(out, digits),
        Value::Bytes(bytes) => text(out, &STANDARD.encode(bytes)),
        // PostgreSQL's infinities are the ends of the range.
        Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) | Value::Instant(i64::MAX) => {
            text(out, "infinity")
        }
        Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) | Value::Instant(i64::MIN) => {
            text(out, "-infinity")
        }
        Value::Date(days) => quoted(out, |out| write_date(out, i64::from(days))),
        Value::Time(micros) => quoted(out, |out| write_time(out, micros)),
        Value::Timestamp(micros) => quoted(out, |out| write_timestamp(out, micros)),
        Value::Instant(micros) => quoted(out, |out| {
            write_timestamp(out, micros);
            out.push(b'Z');
        }),
        Value::Uuid(bytes) => quoted(out, |out| {
            for (i, byte) in bytes.iter().enumerate() {
                let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
                let _ = write!(out, "{dash}{byte:02x}");
            }
        }),
    }
}

fn number(out: &mut Vec<u8>, whole: impl serde::Serialize) {
    let _ = serde_json::to_writer(out, &whole);
}

fn pieces(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

fn float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        // The shortest text that reads back as the same number.
        let _ = serde_json::to_writer(&mut *out, &number);
    } else if number.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if number > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// A JSON string with its quotes.
pub(crate) fn text(out: &mut Vec<u8>, words: &str) {
    let _ = serde_json::to_writer(&mut *out, words);
}

/// The same as a `String`, for pieces that are put together.
pub(crate) fn quote(words: &str) -> String {
    serde_json::Value::from(words).to_string()
}

fn letter(operation: Operation) -> &'static [u8] {
    match operation {
        Operation::Read => b"r",
        Operation::Insert => b"c",
        Operation::Update => b"u",
        Operation::Delete => b"d",
        Operation::Truncate => b"t",
    }
}

/// The end of a source transaction: `place` is the origin (mode `source`) or the stream, as JSON without braces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit<'a> {
    pub(crate) place: &'a str,
    pub(crate) incarnation: u32,
    pub(crate) commit: u64,
    pub(crate) transaction: u64,
    pub(crate) rows: u64,
    pub(crate) commit_time: i64,
}

/// Writes the line that ends a source transaction.
pub(crate) fn commit(out: &mut Vec<u8>, end: Commit<'_>) {
    let Commit { place, incarnation, commit, transaction, rows, commit_time } = end;
    let _ = writeln!(
        out,
        "{{\"commit\":{{{place},\"incarnation\":{incarnation},\"commit\":{commit},\"transaction\":{transaction},\
         \"rows\":{rows},\"commit_ts_us\":{commit_time}}}}}"
    );
}

/// Writes a GAP or RETRACT: what may be missing or has vanished, which open transactions are void, and why.
pub(crate) fn notice(out: &mut Vec<u8>, word: &str, words: &BatchWords, reason: &str, voids: &[u64]) {
    let _ = write!(out, "{{\"{word}\":{{\"reason\":");
    text(out, reason);
    let _ = write!(out, ",\"voids\":");
    let _ = serde_json::to_writer(&mut *out, voids);
    let _ = writeln!(out, "}},\"source\":{{{}}},\"provenance\":{{{}}}}}", words.source, words.provenance);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(found: Value<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        value(&mut out, found);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn values_lose_nothing() {
        assert_eq!(json(Value::Integer(i64::MIN)), serde_json::json!(i64::MIN));
        assert_eq!(json(Value::Text("a\"\n税\u{1}")), "a\"\n税\u{1}");
        assert_eq!(json(Value::Decimal("-12.30")), "-12.30");
        assert_eq!(json(Value::Bytes(&[0, 255])), "AP8=");
        assert_eq!(json(Value::Float(0.1)), serde_json::json!(0.1));
        assert_eq!(json(Value::Float(f64::NEG_INFINITY)), "-Infinity");
        assert_eq!(json(Value::Float(f64::NAN)), "NaN");
        assert_eq!(json(Value::Date(0)), "1970-01-01");
        for last in [Value::Date(i32::MAX), Value::Timestamp(i64::MAX), Value::Instant(i64::MAX)] {
            assert_eq!(json(last), "infinity");
        }
        for first in [Value::Date(i32::MIN), Value::Timestamp(i64::MIN), Value::Instant(i64::MIN)] {
            assert_eq!(json(first), "-infinity");
        }
        assert_eq!(json(Value::Date(-735_160)), "-000043-03-15");
        assert_eq!(json(Value::Instant(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(json(Value::Uuid([0x11; 16])), "11111111-1111-1111-1111-111111111111");
        assert_eq!(json(Value::Bool(true)), true);
    }

    #[test]
    fn missing_columns_are_listed_by_state_and_never_null() {
        let mut missing = Missing::default();
        missing.add(Side::After, Cell::Unchanged, "photo");
        missing.add(Side::Before, Cell::Absent, "name");
        let mut out = b"{\"a\":1".to_vec();
        missing.write(&mut out);
        out.push(b'}');
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["unchanged"], serde_json::json!({"after": ["photo"]}));
        assert_eq!(read["absent"], serde_json::json!({"before": ["name"]}));
    }

    #[test]
    fn commit_and_notice_lines_are_json() {
        let mut out = Vec::new();
        let end = Commit {
            place: "\"origin\":\"o\"",
            incarnation: 1,
            commit: u64::MAX,
            transaction: 2,
            rows: 3,
            commit_time: -4,
        };
        commit(&mut out, end);
        let words = BatchWords { source: "\"a\":1".into(), provenance: "\"b\":2".into(), snapshot: false };
        notice(&mut out, "gap", &words, "lost \"disk\"", &[7]);
        let lines: Vec<serde_json::Value> = out
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        assert_eq!(lines[0]["commit"]["commit"], u64::MAX);
        assert_eq!(lines[1]["gap"]["reason"], "lost \"disk\"");
        assert_eq!(lines[1]["gap"]["voids"][0], 7);
    }
}
