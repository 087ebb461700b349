//! The sink: tables of a database, or a file of lines that is only ever appended to, and cut back at a start to what the
//! progress says.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bridge_envelope::{Notice, Verified};
use bridge_suite::{Digest, sha256};
use schemas::{ReadRow, SectionReader};

use crate::DeliverError;
use crate::disk::{Act, Disk, Lock, sync_folder_of};
use crate::json::{self, BatchWords, Commit};
use crate::postgres::{Change, Plan, PostgresSink};
use crate::progress::Progress;

/// Bytes at the end of the file whose digest stands in the progress: enough to tell another file from this one.
const TAIL_BYTES: usize = 4096;

/// How far a sink was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The file's length, in bytes.
    pub(crate) bytes: u64,
    /// SHA-256 of its last bytes.
    pub(crate) tail: Digest,
}

impl Mark {
    pub(crate) fn empty() -> Mark {
        Mark { bytes: 0, tail: sha256(&[]) }
    }
}

/// A row, or something beside the rows, on its way to the sink.
#[derive(Debug)]
pub(crate) enum Item {
    /// A whole line.
    Line(Vec<u8>),
    /// A change of a table.
    Change(Box<Change>),
    /// A GAP or RETRACT, as a line too.
    Notice { line: Vec<u8>, stream: String, sequence: u64, notice: Box<Notice> },
}

impl Item {
    /// What it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Item::Line(line) | Item::Notice { line, .. } => line.len(),
            Item::Change(change) => change.bytes(),
        }
    }
}

fn change(plan: &Plan, leaf: usize, rows: &[ReadRow<'_>]) -> Change {
    plan.change(leaf, rows, rows.first().map_or(0, |row| row.head().commit_time.0))
}

/// Where rows go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A file.
    Lines(Lines),
    /// Tables.
    Postgres(Box<PostgresSink>),
    /// Nowhere: check mode.
    Nowhere,
}

/// A file of lines.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    file: File,
    /// Lines not yet written.
    buffer: Vec<u8>,
    bytes: u64,
    /// How far it was synced.
    synced: u64,
    tail: Vec<u8>,
    disk: Disk,
    _lock: Lock,
}

impl Lines {
    /// Opens the file, locks it against other subscribers, and cuts back what came after `mark`. Without a mark the file
    /// has to be empty or absent.
    pub(crate) fn open(path: &Path, mark: Option<Mark>, disk: Disk) -> Result<Lines, DeliverError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = Lock::take(PathBuf::from(name))?;
        let failed = |act, source| DeliverError::disk(act, path, source);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|source| failed("cannot open", source))?;
        sync_folder_of(path)?;
        let found = file.metadata().map_err(|source| failed("cannot look at", source))?.len();
        let other = |reason: String| DeliverError::OtherSink { path: path.to_owned(), reason };
        let mark = match mark {
            Some(mark) => mark,
            None if found == 0 => Mark::empty(),
            None => return Err(other(format!("it has {found} bytes, and there is no progress"))),
        };
        if found < mark.bytes {
            return Err(other(format!("it has {found} bytes, and {} were delivered", mark.bytes)));
        }
        let tail = read_tail(&mut file, mark.bytes).map_err(|source| failed("cannot read", source))?;
        if sha256(&[&tail]) != mark.tail {
            return Err(other(format!("the bytes before {} are other ones than were delivered", mark.bytes)));
        }
        if found > mark.bytes {
            tracing::info!(bytes = found - mark.bytes, "rows after the last progress are cut off the sink");
            let cut = || file.set_len(mark.bytes).and_then(|()| file.sync_all());
            disk.durably(Act::SinkCut, cut, || Ok(())).map_err(|source| failed("cannot cut back", source))?;
        }
        file.seek(SeekFrom::Start(mark.bytes)).map_err(|source| failed("cannot position", source))?;
        let (path, bytes) = (path.to_owned(), mark.bytes);
        Ok(Lines { path, file, buffer: Vec::new(), bytes, synced: bytes, tail, disk, _lock: lock })
    }

    fn write(&mut self) -> Result<(), DeliverError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(&self.buffer)
            .map_err(|source| DeliverError::disk("cannot write", &self.path, source))?;
        self.bytes += u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        let from = self.buffer.len().saturating_sub(TAIL_BYTES);
        self.tail.extend_from_slice(self.buffer.get(from..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DeliverError> {
        let (file, synced) = (&self.file, self.synced);
        // A write that was lost is one that the file does not have after a power cut.
        let done = self.disk.durably(Act::Sink, || file.sync_data(), || file.set_len(synced));
        done.map_err(|source| DeliverError::disk("cannot sync", &self.path, source))?;
        self.synced = self.bytes;
        Ok(())
    }
}

impl Sink {
    /// How a batch goes into it, where that is not the same for every batch.
    pub(crate) fn plan(
        &mut self,
        batch: &Verified,
        sections: &[&SectionReader],
    ) -> Result<Option<Plan>, DeliverError> {
        match self {
            Sink::Postgres(tables) => Ok(tables.plan(batch, sections)?),
            Sink::Lines(_) | Sink::Nowhere => Ok(None),
        }
    }

    /// Takes a row that was read: `words` says it as a line, `plan` as a change of a table.
    pub(crate) fn row(&mut self, words: &BatchWords, plan: Option<&Plan>, leaf: usize, rows: &[ReadRow<'_>]) {
        match (self, plan) {
            (Sink::Lines(lines), _) => json::row(&mut lines.buffer, words, leaf, rows),
            (Sink::Postgres(tables), Some(plan)) => tables.take(change(plan, leaf, rows)),
            _ => {}
        }
    }

    /// The same row as an item that can wait, `None` where nothing is delivered.
    pub(crate) fn item(words: &BatchWords, plan: Option<&Plan>, leaf: usize, rows: &[ReadRow<'_>]) -> Item {
        match plan {
            Some(plan) => Item::Change(Box::new(change(plan, leaf, rows))),
            None => {
                let mut line = Vec::new();
                json::row(&mut line, words, leaf, rows);
                Item::Line(line)
            }
        }
    }

    /// Takes an item.
    pub(crate) fn take(&mut self, item: Item) {
        match (self, item) {
            (Sink::Lines(lines), Item::Line(line)) => lines.buffer.extend_from_slice(&line),
            (Sink::Postgres(tables), Item::Change(change)) => tables.take(*change),
            (Sink::Postgres(tables), Item::Notice { stream, sequence, notice, .. }) => {
                tables.tell(stream, sequence, &notice)
            }
            (Sink::Lines(lines), Item::Notice { line, .. }) => lines.buffer.extend_from_slice(&line),
            _ => {}
        }
    }

    /// Takes the end of a source transaction; a database has its own.
    pub(crate) fn end(&mut self, end: Commit<'_>) {
        if let Sink::Lines(lines) = self {
            json::commit(&mut lines.buffer, end);
        }
    }

    /// How long rows gather at least while many come.
    pub(crate) fn pace(&self) -> Duration {
        match self {
            Sink::Postgres(tables) => tables.pace(),
            Sink::Lines(_) | Sink::Nowhere => Duration::ZERO,
        }
    }

    /// Whether the progress stands in the sink.
    pub(crate) fn holds_progress(&self) -> bool {
        matches!(self, Sink::Postgres(_))
    }

    /// Stores the progress in the sink, with what was written; nothing counts before.
    pub(crate) fn finish(&mut self, progress: &Progress) -> Result<(), DeliverError> {
        match self {
            Sink::Postgres(tables) => Ok(tables.finish(progress)?),
            Sink::Lines(_) | Sink::Nowhere => Ok(()),
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn buffered(&self) -> usize {
        match self {
            Sink::Lines(lines) => lines.buffer.len(),
            Sink::Postgres(tables) => tables.buffered(),
            Sink::Nowhere => 0,
        }
    }

    /// Whoever reads the file has the rows at once; they are synced with those that follow. A database shows nothing before
    /// its transaction ends.
    pub(crate) fn show(&mut self) -> Result<(), DeliverError> {
        match self {
            Sink::Lines(lines) => lines.write(),
            Sink::Postgres(_) | Sink::Nowhere => Ok(()),
        }
    }

    /// Bytes that are not on the disk, or not with the database, yet.
    pub(crate) fn unsynced(&self) -> usize {
        match self {
            Sink::Lines(lines) => {
                let written = usize::try_from(lines.bytes.saturating_sub(lines.synced)).unwrap_or(usize::MAX);
                written.saturating_add(lines.buffer.len())
            }
            Sink::Postgres(_) | Sink::Nowhere => self.buffered(),
        }
    }

    /// Hands the buffered rows to the system, or to the database's open transaction.
    pub(crate) fn write(&mut self) -> Result<(), DeliverError> {
        match self {
            Sink::Lines(lines) => lines.write(),
            Sink::Postgres(tables) => {
                let written = tables.write();
                Ok(written.map_err(|error| tables.explain(error))?)
            }
            Sink::Nowhere => Ok(()),
        }
    }

    /// Waits until the disk has what was written.
    pub(crate) fn sync(&mut self) -> Result<(), DeliverError> {
        match self {
            Sink::Lines(lines) => lines.sync(),
            Sink::Postgres(_) | Sink::Nowhere => Ok(()),
        }
    }

    /// How far lines were written.
    pub(crate) fn mark(&self) -> Mark {
        match self {
            Sink::Lines(lines) => Mark { bytes: lines.bytes, tail: sha256(&[&lines.tail]) },
            Sink::Postgres(_) | Sink::Nowhere => Mark::empty(),
        }
    }
}

fn read_tail(file: &mut File, bytes: u64) -> std::io::Result<Vec<u8>> {
    let length = bytes.min(TAIL_BYTES as u64);
    file.seek(SeekFrom::Start(bytes - length))?;
    let mut tail = Vec::with_capacity(TAIL_BYTES);
    file.take(length).read_to_end(&mut tail)?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(sink: &mut Sink, text: &str) {
        sink.take(Item::Line(text.as_bytes().to_vec()));
    }

    #[test]
    fn what_came_after_the_mark_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let mut sink = Sink::Lines(Lines::open(&path, None, Disk::real()).unwrap());
        append(&mut sink, &"a long line\n".repeat(1000));
        sink.write().unwrap();
        sink.sync().unwrap();
        let mark = sink.mark();
        append(&mut sink, "half a gro");
        sink.write().unwrap();
        drop(sink);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 12_010);
        let sink = Sink::Lines(Lines::open(&path, Some(mark), Disk::real()).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 12_000);
        assert_eq!(sink.mark(), mark);
    }

    #[test]
    fn another_file_is_not_taken_for_the_sink() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let mut sink = Sink::Lines(Lines::open(&path, None, Disk::real()).unwrap());
        append(&mut sink, "one\ntwo\n");
        sink.write().unwrap();
        let mark = sink.mark();
        drop(sink);
        assert_eq!(Lines::open(&path, None, Disk::real()).unwrap_err().code(), "DEL013");
        for (bytes, text) in [(8, "one\ntwO\n"), (4, "one\n")] {
            let mut file = File::create(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(file.metadata().unwrap().len(), bytes);
            assert_eq!(Lines::open(&path, Some(mark), Disk::real()).unwrap_err().code(), "DEL013");
        }
    }

    #[test]
    fn two_subscribers_cannot_share_a_sink() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let first = Lines::open(&path, None, Disk::real()).unwrap();
        assert_eq!(Lines::open(&path, None, Disk::real()).unwrap_err().code(), "DEL010");
        drop(first);
        assert!(Lines::open(&path, None, Disk::real()).is_ok());
    }
}
