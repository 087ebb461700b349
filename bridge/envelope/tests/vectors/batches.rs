//! Good batches, and batches whose shape or signatures are wrong.

use super::Vector;
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use serde_json::{Value, json};

fn good_batch(
    name: &str,
    about: &str,
    header: Header,
    operations: &[Operation],
    signers: &[&SigningKey],
) -> Vector {
    let commit = header.last.mark.commit;
    let sealed = seal_with(header, &rows_of(commit, operations), signers);
    let batch = verified(sealed.frame());
    let sections: Vec<Value> = (0..batch.blocks().len()).map(|i| section_note(&batch, i)).collect();
    Vector::new("sealed-batch", name, "open", &[], about, sealed.frame().to_vec())
        .with("digest", sealed.digest().to_string())
        .with("header_bytes", hex::encode(batch.header_bytes()))
        .with("sections", sections)
}

/// Everything that a reader of the section computes on its way.
fn section_note(batch: &Verified, index: usize) -> Value {
    let opened = open_section(batch, index, &secret(index), &reader(index)).unwrap();
    let header = Header { sections: Vec::new(), ..batch.header().clone() };
    let trace = forge::section(&header, index, opened.rows(), &forge::Bend::default()).trace;
    let block = batch.block(index).unwrap();
    let hex_of = |salt: Option<[u8; 32]>| hex::encode(salt.unwrap());
    let rows: Vec<Value> = opened
        .rows()
        .iter()
        .enumerate()
        .map(|(i, row)| {
            json!({
                "bytes": hex::encode(row.whole()),
                "head_bytes": row.head.len(),
                "group_bytes": row.groups.clone().map(<[u8]>::len).collect::<Vec<_>>(),
                "salt": hex_of(opened.salt(i, 0)),
                "group_salts": (1..=row.groups.len()).map(|j| hex_of(opened.salt(i, j))).collect::<Vec<_>>(),
                "leaf": trace.leaves[i].to_string(),
                "content": row_note(index, &row),
            })
        })
        .collect();
    json!({
        "name": block.name.as_str(),
        "block_bytes": hex::encode(batch.block_bytes(index).unwrap()),
        "ctx0": hex::encode(&trace.context0),
        "ctx": hex::encode(&trace.context),
        "hash_of_ctx0": sha256(&[&trace.context0]).to_string(),
        "hash_of_ctx": sha256(&[&trace.context]).to_string(),
        "s": hex::encode(trace.salt_secret),
        "b": hex::encode(trace.base),
        "aead_key": hex::encode(trace.key),
        "commitment": hex::encode(trace.commitment),
        "plaintext_bytes": trace.plaintext.len(),
        "plaintext_sha256": sha256(&[&trace.plaintext]).to_string(),
        "expanded_bytes": opened.rows().bytes().len(),
        "row_root": block.row_root.to_string(),
        "rows": rows,
    })
}

fn row_note(index: usize, row: &RowParts<'_>) -> Value {
    let reader = reader(index);
    let read = reader.read(row).unwrap();
    let value = |value: EventValue<'_>| match value {
        bridge_event::Value::Text(text) | bridge_event::Value::Decimal(text) => json!(text),
        bridge_event::Value::Timestamp(micros) => json!(micros),
        other => panic!("{other:?}"),
    };
    let cell = |(name, cell): (&str, Cell<'_>)| match cell {
        Cell::Value(v) => json!([name, "value", value(v)]),
        Cell::Null => json!([name, "null"]),
        Cell::Unchanged => json!([name, "unchanged"]),
        Cell::Absent => json!([name, "absent"]),
    };
    let head = read.head();
    json!({
        "operation": format!("{:?}", read.operation()).to_lowercase(),
        "commit": head.commit,
        "ordinal": head.ordinal,
        "commit_time": head.commit_time.0,
        "transaction": head.transaction,
        "index": head.index,
        "keys": read.named_keys().map(|(name, v)| json!([name, value(v)])).collect::<Vec<_>>(),
        "before": read.named_before().map(|cells| cells.map(cell).collect::<Vec<_>>()),
        "after": read.named_after().map(|cells| cells.map(cell).collect::<Vec<_>>()),
    })
}

type EventValue<'a> = bridge_event::Value<'a>;

pub(crate) fn gap() -> Gap {
    Gap {
        reason: "the source's changelog was cut before it was read".into(),
        from: at(40, 2),
        to: Some(at(41, 9)),
        lost: vec![BatchRef { sequence: Sequence(1), digest: sha256(&[b"a lost batch"]) }],
        lost_previous: sha256(&[b"the batch before"]),
        before: sha256(&[b"incarnation 1"]),
        after: sha256(&[b"incarnation 2"]),
        voids: vec![40],
    }
}

pub(crate) fn gap_header() -> Header {
    Header { kind: Kind::Gap, notice: Some(Notice::Gap(gap())), ..empty_header() }
}

fn retract_header() -> Header {
    let vanished = Vanished {
        batch: BatchRef { sequence: Sequence(0), digest: sha256(&[b"the batch before"]) },
        first_leaf: 1,
        last_leaf: 2,
    };
    let retract = Retract {
        reason: "the primary failed over and lost its last transactions".into(),
        vanished: vec![vanished],
        before: sha256(&[b"incarnation 1"]),
        after: sha256(&[b"incarnation 2"]),
        voids: Vec::new(),
    };
    Header { kind: Kind::Retract, notice: Some(Notice::Retract(retract)), ..empty_header() }
}

pub(crate) fn snapshot_header() -> Header {
    let snapshot = SnapshotPart { generation: Generation(1), as_of: at(41, u64::MAX), chunk: 0, last: true };
    Header {
        kind: Kind::Snapshot,
        snapshot: Some(snapshot),
        transactions_begun: 0,
        transactions_ended: 0,
        ..header(2)
    }
}

pub(crate) fn good() -> Vec<Vector> {
    use Operation::{Delete, Insert, Read, Truncate, Update};
    let (tax, operator) = (signing(), operator());
    let first =
        Header { sequence: Sequence(0), previous: Header::genesis(&stream(), &origin()), ..header(1) };
    let open = Header {
        continues: true,
        leaves_open: true,
        closed_by: ClosedBy::Limit,
        resolved: At::end_of(41),
        transactions_begun: 0,
        transactions_ended: 0,
        ..header(2)
    };
    let truncate = Header { row_events: 0, truncates: 1, ..header(1) };
    let extended = Header {
        extensions: vec![
            Extension { id: 7, critical: false, content: b"an addition".to_vec() },
            Extension { id: 9, critical: false, content: Vec::new() },
        ],
        ..empty_header()
    };
    vec![
        good_batch(
            "good",
            "two sections, one with groups, one compressed",
            header(3),
            &[Insert, Update, Delete],
            &[&tax],
        ),
        good_batch("good-first-of-stream", "sequence 0 follows the genesis", first, &[Insert], &[&tax]),
        good_batch(
            "good-inside-a-transaction",
            "continues a transaction and leaves it open",
            open,
            &[Insert, Insert],
            &[&tax],
        ),
        good_batch("good-snapshot", "rows found by a snapshot", snapshot_header(), &[Read, Read], &[&tax]),
        good_batch("good-truncate", "one truncate: a head, no key, no state", truncate, &[Truncate], &[&tax]),
        good_batch("good-without-rows", "no sections and no ciphertext", empty_header(), &[], &[&tax]),
        good_batch(
            "good-extensions",
            "extensions that are not critical are passed over",
            extended,
            &[],
            &[&tax],
        ),
        good_batch("good-gap", "a GAP with the operator's signature", gap_header(), &[], &[&tax, &operator]),
        good_batch(
            "good-retract",
            "a RETRACT with the operator's signature",
            retract_header(),
            &[],
            &[&tax, &operator],
        ),
        good_batch(
            "good-many-rows",
            "seven rows: the tree's last level is not full",
            header(7),
            &[Insert; 7],
            &[&tax],
        ),
    ]
}

fn shape(name: &str, expect: &[&str], about: &str, bytes: Vec<u8>) -> Vector {
    Vector::new("sealed-batch", name, "verify", expect, about, bytes)
}

pub(crate) fn shapes() -> Vec<Vector> {
    let good = sealed().into_frame();
    let bent = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame
    };
    let header_at = 8;
    let body = verified(&good).header_bytes().to_vec();
    let signatures_at = header_at + body.len();
    let block_at = signatures_at + 1 + 100;
    let block_bytes = verified(&good).block_bytes(0).unwrap().len();
    let mut vectors = vec![
        shape(
            "flipped-bit-in-header",
            &["VER013"],
            "a bit of the nonce",
            bent(&|f| {
                let nonce_at = f.windows(32).position(|w| w == [0x5a; 32]).unwrap();
                f[nonce_at + 5] ^= 1;
            }),
        ),
        shape(
            "flipped-bit-in-signature",
            &["VER013"],
            "a bit of the signature",
            bent(&|f| f[signatures_at + 60] ^= 1),
        ),
        shape(
            "flipped-bit-in-key-id",
            &["VER011"],
            "a bit of the key id",
            bent(&|f| f[signatures_at + 3] ^= 1),
        ),
        shape(
            "flipped-bit-in-block",
            &["VER040"],
            "a bit of the first block's schema digest",
            bent(&|f| f[block_at + 4 + 20] ^= 1),
        ),
        shape(
            "flipped-bit-in-ciphertext",
            &["VER041"],
            "a bit of the last ciphertext",
            bent(&|f| {
                let last = f.len() - 1;
                f[last] ^= 1;
            }),
        ),
        shape("wrong-magic", &["VER001"], "a fence's magic", bent(&|f| f[2] = b'F')),
        shape(
            "truncated",
            &["VER002"],
            "the last byte is missing",
            bent(&|f| {
                f.pop();
            }),
        ),
        shape("truncated-in-header", &["VER002"], "cut inside the header", bent(&|f| f.truncate(40))),
        shape("empty", &["VER001"], "no bytes at all", Vec::new()),
        shape("trailing-byte", &["VER004"], "one byte more", bent(&|f| f.push(0))),
        shape(
            "oversized-header-length",
            &["VER003"],
            "a header of 65,537 bytes is announced",
            bent(&|f| {
                f[4..8].copy_from_slice(&65_537_u32.to_be_bytes());
            }),
        ),
        shape(
            "oversized-block-length",
            &["VER003"],
            "a block of 4 GiB is announced",
            bent(&|f| {
                f[block_at..block_at + 4].copy_from_slice(&[0xff; 4]);
            }),
        ),
        shape(
            "block-length-one-short",
            &["VER002"],
            "the first block's last byte is cut off its length",
            bent(&|f| {
                let short = u32::try_from(block_bytes - 1).unwrap().to_be_bytes();
                f[block_at..block_at + 4].copy_from_slice(&short);
            }),
        ),
        shape(
            "no-signature",
            &["VER007"],
            "a signature block of none",
            bent(&|f| {
                f[signatures_at] = 0;
                f.drain(block_at - 100..block_at);
            }),
        ),
        shape("five-signatures", &["VER007"], "a signature block of five", bent(&|f| f[signatures_at] = 5)),
        shape(
            "signature-one-byte-short",
            &["VER007"],
            "an Ed25519 signature of 63 bytes",
            bent(&|f| {
                f[signatures_at + 36] = 63;
            }),
        ),
        shape(
            "unknown-signature-algorithm",
            &["VER008"],
            "algorithm 77",
            bent(&|f| f[signatures_at + 2] = 77),
        ),
        shape(
            "unavailable-signature-algorithm",
            &["VER008"],
            "algorithm 2 (SM2)",
            bent(&|f| f[signatures_at + 2] = 2),
        ),
    ];
    vectors.extend(signatures(&body));
    vectors
}

/// The signature is right, and not the right one.
fn signatures(body: &[u8]) -> Vec<Vector> {
    let header = header(3);
    let sections = forge::sections(&header, &rows());
    let blocks: Vec<Vec<u8>> = sections.iter().map(|section| section.block.encode()).collect();
    let trailer = {
        let mut bytes: Vec<u8> = blocks.iter().flat_map(|block| forge::lp(&[block])).collect();
        bytes.extend(sections.iter().flat_map(|section| section.ciphertext.clone()));
        bytes
    };
    let signed = |label: &[u8], signers: &[&SigningKey]| {
        [forge::signed(b"GBB1", label, body, signers), trailer.clone()].concat()
    };
    let label = forge::BATCH.1;
    let stranger = SigningKey::from_seed(Role::Signing, [0x77; 32]);
    let same_bytes = SigningKey::from_seed(Role::Log, [0x01; 32]);
    vec![
        shape(
            "wrong-label",
            &["VER013"],
            "signed under a fence's label",
            signed(b"govbridge/v1/fence\0", &[&signing()]),
        ),
        shape(
            "label-without-nul",
            &["VER013"],
            "signed under the label without its last byte",
            signed(b"govbridge/v1/batch", &[&signing()]),
        ),
        shape(
            "another-departments-key",
            &["VER011"],
            "signed by social-security's key",
            signed(label, &[&foreign()]),
        ),
        shape("unknown-key", &["VER011"], "signed by nobody's key", signed(label, &[&stranger])),
        shape(
            "key-of-another-role",
            &["VER011"],
            "the signing key's bytes in a log key's role",
            signed(label, &[&same_bytes]),
        ),
        shape(
            "operators-key-alone",
            &["VER012"],
            "an operator signs no stream batch",
            signed(label, &[&operator()]),
        ),
        shape(
            "operators-key-too",
            &["VER012"],
            "nor beside the department",
            signed(label, &[&signing(), &operator()]),
        ),
        shape(
            "one-key-twice",
            &["VER007"],
            "the same key signs twice",
            signed(label, &[&signing(), &signing()]),
        ),
        shape(
            "a-second-signature-is-wrong",
            &["VER011"],
            "beside a good signature one by nobody's key",
            signed(label, &[&signing(), &stranger]),
        ),
        small_order(body, &trailer),
    ]
}

/// A public key of small order, for which this signature verifies where nobody checks: A = R = the neutral point, S = 0.
fn small_order(body: &[u8], trailer: &[u8]) -> Vector {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert!(PublicKey::from_bytes(Role::Signing, Algorithm::Ed25519, &neutral).is_err());
    let id = KeyId::new(Role::Signing, 1, &neutral);
    let mut frame = forge::signed(b"GBB1", forge::BATCH.1, body, &[]);
    let count = frame.len() - 1;
    frame[count] = 1;
    frame.extend(
        [&1_u16.to_be_bytes()[..], id.as_bytes(), &64_u16.to_be_bytes(), &neutral, &[0; 32]].concat(),
    );
    frame.extend_from_slice(trailer);
    let about = "a key of small order, for which anybody signs; the reader is offered it as tax's signing key and must refuse the key";
    shape("small-order-key", &["VER011"], about, frame).with(
        "offered_signers",
        json!([{
            "department": "tax", "role": "signing", "algorithm": 1,
            "public": hex::encode(neutral), "key_id": id.to_string(),
        }]),
    )
}
