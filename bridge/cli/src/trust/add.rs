//! `govbridge trust add`: edits a draft, or begins the next version.

use super::{Before, read, verified_before};
use crate::exit::{Exit, Refusal};
use crate::output;
use bridge_event::{Department, LogIndex, Origin};
use bridge_trust::{Draft, EditError, Place, is_signed};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  govbridge trust add trust-1.note department --name tax --title 税务局
  govbridge trust add trust-1.note signing --department tax --origin gov.example/tax/main --key 'tax/signing+...'
  govbridge trust add trust-1.note log --department tax --origin gov.example/tax/main --vkey '...' --url http://log.tax.example:7101/
  govbridge trust add trust-1.note witness --department tax --name tax.example/w1 --vkey '...' --url http://... --checking
  govbridge trust add trust-1.note policy --quorum 3 --liars 1

A next version, which begins with the content of the one before:
  govbridge trust add trust-2.note --previous trust-1.note end-signing --department tax --key 'tax/signing+...' --until-index 4711

Exit codes: 0 done, 2 usage, 3 the file could not be written.";

/// Add to a draft, or begin the next version with --previous
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The draft; with --previous it may be new
    file: PathBuf,
    #[command(flatten)]
    before: Before,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A department, still without keys
    Department {
        /// Its name: a-z, 0-9 and '-'
        #[arg(long)]
        name: Department,
        /// Its name for people
        #[arg(long)]
        title: String,
    },
    /// A department's signing key, for one log from one entry on
    Signing {
        /// Whose key
        #[arg(long)]
        department: Department,
        /// The key line that keygen printed
        #[arg(long, value_name = "LINE")]
        key: String,
        /// The log whose batches it signs
        #[arg(long)]
        origin: Origin,
        /// The first entry for which it is valid
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from_index: u64,
    },
    /// The end of a signing key: it is not valid for this entry, nor for any after it
    EndSigning {
        /// Whose key
        #[arg(long)]
        department: Department,
        /// The key line in the file
        #[arg(long, value_name = "LINE")]
        key: String,
        /// The first entry for which it is no longer valid
        #[arg(long, value_name = "INDEX")]
        until_index: u64,
    },
    /// A department's recipient key; it becomes the one that secrets are wrapped for
    Recipient {
        /// Whose key
        #[arg(long)]
        department: Department,
        /// The key line that keygen printed
        #[arg(long, value_name = "LINE")]
        key: String,
    },
    /// A department's operator key
    Operator {
        /// Whose key
        #[arg(long)]
        department: Department,
        /// The key line that keygen printed
        #[arg(long, value_name = "LINE")]
        key: String,
    },
    /// A connector's log
    Log {
        /// Whose log
        #[arg(long)]
        department: Department,
        /// Its identity, <domain>/<department>/<connector>
        #[arg(long)]
        origin: Origin,
        /// The vkey that keygen printed
        #[arg(long)]
        vkey: String,
        /// Where its tiles are served: http://, read without TLS (docs/decisions/0006-no-tls-for-tiles-and-witnesses.md)
        #[arg(long)]
        url: String,
    },
    /// A witness
    Witness {
        /// Who runs it
        #[arg(long)]
        department: Department,
        /// Its name, as in its vkey
        #[arg(long)]
        name: String,
        /// The vkey that keygen printed
        #[arg(long)]
        vkey: String,
        /// Where checkpoints are submitted to it: http://, without TLS
        #[arg(long)]
        url: String,
        /// It reads the entries before it cosigns; only such witnesses count
        #[arg(long)]
        checking: bool,
    },
    /// How many witnesses must cosign, and how many of them may lie
    Policy {
        /// Cosignatures that make a checkpoint witnessed
        #[arg(long)]
        quorum: u32,
        /// Witnesses that may lie
        #[arg(long)]
        liars: u32,
    },
    /// A root key; it counts from the version after this one
    Root {
        /// The vkey that keygen printed
        #[arg(long)]
        vkey: String,
    },
    /// How many root holders must sign the version after this one
    Threshold {
        /// The number
        #[arg(long)]
        threshold: u32,
    },
    /// The opposite of adding: take out a root, recipient, operator, log or witness by its key
    Remove {
        /// The key as it stands in the file
        #[arg(long)]
        key: String,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let previous = verified_before(&args.before)?;
    let there = args.file.try_exists().unwrap_or(true);
    let mut draft = match &previous {
        Some(previous) if !there => {
            Draft::after(previous).map_err(|problem| Refusal::usage(&problem).code(problem.code()))?
        }
        _ => open(&args.file)?,
    };
    edit(&mut draft, args.what).map_err(|error| Refusal::usage(&error).code(error.code()))?;
    let text = draft.text().map_err(|problem| Refusal::usage(&problem).code(problem.code()))?;
    if there {
        output::replace(&args.file, text.as_bytes(), output::PUBLIC)?;
    } else {
        output::write_new(&args.file, text.as_bytes(), output::PUBLIC)?;
    }
    // A draft may be incomplete between two edits, so problems are words here and a verdict in `trust check`.
    for problem in draft.terms().err().unwrap_or_default() {
        output::say(&format!("still to do: {} {problem}", problem.code()));
    }
    Ok(Exit::Good.into())
}

fn open(path: &std::path::Path) -> anyhow::Result<Draft> {
    let file = read(path)?;
    if is_signed(&file) {
        return Err(Refusal::usage(format!(
            "{} is signed, and an edit would void its signatures",
            path.display()
        ))
        .remedy("begin the next version: govbridge trust add NEW-FILE --previous THIS-FILE ...")
        .code("TRU020")
        .into());
    }
    let text = String::from_utf8(file)
        .map_err(|_| Refusal::usage(format!("{} is not UTF-8 text", path.display())))?;
    let draft = Draft::parse(&text)
        .map_err(|problem| Refusal::usage(format!("{}: {problem}", path.display())).code(problem.code()))?;
    Ok(draft)
}

fn edit(draft: &mut Draft, what: What) -> Result<(), EditError> {
    match what {
        What::Department { name, title } => draft.add_department(&name, &title),
        What::Signing { department, key, origin, from_index } => {
            draft.add_signing(&department, &key, &origin, LogIndex(from_index))
        }
        What::EndSigning { department, key, until_index } => {
            draft.end_signing(&department, &key, LogIndex(until_index))
        }
        What::Recipient { department, key } => draft.add_recipient(&department, &key),
        What::Operator { department, key } => draft.add_operator(&department, &key),
        What::Log { department, origin, vkey, url } => {
            draft.add_log(&origin, Place { department: &department, vkey: &vkey, url: &url })
        }
        What::Witness { department, name, vkey, url, checking } => {
            draft.add_witness(&name, Place { department: &department, vkey: &vkey, url: &url }, checking)
        }
        What::Policy { quorum, liars } => {
            draft.set_policy(quorum, liars);
            Ok(())
        }
        What::Root { vkey } => draft.add_root(&vkey),
        What::Threshold { threshold } => {
            draft.set_threshold(threshold);
            Ok(())
        }
        What::Remove { key } => draft.remove(&key),
    }
}
