//! What verification finds. Every finding is a refusal, has a code, and the code has a page in `docs/errors`.

use bridge_event::{Department, Origin, SectionName, StreamId, UnixMicros};
use bridge_suite::{KeyId, Role, Suite};

use crate::ParseError;

/// One thing that is wrong with something that was received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The bytes do not have the format's shape.
    #[error(transparent)]
    Shape(#[from] ParseError),
    /// A signature names a key that the trust file does not give to the department.
    #[error(
        "key {key} is not a key of {department} in the trust file: someone else signed, or the trust file is old"
    )]
    UnknownKey {
        /// The department that should have signed.
        department: Department,
        /// The key that is said to have signed.
        key: KeyId,
    },
    /// A key signed what keys of its role do not sign.
    #[error("key {key} has the role {role}, which does not sign this")]
    KeyRole {
        /// The key.
        key: KeyId,
        /// Its role.
        role: Role,
    },
    /// A signature does not verify.
    #[error("the signature of key {key} does not belong to these bytes: they were altered")]
    Signature {
        /// The key.
        key: KeyId,
    },
    /// A signature that must be there is not.
    #[error("a valid {algorithm} signature of a {role} key is missing")]
    SignatureMissing {
        /// The role that must sign.
        role: Role,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// It belongs to another stream, department or dataset.
    #[error("it belongs to {found}, and {expected} was expected: it was moved here")]
    Stream {
        /// What was expected.
        expected: String,
        /// What it says.
        found: String,
    },
    /// It names another log.
    #[error("it names the log {found}, and {expected} was expected")]
    Origin {
        /// The log that the contract names.
        expected: Origin,
        /// The log that it names.
        found: Origin,
    },
    /// It is of another suite than the contract says.
    #[error("it is of the suite {}, and the contract says {}", .found.name(), .expected.name())]
    Suite {
        /// The contract's suite.
        expected: Suite,
        /// Its suite.
        found: Suite,
    },
    /// The first batch of a stream does not follow the stream's genesis.
    #[error("the batch is the stream's first, and its previous digest is not the genesis of {stream}")]
    Genesis {
        /// The stream.
        stream: StreamId,
    },
    /// A critical extension is not known.
    #[error("extension {id} is critical and not known to this build: a newer reader is needed")]
    Extension {
        /// The extension's number.
        id: u32,
    },
    /// Signed fields contradict each other.
    #[error("signed fields contradict each other: {0}")]
    Contradiction(&'static str),
    /// A section has not the rows that the header announces.
    #[error("the header announces {announced} rows, and {found}")]
    Rows {
        /// The header's events.
        announced: u64,
        /// What is there instead, in words.
        found: String,
    },
    /// A section block is not the one that the header names.
    #[error("the block of section {section} is not the one that the header names")]
    Block {
        /// The section.
        section: SectionName,
    },
    /// A ciphertext is not the one that its block names.
    #[error("the ciphertext of section {section} is not the one that its block names")]
    Ciphertext {
        /// The section.
        section: SectionName,
    },
    /// A section stands in the batch twice.
    #[error("section {section} stands in the batch twice")]
    SectionTwice {
        /// The section.
        section: SectionName,
    },
    /// A key is wrapped for a department that has no grant.
    #[error("the section's key is wrapped for {recipient}, which has no grant then")]
    Outsider {
        /// The department.
        recipient: Department,
    },
    /// A department with a grant is left out.
    #[error("the section's key is not wrapped for {recipient}, which has a grant then")]
    LeftOut {
        /// The department.
        recipient: Department,
    },
    /// A key is wrapped for a recipient key that the trust file does not name.
    #[error(
        "the section's key is wrapped for {recipient} under key {key}, which is none of its recipient keys"
    )]
    RecipientKey {
        /// The department.
        recipient: Department,
        /// The key.
        key: KeyId,
    },
    /// A key version outlives a change of its section's grants.
    #[error("a grant of the section changes at {} us, inside the key version's life", .change.0)]
    GrantChange {
        /// When.
        change: UnixMicros,
    },
    /// A key record is used where it does not belong.
    #[error("the key record does not belong here: its {field} is another")]
    KeyRecord {
        /// What differs.
        field: &'static str,
    },
}

impl Finding {
    /// The code of the finding's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Finding::Shape(error) => error.code(),
            Finding::UnknownKey { .. } => "VER011",
            Finding::KeyRole { .. } => "VER012",
            Finding::Signature { .. } => "VER013",
            Finding::SignatureMissing { .. } => "VER014",
            Finding::Stream { .. } => "VER020",
            Finding::Origin { .. } => "VER021",
            Finding::Suite { .. } => "VER022",
            Finding::Genesis { .. } => "VER030",
            Finding::Extension { .. } => "VER031",
            Finding::Contradiction(_) => "VER032",
            Finding::Rows { .. } => "VER033",
            Finding::Block { .. } => "VER040",
            Finding::Ciphertext { .. } => "VER041",
            Finding::SectionTwice { .. } => "VER042",
            Finding::Outsider { .. } => "VER050",
            Finding::LeftOut { .. } => "VER051",
            Finding::RecipientKey { .. } => "VER052",
            Finding::GrantChange { .. } => "VER053",
            Finding::KeyRecord { .. } => "VER054",
        }
    }
}
