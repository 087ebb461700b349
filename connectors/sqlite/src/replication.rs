//! Delivering the changelog: closing what is committed, reading it in chunks, giving whole transactions.
//!
//! ```text
//!   look   is anything new (data version)?           no -> wait
//!          read under one snapshot: token, schema, boundaries, rows up to the last boundary
//!          committed rows beyond the last boundary -> close them, look again
//!   sync   one fsync of the write-ahead log: what is delivered survives a power loss
//!   give   begin, rows, commit; the next look goes on inside a large transaction
//! ```

use crate::decode::{Chunk, Readers};
use crate::file::{BUSY_WAIT, broken, is_busy, signed, sync_wal, unsigned};
use crate::source::{SqliteSource, end_of};
use bridge_event::{Token, Transaction, UnixMicros};
use connectors_source::{Capture, Polled, SourceError, Stop};
use rusqlite::{Connection, OptionalExtension};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Boundaries read at once.
const BOUNDARIES_MAX: i64 = 256;

/// How long a poll waits for the write lock before it looks again.
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// How often an idle file is looked at: soon after something happened, then more rarely.
pub(crate) const LOOK_EVERY_MIN: Duration = Duration::from_millis(1);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(20);

/// A boundary in the changelog: a transaction's last row.
#[derive(Clone, Debug)]
struct Boundary {
    number: u64,
    upto: u64,
    at: UnixMicros,
    nonce: Vec<u8>,
}

impl Boundary {
    fn transaction(&self) -> Transaction {
        Transaction { number: self.number, commit: self.upto, committed_at: self.at }
    }

    fn token(&self) -> Result<Token, SourceError> {
        Token::new(token_bytes(&self.nonce))
            .map_err(|error| SourceError::Unreadable { what: format!("boundary {}: {error}", self.number) })
    }
}

/// A boundary's nonce as the engine's token: hexadecimal text.
pub(crate) fn token_bytes(nonce: &[u8]) -> Vec<u8> {
    nonce.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect()
}

/// Boundaries that were read and not reached yet.
#[derive(Default)]
pub(crate) struct Boundaries(VecDeque<Boundary>);

/// How far the file was delivered.
pub(crate) struct Progress {
    /// The last changelog id of the last transaction that was delivered whole.
    delivered: u64,
    /// The last boundary's number that was passed.
    boundary: u64,
    /// The last changelog id that was given; beyond `delivered` while a transaction is open.
    row: u64,
    /// The open transaction: its commit and how many changes were given.
    open: Option<(u64, u64)>,
    /// What is known to be durable.
    synced: u64,
}

impl Progress {
    /// Nothing after `acknowledged` was delivered.
    pub(crate) fn after(connection: &Connection, acknowledged: u64) -> Result<Progress, SourceError> {
        let number: Option<i64> = connection
            .query_row(
                "SELECT id FROM govbridge_commit WHERE upto <= ?1 ORDER BY upto DESC, id DESC LIMIT 1",
                [signed(acknowledged)],
                |r| r.get(0),
            )
            .optional()
            .map_err(broken)?;
        let boundary = unsigned(number.unwrap_or(0))?;
        Ok(Progress {
            delivered: acknowledged,
            boundary,
            row: acknowledged,
            open: None,
            synced: acknowledged,
        })
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The commit of the newest transaction of which something was delivered.
    pub(crate) fn begun(&self) -> u64 {
        self.open.map_or(self.delivered, |(commit, _)| commit)
    }

    /// Forgets the part of a transaction that was given: it begins again.
    fn forget_part(&mut self) {
        self.row = self.delivered;
        self.open = None;
    }
}

/// Why giving rows ended early.
enum Broken {
    Stopped,
    Failed(SourceError),
}

impl From<Stop> for Broken {
    fn from(_: Stop) -> Broken {
        Broken::Stopped
    }
}

impl From<SourceError> for Broken {
    fn from(error: SourceError) -> Broken {
        Broken::Failed(error)
    }
}

/// What a look found.
enum Look {
    Rows,
    Unclosed,
    Nothing,
}

impl SqliteSource {
    pub(crate) fn replicate(&mut self, wait: Duration, out: &mut dyn Capture) -> Result<Polled, SourceError> {
        let until = Instant::now() + wait;
        loop {
            match self.look()? {
                Look::Rows => {
                    self.pause = LOOK_EVERY_MIN;
                    return self.give(out);
                }
                Look::Unclosed if self.close_if_free()? => continue,
                Look::Unclosed => {}
                Look::Nothing if self.prunable => {
                    self.if_free(|source| source.prune(None))?;
                }
                Look::Nothing => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Polled::Idle { at: end_of(self.progress.delivered) });
            }
            std::thread::sleep(self.pause.min(left));
            self.pause = (self.pause * 2).min(LOOK_EVERY_MAX);
        }
    }

    fn look(&mut self) -> Result<Look, SourceError> {
        let version: i64 =
            self.connection.pragma_query_value(None, "data_version", |r| r.get(0)).map_err(broken)?;
        if self.idle_at == Some(version) {
            return Ok(Look::Nothing);
        }
        self.idle_at = None;
        self.connection.execute_batch("BEGIN").map_err(broken)?;
        let found = self.look_inside();
        let ended = self.connection.execute_batch(if found.is_ok() { "COMMIT" } else { "ROLLBACK" });
        let found = found?;
        ended.map_err(broken)?;
        if !matches!(found, Look::Unclosed) {
            self.unclosed_since = None;
        }
        if matches!(found, Look::Nothing) {
            self.idle_at = Some(version);
        }
        Ok(found)
    }

    /// One consistent look: the claim, the schema, the boundaries and the rows of the same moment.
    fn look_inside(&mut self) -> Result<Look, SourceError> {
        self.claim.check(&self.connection)?;
        self.check_schema()?;
        self.boundaries.read(&self.connection, &mut self.progress)?;
        if let Some(last) = self.boundaries.0.back() {
            read_rows(&self.connection, &self.readers, self.progress.row, last.upto, &mut self.chunk)?;
            return Ok(Look::Rows);
        }
        let last: Option<i64> = self
            .connection
            .prepare("SELECT max(id) FROM govbridge_changelog")
            .and_then(|mut s| s.query_row([], |r| r.get(0)))
            .map_err(broken)?;
        let last = unsigned(last.unwrap_or(0))?;
        if last < self.progress.delivered {
            return Err(SourceError::WentBack {
                what: format!("its changelog ends at {last}, delivered is {}", self.progress.delivered),
            });
        }
        Ok(if last > self.progress.delivered { Look::Unclosed } else { Look::Nothing })
    }

    /// Closes what is committed; `false` while another writer holds the lock, an error when it holds it too long.
    fn close_if_free(&mut self) -> Result<bool, SourceError> {
        if self.if_free(SqliteSource::close)? {
            return Ok(true);
        }
        let since = *self.unclosed_since.get_or_insert_with(Instant::now);
        if since.elapsed() < BUSY_WAIT {
            return Ok(false);
        }
        Err(SourceError::Unavailable { what: "another writer holds the file's write lock".to_owned() })
    }

    /// Does something that needs the write lock, unless another writer has it for longer than a moment.
    fn if_free(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), SourceError>,
    ) -> Result<bool, SourceError> {
        self.connection.busy_timeout(SHORT_WAIT).map_err(broken)?;
        let done = act(self);
        self.connection.busy_timeout(BUSY_WAIT).map_err(broken)?;
        match done {
            Ok(()) => Ok(true),
            Err(error) if is_busy(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a boundary after everything that is committed, in a transaction of its own.
    fn close(&mut self) -> Result<(), SourceError> {
        let transaction = self.claim.write(&mut self.connection)?;
        close_inside(&transaction)?;
        transaction.commit().map_err(broken)
    }

    fn give(&mut self, out: &mut dyn Capture) -> Result<Polled, SourceError> {
        let last = self.boundaries.0.back().map_or(0, |b| b.upto);
        if last > self.progress.synced {
            sync_wal(&self.path)?;
            self.progress.synced = last;
        }
        match give_rows(&mut self.progress, &mut self.boundaries, &self.chunk, &self.readers, out) {
            Ok(()) => {
                self.chunk.clear();
                Ok(Polled::Delivered)
            }
            Err(broken) => {
                self.progress.forget_part();
                self.chunk.clear();
                match broken {
                    Broken::Stopped => Ok(Polled::Stopped),
                    Broken::Failed(error) => Err(error),
                }
            }
        }
    }
}

/// Inserts a boundary when rows stand beyond the last one; the trigger fills it. Returns the last boundary's place and token.
pub(crate) fn close_inside(connection: &Connection) -> Result<(u64, Token), SourceError> {
    connection
        .prepare(
            "INSERT INTO govbridge_commit (upto)
               SELECT NULL WHERE coalesce((SELECT max(id) FROM govbridge_changelog), 0)
                             > coalesce((SELECT upto FROM govbridge_commit ORDER BY id DESC LIMIT 1), 0)",
        )
        .and_then(|mut s| s.execute([]))
        .map_err(broken)?;
    let last = connection.query_row(
        "SELECT id, upto, at, nonce FROM govbridge_commit
              WHERE upto = (SELECT upto FROM govbridge_commit ORDER BY id DESC LIMIT 1) ORDER BY id LIMIT 1",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(3)?)),
    );
    match last {
        Ok((number, upto, nonce)) => {
            let boundary =
                Boundary { number: unsigned(number)?, upto: unsigned(upto)?, at: UnixMicros(0), nonce };
            Ok((boundary.upto, boundary.token()?))
        }
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok((0, Token::default())),
        Err(error) => Err(broken(error)),
    }
}

impl Boundaries {
    /// Reads the next boundaries when none is left. One at the place of the one before closes nothing and is passed.
    fn read(&mut self, connection: &Connection, progress: &mut Progress) -> Result<(), SourceError> {
        while self.0.is_empty() {
            let mut statement = connection
                .prepare(
                    "SELECT id, upto, at, nonce FROM govbridge_commit WHERE id > ?1 ORDER BY id LIMIT ?2",
                )
                .map_err(broken)?;
            let mut rows = statement.query([signed(progress.boundary), BOUNDARIES_MAX]).map_err(broken)?;
            let mut found = false;
            let mut last = progress.delivered;
            while let Some(row) = rows.next().map_err(broken)? {
                found = true;
                let number = unsigned(row.get(0).map_err(broken)?)?;
                let read: (i64, i64, Vec<u8>) =
                    (|| Ok((row.get(1)?, row.get(2)?, row.get(3)?)))().map_err(|_: rusqlite::Error| {
                        SourceError::Unreadable { what: format!("boundary {number} is not filled") }
                    })?;
                let upto = unsigned(read.0)?;
                if upto < last {
                    return Err(SourceError::WentBack {
                        what: format!("boundary {number} stands at {upto}, before {last}"),
                    });
                }
                if upto > last {
                    self.0.push_back(Boundary { number, upto, at: UnixMicros(read.1), nonce: read.2 });
                } else if self.0.is_empty() {
                    progress.boundary = number;
                }
                last = upto;
            }
            if !found {
                break;
            }
        }
        Ok(())
    }
}

fn read_rows(
    connection: &Connection,
    readers: &Readers,
    after: u64,
    upto: u64,
    chunk: &mut Chunk,
) -> Result<(), SourceError> {
    let values: String = (0..readers.values_max()).map(|i| format!(", v{i}")).collect();
    let sql = format!(
        "SELECT id, layout, operation{values} FROM govbridge_changelog WHERE id > ?1 AND id <= ?2 ORDER BY id"
    );
    let mut statement = connection.prepare(&sql).map_err(broken)?;
    let mut rows = statement.query([signed(after), signed(upto)]).map_err(broken)?;
    chunk.clear();
    while !chunk.is_full() {
        match rows.next().map_err(broken)? {
            Some(row) => chunk.push(row, readers)?,
            None => break,
        }
    }
    Ok(())
}

fn give_rows(
    progress: &mut Progress,
    boundaries: &mut Boundaries,
    chunk: &Chunk,
    readers: &Readers,
    out: &mut dyn Capture,
) -> Result<(), Broken> {
    let missing = |after: u64, next: &str| {
        Broken::Failed(SourceError::Missing { what: format!("after changelog id {after} comes {next}") })
    };
    if chunk.rows().is_empty() {
        return Err(missing(progress.row, "nothing, though a boundary says more"));
    }
    for row in chunk.rows() {
        let Some(boundary) = boundaries.0.front() else { break };
        let transaction = boundary.transaction();
        if row.id != progress.row + 1 {
            return Err(missing(progress.row, &row.id.to_string()));
        }
        if progress.open.is_none() {
            out.begin(&transaction, &boundary.token()?)?;
            progress.open = Some((transaction.commit, 0));
        }
        let reader = readers.of(row.layout).ok_or_else(|| SourceError::Unreadable {
            what: format!("changelog id {} has the unknown layout {}", row.id, row.layout),
        })?;
        let mut index = progress.open.map_or(0, |(_, given)| given);
        reader.changes(row, chunk, |mut change| {
            change.index = index;
            index += 1;
            out.row(&change).map_err(Broken::from)
        })?;
        progress.open = Some((transaction.commit, index));
        progress.row = row.id;
        if row.id == boundary.upto {
            out.commit(&transaction)?;
            progress.delivered = boundary.upto;
            progress.boundary = boundary.number;
            progress.open = None;
            boundaries.0.pop_front();
        }
    }
    Ok(())
}
