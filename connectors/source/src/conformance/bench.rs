//! What the suite asks of an engine's test bench.

use crate::{Source, SourceError, Table};
use bridge_event::{Cell, Value};

/// A cell that owns its value, for comparing. A float is compared by its bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// SQL's NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// The bits of a floating-point number.
    Float(u64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A cell or a value of another sort, by its debug form.
    Other(String),
}

impl Held {
    /// A floating-point number.
    pub fn float(number: f64) -> Held {
        Held::Float(number.to_bits())
    }

    /// A text.
    pub fn text(text: &str) -> Held {
        Held::Text(text.to_owned())
    }
}

impl From<&Cell<'_>> for Held {
    fn from(cell: &Cell<'_>) -> Held {
        match cell {
            Cell::Null => Held::Null,
            Cell::Value(Value::Integer(number)) => Held::Integer(*number),
            Cell::Value(Value::Float(number)) => Held::float(*number),
            Cell::Value(Value::Text(text)) => Held::text(text),
            Cell::Value(Value::Bytes(bytes)) => Held::Bytes(bytes.to_vec()),
            other => Held::Other(format!("{other:?}")),
        }
    }
}

/// A row's cells, in the order of its table's columns.
pub type Row = Vec<Held>;

/// One statement of an application.
#[derive(Clone, Debug)]
pub enum Write {
    /// Inserts a row into the table of this index.
    Insert(usize, Row),
    /// Gives the row of this key a new state, its key included.
    Update(usize, Row, Row),
    /// Deletes the row of this key.
    Delete(usize, Row),
}

/// An application's own connection to the database.
pub trait Writer: Send {
    /// Does these writes in one transaction, and commits it so that its boundary is kept exactly.
    fn commit(&mut self, writes: &[Write]);

    /// Does these writes in one transaction, and rolls it back.
    fn abandon(&mut self, writes: &[Write]);
}

/// The suite's tables. The first has the columns `id` (integer, the key), `name` (text), `photo` (bytes or NULL) and
/// `weight` (float or NULL); the second `person` and `number` (integers, together the key) and `note` (text or NULL).
pub fn tables() -> Vec<Table> {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    vec![
        Table {
            name: "person".to_owned(),
            columns: owned(&["id", "name", "photo", "weight"]),
            key: owned(&["id"]),
            ..Table::default()
        },
        Table {
            name: "payment".to_owned(),
            columns: owned(&["person", "number", "note"]),
            key: owned(&["person", "number"]),
            ..Table::default()
        },
    ]
}

/// A database with the suite's [`tables`], empty and prepared for capture.
pub trait Bench {
    /// The engine's source.
    type Source: Source;

    /// Claims the database.
    fn claim(&self) -> Result<Self::Source, SourceError>;

    /// Claims it from whoever holds it.
    fn take_over(&self) -> Result<Self::Source, SourceError>;

    /// Opens a connection of an application.
    fn writer(&self) -> Box<dyn Writer>;

    /// What a table holds now, sorted by its key.
    fn rows(&self, table: usize) -> Vec<Row>;
}
