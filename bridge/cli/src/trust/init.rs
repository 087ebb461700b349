//! `govbridge trust init`: begins version 1.

use crate::exit::{Exit, Refusal};
use crate::output;
use bridge_trust::Draft;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  govbridge trust init trust-1.note --domain gov.example --threshold 2 \\
      --root 'gov.example/root/li+...' --root 'gov.example/root/wang+...' --root 'gov.example/root/zhao+...'

Exit codes: 0 done, 2 usage, 3 the file could not be written.";

/// Begin version 1 as a draft
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The new draft
    file: PathBuf,
    /// First part of every origin, such as gov.example
    #[arg(long)]
    domain: String,
    /// A root holder's public key (the vkey that keygen printed); give one for each
    #[arg(long = "root", value_name = "VKEY", required = true)]
    roots: Vec<String>,
    /// How many root holders must sign a version; 2 of 3 stands one lost and one stolen key
    #[arg(long, value_name = "K")]
    threshold: u32,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let draft = Draft::first(&args.domain, args.threshold, &args.roots);
    if let Err(problems) = draft.terms() {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let refusal = Refusal::usage(lines.join("\n"));
        return Err(match problems.first() {
            Some(problem) => refusal.code(problem.code()).into(),
            None => refusal.into(),
        });
    }
    let text = draft.text().map_err(|problem| Refusal::usage(&problem).code(problem.code()))?;
    output::write_new(&args.file, text.as_bytes(), output::PUBLIC)?;
    output::say(&format!(
        "{} is a draft of version 1; fill it with `govbridge trust add`.",
        args.file.display()
    ));
    Ok(Exit::Good.into())
}
