//! What a log asks a witness, and what the witness says (C2SP tlog-witness, `add-checkpoint`).
//!
//! ```text
//! old <size>
//! <base64 of a hash>        at most 63: the consistency proof
//! <empty line>
//! <the checkpoint, a signed note>
//! ```
//!
//! An answer of status 200 has signature lines; one of status 409 has the size that the witness cosigned last.

use bridge_suite::Digest;

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::key::VerifierKey;
use crate::line;
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, VerifyError, parse_lines};
use crate::proof::{ProofError, verify_consistency};
use crate::tree::{EMPTY_ROOT, PROOF_HASHES_MAX};

/// Longest request, in bytes: the line of the old size, 63 lines of 45, an empty line, a note.
pub const ADD_CHECKPOINT_BYTES_MAX: usize = 25 + PROOF_HASHES_MAX * 45 + 1 + NOTE_BYTES_MAX;

/// Content type of an answer with the size that the witness cosigned last.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// A request or an answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddCheckpointError {
    /// The request is too long.
    #[error("a request of {0} bytes is above the limit of {ADD_CHECKPOINT_BYTES_MAX}: refuse it")]
    TooLong(usize),
    /// The request or the answer has another form.
    #[error("the message is not one of add-checkpoint, {0}: check both versions of the protocol")]
    Form(&'static str),
    /// The checkpoint is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be read.
    #[error("the request cannot be read")]
    Malformed(#[from] AddCheckpointError),
    /// The witness does not know the log.
    #[error("the log {0:?} is not known here: ask the witness's operator to add it")]
    UnknownOrigin(String),
    /// The log's signature is missing or does not hold.
    #[error("the checkpoint is not signed by its log")]
    NotSigned(#[source] VerifyError),
    /// The old size is above the new one.
    #[error("the old size {old} is above the checkpoint's {new}: a log does not shrink")]
    OldAboveNew {
        /// The old size in the request.
        old: u64,
        /// The size of the checkpoint.
        new: u64,
    },
    /// The old size is not the one that was cosigned last.
    #[error("{0} entries were cosigned last: send the proof from there")]
    OtherOldSize(u64),
    /// The checkpoint does not follow the one that was cosigned last.
    #[error(
        "the checkpoint does not follow the one that was cosigned last: keep both, one of them is a fork"
    )]
    Inconsistent(#[source] ProofError),
    /// An empty tree with a root that is not the empty one.
    #[error("the checkpoint has no entries and a root that is not the empty tree's: refuse it")]
    EmptyRoot,
    /// A first checkpoint comes with a proof.
    #[error("a first checkpoint came with {0} hashes of a proof: send none")]
    ProofFromNothing(usize),
}

impl Refusal {
    /// The status of the answer (tlog-witness).
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::OldAboveNew { .. } => 400,
            Self::NotSigned(_) => 403,
            Self::UnknownOrigin(_) => 404,
            Self::OtherOldSize(_) => 409,
            Self::Inconsistent(_) | Self::EmptyRoot | Self::ProofFromNothing(_) => 422,
        }
    }
}

/// A request for a cosignature. Nothing in it is verified before [`AddCheckpoint::judge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Digest>,
    note: Note,
    checkpoint: Checkpoint,
}

impl AddCheckpoint {
    /// Asks for a cosignature on a checkpoint, with the proof that it follows the one of `old_size` entries; 0 and no
    /// proof when the witness has cosigned none.
    ///
    /// # Errors
    /// The proof has more than 63 hashes, or the note is not a checkpoint.
    pub fn new(old_size: u64, proof: Vec<Digest>, note: Note) -> Result<Self, AddCheckpointError> {
        if proof.len() > PROOF_HASHES_MAX {
            return Err(AddCheckpointError::Form("its proof has more than 63 hashes"));
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { old_size, proof, note, checkpoint })
    }

    /// Reads a request's body.
    ///
    /// # Errors
    /// The body is not a request, or a limit is broken; the answer's status is 400.
    pub fn parse(body: &[u8]) -> Result<Self, AddCheckpointError> {
        if body.len() > ADD_CHECKPOINT_BYTES_MAX {
            return Err(AddCheckpointError::TooLong(body.len()));
        }
        let body = std::str::from_utf8(body).map_err(|_| AddCheckpointError::Form("it is not UTF-8"))?;
        let (head, note) = body.split_once("\n\n").ok_or(AddCheckpointError::Form("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|first| first.strip_prefix("old "))
            .and_then(line::decimal)
            .ok_or(AddCheckpointError::Form("it does not begin with the old size"))?;
        let proof = parse_proof(lines).ok_or(AddCheckpointError::Form("its proof is not up to 63 hashes"))?;
        Self::new(old_size, proof, Note::parse(note.as_bytes())?)
    }

    /// Writes the request's body.
    pub fn format(&self) -> String {
        format!("old {}\n{}\n{}", self.old_size, format_proof(&self.proof), self.note.format())
    }

    /// The size that the proof starts from.
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// What the checkpoint says. Nobody vouches for it yet; its origin tells which log's keys to judge by.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Judges the request as a witness that trusts `logs` for its origin and has cosigned `latest` last, in the order
    /// of the specification. The caller stores the result as the new latest, atomically with having read `latest`, and
    /// only then cosigns it.
    ///
    /// # Errors
    /// The checkpoint is not to be cosigned, and with what status to answer.
    pub fn judge<'k>(
        &self,
        logs: impl IntoIterator<Item = &'k VerifierKey>,
        latest: Option<&Checkpoint>,
    ) -> Result<SignedCheckpoint, Refusal> {
        let signed = SignedCheckpoint::verify(self.note.clone(), logs).map_err(|error| match error {
            CheckpointError::OtherOrigin { origin } => Refusal::UnknownOrigin(origin),
            CheckpointError::Verify(error) => Refusal::NotSigned(error),
            other => Refusal::Malformed(other.into()),
        })?;
        let new = signed.checkpoint();
        if self.old_size > new.size {
            return Err(Refusal::OldAboveNew { old: self.old_size, new: new.size });
        }
        let latest_size = latest.map_or(0, |latest| latest.size);
        if self.old_size != latest_size {
            return Err(Refusal::OtherOldSize(latest_size));
        }
        if new.size == 0 && new.root != EMPTY_ROOT {
            return Err(Refusal::EmptyRoot);
        }
        match latest.filter(|latest| latest.size > 0) {
            None if self.proof.is_empty() => {}
            None => return Err(Refusal::ProofFromNothing(self.proof.len())),
            Some(latest) => verify_consistency(latest.size, &latest.root, new.size, &new.root, &self.proof)
                .map_err(Refusal::Inconsistent)?,
        }
        Ok(signed)
    }
}

/// Reads the body of an answer of status 200: signature lines, of this witness's keys and others.
/// [`SignedCheckpoint::add_cosignature`] verifies them.
///
/// # Errors
/// The body is not one to 64 signature lines.
pub fn parse_cosignatures(body: &[u8]) -> Result<Vec<NoteSignature>, AddCheckpointError> {
    if body.len() > NOTE_BYTES_MAX {
        return Err(AddCheckpointError::TooLong(body.len()));
    }
    let body = std::str::from_utf8(body).map_err(|_| AddCheckpointError::Form("it is not UTF-8"))?;
    Ok(parse_lines(body)?)
}

/// Writes the body of an answer of status 200.
pub fn format_cosignatures(cosignatures: &[NoteSignature]) -> String {
    cosignatures.iter().map(|line| line.format() + "\n").collect()
}

/// Reads the body of an answer of status 409: the size that the witness cosigned last. None when it is something else,
/// as older witnesses answer a checkpoint of the same size and another root.
pub fn parse_latest_size(body: &[u8]) -> Option<u64> {
    line::decimal(std::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}

/// Writes the body of an answer of status 409; its content type is [`SIZE_CONTENT_TYPE`].
pub fn format_latest_size(size: u64) -> String {
    format!("{size}\n")
}

/// Reads the hashes of a proof, a line each; at most 63.
pub(crate) fn parse_proof<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Digest>> {
    let mut proof = Vec::new();
    for text in lines {
        if proof.len() == PROOF_HASHES_MAX {
            return None;
        }
        proof.push(line::hash(text)?);
    }
    Some(proof)
}

/// Writes the hashes of a proof, a line each.
pub(crate) fn format_proof(proof: &[Digest]) -> String {
    proof.iter().map(|hash| line::hash_text(hash) + "\n").collect()
}
