//! Making the sink: its own command, by the contracts that the senders have published.

use bridge_pgwire::{Session, quoted};

use super::layout::{self, Layout, check_names, table_name};
use super::{LONG, NOTICES, PROGRESS, Rights, SinkError, TABLES, one, server};
use crate::records::Records;
use crate::run::Makings;
use crate::settings::{Postgres, Sink};
use crate::{DeliverError, RunError, SettingsError, Subscriber};

/// What was made, or was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The schema.
    pub schema: String,
    /// The datasets' tables.
    pub tables: Vec<String>,
}

/// The statements that make the sink, as somebody with the right runs them.
///
/// # Errors
/// [`RunError`]: no contract of a dataset is there, or its table cannot be laid out.
pub fn script(subscriber: Subscriber) -> Result<String, RunError> {
    let (settings, statements, _) = statements(subscriber)?;
    let schema = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(&settings.schema));
    let all: Vec<String> = [schema].into_iter().chain(statements).collect();
    Ok(format!(
        "BEGIN;\n{};\n-- The subscriber's role ({}) needs this where another one owns the tables; it then cannot follow a contract \
         by itself.\nGRANT USAGE ON SCHEMA {2} TO {3};\nGRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {2} TO {3};\nCOMMIT;\n",
        all.join(";\n"),
        settings.user,
        quoted(&settings.schema),
        quoted(&settings.user)
    ))
}

/// Makes schema, tables and progress; what is there stays.
///
/// # Errors
/// [`RunError`]: the same, and what the server says.
pub fn create(subscriber: Subscriber) -> Result<Created, RunError> {
    let (settings, statements, tables) = statements(subscriber)?;
    let made = make(&settings, &statements);
    made.map_err(|error| DeliverError::Postgres(Rights::of(&settings).explain_making(error)))?;
    Ok(Created { schema: settings.schema, tables })
}

fn make(settings: &Postgres, statements: &[String]) -> Result<(), SinkError> {
    let mut session = Session::open(&server(settings), false, "govbridge --create")?;
    let schema = bridge_pgwire::literal(&settings.schema);
    // A schema that a DBA made asks for no right over the database.
    let there = session.query(&format!("SELECT 1 FROM pg_namespace WHERE nspname = {schema}"))?;
    session.query("BEGIN")?;
    if one(&there).is_none() {
        session.query(&format!("CREATE SCHEMA {}", quoted(&settings.schema)))?;
    }
    for statement in statements {
        session.query_within(statement, LONG)?;
    }
    session.query("COMMIT")?;
    Ok(())
}

fn statements(subscriber: Subscriber) -> Result<(Postgres, Vec<String>, Vec<String>), RunError> {
    let makings = Makings::new(subscriber)?;
    let settings = &makings.settings;
    let Sink::Postgres(postgres) = &settings.sink else { return Err(SettingsError::NothingToCreate.into()) };
    check_names(&settings.datasets).map_err(DeliverError::Postgres)?;
    let trust = std::sync::Arc::clone(&makings.trust);
    let mut records = Records::new(&makings.properties, trust, settings, &makings.shared.metrics)?;
    records.refresh()?;
    let mut statements = own_tables(&postgres.schema);
    let mut tables = Vec::new();
    for dataset in &settings.datasets {
        let named = format!("{}/{}", dataset.department, dataset.dataset);
        let (_, promise) =
            records.dataset(dataset).ok_or_else(|| RunError::NoContract { dataset: named.clone() })?;
        let contract = &promise.contract;
        let now = makings.shared.clock.now();
        let mine = |section: &&schemas::Section| {
            *contract.department() == settings.department
                || contract.entitled(section.name(), now).contains(&settings.department)
        };
        let sections: Vec<_> = contract.sections().iter().filter(mine).map(schemas::Section::name).collect();
        let layout = Layout::of(contract, &sections).map_err(DeliverError::Postgres)?;
        let table = table_name(dataset);
        statements.extend(layout::create(&postgres.schema, &table, &named, &layout, contract));
        tables.push(table);
    }
    Ok(((**postgres).clone(), statements, tables))
}

pub(super) fn own_tables(schema: &str) -> Vec<String> {
    let at = |name: &str| format!("{}.{}", quoted(schema), quoted(name));
    let (progress, tables, notices) = (at(PROGRESS), at(TABLES), at(NOTICES));
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {progress} (\n  one boolean PRIMARY KEY DEFAULT true CHECK (one),\n  \
             subscription text,\n  fence bigint NOT NULL,\n  progress jsonb,\n  written_at timestamp with time zone\n)"
        ),
        format!("INSERT INTO {progress} (fence) VALUES (0) ON CONFLICT DO NOTHING"),
        format!("COMMENT ON TABLE {progress} IS E'How far govbridge has delivered; written with the rows'"),
        format!(
            "CREATE TABLE IF NOT EXISTS {tables} (\n  table_name text PRIMARY KEY,\n  stream text NOT NULL,\n  \
             layout jsonb NOT NULL,\n  snapshot bigint\n)"
        ),
        format!("COMMENT ON TABLE {tables} IS E'What govbridge made of each table'"),
        format!(
            "CREATE TABLE IF NOT EXISTS {notices} (\n  stream text NOT NULL,\n  sequence bigint NOT NULL,\n  \
             kind text NOT NULL,\n  reason text NOT NULL,\n  voids numeric[] NOT NULL,\n  \
             written_at timestamp with time zone NOT NULL DEFAULT now(),\n  PRIMARY KEY (stream, sequence)\n)"
        ),
        format!(
            "COMMENT ON TABLE {notices} IS E'What a sender says may be missing (gap) or has vanished (retract)'"
        ),
    ]
}
