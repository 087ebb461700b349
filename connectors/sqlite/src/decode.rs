//! From rows of the changelog to changes.

use crate::file::{broken, unsigned};
use crate::layout::{Installed, Layout};
use crate::triggers::{DELETE, INSERT, UPDATE};
use crate::values::Stored;
use bridge_event::{Cell, Change, Operation};
use connectors_source::{SourceError, Table};
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// A chunk ends after this many rows or bytes, whichever comes first; a larger row is a chunk by itself.
pub(crate) const CHUNK_ROWS_MAX: usize = 1024;
pub(crate) const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A buffer that grew beyond this for one large row is given back.
const CHUNK_BYTES_KEPT: usize = 4 << 20;

/// Rows copied out of the file, so that no read transaction is open while the path takes its time: an open one would
/// keep the write-ahead log from being reused.
#[derive(Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    cells: Vec<Stored>,
    rows: Vec<Recorded>,
}

/// A row of the changelog: its cells are `first..first + count` of the chunk's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) id: u64,
    pub(crate) layout: i64,
    pub(crate) operation: i64,
    first: usize,
    count: usize,
}

impl Chunk {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
        self.rows.clear();
        if self.bytes.capacity() > CHUNK_BYTES_KEPT {
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= CHUNK_ROWS_MAX || self.bytes.len() >= CHUNK_BYTES_MAX
    }

    pub(crate) fn rows(&self) -> &[Recorded] {
        &self.rows
    }

    /// Copies a row `id, layout, operation, v0, v1, ...`, as many values as its layout and operation have.
    pub(crate) fn push(&mut self, row: &Row<'_>, readers: &Readers) -> Result<(), SourceError> {
        let id = unsigned(row.get(0).map_err(broken)?)?;
        let layout: i64 = row.get::<_, Option<i64>>(1).map_err(broken)?.unwrap_or(0);
        let operation: i64 = row.get::<_, Option<i64>>(2).map_err(broken)?.unwrap_or(0);
        let reader = readers.of(layout).ok_or_else(|| SourceError::Unreadable {
            what: format!("changelog id {id} has the unknown layout {layout}"),
        })?;
        let count = reader.width * if operation.abs() == UPDATE { 2 } else { 1 };
        let first = self.cells.len();
        for at in 0..count {
            let value = row.get_ref(3 + at).map_err(broken)?;
            self.push_value(value);
        }
        self.rows.push(Recorded { id, layout, operation, first, count });
        Ok(())
    }

    /// Copies one value, by its storage class.
    pub(crate) fn push_value(&mut self, value: ValueRef<'_>) {
        let stored = match value {
            ValueRef::Null => Stored::Null,
            ValueRef::Integer(number) => Stored::Integer(number),
            ValueRef::Real(number) => Stored::Real(number),
            ValueRef::Text(text) => Stored::Text(self.copy(text)),
            ValueRef::Blob(blob) => Stored::Blob(self.copy(blob)),
        };
        self.cells.push(stored);
    }

    fn copy(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    pub(crate) fn cells(&self) -> &[Stored] {
        &self.cells
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn cells_of(&self, row: &Recorded) -> &[Stored] {
        self.cells.get(row.first..row.first + row.count).unwrap_or_default()
    }
}

/// How the rows of one layout become changes of a table.
pub(crate) struct Reader {
    layout: i64,
    /// Columns in the layout.
    width: usize,
    /// The table's index, `None` when it is no longer shared.
    table: Option<usize>,
    name: String,
    /// For each column of the table: where the layout has it. A column that the layout lacks is absent.
    columns: Vec<Option<usize>>,
    /// Where the layout has the key.
    key: Vec<usize>,
}

/// The readers of every layout in a file.
pub(crate) struct Readers(Vec<Reader>);

impl Readers {
    pub(crate) fn new(installed: &Installed, tables: &[Table]) -> Readers {
        Readers(installed.layouts.iter().map(|layout| Reader::new(layout, tables)).collect())
    }

    pub(crate) fn of(&self, layout: i64) -> Option<&Reader> {
        self.0.iter().find(|r| r.layout == layout)
    }

    /// The values that the widest row of the changelog holds.
    pub(crate) fn values_max(&self) -> usize {
        self.0.iter().map(|r| r.width * 2).max().unwrap_or(0)
    }
}

impl Reader {
    pub(crate) fn new(layout: &Layout, tables: &[Table]) -> Reader {
        let table = tables.iter().position(|t| t.name == layout.table);
        let place = |name: &String| layout.columns.iter().position(|c| c.name == *name);
        let columns = match table.and_then(|t| tables.get(t)) {
            Some(table) => table.columns.iter().map(place).collect(),
            None => Vec::new(),
        };
        let key = layout.columns.iter().enumerate().filter(|(_, c)| c.key).map(|(at, _)| at).collect();
        Reader {
            layout: layout.number,
            width: layout.columns.len(),
            table,
            name: layout.table.clone(),
            columns,
            key,
        }
    }

    /// The table's columns as one state has them.
    pub(crate) fn state<'a>(
        &self,
        cells: &[Stored],
        bytes: &'a [u8],
        place: impl Fn() -> String,
    ) -> Result<Vec<Cell<'a>>, SourceError> {
        if self.key.iter().any(|at| matches!(cells.get(*at), None | Some(Stored::Null))) {
            return Err(SourceError::Unreadable {
                what: format!("table {} {}: a key column is NULL", self.name, place()),
            });
        }
        self.columns
            .iter()
            .enumerate()
            .map(|(number, at)| match at.and_then(|at| cells.get(at)) {
                None => Ok(Cell::Absent),
                Some(stored) => stored.cell(bytes).map_err(|_| SourceError::Unreadable {
                    what: format!(
                        "table {} {}: shared column {} is text that is not UTF-8",
                        self.name,
                        place(),
                        number + 1
                    ),
                }),
            })
            .collect()
    }

    /// Gives the changes that a recorded row is: none for a table that is no longer shared, two for a changed key.
    ///
    /// Each is given with the index 0; the caller counts.
    pub(crate) fn changes<E: From<SourceError>>(
        &self,
        row: &Recorded,
        chunk: &Chunk,
        mut give: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(table) = self.table else { return Ok(()) };
        let place = || format!("at changelog id {}", row.id);
        let (first, second) = chunk.cells_of(row).split_at_checked(self.width).unwrap_or_default();
        let state = |cells| self.state(cells, chunk.bytes(), place).map_err(E::from);
        let change = |operation, with_next, before, after| Change {
            table,
            operation,
            index: 0,
            with_next,
            before,
            after,
        };
        match row.operation {
            INSERT => give(change(Operation::Insert, false, None, Some(&state(first)?))),
            DELETE => give(change(Operation::Delete, false, Some(&state(first)?), None)),
            UPDATE => {
                let (before, after) = (state(first)?, state(second)?);
                let same_key = self.key.iter().all(|at| match (first.get(*at), second.get(*at)) {
                    (Some(a), Some(b)) => a.is_same(b, chunk.bytes()),
                    _ => false,
                });
                if same_key {
                    return give(change(Operation::Update, false, Some(&before), Some(&after)));
                }
                give(change(Operation::Delete, true, Some(&before), None))?;
                give(change(Operation::Insert, false, None, Some(&after)))
            }
            -3..=-1 => {
                Err(E::from(SourceError::OutOfOrder { what: format!("table {} {}", self.name, place()) }))
            }
            other => Err(E::from(SourceError::Unreadable {
                what: format!("table {} {}: unknown operation {other}", self.name, place()),
            })),
        }
    }
}
