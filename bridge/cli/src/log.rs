//! `govbridge log`: the connector's log, made, shown, taken away from a process that hangs.

use crate::ending;
use crate::exit::{Exit, Refusal};
use crate::key_store::{self, PassphraseFrom};
use crate::output;
use crate::outside::WallClock;
use bridge_event::{LogIndex, Origin};
use bridge_ledger::{Chains, Disk, Holder, Log, OpenError, ReadError, TileReader};
use bridge_suite::Role;
use bridge_tlog::{Checkpoint, Note};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long a take-over waits for a write of the other process to end: a living one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

const LONG: &str = "\
A connector's log is one directory: the entries of all its batches as C2SP tlog-tiles, and a signed checkpoint over \
them. One process writes in it. A log is made once, by `init`; a start never makes one, because an empty log in the \
place of a lost one would be a second history.";

/// Make a connector's log, show it, or take it away from a process that hangs
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    Init(InitArgs),
    Show(ShowArgs),
    TakeOver(TakeOverArgs),
}

const INIT_EXAMPLES: &str = "\
Example:
  govbridge log init --directory log --origin gov.example/tax/main --key keys/log.key

Exit codes: 0 made, 2 usage, a wrong key, or a directory that is not empty, 3 the disk fails.";

/// Make an empty log, once
#[derive(Debug, clap::Args)]
#[command(after_help = INIT_EXAMPLES)]
struct InitArgs {
    /// The log's directory: new or empty
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// The log's name: <domain>/<department>/<connector>
    #[arg(long)]
    origin: Origin,
    /// The log's private key; nothing is signed yet, it is only looked at
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFrom,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  govbridge log show --directory log
  govbridge log show --directory http://tax.example:7101 --origin gov.example/tax/main --json

Shows what is published: the newest checkpoint, who signed it, and what the entries under it amount to. Signatures are \
not verified here. The connector may run meanwhile. Exit codes: 0 shown, 1 the entries break the log's rules, 2 usage \
or no log, 3 it does not answer.";

/// Show a log's checkpoint, cosigners and streams
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// The log's directory, or the address that serves it
    #[arg(long, value_name = "DIR|URL")]
    directory: String,
    /// The log's name; a directory knows its own
    #[arg(long)]
    origin: Option<Origin>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const TAKE_OVER_EXAMPLES: &str = "\
Example:
  govbridge log take-over --directory log

The process that had the log can write nothing more, and ends as soon as it tries. Afterwards the log is free for the \
next start. `govbridge connector --take-over` does this and starts, and takes the database too. Exit codes: 0 free, 2 no log, 3 \
the other process stands inside a write: end it with kill -9.";

/// Take a log away from a process that hangs
#[derive(Debug, clap::Args)]
#[command(after_help = TAKE_OVER_EXAMPLES)]
struct TakeOverArgs {
    /// The log's directory
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.act {
        Act::Init(args) => init(&args),
        Act::Show(args) => show(&args),
        Act::TakeOver(args) => take_over(&args),
    }
}

fn init(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let (name, _) = key_store::read_signing(&args.key, Role::Log, &args.passphrase)?;
    key_store::check_owner(&args.key, &name, args.origin.as_str())?;
    Log::init(&args.directory, &args.origin).map_err(|error| ending::of_open(&error))?;
    output::say(&format!("{} is the log {}, without entries.", args.directory.display(), args.origin));
    Ok(Exit::Good.into())
}

fn take_over(args: &TakeOverArgs) -> anyhow::Result<ExitCode> {
    let holder = Holder::here(WallClock.now());
    let before = match Log::open(&args.directory, &holder, Disk::real()) {
        Ok(_) => {
            output::say("No process has the log; there is nothing to take over.");
            return Ok(Exit::Good.into());
        }
        Err(OpenError::Held { holder, .. }) => holder,
        Err(error) => return Err(ending::of_open(&error).into()),
    };
    Log::take_over(&args.directory, &holder, PATIENCE, Disk::real())
        .map_err(|error| ending::of_open(&error))?;
    let before = before.map_or_else(|| "the other process".to_owned(), |holder| holder.to_string());
    output::say(&format!("{before} has lost the log and can write nothing more; the log is free."));
    Ok(Exit::Good.into())
}

/// How long one answer of a served log may take.
const TIMEOUT: Duration = Duration::from_secs(10);

fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let failed = |error: &ReadError| match error {
        ReadError::Address { .. } => Refusal::coded(Exit::Usage, error),
        ReadError::Malformed { .. } => Refusal::coded(Exit::Negative, error),
        _ => Refusal::coded(Exit::Unavailable, error),
    };
    let tiles = TileReader::open(&args.directory, TIMEOUT).map_err(|error| failed(&error))?;
    let served = args.directory.contains("://");
    let origin = match (&args.origin, served) {
        (Some(origin), _) => origin.clone(),
        (None, false) => {
            Log::origin_of(Path::new(&args.directory)).map_err(|error| ending::of_open(&error))?
        }
        (None, true) => return Err(Refusal::usage("--origin is needed to read a log over HTTP").into()),
    };
    let note = match tiles.checkpoint() {
        Ok(note) => Some(note),
        Err(ReadError::Missing { .. }) => None,
        Err(error) => return Err(failed(&error).into()),
    };
    let mut chains = Chains::new(origin.clone());
    let mut checkpoint = None;
    if let Some(note) = note {
        let found = Checkpoint::parse(note.text()).map_err(Refusal::negative)?;
        if found.origin != origin.as_str() {
            return Err(
                Refusal::negative(format!("the checkpoint is of {}, not of {origin}", found.origin)).into()
            );
        }
        tiles
            .visit(LogIndex(0)..LogIndex(found.size), found.size, |index, entry| -> anyhow::Result<()> {
                let broken = |violation| Refusal::negative(format!("entry {index}: {violation}"));
                chains.take(entry).map(drop).map_err(|violation| broken(violation).into())
            })
            .map_err(|error| match error.downcast_ref::<ReadError>() {
                Some(error) => failed(error).into(),
                None => error,
            })?;
        checkpoint = Some((found, note));
    }
    if args.json {
        output::json(&value(&origin, checkpoint.as_ref(), &chains))?;
    } else {
        output::lines(&words(&origin, checkpoint.as_ref(), &chains))?;
    }
    Ok(Exit::Good.into())
}

/// Who signed besides the log itself, and when.
fn cosigners(origin: &Origin, note: &Note) -> Vec<(String, Option<u64>)> {
    let others = note.signatures().iter().filter(|line| line.name() != origin.as_str());
    others
        .map(|line| {
            // The payload of a cosignature is a time and 64 bytes of signature (C2SP tlog-cosignature).
            let time = line.payload().split_first_chunk::<8>().filter(|(_, rest)| rest.len() == 64);
            (line.name().to_owned(), time.map(|(time, _)| u64::from_be_bytes(*time)))
        })
        .collect()
}

fn value(origin: &Origin, checkpoint: Option<&(Checkpoint, Note)>, chains: &Chains) -> Value {
    let streams: Vec<Value> = chains
        .heads()
        .map(|(stream, head)| {
            json!({
                "stream": stream.to_string(),
                "sequence": head.sequence.0,
                "digest": head.digest.to_string(),
                "epoch": head.epoch.0,
                "index": head.index.0,
            })
        })
        .collect();
    let checkpoint = checkpoint.map(|(checkpoint, note)| {
        let cosigners: Vec<Value> = cosigners(origin, note)
            .into_iter()
            .map(|(name, time)| json!({"name": name, "time": time, "verified": false}))
            .collect();
        json!({"size": checkpoint.size, "root": checkpoint.root.to_string(), "cosigners": cosigners})
    });
    json!({
        "origin": origin.as_str(),
        "size": chains.size(),
        "epoch": chains.epoch().map(|(epoch, _)| epoch.0),
        "checkpoint": checkpoint,
        "streams": streams,
    })
}

fn words(origin: &Origin, checkpoint: Option<&(Checkpoint, Note)>, chains: &Chains) -> String {
    let Some((checkpoint, note)) = checkpoint else {
        return format!("log {origin}\nno checkpoint is published yet\n");
    };
    let epoch = chains.epoch().map_or_else(|| "none".to_owned(), |(epoch, _)| epoch.to_string());
    let mut text =
        format!("log {origin}\nsize {}, newest epoch {epoch}\nroot {}\n", checkpoint.size, checkpoint.root);
    let cosigners = cosigners(origin, note);
    if cosigners.is_empty() {
        text.push_str("cosigned by nobody\n");
    }
    for (name, time) in cosigners {
        let time = time.map(|time| format!(" at {time} s after 1970")).unwrap_or_default();
        text.push_str(&format!("cosigned by {name}{time} (not verified here)\n"));
    }
    for (stream, head) in chains.heads() {
        text.push_str(&format!(
            "stream {stream}: sequence {}, epoch {}, entry {}, digest {}\n",
            head.sequence, head.epoch, head.index, head.digest
        ));
    }
    text
}
