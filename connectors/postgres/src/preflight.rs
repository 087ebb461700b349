//! What stands against capturing a database, said before anything begins.

use crate::catalog::{self, Found, Listed};
use crate::claim::{slot_state, unavailable};
use crate::server::{Server, schema_and_name};
use crate::shape::identity_word;
use bridge_pgwire::Fault;
use bridge_pgwire::Session;
use bridge_pgwire::{literal, quoted};
use connectors_source::{Finding, Severity, SourceError, Table};

/// The oldest server whose pgoutput sends binary values.
const VERSION_MIN: u32 = 140_000;
/// The oldest server whose walsender notices that a partition comes or goes.
const ATTACHES: u32 = 150_000;
/// The releases that keep a role with REPLICATION from loading any library of the server as an output plugin.
const CAREFUL: [u32; 3] = [160_015, 170_011, 180_006];

/// Looks at the server, the role and each table.
pub fn preflight(server: &Server, tables: &[Table]) -> Result<Vec<Finding>, SourceError> {
    let mut session =
        Session::open(&server.session(), false, "govbridge preflight").map_err(|f| unavailable(&f))?;
    look(&mut session, server, tables).map_err(|f| unavailable(&f))
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, table: Option<&str>, what: impl Into<String>, remedy: &str) {
        let table = table.map(str::to_owned);
        self.0.push(Finding { severity, table, what: what.into(), remedy: remedy.to_owned() });
    }

    fn refuse(&mut self, table: Option<&str>, what: impl Into<String>, remedy: &str) {
        self.add(Severity::Refused, table, what, remedy);
    }
}

pub(crate) fn look(session: &mut Session, server: &Server, tables: &[Table]) -> Result<Vec<Finding>, Fault> {
    let mut findings = Findings(Vec::new());
    let version = look_at_server(session, server, &mut findings)?;
    for table in tables {
        match catalog::find(session, &table.name)? {
            None => findings.refuse(
                Some(&table.name),
                "there is no such table, or the role may not use its schema",
                "correct [source] table of the contract (schema.name; without a schema it is public)",
            ),
            Some(found) => {
                look_at_table(table, &found, &mut findings);
                if found.kind == "p" && version < ATTACHES {
                    findings.add(
                        Severity::Warning,
                        Some(&table.name),
                        "it is partitioned, and this server does not notice while it streams that a partition is attached or detached",
                        "attach and detach while the connector is stopped and has sent everything, or upgrade to 15 or newer",
                    );
                }
            }
        }
    }
    Ok(findings.0)
}

/// Looks at the server and the role, and gives the server's version.
fn look_at_server(session: &mut Session, server: &Server, findings: &mut Findings) -> Result<u32, Fault> {
    let rows = session.query(
        "SELECT current_setting('server_version_num'), current_setting('wal_level'), pg_is_in_recovery(), \
                (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user), \
                current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots), \
                current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication), \
                current_setting('synchronous_standby_names')",
    )?;
    let row = rows.first().cloned().unwrap_or_default();
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let version = text(0).parse().unwrap_or(0);
    look_at_release(version, findings);
    if text(1) != "logical" {
        let what = format!("wal_level is {}", text(1));
        findings.refuse(None, what, "set wal_level = logical in postgresql.conf and restart the server");
    }
    if text(2) == "t" {
        findings.refuse(None, "the server is a standby", "name the primary in [source] host");
    }
    if text(3) != "t" {
        let what = format!("role {} may not replicate", server.user);
        findings.refuse(None, what, &format!("run: ALTER ROLE {} REPLICATION", quoted(&server.user)));
    }
    let slot = slot_state(session, &server.slot)?;
    if slot.is_none() {
        look_for_open_transactions(session, findings)?;
    }
    let wanted = if slot.is_some() { 1 } else { 2 };
    if text(4).parse().unwrap_or(0) < wanted {
        let remedy =
            "raise max_replication_slots: a connector needs its own and, while a snapshot begins, another";
        findings.refuse(None, "no replication slot is free", remedy);
    }
    if text(5).parse().unwrap_or(0) < 2 {
        let remedy = "raise max_wal_senders: a connector needs one and, while a snapshot begins, another";
        findings.refuse(None, "no walsender is free", remedy);
    }
    if text(6).contains('*') {
        findings.add(
            Severity::Warning,
            None,
            "synchronous_standby_names is *: the server could wait for the connector at each commit",
            "name the standbys there",
        );
    }
    Ok(version)
}

fn look_at_release(version: u32, findings: &mut Findings) {
    if version < VERSION_MIN {
        findings.refuse(None, "the server is older than PostgreSQL 14", "upgrade it");
    }
    if CAREFUL.iter().any(|careful| version / 10_000 == careful / 10_000 && version < *careful) {
        findings.add(
            Severity::Warning,
            None,
            format!(
                "the server is PostgreSQL {}.{}: before 18.6, 17.11 and 16.15 a role with REPLICATION may load any library \
                 of the server as an output plugin, and some releases lose rows of a table that joins a publication",
                version / 10_000,
                version % 10_000
            ),
            "install the newest minor release, and give the role nothing but REPLICATION and SELECT",
        );
    }
}

/// A slot can be made only when all transactions that write now have ended.
fn look_for_open_transactions(session: &mut Session, findings: &mut Findings) -> Result<(), Fault> {
    let rows = session.query(
        "SELECT 'the session of process ' || pid, xact_start FROM pg_stat_activity \
          WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start < now() - interval '10 seconds' \
          UNION ALL SELECT 'the prepared transaction ' || quote_literal(gid), prepared FROM pg_prepared_xacts \
          ORDER BY 2 LIMIT 1",
    )?;
    let holder = rows.first().and_then(|row| Some((row.first()?.clone()?, row.get(1)?.clone()?)));
    if let Some((holder, since)) = holder {
        findings.add(
            Severity::Warning,
            None,
            format!("{holder} has a transaction open since {since}: the slot is made only when it has ended"),
            "end it (COMMIT, ROLLBACK PREPARED, pg_terminate_backend)",
        );
    }
    Ok(())
}

fn look_at_table(table: &Table, found: &Found, findings: &mut Findings) {
    let name = Some(table.name.as_str());
    if found.kind != "r" && found.kind != "p" {
        return findings.refuse(name, "it is no table", "share the table itself; a view has no changes");
    }
    if found.persistence != "p" {
        findings.refuse(
            name,
            "it is unlogged or temporary: the server's log has no changes of it",
            "make it a lasting table",
        );
    }
    if !found.readable {
        findings.refuse(
            name,
            "the role may not read it",
            "grant it SELECT on the table, and USAGE on its schema",
        );
    }
    if found.hides_rows {
        findings.refuse(
            name,
            "row-level security hides rows from the role: a snapshot would lack what the stream has",
            "give the role BYPASSRLS, or do not share the table",
        );
    }
    if found.odd_leaves > 0 {
        findings.refuse(
            name,
            format!("{} of its partitions have another replica identity", found.odd_leaves),
            "give each partition the replica identity of the table",
        );
    }
    for column in &table.columns {
        match found.column(column) {
            None => findings.refuse(name, format!("it has no column {column}"), "correct the contract"),
            Some(listed) if listed.generated => findings.refuse(
                name,
                format!("column {column} is generated: the server's log has no values of it"),
                "share what it is made from",
            ),
            Some(listed) => look_at_type(table, listed, findings),
        }
    }
    look_at_key(table, found, findings);
}

/// A text whose type is not understood is sent with its type's name, which stands in the contract.
fn look_at_type(table: &Table, listed: &Listed, findings: &mut Findings) {
    let (name, is) = (Some(table.name.as_str()), &listed.typed.name);
    let (column, plain) = (&listed.name, without_modifier(is));
    match table.source_type(column) {
        Some(told) if told != is && told != plain => findings.refuse(
            name,
            format!("column {column} is of type {is}, and its source_type in the contract is {told}"),
            &format!("write source_type = \"{plain}\" there"),
        ),
        None if !listed.typed.kind.has_binary() => findings.refuse(
            name,
            format!(
                "column {column} is of type {is}, which is sent as its text: nothing would say what text it is"
            ),
            &format!("write source_type = \"{plain}\" in the column's part of the contract"),
        ),
        _ => {}
    }
}

/// A type's name without its modifier, as in `time(3) with time zone`.
fn without_modifier(name: &str) -> String {
    match (name.find('('), name.find(')')) {
        (Some(from), Some(to)) if !name.starts_with('"') => {
            [name.get(..from), name.get(to + 1..)].into_iter().flatten().collect()
        }
        _ => name.to_owned(),
    }
}

fn look_at_key(table: &Table, found: &Found, findings: &mut Findings) {
    let name = Some(table.name.as_str());
    if found.identity == 'n' || !found.columns.iter().any(|c| c.identity) {
        // In a publication, such a table's updates and deletes would fail at the source.
        return findings.refuse(
            name,
            "it has no replica identity: once published, its updates and deletes would fail",
            "give it a primary key, or run ALTER TABLE ... REPLICA IDENTITY FULL",
        );
    }
    for column in table.key.iter().filter_map(|key| found.column(key)) {
        if !column.identity {
            findings.refuse(
                name,
                format!(
                    "key column {} is not in the replica identity, which is {}: a delete would not say which row",
                    column.name,
                    identity_word(found.identity)
                ),
                "run ALTER TABLE ... REPLICA IDENTITY USING INDEX, or FULL; or take the primary key as the contract's key",
            );
        }
        if !column.not_null {
            findings.refuse(name, format!("key column {} may be NULL", column.name), "declare it NOT NULL");
        }
    }
    let mut key = table.key.clone();
    key.sort();
    let is_unique = found.unique.iter().any(|columns| {
        let mut columns = columns.clone();
        columns.sort();
        columns == key
    });
    if !is_unique {
        findings.refuse(
            name,
            format!("no unique index stands on exactly ({})", table.key.join(", ")),
            "make one, or take the primary key as the contract's key",
        );
    }
}

/// Checks that the publication gives the tables whole.
pub(crate) fn published(session: &mut Session, server: &Server, tables: &[Table]) -> Result<(), SourceError> {
    let publication = &server.publication;
    let not_created = |what: String| SourceError::NotCreated { what };
    let head = session.query(&format!(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot FROM pg_publication WHERE pubname = {}",
        literal(publication)
    ));
    let head = head.map_err(|f| unavailable(&f))?;
    let truth = |at: usize| head.first().and_then(|r| r.get(at).cloned().flatten()).is_some_and(|t| t == "t");
    if !truth(0) || !truth(1) {
        return Err(not_created(format!(
            "publication {publication} does not give every operation via the root of partitioned tables"
        )));
    }
    // Row filters and column lists, which PostgreSQL has from 15 on, stand in this view's row as JSON.
    let rows = session.query(&format!(
        "SELECT p.schemaname, p.tablename, \
                coalesce(to_jsonb(p) ->> 'rowfilter', '') <> '' OR EXISTS ( \
                  SELECT FROM pg_publication_rel r JOIN pg_publication b ON b.oid = r.prpubid \
                   WHERE b.pubname = p.pubname AND r.prrelid = format('%I.%I', p.schemaname, p.tablename)::regclass \
                     AND to_jsonb(r) ->> 'prattrs' IS NOT NULL) \
           FROM pg_publication_tables p WHERE p.pubname = {}",
        literal(publication)
    ));
    let rows = rows.map_err(|f| unavailable(&f))?;
    for table in tables {
        let (schema, name) = schema_and_name(&table.name);
        let is = |row: &&bridge_pgwire::Row| {
            row.first().cloned().flatten().as_deref() == Some(schema)
                && row.get(1).cloned().flatten().as_deref() == Some(name)
        };
        let Some(row) = rows.iter().find(is) else {
            return Err(not_created(format!("publication {publication} does not hold table {}", table.name)));
        };
        if row.get(2).cloned().flatten().as_deref() != Some("f") {
            return Err(not_created(format!(
                "publication {publication} gives table {} with a row filter or a column list",
                table.name
            )));
        }
    }
    Ok(())
}
