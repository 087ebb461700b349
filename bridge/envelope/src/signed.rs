//! What every signed thing has in common.
//!
//! ```text
//! magic             4 bytes
//! body length       u32be, at most the form's limit
//! body              Avro, fixed schema
//! signature count   u8, 1 to 4
//! signatures        each: algorithm u16be | key id 32 bytes | length u16be | bytes
//! trailer           a batch's section blocks and ciphertexts; nothing elsewhere
//!
//! digest    = SHA-256(label || body)
//! signature over label || digest
//! ```

use bridge_event::Department;
use bridge_suite::{Algorithm, Digest, KeyId, PublicKey, Role, SigningKey, sha256};

use crate::wire::Reader;
use crate::{Finding, ParseError, SealError};

/// Most signatures on one thing: two algorithms, each by a department and an operator.
pub const SIGNATURES_MAX: usize = 4;

/// One kind of signed thing.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) magic: [u8; 4],
    pub(crate) label: &'static [u8],
    pub(crate) body_bytes_max: usize,
    pub(crate) name: &'static str,
}

const KIB: usize = 1024;

pub(crate) const BATCH: Form =
    Form { magic: *b"GBB1", label: b"govbridge/v1/batch\0", body_bytes_max: 64 * KIB, name: "a batch" };
pub(crate) const FENCE: Form =
    Form { magic: *b"GBF1", label: b"govbridge/v1/fence\0", body_bytes_max: 4 * KIB, name: "a fence" };
pub(crate) const BEACON: Form =
    Form { magic: *b"GBN1", label: b"govbridge/v1/beacon\0", body_bytes_max: 64 * KIB, name: "a beacon" };
// A record stands whole in a log entry of at most 65,535 bytes: 60 KiB of body leave 4,095 bytes for the entry's type and length (4),
// magic and body length (8) and at most four signatures of 100 bytes.
pub(crate) const KEY_RECORD: Form = Form {
    magic: *b"GBK1",
    label: b"govbridge/v1/key-record\0",
    body_bytes_max: 60 * KIB,
    name: "a key record",
};
pub(crate) const REWRAP: Form =
    Form { magic: *b"GBR1", label: b"govbridge/v1/rewrap\0", body_bytes_max: 60 * KIB, name: "a rewrap" };
pub(crate) const CONTRACT: Form = Form {
    magic: *b"GBC1",
    label: b"govbridge/v1/contract\0",
    body_bytes_max: 60 * KIB,
    name: "a contract record",
};
pub(crate) const INCARNATION: Form = Form {
    magic: *b"GBI1",
    label: b"govbridge/v1/incarnation\0",
    body_bytes_max: 8 * KIB,
    name: "an incarnation record",
};

/// One signature of a signature block, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The id of the key that is said to have signed.
    pub key: KeyId,
    /// The signature's bytes.
    pub bytes: Vec<u8>,
}

/// A frame taken apart: nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) digest: Digest,
    pub(crate) signatures: Vec<Signature>,
    pub(crate) trailer: &'a [u8],
}

impl Form {
    pub(crate) fn digest(&self, body: &[u8]) -> Digest {
        sha256(&[self.label, body])
    }

    fn message(&self, digest: &Digest) -> Vec<u8> {
        [self.label, digest.as_bytes()].concat()
    }

    /// Magic, body and signature block; the trailer is the caller's to append.
    pub(crate) fn sign(&self, body: &[u8], signers: &[&SigningKey]) -> Result<(Vec<u8>, Digest), SealError> {
        if body.len() > self.body_bytes_max {
            return Err(SealError::limit(self.name, body.len(), self.body_bytes_max));
        }
        let count =
            u8::try_from(signers.len()).ok().filter(|n| (1..=SIGNATURES_MAX).contains(&usize::from(*n)));
        let count = count.ok_or(SealError::Signers { found: signers.len() })?;
        let length = u32::try_from(body.len())
            .map_err(|_| SealError::limit(self.name, body.len(), self.body_bytes_max))?;
        let digest = self.digest(body);
        let message = self.message(&digest);
        let mut frame = Vec::with_capacity(9 + body.len() + signers.len() * 100);
        frame.extend_from_slice(&self.magic);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(body);
        frame.push(count);
        for signer in signers {
            let signature = signer.sign(&message);
            frame.extend_from_slice(&signer.public().algorithm().number().to_be_bytes());
            frame.extend_from_slice(signer.id().as_bytes());
            frame.extend_from_slice(&u16::try_from(signature.len()).unwrap_or(u16::MAX).to_be_bytes());
            frame.extend_from_slice(&signature);
        }
        Ok((frame, digest))
    }

    /// Takes a frame apart; the trailer is what follows the signature block.
    pub(crate) fn take_apart<'a>(&self, bytes: &'a [u8]) -> Result<Parts<'a>, ParseError> {
        let Some(rest) = bytes.strip_prefix(&self.magic) else {
            return Err(ParseError::Magic { expected: self.name });
        };
        let mut r = Reader::new(rest);
        let length = r.u32be("body length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.body_bytes_max {
            return Err(ParseError::limit("body length", length, self.body_bytes_max));
        }
        let body = r.take("body", length)?;
        let signatures = read_signatures(&mut r)?;
        let trailer = rest.get(r.at()..).unwrap_or_default();
        Ok(Parts { body, digest: self.digest(body), signatures, trailer })
    }

    /// Reads a form without a trailer, nothing verified.
    pub(crate) fn read<T>(
        &self,
        bytes: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Result<Clear<T>, ParseError> {
        let Parts { body, digest, signatures, trailer } = self.take_apart(bytes)?;
        if !trailer.is_empty() {
            return Err(ParseError::Trailing { bytes: trailer.len() });
        }
        Ok(Clear { content: decode(body)?, digest, signatures })
    }

    /// Verifies a form without a trailer: its shape, its signatures by `department`, and what `check` says.
    pub(crate) fn verify<T>(
        &self,
        bytes: &[u8],
        signers: &dyn Signers,
        department: &Department,
        decode: impl FnOnce(&[u8]) -> Result<T, ParseError>,
        check: impl FnOnce(&T) -> Vec<Finding>,
    ) -> Verdict<Attested<T>> {
        let clear = match self.read(bytes, decode) {
            Ok(clear) => clear,
            Err(error) => return Verdict::refused(vec![error.into()]),
        };
        let mut findings = check(&clear.content);
        let (unsigned, keys) =
            self.check_signatures(&clear.digest, &clear.signatures, department, signers, false);
        findings.extend(unsigned);
        Verdict::new(findings, || Attested {
            content: clear.content,
            digest: clear.digest,
            frame: bytes.to_vec(),
            signers: keys,
        })
    }

    /// Verifies every signature, each required algorithm, and an operator's signature where one is needed.
    pub(crate) fn check_signatures(
        &self,
        digest: &Digest,
        signatures: &[Signature],
        department: &Department,
        signers: &dyn Signers,
        operator: bool,
    ) -> (Vec<Finding>, Vec<KeyId>) {
        let message = self.message(digest);
        let mut findings = Vec::new();
        let mut found: Vec<&PublicKey> = Vec::new();
        for signature in signatures {
            let key = signature.key;
            let Some(public) = signers.signing_key(department, &key) else {
                findings.push(Finding::UnknownKey { department: department.clone(), key });
                continue;
            };
            let fits = match public.role() {
                Role::Signing => true,
                Role::Operator => operator,
                _ => false,
            };
            if public.id() != key || public.algorithm() != signature.algorithm || !fits {
                findings.push(Finding::KeyRole { key, role: public.role() });
            } else if public.verify(&message, &signature.bytes).is_err() {
                findings.push(Finding::Signature { key });
            } else {
                found.push(public);
            }
        }
        if findings.is_empty() {
            // A signature that is wrong is missing too; it is said once.
            findings.extend(missing(&found, Role::Signing, signers.required()));
            if operator {
                findings.extend(missing(&found, Role::Operator, signers.required()));
            }
        }
        (findings, found.iter().map(|key| key.id()).collect())
    }
}

/// The algorithms that no key of the role signed with. Without any required algorithm one signature must still be
/// there.
fn missing(found: &[&PublicKey], role: Role, required: &[Algorithm]) -> Vec<Finding> {
    let has =
        |algorithm: &Algorithm| found.iter().any(|key| key.role() == role && key.algorithm() == *algorithm);
    let required = if required.is_empty() { &[Algorithm::Ed25519] } else { required };
    let missing = required.iter().filter(|algorithm| !has(algorithm));
    missing.map(|algorithm| Finding::SignatureMissing { role, algorithm: algorithm.name() }).collect()
}

fn read_signatures(r: &mut Reader<'_>) -> Result<Vec<Signature>, ParseError> {
    let count = usize::from(r.byte("signature count")?);
    if !(1..=SIGNATURES_MAX).contains(&count) {
        return Err(ParseError::SignatureBlock { why: "it holds 1 to 4 signatures" });
    }
    let mut signatures: Vec<Signature> = Vec::with_capacity(count);
    for _ in 0..count {
        let algorithm = Algorithm::from_number(r.u16be("signature algorithm")?)?;
        let key = KeyId(r.digest("signature key id")?);
        let length = usize::from(r.u16be("signature length")?);
        if length != algorithm.signature_bytes() {
            return Err(ParseError::SignatureBlock {
                why: "a signature is not as long as its algorithm's are",
            });
        }
        let bytes = r.take("signature", length)?.to_vec();
        if signatures.iter().any(|other| other.key == key) {
            return Err(ParseError::SignatureBlock { why: "one key signs once" });
        }
        signatures.push(Signature { algorithm, key, bytes });
    }
    Ok(signatures)
}

/// A frame's clear content. Nothing about it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clear<T> {
    /// What it says.
    pub content: T,
    /// `SHA-256(label || body)`.
    pub digest: Digest,
    /// The signatures, not verified.
    pub signatures: Vec<Signature>,
}

/// Who may sign for a department. The trust file answers.
pub trait Signers {
    /// The department's signing or operator key with this id, `None` when the trust file does not name it.
    fn signing_key(&self, department: &Department, id: &KeyId) -> Option<&PublicKey>;

    /// The algorithms that must all have signed.
    fn required(&self) -> &[Algorithm];
}

/// Something that this process signed, with the bytes that carry it.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    content: T,
    digest: Digest,
    frame: Vec<u8>,
}

impl<T> Signed<T> {
    pub(crate) fn new(
        form: &Form,
        content: T,
        body: &[u8],
        signers: &[&SigningKey],
    ) -> Result<Self, SealError> {
        let (frame, digest) = form.sign(body, signers)?;
        Ok(Signed { content, digest, frame })
    }

    /// What was signed.
    pub fn content(&self) -> &T {
        &self.content
    }

    /// `SHA-256(label || body)`.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The frame's bytes.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The frame's bytes, owned.
    pub fn into_frame(self) -> Vec<u8> {
        self.frame
    }
}

/// Something whose signatures were verified; only verification makes one.
#[derive(Clone, Debug)]
pub struct Attested<T> {
    content: T,
    digest: Digest,
    frame: Vec<u8>,
    signers: Vec<KeyId>,
}

impl<T> Attested<T> {
    /// What was signed.
    pub fn content(&self) -> &T {
        &self.content
    }

    /// `SHA-256(label || body)`.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The frame's bytes, as they were received.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The keys that signed it. Whether each was valid at its log index is the trust file's to say.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// The content alone.
    pub fn into_content(self) -> T {
        self.content
    }
}

/// The result of a verification: every finding, and the thing itself when there is none.
#[derive(Debug)]
#[must_use = "a verdict with findings is a refusal"]
pub struct Verdict<T = crate::Verified> {
    findings: Vec<Finding>,
    verified: Option<T>,
}

impl<T> Verdict<T> {
    pub(crate) fn refused(findings: Vec<Finding>) -> Self {
        Verdict { findings, verified: None }
    }

    pub(crate) fn new(findings: Vec<Finding>, verified: impl FnOnce() -> T) -> Self {
        let verified = findings.is_empty().then(verified);
        Verdict { findings, verified }
    }

    /// Everything that was found; empty when all is well.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The verified thing.
    ///
    /// # Errors
    /// All findings, at least one.
    pub fn into_verified(self) -> Result<T, Vec<Finding>> {
        match self.verified {
            Some(verified) if self.findings.is_empty() => Ok(verified),
            _ => Err(self.findings),
        }
    }
}
