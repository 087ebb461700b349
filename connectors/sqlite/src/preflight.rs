//! What stands against capturing a table, before anything is installed.

use crate::file::{broken, open, resolve};
use crate::layout::COLUMNS_MAX;
use crate::shape::{Compared, Shape, Sort, Unique};
use connectors_source::{Finding, Severity, SourceError, Table};
use rusqlite::Connection;
use std::path::Path;

/// Everything that stands against capturing `tables` of the file at `path`; empty when nothing does. Changes nothing.
pub fn preflight(path: &Path, tables: &[Table]) -> Result<Vec<Finding>, SourceError> {
    findings(&open(&resolve(path)?)?, tables, true)
}

/// `rows` says whether rows are looked at too, which may take as long as reading a table.
pub(crate) fn findings(
    connection: &Connection,
    tables: &[Table],
    rows: bool,
) -> Result<Vec<Finding>, SourceError> {
    let mut findings = Vec::new();
    let mode: String = connection.pragma_query_value(None, "journal_mode", |r| r.get(0)).map_err(broken)?;
    if mode != "wal" {
        findings.push(Finding {
            table: None,
            severity: Severity::Refused,
            what: format!("the file's journal mode is {mode}, and a reader would block the application"),
            remedy: "run PRAGMA journal_mode=WAL once; it stays in the file".to_owned(),
        });
    }
    if tables.is_empty() {
        findings.push(Finding {
            table: None,
            severity: Severity::Refused,
            what: "no contract names a table".to_owned(),
            remedy: "name a source table in a contract".to_owned(),
        });
    }
    for (at, table) in tables.iter().enumerate() {
        let twice = tables.iter().take(at).any(|t| t.name == table.name);
        TableCheck { connection, table, rows, findings: &mut findings }.run(twice)?;
    }
    Ok(findings)
}

struct TableCheck<'a> {
    connection: &'a Connection,
    table: &'a Table,
    rows: bool,
    findings: &'a mut Vec<Finding>,
}

impl TableCheck<'_> {
    fn found(&mut self, severity: Severity, what: String, remedy: &str) {
        let table = Some(self.table.name.clone());
        self.findings.push(Finding { table, severity, what, remedy: remedy.to_owned() });
    }

    fn refuse(&mut self, what: &str, remedy: &str) {
        self.found(Severity::Refused, what.to_owned(), remedy);
    }

    fn run(&mut self, twice: bool) -> Result<(), SourceError> {
        if twice {
            self.refuse("it is asked for twice", "share a table in one list of columns");
        }
        if self.table.name.to_ascii_lowercase().starts_with("govbridge_")
            || self.table.name.to_ascii_lowercase().starts_with("sqlite_")
        {
            self.refuse("its name is reserved", "share a table of the application");
        }
        let Some(shape) = Shape::read(self.connection, &self.table.name)? else {
            self.refuse(
                "the file has no table of this name",
                "correct the contract's source table; case counts",
            );
            return Ok(());
        };
        match shape.sort {
            Sort::Table => {}
            Sort::View => {
                self.refuse(
                    "it is a view, whose rows change without a trigger",
                    "share the tables behind it",
                );
                return Ok(());
            }
            Sort::Virtual => {
                self.refuse("it is a virtual table, which has no triggers", "share a plain table");
                return Ok(());
            }
        }
        self.columns(&shape);
        self.key(&shape)?;
        self.unique(&shape);
        Ok(())
    }

    fn columns(&mut self, shape: &Shape) {
        let columns = &self.table.columns;
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            self.refuse(&format!("it shares {} columns", columns.len()), "share 1 to 900 columns of a table");
        }
        for (at, name) in columns.iter().enumerate() {
            if columns.iter().take(at).any(|c| c == name) {
                self.refuse(&format!("column {name} is named twice"), "name each column once");
            }
            match shape.column(name) {
                None => self.refuse(
                    &format!("it has no column {name}"),
                    "correct the contract, or add the column; case counts",
                ),
                Some(column)
                    if self
                        .table
                        .source_type(name)
                        .is_some_and(|told| !told.eq_ignore_ascii_case(&column.declared)) =>
                {
                    self.refuse(
                        &format!(
                            "column {name} is declared {:?}, and not as its source_type in the contract says",
                            column.declared
                        ),
                        "write there what the table's declaration says, or leave it out",
                    );
                }
                Some(column) if loses_decimals(&column.declared) => self.found(
                    Severity::Warning,
                    format!(
                        "column {name} is declared {}, and SQLite keeps its fractions in binary floating point",
                        column.declared
                    ),
                    "declare it TEXT, or store whole numbers of the smallest unit",
                ),
                Some(_) => {}
            }
        }
    }

    fn key(&mut self, shape: &Shape) -> Result<(), SourceError> {
        if self.table.key.is_empty() {
            self.refuse("it has no key", "name the primary key's columns in the contract");
            return Ok(());
        }
        let outside: Vec<&String> =
            self.table.key.iter().filter(|k| !self.table.columns.contains(k)).collect();
        if let Some(name) = outside.first() {
            self.refuse(&format!("key column {name} is not shared"), "share every column of the key");
        }
        let Some(identity) = shape.identity(&self.table.key) else {
            self.refuse(
                "its key is neither the primary key nor the columns of one unique index",
                "name the primary key, or add a unique index without a WHERE clause",
            );
            return Ok(());
        };
        self.key_columns(shape, &identity)
    }

    fn key_columns(&mut self, shape: &Shape, identity: &[Compared]) -> Result<(), SourceError> {
        for compared in identity {
            if !["BINARY", "NOCASE", "RTRIM"].contains(&compared.collation.to_ascii_uppercase().as_str()) {
                self.refuse(
                    &format!(
                        "key column {} sorts by {}, which only the application knows",
                        compared.name, compared.collation
                    ),
                    "use a built-in collation for the key",
                );
                continue;
            }
            let Some(column) = shape.column(&compared.name) else { continue };
            let number = column.key_place > 0
                && identity.len() == 1
                && column.declared.eq_ignore_ascii_case("INTEGER");
            if column.not_null || number {
                continue;
            }
            let nulls: bool = self.rows
                && self
                    .connection
                    .query_row(
                        &format!(
                            "SELECT EXISTS (SELECT 1 FROM {} AS g WHERE g.{} IS NULL)",
                            crate::file::quoted(&self.table.name),
                            crate::file::quoted(&compared.name)
                        ),
                        [],
                        |r| r.get(0),
                    )
                    .map_err(broken)?;
            let severity = if nulls { Severity::Refused } else { Severity::Warning };
            let what = if nulls { "holds NULL in some rows" } else { "may become NULL, which halts capture" };
            self.found(severity, format!("key column {} {what}", compared.name), "declare it NOT NULL");
        }
        Ok(())
    }

    fn unique(&mut self, shape: &Shape) {
        for unique in &shape.unique {
            if let Unique::Expression { index } = unique {
                self.refuse(
                    &format!("unique index {index} stands on an expression: a row that REPLACE deletes by it would not be seen"),
                    "put the expression into a generated column and index that",
                );
            }
        }
    }
}

/// Whether a declared type promises exact decimals that SQLite does not keep: numeric affinity turns `12.30` into 12.3.
fn loses_decimals(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let exact = ["DECIMAL", "NUMERIC", "MONEY", "NUMBER"].iter().any(|w| declared.contains(w));
    exact && !["INT", "CHAR", "CLOB", "TEXT", "BLOB"].iter().any(|w| declared.contains(w))
}
