//! Rows: what the encoder writes is what the Avro library and the section reader read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod sample;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use bridge_event::{Cell, Change, Operation, RowSplit, Rows, UnixMicros, Value};
use proptest::prelude::*;
use sample::{every_type, parse};
use schemas::{ColumnType, Contract, EncodeError, Encoder, EventHead, Section, SectionReader, States};

/// A cell that owns its value.
#[derive(Clone, Debug)]
enum Held {
    Null,
    Unchanged,
    Absent,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Decimal(String),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Instant(i64),
    Uuid([u8; 16]),
}

impl Held {
    fn cell(&self) -> Cell<'_> {
        Cell::Value(match self {
            Held::Null => return Cell::Null,
            Held::Unchanged => return Cell::Unchanged,
            Held::Absent => return Cell::Absent,
            Held::Bool(v) => Value::Bool(*v),
            Held::Integer(v) => Value::Integer(*v),
            Held::Float(v) => Value::Float(*v),
            Held::Text(v) => Value::Text(v),
            Held::Bytes(v) => Value::Bytes(v),
            Held::Decimal(v) => Value::Decimal(v),
            Held::Date(v) => Value::Date(*v),
            Held::Time(v) => Value::Time(*v),
            Held::Timestamp(v) => Value::Timestamp(*v),
            Held::Instant(v) => Value::Instant(*v),
            Held::Uuid(v) => Value::Uuid(*v),
        })
    }
}

/// Values of a column type, in the form in which the reader gives them back.
fn value_of(kind: ColumnType) -> BoxedStrategy<Held> {
    match kind {
        ColumnType::Boolean => any::<bool>().prop_map(Held::Bool).boxed(),
        ColumnType::Int => any::<i32>().prop_map(|n| Held::Integer(n.into())).boxed(),
        ColumnType::Long => any::<i64>().prop_map(Held::Integer).boxed(),
        ColumnType::Float => proptest::num::f32::ANY.prop_map(|x| Held::Float(x.into())).boxed(),
        ColumnType::Double => proptest::num::f64::ANY.prop_map(Held::Float).boxed(),
        ColumnType::String => any::<String>().prop_map(Held::Text).boxed(),
        ColumnType::Bytes => proptest::collection::vec(any::<u8>(), 0..200).prop_map(Held::Bytes).boxed(),
        ColumnType::Date => any::<i32>().prop_map(Held::Date).boxed(),
        ColumnType::Time => (0..=86_400_000_000i64).prop_map(Held::Time).boxed(),
        ColumnType::Instant => any::<i64>().prop_map(Held::Instant).boxed(),
        ColumnType::Timestamp => any::<i64>().prop_map(Held::Timestamp).boxed(),
        ColumnType::UuidFixed | ColumnType::UuidText => any::<[u8; 16]>().prop_map(Held::Uuid).boxed(),
        ColumnType::Decimal => {
            "(-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?)|NaN|-?Infinity".prop_map(Held::Decimal).boxed()
        }
    }
}

fn cell_of(kind: ColumnType, nullable: bool) -> BoxedStrategy<Held> {
    let null = if nullable { Held::Null } else { Held::Absent };
    prop_oneof![6 => value_of(kind), 1 => Just(null), 1 => Just(Held::Unchanged), 1 => Just(Held::Absent)]
        .boxed()
}

/// The columns of the contract of every type, key first, as `source_columns` has them.
fn state(contract: &Contract) -> BoxedStrategy<Vec<Held>> {
    let keys = contract.key_columns().iter().map(|c| value_of(c.kind));
    let others = contract.sections().iter().flat_map(|s| s.columns()).map(|c| cell_of(c.kind, c.nullable));
    keys.chain(others).collect::<Vec<_>>().boxed()
}

#[derive(Clone, Debug)]
struct Row {
    operation: Operation,
    head: EventHead,
    before: Option<Vec<Held>>,
    after: Option<Vec<Held>>,
}

fn row(contract: &Contract) -> BoxedStrategy<Row> {
    let operations =
        [Operation::Read, Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate];
    let keys = contract.key_columns().len();
    let head = (any::<u64>(), any::<u64>(), any::<i64>(), any::<u64>(), any::<u64>());
    (proptest::sample::select(operations.to_vec()), any::<bool>(), head, state(contract), state(contract))
        .prop_map(move |(operation, both, head, before, mut after)| {
            after[..keys].clone_from_slice(&before[..keys]);
            let has_before = operation == Operation::Delete || (operation == Operation::Update && both);
            let has_after = !matches!(operation, Operation::Delete | Operation::Truncate);
            let (commit, ordinal, time, transaction, index) = head;
            let head = EventHead { commit, ordinal, commit_time: UnixMicros(time), transaction, index };
            Row { operation, head, before: has_before.then_some(before), after: has_after.then_some(after) }
        })
        .boxed()
}

fn cells(state: Option<&Vec<Held>>) -> Option<Vec<Cell<'_>>> {
    state.map(|cells| cells.iter().map(Held::cell).collect())
}

fn encode(encoder: &mut Encoder, row: &Row, out: &mut [Rows]) -> Result<usize, EncodeError> {
    let (before, after) = (cells(row.before.as_ref()), cells(row.after.as_ref()));
    let change = Change {
        table: 0,
        operation: row.operation,
        index: row.head.index,
        before: before.as_deref(),
        after: after.as_deref(),
        with_next: false,
    };
    encoder.encode(&change, &row.head, out)
}

fn states(row: &Row) -> States {
    match (row.before.is_some(), row.after.is_some()) {
        (false, false) => States::None,
        (true, false) => States::Before,
        (false, true) => States::After,
        (true, true) => States::Both,
    }
}

/// Floats by their bits, so that NaN equals itself.
fn same(a: &Cell<'_>, b: &Cell<'_>) -> bool {
    match (a, b) {
        (Cell::Value(Value::Float(a)), Cell::Value(Value::Float(b))) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        _ => a == b,
    }
}

/// Whether the Avro library read the value that was written.
fn avro_same(avro: &Avro, cell: &Cell<'_>) -> bool {
    let Cell::Value(value) = cell else {
        return match (avro, cell) {
            (Avro::Union(1, null), Cell::Null) => **null == Avro::Null,
            (Avro::Union(2, record), Cell::Unchanged) => **record == Avro::Record(Vec::new()),
            (Avro::Union(3, record), Cell::Absent) => **record == Avro::Record(Vec::new()),
            _ => false,
        };
    };
    match avro {
        Avro::Union(0, inner) => avro_value(inner, value),
        plain => avro_value(plain, value),
    }
}

fn avro_value(avro: &Avro, value: &Value<'_>) -> bool {
    match (avro, value) {
        (Avro::Boolean(a), Value::Bool(b)) => a == b,
        (Avro::Int(a), Value::Integer(b)) => i64::from(*a) == *b,
        (Avro::Long(a), Value::Integer(b)) => a == b,
        (Avro::Float(a), Value::Float(b)) => {
            f64::from(*a).to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        (Avro::Double(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Avro::String(a), Value::Text(b) | Value::Decimal(b)) => a == b,
        (Avro::Bytes(a), Value::Bytes(b)) => a == b,
        (Avro::Date(a), Value::Date(b)) => a == b,
        (Avro::TimeMicros(a), Value::Time(b)) => a == b,
        (Avro::TimestampMicros(a), Value::Instant(b)) => a == b,
        (Avro::LocalTimestampMicros(a), Value::Timestamp(b)) => a == b,
        (Avro::Uuid(a), Value::Uuid(b)) => a.as_bytes() == b,
        _ => false,
    }
}

fn fields(value: &Avro) -> &[(String, Avro)] {
    match value {
        Avro::Record(fields) => fields,
        other => panic!("not a record: {other:?}"),
    }
}

/// The row as the Avro library reads it, under the derived schema, with no byte left.
fn read_by_avro(section: &Section, states: States, bytes: &[u8]) -> Vec<(String, Avro)> {
    let schema = Schema::parse_str(&section.derived_schema_json(states)).unwrap();
    let mut rest = bytes;
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes left", rest.len());
    fields(&value).to_vec()
}

fn agrees(contract: &Contract, section: &Section, row: &Row, rows: &Rows) {
    let reader = SectionReader::new(contract, section.name()).unwrap();
    let split = reader.split(rows.bytes().to_vec(), 1).unwrap();
    let (written, found) = (rows.row(0).unwrap(), split.row(0).unwrap());
    assert_eq!((written.head, written.rest), (found.head, found.rest));
    assert!(written.groups.eq(found.groups.clone()));
    let read = reader.read(&found).unwrap();
    assert_eq!((read.operation(), read.head(), read.states()), (row.operation, &row.head, states(row)));

    let avro = read_by_avro(section, states(row), rows.bytes());
    let named = |name: &str| avro.iter().find(|(n, _)| n == name).map(|(_, v)| fields(v).to_vec());
    let head = named("head").unwrap();
    let operation = ["read", "insert", "update", "delete", "truncate"];
    assert!(matches!(&head[0].1, Avro::Enum(n, word) if operation[*n as usize] == word));
    assert_eq!(head[1].1, Avro::Long(row.head.commit.cast_signed()));
    assert_eq!(head[5].1, Avro::Long(row.head.index.cast_signed()));
    assert_eq!(head[6].1, Avro::Int(states(row).number().into()));

    let all = contract.source_columns();
    let cell_named =
        |state: &Vec<Held>, name: &str| state[all.iter().position(|c| *c == name).unwrap()].clone();
    let known = row.after.as_ref().or(row.before.as_ref());
    assert_eq!(read.keys().len(), known.map_or(0, |_| contract.key_columns().len()));
    for ((name, value), (avro_name, avro)) in read.named_keys().zip(named("key").unwrap_or_default()) {
        let held = cell_named(known.unwrap(), name);
        assert!(
            same(&Cell::Value(value), &held.cell()) && name == avro_name && avro_same(&avro, &held.cell())
        );
    }
    let mut places: Vec<(String, Vec<usize>)> =
        section.groups().iter().zip(1..).map(|(g, j)| (format!("group_{j}_"), g.columns.clone())).collect();
    places.push((String::new(), section.ungrouped()));
    for (word, state, cells) in [("before", &row.before, read.before()), ("after", &row.after, read.after())]
    {
        assert_eq!(state.is_some(), cells.is_some());
        let (Some(state), Some(cells)) = (state, cells) else { continue };
        for (prefix, columns) in &places {
            let avro = named(&format!("{prefix}{word}")).unwrap();
            assert_eq!(avro.len(), columns.len());
            for (&i, (avro_name, avro)) in columns.iter().zip(&avro) {
                let name = &section.columns()[i].name;
                let held = cell_named(state, name);
                assert_eq!(name, avro_name);
                assert!(same(&cells[i], &held.cell()), "{name}: {:?} for {held:?}", cells[i]);
                assert!(avro_same(avro, &held.cell()), "{name}: {avro:?} for {held:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_read_alike_by_the_avro_library_and_by_the_section_reader(row in row(&every_type())) {
        let contract = every_type();
        let mut encoder = Encoder::new(&contract, &contract.source_columns()).unwrap();
        let mut out = encoder.rows();
        let added = encode(&mut encoder, &row, &mut out).unwrap();
        prop_assert_eq!(added, out.iter().map(|rows| rows.bytes().len()).sum::<usize>());
        for (section, rows) in contract.sections().iter().zip(&out) {
            agrees(&contract, section, &row, rows);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(content in proptest::collection::vec(any::<u8>(), 0..300), rows in 0usize..40) {
        let contract = every_type();
        for section in contract.sections() {
            let reader = SectionReader::new(&contract, section.name()).unwrap();
            if let Ok(split) = reader.split(content.clone(), rows) {
                prop_assert_eq!(split.rows(), rows);
                for row in split.iter() {
                    prop_assert!(reader.read(&row).is_ok());
                }
            }
            let whole = Rows::from_parts(0, content.clone(), vec![0, content.len()]).unwrap();
            let _ = reader.read(&whole.row(0).unwrap());
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_read_as_another_row(row in row(&every_type()), place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let contract = every_type();
        let mut encoder = Encoder::new(&contract, &contract.source_columns()).unwrap();
        let mut out = encoder.rows();
        encode(&mut encoder, &row, &mut out).unwrap();
        for (section, rows) in contract.sections().iter().zip(&out) {
            let reader = SectionReader::new(&contract, section.name()).unwrap();
            let mut content = rows.bytes().to_vec();
            let at = place.index(content.len());
            content[at] ^= 1 << bit;
            if let Ok(split) = reader.split(content.clone(), 1) {
                // What was accepted is what an encoder writes: reading it and writing it again gives the same bytes.
                let row = split.row(0).unwrap();
                let read = reader.read(&row).unwrap();
                prop_assert_eq!(rewritten(&contract, section, &read), content);
            }
        }
    }
}

/// Writes what was read again, in a contract of that one section's columns.
fn rewritten(contract: &Contract, section: &Section, read: &schemas::ReadRow<'_>) -> Vec<u8> {
    let mut encoder = Encoder::new(contract, &contract.source_columns()).unwrap();
    let mut out = encoder.rows();
    let full = |cells: &[Cell<'_>]| -> Vec<Cell<'static>> {
        let mut named: Vec<(&str, Cell<'_>)> = read.named_keys().map(|(n, v)| (n, Cell::Value(v))).collect();
        named.extend(section.columns().iter().map(|c| c.name.as_str()).zip(cells.iter().copied()));
        contract
            .source_columns()
            .iter()
            .map(|name| named.iter().find(|(n, _)| n == name).map_or(Cell::Absent, |(_, cell)| leak(cell)))
            .collect()
    };
    let (before, after) = (read.before().map(full), read.after().map(full));
    let change = Change {
        table: 0,
        operation: read.operation(),
        index: read.head().index,
        before: before.as_deref(),
        after: after.as_deref(),
        with_next: false,
    };
    encoder.encode(&change, read.head(), &mut out).unwrap();
    let index = contract.sections().iter().position(|s| s.name() == section.name()).unwrap();
    out[index].bytes().to_vec()
}

/// A cell with a life of its own, for a test.
fn leak(cell: &Cell<'_>) -> Cell<'static> {
    match *cell {
        Cell::Value(Value::Text(v)) => Cell::Value(Value::Text(v.to_owned().leak())),
        Cell::Value(Value::Decimal(v)) => Cell::Value(Value::Decimal(v.to_owned().leak())),
        Cell::Value(Value::Bytes(v)) => Cell::Value(Value::Bytes(v.to_vec().leak())),
        Cell::Value(Value::Bool(v)) => Cell::Value(Value::Bool(v)),
        Cell::Value(Value::Integer(v)) => Cell::Value(Value::Integer(v)),
        Cell::Value(Value::Float(v)) => Cell::Value(Value::Float(v)),
        Cell::Value(Value::Date(v)) => Cell::Value(Value::Date(v)),
        Cell::Value(Value::Time(v)) => Cell::Value(Value::Time(v)),
        Cell::Value(Value::Timestamp(v)) => Cell::Value(Value::Timestamp(v)),
        Cell::Value(Value::Instant(v)) => Cell::Value(Value::Instant(v)),
        Cell::Value(Value::Uuid(v)) => Cell::Value(Value::Uuid(v)),
        Cell::Null => Cell::Null,
        Cell::Unchanged => Cell::Unchanged,
        Cell::Absent => Cell::Absent,
    }
}

/// A contract of one section with the key `id` (long) and the column `n` (int), and a second one with `t`.
fn small() -> Contract {
    let column = |name: &str, section: &str| {
        format!(
            "[[column]]\nname = \"{name}\"\ntitle = \"x\"\nclass = \"general\"\nsection = \"{section}\"\n"
        )
    };
    let columns = column("n", "numbers") + &column("t", "texts");
    parse(&sample::contract(
        "key = [\"id\"]",
        &format!("[[column]]\nname = \"id\"\ntitle = \"x\"\nclass = \"general\"\n{columns}"),
        &[
            ("numbers", "\"long\"", &[("n", "\"int\"")]),
            ("texts", "\"long\"", &[("t", "[\"null\", \"string\"]")]),
        ],
    ))
}

fn change<'a>(
    operation: Operation,
    before: Option<&'a [Cell<'a>]>,
    after: Option<&'a [Cell<'a>]>,
) -> Change<'a> {
    Change { table: 0, operation, index: 0, before, after, with_next: false }
}

const ONE: Cell<'_> = Cell::Value(Value::Integer(1));
const TEXT: Cell<'_> = Cell::Value(Value::Text("字"));

#[test]
fn a_failure_in_a_later_section_leaves_every_section_as_it_was() {
    let contract = small();
    let mut encoder = Encoder::new(&contract, &["id", "n", "t"]).unwrap();
    let mut out = encoder.rows();
    let head = EventHead::default();
    encoder.encode(&change(Operation::Insert, None, Some(&[ONE, ONE, TEXT])), &head, &mut out).unwrap();
    let before: Vec<Vec<u8>> = out.iter().map(|rows| rows.bytes().to_vec()).collect();
    let error = encoder
        .encode(&change(Operation::Insert, None, Some(&[ONE, ONE, ONE])), &head, &mut out)
        .unwrap_err();
    assert_eq!(
        error,
        EncodeError::Type {
            table: "things".into(),
            column: "t".into(),
            seen: "an integer",
            kind: ColumnType::String,
            needed: "text"
        }
    );
    assert!(error.to_string().starts_with("ENC004 column \"t\" of table things holds an integer"), "{error}");
    assert_eq!(out.iter().map(|rows| rows.bytes().to_vec()).collect::<Vec<_>>(), before);
    assert!(out.iter().all(|rows| rows.rows() == 1 && rows.is_whole()));
}

#[test]
fn a_change_that_is_not_whole_is_refused_by_its_own_code() {
    let contract = small();
    let mut encoder = Encoder::new(&contract, &["id", "n", "t"]).unwrap();
    let mut out = encoder.rows();
    let two = Cell::Value(Value::Integer(2));
    let big = Cell::Value(Value::Integer(1 << 40));
    let row = [ONE, ONE, TEXT];
    let (keyless, wide, other_key) = ([Cell::Absent, ONE, TEXT], [ONE, big, TEXT], [two, ONE, TEXT]);
    let cases: [(&str, Change<'_>); 9] = [
        ("ENC003", change(Operation::Insert, Some(&row), Some(&row))),
        ("ENC003", change(Operation::Delete, None, None)),
        ("ENC003", change(Operation::Truncate, None, Some(&row))),
        ("ENC003", change(Operation::Insert, None, Some(&row[..2]))),
        ("ENC005", change(Operation::Insert, None, Some(&wide))),
        ("ENC006", change(Operation::Insert, None, Some(&[ONE, Cell::Null, TEXT]))),
        ("ENC007", change(Operation::Insert, None, Some(&keyless))),
        ("ENC007", change(Operation::Insert, None, Some(&[Cell::Null, ONE, TEXT]))),
        ("ENC008", change(Operation::Update, Some(&row), Some(&other_key))),
    ];
    for (code, change) in cases {
        let error = encoder.encode(&change, &EventHead::default(), &mut out).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().starts_with(code), "{error}");
        assert!(out.iter().all(|rows| rows.bytes().is_empty() && rows.is_whole()));
    }
    assert_eq!(
        encoder.encode(&change(Operation::Truncate, None, None), &EventHead::default(), &mut []),
        Err(EncodeError::Output)
    );
    assert!(
        matches!(Encoder::new(&contract, &["id", "n"]), Err(EncodeError::ColumnMissing { column, .. }) if column == "t")
    );
    for columns in [&["id", "n", "t", "u"][..], &["id", "n", "t", "n"]] {
        assert!(matches!(Encoder::new(&contract, columns), Err(EncodeError::ColumnUnknown { .. })));
    }
}

#[test]
fn a_key_comes_from_the_state_that_knows_it() {
    let contract = small();
    let mut encoder = Encoder::new(&contract, &["t", "id", "n"]).unwrap();
    let reader = SectionReader::new(&contract, &"numbers".parse().unwrap()).unwrap();
    let whole = [TEXT, ONE, ONE];
    let key_only = [Cell::Absent, ONE, Cell::Absent];
    let unchanged_key = [TEXT, Cell::Unchanged, ONE];
    for change in [
        change(Operation::Delete, Some(&key_only), None),
        change(Operation::Update, Some(&key_only), Some(&unchanged_key)),
        change(Operation::Update, None, Some(&whole)),
    ] {
        let mut out = encoder.rows();
        encoder.encode(&change, &EventHead::default(), &mut out).unwrap();
        let row = out[0].row(0).unwrap();
        assert_eq!(reader.read(&row).unwrap().keys(), [Value::Integer(1)]);
    }
}

#[test]
fn bytes_that_no_encoder_writes_are_refused() {
    let contract = small();
    let reader = SectionReader::new(&contract, &"numbers".parse().unwrap()).unwrap();
    // operation insert, five zeros, parts "after", key 1, value 1
    let good = [2, 0, 0, 0, 0, 0, 4, 2, 0, 2];
    assert!(reader.split(good.to_vec(), 1).is_ok());
    assert!(reader.split(Vec::new(), 0).is_ok());
    let wrong = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        reader.split(bytes, 1).unwrap_err().to_string()
    };
    assert!(wrong(0, 10).contains("no such operation"));
    assert!(wrong(0, 6).contains("the parts are not those of the operation"));
    assert!(wrong(6, 12).contains("no such parts"));
    assert!(wrong(8, 2).contains("null in a column that is never null"));
    assert!(wrong(8, 8).contains("no such state of a column"));
    assert!(reader.split(good.to_vec(), 2).is_err());
    assert!(reader.split(good.to_vec(), usize::MAX).is_err());
    assert!(reader.split(good.repeat(65_536), 65_536).is_ok());
    assert!(
        reader.split(good.repeat(65_537), 65_537).unwrap_err().to_string().contains("more rows than a batch")
    );
    assert!(
        reader.split([&good[..], &[0]].concat(), 1).unwrap_err().to_string().contains("1 bytes are left")
    );
    assert!(reader.split(good[..9].to_vec(), 1).is_err());
}
