//! Recipients: X25519 (RFC 7748) inside HPKE (RFC 9180).

use std::convert::Infallible;
use std::fmt;

use hpke::aead::{AeadTag, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{KeyId, OpenError, PublicKeyError, Role, Secret};

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The algorithm number of X25519 recipient keys in key ids and key lines. Signature algorithms stay below 0x0100.
pub const RECIPIENT_ALGORITHM: u16 = 0x0101;

/// The algorithm's name in key files.
pub(crate) const RECIPIENT_ALGORITHM_NAME: &str = "x25519";

/// Bytes that are not an acceptable recipient key; the same reasons as for keys that verify.
pub type RecipientKeyError = PublicKeyError;

/// Nothing was wrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The shared secret would be all zeros (RFC 9180, 7.1.4).
    #[error("the recipient's key gives no secret: refuse it and ask the recipient for another")]
    WeakRecipient,
    /// The HPKE crate took its randomness in another way than by one call for the 32 bytes of the seed.
    #[error(
        "the HPKE library did not use the seed as RFC 9180 says: this build must not wrap keys; report it"
    )]
    SeedNotUsed,
}

/// A secret wrapped for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wrapped {
    /// HPKE's `enc`: the ephemeral public key.
    pub encapsulated: [u8; 32],
    /// The 32 bytes of the secret, encrypted, and the tag.
    pub ciphertext: [u8; 48],
}

/// The private key of a recipient. Wiped when dropped; its `Debug` shows the public half.
pub struct RecipientKey {
    key: PrivateKey,
    seed: Secret,
    public: RecipientPublicKey,
}

impl RecipientKey {
    /// The key whose X25519 private key (RFC 7748, 5: clamped when used) is these 32 bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = match PrivateKey::from_bytes(&seed) {
            Ok(key) => key,
            Err(_) => unreachable!("any 32 bytes are an X25519 private key"),
        };
        let public = RecipientPublicKey::from_checked(X25519HkdfSha256::sk_to_pk(&key).to_bytes().into());
        RecipientKey { key, seed: Secret::new(seed), public }
    }

    /// The public half.
    pub fn public(&self) -> RecipientPublicKey {
        self.public
    }

    /// The id of the public half.
    pub fn id(&self) -> KeyId {
        self.public.id
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.seed.expose()
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientKey({})", self.public.id)
    }
}

/// The public key of a recipient.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecipientPublicKey {
    bytes: [u8; 32],
    id: KeyId,
}

impl RecipientPublicKey {
    /// Reads a recipient's public key.
    ///
    /// RFC 7748 takes any 32 bytes. A key that stands in a trust file for years has one encoding here, and one that
    /// gives everybody the same all-zero secret is refused when it is read, not when it is used.
    ///
    /// # Errors
    /// [`PublicKeyError::Length`], [`PublicKeyError::NotCanonical`], [`PublicKeyError::SmallOrder`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecipientKeyError> {
        let array = <[u8; 32]>::try_from(bytes).map_err(|_| PublicKeyError::Length {
            algorithm: RECIPIENT_ALGORITHM_NAME,
            bytes: bytes.len(),
        })?;
        if !is_below_prime(&array) {
            return Err(PublicKeyError::NotCanonical);
        }
        // Every private key is a multiple of 8 when used, so with a point of small order any one of them, this one
        // too, gives zero (RFC 7748, 6.1).
        let any = RecipientKey::from_seed([1; 32]);
        if receiver(&any, &array, b"").is_err() {
            return Err(PublicKeyError::SmallOrder);
        }
        Ok(RecipientPublicKey::from_checked(array))
    }

    fn from_checked(bytes: [u8; 32]) -> Self {
        RecipientPublicKey { bytes, id: KeyId::new(Role::Recipient, RECIPIENT_ALGORITHM, &bytes) }
    }

    /// The id of this key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key's 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.bytes
    }
}

impl fmt::Debug for RecipientPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientPublicKey({})", self.id)
    }
}

/// Whether a little-endian number is below 2^255 - 19.
fn is_below_prime(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    let most = *last == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *first >= 0xed;
    *last <= 0x7f && !most
}

/// HPKE `SealBase` of a secret.
pub(crate) fn wrap(
    to: &RecipientPublicKey,
    info: &[u8],
    associated: &[u8],
    secret: &Secret,
    seed: &[u8; 32],
) -> Result<Wrapped, WrapError> {
    let mut text = Zeroizing::new(*secret.expose());
    let (encapsulated, tag) = seal(to, info, associated, text.as_mut_slice(), seed)?;
    let mut ciphertext = [0; 48];
    for (to, from) in ciphertext.iter_mut().zip(text.iter().chain(&tag)) {
        *to = *from;
    }
    Ok(Wrapped { encapsulated, ciphertext })
}

fn seal(
    to: &RecipientPublicKey,
    info: &[u8],
    associated: &[u8],
    text: &mut [u8],
    seed: &[u8; 32],
) -> Result<([u8; 32], [u8; 16]), WrapError> {
    let public =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.bytes).map_err(|_| WrapError::WeakRecipient)?;
    let mut seed = Seed { bytes: *seed, unused: true, misused: false };
    let (encapsulated, tag) = hpke::single_shot_seal_inout_detached_with_rng::<
        AesGcm256,
        HkdfSha256,
        X25519HkdfSha256,
    >(
        &OpModeS::Base, &public, info, InOutBuf::from(text), associated, &mut seed
    )
    .map_err(|_| WrapError::WeakRecipient)?;
    if seed.unused || seed.misused {
        return Err(WrapError::SeedNotUsed);
    }
    Ok((encapsulated.to_bytes().into(), tag.to_bytes().into()))
}

/// HPKE `OpenBase` of a wrapped secret.
pub(crate) fn unwrap(
    key: &RecipientKey,
    info: &[u8],
    associated: &[u8],
    wrapped: &Wrapped,
) -> Result<Secret, OpenError> {
    let bytes = wrapped.ciphertext.len();
    let (text, tag) = wrapped.ciphertext.split_first_chunk::<32>().ok_or(OpenError::TooShort { bytes })?;
    let mut text = Zeroizing::new(*text);
    open(key, info, associated, &wrapped.encapsulated, text.as_mut_slice(), tag)?;
    Ok(Secret::new(*text))
}

fn open(
    key: &RecipientKey,
    info: &[u8],
    associated: &[u8],
    encapsulated: &[u8; 32],
    text: &mut [u8],
    tag: &[u8],
) -> Result<(), OpenError> {
    let tag = AeadTag::from_bytes(tag).map_err(|_| OpenError::TooShort { bytes: tag.len() })?;
    receiver(key, encapsulated, info)?
        .open_inout_detached(InOutBuf::from(text), associated, &tag)
        .map_err(|_| OpenError::NotAuthentic)
}

fn receiver(
    key: &RecipientKey,
    encapsulated: &[u8; 32],
    info: &[u8],
) -> Result<hpke::aead::AeadCtxR<AesGcm256, HkdfSha256, X25519HkdfSha256>, OpenError> {
    let opened = Encapsulated::from_bytes(encapsulated)
        .and_then(|enc| hpke::setup_receiver(&OpModeR::Base, &key.key, &enc, info));
    opened.map_err(|error| match error {
        HpkeError::DecapError => OpenError::WeakEncapsulation,
        _ => OpenError::NotAuthentic,
    })
}

/// The ephemeral key's `ikm` in the shape in which the HPKE crate asks for it: one call for 32 bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Seed {
    bytes: [u8; 32],
    unused: bool,
    misused: bool,
}

impl TryRng for Seed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.misused = true;
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.misused = true;
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        if self.unused && out.len() == self.bytes.len() {
            out.copy_from_slice(&self.bytes);
            self.unused = false;
        } else {
            // Whatever is made of this is thrown away: `seal` looks at the mark.
            self.misused = true;
        }
        Ok(())
    }
}

impl TryCryptoRng for Seed {}

#[cfg(test)]
mod tests {
    use hkdf::Hkdf;
    use sha2::Sha256;

    use super::*;
    use crate::international::encrypt;
    use crate::vectors::{bytes, wycheproof};

    /// The sender's side of RFC 9180 from the Diffie-Hellman result on, written from the RFC's pseudocode and not with
    /// the hpke crate: base mode, sequence number 0.
    fn seal_by_hand(
        dh: &[u8; 32],
        enc: [u8; 32],
        to: [u8; 32],
        info: &[u8],
        aad: &[u8],
        secret: &[u8; 32],
    ) -> Wrapped {
        let kem = [b"KEM".as_slice(), &[0, 0x20]].concat();
        let suite = [b"HPKE".as_slice(), &[0, 0x20, 0, 1, 0, 2]].concat();
        let extract = |id: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]| {
            Hkdf::<Sha256>::extract(Some(salt), &[b"HPKE-v1", id, label, ikm].concat()).0
        };
        let expand = |prk: &[u8], id: &[u8], label: &[u8], info: &[u8], out: &mut [u8]| {
            let length = u16::try_from(out.len()).unwrap().to_be_bytes();
            let labeled = [&length, b"HPKE-v1".as_slice(), id, label, info].concat();
            Hkdf::<Sha256>::from_prk(prk).unwrap().expand(&labeled, out).unwrap();
        };
        let (mut shared, mut key, mut nonce) = ([0; 32], [0; 32], [0; 12]);
        let prk = extract(&kem, b"", b"eae_prk", dh);
        expand(&prk, &kem, b"shared_secret", &[enc, to].concat(), &mut shared);
        let psk_id_hash = extract(&suite, b"", b"psk_id_hash", b"");
        let info_hash = extract(&suite, b"", b"info_hash", info);
        let context = [&[0], psk_id_hash.as_slice(), info_hash.as_slice()].concat();
        let prk = extract(&suite, &shared, b"secret", b"");
        expand(&prk, &suite, b"key", &context, &mut key);
        expand(&prk, &suite, b"base_nonce", &context, &mut nonce);
        let mut buffer = secret.to_vec();
        encrypt(&Secret::new(key), &nonce, aad, &mut buffer).unwrap();
        Wrapped { encapsulated: enc, ciphertext: buffer.try_into().unwrap() }
    }

    #[test]
    fn the_rfc_9180_vector_of_this_suite_holds() {
        // The CFRG's test vectors for RFC 9180: mode 0, KEM 0x0020, KDF 0x0001, AEAD 0x0002, the first encryption.
        let key = RecipientKey::from_seed(bytes(
            "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
        ));
        let public = bytes("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c");
        assert_eq!(key.public().bytes(), public);
        let to = RecipientPublicKey::from_bytes(&public).unwrap();
        let seed = bytes("2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9");
        let (info, plaintext) = (b"Ode on a Grecian Urn", *b"Beauty is truth, truth beauty");
        let mut text = plaintext;
        let (encapsulated, tag) = seal(&to, info, b"Count-0", &mut text, &seed).unwrap();
        assert_eq!(encapsulated, bytes("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256"));
        let ciphertext: [u8; 45] = bytes(
            "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
        );
        assert_eq!([text.as_slice(), &tag].concat(), ciphertext);
        open(&key, info, b"Count-0", &encapsulated, &mut text, &tag).unwrap();
        assert_eq!(text, plaintext);
    }

    #[test]
    fn wycheproof_x25519_vectors_hold_inside_hpke() {
        let file = wycheproof(include_str!("../../../tests/vectors/wycheproof/x25519_test.json"));
        let (mut opened, mut refused) = (0, 0);
        for vector in file.test_groups.iter().flat_map(|group| &group.tests) {
            let key = RecipientKey::from_seed(vector.private.array());
            let wrapped = seal_by_hand(
                &vector.shared.array(),
                vector.public.array(),
                key.public().bytes(),
                b"info",
                b"data",
                &[9; 32],
            );
            let result = unwrap(&key, b"info", b"data", &wrapped);
            // "acceptable" covers three things. A shared secret of zeros is refused, as RFC 9180 demands. A point of
            // the twist and an encapsulated key that is not reduced are accepted, as RFC 7748 demands: the encapsulated
            // key is used once, its bytes go into the key schedule, and it stands in a signed record.
            if vector.has("ZeroSharedSecret") {
                assert_eq!(result.unwrap_err(), OpenError::WeakEncapsulation, "vector {}", vector.tc_id);
                refused += 1;
            } else {
                assert!(result.unwrap().matches(&[9; 32]), "vector {}", vector.tc_id);
                opened += 1;
            }
        }
        assert_eq!((opened, refused), (487, 31));
    }

    #[test]
    fn recipient_keys_of_small_order_and_non_canonical_ones_are_refused_when_read() {
        let file = wycheproof(include_str!("../../../tests/vectors/wycheproof/x25519_test.json"));
        let (mut read, mut not_canonical, mut small) = (0, 0, 0);
        for vector in file.test_groups.iter().flat_map(|group| &group.tests) {
            match RecipientPublicKey::from_bytes(&vector.public.0) {
                Ok(key) => {
                    assert!(
                        !vector.has("NonCanonicalPublic") && !vector.has("LowOrderPublic"),
                        "{}",
                        vector.tc_id
                    );
                    assert_eq!(key.bytes().as_slice(), vector.public.0);
                    assert!(wrap(&key, b"", b"", &Secret::new([1; 32]), &[2; 32]).is_ok());
                    read += 1;
                }
                Err(PublicKeyError::NotCanonical) => {
                    // The file leaves the flag out for ten that are of small order as well.
                    let flagged = vector.has("NonCanonicalPublic") || vector.has("LowOrderPublic");
                    assert!(flagged, "vector {}", vector.tc_id);
                    not_canonical += 1;
                }
                Err(PublicKeyError::SmallOrder) => {
                    assert!(vector.has("LowOrderPublic"), "vector {}", vector.tc_id);
                    small += 1;
                }
                Err(other) => panic!("vector {}: {other}", vector.tc_id),
            }
        }
        assert_eq!((read, not_canonical, small), (474, 29, 15));
    }

    #[test]
    fn a_recipient_key_has_one_encoding() {
        let mut prime = [0xff; 32];
        (prime[0], prime[31]) = (0xed, 0x7f);
        assert!(!is_below_prime(&prime));
        prime[0] = 0xec;
        assert!(is_below_prime(&prime), "2^255 - 20");
        prime[0] = 0xff;
        assert!(!is_below_prime(&prime));
        prime[31] = 0x7e;
        assert!(is_below_prime(&prime));
        let mut high = RecipientKey::from_seed([5; 32]).public().bytes();
        high[31] |= 0x80;
        assert_eq!(RecipientPublicKey::from_bytes(&high), Err(PublicKeyError::NotCanonical));
        for length in [0, 31, 33] {
            let error = PublicKeyError::Length { algorithm: "x25519", bytes: length };
            assert_eq!(RecipientPublicKey::from_bytes(&vec![9; length]), Err(error));
        }
    }

    #[test]
    fn a_wrapped_secret_opens_for_its_recipient_only() {
        let (key, other) = (RecipientKey::from_seed([5; 32]), RecipientKey::from_seed([6; 32]));
        let secret = Secret::new([7; 32]);
        let wrapped = wrap(&key.public(), b"info", b"data", &secret, &[8; 32]).unwrap();
        assert!(unwrap(&key, b"info", b"data", &wrapped).unwrap().matches(secret.expose()));
        assert_eq!(unwrap(&other, b"info", b"data", &wrapped).unwrap_err(), OpenError::NotAuthentic);
        assert_eq!(
            wrap(&key.public(), b"info", b"data", &secret, &[8; 32]),
            Ok(wrapped),
            "wrapping is a function"
        );
        let again = wrap(&key.public(), b"info", b"data", &secret, &[9; 32]).unwrap();
        assert_ne!(again.encapsulated, wrapped.encapsulated);
    }

    #[test]
    fn a_wrapped_secret_with_any_byte_altered_is_refused() {
        let key = RecipientKey::from_seed([5; 32]);
        let (info, data) = (b"suite, department, section", b"commitment");
        let wrapped = wrap(&key.public(), info, data, &Secret::new([7; 32]), &[8; 32]).unwrap();
        for i in 0..32 {
            let mut altered = wrapped;
            altered.encapsulated[i] ^= 1;
            assert!(unwrap(&key, info, data, &altered).is_err(), "encapsulated byte {i}");
        }
        for i in 0..48 {
            let mut altered = wrapped;
            altered.ciphertext[i] ^= 1;
            assert_eq!(unwrap(&key, info, data, &altered).unwrap_err(), OpenError::NotAuthentic, "byte {i}");
        }
        for i in 0..info.len() {
            let mut altered = *info;
            altered[i] ^= 1;
            assert!(unwrap(&key, &altered, data, &wrapped).is_err(), "info byte {i}");
        }
        for i in 0..data.len() {
            let mut altered = *data;
            altered[i] ^= 1;
            assert!(unwrap(&key, info, &altered, &wrapped).is_err(), "associated byte {i}");
        }
        assert!(unwrap(&key, &info[1..], data, &wrapped).is_err());
        assert!(unwrap(&key, info, b"", &wrapped).is_err());
        // The top bit of the encapsulated key is not part of its number, but its bytes are part of the key schedule.
        let mut altered = wrapped;
        altered.encapsulated[31] ^= 0x80;
        assert_eq!(unwrap(&key, info, data, &altered).unwrap_err(), OpenError::NotAuthentic);
    }

    #[test]
    fn a_seed_that_is_asked_for_differently_is_noticed() {
        let fresh = || Seed { bytes: [1; 32], unused: true, misused: false };
        let (mut twice, mut short, mut word) = (fresh(), fresh(), fresh());
        let Ok(()) = twice.try_fill_bytes(&mut [0; 32]);
        assert!(!twice.unused && !twice.misused);
        let Ok(()) = twice.try_fill_bytes(&mut [0; 32]);
        let Ok(()) = short.try_fill_bytes(&mut [0; 31]);
        let Ok(_) = word.try_next_u64();
        assert!(twice.misused && short.misused && word.misused);
    }

    #[test]
    fn a_recipient_key_prints_its_public_half_only() {
        let key = RecipientKey::from_seed([5; 32]);
        assert_eq!(format!("{key:?}"), format!("RecipientKey({})", key.id()));
    }
}
