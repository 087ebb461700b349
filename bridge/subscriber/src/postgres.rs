//! The PostgreSQL sink: each dataset is a table, and rows and progress are one transaction (docs/guide/postgresql-sink.md).
//!
//! ```text
//! batch -> plan: the table follows the contract -> changes -> group: the last of each key -> one transaction:
//!   fence, lock, look | ALTER | COPY, merge | notices | progress | COMMIT
//! ```
//!
//! Invariants: what is in the tables is what the progress beside them says, after any kill; nobody without the newest
//! fence commits; a table that is not as it was made is not written.

mod change;
mod create;
mod error;
mod group;
mod layout;
mod look;
mod plan;
mod rights;
mod value;
mod write;

#[cfg(test)]
#[allow(dead_code, clippy::expect_used, reason = "the connector's tests use all of it")]
#[path = "../../../connectors/postgres/tests/postgres/application.rs"]
mod application;
#[cfg(test)]
mod real;

use std::time::{Duration, Instant};

use bridge_envelope::Notice;
use bridge_pgwire::{Server, Session, SslMode, Tls, literal, quoted};
use bridge_suite::sha256;
use zeroize::Zeroizing;

pub(crate) use change::Change;
pub use create::{Created, create, script};
pub use error::SinkError;
pub(crate) use plan::Plan;
pub(crate) use rights::Rights;

use crate::progress::Progress;
use crate::settings::{Postgres, Subscribed};
use group::Segment;
use layout::{Layout, Step};

/// The progress and the fence: one row.
const PROGRESS: &str = "govbridge_progress";
/// What this sink made of each table.
const TABLES: &str = "govbridge_tables";
/// GAPs and RETRACTs.
const NOTICES: &str = "govbridge_notices";

/// How long the server may take to notice that the holder of the lock was killed.
const LET_GO: Duration = Duration::from_secs(5);

/// How long a statement over a whole group or a whole table may take.
const LONG: Duration = Duration::from_secs(3600);

/// One dataset's table.
#[derive(Debug)]
struct Table {
    dataset: Subscribed,
    name: String,
    layout: Layout,
    /// What the contract changed, and the table does not have yet.
    steps: Vec<Step>,
    /// The generation that gathers; `None` when none was begun here.
    gathers: Option<u64>,
    /// What stands of that in the sink.
    noted: Option<u64>,
    segments: Vec<Segment>,
    /// Whether the session's own table for a group has the layout of now.
    has_group: bool,
    /// Whether it has lines of this transaction.
    used: bool,
}

/// A notice on its way.
#[derive(Debug)]
struct Told {
    stream: String,
    sequence: u64,
    kind: &'static str,
    reason: String,
    voids: Vec<u64>,
}

/// A database under this process's lock.
pub(crate) struct PostgresSink {
    session: Session,
    rights: Rights,
    schema: String,
    fence: i64,
    tables: Vec<Table>,
    notices: Vec<Told>,
    bytes: usize,
    /// How long the last transaction took.
    took: Duration,
    in_transaction: bool,
    /// What was taken and must not be written: a row with holes would look like a row with NULLs.
    refused: Option<SinkError>,
}

impl std::fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSink")
            .field("schema", &self.schema)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

/// The server of the settings.
fn server(settings: &Postgres) -> Server {
    Server {
        host: settings.host.clone(),
        port: settings.port,
        database: settings.database.clone(),
        user: settings.user.clone(),
        password: settings.password.0.clone(),
        tls: Tls {
            mode: settings.sslmode.unwrap_or_else(|| SslMode::of_host(&settings.host)),
            root: settings.sslrootcert.clone(),
            own: settings.sslcert.clone().map(|own| (own.clone(), settings.sslkey.clone().unwrap_or(own))),
        },
    }
}

/// A password: shown by nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(pub Option<Zeroizing<String>>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// The one field of the first row.
fn one(rows: &[bridge_pgwire::Row]) -> Option<String> {
    rows.first().and_then(|row| row.first().cloned().flatten())
}

impl PostgresSink {
    /// Opens the sink for one subscriber, locks it, and gives the progress that stands in it. `who` names this process.
    pub(crate) fn open(
        settings: &Postgres,
        datasets: &[Subscribed],
        subscription: &str,
        who: &str,
    ) -> Result<(PostgresSink, Option<Progress>), SinkError> {
        layout::check_names(datasets)?;
        let mut session = Session::open(&server(settings), false, who)?;
        let schema = settings.schema.clone();
        let at = |name: &str| format!("{}.{}", quoted(&schema), quoted(name));
        let found = session.query(&format!("SELECT to_regclass({})", literal(&at(PROGRESS))))?;
        if one(&found).is_none() {
            let what = format!("there is no table {PROGRESS} in schema {schema}, or the role may not see it");
            return Err(SinkError::NotCreated(what));
        }
        lock(&mut session, &schema, who)?;
        let rows = session.query(&format!(
            "UPDATE {} SET fence = fence + 1 RETURNING fence, subscription, progress::text",
            at(PROGRESS)
        ))?;
        let row = rows.into_iter().next().unwrap_or_default();
        let mut row = row.into_iter();
        let (fence, of, text) = (row.next().flatten(), row.next().flatten(), row.next().flatten());
        let fence = fence.and_then(|fence| fence.parse().ok());
        let fence = fence.ok_or_else(|| SinkError::NotCreated(format!("{PROGRESS} has no row")))?;
        let progress = match (text, of) {
            (None, _) => None,
            (Some(_), Some(other)) if other != subscription => {
                return Err(SinkError::Held(format!(
                    "its progress is of {other:?}, and this is {subscription:?}"
                )));
            }
            (Some(text), _) => Some(
                serde_json::from_str(&text)
                    .map_err(|error| SinkError::Changed(format!("{PROGRESS} cannot be read: {error}")))?,
            ),
        };
        let mut sink = PostgresSink {
            session,
            rights: Rights::of(settings),
            schema,
            fence,
            tables: Vec::new(),
            notices: Vec::new(),
            bytes: 0,
            took: Duration::ZERO,
            in_transaction: false,
            refused: None,
        };
        sink.find_tables(datasets)?;
        Ok((sink, progress))
    }

    /// What the server did not permit, with the statement that gives the right.
    pub(crate) fn explain(&self, error: SinkError) -> SinkError {
        self.rights.explain(error)
    }

    /// Bytes that wait to be written.
    pub(crate) fn buffered(&self) -> usize {
        self.bytes
    }

    /// How long rows gather at least while many come: a transaction has its price whatever is in it.
    pub(crate) fn pace(&self) -> Duration {
        self.took.saturating_mul(4).min(Duration::from_millis(500))
    }

    /// Takes the next change.
    pub(crate) fn take(&mut self, change: Change) {
        let Some(table) = self.tables.get_mut(change.table) else { return };
        if change.lacks {
            self.refused = Some(SinkError::RowsGone { table: table.name.clone() });
        }
        self.bytes = self.bytes.saturating_add(table.take(change).max(1));
    }

    /// Takes a notice, which is written beside the rows.
    pub(crate) fn tell(&mut self, stream: String, sequence: u64, notice: &Notice) {
        let (kind, reason, voids) = match notice {
            Notice::Gap(gap) => ("gap", gap.reason.clone(), gap.voids.clone()),
            Notice::Retract(retract) => ("retract", retract.reason.clone(), retract.voids.clone()),
        };
        self.bytes = self.bytes.saturating_add(reason.len().max(1));
        self.notices.push(Told { stream, sequence, kind, reason, voids });
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(name))
    }

    /// A sink of one table, under the first fence.
    #[cfg(test)]
    fn bare(session: Session, schema: &str, table: Table) -> PostgresSink {
        PostgresSink {
            session,
            rights: Rights::over("", schema, ""),
            schema: schema.to_owned(),
            fence: 0,
            tables: vec![table],
            notices: Vec::new(),
            bytes: 0,
            took: Duration::ZERO,
            in_transaction: false,
            refused: None,
        }
    }
}

impl Table {
    fn take(&mut self, change: Change) -> usize {
        use change::Deed;
        let columns = self.layout.columns.len();
        // A snapshot that begins after another one ended, and lines of another width, are a step of their own.
        let own_step = |segment: &Segment| match change.deed {
            Deed::SnapshotBegins(_) => segment.swaps,
            Deed::Gather => segment.swaps || (segment.columns != columns && !segment.gathered.is_empty()),
            _ => false,
        };
        if self.segments.last().is_none_or(own_step) {
            self.segments.push(Segment::default());
        }
        let Some(segment) = self.segments.last_mut() else { return 0 };
        match change.deed {
            Deed::SnapshotBegins(generation) => self.gathers = Some(generation),
            Deed::SnapshotSpoils => self.gathers = None,
            // A snapshot whose beginning did not come here is not whole.
            Deed::SnapshotEnds(generation) if self.gathers.take() != Some(generation) => return 1,
            _ => {}
        }
        segment.take(change, columns)
    }
}

/// Takes the schema's lock. A session that this very process left behind is ended first.
fn lock(session: &mut Session, schema: &str, who: &str) -> Result<(), SinkError> {
    let digest = sha256(&[b"govbridge sink ", schema.as_bytes()]);
    let number = digest.0.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    let until = Instant::now() + LET_GO;
    loop {
        let locked = session.query(&format!("SELECT pg_try_advisory_lock({number})"))?;
        if one(&locked).as_deref() == Some("t") {
            return Ok(());
        }
        if Instant::now() > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (high, low) = (number >> 32, number & 0xFFFF_FFFF);
    let holder = session.query(&format!(
        "SELECT l.pid, coalesce(a.application_name, '') FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.classid = {}::oid AND l.objid = {low}::oid \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        high & 0xFFFF_FFFF
    ))?;
    let mut row = holder.into_iter().next().unwrap_or_default().into_iter();
    let (pid, name) = (row.next().flatten().unwrap_or_default(), row.next().flatten().unwrap_or_default());
    if name == who && !name.is_empty() {
        session.query(&format!("SELECT pg_terminate_backend({pid})"))?;
        return Err(SinkError::Unavailable("an earlier session of this process is being ended".to_owned()));
    }
    if pid.is_empty() {
        return Err(SinkError::Unavailable("the sink's lock was just let go".to_owned()));
    }
    Err(SinkError::Held(format!("server process {pid}, {name}, has the lock of schema {schema}")))
}
