//! What else stands in the server's log: prepared transactions, messages, origins, rolled back parts, other databases.

use crate::bench::{Register, words};
use crate::cluster::Cluster;
use connectors_source::conformance::{Recorder, read};
use connectors_source::{Polled, Source};
use std::time::{Duration, Instant};

/// Rows that the storm of savepoints keeps.
const KEPT: u32 = 60;

/// A transaction that is far over the server's memory for decoding, whose parts are rolled back one after the other (P18, P19).
fn storm() -> String {
    let parts = (0..KEPT).map(|part| {
        let (first, last) = (1_000_000 + part * 100, 1_000_000 + part * 100 + 99);
        format!(
            "SAVEPOINT a; INSERT INTO t SELECT g, repeat('y', 500) FROM generate_series({first}, {last}) g; ROLLBACK TO a; \
             INSERT INTO t VALUES ({}, 'kept'); ",
            1000 + part
        )
    });
    format!("BEGIN; {}COMMIT", parts.collect::<String>())
}

#[test]
fn prepared_transactions_messages_origins_and_savepoints_leave_the_order_of_commits() {
    let cluster = Cluster::start(&["max_prepared_transactions=5", "logical_decoding_work_mem=64kB"]);
    let sql = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let register = Register::on(cluster.port(), sql, &["id"], &["id"]);
    let mut application = register.application();
    for sql in [
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'",
        "INSERT INTO t VALUES (2)",
        "SELECT pg_logical_emit_message(false, 'p', 'outside of a transaction')",
        "BEGIN; SELECT pg_logical_emit_message(true, 'p', 'nothing but this'); COMMIT",
        "BEGIN; INSERT INTO t VALUES (3); SELECT pg_logical_emit_message(true, 'p', 'm'); INSERT INTO t VALUES (4); COMMIT",
        "BEGIN; INSERT INTO t VALUES (90); PREPARE TRANSACTION 'two'",
        "COMMIT PREPARED 'one'",
        "ROLLBACK PREPARED 'two'",
        "SELECT pg_replication_origin_create('elsewhere')",
        "SELECT pg_replication_origin_session_setup('elsewhere')",
        "BEGIN; SELECT pg_replication_origin_xact_setup('0/ABCDEF', now()); INSERT INTO t VALUES (5); COMMIT",
        "SELECT pg_replication_origin_session_reset()",
        "BEGIN; SAVEPOINT a; INSERT INTO t VALUES (91); ROLLBACK TO a; COMMIT",
        "BEGIN; INSERT INTO t SELECT g, repeat('z', 500) FROM generate_series(2000000, 2002000) g; ROLLBACK",
        &storm(),
        "INSERT INTO t VALUES (6)",
    ] {
        application.run(sql);
    }
    let mut source = register.claim().unwrap();
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    let transactions: Vec<Vec<String>> =
        recorder.taken.iter().map(|t| t.changes.iter().map(words).collect()).collect();
    let of = |ids: &[u32]| ids.iter().map(|id| format!("insert 0 [{id}]")).collect::<Vec<_>>();
    let kept: Vec<u32> = (1000..1000 + KEPT).collect();
    assert_eq!(transactions, [of(&[2]), of(&[3, 4]), of(&[1]), of(&[5]), of(&kept), of(&[6])]);
    source.acknowledge(at).unwrap();

    // P7: what another database writes holds nothing back.
    let mut elsewhere = cluster.application("postgres");
    elsewhere.run("CREATE TABLE noise AS SELECT repeat(md5(g::text), 30) FROM generate_series(1, 4000) g");
    elsewhere.run("SELECT pg_logical_emit_message(false, 'p', repeat('m', 10000))");
    let end = elsewhere.value("SELECT pg_current_wal_lsn()");
    let behind = format!(
        "SELECT '{end}' - confirmed_flush_lsn < 2097152 FROM pg_replication_slots WHERE slot_name = '{}'",
        register.server.slot
    );
    let until = Instant::now() + Duration::from_secs(60);
    while elsewhere.value(&behind) != "t" {
        assert!(Instant::now() < until, "the slot stands still");
        if let Polled::Idle { at } = source.poll(Duration::from_millis(20), &mut recorder).unwrap() {
            source.acknowledge(at).unwrap();
        }
    }
    application.run("INSERT INTO t VALUES (7)");
    drop(source);
    assert_eq!(register.changes(), ["insert 0 [7]"]);
}
