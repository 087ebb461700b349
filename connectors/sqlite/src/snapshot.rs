//! A snapshot: all rows of some tables as of one boundary.
//!
//! ```text
//!   writer connection   BEGIN IMMEDIATE   token?  close what is committed       COMMIT
//!   reader connection                                       BEGIN, first read           rows ... rows  END
//! ```
//!
//! While the first connection holds the write lock nobody can commit, so the reader's view is exactly what stands
//! before the boundary: a change is either in the rows or in the changelog beyond it, never in both, never in neither.
//! The reader keeps its view for as long as the rows take; the write-ahead log grows meanwhile.

use crate::decode::Chunk;
use crate::decode::Reader;
use crate::file::{broken, open, quoted};
use crate::replication::close_inside;
use crate::schema;
use crate::shape::Shape;
use crate::source::{SqliteSource, end_of};
use bridge_event::{At, Change, Operation, Token};
use connectors_source::{SnapshotRows, SourceError};
use rusqlite::Connection;

impl SqliteSource {
    pub(crate) fn read_snapshot(
        &mut self,
        tables: &[usize],
        out: &mut dyn SnapshotRows,
    ) -> Result<Option<At>, SourceError> {
        let reader = open(&self.path)?;
        let (as_of, token) = self.pin(&reader)?;
        crate::file::sync_wal(&self.path)?;
        if out.begin(as_of, &token).is_err() {
            return Ok(None);
        }
        let mut index = 0;
        for table in tables {
            if !self.read_table(&reader, *table, &mut index, out)? {
                return Ok(None);
            }
        }
        Ok(Some(as_of))
    }

    /// Makes `reader` see the file as it is at the boundary that this writes.
    fn pin(&mut self, reader: &Connection) -> Result<(At, Token), SourceError> {
        let transaction = self.claim.write(&mut self.connection)?;
        reader.execute_batch("BEGIN").map_err(broken)?;
        // The first read takes the view. A schema that drifted is refused before a row is read by it.
        schema::verify(reader, &self.tables)?;
        let (upto, token) = close_inside(&transaction)?;
        transaction.commit().map_err(broken)?;
        Ok((end_of(upto), token))
    }

    /// Gives the rows of one table in key order; `false` when `out` asked to stop.
    fn read_table(
        &self,
        reader: &Connection,
        table: usize,
        index: &mut u64,
        out: &mut dyn SnapshotRows,
    ) -> Result<bool, SourceError> {
        let unknown =
            || SourceError::NotCreated { what: format!("the source was claimed without a table {table}") };
        let asked = self.tables.get(table).ok_or_else(unknown)?;
        let layout = self.installed.current(&asked.name).ok_or_else(unknown)?;
        let shape = Shape::read(reader, &asked.name)?.ok_or_else(unknown)?;
        let columns: Vec<String> = layout.columns.iter().map(|c| format!("g.{}", quoted(&c.name))).collect();
        let key: Vec<String> = shape
            .identity(&asked.key)
            .ok_or_else(unknown)?
            .iter()
            .map(|c| format!("g.{} COLLATE {}", quoted(&c.name), quoted(&c.collation)))
            .collect();
        let sql = format!(
            "SELECT {} FROM {} AS g ORDER BY {}",
            columns.join(", "),
            quoted(&asked.name),
            key.join(", ")
        );
        let values = Reader::new(layout, &self.tables);
        let mut statement = reader.prepare(&sql).map_err(broken)?;
        let mut rows = statement.query([]).map_err(broken)?;
        let mut chunk = Chunk::default();
        while let Some(row) = rows.next().map_err(broken)? {
            chunk.clear();
            for at in 0..columns.len() {
                chunk.push_value(row.get_ref(at).map_err(broken)?);
            }
            let after =
                values.state(chunk.cells(), chunk.bytes(), || format!("in the snapshot, row {index}"))?;
            let change = Change {
                table,
                operation: Operation::Read,
                index: *index,
                with_next: false,
                before: None,
                after: Some(&after),
            };
            if out.row(&change).is_err() {
                return Ok(false);
            }
            *index += 1;
        }
        Ok(true)
    }
}
