//! The campaign: PostgreSQL and Kafka themselves, an office that goes on writing from several connections, and every process
//! of ours killed with -9 again and again, between each pair of stages, at the same time: the connector, a subscriber into a
//! file, a subscriber into tables, a witness. Each is started again as it was. At the end the file has what PostgreSQL's own
//! decoder says was committed, in that order, value by value, and the tables are the source's.
//!
//! `GOVBRIDGE_KILLS` says how often each process is killed (20 when nothing is set), `GOVBRIDGE_MODE` how the subscribers
//! deliver (`source` or `stream`). With more than 20 every second kill comes at a random moment, and broker and source are killed too.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::application::port;
use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::load::{BALANCED, Load};
use crate::postgres::{Database, replace_source, until_snapshots_are_sent};
use crate::process::Process;
use crate::reckoning::{Stage, killed_by};
use crate::running::{FAULT, SMALL_BATCHES, quorum};
use crate::tables::Received;
use crate::truth::{Truth, received};

/// How long nothing may move.
const LONG: Duration = Duration::from_secs(180);

const DATASETS: [&str; 2] = ["payments", "taxpayers"];

/// What a connector is killed at; every second time it lives well for a while first.
const CONNECTOR: [&str; 20] = [
    "after-epoch:1",
    "after-encode:1",
    "after-encode:9",
    "after-seal:1",
    "after-seal:9",
    "after-publish:1",
    "after-publish:9",
    "before-append:1",
    "before-append:9",
    "after-append:1",
    "after-append:9",
    "after-acknowledge:1",
    "after-acknowledge:3",
    "after-key-record:1",
    "after-key-record:4",
    "after-checkpoint:1",
    "after-checkpoint:4",
    "after-beacon:1",
    "after-beacon:6",
    "after-fence:1",
];

/// What a subscriber into a file is killed at. What it wrote behind its progress is cut off at the next start.
const FILE: [&str; 20] = [
    "after-fetch:1",
    "after-fetch:60",
    "after-verify:1",
    "after-verify:20",
    "after-open:1",
    "after-open:12",
    "before-fsync:1",
    "before-fsync:4",
    "after-fsync:1",
    "after-fsync:4",
    "before-progress:1",
    "disk-sink-cut-killed:1",
    "before-progress:4",
    "after-progress:1",
    "after-progress:4",
    "disk-sink-killed:1",
    "disk-sink-killed:3",
    "disk-progress-killed:1",
    "disk-progress-killed:4",
    "after-fsync:2",
];

/// What a subscriber into tables is killed at.
const TABLES: [&str; 20] = [
    "after-fetch:1",
    "after-fetch:60",
    "after-verify:1",
    "after-verify:20",
    "after-verify:40",
    "after-open:1",
    "after-open:12",
    "after-open:30",
    "before-fsync:1",
    "before-fsync:2",
    "before-fsync:5",
    "after-fsync:1",
    "after-fsync:2",
    "after-fsync:5",
    "before-progress:1",
    "before-progress:2",
    "before-progress:5",
    "after-progress:1",
    "after-progress:2",
    "after-progress:5",
];

/// What a witness is killed at: before its promise is on its disk.
const WITNESS: [&str; 4] = [
    "disk-witness-state-killed:1",
    "disk-witness-state-killed:2",
    "disk-witness-state-killed:3",
    "disk-witness-state-killed:5",
];

/// How often each process is killed.
fn kills() -> usize {
    std::env::var("GOVBRIDGE_KILLS").map_or(20, |kills| kills.parse().expect("GOVBRIDGE_KILLS is a number"))
}

/// Numbers for random moments; the seed is printed.
struct Dice(u64);

impl Dice {
    fn thrown() -> Dice {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        println!("the dice begin with {}", now.as_nanos());
        Dice(u64::try_from(now.as_nanos() & 0xFFFF_FFFF_FFFF).unwrap() | 1)
    }

    /// Between nothing and this.
    fn within(&mut self, most: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        most.mul_f64(f64::from(u16::try_from(self.0 >> 48).unwrap()) / 65_536.0)
    }
}

/// Everything of a campaign but the load.
struct Campaign {
    stage: Stage,
    kills: usize,
    mode: String,
    database: Arc<Database>,
    tables: Received,
    broker: Mutex<Broker>,
    /// A server that may be killed.
    server: Option<Mutex<Cluster>>,
}

impl Campaign {
    fn new() -> Campaign {
        let kills = kills();
        let broker = Broker::start("");
        let server = (kills > 20).then(|| Mutex::new(Cluster::start(&[])));
        let port = server.as_ref().map_or_else(port, |server| server.lock().unwrap().port());
        let stage = Stage::on_kafka(&broker.plain(), &DATASETS);
        let database = Arc::new(Database::new("campaign", port));
        database
            .application()
            .run("UPDATE taxpayers SET phone = '0'; ALTER TABLE taxpayers REPLICA IDENTITY FULL");
        replace_source(&stage, &database);
        let mode = std::env::var("GOVBRIDGE_MODE").unwrap_or_else(|_| "source".to_owned());
        stage.scene.make_subscriber("audit", &format!("mode = \"{mode}\""));
        // The second subscriber of the same department has a folder of its own beside.
        let own = stage.scene.folder().join("audit/subscriber.toml");
        let text = std::fs::read_to_string(own).unwrap().replace("name = \"main\"", "name = \"tables\"");
        std::fs::create_dir(stage.scene.folder().join("tables")).unwrap();
        std::fs::write(stage.scene.folder().join("tables/subscriber.toml"), text).unwrap();
        let tables = Received::on(port, "campaign_received");
        tables.configure(&stage, "tables");
        Campaign { stage, kills, mode, database, tables, broker: Mutex::new(broker), server }
    }

    /// The snapshots, broken off twice.
    fn snapshots(&self) {
        for fault in ["in-snapshot:1", "in-snapshot:60"] {
            let environment = [SMALL_BATCHES[0], (FAULT, fault)];
            killed_by(self.stage.scene.connector_with(&[], &environment), fault);
        }
        let mut connector = self.stage.scene.connector();
        connector.healthy();
        until_snapshots_are_sent(&self.stage, &mut connector);
        Received::create(&self.stage, "tables");
        connector.kill();
    }

    /// Waits for the end of a process that kills itself; `false` when it ended because a server was away.
    fn dies(&self, process: Process, fault: &str) -> bool {
        if self.server.is_none() {
            killed_by(process, fault);
            return true;
        }
        let (status, said) = process.end();
        let is_away = status.code() == Some(3);
        assert!(is_away || status.code().is_none(), "{fault}: {status}\n{said}");
        !is_away
    }

    /// Kills a process from outside; `false` when it ended because a server was away.
    fn kill(&self, mut process: Process) -> bool {
        if !process.has_ended() {
            process.kill();
            return true;
        }
        let (status, said) = process.end();
        assert!(self.server.is_some() && status.code() == Some(3), "{status}\n{said}");
        false
    }

    /// Kills a process so many times: at these faults in turn, and in a long campaign at random moments between. `start` is
    /// told how often it was killed; `between` comes after each kill.
    fn kill_again(
        &self,
        name: &str,
        faults: &[&str],
        start: impl Fn(usize, &[(&str, &str)]) -> Process,
        between: impl Fn(usize),
    ) {
        let (begun, mut dice, mut killed) = (Instant::now(), Dice::thrown(), 0);
        while killed < self.kills {
            let done = if self.server.is_some() && killed % 2 == 1 {
                let process = start(killed, &[]);
                std::thread::sleep(dice.within(Duration::from_secs(3)));
                self.kill(process)
            } else {
                let turn = if self.server.is_some() { killed / 2 } else { killed };
                let fault = faults[turn % faults.len()];
                self.dies(start(killed, &[(FAULT, fault)]), fault)
            };
            if done {
                between(killed);
                killed += 1;
            }
        }
        println!("{name}: {killed} kills in {:?}", begun.elapsed());
    }

    /// The connector's lives. In every third one each row is a batch, so that transactions are open when it falls; after every
    /// second one it lives until something is delivered, and is killed then.
    fn kill_connectors(&self) {
        let start = |turn: usize, environment: &[(&str, &str)]| {
            let small = if turn % 3 == 1 { &SMALL_BATCHES[..1] } else { &[] };
            self.stage.scene.connector_with(&[], &[environment, small].concat())
        };
        self.kill_again("connector", &CONNECTOR, start, |turn| {
            if turn % 2 == 1 {
                let before = self.delivered();
                self.lives_while(|| self.stage.scene.connector(), || self.delivered() <= before);
            }
        });
    }

    /// Bytes in the file.
    fn delivered(&self) -> u64 {
        self.stage.scene.folder().join("audit/rows.jsonl").metadata().map_or(0, |about| about.len())
    }

    /// A process that nothing happens to but what happens to its servers; it is killed in the end.
    fn lives_while(&self, start: impl Fn() -> Process, wanted: impl Fn() -> bool) {
        let (mut process, deadline) =
            (start(), Instant::now() + LONG * u32::try_from(self.kills).unwrap() / 20);
        while wanted() {
            if process.has_ended() {
                self.kill(process);
                process = start();
            }
            assert!(Instant::now() < deadline, "nothing moves; it said\n{}", process.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill(process);
    }

    /// All the killing, while the load goes on.
    fn run(&self) {
        // Who was killed often enough lives on until all were: each needs what the others do.
        let (killing, over) = (AtomicUsize::new(4), AtomicBool::new(false));
        let all = |kill: &dyn Fn(), start: &dyn Fn() -> Process| {
            let done = Done(&killing);
            kill();
            drop(done);
            self.lives_while(start, || killing.load(Ordering::SeqCst) > 0);
        };
        let scene = &self.stage.scene;
        std::thread::scope(|scope| {
            let servers = scope.spawn(|| self.kill_servers(&over));
            let watch = scope.spawn(|| self.watch(&over));
            let connector = scope.spawn(|| all(&|| self.kill_connectors(), &|| scene.connector()));
            let file = scope.spawn(|| {
                let faults: Vec<&str> = FILE.into_iter().filter(|fault| self.fires(fault)).collect();
                let start = |_, environment: &[(&str, &str)]| scene.subscriber_with("audit", environment);
                let kill = || self.kill_again("subscriber into a file", &faults, start, |_| {});
                all(&kill, &|| scene.subscriber("audit"));
            });
            let tables = scope.spawn(|| {
                let start = |_, environment: &[(&str, &str)]| scene.subscriber_with("tables", environment);
                let kill = || self.kill_again("subscriber into tables", &TABLES, start, |_| {});
                all(&kill, &|| scene.subscriber("tables"));
            });
            let witness = scope.spawn(|| {
                let start =
                    |_, environment: &[(&str, &str)]| scene.witness_with("social-security", environment);
                let kill = || self.kill_again("witness", &WITNESS, start, |_| {});
                all(&kill, &|| scene.witness("social-security"));
            });
            let ended = [connector, file, tables, witness].map(ScopedJoinHandle::join);
            over.store(true, Ordering::SeqCst);
            servers.join().unwrap();
            let looks = watch.join().unwrap();
            ended.into_iter().for_each(|end| end.unwrap());
            println!("the tables' sums were equal {looks} times");
            assert!(looks > 0 || self.mode != "source");
        });
    }

    /// Whether a fault comes by itself where random kills come between.
    fn fires(&self, fault: &str) -> bool {
        self.server.is_none() || !fault.starts_with("disk-sink-cut")
    }

    /// Kills broker and source in turn; both run when it is over.
    fn kill_servers(&self, over: &AtomicBool) {
        let Some(server) = &self.server else { return };
        let mut dice = Dice::thrown();
        for turn in 0.. {
            let until = Instant::now() + Duration::from_secs(3) + dice.within(Duration::from_secs(9));
            while Instant::now() < until {
                if over.load(Ordering::SeqCst) {
                    println!("broker and source: {turn} kills");
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if turn % 2 == 0 {
                let mut server = server.lock().unwrap();
                server.crash();
                server.begin();
            } else {
                let mut broker = self.broker.lock().unwrap();
                broker.kill();
                std::thread::sleep(dice.within(Duration::from_secs(2)));
                broker.begin();
            }
        }
    }

    /// In mode `source` a reader of both tables never sees a part of a transaction: the sums are equal whenever one looks.
    fn watch(&self, over: &AtomicBool) -> u64 {
        let sql = format!(
            "SELECT paid = added, paid, added FROM (SELECT \
               (SELECT coalesce(sum(amount), 0) FROM govbridge.tax__payments WHERE channel = '{BALANCED}') AS paid, \
               (SELECT coalesce(sum(phone::numeric), 0) FROM govbridge.tax__taxpayers WHERE taxpayer_no LIKE 'T%') AS added) sums"
        );
        let mut looks = 0;
        while self.mode == "source" && !over.load(Ordering::SeqCst) {
            let rows = self.tables.try_application().and_then(|mut open| open.attempt(&sql));
            match rows {
                Ok(rows) => {
                    assert_eq!(rows[0][0].as_deref(), Some("t"), "a part of a transaction: {rows:?}");
                    looks += 1;
                }
                Err(said) => assert!(self.server.is_some(), "{said}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        looks
    }

    /// The end of it all: everybody lives, and what came is what was committed.
    fn reckon(self, truth: &Truth<'_>, committed: u64, witnesses: Vec<Process>) {
        let scene = &self.stage.scene;
        let mut connector = scene.connector();
        connector.healthy();
        let [mut file, mut tables] = ["audit", "tables"].map(|folder| scene.subscriber(folder));
        let truth = truth.read();
        println!("{} changes in {} transactions", truth.changes.changes.len(), truth.changes.ends.len());
        let whole = u64::try_from(truth.changes.ends.len()).unwrap();
        assert!(whole == committed || (whole > committed && self.server.is_some()), "{whole} of {committed}");
        arrives(&mut file, "every change is in the file", || {
            let changes = scene.rows("audit").iter().filter(|line| is_change(line)).count();
            (changes >= truth.changes.changes.len(), changes)
        });
        received(&scene.rows("audit")).equal(&truth.changes, &self.mode);
        arrives(&mut tables, "the tables are the source's", || {
            let differ = DATASETS.iter().filter(|dataset| !self.is_equal(dataset)).count();
            (differ == 0, 2 - differ)
        });
        arrives(&mut connector, "the slot is past the last change", || {
            let sql = format!(
                "SELECT confirmed_flush_lsn > '{}' FROM pg_replication_slots WHERE slot_name = '{}'",
                truth.last, self.database.name
            );
            (self.database.application().value(&sql) == "t", 0)
        });
        for folder in ["audit", "tables"] {
            let config = format!("{folder}/subscriber.toml");
            let report = scene.run(&["subscriber", "--config", &config, "--check"]);
            println!("{report}");
        }
        for process in [file, tables, connector].into_iter().chain(witnesses) {
            assert_eq!(process.stop().0.code(), Some(0));
        }
        for dataset in DATASETS {
            self.stage.log_and_topic_agree(dataset);
        }
        assert!(!scene.tax().join("log/conflicts").exists(), "a witness contradicted the log");
    }

    /// Whether the source's table and the one in the sink hold the same rows.
    fn is_equal(&self, dataset: &str) -> bool {
        let (columns, key) = match dataset {
            "payments" => (
                "payment_id, taxpayer_no, tax_kind, paid_on, channel, receipt_digest, amount, late_fee",
                "payment_id",
            ),
            _ => (
                "taxpayer_no, taxpayer_name, taxpayer_kind, region_code, industry_code, registered_on, active, \
                 representative, representative_id, phone, address",
                "taxpayer_no",
            ),
        };
        let rows = |table: &str| format!("SELECT ROW({columns})::text FROM {table} ORDER BY {key}");
        let source = self.database.application().run(&rows(dataset));
        let sink = self.tables.try_application().unwrap().run(&rows(&format!("govbridge.tax__{dataset}")));
        source == sink
    }
}

/// Counts down when a thread ends, however it ends.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn is_change(line: &str) -> bool {
    line.starts_with("{\"op\":") && !line.starts_with("{\"op\":\"r\"")
}

/// Waits while something moves: whether all is there, and how much is.
fn arrives(process: &mut Process, what: &str, look: impl Fn() -> (bool, usize)) {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let (there, count) = look();
        if there {
            return;
        }
        if count != seen {
            (seen, since) = (count, Instant::now());
        }
        let lives = !process.has_ended() && since.elapsed() < LONG;
        assert!(lives, "{what}: no more than {count} came; it said\n{}", process.said());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// P1 to P4, P11: issue 4's "kill -9 of each process between each pair of stages under load, twenty times, sums compared".
#[test]
fn every_process_killed_again_and_again_loses_repeats_and_reorders_nothing_on_postgresql_and_kafka() {
    let campaign = Campaign::new();
    let witnesses = quorum(&campaign.stage);
    campaign.snapshots();
    let database = Arc::clone(&campaign.database);
    let truth = Truth::begin(&database);
    let load = Load::begin(&database, 4, campaign.server.is_some());
    campaign.run();
    let committed = load.stop();
    campaign.reckon(&truth, committed, witnesses);
}
