//! Signed notes: a text and the signatures under it (C2SP signed-note).
//!
//! ```text
//! <text, its last line ended>
//! <empty line>
//! — <key name> <base64(key id[4] || signature)>
//! ```

use std::collections::BTreeMap;

use crate::key::{NoteKeyId, VerifierKey, check_name};
use crate::line;

/// Longest note, in bytes. 64 signatures of 72 bytes under names of 255 are 64 * 362 = 23,168; the rest is text.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Most signatures of a note (signed-note wants at least 16 to be accepted).
pub const SIGNATURES_MAX: usize = 64;

const SIGNATURE_START: &str = "— ";

/// Bytes that are not a signed note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is too long.
    #[error("a note of {0} bytes is above the limit of {NOTE_BYTES_MAX}: refuse it")]
    TooLong(usize),
    /// The note has too many signatures.
    #[error(
        "a note with {0} signatures is above the limit of {SIGNATURES_MAX}: drop those that nobody asked for"
    )]
    TooManySignatures(usize),
    /// The note is not UTF-8, or has control characters.
    #[error("the note is not plain text: it must be UTF-8 without control characters other than line ends")]
    NotText,
    /// The text does not end with a line end.
    #[error("the note's text does not end with a line end: it was cut off, fetch it again")]
    Unended,
    /// No empty line stands between a text and signatures.
    #[error("the note has no signatures: an empty line and at least one signature line must follow its text")]
    Unsigned,
    /// A line below the text is not a signature.
    #[error("{0:?} is not a signature line: use an em dash, the key's name and Base64")]
    SignatureLine(String),
}

/// A note whose signatures do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A known key's signature does not fit the text.
    #[error(
        "the signature of {name} ({id}) does not fit the text: the note was altered, keep it and refuse it"
    )]
    Invalid {
        /// Name of the key.
        name: String,
        /// Its id.
        id: NoteKeyId,
    },
    /// No signature is of a known key.
    #[error("no signature is of a known key: check which keys are trusted here and who signed the note")]
    NoneKnown,
    /// Two of the known keys have the same name and id.
    #[error("two of the trusted keys are called {name} ({id}): name each key once")]
    Ambiguous {
        /// Name of the keys.
        name: String,
        /// Their id.
        id: NoteKeyId,
    },
}

/// One signature line; whether it holds is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: NoteKeyId,
    payload: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn new(key: &VerifierKey, payload: Vec<u8>) -> Self {
        Self { name: key.name().to_owned(), id: key.id(), payload }
    }

    /// Reads a signature line, without its line end.
    ///
    /// # Errors
    /// The line is not a signature line.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let (name, signature) = text.strip_prefix(SIGNATURE_START)?.split_once(' ')?;
            check_name(name)?;
            let bytes = line::base64(signature)?;
            let (id, payload) = bytes.split_first_chunk::<4>()?;
            let some = !payload.is_empty();
            some.then(|| Self { name: name.to_owned(), id: NoteKeyId(*id), payload: payload.to_vec() })
        };
        read().ok_or_else(|| NoteError::SignatureLine(line::excerpt(text)))
    }

    /// The signature line, without its line end.
    pub fn format(&self) -> String {
        let mut bytes = self.id.0.to_vec();
        bytes.extend_from_slice(&self.payload);
        format!("{SIGNATURE_START}{} {}", self.name, line::base64_text(&bytes))
    }

    /// Name of the key that is said to have signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of that key.
    pub fn id(&self) -> NoteKeyId {
        self.id
    }

    /// What follows the id: 64 bytes of an Ed25519 signature, 72 of a cosignature.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// A known key that signed a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'k> {
    /// The key.
    pub key: &'k VerifierKey,
    /// When, in seconds since 1970, if the signature says so (cosignatures do). The latest, when there are several.
    pub time: Option<u64>,
}

/// A text with at least one signature line; whether any holds is not known.
///
/// Invariant: [`Note::format`] and [`Note::parse`] undo each other byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts signatures under a text.
    ///
    /// # Errors
    /// The text is not the text of a note, there is no signature, or a limit is broken.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        check_text(text)?;
        let note = Self { text: text.to_owned(), signatures };
        note.check_limits()?;
        Ok(note)
    }

    /// Reads a note.
    ///
    /// # Errors
    /// The bytes are not a note, or a limit is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        // The text may have empty lines of its own: the last one is the border.
        let border = note.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, rest) = note.split_at_checked(border + 1).ok_or(NoteError::Unsigned)?;
        check_text(text)?;
        let signatures = parse_lines(rest.strip_prefix('\n').unwrap_or(rest))?;
        let note = Self { text: text.to_owned(), signatures };
        note.check_limits()?;
        Ok(note)
    }

    /// Writes the note.
    pub fn format(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.format());
            note.push('\n');
        }
        note
    }

    /// The text, with its last line end. Nobody vouches for it before [`Note::verify`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature, in the place of an older one of the same key.
    ///
    /// # Errors
    /// A limit would be broken; the note is unchanged.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let mut signatures = self.signatures.clone();
        signatures.retain(|old| old.name != signature.name || old.id != signature.id);
        signatures.push(signature);
        *self = Self::new(&self.text, signatures)?;
        Ok(())
    }

    /// Verifies the signatures of all known keys, and names those that signed, in the order of `keys`, each once.
    /// Signatures of other keys are ignored.
    ///
    /// # Errors
    /// A known key's signature does not hold, no known key signed, or two known keys have the same name and id.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, VerifyError> {
        let mut known: BTreeMap<(&str, NoteKeyId), &VerifierKey> = BTreeMap::new();
        let mut verified = Vec::new();
        for key in keys {
            if known.insert((key.name(), key.id()), key).is_some() {
                return Err(VerifyError::Ambiguous { name: key.name().to_owned(), id: key.id() });
            }
            if let Some(time) = self.verify_key(key)? {
                verified.push(Verified { key, time });
            }
        }
        if verified.is_empty() { Err(VerifyError::NoneKnown) } else { Ok(verified) }
    }

    /// Verifies every signature of one key: nothing when there is none, else the latest time.
    fn verify_key(&self, key: &VerifierKey) -> Result<Option<Option<u64>>, VerifyError> {
        let mut latest = None;
        for signature in self.signatures.iter().filter(|signature| key.made(signature)) {
            let invalid = || VerifyError::Invalid { name: key.name().to_owned(), id: key.id() };
            latest = latest.max(Some(key.check(&self.text, signature).ok_or_else(invalid)?));
        }
        Ok(latest)
    }

    fn check_limits(&self) -> Result<(), NoteError> {
        if self.signatures.is_empty() {
            return Err(NoteError::Unsigned);
        }
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures(self.signatures.len()));
        }
        match self.format().len() {
            bytes if bytes > NOTE_BYTES_MAX => Err(NoteError::TooLong(bytes)),
            _ => Ok(()),
        }
    }
}

/// Reads signature lines, each with its line end, and nothing else.
pub(crate) fn parse_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    if lines.is_empty() {
        return Err(NoteError::Unsigned);
    }
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Unended)?;
    let count = lines.split('\n').count();
    if count > SIGNATURES_MAX {
        return Err(NoteError::TooManySignatures(count));
    }
    lines.split('\n').map(NoteSignature::parse).collect()
}

/// Refuses what cannot be the text of a note.
pub(crate) fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLong(text.len()));
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::NotText);
    }
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::Unended) }
}
