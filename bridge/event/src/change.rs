//! A change of one row, borrowing from the buffer that it was read into.

use crate::{At, UnixMicros};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The row was found by a snapshot.
    Read,
    /// The row was inserted.
    Insert,
    /// The row was updated; its key stayed the same.
    Update,
    /// The row was deleted.
    Delete,
    /// The whole table was emptied; a truncate has no columns.
    Truncate,
}

/// One column of a row's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// A value.
    Value(Value<'a>),
    /// SQL's NULL.
    Null,
    /// The source did not send the value, because the change left it as it was (PostgreSQL's TOAST).
    Unchanged,
    /// The source does not know the value (a before image that holds the key only).
    Absent,
}

/// A value, as the engine has it, without a copy.
///
/// An engine yields the variant that its type maps to; `schemas` writes it as the contract's Avro type or refuses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A truth value.
    Bool(bool),
    /// A whole number of up to 64 bits.
    Integer(i64),
    /// A binary floating-point number.
    Float(f64),
    /// Text in UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An exact decimal number as text (`-12.30`, `NaN`, `Infinity`), never rounded.
    Decimal(&'a str),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// A civil timestamp: microseconds since 1970-01-01T00:00:00 of no time zone.
    Timestamp(i64),
    /// An instant: microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// A UUID, big-endian.
    Uuid([u8; 16]),
}

/// One row's change, as a connector yields it.
///
/// `before` and `after` hold one cell for each of the table's captured columns, in the order in which the source was
/// asked for them. An insert and a read have no `before`, a delete has no `after`, a truncate has neither.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The table's number, as the source was asked for tables.
    pub table: usize,
    /// What happened.
    pub operation: Operation,
    /// The row's index in the whole source transaction, from 0, over all tables.
    pub index: u64,
    /// Whether the next row must stand in the same batch: the delete of a changed key, before its insert.
    pub with_next: bool,
    /// The state before, as far as the source knows it.
    pub before: Option<&'a [Cell<'a>]>,
    /// The state after.
    pub after: Option<&'a [Cell<'a>]>,
}

/// A source transaction's own facts, known when it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The engine's number of the transaction.
    pub number: u64,
    /// The place of its commit; a row's position is this commit and the row's ordinal.
    pub commit: u64,
    /// When it committed, by the source's clock.
    pub committed_at: UnixMicros,
}

impl Transaction {
    /// The place after the transaction's last row.
    pub fn end(&self) -> At {
        At::end_of(self.commit)
    }
}
