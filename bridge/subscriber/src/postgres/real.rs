//! The sink's own statements on a real server, without anything of the path.

use std::time::Instant;

use bridge_event::{Cell, Value};
use bridge_pgwire::{Server, Session};
use schemas::{Class, Column, ColumnType};

use super::application::{Application, port};
use super::change::{Change, Deed, Part, Place};
use super::layout::{self, Layout};
use super::{PostgresSink, Table, value};
use crate::Subscribed;
use crate::progress::Progress;

/// A database with a sink of one table.
struct Bench {
    name: String,
    sink: PostgresSink,
}

fn column(name: &str, kind: ColumnType) -> Column {
    Column {
        name: name.into(),
        title: name.into(),
        class: Class::General,
        kind,
        nullable: true,
        source_type: None,
    }
}

impl Bench {
    fn new(word: &str, columns: &[Column]) -> Bench {
        let name = format!("{word}_{}", std::process::id());
        let mut application = Application::connect(port(), "postgres");
        application.run(&format!("CREATE DATABASE {name}"));
        let server = Server {
            host: "127.0.0.1".into(),
            port: port(),
            database: name.clone(),
            user: "postgres".into(),
            password: None,
            tls: bridge_pgwire::Tls::of_host("127.0.0.1"),
        };
        let mut session = Session::open(&server, false, "test").unwrap();
        let mut layout = Layout {
            keys: vec![layout::Field { name: "id".into(), kind: "bigint".into() }],
            columns: Vec::new(),
        };
        layout.follow(columns, &mut Vec::new()).unwrap();
        let mut sql = vec!["CREATE SCHEMA s".to_owned()];
        sql.extend(super::create::own_tables("s"));
        sql.extend(layout::tables("s", "t", "x/t", &layout));
        for statement in sql {
            session.query(&statement).unwrap();
        }
        let table = Table {
            dataset: Subscribed { department: "x".parse().unwrap(), dataset: "t".parse().unwrap() },
            name: "t".into(),
            layout,
            steps: Vec::new(),
            gathers: None,
            noted: None,
            segments: Vec::new(),
            has_group: false,
            used: false,
        };
        Bench { name, sink: PostgresSink::bare(session, "s", table) }
    }

    fn put(&mut self, deed: Deed, id: i64, cells: &[Cell<'_>]) {
        let mut change = Change::bare(0, deed);
        value::write(&mut change.key, Value::Integer(id));
        change.identity.clone_from(&change.key);
        change.place = Place { sequence: 1, leaf: 0, commit_time: 0 };
        for (place, cell) in cells.iter().enumerate() {
            change.set(place, *cell);
        }
        self.sink.take(change);
    }

    fn commit(&mut self) {
        self.sink.write().unwrap();
        self.sink.finish(&Progress::default()).unwrap();
    }

    fn value(&self, sql: &str) -> String {
        Application::connect(port(), &self.name)
            .value(&format!("SET search_path = s; SET timezone = UTC; {sql}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let name = &self.name;
        let _ =
            Application::connect(port(), "postgres").attempt(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}

#[test]
fn every_type_is_in_the_table_what_it_was_in_the_source() {
    let bytes = [0, 92, 255];
    let uuid = [0x1f; 16];
    let cases: Vec<(ColumnType, Value<'_>, &str)> = vec![
        (ColumnType::Boolean, Value::Bool(true), "true"),
        (ColumnType::Int, Value::Integer(-2_147_483_648), "-2147483648"),
        (ColumnType::Long, Value::Integer(i64::MIN), "-9223372036854775808"),
        (ColumnType::Float, Value::Float(f64::from(0.1_f32)), "0.1"),
        (ColumnType::Double, Value::Float(0.1), "0.1"),
        (ColumnType::Double, Value::Float(f64::MAX), "1.7976931348623157e+308"),
        (ColumnType::Double, Value::Float(-0.0), "-0"),
        (ColumnType::Double, Value::Float(f64::NAN), "NaN"),
        (ColumnType::Double, Value::Float(f64::NEG_INFINITY), "-Infinity"),
        (ColumnType::String, Value::Text("税\t\\N\r\n'\""), "税\t\\N\r\n'\""),
        (ColumnType::String, Value::Text(""), ""),
        (ColumnType::String, Value::Text("\\."), "\\."),
        (ColumnType::Bytes, Value::Bytes(&bytes), "\\x005cff"),
        (ColumnType::Date, Value::Date(-719_529), "0002-12-31 BC"),
        (ColumnType::Date, Value::Date(i32::MAX), "infinity"),
        (ColumnType::Date, Value::Date(i32::MIN), "-infinity"),
        (ColumnType::Time, Value::Time(86_400_000_000), "24:00:00"),
        (ColumnType::Time, Value::Time(1), "00:00:00.000001"),
        (ColumnType::Instant, Value::Instant(-1), "1969-12-31 23:59:59.999999+00"),
        (ColumnType::Instant, Value::Instant(i64::MAX), "infinity"),
        (ColumnType::Instant, Value::Instant(-62_198_755_200_000_000), "0002-01-01 00:00:00+00 BC"),
        (ColumnType::Timestamp, Value::Timestamp(253_402_300_800_000_000), "10000-01-01 00:00:00"),
        (ColumnType::Timestamp, Value::Timestamp(i64::MIN), "-infinity"),
        (ColumnType::UuidFixed, Value::Uuid(uuid), "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f"),
        (ColumnType::UuidText, Value::Uuid(uuid), "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f"),
        (ColumnType::Decimal, Value::Decimal("-12.300"), "-12.300"),
        (ColumnType::Decimal, Value::Decimal("NaN"), "NaN"),
        (ColumnType::Decimal, Value::Decimal("Infinity"), "Infinity"),
        (
            ColumnType::Decimal,
            Value::Decimal("123456789012345678901234567890.0123456789"),
            "123456789012345678901234567890.0123456789",
        ),
    ];
    let columns: Vec<Column> =
        cases.iter().enumerate().map(|(i, (kind, _, _))| column(&format!("c{i}"), *kind)).collect();
    let mut bench = Bench::new("types", &columns);
    let cells: Vec<Cell<'_>> = cases.iter().map(|(_, value, _)| Cell::Value(*value)).collect();
    bench.put(Deed::Put, 1, &cells);
    bench.put(Deed::Put, 2, &vec![Cell::Null; cells.len()]);
    bench.commit();
    // The same by way of a snapshot.
    bench.sink.take(Change::bare(0, Deed::SnapshotBegins(1)));
    bench.put(Deed::Gather, 3, &cells);
    bench.sink.take(Change::bare(0, Deed::SnapshotEnds(1)));
    bench.put(Deed::Put, 1, &cells);
    bench.commit();
    for id in [1, 3] {
        for (i, (kind, _, wanted)) in cases.iter().enumerate() {
            assert_eq!(bench.value(&format!("SELECT c{i}::text FROM t WHERE id = {id}")), *wanted, "{kind}");
        }
    }
    assert_eq!(bench.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t"), "1 3");
}

#[test]
fn a_table_follows_a_wider_type_and_a_new_column_with_rows_of_both() {
    let mut bench = Bench::new("widths", &[column("a", ColumnType::Boolean), column("b", ColumnType::Date)]);
    bench.put(Deed::Put, 1, &[Cell::Value(Value::Bool(true)), Cell::Value(Value::Date(0))]);
    bench.commit();
    // A row of the contract before waits in the same group.
    bench.put(Deed::Put, 2, &[Cell::Value(Value::Bool(false)), Cell::Value(Value::Date(1))]);
    let wider =
        [column("a", ColumnType::Long), column("b", ColumnType::String), column("c", ColumnType::Decimal)];
    let table = &mut bench.sink.tables[0];
    table.layout.follow(&wider, &mut table.steps).unwrap();
    table.has_group = false;
    let cells = [
        Cell::Value(Value::Integer(i64::MAX)),
        Cell::Value(Value::Text("later")),
        Cell::Value(Value::Decimal("1.50")),
    ];
    bench.put(Deed::Put, 3, &cells);
    bench.commit();
    let rows = bench.value(
        "SELECT string_agg(concat_ws(' ', id, a, b, coalesce(c::text, '-')), ', ' ORDER BY id) FROM t",
    );
    assert_eq!(rows, "1 1 1970-01-01 -, 2 0 1970-01-02 -, 3 9223372036854775807 later 1.50");
    // What somebody else changes is noticed in the next transaction, before anything is written.
    Application::connect(port(), &bench.name).run("ALTER TABLE s.t ALTER a TYPE text");
    bench.put(Deed::Put, 4, &cells);
    assert_eq!(bench.sink.write().unwrap_err().code(), "DEL033");
}

#[test]
fn values_that_the_server_cannot_hold_and_constraints_are_told_apart() {
    let mut bench = Bench::new("refused", &[column("a", ColumnType::String)]);
    bench.put(Deed::Put, 1, &[Cell::Value(Value::Text("a\0b"))]);
    assert_eq!(bench.sink.write().unwrap_err().code(), "DEL036");
}

#[test]
fn a_plain_insert_stream_is_written_in_groups() {
    let columns: Vec<Column> = (0..6).map(|i| column(&format!("c{i}"), ColumnType::String)).collect();
    let mut bench = Bench::new("stream", &columns);
    let (groups, rows) = (10, 2_000);
    let begun = Instant::now();
    for group in 0..groups {
        for row in 0..rows {
            bench.put(Deed::Put, group * rows + row, &[Cell::Value(Value::Text("some words of a row")); 6]);
        }
        bench.commit();
    }
    let taken = begun.elapsed();
    assert_eq!(bench.value("SELECT count(*) FROM t"), (groups * rows).to_string());
    let rate = u128::try_from(groups * rows).unwrap() * 1_000_000 / taken.as_micros().max(1);
    println!("{rate} rows/s into a table of seven columns");
    assert!(matches!(Change::bare(0, Deed::Put).part(0), Part::Kept));
}
