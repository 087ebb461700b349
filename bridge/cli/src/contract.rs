//! `govbridge contract`: what a dataset promises to whom, checked before anybody signs it.

use crate::exit::{Exit, Refusal};
use crate::output;
use schemas::{
    CONTRACT_FILE, Compatibility, Contract, ContractFiles, FILES_BYTES_MAX, Problem, Problems, Widening,
    compatible,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The contract that `--example` prints.
const EXAMPLE: &str = include_str!("../../../deploy/dev/contract.toml");

/// How deep under a named folder contracts are looked for: `schemas/<department>/<dataset>`, and one more.
const DEPTH_MAX: u32 = 3;

const LONG: &str = "\
A contract is a folder with contract.toml and an Avro schema for each section. It says which columns of which table \
go into which section, who may open a section, from when until when, what for and by which law.

To begin: govbridge contract --example > FOLDER/contract.toml, and edit it; docs/guide/first-table.md walks through.

The connector signs a contract when it first uses it; there is nothing to sign by hand.";

/// Check contracts, and show what every recipient will see
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, arg_required_else_help = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Print an example of contract.toml
    #[arg(long)]
    example: bool,
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    Check(CheckArgs),
    Show(ShowArgs),
}

const CHECK_EXAMPLES: &str = "\
Examples:
  govbridge contract check schemas/tax/payments
  govbridge contract check schemas                        every contract under this folder
  govbridge contract check new/payments --after old/payments    may the one follow the other?

Each problem is one line on stdout: file:line: field: what is wrong; what to do. Without a problem, stdout says what \
every recipient will see. Exit codes: 0 no problem, 1 problems, 2 usage.";

/// Say what is wrong with contracts, or what every recipient will see
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_EXAMPLES)]
struct CheckArgs {
    /// Folders of contracts, or folders above them
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The contract that the one in DIR is to follow
    #[arg(long, value_name = "OLD-DIR")]
    after: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  govbridge contract show schemas/tax/payments
  govbridge contract show schemas/tax/payments --json

Exit codes: 0 shown, 1 the contract has problems, 2 usage.";

/// Print a contract's identity and what every recipient will see
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// The contract's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.act {
        Some(Act::Check(args)) => check(&args),
        Some(Act::Show(args)) => show(&args),
        // Without a subcommand there is nothing else that can have been asked.
        None => output::data(EXAMPLE).map(|()| Exit::Good.into()),
    }
}

/// A contract's folder, and what was read in it.
struct Read {
    folder: PathBuf,
    contract: Result<Contract, Problems>,
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut reads = Vec::new();
    for folder in &args.folders {
        for folder in contract_folders(folder)? {
            let contract = Contract::parse(&files(&folder)?);
            reads.push(Read { folder, contract });
        }
    }
    if let Some(old) = &args.after {
        follow(&mut reads, old)?;
    }
    let wrong = reads.iter().filter(|read| read.contract.is_err()).count();
    if args.json {
        output::json(&reads.iter().map(value).collect::<Vec<_>>())?;
    } else {
        for read in &reads {
            output::lines(&words(read))?;
        }
    }
    if wrong > 0 {
        output::say(&format!(
            "{wrong} of {} contracts have problems; nothing of them can be used.",
            reads.len()
        ));
        return Ok(Exit::Negative.into());
    }
    Ok(Exit::Good.into())
}

/// Judges the one contract that was read as the successor of another.
fn follow(reads: &mut [Read], old: &Path) -> anyhow::Result<()> {
    let [read] = reads else {
        return Err(Refusal::usage("--after compares one contract with one other")
            .remedy("name one contract's folder")
            .into());
    };
    let old = Contract::parse(&files(old)?)
        .map_err(|problems| Refusal::usage(format!("the old contract has problems itself:\n{problems}")))?;
    let Ok(new) = &read.contract else { return Ok(()) };
    match compatible(&old, new) {
        Compatibility::Same => output::say("The rows keep their schemas."),
        Compatibility::Changes { additions, widenings } => {
            for addition in additions {
                output::say(&format!("Section {} gets the column {}.", addition.section, addition.column));
            }
            for Widening { section, column, types: (was, is), nullable } in widenings {
                let null = if nullable { ", and may be null" } else { "" };
                output::say(&format!("Section {section}: the column {column} was {was}, and is {is}{null}."));
            }
        }
        Compatibility::Refused(problems) => read.contract = Err(problems),
    }
    Ok(())
}

fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let read = Read { contract: Contract::parse(&files(&args.folder)?), folder: args.folder.clone() };
    if args.json {
        output::json(&value(&read))?;
    } else {
        output::lines(&words(&read))?;
    }
    Ok(if read.contract.is_ok() { Exit::Good } else { Exit::Negative }.into())
}

fn words(read: &Read) -> String {
    match &read.contract {
        Ok(contract) => {
            let (digest, origin) = (contract.digest(), contract.origin());
            let revision = contract.revision();
            format!(
                "{}revision {revision}, digest {digest}, log {origin}\n\n",
                contract.what_recipients_see()
            )
        }
        Err(problems) => problems.iter().map(|problem| line(&read.folder, problem)).collect(),
    }
}

/// `file:line: field: what; remedy`, with the path as an editor can open it.
fn line(folder: &Path, problem: &Problem) -> String {
    let Problem { code, file, line, field, what, remedy } = problem;
    let path = folder.join(file);
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    format!("{}:{line}: {field}{what}; {remedy} [{code}]\n", path.display())
}

fn value(read: &Read) -> Value {
    let folder = read.folder.display().to_string();
    match &read.contract {
        Ok(contract) => json!({
            "folder": folder,
            "good": true,
            "digest": contract.digest().to_string(),
            "revision": contract.revision(),
            "origin": contract.origin().as_str(),
            "partitions": contract.partitions(),
            "suite": contract.suite().name(),
            "table": contract.table(),
            "recipients_see": contract.what_recipients_see(),
        }),
        Err(problems) => json!({"folder": folder, "good": false, "problems": problems}),
    }
}

/// The folders of contracts at or under a folder, sorted. One without any is taken as a contract's own folder, whose
/// file is missing.
fn contract_folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    search(folder, DEPTH_MAX, &mut found)?;
    found.sort();
    if found.is_empty() {
        found.push(folder.to_path_buf());
    }
    Ok(found)
}

fn search(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if folder.join(CONTRACT_FILE).is_file() {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    for path in listed(folder)? {
        if depth > 0 && path.is_dir() {
            search(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

fn listed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unread = |error| {
        anyhow::Error::from(
            Refusal::usage(format!("{} could not be read: {error}", folder.display()))
                .remedy("name a folder"),
        )
    };
    let mut paths = Vec::new();
    for file in std::fs::read_dir(folder).map_err(unread)? {
        paths.push(file.map_err(unread)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A contract's files: contract.toml and every schema beside it. Files over the limit are read up to it, so that the
/// contract's own check says so.
pub(crate) fn files(folder: &Path) -> anyhow::Result<ContractFiles> {
    let mut files = ContractFiles::new();
    for path in listed(folder)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_schema = path.extension().is_some_and(|ending| ending == "avsc");
        if files.total_bytes() > FILES_BYTES_MAX || !path.is_file() || !(is_schema || name == CONTRACT_FILE) {
            continue;
        }
        files.insert(name, output::read_beginning(&path, FILES_BYTES_MAX.saturating_add(1))?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_and_the_schema_in_its_comment_are_a_contract() {
        let comment = EXAMPLE.lines().skip_while(|line| !line.ends_with("decision.avsc:")).skip(1);
        let schema: String =
            comment.map_while(|line| line.strip_prefix("#   ")).map(|line| format!("{line}\n")).collect();
        let mut files = ContractFiles::new();
        files.insert(CONTRACT_FILE, EXAMPLE);
        files.insert("decision.avsc", schema);
        let contract = Contract::parse(&files).unwrap();
        assert_eq!((contract.table(), contract.grants().len()), ("refunds", 1));
        assert_eq!(contract.unshared_columns(), ["note"]);
    }
}
