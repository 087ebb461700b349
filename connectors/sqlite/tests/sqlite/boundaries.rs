//! Transactions, the kept place, and what happens to a changelog that somebody touches.

use crate::bench::{Register, claimant, table};
use connectors_source::conformance::{Recorder, Snapshot, Taken, read};
use connectors_source::{Polled, Recognised, Source, SourceError};
use connectors_sqlite::SqliteSource;
use std::time::Duration;

fn register() -> Register {
    Register::of("CREATE TABLE t (id INTEGER PRIMARY KEY, round INTEGER)", &["id", "round"], &["id"])
}

fn poll(source: &mut SqliteSource) -> Result<Polled, SourceError> {
    source.poll(Duration::ZERO, &mut Recorder::default())
}

fn rounds(taken: &Taken) -> Vec<String> {
    taken.changes.iter().map(|c| format!("{:?}", c.after.as_ref().unwrap()[1])).collect()
}

#[test]
fn transactions_without_a_marker_are_never_parted() {
    let register = register();
    let mut source = register.claim().unwrap();
    let mut recorder = Recorder::default();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut application = register.application();
            for round in 0..300 {
                let transaction = application.transaction().unwrap();
                for _ in 0..=(round % 7) {
                    transaction.execute("INSERT INTO t (round) VALUES (?1)", [round]).unwrap();
                }
                transaction.commit().unwrap();
            }
        });
        while !writer.is_finished() {
            source.poll(Duration::from_millis(1), &mut recorder).unwrap();
        }
    });
    read(&mut source, &mut recorder);
    let mut next = 0;
    for taken in &recorder.taken {
        let rounds = rounds(taken);
        // Every transaction begins with a round's first row and ends with a round's last.
        let mut at = 0;
        while at < rounds.len() {
            let wanted = vec![format!("Integer({next})"); next % 7 + 1];
            assert_eq!(rounds[at..at + wanted.len()], wanted);
            at += wanted.len();
            next += 1;
        }
    }
    assert_eq!(next, 300);
    drop(source);
    assert_eq!(register.taken(), recorder.taken, "a restart finds the same boundaries");
}

#[test]
fn a_marker_keeps_a_transactions_own_boundary_and_an_empty_one_is_harmless() {
    let register = register();
    register
        .application()
        .execute_batch(
            "INSERT INTO govbridge_commit DEFAULT VALUES; INSERT INTO govbridge_commit DEFAULT VALUES;
             BEGIN; INSERT INTO t VALUES (1, 1), (2, 1); INSERT INTO govbridge_commit DEFAULT VALUES; COMMIT;
             BEGIN; INSERT INTO t VALUES (3, 2); INSERT INTO govbridge_commit (id, upto, at) VALUES (90, 5000, 7); COMMIT;
             INSERT INTO govbridge_commit DEFAULT VALUES;
             INSERT INTO t VALUES (4, 3);",
        )
        .unwrap();
    let taken = register.taken();
    let facts: Vec<(u64, u64, usize)> =
        taken.iter().map(|t| (t.transaction.number, t.transaction.commit, t.changes.len())).collect();
    assert_eq!(facts, [(3, 2, 2), (90, 3, 1), (92, 4, 1)]);
}

#[test]
fn hundreds_of_empty_markers_are_passed() {
    let register = register();
    let application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 1)").unwrap();
    for _ in 0..700 {
        application.execute("INSERT INTO govbridge_commit DEFAULT VALUES", []).unwrap();
    }
    application.execute_batch("INSERT INTO t VALUES (2, 1)").unwrap();
    let mut source = register.claim().unwrap();
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 2);
    source.acknowledge(at).unwrap();
    while poll(&mut source).unwrap() != (Polled::Idle { at }) {}
    // The newest boundary stays, and with it the file's newest commit.
    assert_eq!(source.newest().unwrap(), at);
}

#[test]
fn an_acknowledged_value_is_no_longer_in_the_changelog() {
    let register = register();
    let application = register.application();
    let mut source = register.claim().unwrap();
    application.execute_batch("INSERT INTO t VALUES (1, 71), (2, 72), (3, 73)").unwrap();
    let at = read(&mut source, &mut Recorder::default());
    source.acknowledge(at).unwrap();
    let (rows, values): (i64, i64) = application
        .query_row(
            "SELECT count(*), count(v0) + count(v1) + count(layout) FROM govbridge_changelog",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .unwrap();
    assert_eq!((rows, values), (1, 0), "the newest row stays, empty");
}

#[test]
fn a_large_changelog_is_pruned_in_steps_that_do_not_block_the_application() {
    let register = register();
    let application = register.application();
    application
        .execute_batch("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, 0 FROM n")
        .unwrap();
    let mut source = register.claim().unwrap();
    let at = read(&mut source, &mut Recorder::counting());
    source.acknowledge(at).unwrap();
    let waiting = || -> i64 {
        application.query_row("SELECT count(*) FROM govbridge_changelog", [], |r| r.get(0)).unwrap()
    };
    assert_eq!(waiting(), 20_000 - 4096);
    for _ in 0..5 {
        poll(&mut source).unwrap();
    }
    assert_eq!(waiting(), 1);
}

#[test]
fn ids_go_on_when_the_application_resets_its_sequences() {
    let register = register();
    let application = register.application();
    let mut source = register.claim().unwrap();
    application.execute_batch("INSERT INTO t VALUES (1, 1), (2, 1)").unwrap();
    let first = read(&mut source, &mut Recorder::default());
    source.acknowledge(first).unwrap();
    application.execute_batch("DELETE FROM sqlite_sequence; INSERT INTO t VALUES (3, 1)").unwrap();
    let mut recorder = Recorder::default();
    assert!(read(&mut source, &mut recorder) > first);
    assert_eq!(recorder.taken.len(), 1);
}

#[test]
fn deleted_changelog_rows_are_a_hole_that_halts() {
    for (sql, after) in [
        ("DELETE FROM govbridge_changelog WHERE id = 2", 1),
        ("DELETE FROM govbridge_changelog WHERE id < 3", 0),
    ] {
        let register = register();
        register
            .application()
            .execute_batch(&format!("INSERT INTO t VALUES (1, 1), (2, 1), (3, 1); {sql}"))
            .unwrap();
        match poll(&mut register.claim().unwrap()) {
            Err(SourceError::Missing { what }) => {
                assert!(what.contains(&format!("after changelog id {after} ")), "{what}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_changelog_that_was_emptied_halts() {
    let register = register();
    let mut source = register.claim().unwrap();
    let application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 1), (2, 1), (3, 1)").unwrap();
    read(&mut source, &mut Recorder::default());
    application.execute_batch("DELETE FROM govbridge_changelog; DELETE FROM sqlite_sequence").unwrap();
    assert!(matches!(poll(&mut source), Err(SourceError::WentBack { .. })));
    assert!(matches!(source.newest(), Err(SourceError::WentBack { .. })));
    drop(source);
    assert!(matches!(register.claim(), Err(SourceError::WentBack { .. })));
}

#[test]
fn a_file_restored_from_a_copy_is_found_also_after_it_was_written_on() {
    let register = register();
    let application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 1)").unwrap();
    let first = register.taken();
    let copy = register.path().with_extension("copy");
    application.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    application.execute_batch("INSERT INTO t VALUES (2, 2), (3, 2)").unwrap();
    let lost = register.taken();
    let lost = lost.last().unwrap();

    let restored = Register::bare("CREATE TABLE x (y)", register.tables.clone());
    std::fs::copy(&copy, restored.path()).unwrap();
    restored.application().pragma_update(None, "journal_mode", "WAL").unwrap();
    let mut source = restored.claim().unwrap();
    assert!(source.newest().unwrap() < lost.transaction.end());
    assert_eq!(source.recognises(lost.transaction.end(), &lost.token).unwrap(), Recognised::Different);
    assert_eq!(source.recognises(first[0].transaction.end(), &first[0].token).unwrap(), Recognised::Same);

    restored.application().execute_batch("INSERT INTO t VALUES (5, 5), (6, 5)").unwrap();
    read(&mut source, &mut Recorder::default());
    assert_eq!(source.newest().unwrap(), lost.transaction.end(), "the newest commit alone does not tell");
    assert_eq!(source.recognises(lost.transaction.end(), &lost.token).unwrap(), Recognised::Different);
}

#[test]
fn a_row_that_cannot_be_read_halts_and_its_value_is_not_told() {
    for (sql, what) in [
        ("INSERT INTO t VALUES ('k', CAST(x'ff41' AS TEXT))", "UTF-8"),
        ("INSERT INTO t VALUES (NULL, 'secret')", "NULL"),
    ] {
        let register = Register::of("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT)", &["k", "v"], &["k"]);
        register.application().execute_batch(sql).unwrap();
        let error = poll(&mut register.claim().unwrap()).unwrap_err();
        assert_eq!(error.code(), "CAP009");
        let said = error.to_string();
        assert!(said.contains(what) && said.contains("table t") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn a_writer_that_holds_the_lock_delays_and_loses_nothing() {
    let register = register();
    let mut source = register.claim().unwrap();
    let mut application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 1)").unwrap();
    let transaction =
        application.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO t VALUES (2, 2)", []).unwrap();
    let mut recorder = Recorder::default();
    let start = source.acknowledged();
    // What is committed has no boundary yet, and none can be written: the source is complete up to the start only.
    assert_eq!(source.poll(Duration::ZERO, &mut recorder).unwrap(), Polled::Idle { at: start });
    transaction.commit().unwrap();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.iter().map(|t| t.changes.len()).sum::<usize>(), 2);
}

#[test]
fn a_writer_that_holds_the_lock_too_long_is_told_of() {
    let register = register();
    let mut source = register.claim().unwrap();
    let mut application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 1)").unwrap();
    let transaction =
        application.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let error = source.poll(Duration::from_secs(60), &mut Recorder::default()).unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("CAP001", connectors_source::Disposition::Retry));
    drop(transaction);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 1);
}

#[test]
fn polling_leaves_no_read_transaction_open() {
    let register = register();
    let mut source = register.claim().unwrap();
    let application = register.application();
    application
        .execute_batch("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, 0 FROM n")
        .unwrap();
    // In the middle of a transaction the write-ahead log can still be emptied.
    assert_eq!(poll(&mut source).unwrap(), Polled::Delivered);
    let busy: i64 = application.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0)).unwrap();
    assert_eq!(busy, 0);
}

#[test]
fn a_snapshot_of_a_file_that_never_changed_stands_at_the_start() {
    let register =
        Register::of("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (7)", &["id"], &["id"]);
    let mut snapshot = Snapshot::default();
    let as_of = register.claim().unwrap().snapshot(&[0], &mut snapshot).unwrap();
    assert_eq!(as_of, Some(bridge_event::At::START));
    assert_eq!(snapshot.rows.len(), 1);
}

#[test]
fn a_table_that_is_no_longer_shared_is_skipped_and_the_place_moves_on() {
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id INTEGER PRIMARY KEY)";
    let both = vec![table("t", &["id"], &["id"]), table("u", &["id"], &["id"])];
    let mut register = Register::new(sql, both);
    register
        .application()
        .execute_batch("INSERT INTO t VALUES (1); INSERT INTO u VALUES (2); INSERT INTO t VALUES (3)")
        .unwrap();
    register.tables.truncate(1);
    let mut source = SqliteSource::claim(&register.path(), &register.tables, &claimant()).unwrap();
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    assert_eq!(recorder.taken[0].changes.len(), 2);
    assert_eq!(at, source.newest().unwrap());
}
