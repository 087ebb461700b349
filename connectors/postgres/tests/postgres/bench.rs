//! A database for a test, on the server that `deploy/dev/services.sh` starts.

use crate::application::{Application, port};
use bridge_event::UnixMicros;
use connectors_postgres::{Claimant, PostgresSource, Server, create};
use connectors_source::conformance::{Bench, Given, Held, Recorder, Row, Taken, Write, Writer, read, tables};
use connectors_source::{SourceError, Table};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn claimant() -> Claimant {
    Claimant::here(UnixMicros(1_800_000_000_000_000))
}

/// A database with some tables; it and its slot end with this.
pub(crate) struct Register {
    pub(crate) server: Server,
    pub(crate) tables: Vec<Table>,
}

impl Register {
    /// A database where `sql` ran and `tables` are captured.
    pub(crate) fn new(sql: &str, tables: Vec<Table>) -> Register {
        let register = Register::bare(sql, tables);
        create(&register.server, "first", &register.tables).unwrap();
        register
    }

    /// The same without capture.
    pub(crate) fn bare(sql: &str, tables: Vec<Table>) -> Register {
        Register::bare_on(port(), sql, tables)
    }

    /// The same on a server of the test's own.
    pub(crate) fn bare_on(port: u16, sql: &str, tables: Vec<Table>) -> Register {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Application::connect(port, "postgres").run(&format!("CREATE DATABASE {name}"));
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port,
            database: name.clone(),
            user: "postgres".to_owned(),
            password: None,
            tls: connectors_postgres::Tls::of_host("127.0.0.1"),
            publication: "govbridge".to_owned(),
            slot: name,
        };
        let register = Register { server, tables };
        register.application().run(sql);
        register
    }

    /// One table `t`, captured on a server of the test's own.
    pub(crate) fn on(port: u16, sql: &str, columns: &[&str], key: &[&str]) -> Register {
        let register = Register::bare_on(port, sql, vec![table("t", columns, key)]);
        create(&register.server, "first", &register.tables).unwrap();
        register
    }

    /// One table `t` with the columns and the key given.
    pub(crate) fn of(sql: &str, columns: &[&str], key: &[&str]) -> Register {
        Register::new(sql, vec![table("t", columns, key)])
    }

    pub(crate) fn application(&self) -> Application {
        Application::connect(self.server.port, &self.server.database)
    }

    pub(crate) fn claim(&self) -> Result<PostgresSource, SourceError> {
        PostgresSource::claim(&self.server, &self.tables, &claimant())
    }

    /// Everything that waits, read by a new claim.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        let mut recorder = Recorder::default();
        read(&mut self.claim().unwrap(), &mut recorder);
        recorder.taken
    }

    /// The changes that wait, each in short words.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.taken().iter().flat_map(|t| &t.changes).map(words).collect()
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        // A server of the test's own may be gone.
        let Ok(mut application) = Application::try_connect(self.server.port, "postgres") else { return };
        let name = &self.server.database;
        let _ = application.attempt(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        ));
        for _ in 0..500 {
            let drop = format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'"
            );
            if application.attempt(&drop).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = application.attempt(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}

pub(crate) fn table(name: &str, columns: &[&str], key: &[&str]) -> Table {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Table { name: name.to_owned(), columns: owned(columns), key: owned(key), ..Table::default() }
}

/// A change in short words: `insert 0 [1, 'a']`, `update 0 [1, 'a'] -> [1, 'b']`, `delete+ 0 [1]` with the next.
pub(crate) fn words(change: &Given) -> String {
    let row = |row: &Row| format!("[{}]", row.iter().map(cell_words).collect::<Vec<_>>().join(", "));
    let states: Vec<String> = [&change.before, &change.after].into_iter().flatten().map(row).collect();
    let with_next = if change.with_next { "+" } else { "" };
    let operation = format!("{:?}", change.operation).to_lowercase();
    format!("{operation}{with_next} {} {}", change.table, states.join(" -> ")).trim_end().to_owned()
}

pub(crate) fn cell_words(cell: &Held) -> String {
    match cell {
        Held::Null => "null".to_owned(),
        Held::Integer(n) => n.to_string(),
        Held::Float(bits) => format!("{:?}f", f64::from_bits(*bits)),
        Held::Text(text) => format!("'{text}'"),
        Held::Bytes(bytes) => format!("x'{}'", hexadecimal(bytes)),
        Held::Other(other) => other.to_lowercase(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The conformance suite's database.
pub(crate) struct SuiteBench(Register);

impl SuiteBench {
    pub(crate) fn new() -> SuiteBench {
        let sql = "CREATE TABLE person (id bigint PRIMARY KEY, name text, photo bytea, weight double precision);
                   ALTER TABLE person REPLICA IDENTITY FULL;
                   CREATE TABLE payment (person bigint, number bigint, note text, PRIMARY KEY (person, number));
                   ALTER TABLE payment REPLICA IDENTITY FULL;";
        SuiteBench(Register::new(sql, tables()))
    }
}

impl Bench for SuiteBench {
    type Source = PostgresSource;

    fn claim(&self) -> Result<PostgresSource, SourceError> {
        self.0.claim()
    }

    fn take_over(&self) -> Result<PostgresSource, SourceError> {
        let other = Claimant { since: UnixMicros(1_800_000_001_000_000), ..claimant() };
        PostgresSource::take_over(&self.0.server, &self.0.tables, &other)
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(SuiteWriter { application: self.0.application(), tables: self.0.tables.clone() })
    }

    fn rows(&self, table: usize) -> Vec<Row> {
        let table = &self.0.tables[table];
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {}",
            table.columns.join(", "),
            table.name,
            table.key.join(", ")
        );
        let held = |column: &String, value: Option<String>| match (column.as_str(), value) {
            (_, None) => Held::Null,
            ("id" | "person" | "number", Some(value)) => Held::Integer(value.parse().unwrap()),
            ("weight", Some(value)) => Held::float(value.parse().unwrap()),
            (_, Some(value)) => Held::Text(value),
        };
        let rows = self.0.application().run(&sql);
        rows.into_iter().map(|row| table.columns.iter().zip(row).map(|(c, v)| held(c, v)).collect()).collect()
    }
}

struct SuiteWriter {
    application: Application,
    tables: Vec<Table>,
}

fn literal(value: &Held) -> String {
    match value {
        Held::Null => "NULL".to_owned(),
        Held::Integer(n) => format!("'{n}'::bigint"),
        Held::Float(bits) => format!("'{:?}'::float8", f64::from_bits(*bits)),
        Held::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Held::Bytes(bytes) => format!("'\\x{}'::bytea", hexadecimal(bytes)),
        Held::Other(other) => panic!("{other} is no value of the suite"),
    }
}

impl SuiteWriter {
    fn run(&mut self, writes: &[Write], end: &str) {
        let mut sql = String::from("BEGIN;");
        for write in writes {
            sql.push_str(&self.statement(write));
            sql.push(';');
        }
        sql.push_str(end);
        self.application.run(&sql);
    }

    fn statement(&self, write: &Write) -> String {
        let by_key = |table: &Table, key: &Row| {
            table
                .key
                .iter()
                .zip(key)
                .map(|(c, v)| format!("{c} = {}", literal(v)))
                .collect::<Vec<_>>()
                .join(" AND ")
        };
        match write {
            Write::Insert(table, row) => {
                let table = &self.tables[*table];
                let values: Vec<String> = row.iter().map(literal).collect();
                format!(
                    "INSERT INTO {} ({}) VALUES ({})",
                    table.name,
                    table.columns.join(", "),
                    values.join(", ")
                )
            }
            Write::Update(table, key, row) => {
                let table = &self.tables[*table];
                let sets: Vec<String> =
                    table.columns.iter().zip(row).map(|(c, v)| format!("{c} = {}", literal(v))).collect();
                format!("UPDATE {} SET {} WHERE {}", table.name, sets.join(", "), by_key(table, key))
            }
            Write::Delete(table, key) => {
                let table = &self.tables[*table];
                format!("DELETE FROM {} WHERE {}", table.name, by_key(table, key))
            }
        }
    }
}

impl Writer for SuiteWriter {
    fn commit(&mut self, writes: &[Write]) {
        self.run(writes, "COMMIT");
    }

    fn abandon(&mut self, writes: &[Write]) {
        self.run(writes, "ROLLBACK");
    }
}
