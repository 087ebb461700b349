//! A SQLite file as a source.

use crate::claim::Claim;
use crate::decode::{Chunk, Readers};
use crate::file::{broken, open, resolve, signed, sync_wal, unsigned};
use crate::layout::Installed;
use crate::replication::{Boundaries, LOOK_EVERY_MIN, Progress};
use crate::schema;
use bridge_event::{At, Incarnation, Token};
use connectors_source::{Capture, Claimant, Polled, Recognised, SnapshotRows, Source, SourceError, Table};
use rusqlite::{Connection, OptionalExtension};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows that one transaction prunes at most, so that the application never waits long for the write lock.
const PRUNE_ROWS_MAX: u64 = 4096;

/// A SQLite file under this process's claim.
pub struct SqliteSource {
    pub(crate) path: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) claim: Claim,
    pub(crate) tables: Vec<Table>,
    incarnation: Incarnation,
    /// The schema's number when it was last verified, and what was verified.
    pub(crate) schema_version: i64,
    pub(crate) installed: Installed,
    pub(crate) readers: Readers,
    /// The last changelog id that may be forgotten.
    acknowledged: u64,
    /// Whether acknowledged rows are still in the changelog.
    pub(crate) prunable: bool,
    pub(crate) progress: Progress,
    pub(crate) boundaries: Boundaries,
    pub(crate) chunk: Chunk,
    /// The file's data version when there was nothing to deliver.
    pub(crate) idle_at: Option<i64>,
    /// How long to wait before the next look; it grows while nothing happens, also over polls.
    pub(crate) pause: Duration,
    /// Since when a committed transaction waits for a boundary that another writer's lock prevents.
    pub(crate) unclosed_since: Option<Instant>,
}

impl std::fmt::Debug for SqliteSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteSource")
            .field("path", &self.path)
            .field("acknowledged", &self.acknowledged)
            .finish_non_exhaustive()
    }
}

impl SqliteSource {
    /// Claims the file at `path` for `tables`, which [`crate::create`] has installed.
    ///
    /// Errors: [`SourceError::Claimed`] when another connector holds it, [`SourceError::NotCreated`] and
    /// [`SourceError::Drifted`] when what is installed does not fit, [`SourceError::WentBack`] when the file is older
    /// than its own kept place.
    pub fn claim(path: &Path, tables: &[Table], who: &Claimant) -> Result<SqliteSource, SourceError> {
        Self::open(path, tables, |path, connection| Claim::take(path, connection, who))
    }

    /// Claims the file from a holder that hangs; the holder is refused from then on. Never part of a plain start.
    pub fn take_over(path: &Path, tables: &[Table], who: &Claimant) -> Result<SqliteSource, SourceError> {
        Self::open(path, tables, |path, connection| Claim::take_over(path, connection, who))
    }

    fn open(
        path: &Path,
        tables: &[Table],
        take: impl FnOnce(&Path, &mut Connection) -> Result<Claim, SourceError>,
    ) -> Result<SqliteSource, SourceError> {
        let path = resolve(path)?;
        let mut connection = open(&path)?;
        // Nothing is written, not even a token, into a file that was not prepared for these tables.
        schema::verify(&connection, tables)?;
        let claim = take(&path, &mut connection)?;
        let schema_version = schema::version(&connection)?;
        let installed = schema::verify(&connection, tables)?;
        let acknowledged = kept_place(&connection)?;
        let incarnation = incarnation(&installed)?;
        let readers = Readers::new(&installed, tables);
        let progress = Progress::after(&connection, acknowledged)?;
        sync_wal(&path)?;
        Ok(SqliteSource {
            path,
            connection,
            claim,
            tables: tables.to_vec(),
            incarnation,
            schema_version,
            installed,
            readers,
            acknowledged,
            prunable: true,
            progress,
            boundaries: Boundaries::default(),
            chunk: Chunk::default(),
            idle_at: None,
            pause: LOOK_EVERY_MIN,
            unclosed_since: None,
        })
    }

    /// Verifies the schema again when it changed since it was last verified.
    pub(crate) fn check_schema(&mut self) -> Result<(), SourceError> {
        let version = schema::version(&self.connection)?;
        if version != self.schema_version {
            self.installed = schema::verify(&self.connection, &self.tables)?;
            if incarnation(&self.installed)? != self.incarnation {
                return Err(SourceError::Missing {
                    what: "capture began anew while the connector ran: triggers had been missing".to_owned(),
                });
            }
            self.readers = Readers::new(&self.installed, &self.tables);
            self.schema_version = version;
        }
        Ok(())
    }

    /// Deletes a bounded number of acknowledged rows. The newest row of each table stays, emptied, so that ids never
    /// begin again, whatever happens to SQLite's own sequence.
    pub(crate) fn prune(&mut self, acknowledged: Option<u64>) -> Result<(), SourceError> {
        let values: String = (0..self.readers.values_max()).map(|i| format!(", v{i} = NULL")).collect();
        let through = acknowledged.unwrap_or(self.acknowledged);
        let transaction = self.claim.write(&mut self.connection)?;
        if acknowledged.is_some() {
            transaction
                .execute("UPDATE govbridge_source SET acknowledged = ?1", [signed(through)])
                .map_err(broken)?;
        }
        let (first, last) = ends(&transaction)?;
        let limit = through.min(first.saturating_add(PRUNE_ROWS_MAX - 1));
        transaction
            .prepare("DELETE FROM govbridge_changelog WHERE id <= ?1 AND id < ?2")
            .and_then(|mut s| s.execute([signed(limit), signed(last)]))
            .map_err(broken)?;
        if last <= limit {
            let sql = format!(
                "UPDATE govbridge_changelog SET layout = NULL, operation = 0{values} WHERE id = ?1 AND operation <> 0"
            );
            transaction.prepare(&sql).and_then(|mut s| s.execute([signed(last)])).map_err(broken)?;
        }
        transaction
            .prepare(
                "DELETE FROM govbridge_commit WHERE id IN (SELECT id FROM govbridge_commit
                   WHERE id < (SELECT id FROM govbridge_commit WHERE upto >= ?1 ORDER BY upto, id LIMIT 1) ORDER BY id LIMIT ?2)",
            )
            .and_then(|mut s| s.execute([signed(through), signed(PRUNE_ROWS_MAX)]))
            .map_err(broken)?;
        transaction.commit().map_err(broken)?;
        self.acknowledged = through;
        self.prunable = limit < through && limit < last;
        Ok(())
    }
}

/// The first and the last changelog id, 0 when there is none.
fn ends(connection: &Connection) -> Result<(u64, u64), SourceError> {
    let one = |sql: &str| -> Result<u64, SourceError> {
        let id: Option<i64> =
            connection.prepare(sql).and_then(|mut s| s.query_row([], |r| r.get(0))).map_err(broken)?;
        unsigned(id.unwrap_or(0))
    };
    Ok((one("SELECT min(id) FROM govbridge_changelog")?, one("SELECT max(id) FROM govbridge_changelog")?))
}

/// The newest boundary's place in the changelog, 0 when there is none; it is never behind the kept place.
pub(crate) fn newest_boundary(connection: &Connection) -> Result<u64, SourceError> {
    let upto: Option<Option<i64>> = connection
        .query_row("SELECT upto FROM govbridge_commit ORDER BY id DESC LIMIT 1", [], |r| r.get(0))
        .optional()
        .map_err(broken)?;
    match upto {
        None => Ok(0),
        Some(Some(upto)) => unsigned(upto),
        Some(None) => Err(SourceError::Unreadable { what: "the newest boundary is not filled".to_owned() }),
    }
}

/// Reads the kept place, and checks that the file still reaches it.
fn kept_place(connection: &Connection) -> Result<u64, SourceError> {
    let acknowledged: i64 = connection
        .query_row("SELECT acknowledged FROM govbridge_source", [], |r| r.get(0))
        .map_err(broken)?;
    let acknowledged = unsigned(acknowledged)?;
    let (closed, (_, last)) = (newest_boundary(connection)?, ends(connection)?);
    if closed < acknowledged || last < closed {
        return Err(SourceError::WentBack {
            what: format!(
                "its changelog ends at {last} and its boundaries at {closed}, acknowledged is {acknowledged}"
            ),
        });
    }
    Ok(acknowledged)
}

fn incarnation(installed: &Installed) -> Result<Incarnation, SourceError> {
    let consistent_point = Token::new(installed.since.to_string().into_bytes())
        .map_err(|error| SourceError::Storage { what: error.to_string() })?;
    Ok(Incarnation {
        engine: "sqlite".to_owned(),
        system: installed.system.clone(),
        timeline: 0,
        database: "main".to_owned(),
        slot: format!("govbridge-{}", installed.capture),
        consistent_point,
    })
}

/// The place after a boundary; before the first one it is the start.
pub(crate) fn end_of(commit: u64) -> At {
    if commit == 0 { At::START } else { At::end_of(commit) }
}

impl Source for SqliteSource {
    fn tables(&self) -> &[Table] {
        &self.tables
    }

    fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    fn acknowledged(&self) -> At {
        end_of(self.acknowledged)
    }

    fn newest(&mut self) -> Result<At, SourceError> {
        let transaction = self.connection.transaction().map_err(broken)?;
        self.claim.check(&transaction)?;
        kept_place(&transaction)?;
        newest_boundary(&transaction).map(end_of)
    }

    fn recognises(&mut self, at: At, token: &Token) -> Result<Recognised, SourceError> {
        if at.commit == 0 {
            return Ok(Recognised::Same);
        }
        if at.commit < self.acknowledged {
            return Ok(Recognised::Forgotten);
        }
        let nonce: Option<Vec<u8>> = self
            .connection
            .query_row(
                "SELECT nonce FROM govbridge_commit WHERE upto = ?1 ORDER BY id LIMIT 1",
                [signed(at.commit)],
                |r| r.get(0),
            )
            .optional()
            .map_err(broken)?;
        let same = nonce.is_some_and(|nonce| crate::replication::token_bytes(&nonce) == token.as_bytes());
        Ok(if same { Recognised::Same } else { Recognised::Different })
    }

    fn snapshot(&mut self, tables: &[usize], out: &mut dyn SnapshotRows) -> Result<Option<At>, SourceError> {
        self.read_snapshot(tables, out)
    }

    fn poll(&mut self, wait: Duration, out: &mut dyn Capture) -> Result<Polled, SourceError> {
        self.replicate(wait, out)
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.progress = Progress::after(&self.connection, self.acknowledged)?;
        self.boundaries = Boundaries::default();
        self.chunk.clear();
        self.idle_at = None;
        Ok(())
    }

    fn acknowledge(&mut self, through: At) -> Result<(), SourceError> {
        let refused = |what: &str| Err(SourceError::NotDelivered { through, what: what.to_owned() });
        let delivered = self.progress.delivered();
        let reached = if through.ordinal == u64::MAX {
            if through.commit > delivered {
                return refused("the transaction was not delivered whole");
            }
            through.commit
        } else {
            if through.commit > self.progress.begun() {
                return refused("no transaction of that place was delivered");
            }
            through.commit.saturating_sub(1).min(delivered)
        };
        // The last boundary at or before it: a place that is no boundary keeps its whole transaction.
        let boundary: Option<i64> = self
            .connection
            .prepare("SELECT max(upto) FROM govbridge_commit WHERE upto <= ?1")
            .and_then(|mut s| s.query_row([signed(reached)], |r| r.get(0)))
            .map_err(broken)?;
        let boundary = unsigned(boundary.unwrap_or(0))?;
        if boundary <= self.acknowledged {
            return self.claim.check(&self.connection);
        }
        self.prune(Some(boundary))
    }
}
