//! Another server at the same address while the connector runs: restored from a copy, promoted, or a stranger.

use crate::bench::{Register, claimant, words};
use crate::cluster::Cluster;
use connectors_postgres::{PostgresSource, Server};
use connectors_source::conformance::{Recorder, read};
use connectors_source::{Polled, Source, SourceError};
use std::path::PathBuf;
use std::time::Duration;

const SQL: &str = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (filler text)";

/// Log of so many rows that are not captured, about 1 KiB each.
fn much(rows: u32) -> String {
    format!("INSERT INTO other SELECT repeat(md5(g::text), 30) FROM generate_series(1, {rows}) g")
}

/// A server with a copy that was made when two rows were acknowledged, and a source that read on after it.
struct Restored {
    // Ends before the server does.
    source: PostgresSource,
    recorder: Recorder,
    register: Register,
    copy: PathBuf,
    cluster: Cluster,
}

impl Restored {
    fn new() -> Restored {
        let mut cluster = Cluster::start(&[]);
        let register = Register::on(cluster.port(), SQL, &["id"], &["id"]);
        let mut recorder = Recorder::default();
        let mut source = register.claim().unwrap();
        register.application().run("INSERT INTO t VALUES (1)");
        register.application().run("INSERT INTO t VALUES (2)");
        let at = read(&mut source, &mut recorder);
        source.acknowledge(at).unwrap();
        drop(source);
        cluster.stop_fast();
        let copy = cluster.copy();
        cluster.begin();
        // Before 17 a server forgets at its end what was acknowledged last, and gives it again.
        let mut recorder = Recorder::default();
        let mut source = register.claim().unwrap();
        register.application().run("INSERT INTO t VALUES (3)");
        register.application().run(&much(200));
        register.application().run("INSERT INTO t VALUES (4)");
        let at = read(&mut source, &mut recorder);
        source.acknowledge(at).unwrap();
        Restored { source, recorder, register, copy, cluster }
    }

    /// The source notices that its connection broke.
    fn breaks(&mut self) {
        for _ in 0..1000 {
            match self.source.poll(Duration::from_millis(100), &mut self.recorder) {
                Err(error) => return assert_eq!(error.code(), "CAP001", "{error}"),
                Ok(polled) => assert_ne!(polled, Polled::Stopped),
            }
        }
        panic!("the source goes on");
    }

    /// Reads on as the pipeline does, until something halts.
    fn halts(&mut self) -> SourceError {
        for _ in 0..1000 {
            let done = match self.source.rewind() {
                Ok(()) => self.source.poll(Duration::from_millis(100), &mut self.recorder).map(drop),
                Err(error) => Err(error),
            };
            match done {
                Err(SourceError::Unavailable { .. }) | Ok(()) => {}
                Err(error) => return error,
            }
        }
        panic!("the source goes on");
    }

    /// The changes so far, from the third on.
    fn changes(&self) -> Vec<String> {
        let changes: Vec<String> = self.recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
        changes.into_iter().skip_while(|change| change != "insert 0 [3]").collect()
    }
}

/// P15: the rows of the restored server stand in places that were delivered already; they would be passed over.
#[test]
fn a_server_that_was_restored_from_a_copy_while_it_was_read_halts_and_keeps_its_slot() {
    let mut restored = Restored::new();
    restored.cluster.crash();
    restored.breaks();
    restored.cluster.stand_on(&restored.copy);
    let again = restored.cluster.copy();
    restored.cluster.begin();
    let error = restored.halts();
    assert_eq!(error.code(), "CAP008", "{error}");
    assert!(error.to_string().contains("log ends at"), "{error}");

    // The same, when the restored server was written beyond the lost end before it is met.
    restored.cluster.crash();
    restored.cluster.stand_on(&again);
    restored.cluster.begin();
    let mut application = restored.register.application();
    let slot = "SELECT confirmed_flush_lsn FROM pg_replication_slots";
    let before = application.value(slot);
    application.run("INSERT INTO t VALUES (5)");
    application.run(&much(2000));
    application.run("INSERT INTO t VALUES (6)");
    let error = restored.halts();
    assert_eq!(error.code(), "CAP008", "{error}");
    assert!(error.to_string().contains("no longer has the transaction"), "{error}");
    assert_eq!(
        restored.changes(),
        ["insert 0 [3]", "insert 0 [4]"],
        "nothing of the other history was given"
    );
    assert_eq!(application.value(slot), before, "and nothing of it acknowledged");
}

/// P13, P14: what the old primary had last may be missing on the new one.
#[test]
fn a_standby_that_was_promoted_and_a_stranger_halt_at_the_same_address() {
    let mut restored = Restored::new();
    restored.cluster.crash();
    let (own, whole) = (restored.cluster.data().to_owned(), restored.cluster.copy());
    restored.breaks();
    restored.cluster.stand_on(&whole);
    restored.cluster.begin_as_standby();
    let error = restored.source.rewind().unwrap_err();
    assert_eq!(error.code(), "CAP001", "it may be promoted: {error}");
    let server = Server { slot: "another".to_owned(), ..restored.register.server.clone() };
    let error = PostgresSource::claim(&server, &restored.register.tables, &claimant()).unwrap_err();
    assert!(error.to_string().contains("standby") && error.code() == "CAP005", "{error}");
    restored.cluster.promote();
    restored.register.application().run("INSERT INTO t VALUES (5)");
    let error = restored.halts();
    assert_eq!(error.code(), "CAP007", "{error}");
    assert!(error.to_string().contains("timeline 2"), "{error}");

    restored.cluster.stop_fast();
    restored.cluster.stand_on_new();
    restored.cluster.begin();
    let name = restored.register.server.database.clone();
    restored.cluster.application("postgres").run(&format!("CREATE DATABASE {name}"));
    restored.register.application().run(SQL);
    connectors_postgres::create(&restored.register.server, "first", &restored.register.tables).unwrap();
    let error = restored.halts();
    assert_eq!(error.code(), "CAP007", "{error}");
    assert!(error.to_string().contains("it was system"), "{error}");

    // The one that it was is taken up where it was left.
    restored.cluster.stop_fast();
    restored.cluster.stand_on(&own);
    restored.cluster.begin();
    restored.register.application().run("INSERT INTO t VALUES (5)");
    restored.source.rewind().unwrap();
    read(&mut restored.source, &mut restored.recorder);
    assert_eq!(restored.changes(), ["insert 0 [3]", "insert 0 [4]", "insert 0 [5]"]);
}
