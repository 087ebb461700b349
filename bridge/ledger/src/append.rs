//! Entries behind the log: checked, written to the journal as one group, on the disk, and only then in the tree.

use std::ops::Range;

use bridge_envelope::Entry;
use bridge_event::{Epoch, LogIndex};

use crate::heads::Heads;
use crate::journal::GROUP_ENTRIES_MAX;
use crate::{AppendError, Log};

impl Log {
    /// Appends entries in this order, and returns where they stand when they are on the disk.
    ///
    /// Before anything is written: the lock is still this process's own, the journal is as this process left it, the
    /// newest epoch entry is its own (or among these entries), and every entry keeps the rule of
    /// [`Chains`](crate::Chains). Contract, incarnation and trust entries may come before an epoch.
    ///
    /// # Errors
    /// See [`AppendError`]. When it is not final nothing was written. When it is, the entries may be on the disk; the
    /// next start finds out.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<Range<LogIndex>, AppendError> {
        if self.ended {
            return Err(AppendError::Ended);
        }
        check_group(entries)?;
        let (mut heads, own_epoch) = self.foresee(entries)?;
        let first = self.levels.size();
        let writing = self.lock.writing().map_err(|source| AppendError::Disk { source })?;
        self.check_own()?;
        if let Err(source) = self.journal.append(&self.disk, first, entries) {
            return Err(self.fail(source));
        }
        heads.places = std::mem::take(&mut self.heads.places);
        self.heads = heads;
        self.own_epoch = own_epoch;
        let entries = entries.iter().map(|entry| entry.as_ref().to_vec()).collect();
        if let Err(source) = self.shelve(entries) {
            return Err(self.fail(source));
        }
        drop(writing);
        Ok(LogIndex(first)..LogIndex(self.levels.size()))
    }

    /// What the log amounts to with these entries, and the epoch that is then this process's own.
    fn foresee<E: AsRef<[u8]>>(&self, entries: &[E]) -> Result<(Heads, Option<Epoch>), AppendError> {
        let mut heads = self.heads.trial();
        let mut own = self.own_epoch;
        for entry in entries {
            let newest = heads.chains.epoch().map(|(epoch, _)| epoch);
            match heads.take(entry.as_ref())? {
                Entry::Epoch(begun) => own = Some(begun.epoch),
                Entry::Contract(_) | Entry::Incarnation(_) | Entry::Trust(_) => {}
                Entry::Batch(_) | Entry::KeyRecord(_) | Entry::Rewrap(_) | Entry::Mark(_) => {
                    if own.is_none() || own != newest {
                        return Err(AppendError::NotOwnEpoch { newest });
                    }
                }
            }
        }
        Ok((heads, own))
    }
}

fn check_group<E: AsRef<[u8]>>(entries: &[E]) -> Result<(), AppendError> {
    let lengths = || entries.iter().map(|entry| entry.as_ref().len());
    let good = (1..=GROUP_ENTRIES_MAX).contains(&entries.len())
        && lengths().all(|bytes| (1..=bridge_tlog::ENTRY_BYTES_MAX).contains(&bytes));
    if good {
        return Ok(());
    }
    Err(AppendError::Group { entries: entries.len(), bytes: lengths().max().unwrap_or(0) })
}
