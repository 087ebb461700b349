#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "the suite runs in tests only; a broken rule ends the test"
)]
//! Takes what a source gives, and checks the shape of it on the way.

use super::bench::{Held, Row};
use crate::{Capture, Polled, SnapshotRows, Source, Stop};
use bridge_event::{At, Change, Operation, Token, Transaction};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A change that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The table's index.
    pub table: usize,
    /// What happened.
    pub operation: Operation,
    /// Whether the next row belongs to it.
    pub with_next: bool,
    /// The state before.
    pub before: Option<Row>,
    /// The state after.
    pub after: Option<Row>,
}

impl Given {
    fn of(change: &Change<'_>) -> Given {
        let held =
            |cells: Option<&[bridge_event::Cell<'_>]>| cells.map(|c| c.iter().map(Held::from).collect());
        Given {
            table: change.table,
            operation: change.operation,
            with_next: change.with_next,
            before: held(change.before),
            after: held(change.after),
        }
    }
}

/// A transaction that was given whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its facts.
    pub transaction: Transaction,
    /// Its engine's name.
    pub token: Token,
    /// Its changes, in order.
    pub changes: Vec<Given>,
}

/// Records whole transactions, and panics on a shape that no source may give.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The transactions that were given whole.
    pub taken: Vec<Taken>,
    /// The one that is open.
    pub open: Option<Taken>,
    /// After how many more rows it asks to stop.
    pub stop_after: Option<usize>,
    /// Rows given since this was set to 0.
    pub rows: usize,
    /// Whether rows are counted only, for large transactions.
    pub count_only: bool,
    indexes: u64,
}

impl Recorder {
    /// A recorder that asks to stop instead of taking the row after the next `rows`.
    pub fn stopping_after(rows: usize) -> Recorder {
        Recorder { stop_after: Some(rows), ..Recorder::default() }
    }

    /// A recorder that counts rows and keeps none.
    pub fn counting() -> Recorder {
        Recorder { count_only: true, ..Recorder::default() }
    }
}

impl Capture for Recorder {
    fn begin(&mut self, transaction: &Transaction, token: &Token) -> Result<(), Stop> {
        assert!(self.open.is_none(), "a transaction begins inside another");
        if let Some(last) = self.taken.last() {
            assert!(last.transaction.commit < transaction.commit, "commits do not rise");
        }
        self.indexes = 0;
        self.open = Some(Taken { transaction: *transaction, token: token.clone(), changes: Vec::new() });
        Ok(())
    }

    fn row(&mut self, change: &Change<'_>) -> Result<(), Stop> {
        if self.stop_after == Some(0) {
            self.open = None;
            return Err(Stop);
        }
        self.stop_after = self.stop_after.map(|rows| rows - 1);
        let open = self.open.as_mut().expect("a row outside a transaction");
        assert_eq!(change.index, self.indexes, "the rows' indexes have a hole");
        self.indexes += 1;
        self.rows += 1;
        if !self.count_only {
            open.changes.push(Given::of(change));
        }
        Ok(())
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), Stop> {
        let open = self.open.take().expect("a commit without a begin");
        assert_eq!(open.transaction, *transaction, "a commit of another transaction");
        assert!(!open.changes.last().is_some_and(|c| c.with_next), "a transaction ends inside a changed key");
        self.taken.push(open);
        Ok(())
    }
}

/// The rows of a snapshot.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Its place.
    pub as_of: Option<At>,
    /// The engine's name of the place.
    pub token: Option<Token>,
    /// Its rows, each with its table.
    pub rows: Vec<(usize, Row)>,
    /// After how many rows it asks to stop.
    pub stop_after: Option<usize>,
}

impl SnapshotRows for Snapshot {
    fn begin(&mut self, as_of: At, token: &Token) -> Result<(), Stop> {
        self.token = Some(token.clone());
        assert!(self.as_of.replace(as_of).is_none(), "a snapshot begins twice");
        Ok(())
    }

    fn row(&mut self, change: &Change<'_>) -> Result<(), Stop> {
        if self.stop_after.is_some_and(|rows| self.rows.len() >= rows) {
            return Err(Stop);
        }
        assert!(self.as_of.is_some(), "a row before the snapshot's place");
        assert_eq!(change.operation, Operation::Read);
        assert_eq!(change.index, u64::try_from(self.rows.len()).unwrap_or(u64::MAX));
        let after = change.after.expect("a read row has a state");
        self.rows.push((change.table, after.iter().map(Held::from).collect()));
        Ok(())
    }
}

/// Polls until the source is idle with everything delivered, and returns the place that it says is complete.
pub fn read(source: &mut impl Source, into: &mut Recorder) -> At {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match source.poll(Duration::ZERO, into).expect("a poll") {
            Polled::Idle { at } => {
                assert!(into.open.is_none(), "idle inside a transaction");
                return at;
            }
            Polled::Delivered => assert!(Instant::now() < deadline, "the source never becomes idle"),
            Polled::Stopped => panic!("the source stopped by itself"),
        }
    }
}

/// Applies changes, strictly: an insert of a row that is there, or an update or delete of one that is not or that
/// differs from its before state, panics.
pub fn replay<'a>(
    state: &mut BTreeMap<(usize, Row), Row>,
    keys: &[Vec<usize>],
    changes: impl IntoIterator<Item = &'a Given>,
) {
    for change in changes {
        let key = |row: &Row| -> (usize, Row) {
            let places = keys.get(change.table).expect("a table of the suite");
            (change.table, places.iter().filter_map(|at| row.get(*at).cloned()).collect())
        };
        if let Some(before) = &change.before {
            assert_eq!(
                state.remove(&key(before)).as_ref(),
                Some(before),
                "before is not what was there: {change:?}"
            );
        }
        if let Some(after) = &change.after {
            assert_eq!(state.insert(key(after), after.clone()), None, "a row is already there: {change:?}");
        }
    }
}
