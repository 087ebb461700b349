//! The department's file: opening it, its errors, quoting its names.

use connectors_source::SourceError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for another writer before it gives up with [`SourceError::Unavailable`].
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Opens an existing file for reading and writing; never creates one.
pub(crate) fn open(path: &Path) -> Result<Connection, SourceError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
    connection.busy_timeout(BUSY_WAIT).map_err(broken)?;
    // A commit in WAL mode then waits for no disk while it holds the application's write lock; what is delivered is
    // made durable by `sync_wal` first.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(broken)?;
    Ok(connection)
}

/// The file's one path, whatever links lead to it: the lock file stands beside it.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, SourceError> {
    std::fs::canonicalize(path).map_err(|error| SourceError::Storage {
        what: format!("{} cannot be opened: {error}", path.display()),
    })
}

/// A path with something appended to its file name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes every commit that a reader can see now durable: one fsync of the write-ahead log covers all frames in it, and
/// what a checkpoint moved out of it was synced before.
pub(crate) fn sync_wal(path: &Path) -> Result<(), SourceError> {
    match std::fs::File::open(beside(path, "-wal")).and_then(|wal| wal.sync_data()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(SourceError::Storage { what: format!("the write-ahead log cannot be synced: {error}") })
        }
    }
}

/// What an error of SQLite means for the caller.
pub(crate) fn broken(error: rusqlite::Error) -> SourceError {
    let what = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SourceError::Unavailable { what },
        _ => SourceError::Storage { what },
    }
}

/// Whether an error says that another writer holds the lock.
pub(crate) fn is_busy(error: &SourceError) -> bool {
    matches!(error, SourceError::Unavailable { .. })
}

/// A name as an SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal. Names hold no NUL: SQLite's own schema cannot.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A changelog id or commit number, which SQLite keeps as a signed integer.
pub(crate) fn unsigned(number: i64) -> Result<u64, SourceError> {
    u64::try_from(number)
        .map_err(|_| SourceError::WentBack { what: format!("the changelog holds the id {number}") })
}

/// An id as SQLite keeps it; ids never reach 2^63.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b"), "'a''b'");
    }

    #[test]
    fn a_file_that_is_not_there_is_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.db");
        assert!(open(&path).is_err());
        assert!(!path.exists());
    }
}
