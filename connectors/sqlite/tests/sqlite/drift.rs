//! What stands against capture, and what a changed schema does.

use crate::bench::{Register, SYSTEM, table};
use connectors_source::conformance::{Held, Recorder, read};
use connectors_source::{Source, SourceError, Table};
use connectors_sqlite::{Severity, SqliteSource, create, preflight, script};
use rusqlite::Connection;
use std::time::Duration;

const PLAIN: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, private TEXT)";

fn register() -> Register {
    Register::of(PLAIN, &["id", "name"], &["id"])
}

fn poll(source: &mut SqliteSource) -> Result<connectors_source::Polled, SourceError> {
    source.poll(Duration::ZERO, &mut Recorder::default())
}

/// The severity and the words of each finding.
fn found(sql: &str, tables: Vec<Table>) -> Vec<(Severity, String)> {
    let register = Register::bare(sql, tables);
    let findings = preflight(&register.path(), &register.tables).unwrap();
    let before = schema(&register.application());
    let refused = findings.iter().any(|f| f.severity == Severity::Refused);
    assert_eq!(create(&register.path(), SYSTEM, &register.tables).is_err(), refused);
    assert_eq!(schema(&register.application()) == before, refused, "a refused create leaves the file alone");
    assert!(findings.iter().all(|f| !f.remedy.is_empty()));
    findings.into_iter().map(|f| (f.severity, f.what)).collect()
}

fn schema(connection: &Connection) -> Vec<(String, Option<String>)> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY rowid").unwrap();
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn refused(sql: &str, tables: Vec<Table>, words: &str) {
    let found = found(sql, tables);
    assert!(found.iter().any(|(s, w)| *s == Severity::Refused && w.contains(words)), "{words}: {found:?}");
}

#[test]
fn preflight_refuses_what_capture_could_not_be_right_with() {
    let t = |columns: &[&str], key: &[&str]| vec![table("t", columns, key)];
    refused("CREATE TABLE u (id INTEGER PRIMARY KEY)", t(&["id"], &["id"]), "no table of this name");
    refused(
        "CREATE TABLE u (id INTEGER PRIMARY KEY); CREATE VIEW t AS SELECT * FROM u",
        t(&["id"], &["id"]),
        "view",
    );
    refused("CREATE VIRTUAL TABLE t USING fts5(a)", t(&["a"], &["a"]), "virtual table");
    refused("CREATE TABLE t (id, a)", t(&["id", "a"], &["id"]), "neither the primary key nor");
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", t(&["a"], &["id"]), "key column id is not shared");
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", t(&["id", "b"], &["id"]), "no column b");
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", t(&["id", "id"], &["id"]), "named twice");
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", t(&["id"], &[]), "no key");
    let typed = |name: &str| {
        vec![Table { types: vec![None, Some(name.to_owned())], ..table("t", &["id", "a"], &["id"]) }]
    };
    refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        typed("JSON"),
        "column a is declared \"TEXT\"",
    );
    assert_eq!(found("CREATE TABLE t (id INTEGER PRIMARY KEY, a JSON)", typed("json")), []);
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", t(&[], &["id"]), "0 columns");
    refused(
        "CREATE TABLE t (id TEXT PRIMARY KEY, a); INSERT INTO t VALUES (NULL, 1)",
        t(&["id"], &["id"]),
        "holds NULL",
    );
    refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX i ON t (lower(a))",
        t(&["id"], &["id"]),
        "stands on an expression",
    );
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY)", Vec::new(), "no contract");
    let twice = [t(&["id"], &["id"]), t(&["id"], &["id"])].concat();
    refused("CREATE TABLE t (id INTEGER PRIMARY KEY)", twice, "asked for twice");
    refused(
        "CREATE TABLE govbridge_x (id INTEGER PRIMARY KEY)",
        vec![table("govbridge_x", &["id"], &["id"])],
        "reserved",
    );
}

#[test]
fn preflight_warns_of_what_may_go_wrong_later() {
    let t = |columns: &[&str], key: &[&str]| vec![table("t", columns, key)];
    let nullable = found("CREATE TABLE t (id TEXT PRIMARY KEY, a)", t(&["id"], &["id"]));
    assert!(
        matches!(&nullable[..], [(Severity::Warning, what)] if what.contains("may become NULL")),
        "{nullable:?}"
    );
    let decimal = found("CREATE TABLE t (id INTEGER PRIMARY KEY, a DECIMAL(12,2))", t(&["id", "a"], &["id"]));
    assert!(
        matches!(&decimal[..], [(Severity::Warning, what)] if what.contains("floating point")),
        "{decimal:?}"
    );
    let good = "CREATE TABLE t (a TEXT NOT NULL, b TEXT, c, PRIMARY KEY (a)) WITHOUT ROWID";
    assert_eq!(found(good, t(&["a", "b"], &["a"])), []);
    let by_index = "CREATE TABLE t (a TEXT NOT NULL, b INTEGER NOT NULL, UNIQUE (b, a))";
    assert_eq!(found(by_index, t(&["a", "b"], &["a", "b"])), []);
}

#[test]
fn preflight_refuses_a_file_outside_wal_mode() {
    let register = Register::bare(PLAIN, vec![table("t", &["id"], &["id"])]);
    register.application().pragma_update(None, "journal_mode", "DELETE").unwrap();
    let findings = preflight(&register.path(), &register.tables).unwrap();
    assert!(findings[0].what.contains("delete"), "{findings:?}");
    let error = create(&register.path(), SYSTEM, &register.tables).unwrap_err();
    assert_eq!(error.code(), "CAP005");
}

#[test]
fn a_start_on_a_file_that_was_not_prepared_writes_nothing() {
    let register = Register::bare(PLAIN, vec![table("t", &["id"], &["id"])]);
    let before = schema(&register.application());
    assert!(matches!(register.claim(), Err(SourceError::NotCreated { .. })));
    assert_eq!(schema(&register.application()), before);
    assert_eq!(connectors_sqlite::holder(&register.path()).unwrap(), None);
}

#[test]
fn the_printed_script_does_what_create_does() {
    let tables = || vec![table("t", &["id", "name"], &["id"]), table("o'x\"", &["a b"], &["a b"])];
    let sql = format!("{PLAIN}; CREATE TABLE \"o'x\"\"\" (\"a b\" TEXT NOT NULL PRIMARY KEY)");
    let created = Register::new(&sql, tables());
    let printed = Register::bare(&sql, tables());
    let text = script(&printed.path(), SYSTEM, &printed.tables).unwrap();
    printed.application().execute_batch(&text).unwrap();
    assert_eq!(schema(&created.application()), schema(&printed.application()));
    printed.claim().unwrap();
    // Running either again changes nothing but the order of the triggers' creation.
    let again = script(&printed.path(), SYSTEM, &printed.tables).unwrap();
    assert!(!again.contains("CREATE TABLE") && !again.contains("INSERT INTO govbridge_layout "), "{again}");
    create(&created.path(), SYSTEM, &created.tables).unwrap();
    let sorted = |register: &Register| {
        let mut rows = schema(&register.application());
        rows.sort();
        rows
    };
    assert_eq!(sorted(&created), sorted(&printed));
}

#[test]
fn an_identity_is_given_once_and_must_be_a_uuid() {
    let bare = Register::bare(PLAIN, vec![table("t", &["id"], &["id"])]);
    for odd in ["", "x", "5A1F0C52-6F0E-4D3B-9A53-0D1C7BE0C1AA", "5a1f0c52-6f0e-4d3b-9a53-0d1c7be0c1a'"] {
        assert!(create(&bare.path(), odd, &bare.tables).is_err(), "{odd}");
    }
    let register = register();
    let other = "00000000-0000-4000-8000-000000000000";
    assert_eq!(create(&register.path(), other, &register.tables).unwrap().system, SYSTEM);
}

#[test]
fn columns_and_tables_that_nobody_shares_may_come_and_go_while_the_connector_runs() {
    let register = register();
    let mut source = register.claim().unwrap();
    let application = register.application();
    let mut recorder = Recorder::default();
    application
        .execute_batch(
            "INSERT INTO t VALUES (1, 'a', 'p'); ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'm'; INSERT INTO t VALUES (2, 'b', 'p', 'q');
             ALTER TABLE t DROP COLUMN private; INSERT INTO t VALUES (3, 'c', 'q'); CREATE TABLE other (x); CREATE INDEX i ON t (name);",
        )
        .unwrap();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.iter().map(|t| t.changes.len()).sum::<usize>(), 3);
}

#[test]
fn sqlite_itself_refuses_to_drop_a_shared_column() {
    let register = register();
    let refused = register.application().execute_batch("ALTER TABLE t DROP COLUMN name").unwrap_err();
    assert!(refused.to_string().contains("govbridge"), "{refused}");
}

/// Each change halts a running connector before it delivers anything, and a start.
#[test]
fn a_schema_that_drifted_halts_before_anything_moves() {
    for sql in [
        "ALTER TABLE t RENAME COLUMN name TO title",
        "ALTER TABLE t RENAME TO u",
        "DROP TRIGGER govbridge_1_update",
        "DROP TABLE t",
        "DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, private TEXT)",
        "CREATE UNIQUE INDEX i ON t (name)",
        "CREATE TRIGGER later AFTER INSERT ON t BEGIN SELECT 1; END",
        "DROP TRIGGER govbridge_commit_close",
    ] {
        let register = register();
        let mut source = register.claim().unwrap();
        register.application().execute_batch(&format!("INSERT INTO t VALUES (1, 'a', 'p'); {sql}")).unwrap();
        let mut recorder = Recorder::default();
        match source.poll(Duration::ZERO, &mut recorder) {
            Err(SourceError::Drifted { remedy, .. }) => assert!(remedy.contains("create"), "{remedy}"),
            other => panic!("{sql}: {other:?}"),
        }
        assert!(recorder.taken.is_empty() && recorder.open.is_none(), "{sql}");
        drop(source);
        assert!(matches!(register.claim(), Err(SourceError::Drifted { .. })), "{sql}");
    }
}

#[test]
fn a_later_trigger_of_the_application_is_put_behind_ours_by_create() {
    let register = register();
    let application = register.application();
    application
        .execute_batch(
            "CREATE TRIGGER later AFTER INSERT ON t BEGIN UPDATE t SET name = 'z' WHERE id = NEW.id; END",
        )
        .unwrap();
    let created = create(&register.path(), SYSTEM, &register.tables).unwrap();
    assert_eq!((created.capture, created.interrupted), (1, Vec::new()));
    application.execute_batch("INSERT INTO t VALUES (1, 'a', 'p')").unwrap();
    assert_eq!(register.changes(), ["insert 0 [1, 'a']", "update 0 [1, 'a'] -> [1, 'z']"]);
}

#[test]
fn missing_triggers_make_another_incarnation() {
    for sql in [
        "DROP TRIGGER govbridge_1_update; UPDATE t SET name = 'unseen'",
        "CREATE TABLE n (id INTEGER PRIMARY KEY, name TEXT, private TEXT); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t",
    ] {
        let register = register();
        let application = register.application();
        application.execute_batch("INSERT INTO t VALUES (1, 'a', 'p')").unwrap();
        let before = register.claim().unwrap().incarnation().clone();
        let mut running = register.claim().unwrap();
        application.execute_batch(sql).unwrap();
        let created = create(&register.path(), SYSTEM, &register.tables).unwrap();
        assert_eq!((created.capture, created.interrupted), (2, vec!["t".to_owned()]), "{sql}");
        // A connector that runs since before halts rather than pass over the hole.
        assert_eq!(poll(&mut running).unwrap_err().code(), "CAP007");
        drop(running);
        let after = register.claim().unwrap().incarnation().clone();
        assert_eq!(before.system, after.system);
        assert_ne!((before.slot, before.consistent_point), (after.slot, after.consistent_point));
    }
}

#[test]
fn a_renamed_table_goes_on_unbroken_under_its_new_name() {
    let mut register = register();
    let application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 'a', 'p'); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (2, 'b', 'p')").unwrap();
    register.tables = vec![table("u", &["id", "name"], &["id"])];
    let created = create(&register.path(), SYSTEM, &register.tables).unwrap();
    assert_eq!((created.capture, created.interrupted.len(), created.waiting), (1, 0, 2));
    application.execute_batch("INSERT INTO u VALUES (3, 'c', 'p')").unwrap();
    assert_eq!(register.changes(), ["insert 0 [1, 'a']", "insert 0 [2, 'b']", "insert 0 [3, 'c']"]);
}

#[test]
fn a_contract_that_shares_another_column_needs_create_and_old_rows_lack_it() {
    let mut register = register();
    let application = register.application();
    application.execute_batch("INSERT INTO t VALUES (1, 'a', 'p')").unwrap();
    register.tables = vec![table("t", &["id", "private", "name"], &["id"])];
    assert!(matches!(register.claim(), Err(SourceError::Drifted { .. })));
    let created = create(&register.path(), SYSTEM, &register.tables).unwrap();
    assert_eq!((created.capture, created.waiting), (1, 1));
    application.execute_batch("INSERT INTO t VALUES (2, 'b', 'q')").unwrap();
    let rows: Vec<Vec<Held>> =
        register.taken().iter().flat_map(|t| &t.changes).filter_map(|c| c.after.clone()).collect();
    assert_eq!(
        rows,
        [
            vec![Held::Integer(1), Held::Other("Absent".to_owned()), Held::text("a")],
            vec![Held::Integer(2), Held::text("q"), Held::text("b")],
        ]
    );
}

#[test]
fn a_connector_of_another_set_of_tables_is_refused_until_create_ran() {
    let mut register = register();
    register.tables.push(table("u", &["id"], &["id"]));
    assert!(matches!(register.claim(), Err(SourceError::NotCreated { .. })));
}
