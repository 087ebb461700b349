//! The door: a suite and its formulas, each one short function.

use crate::international;
use crate::recipient;
use crate::{Digest, Hasher, RecipientKey, RecipientPublicKey, Salts, Secret, WrapError, Wrapped};

/// Bytes that encryption appends: the whole tag of GCM.
pub const TAG_BYTES: usize = 16;

/// The longest plaintext that one key may encrypt: GCM counts 16-byte blocks in 32 bits, two of them are its own
/// (NIST SP 800-38D, 5.2.1.1): (2^32 - 2) * 16.
pub const PLAINTEXT_BYTES_MAX: u64 = ((1 << 32) - 2) * 16;

/// The algorithms of a stream. They stand in its contract and header; nothing is negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// SHA-256, HKDF-SHA256, AES-256-GCM, X25519, Ed25519.
    International,
}

/// A suite that this build does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    /// The number is known, its algorithms are not in this build.
    #[error(
        "suite {0} (national: SM2, SM3, SM4) is known, but not available in this build: use a build that offers it"
    )]
    NotAvailable(u16),
    /// No suite has this number.
    #[error("suite {0} is not known: the bytes are damaged, or their sender is newer than this build")]
    Unknown(u16),
    /// No suite has this name.
    #[error("suite name {0:?} is not known: use \"international\"")]
    UnknownName(String),
}

/// Nothing was encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// More bytes than one key may encrypt.
    #[error(
        "{bytes} bytes are more than one key may encrypt ({PLAINTEXT_BYTES_MAX}): make the batch smaller"
    )]
    TooLong {
        /// The plaintext's length.
        bytes: u64,
    },
}

/// What did not open. No error says more, so that none can be used as an oracle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short to hold a tag.
    #[error(
        "{bytes} bytes are too short for a ciphertext, whose tag alone has {TAG_BYTES}: the bytes are cut off"
    )]
    TooShort {
        /// The ciphertext's length.
        bytes: usize,
    },
    /// The tag does not match.
    #[error(
        "the ciphertext does not match its key and associated data: it was altered, or belongs to another key"
    )]
    NotAuthentic,
    /// The encapsulated key gives an all-zero shared secret (RFC 9180, 7.1.4).
    #[error(
        "the encapsulated key is a point of small order: whoever wrapped this secret did not follow RFC 9180"
    )]
    WeakEncapsulation,
}

impl Suite {
    /// The number of the suite in headers, contexts and entries.
    pub fn number(self) -> u16 {
        match self {
            Suite::International => 1,
        }
    }

    /// The suite with this number.
    ///
    /// # Errors
    /// [`SuiteError::NotAvailable`] for the national suite (2), [`SuiteError::Unknown`] for the rest.
    pub fn from_number(number: u16) -> Result<Self, SuiteError> {
        match number {
            1 => Ok(Suite::International),
            2 => Err(SuiteError::NotAvailable(number)),
            _ => Err(SuiteError::Unknown(number)),
        }
    }

    /// The name of the suite in a contract.
    pub fn name(self) -> &'static str {
        match self {
            Suite::International => "international",
        }
    }

    /// The suite with this name.
    ///
    /// # Errors
    /// As [`Suite::from_number`].
    pub fn from_name(name: &str) -> Result<Self, SuiteError> {
        match name {
            "international" => Ok(Suite::International),
            "national" => Err(SuiteError::NotAvailable(2)),
            _ => Err(SuiteError::UnknownName(name.chars().take(80).collect())),
        }
    }

    /// The hash of the parts one after another, without separators.
    pub fn hash(self, parts: &[&[u8]]) -> Digest {
        match self {
            Suite::International => crate::sha256(parts),
        }
    }

    /// A hash that is fed piece by piece.
    pub fn hasher(self) -> Hasher {
        match self {
            Suite::International => Hasher::new(),
        }
    }

    /// HKDF (RFC 5869) from a secret: `Expand(Extract(salt = "", secret), info[0] || info[1] || .., 32)`.
    pub fn derive(self, secret: &Secret, info: &[&[u8]]) -> Secret {
        match self {
            Suite::International => international::derive(secret, info),
        }
    }

    /// HKDF-Expand (RFC 5869, 2.3) from a secret that is itself HKDF's output: 32 bytes.
    pub fn expand(self, prk: &Secret, info: &[u8]) -> Secret {
        match self {
            Suite::International => international::expand(prk, info),
        }
    }

    /// Encrypts the buffer in place with a key that is used only this once, and appends the tag.
    ///
    /// The nonce is zero, so a key must never encrypt two different messages: keys come from [`Suite::derive`] over
    /// everything that tells two batches apart. Reserve [`TAG_BYTES`] in the buffer and nothing is allocated.
    ///
    /// # Errors
    /// [`EncryptError::TooLong`] above [`PLAINTEXT_BYTES_MAX`]; the buffer is then as it was.
    pub fn encrypt(self, key: &Secret, associated: &[u8], buffer: &mut Vec<u8>) -> Result<(), EncryptError> {
        match self {
            Suite::International => {
                international::encrypt(key, &international::NONCE_ZERO, associated, buffer)
            }
        }
    }

    /// Decrypts in place what [`Suite::encrypt`] made, and takes the tag off. It does not allocate.
    ///
    /// # Errors
    /// [`OpenError::TooShort`] and [`OpenError::NotAuthentic`]; the buffer is then wiped and empty.
    pub fn decrypt(self, key: &Secret, associated: &[u8], buffer: &mut Vec<u8>) -> Result<(), OpenError> {
        match self {
            Suite::International => {
                international::decrypt(key, &international::NONCE_ZERO, associated, buffer)
            }
        }
    }

    /// The salts of a section's rows: the key stream of the suite's block cipher under the secret.
    pub fn salts(self, secret: &Secret) -> Salts {
        match self {
            Suite::International => Salts::new(secret),
        }
    }

    /// Wraps a secret for one recipient: HPKE (RFC 9180) in base mode, one shot, DHKEM(X25519, HKDF-SHA256),
    /// HKDF-SHA256, AES-256-GCM.
    ///
    /// `seed` is 32 fresh random bytes, the `ikm` of the ephemeral key (RFC 9180, 7.1.3). One seed for two different
    /// wraps to the same recipient would reuse a nonce.
    ///
    /// # Errors
    /// [`WrapError`], when the recipient's key is weak.
    pub fn wrap(
        self,
        to: &RecipientPublicKey,
        info: &[u8],
        associated: &[u8],
        secret: &Secret,
        seed: &[u8; 32],
    ) -> Result<Wrapped, WrapError> {
        match self {
            Suite::International => recipient::wrap(to, info, associated, secret, seed),
        }
    }

    /// Opens what [`Suite::wrap`] made, with the same info and associated data.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] and [`OpenError::WeakEncapsulation`].
    pub fn unwrap(
        self,
        key: &RecipientKey,
        info: &[u8],
        associated: &[u8],
        wrapped: &Wrapped,
    ) -> Result<Secret, OpenError> {
        match self {
            Suite::International => recipient::unwrap(key, info, associated, wrapped),
        }
    }
}
