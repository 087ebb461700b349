//! The algorithms behind one door: international and national.
//!
//! *In scope*: digests, secrets, the formulas that turn a section's secret into keys and salts, authenticated
//! encryption, signatures, wrapping a secret for a recipient, key ids, and the text forms of public and private keys.
//! *Out of scope*: what the hashed, signed and encrypted bytes mean (`bridge-envelope`, `bridge-tlog`), who may use
//! which key for what (the trust file), files and their modes (`bridge-cli`), where randomness comes from (every
//! seed, nonce and salt is an argument).
//!
//! Trust: whoever holds a [`SigningKey`] is the department as far as any proof can say, and whoever holds a
//! [`RecipientKey`] reads what was wrapped for it; this crate believes the RustCrypto, dalek and hpke crates that it
//! calls, and nothing else. It checks every key and signature that it is given.
//!
//! Invariants:
//! - a [`PublicKey`] that exists is a canonical point that is not of small order, and what it accepts or refuses does
//!   not depend on which strict verifier is asked;
//! - a [`RecipientPublicKey`] that exists is canonical and cannot lead to an all-zero shared secret;
//! - a secret is never printed, never serialised, and wiped when it is dropped;
//! - what fails to decrypt leaves no plaintext behind.

mod digest;
mod international;
mod key_file;
mod key_id;
mod key_line;
pub mod national;
mod passphrase;
mod recipient;
mod secret;
mod signature;
mod suite;
#[cfg(test)]
mod vectors;

pub use digest::{Digest, DigestError, sha256};
pub use international::{Hasher, Salts};
pub use key_file::{KeyFile, KeyFileError, PrivateHalf};
pub use key_id::{KeyId, Role, RoleError};
pub use key_line::{KeyLine, KeyLineError, PublicHalf};
pub use passphrase::Lock;
pub use recipient::{
    RECIPIENT_ALGORITHM, RecipientKey, RecipientKeyError, RecipientPublicKey, WrapError, Wrapped,
};
pub use secret::Secret;
pub use signature::{
    Algorithm, AlgorithmError, PublicKey, PublicKeyError, SIGNATURE_BYTES, SignatureError, SigningKey,
    ed25519_verify_strict,
};
pub use suite::{EncryptError, OpenError, PLAINTEXT_BYTES_MAX, Suite, SuiteError, TAG_BYTES};
