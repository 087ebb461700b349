//! The database engines: one door to each connector crate.

use super::settings::{Engine, Settings, SourceSection};
use crate::configuration::Folder;
use crate::ending;
use crate::exit::{Exit, Refusal};
use crate::key_store::PassphraseFrom;
use crate::output;
use crate::outside;
use bridge_ledger::Holder;
use bridge_pipeline::{Claim, Shutdown};
use connectors_postgres::{PostgresSource, Server, SslMode, Tls};
use connectors_source::{Claimant, Finding, Severity, Source, Table};
use connectors_sqlite::SqliteSource;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// PostgreSQL's own port.
const POSTGRES_PORT: u16 = 5432;
/// The publication and the slot, when the configuration names none.
const POSTGRES_NAME: &str = "govbridge";
/// How long to wait before a database that is away is looked at again, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A database as the configuration names it.
#[derive(Debug)]
pub(super) enum Database {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<Server>),
}

fn missing(engine: &str, key: &str) -> anyhow::Error {
    Refusal::usage(format!("CFG003: source.{key}: this key is missing; engine = {engine:?} needs it"))
        .remedy("correct it; `govbridge connector --example` shows every key with its meaning")
        .code("CFG003")
        .into()
}

/// Keys of one engine that stand beside another one.
fn refuse_foreign(engine: &str, keys: &[(&str, bool)]) -> anyhow::Result<()> {
    match keys.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((key, _)) => {
            let what = format!("CFG002: source.{key}: engine = {engine:?} has no such key");
            Err(Refusal::usage(what)
                .remedy("remove it, or name the engine that it belongs to")
                .code("CFG002")
                .into())
        }
    }
}

impl Database {
    /// The database of `[source]`.
    pub(super) fn of(settings: &Settings, folder: &Folder) -> anyhow::Result<Database> {
        let source = &settings.source;
        match source.engine {
            Engine::Sqlite => {
                refuse_foreign(
                    "sqlite",
                    &[
                        ("host", source.host.is_some()),
                        ("port", source.port.is_some()),
                        ("database", source.database.is_some()),
                        ("user", source.user.is_some()),
                        ("password_file", source.password_file.is_some()),
                        ("sslmode", source.sslmode.is_some()),
                        ("sslrootcert", source.sslrootcert.is_some()),
                        ("sslcert", source.sslcert.is_some()),
                        ("sslkey", source.sslkey.is_some()),
                        ("publication", source.publication.is_some()),
                        ("slot", source.slot.is_some()),
                    ],
                )?;
                let file = source.file.as_ref().ok_or_else(|| missing("sqlite", "file"))?;
                Ok(Database::Sqlite(folder.path(file)))
            }
            Engine::Postgres => {
                refuse_foreign("postgres", &[("file", source.file.is_some())])?;
                Ok(Database::Postgres(Box::new(server(source, folder)?)))
            }
        }
    }

    /// The key of the configuration that names it.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Database::Sqlite(_) => "source.file",
            Database::Postgres(_) => "source.host",
        }
    }

    /// What people call it.
    fn name(&self) -> String {
        match self {
            Database::Sqlite(file) => file.display().to_string(),
            Database::Postgres(server) => {
                format!("database {} on {}:{}", server.database, server.host, server.port)
            }
        }
    }

    /// Tells everything that stands against capturing the tables; refuses when capture would not be right.
    pub(super) fn look(&self, tables: &[Table]) -> anyhow::Result<()> {
        let mut refused = Vec::new();
        for Finding { table, severity, what, remedy } in self.findings(tables)? {
            let table = table.map(|table| format!("table {table}: ")).unwrap_or_default();
            let line = format!("{table}{what}; {remedy}");
            match severity {
                Severity::Refused => refused.push(line),
                Severity::Warning => output::say(&format!("warning: {line}")),
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let what =
            format!("CAP005: {} cannot be captured as it is:\n  {}", self.name(), refused.join("\n  "));
        Err(Refusal::usage(what).code("CAP005").into())
    }

    /// [`Database::look`], once the database is there and free; false after a stop.
    pub(super) fn look_once_there(&self, tables: &[Table], shutdown: &Shutdown) -> anyhow::Result<bool> {
        let mut wait = LOOK_AGAIN.0;
        loop {
            let found = self.look(tables);
            let away = |error: &anyhow::Error| {
                error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.has_code("CAP001"))
            };
            match found {
                Err(error) if away(&error) => {
                    tracing::warn!(%error, wait_ms = wait.as_millis(), "the source cannot be looked at yet");
                    if shutdown.wait(wait) {
                        return Ok(false);
                    }
                    wait = wait.saturating_mul(2).min(LOOK_AGAIN.1);
                }
                found => return found.map(|()| true),
            }
        }
    }

    fn findings(&self, tables: &[Table]) -> anyhow::Result<Vec<Finding>> {
        let found = match self {
            Database::Sqlite(file) => {
                // A database is the department's, and is never made here.
                drop(output::open(file)?);
                connectors_sqlite::preflight(file, tables)
            }
            Database::Postgres(server) => connectors_postgres::preflight(server, tables),
        };
        Ok(found.map_err(|error| ending::of_source(&error))?)
    }

    /// How the pipeline claims it.
    pub(super) fn claim(self, tables: Vec<Table>, holder: Holder, take_over: bool) -> Claim {
        let Holder { pid, host, since } = holder;
        let who = Claimant { pid, host, since };
        Box::new(move || {
            Ok(match &self {
                Database::Sqlite(file) => {
                    let take = if take_over { SqliteSource::take_over } else { SqliteSource::claim };
                    Box::new(take(file, &tables, &who)?) as Box<dyn Source>
                }
                Database::Postgres(server) => {
                    let take = if take_over { PostgresSource::take_over } else { PostgresSource::claim };
                    Box::new(take(server, &tables, &who)?)
                }
            })
        })
    }

    /// Prepares the database for capture, or prints how.
    pub(super) fn create(
        &self,
        tables: &[Table],
        print_sql: bool,
        as_json: bool,
    ) -> anyhow::Result<ExitCode> {
        let word = outside::uuid()?;
        let failed = |error| ending::of_source(&error);
        if print_sql {
            let script = match self {
                Database::Sqlite(file) => connectors_sqlite::script(file, &word, tables),
                Database::Postgres(server) => connectors_postgres::script(server, &word, tables),
            };
            output::lines(&script.map_err(failed)?)?;
            return Ok(Exit::Good.into());
        }
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        match self {
            Database::Sqlite(file) => {
                let created = connectors_sqlite::create(file, &word, tables).map_err(failed)?;
                tell_sqlite(file, &names, &created, as_json)?;
            }
            Database::Postgres(server) => {
                let created = connectors_postgres::create(server, &word, tables).map_err(failed)?;
                tell_postgres(server, &self.name(), &names, &created, as_json)?;
            }
        }
        Ok(Exit::Good.into())
    }
}

fn server(source: &SourceSection, folder: &Folder) -> anyhow::Result<Server> {
    let needed = |key: &str, value: &Option<String>| value.clone().ok_or_else(|| missing("postgres", key));
    let password = PassphraseFrom {
        passphrase_file: source.password_file.as_deref().map(|file| folder.path(file)),
        passphrase_env: None,
    };
    let password = password.read()?;
    let host = needed("host", &source.host)?;
    let file = |path: &Option<PathBuf>| path.as_deref().map(|path| folder.path(path));
    let tls = Tls {
        mode: source.sslmode.unwrap_or_else(|| SslMode::of_host(&host)),
        root: file(&source.sslrootcert),
        own: file(&source.sslcert).map(|own| (own.clone(), file(&source.sslkey).unwrap_or(own))),
    };
    Ok(Server {
        host,
        tls,
        port: source.port.unwrap_or(POSTGRES_PORT),
        database: needed("database", &source.database)?,
        user: needed("user", &source.user)?,
        password,
        publication: source.publication.clone().unwrap_or_else(|| POSTGRES_NAME.to_owned()),
        slot: source.slot.clone().unwrap_or_else(|| POSTGRES_NAME.to_owned()),
    })
}

fn tell_sqlite(
    file: &Path,
    names: &[&str],
    created: &connectors_sqlite::Created,
    as_json: bool,
) -> anyhow::Result<()> {
    let connectors_sqlite::Created { system, capture, interrupted, waiting } = created;
    if as_json {
        output::json(&serde_json::json!({
            "file": file.display().to_string(),
            "tables": names,
            "system": system,
            "capture": capture,
            "interrupted": interrupted,
            "waiting": waiting,
        }))?;
    } else {
        let (file, names) = (file.display(), names.join(", "));
        output::lines(&format!(
            "{file} is captured: tables {names}\nidentity {system}, capture {capture}, {waiting} changes wait\n"
        ))?;
    }
    if !interrupted.is_empty() {
        output::say(&format!(
            "warning: triggers were missing on {}: changes made meanwhile were not recorded. The source is another \
             incarnation now, and the connector halts until an operator's GAP.",
            interrupted.join(", ")
        ));
    }
    Ok(())
}

fn tell_postgres(
    server: &Server,
    database: &str,
    names: &[&str],
    created: &connectors_postgres::Created,
    as_json: bool,
) -> anyhow::Result<()> {
    let connectors_postgres::Created { capture, slot_made, existed } = created;
    if as_json {
        output::json(&serde_json::json!({
            "database": server.database,
            "tables": names,
            "publication": server.publication,
            "slot": server.slot,
            "capture": capture,
            "slot_made": slot_made,
        }))?;
    } else {
        let (names, publication, slot) = (names.join(", "), &server.publication, &server.slot);
        output::lines(&format!(
            "{database} is captured: tables {names}\npublication {publication}, slot {slot}, capture {capture}\n"
        ))?;
    }
    if *existed && *slot_made {
        output::say(
            "warning: the slot was gone: changes made meanwhile are not captured. The source is another incarnation now, \
             and the connector halts until an operator's GAP.",
        );
    }
    Ok(())
}
