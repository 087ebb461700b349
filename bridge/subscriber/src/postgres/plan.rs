//! A batch as the sink takes it: which table, and where the opened sections' columns stand there.

use bridge_envelope::Verified;
use bridge_event::Kind;
use schemas::{ReadRow, SectionReader};

use super::change::{Change, Deed, Place};
use super::{PostgresSink, SinkError};

/// What is known of a batch before its rows are read.
#[derive(Debug)]
pub(crate) struct Plan {
    table: usize,
    columns: Vec<Vec<usize>>,
    sequence: u64,
    begins: Option<u64>,
    ends: Option<u64>,
    spoils: bool,
}

impl PostgresSink {
    /// How a batch goes into its table. Where the contract changed, the table follows with the next transaction.
    pub(crate) fn plan(
        &mut self,
        batch: &Verified,
        sections: &[&SectionReader],
    ) -> Result<Option<Plan>, SinkError> {
        let header = batch.header();
        let (department, dataset) = (&header.stream.department, &header.stream.dataset);
        let own = |table: &super::Table| {
            table.dataset.department == *department && table.dataset.dataset == *dataset
        };
        let Some(index) = self.tables.iter().position(own) else { return Ok(None) };
        let Some(table) = self.tables.get_mut(index) else { return Ok(None) };
        let mut columns = Vec::new();
        for section in sections {
            table.layout.check_keys(section.keys()).map_err(|error| named(error, &table.name))?;
            let before = table.steps.len();
            let followed = table.layout.follow(section.columns(), &mut table.steps);
            columns.push(followed.map_err(|error| named(error, &table.name))?);
            if table.steps.len() > before {
                table.has_group = false;
            }
        }
        let part = header.snapshot.as_ref();
        let generation = part.map(|part| part.generation.0);
        let unread = header.rows() > 0 && sections.is_empty();
        Ok(Some(Plan {
            table: index,
            columns,
            sequence: header.sequence.0,
            begins: generation.filter(|_| part.is_some_and(|part| part.chunk == 0)),
            ends: generation.filter(|_| part.is_some_and(|part| part.last)),
            // A row in fragments is read with its last one.
            spoils: header.kind == Kind::Snapshot
                && unread
                && header.fragment.is_none_or(|part| part.is_last()),
        }))
    }
}

fn named(error: SinkError, table: &str) -> SinkError {
    match error {
        SinkError::Layout(what) => SinkError::Layout(format!("{table}: {what}")),
        other => other,
    }
}

impl Plan {
    /// What comes before the batch's rows.
    pub(crate) fn opening(&self) -> Option<Change> {
        self.begins.map(|generation| Change::bare(self.table, Deed::SnapshotBegins(generation)))
    }

    /// A row.
    pub(crate) fn change(&self, leaf: usize, rows: &[ReadRow<'_>], commit_time: i64) -> Change {
        Change::of_row(self.table, &self.columns, rows, Place { sequence: self.sequence, leaf, commit_time })
    }

    /// What comes behind them.
    pub(crate) fn closing(&self) -> Vec<Change> {
        let spoils = self.spoils.then_some(Deed::SnapshotSpoils);
        let ends = self.ends.map(Deed::SnapshotEnds);
        spoils.into_iter().chain(ends).map(|deed| Change::bare(self.table, deed)).collect()
    }
}
