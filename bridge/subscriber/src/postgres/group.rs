//! The rows of one group: of each key what is left of it at the end, in few statements.

use std::collections::HashMap;

use super::change::{Change, Deed, Part};

/// What happens to one table, in this order: a snapshot begins, gathers, takes the table's place; the table is emptied;
/// rows change.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// What was gathered before is dropped.
    pub(super) begins: bool,
    /// Lines of a snapshot.
    pub(super) gathered: Vec<u8>,
    /// How many columns behind the key those lines have.
    pub(super) columns: usize,
    pub(super) swaps: bool,
    pub(super) empties: bool,
    rows: Vec<Change>,
    /// Where the row of a key stands in `rows`.
    by_key: HashMap<Vec<u8>, usize>,
}

/// A statement's rows: those of which the same columns are said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) kind: Kind,
    pub(super) rows: usize,
}

/// What a statement does with its rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Delete,
    /// Insert or replace; a row that is there gets every column.
    Put,
    /// Change these columns of rows that are there.
    Amend(Vec<usize>),
}

impl Segment {
    /// Takes the next change of the table, which has `columns` columns behind the key; says how many bytes it added.
    pub(super) fn take(&mut self, mut change: Change, columns: usize) -> usize {
        let bytes = change.bytes();
        if change.deed == Deed::Amend && change.is_whole(columns) {
            change.deed = Deed::Put;
        }
        match change.deed {
            Deed::Gather => {
                let before = self.gathered.len();
                self.columns = columns;
                change.line(&mut self.gathered, columns);
                return self.gathered.len().saturating_sub(before);
            }
            Deed::Truncate => {
                self.forget();
                self.empties = true;
            }
            Deed::SnapshotBegins(_) => {
                self.gathered.clear();
                self.begins = true;
            }
            Deed::SnapshotEnds(_) => {
                // Everything before is as of the snapshot or older.
                self.forget();
                self.empties = false;
                self.swaps = true;
            }
            Deed::SnapshotSpoils => {}
            Deed::Put | Deed::Amend | Deed::Delete => self.row(change),
        }
        bytes
    }

    fn forget(&mut self) {
        self.rows.clear();
        self.by_key.clear();
    }

    fn row(&mut self, change: Change) {
        let Some(known) = self.by_key.get(&change.identity).and_then(|at| self.rows.get_mut(*at)) else {
            self.by_key.insert(change.identity.clone(), self.rows.len());
            self.rows.push(change);
            return;
        };
        match (known.deed, change.deed) {
            // What is left of the row before stays a part of it.
            (Deed::Put | Deed::Amend, Deed::Amend) => known.overlay(&change),
            _ => *known = change,
        }
    }

    /// The statements of this group's rows, and the lines that they read: each line begins with its statement's number.
    pub(super) fn batches(&self, columns: usize, lines: &mut Vec<u8>) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for row in &self.rows {
            let kind = match row.deed {
                Deed::Delete => Kind::Delete,
                Deed::Amend if !row.is_whole(columns) => {
                    Kind::Amend((0..columns).filter(|column| row.part(*column) != Part::Kept).collect())
                }
                _ => Kind::Put,
            };
            let number = match batches.iter().position(|batch| batch.kind == kind) {
                Some(number) => number,
                None => {
                    batches.push(Batch { kind, rows: 0 });
                    batches.len().saturating_sub(1)
                }
            };
            if let Some(batch) = batches.get_mut(number) {
                batch.rows = batch.rows.saturating_add(1);
            }
            lines.extend_from_slice(number.to_string().as_bytes());
            lines.push(b'\t');
            row.line(lines, columns);
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::change::Place;

    fn change(deed: Deed, key: &str, cells: &[Option<&str>]) -> Change {
        let mut change = Change::bare(0, deed);
        change.place = Place { sequence: 7, leaf: 1, commit_time: 0 };
        change.key = key.as_bytes().to_vec();
        change.identity = change.key.clone();
        for cell in cells {
            let start = change.text.len();
            change.text.extend_from_slice(cell.unwrap_or_default().as_bytes());
            change.parts.push(match cell {
                None => Part::Kept,
                Some("") => Part::Null,
                Some(_) => Part::Text(start, change.text.len()),
            });
        }
        change
    }

    fn of(changes: &[(Deed, &str, &[Option<&str>])]) -> (Segment, Vec<String>) {
        let mut segment = Segment::default();
        for (deed, key, cells) in changes {
            segment.take(change(*deed, key, cells), 2);
        }
        let mut lines = Vec::new();
        let batches = segment.batches(2, &mut lines);
        let lines = String::from_utf8(lines).unwrap();
        let told = lines
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                let kind = &batches[fields[0].parse::<usize>().unwrap()].kind;
                format!("{kind:?} {}", fields[1..4].join(" "))
            })
            .collect();
        (segment, told)
    }

    #[test]
    fn the_last_change_of_a_key_wins_in_order() {
        let (_, told) = of(&[
            (Deed::Put, "1", &[Some("a"), Some("b")]),
            (Deed::Delete, "1", &[]),
            (Deed::Put, "2", &[Some("c"), None]),
            (Deed::Put, "1", &[Some("d"), None]),
            (Deed::Delete, "3", &[]),
        ]);
        // A row that is inserted says all of itself: what it does not say is NULL, whatever stood there before.
        assert_eq!(told, ["Put 1 d \\N", "Put 2 c \\N", "Delete 3 \\N \\N"]);
    }

    #[test]
    fn what_a_change_does_not_say_stays_as_it_was() {
        let (_, told) = of(&[
            (Deed::Put, "1", &[Some("a"), Some("b")]),
            (Deed::Amend, "1", &[Some("x"), None]),
            (Deed::Amend, "2", &[None, Some("")]),
            (Deed::Amend, "3", &[None, Some("p")]),
            (Deed::Amend, "3", &[Some("q"), None]),
            (Deed::Amend, "4", &[Some("r"), Some("s")]),
        ]);
        assert_eq!(told, ["Put 1 x b", "Amend([1]) 2 \\N \\N", "Put 3 q p", "Put 4 r s"]);
    }

    #[test]
    fn a_truncate_and_a_snapshots_end_leave_nothing_of_what_was_before() {
        let (segment, told) = of(&[
            (Deed::Put, "1", &[Some("a"), None]),
            (Deed::Truncate, "", &[]),
            (Deed::Put, "2", &[Some("b"), None]),
        ]);
        assert!(segment.empties && !segment.swaps);
        assert_eq!(told, ["Put 2 b \\N"]);
        let (segment, told) = of(&[
            (Deed::Put, "1", &[Some("a"), None]),
            (Deed::SnapshotBegins(1), "", &[]),
            (Deed::Gather, "5", &[Some("e"), None]),
            (Deed::SnapshotEnds(1), "", &[]),
            (Deed::Delete, "5", &[]),
        ]);
        assert!(segment.begins && segment.swaps && !segment.empties);
        assert_eq!(segment.gathered.split(|b| *b == b'\n').count(), 2);
        assert_eq!(told, ["Delete 5 \\N \\N"]);
    }
}
