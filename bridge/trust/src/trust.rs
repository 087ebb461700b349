//! A verified trust file: the one thing here that another room may rely on.
//!
//! ```text
//!   pinned digest --> version 1 --its roots, k of m--> version 2 --its roots, k of m--> version 3 ...
//! ```

use crate::{Log, Member, PolicyError, Problem, SigningTerm, Terms, TrustError};
use bridge_event::{Department, LogIndex, Origin};
use bridge_suite::{Algorithm, Digest, KeyId, PublicKey, RecipientPublicKey, sha256};
use bridge_tlog::{Note, Policy, VerifierKey, VerifyError};

/// What a version is verified against.
#[derive(Debug, Clone, Copy)]
pub enum Anchor<'a> {
    /// Version 1, by the digest of its signed text, as a configuration pins it.
    Pinned(Digest),
    /// Any later one, by the version before it.
    Previous(&'a Trust),
}

/// The newest version that a process has verified, as it remembers it over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Its number.
    pub version: u64,
    /// The digest of its signed text.
    pub digest: Digest,
}

/// A verified trust file. Only verification makes one.
#[derive(Debug, Clone)]
pub struct Trust {
    terms: Terms,
    text: String,
    digest: Digest,
    signers: Vec<String>,
}

impl Trust {
    /// Verifies one version: that it follows its anchor, that its rules hold, and that enough root keys signed it.
    ///
    /// Given again, the anchor's own version is accepted.
    ///
    /// # Errors
    /// [`TrustError`]; nothing of the file was taken.
    pub fn verify(note: &[u8], anchor: Anchor<'_>) -> Result<Trust, TrustError> {
        let note = Note::parse(note).map_err(|error| TrustError::Note(error.to_string()))?;
        let digest = sha256(&[note.text().as_bytes()]);
        if let Anchor::Pinned(pinned) = anchor
            && pinned != digest
        {
            return Err(TrustError::Pin { pinned, found: digest });
        }
        let terms = Terms::parse(note.text()).map_err(TrustError::Problems)?;
        match anchor {
            Anchor::Pinned(_) if terms.version != 1 => return Err(TrustError::PinnedLater(terms.version)),
            Anchor::Pinned(_) => {}
            Anchor::Previous(previous) if previous.digest == digest => return Ok(previous.clone()),
            Anchor::Previous(previous) => follows(&terms, digest, previous)?,
        }
        let judge = match anchor {
            Anchor::Pinned(_) => &terms,
            Anchor::Previous(previous) => &previous.terms,
        };
        let signers = signers(&note, &judge.roots)?;
        let found = u32::try_from(signers.len()).unwrap_or(u32::MAX);
        if found < judge.threshold {
            return Err(TrustError::TooFewSignatures { found, needed: judge.threshold });
        }
        let signers = signers.iter().map(|key| key.name().to_owned()).collect();
        Ok(Trust { text: note.text().to_owned(), terms, digest, signers })
    }

    /// Verifies all versions from the pinned one on, in order, and returns the newest.
    ///
    /// # Errors
    /// [`TrustError`] of the first version that fails; [`TrustError::Older`] when the newest is below what is
    /// remembered, and [`TrustError::Conflict`] when it is that version with another text.
    pub fn walk<N: AsRef<[u8]>>(
        pinned: Digest,
        notes: &[N],
        remembered: Option<Remembered>,
    ) -> Result<Trust, TrustError> {
        let Some((first, later)) = notes.split_first() else {
            return Err(TrustError::Note("no version was given".to_owned()));
        };
        let mut trust = Trust::verify(first.as_ref(), Anchor::Pinned(pinned))?;
        trust.agrees(remembered)?;
        for note in later {
            trust = Trust::verify(note.as_ref(), Anchor::Previous(&trust))?;
            trust.agrees(remembered)?;
        }
        match remembered {
            Some(remembered) if trust.terms.version < remembered.version => {
                Err(TrustError::Older { found: trust.terms.version, remembered: remembered.version })
            }
            _ => Ok(trust),
        }
    }

    fn agrees(&self, remembered: Option<Remembered>) -> Result<(), TrustError> {
        match remembered {
            Some(remembered)
                if remembered.version == self.terms.version && remembered.digest != self.digest =>
            {
                Err(TrustError::Conflict {
                    version: remembered.version,
                    known: remembered.digest,
                    found: self.digest,
                })
            }
            _ => Ok(()),
        }
    }

    /// What to remember of this version over a restart.
    pub fn remembered(&self) -> Remembered {
        Remembered { version: self.terms.version, digest: self.digest }
    }

    /// What the file says.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The signed text, without signatures.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the signed text: what configurations pin, the next version names, and logs hold.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The version, from 1.
    pub fn version(&self) -> u64 {
        self.terms.version
    }

    /// The names of the root keys whose signatures counted.
    pub fn signers(&self) -> &[String] {
        &self.signers
    }

    /// A department's signing key for a log, with the entries for which it is valid.
    pub fn signing_key(&self, department: &Department, origin: &Origin, id: &KeyId) -> Option<&SigningTerm> {
        let mut terms = self.member(department)?.signing.iter();
        terms.find(|term| term.origin == *origin && term.key.id() == *id)
    }

    /// Whether this key of this department may have signed the entry at `index` of this log.
    pub fn signing_key_valid_at(
        &self,
        department: &Department,
        id: &KeyId,
        origin: &Origin,
        index: LogIndex,
    ) -> bool {
        self.signing_key(department, origin, id).is_some_and(|term| term.valid.covers(index))
    }

    /// The key to wrap secrets for: a department's newest, the last in the file.
    pub fn recipient_key(&self, department: &Department) -> Option<&RecipientPublicKey> {
        self.recipient_keys(department).last()
    }

    /// All recipient keys of a department, the oldest first.
    pub fn recipient_keys(&self, department: &Department) -> &[RecipientPublicKey] {
        self.member(department).map(|member| member.recipients.as_slice()).unwrap_or_default()
    }

    /// The keys of a department's operators.
    pub fn operators(&self, department: &Department) -> &[PublicKey] {
        self.member(department).map(|member| member.operators.as_slice()).unwrap_or_default()
    }

    /// An operator's key of a department, by its id.
    pub fn operator(&self, department: &Department, id: &KeyId) -> Option<&PublicKey> {
        self.operators(department).iter().find(|key| key.id() == *id)
    }

    /// The log of an origin.
    pub fn log(&self, origin: &Origin) -> Option<&Log> {
        self.terms.log(origin)
    }

    /// The policy of a log's checkpoints: the log's key, and the quorum of the witnesses that count for it (checking
    /// ones that the owner does not run).
    ///
    /// # Errors
    /// [`PolicyError`] for a log that is not in the file, and for a file without `[policy]`.
    pub fn policy_for(&self, origin: &Origin) -> Result<Policy, PolicyError> {
        let log = self.log(origin).ok_or_else(|| PolicyError::UnknownLog(origin.clone()))?;
        let votes = self.terms.policy.ok_or_else(|| PolicyError::NoPolicy(origin.clone()))?;
        let mut text = format!("log {}\n", log.key);
        let mut members = String::new();
        for (number, witness) in self.terms.counted(log).enumerate() {
            text.push_str(&format!("witness w{number} {}\n", witness.key));
            members.push_str(&format!(" w{number}"));
        }
        text.push_str(&format!("group counted {}{members}\nquorum counted\n", votes.quorum));
        Policy::parse(text.as_bytes()).map_err(|error| PolicyError::Unusable(error.to_string()))
    }

    fn member(&self, department: &Department) -> Option<&Member> {
        self.terms.department(department)
    }
}

impl bridge_envelope::Signers for Trust {
    /// A signing or operator key; which of them a frame may carry, the envelope's rules say by the key's role.
    fn signing_key(&self, department: &Department, id: &KeyId) -> Option<&PublicKey> {
        let member = self.member(department)?;
        let mut keys = member.signing.iter().map(|term| &term.key).chain(&member.operators);
        keys.find(|key| key.id() == *id)
    }

    fn required(&self) -> &[Algorithm] {
        &[Algorithm::Ed25519]
    }
}

/// The rules between one version and the next.
pub(crate) fn follows(terms: &Terms, digest: Digest, previous: &Trust) -> Result<(), TrustError> {
    let (found, newest) = (terms.version, previous.terms.version);
    if found < newest {
        return Err(TrustError::Older { found, remembered: newest });
    }
    if found == newest {
        return Err(TrustError::Conflict { version: found, known: previous.digest, found: digest });
    }
    if found - newest > 1 {
        return Err(TrustError::Skipped { found, newest });
    }
    let broken = |what: String| Err(TrustError::Problems(vec![Problem::Succession(what)]));
    if terms.previous != Some(previous.digest) {
        return broken(format!("`previous` is not {}, the digest of version {newest}", previous.digest));
    }
    if terms.domain != previous.terms.domain {
        return broken(format!(
            "the domain is {:?}, and that of version {newest} {:?}",
            terms.domain, previous.terms.domain
        ));
    }
    Ok(())
}

/// The root keys that signed a note, each once.
pub(crate) fn signers<'a>(note: &Note, roots: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, TrustError> {
    match note.verify(roots) {
        Ok(verified) => Ok(verified.into_iter().map(|signer| signer.key).collect()),
        Err(VerifyError::NoneKnown) => Ok(Vec::new()),
        Err(VerifyError::Invalid { name, .. } | VerifyError::Ambiguous { name, .. }) => {
            Err(TrustError::BadSignature(name))
        }
    }
}
