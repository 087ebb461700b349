//! What a connector asks of a department's database.

use crate::{Capture, SnapshotRows, SourceError};
use bridge_event::{At, Incarnation, Token};
use std::time::Duration;

/// A table that contracts share, as the source is asked for it.
///
/// A [`bridge_event::Change`] names it by its index in [`Source::tables`] and gives its cells in the order of `columns`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The table's name at the source.
    pub name: String,
    /// The columns that are shared, and only those: an engine that can leave the others where they are does so.
    pub columns: Vec<String>,
    /// The columns that identify a row; each is one of `columns`.
    pub key: Vec<String>,
    /// What the contract says that the source calls each column's type, in the order of `columns`; none behind its end.
    pub types: Vec<Option<String>>,
}

impl Table {
    /// What the contract says that the source calls this column's type.
    pub fn source_type(&self, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.types.get(at)?.as_deref()
    }
}

/// What a poll did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing came within the wait. Everything that the source committed at or before `at` was delivered, and no
    /// transaction is open.
    Idle {
        /// The place that is complete; a keepalive may acknowledge it.
        at: At,
    },
    /// Rows were delivered; a transaction may be open.
    Delivered,
    /// The path asked to stop. The next poll begins after the last transaction whose commit the path took.
    Stopped,
}

/// Whether a source still knows a commit that somebody else remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// It has this commit, under this token.
    Same,
    /// It has another commit in this place, or none where one must be: it was restored from a copy, or replaced. The
    /// caller halts; an operator's RETRACT or GAP goes on.
    Different,
    /// It has forgotten that far back, and cannot say.
    Forgotten,
}

/// What a source keeps for its reader's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Bytes of the source's log.
    pub bytes: u64,
    /// Beyond so many the source forgets them, and the reader's place with them; none where it never does.
    pub limit: Option<u64>,
}

/// Asks a source how much it keeps, independently of the [`Source`] that reads it.
pub trait Gauge: Send {
    /// What the source keeps now.
    fn retained(&mut self) -> Result<Retained, SourceError>;
}

/// A department's database under a claim: one connector holds it at a time.
///
/// The claim is taken by the engine's own constructor and ends when the value is dropped, also by `kill -9`. All
/// places ([`At`]) are of the incarnation that the source is in; the caller knows its number.
pub trait Source: Send {
    /// The tables that it was claimed for.
    fn tables(&self) -> &[Table];

    /// Who the source says it is, read at the claim.
    fn incarnation(&self) -> &Incarnation;

    /// The source's own kept place: [`Source::acknowledge`] reached it, and a poll after a claim begins after it.
    fn acknowledged(&self) -> At;

    /// A place that no commit of the source stands beyond now: its newest commit, or the end of its log. A stream whose head
    /// stands beyond it holds what the source no longer has: the source went back, and the caller halts.
    fn newest(&mut self) -> Result<At, SourceError>;

    /// Whether the commit at `at` is the one that was delivered under `token`: finds a source that was restored and
    /// then written on, which [`Source::newest`] cannot. Only the commit of `at` counts, not its ordinal.
    fn recognises(&mut self, at: At, token: &Token) -> Result<Recognised, SourceError>;

    /// Gives all rows of these tables (by their index) as of one place, which stands in `out.begin`, and returns that place;
    /// `None` when `out` asked to stop.
    ///
    /// It does not move the stream: polls go on where they were. A row of a snapshotted table whose commit is at or
    /// before the returned place is in the snapshot already, and the caller skips it by its place.
    fn snapshot(&mut self, tables: &[usize], out: &mut dyn SnapshotRows) -> Result<Option<At>, SourceError>;

    /// Gives the next transactions in commit order, waiting for the first at most `wait`; a source may gather for all of a
    /// wait of two milliseconds or less.
    ///
    /// One call gives a bounded number of rows, so that the caller comes back to acknowledge; a transaction larger
    /// than that goes on in the next call, without a second `begin`. A transaction is never held in memory whole.
    /// On an error nothing after the last `commit` counts as delivered.
    fn poll(&mut self, wait: Duration, out: &mut dyn Capture) -> Result<Polled, SourceError>;

    /// Goes back: the next poll begins after [`Source::acknowledged`] again. Called when what was delivered since is in
    /// doubt (a failed publish).
    fn rewind(&mut self) -> Result<(), SourceError>;

    /// The source may forget every transaction at or before `through`. Checks the claim first, in the same
    /// transaction of the source.
    ///
    /// A place in the middle of a transaction keeps that transaction; a place before the kept one changes nothing; a
    /// place beyond what was delivered is refused.
    fn acknowledge(&mut self, through: At) -> Result<(), SourceError>;

    /// What measures how much the source keeps for its reader's sake, from another thread; none where that is no matter.
    fn gauge(&self) -> Option<Box<dyn Gauge>> {
        None
    }
}
