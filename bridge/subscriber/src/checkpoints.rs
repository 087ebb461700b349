//! The largest checkpoint of each log, remembered over restarts and never gone back from.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bridge_ledger::TileReader;
use bridge_suite::Digest;
use bridge_tlog::{Checkpoint, consistency_proof, tree_root, verify_consistency};

use crate::Found;
use crate::assurance::{Level, Standing};

/// Roots of earlier sizes that are compared with what comes: 4,096 of 40 bytes, about an hour of checkpoints.
const ROOTS_MAX: usize = 4096;

/// Between two comparisons.
const BETWEEN: Duration = Duration::from_secs(1);

/// How long a log that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(30);

/// A log is left alone for so many times as long as it took to answer: one that answers slowly must not hold up the
/// delivery of everything else by more than about a tenth.
const REST: u32 = 10;

/// Two checkpoints of one log that cannot both be honest, as signed notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) found: Found,
    pub(crate) remembered: String,
    pub(crate) other: String,
}

/// A checkpoint and its signed note.
type Signed = (Checkpoint, String);

/// What is remembered of one log.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    newest: Option<Signed>,
    /// The last one that was compared with the log's tiles: what came after it is compared with it.
    compared: Option<Signed>,
    roots: BTreeMap<u64, (Digest, String)>,
    asked: Option<Instant>,
    wait: Duration,
    said: bool,
}

/// What came of comparing two checkpoints through the log's tiles.
enum Compared {
    Consistent,
    Forked,
    Unknown(String),
}

impl Checkpoints {
    /// Goes on from the checkpoints that the progress holds.
    pub(crate) fn remembered(newest: Signed, compared: Option<Signed>) -> Checkpoints {
        let mut checkpoints = Checkpoints::default();
        for (checkpoint, note) in compared.iter().chain([&newest]) {
            checkpoints.roots.insert(checkpoint.size, (checkpoint.root, note.clone()));
        }
        checkpoints.compared = compared.or_else(|| Some(newest.clone()));
        checkpoints.newest = Some(newest);
        checkpoints
    }

    /// The largest one that has a quorum.
    pub(crate) fn newest(&self) -> Option<&Signed> {
        self.newest.as_ref()
    }

    /// The last one that was compared with the log's tiles.
    pub(crate) fn compared(&self) -> Option<&Signed> {
        self.compared.as_ref()
    }

    /// Takes a checkpoint that the log signed. One with a quorum that is larger than what is remembered takes its place;
    /// a smaller one changes nothing.
    ///
    /// # Errors
    /// [`Conflict`]: one size with two roots.
    pub(crate) fn observe(&mut self, signed: &Standing) -> Result<(), Box<Conflict>> {
        let checkpoint = &signed.checkpoint;
        if let Some((root, note)) = self.roots.get(&checkpoint.size) {
            if *root != checkpoint.root {
                let what = format!(
                    "the log signed two roots for {} entries; both checkpoints are kept as evidence",
                    checkpoint.size
                );
                return Err(conflict("VER073", what, note, &signed.note));
            }
        } else {
            if self.roots.len() >= ROOTS_MAX {
                self.roots.pop_first();
            }
            self.roots.insert(checkpoint.size, (checkpoint.root, signed.note.clone()));
        }
        let larger = self.newest.as_ref().is_none_or(|(old, _)| checkpoint.size > old.size);
        if signed.level == Level::Witnessed && larger {
            let newest = (checkpoint.clone(), signed.note.clone());
            self.compared.get_or_insert_with(|| newest.clone());
            self.newest = Some(newest);
        }
        Ok(())
    }

    /// Asks the log whether the newest checkpoint's tree holds the one compared last: at most once a second, and less
    /// often while it does not answer. Cosigning witnesses have compared every step; this is the reader's own look.
    ///
    /// # Errors
    /// [`Conflict`]: a tree that does not hold the older one.
    pub(crate) fn compare(&mut self, log: &TileReader, now: bool) -> Result<Option<Found>, Box<Conflict>> {
        let waiting = self.asked.is_some_and(|asked| asked.elapsed() < self.wait);
        let (Some((new, note)), Some((old, old_note))) = (&self.newest, &self.compared) else {
            return Ok(None);
        };
        if new.size <= old.size || (waiting && !now) {
            return Ok(None);
        }
        let asked = Instant::now();
        let compared = compare(old, new, log);
        let rest = asked.elapsed().saturating_mul(REST);
        self.asked = Some(Instant::now());
        match compared {
            Compared::Consistent => {
                (self.wait, self.said) = (BETWEEN.max(rest), false);
                self.compared.clone_from(&self.newest);
                Ok(None)
            }
            Compared::Forked => {
                let what = format!(
                    "the log's tree of {} entries does not hold its tree of {}; both checkpoints are kept as evidence",
                    new.size, old.size
                );
                Err(conflict("VER074", what, old_note, note))
            }
            Compared::Unknown(reason) => {
                self.wait = PAUSE.max(rest);
                let what =
                    format!("the log could not be asked whether its checkpoints are consistent: {reason}");
                Ok((!std::mem::replace(&mut self.said, true)).then(|| Found::note("VER075", what)))
            }
        }
    }
}

fn conflict(code: &'static str, what: String, remembered: &str, other: &str) -> Box<Conflict> {
    let (remembered, other) = (remembered.to_owned(), other.to_owned());
    Box::new(Conflict { found: Found::halt(code, what), remembered, other })
}

fn compare(old: &Checkpoint, new: &Checkpoint, log: &TileReader) -> Compared {
    let hashes = log.hashes(new.size);
    let proof = match consistency_proof(old.size, new.size, &hashes) {
        Ok(proof) => proof,
        Err(error) => return Compared::Unknown(error.to_string()),
    };
    let leads_from = |root: &Digest| verify_consistency(old.size, root, new.size, &new.root, &proof).is_ok();
    if old.size == 0 || leads_from(&old.root) {
        return Compared::Consistent;
    }
    // A fork is only what the signed root itself proves: the new tree begins with another tree of the old size. Whatever
    // else the tiles say is their server's fault, and a server is nobody who could accuse a log.
    match tree_root(old.size, &hashes) {
        Ok(root) if root != old.root && leads_from(&root) => Compared::Forked,
        Ok(_) => Compared::Unknown("its tiles do not lead to the signed root".to_owned()),
        Err(error) => Compared::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_suite::sha256;

    fn signed(size: u64, root: &[u8], level: Level) -> Standing {
        let checkpoint = Checkpoint { origin: "o".to_owned(), size, root: sha256(&[root]) };
        let note = format!("{size} {}", sha256(&[root]));
        Standing { level, checkpoint, note, cosigned: None }
    }

    #[test]
    fn the_largest_witnessed_checkpoint_is_remembered_and_never_gone_back_from() {
        let mut known = Checkpoints::default();
        for (size, level, newest) in [
            (5, Level::Witnessed, 5),
            (9, Level::Logged, 5),
            (3, Level::Witnessed, 5),
            (7, Level::Witnessed, 7),
        ] {
            known.observe(&signed(size, &[u8::try_from(size).unwrap()], level)).unwrap();
            assert_eq!(known.newest().unwrap().0.size, newest);
        }
    }

    #[test]
    fn one_size_with_two_roots_is_a_conflict_of_both_notes() {
        let first = signed(5, b"a", Level::Witnessed);
        let mut known = Checkpoints::remembered((first.checkpoint.clone(), first.note.clone()), None);
        let other = signed(5, b"b", Level::Logged);
        let conflict = known.observe(&other).unwrap_err();
        assert_eq!((conflict.found.code, conflict.found.halts()), ("VER073", true));
        assert_eq!((conflict.remembered, conflict.other), (first.note, other.note));
    }
}
