//! `govbridge witness`: the process that cosigns checkpoints.

use crate::configuration::{self, Folder, HttpSection, TrustSection};
use crate::ending;
use crate::exit::{Exit, Refusal};
use crate::faults::Faults;
use crate::key_store::{self, PassphraseFrom};
use crate::outside::{self, StopSignals, WallClock, Words};
use crate::{output, trust};
use bridge_event::Origin;
use bridge_ledger::{Holder, TileReader, WatchedLog, Witness, run_witness};
use bridge_suite::Role;
use bridge_tlog::NoteSigner;
use bridge_trust::Trust;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The configuration that `--example` prints.
const EXAMPLE: &str = include_str!("../../../deploy/dev/witness.toml");

/// How long one answer of a log may take.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// What a witness is told. The doc comments are the reference; `deploy/dev/witness.toml` is an example.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The witness's name, as the trust file has it.
    name: String,
    /// Its state, made by `govbridge witness init`.
    directory: PathBuf,
    /// Whether it reads the entries and cosigns only logs that keep the rules. Default: true.
    #[serde(default = "yes")]
    checking: bool,
    /// Its key.
    keys: KeysSection,
    /// The trust file: which logs there are, and where.
    trust: TrustSection,
    /// Serves `add-checkpoint`, the newest cosigned checkpoints, `/metrics` and `/health`.
    http: HttpSection,
}

/// The key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysSection {
    /// The witness's key.
    witness: PathBuf,
    /// A file with its passphrase, mode 0600, when it has one.
    passphrase_file: Option<PathBuf>,
}

fn yes() -> bool {
    true
}

const LONG: &str = "\
A witness cosigns the checkpoints of other departments' logs. It signs only a checkpoint that follows the one before, \
and, as a checking witness, only if the entries between them keep the rules: in every stream one batch for each number, \
each naming the one before. So nobody can be shown another history than everybody else.

The order of work, each once:
  1. make a key:                 govbridge keygen --role witness ...
  2. have it in the trust file:  govbridge trust add ... witness --checking ...
  3. write the configuration:    govbridge witness --example > witness.toml, and edit it
  4. make the state:             govbridge witness init --config witness.toml
  5. run it:                     govbridge witness --config witness.toml

The logs are those of the trust file. When a later version names another one: govbridge witness add-log. The state is \
never made by a start, and never restored from an older copy: a witness that forgets can be made to sign two histories.";

const EXAMPLES: &str = "\
Exit codes: 0 stopped, 1 the state is damaged, 2 usage or configuration, 3 another process is this witness, or its disk \
failed.";

/// Run a witness, or make its state
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Option<Act>,
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    config: Option<PathBuf>,
    /// Print an example of the configuration file
    #[arg(long, conflicts_with = "config")]
    example: bool,
    #[command(flatten)]
    words: Words,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Make the state for all logs of the trust file, once
    Init {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Make the state of one more log; the witness must not run meanwhile
    AddLog {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The log's name: <domain>/<department>/<connector>
        #[arg(long)]
        origin: Origin,
    },
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match (args.act, args.config) {
        (Some(Act::Init { config }), _) => init(&Makings::read(&config)?),
        (Some(Act::AddLog { config, origin }), _) => add_log(&Makings::read(&config)?, &origin),
        (None, Some(config)) => serve(&config, &args.words),
        (None, None) => {
            output::data(EXAMPLE)?;
            Ok(Exit::Good.into())
        }
    }
}

/// What a witness needs from files.
struct Makings {
    settings: Settings,
    directory: PathBuf,
    signer: NoteSigner,
    trust: Trust,
}

impl Makings {
    fn read(config: &std::path::Path) -> anyhow::Result<Makings> {
        let (settings, folder): (Settings, Folder) = configuration::load(config, "witness")?;
        let path = folder.path(&settings.keys.witness);
        let passphrase = PassphraseFrom {
            passphrase_file: settings.keys.passphrase_file.as_deref().map(|file| folder.path(file)),
            passphrase_env: None,
        };
        let read = key_store::read_signing(&path, Role::Witness, &passphrase);
        let (name, key) = folder.of_key("keys.witness", read)?;
        folder.of_key("keys.witness", key_store::check_owner(&path, &name, &settings.name))?;
        let signer = NoteSigner::witness(&name, key)
            .map_err(|error| Refusal::usage(error).at(&path).code("KEY006"))?;
        let trust = trust::load_section(&settings.trust, &folder)?;
        let makings = Makings { directory: folder.path(&settings.directory), settings, signer, trust };
        makings.check_trust()?;
        Ok(makings)
    }

    /// The trust file must name this key, and what it promises of the witness must be so.
    fn check_trust(&self) -> anyhow::Result<()> {
        let Settings { name, checking, keys, .. } = &self.settings;
        let version = self.trust.version();
        let known = self.trust.terms().witnesses().iter().find(|witness| witness.name == *name);
        if known.is_none_or(|known| known.key != *self.signer.verifier()) {
            let what = format!(
                "CFG006: version {version} of the trust file does not name {} as the key of the witness {name}",
                keys.witness.display()
            );
            return Err(Refusal::usage(what)
                .remedy("give the key that it names, or have the root holders sign a version with this one")
                .code("CFG006")
                .into());
        }
        if known.is_some_and(|known| known.checking) && !checking {
            let what = format!(
                "CFG009: version {version} of the trust file counts {name} as a checking witness, and `checking` is false"
            );
            return Err(Refusal::usage(what)
                .remedy("set `checking = true`: others rely on it")
                .code("CFG009")
                .into());
        }
        Ok(())
    }

    /// The logs of the trust file, each with the place where a checking witness reads it.
    fn logs(&self) -> anyhow::Result<Vec<WatchedLog>> {
        let watched = |log: &bridge_trust::Log| {
            let tiles = match self.settings.checking {
                true => Some(
                    TileReader::open(&log.url, LOG_TIMEOUT)
                        .map_err(|error| Refusal::coded(Exit::Usage, error))?,
                ),
                false => None,
            };
            Ok(WatchedLog { origin: log.origin.clone(), keys: vec![log.key.clone()], tiles })
        };
        self.trust.terms().logs().iter().map(watched).collect()
    }
}

fn init(makings: &Makings) -> anyhow::Result<ExitCode> {
    let origins: Vec<Origin> = makings.trust.terms().logs().iter().map(|log| log.origin.clone()).collect();
    Witness::init(&makings.directory, makings.signer.verifier(), &origins)
        .map_err(|error| ending::of_witness(&error))?;
    let directory = makings.directory.display();
    let logs = origins.iter().map(Origin::as_str).collect::<Vec<_>>().join(", ");
    output::say(&format!("{directory} is the witness {}; it cosigns {logs}.", makings.settings.name));
    Ok(Exit::Good.into())
}

fn add_log(makings: &Makings, origin: &Origin) -> anyhow::Result<ExitCode> {
    if makings.trust.log(origin).is_none() {
        return Err(Refusal::usage(format!("the trust file names no log {origin}"))
            .remedy("add its newest version under `trust.file`")
            .code("TRU021")
            .into());
    }
    Witness::add_log(&makings.directory, origin, &Holder::here(WallClock.now()))
        .map_err(|error| ending::of_witness(&error))?;
    output::say(&format!("{} cosigns {origin} too, from its beginning.", makings.settings.name));
    Ok(Exit::Good.into())
}

fn serve(config: &std::path::Path, words: &Words) -> anyhow::Result<ExitCode> {
    words.begin()?;
    let makings = Makings::read(config)?;
    let runtime = outside::runtime()?;
    let logs = makings.logs()?;
    let disk = Faults::of_environment()?.disk();
    let Makings { settings, directory, signer, .. } = makings;
    let holder = Holder::here(WallClock.now());
    let witness =
        Witness::open(&directory, &holder, signer, logs, disk).map_err(|error| ending::of_witness(&error))?;
    let witness = Arc::new(witness);
    let outcome = runtime.block_on(async {
        let signals = StopSignals::listen()?;
        let listener = settings.http.listener()?;
        tracing::info!(name = settings.name, checking = settings.checking, "the witness starts");
        let clock = Arc::new(|| WallClock.now());
        run_witness(witness, clock, listener, signals.come())
            .await
            .map_err(|error| anyhow::Error::from(Refusal::coded(Exit::Unavailable, error)))
    });
    // A request that is being judged may still read a log: what it stores is right, and nobody waits for it.
    runtime.shutdown_background();
    outcome.inspect_err(|error| tracing::error!(%error, "the witness ended"))?;
    tracing::info!("the witness stopped");
    Ok(Exit::Good.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_configuration() {
        let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dev/witness.toml");
        let (settings, _): (Settings, Folder) = configuration::load(&example, "witness").unwrap();
        assert!(settings.checking);
        assert_eq!(settings.name, "gov.example/audit/witness");
    }
}
