//! The progress: one file, replaced as a whole after each group of rows that the sink has synced.
//!
//! ```text
//! govbridge-progress-v1 <SHA-256 of the rest, hex>
//! <JSON>
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bridge_chain::{Last, Mark, Open, Place, SnapshotPlace, State};
use bridge_event::{Epoch, Generation, IncarnationNumber, Offset, Sequence};
use bridge_suite::{Digest, sha256};
use serde::{Deserialize, Serialize};

use crate::DeliverError;
use crate::disk::{Act, Disk, Lock, make_folder};
use crate::sink;

const TITLE: &str = "govbridge-progress-v1";

/// Longest progress file that is read: thousands of streams with their checkpoints take less.
const BYTES_MAX: u64 = 64 << 20;

/// What is stored to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Department and mode of the subscription, in mode `source` its datasets: another one may not go on from here.
    pub(crate) subscription: String,
    pub(crate) sink: SinkProgress,
    pub(crate) streams: BTreeMap<String, StreamProgress>,
    pub(crate) sources: BTreeMap<String, SourceProgress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkProgress {
    bytes: u64,
    tail: String,
}

/// One stream: the place before the first record that is not wholly delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamProgress {
    pub(crate) origin: String,
    offset: i64,
    fenced: u64,
    head: Option<(u64, String)>,
    last: (u32, u64, u64, u32),
    open: Option<u64>,
    /// Generation, chunk and end of the newest snapshot batch.
    #[serde(default)]
    snapshot: Option<(u64, u64, bool)>,
    /// Where the stream was begun.
    pub(crate) started: Started,
    /// The log index of the newest entry of this stream that was proven.
    pub(crate) proven: Option<u64>,
    /// Rows delivered of the transaction that the head leaves open.
    pub(crate) unfinished: Option<Unfinished>,
    /// Incarnation, commit and ordinal up to which the stream had said there that it was complete.
    #[serde(default)]
    pub(crate) resolved: Option<(u32, u64, u64)>,
}

/// Where the reading of a stream began: part of every verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// `beginning`, or `beacon` for the place of a verified beacon.
    pub at: String,
    /// The first offset that was read.
    pub offset: i64,
    /// The sequence before the first batch that was read; none at the beginning.
    pub after_sequence: Option<u64>,
}

/// Rows of a source transaction that were delivered before its end (mode `stream`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unfinished {
    pub(crate) incarnation: u32,
    pub(crate) commit: u64,
    pub(crate) transaction: u64,
    pub(crate) commit_time: i64,
    pub(crate) rows: u64,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceProgress {
    /// Mode `source`: incarnation and commit of the last transaction that was delivered whole.
    pub(crate) delivered: Option<(u32, u64)>,
    /// The largest checkpoint with a quorum that was seen: the signed note.
    pub(crate) checkpoint: Option<String>,
    /// The one that was compared with the log's tiles last.
    pub(crate) compared: Option<String>,
}

impl SinkProgress {
    pub(crate) fn of(mark: sink::Mark) -> SinkProgress {
        SinkProgress { bytes: mark.bytes, tail: mark.tail.to_string() }
    }

    fn mark(&self) -> Option<sink::Mark> {
        Some(sink::Mark { bytes: self.bytes, tail: self.tail.parse().ok()? })
    }
}

impl StreamProgress {
    pub(crate) fn new(origin: &str, place: &Place, started: Started) -> StreamProgress {
        let State { fenced, head, last, open, snapshot } = place.state;
        StreamProgress {
            origin: origin.to_owned(),
            offset: place.offset.0,
            fenced: fenced.0,
            head: head.map(|(sequence, digest)| (sequence.0, digest.to_string())),
            last: (last.incarnation.0, last.mark.commit, last.mark.ordinal, last.mark.fragment),
            open: open.map(|open| open.commit),
            snapshot: snapshot.map(|part| (part.generation.0, part.chunk, part.last)),
            started,
            proven: None,
            unfinished: None,
            resolved: None,
        }
    }

    /// The place; `None` when a digest is no digest.
    pub(crate) fn place(&self) -> Option<Place> {
        let head = match &self.head {
            None => None,
            Some((sequence, digest)) => Some((Sequence(*sequence), digest.parse::<Digest>().ok()?)),
        };
        let (incarnation, commit, ordinal, fragment) = self.last;
        let last =
            Last { incarnation: IncarnationNumber(incarnation), mark: Mark { commit, ordinal, fragment } };
        let open = self.open.map(|commit| Open { commit });
        let snapshot = self.snapshot.map(|(generation, chunk, last)| SnapshotPlace {
            generation: Generation(generation),
            chunk,
            last,
        });
        let state = State { fenced: Epoch(self.fenced), head, last, open, snapshot };
        Some(Place { offset: Offset(self.offset), state })
    }
}

/// The progress file, held by this process alone.
#[derive(Debug)]
pub(crate) struct ProgressFile {
    path: PathBuf,
    disk: Disk,
    _lock: Lock,
}

impl ProgressFile {
    /// Locks the directory, making it when it is not there.
    pub(crate) fn open(folder: &Path, disk: Disk) -> Result<ProgressFile, DeliverError> {
        make_folder(folder)?;
        let lock = Lock::take(folder.join("lock"))?;
        Ok(ProgressFile { path: folder.join("progress"), disk, _lock: lock })
    }

    /// What was stored last, with the sink's mark; `None` at the first start.
    pub(crate) fn read(&self, subscription: &str) -> Result<Option<(Progress, sink::Mark)>, DeliverError> {
        let damaged =
            |reason: &str| DeliverError::Damaged { path: self.path.clone(), reason: reason.to_owned() };
        let text = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if found.len() > BYTES_MAX => return Err(damaged("it is too long")),
            _ => std::fs::read_to_string(&self.path)
                .map_err(|source| DeliverError::disk("cannot read", &self.path, source))?,
        };
        let (first, rest) = text.split_once('\n').ok_or_else(|| damaged("it has no first line"))?;
        let digest = first.strip_prefix(TITLE).and_then(|rest| rest.strip_prefix(' '));
        if digest.and_then(|digest| digest.parse().ok()) != Some(sha256(&[rest.as_bytes()])) {
            return Err(damaged("its checksum does not fit its content"));
        }
        let progress: Progress = serde_json::from_str(rest).map_err(|error| damaged(&error.to_string()))?;
        if progress.subscription != subscription {
            let reason = format!("it is of {:?}, and this is {subscription:?}", progress.subscription);
            return Err(DeliverError::OtherSubscription { path: self.path.clone(), reason });
        }
        let mark = progress.sink.mark().ok_or_else(|| damaged("the sink's digest is none"))?;
        Ok(Some((progress, mark)))
    }

    /// Stores the progress, durably.
    pub(crate) fn write(&self, progress: &Progress) -> Result<(), DeliverError> {
        let failed = |error: serde_json::Error| DeliverError::Damaged {
            path: self.path.clone(),
            reason: format!("it cannot be written as JSON: {error}"),
        };
        let mut rest = serde_json::to_vec(progress).map_err(failed)?;
        rest.push(b'\n');
        let first = format!("{TITLE} {}\n", sha256(&[&rest]));
        self.disk.replace(Act::Progress, &self.path, &[first.as_bytes(), &rest])
    }

    /// The progress of a sink that keeps its own elsewhere.
    pub(crate) fn is_anothers(&self) -> DeliverError {
        let reason = "it is of a file of JSON lines, and the sink is a database now".to_owned();
        DeliverError::OtherSubscription { path: self.path.clone(), reason }
    }

    /// Keeps a text beside the progress, for people: never overwritten.
    pub(crate) fn keep(&self, name: &str, text: &str) -> Result<PathBuf, DeliverError> {
        let path = self.path.with_file_name(name);
        if !path.exists() {
            self.disk.replace(Act::Evidence, &path, &[text.as_bytes()])?;
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let last = Last {
            incarnation: IncarnationNumber(2),
            mark: Mark { commit: u64::MAX, ordinal: 7, fragment: 1 },
        };
        let head = Some((Sequence(41), sha256(&[b"x"])));
        Place {
            offset: Offset(99),
            state: State {
                fenced: Epoch(3),
                head,
                last,
                open: Some(Open { commit: u64::MAX }),
                snapshot: Some(SnapshotPlace { generation: Generation(2), chunk: 5, last: true }),
            },
        }
    }

    fn progress() -> Progress {
        let started = Started { at: "beginning".to_owned(), offset: 0, after_sequence: None };
        let mut progress = Progress { subscription: "s".to_owned(), ..Progress::default() };
        progress.sink = SinkProgress::of(sink::Mark { bytes: 12, tail: Digest::ZERO });
        progress.streams.insert("tax/payments/0".to_owned(), StreamProgress::new("o", &place(), started));
        progress
    }

    #[test]
    fn a_place_comes_back_as_it_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = ProgressFile::open(folder.path(), Disk::real()).unwrap();
        assert_eq!(file.read("s").unwrap(), None);
        file.write(&progress()).unwrap();
        let (read, mark) = file.read("s").unwrap().unwrap();
        assert_eq!(read, progress());
        assert_eq!(mark.bytes, 12);
        assert_eq!(read.streams["tax/payments/0"].place(), Some(place()));
        assert_eq!(file.read("other").unwrap_err().code(), "DEL014");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = ProgressFile::open(folder.path(), Disk::real()).unwrap();
        file.write(&progress()).unwrap();
        let path = folder.path().join("progress");
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            Disk::real().replace(Act::Progress, &path, &[&bytes]).unwrap();
            assert!(file.read("s").is_err(), "byte {at}");
        }
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            Disk::real().replace(Act::Progress, &path, &[&whole[..cut]]).unwrap();
            assert!(file.read("s").is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn two_subscribers_cannot_share_a_progress() {
        let folder = tempfile::tempdir().unwrap();
        let _first = ProgressFile::open(folder.path(), Disk::real()).unwrap();
        assert_eq!(ProgressFile::open(folder.path(), Disk::real()).unwrap_err().code(), "DEL010");
    }
}
