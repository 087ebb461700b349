//! What can be wrong with the content of a trust file. All problems of a file are found at once.

use bridge_event::{Department, LogIndex, Origin};

/// One thing that is wrong with the content of a trust file; it names the line by its place and says the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// TRU002: the text is not the TOML of a trust file.
    #[error("the text is not a trust file: {0}; correct that line, or write the file with `govbridge trust`")]
    Toml(String),
    /// TRU003: a format that this program does not know.
    #[error("the file has format {0}, this program reads format 1; use a newer govbridge")]
    Format(i64),
    /// TRU010: version, previous digest and domain do not stand in a row.
    #[error(
        "the file does not follow the version before it: {0}; start the draft again from the newest signed version"
    )]
    Succession(String),
    /// TRU011: a name, title or address breaks its rule, or stands twice.
    #[error("{place}: {what}; {remedy}")]
    Name {
        /// Where in the file, such as `department tax`.
        place: String,
        /// What is wrong.
        what: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// TRU012: a key does not parse, or is not what its place asks for.
    #[error("{place}: {what}; paste the public line that `govbridge keygen` printed for this role and name")]
    Key {
        /// Where in the file.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// TRU013: the same key bytes stand in two places.
    #[error(
        "{place} and {other} are the same key; each role and name needs a key of its own, make one with `govbridge keygen`"
    )]
    KeyTwice {
        /// Where the key stands first.
        other: String,
        /// Where it stands again.
        place: String,
    },
    /// TRU014: something names a department that is not in the file, or an origin that is not that department's.
    #[error("{place}: {what}; {remedy}")]
    Reference {
        /// Where in the file.
        place: String,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// TRU015: a signing key is valid for no entry.
    #[error(
        "{place}: from_index {from} is not below until_index {until}; until_index is the first index that the key may not sign"
    )]
    Range {
        /// Where in the file.
        place: String,
        /// First index for which the key is valid.
        from: LogIndex,
        /// First index for which it is not.
        until: LogIndex,
    },
    /// TRU016: the threshold cannot be met, or asks for nothing.
    #[error("threshold {threshold} with {roots} root keys; it must be from 1 to the number of root keys")]
    Threshold {
        /// Signatures that the file asks for.
        threshold: u32,
        /// Root keys in the file.
        roots: usize,
    },
    /// TRU017: two quorums could meet in liars only.
    #[error(
        "quorum {quorum} of the {witnesses} witnesses that count for {origin} does not stand {liars} liars: 2*{quorum} - {witnesses} \
         must be more than {liars}; raise the quorum or lower `liars`"
    )]
    Quorum {
        /// The log for which it fails.
        origin: Origin,
        /// The policy's quorum.
        quorum: u32,
        /// Witnesses that count for this log.
        witnesses: u32,
        /// The policy's liars.
        liars: u32,
    },
    /// TRU018: there are fewer witnesses than the quorum asks for.
    #[error(
        "quorum {quorum} can never be reached for {origin}: only {witnesses} witnesses count for it (checking ones of other \
         departments); add witnesses or lower the quorum"
    )]
    Unreachable {
        /// The log for which it fails.
        origin: Origin,
        /// The policy's quorum.
        quorum: u32,
        /// Witnesses that count for this log.
        witnesses: u32,
    },
    /// TRU019: one department would have two votes.
    #[error(
        "department {0} has two witnesses with checking = true; one department, one vote: leave checking on one of them"
    )]
    TwoVotes(Department),
}

impl Problem {
    /// The code of the error page, `docs/errors/<code>.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::Toml(_) => "TRU002",
            Problem::Format(_) => "TRU003",
            Problem::Succession(_) => "TRU010",
            Problem::Name { .. } => "TRU011",
            Problem::Key { .. } => "TRU012",
            Problem::KeyTwice { .. } => "TRU013",
            Problem::Reference { .. } => "TRU014",
            Problem::Range { .. } => "TRU015",
            Problem::Threshold { .. } => "TRU016",
            Problem::Quorum { .. } => "TRU017",
            Problem::Unreachable { .. } => "TRU018",
            Problem::TwoVotes(_) => "TRU019",
        }
    }
}

/// Something that is allowed and still deserves a second look before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The policy tolerates no lying witness.
    #[error(
        "policy: liars = 0, so one lying witness is enough to show two readers two different logs; with 4 witnesses choose quorum 3"
    )]
    NoLiars,
    /// There are logs and no policy.
    #[error(
        "no [policy]: no batch can ever be called witnessed, and subscribers wait for that level by default"
    )]
    NoPolicy,
    /// One root key can change everything.
    #[error("threshold is 1: whoever steals one root key can replace this file")]
    OneRootEnough,
    /// The loss of one root key ends the file.
    #[error("threshold {0} needs every root key: if one is lost, no next version can be signed")]
    EveryRootNeeded(u32),
    /// A signing key names an origin without a log.
    #[error(
        "department {department}: a signing key is for {origin}, which has no [[log]]; what it signs can be signed, never logged"
    )]
    NoLog {
        /// Whose key.
        department: Department,
        /// The origin without a log.
        origin: Origin,
    },
    /// A log without a signing key of its department.
    #[error("log {0}: no signing key of its department is for this origin; its batches cannot be verified")]
    NoSigner(Origin),
    /// A department that sends and cannot read its own keys.
    #[error(
        "department {0} has a signing key and no recipient key; section keys are wrapped for their own department too, so its connector will not start"
    )]
    NoRecipient(Department),
    /// A department that sends and has nobody who could accept a gap.
    #[error(
        "department {0} has a signing key and no operator key; a GAP or RETRACT could not be signed when one is needed"
    )]
    NoOperator(Department),
    /// A witness that does not count.
    #[error("witness {0} has checking = false and counts for no quorum")]
    NotChecking(String),
}
