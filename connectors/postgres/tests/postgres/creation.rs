//! Preflight, `--create` and `--print-sql`.

use crate::bench::{Register, table};
use connectors_postgres::{Severity, create, preflight, script};

fn refused(sql: &str, columns: &[&str], key: &[&str]) -> Vec<String> {
    let register = Register::bare(sql, vec![table("t", columns, key)]);
    let findings = preflight(&register.server, &register.tables).unwrap();
    let words: Vec<String> =
        findings.into_iter().filter(|f| f.severity == Severity::Refused).map(|f| f.what).collect();
    assert_eq!(create(&register.server, "w", &register.tables).is_err(), !words.is_empty(), "{words:?}");
    words
}

#[test]
fn preflight_names_what_stands_against_a_table() {
    let is = |sql: &str, columns: &[&str], key: &[&str], wanted: &str| {
        let words = refused(sql, columns, key);
        assert!(words.iter().any(|w| w.contains(wanted)), "{sql}: {words:?}");
    };
    is("SELECT 1", &["id"], &["id"], "no such table");
    is("CREATE TABLE t (id int NOT NULL UNIQUE)", &["id"], &["id"], "no replica identity");
    is(
        "CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL UNIQUE)",
        &["k"],
        &["k"],
        "not in the replica identity",
    );
    is(
        "CREATE TABLE t (id int UNIQUE); ALTER TABLE t REPLICA IDENTITY FULL",
        &["id"],
        &["id"],
        "may be NULL",
    );
    is("CREATE TABLE t (a int, b int, PRIMARY KEY (a, b))", &["a"], &["a"], "no unique index");
    is("CREATE UNLOGGED TABLE t (id int PRIMARY KEY)", &["id"], &["id"], "unlogged");
    is("CREATE VIEW t AS SELECT 1 AS id", &["id"], &["id"], "no table");
    is("CREATE TABLE t (id int PRIMARY KEY)", &["id", "x"], &["id"], "no column x");
    is(
        "CREATE TABLE t (id int PRIMARY KEY, x int GENERATED ALWAYS AS (id + 1) STORED)",
        &["id", "x"],
        &["id"],
        "generated",
    );
    assert_eq!(refused("CREATE TABLE t (id int PRIMARY KEY, x int)", &["id", "x"], &["id"]), [""; 0]);
}

#[test]
fn preflight_names_what_the_role_lacks() {
    let register = Register::bare(
        "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        vec![table("t", &["id"], &["id"])],
    );
    let role = format!("r_{}", register.server.database);
    register.application().run(&format!("CREATE ROLE {role} LOGIN"));
    let server = connectors_postgres::Server { user: role.clone(), ..register.server.clone() };
    let words: Vec<String> =
        preflight(&server, &register.tables).unwrap().into_iter().map(|f| f.what).collect();
    for wanted in ["may not replicate", "may not read", "row-level security"] {
        assert!(words.iter().any(|w| w.contains(wanted)), "{wanted}: {words:?}");
    }
    register.application().run(&format!("DROP ROLE {role}"));
}

#[test]
fn the_printed_sql_prepares_as_create_does() {
    let sql =
        "CREATE SCHEMA \"Steuer\"; CREATE TABLE \"Steuer\".\"t\"\"1\" (id int PRIMARY KEY, \"a'b\\\" text)";
    let register = Register::bare(sql, vec![table("Steuer.t\"1", &["id", "a'b\\"], &["id"])]);
    let printed = script(&register.server, "printed", &register.tables).unwrap();
    assert!(!printed.to_uppercase().contains("FOR ALL TABLES"));
    assert!(register.claim().is_err());
    let mut application = register.application();
    let (transaction, slot) = printed.split_once("COMMIT;").unwrap();
    application.run(&format!("{transaction}COMMIT;"));
    application.run(slot);
    application.run("INSERT INTO \"Steuer\".\"t\"\"1\" VALUES (1, 'x')");
    assert_eq!(register.changes(), ["insert 0 [1, 'x']"]);
}

#[test]
fn creating_again_changes_nothing_and_adds_tables() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)";
    let mut register = Register::of(sql, &["id"], &["id"]);
    let again = create(&register.server, "other", &register.tables).unwrap();
    assert!(again.existed && !again.slot_made);
    assert_eq!(again.capture, "first");
    register.tables.push(table("u", &["id"], &["id"]));
    assert_eq!(register.claim().unwrap_err().code(), "CAP006");
    create(&register.server, "other", &register.tables).unwrap();
    register.application().run("INSERT INTO u VALUES (1)");
    assert_eq!(register.changes(), ["insert 1 [1]"]);
}

#[test]
fn writes_of_the_source_go_on_whatever_capture_does() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY, a text)", &["id", "a"], &["id"]);
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'x'); UPDATE t SET a = 'y'");
    application.run("ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET a = 'z'; DELETE FROM t");
    application.run("INSERT INTO t VALUES (2, 'x'); TRUNCATE t");
}
