//! Arrays: from the server's binary form to its own text form, which is how an array is shared.
//!
//! ```text
//! i32 dimensions (0 to 6), i32 flags, u32 item type, (i32 length, i32 lower bound) for each, (i32 bytes or -1, item) ...
//! ```
//!
//! One column that only comes as text makes the whole stream text; so the arrays that are used most are read here. Items
//! whose text form takes arithmetic (dates, timestamps, floating point) are left to the server, and their arrays come as text.

use crate::values::{Kind, NotOfType, numeric};
use bridge_pgwire::Reader;
use std::io::Write;

/// PostgreSQL's own limit.
const DIMENSIONS_MAX: i32 = 6;

/// What an array holds, when its binary form is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Numeric,
    Text,
    Jsonb,
    Bytea,
    Uuid,
}

impl Item {
    /// The item of this kind, `None` when only the server writes it as text.
    pub(crate) fn of(kind: Kind) -> Option<Item> {
        Some(match kind {
            Kind::Bool => Item::Bool,
            Kind::Int2 => Item::Int2,
            Kind::Int4 => Item::Int4,
            Kind::Int8 => Item::Int8,
            Kind::Oid => Item::Oid,
            Kind::Numeric => Item::Numeric,
            Kind::Text => Item::Text,
            Kind::Jsonb => Item::Jsonb,
            Kind::Bytea => Item::Bytea,
            Kind::Uuid => Item::Uuid,
            _ => return None,
        })
    }

    /// Appends the item's text form, before any quoting.
    fn write(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut reader = Reader::new(bytes);
        let done = match self {
            Item::Bool => out.write_all(if reader.u8()? == 0 { b"f" } else { b"t" }),
            Item::Int2 => write!(out, "{}", reader.i16()?),
            Item::Int4 => write!(out, "{}", reader.i32()?),
            Item::Int8 => write!(out, "{}", reader.i64()?),
            Item::Oid => write!(out, "{}", reader.u32()?),
            Item::Numeric => return numeric(bytes, out).ok().map(drop),
            Item::Text => return out.write_all(bytes).ok(),
            Item::Jsonb => return out.write_all(bytes.strip_prefix(&[1])?).ok(),
            Item::Bytea => {
                out.extend_from_slice(b"\\x");
                return bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")).ok();
            }
            Item::Uuid => {
                let uuid: [u8; 16] = bytes.try_into().ok()?;
                for (at, byte) in uuid.iter().enumerate() {
                    if [4, 6, 8, 10].contains(&at) {
                        out.push(b'-');
                    }
                    write!(out, "{byte:02x}").ok()?;
                }
                return Some(());
            }
        };
        done.ok().filter(|()| reader.is_empty())
    }
}

/// Appends an array's text form.
pub(crate) fn write(item: Item, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NotOfType> {
    let mut reader = Reader::new(bytes);
    head(&mut reader, out)
        .and_then(|lengths| level(item, &lengths, &mut reader, out))
        .filter(|()| reader.is_empty())
        .ok_or(NotOfType("an array"))
}

/// Reads the dimensions' lengths; writes them where one does not begin with 1.
fn head(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<Vec<i32>> {
    let count = reader.i32().filter(|count| (0..=DIMENSIONS_MAX).contains(count))?;
    let (_flags, _type) = (reader.i32()?, reader.u32()?);
    let mut bounds = Vec::new();
    for _ in 0..count {
        let (length, first) = (reader.i32().filter(|length| *length > 0)?, reader.i32()?);
        bounds.push((first, first.checked_add(length - 1)?, length));
    }
    if bounds.iter().any(|(first, ..)| *first != 1) {
        for (first, last, _) in &bounds {
            write!(out, "[{first}:{last}]").ok()?;
        }
        out.push(b'=');
    }
    Some(bounds.into_iter().map(|(.., length)| length).collect())
}

/// Writes one dimension and what lies in it. Each item takes four bytes at least, so a length that lies ends soon.
fn level(item: Item, lengths: &[i32], reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    out.push(b'{');
    if let Some((length, inner)) = lengths.split_first() {
        for at in 0..*length {
            if at > 0 {
                out.push(b',');
            }
            if inner.is_empty() {
                one(item, reader, out)?;
            } else {
                level(item, inner, reader, out)?;
            }
        }
    }
    out.push(b'}');
    Some(())
}

fn one(item: Item, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let length = reader.i32()?;
    if length == -1 {
        out.extend_from_slice(b"NULL");
        return Some(());
    }
    let bytes = reader.take(usize::try_from(length).ok()?)?;
    let start = out.len();
    item.write(bytes, out)?;
    let plain = out.get(start..)?;
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t'..=b'\r');
    if !plain.is_empty() && !plain.iter().any(special) && !plain.eq_ignore_ascii_case(b"NULL") {
        return Some(());
    }
    let plain = out.split_off(start);
    out.push(b'"');
    for byte in plain {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(item: Item, words: &[i32], items: &[Option<&[u8]>]) -> Option<String> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        for item in items {
            let length = item.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(item.unwrap_or_default());
        }
        let mut out = Vec::new();
        write(item, &bytes, &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_array_has_the_servers_own_text() {
        assert_eq!(array(Item::Int4, &[0, 0, 23], &[]).unwrap(), "{}");
        let words: &[Option<&[u8]>] =
            &[Some(b"a,b"), Some(b""), None, Some(b"null"), Some(b"a\"\\"), Some(b"x")];
        let text = array(Item::Text, &[2, 1, 25, 3, 1, 2, 1], words);
        assert_eq!(text.unwrap(), r#"{{"a,b",""},{NULL,"null"},{"a\"\\",x}}"#);
        let numbers: &[Option<&[u8]>] = &[Some(&[0, 0, 0, 7]), Some(&[255, 255, 255, 255])];
        assert_eq!(array(Item::Int4, &[1, 0, 23, 2, 0], numbers).unwrap(), "[0:1]={7,-1}");
        assert_eq!(array(Item::Bytea, &[1, 0, 17, 1, 1], &[Some(&[0, 255])]).unwrap(), r#"{"\\x00ff"}"#);
    }

    #[test]
    fn an_array_that_lies_about_itself_is_refused() {
        let one: &[Option<&[u8]>] = &[Some(&[0, 0, 0, 7])];
        for head in [
            &[7, 0, 23][..],
            &[-1, 0, 23],
            &[1, 0, 23],
            &[1, 0, 23, 2, 1],
            &[1, 0, 23, 0, 1],
            &[1, 0, 23, i32::MAX, 1],
            &[1, 0, 23, 1, i32::MAX - 1, 0],
            &[6, 0, 23, 9, 1, i32::MAX, 1, i32::MAX, 1, i32::MAX, 1, i32::MAX, 1, i32::MAX, 1],
        ] {
            assert_eq!(array(Item::Int4, head, one), None, "{head:?}");
        }
        assert_eq!(array(Item::Int4, &[1, 0, 23, 1, 1], &[Some(&[0, 7])]), None);
        assert_eq!(array(Item::Int4, &[0, 0, 23], one), None, "what follows is refused");
    }
}
