//! Why a witness could not be started, and why it does not cosign.

use std::io;
use std::path::{Path, PathBuf};

use bridge_tlog::Refusal;

use crate::chains::Violation;
use crate::lock::{Holder, LockError};
use crate::{Disposition, ReadError};

/// A witness's state could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// There is no state.
    #[error("WIT010: {} holds no witness; its state is made once, with `govbridge witness init`, and never by a start", dir.display())]
    NotAWitness {
        /// The directory.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("WIT011: {} holds a witness or other files already; choose an empty directory", dir.display())]
    AlreadyThere {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process is this witness.
    #[error("WIT012: {} is the witness of {}; one process is one witness, end that one first", dir.display(), holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::to_string))]
    Held {
        /// The directory.
        dir: PathBuf,
        /// Who has it, when the lock file says so.
        holder: Option<Holder>,
    },
    /// Its files are damaged, or of another witness.
    #[error("WIT013: the witness in {} is damaged: {reason}; restore its newest state, never start from an older one or from none", dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A log of the configuration has no state here.
    #[error("WIT014: the witness in {} has no state for the log {origin}; add it once, with `govbridge witness add-log`", dir.display())]
    NoSuchLog {
        /// The directory.
        dir: PathBuf,
        /// The log.
        origin: String,
    },
    /// The disk fails.
    #[error("WIT015: the witness in {} cannot be read or written: {source}; check the disk and the directory's owner", dir.display())]
    Disk {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl WitnessError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            WitnessError::NotAWitness { .. } => "WIT010",
            WitnessError::AlreadyThere { .. } => "WIT011",
            WitnessError::Held { .. } => "WIT012",
            WitnessError::Damaged { .. } => "WIT013",
            WitnessError::NoSuchLog { .. } => "WIT014",
            WitnessError::Disk { .. } => "WIT015",
        }
    }

    /// Always [`Disposition::Halt`]: a person has to act.
    pub fn disposition(&self) -> Disposition {
        Disposition::Halt
    }

    pub(crate) fn of_lock(dir: &Path, error: LockError) -> WitnessError {
        let dir = dir.to_owned();
        match error {
            LockError::Held(holder) | LockError::Writing(holder) => WitnessError::Held { dir, holder },
            LockError::Io(source) => WitnessError::Disk { dir, source },
        }
    }

    pub(crate) fn of_io(dir: &Path, source: io::Error) -> WitnessError {
        WitnessError::Disk { dir: dir.to_owned(), source }
    }
}

/// Why a witness does not cosign a checkpoint. [`RefuseError::status`] is the answer's status.
#[derive(Debug, thiserror::Error)]
pub enum RefuseError {
    /// What every witness checks (C2SP tlog-witness).
    #[error("WIT020: {0}")]
    Plain(#[from] Refusal),
    /// The log's entries break the rule of a checking witness.
    #[error("WIT021: the log's entries break the rule: {0}")]
    Rule(#[from] Violation),
    /// The log's entries do not give the checkpoint's root.
    #[error("WIT022: the entries that the log serves do not give the root of its checkpoint of {size}")]
    OtherRoot {
        /// The checkpoint's size.
        size: u64,
    },
    /// The log's entries cannot be read.
    #[error("WIT023: the log's entries cannot be read, so nothing is cosigned: {0}")]
    Entries(#[from] ReadError),
    /// The state could not be stored. Nothing is cosigned any more by this process.
    #[error("WIT024: the witness cannot store its state: {0}; it has to be started again")]
    Disk(io::Error),
    /// Too many requests at once.
    #[error("WIT025: too many requests at once; ask again")]
    Busy,
}

impl RefuseError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            RefuseError::Plain(_) => "WIT020",
            RefuseError::Rule(_) => "WIT021",
            RefuseError::OtherRoot { .. } => "WIT022",
            RefuseError::Entries(_) => "WIT023",
            RefuseError::Disk(_) => "WIT024",
            RefuseError::Busy => "WIT025",
        }
    }

    /// The status of the answer: the specification's, 422 for entries that are not to be cosigned, 503 when the same
    /// request may be cosigned later, 500 when the witness itself is broken.
    pub fn status(&self) -> u16 {
        match self {
            RefuseError::Plain(refusal) => refusal.status(),
            RefuseError::Rule(_) | RefuseError::OtherRoot { .. } => 422,
            RefuseError::Entries(_) | RefuseError::Busy => 503,
            RefuseError::Disk(_) => 500,
        }
    }

    /// Halt when the witness itself is broken, Retry where the status is 503, else Reject.
    pub fn disposition(&self) -> Disposition {
        match self {
            RefuseError::Disk(_) => Disposition::Halt,
            RefuseError::Entries(_) | RefuseError::Busy => Disposition::Retry,
            _ => Disposition::Reject,
        }
    }
}
