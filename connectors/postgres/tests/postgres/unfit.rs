//! Servers that capture cannot be right with, and slots that the server gave up.

use crate::bench::{Register, table};
use crate::cluster::Cluster;
use connectors_postgres::create;
use connectors_source::conformance::{Recorder, Snapshot, read};
use connectors_source::{Finding, Severity, Source, SourceError, Table};
use std::time::{Duration, Instant};

fn refused(register: &Register, words: &[&str]) {
    let error = create(&register.server, "first", &register.tables).unwrap_err();
    assert_eq!(error.code(), "CAP005", "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn a_server_that_does_not_decode_or_has_no_slot_or_walsender_free_is_refused_with_its_remedy() {
    let mut cluster = Cluster::start(&["wal_level=replica"]);
    let sql = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
    let register = Register::bare_on(cluster.port(), sql, vec![table("t", &["id"], &["id"])]);
    refused(&register, &["wal_level is replica", "set wal_level = logical"]);
    cluster.stop_fast();
    cluster.begin_with(&["max_wal_senders=1"]);
    refused(&register, &["no walsender is free", "raise max_wal_senders"]);
    cluster.stop_fast();
    cluster.begin_with(&["max_replication_slots=2"]);
    let mut application = register.application();
    application.run("SELECT pg_create_physical_replication_slot('a')");
    refused(&register, &["no replication slot is free", "raise max_replication_slots"]);
    application.run("SELECT pg_drop_replication_slot('a')");
    create(&register.server, "first", &register.tables).unwrap();

    // One slot is enough for the stream, and not for a snapshot.
    application.run("SELECT pg_create_physical_replication_slot('a'); INSERT INTO t VALUES (2)");
    let mut source = register.claim().unwrap();
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 1);
    let error = source.snapshot(&[0], &mut Snapshot::default()).unwrap_err();
    assert_eq!(error.code(), "CAP005", "{error}");
    assert!(error.to_string().contains("raise max_replication_slots"), "{error}");
    application.run("SELECT pg_drop_replication_slot('a')");
    let mut snapshot = Snapshot::default();
    source.snapshot(&[0], &mut snapshot).unwrap();
    assert_eq!(snapshot.rows.len(), 2);
}

/// A text whose type nobody names could be anything.
#[test]
fn a_type_that_is_sent_as_text_stands_in_the_contract_with_its_name() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, a inet, b bit(3), c varchar(10), d int, e time(3) with time zone)";
    let asked = |types: [Option<&str>; 5]| {
        let types = [None].into_iter().chain(types).map(|name| name.map(str::to_owned)).collect();
        Table { types, ..table("t", &["id", "a", "b", "c", "d", "e"], &["id"]) }
    };
    let mut register = Register::bare(sql, vec![asked([None; 5])]);
    let refusals = |register: &Register| -> Vec<Finding> {
        let found = connectors_postgres::preflight(&register.server, &register.tables).unwrap();
        found.into_iter().filter(|finding| finding.severity == Severity::Refused).collect()
    };
    let found = refusals(&register);
    for (finding, name) in found.iter().zip(["inet", "bit", "time with time zone"]) {
        assert!(finding.what.contains("which is sent as its text"), "{finding:?}");
        assert!(finding.remedy.contains(&format!("source_type = \"{name}\" in")), "{finding:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
    refused(&register, &["column a is of type inet, which is sent as its text"]);
    let names = [Some("inet"), Some("bit"), Some("text"), Some("bigint"), Some("time(3) with time zone")];
    register.tables = vec![asked(names)];
    let words: Vec<String> =
        refusals(&register).into_iter().map(|f| format!("{}; {}", f.what, f.remedy)).collect();
    assert_eq!(
        words,
        [
            "column c is of type character varying(10), and its source_type in the contract is text; write source_type = \"character varying\" there",
            "column d is of type integer, and its source_type in the contract is bigint; write source_type = \"integer\" there",
        ]
    );
    register.tables = vec![asked([names[0], names[1], Some("character varying"), Some("integer"), names[4]])];
    create(&register.server, "first", &register.tables).unwrap();
    register.claim().unwrap();
}

/// Writes into the server's log, and lets it remove what no limit keeps, until the slot has the state.
fn until_lost(register: &Register) {
    let mut application = register.application();
    let slot = format!(
        "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = '{}'",
        register.server.slot
    );
    let until = Instant::now() + Duration::from_secs(60);
    while application.value(&slot) != "t" {
        assert!(Instant::now() < until, "the server keeps the slot");
        application.run("INSERT INTO other VALUES (repeat('x', 1000))");
        application.run("SELECT pg_switch_wal()");
        application.run("CHECKPOINT");
    }
}

/// P6: an operator is told before the server gives a slot up.
#[test]
fn what_a_slot_holds_of_the_log_is_measured_against_the_servers_limit() {
    let cluster = Cluster::start(&["max_slot_wal_keep_size=64MB"]);
    let register = Register::on(cluster.port(), "CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let mut gauge = register.claim().unwrap().gauge().unwrap();
    let before = gauge.retained().unwrap();
    let mib = |bytes: u64| bytes >> 20;
    assert!(mib(before.bytes) < 16 && (64..=96).contains(&mib(before.limit.unwrap())), "{before:?}");
    register.application().run("SELECT pg_logical_emit_message(false, 'x', repeat('x', 24 << 20))");
    let after = gauge.retained().unwrap();
    assert!(after.bytes >= before.bytes + (20 << 20), "{before:?} {after:?}");
    assert!(mib(after.limit.unwrap().abs_diff(before.limit.unwrap())) <= 16, "{before:?} {after:?}");
    // Where the server sets no limit there is none.
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    assert_eq!(register.claim().unwrap().gauge().unwrap().retained().unwrap().limit, None);
}

/// P6: what was committed since is in no log.
#[test]
fn a_slot_that_the_server_invalidated_halts_while_it_streams_and_at_every_claim() {
    let mut cluster = Cluster::start(&["max_slot_wal_keep_size=2MB"]);
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (filler text)";
    let register = Register::on(cluster.port(), sql, &["id"], &["id"]);
    let mut application = register.application();
    let mut source = register.claim().unwrap();
    application.run("INSERT INTO t VALUES (1)");
    let mut recorder = Recorder::default();
    // Nothing is acknowledged: the slot holds the server's log until the limit.
    read(&mut source, &mut recorder);
    until_lost(&register);
    application.run("INSERT INTO t VALUES (2)");
    let halt = loop {
        // The server ends the walsender first, which alone might be a restart.
        match source.poll(Duration::from_secs(1), &mut recorder) {
            Err(SourceError::Unavailable { .. }) => break source.rewind().unwrap_err(),
            Err(error) => break error,
            Ok(_) => {}
        }
    };
    for error in [halt, source.poll(Duration::ZERO, &mut recorder).unwrap_err()] {
        assert_eq!(error.code(), "CAP007", "{error}");
        assert!(error.to_string().contains("max_slot_wal_keep_size"), "{error}");
    }
    assert_eq!(recorder.taken.len(), 1);
    drop(source);
    assert_eq!(register.claim().unwrap_err().code(), "CAP007");

    if application.value("SHOW server_version_num").parse::<u32>().unwrap() < 180_000 {
        return;
    }
    application.run(&format!("SELECT pg_drop_replication_slot('{}')", register.server.slot));
    create(&register.server, "second", &register.tables).unwrap();
    drop(register.claim().unwrap());
    cluster.stop_fast();
    cluster.begin_with(&["idle_replication_slot_timeout=1s"]);
    until_lost(&register);
    let error = register.claim().unwrap_err();
    assert_eq!(error.code(), "CAP007", "{error}");
    assert!(error.to_string().contains("idle_replication_slot_timeout"), "{error}");
}

/// P12: what waits is seen, can be ended, and leaves nothing behind.
#[test]
fn a_slot_that_waits_for_an_open_transaction_is_seen_and_ended_and_made_later() {
    let cluster = Cluster::start(&["max_prepared_transactions=2"]);
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)";
    let register = Register::bare_on(cluster.port(), sql, vec![table("t", &["id"], &["id"])]);
    let mut application = register.application();
    application.run("BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'forgotten'");
    let found = connectors_postgres::preflight(&register.server, &register.tables).unwrap();
    assert!(found.iter().any(|f| f.what.contains("prepared transaction 'forgotten'")), "{found:?}");

    let (server, tables) = (register.server.clone(), register.tables.clone());
    let creation = std::thread::spawn(move || create(&server, "first", &tables));
    let waits = "SELECT coalesce(min(pid), 0) FROM pg_stat_activity \
                  WHERE application_name = 'govbridge --create' AND wait_event_type = 'Lock'";
    let until = Instant::now() + Duration::from_secs(60);
    let pid = loop {
        let pid = application.value(waits);
        if pid != "0" {
            break pid;
        }
        assert!(Instant::now() < until && !creation.is_finished(), "nobody waits");
        std::thread::sleep(Duration::from_millis(10));
    };
    let error = register.claim().unwrap_err();
    assert!(error.code() == "CAP002" && error.to_string().contains("govbridge --create"), "{error}");
    let still = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    assert_eq!(application.value(&still), "1", "a claim does not end the creation");
    application.run(&format!("SELECT pg_cancel_backend({pid})"));
    assert_eq!(creation.join().unwrap().unwrap_err().code(), "CAP001");
    application.run("COMMIT PREPARED 'forgotten'");
    assert_eq!(application.value("SELECT count(*) FROM pg_replication_slots"), "0");
    let created = create(&register.server, "second", &register.tables).unwrap();
    assert!(created.slot_made);
    register.claim().unwrap();
}

/// P16: a table joins only when nobody writes into it, so that no open transaction's rows are lost.
#[test]
fn a_table_that_somebody_writes_into_joins_only_after_its_commit() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)";
    let mut register = Register::of(sql, &["id"], &["id"]);
    register.tables.push(table("u", &["id"], &["id"]));
    let (mut application, mut other) = (register.application(), register.application());
    application.run("BEGIN; INSERT INTO u VALUES (1)");
    let (server, tables) = (register.server.clone(), register.tables.clone());
    let creation = std::thread::spawn(move || create(&server, "first", &tables));
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock' \
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let until = Instant::now() + Duration::from_secs(60);
    while !creation.is_finished() && other.value(waits) == "0" {
        assert!(Instant::now() < until, "nobody waits");
    }
    application.run("INSERT INTO u VALUES (2)");
    application.run("COMMIT");
    // On a machine that stood still meanwhile, the wait for the lock ended first.
    if creation.join().unwrap().is_err() {
        create(&register.server, "first", &register.tables).unwrap();
    }
    application.run("INSERT INTO u VALUES (3)");
    assert_eq!(register.changes(), ["insert 1 [3]"]);
}
