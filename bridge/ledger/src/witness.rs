//! A witness: it cosigns a log's checkpoint only if it follows the one before, and, as a checking witness, only if the
//! entries between them keep the rule of [`Chains`](crate::Chains).
//!
//! Trust: a department that believes this witness believes that it never cosigns two heads of one log that do not follow
//! each other. So the state is on the disk before an answer goes out, one request of a log is judged at a time, one
//! process has the directory, and a state is made by a command and never by a start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bridge_event::{LogIndex, Origin, UnixMicros};
use bridge_suite::sha256;
use bridge_tlog::{
    AddCheckpoint, Note, NoteSigner, Refusal, SignedCheckpoint, VerifierKey, format_cosignatures, leaf_hash,
};
use serde::{Deserialize, Serialize};

use crate::disk::{Act, Disk, make_folder, read_bounded};
use crate::lock::{Holder, Lock};
use crate::stored::STORED_BYTES_MAX;
use crate::witness_state::{Followed, Latest, State};
use crate::{RefuseError, TileReader, WitnessError};

const SETTINGS: &str = "witness.toml";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    format: u32,
    key: String,
}

/// A log that a witness cosigns.
#[derive(Debug)]
pub struct WatchedLog {
    /// Its name.
    pub origin: Origin,
    /// Its keys.
    pub keys: Vec<VerifierKey>,
    /// Where its entries are read, for a checking witness; none for a plain one.
    pub tiles: Option<TileReader>,
}

/// Requests of one log that are judged or wait for their turn; a quarter of those of all logs together. A log whose
/// entries take long to read so keeps its own requests waiting and nobody else's.
const WAITING_MAX: usize = 64;

struct Watched {
    log: WatchedLog,
    waiting: AtomicUsize,
    /// Held while a request is judged and stored, which can take as long as reading the log's entries.
    state: Mutex<State>,
    /// The newest cosigned checkpoint, for readers: they do not wait for a request.
    shown: Mutex<Option<Shown>>,
}

#[derive(Clone)]
struct Shown {
    size: u64,
    note: String,
}

/// A running witness.
pub struct Witness {
    dir: PathBuf,
    disk: Disk,
    lock: Lock,
    signer: NoteSigner,
    logs: BTreeMap<String, Watched>,
    ended: AtomicBool,
}

impl Witness {
    /// Makes a witness's directory, for this key and these logs: an operator's act, once.
    ///
    /// # Errors
    /// WIT011 when something is there, WIT015 when the disk fails.
    pub fn init(dir: &Path, key: &VerifierKey, logs: &[Origin]) -> Result<(), WitnessError> {
        let failed = |source| WitnessError::of_io(dir, source);
        make_folder(dir).map_err(failed)?;
        if fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(WitnessError::AlreadyThere { dir: dir.to_owned() });
        }
        let settings = Settings { format: 1, key: key.to_string() };
        let text = toml::to_string(&settings).map_err(|error| failed(io::Error::other(error)))?;
        Lock::make(dir).map_err(failed)?;
        for origin in logs {
            make_state(dir, origin)?;
        }
        Disk::real().replace(Act::WitnessState, &dir.join(SETTINGS), text.as_bytes()).map_err(failed)
    }

    /// Makes the state of one more log: an operator's act, once for each log. No process may be running on the
    /// directory.
    ///
    /// # Errors
    /// WIT011 when the log has a state, WIT012 when the witness runs, WIT010 and WIT015.
    pub fn add_log(dir: &Path, origin: &Origin, holder: &Holder) -> Result<(), WitnessError> {
        settings(dir)?;
        let _lock = Lock::take(dir, holder).map_err(|error| WitnessError::of_lock(dir, error))?;
        make_state(dir, origin)
    }

    /// Opens a witness.
    ///
    /// # Errors
    /// See [`WitnessError`].
    pub fn open(
        dir: &Path,
        holder: &Holder,
        signer: NoteSigner,
        logs: Vec<WatchedLog>,
        disk: Disk,
    ) -> Result<Witness, WitnessError> {
        let damaged = |reason: String| WitnessError::Damaged { dir: dir.to_owned(), reason };
        let settings = settings(dir)?;
        if settings.key != signer.verifier().to_string() {
            return Err(damaged(format!("it is the witness {}, and the key is another one", settings.key)));
        }
        let lock = Lock::take(dir, holder).map_err(|error| WitnessError::of_lock(dir, error))?;
        let mut watched = BTreeMap::new();
        for log in logs {
            let content = match read_bounded(&state_path(dir, &log.origin), STORED_BYTES_MAX) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(WitnessError::NoSuchLog {
                        dir: dir.to_owned(),
                        origin: log.origin.to_string(),
                    });
                }
                Err(error) => return Err(WitnessError::of_io(dir, error)),
            };
            let state = State::read(&log.origin, &content)
                .map_err(|reason| damaged(format!("the state of {}: {reason}", log.origin)))?;
            let shown = Mutex::new(shown(&state));
            watched.insert(
                log.origin.to_string(),
                Watched { log, waiting: AtomicUsize::new(0), state: Mutex::new(state), shown },
            );
        }
        let ended = AtomicBool::new(false);
        Ok(Witness { dir: dir.to_owned(), disk, lock, signer, logs: watched, ended })
    }

    /// Judges the body of an `add-checkpoint` request and gives the body of the answer. Blocks: it reads the log's
    /// entries and writes to the disk. `now` becomes the cosignature's time, which never falls.
    ///
    /// # Errors
    /// See [`RefuseError`]; nothing was cosigned.
    pub fn add_checkpoint(&self, body: &[u8], now: UnixMicros) -> Result<String, RefuseError> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let origin = &request.checkpoint().origin;
        let watched = self.logs.get(origin).ok_or_else(|| Refusal::UnknownOrigin(origin.clone()))?;
        // A stranger's request does not come as far as the queue.
        if let Err(refusal) = request.judge(&watched.log.keys, None)
            && matches!(refusal, Refusal::Malformed(_) | Refusal::UnknownOrigin(_) | Refusal::NotSigned(_))
        {
            return Err(refusal.into());
        }
        let _turn = Turn::take(&watched.waiting).ok_or(RefuseError::Busy)?;
        // One at a time: reading the newest checkpoint and storing the next one is a single act. A panic while it was
        // held has stored nothing, or a whole state.
        let Watched { log, state, .. } = watched;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ended.load(Ordering::Acquire) {
            return Err(RefuseError::Disk(io::Error::other("an earlier write failed")));
        }
        let latest = state.latest.as_ref();
        let signed = request.judge(&log.keys, latest.map(|latest| &latest.checkpoint))?;
        let followed = match &log.tiles {
            Some(tiles) => Some(follow(&log.origin, tiles, state.followed.as_ref(), &signed)?),
            None => None,
        };
        let seconds = u64::try_from(now.0 / 1_000_000).unwrap_or(0).max(1);
        let time = latest.map_or(seconds, |latest| latest.time.max(seconds));
        let next = self.cosign(&signed, &log.keys, time, followed)?;
        self.store(&log.origin, &next)?;
        let lines = next.latest.iter().flat_map(|latest| latest.note.signatures());
        let own: Vec<_> = lines.filter(|line| self.signer.verifier().made(line)).cloned().collect();
        *watched.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown(&next);
        *state = next;
        Ok(format_cosignatures(&own))
    }

    /// The newest cosigned checkpoint of a log, by the hexadecimal SHA-256 of its origin; none when there is none.
    pub fn checkpoint(&self, origin_hash: &str) -> Option<String> {
        let hash = |origin: &str| sha256(&[origin.as_bytes()]).to_string();
        let (_, watched) = self.logs.iter().find(|(origin, _)| hash(origin) == origin_hash)?;
        watched.shown().map(|shown| shown.note)
    }

    /// The witness's key.
    pub fn key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// Sizes of the newest cosigned checkpoints, by origin; 0 where there is none.
    pub fn sizes(&self) -> Vec<(String, u64)> {
        let size = |watched: &Watched| watched.shown().map_or(0, |shown| shown.size);
        self.logs.iter().map(|(origin, watched)| (origin.clone(), size(watched))).collect()
    }

    /// Whether a write failed, so that this process cosigns nothing more and has to be started again.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The state with this checkpoint as the newest: its note has the log's signatures and ours, and no others.
    fn cosign(
        &self,
        signed: &SignedCheckpoint,
        keys: &[VerifierKey],
        time: u64,
        followed: Option<Followed>,
    ) -> Result<State, RefuseError> {
        let broken = |error: &dyn std::fmt::Display| RefuseError::Disk(io::Error::other(error.to_string()));
        let lines = signed.note().signatures();
        let mut kept: Vec<_> =
            keys.iter().filter_map(|key| lines.iter().find(|line| key.made(line)).cloned()).collect();
        kept.push(self.signer.cosign(signed.note().text(), time).map_err(|error| broken(&error))?);
        let note = Note::new(signed.note().text(), kept).map_err(|error| broken(&error))?;
        Ok(State { latest: Some(Latest { checkpoint: signed.checkpoint().clone(), note, time }), followed })
    }

    fn store(&self, origin: &Origin, state: &State) -> Result<(), RefuseError> {
        let content = state.write(origin).map_err(|error| RefuseError::Disk(error.into()))?;
        let written = self.lock.writing().and_then(|_writing| {
            if !self.lock.is_own()? {
                return Err(io::Error::other("another process has the witness's directory"));
            }
            self.disk.replace(Act::WitnessState, &state_path(&self.dir, origin), &content)
        });
        written.map_err(|error| {
            // What is on the disk now is not known. A new process reads it; this one must not go on from memory.
            self.ended.store(true, Ordering::Release);
            RefuseError::Disk(error)
        })
    }
}

/// A place in the queue of one log.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Turn<'a>> {
        let one_more = |count: usize| (count < WAITING_MAX).then_some(count.saturating_add(1));
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Turn(waiting))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watched {
    fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn shown(state: &State) -> Option<Shown> {
    let latest = state.latest.as_ref()?;
    Some(Shown { size: latest.checkpoint.size, note: latest.note.format() })
}

/// Reads the entries from the last cosigned size to the new one. They must keep the rule and give the new root.
fn follow(
    origin: &Origin,
    tiles: &TileReader,
    known: Option<&Followed>,
    signed: &SignedCheckpoint,
) -> Result<Followed, RefuseError> {
    let checkpoint = signed.checkpoint();
    let mut followed = known.cloned().unwrap_or_else(|| Followed::new(origin.clone()));
    let start = followed.frontier.size();
    if start < checkpoint.size {
        tiles.visit(LogIndex(start)..LogIndex(checkpoint.size), checkpoint.size, |_, entry| {
            followed.chains.take(entry)?;
            let full = |_| RefuseError::OtherRoot { size: checkpoint.size };
            followed.frontier.append(leaf_hash(entry)).map(drop).map_err(full)
        })?;
    }
    if (followed.frontier.size(), followed.frontier.root()) != (checkpoint.size, checkpoint.root) {
        return Err(RefuseError::OtherRoot { size: checkpoint.size });
    }
    Ok(followed)
}

fn settings(dir: &Path) -> Result<Settings, WitnessError> {
    let damaged = |reason: String| WitnessError::Damaged { dir: dir.to_owned(), reason };
    let content = match read_bounded(&dir.join(SETTINGS), 64 * 1024) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(WitnessError::NotAWitness { dir: dir.to_owned() });
        }
        Err(error) => return Err(WitnessError::of_io(dir, error)),
    };
    let settings: Settings =
        toml::from_str(&String::from_utf8_lossy(&content)).map_err(|error| damaged(error.to_string()))?;
    if settings.format != 1 {
        return Err(damaged(format!(
            "witness.toml has format {}, and this program reads 1",
            settings.format
        )));
    }
    Ok(settings)
}

fn make_state(dir: &Path, origin: &Origin) -> Result<(), WitnessError> {
    let path = state_path(dir, origin);
    if path.exists() {
        return Err(WitnessError::AlreadyThere { dir: path });
    }
    let content = State::default().write(origin).map_err(|error| WitnessError::of_io(dir, error.into()))?;
    Disk::real().replace(Act::WitnessState, &path, &content).map_err(|error| WitnessError::of_io(dir, error))
}

fn state_path(dir: &Path, origin: &Origin) -> PathBuf {
    dir.join("logs").join(sha256(&[origin.as_str().as_bytes()]).to_string())
}
