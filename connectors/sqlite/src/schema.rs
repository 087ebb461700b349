//! Whether a file still is what capture was installed for.

use crate::file::broken;
use crate::layout::{Installed, Layout};
use crate::preflight;
use crate::shape::Shape;
use crate::triggers::{Trigger, commit_trigger, table_triggers};
use connectors_source::{Finding, SourceError, Table};
use rusqlite::{Connection, OptionalExtension};

/// What our triggers' names begin with.
pub(crate) const OWN_PREFIX: &str = "govbridge_";

const AGAIN: &str = "undo the change, or deliver what waits, then run `govbridge connector --create` again";

/// The number that SQLite raises with every change of the file's schema.
pub(crate) fn version(connection: &Connection) -> Result<i64, SourceError> {
    connection.pragma_query_value(None, "schema_version", |r| r.get(0)).map_err(broken)
}

/// Checks the whole file: what is installed, each table's columns, every trigger's text and the order they fire in.
pub(crate) fn verify(connection: &Connection, tables: &[Table]) -> Result<Installed, SourceError> {
    let installed = Installed::read(connection)?
        .ok_or_else(|| SourceError::NotCreated { what: "the file holds no changelog".to_owned() })?;
    same_trigger(connection, "govbridge_commit", &commit_trigger())?;
    for table in tables {
        let layout = installed.current(&table.name).ok_or_else(|| SourceError::NotCreated {
            what: format!("capture of table {} was never installed", table.name),
        })?;
        same_columns(table, layout)?;
        let shape = Shape::read(connection, &table.name)?
            .ok_or_else(|| drifted(&table.name, "the file no longer has a table of this name"))?;
        same_shape(layout, &shape)?;
        let identity =
            shape.identity(&table.key).ok_or_else(|| drifted(&table.name, "its key's index is gone"))?;
        for trigger in table_triggers(layout, &identity, &shape.unique) {
            same_trigger(connection, &table.name, &trigger)?;
        }
        first_to_fire(connection, layout)?;
    }
    // What create refuses, a later change of the schema may have brought in.
    Finding::refuse_first(preflight::findings(connection, tables, false)?)?;
    Ok(installed)
}

fn drifted(table: &str, what: &str) -> SourceError {
    SourceError::Drifted { table: table.to_owned(), what: what.to_owned(), remedy: AGAIN.to_owned() }
}

fn same_columns(table: &Table, layout: &Layout) -> Result<(), SourceError> {
    let same = table.columns.len() == layout.columns.len()
        && table
            .columns
            .iter()
            .zip(&layout.columns)
            .all(|(name, c)| *name == c.name && table.key.contains(name) == c.key);
    if same {
        Ok(())
    } else {
        Err(drifted(&table.name, "the contract asks for other columns than create installed"))
    }
}

fn same_shape(layout: &Layout, shape: &Shape) -> Result<(), SourceError> {
    for column in &layout.columns {
        if shape.column(&column.name).is_none() {
            return Err(drifted(&layout.table, &format!("column {} is gone", column.name)));
        }
    }
    Ok(())
}

fn same_trigger(connection: &Connection, table: &str, trigger: &Trigger) -> Result<(), SourceError> {
    let sql: Option<String> = connection
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1",
            [&trigger.name],
            |r| r.get(0),
        )
        .optional()
        .map_err(broken)?;
    match sql {
        Some(sql) if sql == trigger.sql => Ok(()),
        Some(_) => Err(drifted(
            table,
            &format!("trigger {} is not the one that create would install now", trigger.name),
        )),
        None => Err(drifted(
            table,
            &format!("trigger {} is missing; changes made meanwhile are not recorded", trigger.name),
        )),
    }
}

/// SQLite fires the triggers of a table in the reverse order of their creation; ours must be the last created.
fn first_to_fire(connection: &Connection, layout: &Layout) -> Result<(), SourceError> {
    let later: Option<String> = connection
        .query_row(
            "SELECT name FROM sqlite_schema
              WHERE type = 'trigger' AND tbl_name = ?1 AND name NOT GLOB ?2
                AND rowid > (SELECT min(rowid) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 AND name GLOB ?2)
              ORDER BY rowid LIMIT 1",
            [&layout.table, &format!("{OWN_PREFIX}{}_*", layout.number)],
            |r| r.get(0),
        )
        .optional()
        .map_err(broken)?;
    match later {
        None => Ok(()),
        Some(name) => Err(SourceError::Drifted {
            table: layout.table.clone(),
            what: format!("trigger {name} was created after Govbridge's and fires before them"),
            remedy: "run `govbridge connector --create` again, which moves Govbridge's triggers to the front"
                .to_owned(),
        }),
    }
}
