//! Looking at the tables: whether they are still what this sink made of them.

use std::collections::BTreeMap;

use bridge_pgwire::{ANSWER, literal};

use super::layout::{Layout, staging_name, table_name};
use super::{PostgresSink, SinkError, TABLES, Table};
use crate::settings::Subscribed;

/// Columns of one table: name, type, and the place in the primary key.
type Found = BTreeMap<String, Vec<(String, String, Option<usize>)>>;

impl PostgresSink {
    /// Finds the tables of the datasets as they were made.
    pub(super) fn find_tables(&mut self, datasets: &[Subscribed]) -> Result<(), SinkError> {
        let rows = self
            .session
            .query(&format!("SELECT table_name, layout::text, snapshot::text FROM {}", self.at(TABLES)))?;
        for dataset in datasets {
            let name = table_name(dataset);
            let row = rows.iter().find(|row| row.first() == Some(&Some(name.clone())));
            let field = |i: usize| row.and_then(|row| row.get(i)).cloned().flatten();
            let Some(text) = field(1) else {
                return Err(SinkError::NotCreated(format!(
                    "there is no table {name} for {}/{}",
                    dataset.department, dataset.dataset
                )));
            };
            let layout: Layout = serde_json::from_str(&text)
                .map_err(|error| SinkError::Changed(format!("the layout of {name} in {TABLES}: {error}")))?;
            self.tables.push(Table {
                dataset: dataset.clone(),
                name,
                layout,
                steps: Vec::new(),
                gathers: field(2).and_then(|generation| generation.parse().ok()),
                noted: field(2).and_then(|generation| generation.parse().ok()),
                segments: Vec::new(),
                has_group: false,
                used: false,
            });
        }
        let all: Vec<usize> = (0..self.tables.len()).collect();
        self.look(&all)
    }

    /// Checks that tables are as they were made.
    pub(super) fn look(&mut self, tables: &[usize]) -> Result<(), SinkError> {
        let tables: Vec<&Table> = tables.iter().filter_map(|index| self.tables.get(*index)).collect();
        if tables.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = tables
            .iter()
            .flat_map(|table| [literal(&table.name), literal(&staging_name(&table.name))])
            .collect();
        let rows = self.session.query_within(
            &format!(
                "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), \
                   (SELECT array_position(i.indkey::int2[], a.attnum) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE n.nspname = {} AND c.relkind = 'r' AND c.relname IN ({}) AND a.attnum > 0 AND NOT a.attisdropped",
                literal(&self.schema),
                names.join(", ")
            ),
            ANSWER,
        )?;
        let mut found = Found::new();
        for row in rows {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || row.next().unwrap_or_default();
            let (table, column, kind, key) = (next(), next(), next(), next());
            found.entry(table).or_default().push((column, kind, key.parse().ok()));
        }
        for table in tables {
            check(table, &table.name, &found, true)?;
            check(table, &staging_name(&table.name), &found, false)?;
        }
        Ok(())
    }
}

fn check(table: &Table, name: &str, found: &Found, with_key: bool) -> Result<(), SinkError> {
    let changed = |what: String| Err(SinkError::Changed(format!("{name}: {what}")));
    let Some(columns) = found.get(name) else { return changed("the table is gone".to_owned()) };
    // What the contract changes in this very transaction is not there yet.
    let pending = |column: &str| {
        table.steps.iter().any(|step| match step {
            super::Step::Add(field, _) => field.name == column,
            super::Step::Widen { column: widened, .. } => widened == column,
        })
    };
    for (column, kind) in table.layout.all().filter(|(column, _)| !pending(column)) {
        match columns.iter().find(|(known, _, _)| known == column) {
            None => return changed(format!("column {column} is gone")),
            Some((_, other, _)) if other != kind => {
                return changed(format!("column {column} is {other} and was made {kind}"));
            }
            Some(_) => {}
        }
    }
    let mut key: Vec<(usize, &str)> =
        columns.iter().filter_map(|(column, _, place)| Some(((*place)?, column.as_str()))).collect();
    key.sort_unstable();
    let same =
        key.iter().map(|(_, column)| *column).eq(table.layout.keys.iter().map(|key| key.name.as_str()));
    if with_key && !same { changed("its primary key is another one".to_owned()) } else { Ok(()) }
}
