//! The stream: images, truncates, large and empty transactions, the slot's place.

use crate::application::Application;
use crate::bench::{Register, claimant, table, words};
use bridge_event::{At, Change, Token, Transaction};
use connectors_postgres::PostgresSource;
use connectors_source::conformance::{Recorder, read};
use connectors_source::{Capture, Polled, Recognised, SnapshotRows, Source, Stop};
use std::time::{Duration, Instant};

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_key_only_image_leaves_the_other_columns_absent() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY, a text)", &["id", "a"], &["id"]);
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'x')");
    application.run("UPDATE t SET a = 'y'");
    application.run("UPDATE t SET id = 2");
    application.run("DELETE FROM t");
    assert_eq!(
        register.changes(),
        [
            "insert 0 [1, 'x']",
            "update 0 [1, 'y']",
            "delete+ 0 [1, absent]",
            "insert 0 [2, 'y']",
            "delete 0 [2, absent]"
        ]
    );
}

#[test]
fn a_long_value_that_an_update_left_alone_is_unchanged() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, n int);
               ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;";
    let register = Register::of(sql, &["id", "a", "b", "n"], &["id"]);
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, repeat('长', 4000), decode(repeat('ff', 5000), 'hex'), 1)");
    application.run("UPDATE t SET n = 2");
    application.run("UPDATE t SET id = 3");
    let changes = register.changes();
    assert_eq!(
        changes[1..],
        [
            "update 0 [1, unchanged, unchanged, 2]",
            "delete+ 0 [1, absent, absent, absent]",
            "insert 0 [3, unchanged, unchanged, 2]"
        ]
    );
}

#[test]
fn a_whole_image_before_fills_what_an_update_left_alone() {
    let sql =
        "CREATE TABLE t (id int PRIMARY KEY, a text, n int); ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
               ALTER TABLE t REPLICA IDENTITY FULL;";
    let register = Register::of(sql, &["id", "a", "n"], &["id"]);
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, repeat('x', 4000), 1)");
    application.run("UPDATE t SET n = 2");
    let long = "x".repeat(4000);
    assert_eq!(register.changes()[1], format!("update 0 [1, '{long}', 1] -> [1, '{long}', 2]"));
}

#[test]
fn a_truncate_names_each_captured_table_in_its_place() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY REFERENCES t);
               CREATE TABLE other (id int PRIMARY KEY);";
    let tables = vec![table("t", &["id"], &["id"]), table("u", &["id"], &["id"])];
    let register = Register::new(sql, tables);
    register
        .application()
        .run("BEGIN; INSERT INTO t VALUES (1); TRUNCATE t, other CASCADE; INSERT INTO t VALUES (2); COMMIT");
    let mut changes = register.changes();
    changes[1..3].sort();
    assert_eq!(changes, ["insert 0 [1]", "truncate 0", "truncate 1", "insert 0 [2]"]);
}

#[test]
fn a_transaction_without_rows_of_these_tables_is_not_given() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY);";
    let register = Register::of(sql, &["id"], &["id"]);
    let mut application = register.application();
    application.run("ALTER PUBLICATION govbridge ADD TABLE other");
    application.run("INSERT INTO other VALUES (1)");
    application.run("BEGIN; INSERT INTO other VALUES (2); INSERT INTO t VALUES (5); COMMIT");
    assert_eq!(register.changes(), ["insert 0 [5]"]);
}

#[test]
fn rolled_back_parts_of_a_transaction_are_not_given() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let mut application = register.application();
    application.run("BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; INSERT INTO t VALUES (2); ROLLBACK TO a; INSERT INTO t VALUES (3); COMMIT");
    assert_eq!(register.changes(), ["insert 0 [1]", "insert 0 [3]"]);
}

#[test]
fn transactions_that_overlap_come_whole_in_commit_order() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let mut sessions: Vec<Application> = (0..3).map(|_| register.application()).collect();
    for session in &mut sessions {
        session.run("BEGIN");
    }
    for id in 0..9 {
        sessions[id % 3].run(&format!("INSERT INTO t VALUES ({id})"));
    }
    for at in [2, 0, 1] {
        sessions[at].run("COMMIT");
    }
    let taken = register.taken();
    let ids: Vec<Vec<String>> = taken.iter().map(|t| t.changes.iter().map(words).collect()).collect();
    let of = |ids: [u32; 3]| ids.map(|id| format!("insert 0 [{id}]")).to_vec();
    assert_eq!(ids, [of([2, 5, 8]), of([0, 3, 6]), of([1, 4, 7])]);
}

#[test]
fn a_partitioned_table_is_one_table() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
               CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);";
    let register = Register::of(sql, &["id", "a"], &["id"]);
    register.application().run("INSERT INTO t VALUES (1, 'x'), (11, 'y')");
    register.application().run("UPDATE t SET id = 12 WHERE id = 1");
    assert_eq!(
        register.changes(),
        ["insert 0 [1, 'x']", "insert 0 [11, 'y']", "delete 0 [1, absent]", "insert 0 [12, 'x']"]
    );
}

#[test]
fn tables_that_are_idle_do_not_hold_the_log_back() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int, filler text);";
    let register = Register::of(sql, &["id"], &["id"]);
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1)");
    let mut source = register.claim().unwrap();
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    let fill = "INSERT INTO other SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 4000) g";
    application.run(fill);
    let slot = format!("FROM pg_replication_slots WHERE slot_name = '{}'", register.server.slot);
    let confirmed =
        |application: &mut Application| application.value(&format!("SELECT confirmed_flush_lsn {slot}"));
    let before = confirmed(&mut application);
    // What was delivered and not acknowledged holds the slot, however much else is written.
    for _ in 0..5 {
        read(&mut source, &mut recorder);
    }
    assert_eq!(confirmed(&mut application), before);
    source.acknowledge(at).unwrap();
    application.run(fill);
    // Nothing here moves the slot by itself: who acknowledges has written it down before.
    let acknowledged = source.acknowledged();
    assert!(read(&mut source, &mut recorder) > acknowledged);
    assert_eq!(source.acknowledged(), acknowledged);
    let end = application.value("SELECT pg_current_wal_lsn()");
    wait_for("the slot's advance", || {
        if let Polled::Idle { at } = source.poll(Duration::from_millis(20), &mut recorder).unwrap() {
            source.acknowledge(at).unwrap();
        }
        application.value(&format!("SELECT '{end}' - confirmed_flush_lsn < 2097152 {slot}")) == "t"
    });
    application.run("INSERT INTO t VALUES (2)");
    drop(source);
    assert_eq!(register.changes(), ["insert 0 [2]"]);
}

/// A path that blocks inside a row.
struct Blocked {
    rows: u64,
    block: Duration,
}

impl Capture for Blocked {
    fn begin(&mut self, _: &Transaction, _: &Token) -> Result<(), Stop> {
        Ok(())
    }

    fn row(&mut self, _: &Change<'_>) -> Result<(), Stop> {
        if self.rows == 0 {
            std::thread::sleep(self.block);
        }
        self.rows += 1;
        Ok(())
    }

    fn commit(&mut self, _: &Transaction) -> Result<(), Stop> {
        Ok(())
    }
}

#[test]
fn the_server_hears_from_a_connector_whose_path_is_blocked() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY, a text)", &["id", "a"], &["id"]);
    let mut application = register.application();
    application
        .run(&format!("ALTER DATABASE {} SET wal_sender_timeout = '1500ms'", register.server.database));
    let mut source = register.claim().unwrap();
    // More than the sockets hold, so that the server waits in the middle of sending.
    application.run("INSERT INTO t SELECT g, repeat('x', 2000) FROM generate_series(1, 20000) g");
    let mut path = Blocked { rows: 0, block: Duration::from_secs(6) };
    while path.rows < 20_000 {
        assert_ne!(source.poll(Duration::from_secs(30), &mut path).unwrap(), Polled::Stopped);
    }
    assert_eq!(path.rows, 20_000);
}

#[test]
fn a_connection_that_the_server_ends_is_made_again() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let mut application = register.application();
    let mut source = register.claim().unwrap();
    application.run("INSERT INTO t VALUES (1)");
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    source.acknowledge(at).unwrap();
    application.run("INSERT INTO t VALUES (2)");
    application.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'govbridge %' AND datname = current_database()");
    // The row may have been on its way already.
    let until = Instant::now() + Duration::from_secs(60);
    let error = loop {
        match source.poll(Duration::from_secs(1), &mut recorder) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < until, "the connection goes on"),
        }
    };
    assert_eq!(error.code(), "CAP001", "{error}");
    source.rewind().unwrap();
    recorder.open = None;
    recorder.taken.truncate(1);
    read(&mut source, &mut recorder);
    let changes: Vec<String> = recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
    assert_eq!(changes, ["insert 0 [1]", "insert 0 [2]"]);
}

#[test]
fn a_row_of_five_megabytes_comes_whole() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY, a bytea)", &["id", "a"], &["id"]);
    register.application().run("INSERT INTO t SELECT 1, decode(repeat('00ff', 2500000), 'hex')");
    register.application().run("INSERT INTO t VALUES (2, '')");
    let taken = register.taken();
    assert_eq!(taken.len(), 2);
    let connectors_source::conformance::Held::Bytes(bytes) = &taken[0].changes[0].after.as_ref().unwrap()[1]
    else {
        panic!()
    };
    assert_eq!(bytes.len(), 5_000_000);
    assert!(bytes.chunks(2).all(|pair| pair == [0, 255]));
}

#[test]
fn a_unix_socket_serves_as_well() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let folder = register.application().value("SHOW unix_socket_directories");
    register.application().run("INSERT INTO t SELECT generate_series(1, 5000)");
    let server = connectors_postgres::Server { host: folder, ..register.server.clone() };
    let mut source = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap();
    let mut recorder = Recorder::counting();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.rows, 5000);
}

/// Where a snapshot stands.
#[derive(Default)]
struct Stands(Option<(At, Token)>);

impl SnapshotRows for Stands {
    fn begin(&mut self, as_of: At, token: &Token) -> Result<(), Stop> {
        self.0 = Some((as_of, token.clone()));
        Ok(())
    }

    fn row(&mut self, _: &Change<'_>) -> Result<(), Stop> {
        Ok(())
    }
}

#[test]
fn a_snapshots_place_is_recognised_by_the_next_claim_before_anything_was_acknowledged() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let mut stands = Stands::default();
    register.claim().unwrap().snapshot(&[0], &mut stands).unwrap();
    let (at, token) = stands.0.unwrap();
    register.application().run("INSERT INTO t VALUES (1)");
    let mut source = register.claim().unwrap();
    assert_eq!(source.recognises(at, &token).unwrap(), Recognised::Same);
    // What comes after the snapshot is still there.
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 1);
}
