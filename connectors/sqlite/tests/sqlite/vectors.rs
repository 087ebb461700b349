//! The vectors of the changelog's format: files as SQL, and what a reader makes of them.

use crate::bench::{Register, SYSTEM};
use connectors_source::conformance::{Given, Held, Recorder, Row, Taken};
use connectors_source::{Polled, Source, SourceError, Table};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/govbridge/changelog")
}

struct Vector {
    name: String,
    sql: String,
    tables: Vec<Table>,
    expected: Value,
}

fn vectors() -> Vec<Vector> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "sql"));
    files.sort();
    files.iter().map(|file| vector(file)).collect()
}

fn vector(file: &Path) -> Vector {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(file.with_extension("json")).unwrap()).unwrap();
    let names = |of: &Value| {
        of.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let tables = expected["tables"].as_array().unwrap().iter().map(|asked| Table {
        name: asked["name"].as_str().unwrap().to_owned(),
        columns: names(&asked["columns"]),
        key: names(&asked["key"]),
        ..Table::default()
    });
    Vector {
        name: file.file_stem().unwrap().to_string_lossy().into_owned(),
        sql: std::fs::read_to_string(file).unwrap(),
        tables: tables.collect(),
        expected,
    }
}

fn cells(row: &Row) -> Value {
    row.iter()
        .map(|cell| match cell {
            Held::Null => Value::Null,
            Held::Integer(number) => json!({ "integer": number.to_string() }),
            Held::Float(bits) => json!({ "real": format!("{bits:016x}") }),
            Held::Text(text) => json!({ "text": text }),
            Held::Bytes(bytes) => {
                json!({ "blob": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() })
            }
            Held::Other(other) => json!({ "other": other }),
        })
        .collect()
}

fn change(index: usize, given: &Given) -> Value {
    let mut change = Map::new();
    change.insert("table".to_owned(), json!(given.table));
    change.insert("operation".to_owned(), json!(format!("{:?}", given.operation).to_lowercase()));
    change.insert("index".to_owned(), json!(index));
    if given.with_next {
        change.insert("with_next".to_owned(), json!(true));
    }
    for (name, state) in [("before", &given.before), ("after", &given.after)] {
        if let Some(row) = state {
            change.insert(name.to_owned(), cells(row));
        }
    }
    Value::Object(change)
}

/// A transaction as the vector has it; what SQLite chose by chance is left out where the vector leaves it out.
fn transaction(taken: &Taken, expected: Option<&Value>) -> Value {
    let mut transaction = json!({
        "number": taken.transaction.number,
        "commit": taken.transaction.commit,
        "changes": taken.changes.iter().enumerate().map(|(index, given)| change(index, given)).collect::<Vec<_>>(),
    });
    if expected.is_some_and(|e| e["token"].is_string()) {
        transaction["committed_at"] = json!(taken.transaction.committed_at.0);
        transaction["token"] = json!(String::from_utf8(taken.token.as_bytes().to_vec()).unwrap());
    }
    transaction
}

fn run(vector: &Vector) -> (Recorder, Result<(), SourceError>) {
    let mut register = Register::bare("", Vec::new());
    register.application().execute_batch(&vector.sql).unwrap();
    register.tables.clone_from(&vector.tables);
    let mut recorder = Recorder::default();
    let ended = register.claim().and_then(|mut source| {
        while source.poll(Duration::ZERO, &mut recorder)? == Polled::Delivered {}
        Ok(())
    });
    (recorder, ended)
}

#[test]
fn good_files_give_the_transactions_that_the_vectors_say() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|v| v.name.starts_with("good-")) {
        let (recorder, ended) = run(vector);
        ended.unwrap();
        let expected = vector.expected["transactions"].as_array().unwrap();
        let given: Vec<Value> = recorder
            .taken
            .iter()
            .enumerate()
            .map(|(at, taken)| transaction(taken, expected.get(at)))
            .collect();
        assert_eq!(&given, expected, "{}", vector.name);
        seen += 1;
    }
    assert!(seen >= 8);
}

#[test]
fn each_broken_file_is_refused_by_its_code_and_nothing_after_the_fault_is_committed() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|v| !v.name.starts_with("good-")) {
        let (recorder, ended) = run(vector);
        let error = ended.expect_err(&vector.name);
        assert_eq!(error.code(), vector.expected["error"].as_str().unwrap(), "{}: {error}", vector.name);
        assert!(recorder.taken.is_empty(), "{}", vector.name);
        seen += 1;
    }
    assert!(seen >= 10);
}

/// The vectors hold the statements that `create` runs now: a change of the format shows here.
#[test]
fn the_vectors_begin_with_what_create_installs() {
    for vector in vectors().iter().filter(|v| v.name.starts_with("good-")) {
        let (schema, rest) = vector.sql.split_once("-- What create installs.\n").unwrap();
        let (installed, _) = rest.split_once("-- What the application").unwrap();
        let register = Register::bare(schema, vector.tables.clone());
        let script = connectors_sqlite::script(&register.path(), SYSTEM, &register.tables).unwrap();
        assert_eq!(installed.trim_end(), script.trim_end(), "{}", vector.name);
    }
}
