//! The row vectors of docs/spec/contract.md. With `GOVBRIDGE_WRITE_VECTORS` set they are written, else compared.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use bridge_event::{Cell, Change, Operation, RowSplit, SplitError, UnixMicros, Value};
use schemas::{Contract, ContractFiles, Encoder, EventHead, ReadRow, SectionReader, States};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/govbridge/contract")
}

/// The files of the vector `good`.
fn good_files() -> Json {
    let good: Json = serde_json::from_slice(&std::fs::read(folder().join("good.json")).unwrap()).unwrap();
    good["files"].clone()
}

fn contract() -> Contract {
    let files = good_files();
    let files: ContractFiles = files
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, text)| (name.clone(), text.as_str().unwrap()))
        .collect();
    Contract::parse(&files).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Sees that a vector is what it should be.
fn check(name: &str, vector: &Json) {
    let path = folder().join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(vector).unwrap() + "\n";
    if std::env::var_os("GOVBRIDGE_WRITE_VECTORS").is_some() {
        #[allow(clippy::disallowed_methods, reason = "a vector is written once, by hand")]
        std::fs::write(&path, &text).unwrap();
    }
    let found: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(found, *vector, "{name}");
}

const fn text(value: &str) -> Cell<'_> {
    Cell::Value(Value::Text(value))
}

type State = [Cell<'static>; 6];

/// The source's columns: person_no, full_name, birth_date, id_number, base_amount, updated_at.
fn changes() -> Vec<(Operation, Option<State>, Option<State>)> {
    let person = Cell::Value(Value::Integer(9_900_000_101));
    let first = [
        person,
        text("陈思远"),
        Cell::Value(Value::Date(6_648)),
        text("990102198803150015"),
        Cell::Value(Value::Decimal("9800.00")),
        Cell::Value(Value::Instant(1_767_575_550_000_000)),
    ];
    let second = [
        person,
        Cell::Unchanged,
        Cell::Value(Value::Date(-1)),
        Cell::Null,
        Cell::Value(Value::Decimal("-0.5")),
        Cell::Value(Value::Instant(-1)),
    ];
    let key_only = [person, Cell::Absent, Cell::Absent, Cell::Absent, Cell::Absent, Cell::Absent];
    vec![
        (Operation::Read, None, Some(first)),
        (Operation::Insert, None, Some(first)),
        (Operation::Update, Some(first), Some(second)),
        (Operation::Update, None, Some(second)),
        (Operation::Delete, Some(key_only), None),
        (Operation::Truncate, None, None),
    ]
}

fn value(value: &Value<'_>) -> Json {
    match value {
        Value::Integer(n) | Value::Instant(n) => json!(n),
        Value::Date(days) => json!(days),
        Value::Text(text) | Value::Decimal(text) => json!(text),
        other => panic!("no vector has {other:?}"),
    }
}

fn state<'a>(cells: Option<impl Iterator<Item = (&'a str, Cell<'a>)>>) -> Json {
    let cell = |cell: Cell<'_>| match cell {
        Cell::Value(v) => json!({ "value": value(&v) }),
        Cell::Null => json!("null"),
        Cell::Unchanged => json!("unchanged"),
        Cell::Absent => json!("absent"),
    };
    cells.map_or(Json::Null, |cells| cells.map(|(name, c)| (name.to_owned(), cell(c))).collect())
}

fn row_json(row: &ReadRow<'_>, bytes: &[u8], part_bytes: &[usize]) -> Json {
    let head = row.head();
    json!({
        "operation": format!("{:?}", row.operation()).to_lowercase(),
        "commit": head.commit,
        "ordinal": head.ordinal,
        "commit_time": head.commit_time.0,
        "transaction": head.transaction,
        "index": head.index,
        "key": row.named_keys().map(|(name, v)| (name.to_owned(), value(&v))).collect::<Json>(),
        "before": state(row.named_before()),
        "after": state(row.named_after()),
        "hex": hex(bytes),
        "part_bytes": part_bytes,
    })
}

/// The encoded content of each section, of all changes.
fn contents(contract: &Contract) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(contract, &contract.source_columns()).unwrap();
    let mut out = encoder.rows();
    for (i, (operation, before, after)) in changes().iter().enumerate() {
        let change = Change {
            table: 0,
            operation: *operation,
            index: i as u64,
            with_next: false,
            before: before.as_ref().map(|b| b.as_slice()),
            after: after.as_ref().map(|a| a.as_slice()),
        };
        let head = EventHead {
            commit: if i == 5 { u64::MAX } else { 4_711 },
            ordinal: i as u64 + 1,
            commit_time: UnixMicros(1_780_272_000_000_000),
            transaction: 77,
            index: change.index,
        };
        encoder.encode(&change, &head, &mut out).unwrap();
    }
    out.into_iter().map(bridge_event::Rows::into_bytes).collect()
}

#[test]
fn rows_of_every_operation_are_as_the_vectors_say() {
    let contract = contract();
    for (section, content) in contract.sections().iter().zip(contents(&contract)) {
        let reader = SectionReader::new(&contract, section.name()).unwrap();
        let rows = reader.split(content, changes().len()).unwrap();
        let listed: Vec<Json> = rows
            .iter()
            .map(|row| {
                let mut parts = vec![row.head.len()];
                parts.extend(row.groups.clone().map(<[u8]>::len));
                parts.push(row.rest.len());
                row_json(&reader.read(&row).unwrap(), row.whole(), &parts)
            })
            .collect();
        let schemas: Json = States::ALL
            .iter()
            .map(|states| {
                let json: Json = serde_json::from_str(&section.derived_schema_json(*states)).unwrap();
                (states.number().to_string(), json)
            })
            .collect();
        let vector = json!({
            "files": good_files(),
            "contract_digest": contract.digest().to_string(),
            "schema_digest": section.schema_digest().to_string(),
            "section": section.name().as_str(),
            "derived_schemas": schemas,
            "rows": listed,
        });
        check(&format!("good-rows-{}", section.name()), &vector);
    }
}

/// An insert in section `identity`: operation, commit, ordinal, commit time, transaction, index, parts, key, then the
/// group's two columns, then the ungrouped one.
const INSERT: &[&[u8]] =
    &[&[2], &[2], &[2], &[0], &[2], &[0], &[4], &[2], &[0, 6, 0xe9, 0x99, 0x88], &[2], &[0, 2]];

fn insert_with(field: usize, bytes: &[u8]) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = INSERT.to_vec();
    fields[field] = bytes;
    fields.concat()
}

/// An insert in section `standing` of this decimal.
fn standing(decimal: &str) -> Vec<u8> {
    let length = u8::try_from(decimal.len() * 2).unwrap();
    [&[2, 2, 2, 0, 2, 0, 4, 2, 0, length], decimal.as_bytes(), &[0, 0]].concat()
}

#[test]
fn each_bad_row_is_refused_where_the_vector_says() {
    let contract = contract();
    let good = insert_with(0, &[2]);
    let huge: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    let long: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let cases: Vec<(&str, &str, Vec<u8>, usize, Json)> = vec![
        ("rows-operation-unknown", "identity", insert_with(0, &[10]), 1, json!({"row": 0, "at": 0})),
        ("rows-number-not-shortest", "identity", insert_with(1, &[0x82, 0]), 1, json!({"row": 0, "at": 1})),
        ("rows-number-over-64-bits", "identity", insert_with(1, huge), 1, json!({"row": 0, "at": 1})),
        ("rows-number-of-11-bytes", "identity", insert_with(1, long), 1, json!({"row": 0, "at": 1})),
        ("rows-parts-of-another-operation", "identity", insert_with(0, &[6]), 1, json!({"row": 0, "at": 6})),
        ("rows-parts-unknown", "identity", insert_with(6, &[16]), 1, json!({"row": 0, "at": 6})),
        ("rows-fragment", "identity", insert_with(6, &[12]), 1, json!({"row": 0, "at": 6})),
        ("rows-state-unknown", "identity", insert_with(8, &[8]), 1, json!({"row": 0, "at": 8})),
        ("rows-null-of-a-plain-column", "identity", insert_with(8, &[2]), 1, json!({"row": 0, "at": 8})),
        (
            "rows-length-past-the-end",
            "identity",
            insert_with(8, &[0, 0x7e, 0xe9]),
            1,
            json!({"row": 0, "at": 9}),
        ),
        ("rows-length-negative", "identity", insert_with(8, &[0, 1]), 1, json!({"row": 0, "at": 9})),
        (
            "rows-text-not-utf-8",
            "identity",
            insert_with(8, &[0, 4, 0xe9, 0x99]),
            1,
            json!({"row": 0, "at": 9}),
        ),
        (
            "rows-date-over-32-bits",
            "identity",
            insert_with(10, &[0, 0x80, 0x80, 0x80, 0x80, 0x10]),
            1,
            json!({"row": 0, "at": 15}),
        ),
        ("rows-cut-off", "identity", good[..good.len() - 1].to_vec(), 1, json!({"row": 0, "at": 15})),
        ("rows-left-over", "identity", [&good[..], &[0]].concat(), 1, json!({"leftover": 1})),
        ("rows-fewer-than-said", "identity", good.clone(), 2, json!({"row": 1, "at": 16})),
        ("rows-decimal-with-exponent", "standing", standing("1e3"), 1, json!({"row": 0, "at": 9})),
        ("rows-decimal-with-leading-zero", "standing", standing("01"), 1, json!({"row": 0, "at": 9})),
        ("rows-decimal-with-plus", "standing", standing("+1"), 1, json!({"row": 0, "at": 9})),
    ];
    for (name, section, content, rows, expected) in cases {
        let reader = SectionReader::new(&contract, &section.parse().unwrap()).unwrap();
        let refused = match reader.split(content.clone(), rows).expect_err(name) {
            SplitError::Malformed { row, at, .. } => json!({"row": row, "at": at}),
            SplitError::Leftover { bytes } => json!({ "leftover": bytes }),
            other => panic!("{name}: {other}"),
        };
        assert_eq!(refused, expected, "{name}");
        let vector = json!({
            "files": good_files(),
            "section": section,
            "row_count": rows,
            "hex": hex(&content),
            "refused": expected,
        });
        check(name, &vector);
    }
    let identity = SectionReader::new(&contract, &"identity".parse().unwrap()).unwrap();
    assert!(identity.split(good, 1).is_ok());
    let reader = SectionReader::new(&contract, &"standing".parse().unwrap()).unwrap();
    assert!(reader.split(standing("1.30"), 1).is_ok());
}
