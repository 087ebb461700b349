//! A small world for tests and vectors: three departments, their keys, one contract, a few rows. All of it is
//! invented, and all of it is the same in every run.

#![allow(dead_code, reason = "each test uses the part of the scene that it needs")]

pub(crate) mod forge;

use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use schemas::{Contract, ContractFiles, Encoder, EventHead, SectionReader};
use std::collections::HashMap;

pub(crate) const CONTRACT: &[u8] =
    include_bytes!("../../../../tests/vectors/govbridge/sealed-batch/contract/contract.toml");
pub(crate) const PAYER: &[u8] =
    include_bytes!("../../../../tests/vectors/govbridge/sealed-batch/contract/payer.avsc");
pub(crate) const AMOUNT: &[u8] =
    include_bytes!("../../../../tests/vectors/govbridge/sealed-batch/contract/amount.avsc");

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// One day in microseconds.
pub(crate) const DAY: i64 = 86_400_000_000;

pub(crate) fn department(name: &str) -> Department {
    name.parse().unwrap()
}

pub(crate) fn origin() -> Origin {
    "gov.example/tax/main".parse().unwrap()
}

pub(crate) fn stream() -> StreamId {
    StreamId { department: department("tax"), dataset: "payments".parse().unwrap(), partition: Partition(0) }
}

pub(crate) fn expected() -> Expected {
    Expected { stream: stream(), origin: origin(), suite: Suite::International }
}

pub(crate) fn signing() -> SigningKey {
    SigningKey::from_seed(Role::Signing, [0x01; 32])
}

pub(crate) fn operator() -> SigningKey {
    SigningKey::from_seed(Role::Operator, [0x02; 32])
}

/// Another department's signing key.
pub(crate) fn foreign() -> SigningKey {
    SigningKey::from_seed(Role::Signing, [0x03; 32])
}

pub(crate) fn recipient(name: &str) -> RecipientKey {
    let seed = match name {
        "tax" => 0x11,
        "social-security" => 0x12,
        "audit" => 0x13,
        _ => 0x14,
    };
    RecipientKey::from_seed([seed; 32])
}

/// Who may sign for whom.
#[derive(Clone)]
pub(crate) struct Named(pub(crate) HashMap<(Department, KeyId), PublicKey>);

impl Named {
    pub(crate) fn new() -> Named {
        let tax = [signing(), operator()].map(|key| ((department("tax"), key.id()), key.public()));
        let other = ((department("social-security"), foreign().id()), foreign().public());
        Named(tax.into_iter().chain([other]).collect())
    }
}

impl Signers for Named {
    fn signing_key(&self, department: &Department, id: &KeyId) -> Option<&PublicKey> {
        self.0.get(&(department.clone(), *id))
    }

    fn required(&self) -> &[Algorithm] {
        &[Algorithm::Ed25519]
    }
}

/// Whether the trust file names a recipient's key.
pub(crate) fn is_known(department: &Department, key: &KeyId) -> bool {
    ["tax", "social-security", "audit"]
        .iter()
        .any(|name| department.as_str() == *name && recipient(name).id() == *key)
}

pub(crate) fn contract() -> Contract {
    let mut files = ContractFiles::new();
    files.insert("contract.toml", CONTRACT);
    files.insert("payer.avsc", PAYER);
    files.insert("amount.avsc", AMOUNT);
    Contract::parse(&files).unwrap()
}

pub(crate) fn section_name(index: usize) -> SectionName {
    ["payer", "amount"][index].parse().unwrap()
}

pub(crate) fn groups(index: usize) -> Vec<GroupName> {
    [&["person", "contact"][..], &[]][index].iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn schema(index: usize) -> Digest {
    sha256(&[[PAYER, AMOUNT][index]])
}

pub(crate) fn compression(index: usize) -> Compression {
    [Compression::None, Compression::Zstd][index]
}

pub(crate) fn secret(index: usize) -> Secret {
    Secret::new([[0xa1; 32], [0xa2; 32]][index])
}

pub(crate) fn reader(index: usize) -> SectionReader {
    SectionReader::new(&contract(), &section_name(index)).unwrap()
}

pub(crate) fn terms(index: usize) -> KeyTerms {
    KeyTerms {
        suite: Suite::International,
        department: department("tax"),
        dataset: stream().dataset,
        section: section_name(index),
        contract: sha256(&[CONTRACT]),
        valid_from: UnixMicros(NEW_YEAR),
        not_after: UnixMicros(NEW_YEAR + DAY),
    }
}

/// The key record of a section, wrapped for `names`, with fixed seeds.
pub(crate) fn record_for(terms: KeyTerms, secret: &Secret, names: &[&str]) -> KeyRecord {
    let names: Vec<Department> = names.iter().map(|name| department(name)).collect();
    let keys: Vec<RecipientPublicKey> = names.iter().map(|name| recipient(name.as_str()).public()).collect();
    let to: Vec<WrapTo<'_>> = names
        .iter()
        .zip(&keys)
        .zip(0xb0_u8..)
        .map(|((recipient, key), i)| WrapTo { recipient, key, seed: [i ^ secret.expose()[0]; 32] })
        .collect();
    KeyRecord::new(terms, secret, &to).unwrap()
}

pub(crate) fn recipients(index: usize) -> &'static [&'static str] {
    [&["tax", "audit"][..], &["tax", "audit", "social-security"]][index]
}

pub(crate) fn key_record(index: usize) -> Signed<KeyRecord> {
    record_for(terms(index), &secret(index), recipients(index)).sign(&[&signing()]).unwrap()
}

pub(crate) fn key_version(index: usize) -> KeyVersion {
    KeyVersion { suite: Suite::International, secret: secret(index), record: key_record(index).digest() }
}

pub(crate) fn key_versions() -> [KeyVersion; 2] {
    [key_version(0), key_version(1)]
}

/// The columns as the source yields them.
pub(crate) const COLUMNS: [&str; 7] =
    ["payment_no", "full_name", "id_number", "mobile", "region", "amount", "paid_at"];

pub(crate) fn cells<'a>(number: &'a str, name: &'a str, amount: &'a str) -> [Cell<'a>; 7] {
    [
        Cell::Value(Value::Text(number)),
        Cell::Value(Value::Text(name)),
        Cell::Value(Value::Text("110101200001010011")),
        Cell::Null,
        Cell::Value(Value::Text("浦东新区")),
        Cell::Value(Value::Decimal(amount)),
        Cell::Value(Value::Timestamp(NEW_YEAR)),
    ]
}

/// Rows of both sections: one change for each of `operations`, all of the transaction at `commit`.
pub(crate) fn rows_of(commit: u64, operations: &[Operation]) -> [Rows; 2] {
    let mut encoder = Encoder::new(&contract(), &COLUMNS).unwrap();
    let mut rows = encoder.rows();
    for (operation, i) in operations.iter().zip(1_u64..) {
        let number = format!("P{commit:06}-{i}");
        let (old, new) = (cells(&number, "张三", "100.00"), cells(&number, "李四", "-0.50"));
        let (before, after) = match operation {
            Operation::Read | Operation::Insert => (None, Some(&new[..])),
            Operation::Update => (Some(&old[..]), Some(&new[..])),
            Operation::Delete => (Some(&old[..]), None),
            Operation::Truncate => (None, None),
        };
        let change =
            Change { table: 0, operation: *operation, index: i - 1, before, after, with_next: false };
        let head = EventHead {
            commit,
            ordinal: i,
            commit_time: UnixMicros(NEW_YEAR + 1),
            transaction: 7000 + commit,
            index: i - 1,
        };
        encoder.encode(&change, &head, &mut rows).unwrap();
    }
    rows.try_into().unwrap_or_else(|_| panic!("two sections"))
}

/// The rows of most tests: an insert, an update and a delete of commit 42.
pub(crate) fn rows() -> [Rows; 2] {
    rows_of(42, &[Operation::Insert, Operation::Update, Operation::Delete])
}

pub(crate) fn at(commit: u64, ordinal: u64) -> RowPosition {
    RowPosition {
        mark: Mark { commit, ordinal, fragment: 0 },
        token: Token::new(format!("changelog:{commit}").into_bytes()).unwrap(),
    }
}

/// The header of a batch of `rows` rows of one whole transaction at commit 42; the second batch of its stream.
pub(crate) fn header(rows: u64) -> Header {
    Header {
        suite: Suite::International,
        stream: stream(),
        origin: origin(),
        epoch: Epoch(3),
        sequence: Sequence(1),
        previous: sha256(&[b"the batch before"]),
        kind: Kind::Stream,
        contract: sha256(&[CONTRACT]),
        nonce: [0x5a; 32],
        incarnation: IncarnationNumber(1),
        first: at(42, 1.min(rows)),
        last: at(42, rows),
        continues: false,
        leaves_open: false,
        closed_by: ClosedBy::Commit,
        resolved: At::end_of(42),
        transactions_begun: 1,
        transactions_ended: 1,
        first_commit_time: UnixMicros(NEW_YEAR + 1),
        last_commit_time: UnixMicros(NEW_YEAR + 1),
        row_events: rows,
        truncates: 0,
        snapshot: None,
        fragment: None,
        notice: None,
        sections: Vec::new(),
        extensions: Vec::new(),
    }
}

/// The header of one fragment of the row at commit 42, ordinal 1.
pub(crate) fn fragment_header(part: FragmentPart) -> Header {
    let mut place = at(42, 1);
    place.mark = Mark::fragment(place.mark.at(), part.index, part.of);
    let (begins, ends) = (part.index == 0, part.index + 1 >= part.of);
    Header {
        sequence: Sequence(1 + u64::from(part.index)),
        nonce: sha256(&[b"nonce", &part.index.to_be_bytes()]).0,
        first: place.clone(),
        last: place,
        continues: !begins,
        leaves_open: !ends,
        closed_by: if ends { ClosedBy::Commit } else { ClosedBy::Limit },
        resolved: At::end_of(if ends { 42 } else { 41 }),
        transactions_begun: u64::from(begins),
        transactions_ended: u64::from(ends),
        fragment: Some(part),
        ..header(1)
    }
}

/// A header without rows.
pub(crate) fn empty_header() -> Header {
    Header { transactions_begun: 0, transactions_ended: 0, ..header(0) }
}

/// Runs `with` on drafts of both sections.
pub(crate) fn with_drafts<T>(rows: &[Rows; 2], with: impl FnOnce(&[SectionDraft<'_>]) -> T) -> T {
    let names = [section_name(0), section_name(1)];
    let groups = [groups(0), groups(1)];
    let keys = key_versions();
    let draft = |i: usize| SectionDraft {
        name: &names[i],
        schema: schema(i),
        groups: &groups[i],
        compression: compression(i),
        rows: &rows[i],
        key: &keys[i],
    };
    with(&[draft(0), draft(1)])
}

pub(crate) fn seal_with(header: Header, rows: &[Rows; 2], signers: &[&SigningKey]) -> Sealed {
    with_drafts(rows, |drafts| Sealer::new().unwrap().seal(header, drafts, signers).unwrap())
}

/// The batch of most tests.
pub(crate) fn sealed() -> Sealed {
    seal_with(header(3), &rows(), &[&signing()])
}

pub(crate) fn verified(frame: &[u8]) -> Verified {
    verify_batch(frame, &Named::new(), &expected()).into_verified().unwrap()
}

/// The codes of a verification, in order, without repetition.
pub(crate) fn codes(findings: &[Finding]) -> Vec<&'static str> {
    let mut codes: Vec<&str> = findings.iter().map(Finding::code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

pub(crate) fn fence() -> Fence {
    Fence {
        origin: origin(),
        stream: stream(),
        epoch: Epoch(3),
        log_index: LogIndex(17),
        incarnation: IncarnationNumber(1),
    }
}

pub(crate) fn batch_entry() -> BatchEntry {
    sealed().entry(Some(LogIndex(12)))
}

pub(crate) fn beacon() -> Beacon {
    let sealed = sealed();
    let head = BatchRef { sequence: sealed.header().sequence, digest: sealed.digest() };
    Beacon {
        origin: origin(),
        stream: stream(),
        epoch: Epoch(3),
        incarnation: IncarnationNumber(1),
        head: Some(Head { sequence: head.sequence, digest: head.digest, last: at(42, 3) }),
        place: Place {
            offset: Offset(9),
            epoch: Epoch(3),
            head: Some(head),
            incarnation: IncarnationNumber(1),
            last: at(42, 3).mark,
            open: None,
            snapshot: Some(SnapshotPlace { generation: Generation(1), chunk: 4, last: true }),
        },
        resolved: At::end_of(42),
        appended: Some(Appended {
            entry: Entry::Batch(batch_entry()).encode().unwrap(),
            index: LogIndex(18),
            path: vec![sha256(&[b"left"]), sha256(&[b"right"])],
            checkpoint: "gov.example/tax/main\n21\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n".into(),
        }),
        clock: UnixMicros(NEW_YEAR + 2_000_000),
        next_due: UnixMicros(NEW_YEAR + 3_000_000),
    }
}

pub(crate) fn contract_record() -> ContractRecord {
    let schema =
        |index: usize, content: &[u8]| SchemaFile { section: section_name(index), content: content.to_vec() };
    ContractRecord { contract: CONTRACT.to_vec(), schemas: vec![schema(0, PAYER), schema(1, AMOUNT)] }
}

pub(crate) fn incarnation_record() -> IncarnationRecord {
    IncarnationRecord {
        origin: origin(),
        number: IncarnationNumber(1),
        identity: Incarnation {
            engine: "sqlite".into(),
            system: "5d7f8a52".into(),
            timeline: 0,
            database: "main".into(),
            slot: "govbridge_changelog".into(),
            consistent_point: Token::new(*b"changelog:0").unwrap(),
        },
        previous: Digest::ZERO,
    }
}
