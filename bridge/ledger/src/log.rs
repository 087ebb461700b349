//! The log on disk: one writer, one directory.
//!
//! ```text
//! log.toml           the origin; made by `Log::init`, never by a start
//! lock, append.lock  one writer (see lock.rs)
//! journal            the entries since the last full bundle; an append returns when they are on the disk here
//! tile/...           bundles and tiles (C2SP tlog-tiles): full ones by `append`, partial ones by `sign_checkpoint`
//! checkpoint.own     the newest checkpoint that this log has signed
//! checkpoint         the newest published one, with its cosignatures
//! heads              what the entries amount to; can be made again
//! acknowledged       up to where the source was told that it may forget
//! conflicts/         pairs of checkpoints under our own key that do not fit each other
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bridge_event::{Epoch, LogIndex, Origin, StreamId};
use bridge_suite::Digest;
use bridge_tlog::{Checkpoint, Frontier, NOTE_BYTES_MAX, Note, TILE_WIDTH, leaf_hash};
use serde::{Deserialize, Serialize};

use crate::chains::{ChainHead, Violation};
use crate::disk::{Act, Disk, make_folder, read_bounded};
use crate::heads::{Heads, PLACE_BYTES_MAX};
use crate::journal::{Journal, header};
use crate::levels::Levels;
use crate::lock::{Holder, Lock};
use crate::stored::STORED_BYTES_MAX;
use crate::{AppendError, OpenError, ReadError, TileReader};

const SETTINGS: &str = "log.toml";
const JOURNAL: &str = "journal";
pub(crate) const OWN_CHECKPOINT: &str = "checkpoint.own";
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const HEADS: &str = "heads";
pub(crate) const ACKNOWLEDGED: &str = "acknowledged";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    format: u32,
    origin: String,
}

/// The newest checkpoint that the log has signed.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) note: Note,
    pub(crate) frontier: Frontier,
}

/// A log, open for writing. It is closed by dropping it; nothing has to be saved.
pub struct Log {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) origin: Origin,
    pub(crate) lock: Lock,
    pub(crate) journal: Journal,
    pub(crate) levels: Levels,
    /// The entries that no full bundle holds.
    pub(crate) pending: Vec<Vec<u8>>,
    pub(crate) heads: Heads,
    pub(crate) own: Option<Own>,
    pub(crate) published: Option<u64>,
    pub(crate) own_epoch: Option<Epoch>,
    pub(crate) ended: bool,
}

impl Log {
    /// Makes a log in an empty or new directory: an operator's act, once.
    ///
    /// # Errors
    /// APP010 when something is there, APP006 or APP007 when the disk fails.
    pub fn init(dir: &Path, origin: &Origin) -> Result<(), OpenError> {
        let disk = Disk::real();
        let failed = |source| OpenError::Disk { dir: dir.to_owned(), source };
        make_folder(dir).map_err(failed)?;
        // Files of an attempt that a crash cut short do not count: `log.toml` is written last.
        let leftovers = ["lock", "append.lock", JOURNAL, "journal.tmp", "log.toml.tmp"];
        for found in fs::read_dir(dir).map_err(failed)? {
            let name = found.map_err(failed)?.file_name();
            if !leftovers.iter().any(|leftover| name == *leftover) {
                return Err(OpenError::AlreadyThere { dir: dir.to_owned() });
            }
        }
        let settings = Settings { format: 1, origin: origin.to_string() };
        let text = toml::to_string(&settings).map_err(|error| failed(io::Error::other(error)))?;
        Lock::make(dir).map_err(failed)?;
        disk.replace(Act::JournalReplace, &dir.join(JOURNAL), &header(0)).map_err(failed)?;
        disk.replace(Act::Checkpoint, &dir.join(SETTINGS), text.as_bytes()).map_err(failed)
    }

    /// Opens the log for writing, as its only writer.
    ///
    /// # Errors
    /// APP001 when another process writes, APP009 when there is no log, APP011 and APP012 when its files do not fit.
    pub fn open(dir: &Path, holder: &Holder, disk: Disk) -> Result<Log, OpenError> {
        let origin = Log::origin_of(dir)?;
        let lock = Lock::take(dir, holder).map_err(|error| OpenError::of_lock(dir, error))?;
        Log::read(dir, origin, lock, disk)
    }

    /// Opens the log and takes it away from whoever has it: an operator's act, for a process that hangs or is stopped.
    /// Waits at most `patience` for a write of that process to end.
    ///
    /// # Errors
    /// As [`Log::open`]; APP013 when the other process stands inside a write.
    pub fn take_over(dir: &Path, holder: &Holder, patience: Duration, disk: Disk) -> Result<Log, OpenError> {
        let origin = Log::origin_of(dir)?;
        let lock = Lock::take_over(dir, holder, patience).map_err(|error| OpenError::of_lock(dir, error))?;
        Log::read(dir, origin, lock, disk)
    }

    /// The origin of the log in a directory, without opening it.
    ///
    /// # Errors
    /// APP009 when there is no log, APP011 when its settings cannot be read.
    pub fn origin_of(dir: &Path) -> Result<Origin, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { dir: dir.to_owned(), reason };
        let text = match read_bounded(&dir.join(SETTINGS), 64 * 1024) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::NotALog { dir: dir.to_owned() });
            }
            Err(error) => return Err(OpenError::of_io(dir, error)),
        };
        let settings: Settings = toml::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if settings.format != 1 {
            return Err(damaged(format!(
                "log.toml has format {}, and this program reads 1",
                settings.format
            )));
        }
        settings.origin.parse().map_err(|error: bridge_event::NameError| damaged(error.to_string()))
    }

    fn read(dir: &Path, origin: Origin, lock: Lock, disk: Disk) -> Result<Log, OpenError> {
        let failed = |error| OpenError::of_io(dir, error);
        let (journal, replay) = Journal::open(&dir.join(JOURNAL)).map_err(failed)?;
        let levels = Levels::read(dir, replay.first).map_err(failed)?;
        let heads = Heads::new(origin.clone());
        let mut log = Log {
            dir: dir.to_owned(),
            disk,
            origin,
            lock,
            journal,
            levels,
            pending: Vec::new(),
            heads,
            own: None,
            published: None,
            own_epoch: None,
            ended: false,
        };
        // Under the short lock: a crash may have left bundles to write.
        let writing = log.lock.writing().map_err(failed)?;
        log.shelve(replay.entries).map_err(failed)?;
        drop(writing);
        log.read_own()?;
        log.read_heads()?;
        Ok(log)
    }

    /// The log's own newest checkpoint must be one of this tree.
    fn read_own(&mut self) -> Result<(), OpenError> {
        let damaged = |reason: String| OpenError::Damaged { dir: self.dir.clone(), reason };
        if let Some((_, published)) = self.note(CHECKPOINT)? {
            self.published = Some(published.size);
        }
        let Some((note, checkpoint)) = self.note(OWN_CHECKPOINT)? else { return Ok(()) };
        let size = self.levels.size();
        if checkpoint.size > size {
            return Err(OpenError::Smaller { dir: self.dir.clone(), size, signed: checkpoint.size });
        }
        let frontier = Frontier::read(checkpoint.size, &self.levels.hashes(&self.dir, size))
            .map_err(|error| damaged(error.to_string()))?;
        if frontier.root() != checkpoint.root {
            return Err(damaged(format!(
                "its tiles do not give the root of its checkpoint of {}",
                checkpoint.size
            )));
        }
        self.own = Some(Own { note, frontier });
        Ok(())
    }

    fn note(&self, name: &str) -> Result<Option<(Note, Checkpoint)>, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { dir: self.dir.clone(), reason };
        let content = match read_bounded(&self.dir.join(name), NOTE_BYTES_MAX as u64) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::of_io(&self.dir, error)),
        };
        let note = Note::parse(&content).map_err(|error| damaged(format!("{name}: {error}")))?;
        let checkpoint =
            Checkpoint::parse(note.text()).map_err(|error| damaged(format!("{name}: {error}")))?;
        if checkpoint.origin != self.origin.as_str() {
            return Err(damaged(format!("{name} is of another log, {}", checkpoint.origin)));
        }
        Ok(Some((note, checkpoint)))
    }

    /// Takes the heads file where it fits the tree, and reads the entries after it, or all.
    fn read_heads(&mut self) -> Result<(), OpenError> {
        let damaged = |reason: String| OpenError::Damaged { dir: self.dir.clone(), reason };
        let size = self.levels.size();
        let mut heads = self.stored_heads().unwrap_or_else(|| {
            if size > 0 {
                tracing::info!(
                    entries = size,
                    "the heads file is missing or not usable; reading all entries"
                );
            }
            Heads::new(self.origin.clone())
        });
        let full = size - self.pending.len() as u64;
        let start = LogIndex(heads.chains.size());
        if start.0 < full {
            let read = TileReader::directory(&self.dir).visit(start..LogIndex(full), full, |_, entry| {
                let broken = |violation: Violation| ReadError::Malformed {
                    place: self.dir.display().to_string(),
                    reason: violation.to_string(),
                };
                heads.take(entry).map(drop).map_err(broken)
            });
            read.map_err(|error| damaged(error.to_string()))?;
        }
        let skip = usize::try_from(heads.chains.size().saturating_sub(full)).unwrap_or(usize::MAX);
        for entry in self.pending.iter().skip(skip) {
            heads.take(entry).map_err(|violation| damaged(violation.to_string()))?;
        }
        self.heads = heads;
        Ok(())
    }

    fn stored_heads(&self) -> Option<Heads> {
        let content = read_bounded(&self.dir.join(HEADS), STORED_BYTES_MAX).ok()?;
        let (heads, root) = Heads::read(self.origin.clone(), &content)?;
        let (at, size) = (heads.chains.size(), self.levels.size());
        if at > size {
            return None;
        }
        let found = bridge_tlog::tree_root(at, &self.levels.hashes(&self.dir, size)).ok()?;
        (found == root).then_some(heads)
    }

    /// The log's name.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Entries on the disk; also the index of the next one.
    pub fn size(&self) -> u64 {
        self.levels.size()
    }

    /// The root over all entries on the disk.
    pub fn root(&self) -> Digest {
        self.levels.root()
    }

    /// The newest epoch entry, and where it stands.
    pub fn newest_epoch(&self) -> Option<(Epoch, LogIndex)> {
        self.heads.chains.epoch()
    }

    /// The epoch that this process opened, if it did.
    pub fn own_epoch(&self) -> Option<Epoch> {
        self.own_epoch
    }

    /// The newest batch entry of a stream.
    pub fn head(&self, stream: &StreamId) -> Option<&ChainHead> {
        self.heads.chains.head(stream)
    }

    /// The newest batch entry of every stream.
    pub fn heads(&self) -> impl Iterator<Item = (&StreamId, &ChainHead)> {
        self.heads.chains.heads()
    }

    /// The newest incarnation entry.
    pub fn newest_incarnation(&self) -> Option<LogIndex> {
        self.heads.incarnation
    }

    /// Where the entries stand that are appended once: contract, incarnation and trust entries, the newest first.
    pub fn records(&self) -> Vec<LogIndex> {
        let mut indexes: Vec<LogIndex> = self.heads.records.values().copied().collect();
        indexes.sort_unstable_by_key(|index| std::cmp::Reverse(*index));
        indexes
    }

    /// Where an entry stands that is appended once: a contract, incarnation or trust entry, by its exact bytes.
    pub fn index_of(&self, entry: &[u8]) -> Option<LogIndex> {
        self.heads.records.get(&leaf_hash(entry)).copied()
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// APP021 when the log has no such entry, APP022 when the files are damaged.
    pub fn entry(&self, index: LogIndex) -> Result<Vec<u8>, ReadError> {
        let full = self.size() - self.pending.len() as u64;
        if index.0 >= full {
            let place = usize::try_from(index.0 - full).ok();
            let missing = || ReadError::Missing { place: format!("entry {index} of {}", self.size()) };
            return place.and_then(|place| self.pending.get(place)).cloned().ok_or_else(missing);
        }
        let found = TileReader::directory(&self.dir).entries(index..LogIndex(index.0 + 1), full)?;
        found.into_iter().next().ok_or_else(|| ReadError::Missing { place: format!("entry {index}") })
    }

    /// Keeps a stream's place, as bytes of the caller's, for the next start. It is written with the next checkpoint.
    /// One above [`PLACE_BYTES_MAX`] is not kept.
    pub fn keep_place(&mut self, stream: &StreamId, place: Vec<u8>) {
        if place.len() <= PLACE_BYTES_MAX {
            self.heads.places.insert(stream.clone(), place);
        }
    }

    /// The place that was kept for a stream.
    pub fn place(&self, stream: &StreamId) -> Option<&[u8]> {
        self.heads.places.get(stream).map(Vec::as_slice)
    }

    /// All places that were kept.
    pub fn places(&self) -> &BTreeMap<StreamId, Vec<u8>> {
        &self.heads.places
    }

    /// Puts entries that are in the journal into the tree, and writes the bundles and tiles that they fill.
    pub(crate) fn shelve(&mut self, entries: Vec<Vec<u8>>) -> io::Result<()> {
        let mut filled = false;
        for entry in entries {
            let leaf = leaf_hash(&entry);
            self.pending.push(entry);
            let tiles = self.levels.push(leaf).map_err(io::Error::other)?;
            if tiles.is_empty() {
                continue;
            }
            filled = true;
            self.write_bundle()?;
            for (tile, content) in &tiles {
                self.disk.replace(Act::Tile, &self.dir.join(tile.path()), content)?;
                remove_partials(&self.dir.join(tile.path()));
            }
        }
        if filled {
            let first = self.levels.size() - self.pending.len() as u64;
            self.journal = Journal::replace(&self.disk, &self.dir.join(JOURNAL), first, &self.pending)?;
        }
        Ok(())
    }

    /// Writes the 256 entries that wait as a full bundle.
    fn write_bundle(&mut self) -> io::Result<()> {
        let index = (self.levels.size() - 1) / u64::from(TILE_WIDTH);
        let bundle = bridge_tlog::Bundle::new(index, TILE_WIDTH).map_err(io::Error::other)?;
        let mut content = Vec::new();
        for entry in self.pending.drain(..) {
            bridge_tlog::append_entry(&mut content, &entry).map_err(io::Error::other)?;
        }
        let path = self.dir.join(bundle.path());
        self.disk.replace(Act::Bundle, &path, &content)?;
        remove_partials(&path);
        Ok(())
    }
}

/// Removes the partial tiles of a place whose full tile is written: readers take the full one (tlog-tiles).
fn remove_partials(full: &Path) {
    let mut name = full.file_name().unwrap_or_default().to_owned();
    name.push(".p");
    // A leftover folder takes room and does no harm.
    let _ = fs::remove_dir_all(full.with_file_name(name));
}

impl Log {
    /// What every write checks first, under the short lock.
    pub(crate) fn check_own(&mut self) -> Result<(), AppendError> {
        let own = self.lock.is_own().and_then(|lock| Ok(lock && self.journal.is_own()?));
        match own {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.ended = true;
                Err(AppendError::LostLog { holder: self.lock.holder() })
            }
            Err(source) => Err(self.fail(source)),
        }
    }

    /// Ends this process's writing after a failed write.
    pub(crate) fn fail(&mut self, source: io::Error) -> AppendError {
        self.ended = true;
        AppendError::Disk { source }
    }
}
