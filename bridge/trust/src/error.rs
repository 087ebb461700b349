//! What goes wrong when a trust file is verified, used or signed.

use crate::Problem;
use bridge_event::Origin;
use bridge_suite::Digest;

/// A trust file that was not accepted. Nothing of it was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// TRU001: not a signed note.
    #[error(
        "the trust file is not a signed note: {0}; fetch it again byte for byte, or sign the draft with `govbridge trust sign`"
    )]
    Note(String),
    /// TRU002, TRU003, TRU010 to TRU019: the content breaks rules.
    #[error("{}", problems(.0))]
    Problems(Vec<Problem>),
    /// TRU004: not enough signatures of root keys that count.
    #[error(
        "{found} of the {needed} root signatures that are needed; collect the others with `govbridge trust sign`"
    )]
    TooFewSignatures {
        /// Root keys whose signature is there.
        found: u32,
        /// Root keys that must sign.
        needed: u32,
    },
    /// TRU005: a root key's signature does not verify.
    #[error(
        "the signature of root {0} is wrong: the text was changed after it was signed; fetch the file again or sign the draft again"
    )]
    BadSignature(String),
    /// TRU006: not the pinned text.
    #[error(
        "the trust file has digest {found}, and {pinned} is pinned; compare both with what the root holders published"
    )]
    Pin {
        /// What the configuration says.
        pinned: Digest,
        /// What the file has.
        found: Digest,
    },
    /// TRU006: the pin must be that of version 1.
    #[error(
        "the pinned trust file is version {0}, and version 1 is the one to pin; pin version 1 and give the later ones after it"
    )]
    PinnedLater(u64),
    /// TRU007: lower than what was verified before.
    #[error(
        "the trust file is version {found}, and version {remembered} was verified here before; restore the newer versions"
    )]
    Older {
        /// The version that was given.
        found: u64,
        /// The newest that is known.
        remembered: u64,
    },
    /// TRU008: one version, two texts.
    #[error(
        "two different trust files say that they are version {version}: {known} is known, {found} was given; keep both and ask the root holders"
    )]
    Conflict {
        /// The number that both have.
        version: u64,
        /// The digest that was verified before.
        known: Digest,
        /// The digest that was given now.
        found: Digest,
    },
    /// TRU009: versions in between are missing.
    #[error(
        "the trust file is version {found}, and the newest that is known is {newest}; give the versions in between first"
    )]
    Skipped {
        /// The version that was given.
        found: u64,
        /// The newest that is known.
        newest: u64,
    },
}

fn problems(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{} {problem}", problem.code())).collect();
    lines.join("\n")
}

impl TrustError {
    /// The code of the error page, `docs/errors/<code>.md`; of several problems, the first one's.
    pub fn code(&self) -> &'static str {
        match self {
            TrustError::Note(_) => "TRU001",
            TrustError::Problems(problems) => problems.first().map_or("TRU002", Problem::code),
            TrustError::TooFewSignatures { .. } => "TRU004",
            TrustError::BadSignature(_) => "TRU005",
            TrustError::Pin { .. } | TrustError::PinnedLater(_) => "TRU006",
            TrustError::Older { .. } => "TRU007",
            TrustError::Conflict { .. } => "TRU008",
            TrustError::Skipped { .. } => "TRU009",
        }
    }
}

/// A log without a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// TRU021: the log is not in the file.
    #[error("the trust file has no log {0}; check the origin, or have the root holders add the log")]
    UnknownLog(Origin),
    /// TRU022: the file has no policy.
    #[error(
        "the trust file has no [policy], so nothing of {0} can be called witnessed; have the root holders add one"
    )]
    NoPolicy(Origin),
    /// TRU022: the policy has more witnesses than a policy file holds.
    #[error("the trust file's policy cannot be used: {0}; have the root holders correct it")]
    Unusable(String),
}

impl PolicyError {
    /// The code of the error page.
    pub fn code(&self) -> &'static str {
        match self {
            PolicyError::UnknownLog(_) => "TRU021",
            PolicyError::NoPolicy(_) | PolicyError::Unusable(_) => "TRU022",
        }
    }
}

/// A signature that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// What is to be signed would not be accepted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// TRU023: the key does not count.
    #[error(
        "{name} is not a root key of version {version}, so its signature would not count; use a root holder's key"
    )]
    NotARoot {
        /// The name under which the key was to sign.
        name: String,
        /// The version whose roots sign.
        version: u64,
    },
    /// TRU023: the key has signed.
    #[error("{0} has signed this version already; nothing was changed")]
    SignedAlready(String),
}

impl SignError {
    /// The code of the error page.
    pub fn code(&self) -> &'static str {
        match self {
            SignError::Trust(error) => error.code(),
            SignError::NotARoot { .. } | SignError::SignedAlready(_) => "TRU023",
        }
    }
}
