//! The one line that a public key is, for people, mail and the trust file.
//!
//! ```text
//! <name>/<role>+<first 8 hex of the key id>+<base64(algorithm u16be || public key)>
//! ```
//!
//! The hex digits are check digits: they catch a line that was typed or cut wrongly, or that was given another role.
//! They do not tell keys apart; the key id does. Log and witness keys are shown to people as C2SP verifier keys
//! (`bridge-tlog`), and in this form inside key files.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::recipient::RECIPIENT_ALGORITHM_NAME;
use crate::{
    Algorithm, AlgorithmError, KeyId, PublicKey, PublicKeyError, RECIPIENT_ALGORITHM, RecipientPublicKey,
    Role,
};

/// Longest name, in bytes: an origin is the longest thing that names a key.
const NAME_BYTES_MAX: usize = 255;

/// Longest line: name, the longest role, check digits, separators, and 34 bytes in base64. 255 + 1 + 9 + 1 + 8 + 1 + 48.
pub(crate) const LINE_BYTES_MAX: usize = NAME_BYTES_MAX + 68;

/// A public key of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicHalf {
    /// A key that verifies: signing, log, witness, root, operator.
    Verifying(PublicKey),
    /// A key that secrets are wrapped for.
    Recipient(RecipientPublicKey),
}

impl PublicHalf {
    /// What the key is for.
    pub fn role(&self) -> Role {
        match self {
            PublicHalf::Verifying(key) => key.role(),
            PublicHalf::Recipient(_) => Role::Recipient,
        }
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        match self {
            PublicHalf::Verifying(key) => key.id(),
            PublicHalf::Recipient(key) => key.id(),
        }
    }

    /// The key's 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        match self {
            PublicHalf::Verifying(key) => key.bytes(),
            PublicHalf::Recipient(key) => key.bytes(),
        }
    }

    /// The algorithm's number.
    pub fn algorithm_number(&self) -> u16 {
        match self {
            PublicHalf::Verifying(key) => key.algorithm().number(),
            PublicHalf::Recipient(_) => RECIPIENT_ALGORITHM,
        }
    }

    /// The algorithm's name in key files.
    pub fn algorithm_name(&self) -> &'static str {
        match self {
            PublicHalf::Verifying(key) => key.algorithm().name(),
            PublicHalf::Recipient(_) => RECIPIENT_ALGORITHM_NAME,
        }
    }
}

/// A public key with the name of whose it is; `Display` and `FromStr` are its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    name: String,
    key: PublicHalf,
}

/// A text that is not a public key's line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineError {
    /// Longer than any line.
    #[error(
        "a public key's line has at most {LINE_BYTES_MAX} bytes, this one {0}: check that it is one line"
    )]
    TooLong(usize),
    /// Not three parts.
    #[error("not a public key's line: it reads <name>/<role>+<8 hex digits>+<base64>, as keygen prints it")]
    Shape,
    /// A name with other characters, empty or too long.
    #[error(
        "key name {0:?} is not valid: use 1 to 255 printable ASCII characters without space and '+', and no '/' at either end"
    )]
    Name(String),
    /// No such role.
    #[error(transparent)]
    Role(#[from] crate::RoleError),
    /// Not base64 of an algorithm and a key.
    #[error(
        "the key is not base64 (with padding) of a 2-byte algorithm and a 32-byte key: check that the whole line was copied"
    )]
    Encoding,
    /// An algorithm that this build does not speak.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// An algorithm that the role does not use.
    #[error("a {role} key does not use algorithm {algorithm:#06x}: the role or the key is another's")]
    AlgorithmOfRole {
        /// The line's role.
        role: Role,
        /// The line's algorithm.
        algorithm: u16,
    },
    /// The key itself is refused.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// The check digits belong to another key or role.
    #[error(
        "the check digits are {found:?}, but this {role} key has {expected}: the line was altered or typed wrongly"
    )]
    CheckDigits {
        /// The line's role.
        role: Role,
        /// What the line says.
        found: String,
        /// What the key has.
        expected: String,
    },
}

impl KeyLine {
    /// Names a key.
    ///
    /// # Errors
    /// [`KeyLineError::Name`], and [`KeyLineError::Key`] for a key whose role does not sign.
    pub fn new(name: &str, key: PublicHalf) -> Result<Self, KeyLineError> {
        if !is_name(name) {
            return Err(KeyLineError::Name(name.chars().take(80).collect()));
        }
        match key {
            PublicHalf::Verifying(key) if key.role() == Role::Recipient => {
                Err(PublicKeyError::Role(Role::Recipient).into())
            }
            _ => Ok(KeyLine { name: name.to_owned(), key }),
        }
    }

    /// Whose key it is: a department, or the name of a log or witness.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PublicHalf {
        &self.key
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.key.role()
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.key.id()
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+')
        && !name.starts_with('/')
        && !name.ends_with('/')
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key.algorithm_number().to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.key.bytes());
        write!(f, "{}/{}+{}+{}", self.name, self.role(), self.id().short(), BASE64.encode(bytes))
    }
}

impl FromStr for KeyLine {
    type Err = KeyLineError;

    fn from_str(line: &str) -> Result<Self, KeyLineError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(KeyLineError::TooLong(line.len()));
        }
        // The base64 may hold '+' and '/': only the first two plus signs separate, and only the slash before them.
        let (named, rest) = line.split_once('+').ok_or(KeyLineError::Shape)?;
        let (digits, text) = rest.split_once('+').ok_or(KeyLineError::Shape)?;
        let (name, role) = named.rsplit_once('/').ok_or(KeyLineError::Shape)?;
        let line = KeyLine::new(name, parse_key(role.parse()?, text)?)?;
        let expected = line.id().short();
        if digits != expected {
            let found = digits.chars().take(16).collect();
            return Err(KeyLineError::CheckDigits { role: line.role(), found, expected });
        }
        Ok(line)
    }
}

fn parse_key(role: Role, text: &str) -> Result<PublicHalf, KeyLineError> {
    let bytes = BASE64.decode(text).map_err(|_| KeyLineError::Encoding)?;
    let (algorithm, public) = bytes.split_first_chunk::<2>().ok_or(KeyLineError::Encoding)?;
    let algorithm = u16::from_be_bytes(*algorithm);
    match (role == Role::Recipient, algorithm == RECIPIENT_ALGORITHM) {
        (true, true) => Ok(PublicHalf::Recipient(RecipientPublicKey::from_bytes(public)?)),
        (false, false) => {
            let algorithm = Algorithm::from_number(algorithm)?;
            Ok(PublicHalf::Verifying(PublicKey::from_bytes(role, algorithm, public)?))
        }
        _ => Err(KeyLineError::AlgorithmOfRole { role, algorithm }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RecipientKey, SigningKey};

    fn line(name: &str, role: Role) -> KeyLine {
        let key = match role {
            Role::Recipient => PublicHalf::Recipient(RecipientKey::from_seed([3; 32]).public()),
            _ => PublicHalf::Verifying(SigningKey::from_seed(role, [3; 32]).public()),
        };
        KeyLine::new(name, key).unwrap()
    }

    fn parse(text: &str) -> Result<KeyLine, KeyLineError> {
        text.parse()
    }

    #[test]
    fn a_line_of_every_role_reads_back() {
        for role in Role::ALL {
            for name in ["tax", "gov.example/tax/main", "witness.tax.gov.example", &"a".repeat(255)] {
                let line = line(name, role);
                let text = line.to_string();
                assert_eq!(parse(&text), Ok(line.clone()), "{text}");
                assert_eq!((line.name(), line.role(), line.id()), (name, role, line.key().id()));
                assert!(text.len() <= LINE_BYTES_MAX);
                assert!(text.starts_with(&format!("{name}/{role}+{}+", &line.id().to_string()[..8])));
            }
        }
    }

    #[test]
    fn the_base64_holds_the_algorithm_and_the_key() {
        let text = line("tax", Role::Recipient).to_string();
        let bytes = BASE64.decode(text.splitn(3, '+').nth(2).unwrap()).unwrap();
        assert_eq!(bytes[..2], [1, 1]);
        assert_eq!(bytes[2..], RecipientKey::from_seed([3; 32]).public().bytes());
    }

    #[test]
    fn a_line_with_any_character_after_its_name_altered_is_refused() {
        let good = line("tax", Role::Signing).to_string();
        for i in 4..good.len() {
            for other in [b'0', b'1', b'A', b'z', b'+', b'/', b'=', b' '] {
                let mut bytes = good.clone().into_bytes();
                if bytes[i] == other {
                    continue;
                }
                bytes[i] = other;
                let altered = String::from_utf8(bytes).unwrap();
                assert!(parse(&altered).is_err(), "{altered}");
            }
            assert!(parse(&good[..i]).is_err(), "cut at {i}");
        }
        for added in [" ", "\n", "=", "A", "+A"] {
            assert!(parse(&format!("{good}{added}")).is_err(), "{added:?}");
        }
    }

    #[test]
    fn wrong_check_digits_are_named() {
        let good = line("tax", Role::Signing);
        let (text, expected) = (good.to_string(), good.id().short());
        for found in ["00000000".to_owned(), expected.to_uppercase() + "0", expected[1..].to_owned()] {
            let wrong = text.replacen(&expected, &found, 1);
            let expected = expected.clone();
            assert_eq!(
                parse(&wrong),
                Err(KeyLineError::CheckDigits { role: Role::Signing, found, expected })
            );
        }
        // The same key bytes under another role are another key.
        let moved = text.replace("/signing+", "/root+");
        assert!(matches!(parse(&moved), Err(KeyLineError::CheckDigits { role: Role::Root, .. })));
    }

    #[test]
    fn each_fault_of_a_line_has_its_own_error() {
        let good = line("tax", Role::Signing).to_string();
        let encoded = |role: &str, bytes: &[u8]| format!("tax/{role}+00000000+{}", BASE64.encode(bytes));
        let with = |algorithm: [u8; 2], key: &[u8]| [algorithm.as_slice(), key].concat();
        let key = SigningKey::from_seed(Role::Signing, [3; 32]).public().bytes();
        for text in ["", "tax", "tax/signing", "tax/signing+00000000", "tax+00000000+AAAA"] {
            assert_eq!(parse(text), Err(KeyLineError::Shape), "{text:?}");
        }
        assert_eq!(parse(&"a".repeat(1000)), Err(KeyLineError::TooLong(1000)));
        assert_eq!(parse(&good.replace("tax", "t x")), Err(KeyLineError::Name("t x".into())));
        assert_eq!(parse(&good.replace("tax", "税务")), Err(KeyLineError::Name("税务".into())));
        assert_eq!(parse(&good.replace("tax", "")), Err(KeyLineError::Name(String::new())));
        assert_eq!(parse(&good.replace("tax", "/tax")), Err(KeyLineError::Name("/tax".into())));
        assert!(matches!(parse(&good.replace("signing", "sining")), Err(KeyLineError::Role(_))));
        assert_eq!(parse("tax/signing+00000000+AB"), Err(KeyLineError::Encoding), "no padding");
        assert_eq!(parse("tax/signing+00000000+AA=="), Err(KeyLineError::Encoding), "one byte");
        let of = |role, algorithm| KeyLineError::AlgorithmOfRole { role, algorithm };
        assert_eq!(parse(&encoded("recipient", &with([0, 1], &key))), Err(of(Role::Recipient, 1)));
        assert_eq!(parse(&encoded("signing", &with([1, 1], &key))), Err(of(Role::Signing, 0x0101)));
        assert_eq!(
            parse(&encoded("signing", &with([0, 2], &key))),
            Err(KeyLineError::Algorithm(AlgorithmError::NotAvailable(2)))
        );
        assert_eq!(
            parse(&encoded("signing", &with([0, 1], &key[1..]))),
            Err(KeyLineError::Key(PublicKeyError::Length { algorithm: "ed25519", bytes: 31 }))
        );
        assert_eq!(
            parse(&encoded("recipient", &with([1, 1], &[0; 32]))),
            Err(KeyLineError::Key(PublicKeyError::SmallOrder))
        );
        let lost = SigningKey::from_seed(Role::Recipient, [3; 32]).public();
        assert_eq!(
            KeyLine::new("tax", PublicHalf::Verifying(lost)),
            Err(KeyLineError::Key(PublicKeyError::Role(Role::Recipient)))
        );
    }
}
