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

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::{Zeroize, Zeroizing};

use crate::international::{NONCE_ZERO, decrypt, encrypt};
use crate::key_line::LINE_BYTES_MAX;
use crate::passphrase::{self, Lock};
use crate::{
    Algorithm, KeyId, KeyLine, KeyLineError, PublicHalf, RecipientKey, Role, RoleError, Secret, SigningKey,
    TAG_BYTES,
};

const FIRST_LINE: &str = "govbridge-private-key-v1";

/// Longest key file: two names and a public line of at most 323 bytes, and less than 512 bytes of everything else.
const FILE_BYTES_MAX: usize = 2 * LINE_BYTES_MAX + 512;

/// A private key of either kind.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a process holds a handful of them, and a box would be one more copy"
)]
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
                text.push_str(&format!("kdf: {}\n", passphrase::parameters(&lock.salt)));
                let key = passphrase::stretch(lock.passphrase, &lock.salt)?;
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
    let salt = passphrase::parse_salt(lines.value("kdf")?).ok_or(KeyFileError::Kdf)?;
    let above = text.len() - lines.rest.len();
    let mut sealed = BASE64.decode(lines.value("sealed")?).map_err(|_| KeyFileError::Sealed)?;
    if sealed.len() != 32 + TAG_BYTES {
        return Err(KeyFileError::Sealed);
    }
    // A file with something after its last line is refused before the passphrase is worked on.
    lines.end()?;
    let key = passphrase::stretch(passphrase.ok_or(KeyFileError::PassphraseMissing)?, &salt)?;
    let associated = text.as_bytes().get(..above).unwrap_or_default();
    decrypt(&key, &NONCE_ZERO, associated, &mut sealed).map_err(|_| KeyFileError::PassphraseWrong)?;
    let seed = sealed.first_chunk::<32>().map(|seed| Secret::new(*seed));
    sealed.zeroize();
    seed.ok_or(KeyFileError::Sealed)
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

#[cfg(test)]
mod tests {
    use argon2::{Argon2, Params, Version};

    use super::*;

    const PASSPHRASE: &str = "correct horse 电池";

    fn file(name: &str, role: Role) -> KeyFile {
        KeyFile::new(name, PrivateHalf::from_seed(role, &Secret::new([3; 32]))).unwrap()
    }

    fn clear() -> String {
        file("tax", Role::Signing).encode(None).unwrap().to_string()
    }

    fn locked() -> String {
        let lock = Lock { passphrase: PASSPHRASE, salt: [9; 16] };
        file("tax", Role::Signing).encode(Some(&lock)).unwrap().to_string()
    }

    fn error(text: &str) -> KeyFileError {
        KeyFile::decode(text, Some(PASSPHRASE)).unwrap_err()
    }

    /// The text with one line replaced, or taken out.
    fn with_line(text: &str, number: usize, line: Option<&str>) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        match line {
            Some(line) => lines[number - 1] = line,
            None => drop(lines.remove(number - 1)),
        }
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_key_of_every_role_reads_back_from_its_clear_file() {
        for role in Role::ALL {
            let written = file("gov.example/tax/main", role);
            let text = written.encode(None).unwrap();
            assert!(!KeyFile::is_locked(&text));
            let read = KeyFile::decode(&text, None).unwrap();
            assert_eq!(read.line(), written.line());
            assert_eq!((read.name(), read.role(), read.id()), ("gov.example/tax/main", role, written.id()));
            assert_eq!(read.key().seed(), &[3; 32]);
            assert_eq!(read.into_key().public(), written.key().public());
        }
    }

    #[test]
    fn the_clear_file_has_these_lines() {
        let line = file("tax", Role::Signing).line().to_string();
        let secret = BASE64.encode([3; 32]);
        let text = format!(
            "govbridge-private-key-v1\nrole: signing\nname: tax\nalgorithm: ed25519\npublic: {line}\nsecret: {secret}\n"
        );
        assert_eq!(clear(), text);
        let recipient = file("tax", Role::Recipient).encode(None).unwrap();
        assert!(recipient.contains("\nalgorithm: x25519\n"));
    }

    #[test]
    fn a_key_under_a_passphrase_reads_back_with_that_passphrase_only() {
        let text = locked();
        assert!(KeyFile::is_locked(&text));
        assert!(!text.contains(&BASE64.encode([3; 32])));
        assert!(text.contains("\nkdf: argon2id m=65536 t=3 p=1 salt=CQkJCQkJCQkJCQkJCQkJCQ==\nsealed: "));
        let read = KeyFile::decode(&text, Some(PASSPHRASE)).unwrap();
        assert_eq!(read.key().seed(), &[3; 32]);
        let decode = |passphrase| KeyFile::decode(&text, passphrase).unwrap_err();
        assert_eq!(decode(Some("correct horse")), KeyFileError::PassphraseWrong);
        assert_eq!(decode(Some("")), KeyFileError::PassphraseEmpty);
        assert_eq!(decode(None), KeyFileError::PassphraseMissing);
        let lock = Lock { passphrase: "", salt: [9; 16] };
        assert_eq!(
            file("tax", Role::Signing).encode(Some(&lock)).unwrap_err(),
            KeyFileError::PassphraseEmpty
        );
    }

    #[test]
    fn the_sealed_line_is_argon2id_and_gcm_as_written_above() {
        let text = locked();
        let (above, sealed) = text.split_once("sealed: ").unwrap();
        let params = Params::new(64 * 1024, 3, 1, None).unwrap();
        let argon2id = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params);
        let mut key = [0; 32];
        argon2id.hash_password_into(PASSPHRASE.as_bytes(), &[9; 16], &mut key).unwrap();
        let mut buffer = BASE64.decode(sealed.trim_end()).unwrap();
        decrypt(&Secret::new(key), &NONCE_ZERO, above.as_bytes(), &mut buffer).unwrap();
        assert_eq!(buffer, [3; 32]);
    }

    #[test]
    fn the_lines_above_the_seal_cannot_be_changed_without_the_passphrase() {
        let text = locked();
        // A consistent change of the name, which the lines alone would not show.
        let renamed = text.replace("name: tax", "name: vat").replace("public: tax/", "public: vat/");
        assert_eq!(error(&renamed), KeyFileError::PassphraseWrong);
        let salted = text.replace("salt=CQ", "salt=CA");
        assert_eq!(error(&salted), KeyFileError::PassphraseWrong);
        let (above, sealed) = text.split_once("sealed: ").unwrap();
        let mut bytes = BASE64.decode(sealed.trim_end()).unwrap();
        bytes[5] ^= 1;
        let altered = format!("{above}sealed: {}\n", BASE64.encode(&bytes));
        assert_eq!(error(&altered), KeyFileError::PassphraseWrong);
        let cut = format!("{above}sealed: {}\n", BASE64.encode(&bytes[1..]));
        assert_eq!(error(&cut), KeyFileError::Sealed);
        assert_eq!(error(&format!("{above}sealed: ***\n")), KeyFileError::Sealed);
    }

    #[test]
    fn other_parameters_of_the_passphrase_are_refused_before_they_cost_anything() {
        let text = locked();
        for (from, to) in [
            ("m=65536", "m=4294967295"),
            ("m=65536", "m=065536"),
            ("t=3", "t=1"),
            ("p=1", "p=2"),
            ("argon2id", "argon2i"),
            ("salt=CQkJ", "salt=CQk"),
            (" salt=", " nonce="),
            (" t=3", "  t=3"),
        ] {
            assert_eq!(error(&text.replace(from, to)), KeyFileError::Kdf, "{to}");
        }
    }

    #[test]
    fn a_missing_unknown_or_misplaced_line_is_named() {
        let text = clear();
        let expect =
            |number, expected, found: &str| KeyFileError::Line { number, expected, found: found.into() };
        assert_eq!(error(&with_line(&text, 2, None)), expect(2, "role", "name"));
        assert_eq!(error(&with_line(&text, 3, None)), expect(3, "name", "algorithm"));
        assert_eq!(error(&with_line(&text, 4, None)), expect(4, "algorithm", "public"));
        assert_eq!(error(&with_line(&text, 5, None)), expect(5, "public", "secret"));
        assert_eq!(
            error(&with_line(&text, 6, None)),
            KeyFileError::Ends { number: 6, expected: "secret" },
            "the file ends early"
        );
        assert_eq!(error(&text.replace("name: ", "comment: mine\nname: ")), expect(3, "name", "comment"));
        assert_eq!(error(&text.replace("name: ", "name:")), expect(3, "name", ""));
        assert_eq!(error(&text.replace("secret: ", "sealed: ")), expect(6, "secret", "sealed"));
        assert_eq!(error(&format!("{text}note: x\n")), KeyFileError::Trailing { number: 7 });
        assert_eq!(error(&format!("{text}\n")), KeyFileError::Trailing { number: 7 });
        assert_eq!(error(text.trim_end()), KeyFileError::Ends { number: 6, expected: "secret" });
        assert_eq!(error(&format!("{}x\n", locked())), KeyFileError::Trailing { number: 8 });
        assert_eq!(error(&locked().replace("sealed: ", "secret: ")), expect(7, "sealed", "secret"));
    }

    #[test]
    fn a_secret_on_a_wrong_line_is_not_shown() {
        let secret = BASE64.encode([3; 32]);
        for line in [secret.clone(), format!("{secret}: x"), format!("Name: {secret}")] {
            let error = error(&with_line(&clear(), 3, Some(&line)));
            assert!(!format!("{error} {error:?}").contains(&secret), "{error}");
        }
    }

    #[test]
    fn each_tampered_line_has_its_own_error() {
        let text = clear();
        assert_eq!(error(""), KeyFileError::NotAKeyFile);
        assert_eq!(error(&text.replace("key-v1", "key-v2")), KeyFileError::NotAKeyFile);
        assert_eq!(error(&text.replace('\n', "\r\n")), KeyFileError::NotAKeyFile);
        assert_eq!(error(&"x".repeat(5000)), KeyFileError::TooLong(5000));
        assert!(matches!(error(&text.replace("role: signing", "role: singing")), KeyFileError::Role(_)));
        assert_eq!(error(&text.replace("role: signing", "role: root")), KeyFileError::PublicOfAnother);
        assert_eq!(
            error(&text.replace("role: signing", "role: recipient")),
            KeyFileError::Algorithm { role: Role::Recipient, expected: "x25519" }
        );
        assert_eq!(error(&text.replace("name: tax", "name: vat")), KeyFileError::PublicOfAnother);
        assert_eq!(
            error(&text.replace("algorithm: ed25519", "algorithm: sm2")),
            KeyFileError::Algorithm { role: Role::Signing, expected: "ed25519" }
        );
        assert!(matches!(
            error(&text.replace("public: tax/signing+", "public: tax/signing+0")),
            KeyFileError::Public(KeyLineError::CheckDigits { .. })
        ));
        let other = BASE64.encode([4; 32]);
        assert_eq!(
            error(&with_line(&text, 6, Some(&format!("secret: {other}")))),
            KeyFileError::PublicDiffers
        );
        for bad in [
            BASE64.encode([3; 31]),
            BASE64.encode([3; 33]),
            BASE64.encode([3; 40]),
            "***".into(),
            String::new(),
        ] {
            assert_eq!(
                error(&with_line(&text, 6, Some(&format!("secret: {bad}")))),
                KeyFileError::Secret,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_clear_file_with_any_character_altered_never_gives_another_key() {
        let text = clear();
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] ^= 1;
            let altered = String::from_utf8(bytes).unwrap();
            assert!(KeyFile::decode(&altered, None).is_err(), "byte {i}: {altered}");
            assert!(KeyFile::decode(&text[..i], None).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn key_files_and_locks_print_no_secret() {
        let lock = Lock { passphrase: PASSPHRASE, salt: [9; 16] };
        assert_eq!(format!("{lock:?}"), "Lock(..)");
        let printed = format!("{:?}", file("tax", Role::Recipient));
        assert!(!printed.contains("3, 3") && !printed.contains("0303"), "{printed}");
    }
}
