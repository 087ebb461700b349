//! The rows of a batch's opened sections, side by side.

use std::sync::Arc;

use bridge_envelope::{Header, Verified};
use bridge_event::{Kind, Operation, Rows};
use schemas::{ReadRow, SectionReader};

use crate::Found;

/// A section that this department opened.
pub(crate) struct Section {
    pub(crate) reader: Arc<SectionReader>,
    pub(crate) rows: Rows,
}

/// Reads the rows of all opened sections side by side, and checks that they are the header's and each other's.
pub(crate) fn each_row(
    batch: &Verified,
    sections: &[Section],
    mut take: impl FnMut(usize, &[ReadRow<'_>], &schemas::EventHead),
) -> Result<(), Found> {
    let header = batch.header();
    let Some(first) = sections.first() else { return Ok(()) };
    let wrong = |code, what: String| Err(Found::halt(code, what));
    let mut last = None;
    // One for each section, for all rows: a row is read in the place of the one before.
    let mut rows: Vec<ReadRow<'_>> = sections.iter().map(|section| section.reader.blank()).collect();
    for leaf in 0..first.rows.rows() {
        for (section, row) in sections.iter().zip(&mut rows) {
            let Some(parts) = section.rows.row(leaf) else {
                return wrong("VER077", format!("section {} has no row {leaf}", section.reader.name()));
            };
            if let Err(error) = section.reader.read_into(&parts, row) {
                return wrong("VER079", format!("section {}, row {leaf}: {error}", section.reader.name()));
            }
        }
        let Some(row) = rows.first() else { return Ok(()) };
        let same = |other: &ReadRow<'_>| {
            (other.head(), other.operation(), other.states(), other.keys())
                == (row.head(), row.operation(), row.states(), row.keys())
        };
        if !rows.iter().all(same) {
            return wrong("VER077", format!("row {leaf} is not the same event in every section"));
        }
        let head = row.head();
        if !stands(header, leaf, first.rows.rows(), head, last, row.operation()) {
            return wrong("VER077", format!("row {leaf} does not stand where the signed header says"));
        }
        last = Some((head.commit, head.ordinal));
        take(leaf, &rows, head);
    }
    Ok(())
}

/// Whether row `leaf` of `rows`, with the row `before` it, stands where the header says (docs/spec/sealed-batch.md, 6.3).
fn stands(
    header: &Header,
    leaf: usize,
    rows: usize,
    head: &schemas::EventHead,
    before: Option<(u64, u64)>,
    operation: Operation,
) -> bool {
    let at = (head.commit, head.ordinal);
    let ascends = before.is_none_or(|before| at > before);
    let (first, last) = (header.first.mark, header.last.mark);
    match header.kind {
        Kind::Stream => {
            let begins = leaf > 0 || at == (first.commit, first.ordinal);
            let ends = leaf.saturating_add(1) < rows || at == (last.commit, last.ordinal);
            ascends && begins && ends && operation != Operation::Read
        }
        Kind::Snapshot => ascends && head.commit == last.commit && operation == Operation::Read,
        _ => true,
    }
}
