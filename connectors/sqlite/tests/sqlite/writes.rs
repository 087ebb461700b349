//! Every way in which an application changes a row, and what is captured of it.

use crate::bench::{Register, table};
use connectors_source::SourceError;
use connectors_source::conformance::{Held, Recorder, Row, read, replay};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::BTreeMap;

fn register() -> Register {
    Register::of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT);
         INSERT INTO t VALUES (1, 'a@x', 'A'), (2, 'b@x', 'B'), (3, 'c@x', 'C');",
        &["id", "name"],
        &["id"],
    )
}

fn after(register: &Register, sql: &str) -> Vec<String> {
    register.application().execute_batch(sql).unwrap();
    register.changes()
}

#[test]
fn replace_by_key_is_a_delete_and_an_insert() {
    let changes = after(&register(), "INSERT OR REPLACE INTO t VALUES (2, 'z@x', 'Z')");
    assert_eq!(changes, ["delete 0 [2, 'b']", "insert 0 [2, 'z']"]);
}

#[test]
fn replace_deletes_every_row_that_stands_in_its_way_also_by_columns_that_are_not_shared() {
    let changes = after(&register(), "REPLACE INTO t VALUES (1, 'b@x', 'Z')");
    assert_eq!(changes, ["delete 0 [1, 'a']", "delete 0 [2, 'b']", "insert 0 [1, 'z']"]);
}

#[test]
fn replace_is_the_same_with_recursive_triggers() {
    let sql = "PRAGMA recursive_triggers = ON; REPLACE INTO t VALUES (1, 'b@x', 'Z');
               UPDATE OR REPLACE t SET email = 'c@x' WHERE id = 1";
    assert_eq!(
        after(&register(), sql),
        [
            "delete 0 [1, 'a']",
            "delete 0 [2, 'b']",
            "insert 0 [1, 'z']",
            "delete 0 [3, 'c']",
            "update 0 [1, 'z'] -> [1, 'z']"
        ]
    );
}

#[test]
fn an_update_that_replaces_deletes_first() {
    let changes = after(&register(), "UPDATE OR REPLACE t SET id = 3, name = 'Z' WHERE id = 1");
    assert_eq!(changes, ["delete 0 [3, 'c']", "delete+ 0 [1, 'a']", "insert 0 [3, 'z']"]);
    let changes = after(&register(), "UPDATE OR REPLACE t SET email = 'c@x' WHERE id = 1");
    assert_eq!(changes, ["delete 0 [3, 'c']", "update 0 [1, 'a'] -> [1, 'a']"]);
}

#[test]
fn an_ignored_or_refused_write_is_not_captured() {
    let register = register();
    let application = register.application();
    assert_eq!(application.execute("INSERT OR IGNORE INTO t VALUES (2, 'q@x', 'Q')", []).unwrap(), 0);
    assert_eq!(application.execute("UPDATE OR IGNORE t SET id = 3 WHERE id = 2", []).unwrap(), 0);
    application.execute("INSERT INTO t VALUES (9, 'b@x', 'Q')", []).unwrap_err();
    application.execute("INSERT OR FAIL INTO t VALUES (8, '8@x', 'ok'), (9, 'b@x', 'Q')", []).unwrap_err();
    application
        .execute("INSERT OR ROLLBACK INTO t VALUES (7, '7@x', 'no'), (9, 'b@x', 'Q')", [])
        .unwrap_err();
    // The rows that stood in the way of those are not taken for replaced ones later.
    application.execute("INSERT OR REPLACE INTO t VALUES (10, 'ten@x', 'T')", []).unwrap();
    application.execute("DELETE FROM t WHERE id = 2", []).unwrap();
    assert_eq!(register.changes(), ["insert 0 [8, 'ok']", "insert 0 [10, 't']", "delete 0 [2, 'b']"]);
}

#[test]
fn an_upsert_is_the_update_that_it_does() {
    let changes = after(
        &register(),
        "INSERT INTO t VALUES (2, 'n@x', 'N') ON CONFLICT (id) DO UPDATE SET name = excluded.name || '!';
         INSERT INTO t VALUES (5, 'b@x', 'E') ON CONFLICT (email) DO UPDATE SET id = excluded.id;
         INSERT INTO t VALUES (3, 'n@x', 'N') ON CONFLICT DO NOTHING;",
    );
    assert_eq!(changes, ["update 0 [2, 'b'] -> [2, 'n!']", "delete+ 0 [2, 'n!']", "insert 0 [5, 'n!']"]);
}

#[test]
fn deleting_all_rows_records_each() {
    let changes = after(&register(), "DELETE FROM t");
    assert_eq!(changes, ["delete 0 [1, 'a']", "delete 0 [2, 'b']", "delete 0 [3, 'c']"]);
}

#[test]
fn a_savepoint_that_is_rolled_back_leaves_nothing() {
    let changes = after(
        &register(),
        "BEGIN; INSERT INTO t VALUES (4, 'd', 'D'); SAVEPOINT s; DELETE FROM t; REPLACE INTO t VALUES (4, 'e', 'E');
         ROLLBACK TO s; UPDATE t SET name = 'X' WHERE id = 4; COMMIT;",
    );
    assert_eq!(changes, ["insert 0 [4, 'd']", "update 0 [4, 'd'] -> [4, 'x']"]);
}

#[test]
fn cascades_are_captured_in_both_tables() {
    let register = Register::new(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE loose (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent ON DELETE SET NULL);",
        vec![
            table("parent", &["id", "name"], &["id"]),
            table("child", &["id", "parent"], &["id"]),
            table("loose", &["id", "parent"], &["id"]),
        ],
    );
    let changes = after(
        &register,
        "PRAGMA foreign_keys = ON; INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (10, 1), (11, 1);
         INSERT INTO loose VALUES (20, 1); UPDATE parent SET name = 'q' WHERE id = 1;
         UPDATE loose SET parent = NULL; UPDATE parent SET id = 2; UPDATE loose SET parent = 2;
         REPLACE INTO parent VALUES (2, 'r');",
    );
    assert_eq!(
        changes[4..],
        [
            "update 0 [1, 'p'] -> [1, 'q']",
            "update 2 [20, 1] -> [20, null]",
            "update 1 [10, 1] -> [10, 2]",
            "update 1 [11, 1] -> [11, 2]",
            "delete+ 0 [1, 'q']",
            "insert 0 [2, 'q']",
            "update 2 [20, null] -> [20, 2]",
            "update 2 [20, 2] -> [20, null]",
            "delete 1 [10, 2]",
            "delete 1 [11, 2]",
            "delete 0 [2, 'q']",
            "insert 0 [2, 'r']",
        ]
    );
}

#[test]
fn values_keep_their_storage_class_to_the_bit() {
    let register = Register::of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT, c REAL)",
        &["id", "a", "b", "c"],
        &["id"],
    );
    let application = register.application();
    let mut insert = application.prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4)").unwrap();
    insert.execute((1, -0.0_f64, "nul\0in text", f64::INFINITY)).unwrap();
    insert.execute((2, f64::NEG_INFINITY, 12.5_f64, 3_i64)).unwrap();
    insert.execute((3, vec![0_u8, 255], i64::MIN, f64::NAN)).unwrap();
    insert.execute((i64::MAX, i64::MAX, "", 5e-324_f64)).unwrap();
    insert.execute((i64::MIN, "9223372036854775808", "-0", 9007199254740993_i64)).unwrap();
    let mut recorder = Recorder::default();
    let mut source = register.claim().unwrap();
    read(&mut source, &mut recorder);
    let rows: Vec<Row> =
        recorder.taken.iter().flat_map(|t| &t.changes).filter_map(|c| c.after.clone()).collect();
    let wanted: Vec<Row> = vec![
        vec![Held::Integer(1), Held::float(-0.0), Held::text("nul\0in text"), Held::float(f64::INFINITY)],
        vec![Held::Integer(2), Held::float(f64::NEG_INFINITY), Held::text("12.5"), Held::float(3.0)],
        vec![Held::Integer(3), Held::Bytes(vec![0, 255]), Held::text("-9223372036854775808"), Held::Null],
        vec![Held::Integer(i64::MAX), Held::Integer(i64::MAX), Held::text(""), Held::float(5e-324)],
        vec![
            Held::Integer(i64::MIN),
            Held::text("9223372036854775808"),
            Held::text("-0"),
            Held::float(9_007_199_254_740_992.0),
        ],
    ];
    assert_eq!(rows, wanted);
    assert_eq!(held(&application, "t", 4), {
        let mut sorted = wanted;
        sorted.sort();
        sorted
    });
}

#[test]
fn text_in_utf_16_arrives_as_utf_8() {
    let register = Register::of(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        &["id", "a"],
        &["id"],
    );
    assert_eq!(after(&register, "INSERT INTO t VALUES (1, '税务')"), ["insert 0 [1, '税务']"]);
}

#[test]
fn generated_columns_and_strict_tables_are_captured() {
    let register = Register::of(
        "CREATE TABLE t (k TEXT NOT NULL, n INTEGER, d INTEGER GENERATED ALWAYS AS (n * 2) VIRTUAL,
                         s TEXT GENERATED ALWAYS AS (k || '-' || n) STORED UNIQUE, PRIMARY KEY (k)) STRICT, WITHOUT ROWID",
        &["k", "n", "d", "s"],
        &["k"],
    );
    let sql = "INSERT INTO t (k, n) VALUES ('a', 1), ('b', 2); UPDATE t SET n = 5 WHERE k = 'a'; REPLACE INTO t (k, n) VALUES ('b', 3)";
    assert_eq!(
        after(&register, sql),
        [
            "insert 0 ['a', 1, 2, 'a-1']",
            "insert 0 ['b', 2, 4, 'b-2']",
            "update 0 ['a', 1, 2, 'a-1'] -> ['a', 5, 10, 'a-5']",
            "delete 0 ['b', 2, 4, 'b-2']",
            "insert 0 ['b', 3, 6, 'b-3']",
        ]
    );
}

#[test]
fn names_that_need_quotes_are_captured() {
    let register = Register::new(
        "CREATE TABLE \"纳税 \"\"人\"\"\" (\"select\" INTEGER PRIMARY KEY, \"a'b\" TEXT, \"rowid\" TEXT)",
        vec![table("纳税 \"人\"", &["select", "a'b", "rowid"], &["select"])],
    );
    let changes = after(
        &register,
        "INSERT INTO \"纳税 \"\"人\"\"\" VALUES (1, 'x', 'r'); REPLACE INTO \"纳税 \"\"人\"\"\" VALUES (1, 'y', 's')",
    );
    assert_eq!(changes, ["insert 0 [1, 'x', 'r']", "delete 0 [1, 'x', 'r']", "insert 0 [1, 'y', 's']"]);
}

#[test]
fn a_key_that_compares_without_case_is_replaced_by_its_other_spelling() {
    let register =
        Register::of("CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, v)", &["k", "v"], &["k"]);
    let sql =
        "INSERT INTO t VALUES ('a', 1); REPLACE INTO t VALUES ('A', 2); UPDATE t SET k = 'a' WHERE k = 'A'";
    assert_eq!(
        after(&register, sql).join(";"),
        // `words` prints in lower case; the marks tell the rows apart.
        "insert 0 ['a', 1];delete 0 ['a', 1];insert 0 ['a', 2];delete+ 0 ['a', 2];insert 0 ['a', 2]"
    );
}

#[test]
fn a_hidden_row_number_that_is_taken_replaces_too() {
    let register = Register::of("CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)", &["k", "v"], &["k"]);
    let sql =
        "INSERT INTO t (rowid, k, v) VALUES (7, 'a', 1); REPLACE INTO t (rowid, k, v) VALUES (7, 'b', 2)";
    assert_eq!(after(&register, sql), ["insert 0 ['a', 1]", "delete 0 ['a', 1]", "insert 0 ['b', 2]"]);
}

#[test]
fn an_applications_own_trigger_that_writes_the_row_again_comes_after() {
    let register = Register::of(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, version INTEGER DEFAULT 0);
         CREATE TRIGGER stamp AFTER INSERT ON t BEGIN UPDATE t SET version = version + 1 WHERE id = NEW.id; END;
         CREATE TRIGGER stamp2 AFTER UPDATE OF name ON t BEGIN UPDATE t SET version = version + 1 WHERE id = NEW.id; END;",
        &["id", "name", "version"],
        &["id"],
    );
    let sql = "INSERT INTO t (id, name) VALUES (1, 'a'); UPDATE t SET name = 'b'; REPLACE INTO t (id, name) VALUES (1, 'c')";
    assert_eq!(
        after(&register, sql),
        [
            "insert 0 [1, 'a', 0]",
            "update 0 [1, 'a', 0] -> [1, 'a', 1]",
            "update 0 [1, 'a', 1] -> [1, 'b', 1]",
            "update 0 [1, 'b', 1] -> [1, 'b', 2]",
            "delete 0 [1, 'b', 2]",
            "insert 0 [1, 'c', 0]",
            "update 0 [1, 'c', 0] -> [1, 'c', 1]",
        ]
    );
}

#[test]
fn a_trigger_that_ran_before_ours_and_changed_the_row_is_found() {
    let register = register();
    let application = register.application();
    application
        .execute_batch(
            "CREATE TEMP TRIGGER early AFTER UPDATE OF email ON t BEGIN UPDATE t SET name = name || '+' WHERE id = NEW.id; END;
             UPDATE t SET email = 'new' WHERE id = 1;",
        )
        .unwrap();
    let mut source = register.claim().unwrap();
    let halted =
        connectors_source::Source::poll(&mut source, std::time::Duration::ZERO, &mut Recorder::default());
    assert!(matches!(halted, Err(SourceError::OutOfOrder { .. })), "{halted:?}");
}

#[test]
fn an_application_that_distrusts_its_schema_can_write() {
    let register = register();
    let sql = "PRAGMA trusted_schema = OFF; REPLACE INTO t VALUES (1, 'b@x', 'Z'); INSERT INTO govbridge_commit DEFAULT VALUES";
    assert_eq!(after(&register, sql).len(), 3);
}

#[test]
fn the_application_sees_its_own_counts() {
    let register = register();
    let application = register.application();
    assert_eq!(application.execute("REPLACE INTO t VALUES (1, 'b@x', 'Z')", []).unwrap(), 1);
    application.execute("INSERT INTO t (email) VALUES ('e')", []).unwrap();
    assert_eq!(application.last_insert_rowid(), 4);
    assert_eq!(application.execute("UPDATE t SET name = 'n'", []).unwrap(), 3);
    let returned: i64 =
        application.query_row("INSERT INTO t (email) VALUES ('f') RETURNING id", [], |r| r.get(0)).unwrap();
    assert_eq!(returned, 5);
}

/// A table's rows in text order of their cells.
fn held(connection: &Connection, table: &str, width: usize) -> Vec<Row> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let mut rows: Vec<Row> = statement
        .query_map([], |row| {
            (0..width)
                .map(|at| {
                    Ok(match row.get_ref(at)? {
                        ValueRef::Null => Held::Null,
                        ValueRef::Integer(n) => Held::Integer(n),
                        ValueRef::Real(n) => Held::float(n),
                        ValueRef::Text(text) => Held::Text(String::from_utf8(text.to_vec()).unwrap()),
                        ValueRef::Blob(blob) => Held::Bytes(blob.to_vec()),
                    })
                })
                .collect()
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.sort();
    rows
}

/// xorshift64*: the same statements for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.roll(choices.len() as u64)).unwrap()]
    }
}

const STATEMENTS: &[&str] = &[
    "INSERT OR {c} INTO a VALUES ({n}, '{w}', {m}, {x})",
    "INSERT OR {c} INTO a (x, y, z) VALUES ('{w}', {m}, {x})",
    "INSERT OR {c} INTO a SELECT id + {m}, x || '{w}', y + 1, z FROM a WHERE id % 3 = 1",
    "INSERT INTO a VALUES ({n}, '{w}', {m}, {x}) ON CONFLICT (x) DO UPDATE SET y = y + 1",
    "INSERT INTO a VALUES ({n}, '{w}', {m}, {x}) ON CONFLICT (id) DO UPDATE SET x = excluded.x || id, id = id + 7",
    "UPDATE OR {c} a SET id = {m} WHERE id = {n}",
    "UPDATE OR {c} a SET x = '{w}' WHERE id <= {n}",
    "UPDATE OR {c} a SET y = {m} WHERE y > {n}",
    "UPDATE OR {c} a SET id = id + 1, z = {x} WHERE id > {n}",
    "DELETE FROM a WHERE id = {n}",
    "DELETE FROM a WHERE y % 5 = {m} % 5",
    "INSERT OR {c} INTO b VALUES ('{w}', {n}, {x})",
    "UPDATE OR {c} b SET k = '{w}', v = {x} WHERE n = {n}",
    "UPDATE OR {c} b SET v = {m} WHERE k < '{w}'",
    "DELETE FROM b WHERE n = {m}",
    "INSERT OR {c} INTO c (rowid, k, parent) VALUES ({n}, '{w}', {m})",
    "UPDATE OR {c} c SET k = '{w}' WHERE parent = {n}",
    "UPDATE OR {c} c SET rowid = {n} WHERE k = '{w}'",
    "DELETE FROM c WHERE k = '{w}'",
];

#[test]
fn whatever_an_application_does_its_changes_make_the_tables_that_it_has() {
    for seed in 1..=12_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let register = Register::new(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT COLLATE NOCASE UNIQUE, y INTEGER, z);
             CREATE UNIQUE INDEX a_y ON a (y, z) WHERE y < 12;
             CREATE TABLE b (k TEXT NOT NULL COLLATE NOCASE, n INTEGER NOT NULL, v UNIQUE ON CONFLICT REPLACE, PRIMARY KEY (n, k)) WITHOUT ROWID;
             CREATE TABLE c (k TEXT NOT NULL PRIMARY KEY, parent INTEGER REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE);
             CREATE TRIGGER touch AFTER UPDATE OF x ON a BEGIN UPDATE a SET z = coalesce(z, 0) + 1 WHERE id = NEW.id; END;
             CREATE TRIGGER spread AFTER INSERT ON b WHEN NEW.n = 3 BEGIN REPLACE INTO b VALUES (NEW.k || 's', 4, NEW.v); END;
             CREATE TRIGGER nest BEFORE INSERT ON b WHEN NEW.n = 5 BEGIN REPLACE INTO b VALUES (NEW.k || 'n', 6, 'n'); END;",
            vec![
                table("a", &["id", "x", "y", "z"], &["id"]),
                table("b", &["k", "n", "v"], &["k", "n"]),
                table("c", &["k", "parent"], &["k"]),
            ],
        );
        let application = register.application();
        application.pragma_update(None, "recursive_triggers", dice.of(&["ON", "OFF"])).unwrap();
        application.pragma_update(None, "foreign_keys", dice.of(&["ON", "OFF"])).unwrap();
        let mut done = 0;
        for _ in 0..600 {
            let transaction = dice.roll(4) == 0;
            if transaction {
                application.execute_batch("BEGIN").unwrap();
            }
            for _ in 0..=dice.roll(3) {
                let sql = dice
                    .of(STATEMENTS)
                    .replace("{c}", dice.of(&["REPLACE", "REPLACE", "IGNORE", "FAIL", "ABORT"]))
                    .replace("{n}", &dice.roll(20).to_string())
                    .replace("{m}", &dice.roll(20).to_string())
                    .replace("{w}", dice.of(&["a", "A", "b", "c", "dd", "Dd", "e"]))
                    .replace("{x}", dice.of(&["NULL", "1", "2", "'t'", "x'00ff'", "0.5"]));
                done += usize::from(application.execute(&sql, []).is_ok());
            }
            if transaction && !application.is_autocommit() {
                application.execute_batch(dice.of(&["COMMIT", "COMMIT", "ROLLBACK"])).unwrap();
            }
        }
        let mut recorder = Recorder::default();
        read(&mut register.claim().unwrap(), &mut recorder);
        let mut state = BTreeMap::new();
        let keys = vec![vec![0], vec![0, 1], vec![0]];
        replay(&mut state, &keys, recorder.taken.iter().flat_map(|t| &t.changes));
        for (number, (name, width)) in [("a", 4), ("b", 3), ("c", 2)].into_iter().enumerate() {
            let mut replayed: Vec<Row> =
                state.iter().filter(|((t, _), _)| *t == number).map(|(_, row)| row.clone()).collect();
            replayed.sort();
            assert_eq!(replayed, held(&application, name, width), "seed {seed}, table {name}");
        }
        assert!(done > 300, "seed {seed}: only {done} statements succeeded");
    }
}
