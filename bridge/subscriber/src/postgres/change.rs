//! A row's change on its way into a table: its values as COPY reads them, whether it is written now or waits in the merge.

use bridge_event::{Cell, Operation};
use schemas::ReadRow;

use super::value;

/// The state of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The change says nothing of it: it stays as it is.
    Kept,
    Null,
    /// Where its text stands.
    Text(usize, usize),
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A row of a snapshot.
    Gather,
    /// The row is there, and this is all of it: what it does not say is NULL.
    Put,
    /// The row is there; what the change does not say stays as it is.
    Amend,
    Delete,
    Truncate,
    SnapshotBegins(u64),
    SnapshotEnds(u64),
    /// Rows of a snapshot could not be opened: its end puts nothing in place.
    SnapshotSpoils,
}

/// Where the evidence for a row stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) leaf: usize,
    pub(super) commit_time: i64,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(super) table: usize,
    pub(super) deed: Deed,
    /// The key as it compares.
    pub(super) identity: Vec<u8>,
    /// The key's values as COPY reads them, with a tabulator between two.
    pub(super) key: Vec<u8>,
    /// By column behind the key; columns after the last one are kept.
    pub(super) parts: Vec<Part>,
    pub(super) text: Vec<u8>,
    pub(super) place: Place,
    /// A row under a new key whose source left some values where they were: under the old key, in another row.
    pub(super) lacks: bool,
}

impl Change {
    pub(super) fn bare(table: usize, deed: Deed) -> Change {
        Change {
            table,
            deed,
            identity: Vec::new(),
            key: Vec::new(),
            parts: Vec::new(),
            text: Vec::new(),
            place: Place::default(),
            lacks: false,
        }
    }

    /// A row, of the sections that were opened; `columns` says where each section's columns stand in the table.
    pub(super) fn of_row(table: usize, columns: &[Vec<usize>], rows: &[ReadRow<'_>], place: Place) -> Change {
        let Some(first) = rows.first() else { return Change::bare(table, Deed::Amend) };
        let deed = match first.operation() {
            Operation::Read => Deed::Gather,
            Operation::Insert => Deed::Put,
            Operation::Update => Deed::Amend,
            Operation::Delete => Deed::Delete,
            Operation::Truncate => Deed::Truncate,
        };
        let mut change = Change { place, ..Change::bare(table, deed) };
        for (i, key) in first.keys().iter().enumerate() {
            if i > 0 {
                change.key.push(b'\t');
                change.identity.push(b'\t');
            }
            value::write(&mut change.key, *key);
            value::write_identity(&mut change.identity, *key);
        }
        if !matches!(deed, Deed::Delete | Deed::Truncate) {
            for (row, places) in rows.iter().zip(columns) {
                for (cell, place) in row.after().unwrap_or_default().iter().zip(places) {
                    change.lacks |= deed == Deed::Put && *cell == Cell::Unchanged;
                    change.set(*place, *cell);
                }
            }
        }
        change
    }

    pub(super) fn set(&mut self, place: usize, cell: Cell<'_>) {
        let part = match cell {
            Cell::Unchanged | Cell::Absent => Part::Kept,
            Cell::Null => Part::Null,
            Cell::Value(found) => {
                let start = self.text.len();
                value::write(&mut self.text, found);
                Part::Text(start, self.text.len())
            }
        };
        if self.parts.len() <= place {
            self.parts.resize(place.saturating_add(1), Part::Kept);
        }
        if let Some(known) = self.parts.get_mut(place) {
            *known = part;
        }
    }

    pub(super) fn part(&self, column: usize) -> Part {
        self.parts.get(column).copied().unwrap_or(Part::Kept)
    }

    fn bytes_of(&self, from: usize, to: usize) -> &[u8] {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Whether the change says all of `columns` columns.
    pub(super) fn is_whole(&self, columns: usize) -> bool {
        (0..columns).all(|column| self.part(column) != Part::Kept)
    }

    /// What it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let parts = self.parts.len().saturating_mul(size_of::<Part>());
        self.text.len() + self.key.len() + self.identity.len() + parts + size_of::<Change>()
    }

    /// The line that COPY reads, without its first column; `columns` is how many stand behind the key.
    pub(super) fn line(&self, out: &mut Vec<u8>, columns: usize) {
        out.extend_from_slice(&self.key);
        for column in 0..columns {
            out.push(b'\t');
            match self.part(column) {
                Part::Text(from, to) => out.extend_from_slice(self.bytes_of(from, to)),
                Part::Null | Part::Kept => out.extend_from_slice(value::NULL),
            }
        }
        for number in [
            i64::try_from(self.place.sequence).unwrap_or(i64::MAX),
            i64::try_from(self.place.leaf).unwrap_or(i64::MAX),
        ] {
            out.push(b'\t');
            value::write(out, bridge_event::Value::Integer(number));
        }
        out.push(b'\t');
        value::write(out, bridge_event::Value::Instant(self.place.commit_time));
        out.push(b'\n');
    }

    /// Takes over what a later change of the same row says.
    pub(super) fn overlay(&mut self, later: &Change) {
        for (column, part) in later.parts.iter().enumerate() {
            let part = match *part {
                Part::Kept => continue,
                Part::Null => Part::Null,
                Part::Text(from, to) => {
                    let start = self.text.len();
                    self.text.extend_from_slice(later.bytes_of(from, to));
                    Part::Text(start, self.text.len())
                }
            };
            if self.parts.len() <= column {
                self.parts.resize(column.saturating_add(1), Part::Kept);
            }
            if let Some(known) = self.parts.get_mut(column) {
                *known = part;
            }
        }
        self.key.clone_from(&later.key);
        self.place = later.place;
    }
}
