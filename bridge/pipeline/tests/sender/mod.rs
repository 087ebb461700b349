//! A connector of the tax department over a real SQLite file, a trial cluster and a real log, in this process.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use crate::province;
use bridge_envelope::{Expected, Frame, Header, verify_batch, verify_beacon};
use bridge_event::{Origin, Partition, StreamId, UnixMicros};
use bridge_kafka::trial::Cluster;
use bridge_kafka::{Fetcher, Properties, Reading};
use bridge_ledger::{Disk, Holder, Log};
use bridge_pipeline::{
    BatchLimits, Clock, Connector, ConnectorError, Intervals, NoProbe, Probe, Promise, Random, RandomError,
    Shutdown, TopicSettings, run,
};
use bridge_suite::{Role, SigningKey, sha256};
use bridge_tlog::NoteSigner;
use bridge_trust::{Anchor, Trust};
use connectors_source::{Source, SourceError, Table};
use connectors_sqlite::{Claimant, SqliteSource};
use schemas::{Contract, ContractFiles};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A clock that a test moves.
pub struct HandClock(pub AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> UnixMicros {
        UnixMicros(self.0.load(Ordering::SeqCst))
    }
}

/// Random enough for a test: every call gives other bytes, the same in every run.
#[derive(Default)]
pub struct Dice(AtomicU64);

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let call = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (chunk, out) in bytes.chunks_mut(32).enumerate() {
            let digest = sha256(&[b"dice", &call, &[u8::try_from(chunk).unwrap()]]);
            out.copy_from_slice(&digest.as_bytes()[..out.len()]);
        }
        Ok(())
    }
}

pub const NOW: i64 = 1_790_000_000_000_000;

/// The parts that outlive a connector's process.
pub struct Scene {
    pub dir: tempfile::TempDir,
    pub cluster: Cluster,
    pub trust: Trust,
    pub clock: Arc<HandClock>,
    pub dice: Arc<Dice>,
    pub datasets: Vec<&'static str>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A contract of the tax department, from the repository's own data.
pub fn promise(dataset: &str) -> Promise {
    promise_with(dataset, |contract| contract)
}

/// The same, with its text changed by a test.
pub fn promise_with(dataset: &str, change: impl Fn(String) -> String) -> Promise {
    let folder = root().join("schemas/tax").join(dataset);
    let mut files = ContractFiles::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        files.insert(name.clone(), if name == "contract.toml" { change(text) } else { text });
    }
    Promise { contract: Arc::new(Contract::parse(&files).unwrap()), files }
}

pub fn stream(dataset: &str) -> StreamId {
    StreamId {
        department: "tax".parse().unwrap(),
        dataset: dataset.parse().unwrap(),
        partition: Partition(0),
    }
}

fn trust() -> Trust {
    let mut draft = province::first();
    draft.add_recipient(&province::department("audit"), &province::recipient("audit").to_string()).unwrap();
    let text = draft.text().unwrap();
    let note = province::sign(&text, &["a", "b"]);
    Trust::verify(note.as_bytes(), Anchor::Pinned(sha256(&[text.as_bytes()]))).unwrap()
}

impl Scene {
    /// The department's file with its sample rows, prepared for capture; topics; an empty log.
    pub fn new(datasets: &[&'static str]) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::start(1).unwrap();
        for dataset in datasets {
            cluster.create_topic(&stream(dataset).topic(), 1).unwrap();
        }
        cluster.create_topic("govbridge.keys", 1).unwrap();
        cluster.create_topic("govbridge.contracts", 1).unwrap();
        let scene = Scene {
            dir,
            cluster,
            trust: trust(),
            clock: Arc::new(HandClock(AtomicI64::new(NOW))),
            dice: Arc::default(),
            datasets: datasets.to_vec(),
        };
        let sql = std::fs::read_to_string(root().join("schemas/tax/sample.sql")).unwrap();
        scene.application().execute_batch(&sql).unwrap();
        connectors_sqlite::create(&scene.file(), "11111111-2222-4333-8444-555555555555", &scene.tables())
            .unwrap();
        Log::init(&scene.log_dir(), &scene.origin()).unwrap();
        scene
    }

    pub fn origin(&self) -> Origin {
        province::origin("tax")
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("tax.db")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// A connection such as the department's own application has.
    pub fn application(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }

    pub fn tables(&self) -> Vec<Table> {
        let table = |dataset: &&str| {
            let contract = promise(dataset).contract;
            Table {
                name: contract.table().to_owned(),
                columns: contract.source_columns().iter().map(ToString::to_string).collect(),
                key: contract.key_columns().iter().map(|column| column.name.clone()).collect(),
                types: contract.source_types(),
            }
        };
        self.datasets.iter().map(table).collect()
    }

    pub fn connector(&self, probe: Arc<dyn Probe>) -> Connector {
        let seed = province::seed;
        Connector {
            origin: self.origin(),
            promises: self.datasets.iter().map(|dataset| promise(dataset)).collect(),
            signing: SigningKey::from_seed(Role::Signing, seed("signing/tax")),
            log_signer: NoteSigner::log(
                self.origin().as_str(),
                SigningKey::from_seed(Role::Log, seed("log/tax")),
            )
            .unwrap(),
            trust: self.trust.clone(),
            kafka: Properties::of_brokers(self.cluster.bootstrap()).unwrap(),
            limits: BatchLimits::default(),
            topics: TopicSettings { check: false, ..TopicSettings::default() },
            intervals: Intervals {
                checkpoint_ms: 50,
                idle_ms: 500,
                delivery_timeout_ms: 10_000,
                ..Intervals::default()
            },
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            random: Arc::clone(&self.dice) as Arc<dyn Random>,
            probe,
        }
    }

    /// Starts a connector, as a process would.
    pub fn start(&self) -> Running {
        self.start_with(self.connector(Arc::new(NoProbe)))
    }

    pub fn start_with(&self, connector: Connector) -> Running {
        let _ = tracing_subscriber::fmt().with_env_filter("info").with_test_writer().try_init();
        let log = Log::open(&self.log_dir(), &Holder::here(UnixMicros(NOW)), Disk::real()).unwrap();
        self.spawn(connector, log, false)
    }

    /// Starts a connector on a log that is open; `take_over` takes the source from whoever has it.
    pub fn start_on(&self, log: Log, take_over: bool) -> Running {
        self.spawn(self.connector(Arc::new(NoProbe)), log, take_over)
    }

    fn spawn(&self, connector: Connector, log: Log, take_over: bool) -> Running {
        let shutdown = Shutdown::default();
        let (file, tables) = (self.file(), self.tables());
        let claim = Box::new(move || {
            let who = Claimant { pid: 1, host: "here".to_owned(), since: UnixMicros(NOW) };
            let source = if take_over {
                SqliteSource::take_over(&file, &tables, &who)?
            } else {
                SqliteSource::claim(&file, &tables, &who)?
            };
            Ok::<_, SourceError>(Box::new(source) as Box<dyn Source>)
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let outcome = run(connector, claim, log, listener, asked);
            println!("the connector ended: {outcome:?}");
            outcome
        });
        Running { shutdown, thread }
    }

    /// Every record of a topic from its beginning to its end now.
    pub fn records(&self, topic: &str) -> Vec<Vec<u8>> {
        let properties = Properties::of_brokers(self.cluster.bootstrap()).unwrap();
        let mut fetcher = Fetcher::new(&properties).unwrap();
        let bounds = fetcher.bounds(topic, Partition(0), Duration::from_secs(5)).unwrap();
        let reading = Reading { topic: topic.into(), partition: Partition(0), offset: bounds.low };
        fetcher.assign(vec![reading]).unwrap();
        let mut records = Vec::new();
        while fetcher.readings()[0].offset < bounds.high {
            if let Some(record) = fetcher.next(Duration::from_millis(200)).unwrap() {
                records.push(record.bytes);
            }
        }
        records
    }

    /// The headers of all batches in a stream, each verified.
    pub fn batches(&self, dataset: &str) -> Vec<Header> {
        let expected = self.expected(dataset);
        let records = self.records(&stream(dataset).topic());
        let batches = records.iter().filter(|bytes| bytes.starts_with(b"GBB1"));
        batches
            .map(|bytes| {
                verify_batch(bytes, &self.trust, &expected).into_verified().unwrap().header().clone()
            })
            .collect()
    }

    pub fn expected(&self, dataset: &str) -> Expected {
        Expected { stream: stream(dataset), origin: self.origin(), suite: bridge_suite::Suite::International }
    }

    /// All beacons of a stream, each verified.
    pub fn beacons(&self, dataset: &str) -> Vec<bridge_envelope::Beacon> {
        let expected = self.expected(dataset);
        let records = self.records(&stream(dataset).topic());
        let beacons = records.iter().filter(|bytes| bytes.starts_with(b"GBN1"));
        beacons
            .map(|bytes| verify_beacon(bytes, &self.trust, &expected).into_verified().unwrap().into_content())
            .collect()
    }

    /// The newest epoch that has a fence in a stream.
    pub fn epoch(&self, dataset: &str) -> u64 {
        let expected = self.expected(dataset);
        let records = self.records(&stream(dataset).topic());
        let fences = records.iter().filter(|bytes| bytes.starts_with(b"GBF1"));
        let epoch = |bytes: &Vec<u8>| {
            let fence = bridge_envelope::verify_fence(bytes, &self.trust, &expected).into_verified().unwrap();
            fence.content().epoch.0
        };
        fences.map(epoch).max().unwrap_or(0)
    }

    /// The key records in the order of their topic.
    pub fn key_records(&self) -> Vec<bridge_envelope::KeyRecord> {
        let read = |bytes: &Vec<u8>| match Frame::parse(bytes).unwrap() {
            Frame::KeyRecord(record) => record.content,
            other => panic!("{other:?}"),
        };
        self.records("govbridge.keys").iter().map(read).collect()
    }

    /// Waits until `what` holds, at most 20 seconds.
    pub fn until(&self, running: &Running, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(!running.has_ended(), "the connector ended before: {what}");
            assert!(Instant::now() < deadline, "not within 20 seconds: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Row events of all stream batches.
    pub fn rows(&self, dataset: &str) -> u64 {
        self.batches(dataset).iter().filter(|h| h.snapshot.is_none()).map(|h| h.row_events).sum()
    }
}

/// A connector that runs on a thread.
pub struct Running {
    pub shutdown: Shutdown,
    thread: JoinHandle<Result<(), ConnectorError>>,
}

impl Running {
    /// Stops it as SIGTERM would.
    pub fn stop(self) -> Result<(), ConnectorError> {
        self.shutdown.ask();
        self.thread.join().unwrap()
    }

    pub fn wait(self) -> Result<(), ConnectorError> {
        self.thread.join().unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Leaves everything that stands in the topics under a name of its own in the folder that GOVBRIDGE_DUMP names, for the
/// second reader (tests/interop/README.md has the layout).
pub fn dump(scene: &Scene, name: &str) {
    let Some(folders) = std::env::var_os("GOVBRIDGE_DUMP").map(PathBuf::from) else { return };
    let folder = folders.join(name);
    let mut topics = vec!["govbridge.keys".to_owned(), "govbridge.contracts".to_owned()];
    topics.extend(scene.datasets.iter().map(|dataset| stream(dataset).topic()));
    for topic in topics {
        let records = folder.join(&topic);
        std::fs::create_dir_all(&records).unwrap();
        for (offset, bytes) in scene.records(&topic).iter().enumerate() {
            std::fs::write(records.join(format!("{offset}.bin")), bytes).unwrap();
        }
    }
    let expected = |dataset: &str| {
        serde_json::json!({ "department": "tax", "dataset": dataset, "origin": scene.origin().as_str(),
            "partition": 0, "suite": 1, "required_algorithms": [1] })
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let recipients: Vec<_> = ["tax", "social-security", "education", "audit"]
        .iter()
        .map(|name| {
            let line = province::recipient(name);
            let private = hex(&province::seed(&format!("recipient/{name}")));
            serde_json::json!({ "algorithm": 257, "department": name, "key_id": line.id().to_string(),
                "private": private, "public": hex(&province::public(&line)), "role": "recipient" })
        })
        .collect();
    let signer = province::signing("tax");
    let signers =
        [serde_json::json!({ "algorithm": 1, "department": "tax", "key_id": signer.id().to_string(),
        "private": null, "public": hex(&province::public(&signer)), "role": "signing" })];
    let streams: Vec<_> = scene.datasets.iter().map(|dataset| expected(dataset)).collect();
    let keys = serde_json::json!({
        "expected": streams[0], "more_streams": streams[1..], "recipients": recipients, "signers": signers,
        "logs": [{ "origin": scene.origin().as_str(), "vkey": province::log_vkey("tax") }],
    });
    std::fs::write(folder.join("keys.json"), serde_json::to_vec_pretty(&keys).unwrap()).unwrap();
}
