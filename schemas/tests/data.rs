//! The nine contracts of this repository, and the rows of the sample databases.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use bridge_event::{Cell, Change, Department, Operation, RowSplit, Transaction, UnixMicros, Value};
use schemas::{Contract, ContractFiles, Encoder, EventHead, SectionReader};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const DATASETS: [(&str, [&str; 3]); 3] = [
    ("social-security", ["insured-persons", "contribution-records", "benefit-payments"]),
    ("tax", ["taxpayers", "declarations", "payments"]),
    ("education", ["students", "enrolments", "degrees"]),
];

/// 2026-06-01T00:00:00Z.
const A_DAY: UnixMicros = UnixMicros(1_780_272_000_000_000);

fn folder(department: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(department)
}

fn contract(department: &str, dataset: &str) -> Contract {
    let files: ContractFiles = std::fs::read_dir(folder(department).join(dataset))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    Contract::parse(&files).unwrap_or_else(|problems| panic!("{department}/{dataset}:\n{problems}"))
}

fn contracts() -> Vec<Contract> {
    DATASETS
        .iter()
        .flat_map(|(department, names)| names.iter().map(|name| contract(department, name)))
        .collect()
}

#[test]
fn each_contract_is_whole_and_stands_in_its_folder() {
    for (department, names) in DATASETS {
        for name in names {
            let contract = contract(department, name);
            assert_eq!((contract.department().as_str(), contract.dataset().as_str()), (department, name));
            assert_eq!(contract.origin().as_str(), format!("gov.example/{department}/main"));
            assert!(!contract.title().is_ascii(), "{name} has a Chinese title");
        }
    }
}

#[test]
fn each_contract_has_sections_with_different_recipients() {
    let known = ["social-security", "tax", "education", "audit"];
    for contract in contracts() {
        let audiences: BTreeSet<Vec<Department>> =
            contract.sections().iter().map(|section| contract.entitled(section.name(), A_DAY)).collect();
        assert!(
            contract.sections().len() >= 2 && audiences.len() >= 2,
            "{}: {audiences:?}",
            contract.dataset()
        );
        assert!(audiences.iter().all(|audience| !audience.is_empty()), "{}", contract.dataset());
        assert!(contract.grants().iter().all(|grant| known.contains(&grant.recipient.as_str())));
        let audience = contract.what_recipients_see().to_string();
        for section in contract.sections() {
            assert!(audience.contains(section.title()), "{audience}");
            assert!(!section.title().is_ascii());
        }
        assert!(audience.contains("every recipient of any section sees the key of every row"), "{audience}");
    }
}

#[test]
fn one_contract_has_disclosure_groups() {
    let contract = contract("social-security", "insured-persons");
    let identity = contract.section(&"identity".parse().unwrap()).unwrap();
    let groups: Vec<(&str, Vec<&str>)> = identity
        .groups()
        .iter()
        .map(|g| (g.name.as_str(), g.columns.iter().map(|&i| identity.columns()[i].name.as_str()).collect()))
        .collect();
    assert_eq!(
        groups,
        [("person", vec!["full_name", "id_number"]), ("contact", vec!["mobile", "household_address"])]
    );
    assert_eq!(identity.ungrouped().len(), 2);
}

/// Reads a table's rows as a SQLite connector does: loosely typed cells in the order of the columns asked for.
fn with_rows(
    database: &rusqlite::Connection,
    contract: &Contract,
    mut each: impl FnMut(&[Cell<'_>]),
) -> usize {
    let columns = contract.source_columns().join(", ");
    let mut query = database.prepare(&format!("SELECT {columns} FROM {}", contract.table())).unwrap();
    let width = query.column_count();
    let mut rows = query.query(()).unwrap();
    let mut count = 0;
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<Cell<'_>> = (0..width)
            .map(|i| match row.get_ref(i).unwrap() {
                rusqlite::types::ValueRef::Null => Cell::Null,
                rusqlite::types::ValueRef::Integer(n) => Cell::Value(Value::Integer(n)),
                rusqlite::types::ValueRef::Real(x) => Cell::Value(Value::Float(x)),
                rusqlite::types::ValueRef::Text(t) => {
                    Cell::Value(Value::Text(std::str::from_utf8(t).unwrap()))
                }
                rusqlite::types::ValueRef::Blob(b) => Cell::Value(Value::Bytes(b)),
            })
            .collect();
        each(&cells);
        count += 1;
    }
    count
}

#[test]
fn the_sample_rows_are_written_and_read_in_every_section() {
    let transaction = Transaction { number: 7, commit: 9, committed_at: A_DAY };
    for (department, names) in DATASETS {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        database
            .execute_batch(&std::fs::read_to_string(folder(department).join("sample.sql")).unwrap())
            .unwrap();
        for name in names {
            let contract = contract(department, name);
            let mut encoder = Encoder::new(&contract, &contract.source_columns()).unwrap();
            let mut out = encoder.rows();
            let count = with_rows(&database, &contract, |cells| {
                let change = Change {
                    table: 0,
                    operation: Operation::Insert,
                    index: 0,
                    before: None,
                    after: Some(cells),
                    with_next: false,
                };
                let head = EventHead::of(&change, &transaction, 1);
                encoder.encode(&change, &head, &mut out).unwrap_or_else(|error| panic!("{name}: {error}"));
            });
            assert!((3..=5).contains(&count), "{name} has {count} sample rows");
            for (section, rows) in contract.sections().iter().zip(&out) {
                let reader = SectionReader::new(&contract, section.name()).unwrap();
                let split = reader.split(rows.bytes().to_vec(), count).unwrap();
                for row in split.iter() {
                    let read = reader.read(&row).unwrap();
                    assert_eq!(read.after().unwrap().len(), section.columns().len());
                    assert!(read.before().is_none());
                }
            }
        }
    }
}

#[test]
fn the_sample_tables_have_the_columns_of_their_contracts() {
    for (department, names) in DATASETS {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        database
            .execute_batch(&std::fs::read_to_string(folder(department).join("sample.sql")).unwrap())
            .unwrap();
        for name in names {
            let contract = contract(department, name);
            let query = database.prepare(&format!("SELECT * FROM {}", contract.table())).unwrap();
            let columns: Vec<&str> = query.column_names().collect();
            // Unshared columns may be asked for too; they are not written.
            Encoder::new(&contract, &columns).unwrap();
            let declared = contract.source_columns().len() + contract.unshared_columns().len();
            assert_eq!(columns.len(), declared, "{name}");
        }
    }
}

/// The columns of a table as `postgres.sql` declares it.
fn declared_for_postgres<'a>(sql: &'a str, table: &str) -> Vec<&'a str> {
    let (_, rest) = sql.split_once(&format!("CREATE TABLE public.{table} (\n")).unwrap();
    let (body, _) = rest.split_once("\n);").unwrap();
    let names = body.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "PRIMARY").collect()
}

#[test]
fn the_sample_tables_for_postgresql_have_the_columns_of_their_contracts() {
    for (department, names) in DATASETS {
        let sql = std::fs::read_to_string(folder(department).join("postgres.sql")).unwrap();
        let others = std::fs::read_to_string(folder(department).join("sample.sql")).unwrap();
        let database = rusqlite::Connection::open_in_memory().unwrap();
        database.execute_batch(&others).unwrap();
        for name in names {
            let contract = contract(department, name);
            let query = database.prepare(&format!("SELECT * FROM {}", contract.table())).unwrap();
            let columns: Vec<&str> = query.column_names().collect();
            assert_eq!(declared_for_postgres(&sql, contract.table()), columns, "{name}");
        }
        let rows = |sql: &str| {
            sql.lines()
                .filter(|line| {
                    line.starts_with("  ('") || line.starts_with("  (7") || line.starts_with("  (8")
                })
                .count()
        };
        assert_eq!(rows(&sql), rows(&others), "{department}");
    }
}
