//! Signatures: Ed25519 (RFC 8032), verified strictly.
//!
//! RFC 8032 leaves room for verifiers to disagree. This one leaves none: a public key must be the canonical encoding of
//! a point that is not of small order, R must not be of small order and must equal byte for byte the one that is
//! computed (so it is canonical), and S must be below the group's order. A key or an R with a component of small
//! order beside its large one is allowed: the check without cofactor then accepts or refuses, the same way everywhere.

use std::fmt;

use ed25519_dalek::Signer;

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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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
    if key.to_edwards().compress().as_bytes() != bytes {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{EdgeCase, bytes, wycheproof};

    #[test]
    fn a_signature_verifies_under_its_own_key_and_message_only() {
        let key = SigningKey::from_seed(Role::Signing, [3; 32]);
        let signature = key.sign(b"message");
        assert_eq!(key.public().verify(b"message", &signature), Ok(()));
        assert_eq!(ed25519_verify_strict(&key.public().bytes(), b"message", &signature), Ok(()));
        assert_eq!(key.public().verify(b"massage", &signature), Err(SignatureError::Invalid));
        let other = SigningKey::from_seed(Role::Signing, [4; 32]);
        assert_eq!(other.public().verify(b"message", &signature), Err(SignatureError::Invalid));
        for bit in 0..512 {
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.public().verify(b"message", &altered), Err(SignatureError::Invalid), "bit {bit}");
        }
        for length in [0, 63, 65] {
            let cut = [signature.as_slice(), &[0]].concat();
            assert_eq!(key.public().verify(b"message", &cut[..length]), Err(SignatureError::Length(length)));
        }
    }

    #[test]
    fn rfc_8032_test_1_holds() {
        let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = SigningKey::from_seed(Role::Log, seed);
        assert_eq!(
            key.public().bytes(),
            bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        );
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555\
                         fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(key.sign(b""), bytes(signature));
    }

    #[test]
    fn a_signing_key_prints_its_public_half_only() {
        let key = SigningKey::from_seed(Role::Operator, [3; 32]);
        assert_eq!(format!("{key:?}"), format!("SigningKey(operator, {})", key.id()));
    }

    #[test]
    fn wycheproof_ed25519_vectors_hold() {
        let file = wycheproof(include_str!("../../../tests/vectors/wycheproof/ed25519_test.json"));
        let (mut valid, mut invalid) = (0, 0);
        for group in &file.test_groups {
            let key =
                PublicKey::from_bytes(Role::Signing, Algorithm::Ed25519, &group.public_key.pk.0).unwrap();
            for vector in &group.tests {
                let verified = key.verify(&vector.msg.0, &vector.sig.0).is_ok();
                match vector.result.as_str() {
                    "valid" => valid += 1,
                    "invalid" => invalid += 1,
                    other => panic!("vector {}: result {other}", vector.tc_id),
                }
                assert_eq!(verified, vector.result == "valid", "vector {}", vector.tc_id);
            }
        }
        assert_eq!((valid, invalid), (88, 63));
    }

    /// What strict verification says of a case of CCTV, from its flags alone.
    fn strict(flags: &[String]) -> bool {
        flags.iter().all(|flag| match flag.as_str() {
            // Anybody can sign for such a key; such an R makes a second signature out of one.
            "low_order_A" | "low_order_R" => false,
            // One point, one encoding; `reencoded_k` is only right for verifiers that encode it again before hashing.
            "non_canonical_A" | "non_canonical_R" | "reencoded_k" => false,
            // Only right when both sides of the equation are multiplied by the cofactor.
            "low_order_residue" => false,
            // A component of small order beside the large one; here the equation holds without the cofactor.
            "low_order_component_A" | "low_order_component_R" => true,
            other => panic!("the flag {other} is not decided"),
        })
    }

    #[test]
    fn all_914_edge_cases_are_decided_by_their_flags() {
        let cases: Vec<EdgeCase> =
            serde_json::from_str(include_str!("../../../tests/vectors/cctv/ed25519vectors.json")).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for case in &cases {
            let flags = case.flags.clone().unwrap_or_default();
            let verified = ed25519_verify_strict(&case.key.array(), case.msg.as_bytes(), &case.sig.array());
            assert_eq!(verified.is_ok(), strict(&flags), "case {}: {flags:?} {verified:?}", case.number);
            let key = PublicKey::from_bytes(Role::Witness, Algorithm::Ed25519, &case.key.0);
            let weak = flags.iter().any(|f| f == "low_order_A" || f == "non_canonical_A");
            assert_eq!(key.is_err(), weak, "case {}: {flags:?} {key:?}", case.number);
            match verified {
                Ok(()) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
        assert_eq!((cases.len(), accepted, refused), (914, 43, 871));
    }

    #[test]
    fn every_non_canonical_encoding_of_a_public_key_is_refused() {
        let read = |bytes: &[u8; 32]| PublicKey::from_bytes(Role::Root, Algorithm::Ed25519, bytes);
        let mut of_large_order = 0;
        // y = p + k is below 2^255 for the 19 smallest k; with either sign.
        for k in 0..19_u8 {
            for sign in [0, 0x80] {
                let mut bytes = [0xff; 32];
                bytes[0] = 0xed + k;
                bytes[31] = 0x7f | sign;
                let error = read(&bytes).unwrap_err();
                assert!(
                    matches!(error, PublicKeyError::NotCanonical | PublicKeyError::NotAPoint),
                    "{k} {error:?}"
                );
                let mut canonical = [0; 32];
                canonical[0] = k;
                canonical[31] = sign;
                of_large_order += usize::from(read(&canonical).is_ok());
            }
        }
        assert!(of_large_order > 0, "CCTV has the keys of small order; these are the others");
        // x = 0 with its sign set: y = 1 and y = -1.
        let (mut one, mut minus_one) = ([0; 32], [0xff; 32]);
        (one[0], one[31], minus_one[0]) = (1, 0x80, 0xec);
        assert_eq!(read(&one), Err(PublicKeyError::NotCanonical));
        assert_eq!(read(&minus_one), Err(PublicKeyError::NotCanonical));
    }

    #[test]
    fn a_public_key_of_wrong_length_role_or_curve_is_refused() {
        let good = SigningKey::from_seed(Role::Root, [3; 32]).public();
        let read = |role, bytes: &[u8]| PublicKey::from_bytes(role, Algorithm::Ed25519, bytes);
        assert_eq!(read(Role::Root, &good.bytes()), Ok(good));
        assert_eq!(
            read(Role::Root, &good.bytes()[1..]),
            Err(PublicKeyError::Length { algorithm: "ed25519", bytes: 31 })
        );
        assert_eq!(read(Role::Recipient, &good.bytes()), Err(PublicKeyError::Role(Role::Recipient)));
        let mut two = [0; 32];
        two[0] = 2;
        assert_eq!(read(Role::Root, &two), Err(PublicKeyError::NotAPoint));
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(read(Role::Root, &one), Err(PublicKeyError::SmallOrder));
    }

    #[test]
    fn sm2_is_known_but_not_available() {
        assert_eq!(Algorithm::from_number(Algorithm::Ed25519.number()), Ok(Algorithm::Ed25519));
        assert_eq!(Algorithm::from_number(2), Err(AlgorithmError::NotAvailable(2)));
        assert_eq!(Algorithm::from_number(0), Err(AlgorithmError::Unknown(0)));
        assert_eq!(Algorithm::from_number(RECIPIENT), Err(AlgorithmError::Unknown(RECIPIENT)));
        assert_eq!(Algorithm::Ed25519.signature_bytes(), 64);
    }

    const RECIPIENT: u16 = crate::RECIPIENT_ALGORITHM;
}
