//! Installing capture in a department's file: a command, never a start.

use crate::file::{broken, literal, open, quoted, resolve};
use crate::layout::{FORMAT, Installed, Layout};
use crate::preflight;
use crate::schema::OWN_PREFIX;
use crate::shape::Shape;
use crate::triggers::{commit_trigger, table_triggers};
use crate::{file, layout};
use connectors_source::{Finding, SourceError, Table};
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// What `create` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The file's identity: the one that was given when the file had none, else the one that it had.
    pub system: String,
    /// How many times capture began in this file. When it rose, the source is another incarnation.
    pub capture: u64,
    /// Tables whose triggers were missing: changes made meanwhile are not in the changelog.
    pub interrupted: Vec<String>,
    /// Changes in the changelog that no connector has acknowledged.
    pub waiting: u64,
}

/// Installs capture of `tables` in the file at `path`, or brings what is installed up to date, in one transaction.
///
/// `new_system` is a random UUID in text; it becomes the file's identity when the file has none. Tables that are
/// not named are no longer captured. Existing rows are not touched: a snapshot reads them.
///
/// Errors: [`SourceError::Unsuitable`] with the first refusal of the preflight; nothing is changed on any error.
pub fn create(path: &Path, new_system: &str, tables: &[Table]) -> Result<Created, SourceError> {
    let mut connection = open(&resolve(path)?)?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(broken)?;
    let plan = Plan::new(&transaction, new_system, tables)?;
    for statement in &plan.statements {
        transaction.execute_batch(statement).map_err(broken)?;
    }
    transaction.commit().map_err(broken)?;
    file::sync_wal(&resolve(path)?)?;
    Ok(plan.created)
}

/// The statements that [`create`] would run now, for a database administrator to read and run.
pub fn script(path: &Path, new_system: &str, tables: &[Table]) -> Result<String, SourceError> {
    let mut connection = open(&resolve(path)?)?;
    let transaction = connection.transaction().map_err(broken)?;
    let plan = Plan::new(&transaction, new_system, tables)?;
    let mut text = String::from("BEGIN IMMEDIATE;\n");
    for statement in &plan.statements {
        text.push_str(statement);
        text.push_str(";\n");
    }
    text.push_str("COMMIT;\n");
    Ok(text)
}

struct Plan {
    statements: Vec<String>,
    created: Created,
}

impl Plan {
    fn new(connection: &Connection, new_system: &str, tables: &[Table]) -> Result<Plan, SourceError> {
        Finding::refuse_first(preflight::findings(connection, tables, true)?)?;
        let mut plan = Plan {
            statements: Vec::new(),
            created: Created { system: String::new(), capture: 1, interrupted: Vec::new(), waiting: 0 },
        };
        let installed = match Installed::read(connection)? {
            Some(installed) => installed,
            None => plan.first(new_system)?,
        };
        plan.created.system.clone_from(&installed.system);
        let mut layouts = installed.layouts.clone();
        let first = layouts.is_empty();
        plan.follow_renames(connection, &mut layouts)?;
        if !first {
            plan.created.waiting = waiting(connection)?;
            plan.created.interrupted = interrupted(connection, &layouts, tables)?;
        }
        plan.drop_triggers(connection)?;
        let chosen = plan.choose_layouts(connection, &mut layouts, tables)?;
        plan.widen(connection, &layouts)?;
        for (layout, shape) in &chosen {
            let key: Vec<String> = layout.columns.iter().filter(|c| c.key).map(|c| c.name.clone()).collect();
            let identity = shape.identity(&key).unwrap_or_default();
            plan.statements
                .extend(table_triggers(layout, &identity, &shape.unique).into_iter().map(|t| t.sql));
        }
        plan.begin_capture(&installed);
        Ok(plan)
    }

    /// The tables themselves, in a file that has none.
    fn first(&mut self, system: &str) -> Result<Installed, SourceError> {
        if !is_uuid(system) {
            return Err(SourceError::Unsuitable {
                what: format!("{system:?} is no identity for a file"),
                remedy: "give a random UUID in lower case with hyphens".to_owned(),
            });
        }
        self.say("CREATE TABLE govbridge_source (format INTEGER, system TEXT, capture INTEGER, since INTEGER, acknowledged INTEGER, claim BLOB)");
        self.say("CREATE TABLE govbridge_layout (layout INTEGER PRIMARY KEY, name TEXT, current INTEGER)");
        self.say("CREATE TABLE govbridge_column (layout INTEGER, place INTEGER, name TEXT, is_key INTEGER, PRIMARY KEY (layout, place)) WITHOUT ROWID");
        self.say("CREATE TABLE govbridge_changelog (id INTEGER PRIMARY KEY AUTOINCREMENT, layout INTEGER, operation INTEGER)");
        self.say("CREATE TABLE govbridge_commit (id INTEGER PRIMARY KEY AUTOINCREMENT, upto INTEGER, at INTEGER, nonce BLOB)");
        self.say("CREATE INDEX govbridge_commit_upto ON govbridge_commit (upto)");
        self.say("CREATE TABLE govbridge_replaced (id INTEGER PRIMARY KEY, layout INTEGER)");
        self.statements.push(commit_trigger().sql);
        self.statements.push(format!(
            "INSERT INTO govbridge_source (format, system, capture, since, acknowledged) VALUES ({FORMAT}, {}, 1, 0, 0)",
            literal(system)
        ));
        Ok(Installed { system: system.to_owned(), capture: 1, since: 0, layouts: Vec::new() })
    }

    fn say(&mut self, statement: &str) {
        self.statements.push(statement.to_owned());
    }

    /// Every trigger on a shared table is made anew, so that ours are the last created, and so the first to fire.
    fn drop_triggers(&mut self, connection: &Connection) -> Result<(), SourceError> {
        let mut statement = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB ?1 AND tbl_name <> 'govbridge_commit' ORDER BY rowid")
            .map_err(broken)?;
        let names = statement
            .query_map([format!("{OWN_PREFIX}[0-9]*")], |r| r.get::<_, String>(0))
            .map_err(broken)?;
        for name in names {
            self.statements.push(format!("DROP TRIGGER {}", quoted(&name.map_err(broken)?)));
        }
        if !self.creates_tables() {
            self.say("DELETE FROM govbridge_replaced");
        }
        Ok(())
    }

    /// A renamed table takes its triggers along; its layout gets the new name, and capture goes on unbroken.
    fn follow_renames(&mut self, connection: &Connection, layouts: &mut [Layout]) -> Result<(), SourceError> {
        for layout in layouts.iter_mut().filter(|l| l.current) {
            let name: Option<String> = connection
                .query_row(
                    "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = ?1",
                    [format!("{OWN_PREFIX}{}_insert", layout.number)],
                    |r| r.get(0),
                )
                .optional()
                .map_err(broken)?;
            if let Some(name) = name.filter(|name| *name != layout.table) {
                self.statements.push(format!(
                    "UPDATE govbridge_layout SET name = {} WHERE layout = {}",
                    literal(&name),
                    layout.number
                ));
                layout.table = name;
            }
        }
        Ok(())
    }

    fn creates_tables(&self) -> bool {
        self.statements.iter().any(|s| s.starts_with("CREATE TABLE govbridge_source"))
    }

    /// For each table the layout that it is written by: the one it has when that fits, else a new one.
    fn choose_layouts(
        &mut self,
        connection: &Connection,
        layouts: &mut Vec<Layout>,
        tables: &[Table],
    ) -> Result<Vec<(Layout, Shape)>, SourceError> {
        let mut chosen = Vec::with_capacity(tables.len());
        let mut last = layouts.iter().map(|l| l.number).max().unwrap_or(0);
        for table in tables {
            let Some(shape) = Shape::read(connection, &table.name)? else { continue };
            let columns = wanted_columns(table);
            let fits =
                layouts.iter().find(|l| l.current && l.table == table.name && l.columns == columns).cloned();
            let layout = fits.unwrap_or_else(|| {
                last += 1;
                Layout { number: last, table: table.name.clone(), current: true, columns }
            });
            chosen.push((layout, shape));
        }
        for old in layouts.iter_mut().filter(|l| l.current) {
            if !chosen.iter().any(|(l, _)| l.number == old.number) {
                old.current = false;
                self.statements
                    .push(format!("UPDATE govbridge_layout SET current = 0 WHERE layout = {}", old.number));
            }
        }
        for (layout, _) in &chosen {
            if layouts.iter().any(|l| l.number == layout.number) {
                continue;
            }
            self.write_layout(layout);
            layouts.push(layout.clone());
        }
        Ok(chosen)
    }

    fn write_layout(&mut self, layout: &Layout) {
        self.statements.push(format!(
            "INSERT INTO govbridge_layout (layout, name, current) VALUES ({}, {}, 1)",
            layout.number,
            literal(&layout.table)
        ));
        for (place, column) in layout.columns.iter().enumerate() {
            self.statements.push(format!(
                "INSERT INTO govbridge_column (layout, place, name, is_key) VALUES ({}, {place}, {}, {})",
                layout.number,
                literal(&column.name),
                i64::from(column.key)
            ));
        }
    }

    /// The changelog holds two states of the widest table, the kept rows one. The columns have no type, so that
    /// SQLite keeps each value as it is.
    fn widen(&mut self, connection: &Connection, layouts: &[Layout]) -> Result<(), SourceError> {
        let widest = layouts.iter().map(|l| l.columns.len()).max().unwrap_or(0);
        for (table, wanted) in [("govbridge_changelog", widest * 2), ("govbridge_replaced", widest)] {
            let present: i64 = connection
                .query_row(
                    "SELECT count(*) FROM pragma_table_info(?1) WHERE name GLOB 'v[0-9]*'",
                    [table],
                    |r| r.get(0),
                )
                .map_err(broken)?;
            for place in usize::try_from(present).unwrap_or(0)..wanted {
                self.statements.push(format!("ALTER TABLE {table} ADD COLUMN v{place}"));
            }
        }
        Ok(())
    }

    /// Capture begins anew where triggers were missing: the identity changes, and with it the incarnation.
    fn begin_capture(&mut self, installed: &Installed) {
        self.created.capture = installed.capture;
        if !self.created.interrupted.is_empty() {
            self.created.capture += 1;
            self.say("UPDATE govbridge_source SET capture = capture + 1, since = coalesce((SELECT max(id) FROM govbridge_changelog), 0)");
        }
    }
}

fn wanted_columns(table: &Table) -> Vec<layout::Column> {
    table
        .columns
        .iter()
        .map(|name| layout::Column { name: name.clone(), key: table.key.contains(name) })
        .collect()
}

/// Tables that stay shared and whose recording triggers are not all there: changes may have been missed.
fn interrupted(
    connection: &Connection,
    layouts: &[Layout],
    tables: &[Table],
) -> Result<Vec<String>, SourceError> {
    let mut count = connection
        .prepare(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name IN (?1, ?2, ?3) AND tbl_name = ?4
                AND sql LIKE '%govbridge_changelog%'",
        )
        .map_err(broken)?;
    let mut found = Vec::new();
    for layout in layouts.iter().filter(|l| l.current && tables.iter().any(|t| t.name == l.table)) {
        let name = |what: &str| format!("{OWN_PREFIX}{}_{what}", layout.number);
        let present: i64 = count
            .query_row([name("insert"), name("update"), name("delete"), layout.table.clone()], |r| r.get(0))
            .map_err(broken)?;
        if present != 3 {
            found.push(layout.table.clone());
        }
    }
    Ok(found)
}

fn waiting(connection: &Connection) -> Result<u64, SourceError> {
    let count: i64 = connection
        .query_row(
            "SELECT count(*) FROM govbridge_changelog WHERE id > (SELECT acknowledged FROM govbridge_source)",
            [],
            |r| r.get(0),
        )
        .map_err(broken)?;
    file::unsigned(count)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}
