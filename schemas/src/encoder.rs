//! A change as the bytes of each section: no allocation for a row, no value in between.

use crate::column::ColumnType;
use crate::contract::{Contract, SECTIONS_MAX};
use crate::convert::{Mismatch, needed_by, put_value};
use crate::row::{EventHead, ROW_BYTES_MAX, States, operation_number};
use crate::wire::{put_long, put_u64};
use bridge_event::{Cell, Change, Operation, Rows, Value};

/// A change that cannot be written. The connector halts: the source and the contract no longer agree.
///
/// No message shows a row's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A column of the contract is not among the source's.
    #[error(
        "ENC001 table {table} has no column {column:?}, which the contract shares; restore the column, or sign a new \
         contract without it"
    )]
    ColumnMissing {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column of the source that the contract does not speak of, or that was named twice.
    #[error(
        "ENC002 table {table} has the column {column:?}, which the contract does not speak of (or which was named \
         twice); add it to the contract, with a section or with shared = false"
    )]
    ColumnUnknown {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
    },
    /// The states do not fit the operation, or the cells the columns.
    #[error(
        "ENC003 a change of table {table} is not whole: {what}; this is a fault of the connector, report it"
    )]
    Shape {
        /// The source's table.
        table: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A value of a kind that the column's type does not take.
    #[error(
        "ENC004 column {column:?} of table {table} holds {seen}, and its type {kind} needs {needed}; change the \
         source's column, or sign a new contract with the type that it has"
    )]
    Type {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
        /// What came.
        seen: &'static str,
        /// The column's type in the contract.
        kind: ColumnType,
        /// What the type takes.
        needed: &'static str,
    },
    /// A value of the right kind that is not one of the column's type.
    #[error(
        "ENC005 column {column:?} of table {table} holds {seen}, and its type {kind} needs {needed}; sign a \
         new revision of the contract with a type that holds it, and start again: the change waits"
    )]
    Value {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
        /// What came.
        seen: &'static str,
        /// The column's type in the contract.
        kind: ColumnType,
        /// What the type takes.
        needed: &'static str,
    },
    /// NULL where the contract allows none.
    #[error(
        "ENC006 column {column:?} of table {table} is NULL, and the contract says that it never is; sign a \
         new revision of the contract where the column may be null, and start again: the change waits"
    )]
    Null {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
    },
    /// A key column without a value.
    #[error(
        "ENC007 key column {column:?} of table {table} has no value in a change; see that the source sends the key of \
         each row (in PostgreSQL its replica identity)"
    )]
    KeyUnknown {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
    },
    /// An update that changes the key.
    #[error(
        "ENC008 an update of table {table} changes its key column {column:?}; the connector must yield a delete of the \
         old key and an insert of the new one, report it"
    )]
    KeyChanged {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
    },
    /// A row over the limit.
    #[error(
        "ENC009 a row of table {table} has more than {ROW_BYTES_MAX} bytes in section {section}; keep such content \
         outside the table, or do not share its column"
    )]
    TooLong {
        /// The source's table.
        table: String,
        /// The section.
        section: String,
    },
    /// The caller's rows are not those of the contract's sections.
    #[error(
        "ENC010 the rows handed in are not those of the contract's sections; this is a fault of Govbridge, report it"
    )]
    Output,
}

impl EncodeError {
    /// The error's code, with a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            EncodeError::ColumnMissing { .. } => "ENC001",
            EncodeError::ColumnUnknown { .. } => "ENC002",
            EncodeError::Shape { .. } => "ENC003",
            EncodeError::Type { .. } => "ENC004",
            EncodeError::Value { .. } => "ENC005",
            EncodeError::Null { .. } => "ENC006",
            EncodeError::KeyUnknown { .. } => "ENC007",
            EncodeError::KeyChanged { .. } => "ENC008",
            EncodeError::TooLong { .. } => "ENC009",
            EncodeError::Output => "ENC010",
        }
    }
}

/// One column: where its cell stands in a change, and what it becomes.
#[derive(Clone, Debug)]
struct CellPlan {
    source: usize,
    kind: ColumnType,
    nullable: bool,
    name: Box<str>,
}

/// One section: its disclosure groups' columns in order, then the ungrouped ones.
#[derive(Clone, Debug)]
struct SectionPlan {
    name: Box<str>,
    parts: Vec<Vec<CellPlan>>,
}

/// Writes changes of one dataset as the bytes of its sections.
///
/// The plan is made once, from the contract and the columns that the source yields.
#[derive(Clone, Debug)]
pub struct Encoder {
    table: Box<str>,
    source_columns: usize,
    keys: Vec<CellPlan>,
    sections: Vec<SectionPlan>,
    /// The head with its keys: written once for a row, then copied into each section.
    head: Vec<u8>,
}

impl Encoder {
    /// An encoder for changes whose cells stand in the order of `source_columns`.
    ///
    /// # Errors
    /// [`EncodeError::ColumnMissing`] and [`EncodeError::ColumnUnknown`] when the columns are not the contract's.
    /// Columns that the contract does not share may be among them, and are not written.
    pub fn new(contract: &Contract, source_columns: &[&str]) -> Result<Encoder, EncodeError> {
        let table = contract.table();
        let shared = contract.source_columns();
        for (i, column) in source_columns.iter().enumerate() {
            let known = shared.contains(column) || contract.unshared_columns().iter().any(|c| c == column);
            let twice = source_columns.iter().take(i).any(|earlier| earlier == column);
            if !known || twice {
                return Err(EncodeError::ColumnUnknown { table: table.into(), column: (*column).into() });
            }
        }
        let plan = |column: &crate::Column| {
            let source = source_columns.iter().position(|c| *c == column.name);
            Ok(CellPlan {
                source: source.ok_or_else(|| EncodeError::ColumnMissing {
                    table: table.into(),
                    column: column.name.clone(),
                })?,
                kind: column.kind,
                nullable: column.nullable,
                name: column.name.as_str().into(),
            })
        };
        let keys = contract.key_columns().iter().map(plan).collect::<Result<_, _>>()?;
        let mut sections = Vec::new();
        for section in contract.sections() {
            let groups = section.groups().iter().map(|group| group.columns.clone());
            let parts = groups.chain([section.ungrouped()]).map(|columns| {
                columns
                    .iter()
                    .filter_map(|&i| section.columns().get(i))
                    .map(plan)
                    .collect::<Result<Vec<_>, _>>()
            });
            sections.push(SectionPlan {
                name: section.name().as_str().into(),
                parts: parts.collect::<Result<_, _>>()?,
            });
        }
        Ok(Encoder {
            table: table.into(),
            source_columns: source_columns.len(),
            keys,
            sections,
            head: Vec::with_capacity(256),
        })
    }

    /// Empty rows for each section, in contract order.
    pub fn rows(&self) -> Vec<Rows> {
        self.sections.iter().map(|section| Rows::new(section.groups())).collect()
    }

    /// Appends a change as one row to each section's rows, and says how many bytes were added in all.
    ///
    /// `head.index` is what is written; [`EventHead::of`] takes it from the change.
    ///
    /// # Errors
    /// [`EncodeError`] when the change does not fit the contract; then no section's rows have changed.
    pub fn encode(
        &mut self,
        change: &Change<'_>,
        head: &EventHead,
        out: &mut [Rows],
    ) -> Result<usize, EncodeError> {
        let fits = out.len() == self.sections.len() && out.len() <= SECTIONS_MAX;
        if !fits || out.iter().zip(&self.sections).any(|(rows, section)| rows.groups() != section.groups()) {
            return Err(EncodeError::Output);
        }
        self.check_shape(change)?;
        self.write_head(change, head)?;
        let mut marks = [0; SECTIONS_MAX];
        for (mark, rows) in marks.iter_mut().zip(&*out) {
            *mark = rows.rows();
        }
        let mut added = 0;
        let mut outcome = Ok(());
        for (section, rows) in self.sections.iter().zip(&mut *out) {
            match self.write_section(section, change, rows) {
                Ok(bytes) => added += bytes,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if let Err(error) = outcome {
            for (mark, rows) in marks.iter().zip(&mut *out) {
                rows.truncate_to(*mark);
            }
            return Err(error);
        }
        Ok(added)
    }

    fn check_shape(&self, change: &Change<'_>) -> Result<(), EncodeError> {
        let shape = |what| Err(EncodeError::Shape { table: self.table.to_string(), what });
        if !states_of(change).fit(change.operation) {
            return shape("its states are not those of its operation");
        }
        let cells = [change.before, change.after];
        if cells.into_iter().flatten().any(|cells| cells.len() != self.source_columns) {
            return shape("it has not one cell for each column");
        }
        Ok(())
    }

    /// Writes the head and the keys into the scratch buffer.
    fn write_head(&mut self, change: &Change<'_>, head: &EventHead) -> Result<(), EncodeError> {
        let mut scratch = std::mem::take(&mut self.head);
        scratch.clear();
        let out = &mut scratch;
        put_long(out, i64::from(operation_number(change.operation)));
        put_u64(out, head.commit);
        put_u64(out, head.ordinal);
        put_long(out, head.commit_time.0);
        put_u64(out, head.transaction);
        put_u64(out, head.index);
        put_long(out, i64::from(states_of(change).number()));
        let written =
            if change.operation == Operation::Truncate { Ok(()) } else { self.write_keys(change, out) };
        self.head = scratch;
        written
    }

    fn write_keys(&self, change: &Change<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for plan in &self.keys {
            let before = change.before.and_then(|cells| cells.get(plan.source));
            let after = change.after.and_then(|cells| cells.get(plan.source));
            let value = match (before, after) {
                (Some(Cell::Value(old)), Some(Cell::Value(new))) => {
                    if old != new {
                        self.same_key(plan, old, new)?;
                    }
                    new
                }
                (None | Some(Cell::Absent | Cell::Unchanged), Some(Cell::Value(new))) => new,
                (Some(Cell::Value(old)), None | Some(Cell::Unchanged)) => old,
                _ => {
                    return Err(EncodeError::KeyUnknown {
                        table: self.table.to_string(),
                        column: plan.name.to_string(),
                    });
                }
            };
            put_value(out, plan.kind, value).map_err(|mismatch| self.refuse(plan, mismatch))?;
        }
        Ok(())
    }

    /// Whether two unlike values are the same key in the column's type.
    #[cold]
    fn same_key(&self, plan: &CellPlan, old: &Value<'_>, new: &Value<'_>) -> Result<(), EncodeError> {
        let bytes_of = |value: &Value<'_>| {
            let mut bytes = Vec::new();
            put_value(&mut bytes, plan.kind, value).map(|()| bytes)
        };
        let (old, new) = (bytes_of(old), bytes_of(new));
        let (old, new) =
            old.and_then(|old| Ok((old, new?))).map_err(|mismatch| self.refuse(plan, mismatch))?;
        if old == new {
            Ok(())
        } else {
            Err(EncodeError::KeyChanged { table: self.table.to_string(), column: plan.name.to_string() })
        }
    }

    fn write_section(
        &self,
        section: &SectionPlan,
        change: &Change<'_>,
        rows: &mut Rows,
    ) -> Result<usize, EncodeError> {
        let start = rows.buffer().len();
        rows.buffer().extend_from_slice(&self.head);
        rows.end_part();
        for part in &section.parts {
            for cells in [change.before, change.after].into_iter().flatten() {
                self.write_state(part, cells, rows.buffer())?;
            }
            rows.end_part();
        }
        let added = rows.buffer().len() - start;
        if added > ROW_BYTES_MAX {
            return Err(EncodeError::TooLong {
                table: self.table.to_string(),
                section: section.name.to_string(),
            });
        }
        Ok(added)
    }

    /// Writes the union of each column: the branch (0 value, 1 null, 2 unchanged, 3 absent), then the value.
    #[inline]
    fn write_state(
        &self,
        part: &[CellPlan],
        cells: &[Cell<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        for plan in part {
            match cells.get(plan.source) {
                Some(Cell::Value(value)) => {
                    out.push(0);
                    if let Err(mismatch) = put_value(out, plan.kind, value) {
                        return Err(self.refuse(plan, mismatch));
                    }
                }
                Some(Cell::Null) if plan.nullable => out.push(1 << 1),
                Some(Cell::Null) => {
                    return Err(EncodeError::Null {
                        table: self.table.to_string(),
                        column: plan.name.to_string(),
                    });
                }
                Some(Cell::Unchanged) => out.push(2 << 1),
                // The shape was checked, so a cell is there; absent is what a missing one would be.
                Some(Cell::Absent) | None => out.push(3 << 1),
            }
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self, plan: &CellPlan, mismatch: Mismatch) -> EncodeError {
        let (table, column) = (self.table.to_string(), plan.name.to_string());
        let (kind, needed) = (plan.kind, needed_by(plan.kind));
        match mismatch {
            Mismatch::Kind { seen } => EncodeError::Type { table, column, seen, kind, needed },
            Mismatch::Value { seen } => EncodeError::Value { table, column, seen, kind, needed },
        }
    }
}

impl SectionPlan {
    /// The last part is the ungrouped rest.
    fn groups(&self) -> usize {
        self.parts.len().saturating_sub(1)
    }
}

fn states_of(change: &Change<'_>) -> States {
    match (change.before.is_some(), change.after.is_some()) {
        (false, false) => States::None,
        (true, false) => States::Before,
        (false, true) => States::After,
        (true, true) => States::Both,
    }
}
