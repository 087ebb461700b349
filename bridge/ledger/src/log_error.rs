//! Why a log could not be opened or written.

use std::io;
use std::path::PathBuf;

use bridge_event::Epoch;

use crate::chains::Violation;
use crate::disk::is_full;
use crate::lock::{Holder, LockError};
use crate::{Disposition, ReadError};

/// A log could not be made, opened or taken over.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes in it.
    #[error("APP001: {} is the log of {}; one connector writes a log: end that process, or, if it hangs and cannot be ended, run `govbridge log take-over`", dir.display(), name(holder.as_ref()))]
    Held {
        /// The log's directory.
        dir: PathBuf,
        /// Who writes, when the lock file says so.
        holder: Option<Holder>,
    },
    /// There is no log.
    #[error("APP009: {} is no log; a log is made once, with `govbridge log init`, and never by a start", dir.display())]
    NotALog {
        /// The directory.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("APP010: {} holds a log or other files already; choose an empty directory", dir.display())]
    AlreadyThere {
        /// The directory.
        dir: PathBuf,
    },
    /// Its files do not fit each other.
    #[error("APP011: the log in {} is damaged: {reason}; keep the directory as it is and restore the log from a mirror", dir.display())]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// It has fewer entries than its own newest checkpoint says.
    #[error("APP012: the log in {} has {size} entries, and its own newest checkpoint says {signed}; an old copy was restored or the disk lost writes: restore the log from a mirror, never go on from here", dir.display())]
    Smaller {
        /// The log's directory.
        dir: PathBuf,
        /// Entries that are there.
        size: u64,
        /// Entries of the checkpoint.
        signed: u64,
    },
    /// The holder stands inside a write.
    #[error("APP013: {} stands inside a write in {}, and the rest of that write would come when it goes on: run `{}` on its machine and start again (then without --take-over), or let it go on (kill -CONT)", name(holder.as_ref()), dir.display(), kill(holder.as_ref()))]
    Writing {
        /// The log's directory.
        dir: PathBuf,
        /// Who writes, when the lock file says so.
        holder: Option<Holder>,
    },
    /// The disk fails.
    #[error("{}: the log in {} cannot be read or written: {source}", disk_code(source), dir.display())]
    Disk {
        /// The log's directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The command that ends a holder for good.
fn kill(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "kill -9 PID".to_owned(), |holder| format!("kill -9 {}", holder.pid))
}

/// Entries could not be appended, or a checkpoint not signed or published. When [`AppendError::is_final`] says so the
/// process ends: what is on the disk is then decided by the next start, which reads it.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another process has the log now.
    #[error("APP002: the log was taken over by {}; this process has lost it and ends", name(holder.as_ref()))]
    LostLog {
        /// Who has it, when the lock file says so.
        holder: Option<Holder>,
    },
    /// The newest epoch entry is not this process's own.
    #[error("APP003: the newest epoch of the log is {}, and this process has not opened it; open an epoch before anything else", newest.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()))]
    NotOwnEpoch {
        /// The newest epoch of the log.
        newest: Option<Epoch>,
    },
    /// An entry breaks the rule that checking witnesses cosign by.
    #[error("APP004: an entry may not be written, because no checking witness would cosign it: {0}")]
    Rule(#[from] Violation),
    /// The group has no entries, too many, or one that is empty or too long.
    #[error(
        "APP005: a group of {entries} entries, the longest of {bytes} bytes, cannot be appended; at most 4096 entries of 1 to 65535 bytes can"
    )]
    Group {
        /// Entries in it.
        entries: usize,
        /// Bytes of the longest.
        bytes: usize,
    },
    /// A write failed. Whether it is on the disk is not known.
    #[error(
        "{}: the log cannot be written: {source}; the process ends, and the next start reads what is there",
        disk_code(source)
    )]
    Disk {
        /// What the system says.
        source: io::Error,
    },
    /// An earlier write failed.
    #[error("APP008: an earlier write to the log failed; the process has to end and start again")]
    Ended,
    /// What is on the disk is not what was written.
    #[error(
        "APP011: the log is damaged: {reason}; nothing is signed, keep the directory as it is and restore the log from a mirror"
    )]
    Damaged {
        /// What does not fit.
        reason: String,
    },
    /// The checkpoint cannot be signed or published.
    #[error("APP014: the checkpoint is not one that this log may sign or publish: {reason}")]
    Checkpoint {
        /// Why.
        reason: String,
    },
}

impl OpenError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::Held { .. } => "APP001",
            OpenError::NotALog { .. } => "APP009",
            OpenError::AlreadyThere { .. } => "APP010",
            OpenError::Damaged { .. } => "APP011",
            OpenError::Smaller { .. } => "APP012",
            OpenError::Writing { .. } => "APP013",
            OpenError::Disk { source, .. } => disk_code(source),
        }
    }

    /// Always [`Disposition::Halt`]: a person has to act.
    pub fn disposition(&self) -> Disposition {
        Disposition::Halt
    }
}

impl AppendError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            AppendError::LostLog { .. } => "APP002",
            AppendError::NotOwnEpoch { .. } => "APP003",
            AppendError::Rule(_) => "APP004",
            AppendError::Group { .. } => "APP005",
            AppendError::Disk { source } => disk_code(source),
            AppendError::Ended => "APP008",
            AppendError::Damaged { .. } => "APP011",
            AppendError::Checkpoint { .. } => "APP014",
        }
    }

    /// Reject when nothing was written and the log is as before, else Halt.
    pub fn disposition(&self) -> Disposition {
        if self.is_final() { Disposition::Halt } else { Disposition::Reject }
    }

    /// Whether the process has to end: this log takes nothing more from it.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            AppendError::LostLog { .. }
                | AppendError::Disk { .. }
                | AppendError::Ended
                | AppendError::Damaged { .. }
        )
    }
}

/// APP007 when there is no room left, else APP006.
fn disk_code(error: &io::Error) -> &'static str {
    if is_full(error) { "APP007" } else { "APP006" }
}

fn name(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), Holder::to_string)
}

impl OpenError {
    pub(crate) fn of_lock(dir: &std::path::Path, error: LockError) -> OpenError {
        let dir = dir.to_owned();
        match error {
            LockError::Held(holder) => OpenError::Held { dir, holder },
            LockError::Writing(holder) => OpenError::Writing { dir, holder },
            LockError::Io(source) => OpenError::Disk { dir, source },
        }
    }

    pub(crate) fn of_io(dir: &std::path::Path, source: io::Error) -> OpenError {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
                OpenError::Damaged { dir, reason: source.to_string() }
            }
            _ => OpenError::Disk { dir, source },
        }
    }
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> AppendError {
        AppendError::Damaged { reason: error.to_string() }
    }
}
