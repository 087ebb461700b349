//! The claim: one connector holds a file at a time.
//!
//! Two things make it. A lock file beside the database, locked by the operating system for as long as the holder
//! lives: a killed holder leaves nothing to repair. And a random token in the database itself: every write checks it in
//! its own transaction, so a holder that hung, was taken over and woke up cannot write. A take-over puts a new lock
//! file in the old one's place; the old holder keeps its lock on a file that no longer has a name.

use crate::file::{beside, broken, resolve};
use connectors_source::{Claimant, SourceError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LOCK_SUFFIX: &str = ".govbridge-lock";

/// Most bytes of a lock file that are shown.
const HOLDER_BYTES_MAX: u64 = 512;

/// How often a lock file may be replaced under a claimant before it gives up.
const LOCK_ATTEMPTS_MAX: u32 = 8;

/// Who holds the claim on the file at `path` now, as it wrote it; `None` when nobody does.
pub fn holder(path: &Path) -> Result<Option<String>, SourceError> {
    let lock = match File::open(beside(&resolve(path)?, LOCK_SUFFIX)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unlockable(&error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(lock))),
        Err(TryLockError::Error(error)) => Err(unlockable(&error)),
    }
}

/// A claim that this process took. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: File,
    path: PathBuf,
    token: Vec<u8>,
}

impl Claim {
    /// Takes the claim, or says who holds it.
    pub(crate) fn take(
        database: &Path,
        connection: &mut Connection,
        who: &Claimant,
    ) -> Result<Claim, SourceError> {
        let path = beside(database, LOCK_SUFFIX);
        for _ in 0..LOCK_ATTEMPTS_MAX {
            let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let lock = lock.map_err(|error| unlockable(&error))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(SourceError::Claimed { holder: read_holder(lock) });
                }
                Err(TryLockError::Error(error)) => return Err(unlockable(&error)),
            }
            let mut claim = Claim { lock, path: path.clone(), token: Vec::new() };
            // Somebody may have replaced the file between our opening and locking it.
            if !claim.is_in_place()? {
                continue;
            }
            claim.write_holder(who)?;
            claim.write_token(connection)?;
            return Ok(claim);
        }
        Err(SourceError::Unavailable { what: "the lock file is replaced again and again".to_owned() })
    }

    /// Takes the claim from whoever holds it: an operator's explicit act, for a holder that hangs.
    pub(crate) fn take_over(
        database: &Path,
        connection: &mut Connection,
        who: &Claimant,
    ) -> Result<Claim, SourceError> {
        let path = beside(database, LOCK_SUFFIX);
        let fresh = beside(database, &format!("{LOCK_SUFFIX}.{}", who.pid));
        let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh);
        let lock = made.map_err(|error| unlockable(&error))?;
        lock.try_lock()
            .map_err(|error| SourceError::Unavailable { what: format!("{}: {error}", fresh.display()) })?;
        let mut claim = Claim { lock, path: path.clone(), token: Vec::new() };
        claim.write_holder(who)?;
        std::fs::rename(&fresh, &path).map_err(|error| unlockable(&error))?;
        claim.write_token(connection)?;
        Ok(claim)
    }

    /// Begins a writing transaction that holds only if the claim still does.
    pub(crate) fn write<'a>(&self, connection: &'a mut Connection) -> Result<Transaction<'a>, SourceError> {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
        self.check(&transaction)?;
        Ok(transaction)
    }

    /// Checks, within the caller's transaction, that no other connector took the file over.
    pub(crate) fn check(&self, connection: &Connection) -> Result<(), SourceError> {
        let mine: bool = connection
            .query_row("SELECT claim IS ?1 FROM govbridge_source", [&self.token], |r| r.get(0))
            .map_err(broken)?;
        if mine { Ok(()) } else { Err(SourceError::ClaimLost) }
    }

    fn is_in_place(&self) -> Result<bool, SourceError> {
        let mine = self.lock.metadata().map_err(|error| unlockable(&error))?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(there.dev() == mine.dev() && there.ino() == mine.ino()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unlockable(&error)),
        }
    }

    fn write_holder(&mut self, who: &Claimant) -> Result<(), SourceError> {
        let line = format!("process {} s", who.line(100));
        self.lock
            .set_len(0)
            .and_then(|()| self.lock.rewind())
            .and_then(|()| self.lock.write_all(line.as_bytes()))
            .map_err(|error| unlockable(&error))
    }

    /// Writes a new token, unless another take-over has already put its file in our file's place: of two at once,
    /// the one whose file stays is the one whose token stays.
    fn write_token(&mut self, connection: &mut Connection) -> Result<(), SourceError> {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
        if !self.is_in_place()? {
            return Err(SourceError::Claimed { holder: "another take-over at the same time".to_owned() });
        }
        self.token = transaction
            .query_row("UPDATE govbridge_source SET claim = randomblob(16) RETURNING claim", [], |r| r.get(0))
            .map_err(broken)?;
        transaction.commit().map_err(broken)
    }
}

fn read_holder(lock: File) -> String {
    let mut text = Vec::new();
    match lock.take(HOLDER_BYTES_MAX).read_to_end(&mut text) {
        Ok(0) | Err(_) => "a process that has not written its name yet".to_owned(),
        Ok(_) => String::from_utf8_lossy(&text).trim_end().to_owned(),
    }
}

fn unlockable(error: &std::io::Error) -> SourceError {
    SourceError::Storage { what: format!("the lock file beside the database: {error}") }
}
