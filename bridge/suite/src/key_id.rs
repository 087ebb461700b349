//! Key ids, and the role that a key has.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError, sha256};

/// What a key is for. A key has one role; that no key has two is the trust file's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Signs batches, fences, beacons and key records.
    Signing = 1,
    /// Receives wrapped secrets.
    Recipient = 2,
    /// Signs a log's checkpoints.
    Log = 3,
    /// Cosigns checkpoints.
    Witness = 4,
    /// Signs versions of the trust file.
    Root = 5,
    /// Signs what an operator accepts: a GAP, a RETRACT.
    Operator = 6,
}

/// A role that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("role {0:?} does not exist: use signing, recipient, log, witness, root or operator")]
pub struct RoleError(String);

impl Role {
    /// Every role, by number.
    pub const ALL: [Role; 6] =
        [Role::Signing, Role::Recipient, Role::Log, Role::Witness, Role::Root, Role::Operator];

    /// The number of the role in key ids.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name of the role in key lines and files.
    pub fn name(self) -> &'static str {
        match self {
            Role::Signing => "signing",
            Role::Recipient => "recipient",
            Role::Log => "log",
            Role::Witness => "witness",
            Role::Root => "root",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(name: &str) -> Result<Self, RoleError> {
        let found = Role::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| RoleError(name.chars().take(32).collect()))
    }
}

/// The id of a public key in its role:
/// `SHA-256("govbridge/v1/key-id\0" || role u8 || algorithm u16be || public key)`.
///
/// The role is in it, so the same key bytes in two roles have two ids; who compares roles compares key bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub Digest);

impl KeyId {
    /// The id of these public key bytes.
    pub fn new(role: Role, algorithm: u16, public: &[u8]) -> Self {
        KeyId(sha256(&[b"govbridge/v1/key-id\0", &[role.number()], &algorithm.to_be_bytes(), public]))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The first 8 hex characters, for people and as a key line's check digits; never enough to tell keys apart.
    pub fn short(&self) -> String {
        self.0.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl AsRef<[u8]> for KeyId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

impl FromStr for KeyId {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(KeyId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_covers_role_algorithm_and_key() {
        let id = KeyId::new(Role::Signing, 1, &[5; 32]);
        let written = [b"govbridge/v1/key-id\0".as_slice(), &[1], &[0, 1], &[5; 32]].concat();
        assert_eq!(id.0, sha256(&[&written]));
        assert_ne!(id, KeyId::new(Role::Log, 1, &[5; 32]));
        assert_ne!(id, KeyId::new(Role::Signing, 2, &[5; 32]));
        assert_ne!(id, KeyId::new(Role::Signing, 1, &[6; 32]));
        assert_eq!(id.short(), id.to_string()[..8]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn every_role_has_its_number_and_name() {
        for (role, number) in Role::ALL.into_iter().zip(1..) {
            assert_eq!(role.number(), number);
            assert_eq!(role.name().parse(), Ok(role));
        }
        for bad in ["", "Signing", "signing ", "auditor"] {
            assert_eq!(bad.parse::<Role>(), Err(RoleError(bad.into())));
        }
    }
}
