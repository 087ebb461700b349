//! Tables that change while they are captured.

use crate::bench::{Register, claimant, words};
use bridge_event::At;
use connectors_postgres::{PostgresSource, create};
use connectors_source::conformance::{Recorder, Snapshot, read};
use connectors_source::{Source, SourceError};
use std::time::Duration;

fn register() -> Register {
    Register::of("CREATE TABLE t (id int PRIMARY KEY, a varchar(10), b int)", &["id", "a"], &["id"])
}

/// Polls until the source halts.
fn halted(source: &mut impl Source, recorder: &mut Recorder) -> SourceError {
    for _ in 0..1000 {
        if let Err(error) = source.poll(Duration::from_millis(100), recorder) {
            return error;
        }
    }
    panic!("the source goes on");
}

#[test]
fn a_column_that_is_added_and_not_shared_goes_on() {
    let register = register();
    let mut source = register.claim().unwrap();
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'x', 1)");
    application.run("BEGIN; ALTER TABLE t ADD c text; INSERT INTO t VALUES (2, 'y', 2, 'z'); COMMIT");
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let changes: Vec<String> = recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
    assert_eq!(changes, ["insert 0 [1, 'x']", "insert 0 [2, 'y']"]);
    drop(source);
    register.claim().unwrap();
}

#[test]
fn every_other_change_halts_before_its_first_row_and_says_what_changed() {
    for (change, insert, wanted) in [
        ("ALTER TABLE t DROP a", "INSERT INTO t (id) VALUES (9)", "column a is gone"),
        ("ALTER TABLE t RENAME a TO z", "INSERT INTO t (id) VALUES (9)", "column a is gone"),
        (
            "ALTER TABLE t ALTER a TYPE varchar(20)",
            "INSERT INTO t (id) VALUES (9)",
            "column a is now character varying(20)",
        ),
        ("ALTER TABLE t ALTER id TYPE bigint", "INSERT INTO t (id) VALUES (9)", "column id is now bigint"),
        ("ALTER TABLE t DROP b", "INSERT INTO t (id) VALUES (9)", "column b is gone"),
        (
            "ALTER TABLE t REPLICA IDENTITY FULL",
            "INSERT INTO t (id) VALUES (9)",
            "replica identity is now FULL",
        ),
    ] {
        let register = register();
        let mut source = register.claim().unwrap();
        let mut application = register.application();
        application.run("INSERT INTO t VALUES (1, 'x', 1)");
        application.run(change);
        application.run(insert);
        let mut recorder = Recorder::default();
        let error = halted(&mut source, &mut recorder);
        assert!(matches!(error, SourceError::Drifted { .. }), "{change}: {error}");
        assert!(error.to_string().contains(wanted), "{change}: {error}");
        assert_eq!(recorder.taken.len(), 1, "{change}");
        assert!(source.acknowledged() < recorder.taken[0].transaction.end());
        let held: At = recorder.taken[0].transaction.end();
        source.acknowledge(held).unwrap();
        drop(source);
        assert_eq!(register.claim().unwrap_err().code(), "CAP006", "{change}");
    }
}

#[test]
fn a_change_that_is_accepted_goes_on_where_it_halted() {
    let register = register();
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'x', 1)");
    application.run("ALTER TABLE t ALTER a TYPE text");
    application.run("INSERT INTO t VALUES (2, 'y', 1)");
    assert_eq!(register.claim().unwrap_err().code(), "CAP006");
    let created = create(&register.server, "other", &register.tables).unwrap();
    assert!(!created.slot_made);
    // The row of the older shape waits in the slot, and is still read.
    assert_eq!(register.changes(), ["insert 0 [1, 'x']", "insert 0 [2, 'y']"]);
}

/// F11: rows of a partition that comes or goes are no changes; what is written afterwards is.
#[test]
fn partitions_that_come_and_go_leave_the_stream_going() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
               CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
               CREATE TABLE t2 (id int PRIMARY KEY, a text); INSERT INTO t2 VALUES (11, 'was there')";
    let register = Register::of(sql, &["id", "a"], &["id"]);
    let mut source = register.claim().unwrap();
    let mut application = register.application();
    if application.value("SHOW server_version_num").parse::<u32>().unwrap() < 150_000 {
        // Its walsender does not notice, and the preflight says so.
        let found = connectors_postgres::preflight(&register.server, &register.tables).unwrap();
        return assert!(
            found.iter().any(|finding| finding.what.contains("a partition is attached")),
            "{found:?}"
        );
    }
    for sql in [
        "INSERT INTO t VALUES (1, 'x')",
        "INSERT INTO t2 VALUES (12, 'not ours yet')",
        "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)",
        "UPDATE t SET a = 'y' WHERE id = 11",
        "INSERT INTO t VALUES (13, 'z')",
        "ALTER TABLE t DETACH PARTITION t1",
        "INSERT INTO t1 VALUES (2, 'not ours any more')",
        "CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (20) TO (30)",
        "INSERT INTO t VALUES (21, 'w')",
        "DELETE FROM t WHERE id = 13",
    ] {
        application.run(sql);
    }
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let changes: Vec<String> = recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
    let wanted = [
        "insert 0 [1, 'x']",
        "update 0 [11, 'y']",
        "insert 0 [13, 'z']",
        "insert 0 [21, 'w']",
        "delete 0 [13, absent]",
    ];
    assert_eq!(changes, wanted);
    drop(source);
    register.claim().unwrap();
}

/// F6: a new label is a value as the others are; the same name in another schema is another type.
#[test]
fn an_enum_that_grows_goes_on_and_its_namesake_halts() {
    let sql =
        "CREATE TYPE mood AS ENUM ('good'); CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('good', 'odd');
               CREATE TABLE t (id int PRIMARY KEY, a mood)";
    let register = Register::of(sql, &["id", "a"], &["id"]);
    let mut source = register.claim().unwrap();
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'good')");
    application.run("ALTER TYPE mood ADD VALUE 'bad'");
    application.run("INSERT INTO t VALUES (2, 'bad')");
    application.run("ALTER TYPE mood RENAME VALUE 'good' TO 'fine'");
    application.run("INSERT INTO t VALUES (3, 'fine')");
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let changes: Vec<String> = recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
    // The server decodes a label by its number when it sends it: an old row has the name that the label has then.
    assert_eq!(changes[1..], ["insert 0 [2, 'bad']", "insert 0 [3, 'fine']"]);
    application.run("TRUNCATE t; ALTER TABLE t ALTER a TYPE s.mood USING 'odd'");
    application.run("INSERT INTO t VALUES (4, 'odd')");
    let error = halted(&mut source, &mut recorder);
    assert_eq!(error.code(), "CAP006", "{error}");
    assert!(error.to_string().contains("column a is now s.mood"), "{error}");
}

/// F13: a generated column is not shared, and whether the publication gives it changes nothing.
#[test]
fn a_generated_column_that_is_added_goes_on() {
    let register = register();
    let mut source = register.claim().unwrap();
    let mut application = register.application();
    application.run("ALTER TABLE t ADD g int GENERATED ALWAYS AS (id * 2) STORED");
    application.run("INSERT INTO t VALUES (1, 'x', 1)");
    if application.value("SHOW server_version_num").parse::<u32>().unwrap() >= 180_000 {
        application.run("ALTER PUBLICATION govbridge SET (publish_generated_columns = stored)");
    }
    application.run("INSERT INTO t VALUES (2, 'y', 1)");
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let changes: Vec<String> = recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
    assert_eq!(changes, ["insert 0 [1, 'x']", "insert 0 [2, 'y']"]);
}

#[test]
fn a_publication_that_lost_a_table_is_refused() {
    let register = register();
    register.application().run("ALTER PUBLICATION govbridge DROP TABLE t");
    assert_eq!(register.claim().unwrap_err().code(), "CAP004");
    let mut application = register.application();
    if application.value("SHOW server_version_num").parse::<u32>().unwrap() < 150_000 {
        // Row filters and column lists came with PostgreSQL 15.
        application.run("ALTER PUBLICATION govbridge ADD TABLE t");
    } else {
        for part in ["t WHERE (id > 5)", "t (id)"] {
            application.run(&format!("ALTER PUBLICATION govbridge ADD TABLE {part}"));
            let error = register.claim().unwrap_err();
            assert!(error.to_string().contains("row filter"), "{error}");
            application.run("ALTER PUBLICATION govbridge DROP TABLE t");
        }
        application.run("ALTER PUBLICATION govbridge ADD TABLE t");
    }
    register.claim().unwrap();
    register.application().run("ALTER PUBLICATION govbridge SET (publish = 'insert')");
    assert_eq!(register.claim().unwrap_err().code(), "CAP004");
}

/// F10: the stream has every row, so a snapshot that lacks some would be another table.
#[test]
fn row_level_security_that_came_after_creation_halts_the_snapshot() {
    let register = register();
    let mut application = register.application();
    let role = format!("r_{}", register.server.database);
    application.run(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT SELECT ON t TO {role}"));
    application.run("INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2)");
    application.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id = 1)");
    let server = connectors_postgres::Server { user: role.clone(), ..register.server.clone() };
    let claim = || PostgresSource::claim(&server, &register.tables, &claimant()).unwrap();
    let mut snapshot = Snapshot::default();
    let error = claim().snapshot(&[0], &mut snapshot).unwrap_err();
    assert_eq!(error.code(), "CAP005", "{error}");
    assert!(error.to_string().contains("row-level security"), "{error}");
    assert_eq!(snapshot.rows.len(), 0);
    application.run(&format!("ALTER ROLE {role} BYPASSRLS"));
    let mut snapshot = Snapshot::default();
    claim().snapshot(&[0], &mut snapshot).unwrap();
    assert_eq!(snapshot.rows.len(), 2);
    application.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// P5, F14: a table that was dropped and made again has another history, and its publication does not hold it.
#[test]
fn a_table_that_was_dropped_and_made_again_halts() {
    let register = register();
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'x', 1)");
    let mut source = register.claim().unwrap();
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    drop(source);
    application.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a varchar(10), b int)");
    application.run("INSERT INTO t VALUES (2, 'y', 1)");
    let error = register.claim().unwrap_err();
    assert!(matches!(error, SourceError::NotCreated { .. }), "{error}");
}
