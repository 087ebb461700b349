//! A connector on a real PostgreSQL: one slot, several streams. kill -9 between the stages, a place that somebody else moved,
//! a table that joins later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::application::{Application, port};
use crate::process::{PATIENCE, Process};
use crate::reckoning::{Stage, killed_by, refused};
use crate::running::{FAULT, SMALL_BATCHES, quorum};
use serde_json::Value;

const TABLES: &str =
    "CREATE TABLE payments (payment_id bigint PRIMARY KEY, taxpayer_no varchar(20) NOT NULL, tax_kind text NOT NULL,
       paid_on date NOT NULL, channel text NOT NULL, receipt_digest bytea, amount numeric(14,2) NOT NULL, late_fee numeric(14,2));
     CREATE TABLE taxpayers (taxpayer_no text PRIMARY KEY, taxpayer_name text NOT NULL, taxpayer_kind text NOT NULL,
       region_code int NOT NULL, industry_code text, registered_on date NOT NULL, active boolean NOT NULL,
       representative text NOT NULL, representative_id text, phone text, address text, risk_score float8);
     INSERT INTO taxpayers SELECT 'T' || g, '青禾', '企业', 990102, NULL, '2009-04-18', true, '周', NULL, '0', NULL, NULL
       FROM generate_series(1, 200) g;
     CREATE TABLE other (id int, filler text);";

/// A database of the tax department; it and its slot end with this.
pub struct Database {
    pub name: String,
    port: u16,
}

impl Database {
    /// One on the server at this port.
    pub fn new(name: &str, port: u16) -> Database {
        let database = Database { name: format!("faults_{name}_{}", std::process::id()), port };
        database.make();
        database
    }

    /// Makes it on the server as that is now.
    pub fn make(&self) {
        Application::connect(self.port, "postgres").run(&format!("CREATE DATABASE {}", self.name));
        self.application().run(TABLES);
    }

    pub fn application(&self) -> Application {
        Application::connect(self.port, &self.name)
    }

    /// The same while the server may be away.
    pub fn try_application(&self) -> Result<Application, String> {
        Application::try_connect(self.port, &self.name)
    }

    /// What each table holds: the key and one column that changes.
    fn tables(&self) -> [BTreeMap<String, String>; 2] {
        let queries = [
            "SELECT payment_id, amount FROM payments",
            "SELECT taxpayer_no, coalesce(phone, '') FROM taxpayers",
        ];
        queries.map(|sql| {
            let rows = self.application().run(sql);
            rows.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap())).collect()
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server of the test's own may be gone.
        let Ok(mut application) = Application::try_connect(self.port, "postgres") else { return };
        let name = &self.name;
        let until = Instant::now() + Duration::from_secs(20);
        let drop = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'"
        );
        while application.attempt(&drop).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = application.attempt(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}

/// An application that writes into both tables until it is told to stop; it counts its changes of each. Where the server goes
/// away, it looks afterwards whether its last transaction was committed.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<[u64; 2]>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    pub fn begin(database: &Database, first: u64) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut application) = (Arc::clone(&stop), database.application());
        let (port, name) = (database.port, database.name.clone());
        let thread = std::thread::spawn(move || {
            let (mut id, mut changes) = (first, [0, 0]);
            while !stopped.load(Ordering::SeqCst) {
                let (sql, payments, taxpayers) = transaction(id);
                let committed = application.attempt(&sql).is_ok() || {
                    application = connect_again(port, &name);
                    application.value(&is_committed(id)) == "t"
                };
                id += 10;
                if committed {
                    changes[0] += payments;
                    changes[1] += taxpayers;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            changes
        });
        Writer { stop, thread: Some(thread) }
    }

    pub fn stop(mut self) -> [u64; 2] {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// A session with a server that was away a moment ago.
fn connect_again(port: u16, database: &str) -> Application {
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        match Application::try_connect(port, database) {
            Ok(application) => return application,
            Err(error) => assert!(Instant::now() < until, "the server stays away: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether [`transaction`] of this number was committed.
fn is_committed(id: u64) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM payments WHERE payment_id IN ({id}, {id} + 1)) \
             OR EXISTS (SELECT FROM taxpayers WHERE phone = '{id}')"
    )
}

/// A transaction, and how many changes of each table it makes: of one table, of both in turn, with a part rolled back.
pub fn transaction(id: u64) -> (String, u64, u64) {
    let pay = |id: u64| {
        format!(
            "INSERT INTO payments VALUES ({id}, 'T1', '增值税', '2026-09-01', '银行', NULL, {id}.50, NULL);"
        )
    };
    let phone = |no: u64| format!("UPDATE taxpayers SET phone = '{id}' WHERE taxpayer_no = 'T{no}';");
    let no = id % 200 + 1;
    match id / 10 % 4 {
        0 => (pay(id), 1, 0),
        1 => (phone(no), 0, 1),
        2 => {
            let sql =
                [pay(id), phone(no), pay(id + 1), "SAVEPOINT a;".to_owned(), pay(id + 2), phone(no + 1)];
            let end = format!("ROLLBACK TO a; DELETE FROM payments WHERE payment_id = {id}; COMMIT");
            (format!("BEGIN; {} {end}", sql.concat()), 3, 1)
        }
        _ => {
            let sql = format!(
                "BEGIN; {} UPDATE payments SET payment_id = {} WHERE payment_id = {id}; UPDATE taxpayers SET phone = '{id}' \
                 WHERE taxpayer_no IN ('T7', 'T8', 'T9'); COMMIT",
                pay(id),
                id + 1
            );
            (sql, 3, 3)
        }
    }
}

/// Gives a stage's connector a database as its source.
pub fn replace_source(stage: &Stage, database: &Database) {
    let Database { name, port } = database;
    stage.scene.replace_source(&format!(
        "engine = \"postgres\"\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"{name}\"\nuser = \"postgres\"\nslot = \"{name}\"",
    ));
}

/// Waits until the last part of both snapshots stands in Kafka.
pub fn until_snapshots_are_sent(stage: &Stage, connector: &mut Process) {
    connector.until("both snapshots are sent", || {
        ["payments", "taxpayers"].iter().all(|dataset| {
            let accepted = stage.accepted(dataset);
            accepted.iter().any(|(header, _)| header.snapshot.as_ref().is_some_and(|part| part.last))
        })
    });
}

/// A stage whose connector reads a database of its own.
pub struct Town {
    pub stage: Stage,
    witnesses: Vec<Process>,
    pub database: Database,
}

impl Town {
    pub fn new(name: &str) -> Town {
        Town::on(name, port())
    }

    /// The same on a server of the test's own.
    pub fn on(name: &str, port: u16) -> Town {
        let stage = Stage::new(&["payments", "taxpayers"]);
        let database = Database::new(name, port);
        replace_source(&stage, &database);
        let witnesses = quorum(&stage);
        stage.scene.make_subscriber("audit", "");
        Town { stage, witnesses, database }
    }

    /// Waits until the auditor has these changes, and compares what they give with the tables.
    pub fn reckon(self, connector: Process, mut auditor: Process, changes: [u64; 2]) {
        let mut seen = [u64::MAX; 2];
        auditor.until(&format!("{changes:?} are received"), || {
            let received = Received::of(&self.stage.scene.rows("audit")).changes;
            if std::mem::replace(&mut seen, received) != received {
                println!("{received:?} of {changes:?} are received");
            }
            received[0] >= changes[0] && received[1] >= changes[1]
        });
        assert_eq!(connector.stop().0.code(), Some(0));
        let received = Received::of(&self.stage.scene.rows("audit"));
        assert_eq!(received.changes, changes, "every change once");
        assert_eq!(received.tables, self.database.tables());
        assert_eq!(auditor.stop().0.code(), Some(0));
        for dataset in ["payments", "taxpayers"] {
            self.stage.log_and_topic_agree(dataset);
        }
        drop(self.witnesses);
    }

    /// A connector whose snapshots are sent.
    pub fn connector_after_the_snapshots(&self) -> Process {
        let mut connector = self.stage.scene.connector();
        connector.healthy();
        until_snapshots_are_sent(&self.stage, &mut connector);
        connector
    }

    /// Changes of each table that the auditor has received.
    pub fn received(&self) -> [u64; 2] {
        Received::of(&self.stage.scene.rows("audit")).changes
    }

    fn confirmed(&self) -> String {
        let slot = &self.database.name;
        self.database.application().value(&format!(
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{slot}'"
        ))
    }
}

/// What the auditor's lines give, strictly: a row that is inserted was not there, one that is changed was.
#[derive(Debug, Default)]
struct Received {
    changes: [u64; 2],
    tables: [BTreeMap<String, String>; 2],
    /// The snapshots' newest: one that was broken off counts for nothing.
    generations: [u64; 2],
}

impl Received {
    fn of(lines: &[String]) -> Received {
        let mut received = Received::default();
        let mut last = [(0, 0); 2];
        for line in lines {
            let line: Value = serde_json::from_str(line).unwrap();
            let Some(operation) = line["op"].as_str() else { continue };
            let which = usize::from(line["source"]["dataset"] == "taxpayers");
            let (key, column) = [("payment_id", "amount"), ("taxpayer_no", "phone")][which];
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let table = &mut received.tables[which];
            if operation != "r" {
                let at =
                    (line["source"]["commit"].as_u64().unwrap(), line["source"]["ordinal"].as_u64().unwrap());
                assert!(at > last[which], "{at:?} after {:?}: {line}", last[which]);
                last[which] = at;
                received.changes[which] += 1;
            } else {
                let generation = line["provenance"]["snapshot"]["generation"].as_u64().unwrap();
                if std::mem::replace(&mut received.generations[which], generation) != generation {
                    table.clear();
                }
            }
            if operation == "d" {
                assert!(table.remove(&word(&line["before"][key])).is_some(), "{line}");
                continue;
            }
            let before = table.insert(word(&line["after"][key]), word(&line["after"][column]));
            assert_eq!(before.is_some(), operation == "u", "{line}");
        }
        received
    }
}

/// P1, P2, P3, P4, P11: twenty lives are killed between the stages while both tables are written.
#[test]
fn a_connector_on_postgresql_killed_between_stages_repeats_and_loses_nothing() {
    let town = Town::new("kills");
    let connector = town.connector_after_the_snapshots();
    let auditor = town.stage.scene.subscriber("audit");
    assert_eq!(connector.stop().0.code(), Some(0));
    let writer = Writer::begin(&town.database, 1_000_000);
    let faults =
        ["after-encode", "after-seal", "after-publish", "before-append", "after-append", "after-acknowledge"];
    let starts = ["after-epoch:1", "after-fence:1"];
    let mut kills = 0;
    for (turn, passing) in [1, 5, 2].into_iter().enumerate() {
        for fault in faults {
            let passing = if fault == "after-acknowledge" { passing.min(2) } else { passing };
            let fault = format!("{fault}:{passing}");
            let small = SMALL_BATCHES[0];
            // In every second round each row is a batch, so that transactions are open when it falls.
            let environment = if turn == 1 { vec![small, (FAULT, &*fault)] } else { vec![(FAULT, &*fault)] };
            killed_by(town.stage.scene.connector_with(&[], &environment), &fault);
            kills += 1;
        }
        if let Some(fault) = starts.get(turn) {
            killed_by(town.stage.scene.connector_with(&[], &[(FAULT, fault)]), fault);
            kills += 1;
        }
    }
    assert_eq!(kills, 20);
    let changes = writer.stop();
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    town.reckon(connector, auditor, changes);
}

/// P5: what was committed between is in no log, and nobody downstream would miss it.
#[test]
fn a_slot_that_somebody_moved_or_made_anew_halts_before_anything_is_sent() {
    let town = Town::new("moved");
    let slot = town.database.name.clone();
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    let mut application = town.database.application();
    application.run(&transaction(20).0);
    // P7: what other tables write does not hold the slot.
    application.run("INSERT INTO other SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 8000) g");
    let end = application.value("SELECT pg_current_wal_lsn()");
    connector.until("the slot moves over what is not ours", || {
        let sql = format!("SELECT '{end}'::pg_lsn - '{}'::pg_lsn < 2097152", town.confirmed());
        town.database.application().value(&sql) == "t"
    });
    assert_eq!(connector.stop().0.code(), Some(0));
    let sent = town.stage.log_and_topic_agree("payments");
    // A restart after that begins where it was left.
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    assert_eq!(connector.stop().0.code(), Some(0));

    application.run(&transaction(60).0);
    let free = Instant::now() + PATIENCE;
    while application
        .attempt(&format!("SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"))
        .is_err()
    {
        assert!(Instant::now() < free, "the slot stays active");
    }
    let said = refused(town.stage.scene.connector(), 1, "STA029");
    assert!(said.contains("GAP"), "{said}");
    // The publication and its comment are still there, so nothing but the place tells.
    application.run(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    refused(town.stage.scene.connector(), 1, "CAP007");
    application.run(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    refused(town.stage.scene.connector(), 1, "STA029");
    assert_eq!(town.stage.log_and_topic_agree("payments"), sent, "nothing was sent");
}

/// S3, P16: the new table begins with its own snapshot; the other stream goes on where it was.
#[test]
fn a_table_that_joins_later_begins_with_its_snapshot_and_the_others_go_on() {
    let town = Town::new("joins");
    let path = town.stage.scene.tax().join("connector.toml");
    let both = std::fs::read_to_string(&path).unwrap();
    let list = both.lines().find(|line| line.starts_with("contracts")).unwrap();
    let first = list.split_once(", ").unwrap().0.to_owned() + "]";
    std::fs::write(&path, both.replace(list, &first)).unwrap();
    let writer = Writer::begin(&town.database, 1_000_000);
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    connector.until("the first stream streams", || {
        town.stage.accepted("payments").last().is_some_and(|(header, _)| header.snapshot.is_none())
    });
    connector.kill();
    std::fs::write(&path, &both).unwrap();
    // The kill left rows in the slot that the stream has or lacks; the snapshot begins under load, and is broken off once.
    let fault = "in-snapshot:50";
    killed_by(town.stage.scene.connector_with(&[], &[SMALL_BATCHES[0], (FAULT, fault)]), fault);
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    let mut auditor = town.stage.scene.subscriber("audit");
    let snapshots = |lines: Vec<String>| lines.iter().filter(|l| l.contains("\"op\":\"r\"")).count();
    auditor.until("the snapshot is received", || snapshots(town.stage.scene.rows("audit")) >= 200);
    writer.stop();
    // Changes before the snapshot are in it: what counts is what the tables hold.
    auditor.until("all is received", || {
        Received::of(&town.stage.scene.rows("audit")).tables == town.database.tables()
    });
    let changes = Received::of(&town.stage.scene.rows("audit")).changes;
    town.reckon(connector, auditor, changes);
}
