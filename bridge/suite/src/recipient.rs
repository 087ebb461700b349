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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, PartialEq, Eq)]
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
    let mut context = receiver(key, &wrapped.encapsulated, info)?;
    let bytes = wrapped.ciphertext.len();
    let (text, tag) = wrapped.ciphertext.split_first_chunk::<32>().ok_or(OpenError::TooShort { bytes })?;
    let tag = AeadTag::from_bytes(tag).map_err(|_| OpenError::TooShort { bytes })?;
    let mut text = Zeroizing::new(*text);
    context
        .open_inout_detached(InOutBuf::from(text.as_mut_slice()), associated, &tag)
        .map_err(|_| OpenError::NotAuthentic)?;
    Ok(Secret::new(*text))
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
