//! Encoded rows: the bytes of one section's rows in one batch, and where each row's parts end.
//!
//! ```text
//! row i = head and keys | group 1 | .. | group g | ungrouped rest        g + 2 parts
//! ```
//!
//! `schemas` writes and splits them, `bridge-envelope` hashes them part by part; neither allocates for a row.

use std::fmt;

/// Encoded rows of one section of one batch: content bytes and, for each row, where its parts end.
///
/// A writer appends bytes to [`Rows::buffer`] and calls [`Rows::end_part`] after the head with its keys, after each
/// disclosure group, and after the ungrouped rest: `groups + 2` times for a row. Bytes after the last ended part
/// belong to no row.
#[derive(Clone, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    /// Absolute ends, ascending, `groups + 2` for each row.
    ends: Vec<usize>,
    groups: usize,
}

impl Rows {
    /// No rows yet, of a section with `groups` disclosure groups.
    pub fn new(groups: usize) -> Rows {
        Rows { bytes: Vec::new(), ends: Vec::new(), groups }
    }

    /// Rows over `content`, whose parts end at `ends` (absolute, `groups + 2` for each row).
    ///
    /// # Errors
    /// [`SplitError::Ends`] when the ends fall, leave the content, leave bytes over, or end inside a row.
    pub fn from_parts(groups: usize, content: Vec<u8>, ends: Vec<usize>) -> Result<Rows, SplitError> {
        let ascending = ends.windows(2).all(|pair| pair.first() <= pair.last());
        if !ascending
            || ends.last().copied().unwrap_or(0) != content.len()
            || !ends.len().is_multiple_of(groups + 2)
        {
            return Err(SplitError::Ends);
        }
        Ok(Rows { bytes: content, ends, groups })
    }

    /// The buffer to append a part's bytes to. Only append: what stands before the last ended part is counted.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the current part where the buffer ends now.
    pub fn end_part(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// The number of disclosure groups of each row.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The number of whole rows.
    pub fn rows(&self) -> usize {
        self.ends.len() / (self.groups + 2)
    }

    /// Whether there is no whole row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// The bytes of all rows, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the bytes are whole rows and nothing else.
    pub fn is_whole(&self) -> bool {
        self.ends.len().is_multiple_of(self.groups + 2)
            && self.ends.last().copied().unwrap_or(0) == self.bytes.len()
    }

    /// Row `i`, `None` past the last one.
    pub fn row(&self, i: usize) -> Option<RowParts<'_>> {
        let parts = self.groups + 2;
        let first = i.checked_mul(parts)?;
        let ends = self.ends.get(first..first.checked_add(parts)?)?;
        let start = match first.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        let (&head_end, others) = ends.split_first()?;
        let (&end, group_ends) = others.split_last()?;
        let rest_start = group_ends.last().copied().unwrap_or(head_end);
        Some(RowParts {
            head: self.bytes.get(start..head_end)?,
            groups: GroupParts { bytes: &self.bytes, start: head_end, ends: group_ends },
            rest: self.bytes.get(rest_start..end)?,
            whole: self.bytes.get(start..end)?,
        })
    }

    /// All whole rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = RowParts<'_>> {
        (0..self.rows()).map_while(|i| self.row(i))
    }

    /// Forgets all rows and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Keeps the first `rows` rows and drops everything after them, a half-written row too.
    pub fn truncate_to(&mut self, rows: usize) {
        self.ends.truncate(rows.saturating_mul(self.groups + 2).min(self.rows() * (self.groups + 2)));
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Takes the last whole row out, and drops a half-written one.
    pub fn split_last(&mut self) -> Rows {
        let before = self.rows().saturating_sub(1);
        self.truncate_to(usize::MAX);
        let parts = before.saturating_mul(self.groups + 2);
        let start = parts.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        let mut last = Rows::new(self.groups);
        last.bytes.extend_from_slice(self.bytes.get(start..).unwrap_or_default());
        last.ends.extend(self.ends.iter().skip(parts).map(|end| end.saturating_sub(start)));
        self.truncate_to(before);
        last
    }

    /// The content bytes, without the ends.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Counts only: rows hold personal values.
impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("rows", &self.rows())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One row's parts, in the order of the bytes.
#[derive(Clone)]
pub struct RowParts<'a> {
    /// The event head and the key columns.
    pub head: &'a [u8],
    /// The disclosure groups' bytes, in contract order.
    pub groups: GroupParts<'a>,
    /// The columns of no group.
    pub rest: &'a [u8],
    whole: &'a [u8],
}

impl<'a> RowParts<'a> {
    /// The whole row, all parts one after the other.
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }
}

/// Lengths only: rows hold personal values.
impl fmt::Debug for RowParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowParts")
            .field("bytes", &self.whole.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

/// The disclosure groups of one row, in contract order.
#[derive(Clone)]
pub struct GroupParts<'a> {
    bytes: &'a [u8],
    start: usize,
    ends: &'a [usize],
}

impl<'a> Iterator for GroupParts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&end, ends) = self.ends.split_first()?;
        let part = self.bytes.get(self.start..end)?;
        self.start = end;
        self.ends = ends;
        Some(part)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ends.len(), Some(self.ends.len()))
    }
}

impl ExactSizeIterator for GroupParts<'_> {}

/// Finds where the parts of rows end in content that came from outside.
///
/// `bridge-envelope` needs the ends to hash the leaves again; only `schemas` knows the columns. The split allocates
/// nothing beyond the ends, reads no value further than its length, and refuses leftover bytes.
pub trait RowSplit {
    /// Splits `content` into exactly `rows` rows.
    ///
    /// # Errors
    /// [`SplitError`] when the content is not that many rows of this section.
    fn split(&self, content: Vec<u8>, rows: usize) -> Result<Rows, SplitError>;
}

/// Content that is not the rows that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A row's bytes do not follow the section's schema.
    #[error("row {row} is not one of this section at byte {at} of the content: {what}")]
    Malformed {
        /// The row, from 0.
        row: usize,
        /// Where in the content, in bytes.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Bytes are left after the last row.
    #[error("{bytes} bytes are left after the last row")]
    Leftover {
        /// How many.
        bytes: usize,
    },
    /// The ends of the parts are not ends of whole rows of this content.
    #[error("the ends of the rows' parts do not fit the content")]
    Ends,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let mut rows = Rows::new(1);
        for parts in [["ab", "c", "d"], ["e", "", "fgh"]] {
            for part in parts {
                rows.buffer().extend_from_slice(part.as_bytes());
                rows.end_part();
            }
        }
        rows
    }

    #[test]
    fn a_row_is_found_with_its_parts() {
        let rows = rows();
        assert_eq!((rows.rows(), rows.bytes(), rows.is_whole()), (2, &b"abcdefgh"[..], true));
        let second = rows.row(1).unwrap();
        assert_eq!((second.head, second.rest, second.whole()), (&b"e"[..], &b"fgh"[..], &b"efgh"[..]));
        assert_eq!(second.groups.collect::<Vec<_>>(), [&b""[..]]);
        assert_eq!(rows.row(0).unwrap().groups.collect::<Vec<_>>(), [&b"c"[..]]);
        assert!(rows.row(2).is_none() && rows.row(usize::MAX).is_none());
        assert_eq!(rows.iter().count(), 2);
    }

    #[test]
    fn a_half_written_row_is_dropped_by_a_cut() {
        let mut rows = rows();
        rows.buffer().extend_from_slice(b"half");
        rows.end_part();
        assert!(!rows.is_whole());
        rows.truncate_to(usize::MAX);
        assert_eq!((rows.rows(), rows.bytes(), rows.is_whole()), (2, &b"abcdefgh"[..], true));
        rows.truncate_to(1);
        assert_eq!((rows.rows(), rows.bytes()), (1, &b"abcd"[..]));
        rows.truncate_to(0);
        assert!(rows.is_empty() && rows.is_whole());
    }

    #[test]
    fn the_last_row_is_taken_out_whole() {
        let mut rows = rows();
        rows.buffer().extend_from_slice(b"half");
        let last = rows.split_last();
        assert_eq!((last.rows(), last.bytes(), last.is_whole()), (1, &b"efgh"[..], true));
        assert_eq!(last.row(0).unwrap().rest, b"fgh");
        assert_eq!((rows.rows(), rows.bytes(), rows.is_whole()), (1, &b"abcd"[..], true));
        assert_eq!(rows.split_last().bytes(), b"abcd");
        assert!(rows.is_empty() && rows.is_whole() && rows.split_last().is_empty());
    }

    #[test]
    fn ends_that_do_not_fit_the_content_are_refused() {
        let of = |ends: &[usize]| Rows::from_parts(0, b"abcd".to_vec(), ends.to_vec());
        assert!(of(&[1, 2, 3, 4]).is_ok());
        for bad in [&[1, 2, 3][..], &[1, 3], &[2, 1, 3, 4], &[1, 5], &[]] {
            assert_eq!(of(bad).unwrap_err(), SplitError::Ends, "{bad:?}");
        }
        assert!(Rows::from_parts(0, Vec::new(), Vec::new()).is_ok());
    }

    #[test]
    fn rows_are_not_shown_by_debug() {
        assert!(!format!("{:?} {:?}", rows(), rows().row(0)).contains("97"));
    }
}
