//! Whether every row arrived once, in order and unchanged: what was delivered is held against the source's own table.

use crate::sql::Sql;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A row as one text, the same from either side.
const AS_TEXT: &str = "concat_ws('|', id, person_id, name, region, amount, status, \
     to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), note)";
/// Rows of one question to a table.
const CHUNK: i64 = 20_000;

/// A number and its row as text.
pub(crate) type Known = (i64, String);

/// A deliberate fault of what was delivered, by which the comparison shows that it can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// A row is missing.
    Drop,
    /// A row comes twice.
    Repeat,
    /// Two rows change places.
    Swap,
    /// A row's last character is another.
    Change,
}

impl Spoil {
    /// By its name.
    pub(crate) fn named(name: &str) -> Result<Spoil> {
        Ok(match name {
            "drop" => Spoil::Drop,
            "repeat" => Spoil::Repeat,
            "swap" => Spoil::Swap,
            "change" => Spoil::Change,
            _ => bail!("SPOIL is drop, repeat, swap or change, not {name}"),
        })
    }
}

#[derive(Deserialize)]
struct Delivered<'a> {
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Option<After<'a>>,
}

#[derive(Deserialize)]
struct After<'a> {
    id: i64,
    #[serde(borrow)]
    person_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    region: i64,
    #[serde(borrow)]
    amount: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    updated_at: Cow<'a, str>,
    #[serde(borrow)]
    note: Cow<'a, str>,
}

/// The row of a line; none when the line is the end of a transaction.
pub(crate) fn row_of(line: &str) -> Result<Option<Known>> {
    let delivered: Delivered<'_> =
        serde_json::from_str(line).with_context(|| format!("no JSON line: {line}"))?;
    let Some(operation) = delivered.op else { return Ok(None) };
    let Some(row) = delivered.after.filter(|_| operation == "c") else { bail!("no insert: {line}") };
    let After { id, person_id, name, region, amount, status, updated_at, note } = row;
    Ok(Some((id, format!("{id}|{person_id}|{name}|{region}|{amount}|{status}|{updated_at}|{note}"))))
}

/// The rows of a file of JSON lines.
pub(crate) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Known>> + use<>> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let lines = BufReader::with_capacity(1 << 20, file).lines();
    Ok(lines.filter_map(|line| line.map_err(Into::into).and_then(|line| row_of(&line)).transpose()))
}

/// The rows of a table, in the order of their numbers.
pub(crate) struct Rows {
    sql: Sql,
    table: String,
    after: i64,
    chunk: std::vec::IntoIter<Known>,
}

impl Rows {
    /// The rows of a table of a database.
    pub(crate) fn of(port: u16, database: &str, table: &str) -> Result<Rows> {
        let sql = Sql::connect(port, database)?;
        Ok(Rows { sql, table: table.to_owned(), after: i64::MIN, chunk: Vec::new().into_iter() })
    }

    fn read(&mut self) -> Result<()> {
        crate::interrupt::check()?;
        let query = format!(
            "SELECT id, {AS_TEXT} FROM {} WHERE id > {} ORDER BY id LIMIT {CHUNK}",
            self.table, self.after
        );
        let mut chunk = Vec::new();
        self.sql.each(&query, &mut |row| {
            let mut values = row.into_iter().flatten();
            let (id, text) = (values.next().context("no number")?, values.next().context("no text")?);
            chunk.push((id.parse()?, text));
            Ok(())
        })?;
        self.after = chunk.last().map_or(self.after, |(id, _)| *id);
        self.chunk = chunk.into_iter();
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<Known>;

    fn next(&mut self) -> Option<Result<Known>> {
        if let Some(row) = self.chunk.next() {
            return Some(Ok(row));
        }
        match self.read() {
            Err(error) => Some(Err(error)),
            Ok(()) => self.chunk.next().map(Ok),
        }
    }
}

/// Spoils the tenth and the eleventh row of what was delivered.
pub(crate) fn spoiled(
    rows: impl Iterator<Item = Result<Known>>,
    spoil: Option<Spoil>,
) -> impl Iterator<Item = Result<Known>> {
    let mut held: Option<Known> = None;
    rows.enumerate().flat_map(move |(index, row)| {
        let (Some(spoil), Ok(row)) = (spoil, &row) else { return vec![row] };
        match (index, spoil) {
            (10, Spoil::Drop) => vec![],
            (10, Spoil::Repeat) => vec![Ok(row.clone()), Ok(row.clone())],
            (10, Spoil::Change) => vec![Ok((row.0, format!("{}?", row.1)))],
            (10, Spoil::Swap) => {
                held = Some(row.clone());
                vec![]
            }
            (11, Spoil::Swap) => std::iter::once(row.clone()).chain(held.take()).map(Ok).collect(),
            _ => vec![Ok(row.clone())],
        }
    })
}

/// Holds what was delivered against the source, row by row; gives how many there are.
///
/// # Errors
/// The first row that is lost, repeated, out of order or another.
pub(crate) fn compare(
    source: impl Iterator<Item = Result<Known>>,
    delivered: impl Iterator<Item = Result<Known>>,
) -> Result<u64> {
    let mut delivered = delivered.fuse();
    let mut count = 0;
    let mut last = None;
    for wanted in source {
        let (id, text) = wanted?;
        match delivered.next().transpose()? {
            None => bail!("row {id} and those after it are lost: {count} rows were delivered"),
            Some((other, _)) if Some(other) == last => {
                bail!("row {other} was delivered twice, before row {id}")
            }
            Some((other, _)) if other != id => {
                bail!("row {id} is lost or out of order: row {other} stands in its place")
            }
            Some((_, other)) if other != text => bail!("row {id} was changed: {text} became {other}"),
            Some(_) => {}
        }
        last = Some(id);
        count += 1;
    }
    match delivered.next().transpose()? {
        None => Ok(count),
        Some((id, _)) => bail!("row {id} was delivered again, or is of no transaction"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]
    use super::*;

    fn rows() -> impl Iterator<Item = Result<Known>> {
        (1..=40).map(|id| Ok((id, format!("{id}|a"))))
    }

    fn said(spoil: Spoil) -> String {
        compare(rows(), spoiled(rows(), Some(spoil))).unwrap_err().to_string()
    }

    #[test]
    fn equal_rows_are_counted() {
        assert_eq!(compare(rows(), spoiled(rows(), None)).unwrap(), 40);
    }

    #[test]
    fn a_row_that_is_lost_repeated_out_of_order_or_changed_is_named() {
        assert!(said(Spoil::Drop).contains("row 11 is lost"), "{}", said(Spoil::Drop));
        assert!(said(Spoil::Repeat).contains("row 11 was delivered twice"), "{}", said(Spoil::Repeat));
        assert!(said(Spoil::Swap).contains("row 11 is lost or out of order"), "{}", said(Spoil::Swap));
        assert!(said(Spoil::Change).contains("row 11 was changed"), "{}", said(Spoil::Change));
    }

    #[test]
    fn rows_that_are_missing_or_too_many_at_the_end_are_found() {
        let short = compare(rows(), rows().take(39)).unwrap_err().to_string();
        assert!(short.contains("row 40 and those after it are lost"), "{short}");
        let long = compare(rows().take(39), rows()).unwrap_err().to_string();
        assert!(long.contains("row 40 was delivered again"), "{long}");
    }

    #[test]
    fn a_line_that_ends_a_transaction_is_no_row() {
        assert_eq!(row_of(r#"{"commit":{"commit":7}}"#).unwrap(), None);
        let line = r#"{"op":"c","before":null,"after":{"id":7,"person_id":"p","name":"n","region":3,"amount":"1.20",
            "status":"active","updated_at":"2026-01-01T00:00:00.000000Z","note":"a\"b"},"ts_ms":1}"#;
        let text = "7|p|n|3|1.20|active|2026-01-01T00:00:00.000000Z|a\"b";
        assert_eq!(row_of(line).unwrap(), Some((7, text.to_owned())));
    }
}
