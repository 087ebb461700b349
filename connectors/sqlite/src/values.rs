//! SQLite's values: five storage classes, whatever a column is declared.
//!
//! A value is given as it is stored. What a text means (a date, a decimal number) is the contract's to say; nothing is
//! parsed, rounded or padded here.

use bridge_event::{Cell, Value};
use std::ops::Range;

/// A value as it is stored; texts and blobs are ranges of a chunk's bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    Null,
    Integer(i64),
    Real(f64),
    Text(Range<usize>),
    Blob(Range<usize>),
}

/// A text that is not UTF-8: SQLite stores such a text as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Stored {
    /// The cell, borrowing from the bytes that its ranges mean.
    pub(crate) fn cell<'a>(&self, bytes: &'a [u8]) -> Result<Cell<'a>, NotUtf8> {
        let of = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
        Ok(match self {
            Stored::Null => Cell::Null,
            Stored::Integer(number) => Cell::Value(Value::Integer(*number)),
            Stored::Real(number) => Cell::Value(Value::Float(*number)),
            Stored::Text(range) => {
                Cell::Value(Value::Text(std::str::from_utf8(of(range)).map_err(|_| NotUtf8)?))
            }
            Stored::Blob(range) => Cell::Value(Value::Bytes(of(range))),
        })
    }

    /// Whether two values are the same to the bit, class included.
    pub(crate) fn is_same(&self, other: &Stored, bytes: &[u8]) -> bool {
        let of = |range: &Range<usize>| bytes.get(range.clone());
        match (self, other) {
            (Stored::Null, Stored::Null) => true,
            (Stored::Integer(a), Stored::Integer(b)) => a == b,
            (Stored::Real(a), Stored::Real(b)) => a.to_bits() == b.to_bits(),
            (Stored::Text(a), Stored::Text(b)) | (Stored::Blob(a), Stored::Blob(b)) => of(a) == of(b),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_utf_8_is_refused() {
        assert_eq!(Stored::Text(0..2).cell(b"\xff\xfe"), Err(NotUtf8));
        assert_eq!(Stored::Text(1..3).cell(b"\xffab"), Ok(Cell::Value(Value::Text("ab"))));
        assert_eq!(Stored::Blob(0..2).cell(b"\xff\xfe"), Ok(Cell::Value(Value::Bytes(b"\xff\xfe"))));
    }

    #[test]
    fn values_of_two_classes_are_never_the_same() {
        let bytes = b"aab";
        assert!(Stored::Text(0..1).is_same(&Stored::Text(1..2), bytes));
        assert!(!Stored::Text(0..1).is_same(&Stored::Text(2..3), bytes));
        assert!(!Stored::Text(0..1).is_same(&Stored::Blob(0..1), bytes));
        assert!(!Stored::Integer(1).is_same(&Stored::Real(1.0), bytes));
        assert!(!Stored::Real(0.0).is_same(&Stored::Real(-0.0), bytes));
        assert!(Stored::Real(f64::INFINITY).is_same(&Stored::Real(f64::INFINITY), bytes));
    }
}
