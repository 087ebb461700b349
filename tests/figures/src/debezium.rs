//! The peer: Debezium in Kafka Connect, from pinned Maven coordinates, tuned as its own guide and the baselines say.

use crate::drain::{Bench, Walsender};
use crate::files::{put, repository};
use crate::process::{Process, run};
use crate::report::{Cost, Measured};
use crate::topic::Topic;
use anyhow::{Context, Result, bail};
use deploy_ports::Port;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
const PLUGIN: &str = "io.debezium:debezium-connector-postgres:3.3.1.Final:tar.gz:plugin";

/// Kafka Connect and the connector's folder, fetched and compared with their checksums.
#[derive(Debug)]
pub(crate) struct Debezium {
    libraries: PathBuf,
    plugins: PathBuf,
}

/// Compares a folder with a list of checksums; it may hold nothing else.
fn verify(folder: &Path, list: &Path) -> Result<()> {
    run(Command::new("sha256sum").args(["--quiet", "--strict", "-c"]).arg(list).current_dir(folder))
        .with_context(|| {
            format!("a download in {} is not what {} says; remove it", folder.display(), list.display())
        })?;
    let named = std::fs::read_to_string(list)?.lines().count();
    if std::fs::read_dir(folder)?.count() != named {
        bail!("{} holds files that {} does not name", folder.display(), list.display());
    }
    Ok(())
}

impl Debezium {
    /// Fetches what is not there yet, into `folder`.
    pub(crate) fn fetch(folder: &Path) -> Result<Debezium> {
        let pins = repository()?.join("tests/figures/peers");
        let (libraries, archive, plugins) =
            (folder.join("libs"), folder.join("archive"), folder.join("plugins"));
        let output = |path: &Path| format!("-DoutputDirectory={}", path.display());
        if !libraries.exists() {
            run(Command::new("mvn")
                .args(["-q", "-B", "-f"])
                .arg(pins.join("connect.xml"))
                .args(["dependency:copy-dependencies", &output(&libraries)]))?;
        }
        verify(&libraries, &pins.join("connect.sha256"))?;
        if !archive.exists() {
            run(Command::new("mvn").args([
                "-q",
                "-B",
                COPY,
                &format!("-Dartifact={PLUGIN}"),
                &output(&archive),
            ]))?;
        }
        verify(&archive, &pins.join("debezium.sha256"))?;
        if !plugins.exists() {
            let file = std::fs::read_dir(&archive)?.next().context("no archive")??.path();
            std::fs::create_dir_all(&plugins)?;
            run(Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(&plugins))?;
        }
        Ok(Debezium { libraries, plugins })
    }
}

impl Bench<'_> {
    /// Debezium drains a slot into a topic of its own; `round` names both.
    pub(crate) fn debezium(&self, found: &Debezium, database: &str, slot: &str) -> Result<Measured> {
        let folder = self.folder.join(slot);
        let port = Port::reserve()?;
        let worker = format!(
            "bootstrap.servers={}\nlisteners=http://127.0.0.1:{}\nplugin.path={}\nplugin.discovery=only_scan\n\
             offset.storage.file.filename={}\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
             value.converter.schemas.enable=false\nproducer.compression.type=lz4\n",
            self.servers.bootstrap,
            port.number(),
            found.plugins.display(),
            folder.join("offsets").display()
        );
        let connector = format!(
            "name={slot}\nconnector.class=io.debezium.connector.postgresql.PostgresConnector\ntasks.max=1\n\
             database.hostname=127.0.0.1\ndatabase.port={}\ndatabase.user=postgres\ndatabase.password=none\ndatabase.dbname={database}\n\
             plugin.name=pgoutput\nslot.name={slot}\npublication.name={slot}\npublication.autocreate.mode=disabled\n\
             snapshot.mode=no_data\ntopic.prefix={slot}\ntable.include.list=public.bench\nmax.batch.size=8192\nmax.queue.size=32768\n\
             topic.creation.default.replication.factor=1\ntopic.creation.default.partitions=1\n",
            self.servers.port
        );
        put(&folder.join("worker.properties"), &worker)?;
        put(&folder.join("connector.properties"), &connector)?;
        put(
            &folder.join("log4j2.xml"),
            &std::fs::read_to_string(repository()?.join("deploy/dev/services/log4j2.xml"))?,
        )?;
        let mut command = Command::new("java");
        command
            .arg(format!("-Dlog4j2.configurationFile=file:{}", folder.join("log4j2.xml").display()))
            .args(["-cp", &format!("{}/*", found.libraries.display())])
            .args([
                "org.apache.kafka.connect.cli.ConnectStandalone",
                "worker.properties",
                "connector.properties",
            ]);
        let mut connect = Process::start("debezium", &folder, &mut command)?;
        let mut topic = Topic::new(self.servers.partition(&format!("{slot}.public.bench")));
        let mut walsender = Walsender::of(self.servers.port, slot)?;
        let began = walsender.begins(&mut connect)?;
        let mut ended = Instant::now();
        connect.until("all rows are on Kafka", Duration::from_millis(10), || {
            walsender.look();
            topic.count()?;
            ended = Instant::now();
            Ok((topic.records < self.rows).then_some(topic.records))
        })?;
        let mut measured = Measured::new("debezium", self.rows, ended.duration_since(began));
        measured.processes = vec![Cost::of("debezium", connect.used()?), walsender.cost()];
        measured.kafka_bytes = Some(topic.bytes);
        if topic.records != self.rows {
            bail!("debezium: {} records for {} rows", topic.records, self.rows);
        }
        measured.compared = Some("counted");
        // It ends with 143 after SIGTERM, which is no failure of its own.
        drop(connect);
        Ok(measured)
    }
}
