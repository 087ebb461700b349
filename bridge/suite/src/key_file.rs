//! The text of a private key's file. Reading, writing and modes are the caller's.
//!
//! ```text
//! govbridge-private-key-v1
//! role: signing
//! name: tax
//! algorithm: ed25519
//! public: tax/signing+1f2e3d4c+AAE..
//! secret: <base64 of the 32-byte seed>
//! ```
//!
//! Under a passphrase the last line is replaced by two:
//!
//! ```text
//! kdf: argon2id m=65536 t=3 p=1 salt=<base64 of 16 bytes>
//! sealed: <base64 of AES-256-GCM(key, nonce = 0, associated data = all lines above, seed) and its tag>
//! ```
//!
//! The key is argon2id (RFC 9106) of the passphrase and the salt, so it is new with every salt and a zero nonce is
//! safe. Lines end with a line feed, stand in this order, and there are no others.

use std::fmt;

use argon2::{Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, Zeroizing};

use crate::international::{NONCE_ZERO, decrypt, encrypt};
use crate::key_line::LINE_BYTES_MAX;
use crate::{
    Algorithm, KeyId, KeyLine, KeyLineError, PublicHalf, RecipientKey, Role, RoleError, Secret, SigningKey,
    TAG_BYTES,
};

const FIRST_LINE: &str = "govbridge-private-key-v1";

/// 64 MiB, in KiB (RFC 9106, 4: the second recommended choice, with t = 3), one lane because one thread computes it.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// Longest key file: two names and a public line of at most 323 bytes, and less than 512 bytes of everything else.
const FILE_BYTES_MAX: usize = 2 * LINE_BYTES_MAX + 512;

/// A private key of either kind.
#[derive(Debug)]
pub enum PrivateHalf {
    /// A key that signs: signing, log, witness, root, operator.
    Signing(SigningKey),
    /// A key that unwraps secrets.
    Recipient(RecipientKey),
}

impl PrivateHalf {
    /// The key of this role whose seed is these 32 bytes.
    pub fn from_seed(role: Role, seed: &Secret) -> Self {
        match role {
            Role::Recipient => PrivateHalf::Recipient(RecipientKey::from_seed(*seed.expose())),
            _ => PrivateHalf::Signing(SigningKey::from_seed(role, *seed.expose())),
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicHalf {
        match self {
            PrivateHalf::Signing(key) => PublicHalf::Verifying(key.public()),
            PrivateHalf::Recipient(key) => PublicHalf::Recipient(key.public()),
        }
    }

    fn seed(&self) -> &[u8; 32] {
        match self {
            PrivateHalf::Signing(key) => key.seed(),
            PrivateHalf::Recipient(key) => key.seed(),
        }
    }
}

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

/// A private key with the name of whose it is.
#[derive(Debug)]
pub struct KeyFile {
    line: KeyLine,
    key: PrivateHalf,
}

/// A text that is not a private key's file, or does not open. No message shows a line's content: it may be the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Longer than any key file.
    #[error("a key file has at most {FILE_BYTES_MAX} bytes, this one {0}: it is some other file")]
    TooLong(usize),
    /// Another first line.
    #[error("not a private key of this version: the first line is not {FIRST_LINE:?}")]
    NotAKeyFile,
    /// The file ends early, or its last line has no line feed.
    #[error(
        "line {number}: the file ends where the line {expected:?} must be, closed by a line feed: it was cut off"
    )]
    Ends {
        /// The line's number, from 1.
        number: usize,
        /// The label that must stand there.
        expected: &'static str,
    },
    /// Another line stands there.
    #[error(
        "line {number}: {expected:?} must stand here, not {found:?}: the lines have a fixed order, and there are no others"
    )]
    Line {
        /// The line's number, from 1.
        number: usize,
        /// The label that must stand there.
        expected: &'static str,
        /// The label that does; empty when the line has none.
        found: String,
    },
    /// Something after the last line.
    #[error("line {number}: nothing may follow the last line: remove what was added")]
    Trailing {
        /// The line's number, from 1.
        number: usize,
    },
    /// No such role.
    #[error("role: {0}")]
    Role(#[from] RoleError),
    /// The role has another algorithm.
    #[error(
        "algorithm: a {role} key uses {expected}, and this file says otherwise: it was altered, or is newer than this build"
    )]
    Algorithm {
        /// The file's role.
        role: Role,
        /// The algorithm of that role.
        expected: &'static str,
    },
    /// The public line is not one.
    #[error("public: {0}")]
    Public(#[from] KeyLineError),
    /// The public line is of another name or role.
    #[error(
        "public: the line belongs to another name or role than the lines above it say: the file was altered"
    )]
    PublicOfAnother,
    /// The secret is not 32 bytes in base64.
    #[error("secret: not base64 (with padding) of 32 bytes: the line was altered or cut off")]
    Secret,
    /// The sealed secret is not 48 bytes in base64.
    #[error("sealed: not base64 (with padding) of 48 bytes: the line was altered or cut off")]
    Sealed,
    /// Other parameters than this version has.
    #[error(
        "kdf: must read \"argon2id m=65536 t=3 p=1 salt=<base64 of 16 bytes>\": it was altered, or is newer than this build"
    )]
    Kdf,
    /// The key derivation could not run.
    #[error(
        "the passphrase could not be made into a key: 64 MiB of memory are needed; free some and try again"
    )]
    Memory,
    /// The file needs a passphrase.
    #[error("the key is under a passphrase: give it")]
    PassphraseMissing,
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty: give one, or none at all")]
    PassphraseEmpty,
    /// The sealed secret does not open.
    #[error(
        "the passphrase is wrong, or the file was altered: try again, else take the file from its backup"
    )]
    PassphraseWrong,
    /// The secret belongs to another public key.
    #[error("the secret is not the one of the public line: the file was altered; take it from its backup")]
    PublicDiffers,
}

impl KeyFile {
    /// Names a key.
    ///
    /// # Errors
    /// [`KeyLineError::Name`], and [`KeyLineError::Key`] for a signing key in the role of a recipient.
    pub fn new(name: &str, key: PrivateHalf) -> Result<Self, KeyLineError> {
        Ok(KeyFile { line: KeyLine::new(name, key.public())?, key })
    }

    /// Whose key it is.
    pub fn name(&self) -> &str {
        self.line.name()
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.line.role()
    }

    /// The id of the public half.
    pub fn id(&self) -> KeyId {
        self.line.id()
    }

    /// The public half as its line.
    pub fn line(&self) -> &KeyLine {
        &self.line
    }

    /// The key.
    pub fn key(&self) -> &PrivateHalf {
        &self.key
    }

    /// The key, to be used.
    pub fn into_key(self) -> PrivateHalf {
        self.key
    }

    /// Whether a key file's text needs a passphrase, without opening it.
    pub fn is_locked(text: &str) -> bool {
        text.lines().take(8).any(|line| line.starts_with("sealed: "))
    }

    /// The file's text, under a passphrase if a lock is given.
    ///
    /// # Errors
    /// [`KeyFileError::PassphraseEmpty`] and [`KeyFileError::Memory`].
    pub fn encode(&self, lock: Option<&Lock<'_>>) -> Result<Zeroizing<String>, KeyFileError> {
        let algorithm = self.key.public().algorithm_name();
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
        text.push_str(&format!(
            "{FIRST_LINE}\nrole: {}\nname: {}\nalgorithm: {algorithm}\npublic: {}\n",
            self.role(),
            self.name(),
            self.line
        ));
        match lock {
            None => {
                let secret = Zeroizing::new(BASE64.encode(self.key.seed()));
                text.push_str("secret: ");
                text.push_str(&secret);
            }
            Some(lock) => {
                text.push_str(&format!("kdf: {}\n", kdf_value(&lock.salt)));
                let key = passphrase_key(lock.passphrase, &lock.salt)?;
                let mut sealed = Vec::with_capacity(32 + TAG_BYTES);
                sealed.extend_from_slice(self.key.seed());
                let encrypted = encrypt(&key, &NONCE_ZERO, text.as_bytes(), &mut sealed);
                if encrypted.is_err() {
                    unreachable!("32 bytes are not too long to encrypt");
                }
                text.push_str("sealed: ");
                text.push_str(&BASE64.encode(&sealed));
            }
        }
        text.push('\n');
        Ok(text)
    }

    /// Reads a file's text. A passphrase is needed only, and used only, when the text is under one.
    ///
    /// # Errors
    /// [`KeyFileError`], which says which line is wrong and why.
    pub fn decode(text: &str, passphrase: Option<&str>) -> Result<Self, KeyFileError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(KeyFileError::TooLong(text.len()));
        }
        let mut lines = Lines { rest: text, number: 0 };
        if lines.next_line() != Some(FIRST_LINE) {
            return Err(KeyFileError::NotAKeyFile);
        }
        let role: Role = lines.value("role")?.parse()?;
        let name = lines.value("name")?;
        let algorithm = lines.value("algorithm")?;
        let expected = match role {
            Role::Recipient => crate::recipient::RECIPIENT_ALGORITHM_NAME,
            _ => Algorithm::Ed25519.name(),
        };
        if algorithm != expected {
            return Err(KeyFileError::Algorithm { role, expected });
        }
        let line: KeyLine = lines.value("public")?.parse()?;
        if line.role() != role || line.name() != name {
            return Err(KeyFileError::PublicOfAnother);
        }
        let seed = match lines.next_is("kdf") {
            true => locked_seed(&mut lines, text, passphrase)?,
            false => clear_seed(&mut lines)?,
        };
        lines.end()?;
        let key = PrivateHalf::from_seed(role, &seed);
        if key.public() != *line.key() {
            return Err(KeyFileError::PublicDiffers);
        }
        Ok(KeyFile { line, key })
    }
}

fn clear_seed(lines: &mut Lines<'_>) -> Result<Secret, KeyFileError> {
    let mut bytes = Zeroizing::new([0; 33]);
    // One byte more than a seed has, so that a longer one is noticed. The decoder wants room for its padding too.
    let decoded = BASE64.decode_slice(lines.value("secret")?, bytes.as_mut_slice());
    match (decoded, bytes.first_chunk::<32>()) {
        (Ok(32), Some(seed)) => Ok(Secret::new(*seed)),
        _ => Err(KeyFileError::Secret),
    }
}

fn locked_seed(lines: &mut Lines<'_>, text: &str, passphrase: Option<&str>) -> Result<Secret, KeyFileError> {
    let salt = parse_kdf(lines.value("kdf")?).ok_or(KeyFileError::Kdf)?;
    let above = text.len() - lines.rest.len();
    let mut sealed = BASE64.decode(lines.value("sealed")?).map_err(|_| KeyFileError::Sealed)?;
    if sealed.len() != 32 + TAG_BYTES {
        return Err(KeyFileError::Sealed);
    }
    // A file with something after its last line is refused before the passphrase is worked on.
    lines.end()?;
    let key = passphrase_key(passphrase.ok_or(KeyFileError::PassphraseMissing)?, &salt)?;
    let associated = text.as_bytes().get(..above).unwrap_or_default();
    decrypt(&key, &NONCE_ZERO, associated, &mut sealed).map_err(|_| KeyFileError::PassphraseWrong)?;
    let seed = sealed.first_chunk::<32>().map(|seed| Secret::new(*seed));
    sealed.zeroize();
    seed.ok_or(KeyFileError::Sealed)
}

fn kdf_value(salt: &[u8; 16]) -> String {
    format!("argon2id m={MEMORY_KIB} t={PASSES} p={LANES} salt={}", BASE64.encode(salt))
}

/// The salt of a kdf line. Other parameters than this version's are refused: a file must not choose how much memory
/// its reader spends.
fn parse_kdf(value: &str) -> Option<[u8; 16]> {
    let (_, salt) = value.split_once(" salt=")?;
    let salt: [u8; 16] = BASE64.decode(salt).ok()?.try_into().ok()?;
    (value == kdf_value(&salt)).then_some(salt)
}

fn passphrase_key(passphrase: &str, salt: &[u8; 16]) -> Result<Secret, KeyFileError> {
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

/// The lines of a file, each closed by a line feed.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        self.number += 1;
        Some(line)
    }

    fn next_is(&self, label: &str) -> bool {
        self.rest.strip_prefix(label).is_some_and(|rest| rest.starts_with(": "))
    }

    /// The value of the next line, which must have this label.
    fn value(&mut self, expected: &'static str) -> Result<&'a str, KeyFileError> {
        let line = self.next_line().ok_or(KeyFileError::Ends { number: self.number + 1, expected })?;
        match line.split_once(": ") {
            Some((label, value)) if label == expected => Ok(value),
            other => {
                // Only a label is shown, and only if it looks like one: anything else may be a misplaced secret.
                let label = other.map(|(label, _)| label).unwrap_or_default();
                let found = match label.len() <= 16 && label.bytes().all(|b| b.is_ascii_lowercase()) {
                    true => label.to_owned(),
                    false => String::new(),
                };
                Err(KeyFileError::Line { number: self.number, expected, found })
            }
        }
    }

    fn end(&self) -> Result<(), KeyFileError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(KeyFileError::Trailing { number: self.number + 1 }),
        }
    }
}
