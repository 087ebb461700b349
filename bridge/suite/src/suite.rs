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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::bytes;

    const SUITE: Suite = Suite::International;

    #[test]
    fn the_national_suite_is_known_but_not_available() {
        assert_eq!(Suite::from_number(1), Ok(SUITE));
        assert_eq!(Suite::from_number(SUITE.number()), Ok(SUITE));
        assert_eq!(Suite::from_name(SUITE.name()), Ok(SUITE));
        assert_eq!(Suite::from_number(2), Err(SuiteError::NotAvailable(2)));
        assert_eq!(Suite::from_name("national"), Err(SuiteError::NotAvailable(2)));
        for number in [0, 3, 0x0100, u16::MAX] {
            assert_eq!(Suite::from_number(number), Err(SuiteError::Unknown(number)));
        }
        assert_eq!(Suite::from_name("International"), Err(SuiteError::UnknownName("International".into())));
    }

    #[test]
    fn hash_and_hasher_agree_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let whole = SUITE.hash(&[&bytes]);
        for cut in [0, 1, 63, 64, 65, 500, 999, 1000] {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(SUITE.hash(&[first, second]), whole);
            let mut hasher = SUITE.hasher();
            hasher.update(first);
            hasher.update(second);
            assert_eq!(hasher.finish(), whole);
        }
    }

    #[test]
    fn what_was_encrypted_decrypts_with_the_same_key_and_data_only() {
        let key = Secret::new([1; 32]);
        for length in [0, 1, 15, 16, 17, 1024, 70_000] {
            let plaintext: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut buffer = plaintext.clone();
            SUITE.encrypt(&key, b"data", &mut buffer).unwrap();
            assert_eq!(buffer.len(), length + TAG_BYTES);
            let sealed = buffer.clone();
            SUITE.decrypt(&key, b"data", &mut buffer).unwrap();
            assert_eq!(buffer, plaintext);
            for (key, data) in [([2; 32], b"data".as_slice()), ([1; 32], b"datb"), ([1; 32], b"")] {
                let mut buffer = sealed.clone();
                let opened = SUITE.decrypt(&Secret::new(key), data, &mut buffer);
                assert_eq!(opened, Err(OpenError::NotAuthentic));
                assert!(buffer.is_empty(), "a refused ciphertext must leave nothing behind");
            }
        }
    }

    #[test]
    fn sections_are_encrypted_with_a_zero_nonce() {
        // McGrew and Viega's GCM test case 14: key, nonce and plaintext are zero.
        let mut buffer = vec![0; 16];
        SUITE.encrypt(&Secret::new([0; 32]), b"", &mut buffer).unwrap();
        let expected: [u8; 32] = bytes("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
        assert_eq!(buffer, expected);
    }

    #[test]
    fn a_ciphertext_with_any_bit_flipped_is_refused() {
        let key = Secret::new([1; 32]);
        let mut sealed = b"a row".to_vec();
        SUITE.encrypt(&key, b"data", &mut sealed).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut buffer = sealed.clone();
            buffer[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SUITE.decrypt(&key, b"data", &mut buffer), Err(OpenError::NotAuthentic), "bit {bit}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_ciphertext_shorter_than_a_tag_is_refused() {
        for bytes in 0..TAG_BYTES {
            let mut buffer = vec![9; bytes];
            let opened = SUITE.decrypt(&Secret::new([1; 32]), b"", &mut buffer);
            assert_eq!(opened, Err(OpenError::TooShort { bytes }));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn encryption_into_reserved_room_does_not_move_the_buffer() {
        let mut buffer = Vec::with_capacity(1024 + TAG_BYTES);
        buffer.resize(1024, 3);
        let place = buffer.as_ptr();
        SUITE.encrypt(&Secret::new([1; 32]), b"", &mut buffer).unwrap();
        SUITE.decrypt(&Secret::new([1; 32]), b"", &mut buffer).unwrap();
        assert_eq!(buffer.as_ptr(), place);
    }

    #[test]
    fn derived_secrets_depend_on_the_secret_and_on_every_byte_of_the_info() {
        let secret = Secret::new([1; 32]);
        let derived = SUITE.derive(&secret, &[b"label\0", b"context"]);
        assert!(SUITE.derive(&secret, &[b"label\0context"]).matches(derived.expose()), "infos are joined");
        assert!(!SUITE.derive(&secret, &[b"label\0contexu"]).matches(derived.expose()));
        assert!(!SUITE.derive(&Secret::new([2; 32]), &[b"label\0context"]).matches(derived.expose()));
        assert!(
            !SUITE.expand(&secret, b"label\0context").matches(derived.expose()),
            "expand does not extract"
        );
    }
}
