//! A file for a test, with an application's connection to it.

use bridge_event::UnixMicros;
use connectors_source::conformance::{Bench, Held, Recorder, Row, Taken, Write, Writer, read, tables};
use connectors_source::{SourceError, Table};
use connectors_sqlite::{Claimant, SqliteSource, create};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) const SYSTEM: &str = "5a1f0c52-6f0e-4d3b-9a53-0d1c7be0c1aa";

pub(crate) fn claimant() -> Claimant {
    Claimant::here(UnixMicros(1_800_000_000_000_000))
}

/// A file with some tables, captured.
pub(crate) struct Register {
    folder: TempDir,
    pub(crate) tables: Vec<Table>,
}

impl Register {
    /// A file in WAL mode where `sql` ran and `tables` are captured.
    pub(crate) fn new(sql: &str, tables: Vec<Table>) -> Register {
        let register = Register::bare(sql, tables);
        create(&register.path(), SYSTEM, &register.tables).unwrap();
        register
    }

    /// The same without capture.
    pub(crate) fn bare(sql: &str, tables: Vec<Table>) -> Register {
        let register = Register { folder: tempfile::tempdir().unwrap(), tables };
        let connection = Connection::open(register.path()).unwrap();
        connection.execute_batch(sql).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        register
    }

    /// One table `t` with the columns and the key given.
    pub(crate) fn of(sql: &str, columns: &[&str], key: &[&str]) -> Register {
        Register::new(sql, vec![table("t", columns, key)])
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("register.db")
    }

    /// A connection as an application has it.
    pub(crate) fn application(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        // No test of this crate cuts the power.
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection
    }

    pub(crate) fn claim(&self) -> Result<SqliteSource, SourceError> {
        SqliteSource::claim(&self.path(), &self.tables, &claimant())
    }

    /// Everything that waits, read by a new claim.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        let mut recorder = Recorder::default();
        read(&mut self.claim().unwrap(), &mut recorder);
        recorder.taken
    }

    /// The changes that wait, each as `op before -> after` in JSON-like words.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.taken().iter().flat_map(|t| &t.changes).map(words).collect()
    }
}

pub(crate) fn table(name: &str, columns: &[&str], key: &[&str]) -> Table {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Table { name: name.to_owned(), columns: owned(columns), key: owned(key), ..Table::default() }
}

/// A change in short words: `insert 0 [1, 'a']`, `update 0 [1, 'a'] -> [1, 'b']`, `delete+ 0 [1]` with the next.
pub(crate) fn words(change: &connectors_source::conformance::Given) -> String {
    let row = |row: &Row| {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| match cell {
                Held::Null => "null".to_owned(),
                Held::Integer(n) => n.to_string(),
                Held::Float(bits) => format!("{:?}f", f64::from_bits(*bits)),
                Held::Text(text) => format!("'{text}'"),
                Held::Bytes(bytes) => {
                    format!("x'{}'", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
                }
                Held::Other(other) => other.clone(),
            })
            .collect();
        format!("[{}]", cells.join(", "))
    };
    let states: Vec<String> = [&change.before, &change.after].into_iter().flatten().map(row).collect();
    let with_next = if change.with_next { "+" } else { "" };
    format!("{:?}{with_next} {} {}", change.operation, change.table, states.join(" -> ")).to_lowercase()
}

struct Bound<'a>(&'a Held);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Held::Null | Held::Other(_) => ToSqlOutput::Owned(Value::Null),
            Held::Integer(n) => ToSqlOutput::Owned(Value::Integer(*n)),
            Held::Float(bits) => ToSqlOutput::Owned(Value::Real(f64::from_bits(*bits))),
            Held::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Held::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// The conformance suite's database.
pub(crate) struct SuiteBench(Register);

impl SuiteBench {
    pub(crate) fn new() -> SuiteBench {
        let sql = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, photo BLOB, weight REAL);
                   CREATE TABLE payment (person INTEGER NOT NULL, number INTEGER NOT NULL, note TEXT,
                                         PRIMARY KEY (person, number)) WITHOUT ROWID;";
        SuiteBench(Register::new(sql, tables()))
    }
}

impl Bench for SuiteBench {
    type Source = SqliteSource;

    fn claim(&self) -> Result<SqliteSource, SourceError> {
        self.0.claim()
    }

    fn take_over(&self) -> Result<SqliteSource, SourceError> {
        SqliteSource::take_over(&self.0.path(), &self.0.tables, &claimant())
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(Application { connection: self.0.application(), tables: self.0.tables.clone() })
    }

    fn rows(&self, table: usize) -> Vec<Row> {
        let table = &self.0.tables[table];
        let connection = self.0.application();
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {}",
            table.columns.join(", "),
            table.name,
            table.key.join(", ")
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let width = table.columns.len();
        let rows = statement
            .query_map([], |row| {
                (0..width)
                    .map(|at| {
                        Ok(match row.get_ref(at)? {
                            ValueRef::Null => Held::Null,
                            ValueRef::Integer(n) => Held::Integer(n),
                            ValueRef::Real(n) => Held::float(n),
                            ValueRef::Text(text) => Held::Text(String::from_utf8(text.to_vec()).unwrap()),
                            ValueRef::Blob(blob) => Held::Bytes(blob.to_vec()),
                        })
                    })
                    .collect()
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    }
}

struct Application {
    connection: Connection,
    tables: Vec<Table>,
}

impl Application {
    fn run(&mut self, writes: &[Write], end: &str) {
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for write in writes {
            let (sql, values) = self.statement(write);
            let count = self
                .connection
                .prepare(&sql)
                .unwrap()
                .execute(params_from_iter(values.iter().map(Bound)))
                .unwrap();
            assert_eq!(count, 1, "{sql}");
        }
        self.connection.execute_batch(end).unwrap();
    }

    fn statement(&self, write: &Write) -> (String, Vec<Held>) {
        let by_key = |table: &Table, from: usize| {
            let parts = table.key.iter().enumerate().map(|(at, k)| format!("{k} = ?{}", at + from));
            parts.collect::<Vec<_>>().join(" AND ")
        };
        match write {
            Write::Insert(table, row) => {
                let table = &self.tables[*table];
                let marks: Vec<String> = (1..=row.len()).map(|at| format!("?{at}")).collect();
                (
                    format!(
                        "INSERT INTO {} ({}) VALUES ({})",
                        table.name,
                        table.columns.join(", "),
                        marks.join(", ")
                    ),
                    row.clone(),
                )
            }
            Write::Update(table, key, row) => {
                let table = &self.tables[*table];
                let sets: Vec<String> =
                    table.columns.iter().enumerate().map(|(at, c)| format!("{c} = ?{}", at + 1)).collect();
                let sql = format!(
                    "UPDATE {} SET {} WHERE {}",
                    table.name,
                    sets.join(", "),
                    by_key(table, row.len() + 1)
                );
                (sql, row.iter().chain(key).cloned().collect())
            }
            Write::Delete(table, key) => {
                let table = &self.tables[*table];
                (format!("DELETE FROM {} WHERE {}", table.name, by_key(table, 1)), key.clone())
            }
        }
    }
}

impl Writer for Application {
    fn commit(&mut self, writes: &[Write]) {
        self.run(writes, "INSERT INTO govbridge_commit DEFAULT VALUES; COMMIT");
    }

    fn abandon(&mut self, writes: &[Write]) {
        self.run(writes, "ROLLBACK");
    }
}
