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

/// How long a log that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(30);

/// Two checkpoints of one log that cannot both be honest, as signed notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) found: Found,
    pub(crate) remembered: String,
    pub(crate) other: String,
}

/// What is remembered of one log.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    newest: Option<(Checkpoint, String)>,
    roots: BTreeMap<u64, (Digest, String)>,
    unreachable: Option<Instant>,
    said: bool,
}

/// What came of comparing two checkpoints through the log's tiles.
enum Compared {
    Consistent,
    Forked,
    Unknown(String),
}

impl Checkpoints {
    /// Goes on from the checkpoint that the progress holds.
    pub(crate) fn remembered(checkpoint: Checkpoint, note: String) -> Checkpoints {
        let mut checkpoints = Checkpoints::default();
        checkpoints.roots.insert(checkpoint.size, (checkpoint.root, note.clone()));
        checkpoints.newest = Some((checkpoint, note));
        checkpoints
    }

    /// The largest one that has a quorum.
    pub(crate) fn newest(&self) -> Option<&(Checkpoint, String)> {
        self.newest.as_ref()
    }

    /// Takes a checkpoint that the log signed. One with a quorum that is larger than what is remembered takes its place;
    /// a smaller one changes nothing.
    ///
    /// # Errors
    /// [`Conflict`]: one size with two roots, or a tree that does not hold the remembered one.
    pub(crate) fn observe(
        &mut self,
        signed: &Standing,
        log: Option<&TileReader>,
    ) -> Result<Vec<Found>, Box<Conflict>> {
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
        if signed.level < Level::Witnessed
            || self.newest.as_ref().is_some_and(|(old, _)| checkpoint.size <= old.size)
        {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        if let (Some((old, note)), Some(log)) = (&self.newest, log)
            && self.unreachable.is_none_or(|since| since.elapsed() > PAUSE)
        {
            match compare(old, checkpoint, log) {
                Compared::Consistent => (self.unreachable, self.said) = (None, false),
                Compared::Forked => {
                    let what = format!(
                        "the log's tree of {} entries does not hold its tree of {}; both checkpoints are kept as evidence",
                        checkpoint.size, old.size
                    );
                    return Err(conflict("VER074", what, note, &signed.note));
                }
                Compared::Unknown(reason) => {
                    self.unreachable = Some(Instant::now());
                    if !std::mem::replace(&mut self.said, true) {
                        let what = format!(
                            "the log could not be asked whether its checkpoints are consistent: {reason}"
                        );
                        found.push(Found::note("VER075", what));
                    }
                }
            }
        }
        self.newest = Some((checkpoint.clone(), signed.note.clone()));
        Ok(found)
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
    if old.size == 0 || verify_consistency(old.size, &old.root, new.size, &new.root, &proof).is_ok() {
        return Compared::Consistent;
    }
    // Tiles that do not even lead to the signed root are the server's fault, not the log's.
    match tree_root(new.size, &hashes) {
        Ok(root) if root == new.root => Compared::Forked,
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
            known.observe(&signed(size, &[u8::try_from(size).unwrap()], level), None).unwrap();
            assert_eq!(known.newest().unwrap().0.size, newest);
        }
    }

    #[test]
    fn one_size_with_two_roots_is_a_conflict_of_both_notes() {
        let first = signed(5, b"a", Level::Witnessed);
        let mut known = Checkpoints::remembered(first.checkpoint.clone(), first.note.clone());
        let other = signed(5, b"b", Level::Logged);
        let conflict = known.observe(&other, None).unwrap_err();
        assert_eq!((conflict.found.code, conflict.found.halts()), ("VER073", true));
        assert_eq!((conflict.remembered, conflict.other), (first.note, other.note));
    }
}
