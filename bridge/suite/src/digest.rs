//! A digest of 32 bytes, and the hash that is SHA-256 in every suite.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A hash of 32 bytes: SHA-256 in the international suite, SM3 in the national one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

/// A text or a slice that is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: it has 32 bytes, written as 64 characters of 0-9 and a-f")]
pub struct DigestError;

impl Digest {
    /// 32 zero bytes: "no digest yet", as in the previous digest of a stream's first batch.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = DigestError;
    fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
        bytes.try_into().map(Digest).map_err(|_| DigestError)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        // Cannot fail: the text is exactly twice as long as the digest.
        hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    /// Reads 64 lower-case hex characters; upper case is refused, so that a digest has one text.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError)?;
        Ok(Digest(bytes))
    }
}

/// SHA-256 (FIPS 180-4) of the parts one after another, without separators.
///
/// The log's tree, notes, key ids and labels use it in every suite; what a stream's suite decides goes through
/// [`crate::Suite::hash`].
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn sha256_joins_its_parts_without_separators() {
        // FIPS 180-4's example, "abc".
        for parts in [&[b"abc".as_slice()][..], &[b"a", b"", b"bc"], &[b"", b"abc"]] {
            assert_eq!(sha256(parts).to_string(), ABC);
        }
        assert_ne!(sha256(&[b"ab"]), sha256(&[b"abc"]));
    }

    #[test]
    fn a_digest_has_one_text() {
        let digest: Digest = ABC.parse().unwrap();
        assert_eq!(digest, sha256(&[b"abc"]));
        assert_eq!(format!("{digest:?}"), ABC);
        for bad in ["", "ba", &ABC.to_uppercase(), &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "g")] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestError), "{bad:?}");
        }
    }

    #[test]
    fn a_slice_of_another_length_is_no_digest() {
        assert_eq!(Digest::try_from([0; 32].as_slice()), Ok(Digest::ZERO));
        assert_eq!(Digest::try_from([0; 31].as_slice()), Err(DigestError));
        assert_eq!(Digest::try_from([0; 33].as_slice()), Err(DigestError));
    }
}
