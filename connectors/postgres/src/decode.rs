//! pgoutput, protocol version 1: from messages of the stream to changes.
//!
//! ```text
//! B commit LSN u64, time i64, xid u32              begin
//! R id u32, schema, name, identity u8, u16 columns (flags u8, name, type u32, modifier i32)
//! I id u32, 'N' tuple                              insert
//! U id u32, [('K' | 'O') tuple], 'N' tuple         update
//! D id u32, ('K' | 'O') tuple                      delete
//! T u32 relations, options u8, id u32 ..           truncate
//! C flags u8, commit LSN u64, end LSN u64, time i64
//! tuple = u16 columns, ('n' | 'u' | 't' i32 text | 'b' i32 binary) for each
//! ```

use crate::catalog::Typed;
use crate::shape::{Column, Shape};
use crate::values::{Kind, NotOfType, Stored, from_binary, from_text};
use bridge_event::{Cell, Change, Operation};
use bridge_pgwire::Reader;
use connectors_source::{SourceError, Table};

/// A message that is not what the protocol says.
pub(crate) const ODD: &str = "a message of the stream ends early or says what the protocol does not know";

/// A relation as the stream describes it.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) id: u32,
    /// `schema.name`.
    pub(crate) name: String,
    pub(crate) identity: char,
    /// Name, type, modifier, whether part of the replica identity.
    pub(crate) columns: Vec<(String, u32, i32, bool)>,
}

impl Relation {
    /// Reads the body of an `R` message.
    pub(crate) fn read(body: &[u8]) -> Option<Relation> {
        let mut reader = Reader::new(body);
        let id = reader.u32()?;
        let schema = reader.text()?;
        // An empty schema is pg_catalog.
        let schema = if schema.is_empty() { "pg_catalog" } else { schema };
        let name = format!("{schema}.{}", reader.text()?);
        let identity = char::from(reader.u8()?);
        let count = reader.u16()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let flags = reader.u8()?;
            columns.push((reader.text()?.to_owned(), reader.u32()?, reader.i32()?, flags & 1 == 1));
        }
        reader.is_empty().then_some(Relation { id, name, identity, columns })
    }

    /// Its shape, given the names of its types.
    pub(crate) fn shape(&self, types: &[Typed]) -> Shape {
        let columns = self.columns.iter().zip(types).map(|((name, _, _, identity), typed)| Column {
            name: name.clone(),
            type_name: typed.name.clone(),
            identity: *identity,
        });
        Shape { table: self.name.clone(), identity: self.identity, columns: columns.collect() }
    }
}

/// A column of a relation, and where the table has it.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    kind: Kind,
    /// `None` for a column that is not shared.
    place: Option<usize>,
    identity: bool,
}

/// How tuples of one relation, or of a query, become the cells of a table.
#[derive(Debug)]
pub(crate) struct Mapper {
    pub(crate) table: usize,
    name: String,
    full: bool,
    columns: Vec<Mapped>,
    /// The table's own columns, for messages.
    names: Vec<String>,
    /// The places of the contract's key.
    key: Vec<usize>,
}

/// Cells of up to two states, and the buffers that they stand in; reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    before: Vec<Stored>,
    after: Vec<Stored>,
    scratch: Vec<u8>,
    cells: (Vec<Cell<'static>>, Vec<Cell<'static>>),
}

/// A scratch buffer that grew beyond this for one large row is given back.
const SCRATCH_BYTES_KEPT: usize = 4 << 20;

impl Mapper {
    pub(crate) fn new(index: usize, table: &Table, full: bool, columns: &[(String, Kind, bool)]) -> Mapper {
        let place = |name: &String| table.columns.iter().position(|c| c == name);
        Mapper {
            table: index,
            name: table.name.clone(),
            full,
            columns: columns
                .iter()
                .map(|(name, kind, identity)| Mapped { kind: *kind, place: place(name), identity: *identity })
                .collect(),
            names: table.columns.clone(),
            key: table.key.iter().filter_map(place).collect(),
        }
    }

    fn odd(&self) -> SourceError {
        SourceError::Unreadable { what: format!("table {}: {ODD}", self.name) }
    }

    fn not_of_type(&self, place: usize, error: NotOfType) -> SourceError {
        let column = self.names.get(place).map_or("", String::as_str);
        SourceError::Unreadable {
            what: format!("table {}, column {column}: the server sent what is not {}", self.name, error.0),
        }
    }

    /// Reads a tuple of `message` at the reader's place into `state`. Of a key-only tuple the other columns are absent.
    fn tuple(
        &self,
        message: &[u8],
        reader: &mut Reader<'_>,
        key_only: bool,
        state: &mut Vec<Stored>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), SourceError> {
        state.clear();
        state.resize(self.names.len(), Stored::Absent);
        if reader.u16().map(usize::from) != Some(self.columns.len()) {
            return Err(self.odd());
        }
        for column in &self.columns {
            let marker = reader.u8().ok_or_else(|| self.odd())?;
            let stored = match marker {
                b'n' => Stored::Null,
                b'u' => Stored::Unchanged,
                b't' | b'b' => {
                    let length = reader.u32().and_then(|n| usize::try_from(n).ok());
                    let bytes = length.and_then(|n| reader.take(n)).ok_or_else(|| self.odd())?;
                    let Some(place) = column.place else { continue };
                    let end = message.len() - reader.rest().len();
                    let range = end - bytes.len()..end;
                    let read = if marker == b't' { from_text } else { from_binary };
                    read(column.kind, bytes, range, scratch).map_err(|e| self.not_of_type(place, e))?
                }
                _ => return Err(self.odd()),
            };
            let Some(cell) = column.place.and_then(|place| state.get_mut(place)) else { continue };
            if !key_only || column.identity {
                *cell = stored;
            }
        }
        Ok(())
    }

    /// Reads a row of an ordinary query, each column in its format, as a state after.
    pub(crate) fn read_row(
        &self,
        message: &[u8],
        binary: &[bool],
        space: &mut Workspace,
    ) -> Result<(), SourceError> {
        space.clear();
        let mut reader = Reader::new(message);
        space.after.resize(self.names.len(), Stored::Absent);
        if reader.u16().map(usize::from) != Some(self.columns.len()) {
            return Err(self.odd());
        }
        for (column, binary) in self.columns.iter().zip(binary) {
            let length = reader.i32().ok_or_else(|| self.odd())?;
            let stored = match usize::try_from(length) {
                Err(_) => Stored::Null,
                Ok(length) => {
                    let bytes = reader.take(length).ok_or_else(|| self.odd())?;
                    let end = message.len() - reader.rest().len();
                    let range = end - bytes.len()..end;
                    let read = if *binary { from_binary } else { from_text };
                    read(column.kind, bytes, range, &mut space.scratch)
                        .map_err(|e| self.not_of_type(column.place.unwrap_or(usize::MAX), e))?
                }
            };
            if let Some(cell) = column.place.and_then(|place| space.after.get_mut(place)) {
                *cell = stored;
            }
        }
        Ok(())
    }

    /// Gives the row that [`Mapper::read_row`] read.
    pub(crate) fn give_read<E: From<SourceError>>(
        &self,
        message: &[u8],
        space: &mut Workspace,
        give: impl FnOnce(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let cells = self.cells(&space.after, message, &space.scratch, std::mem::take(&mut space.cells.1))?;
        let given = give(self.change(Operation::Read, false, None, Some(&cells)));
        space.cells.1 = recycled(cells);
        given
    }

    fn change<'a>(
        &self,
        operation: Operation,
        with_next: bool,
        before: Option<&'a [Cell<'a>]>,
        after: Option<&'a [Cell<'a>]>,
    ) -> Change<'a> {
        Change { table: self.table, operation, index: 0, with_next, before, after }
    }

    /// Gives the changes that an `I`, `U` or `D` message is; each with the index 0, the caller counts.
    pub(crate) fn changes<E: From<SourceError>>(
        &self,
        tag: u8,
        message: &[u8],
        space: &mut Workspace,
        mut give: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        space.clear();
        let (has_before, has_after) = self.states(tag, message, space)?;
        let Workspace { before, after, scratch, cells } = space;
        if has_before && has_after {
            fill_unchanged(before, after, self.full, &self.key);
        }
        let moved =
            has_before && has_after && self.key.iter().any(|at| !same(before, after, *at, message, scratch));
        let old = self.cells(before, message, scratch, std::mem::take(&mut cells.0))?;
        let new = self.cells(after, message, scratch, std::mem::take(&mut cells.1))?;
        let given = match (has_before, has_after) {
            (_, false) => give(self.change(Operation::Delete, false, Some(&old), None)),
            (false, true) if tag == b'I' => give(self.change(Operation::Insert, false, None, Some(&new))),
            (_, true) if moved => give(self.change(Operation::Delete, true, Some(&old), None))
                .and_then(|()| give(self.change(Operation::Insert, false, None, Some(&new)))),
            (_, true) => {
                let before = (has_before && self.full).then_some(old.as_slice());
                give(self.change(Operation::Update, false, before, Some(&new)))
            }
        };
        *cells = (recycled(old), recycled(new));
        given
    }

    /// Reads the states of a message; says which there are.
    fn states(&self, tag: u8, message: &[u8], space: &mut Workspace) -> Result<(bool, bool), SourceError> {
        let mut reader = Reader::new(message);
        // The tag and the relation's number, which the caller has read.
        reader.take(5).ok_or_else(|| self.odd())?;
        let (mut has_before, mut has_after) = (false, false);
        while let Some(kind) = reader.u8() {
            match kind {
                b'K' | b'O' if tag != b'I' && !has_before && !has_after => {
                    self.tuple(message, &mut reader, kind == b'K', &mut space.before, &mut space.scratch)?;
                    has_before = true;
                }
                b'N' if tag != b'D' && !has_after => {
                    self.tuple(message, &mut reader, false, &mut space.after, &mut space.scratch)?;
                    has_after = true;
                }
                _ => return Err(self.odd()),
            }
        }
        let whole = if tag == b'D' { has_before } else { has_after };
        if whole { Ok((has_before, has_after)) } else { Err(self.odd()) }
    }

    fn cells<'a>(
        &self,
        state: &[Stored],
        message: &'a [u8],
        scratch: &'a [u8],
        room: Vec<Cell<'static>>,
    ) -> Result<Vec<Cell<'a>>, SourceError> {
        let mut cells: Vec<Cell<'a>> = recycled(room);
        for (place, stored) in state.iter().enumerate() {
            cells.push(stored.cell(message, scratch).map_err(|error| self.not_of_type(place, error))?);
        }
        Ok(cells)
    }
}

impl Workspace {
    fn clear(&mut self) {
        self.before.clear();
        self.after.clear();
        self.scratch.clear();
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }
}

/// Empties a vector and keeps its room for cells that borrow from elsewhere.
#[allow(clippy::unnecessary_filter_map, reason = "a filter alone keeps the old lifetime")]
fn recycled<'b>(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'b>> {
    cells.clear();
    cells.into_iter().filter_map(|_| None).collect()
}

/// A whole row before says what an unchanged value is; a key before says it of the key only.
fn fill_unchanged(before: &[Stored], after: &mut [Stored], full: bool, key: &[usize]) {
    for (place, (new, old)) in after.iter_mut().zip(before).enumerate() {
        if *new == Stored::Unchanged && (full || key.contains(&place)) {
            *new = old.clone();
        }
    }
}

/// Whether a column has the same value before and after.
fn same(before: &[Stored], after: &[Stored], at: usize, message: &[u8], scratch: &[u8]) -> bool {
    match (before.get(at), after.get(at)) {
        (Some(Stored::Float(a)), Some(Stored::Float(b))) => a.to_bits() == b.to_bits(),
        (Some(a), Some(b)) => match (a.cell(message, scratch), b.cell(message, scratch)) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_event::Value;

    fn mapper(full: bool) -> Mapper {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let (name, columns, key) = ("t".to_owned(), owned(&["note", "id"]), owned(&["id"]));
        let table = Table { name, columns, key, ..Table::default() };
        let column = |name: &str, kind, identity| (name.to_owned(), kind, identity);
        Mapper::new(
            3,
            &table,
            full,
            &[
                column("id", Kind::Int4, true),
                column("x", Kind::Other, full),
                column("note", Kind::Text, full),
            ],
        )
    }

    /// A tuple of text values: `None` is unchanged, an empty text is NULL.
    fn tuple(values: &[Option<&str>]) -> Vec<u8> {
        let mut out = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                None => out.push(b'u'),
                Some("") => out.push(b'n'),
                Some(text) => {
                    out.push(b't');
                    out.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
        out
    }

    fn message(tag: u8, states: &[(u8, &[Option<&str>])]) -> Vec<u8> {
        let mut out = vec![tag, 0, 0, 0, 9];
        for (kind, values) in states {
            out.push(*kind);
            out.extend_from_slice(&tuple(values));
        }
        out
    }

    fn words(full: bool, message: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        mapper(full)
            .changes::<SourceError>(message[0], message, &mut Workspace::default(), |change| {
                assert_eq!(change.table, 3);
                let show = |cells: Option<&[Cell<'_>]>| {
                    cells.map_or("-".to_owned(), |cells| {
                        let cell = |c: &Cell<'_>| match c {
                            Cell::Value(Value::Text(text)) => (*text).to_owned(),
                            Cell::Value(Value::Integer(n)) => n.to_string(),
                            other => format!("{other:?}").to_lowercase(),
                        };
                        cells.iter().map(cell).collect::<Vec<_>>().join(",")
                    })
                };
                let with_next = if change.with_next { "+" } else { "" };
                let operation = format!("{:?}", change.operation).to_lowercase();
                seen.push(format!("{operation}{with_next} {} {}", show(change.before), show(change.after)));
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn columns_stand_where_the_contract_has_them() {
        let insert = message(b'I', &[(b'N', &[Some("7"), Some("(1,2)"), Some("a")])]);
        assert_eq!(words(false, &insert), ["insert - a,7"]);
        let delete = message(b'D', &[(b'K', &[Some("7"), Some(""), Some("")])]);
        assert_eq!(words(false, &delete), ["delete absent,7 -"]);
        let delete = message(b'D', &[(b'O', &[Some("7"), Some(""), Some("")])]);
        assert_eq!(words(true, &delete), ["delete null,7 -"]);
    }

    #[test]
    fn an_unchanged_value_is_unchanged_unless_the_row_before_is_there() {
        let update = message(b'U', &[(b'N', &[Some("7"), Some("y"), None])]);
        assert_eq!(words(false, &update), ["update - unchanged,7"]);
        let before: &[Option<&str>] = &[Some("7"), Some("x"), Some("long")];
        let update = message(b'U', &[(b'O', before), (b'N', &[Some("7"), Some("y"), None])]);
        assert_eq!(words(true, &update), ["update long,7 long,7"]);
    }

    #[test]
    fn a_changed_key_is_a_delete_and_an_insert() {
        let key: &[Option<&str>] = &[Some("7"), Some(""), Some("")];
        let update = message(b'U', &[(b'K', key), (b'N', &[Some("8"), Some("y"), None])]);
        assert_eq!(words(false, &update), ["delete+ absent,7 -", "insert - unchanged,8"]);
        let update = message(b'U', &[(b'K', key), (b'N', &[Some("7"), Some("y"), Some("n")])]);
        assert_eq!(words(false, &update), ["update - n,7"]);
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_refused() {
        let before: &[Option<&str>] = &[Some("7"), Some("x"), Some("long")];
        let whole = message(b'U', &[(b'O', before), (b'N', &[Some("8"), Some("y"), None])]);
        for cut in 0..whole.len() {
            // A cut right after the state before is the only one that could look whole.
            let refused =
                mapper(true)
                    .changes::<SourceError>(b'U', &whole[..cut], &mut Workspace::default(), |_| Ok(()));
            assert!(refused.is_err(), "cut at {cut}");
        }
    }

    /// A relation that was cached too long would read one column's bytes as another's.
    #[test]
    fn a_row_with_more_or_fewer_columns_than_its_relation_is_refused() {
        for values in [&[Some("7"), Some("x")][..], &[Some("7"), Some("x"), Some("y"), Some("z")]] {
            let insert = message(b'I', &[(b'N', values)]);
            let refused =
                mapper(true).changes::<SourceError>(b'I', &insert, &mut Workspace::default(), |_| Ok(()));
            assert_eq!(refused.unwrap_err().code(), "CAP009");
        }
    }

    #[test]
    fn a_relation_is_read_whole_or_not_at_all() {
        let mut body = vec![0, 0, 0, 5];
        body.extend_from_slice(b"public\0t\0d\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff");
        let relation = Relation::read(&body).unwrap();
        assert_eq!((relation.id, relation.name.as_str(), relation.identity), (5, "public.t", 'd'));
        assert_eq!(relation.columns, [("id".to_owned(), 23, -1, true)]);
        for cut in 0..body.len() {
            assert!(Relation::read(&body[..cut]).is_none());
        }
    }
}
