//! PostgreSQL and Kafka of the run's own, fresh each time, by `deploy/dev/services.sh`; and PostgreSQL 15's client.

use crate::process::run;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The servers; they end with this.
#[derive(Debug)]
pub(crate) struct Servers {
    script: PathBuf,
    folder: PathBuf,
    /// PostgreSQL's port.
    pub(crate) port: u16,
    /// Kafka's address.
    pub(crate) bootstrap: String,
    kafka_data: PathBuf,
    /// Kafka's programs.
    pub(crate) kafka_home: PathBuf,
}

impl Servers {
    /// Starts them with empty folders under `folder`.
    pub(crate) fn start(root: &Path, folder: &Path) -> Result<Servers> {
        let script = root.join("deploy/dev/services.sh");
        std::fs::create_dir_all(folder)?;
        // What an earlier run left: its servers, if it was killed, and their data.
        run(Command::new(&script).arg("clean").env("SERVICES", folder))?;
        let mut servers = Servers {
            script,
            folder: folder.to_owned(),
            port: 0,
            bootstrap: String::new(),
            kafka_data: PathBuf::new(),
            kafka_home: PathBuf::new(),
        };
        let status = Command::new(&servers.script).arg("up").env("SERVICES", folder).status()?;
        if !status.success() {
            bail!("deploy/dev/services.sh up failed: its words are above");
        }
        let state = std::fs::read_to_string(folder.join("state"))?;
        let word = |key: &str| {
            let line = state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("the servers' state has no {key}"))
        };
        servers.port = word("POSTGRES_PORT")?.parse()?;
        servers.bootstrap = word("KAFKA_BOOTSTRAP")?;
        servers.kafka_data = word("KAFKA_DATA")?.into();
        servers.kafka_home = word("KAFKA_HOME")?.into();
        Ok(servers)
    }

    /// The folder in which the broker keeps a topic's only partition.
    pub(crate) fn partition(&self, topic: &str) -> PathBuf {
        self.kafka_data.join(format!("{topic}-0"))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Said by the script itself when it fails.
        let _ = Command::new(&self.script).arg("down").env("SERVICES", &self.folder).status();
    }
}

/// Where `pg_recvlogical` is, and where its libraries are when they are not the system's.
#[derive(Clone, Debug)]
pub(crate) struct Recvlogical {
    pub(crate) program: PathBuf,
    pub(crate) libraries: Option<PathBuf>,
}

impl Recvlogical {
    /// The system's own of version 15, else Debian's package unpacked under `folder`: nothing of the system changes.
    pub(crate) fn find(folder: &Path) -> Result<Recvlogical> {
        for program in ["/usr/lib/postgresql/15/bin/pg_recvlogical", "pg_recvlogical"] {
            let said = Command::new(program).arg("--version").output();
            if said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(") 15.")) {
                return Ok(Recvlogical { program: program.into(), libraries: None });
            }
        }
        let unpacked = folder.join("unpacked");
        let program = unpacked.join("usr/lib/postgresql/15/bin/pg_recvlogical");
        if !program.exists() {
            std::fs::create_dir_all(&unpacked)?;
            let download = || {
                run(Command::new("apt-get")
                    .args(["download", "postgresql-client-15", "libpq5"])
                    .current_dir(folder))
            };
            // A machine that has never asked for its package lists has none; only root may ask.
            download()
                .or_else(|_| run(Command::new("apt-get").args(["update", "-q"])).and_then(|_| download()))
                .context("PostgreSQL 15's client is not here and cannot be fetched; have root run `apt-get update` first")?;
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|ending| ending == "deb") {
                    run(Command::new("dpkg").arg("-x").arg(&path).arg(&unpacked))?;
                }
            }
        }
        let libraries = unpacked.join("usr/lib/x86_64-linux-gnu");
        let found = Recvlogical { program, libraries: Some(libraries) };
        run(found.command().arg("--version"))?;
        Ok(found)
    }

    /// A command of it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}
