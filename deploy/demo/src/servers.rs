//! Real servers: the PostgreSQL and the Kafka that `deploy/dev/services.sh` started, and the databases made on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bridge_pgwire::{Server, Session, literal, quoted};

use crate::generator::Store;
use crate::processes::LOOK;

/// How long a server may take to let go of a slot whose connector was killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the file `state` of `deploy/dev/services.sh` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Servers {
    host: String,
    port: u16,
    user: String,
    kafka: String,
    /// PostgreSQL's major version.
    major: String,
}

impl Servers {
    /// Reads the file.
    pub(crate) fn read(state: &Path) -> anyhow::Result<Servers> {
        let text = std::fs::read_to_string(state).with_context(|| {
            format!("cannot read {}; `make services` writes such a file", state.display())
        })?;
        Servers::parse(&text).with_context(|| format!("{}", state.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Servers> {
        let words: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let word = |name: &str| {
            words.get(name).map(|word| (*word).to_owned()).with_context(|| format!("it does not say {name}"))
        };
        Ok(Servers {
            host: word("POSTGRES_HOST")?,
            port: word("POSTGRES_PORT")?.parse().context("POSTGRES_PORT is no port")?,
            user: word("POSTGRES_USER")?,
            kafka: word("KAFKA_BOOTSTRAP")?,
            major: word("POSTGRES_MAJOR")?,
        })
    }

    /// The brokers.
    pub(crate) fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Both in words.
    pub(crate) fn words(&self) -> String {
        format!("PostgreSQL {} on {}:{}, Kafka on {}", self.major, self.host, self.port, self.kafka)
    }

    /// The database that this program makes for a department; one of this name is an earlier run's.
    pub(crate) fn database(department: &str) -> String {
        format!("govbridge_e2e_{}", department.replace('-', "_"))
    }

    /// The database into whose tables a department receives.
    pub(crate) fn received(department: &str) -> String {
        format!("govbridge_e2e_received_{}", department.replace('-', "_"))
    }

    /// What a subscriber's configuration says of its tables.
    pub(crate) fn sink(&self, department: &str) -> String {
        let (Servers { host, port, user, .. }, name) = (self, Servers::received(department));
        format!(
            "[sink.postgres]\nhost = \"{host}\"\nport = {port}\ndatabase = \"{name}\"\nuser = \"{user}\"\n"
        )
    }

    /// What a connector's configuration says of its database.
    pub(crate) fn source(&self, department: &str) -> String {
        let (Servers { host, port, user, .. }, name) = (self, Servers::database(department));
        format!(
            "engine = \"postgres\"\nhost = \"{host}\"\nport = {port}\ndatabase = \"{name}\"\nuser = \"{user}\"\n\
             slot = \"{name}\"\n"
        )
    }

    /// A session, with tables found in `public` as an application finds them.
    pub(crate) fn session(&self, database: &str) -> anyhow::Result<Session> {
        let server = Server {
            host: self.host.clone(),
            port: self.port,
            database: database.to_owned(),
            user: self.user.clone(),
            password: None,
            tls: bridge_pgwire::Tls::of_host(&self.host),
        };
        let mut session = Session::open(&server, false, "govbridge-demo")
            .map_err(|fault| anyhow::anyhow!("PostgreSQL at {}:{}: {fault}", self.host, self.port))?;
        ask(&mut session, "SET search_path = public")?;
        Ok(session)
    }
}

/// Runs one question on a session.
pub(crate) fn ask(session: &mut Session, question: &str) -> anyhow::Result<Vec<bridge_pgwire::Row>> {
    session.query(question).map_err(|fault| anyhow::anyhow!("PostgreSQL: {fault}"))
}

/// Databases that were made on a server. Dropping this drops them with their slots.
#[derive(Default)]
pub(crate) struct Databases(Vec<(Servers, String)>);

impl Databases {
    /// Makes an empty database, in the place of one that an earlier run left, and opens it.
    pub(crate) fn make(&mut self, servers: &Servers, name: &str) -> anyhow::Result<Store> {
        let mut session = servers.session("postgres")?;
        drop_database(&mut session, name)?;
        self.0.push((servers.clone(), name.to_owned()));
        ask(&mut session, &format!("CREATE DATABASE {}", quoted(name)))?;
        Ok(Store::Postgres(Box::new(servers.session(name)?)))
    }

    /// Drops them; who needs to know calls this before the end.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        for (servers, name) in std::mem::take(&mut self.0) {
            drop_database(&mut servers.session("postgres")?, &name)?;
        }
        Ok(())
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("govbridge-demo: {error:#}; a later run drops what this one left");
        }
    }
}

/// Drops a database and its slots, when they are there.
fn drop_database(session: &mut Session, name: &str) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    let slots = format!("FROM pg_replication_slots WHERE database = {}", literal(name));
    loop {
        let walsenders =
            format!("SELECT pg_terminate_backend(active_pid) {slots} AND active_pid IS NOT NULL");
        ask(session, &walsenders)?;
        match ask(session, &format!("SELECT pg_drop_replication_slot(slot_name) {slots}")) {
            Ok(_) => break,
            // Whose walsender has just been ended is still active for a moment.
            Err(_) if Instant::now() < until => std::thread::sleep(LOOK),
            Err(error) => bail!("the slot of {name} cannot be dropped: {error:#}"),
        }
    }
    ask(session, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "KAFKA_BOOTSTRAP=127.0.0.1:29092\nKAFKA_PID=7\nPOSTGRES_MAJOR=18\nPOSTGRES_HOST=127.0.0.1\n\
                         POSTGRES_PORT=25432\nPOSTGRES_USER=postgres\n";

    #[test]
    fn the_state_of_the_services_is_read() {
        let servers = Servers::parse(STATE).unwrap();
        assert_eq!(servers.words(), "PostgreSQL 18 on 127.0.0.1:25432, Kafka on 127.0.0.1:29092");
        let source: toml::Table = servers.source("social-security").parse().unwrap();
        assert_eq!(source["database"].as_str(), Some("govbridge_e2e_social_security"));
        assert_eq!(source["port"].as_integer(), Some(25432));
    }

    #[test]
    fn a_state_without_a_server_is_refused_by_its_name() {
        let half = STATE.replace("KAFKA_BOOTSTRAP", "OTHER");
        assert!(format!("{:#}", Servers::parse(&half).unwrap_err()).contains("KAFKA_BOOTSTRAP"));
    }
}
