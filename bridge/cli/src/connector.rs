//! `govbridge connector`: the sending process.

mod engine;
mod prepare;
mod settings;

use crate::configuration::{self, Folder};
use crate::ending;
use crate::exit::{Exit, Refusal};
use crate::faults::Faults;
use crate::output;
use crate::outside::{self, SystemRandom, WallClock, Words};
use bridge_ledger::{Disk, Holder, Log};
use bridge_pipeline::{Claim, Connector, Promise, Shutdown};
use connectors_source::Table;
use engine::Database;
use settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The configuration that `--example` prints.
const EXAMPLE: &str = include_str!("../../../deploy/dev/connector.toml");

/// How long a take-over waits for a write of the other process to end: a living one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the process takes to say why it ends, and to end.
const LAST_WORDS: Duration = Duration::from_millis(200);

const LONG: &str = "\
A connector reads one database. It turns each committed transaction into sealed batches, publishes them to Kafka, and \
keeps the log in which they stand. It also serves the log's tiles, /metrics and /health over HTTP.

The order of work, each once:
  1. make three keys:              govbridge keygen --role signing ..., --role log ... and --role recipient ...
  2. have them in the trust file:  govbridge trust add ... signing ..., ... log ... and ... recipient ...
  3. write the configuration:      govbridge connector --example > connector.toml, and edit it
  4. make the log:                 govbridge log init --directory log --origin ... --key ...
  5. prepare the database:         govbridge connector --config connector.toml --create
  6. run it:                       govbridge connector --config connector.toml

SIGTERM and SIGINT finish what is in flight, within 5 seconds. A killed connector is started again as it is; nothing \
has to be repaired by hand. docs/guide/first-table.md walks through all of it.";

const EXAMPLES: &str = "\
Examples:
  govbridge connector --example > connector.toml
  govbridge connector --config connector.toml --create --print-sql    for a DBA to read and run
  govbridge connector --config connector.toml --create
  govbridge connector --config connector.toml
  govbridge connector --config connector.toml --take-over             when the one before hangs

The log is on stderr: lines on a terminal, else JSON. Exit codes: 0 stopped, 1 halted by what it found (the code's \
page says what to do), 2 usage, configuration or a source that is not prepared, 3 held by another process, taken over, \
or something outside does not answer.";

/// Run the sending process, or prepare its database
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    config: Option<PathBuf>,
    /// Prepare the database for capture, or bring it up to date with the contracts; then end
    #[arg(long)]
    create: bool,
    /// With --create: print the statements, and change nothing
    #[arg(long, requires = "create")]
    print_sql: bool,
    /// With --create: print JSON
    #[arg(long, requires = "create", conflicts_with = "print_sql")]
    json: bool,
    /// Take log and database away from a connector that hangs; it can write nothing more from then on
    #[arg(long, conflicts_with = "create")]
    take_over: bool,
    /// Print an example of the configuration file
    #[arg(long, conflicts_with_all = ["config", "create", "take_over"])]
    example: bool,
    #[command(flatten)]
    words: Words,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some(path) = args.config else {
        output::data(EXAMPLE)?;
        return Ok(Exit::Good.into());
    };
    let (settings, folder): (Settings, Folder) = configuration::load(&path, "connector")?;
    if args.create {
        return create(&settings, &folder, args.print_sql, args.json);
    }
    args.words.begin()?;
    let shutdown = outside::shutdown()?;
    let longest = Duration::from_millis(settings.intervals.drain_ms).saturating_sub(LAST_WORDS);
    let asked = shutdown.clone();
    let work = move || work(&settings, &folder, args.take_over, asked);
    supervise(work, &shutdown, longest)?;
    tracing::info!("the connector stopped");
    Ok(Exit::Good.into())
}

/// Everything from the first file that is read to the end of the flow.
fn work(settings: &Settings, folder: &Folder, take_over: bool, shutdown: Shutdown) -> anyhow::Result<()> {
    let Some(ready) = ready(settings, folder, take_over, &shutdown)? else { return Ok(()) };
    let Ready { connector, claim, log, listener } = ready;
    let (origin, entries) = (&connector.origin, log.size());
    tracing::info!(%origin, entries, "the connector starts");
    let ended = bridge_pipeline::run(connector, claim, log, listener, shutdown);
    let ended = ended.map_err(|error| ending::of_connector(&error).into());
    ended.inspect_err(|error| tracing::error!(%error, "the connector ended"))
}

/// What the supervising thread waits for.
enum Heard {
    Ended(anyhow::Result<()>),
    Asked,
}

/// Runs the work to its end. After a stop it is not waited for longer than `longest`: what is outside can take longer to
/// answer, and an end without an answer is as good as kill -9, which the next start is made for.
fn supervise(
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    shutdown: &Shutdown,
    longest: Duration,
) -> anyhow::Result<()> {
    let (tell, heard) = std::sync::mpsc::channel();
    let (asked, shutdown) = (tell.clone(), shutdown.clone());
    thread("connector", move || {
        // Nobody listens any more when it took too long. A panic drops the sender as well, but not the other one.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let _ = tell.send(Heard::Ended(ended.unwrap_or_else(|_| {
            let what =
                "STA091: the flow's thread ended by itself: this is a defect of the connector, report it";
            Err(Refusal::coded(Exit::Negative, what).into())
        })));
    })?;
    thread("stop", move || {
        shutdown.wait_for_ever();
        let _ = asked.send(Heard::Asked);
    })?;
    let late = || {
        let what = format!(
            "STA028: the connector did not stop within {} ms, because something outside does not answer; it ends \
             without it, and the next start repeats what is not in the log",
            longest.as_millis()
        );
        tracing::error!(error = what, "the connector ended");
        Refusal::coded(Exit::Unavailable, what).into()
    };
    match heard.recv() {
        Ok(Heard::Ended(ended)) => return ended,
        Ok(Heard::Asked) | Err(_) => {}
    }
    match heard.recv_timeout(longest) {
        Ok(Heard::Ended(ended)) => ended,
        Ok(Heard::Asked) | Err(_) => Err(late()),
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let failed =
        |error: std::io::Error| Refusal::unavailable(format!("a thread could not be started: {error}"));
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(|e| failed(e).into())
}

/// What the flow is given.
struct Ready {
    connector: Connector,
    claim: Claim,
    log: Log,
    listener: std::net::TcpListener,
}

/// Reads and looks at everything; `None` when a stop comes while the source is away, before anything is taken.
fn ready(
    settings: &Settings,
    folder: &Folder,
    take_over: bool,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Ready>> {
    let signing = prepare::signing_key(settings, folder)?;
    let log_signer = prepare::log_signer(settings, folder)?;
    let trust = prepare::trust(settings, folder, &signing, &log_signer)?;
    let promises = prepare::promises(settings, folder)?;
    let tables = tables(&promises);
    let database = Database::of(settings, folder)?;
    if !folder.of_key(database.key(), database.look_once_there(&tables, shutdown))? {
        return Ok(None);
    }
    let holder = Holder::here(WallClock.now());
    let faults = Faults::of_environment()?;
    let log =
        folder.of_key("log.directory", open_log(settings, folder, &holder, take_over, faults.disk()))?;
    let listener = settings.http.bind()?;
    let connector = Connector {
        origin: settings.origin.clone(),
        promises,
        signing,
        log_signer,
        trust,
        kafka: settings.kafka.clone(),
        limits: settings.batch,
        topics: settings.topics,
        intervals: settings.intervals,
        clock: Arc::new(WallClock),
        random: Arc::new(SystemRandom),
        probe: Arc::new(faults),
    };
    Ok(Some(Ready { connector, claim: database.claim(tables, holder, take_over), log, listener }))
}

fn open_log(
    settings: &Settings,
    folder: &Folder,
    holder: &Holder,
    take_over: bool,
    disk: Disk,
) -> anyhow::Result<Log> {
    let dir = folder.path(&settings.log.directory);
    let opened =
        if take_over { Log::take_over(&dir, holder, PATIENCE, disk) } else { Log::open(&dir, holder, disk) };
    let log = opened.map_err(|error| ending::of_open(&error))?;
    if *log.origin() != settings.origin {
        let what = format!(
            "CFG005: the log in {} is {}, and the configuration says {}",
            dir.display(),
            log.origin(),
            settings.origin
        );
        return Err(Refusal::usage(what)
            .remedy("give the directory of this connector's own log")
            .code("CFG005")
            .into());
    }
    Ok(log)
}

/// The tables of the contracts, in their order.
fn tables(promises: &[Promise]) -> Vec<Table> {
    let table = |promise: &Promise| Table {
        name: promise.contract.table().to_owned(),
        columns: promise.contract.source_columns().iter().map(ToString::to_string).collect(),
        key: promise.contract.key_columns().iter().map(|column| column.name.clone()).collect(),
        types: promise.contract.source_types(),
    };
    promises.iter().map(table).collect()
}

fn create(settings: &Settings, folder: &Folder, print_sql: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let promises = prepare::promises(settings, folder)?;
    let tables = tables(&promises);
    let database = Database::of(settings, folder)?;
    folder.of_key(database.key(), database.look(&tables))?;
    database.create(&tables, print_sql, as_json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_example_is_a_configuration() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dev/connector.toml");
        let (settings, folder): (Settings, Folder) = configuration::load(&example, "connector").unwrap();
        assert_eq!(settings.origin.as_str(), "gov.example/tax/main");
        // What it says are the defaults are the defaults, and its contracts are there.
        assert_eq!(format!("{:?}", settings.batch), format!("{:?}", bridge_pipeline::BatchLimits::default()));
        assert_eq!(
            format!("{:?}", settings.intervals),
            format!("{:?}", bridge_pipeline::Intervals::default())
        );
        // It says itself that this one is not: the development services have one broker.
        let topics = bridge_pipeline::TopicSettings { replication: 1, ..Default::default() };
        assert_eq!(format!("{:?}", settings.topics), format!("{topics:?}"));
        assert_eq!(prepare::promises(&settings, &folder).unwrap().len(), 3);
    }
}
