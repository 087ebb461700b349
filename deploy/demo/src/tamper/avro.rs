//! Where the fields of an Avro record lie in its bytes: enough of Avro to cut a field out and put another one in.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, bail, ensure};

/// The shape of a value, as the published schemas have it. Strings are bytes; enums are longs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Long,
    Boolean,
    Bytes,
    Fixed(usize),
    Record(&'static [Field]),
    /// The branches in their order; a null branch is an empty record.
    Union(&'static [Shape]),
    Array(&'static Shape),
}

/// A record's field.
pub(crate) type Field = (&'static str, Shape);

/// The null branch of a union.
pub(crate) const NULL: Shape = Shape::Record(&[]);

/// The fields of one record's bytes, by their dotted names (`appended.checkpoint`, `sections[0]`).
#[derive(Clone, Debug)]
pub(crate) struct Fields(BTreeMap<String, Range<usize>>);

impl Fields {
    /// Finds every field. The whole of `bytes` must be the record.
    pub(crate) fn of(record: &'static [Field], bytes: &[u8]) -> anyhow::Result<Fields> {
        let mut walk = Walk { bytes, at: 0, fields: BTreeMap::new() };
        walk.record(record, "")?;
        ensure!(walk.at == bytes.len(), "{} bytes are left over", bytes.len() - walk.at);
        Ok(Fields(walk.fields))
    }

    /// Where a field's encoding lies.
    pub(crate) fn range(&self, name: &str) -> anyhow::Result<Range<usize>> {
        self.0.get(name).cloned().with_context(|| format!("there is no field {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: BTreeMap<String, Range<usize>>,
}

impl Walk<'_> {
    fn record(&mut self, record: &'static [Field], prefix: &str) -> anyhow::Result<()> {
        for (name, shape) in record {
            let path = if prefix.is_empty() { (*name).to_owned() } else { format!("{prefix}.{name}") };
            self.value(*shape, &path)?;
        }
        Ok(())
    }

    fn value(&mut self, shape: Shape, path: &str) -> anyhow::Result<()> {
        let start = self.at;
        match shape {
            Shape::Long => drop(self.long(path)?),
            Shape::Boolean => self.skip(1, path)?,
            Shape::Fixed(length) => self.skip(length, path)?,
            Shape::Bytes => {
                let length = self.long(path)?;
                self.skip(
                    usize::try_from(length).with_context(|| format!("{path}: a length below 0"))?,
                    path,
                )?;
            }
            Shape::Record(fields) => self.record(fields, path)?,
            Shape::Union(branches) => {
                let branch = usize::try_from(self.long(path)?).unwrap_or(usize::MAX);
                let shape = branches.get(branch).with_context(|| format!("{path}: no branch {branch}"))?;
                self.value(*shape, path)?;
            }
            Shape::Array(item) => self.array(*item, path)?,
        }
        // A union's own span replaces its branch's.
        self.fields.insert(path.to_owned(), start..self.at);
        Ok(())
    }

    fn array(&mut self, item: Shape, path: &str) -> anyhow::Result<()> {
        let mut index = 0;
        loop {
            let count = self.long(path)?;
            if count == 0 {
                return Ok(());
            }
            ensure!(count > 0, "{path}: a block with a length of its own");
            for _ in 0..count {
                self.value(item, &format!("{path}[{index}]"))?;
                index += 1;
            }
        }
    }

    fn skip(&mut self, length: usize, path: &str) -> anyhow::Result<()> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        self.at = end.with_context(|| format!("{path}: {length} bytes go beyond the end"))?;
        Ok(())
    }

    fn long(&mut self, path: &str) -> anyhow::Result<i64> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (value, length) = read_long(rest).with_context(|| format!("{path}: not a number"))?;
        self.at += length;
        Ok(value)
    }
}

/// A zigzag varint at the start of `bytes`, and its length.
pub(crate) fn read_long(bytes: &[u8]) -> anyhow::Result<(i64, usize)> {
    let mut value: u64 = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), index + 1));
        }
    }
    bail!("a varint without an end")
}

/// A zigzag varint.
pub(crate) fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Bytes or a string with their length before them.
pub(crate) fn bytes(content: &[u8]) -> Vec<u8> {
    let mut out = long(i64::try_from(content.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Field] = &[("a", Shape::Long), ("b", Shape::Bytes)];
    const OUTER: &[Field] = &[
        ("number", Shape::Long),
        ("flag", Shape::Boolean),
        ("maybe", Shape::Union(&[NULL, Shape::Record(INNER)])),
        ("list", Shape::Array(&Shape::Fixed(2))),
    ];

    #[test]
    fn numbers_are_written_as_avro_writes_them() {
        for (value, expected) in
            [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (64, vec![0x80, 1]), (-64, vec![0x7f])]
        {
            assert_eq!(long(value), expected);
        }
        for value in [0, 1, -1, 63, 64, 1 << 40, i64::MAX, i64::MIN] {
            let written = long(value);
            assert_eq!(read_long(&written).unwrap(), (value, written.len()));
        }
        assert!(read_long(&[0x80; 12]).is_err());
        assert!(read_long(&[]).is_err());
    }

    #[test]
    fn each_field_is_found_where_it_lies() {
        let mut record = long(-70);
        record.push(1);
        record.extend([2, 6]);
        record.extend(bytes(b"hi"));
        record.extend([4, 9, 9, 8, 8, 0]);
        let fields = Fields::of(OUTER, &record).unwrap();
        assert_eq!(fields.range("number").unwrap(), 0..2);
        assert_eq!(fields.range("maybe").unwrap(), 3..8);
        assert_eq!(fields.range("maybe.b").unwrap(), 5..8);
        assert_eq!(fields.range("list[1]").unwrap(), 11..13);
        assert!(!fields.has("list[2]"));
        assert!(fields.range("nothing").is_err());
    }

    #[test]
    fn an_absent_branch_has_no_fields() {
        let fields = Fields::of(OUTER, &[0, 0, 0, 0]).unwrap();
        assert_eq!(fields.range("maybe").unwrap(), 2..3);
        assert!(!fields.has("maybe.a"));
    }

    #[test]
    fn bytes_that_are_no_such_record_are_refused() {
        assert!(Fields::of(OUTER, &[0, 0, 0, 0, 7]).is_err(), "left over");
        assert!(Fields::of(OUTER, &[0, 0, 4]).is_err(), "no such branch");
        assert!(Fields::of(INNER, &[0, 100, 1]).is_err(), "beyond the end");
        assert!(Fields::of(INNER, &[0, 1]).is_err(), "a length below 0");
    }
}
