//! Who signs a note: names, key ids, verifier keys (`vkey`) and signers (C2SP signed-note, tlog-cosignature).
//!
//! ```text
//! key id = SHA-256(name || 0x0A || type || public key)[0..4]
//! vkey   = name "+" key id in lower-case hex "+" base64(type || public key)
//! ```

use std::fmt;
use std::str::FromStr;

use bridge_suite::{Algorithm, PublicKey, PublicKeyError, Role, SigningKey, sha256};

use crate::cosignature::{Cosignature, CosignatureError};
use crate::line;
use crate::note::{NoteError, NoteSignature, check_text};

/// Longest name of a key, in bytes; the same as the longest origin, which is a name, too.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// A text that is not a verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, too long, or has characters that a name cannot have.
    #[error("{0:?} is not the name of a key: use 1 to 255 bytes without spaces, control characters and '+'")]
    Name(String),
    /// The text is not of the form `name+id+key`.
    #[error("{0:?} is not a verifier key: use <name>+<8 hex digits>+<base64>, as the key's owner printed it")]
    Form(String),
    /// The type of signature is not one of those known here.
    #[error(
        "the key of {name} is of type 0x{kind:02x}: only 0x01 (Ed25519) and 0x04 (cosignature/v1) are known"
    )]
    Kind {
        /// Name of the key.
        name: String,
        /// The type's byte.
        kind: u8,
    },
    /// The id is not the one that follows from name and key.
    #[error(
        "the key of {name} says id {found} but has id {wanted}: it is damaged or renamed, ask its owner again"
    )]
    Id {
        /// Name of the key.
        name: String,
        /// The id that follows from name and key.
        wanted: NoteKeyId,
        /// The id in the text.
        found: NoteKeyId,
    },
    /// The public key is not a sound one.
    #[error("the key of {name} is not usable")]
    Public {
        /// Name of the key.
        name: String,
        /// What is wrong with it.
        #[source]
        source: PublicKeyError,
    },
    /// The signing key has another role.
    #[error("a {found} key cannot sign as {wanted}: a key has one role, make another key")]
    Role {
        /// The role that is needed.
        wanted: Role,
        /// The role of the key.
        found: Role,
    },
}

/// A text that cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The text is not the text of a note.
    #[error(transparent)]
    Text(NoteError),
    /// The key signs in another way.
    #[error(
        "the key of {0} does not sign in this way: a witness cosigns with a time, everybody else signs without"
    )]
    Kind(String),
    /// The time cannot stand in a cosignature.
    #[error(transparent)]
    Time(CosignatureError),
}

/// The first four bytes of a hash over name, type and key. It tells keys apart; it is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoteKeyId(pub [u8; 4]);

impl fmt::Display for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureKind {
    /// Type 0x01: Ed25519 over the text. Logs, and whoever else signs a note.
    Ed25519,
    /// Type 0x04: Ed25519 over a time and the text. Witnesses.
    CosignatureV1,
}

impl SignatureKind {
    /// The type's byte.
    pub fn number(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Ed25519, Self::CosignatureV1].into_iter().find(|kind| kind.number() == number)
    }
}

/// The public half of a key that signs notes. `FromStr` and `Display` are its `vkey` text.
///
/// Invariant: the id follows from the rest, and the point is canonical and not of small order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: NoteKeyId,
    kind: SignatureKind,
    public: PublicKey,
}

impl VerifierKey {
    /// The key of this name that signs in this way.
    ///
    /// # Errors
    /// The name breaks its rule, or the public key is not sound.
    pub fn new(name: &str, kind: SignatureKind, public: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name).ok_or_else(|| KeyError::Name(line::excerpt(name)))?;
        let role = match kind {
            SignatureKind::Ed25519 => Role::Log,
            SignatureKind::CosignatureV1 => Role::Witness,
        };
        let public = PublicKey::from_bytes(role, Algorithm::Ed25519, public)
            .map_err(|source| KeyError::Public { name: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), id: key_id(name, kind, &public.bytes()), kind, public })
    }

    /// The name. A log's is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id that stands before each signature.
    pub fn id(&self) -> NoteKeyId {
        self.id
    }

    /// How the key signs.
    pub fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The public key's bytes. Two keys are the same when these are, whatever their names.
    pub fn public_bytes(&self) -> [u8; 32] {
        self.public.bytes()
    }

    /// Whether the signature says that it is this key's.
    pub fn made(&self, signature: &NoteSignature) -> bool {
        signature.id() == self.id && signature.name() == self.name
    }

    /// Verifies one signature over a note's text; gives the time of a cosignature, in seconds since 1970.
    pub(crate) fn check(&self, text: &str, signature: &NoteSignature) -> Option<Option<u64>> {
        match self.kind {
            SignatureKind::Ed25519 => {
                self.public.verify(text.as_bytes(), signature.payload()).ok()?;
                Some(None)
            }
            SignatureKind::CosignatureV1 => {
                let cosignature = Cosignature::parse(signature.payload()).ok()?;
                self.public.verify(&cosignature.message(text), &cosignature.signature).ok()?;
                Some(Some(cosignature.time))
            }
        }
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let form = || KeyError::Form(line::excerpt(text));
        let (name, rest) = text.split_once('+').ok_or_else(form)?;
        let (id, key) = rest.split_once('+').ok_or_else(form)?;
        check_name(name).ok_or_else(|| KeyError::Name(line::excerpt(name)))?;
        let found = u32::from_str_radix(id, 16).map(u32::to_be_bytes).map(NoteKeyId).map_err(|_| form())?;
        if found.to_string() != id || key.len() > KEY_TEXT_BYTES_MAX {
            return Err(form());
        }
        let bytes = line::base64(key).ok_or_else(form)?;
        let (number, public) = bytes.split_first().ok_or_else(form)?;
        let kind = SignatureKind::from_number(*number)
            .ok_or_else(|| KeyError::Kind { name: name.to_owned(), kind: *number })?;
        let this = Self::new(name, kind, public.try_into().map_err(|_| form())?)?;
        if this.id != found {
            return Err(KeyError::Id { name: name.to_owned(), wanted: this.id, found });
        }
        Ok(this)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.number()];
        key.extend_from_slice(&self.public.bytes());
        write!(f, "{}+{}+{}", self.name, self.id, line::base64_text(&key))
    }
}

/// Longest Base64 of a key that is looked at: the largest type that has a number is ML-DSA-44 with 1 + 1312 bytes.
const KEY_TEXT_BYTES_MAX: usize = 2048;

/// A key that signs notes under a name.
#[derive(Debug)]
pub struct NoteSigner {
    key: SigningKey,
    verifier: VerifierKey,
}

impl NoteSigner {
    /// A log, whose name is the origin of its checkpoints.
    ///
    /// # Errors
    /// The name breaks its rule, or the key is not a log key.
    pub fn log(name: &str, key: SigningKey) -> Result<Self, KeyError> {
        Self::of_role(name, key, Role::Log, SignatureKind::Ed25519)
    }

    /// A witness, which cosigns checkpoints with a time.
    ///
    /// # Errors
    /// The name breaks its rule, or the key is not a witness key.
    pub fn witness(name: &str, key: SigningKey) -> Result<Self, KeyError> {
        Self::of_role(name, key, Role::Witness, SignatureKind::CosignatureV1)
    }

    /// Whoever signs versions of the trust file, which is a note.
    ///
    /// # Errors
    /// The name breaks its rule, or the key is not a root key.
    pub fn root(name: &str, key: SigningKey) -> Result<Self, KeyError> {
        Self::of_role(name, key, Role::Root, SignatureKind::Ed25519)
    }

    fn of_role(name: &str, key: SigningKey, wanted: Role, kind: SignatureKind) -> Result<Self, KeyError> {
        if key.role() != wanted {
            return Err(KeyError::Role { wanted, found: key.role() });
        }
        let verifier = VerifierKey::new(name, kind, &key.public().bytes())?;
        Ok(Self { key, verifier })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs the text of a note.
    ///
    /// # Errors
    /// The text is not the text of a note, or the key is a witness's.
    pub fn sign(&self, text: &str) -> Result<NoteSignature, SignError> {
        check_text(text).map_err(SignError::Text)?;
        if self.verifier.kind != SignatureKind::Ed25519 {
            return Err(SignError::Kind(self.verifier.name.clone()));
        }
        Ok(NoteSignature::new(&self.verifier, self.key.sign(text.as_bytes()).to_vec()))
    }

    /// Cosigns the text of a checkpoint at a time, in seconds since 1970 (tlog-cosignature). The caller has verified
    /// that the checkpoint follows the last one that it cosigned, and stored it.
    ///
    /// # Errors
    /// The text is not the text of a note, the time is 0 or above 2^63 - 1, or the key is not a witness's.
    pub fn cosign(&self, text: &str, time: u64) -> Result<NoteSignature, SignError> {
        check_text(text).map_err(SignError::Text)?;
        if self.verifier.kind != SignatureKind::CosignatureV1 {
            return Err(SignError::Kind(self.verifier.name.clone()));
        }
        let cosignature =
            Cosignature::make(time, text, |message| self.key.sign(message)).map_err(SignError::Time)?;
        Ok(NoteSignature::new(&self.verifier, cosignature.payload()))
    }
}

/// Says whether a key may have this name (signed-note, "Format").
pub(crate) fn check_name(name: &str) -> Option<()> {
    let sound = !name.is_empty()
        && name.len() <= KEY_NAME_BYTES_MAX
        && !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_ascii_control());
    sound.then_some(())
}

fn key_id(name: &str, kind: SignatureKind, public: &[u8; 32]) -> NoteKeyId {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[kind.number()], public]).0;
    NoteKeyId([a, b, c, d])
}
