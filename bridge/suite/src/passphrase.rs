//! From a passphrase to a key: argon2id (RFC 9106).

use std::fmt;

use argon2::{Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::{KeyFileError, Secret};

/// 64 MiB, in KiB (RFC 9106, 4: the second recommended choice, with t = 3), one lane because one thread computes it.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// A passphrase and 16 fresh random bytes, to write a key under.
pub struct Lock<'a> {
    /// What a person types; any text that is not empty.
    pub passphrase: &'a str,
    /// Random, new for every file written.
    pub salt: [u8; 16],
}

impl fmt::Debug for Lock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock(..)")
    }
}

/// The value of a `kdf` line.
pub(crate) fn parameters(salt: &[u8; 16]) -> String {
    format!("argon2id m={MEMORY_KIB} t={PASSES} p={LANES} salt={}", BASE64.encode(salt))
}

/// The salt of a kdf line. Other parameters than this version's are refused: a file must not choose how much memory
/// its reader spends.
pub(crate) fn parse_salt(value: &str) -> Option<[u8; 16]> {
    let (_, salt) = value.split_once(" salt=")?;
    let salt: [u8; 16] = BASE64.decode(salt).ok()?.try_into().ok()?;
    (value == parameters(&salt)).then_some(salt)
}

/// The key that a passphrase and a salt give.
pub(crate) fn stretch(passphrase: &str, salt: &[u8; 16]) -> Result<Secret, KeyFileError> {
    if passphrase.is_empty() {
        return Err(KeyFileError::PassphraseEmpty);
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|_| KeyFileError::Memory)?;
    let mut bytes = Zeroizing::new([0; 32]);
    Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, bytes.as_mut_slice())
        .map_err(|_| KeyFileError::Memory)?;
    Ok(Secret::new(*bytes))
}
