//! Who a source hands rows to.

use bridge_event::{At, Change, Token, Transaction};

/// The path asks the source to stop (a shutdown, or a stage after capture failed).
///
/// A source that is told so returns at once. The transaction that it was delivering counts as not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Takes whole transactions: `begin`, `row` for each row in its order, `commit`.
///
/// A call may block while the path is full. Values borrow from the source's buffer and live for the call only.
pub trait Capture {
    /// A transaction begins. `token` is the engine's own name of its commit.
    fn begin(&mut self, transaction: &Transaction, token: &Token) -> Result<(), Stop>;

    /// The transaction's next row; [`Change::index`] counts from 0 without a hole.
    fn row(&mut self, change: &Change<'_>) -> Result<(), Stop>;

    /// The transaction ends: every row of it was given.
    fn commit(&mut self, transaction: &Transaction) -> Result<(), Stop>;
}

/// Takes the rows of a snapshot.
pub trait SnapshotRows {
    /// The rows that follow are the tables' whole content right after the commit of `as_of`, whose engine's name is `token`.
    fn begin(&mut self, as_of: At, token: &Token) -> Result<(), Stop>;

    /// The next row: [`bridge_event::Operation::Read`], table after table, in key order within a table.
    /// [`Change::index`] counts from 0 over all tables of the snapshot.
    fn row(&mut self, change: &Change<'_>) -> Result<(), Stop>;
}
