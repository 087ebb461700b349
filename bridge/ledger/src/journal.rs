//! The journal: the entries since the last full bundle, each on the disk before its append returns.
//!
//! ```text
//! journal = "GBJ1" | first index u64be | check 8 | record*
//! record  = length u16be (1..65535) | check 8 | entry
//! check   = the first 8 bytes of SHA-256("govbridge/v1/journal\0" | index u64be | entry)
//! ```
//!
//! The header's check is that of an empty entry at the first index. A write that a crash tore leaves a last record that
//! is short or whose check is wrong; what stands before it is whole. Reading ends there. A disk that lost more than that
//! is found elsewhere: the log would be smaller than its own checkpoint, a beacon or what a witness reports.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bridge_suite::sha256;

use crate::disk::{Act, Disk, read_bounded};

const MAGIC: &[u8; 4] = b"GBJ1";
const CHECK_BYTES: usize = 8;
const HEADER_BYTES: usize = 4 + 8 + CHECK_BYTES;
const RECORD_HEAD_BYTES: usize = 2 + CHECK_BYTES;

/// Longest journal that is read: the 255 entries that wait for a bundle, and one group of at most [`GROUP_ENTRIES_MAX`]
/// of the longest entries; 4,352 * 65,545 B = 272 MiB.
const JOURNAL_BYTES_MAX: u64 =
    (256 + GROUP_ENTRIES_MAX as u64) * (RECORD_HEAD_BYTES as u64 + 65_535) + HEADER_BYTES as u64;

/// Most entries in one append.
pub(crate) const GROUP_ENTRIES_MAX: usize = 4096;

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Index of the first entry, a multiple of 256.
    pub(crate) first: u64,
    /// The whole entries, in order.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Bytes up to the end of the last whole entry.
    pub(crate) whole_bytes: usize,
}

/// The journal of an open log.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Journal {
    /// Reads a journal and cuts a torn end off it.
    pub(crate) fn open(path: &Path) -> io::Result<(Journal, Replay)> {
        let content = read_bounded(path, JOURNAL_BYTES_MAX)?;
        let replay = read(&content)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its header is damaged"))?;
        let journal = Journal::follow(path)?;
        let whole = replay.whole_bytes as u64;
        if whole < journal.bytes {
            journal.file.set_len(whole)?;
            journal.file.sync_all()?;
        }
        Ok((Journal { bytes: whole, ..journal }, replay))
    }

    /// Puts a new journal in the place of the old one, with the entries that no full bundle holds.
    pub(crate) fn replace(disk: &Disk, path: &Path, first: u64, entries: &[Vec<u8>]) -> io::Result<Journal> {
        let mut content = header(first);
        for (index, entry) in (first..).zip(entries) {
            write_record(&mut content, index, entry)?;
        }
        disk.replace(Act::JournalReplace, path, &content)?;
        Journal::follow(path)
    }

    fn follow(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Journal { path: path.to_owned(), file, bytes })
    }

    /// Whether the file at the journal's path is the one that this process wrote last, to the byte.
    pub(crate) fn is_own(&self) -> io::Result<bool> {
        let held = self.file.metadata()?;
        let there = std::fs::metadata(&self.path)?;
        Ok((held.dev(), held.ino()) == (there.dev(), there.ino()) && there.len() == self.bytes)
    }

    /// Writes entries from `first` on, and returns when they are on the disk.
    pub(crate) fn append<E: AsRef<[u8]>>(
        &mut self,
        disk: &Disk,
        first: u64,
        entries: &[E],
    ) -> io::Result<()> {
        let mut content = Vec::new();
        for (index, entry) in (first..).zip(entries) {
            write_record(&mut content, index, entry.as_ref())?;
        }
        disk.append(Act::JournalAppend, &self.file, &content)?;
        self.bytes += content.len() as u64;
        Ok(())
    }

    /// Reads the entries again from the disk.
    pub(crate) fn reread(&self) -> io::Result<Replay> {
        let content = read_bounded(&self.path, JOURNAL_BYTES_MAX)?;
        read(&content).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its header is damaged"))
    }
}

/// The journal of a log without entries.
pub(crate) fn header(first: u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEADER_BYTES);
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&first.to_be_bytes());
    content.extend_from_slice(&check(first, &[]));
    content
}

fn write_record(content: &mut Vec<u8>, index: u64, entry: &[u8]) -> io::Result<()> {
    let length = u16::try_from(entry.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an entry is too long"))?;
    content.extend_from_slice(&length.to_be_bytes());
    content.extend_from_slice(&check(index, entry));
    content.extend_from_slice(entry);
    Ok(())
}

fn check(index: u64, entry: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = sha256(&[b"govbridge/v1/journal\0", &index.to_be_bytes(), entry]);
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Reads as many whole records as there are; none when the header is not one.
fn read(content: &[u8]) -> Option<Replay> {
    let (magic, rest) = content.split_first_chunk::<4>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (mark, mut rest) = rest.split_first_chunk::<CHECK_BYTES>()?;
    let first = u64::from_be_bytes(*first);
    if magic != MAGIC || *mark != check(first, &[]) {
        return None;
    }
    let mut entries = Vec::new();
    let mut whole_bytes = HEADER_BYTES;
    while let Some((entry, after)) = read_record(rest, first + entries.len() as u64) {
        whole_bytes += RECORD_HEAD_BYTES + entry.len();
        entries.push(entry.to_vec());
        rest = after;
    }
    Some(Replay { first, entries, whole_bytes })
}

fn read_record(content: &[u8], index: u64) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk::<2>()?;
    let (mark, rest) = rest.split_first_chunk::<CHECK_BYTES>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (entry, after) = rest.split_at_checked(length)?;
    (length > 0 && *mark == check(index, entry)).then_some((entry, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Vec<u8>, Vec<Vec<u8>>) {
        let entries: Vec<Vec<u8>> = vec![b"first".to_vec(), vec![7; 300], b"x".to_vec()];
        let mut content = header(512);
        for (index, entry) in (512..).zip(&entries) {
            write_record(&mut content, index, entry).unwrap();
        }
        (content, entries)
    }

    #[test]
    fn a_journal_cut_at_any_byte_keeps_every_whole_entry() {
        let (content, entries) = three();
        let ends = [HEADER_BYTES, HEADER_BYTES + 15, HEADER_BYTES + 15 + 310, content.len()];
        for cut in HEADER_BYTES..=content.len() {
            let replay = read(&content[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(replay.entries, entries[..whole], "cut at {cut}");
            assert_eq!(replay.whole_bytes, ends[whole]);
            assert_eq!(replay.first, 512);
        }
        for cut in 0..HEADER_BYTES {
            assert_eq!(read(&content[..cut]), None);
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_before_it() {
        let (content, entries) = three();
        for bit in HEADER_BYTES * 8..content.len() * 8 {
            let mut bad = content.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let replay = read(&bad).unwrap();
            assert!(replay.entries.len() < entries.len(), "bit {bit}");
            assert_eq!(replay.entries, entries[..replay.entries.len()]);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_no_entry() {
        let (mut content, entries) = three();
        let whole = content.len();
        content.extend_from_slice(&[0; 4096]);
        let replay = read(&content).unwrap();
        assert_eq!((replay.entries, replay.whole_bytes), (entries, whole));
    }

    #[test]
    fn opening_cuts_the_torn_end_off_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let disk = Disk::real();
        let mut journal = Journal::replace(&disk, &path, 0, &[b"a".to_vec()]).unwrap();
        journal.append(&disk, 1, &[b"b"]).unwrap();
        let whole = std::fs::metadata(&path).unwrap().len();
        disk.append(Act::JournalAppend, &OpenOptions::new().append(true).open(&path).unwrap(), b"\0\x05torn")
            .unwrap();
        assert!(!journal.is_own().unwrap());
        let (journal, replay) = Journal::open(&path).unwrap();
        assert_eq!(replay.entries, [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        assert!(journal.is_own().unwrap());
        assert_eq!(journal.reread().unwrap(), replay);
    }
}
