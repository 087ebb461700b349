//! What may go wrong with a PostgreSQL sink.

use bridge_event::Disposition;
use bridge_pgwire::Fault;

/// Why rows could not be delivered into PostgreSQL. Nothing of the transaction that it ended is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The server is away, or ended the session.
    #[error("DEL030: the sink's server does not serve: {0}; delivery goes on once it is back")]
    Unavailable(String),
    /// The role may not do what is needed.
    #[error(
        "DEL031: the sink's server does not permit it: {0}; see docs/guide/postgresql-sink.md for what the role needs"
    )]
    Denied(String),
    /// Schema or tables are not there.
    #[error("DEL032: the sink is not made: {0}; run `govbridge subscriber --config ... --create`")]
    NotCreated(String),
    /// Somebody changed a table.
    #[error("DEL033: a table of the sink was changed: {0}; undo the change, or begin with a new schema")]
    Changed(String),
    /// Another subscriber delivers into this sink.
    #[error("DEL034: another subscriber has this sink: {0}; stop it, or give this one a schema of its own")]
    Held(String),
    /// The server has no room.
    #[error("DEL035: the sink's server has no room: {0}; delivery goes on once there is some")]
    Full(String),
    /// A value or a row that the table does not take.
    #[error("DEL036: the sink's server refuses what was sent: {0}; see the page for what may be the cause")]
    Refused(String),
    /// A row is gone that a change needs.
    #[error(
        "DEL037: rows of {table} are gone that the source has only changed in part; have the sender take a new snapshot, or begin with a new schema"
    )]
    RowsGone {
        /// The table.
        table: String,
    },
    /// A contract that cannot be laid out as a table.
    #[error(
        "DEL038: the table cannot follow its contract: {0}; begin with a new schema, or have the contract corrected"
    )]
    Layout(String),
}

impl SinkError {
    pub(super) fn layout(what: String) -> SinkError {
        SinkError::Layout(what)
    }

    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            SinkError::Unavailable(_) => "DEL030",
            SinkError::Denied(_) => "DEL031",
            SinkError::NotCreated(_) => "DEL032",
            SinkError::Changed(_) => "DEL033",
            SinkError::Held(_) => "DEL034",
            SinkError::Full(_) => "DEL035",
            SinkError::Refused(_) => "DEL036",
            SinkError::RowsGone { .. } => "DEL037",
            SinkError::Layout(_) => "DEL038",
        }
    }

    /// What to do next.
    pub fn disposition(&self) -> Disposition {
        match self {
            SinkError::Unavailable(_) | SinkError::Full(_) => Disposition::Retry,
            _ => Disposition::Halt,
        }
    }
}

impl From<Fault> for SinkError {
    fn from(fault: Fault) -> SinkError {
        let words = fault.to_string();
        let Fault::Refused { code, .. } = &fault else { return SinkError::Unavailable(words) };
        let class = code.get(..2).unwrap_or_default();
        match (class, code.as_str()) {
            (_, "42501") | ("28", _) => SinkError::Denied(words),
            (_, "53100" | "53200") => SinkError::Full(words),
            // Too many sessions, shutting down, a deadlock or a conflict: another try may do.
            ("08" | "53" | "55" | "57" | "40", _) => SinkError::Unavailable(words),
            (_, "3F000" | "3D000" | "42P01") => SinkError::NotCreated(words),
            (_, "42703" | "42701" | "42804" | "42P10" | "42809") => SinkError::Changed(words),
            _ => SinkError::Refused(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_has_a_code_and_a_disposition() {
        let of = |code: &str| {
            let error = SinkError::from(Fault::Refused { code: code.into(), message: "m".into() });
            (error.code(), error.disposition())
        };
        assert_eq!(of("57P01"), ("DEL030", Disposition::Retry));
        assert_eq!(of("28P01"), ("DEL031", Disposition::Halt));
        assert_eq!(of("42501"), ("DEL031", Disposition::Halt));
        assert_eq!(of("3D000"), ("DEL032", Disposition::Halt));
        assert_eq!(of("42703"), ("DEL033", Disposition::Halt));
        assert_eq!(of("53100"), ("DEL035", Disposition::Retry));
        assert_eq!(of("22003"), ("DEL036", Disposition::Halt));
        assert_eq!(of("23514"), ("DEL036", Disposition::Halt));
        assert_eq!(SinkError::from(Fault::Lost("x".into())).code(), "DEL030");
    }
}
