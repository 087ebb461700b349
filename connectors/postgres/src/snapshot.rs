//! A snapshot: all rows of some tables as of one place of the log.
//!
//! ```text
//!   walsender 2    CREATE_REPLICATION_SLOT .. TEMPORARY LOGICAL (exports a snapshot)        ends
//!   session                          BEGIN; SET TRANSACTION SNAPSHOT        rows ... rows   ROLLBACK
//!   walsender 1    the slot: older than the snapshot, unread meanwhile
//! ```
//!
//! The temporary slot's consistent point is the place: every commit before it is in the snapshot, none after it. The lasting
//! slot is older, so its stream has every later commit, and the caller skips the earlier ones by their place.

use crate::catalog;
use crate::claim::{lsn, lsn_text, place, unavailable};
use crate::decode::{Mapper, Workspace};
use crate::server::qualified;
use crate::source::PostgresSource;
use bridge_event::{At, Token};
use bridge_pgwire::Fault;
use bridge_pgwire::Session;
use bridge_pgwire::{literal, quoted};
use connectors_source::{SnapshotRows, Source, SourceError, Stop, Table};
use std::time::Duration;

/// How long the server may wait for transactions that are open when a snapshot begins.
const OPEN_TRANSACTIONS: Duration = Duration::from_secs(300);

enum Ended {
    Stopped,
    Failed(SourceError),
    Lost(Fault),
}

impl From<Stop> for Ended {
    fn from(_: Stop) -> Ended {
        Ended::Stopped
    }
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Ended {
        Ended::Failed(error)
    }
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Lost(fault)
    }
}

/// Reads a snapshot of these tables.
pub(crate) fn read(
    source: &mut PostgresSource,
    tables: &[usize],
    out: &mut dyn SnapshotRows,
) -> Result<Option<At>, SourceError> {
    match read_all(source, tables, out) {
        Ok(at) => Ok(Some(at)),
        Err(Ended::Stopped) => Ok(None),
        Err(Ended::Failed(error)) => Err(error),
        Err(Ended::Lost(fault)) => Err(unavailable(&fault)),
    }
}

fn read_all(source: &mut PostgresSource, tables: &[usize], out: &mut dyn SnapshotRows) -> Result<At, Ended> {
    let name = crate::claim::name(&source.who);
    let mut exporter = Session::open(&source.server.session(), true, &name)?;
    let (as_of, exported) = export(&mut exporter, &source.server.slot)?;
    let mut session = Session::open(&source.server.session(), false, &name)?;
    // A policy that would hide rows is an error then, whenever it was made.
    session.query("SET row_security = off")?;
    session.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    session.query(&format!("SET TRANSACTION SNAPSHOT {}", literal(&exported)))?;
    // The snapshot is held by the transaction now; the temporary slot would hold log back.
    drop(exporter);
    let at = place(as_of);
    let token =
        Token::new(lsn_text(as_of).into_bytes()).map_err(|_| Fault::Protocol("a place of no length"))?;
    out.begin(at, &token)?;
    let mut index = 0;
    for number in tables {
        let Some(table) = source.tables().get(*number).cloned() else { continue };
        read_table(source, &mut session, *number, &table, &mut index, out)?;
    }
    Ok(at)
}

fn export(exporter: &mut Session, slot: &str) -> Result<(u64, String), Fault> {
    let slot: String = slot.chars().take(40).collect();
    let name = quoted(&format!("{slot}_s{}", exporter.pid));
    let command = format!("CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT");
    let rows = exporter.query_within(&command, OPEN_TRANSACTIONS)?;
    let text = |at: usize| rows.first().and_then(|r| r.get(at).cloned().flatten());
    match (text(1).and_then(|t| lsn(&t)), text(2)) {
        (Some(as_of), Some(exported)) => Ok((as_of, exported)),
        _ => Err(Fault::Protocol("a slot without a consistent point")),
    }
}

fn read_table(
    source: &PostgresSource,
    session: &mut Session,
    number: usize,
    table: &Table,
    index: &mut u64,
    out: &mut dyn SnapshotRows,
) -> Result<(), Ended> {
    let drifted = |what: String| SourceError::Drifted {
        table: table.name.clone(),
        what,
        remedy: "start the connector again, which says what changed".to_owned(),
    };
    let found = catalog::find(session, &table.name)?.ok_or_else(|| drifted("it is gone".to_owned()))?;
    source.accepts(&found.shape(&table.name))?;
    if found.hides_rows {
        return Err(Ended::Failed(SourceError::Unsuitable {
            what: format!(
                "row-level security hides rows of table {} from the role: a snapshot would lack what the stream has",
                table.name
            ),
            remedy: "give the role BYPASSRLS, or do not share the table".to_owned(),
        }));
    }
    let mut columns = Vec::new();
    for name in &table.columns {
        let column = found.column(name).ok_or_else(|| drifted(format!("column {name} is gone")))?;
        columns.push((name.clone(), column.typed.kind, column.identity));
    }
    let binary: Vec<bool> = columns.iter().map(|(_, kind, _)| kind.has_binary()).collect();
    let mapper = Mapper::new(number, table, true, &columns);
    let names = |names: &[String]| names.iter().map(|n| quoted(n)).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT {} FROM {} ORDER BY {}",
        names(&table.columns),
        qualified(&table.name),
        names(&table.key)
    );
    session.begin_rows(&sql, &binary)?;
    let mut space = Workspace::default();
    while let Some(range) = session.next_row()? {
        let message = session.socket.bytes(&range);
        mapper.read_row(message, &binary, &mut space)?;
        mapper.give_read(message, &mut space, |mut change| {
            change.index = *index;
            *index += 1;
            out.row(&change).map_err(Ended::from)
        })?;
    }
    Ok(())
}
