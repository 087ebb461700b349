//! What may go wrong at a source, the same words for every engine.

use bridge_event::{At, Disposition};

/// A source that could not do what it was asked. Nothing here holds a row's values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// CAP001.
    #[error("CAP001: the source is busy or away: {what}; it is tried again")]
    Unavailable {
        /// What the engine said.
        what: String,
    },
    /// CAP002.
    #[error(
        "CAP002: another connector holds the source: {holder}; stop it, or, if it hangs, run `govbridge connector --take-over`"
    )]
    Claimed {
        /// Process, host and time of the holder, as it wrote them.
        holder: String,
    },
    /// CAP003.
    #[error("CAP003: this connector lost its claim on the source to another one; this process must end")]
    ClaimLost,
    /// CAP004.
    #[error(
        "CAP004: the source is not prepared: {what}; run `govbridge connector --create` for this connector"
    )]
    NotCreated {
        /// What is missing.
        what: String,
    },
    /// CAP005.
    #[error("CAP005: the source cannot be captured as it is: {what}; {remedy}")]
    Unsuitable {
        /// What stands against it.
        what: String,
        /// What to change.
        remedy: String,
    },
    /// CAP006.
    #[error("CAP006: table {table} is no longer what capture was installed for: {what}; {remedy}")]
    Drifted {
        /// The table.
        table: String,
        /// What differs.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// CAP007.
    #[error(
        "CAP007: changes are missing from the source's own log: {what}; going on needs an operator's GAP"
    )]
    Missing {
        /// Between which places.
        what: String,
    },
    /// CAP008.
    #[error("CAP008: the source went back: {what}; going on needs an operator's GAP or RETRACT")]
    WentBack {
        /// From where to where.
        what: String,
    },
    /// CAP009.
    #[error("CAP009: a change cannot be read without loss: {what}; correct the row at the source")]
    Unreadable {
        /// Table, column and place of the value, never the value.
        what: String,
    },
    /// CAP010.
    #[error(
        "CAP010: changes of one row were recorded out of their order: {what}; going on needs a GAP and a new snapshot of the table"
    )]
    OutOfOrder {
        /// Table and place.
        what: String,
    },
    /// CAP011.
    #[error("CAP011: {through} cannot be acknowledged: {what}")]
    NotDelivered {
        /// The place that was asked for.
        through: At,
        /// Why not.
        what: String,
    },
    /// CAP012.
    #[error(
        "CAP012: the source's storage failed: {what}; check the disk and the database before starting again"
    )]
    Storage {
        /// What the engine said.
        what: String,
    },
}

impl SourceError {
    /// The code, which has a page in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::Unavailable { .. } => "CAP001",
            SourceError::Claimed { .. } => "CAP002",
            SourceError::ClaimLost => "CAP003",
            SourceError::NotCreated { .. } => "CAP004",
            SourceError::Unsuitable { .. } => "CAP005",
            SourceError::Drifted { .. } => "CAP006",
            SourceError::Missing { .. } => "CAP007",
            SourceError::WentBack { .. } => "CAP008",
            SourceError::Unreadable { .. } => "CAP009",
            SourceError::OutOfOrder { .. } => "CAP010",
            SourceError::NotDelivered { .. } => "CAP011",
            SourceError::Storage { .. } => "CAP012",
        }
    }

    /// What the caller does next.
    pub fn disposition(&self) -> Disposition {
        match self {
            SourceError::Unavailable { .. } => Disposition::Retry,
            SourceError::NotDelivered { .. } => Disposition::Reject,
            SourceError::Claimed { .. }
            | SourceError::ClaimLost
            | SourceError::NotCreated { .. }
            | SourceError::Unsuitable { .. }
            | SourceError::Drifted { .. }
            | SourceError::Missing { .. }
            | SourceError::WentBack { .. }
            | SourceError::Unreadable { .. }
            | SourceError::OutOfOrder { .. }
            | SourceError::Storage { .. } => Disposition::Halt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_code_first() {
        let errors = [
            SourceError::Unavailable { what: "x".to_owned() },
            SourceError::ClaimLost,
            SourceError::NotDelivered { through: At::end_of(4), what: "x".to_owned() },
            SourceError::Drifted { table: "t".to_owned(), what: "x".to_owned(), remedy: "y".to_owned() },
        ];
        for error in errors {
            assert!(error.to_string().starts_with(error.code()), "{error}");
        }
        assert_eq!(SourceError::ClaimLost.disposition(), Disposition::Halt);
    }
}
