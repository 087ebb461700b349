//! `govbridge trust`: the trust file from draft to signed version.

mod add;
mod init;
mod memory;
mod show;

pub(crate) use memory::load_section;
pub(crate) use show::show as show_file;

use crate::exit::{Exit, Refusal};
use crate::key_store::{self, PassphraseFrom};
use crate::output;
use bridge_suite::{Digest, Role};
use bridge_tlog::{NOTE_BYTES_MAX, Note, NoteSigner};
use bridge_trust::{Anchor, Ballot, Trust, TrustError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const LONG: &str = "\
The trust file says which departments there are, which keys are theirs and for which part of which log, which \
witnesses count, and whose signatures can change all this. It is one text file, signed by root holders.

The order of work:
  1. each root holder makes a key:     govbridge keygen --role root ...
  2. one of them begins a draft:       govbridge trust init ...
  3. and fills it:                     govbridge trust add DRAFT department|signing|recipient|operator|log|witness|policy ...
  4. everybody looks at it:            govbridge trust show DRAFT, govbridge trust check DRAFT
  5. enough root holders sign it:      govbridge trust sign DRAFT --key ROOT.key
  6. its digest is published, and pinned in every configuration.

A signed version is never edited. A next version begins with `govbridge trust add NEW --previous VERSION-1 ...`, and \
is signed by the root keys of the version before it.";

/// Make, edit, sign, show and check the trust file
#[derive(Debug, clap::Args)]
#[command(long_about = LONG)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    Init(init::Args),
    Add(add::Args),
    Sign(SignArgs),
    Show(show::Args),
    Check(CheckArgs),
}

/// The versions before a file, and the digest that the first of them must have.
#[derive(Debug, clap::Args)]
struct Before {
    /// A signed version before this one; give all of them, version 1 first, each with its own --previous
    #[arg(long, value_name = "FILE")]
    previous: Vec<PathBuf>,
    /// The digest of version 1 as its root holders published it; without it version 1 is believed as it stands
    #[arg(long, value_name = "SHA256")]
    pin: Option<Digest>,
}

const SIGN_EXAMPLES: &str = "\
Examples:
  govbridge trust sign trust-1.note --key li.key
  govbridge trust sign trust-2.note --key li.key --previous trust-1.note

The signature is added to FILE itself. Exit codes: 0 signed, 1 the draft breaks a rule, 2 usage or a key that does \
not count, 3 FILE could not be written.";

/// Add one root holder's signature to a draft
#[derive(Debug, clap::Args)]
#[command(after_help = SIGN_EXAMPLES)]
struct SignArgs {
    /// The draft, signed by others or not
    file: PathBuf,
    /// The root holder's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    #[command(flatten)]
    before: Before,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  govbridge trust check trust-1.note --pin 5a0f...
  govbridge trust check trust-2.note --previous trust-1.note --pin 5a0f...
  govbridge trust check draft.note          a draft that still lacks signatures fails, and says so last

Exit codes: 0 good (perhaps with warnings on stderr), 1 refused, 2 usage.";

/// Verify a version as every process does, and warn of what is allowed but unwise
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_EXAMPLES)]
struct CheckArgs {
    /// The version
    file: PathBuf,
    #[command(flatten)]
    before: Before,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.act {
        Act::Init(args) => init::run(args),
        Act::Add(args) => add::run(args),
        Act::Sign(args) => sign(args),
        Act::Show(args) => show::run(&args),
        Act::Check(args) => check(&args),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    output::read(path, NOTE_BYTES_MAX.try_into()?)
}

/// The newest version before a file; none when it is to be version 1.
fn verified_before(before: &Before) -> anyhow::Result<Option<Trust>> {
    let mut newest: Option<Trust> = None;
    for path in &before.previous {
        let file = read(path)?;
        let anchor = match &newest {
            Some(trust) => Anchor::Previous(trust),
            None => Anchor::Pinned(pin_of(before, &file)),
        };
        newest = Some(Trust::verify(&file, anchor).map_err(|error| refusal(path, &error))?);
    }
    Ok(newest)
}

/// The pin that was given, or that of the file itself, said aloud.
fn pin_of(before: &Before, file: &[u8]) -> Digest {
    match (before.pin, Note::parse(file)) {
        (Some(pin), _) => pin,
        (None, Ok(note)) => {
            let digest = bridge_suite::sha256(&[note.text().as_bytes()]);
            output::say(&format!(
                "No --pin: version 1 is believed as it stands. Compare its digest with the published one: {digest}"
            ));
            digest
        }
        // What is no note is refused whatever the pin.
        (None, Err(_)) => Digest::ZERO,
    }
}

fn refusal(path: &Path, error: &TrustError) -> Refusal {
    Refusal::negative(format!("{}: {error}", path.display())).code(error.code())
}

fn sign(args: SignArgs) -> anyhow::Result<ExitCode> {
    let previous = verified_before(&args.before)?;
    let file = read(&args.file)?;
    let mut ballot = Ballot::open(&file, previous.as_ref()).map_err(|error| refusal(&args.file, &error))?;
    let (name, key) = key_store::read_signing(&args.key, Role::Root, &args.passphrase)?;
    let signer = NoteSigner::root(&name, key).map_err(Refusal::usage)?;
    let note = ballot.sign(&signer).map_err(|error| Refusal::usage(&error).code(error.code()))?;
    let digest = ballot.digest();
    output::replace(&args.file, note.as_bytes(), output::PUBLIC)?;
    let (have, need) = (ballot.signed().len(), ballot.threshold());
    output::say(&format!(
        "{name} signed version {}: {have} of the {need} signatures that are needed.",
        ballot.terms().version()
    ));
    if ballot.is_complete() && ballot.terms().version() == 1 {
        output::say("Publish the digest on stdout and pin it in every configuration.");
    }
    if ballot.is_complete() {
        output::data(&format!("{digest}\n"))?;
    }
    Ok(Exit::Good.into())
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let previous = verified_before(&args.before)?;
    let file = read(&args.file)?;
    // Rules first: a draft's author wants to hear of them before anybody has signed.
    let ballot = Ballot::open(&file, previous.as_ref()).map_err(|error| refusal(&args.file, &error))?;
    let warnings = ballot.terms().warnings();
    for warning in &warnings {
        output::say(&format!("warning: {warning}"));
    }
    let anchor = match &previous {
        Some(trust) => Anchor::Previous(trust),
        None => Anchor::Pinned(if ballot.signed().is_empty() {
            Digest::ZERO
        } else {
            pin_of(&args.before, &file)
        }),
    };
    let trust = match Trust::verify(&file, anchor) {
        Ok(trust) => trust,
        Err(_) if ballot.signed().is_empty() => {
            let error = TrustError::TooFewSignatures { found: 0, needed: ballot.threshold() };
            return Err(refusal(&args.file, &error).into());
        }
        Err(error) => return Err(refusal(&args.file, &error).into()),
    };
    if args.json {
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        output::json(&serde_json::json!({
            "good": true,
            "domain": trust.terms().domain(),
            "version": trust.version(),
            "digest": trust.digest().to_string(),
            "signed_by": trust.signers(),
            "threshold": ballot.threshold(),
            "warnings": warnings,
        }))?;
    } else {
        let signers = trust.signers().join(", ");
        output::data(&format!(
            "good: {} version {}, digest {}, signed by {signers}\n",
            trust.terms().domain(),
            trust.version(),
            trust.digest()
        ))?;
    }
    Ok(Exit::Good.into())
}
