//! What the play stands on: SQLite files and the mock cluster, all on this machine and kept by nobody; or real servers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bridge_kafka::topics::{Created, Plan};
use bridge_kafka::trial::Cluster;
use bridge_kafka::{Properties, removal, topics};

use crate::generator::{Store, database};
use crate::servers::{Databases, Servers};
use crate::stage::Stage;

/// How long a cluster may take to make or remove topics.
const PATIENCE: Duration = Duration::from_secs(60);

/// The department that receives into tables, where there is a server for them.
const INTO_TABLES: &str = "tax";

/// Where tables and topics are.
#[derive(Clone, Debug)]
pub(crate) enum Ground {
    /// A SQLite file for each department, and librdkafka's mock cluster in this program's memory.
    Trial,
    /// A PostgreSQL server and a Kafka cluster.
    Servers(Servers),
}

impl Ground {
    /// The file of a department's sample tables and rows.
    pub(crate) fn sample(&self) -> &'static str {
        match self {
            Ground::Trial => "sample.sql",
            Ground::Servers(_) => "postgres.sql",
        }
    }

    /// What a connector's configuration says of its database.
    pub(crate) fn source(&self, department: &str) -> String {
        match self {
            Ground::Trial => format!("engine = \"sqlite\"\nfile = \"{department}.db\"\n"),
            Ground::Servers(servers) => servers.source(department),
        }
    }

    /// What a connector's configuration says of its topics.
    pub(crate) fn topics(&self) -> &'static str {
        match self {
            Ground::Trial => {
                "# For the mock cluster alone, which answers no question about topics.\ncheck = false\n"
            }
            Ground::Servers(_) => "# There is one broker only.\nreplication = 1\n",
        }
    }

    /// How subscribers deliver: on real servers whole source transactions, in the order of their commits.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Ground::Trial => "stream",
            Ground::Servers(_) => "source",
        }
    }

    /// Where a department receives: on real servers, one of them into tables.
    pub(crate) fn sink(&self, department: &str) -> String {
        match self.tables(department) {
            Some(servers) => servers.sink(department),
            None => "[sink]\njson_lines = \"rows.jsonl\"\n".to_owned(),
        }
    }

    /// The servers, when this department receives into tables.
    pub(crate) fn tables(&self, department: &str) -> Option<&Servers> {
        match self {
            Ground::Servers(servers) if department == INTO_TABLES => Some(servers),
            _ => None,
        }
    }

    /// A department's empty database. `databases` ends those on a server.
    pub(crate) fn store(
        &self,
        stage: &Stage,
        department: &str,
        databases: &mut Databases,
    ) -> anyhow::Result<Store> {
        match self {
            Ground::Trial => Store::file(&database(&stage.of(department), department)),
            Ground::Servers(servers) => databases.make(servers, &Servers::database(department)),
        }
    }
}

/// A transport with its topics. Dropping it ends a mock cluster, and removes the topics of a real one.
pub(crate) enum Transport {
    Trial(Cluster),
    Real { bootstrap: String, topics: Vec<String> },
}

impl Transport {
    /// A transport whose topics are not filled yet. On a real cluster the connectors make them.
    pub(crate) fn for_connectors(ground: &Ground, names: &[String]) -> anyhow::Result<Transport> {
        match ground {
            Ground::Trial => Transport::trial(names),
            Ground::Servers(servers) => Transport::claim(servers.kafka(), names),
        }
    }

    /// The same with empty topics, for a copy.
    pub(crate) fn for_copy(ground: &Ground, names: &[String]) -> anyhow::Result<Transport> {
        let transport = Transport::for_connectors(ground, names)?;
        if let Transport::Real { bootstrap, topics } = &transport {
            let properties = Properties::of_brokers(bootstrap)?;
            for name in topics {
                let made = topics::create(&properties, &Plan::of_dataset(name, 1, 1, None), PATIENCE)?;
                ensure!(made == Created::Made, "the topic {name} for a copy was not made: {made:?}");
            }
        }
        Ok(transport)
    }

    fn trial(names: &[String]) -> anyhow::Result<Transport> {
        let cluster = Cluster::start(1)?;
        for name in names {
            cluster.create_topic(name, 1)?;
        }
        Ok(Transport::Trial(cluster))
    }

    fn claim(bootstrap: &str, names: &[String]) -> anyhow::Result<Transport> {
        let there = removal::present(&Properties::of_brokers(bootstrap)?, names, PATIENCE)?;
        ensure!(
            there.is_empty(),
            "the Kafka cluster at {bootstrap} already holds {}: somebody uses it, and what this makes is removed at its \
             end; name servers of their own, as `make e2e` does",
            there.join(", ")
        );
        Ok(Transport::Real { bootstrap: bootstrap.to_owned(), topics: names.to_vec() })
    }

    /// The brokers as `bootstrap.servers` wants them.
    pub(crate) fn bootstrap(&self) -> &str {
        match self {
            Transport::Trial(cluster) => cluster.bootstrap(),
            Transport::Real { bootstrap, .. } => bootstrap,
        }
    }

    /// Removes the topics of a real cluster.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        if let Transport::Real { bootstrap, topics } = self {
            removal::remove(&Properties::of_brokers(bootstrap)?, topics, PATIENCE)
                .context("the topics of this run could not be removed")?;
            topics.clear();
        }
        Ok(())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Who needs to know calls `end` first; then nothing is left to do.
        if let Err(error) = self.end() {
            eprintln!("govbridge-demo: {error:#}");
        }
    }
}

/// The file of a department's sample tables below the folder of the contracts.
pub(crate) fn sample(schemas: &Path, department: &str, ground: &Ground) -> anyhow::Result<String> {
    let file = schemas.join(department).join(ground.sample());
    std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}
