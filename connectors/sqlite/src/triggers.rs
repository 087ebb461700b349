//! The triggers, as text.
//!
//! Three rules of SQLite shape them. The conflict clause of the application's statement also governs the statements
//! inside a trigger, so the tables written here have no constraint that a row could break: under OR IGNORE it would
//! vanish without a word. REPLACE deletes rows without firing delete triggers (unless the application turned
//! recursive triggers on), so a BEFORE trigger keeps the rows that a write could replace, and the AFTER trigger
//! records those that are gone. Triggers fire in the reverse order of their creation, so ours are created last; a
//! row that some earlier trigger has already changed again is marked by a negative operation.

use crate::file::quoted;
use crate::layout::Layout;
use crate::shape::{Compared, Unique};

/// Operations of a changelog row; negative when the row was changed again before its trigger ran.
pub(crate) const INSERT: i64 = 1;
pub(crate) const UPDATE: i64 = 2;
pub(crate) const DELETE: i64 = 3;

/// How many kept rows of a table stay for the writes around a nested one, beyond two for each unique rule. One write keeps
/// one row for each rule at most; what an ignored insert leaves behind is dropped when it is this far back.
const REPLACED_KEPT: usize = 8;

/// A trigger: its name and the whole statement that creates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// The trigger that fills a boundary.
pub(crate) fn commit_trigger() -> Trigger {
    let name = "govbridge_commit_close".to_owned();
    let sql = format!(
        "CREATE TRIGGER {name} AFTER INSERT ON govbridge_commit BEGIN
  UPDATE govbridge_commit
     SET upto = coalesce((SELECT max(id) FROM govbridge_changelog), 0),
         at = CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) * 1000,
         nonce = randomblob(8)
   WHERE id = NEW.id;
END"
    );
    Trigger { name, sql }
}

/// The triggers of one table, in the order in which they are created.
pub(crate) fn table_triggers(layout: &Layout, identity: &[Compared], unique: &[Unique]) -> Vec<Trigger> {
    let writer = Writer::new(layout, identity, unique);
    vec![
        writer.trigger("before_insert", "BEFORE INSERT", "", writer.keep_for_insert()),
        writer.trigger("before_update", "BEFORE UPDATE", &writer.unique_changes(), writer.keep_for_update()),
        writer.trigger("insert", "AFTER INSERT", "", writer.inserted()),
        writer.trigger("update", "AFTER UPDATE", "", writer.updated()),
        writer.trigger("delete", "AFTER DELETE", "", writer.deleted()),
    ]
}

/// Writes the triggers of one table. `g` names the shared table and `r` a kept row in every statement.
struct Writer<'a> {
    layout: &'a Layout,
    /// The key, and for each column its place in the layout.
    key: Vec<(usize, &'a Compared)>,
    unique: &'a [Unique],
}

impl<'a> Writer<'a> {
    fn new(layout: &'a Layout, identity: &'a [Compared], unique: &'a [Unique]) -> Writer<'a> {
        let place = |name: &str| layout.columns.iter().position(|c| c.name == name);
        let key = identity.iter().filter_map(|c| place(&c.name).map(|at| (at, c))).collect();
        Writer { layout, key, unique }
    }

    fn trigger(&self, what: &str, when: &str, only: &str, body: Vec<String>) -> Trigger {
        let name = format!("govbridge_{}_{what}", self.layout.number);
        let mut sql = format!("CREATE TRIGGER {name} {when} ON {}", quoted(&self.layout.table));
        if !only.is_empty() {
            sql.push_str("\n  WHEN ");
            sql.push_str(only);
        }
        sql.push_str(" BEGIN");
        for statement in body {
            sql.push_str("\n  ");
            sql.push_str(&statement);
            sql.push(';');
        }
        sql.push_str("\nEND");
        Trigger { name, sql }
    }

    fn number(&self) -> i64 {
        self.layout.number
    }

    /// `v0, v1, ...` for as many states as given.
    fn places(&self, states: usize) -> String {
        join((0..self.layout.columns.len() * states).map(|i| format!("v{i}")), ", ")
    }

    /// The layout's columns of `side` (`NEW`, `OLD`, `g`).
    fn state(&self, side: &str) -> String {
        join(self.layout.columns.iter().map(|c| format!("{side}.{}", quoted(&c.name))), ", ")
    }

    /// The kept row's columns.
    fn kept_state(&self) -> String {
        join((0..self.layout.columns.len()).map(|i| format!("r.v{i}")), ", ")
    }

    /// `side`'s key is the kept row's key, compared as the table compares it.
    fn is_kept(&self, side: &str) -> String {
        join(
            self.key.iter().map(|(at, c)| {
                format!("{side}.{} COLLATE {} IS r.v{at}", quoted(&c.name), quoted(&c.collation))
            }),
            " AND ",
        )
    }

    /// The shared table's row `g` has `side`'s key.
    fn has_key(&self, side: &str) -> String {
        join(
            self.key.iter().map(|(_, c)| {
                format!("g.{n} COLLATE {} IS {side}.{n}", quoted(&c.collation), n = quoted(&c.name))
            }),
            " AND ",
        )
    }

    /// The shared table still has the row as `NEW` says.
    fn stands(&self) -> String {
        let same = self.layout.columns.iter().map(|c| format!("g.{n} IS NEW.{n}", n = quoted(&c.name)));
        format!(
            "EXISTS (SELECT 1 FROM {} AS g WHERE {} AND {})",
            quoted(&self.layout.table),
            self.has_key("NEW"),
            join(same, " AND ")
        )
    }

    /// Keeps the rows that exclude `NEW` by one of the unique rules.
    fn keep(&self, except: &str) -> Vec<String> {
        let mut statements = vec![format!(
            "DELETE FROM govbridge_replaced WHERE layout = {layout} AND id <= (SELECT id FROM govbridge_replaced WHERE layout = {layout} ORDER BY id DESC LIMIT 1 OFFSET {})",
            REPLACED_KEPT + 2 * self.unique.len(),
            layout = self.number(),
        )];
        for unique in self.unique {
            let excludes = match unique {
                Unique::Columns { columns, .. } => join(
                    columns.iter().map(|c| {
                        format!("g.{n} COLLATE {} = NEW.{n}", quoted(&c.collation), n = quoted(&c.name))
                    }),
                    " AND ",
                ),
                Unique::Rowid => "g.rowid = NEW.rowid".to_owned(),
                Unique::Expression { .. } => continue,
            };
            statements.push(format!(
                "INSERT INTO govbridge_replaced (layout, {})\n    SELECT {}, {} FROM {} AS g\n     WHERE {excludes}{except}\n       AND NOT EXISTS (SELECT 1 FROM govbridge_replaced AS r WHERE r.layout = {} AND {})",
                self.places(1),
                self.number(),
                self.state("g"),
                quoted(&self.layout.table),
                self.number(),
                self.is_kept("g"),
            ));
        }
        statements
    }

    fn keep_for_insert(&self) -> Vec<String> {
        self.keep("")
    }

    fn keep_for_update(&self) -> Vec<String> {
        self.keep(&format!(" AND NOT ({})", self.has_key("OLD")))
    }

    /// An update that changes no column of a unique rule replaces nothing.
    fn unique_changes(&self) -> String {
        let mut changes = Vec::new();
        for unique in self.unique {
            match unique {
                Unique::Columns { columns, .. } => {
                    changes.extend(
                        columns.iter().map(|c| format!("NEW.{n} IS NOT OLD.{n}", n = quoted(&c.name))),
                    );
                }
                Unique::Rowid => changes.push("NEW.rowid IS NOT OLD.rowid".to_owned()),
                Unique::Expression { .. } => {}
            }
        }
        changes.dedup();
        join(changes.into_iter(), " OR ")
    }

    /// Records the kept rows that are gone: `NEW` took their key, or no row has it.
    fn record_replaced(&self) -> Vec<String> {
        let gone = format!(
            "r.layout = {} AND (({}) OR NOT EXISTS (SELECT 1 FROM {} AS g WHERE {}))",
            self.number(),
            self.is_kept("NEW"),
            quoted(&self.layout.table),
            self.is_kept("g"),
        );
        vec![
            format!(
                "INSERT INTO govbridge_changelog (layout, operation, {})\n    SELECT {}, {DELETE}, {} FROM govbridge_replaced AS r\n     WHERE {gone}",
                self.places(1),
                self.number(),
                self.kept_state(),
            ),
            format!(
                "DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE {gone})"
            ),
        ]
    }

    /// Drops the kept copy of the row that `OLD` was: it is out of date.
    fn forget_kept(&self) -> String {
        format!(
            "DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = {} AND {})",
            self.number(),
            self.is_kept("OLD")
        )
    }

    fn record(&self, operation: String, states: usize, values: String) -> String {
        format!(
            "INSERT INTO govbridge_changelog (layout, operation, {})\n    VALUES ({}, {operation}, {values})",
            self.places(states),
            self.number(),
        )
    }

    fn inserted(&self) -> Vec<String> {
        let mut statements = self.record_replaced();
        let operation = format!("CASE WHEN {} THEN {INSERT} ELSE -{INSERT} END", self.stands());
        statements.push(self.record(operation, 1, self.state("NEW")));
        statements
    }

    fn updated(&self) -> Vec<String> {
        let mut statements = vec![self.forget_kept()];
        statements.extend(self.record_replaced());
        let operation = format!("CASE WHEN {} THEN {UPDATE} ELSE -{UPDATE} END", self.stands());
        statements.push(self.record(operation, 2, format!("{}, {}", self.state("OLD"), self.state("NEW"))));
        statements
    }

    fn deleted(&self) -> Vec<String> {
        let operation = format!(
            "CASE WHEN EXISTS (SELECT 1 FROM {} AS g WHERE {}) THEN -{DELETE} ELSE {DELETE} END",
            quoted(&self.layout.table),
            self.has_key("OLD")
        );
        vec![self.forget_kept(), self.record(operation, 1, self.state("OLD"))]
    }
}

fn join(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}
