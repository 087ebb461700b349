//! What there is at the end: the source's rows against the receiver's lines, and the log's entries against the batches
//! that a reader of the topic accepts.
//!
//! The application goes on writing whatever happens to govbridge, and counts. Everything that a test compares with comes
//! from its own table and its own count.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bridge_chain::{Facts, Input, Machine, Step};
use bridge_envelope::{Entry, Expected, Header, verify_batch, verify_beacon, verify_fence};
use bridge_event::{LogIndex, Offset, Partition, StreamId};
use bridge_kafka::trial::Cluster;
use bridge_kafka::{Fetcher, Properties, Publisher, Reading};
use bridge_ledger::TileReader;
use bridge_suite::{Digest, Suite, sha256};
use bridge_tlog::Note;
use bridge_trust::{Anchor, Trust};
use serde_json::Value;

use crate::process::{Binary, ORIGIN, PATIENCE, Process, Scene, repository};

/// A scene with the transport that it needs.
pub struct Stage {
    /// Folders and processes.
    pub scene: Scene,
    /// The trial transport, in this process; none when the scene is on a real broker.
    pub cluster: Option<Cluster>,
    bootstrap: String,
    recorders: BTreeMap<String, Recorder>,
}

/// Keeps every record of a topic from its first one on: the trial cluster drops its oldest records after 5 MiB.
struct Recorder {
    stop: Arc<AtomicBool>,
    kept: Arc<Mutex<Kept>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Kept {
    records: Vec<Vec<u8>>,
    /// The next offset to read.
    next: i64,
}

impl Recorder {
    fn of(bootstrap: &str, topic: &str) -> Recorder {
        let (stop, kept) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Kept::default())));
        let (stopped, keep) = (Arc::clone(&stop), Arc::clone(&kept));
        let mut fetcher = Fetcher::new(&Properties::of_brokers(bootstrap).unwrap()).unwrap();
        let reading = Reading { topic: topic.into(), partition: Partition(0), offset: Offset(0) };
        fetcher.assign(vec![reading]).unwrap();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                // An error is seen as records that do not come.
                if let Ok(Some(record)) = fetcher.next(Duration::from_millis(50)) {
                    let mut kept = keep.lock().unwrap();
                    kept.next = record.offset.0 + 1;
                    kept.records.push(record.bytes);
                }
            }
        });
        Recorder { stop, kept, thread: Some(thread) }
    }

    fn all_before(&self, end: i64) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let kept = self.kept.lock().unwrap();
            if kept.next >= end {
                return kept.records.clone();
            }
            drop(kept);
            assert!(Instant::now() < deadline, "not every record up to {end} was recorded");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Stage {
    /// A scene in which tax sends these datasets.
    pub fn new(datasets: &[&str]) -> Stage {
        Stage::on_brokers(1, datasets)
    }

    /// The same on a trial cluster of so many brokers.
    pub fn on_brokers(brokers: u16, datasets: &[&str]) -> Stage {
        let cluster = Cluster::start(brokers).unwrap();
        let scene = Scene::new(Binary::beside_this(), cluster.bootstrap(), datasets);
        for topic in scene.topics() {
            cluster.create_topic(&topic, 1).unwrap();
        }
        let recorder = |topic: String| (topic.clone(), Recorder::of(cluster.bootstrap(), &topic));
        // Several brokers are for leaders that move; a reader that is there meanwhile is not what such a test is about.
        let recorders = scene.topics().into_iter().filter(|_| brokers == 1).map(recorder).collect();
        let bootstrap = cluster.bootstrap().to_owned();
        Stage { scene, cluster: Some(cluster), bootstrap, recorders }
    }

    /// A scene on a real broker of one node, whose topics the connector makes. A frame waits for its acknowledgement for
    /// five seconds at most, so that an outage ends an epoch.
    pub fn on_kafka(bootstrap: &str, datasets: &[&str]) -> Stage {
        let (topics, kafka) = ("replication = 1\ncheck_ms = 500", "\"message.timeout.ms\" = \"5000\"");
        let scene = Scene::with_kafka(Binary::beside_this(), bootstrap, datasets, topics, kafka);
        Stage { scene, cluster: None, bootstrap: bootstrap.to_owned(), recorders: BTreeMap::new() }
    }

    /// Every record of a topic, from its beginning to its end now.
    pub fn records(&self, topic: &str) -> Vec<Vec<u8>> {
        let properties = Properties::of_brokers(&self.bootstrap).unwrap();
        let mut fetcher = Fetcher::new(&properties).unwrap();
        let bounds = fetcher.bounds(topic, Partition(0), PATIENCE).unwrap();
        if let Some(recorder) = self.recorders.get(topic) {
            return recorder.all_before(bounds.high.0);
        }
        let reading = Reading { topic: topic.into(), partition: Partition(0), offset: bounds.low };
        fetcher.assign(vec![reading]).unwrap();
        let (mut records, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        while fetcher.readings()[0].offset < bounds.high {
            assert!(Instant::now() < deadline, "not every record of {topic} could be read");
            // An error is seen as records that do not come.
            if let Ok(Some(record)) = fetcher.next(Duration::from_millis(50)) {
                records.push(record.bytes);
            }
        }
        records
    }

    /// Puts a record into a dataset's topic, as anybody with access to the broker can.
    pub fn put(&self, dataset: &str, record: &[u8]) {
        self.put_into(&stream(dataset).topic(), record);
    }

    /// The same, into any topic.
    pub fn put_into(&self, topic: &str, record: &[u8]) {
        let properties = Properties::of_brokers(&self.bootstrap).unwrap();
        let mut publisher = Publisher::new(&properties).unwrap();
        publisher.publish(topic, Partition(0), "hint", record, 0).unwrap();
        let (deadline, mut delivered) = (Instant::now() + PATIENCE, false);
        while !delivered {
            assert!(Instant::now() < deadline, "the record was not delivered");
            publisher.poll(Duration::from_millis(10), &mut |delivery| {
                delivery.result.unwrap();
                delivered = true;
            });
        }
    }

    /// The trust file's first version.
    pub fn trust(&self) -> Trust {
        let file = std::fs::read(self.scene.folder().join("trust-1.note")).unwrap();
        let pin = sha256(&[Note::parse(&file).unwrap().text().as_bytes()]);
        Trust::verify(&file, Anchor::Pinned(pin)).unwrap()
    }

    /// The batches of a stream that a reader accepts: everything is verified, and the shipped chain machine judges.
    pub fn accepted(&self, dataset: &str) -> Vec<(Header, Digest)> {
        let trust = self.trust();
        let stream = stream(dataset);
        let origin = ORIGIN.parse().unwrap();
        let mut machine = Machine::new(Header::genesis(&stream, &origin));
        let expected = Expected { stream: stream.clone(), origin, suite: Suite::International };
        let mut accepted = Vec::new();
        for bytes in self.records(&stream.topic()) {
            let mut batch = None;
            let input = match bytes.get(..4) {
                Some(b"GBF1") => verify_fence(&bytes, &trust, &expected)
                    .into_verified()
                    .ok()
                    .map(|fence| Input::Fence { epoch: fence.content().epoch }),
                Some(b"GBN1") => {
                    verify_beacon(&bytes, &trust, &expected).into_verified().ok().map(|beacon| {
                        let beacon = beacon.content();
                        let head = beacon.head.as_ref().map(|head| (head.sequence, head.digest));
                        Input::Beacon { epoch: beacon.epoch, head }
                    })
                }
                Some(b"GBB1") => {
                    verify_batch(&bytes, &trust, &expected).into_verified().ok().map(|verified| {
                        let facts = Facts::of(verified.header(), verified.digest());
                        batch = Some((verified.header().clone(), verified.digest()));
                        Input::Batch(facts)
                    })
                }
                _ => None,
            };
            let Some(input) = input else { continue };
            let step = machine.step(&input);
            assert!(step.finding().is_none(), "an honest topic gives {step}");
            if step == Step::Accepted {
                accepted.push(batch.unwrap());
            }
        }
        accepted
    }

    /// The digests of a stream's batches in the log under its newest published checkpoint, in order.
    pub fn logged(&self, dataset: &str) -> Vec<Digest> {
        let tiles = TileReader::directory(&self.scene.tax().join("log"));
        let checkpoint = tiles.checkpoint().unwrap();
        let size: u64 = checkpoint.text().lines().nth(1).unwrap().parse().unwrap();
        let mut logged = Vec::new();
        for bytes in tiles.entries(LogIndex(0)..LogIndex(size), size).unwrap() {
            if let Entry::Batch(entry) = Entry::decode(&bytes).unwrap()
                && entry.stream == stream(dataset)
            {
                assert_eq!(entry.sequence.0, logged.len() as u64, "the log's sequences are dense");
                logged.push(entry.digest);
            }
        }
        logged
    }

    /// After a clean stop: the log holds the batches that readers accept, all of them and no others.
    pub fn log_and_topic_agree(&self, dataset: &str) -> usize {
        let accepted: Vec<Digest> = self.accepted(dataset).iter().map(|(_, digest)| *digest).collect();
        assert!(!accepted.is_empty(), "{dataset} has batches");
        assert_eq!(self.logged(dataset), accepted, "log and topic of {dataset}");
        accepted.len()
    }

    /// The rows of the payments table now: number, amount and the day.
    pub fn source(&self) -> BTreeMap<i64, (String, String)> {
        let application = self.scene.application();
        let mut select = application.prepare("SELECT payment_id, amount, paid_on FROM payments").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Waits until a department has received so many changes that came after the snapshot.
    pub fn until_received(&self, department: &str, process: &mut Process, changes: u64) {
        process.until(&format!("{department} has {changes} changes"), || {
            self.scene.rows(department).iter().filter(|line| is_change(line)).count() as u64 >= changes
        });
    }

    /// The auditor holds exactly what the source does: every change once, in order, in whole transactions, and the table
    /// that they give is the source's, value by value.
    pub fn receiver_has_the_source(&self, department: &str, written: &Written) -> Received {
        let received = Received::of(&self.scene.rows(department));
        assert_eq!(received.changes, written.changes, "every change once");
        // A source may give several small transactions as one; it never gives a part of one.
        let parts: Vec<_> = received.ends.iter().filter(|end| !written.ends.contains(end)).collect();
        assert!(parts.is_empty(), "commits after {parts:?} changes end no transaction of the source");
        assert_eq!(received.ends.last(), written.ends.last(), "the last transaction");
        assert_eq!(received.table, self.source(), "the source's rows");
        received
    }
}

/// A stream of the tax department.
pub fn stream(dataset: &str) -> StreamId {
    StreamId {
        department: "tax".parse().unwrap(),
        dataset: dataset.parse().unwrap(),
        partition: Partition(0),
    }
}

fn is_change(line: &str) -> bool {
    ["{\"op\":\"c\"", "{\"op\":\"u\"", "{\"op\":\"d\""].iter().any(|start| line.starts_with(start))
}

/// What a receiver's file amounts to. Making it checks that nothing stands there twice or out of order.
#[derive(Debug, Default)]
pub struct Received {
    /// Inserts, updates and deletes after the snapshot.
    pub changes: u64,
    /// After how many changes commit lines stand.
    pub ends: Vec<u64>,
    /// Rows of snapshots.
    pub snapshot: u64,
    /// The payments that the lines give.
    pub table: BTreeMap<i64, (String, String)>,
    /// The assurance levels that lines were delivered at.
    pub levels: BTreeSet<String>,
    open: u64,
}

impl Received {
    /// Reads lines as a department would.
    pub fn of(lines: &[String]) -> Received {
        let mut received = Received::default();
        let mut last = (0, 0, 0);
        let mut leaves = BTreeSet::new();
        for line in lines {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Some(commit) = line.get("commit") {
                assert_eq!(commit["rows"].as_u64(), Some(received.open), "a whole transaction: {line}");
                received.open = 0;
                received.ends.push(received.changes);
                continue;
            }
            let provenance = &line["provenance"];
            let leaf =
                (provenance["batch"].as_str().unwrap().to_owned(), provenance["leaf"].as_u64().unwrap());
            assert!(leaves.insert(leaf), "a row twice: {line}");
            received.levels.insert(provenance["level"].as_str().unwrap().to_owned());
            if line["op"] == "r" {
                received.snapshot += 1;
            } else {
                let number = |name: &str| line["source"][name].as_u64().unwrap();
                let at = (number("incarnation"), number("commit"), number("ordinal"));
                assert!(at > last, "{at:?} after {last:?}: {line}");
                last = at;
                received.changes += 1;
                received.open += 1;
            }
            received.apply(&line);
        }
        assert_eq!(received.open, 0, "the last transaction is whole");
        received
    }

    fn apply(&mut self, line: &Value) {
        let text = |name: &str| line["after"][name].as_str().unwrap_or_default().to_owned();
        if let Some(id) = line["before"]["payment_id"].as_i64()
            && line["op"] == "d"
        {
            assert!(self.table.remove(&id).is_some(), "a row is deleted that is there: {line}");
        } else if let Some(id) = line["after"]["payment_id"].as_i64() {
            let before = self.table.insert(id, (text("amount"), text("paid_on")));
            match line["op"].as_str() {
                Some("c") => assert!(before.is_none(), "a row is inserted that is not there: {line}"),
                Some("u") => assert!(before.is_some(), "a row is updated that is there: {line}"),
                _ => {}
            }
        }
    }
}

/// What an application has committed since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Row changes.
    pub changes: u64,
    /// After how many changes a transaction ended.
    pub ends: BTreeSet<u64>,
}

/// The department's own application. It writes, one transaction after the other, until it is told to stop.
pub struct Application {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    thread: Option<JoinHandle<Written>>,
}

/// Between two transactions: a life of two seconds meets a hundred of them.
pub const PACE: Duration = Duration::from_millis(15);

impl Application {
    /// Begins to write payments from this number on, with so much time between two transactions.
    pub fn begin(scene: &Scene, first: i64, pace: Duration) -> Application {
        let mut connection = scene.application();
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&changes));
        let thread = std::thread::spawn(move || {
            let (mut written, mut id) = (Written::default(), first);
            while !stopped.load(Ordering::SeqCst) {
                written.changes += transact(&mut connection, &mut id, written.ends.len());
                written.ends.insert(written.changes);
                count.store(written.changes, Ordering::SeqCst);
                std::thread::sleep(pace);
            }
            written
        });
        Application { stop, changes, thread: Some(thread) }
    }

    /// Row changes so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Waits until it has written this many more, whoever reads them.
    pub fn goes_on(&self, more: u64) {
        let (until, deadline) = (self.changes() + more, Instant::now() + PATIENCE);
        while self.changes() < until {
            assert!(Instant::now() < deadline, "the application stands still");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it, and says what it has committed in all.
    pub fn stop(mut self) -> Written {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// One transaction: an insert alone, several rows, or all three operations.
fn transact(connection: &mut rusqlite::Connection, id: &mut i64, turn: usize) -> u64 {
    let insert = "INSERT INTO payments VALUES (?1, 'T9901000021', '增值税', '2026-09-01', '银行端查询缴税', NULL, ?2, NULL)";
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let mut add = |count: i64| {
        for _ in 0..count {
            transaction.execute(insert, (*id, format!("{id}.50"))).unwrap();
            *id += 1;
        }
    };
    let changes = match turn % 3 {
        0 => {
            add(1);
            1
        }
        1 => {
            add(3);
            3
        }
        _ => {
            add(3);
            let (update, delete) = (*id - 1, *id - 2);
            transaction
                .execute("UPDATE payments SET amount = '0.01' WHERE payment_id = ?1", [update])
                .unwrap();
            transaction.execute("DELETE FROM payments WHERE payment_id = ?1", [delete]).unwrap();
            5
        }
    };
    transaction.commit().unwrap();
    changes
}

/// A code has its page.
pub fn has_page(code: &str) {
    let page = repository().join(format!("docs/errors/{code}.md"));
    assert!(page.is_file(), "{code} has no page");
}

/// The process ends by itself with this exit code, and says this code.
pub fn refused(process: Process, exit: i32, code: &str) -> String {
    let (status, said) = process.end();
    assert_eq!(status.code(), Some(exit), "{said}");
    assert!(said.contains(code), "{code} is missing in\n{said}");
    has_page(code);
    said
}

/// The fault switch has killed the process, at its point.
pub fn killed_by(process: Process, fault: &str) {
    use std::os::unix::process::ExitStatusExt;
    let (name, passing) = fault.split_once(':').unwrap();
    let (status, said) = process.end();
    assert_eq!(status.signal(), Some(9), "{fault} did not fire: {status}\n{said}");
    let fired = |line: &str| {
        line.contains("the fault switch")
            && line.contains(&format!("\"fault\":\"{name}\""))
            && line.contains(&format!("\"passing\":{passing}"))
    };
    assert!(said.lines().any(fired), "{fault} did not announce itself:\n{said}");
}
