//! Preparing a database: publication, its comment, and the slot. The one place that writes there.
//!
//! Never FOR ALL TABLES, which would take tables without a replica identity and make their updates fail; never a column
//! list, which would do the same to a table whose replica identity is made FULL later.

use crate::catalog;
use crate::claim::{installed, slot_state, unavailable};
use crate::preflight::look;
use crate::server::{Server, qualified, schema_and_name};
use crate::shape::{Installed, Shape};
use bridge_pgwire::Fault;
use bridge_pgwire::Session;
use bridge_pgwire::{literal, quoted};
use connectors_source::{Finding, SourceError, Table};
use std::time::Duration;

/// How long `--create` waits for a table's lock: an application's writes wait behind it.
const LOCK_SECONDS: u32 = 5;
/// How long the server may wait for transactions that are open when the slot is made.
const OPEN_TRANSACTIONS: Duration = Duration::from_secs(300);
/// When the server gives up by itself: before we do.
const SLOT_SECONDS: u32 = 290;
/// Accepted shapes of one table that are remembered: rows that wait in the slot may still have an older one.
const SHAPES_MAX: usize = 16;

/// What was prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// A word for this creation of the slot.
    pub capture: String,
    /// Whether the slot was made now. When capture had been created before, changes since the old slot was dropped are lost,
    /// and the source is another incarnation.
    pub slot_made: bool,
    /// Whether capture had been created before.
    pub existed: bool,
}

/// What must be done, found out without doing it.
struct Plan {
    statements: Vec<String>,
    slot: Option<String>,
    installed: Installed,
    existed: bool,
}

/// Makes publication and slot for `tables`, or brings them up to date. `word` is fresh randomness as text.
pub fn create(server: &Server, word: &str, tables: &[Table]) -> Result<Created, SourceError> {
    let mut session =
        Session::open(&server.session(), false, "govbridge --create").map_err(|f| unavailable(&f))?;
    let plan = plan(&mut session, server, word, tables)?;
    let run = |session: &mut Session| -> Result<(), Fault> {
        session.query(&format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))?;
        for statement in &plan.statements {
            session.query(statement)?;
        }
        session.query("COMMIT")?;
        // Its own transaction: a slot cannot be made after writes.
        if let Some(slot) = &plan.slot {
            // Whoever gives up waiting must not leave a server's process that makes the slot later, which nobody would read.
            session.query(&format!("SET statement_timeout = '{SLOT_SECONDS}s'"))?;
            // Not every system can tell that a client is gone; the timeout stands for it there.
            let _ = session.query("SET client_connection_check_interval = '1s'");
            session.query_within(slot, OPEN_TRANSACTIONS)?;
        }
        Ok(())
    };
    run(&mut session).map_err(|fault| match fault {
        Fault::Refused { code, message } if code == "42501" => SourceError::Unsuitable {
            what: message,
            remedy: "let the DBA run what `govbridge connector --create --print-sql` prints".to_owned(),
        },
        fault => unavailable(&fault),
    })?;
    Ok(Created { capture: plan.installed.capture, slot_made: plan.slot.is_some(), existed: plan.existed })
}

/// The statements that [`create`] would run, for a DBA.
pub fn script(server: &Server, word: &str, tables: &[Table]) -> Result<String, SourceError> {
    let mut session =
        Session::open(&server.session(), false, "govbridge --print-sql").map_err(|f| unavailable(&f))?;
    let plan = plan(&mut session, server, word, tables)?;
    let mut text = format!("BEGIN;\nSET LOCAL lock_timeout = '{LOCK_SECONDS}s';\n");
    for statement in &plan.statements {
        text.push_str(&format!("{statement};\n"));
    }
    text.push_str("COMMIT;\n");
    if let Some(slot) = &plan.slot {
        text.push_str(&format!("{slot};\n"));
    }
    Ok(text)
}

fn plan(session: &mut Session, server: &Server, word: &str, tables: &[Table]) -> Result<Plan, SourceError> {
    refuse_unsuitable(session, server, tables)?;
    let publication = quoted(&server.publication);
    let found = installed(session, &server.publication).map_err(|f| unavailable(&f))?;
    let exists = found.is_some();
    let before = match found {
        Some(None) => {
            return Err(SourceError::Unsuitable {
                what: format!("publication {} exists, and govbridge did not make it", server.publication),
                remedy: "give [source] publication another name".to_owned(),
            });
        }
        Some(Some(installed)) => Some(installed),
        None => None,
    };
    let slot = slot_state(session, &server.slot).map_err(|f| unavailable(&f))?;
    let existed = before.is_some();
    let mut installed = before.unwrap_or(Installed { capture: word.to_owned(), shapes: Vec::new() });
    if slot.is_none() {
        word.clone_into(&mut installed.capture);
    }
    let mut added = Vec::new();
    let held = held_tables(session, server).map_err(|f| unavailable(&f))?;
    for table in tables {
        let found = catalog::find(session, &table.name).map_err(|f| unavailable(&f))?;
        let Some(found) = found else { continue };
        accept(&mut installed, found.shape(&table.name));
        let (schema, name) = schema_and_name(&table.name);
        if !held.iter().any(|(s, n)| s == schema && n == name) {
            added.push(qualified(&table.name));
        }
    }
    let mut statements: Vec<String> =
        added.iter().map(|table| format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).collect();
    let list = added.join(", ");
    if !exists {
        let options =
            "WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)";
        statements.push(format!("CREATE PUBLICATION {publication} FOR TABLE {list} {options}"));
    } else if !added.is_empty() {
        statements.push(format!("ALTER PUBLICATION {publication} ADD TABLE {list}"));
    }
    statements.push(format!("COMMENT ON PUBLICATION {publication} IS {}", literal(&installed.to_text())));
    let slot = slot
        .is_none()
        .then(|| format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput')", literal(&server.slot)));
    Ok(Plan { statements, slot, installed, existed })
}

/// The newest accepted shape stands last.
fn accept(installed: &mut Installed, shape: Shape) {
    installed.shapes.retain(|known| *known != shape);
    let of_table = installed.shapes.iter().filter(|known| known.table == shape.table).count();
    if of_table >= SHAPES_MAX
        && let Some(oldest) = installed.shapes.iter().position(|known| known.table == shape.table)
    {
        installed.shapes.remove(oldest);
    }
    installed.shapes.push(shape);
}

fn held_tables(session: &mut Session, server: &Server) -> Result<Vec<(String, String)>, Fault> {
    let rows = session.query(&format!(
        "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = {}",
        literal(&server.publication)
    ))?;
    let text = |row: &bridge_pgwire::Row, at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    Ok(rows.iter().map(|row| (text(row, 0), text(row, 1))).collect())
}

fn refuse_unsuitable(session: &mut Session, server: &Server, tables: &[Table]) -> Result<(), SourceError> {
    let findings = look(session, server, tables).map_err(|f| unavailable(&f))?;
    Finding::refuse_first(findings)
}
