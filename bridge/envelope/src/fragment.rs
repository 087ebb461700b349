//! Rows larger than a record: how they are cut, and how a reader puts them together.
//!
//! ```text
//! the row's record in section 1 | in section 2 | ..          one after the other, in contract order
//! |-- fragment 0 --|-- fragment 1 --|-- .. --|               cut every so many bytes
//! ```
//!
//! Each fragment is a batch of its own. In each section it holds the slice that falls into it, which may be empty.
//! Nothing of the row is given out before its last fragment, whose leaves hash the whole row.

use std::ops::Range;

use bridge_event::{At, IncarnationNumber, Kind, RowSplit, Rows, SectionName};
use bridge_suite::{Digest, Secret};

use crate::contradiction::{FRAGMENTS_MAX, ROW_BYTES_MAX};
use crate::open::{OpenError, Opened, Opener};
use crate::{FragmentPart, Header, SealError, Verified};

/// Where a connector cuts. With its padding (2 % at this length), a block and least plaintext for each of 32 sections (5 KiB
/// each) and a header of some KiB, a fragment stays below Kafka's default record limit of 1 MiB.
pub const FRAGMENT_BYTES: usize = 768 * 1024;

/// How a row is cut. The same row and the same length give the same cut, in every life of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// Where each section's record ends in all of the row.
    ends: Vec<usize>,
    bytes: usize,
    of: u32,
}

impl Fragments {
    /// Cuts the only row of `rows`, one for each section, every `bytes` bytes.
    ///
    /// # Errors
    /// [`SealError::Rows`] when there is not exactly one row, or too little of it for two fragments; [`SealError::Limit`]
    /// when it is too long.
    pub fn new(rows: &[Rows], bytes: usize) -> Result<Fragments, SealError> {
        let refuse = |why| Err(SealError::Rows { section: "-".to_owned(), why });
        if rows.iter().any(|rows| rows.rows() != 1 || !rows.is_whole()) {
            return refuse("what is cut is not one row");
        }
        let ends: Vec<usize> = rows
            .iter()
            .scan(0_usize, |end, rows| {
                *end = end.saturating_add(rows.bytes().len());
                Some(*end)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        let limit = usize::try_from(ROW_BYTES_MAX).unwrap_or(usize::MAX);
        if total > limit {
            return Err(SealError::limit("a row", total, limit));
        }
        if bytes == 0 || total <= bytes {
            return refuse("it is too short to be cut");
        }
        let most = usize::try_from(FRAGMENTS_MAX).unwrap_or(usize::MAX);
        let of = u32::try_from(total.div_ceil(bytes)).unwrap_or(u32::MAX);
        if of > FRAGMENTS_MAX {
            return Err(SealError::limit("the number of fragments", total.div_ceil(bytes), most));
        }
        Ok(Fragments { ends, bytes, of })
    }

    /// How many fragments there are: at least two.
    pub fn count(&self) -> u32 {
        self.of
    }

    /// What the header of a fragment says; `index` from 0.
    pub fn part(&self, index: u32) -> FragmentPart {
        let total = self.ends.last().copied().unwrap_or(0);
        FragmentPart { index, of: self.of, total_bytes: u64::try_from(total).unwrap_or(u64::MAX) }
    }

    /// What of a section's record falls into a fragment.
    pub fn slice(&self, section: usize, index: u32) -> Range<usize> {
        let end = self.ends.get(section).copied().unwrap_or(0);
        let start = section.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let from = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(self.bytes);
        let to = from.saturating_add(self.bytes);
        (from.clamp(start, end).saturating_sub(start))..(to.clamp(start, end).saturating_sub(start))
    }

    /// Whether the cut is that of a row whose records have these lengths.
    pub(crate) fn is_of(&self, lengths: impl Iterator<Item = usize>) -> bool {
        let ends = lengths.scan(0_usize, |end, length| {
            *end = end.saturating_add(length);
            Some(*end)
        });
        ends.eq(self.ends.iter().copied())
    }
}

/// A section that a reader can open: its number in the batch, its secret, and who knows its columns.
#[derive(Clone, Copy)]
pub struct SectionAccess<'a> {
    /// The section's number, from 0.
    pub index: usize,
    /// `E`.
    pub secret: &'a Secret,
    /// Who finds the ends of the row's parts.
    pub splitter: &'a dyn RowSplit,
}

impl std::fmt::Debug for SectionAccess<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SectionAccess").field("index", &self.index).finish_non_exhaustive()
    }
}

/// What a reader has of a row whose last fragment has not come: at most the row's announced length, so at most 64 MiB, and
/// never more than came.
#[derive(Clone)]
pub struct Pieces {
    place: Place,
    next: u32,
    sections: Vec<(SectionName, Vec<u8>)>,
}

/// What all fragments of a row have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    kind: Kind,
    incarnation: IncarnationNumber,
    at: At,
    contract: Digest,
    of: u32,
    total_bytes: u64,
}

impl Place {
    fn of(header: &Header, part: &FragmentPart) -> Place {
        Place {
            kind: header.kind,
            incarnation: header.incarnation,
            at: header.first.mark.at(),
            contract: header.contract,
            of: part.of,
            total_bytes: part.total_bytes,
        }
    }
}

/// Lengths only: rows hold personal values.
impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces")
            .field("next", &self.next)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Pieces {
    /// The bytes that wait for the row's last fragment.
    pub fn bytes(&self) -> usize {
        self.sections.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The row that this fragment begins, or goes on with.
    fn take(before: Option<Pieces>, header: &Header, part: &FragmentPart) -> Result<Pieces, OpenError> {
        let place = Place::of(header, part);
        match before {
            _ if part.index == 0 => Ok(Pieces { place, next: 0, sections: Vec::new() }),
            None => Err(OpenError::Fragment("those before it did not come")),
            Some(pieces) if pieces.next != part.index => {
                Err(OpenError::Fragment("it is not the next fragment of the row"))
            }
            Some(pieces) if pieces.place != place => {
                Err(OpenError::Fragment("its row, their number or the row's length is another than before"))
            }
            Some(pieces) => Ok(pieces),
        }
    }

    /// The slices of a section so far; `None` when the reader could not open all of them.
    fn of_section(&mut self, name: &SectionName) -> Option<Vec<u8>> {
        let at = self.sections.iter().position(|(known, _)| known == name);
        match at {
            Some(at) => Some(self.sections.swap_remove(at).1),
            None => (self.next == 0).then(Vec::new),
        }
    }
}

impl Opener {
    /// Opens one fragment. `pieces` holds what came of the row before, and afterwards what came up to now: nothing once the
    /// row's last fragment is opened, whose answer is then the row, in each section of `keys` that was opened in every
    /// fragment, with the section's number. Before the last fragment the answer is empty. A first fragment begins anew.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the row is then given out, and what came before is forgotten.
    pub fn open_fragment(
        &mut self,
        batch: &Verified,
        keys: &[SectionAccess<'_>],
        pieces: &mut Option<Pieces>,
    ) -> Result<Vec<(usize, Opened)>, OpenError> {
        let header = batch.header();
        let part = header.fragment.ok_or(OpenError::Fragment("the batch is none"))?;
        let mut before = Pieces::take(pieces.take(), header, &part)?;
        let total = usize::try_from(part.total_bytes).unwrap_or(usize::MAX);
        let (mut came, mut whole, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        for key in keys {
            let name = batch.block(key.index).map(|block| block.name.clone());
            let Some((name, mut row)) = name.and_then(|name| Some((name.clone(), before.of_section(&name)?)))
            else {
                continue;
            };
            bytes = bytes.saturating_add(row.len());
            let left = total.checked_sub(bytes).ok_or(TOO_LONG)?;
            let (block, salts, slice) = self.decrypt(batch, key.index, key.secret, left)?;
            bytes = bytes.saturating_add(slice.len());
            if part.is_last() {
                row.extend_from_slice(&slice);
                whole.push((key, block, salts, row));
            } else {
                self.check_slice(header.suite, block, &salts, &slice)?;
                row.extend_from_slice(&slice);
                came.push((name, row));
            }
        }
        if !part.is_last() {
            *pieces = Some(Pieces { next: part.index.saturating_add(1), sections: came, ..before });
            return Ok(Vec::new());
        }
        if whole.len() == batch.blocks().len() && bytes != total {
            return Err(OpenError::Fragment("the row is shorter than it was announced"));
        }
        let close = |(key, block, salts, row): (&SectionAccess<'_>, _, _, _)| {
            Ok((key.index, self.close(header.suite, block, &salts, row, key.splitter)?))
        };
        whole.into_iter().map(close).collect()
    }
}

const TOO_LONG: OpenError = OpenError::Fragment("its slices have more bytes than it announces");

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lengths: &[usize]) -> Vec<Rows> {
        let one = |length: &usize| {
            let mut rows = Rows::new(0);
            rows.end_part();
            rows.buffer().resize(*length, 7);
            rows.end_part();
            rows
        };
        lengths.iter().map(one).collect()
    }

    #[test]
    fn a_cut_covers_every_byte_of_every_section_once_and_in_order() {
        for (lengths, bytes) in [(&[100, 1, 57][..], 10), (&[5, 0, 400], 399), (&[30], 29), (&[64, 64], 64)] {
            let cut = Fragments::new(&rows(lengths), bytes).unwrap();
            let mut sum = 0;
            for (section, length) in lengths.iter().enumerate() {
                let mut end = 0;
                for index in 0..cut.count() {
                    let slice = cut.slice(section, index);
                    assert!(slice.is_empty() || slice.start == end, "{lengths:?} {section} {index}");
                    sum += slice.len();
                    end += slice.len();
                }
                assert_eq!(end, *length);
            }
            let part = cut.part(cut.count() - 1);
            assert!(part.is_last() && part.total_bytes == sum.try_into().unwrap());
            let of_all = |index| (0..lengths.len()).map(|s| cut.slice(s, index).len()).sum::<usize>();
            assert!((0..cut.count()).all(|index| (1..=bytes).contains(&of_all(index))));
        }
    }

    #[test]
    fn a_row_that_cannot_be_cut_is_refused() {
        let code = |lengths: &[usize], bytes| Fragments::new(&rows(lengths), bytes).unwrap_err().code();
        assert_eq!(code(&[10, 10], 20), "SEA003");
        assert_eq!(code(&[10], 0), "SEA003");
        assert_eq!(code(&[1025], 1), "SEA002");
        assert_eq!(code(&[40 << 20, 25 << 20], FRAGMENT_BYTES), "SEA002");
        let mut two = rows(&[9]);
        two[0].end_part();
        two[0].end_part();
        assert_eq!(Fragments::new(&two, 4).unwrap_err().code(), "SEA003");
    }
}
