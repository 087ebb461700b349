//! A root holder puts a signature under a draft.

use crate::trust::{follows, signers};
use crate::{SignError, Terms, Trust, TrustError};
use bridge_suite::{Digest, sha256};
use bridge_tlog::{Note, NoteSigner, VerifierKey};

/// A version on its way to be signed: its text, what it says, and who has signed it so far.
#[derive(Debug, Clone)]
pub struct Ballot {
    text: String,
    terms: Terms,
    note: Option<Note>,
    roots: Vec<VerifierKey>,
    threshold: u32,
    signed: Vec<String>,
}

impl Ballot {
    /// Reads a draft, signed or not, and judges everything but the number of signatures: its rules, that it follows
    /// the version before (none for version 1), and the signatures that are there.
    ///
    /// # Errors
    /// [`TrustError`] as a reader would meet it.
    pub fn open(file: &[u8], previous: Option<&Trust>) -> Result<Ballot, TrustError> {
        let note = if is_signed(file) {
            Some(Note::parse(file).map_err(|error| TrustError::Note(error.to_string()))?)
        } else {
            None
        };
        let text = match &note {
            Some(note) => note.text().to_owned(),
            None => String::from_utf8(file.to_vec())
                .map_err(|_| TrustError::Note("it is not UTF-8".to_owned()))?,
        };
        let terms = Terms::parse(&text).map_err(TrustError::Problems)?;
        match previous {
            Some(previous) => follows(&terms, sha256(&[text.as_bytes()]), previous)?,
            None if terms.version() > 1 => {
                return Err(TrustError::Skipped { found: terms.version(), newest: 0 });
            }
            None => {}
        }
        let judge = previous.map_or(&terms, Trust::terms);
        let (roots, threshold) = (judge.roots().to_vec(), judge.threshold());
        let signed = match &note {
            Some(note) => signers(note, &roots)?.iter().map(|key| key.name().to_owned()).collect(),
            None => Vec::new(),
        };
        Ok(Ballot { text, terms, note, roots, threshold, signed })
    }

    /// What the version says.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// SHA-256 of the text: the version's digest, whoever signs it.
    pub fn digest(&self) -> Digest {
        sha256(&[self.text.as_bytes()])
    }

    /// The root keys whose signatures count: those of the version before, for version 1 its own.
    pub fn roots(&self) -> &[VerifierKey] {
        &self.roots
    }

    /// How many of them must sign.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The names of those that signed.
    pub fn signed(&self) -> &[String] {
        &self.signed
    }

    /// Whether enough of them signed.
    pub fn is_complete(&self) -> bool {
        u32::try_from(self.signed.len()).is_ok_and(|found| found >= self.threshold)
    }

    /// Adds one root's signature and returns the whole signed note.
    ///
    /// # Errors
    /// [`SignError`]; a key that does not count, or has signed, is refused.
    pub fn sign(&mut self, signer: &NoteSigner) -> Result<String, SignError> {
        let key = signer.verifier();
        if !self.roots.contains(key) {
            return Err(SignError::NotARoot {
                name: key.to_string(),
                version: self.terms.version().max(2) - 1,
            });
        }
        if self.signed.iter().any(|name| name == key.name()) {
            return Err(SignError::SignedAlready(key.name().to_owned()));
        }
        let refused = |error: &dyn std::fmt::Display| SignError::Trust(TrustError::Note(error.to_string()));
        let signature = signer.sign(&self.text).map_err(|error| refused(&error))?;
        let note = match self.note.take() {
            Some(mut note) => note.add(signature).map(|()| note),
            None => Note::new(&self.text, vec![signature]),
        };
        let note = note.map_err(|error| refused(&error))?;
        let file = note.format();
        self.note = Some(note);
        self.signed.push(key.name().to_owned());
        Ok(file)
    }
}

/// Whether a file has signature lines: its last line begins as they do, which no line of TOML can.
pub fn is_signed(file: &[u8]) -> bool {
    let body = file.strip_suffix(b"\n").unwrap_or(file);
    let last = body.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    last.starts_with("— ".as_bytes())
}
