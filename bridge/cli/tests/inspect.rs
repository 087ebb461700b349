//! `govbridge inspect` on what connectors write: frames, blocks, entries and bundles, whole and damaged.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

use bridge_envelope::{
    Beacon, ClosedBy, Compression, ContractRecord, Entry, EpochEntry, Fence, Header, IncarnationRecord,
    KeyRecord, KeyTerms, KeyVersion, MarkEntry, Place, RowPosition, SchemaFile, Sealed, Sealer, SectionDraft,
    TrustEntry, WrapTo, sign_beacon, sign_fence,
};
use bridge_event::{
    At, Epoch, Incarnation, IncarnationNumber, Kind, LogIndex, Offset, Partition, Rows, Sequence, StreamId,
    Token, UnixMicros,
};
use bridge_suite::{Digest, RecipientKey, Role, Secret, SigningKey, Suite, sha256};
use bridge_tlog::append_entry;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const SECRET: [u8; 32] = [0x5e; 32];

fn inspect(bytes: &[u8], arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_govbridge"))
        .args(["inspect", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

fn json(bytes: &[u8]) -> Value {
    let done = inspect(bytes, &["--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.stderr.is_empty());
    let words = inspect(bytes, &[]);
    assert!(words.status.success());
    let value: Value = serde_json::from_slice(&done.stdout).unwrap();
    let first = format!("is: {}\n", value["is"].as_str().unwrap());
    assert!(words.stdout.starts_with(first.as_bytes()), "both forms begin with what it is");
    value
}

fn signer() -> SigningKey {
    SigningKey::from_seed(Role::Signing, [1; 32])
}

fn stream() -> StreamId {
    StreamId {
        department: "tax".parse().unwrap(),
        dataset: "payments".parse().unwrap(),
        partition: Partition(0),
    }
}

fn record() -> KeyRecord {
    let terms = KeyTerms {
        suite: Suite::International,
        department: "tax".parse().unwrap(),
        dataset: "payments".parse().unwrap(),
        section: "amount".parse().unwrap(),
        contract: sha256(&[b"contract"]),
        valid_from: UnixMicros(0),
        not_after: UnixMicros(86_400_000_000),
    };
    let key = RecipientKey::from_seed([9; 32]).public();
    let (tax, audit) = ("tax".parse().unwrap(), "audit".parse().unwrap());
    let other = RecipientKey::from_seed([8; 32]).public();
    let to = [
        WrapTo { recipient: &tax, key: &key, seed: [3; 32] },
        WrapTo { recipient: &audit, key: &other, seed: [4; 32] },
    ];
    KeyRecord::new(terms, &Secret::new(SECRET), &to).unwrap()
}

fn batch() -> Sealed {
    let mut rows = Rows::new(0);
    rows.buffer().extend_from_slice(b"head of a row");
    rows.end_part();
    rows.buffer().extend_from_slice(b"salary of li");
    rows.end_part();
    let key =
        KeyVersion { suite: Suite::International, secret: Secret::new(SECRET), record: sha256(&[b"record"]) };
    let name = "amount".parse().unwrap();
    let draft = SectionDraft {
        name: &name,
        schema: sha256(&[b"schema"]),
        groups: &[],
        compression: Compression::None,
        rows: &rows,
        key: &key,
    };
    let origin = "gov.example/tax/main".parse().unwrap();
    let at = RowPosition::default();
    let header = Header {
        suite: Suite::International,
        previous: Header::genesis(&stream(), &origin),
        stream: stream(),
        origin,
        epoch: Epoch(1),
        sequence: Sequence(0),
        kind: Kind::Stream,
        contract: sha256(&[b"contract"]),
        nonce: [7; 32],
        incarnation: IncarnationNumber(1),
        first: RowPosition {
            mark: bridge_envelope::Mark { commit: 5, ordinal: 1, fragment: 0 },
            ..at.clone()
        },
        last: RowPosition { mark: bridge_envelope::Mark { commit: 5, ordinal: 1, fragment: 0 }, ..at },
        continues: false,
        leaves_open: false,
        closed_by: ClosedBy::Commit,
        resolved: At::end_of(5),
        transactions_begun: 1,
        transactions_ended: 1,
        first_commit_time: UnixMicros(1_709_164_800_000_000),
        last_commit_time: UnixMicros(1_709_164_800_000_000),
        row_events: 1,
        truncates: 0,
        snapshot: None,
        fragment: None,
        notice: None,
        sections: Vec::new(),
        extensions: Vec::new(),
    };
    Sealer::new().unwrap().seal(header, &[draft], &[&signer()]).unwrap()
}

#[test]
fn a_batch_shows_its_clear_part_and_no_row() {
    let sealed = batch();
    let value = json(sealed.frame());
    assert_eq!(value["is"], "batch");
    assert_eq!(value["digest"], sealed.digest().to_string());
    assert_eq!(value["header"]["sequence"], 0);
    assert_eq!(value["header"]["origin"], "gov.example/tax/main");
    assert_eq!(value["header"]["resolved"]["ordinal"], u64::MAX);
    assert_eq!(value["header"]["first_commit_time"], "2024-02-29T00:00:00.000000Z");
    assert_eq!(value["section_blocks"][0]["name"], "amount");
    assert_eq!(value["section_blocks"][0]["rows"], 1);
    assert_eq!(value["signatures"][0]["key_id"], signer().id().to_string());
    assert_eq!(value["signatures"][0]["verified"], false);
    let words = inspect(sealed.frame(), &[]).stdout;
    assert!(!String::from_utf8(words).unwrap().contains("salary"));
}

#[test]
fn a_damaged_frame_is_named_and_refused() {
    let frame = batch().into_frame();
    let mut longer = frame.clone();
    longer.push(0);
    for bad in [&frame[..frame.len() - 1], &frame[..20], &longer, b"GBF1", b"GBB1\xff\xff\xff\xff"] {
        let done = inspect(bad, &[]);
        assert_eq!(done.status.code(), Some(1));
        assert!(done.stdout.is_empty());
        let words = String::from_utf8(done.stderr).unwrap();
        assert!(words.contains("it begins as a "), "{words}");
        assert!(words.contains("see: docs/errors/VER00"), "{words}");
    }
}

#[test]
fn every_frame_is_shown() {
    let origin: bridge_event::Origin = "gov.example/tax/main".parse().unwrap();
    let (epoch, incarnation) = (Epoch(3), IncarnationNumber(1));
    let fence =
        Fence { origin: origin.clone(), stream: stream(), epoch, log_index: LogIndex(17), incarnation };
    let value = json(sign_fence(fence, &[&signer()]).unwrap().frame());
    assert_eq!((value["is"].as_str(), value["log_index"].as_u64()), (Some("fence"), Some(17)));

    let place = Place {
        offset: Offset(4),
        epoch,
        head: None,
        incarnation,
        last: Default::default(),
        open: None,
        snapshot: None,
    };
    let beacon = Beacon {
        origin: origin.clone(),
        stream: stream(),
        epoch,
        incarnation,
        head: None,
        place,
        resolved: At::START,
        appended: None,
        clock: UnixMicros(1),
        next_due: UnixMicros(2),
    };
    let value = json(sign_beacon(beacon, &[&signer()]).unwrap().frame());
    assert_eq!((value["is"].as_str(), value["place"]["offset"].as_i64()), (Some("beacon"), Some(4)));
    assert!(value["appended"].is_null());

    let value = json(record().sign(&[&signer()]).unwrap().frame());
    assert_eq!(value["is"], "key record");
    assert_eq!(value["wrapped_for"][1]["recipient"], "audit");
    assert_eq!(value["not_after"], "1970-01-02T00:00:00.000000Z");

    let schema = SchemaFile { section: "amount".parse().unwrap(), content: b"{}".to_vec() };
    let contract =
        ContractRecord { contract: "title = \"缴款\"\n".as_bytes().to_vec(), schemas: vec![schema] };
    let value = json(contract.sign(&[&signer()]).unwrap().frame());
    assert_eq!(
        (value["is"].as_str(), value["contract_toml"].as_str()),
        (Some("contract record"), Some("title = \"缴款\"\n"))
    );

    let identity = Incarnation {
        engine: "sqlite".to_owned(),
        system: "a".to_owned(),
        timeline: 0,
        database: "d".to_owned(),
        slot: String::new(),
        consistent_point: Token::new(&b"\x01\x02"[..]).unwrap(),
    };
    let record = IncarnationRecord { origin, number: incarnation, identity, previous: Digest::ZERO };
    let value = json(record.sign(&[&signer()]).unwrap().frame());
    assert_eq!(
        (value["is"].as_str(), value["consistent_point"].as_str()),
        (Some("incarnation record"), Some("0102"))
    );
}

#[test]
fn entries_and_bundles_of_them_are_shown() {
    let sealed = batch();
    let entries = [
        Entry::Epoch(EpochEntry {
            epoch: Epoch(1),
            incarnation: IncarnationNumber(1),
            started: UnixMicros(0),
        }),
        Entry::Batch(sealed.entry(None)),
        Entry::KeyRecord(record().sign(&[&signer()]).unwrap().into_frame()),
        Entry::Mark(MarkEntry { time: UnixMicros(0), streams: Vec::new() }),
        Entry::Trust(TrustEntry { version: 2, digest: Digest::ZERO }),
    ];
    let names = ["epoch entry", "batch entry", "key record entry", "mark entry", "trust entry"];
    let mut bundle = Vec::new();
    for (entry, name) in entries.iter().zip(names) {
        let bytes = entry.encode().unwrap();
        append_entry(&mut bundle, &bytes).unwrap();
        let value = json(&bytes);
        assert_eq!(value["is"], name);
        assert_eq!(value["leaf_hash"], bridge_tlog::leaf_hash(&bytes).to_string());
    }
    let value = json(&bundle);
    assert_eq!(value["is"], "entry bundle");
    let shown: Vec<&str> =
        value["entries"].as_array().unwrap().iter().map(|e| e["is"].as_str().unwrap()).collect();
    assert_eq!(shown, names);
    assert_eq!(value["entries"][1]["digest"], sealed.digest().to_string());
    assert_eq!(value["entries"][2]["record"]["is"], "key record");
}

#[test]
fn a_section_block_is_shown() {
    let frame = batch().into_frame();
    let bridge_envelope::Frame::Batch(parts) = bridge_envelope::Frame::parse(&frame).unwrap() else {
        panic!("no batch")
    };
    let block = parts.blocks().next().unwrap().encode();
    let value = json(&block);
    assert_eq!((value["is"].as_str(), value["name"].as_str()), (Some("section block"), Some("amount")));
    assert_eq!(value["digest"], parts.header().sections[0].to_string());
}
