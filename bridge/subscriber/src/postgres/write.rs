//! One group's transaction.

use std::time::Instant;

use bridge_pgwire::{literal, quoted};

use super::group::{Batch, Kind, Segment};
use super::layout::{self, OWN, staging_name};
use super::{LONG, NOTICES, PROGRESS, PostgresSink, SinkError, TABLES, Table, one};
use crate::progress::Progress;

impl PostgresSink {
    /// Begins the transaction and writes the rows in it. Nothing counts before [`PostgresSink::finish`].
    pub(crate) fn write(&mut self) -> Result<(), SinkError> {
        let begun = Instant::now();
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        self.begin()?;
        let touched = |table: &Table| !table.segments.is_empty() || !table.steps.is_empty();
        let touched: Vec<usize> =
            (0..).zip(&self.tables).filter(|(_, table)| touched(table)).map(|(i, _)| i).collect();
        self.hold(&touched)?;
        self.look(&touched)?;
        for index in touched {
            self.follow(index)?;
            self.write_table(index)?;
        }
        self.write_notices()?;
        self.bytes = 0;
        self.took = begun.elapsed();
        Ok(())
    }

    /// Stores the progress with the rows that were written, or alone.
    pub(crate) fn finish(&mut self, progress: &Progress) -> Result<(), SinkError> {
        let begun = Instant::now();
        if !self.in_transaction {
            self.begin()?;
        }
        let text = serde_json::to_string(progress).map_err(|error| SinkError::Layout(error.to_string()))?;
        let sql = format!(
            "UPDATE {} SET subscription = {}, progress = {}, written_at = now() WHERE fence = {}; COMMIT",
            self.at(PROGRESS),
            literal(&progress.subscription),
            literal(&text),
            self.fence
        );
        self.session.query(&sql)?;
        self.in_transaction = false;
        self.took = self.took.saturating_add(begun.elapsed());
        Ok(())
    }

    /// Begins a transaction that only the newest holder of the fence comes through.
    fn begin(&mut self) -> Result<(), SinkError> {
        let sql = format!("BEGIN; SELECT fence FROM {} FOR UPDATE", self.at(PROGRESS));
        let fence = one(&self.session.query(&sql)?);
        if fence != Some(self.fence.to_string()) {
            return Err(SinkError::Held(format!(
                "its fence is {} now, and this one's is {}",
                fence.unwrap_or_else(|| "gone".to_owned()),
                self.fence
            )));
        }
        self.in_transaction = true;
        Ok(())
    }

    /// Keeps anybody from changing the tables until the transaction ends.
    fn hold(&mut self, tables: &[usize]) -> Result<(), SinkError> {
        let names = tables.iter().filter_map(|index| self.tables.get(*index));
        let names = names.flat_map(|table| [self.at(&table.name), self.at(&staging_name(&table.name))]);
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            return Ok(());
        }
        match self.session.query(&format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", names.join(", "))) {
            Ok(_) => Ok(()),
            Err(bridge_pgwire::Fault::Refused { code, message }) if code == "42P01" => {
                Err(SinkError::Changed(message))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Lets a table follow its contract.
    fn follow(&mut self, index: usize) -> Result<(), SinkError> {
        let tables = self.at(TABLES);
        let Some(table) = self.tables.get_mut(index) else { return Ok(()) };
        if table.steps.is_empty() {
            return Ok(());
        }
        let mut statements = layout::alter(&self.schema, &table.name, &table.steps);
        statements.push(format!(
            "UPDATE {tables} SET layout = {} WHERE table_name = {}",
            literal(&layout::layout_text(&table.layout)),
            literal(&table.name)
        ));
        let sql = statements.join(";\n");
        if let Err(fault) = self.session.query_within(&sql, LONG) {
            return Err(match SinkError::from(fault) {
                SinkError::Denied(what) => SinkError::Denied(format!("{what}; have the owner run: {sql}")),
                other => other,
            });
        }
        tracing::info!(table = table.name, steps = table.steps.len(), "the table follows its contract");
        table.steps.clear();
        table.has_group = false;
        Ok(())
    }

    fn write_table(&mut self, index: usize) -> Result<(), SinkError> {
        let Some(table) = self.tables.get_mut(index) else { return Ok(()) };
        let segments = std::mem::take(&mut table.segments);
        let (name, gathers) = (table.name.clone(), table.gathers);
        let moved = std::mem::replace(&mut table.noted, gathers) != gathers;
        table.used = false;
        for segment in &segments {
            self.write_segment(index, segment)?;
        }
        if moved {
            let sql = format!(
                "UPDATE {} SET snapshot = {} WHERE table_name = {}",
                self.at(TABLES),
                gathers.map_or("NULL".to_owned(), |generation| generation.to_string()),
                literal(&name)
            );
            self.session.query(&sql)?;
        }
        Ok(())
    }

    fn write_segment(&mut self, index: usize, segment: &Segment) -> Result<(), SinkError> {
        let Some(table) = self.tables.get(index) else { return Ok(()) };
        let (own, staging) = (self.at(&table.name), self.at(&staging_name(&table.name)));
        let mut before = Vec::new();
        if segment.begins {
            before.push(format!("DELETE FROM {staging}"));
        }
        let columns = table.layout.columns.len();
        let swap = swap(&own, &staging, table);
        let mut lines = Vec::new();
        let batches = segment.batches(columns, &mut lines);
        let copy = format!("COPY {staging} ({}) FROM STDIN", list(table, segment.columns));
        if !before.is_empty() {
            self.session.query_within(&before.join("; "), LONG)?;
        }
        if !segment.gathered.is_empty() {
            self.session.copy_in(&copy, &segment.gathered, LONG)?;
        }
        if segment.swaps {
            self.session.query_within(&swap, LONG)?;
        }
        if segment.empties {
            self.session.query_within(&format!("DELETE FROM {own}"), LONG)?;
        }
        if batches.is_empty() { Ok(()) } else { self.merge(index, &batches, &lines) }
    }

    /// Brings a group's rows into a table of the session, and from there into the dataset's.
    fn merge(&mut self, index: usize, batches: &[Batch], lines: &[u8]) -> Result<(), SinkError> {
        let Some(table) = self.tables.get_mut(index) else { return Ok(()) };
        let group = format!("pg_temp.govbridge_group_{index}");
        if !table.has_group {
            let columns: Vec<String> =
                table.layout.all().map(|(name, kind)| format!("{} {kind}", quoted(name))).collect();
            let sql = format!(
                "DROP TABLE IF EXISTS {group}; CREATE TEMPORARY TABLE govbridge_group_{index} (govbridge_act integer, {}) \
                 ON COMMIT DELETE ROWS",
                columns.join(", ")
            );
            self.session.query(&sql)?;
            table.has_group = true;
        } else if table.used {
            self.session.query(&format!("TRUNCATE {group}"))?;
        }
        table.used = true;
        let own = format!("{}.{}", quoted(&self.schema), quoted(&table.name));
        let all = list(table, table.layout.columns.len());
        let sql: Vec<String> =
            (0..).zip(batches).map(|(number, batch)| merge(&own, &group, table, (number, batch))).collect();
        self.session.copy_in(&format!("COPY {group} (govbridge_act, {all}) FROM STDIN"), lines, LONG)?;
        // Only a change in part asks whether its rows are there: it alone could not make them.
        for (sql, batch) in sql.iter().zip(batches) {
            let done = self.session.query_within(sql, LONG)?;
            let gone = matches!(batch.kind, Kind::Amend(_)) && one(&done) != Some(batch.rows.to_string());
            if let Some(table) = self.tables.get(index).filter(|_| gone) {
                return Err(SinkError::RowsGone { table: table.name.clone() });
            }
        }
        Ok(())
    }

    fn write_notices(&mut self) -> Result<(), SinkError> {
        if self.notices.is_empty() {
            return Ok(());
        }
        let values: Vec<String> = std::mem::take(&mut self.notices)
            .iter()
            .map(|told| {
                let voids: Vec<String> = told.voids.iter().map(u64::to_string).collect();
                format!(
                    "({}, {}, {}, {}, ARRAY[{}]::numeric[])",
                    literal(&told.stream),
                    told.sequence,
                    literal(told.kind),
                    literal(&told.reason),
                    voids.join(", ")
                )
            })
            .collect();
        let at = self.at(NOTICES);
        self.session.query(&format!(
            "INSERT INTO {at} (stream, sequence, kind, reason, voids) VALUES {} ON CONFLICT DO NOTHING",
            values.join(", ")
        ))?;
        Ok(())
    }
}

/// The names of the key, of so many columns behind it, and of the sink's own.
fn list(table: &Table, columns: usize) -> String {
    let fields = table.layout.keys.iter().chain(table.layout.columns.iter().take(columns));
    let names = fields.map(|field| field.name.as_str()).chain(OWN.iter().map(|(name, _)| *name));
    names.map(quoted).collect::<Vec<_>>().join(", ")
}

/// `"a" = excluded."a"` for columns behind the key and the sink's own.
fn assigned<'a>(names: impl Iterator<Item = &'a str>, from: &str) -> String {
    let own = OWN.iter().map(|(name, _)| *name);
    let pairs = names.chain(own).map(|name| format!("{0} = {from}.{0}", quoted(name)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn same_key(table: &Table, left: &str, right: &str) -> String {
    let pairs = table.layout.keys.iter().map(|key| format!("{left}.{0} = {right}.{0}", quoted(&key.name)));
    pairs.collect::<Vec<_>>().join(" AND ")
}

fn upsert(own: &str, from: &str, filter: &str, table: &Table) -> String {
    let all = list(table, table.layout.columns.len());
    let columns = table.layout.columns.iter().map(|field| field.name.as_str());
    format!(
        "INSERT INTO {own} ({all}) SELECT {all} FROM {from}{filter} ON CONFLICT ({}) DO UPDATE SET {}",
        table.layout.key_list(""),
        assigned(columns, "excluded")
    )
}

/// Puts a snapshot in the place of what the table has: readers see all of it or nothing.
fn swap(own: &str, staging: &str, table: &Table) -> String {
    format!(
        "DELETE FROM {own} t WHERE NOT EXISTS (SELECT FROM {staging} s WHERE {}); {}; DELETE FROM {staging}",
        same_key(table, "s", "t"),
        upsert(own, staging, "", table)
    )
}

fn merge(own: &str, group: &str, table: &Table, (number, batch): (usize, &Batch)) -> String {
    match &batch.kind {
        Kind::Delete => format!(
            "DELETE FROM {own} t USING {group} g WHERE g.govbridge_act = {number} AND {}",
            same_key(table, "t", "g")
        ),
        Kind::Put => upsert(own, group, &format!(" WHERE govbridge_act = {number}"), table),
        Kind::Amend(columns) => {
            let names = columns.iter().filter_map(|column| table.layout.columns.get(*column));
            format!(
                "WITH done AS (UPDATE {own} t SET {} FROM {group} g WHERE g.govbridge_act = {number} AND {} RETURNING 1) \
                 SELECT count(*) FROM done",
                assigned(names.map(|field| field.name.as_str()), "g"),
                same_key(table, "t", "g")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Field, Layout};
    use super::*;

    fn table() -> Table {
        let field = |name: &str, kind: &str| Field { name: name.into(), kind: kind.into() };
        Table {
            dataset: crate::Subscribed { department: "tax".parse().unwrap(), dataset: "p".parse().unwrap() },
            name: "tax__p".into(),
            layout: Layout {
                keys: vec![field("id", "bigint")],
                columns: vec![field("a\"b", "text"), field("c", "date")],
            },
            steps: Vec::new(),
            gathers: None,
            noted: None,
            segments: Vec::new(),
            has_group: false,
            used: false,
        }
    }

    #[test]
    fn a_statement_says_every_column_and_quotes_its_name() {
        let sql = merge("o", "g", &table(), (0, &Batch { kind: Kind::Put, rows: 1 }));
        let own = "\"govbridge_sequence\", \"govbridge_leaf\", \"govbridge_committed_at\"";
        assert_eq!(
            sql,
            format!(
                "INSERT INTO o (\"id\", \"a\"\"b\", \"c\", {own}) SELECT \"id\", \"a\"\"b\", \"c\", {own} FROM g \
                 WHERE govbridge_act = 0 ON CONFLICT (\"id\") DO UPDATE SET \"a\"\"b\" = excluded.\"a\"\"b\", \
                 \"c\" = excluded.\"c\", \"govbridge_sequence\" = excluded.\"govbridge_sequence\", \
                 \"govbridge_leaf\" = excluded.\"govbridge_leaf\", \
                 \"govbridge_committed_at\" = excluded.\"govbridge_committed_at\""
            )
        );
    }

    #[test]
    fn a_change_in_part_touches_its_own_columns_and_counts_its_rows() {
        let sql = merge("o", "g", &table(), (2, &Batch { kind: Kind::Amend(vec![1]), rows: 1 }));
        assert!(sql.contains("SET \"c\" = g.\"c\", \"govbridge_sequence\""), "{sql}");
        assert!(!sql.contains("a\"\"b") && sql.ends_with("SELECT count(*) FROM done"), "{sql}");
    }
}
