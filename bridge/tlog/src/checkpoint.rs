//! Checkpoints: the signed head of a tree (C2SP tlog-checkpoint).
//!
//! ```text
//! <origin>
//! <size, decimal>
//! <base64 of the root>
//! <extension lines, not empty; none in checkpoints that are made here>
//! ```

use bridge_suite::Digest;

use crate::key::{NoteSigner, SignError, VerifierKey};
use crate::line;
use crate::note::{Note, NoteError, NoteSignature, VerifyError};
use crate::tree::TREE_SIZE_MAX;

/// A note that is not a log's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not a checkpoint's.
    #[error("the text is not a checkpoint, {0}: it must be origin, size and root, a line each")]
    Form(&'static str),
    /// The size is above the limit.
    #[error("a checkpoint of {0} entries is above the limit of {TREE_SIZE_MAX}: refuse it")]
    TooLarge(u64),
    /// The key is not of the log that the checkpoint names.
    #[error(
        "the checkpoint is of {origin:?}, whose key is not among the known ones: check the origin and the trust file"
    )]
    OtherOrigin {
        /// The origin in the checkpoint.
        origin: String,
    },
    /// The note is not sound.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A signature does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The checkpoint cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The head of a tree: how many entries it has and their root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name; one line, not empty.
    pub origin: String,
    /// Entries in the tree.
    pub size: u64,
    /// Root over all entries.
    pub root: Digest,
}

impl Checkpoint {
    /// Reads the text of a checkpoint. Extension lines are checked for their form and left out: they stay in the text
    /// of the note, which is what is signed.
    ///
    /// # Errors
    /// The text is not a checkpoint's, or the size is above [`TREE_SIZE_MAX`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines =
            text.strip_suffix('\n').ok_or(CheckpointError::Form("its last line is not ended"))?.split('\n');
        let origin = lines
            .next()
            .filter(|origin| is_origin(origin))
            .ok_or(CheckpointError::Form("it has no origin"))?;
        let size = lines.next().and_then(line::decimal).ok_or(CheckpointError::Form("it has no size"))?;
        if size > TREE_SIZE_MAX {
            return Err(CheckpointError::TooLarge(size));
        }
        let root = lines.next().and_then(line::hash).ok_or(CheckpointError::Form("it has no root"))?;
        if lines.any(str::is_empty) {
            return Err(CheckpointError::Form("an extension line is empty"));
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The text of the checkpoint, without extension lines.
    pub fn format(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, line::hash_text(&self.root))
    }
}

/// A checkpoint under its log's valid signature. Only signing and verifying make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs a checkpoint as its log. The caller never signs two that are not consistent.
    ///
    /// # Errors
    /// The signer's name is not the origin, or the fields are not those of a checkpoint.
    pub fn sign(checkpoint: Checkpoint, signer: &NoteSigner) -> Result<Self, CheckpointError> {
        let text = checkpoint.format();
        // What a reader will make of the text, and not only what was put in.
        if Checkpoint::parse(&text)? != checkpoint {
            return Err(CheckpointError::Form("its origin is not one line"));
        }
        if signer.verifier().name() != checkpoint.origin {
            return Err(CheckpointError::OtherOrigin { origin: checkpoint.origin });
        }
        let note = Note::new(&text, vec![signer.sign(&text)?])?;
        Ok(Self { checkpoint, note })
    }

    /// Verifies a note as a checkpoint of one of these logs: the key's name is the origin (tlog-policy, "Defining a
    /// log"). Cosignatures are not looked at; [`crate::Policy::evaluate`] does that.
    ///
    /// # Errors
    /// The text is not a checkpoint's, none of the keys is of its origin, or the signature does not hold.
    pub fn verify<'k>(
        note: Note,
        logs: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let keys: Vec<&VerifierKey> =
            logs.into_iter().filter(|key| key.name() == checkpoint.origin).collect();
        if keys.is_empty() {
            return Err(CheckpointError::OtherOrigin { origin: checkpoint.origin });
        }
        note.verify(keys)?;
        Ok(Self { checkpoint, note })
    }

    /// The head of the tree.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with the log's signature, cosignatures and whatever else stands under it.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The same as [`SignedCheckpoint::note`], taken out.
    pub fn into_note(self) -> Note {
        self.note
    }

    /// Takes a witness's cosignature out of its answer, verifies it and puts it under the checkpoint; gives its time,
    /// in seconds since 1970. Lines of other keys are ignored (tlog-witness, `add-checkpoint`).
    ///
    /// # Errors
    /// The witness's cosignature is not in the answer or does not hold, or the note would break a limit. The
    /// checkpoint is unchanged.
    pub fn add_cosignature(
        &mut self,
        answer: &[NoteSignature],
        witness: &VerifierKey,
    ) -> Result<u64, CheckpointError> {
        let mut latest: Option<(u64, &NoteSignature)> = None;
        for line in answer.iter().filter(|line| witness.made(line)) {
            let invalid = || VerifyError::Invalid { name: witness.name().to_owned(), id: witness.id() };
            let time = witness.check(self.note.text(), line).flatten().ok_or_else(invalid)?;
            if latest.is_none_or(|(known, _)| time > known) {
                latest = Some((time, line));
            }
        }
        let (time, line) = latest.ok_or(VerifyError::NoneKnown)?;
        self.note.add(line.clone())?;
        Ok(time)
    }
}

fn is_origin(origin: &str) -> bool {
    !origin.is_empty() && !origin.bytes().any(|byte| byte < 0x20)
}
