//! Signatures: Ed25519 (RFC 8032), verified strictly.
//!
//! RFC 8032 leaves room for verifiers to disagree. This one leaves none: a public key must be the canonical encoding of
//! a point that is not of small order, R must not be of small order and must equal byte for byte the one that is
//! computed (so it is canonical), and S must be below the group's order. A key or an R with a component of small
//! order beside its large one is allowed: the check without cofactor then accepts or refuses, the same way everywhere.

use std::fmt;

use ed25519_dalek::Signer;
use subtle::ConstantTimeEq;

use crate::{KeyId, Role};

/// The length of an Ed25519 signature, in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// A signature algorithm, by its number in signature blocks and key ids. 2 is reserved for SM2 with SM3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// RFC 8032, the pure variant.
    Ed25519 = 1,
}

/// An algorithm that this build does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// The number is reserved, the algorithm is not in this build.
    #[error(
        "signature algorithm {0} (SM2) is known, but not available in this build: use a build that offers it"
    )]
    NotAvailable(u16),
    /// No algorithm has this number.
    #[error(
        "signature algorithm {0} is not known: the bytes are damaged, or their sender is newer than this build"
    )]
    Unknown(u16),
}

/// Bytes that are not an acceptable public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not as long as the algorithm's keys are.
    #[error("a public key of {algorithm} has 32 bytes, not {bytes}: check that the whole key was copied")]
    Length {
        /// The algorithm's name.
        algorithm: &'static str,
        /// How many bytes there are.
        bytes: usize,
    },
    /// Not a point of the curve.
    #[error("the bytes are not a point of the curve: check that the key was copied without a mistake")]
    NotAPoint,
    /// Not the one encoding that a point has.
    #[error(
        "the public key is not encoded canonically: no honest tool writes it so; ask its owner for the key again"
    )]
    NotCanonical,
    /// A point of small order, for which anybody can sign.
    #[error(
        "the public key is a point of small order, for which anybody can sign: refuse it and ask who offers it"
    )]
    SmallOrder,
    /// Recipient keys are no signing keys.
    #[error("the role {0} does not sign: use a key of another role")]
    Role(Role),
}

/// A signature that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not as long as the algorithm's signatures are.
    #[error("an Ed25519 signature has {SIGNATURE_BYTES} bytes, not {0}: the bytes are damaged")]
    Length(usize),
    /// The public key itself is refused.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// These bytes were not signed by this key.
    #[error("the signature does not belong to this message and key: one of the three was altered")]
    Invalid,
}

impl Algorithm {
    /// The number in signature blocks and key ids.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The algorithm with this number.
    ///
    /// # Errors
    /// [`AlgorithmError::NotAvailable`] for SM2 (2), [`AlgorithmError::Unknown`] for the rest.
    pub fn from_number(number: u16) -> Result<Self, AlgorithmError> {
        match number {
            1 => Ok(Algorithm::Ed25519),
            2 => Err(AlgorithmError::NotAvailable(number)),
            _ => Err(AlgorithmError::Unknown(number)),
        }
    }

    /// The name in key files.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
        }
    }

    /// The length of a signature, in bytes.
    pub fn signature_bytes(self) -> usize {
        match self {
            Algorithm::Ed25519 => SIGNATURE_BYTES,
        }
    }
}

/// A private key that signs. Wiped when dropped; its `Debug` shows the public half.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// The key whose seed (RFC 8032, 5.1.5: the private key) is these 32 bytes.
    ///
    /// [`Role::Recipient`] does not sign: such a key has no key line and no key file.
    pub fn from_seed(role: Role, seed: [u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let public = PublicKey::from_point(role, key.verifying_key());
        SigningKey { key, public }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The id of the public half.
    pub fn id(&self) -> KeyId {
        self.public.id
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.public.role
    }

    /// Signs a message; the same message has always the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.public.role, self.public.id)
    }
}

/// A public key that verifies: its role, its algorithm and its point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    role: Role,
    key: ed25519_dalek::VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`PublicKeyError`]: a wrong length, no point, not canonical, of small order, or the role of a recipient.
    pub fn from_bytes(role: Role, algorithm: Algorithm, bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let Algorithm::Ed25519 = algorithm;
        if role == Role::Recipient {
            return Err(PublicKeyError::Role(role));
        }
        let array = <&[u8; 32]>::try_from(bytes)
            .map_err(|_| PublicKeyError::Length { algorithm: algorithm.name(), bytes: bytes.len() })?;
        Ok(PublicKey::from_point(role, ed25519_point(array)?))
    }

    fn from_point(role: Role, key: ed25519_dalek::VerifyingKey) -> Self {
        PublicKey { role, key, id: KeyId::new(role, Algorithm::Ed25519.number(), key.as_bytes()) }
    }

    /// Verifies strictly.
    ///
    /// # Errors
    /// [`SignatureError::Length`] or [`SignatureError::Invalid`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let signature =
            <&[u8; 64]>::try_from(signature).map_err(|_| SignatureError::Length(signature.len()))?;
        verify_strict(&self.key, message, signature)
    }

    /// The id of this key in its role.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The algorithm of its signatures.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519
    }

    /// The key's 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.role, self.id)
    }
}

/// Verifies an Ed25519 signature strictly, from bytes: for notes, whose keys are not of this crate's text form.
///
/// # Errors
/// [`SignatureError::Key`] when the public key itself is refused, [`SignatureError::Invalid`] otherwise.
pub fn ed25519_verify_strict(
    public: &[u8; 32],
    message: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> Result<(), SignatureError> {
    verify_strict(&ed25519_point(public)?, message, signature)
}

fn ed25519_point(bytes: &[u8; 32]) -> Result<ed25519_dalek::VerifyingKey, PublicKeyError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| PublicKeyError::NotAPoint)?;
    // The dalek crate decodes by ZIP 215, which takes y above the field's prime and a zero x with its sign set.
    if !bool::from(key.to_edwards().compress().as_bytes().ct_eq(bytes)) {
        return Err(PublicKeyError::NotCanonical);
    }
    if key.is_weak() {
        return Err(PublicKeyError::SmallOrder);
    }
    Ok(key)
}

fn verify_strict(
    key: &ed25519_dalek::VerifyingKey,
    message: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> Result<(), SignatureError> {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.verify_strict(message, &signature).map_err(|_| SignatureError::Invalid)
}
