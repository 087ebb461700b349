//! Where an office keeps its tables: a SQLite file, or a database of a PostgreSQL server. The offices' statements are the
//! same for both, with `?` where a value stands.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bridge_pgwire::Session;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A department's own database, as its own application has it open.
pub(crate) enum Store {
    /// A file; `captured` once the connector's triggers stand in it.
    Sqlite { connection: rusqlite::Connection, captured: bool },
    /// A session with a server.
    Postgres(Box<Session>),
}

/// A row as text.
pub(crate) type Row = Vec<Option<String>>;

impl Store {
    /// Makes or opens a SQLite file.
    pub(crate) fn file(file: &Path) -> anyhow::Result<Store> {
        let connection =
            rusqlite::Connection::open(file).with_context(|| format!("cannot make {}", file.display()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Store::Sqlite { connection, captured: false })
    }

    /// Several statements, whose rows nobody wants.
    pub(crate) fn run(&mut self, statements: &str) -> anyhow::Result<()> {
        match self {
            Store::Sqlite { connection, .. } => Ok(connection.execute_batch(statements)?),
            Store::Postgres(session) => session.query(statements).map(drop).map_err(refused),
        }
    }

    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        self.run(if matches!(self, Store::Sqlite { .. }) { "BEGIN IMMEDIATE" } else { "BEGIN" })
    }

    /// Ends the transaction; its number in the server's log, where there is one. `changed` says whether it did anything.
    pub(super) fn commit(&mut self, changed: bool) -> anyhow::Result<Option<u64>> {
        let number = match self {
            Store::Sqlite { connection, captured } => {
                if *captured && changed {
                    connection.execute("INSERT INTO govbridge_commit DEFAULT VALUES", [])?;
                }
                None
            }
            Store::Postgres(_) => {
                let number = self.one("SELECT pg_current_xact_id()::text", &[])?;
                Some(number.context("a transaction without a number")?.parse()?)
            }
        };
        self.run("COMMIT")?;
        Ok(number)
    }

    /// Runs one statement; how many rows it changed.
    pub(super) fn change(&mut self, statement: &str, values: &[&dyn ToSql]) -> anyhow::Result<u64> {
        match self {
            Store::Sqlite { connection, .. } => Ok(connection.prepare(statement)?.execute(values)? as u64),
            Store::Postgres(session) => {
                let statement = format!("{} RETURNING 1", filled(statement, values)?);
                Ok(session.query(&statement).map_err(refused)?.len() as u64)
            }
        }
    }

    /// The rows of a question, whose columns must all be text.
    pub(crate) fn rows(&mut self, question: &str, values: &[&dyn ToSql]) -> anyhow::Result<Vec<Row>> {
        match self {
            Store::Sqlite { connection, .. } => {
                let mut statement = connection.prepare(question)?;
                let columns = statement.column_count();
                let rows = statement.query_map(values, |row| (0..columns).map(|at| row.get(at)).collect())?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Store::Postgres(session) => session.query(&filled(question, values)?).map_err(refused),
        }
    }

    /// The first column of the first row.
    pub(super) fn one(&mut self, question: &str, values: &[&dyn ToSql]) -> anyhow::Result<Option<String>> {
        Ok(self.rows(question, values)?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// A number that a question has for an answer.
    pub(super) fn number(&mut self, question: &str) -> anyhow::Result<u64> {
        Ok(self.one(question, &[])?.context("a count without an answer")?.parse()?)
    }
}

fn refused(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("PostgreSQL: {error}")
}

/// A statement with its values in the places of `?`; no statement of an office has a `?` of its own.
fn filled(statement: &str, values: &[&dyn ToSql]) -> anyhow::Result<String> {
    let mut values = values.iter();
    let mut text = String::with_capacity(statement.len() * 2);
    for character in statement.chars() {
        if character == '?' {
            text.push_str(&literal(*values.next().context("a statement has too few values")?)?);
        } else {
            text.push(character);
        }
    }
    Ok(text)
}

/// A value as PostgreSQL reads it for a column of any type.
fn literal(value: &dyn ToSql) -> anyhow::Result<String> {
    let output = value.to_sql()?;
    let value = match &output {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => ValueRef::from(value),
        _ => anyhow::bail!("a value that is no plain one"),
    };
    Ok(match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => format!("'{number}'"),
        ValueRef::Real(number) => format!("'{number:?}'"),
        ValueRef::Text(text) => format!("'{}'", std::str::from_utf8(text)?.replace('\'', "''")),
        ValueRef::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{digits}'")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_places_and_cannot_leave_their_quotes() {
        let none: Option<String> = None;
        let text =
            filled("a = ?, b = ?, c = ?, d = ? WHERE e = ?", &[&"it's ?", &7, &1.5, &none, &vec![0_u8, 255]]);
        assert_eq!(text.unwrap(), "a = 'it''s ?', b = '7', c = '1.5', d = NULL WHERE e = '\\x00ff'");
        assert!(filled("a = ?", &[]).is_err());
    }
}
