//! `govbridge subscriber`: the receiving process.

mod report;
mod settings;

use crate::configuration::{self, Folder};
use crate::ending;
use crate::exit::{Exit, Refusal};
use crate::faults::Faults;
use crate::key_store::{self, PassphraseFrom};
use crate::outside::{self, StopSignals, WallClock, Words};
use crate::{output, trust};
use bridge_subscriber::Subscriber;
use bridge_suite::RecipientKey;
use settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// The configuration that `--example` prints.
const EXAMPLE: &str = include_str!("../../../deploy/dev/subscriber.toml");

const LONG: &str = "\
A subscriber receives datasets of other departments. It verifies each batch against the trust file, its stream's chain, \
the log and the witnesses, opens the sections that its department may read, and brings the rows into a file or into the \
tables of a PostgreSQL database, each once, with the place of its proof beside it.

The order of work, each once:
  1. make a key:                 govbridge keygen --role recipient ...
  2. have it in the trust file:  govbridge trust add ... recipient ...
  3. be granted something:       a contract of the sending department names this one
  4. write the configuration:    govbridge subscriber --example > subscriber.toml, and edit it
  5. make the tables:            govbridge subscriber --config subscriber.toml --create     (a PostgreSQL sink only)
  6. run it:                     govbridge subscriber --config subscriber.toml

A killed subscriber is started again as it is: it goes on where its progress stands, which a database has beside the \
rows and to which a file is cut back, so every row is there once. What it refuses is logged with a code, whose page in docs/errors says what it means and what to do.";

const EXAMPLES: &str = "\
Examples:
  govbridge subscriber --example > subscriber.toml
  govbridge subscriber --config subscriber.toml
  govbridge subscriber --config subscriber.toml --check    all that is there; nothing is delivered
  govbridge subscriber --config subscriber.toml --check --json
  govbridge subscriber --config subscriber.toml --create               makes the tables of a PostgreSQL sink
  govbridge subscriber --config subscriber.toml --create --print-sql   for a DBA to read and run

Exit codes: 0 stopped, or checked without a finding; 1 a finding: delivery halted, or the check's verdict is not clean; \
2 usage or configuration; 3 held by another process, or something outside does not answer.";

/// Run the receiving process, or check what the topics hold
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    config: Option<PathBuf>,
    /// Verify everything that the topics hold now, deliver nothing, and say what was found
    #[arg(long)]
    check: bool,
    /// With --check: print JSON
    #[arg(long, requires = "check")]
    json: bool,
    /// Make the schema and the tables of a PostgreSQL sink, by the contracts that the senders have published
    #[arg(long, conflicts_with = "check")]
    create: bool,
    /// With --create: print the statements, and change nothing
    #[arg(long, requires = "create")]
    print_sql: bool,
    /// Print an example of the configuration file
    #[arg(long, conflicts_with_all = ["config", "check", "create"])]
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
    let (settings, folder): (Settings, Folder) = configuration::load(&path, "subscriber")?;
    let faults = Faults::of_environment()?;
    let http = settings.http.clone();
    if args.check {
        // The report says all of it; what happens on the way is for those who ask.
        args.words.begin_if_asked()?;
        let report = bridge_subscriber::check(subscriber(settings, &folder, faults)?);
        return report::tell(&report.map_err(|error| ending::of_subscriber(&error))?, args.json);
    }
    if args.create {
        args.words.begin_if_asked()?;
        return create(subscriber(settings, &folder, faults)?, args.print_sql);
    }
    args.words.begin()?;
    let subscriber = subscriber(settings, &folder, faults)?;
    let runtime = outside::runtime()?;
    let outcome = runtime.block_on(async {
        let signals = StopSignals::listen()?;
        let listener = http.map(|http| http.listener()).transpose()?;
        let (department, name) = (&subscriber.settings.department, &subscriber.settings.name);
        tracing::info!(%department, name, "the subscriber starts");
        let ended = bridge_subscriber::run(subscriber, listener, signals.come()).await;
        ended.map_err(|error| anyhow::Error::from(ending::of_subscriber(&error)))
    });
    runtime.shutdown_background();
    outcome.inspect_err(|error| tracing::error!(%error, "the subscriber ended"))?;
    tracing::info!("the subscriber stopped");
    Ok(Exit::Good.into())
}

/// Makes the tables of a PostgreSQL sink, or prints how.
fn create(subscriber: Subscriber, print_sql: bool) -> anyhow::Result<ExitCode> {
    if print_sql {
        let script = bridge_subscriber::script(subscriber).map_err(|error| ending::of_subscriber(&error))?;
        output::lines(&script)?;
        return Ok(Exit::Good.into());
    }
    let created = bridge_subscriber::create(subscriber).map_err(|error| ending::of_subscriber(&error))?;
    let bridge_subscriber::Created { schema, tables } = created;
    output::lines(&format!("schema {schema} is a sink: tables {}\n", tables.join(", ")))?;
    Ok(Exit::Good.into())
}

fn subscriber(settings: Settings, folder: &Folder, faults: Faults) -> anyhow::Result<Subscriber> {
    let keys = recipient_keys(&settings, folder)?;
    let trust = trust::load_section(&settings.trust, folder)?;
    if trust.terms().department(&settings.department).is_none() {
        let (version, department) = (trust.version(), &settings.department);
        let what =
            format!("CFG006: version {version} of the trust file does not name the department {department}");
        return Err(Refusal::usage(what)
            .remedy("correct `department`, or have the root holders sign a version with it")
            .code("CFG006")
            .into());
    }
    Ok(Subscriber {
        properties: settings.kafka.clone(),
        settings: settings.into_flow(folder)?,
        trust: Arc::new(trust),
        keys,
        clock: Arc::new(|| WallClock.now()),
        disk: faults.receiving_disk(),
        probe: Arc::new(faults),
    })
}

fn recipient_keys(settings: &Settings, folder: &Folder) -> anyhow::Result<Vec<RecipientKey>> {
    let passphrase = PassphraseFrom {
        passphrase_file: settings.keys.passphrase_file.as_deref().map(|file| folder.path(file)),
        passphrase_env: None,
    };
    let mut keys = Vec::new();
    for path in folder.paths(&settings.keys.recipient) {
        let read = key_store::read_recipient(&path, &passphrase);
        let (name, key) = folder.of_key("keys.recipient", read)?;
        folder
            .of_key("keys.recipient", key_store::check_owner(&path, &name, settings.department.as_str()))?;
        keys.push(key);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        let example =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dev/subscriber.toml");
        let (settings, folder): (Settings, Folder) = configuration::load(&example, "subscriber").unwrap();
        let flow = settings.into_flow(&folder).unwrap();
        assert_eq!(flow.check().unwrap(), bridge_subscriber::Level::Witnessed);
        assert_eq!(flow.datasets.len(), 2);
        assert_eq!(flow.limits, bridge_subscriber::Limits::default());
        let bridge_subscriber::Sink::JsonLines(lines) = flow.sink else { panic!("a file of lines") };
        assert!(lines.ends_with("deploy/dev/rows.jsonl"));
    }
}
