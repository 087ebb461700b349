//! What stands on Kafka, counted in the broker's own files.
//!
//! ```text
//! segment  = batches, one after the other (the file's name is the offset of the first record)
//! batch    = offset of the first record (8) | bytes that follow (4) | ... | magic (1, at 16) | ...
//!            | offset of the last record, relative (4, at 23) | ...
//! ```

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a batch up to the end of what is read here.
const HEAD_BYTES: usize = 27;

/// A partition's folder, and how far it was counted.
#[derive(Debug)]
pub(crate) struct Topic {
    folder: PathBuf,
    segment: Option<PathBuf>,
    at: u64,
    /// Records so far.
    pub(crate) records: u64,
    /// Bytes so far.
    pub(crate) bytes: u64,
}

impl Topic {
    /// A partition that need not be there yet.
    pub(crate) fn new(folder: PathBuf) -> Topic {
        Topic { folder, segment: None, at: 0, records: 0, bytes: 0 }
    }

    /// Counts what came since.
    pub(crate) fn count(&mut self) -> Result<()> {
        let mut segments = segments(&self.folder);
        segments.sort();
        for segment in segments {
            if self.segment.as_ref().is_some_and(|current| segment < *current) {
                continue;
            }
            if self.segment.as_ref() != Some(&segment) {
                (self.segment, self.at) = (Some(segment.clone()), 0);
            }
            self.read(&segment)?;
        }
        Ok(())
    }

    fn read(&mut self, segment: &Path) -> Result<()> {
        let Ok(mut file) = File::open(segment) else { return Ok(()) };
        let size = file.metadata()?.len();
        while self.at + HEAD_BYTES as u64 <= size {
            let mut head = [0; HEAD_BYTES];
            file.seek(SeekFrom::Start(self.at))?;
            file.read_exact(&mut head)?;
            let number = |at: usize| {
                head.get(at..at + 4).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b))
            };
            let (length, last) = (number(8).context("short")?, number(23).context("short")?);
            let next = self.at + 12 + u64::from(length);
            // A batch that is still being written, or room that the broker has set aside.
            if length == 0 || next > size {
                break;
            }
            self.records += u64::from(last) + 1;
            self.bytes += next - self.at;
            self.at = next;
        }
        Ok(())
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]
    use super::*;
    use crate::files::put;

    /// A batch of so many records.
    fn batch(records: u32, bytes: usize) -> String {
        let mut batch = vec![0_u8; 12 + bytes];
        batch.splice(8..12, u32::try_from(bytes).unwrap().to_be_bytes());
        batch.splice(23..27, (records - 1).to_be_bytes());
        String::from_utf8(batch).unwrap()
    }

    #[test]
    fn records_are_counted_over_segments_and_unfinished_batches_are_not() {
        let folder = std::env::temp_dir().join(format!("figures-topic-{}", std::process::id()));
        put(&folder.join("00000.log"), &(batch(3, 100) + &batch(1, 60))).unwrap();
        put(&folder.join("00004.log"), batch(2, 90).split_at(80).0).unwrap();
        let mut topic = Topic::new(folder.clone());
        topic.count().unwrap();
        assert_eq!((topic.records, topic.bytes), (4, 184));
        put(&folder.join("00004.log"), &batch(2, 90)).unwrap();
        topic.count().unwrap();
        topic.count().unwrap();
        assert_eq!((topic.records, topic.bytes), (6, 286));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
