//! What can be wrong with the shape of bytes.

use bridge_event::NameError;
use bridge_suite::{AlgorithmError, SuiteError};

/// Bytes that are not what they should be, found before any key is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first four bytes name no frame, or another one than expected.
    #[error(
        "the bytes do not begin with the magic of {expected}: this is not one, or its first bytes are damaged"
    )]
    Magic {
        /// What was expected.
        expected: &'static str,
    },
    /// The bytes end inside a field.
    #[error("the bytes end inside `{field}` at byte {at}: the rest was cut off")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Where it begins, in bytes from the start of what was being read.
        at: usize,
    },
    /// Something is larger than the format allows.
    #[error("`{field}` is {found}, and the format allows {limit}: no honest writer makes this")]
    Limit {
        /// The field.
        field: &'static str,
        /// Its size or count.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Bytes are left after the end.
    #[error("{bytes} bytes are left after the end: something was appended")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A field breaks the encoding.
    #[error("`{field}` at byte {at} is malformed: {why}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// Where, in bytes from the start of what was being read.
        at: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A name breaks its rule.
    #[error("`{field}`: {source}")]
    Name {
        /// The field.
        field: &'static str,
        /// The rule.
        source: NameError,
    },
    /// The signature block breaks its rule.
    #[error("the signature block is malformed: {why}")]
    SignatureBlock {
        /// What is wrong.
        why: &'static str,
    },
    /// A signature of an algorithm that this build does not verify.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// A suite that this build does not speak.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// A log entry of no known type.
    #[error("log entry type {0} is not known: the entry is damaged, or its writer is newer than this build")]
    EntryType(u8),
}

impl ParseError {
    pub(crate) fn limit(field: &'static str, found: usize, limit: usize) -> ParseError {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        ParseError::Limit { field, found: wide(found), limit: wide(limit) }
    }

    /// The code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            ParseError::Magic { .. } => "VER001",
            ParseError::Truncated { .. } => "VER002",
            ParseError::Limit { .. } => "VER003",
            ParseError::Trailing { .. } => "VER004",
            ParseError::Malformed { .. } => "VER005",
            ParseError::Name { .. } => "VER006",
            ParseError::SignatureBlock { .. } => "VER007",
            ParseError::Algorithm(_) => "VER008",
            ParseError::Suite(_) => "VER009",
            ParseError::EntryType(_) => "VER010",
        }
    }
}
