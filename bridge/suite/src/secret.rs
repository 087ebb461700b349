//! A secret of 32 bytes that does not leak by accident.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes: a section's secret, a key, a seed.
///
/// It is wiped when dropped, prints nothing, has no `Clone` and no serialisation.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes. The caller's own copy is the caller's to wipe.
    pub fn new(bytes: [u8; 32]) -> Self {
        Secret(bytes)
    }

    /// The bytes, for the call that needs them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A second owner of the same secret; a word of its own, so that copies are seen in review.
    pub fn duplicate(&self) -> Self {
        Secret(self.0)
    }

    /// Whether the secret is these bytes, in a time that does not depend on where they differ.
    pub fn matches(&self, bytes: &[u8; 32]) -> bool {
        self.0.ct_eq(bytes).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", Secret::new([0x5a; 32])), "Secret(..)");
    }

    #[test]
    fn a_secret_matches_its_own_bytes_only() {
        let secret = Secret::new([7; 32]);
        assert!(secret.matches(&[7; 32]));
        assert!(secret.duplicate().matches(secret.expose()));
        for i in 0..32 {
            let mut other = [7; 32];
            other[i] ^= 1;
            assert!(!secret.matches(&other), "byte {i}");
        }
    }

    #[test]
    fn zeroize_wipes_the_bytes() {
        let mut secret = Secret::new([7; 32]);
        secret.zeroize();
        assert!(secret.matches(&[0; 32]));
    }
}
