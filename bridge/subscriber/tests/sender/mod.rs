//! A small sending department: seals, fences, beacons and a log in memory, on the trial cluster.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

mod contract;
mod forgetting;
pub mod large;
mod log;
mod trust;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_envelope::{
    Appended, BatchRef, Beacon, ClosedBy, Compression, ContractRecord, Entry, Fence, Head, Header, KeyRecord,
    KeyTerms, KeyVersion, Mark, Place, Rewrap, RowPosition, SchemaFile, Sealed, SectionDraft, SnapshotPart,
    WrapTo, sign_beacon, sign_fence,
};
use bridge_event::{
    At, Cell, Change, Department, Epoch, Generation, IncarnationNumber, Kind, LogIndex, Offset, Operation,
    Partition, Rows, Sequence, StreamId, UnixMicros, Value,
};
use bridge_kafka::trial::Cluster;
use bridge_kafka::{Properties, Publisher};
use bridge_subscriber::{Disk, Settings, Subscriber, Unwatched};
use bridge_suite::{Digest, KeyLine, PrivateHalf, RecipientKey, Role, Secret, SigningKey, Suite, sha256};
use bridge_tlog::inclusion_proof;
use bridge_trust::Trust;
use contract::{ACCOUNT, AMOUNTS, contract_text};
use log::Hashes;
use schemas::{Contract, ContractFiles, Encoder, EventHead};
#[allow(unused_imports, reason = "each test file uses its part")]
pub use trust::{trust, trust_with};

pub const NOW: i64 = 1_900_000_000;
pub const ORIGIN: &str = "gov.example/tax/main";

pub fn micros(seconds: i64) -> UnixMicros {
    UnixMicros(seconds * 1_000_000)
}

fn seed(what: &str) -> [u8; 32] {
    sha256(&[b"subscriber tests/", what.as_bytes()]).0
}

pub fn key(role: Role, what: &str) -> SigningKey {
    SigningKey::from_seed(role, seed(what))
}

pub fn recipient(name: &str) -> RecipientKey {
    RecipientKey::from_seed(seed(&format!("recipient/{name}")))
}

pub fn line(role: Role, what: &str, name: &str) -> String {
    let half = PrivateHalf::from_seed(role, &Secret::new(seed(what)));
    KeyLine::new(name, half.public()).unwrap().to_string()
}

/// One row of a source transaction.
#[derive(Clone, Debug)]
pub struct Row {
    pub operation: Operation,
    pub id: i64,
    pub index: u64,
    pub ordinal: u64,
    pub amount: &'static str,
    pub note: Cell<'static>,
}

impl Row {
    pub fn insert(id: i64, ordinal: u64, index: u64) -> Row {
        Row { operation: Operation::Insert, id, index, ordinal, amount: "12.30", note: Cell::Null }
    }
}

/// Part of a source transaction in one batch.
#[derive(Clone, Debug)]
pub struct Part {
    pub commit: u64,
    pub rows: Vec<Row>,
}

pub fn part(commit: u64, ids: &[i64]) -> Part {
    let rows = (0u64..).zip(ids).map(|(i, id)| Row::insert(*id, i + 1, i)).collect();
    Part { commit, rows }
}

/// How a batch is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    pub continues: bool,
    pub leaves_open: bool,
    pub snapshot: bool,
}

/// One dataset's stream at the sender.
pub struct Stream {
    pub id: StreamId,
    pub contract: Contract,
    encoder: Encoder,
    pub keys: Vec<KeyVersion>,
    pub head: Option<(Sequence, Digest)>,
    pub last: Mark,
    open: Option<u64>,
    previous_index: Option<LogIndex>,
    pub newest_entry: Option<(LogIndex, Vec<u8>)>,
    pub offset: i64,
}

pub struct Sender {
    pub cluster: Cluster,
    pub properties: Properties,
    publisher: Publisher,
    pub trust: Arc<Trust>,
    pub signing: SigningKey,
    pub epoch: Epoch,
    pub witnesses: Vec<&'static str>,
    pub entries: Vec<Vec<u8>>,
    pub streams: Vec<Stream>,
    nonces: u64,
    pub incarnation: IncarnationNumber,
    /// Every frame that was sent.
    pub sent: Vec<Vec<u8>>,
}

impl Sender {
    /// Topics, contracts and keys of these datasets; every stream is fenced with epoch 1.
    pub fn new(datasets: &[&str]) -> Sender {
        let mut sender = Sender::unfenced(datasets, &["health", "audit"]);
        for stream in 0..datasets.len() {
            let fence = sender.fence(stream);
            sender.publish(stream, &fence);
        }
        sender
    }

    pub fn unfenced(datasets: &[&str], amounts_for: &[&str]) -> Sender {
        let cluster = Cluster::start(1).unwrap();
        let properties = Properties::of_brokers(cluster.bootstrap()).unwrap();
        let publisher = Publisher::new(&properties).unwrap();
        for topic in ["govbridge.keys", "govbridge.contracts"] {
            cluster.create_topic(topic, 1).unwrap();
        }
        let mut sender = Sender {
            cluster,
            properties,
            publisher,
            trust: trust(),
            signing: key(Role::Signing, "signing"),
            epoch: Epoch(1),
            witnesses: vec!["health", "audit"],
            entries: vec![b"\x00genesis".to_vec()],
            streams: Vec::new(),
            nonces: 0,
            incarnation: IncarnationNumber(1),
            sent: Vec::new(),
        };
        for dataset in datasets {
            let made = sender.dataset(dataset, amounts_for);
            sender.streams.push(made);
        }
        sender
    }

    fn dataset(&mut self, dataset: &str, amounts_for: &[&str]) -> Stream {
        let text = contract_text(dataset);
        let files = [("amounts", AMOUNTS), ("account", ACCOUNT)];
        let of_record = files.map(|(name, text)| (name, text.as_bytes()));
        let contract = Contract::parse(&ContractFiles::of_record(text.as_bytes(), of_record)).unwrap();
        let schemas = files.map(|(name, text)| SchemaFile {
            section: name.parse().unwrap(),
            content: text.as_bytes().to_vec(),
        });
        let record = ContractRecord { contract: text.into_bytes(), schemas: schemas.to_vec() };
        let signed = record.sign(&[&self.signing]).unwrap();
        self.entries.push(Entry::Contract(signed.frame().to_vec()).encode().unwrap());
        self.send("govbridge.contracts", signed.frame());
        let mut keys = Vec::new();
        for (section, recipients) in [("amounts", amounts_for), ("account", &["audit"][..])] {
            keys.push(self.key_version(&contract, section, recipients));
        }
        let id = StreamId {
            department: "tax".parse().unwrap(),
            dataset: dataset.parse().unwrap(),
            partition: Partition(0),
        };
        self.cluster.create_topic(&id.topic(), 1).unwrap();
        Stream {
            encoder: Encoder::new(&contract, &contract.source_columns()).unwrap(),
            id,
            contract,
            keys,
            head: None,
            last: Mark::default(),
            open: None,
            previous_index: None,
            newest_entry: None,
            offset: 0,
        }
    }

    fn key_version(&mut self, contract: &Contract, section: &str, recipients: &[&str]) -> KeyVersion {
        let secret = Secret::new(seed(&format!("{}/{section}", contract.dataset())));
        let terms = KeyTerms {
            suite: Suite::International,
            department: contract.department().clone(),
            dataset: contract.dataset().clone(),
            section: section.parse().unwrap(),
            contract: contract.digest(),
            valid_from: micros(NOW - 1000),
            not_after: micros(NOW + 1000),
        };
        let names: Vec<Department> =
            recipients.iter().chain(&["tax"]).map(|name| name.parse().unwrap()).collect();
        let publics: Vec<_> = names.iter().map(|name| recipient(name.as_str()).public()).collect();
        let to: Vec<WrapTo<'_>> = names
            .iter()
            .zip(&publics)
            .map(|(recipient, key)| WrapTo {
                recipient,
                key,
                seed: seed(&format!("wrap/{recipient}/{section}")),
            })
            .collect();
        let signed = KeyRecord::new(terms, &secret, &to).unwrap().sign(&[&self.signing]).unwrap();
        self.entries.push(Entry::KeyRecord(signed.frame().to_vec()).encode().unwrap());
        self.send("govbridge.keys", signed.frame());
        signed.version(secret)
    }

    pub fn fence(&mut self, stream: usize) -> Vec<u8> {
        let fence = Fence {
            origin: ORIGIN.parse().unwrap(),
            stream: self.streams[stream].id.clone(),
            epoch: self.epoch,
            log_index: LogIndex(0),
            incarnation: IncarnationNumber(1),
        };
        sign_fence(fence, &[&self.signing]).unwrap().into_frame()
    }

    /// Seals the next batch of a stream and appends its entry to the log.
    pub fn seal(&mut self, stream: usize, parts: &[Part], shape: Shape) -> Vec<u8> {
        self.seal_with(stream, parts, shape, |_| {})
    }

    pub fn seal_with(
        &mut self,
        stream: usize,
        parts: &[Part],
        shape: Shape,
        change: impl FnOnce(&mut Header),
    ) -> Vec<u8> {
        self.nonces += 1;
        let s = &mut self.streams[stream];
        let mut rows = s.encoder.rows();
        encode(&mut s.encoder, parts, &mut rows);
        let (first, last) = marks(parts, s.last, shape.snapshot);
        let position = |mark| RowPosition { mark, token: Default::default() };
        let snapshot = shape.snapshot.then(|| SnapshotPart {
            generation: Generation(1),
            as_of: position(last),
            chunk: 0,
            last: true,
        });
        let begun = parts.len() as u64 - u64::from(shape.continues && !parts.is_empty());
        let mut header = Header {
            suite: Suite::International,
            stream: s.id.clone(),
            origin: ORIGIN.parse().unwrap(),
            epoch: self.epoch,
            sequence: s.head.map_or(Sequence(0), |(n, _)| n.next().unwrap()),
            previous: s.head.map_or(Header::genesis(&s.id, &ORIGIN.parse().unwrap()), |(_, digest)| digest),
            kind: if shape.snapshot { Kind::Snapshot } else { Kind::Stream },
            contract: s.contract.digest(),
            nonce: sha256(&[&self.nonces.to_be_bytes()]).0,
            incarnation: self.incarnation,
            first: position(first),
            last: position(last),
            continues: shape.continues,
            leaves_open: shape.leaves_open,
            closed_by: if shape.leaves_open { ClosedBy::Limit } else { ClosedBy::Commit },
            resolved: if shape.leaves_open { At::end_of(last.commit - 1) } else { At::end_of(last.commit) },
            transactions_begun: if shape.snapshot { 0 } else { begun },
            transactions_ended: if shape.snapshot {
                0
            } else {
                begun + u64::from(shape.continues) - u64::from(shape.leaves_open)
            },
            first_commit_time: micros(NOW),
            last_commit_time: micros(NOW),
            row_events: parts.iter().map(|part| part.rows.len() as u64).sum(),
            truncates: 0,
            snapshot,
            fragment: None,
            notice: None,
            sections: Vec::new(),
            extensions: Vec::new(),
        };
        change(&mut header);
        let sealed = sealed(s, header, &rows, &self.signing);
        let entry = sealed.entry(s.previous_index);
        s.head = Some((sealed.header().sequence, sealed.digest()));
        s.last = sealed.header().last.mark;
        s.open = shape.leaves_open.then_some(s.last.commit);
        let index = LogIndex(self.entries.len() as u64);
        let bytes = Entry::Batch(entry).encode().unwrap();
        s.previous_index = Some(index);
        s.newest_entry = Some((index, bytes.clone()));
        self.entries.push(bytes);
        sealed.into_frame()
    }

    /// A beacon of the stream as it stands, under a checkpoint of the whole log.
    pub fn beacon(&self, stream: usize) -> Vec<u8> {
        self.beacon_with(stream, |_| {})
    }

    pub fn beacon_with(&self, stream: usize, change: impl FnOnce(&mut Beacon)) -> Vec<u8> {
        let s = &self.streams[stream];
        let head = s.head.map(|(sequence, digest)| Head {
            sequence,
            digest,
            last: RowPosition { mark: s.last, token: Default::default() },
        });
        let appended = s.newest_entry.as_ref().map(|(index, entry)| Appended {
            entry: entry.clone(),
            index: *index,
            path: inclusion_proof(index.0, self.entries.len() as u64, &Hashes(&self.entries)).unwrap(),
            checkpoint: self.checkpoint(),
        });
        let mut beacon = Beacon {
            origin: ORIGIN.parse().unwrap(),
            stream: s.id.clone(),
            epoch: self.epoch,
            incarnation: self.incarnation,
            place: Place {
                offset: Offset(s.offset),
                epoch: self.epoch,
                head: s.head.map(|(sequence, digest)| BatchRef { sequence, digest }),
                incarnation: if s.head.is_some() { self.incarnation } else { IncarnationNumber(0) },
                last: s.last,
                open: s.open,
                snapshot: None,
            },
            head,
            resolved: match s.open {
                Some(commit) => At::end_of(commit - 1),
                None => At::end_of(s.last.commit),
            },
            appended,
            clock: micros(NOW),
            next_due: micros(NOW + 10),
        };
        change(&mut beacon);
        sign_beacon(beacon, &[&self.signing]).unwrap().into_frame()
    }

    /// Puts a record into the stream's topic.
    pub fn publish(&mut self, stream: usize, frame: &[u8]) {
        let topic = self.streams[stream].id.topic();
        self.send(&topic, frame);
        self.streams[stream].offset += 1;
    }

    pub fn send(&mut self, topic: &str, frame: &[u8]) {
        self.sent.push(frame.to_vec());
        self.publisher.publish(topic, Partition(0), "test", frame, 0).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut delivered = false;
        while !delivered {
            assert!(Instant::now() < deadline, "the record was not delivered");
            self.publisher.poll(Duration::from_millis(100), &mut |delivery| {
                delivery.result.unwrap();
                delivered = true;
            });
        }
    }

    /// A batch and a beacon that proves it.
    pub fn transact(&mut self, stream: usize, parts: &[Part]) {
        let batch = self.seal(stream, parts, Shape::default());
        self.publish(stream, &batch);
        let beacon = self.beacon(stream);
        self.publish(stream, &beacon);
    }

    /// The secret of a section's key version, wrapped for one more recipient key.
    pub fn rewrap(
        &self,
        stream: usize,
        section: usize,
        (department, key): (&str, &str),
        made: UnixMicros,
    ) -> Vec<u8> {
        let version = &self.streams[stream].keys[section];
        let tax: Department = "tax".parse().unwrap();
        let verified = |frame: &Vec<u8>| KeyRecord::verify(frame, &*self.trust, &tax).into_verified().ok();
        let record = self.sent.iter().filter_map(verified).find(|record| record.digest() == version.record);
        let (recipient, key) = (department.parse().unwrap(), recipient(key).public());
        let to = [WrapTo { recipient: &recipient, key: &key, seed: seed(&format!("rewrap/{department}")) }];
        let record = record.unwrap();
        let contract = self.streams[stream].contract.digest();
        let rewrap = Rewrap::new(&record, &version.secret, &to, contract, made, "a further key".to_owned());
        rewrap.unwrap().sign(&[&self.signing]).unwrap().into_frame()
    }

    pub fn subscriber(
        &self,
        department: &str,
        folder: &Path,
        change: &dyn Fn(&mut serde_json::Value),
    ) -> Subscriber {
        let datasets: Vec<_> = self
            .streams
            .iter()
            .map(|stream| serde_json::json!({"department": "tax", "dataset": stream.id.dataset.as_str()}))
            .collect();
        let mut settings = serde_json::json!({
            "department": department,
            "name": "test",
            "datasets": datasets,
            "sink": {"json_lines": folder.join("rows.jsonl")},
            "progress": folder.join("progress"),
            "logs": BTreeMap::from([(ORIGIN, "/nowhere")]),
        });
        change(&mut settings);
        let settings: Settings = serde_json::from_value(settings).unwrap();
        Subscriber {
            settings,
            properties: self.properties.clone(),
            trust: Arc::clone(&self.trust),
            keys: vec![recipient(department)],
            clock: Arc::new(|| micros(NOW)),
            probe: Arc::new(Unwatched),
            disk: Disk::real(),
        }
    }
}

fn encode(encoder: &mut Encoder, parts: &[Part], rows: &mut [Rows]) {
    for part in parts {
        for row in &part.rows {
            let cells = [
                Cell::Value(Value::Integer(row.id)),
                Cell::Value(Value::Decimal(row.amount)),
                row.note,
                Cell::Value(Value::Text("6222-01")),
            ];
            let absent = [Cell::Value(Value::Integer(row.id)), Cell::Absent, Cell::Absent, Cell::Absent];
            let (before, after) = match row.operation {
                Operation::Delete => (Some(&absent[..]), None),
                Operation::Update => (Some(&absent[..]), Some(&cells[..])),
                _ => (None, Some(&cells[..])),
            };
            let change = Change {
                table: 0,
                operation: row.operation,
                index: row.index,
                with_next: false,
                before,
                after,
            };
            let head = EventHead {
                commit: part.commit,
                ordinal: row.ordinal,
                commit_time: micros(NOW),
                transaction: part.commit + 1000,
                index: row.index,
            };
            encoder.encode(&change, &head, rows).unwrap();
        }
    }
}

fn marks(parts: &[Part], before: Mark, snapshot: bool) -> (Mark, Mark) {
    let of = |part: &Part, row: &Row| Mark { commit: part.commit, ordinal: row.ordinal, fragment: 0 };
    let first = parts.first().and_then(|part| Some(of(part, part.rows.first()?)));
    let last = parts.last().and_then(|part| Some(of(part, part.rows.last()?)));
    match (first, last) {
        (Some(first), _) if snapshot => {
            let end = Mark { commit: first.commit, ordinal: u64::MAX, fragment: 0 };
            (end, end)
        }
        (Some(first), Some(last)) => (first, last),
        _ => (before, before),
    }
}

fn sealed(s: &Stream, header: Header, rows: &[Rows], signing: &SigningKey) -> Sealed {
    let operator = key(Role::Operator, "operator");
    let mut signers = vec![signing];
    if header.notice.is_some() {
        signers.push(&operator);
    }
    let drafts: Vec<SectionDraft<'_>> = s
        .contract
        .sections()
        .iter()
        .zip(rows)
        .zip(&s.keys)
        .map(|((section, rows), key)| SectionDraft {
            name: section.name(),
            schema: section.schema_digest(),
            groups: &[],
            compression: match section.compression() {
                schemas::Compression::None => Compression::None,
                schemas::Compression::Zstd => Compression::Zstd,
            },
            rows,
            key,
        })
        .collect();
    large::sealed(header, &drafts, rows, &signers)
}
