//! Any Avro reader reads the same bytes, under the schemas of docs/spec.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

mod scene;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use scene::*;

/// Reads `bytes` under a schema of docs/spec with the Avro library, and checks that nothing is left and that the library
/// writes the same bytes again.
fn read(schema: &str, bytes: &[u8]) -> Vec<(String, Value)> {
    let path = format!("{}/../../docs/spec/{schema}.avsc", env!("CARGO_MANIFEST_DIR"));
    let schema = Schema::parse_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut rest = bytes;
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    let Value::Record(fields) = value else { panic!("no record") };
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let again = writer.write_value_to_vec(Value::Record(fields.clone())).unwrap();
    // The library closes arrays as this crate does: one block, then zero.
    assert_eq!(again, bytes);
    fields
}

fn field<'a>(fields: &'a [(String, Value)], name: &str) -> &'a Value {
    &fields.iter().find(|(field, _)| field == name).unwrap().1
}

fn body_of(frame: &[u8]) -> &[u8] {
    let length = u32::from_be_bytes(frame[4..8].try_into().unwrap());
    &frame[8..8 + usize::try_from(length).unwrap()]
}

fn fixed(digest: Digest) -> Value {
    Value::Fixed(32, digest.0.to_vec())
}

#[test]
fn a_headers_bytes_are_avro() {
    let sealed = sealed();
    let fields = read("header", body_of(sealed.frame()));
    assert_eq!(field(&fields, "suite"), &Value::Int(1));
    assert_eq!(field(&fields, "department"), &Value::String("tax".into()));
    assert_eq!(field(&fields, "sequence"), &Value::Long(1));
    assert_eq!(field(&fields, "previous"), &fixed(sealed.header().previous));
    assert_eq!(field(&fields, "kind"), &Value::Enum(0, "stream".into()));
    let resolved = vec![("commit".into(), Value::Long(42)), ("ordinal".into(), Value::Long(-1))];
    assert_eq!(field(&fields, "resolved"), &Value::Record(resolved));
    let Value::Array(sections) = field(&fields, "sections") else { panic!() };
    assert_eq!(sections.len(), 2);
    assert_eq!(fields.len(), 29);
}

#[test]
fn every_optional_part_of_a_header_is_avro() {
    let lost = vec![BatchRef { sequence: Sequence(4), digest: Digest([4; 32]) }];
    let (before, after) = (Digest([1; 32]), Digest([2; 32]));
    let gap = Gap {
        reason: "取消".into(),
        from: at(1, 2),
        to: Some(at(3, 4)),
        lost: lost.clone(),
        lost_previous: Digest([5; 32]),
        before,
        after,
        voids: vec![5, u64::MAX],
    };
    let vanished = vec![Vanished { batch: lost[0], first_leaf: 0, last_leaf: 9 }];
    let retract = Retract { reason: String::new(), vanished, before, after, voids: Vec::new() };
    let full = Header {
        snapshot: Some(SnapshotPart { generation: Generation(1), as_of: at(9, 9), chunk: 2, last: true }),
        fragment: Some(FragmentPart { index: 1, of: 3, total_bytes: 1 << 24 }),
        notice: Some(Notice::Gap(gap)),
        extensions: vec![Extension { id: u32::MAX, critical: true, content: vec![0, 1] }],
        ..header(3)
    };
    read("header", &full.encode());
    assert_eq!(Header::decode(&full.encode()).unwrap(), full);
    let retracted = Header { notice: Some(Notice::Retract(retract)), ..full };
    read("header", &retracted.encode());
    assert_eq!(Header::decode(&retracted.encode()).unwrap(), retracted);
}

#[test]
fn a_section_blocks_bytes_are_avro() {
    let sealed = sealed();
    let batch = verified(sealed.frame());
    for (i, block) in batch.blocks().enumerate() {
        let fields = read("section-block", batch.block_bytes(i).unwrap());
        assert_eq!(field(&fields, "row_root"), &fixed(block.row_root));
        let Value::Array(named) = field(&fields, "groups") else { panic!() };
        assert_eq!(named.len(), groups(i).len());
    }
}

#[test]
fn a_rows_head_is_avro() {
    let batch = verified(sealed().frame());
    let opened = open_section(&batch, 1, &secret(1), &reader(1)).unwrap();
    let row = opened.rows().row(1).unwrap();
    // The key is one string of 9 characters.
    let fields = read("event-head", &row.head[..row.head.len() - 10]);
    assert_eq!(field(&fields, "operation"), &Value::Enum(2, "update".into()));
    assert_eq!(field(&fields, "parts"), &Value::Int(3));
    assert_eq!(field(&fields, "ordinal"), &Value::Long(2));
}

#[test]
fn whole_rows_are_avro_under_their_derived_schemas() {
    let batch = verified(sealed().frame());
    let contract = contract();
    for i in 0..2 {
        let opened = open_section(&batch, i, &secret(i), &reader(i)).unwrap();
        let states = [schemas::States::After, schemas::States::Both, schemas::States::Before];
        for (row, states) in opened.rows().iter().zip(states) {
            let json = contract.section(&section_name(i)).unwrap().derived_schema_json(states);
            let schema = Schema::parse_str(&json).unwrap();
            let mut rest = row.whole();
            GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
            assert!(rest.is_empty());
        }
    }
}

#[test]
fn the_other_frames_are_avro() {
    let key = &signing();
    let fence = sign_fence(fence(), &[key]).unwrap();
    let fields = read("fence", body_of(fence.frame()));
    assert_eq!(field(&fields, "log_index"), &Value::Long(17));
    let mut with_open = beacon();
    with_open.place.open = Some(42);
    for beacon in [beacon(), with_open] {
        let fields = read("beacon", body_of(sign_beacon(beacon, &[key]).unwrap().frame()));
        assert_eq!(field(&fields, "epoch"), &Value::Long(3));
    }
    let record = key_record(1);
    let fields = read("key-record", body_of(record.frame()));
    assert_eq!(field(&fields, "commitment"), &fixed(record.content().commitment));
    let attested =
        KeyRecord::verify(record.frame(), &Named::new(), &department("tax")).into_verified().unwrap();
    let audit = recipient("audit").public();
    let to = WrapTo { recipient: &department("audit"), key: &audit, seed: [9; 32] };
    let rewrap =
        Rewrap::new(&attested, &secret(1), &[to], Digest([3; 32]), UnixMicros(7), "joined later".into())
            .unwrap();
    let fields = read("rewrap", body_of(rewrap.sign(&[key]).unwrap().frame()));
    assert_eq!(field(&fields, "reason"), &Value::String("joined later".into()));
    let fields = read("contract-record", body_of(contract_record().sign(&[key]).unwrap().frame()));
    assert_eq!(field(&fields, "contract"), &Value::Bytes(CONTRACT.to_vec()));
    let fields = read("incarnation-record", body_of(incarnation_record().sign(&[key]).unwrap().frame()));
    assert_eq!(field(&fields, "slot"), &Value::String("govbridge_changelog".into()));
}

#[test]
fn log_entries_are_avro_after_their_type() {
    let entries = [
        (
            "entry-epoch",
            Entry::Epoch(EpochEntry {
                epoch: Epoch(u64::MAX),
                incarnation: IncarnationNumber(1),
                started: UnixMicros(-1),
            }),
        ),
        ("entry-batch", Entry::Batch(batch_entry())),
        ("entry-record", Entry::KeyRecord(key_record(0).into_frame())),
        (
            "entry-mark",
            Entry::Mark(MarkEntry {
                time: UnixMicros(0),
                streams: vec![StreamMark {
                    dataset: stream().dataset,
                    partition: Partition(2),
                    head: Some(BatchRef { sequence: Sequence(0), digest: Digest([3; 32]) }),
                    resolved: At::START,
                }],
            }),
        ),
        ("entry-trust", Entry::Trust(TrustEntry { version: 1, digest: Digest([8; 32]) })),
    ];
    for (schema, entry) in entries {
        let bytes = entry.encode().unwrap();
        read(schema, &bytes[1..]);
        assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    }
}
