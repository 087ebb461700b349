//! What stands against capturing a database, said before anything begins.

use crate::SourceError;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Capture would not be right: preparing it and a start refuse.
    Refused,
    /// Capture is right as long as what the finding says does not happen.
    Warning,
}

/// One thing that stands against capturing a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The table, `None` when the whole database is meant.
    pub table: Option<String>,
    /// How grave it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to change.
    pub remedy: String,
}

impl Finding {
    /// The first refusal as an error.
    ///
    /// # Errors
    /// [`SourceError::Unsuitable`].
    pub fn refuse_first(findings: Vec<Finding>) -> Result<(), SourceError> {
        match findings.into_iter().find(|finding| finding.severity == Severity::Refused) {
            None => Ok(()),
            Some(Finding { table, what, remedy, .. }) => {
                let table = table.map(|table| format!("table {table}: ")).unwrap_or_default();
                Err(SourceError::Unsuitable { what: format!("{table}{what}"), remedy })
            }
        }
    }
}
