//! A file that proves that an entry is in a log (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>            if there is any; nobody vouches for it
//! index <decimal>
//! <base64 of a hash>        from the leaf's sibling up
//! <empty line>
//! <the checkpoint, a signed note>
//! ```

use bridge_suite::Digest;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::line;
use crate::note::{NOTE_BYTES_MAX, Note, NoteError};
use crate::policy::{EvaluateError, Policy, Standing};
use crate::proof::{ProofError, verify_inclusion};
use crate::tree::PROOF_HASHES_MAX;
use crate::witness::{format_proof, parse_proof};

/// Longest extra, in bytes.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;

/// Longest proof file, in bytes: first line 23, extra with its word (64 KiB * 4 / 3 + 11), index 27, 63 lines of 45, an
/// empty line, a note; rounded up.
pub const TLOG_PROOF_BYTES_MAX: usize =
    64 + EXTRA_BYTES_MAX.div_ceil(3) * 4 + PROOF_HASHES_MAX * 45 + NOTE_BYTES_MAX;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof file that cannot be read or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The file is too long.
    #[error("a proof of {0} bytes is above the limit of {TLOG_PROOF_BYTES_MAX}: refuse it")]
    TooLong(usize),
    /// The file has another form.
    #[error("the file is not a proof of a log, {0}: fetch it again, or check which version it is of")]
    Form(&'static str),
    /// The checkpoint is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The policy cannot be applied to the checkpoint.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// No log is trusted.
    #[error("the policy names no log: add a log line, or nothing says whose log it is")]
    NoLog,
    /// Too few witnesses cosigned.
    #[error("the checkpoint of {} entries is cosigned by {}, which is no quorum: get more cosignatures", .0.checkpoint.size, .0.cosigned.len())]
    NoQuorum(Box<Standing>),
    /// The entry is not in the tree at this index.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}

/// The proof that an entry is in a log. Nothing in it is verified before [`TlogProof::verify`].
///
/// Invariant: [`TlogProof::format`] and [`TlogProof::parse`] undo each other byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    hashes: Vec<Digest>,
    note: Note,
    checkpoint: Checkpoint,
}

impl TlogProof {
    /// Puts a proof together: the entry's index, its path in the tree of the checkpoint, and the checkpoint as it was
    /// published.
    ///
    /// # Errors
    /// A limit is broken, or the note is not a checkpoint.
    pub fn new(index: u64, hashes: Vec<Digest>, note: Note) -> Result<Self, TlogProofError> {
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(TlogProofError::Form("it has more than 63 hashes"));
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { extra: None, index, hashes, note, checkpoint })
    }

    /// Adds bytes for the reader's own use. Nobody vouches for them.
    ///
    /// # Errors
    /// They are longer than [`EXTRA_BYTES_MAX`].
    pub fn with_extra(self, extra: Vec<u8>) -> Result<Self, TlogProofError> {
        if extra.len() > EXTRA_BYTES_MAX {
            return Err(TlogProofError::Form("its extra is above 64 KiB"));
        }
        Ok(Self { extra: Some(extra), ..self })
    }

    /// Reads a proof file.
    ///
    /// # Errors
    /// The bytes are not a proof file, or a limit is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > TLOG_PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::Form("it is not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(TlogProofError::Form("it has no empty line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(TlogProofError::Form("its first line is another one"));
        }
        let mut next = lines.next();
        let extra = match next.and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => {
                next = lines.next();
                Some(line::base64(extra).ok_or(TlogProofError::Form("its extra is not Base64"))?)
            }
            None => None,
        };
        let index = next
            .and_then(|line| line.strip_prefix("index "))
            .and_then(line::decimal)
            .ok_or(TlogProofError::Form("it has no index"))?;
        let hashes = parse_proof(lines).ok_or(TlogProofError::Form("its path is not up to 63 hashes"))?;
        let proof = Self::new(index, hashes, Note::parse(note.as_bytes())?)?;
        match extra {
            Some(extra) => proof.with_extra(extra),
            None => Ok(proof),
        }
    }

    /// Writes the proof file; its name ends in `.tlog-proof`.
    pub fn format(&self) -> String {
        let extra = match &self.extra {
            Some(extra) => format!("extra {}\n", line::base64_text(extra)),
            None => String::new(),
        };
        let path = format_proof(&self.hashes);
        format!("{FIRST_LINE}\n{extra}index {}\n{path}\n{}", self.index, self.note.format())
    }

    /// Bytes for the reader's own use. Nobody vouches for them.
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// Index of the entry in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The path from the leaf's sibling up.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// What the checkpoint says; verified only by [`TlogProof::verify`].
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint as it was published.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Verifies that the entry with this leaf hash is in a log of the policy, under a checkpoint that the policy's
    /// quorum cosigned. The standing says who did, and when.
    ///
    /// # Errors
    /// Any part of that does not hold, or the policy names no log.
    pub fn verify(&self, leaf_hash: &Digest, policy: &Policy) -> Result<Standing, TlogProofError> {
        let standing = self.verify_logged(leaf_hash, policy)?;
        if standing.quorum { Ok(standing) } else { Err(TlogProofError::NoQuorum(Box::new(standing))) }
    }

    /// The same as [`TlogProof::verify`], but a missing quorum is no error: the standing says so. For a reader that tells
    /// a logged entry from a witnessed one.
    ///
    /// # Errors
    /// The log's signature, a known witness's, or the path does not hold, or the policy names no log.
    pub fn verify_logged(&self, leaf_hash: &Digest, policy: &Policy) -> Result<Standing, TlogProofError> {
        if policy.logs().is_empty() {
            return Err(TlogProofError::NoLog);
        }
        let standing = policy.evaluate(&self.note)?;
        let Checkpoint { size, root, .. } = &standing.checkpoint;
        verify_inclusion(leaf_hash, self.index, *size, root, &self.hashes)?;
        Ok(standing)
    }
}
