//! A section's rows out of bytes that came from anyone.
//!
//! One walk knows the layout; splitting and reading are what two listeners make of it. Nothing recurses, no length is
//! believed before the content is seen to hold it, and whatever the encoder could not have written is refused.

use crate::column::{Column, ColumnType};
use crate::contract::Contract;
use crate::convert::{NAN_BITS, is_decimal, is_time, uuid_of, uuid_text};
use crate::row::{EventHead, ROW_BYTES_MAX, ROW_BYTES_MIN, ROWS_MAX, States, operation_of};
use crate::wire::{Cursor, Malformed};
use bridge_event::{Cell, Operation, RowParts, RowSplit, Rows, SectionName, SplitError, UnixMicros, Value};

/// Bytes that are not a row of the section, or a section that is not the contract's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The contract has no section of this name.
    #[error("the contract has no section {0}; read the contract record that the batch names")]
    Section(SectionName),
    /// The row's bytes do not follow the section's schema.
    #[error(
        "a row is not one of this section at byte {at}: {what}; its batch is not what the contract describes"
    )]
    Malformed {
        /// Where in the row, in bytes.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Finds and reads the rows of one section.
#[derive(Clone, Debug)]
pub struct SectionReader {
    name: SectionName,
    keys: Vec<Column>,
    columns: Vec<Column>,
    /// The columns of each disclosure group, then the ungrouped ones: indices into `columns`.
    parts: Vec<Vec<usize>>,
}

/// One row, borrowing from its bytes and from its reader.
#[derive(Clone, Debug)]
pub struct ReadRow<'a> {
    reader: &'a SectionReader,
    operation: Operation,
    states: States,
    head: EventHead,
    keys: Vec<Value<'a>>,
    /// The before state's cells, then the after state's, those that there are.
    cells: Vec<Cell<'a>>,
}

impl<'a> ReadRow<'a> {
    /// What happened to the row.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Which states it holds.
    pub fn states(&self) -> States {
        self.states
    }

    /// The facts at its head.
    pub fn head(&self) -> &EventHead {
        &self.head
    }

    /// The key columns' values, in the order of [`SectionReader::keys`]; none for a truncate.
    pub fn keys(&self) -> &[Value<'a>] {
        &self.keys
    }

    /// The cells of the before state, in the order of [`SectionReader::columns`].
    pub fn before(&self) -> Option<&[Cell<'a>]> {
        self.states.has_before().then(|| self.cells.get(..self.reader.columns.len())).flatten()
    }

    /// The cells of the after state, in the order of [`SectionReader::columns`].
    pub fn after(&self) -> Option<&[Cell<'a>]> {
        let start = if self.states.has_before() { self.reader.columns.len() } else { 0 };
        self.states.has_after().then(|| self.cells.get(start..)).flatten()
    }

    /// The key columns' names and values.
    pub fn named_keys(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + '_ {
        self.reader.keys.iter().map(|column| column.name.as_str()).zip(self.keys.iter().copied())
    }

    /// The before state's names and cells, `None` when there is no before state.
    pub fn named_before(&self) -> Option<impl Iterator<Item = (&'a str, Cell<'a>)> + '_> {
        self.before().map(|cells| self.named(cells))
    }

    /// The after state's names and cells, `None` when there is no after state.
    pub fn named_after(&self) -> Option<impl Iterator<Item = (&'a str, Cell<'a>)> + '_> {
        self.after().map(|cells| self.named(cells))
    }

    fn named<'s>(&'s self, cells: &'s [Cell<'a>]) -> impl Iterator<Item = (&'a str, Cell<'a>)> + 's {
        self.reader.columns.iter().map(|column| column.name.as_str()).zip(cells.iter().copied())
    }
}

/// What listens to a walk over one row.
trait Listener<'a> {
    fn begin(&mut self, operation: Operation, states: States, head: EventHead);
    fn key(&mut self, value: Value<'a>);
    /// The cell of column `column`, in the before or the after state.
    fn cell(&mut self, after: bool, column: usize, cell: Cell<'a>);
    fn end_part(&mut self, at: usize);
}

/// Notes where parts end, and lets the values go.
struct Ends<'e> {
    ends: &'e mut Vec<usize>,
}

impl<'a> Listener<'a> for Ends<'_> {
    fn begin(&mut self, _: Operation, _: States, _: EventHead) {}
    fn key(&mut self, _: Value<'a>) {}
    fn cell(&mut self, _: bool, _: usize, _: Cell<'a>) {}
    fn end_part(&mut self, at: usize) {
        self.ends.push(at);
    }
}

impl<'a> Listener<'a> for ReadRow<'a> {
    fn begin(&mut self, operation: Operation, states: States, head: EventHead) {
        (self.operation, self.states, self.head) = (operation, states, head);
        let states = usize::from(states.has_before()) + usize::from(states.has_after());
        self.cells.resize(states * self.reader.columns.len(), Cell::Absent);
    }

    fn key(&mut self, value: Value<'a>) {
        self.keys.push(value);
    }

    fn cell(&mut self, after: bool, column: usize, cell: Cell<'a>) {
        let start = if after && self.states.has_before() { self.reader.columns.len() } else { 0 };
        if let Some(place) = self.cells.get_mut(start + column) {
            *place = cell;
        }
    }

    fn end_part(&mut self, _: usize) {}
}

impl SectionReader {
    /// A reader of one section of a contract.
    ///
    /// # Errors
    /// [`ReadError::Section`] when the contract has none of this name.
    pub fn new(contract: &Contract, section: &SectionName) -> Result<SectionReader, ReadError> {
        let section = contract.section(section).ok_or_else(|| ReadError::Section(section.clone()))?;
        let groups = section.groups().iter().map(|group| group.columns.clone());
        Ok(SectionReader {
            name: section.name().clone(),
            keys: section.keys().to_vec(),
            columns: section.columns().to_vec(),
            parts: groups.chain([section.ungrouped()]).collect(),
        })
    }

    /// The section's name.
    pub fn name(&self) -> &SectionName {
        &self.name
    }

    /// The key columns, in contract order.
    pub fn keys(&self) -> &[Column] {
        &self.keys
    }

    /// The section's own columns, in the order of its schema.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The number of disclosure groups.
    pub fn groups(&self) -> usize {
        self.parts.len().saturating_sub(1)
    }

    /// A row to read into, again and again: what it holds is that of an empty truncate.
    pub fn blank(&self) -> ReadRow<'_> {
        ReadRow {
            reader: self,
            operation: Operation::Truncate,
            states: States::None,
            head: EventHead::default(),
            keys: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Reads one row.
    ///
    /// # Errors
    /// [`ReadError::Malformed`] when the bytes are not one row of the section, whole and alone.
    pub fn read<'a>(&'a self, row: &RowParts<'a>) -> Result<ReadRow<'a>, ReadError> {
        let mut read = self.blank();
        self.read_into(row, &mut read)?;
        Ok(read)
    }

    /// Reads one row in the place of another one, whose lists are used again.
    ///
    /// # Errors
    /// As [`SectionReader::read`]; what stands in `read` then is no row.
    pub fn read_into<'a>(&'a self, row: &RowParts<'a>, read: &mut ReadRow<'a>) -> Result<(), ReadError> {
        let mut cursor = Cursor::new(row.whole());
        read.reader = self;
        read.keys.clear();
        read.cells.clear();
        self.walk(&mut cursor, read).map_err(|Malformed { at, what }| ReadError::Malformed { at, what })?;
        if cursor.left() > 0 {
            return Err(ReadError::Malformed { at: cursor.at(), what: "bytes are left after the row" });
        }
        Ok(())
    }

    fn walk<'a>(&self, cursor: &mut Cursor<'a>, listener: &mut impl Listener<'a>) -> Result<(), Malformed> {
        let start = cursor.at();
        let operation =
            operation_of(cursor.u64()?).ok_or(Malformed { at: start, what: "no such operation" })?;
        let head = EventHead {
            commit: cursor.u64()?,
            ordinal: cursor.u64()?,
            commit_time: UnixMicros(cursor.long()?),
            transaction: cursor.u64()?,
            index: cursor.u64()?,
        };
        let at = cursor.at();
        let states = States::from_number(cursor.u64()?).ok_or(Malformed { at, what: "no such parts" })?;
        if !states.fit(operation) {
            return Err(Malformed { at, what: "the parts are not those of the operation" });
        }
        listener.begin(operation, states, head);
        if operation != Operation::Truncate {
            for key in &self.keys {
                listener.key(value(cursor, key.kind)?);
            }
        }
        listener.end_part(cursor.at());
        for part in &self.parts {
            for after in [false, true] {
                if if after { states.has_after() } else { states.has_before() } {
                    self.walk_state(cursor, part, after, listener)?;
                }
            }
            listener.end_part(cursor.at());
        }
        if cursor.at() - start > ROW_BYTES_MAX {
            return Err(Malformed { at: start, what: "a row is over 64 MiB" });
        }
        Ok(())
    }

    #[inline]
    fn walk_state<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        part: &[usize],
        after: bool,
        listener: &mut impl Listener<'a>,
    ) -> Result<(), Malformed> {
        for &index in part {
            let at = cursor.at();
            let Some(column) = self.columns.get(index) else { continue };
            let cell = match cursor.u64()? {
                0 => Cell::Value(value(cursor, column.kind)?),
                1 if !column.nullable => {
                    return Err(Malformed { at, what: "null in a column that is never null" });
                }
                1 => Cell::Null,
                2 => Cell::Unchanged,
                3 => Cell::Absent,
                _ => return Err(Malformed { at, what: "no such state of a column" }),
            };
            listener.cell(after, index, cell);
        }
        Ok(())
    }
}

impl RowSplit for SectionReader {
    fn split(&self, content: Vec<u8>, rows: usize) -> Result<Rows, SplitError> {
        let parts = self.parts.len() + 1;
        if rows > ROWS_MAX {
            return Err(SplitError::Malformed {
                row: ROWS_MAX,
                at: 0,
                what: "more rows than a batch may have",
            });
        }
        if rows > content.len() / ROW_BYTES_MIN {
            return Err(SplitError::Malformed {
                row: 0,
                at: content.len(),
                what: "fewer bytes than so many rows have",
            });
        }
        let mut ends = Vec::with_capacity(rows * parts);
        let mut cursor = Cursor::new(&content);
        for row in 0..rows {
            self.walk(&mut cursor, &mut Ends { ends: &mut ends })
                .map_err(|Malformed { at, what }| SplitError::Malformed { row, at, what })?;
        }
        if cursor.left() > 0 {
            return Err(SplitError::Leftover { bytes: cursor.left() });
        }
        Rows::from_parts(self.groups(), content, ends)
    }
}

/// A bare value of a column's type, in the one form that the encoder writes.
#[inline]
fn value<'a>(cursor: &mut Cursor<'a>, kind: ColumnType) -> Result<Value<'a>, Malformed> {
    let at = cursor.at();
    let refuse = |what| Err(Malformed { at, what });
    Ok(match kind {
        ColumnType::Boolean => match cursor.take_array::<1>()? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return refuse("a boolean is neither 0 nor 1"),
        },
        ColumnType::Int => Value::Integer(i64::from(cursor.int()?)),
        ColumnType::Long => Value::Integer(cursor.long()?),
        ColumnType::Float => match f32::from_le_bytes(cursor.take_array()?) {
            number if number.is_nan() && number.to_bits() != NAN_BITS.1 => {
                return refuse("a NaN is not in its one form");
            }
            number => Value::Float(f64::from(number)),
        },
        ColumnType::Double => match f64::from_le_bytes(cursor.take_array()?) {
            number if number.is_nan() && number.to_bits() != NAN_BITS.0 => {
                return refuse("a NaN is not in its one form");
            }
            number => Value::Float(number),
        },
        ColumnType::String => Value::Text(cursor.text()?),
        ColumnType::Bytes => Value::Bytes(cursor.bytes()?),
        ColumnType::Date => Value::Date(cursor.int()?),
        ColumnType::Time => match cursor.long()? {
            micros if is_time(micros) => Value::Time(micros),
            _ => return refuse("a time is before 00:00:00 or after 24:00:00"),
        },
        ColumnType::Instant => Value::Instant(cursor.long()?),
        ColumnType::Timestamp => Value::Timestamp(cursor.long()?),
        ColumnType::UuidFixed => Value::Uuid(cursor.take_array()?),
        ColumnType::UuidText => {
            let text = cursor.bytes()?;
            match uuid_of(text) {
                Some(uuid) if uuid_text(&uuid) == text => Value::Uuid(uuid),
                _ => return refuse("a UUID is not 36 characters in lower case"),
            }
        }
        ColumnType::Decimal => match cursor.text()? {
            text if is_decimal(text) => Value::Decimal(text),
            _ => return refuse("a decimal is not in its form"),
        },
    })
}
