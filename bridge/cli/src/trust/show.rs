//! `govbridge trust show`: what a version says, for people and as JSON. Nothing is verified.

use super::read;
use crate::exit::{Exit, Refusal};
use crate::output;
use bridge_suite::sha256;
use bridge_tlog::Note;
use bridge_trust::{Member, Terms, is_signed};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  govbridge trust show trust-1.note
  govbridge trust show trust-1.note --json

The signatures are listed and not verified: `govbridge trust check` does that. Exit codes: 0 shown, 1 not a trust \
file, 2 usage.";

/// Print what a version or draft says, without verifying its signatures
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The version or draft, - for stdin
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    output::lines(&show(&read(&args.file)?, args.json)?)?;
    Ok(Exit::Good.into())
}

/// A trust file as text for people or as JSON.
pub(crate) fn show(file: &[u8], as_json: bool) -> anyhow::Result<String> {
    let file = std::str::from_utf8(file)
        .map_err(|_| Refusal::negative("the trust file is not UTF-8 text").code("TRU001"))?;
    let note = match is_signed(file.as_bytes()) {
        true => Some(Note::parse(file.as_bytes()).map_err(|error| Refusal::negative(error).code("TRU001"))?),
        false => None,
    };
    let text = note.as_ref().map_or(file, Note::text);
    let terms = Terms::parse(text).map_err(|problems| {
        let lines: Vec<String> =
            problems.iter().map(|problem| format!("{} {problem}", problem.code())).collect();
        Refusal::negative(lines.join("\n"))
    })?;
    let lines = note.iter().flat_map(Note::signatures);
    let signers: Vec<String> = lines.map(|line| line.name().to_owned()).collect();
    let digest = sha256(&[text.as_bytes()]).to_string();
    if as_json {
        return Ok(serde_json::to_string_pretty(&value(&terms, &digest, &signers))? + "\n");
    }
    let mut out = String::new();
    write(&mut out, &terms, &digest, &signers)?;
    Ok(out)
}

fn write(out: &mut String, terms: &Terms, digest: &str, signers: &[String]) -> std::fmt::Result {
    writeln!(out, "Trust file of {}, version {}", terms.domain(), terms.version())?;
    writeln!(out, "  digest     {digest}")?;
    if let Some(previous) = terms.previous() {
        writeln!(out, "  previous   {previous}")?;
    }
    let signed = if signers.is_empty() {
        "nobody has signed it".to_owned()
    } else {
        signers.join(", ") + " (not verified here)"
    };
    writeln!(out, "  signed by  {signed}")?;
    match terms.votes() {
        Some(votes) => {
            writeln!(out, "  witnessed  by a quorum of {}, of which {} may lie", votes.quorum, votes.liars)?
        }
        None => writeln!(out, "  witnessed  never: there is no policy")?,
    }
    writeln!(out, "\nRoots: {} of these {} sign the next version", terms.threshold(), terms.roots().len())?;
    for root in terms.roots() {
        writeln!(out, "  {root}")?;
    }
    for member in terms.departments() {
        writeln!(out, "\nDepartment {}, {}", member.name, member.title)?;
        for term in &member.signing {
            let until =
                term.valid.until.map_or_else(|| "on".to_owned(), |until| format!("up to, not with, {until}"));
            writeln!(
                out,
                "  signing    {}  entries of {} from {} {until}",
                term.key.id().short(),
                term.origin,
                term.valid.from
            )?;
        }
        for key in &member.recipients {
            writeln!(out, "  recipient  {}", key.id().short())?;
        }
        for key in &member.operators {
            writeln!(out, "  operator   {}", key.id().short())?;
        }
    }
    if !terms.logs().is_empty() {
        writeln!(out, "\nLogs")?;
    }
    for log in terms.logs() {
        let count = terms.counted(log).count();
        writeln!(
            out,
            "  {}  of {}, at {}; witnesses that count for it: {count}",
            log.origin, log.department, log.url
        )?;
    }
    if !terms.witnesses().is_empty() {
        writeln!(out, "\nWitnesses")?;
    }
    for witness in terms.witnesses() {
        let checking = if witness.checking { "checking" } else { "not checking: does not count" };
        writeln!(out, "  {}  of {}, at {}; {checking}", witness.name, witness.department, witness.url)?;
    }
    Ok(())
}

fn value(terms: &Terms, digest: &str, signers: &[String]) -> Value {
    let departments: Vec<Value> = terms.departments().iter().map(department).collect();
    let logs = terms.logs().iter().map(|log| {
        json!({
            "origin": log.origin.as_str(),
            "department": log.department.as_str(),
            "vkey": log.key.to_string(),
            "url": log.url,
            "counted_witnesses": terms.counted(log).map(|w| w.name.as_str()).collect::<Vec<_>>(),
        })
    });
    let witnesses = terms.witnesses().iter().map(|witness| {
        json!({
            "name": witness.name,
            "department": witness.department.as_str(),
            "vkey": witness.key.to_string(),
            "url": witness.url,
            "checking": witness.checking,
        })
    });
    json!({
        "domain": terms.domain(),
        "version": terms.version(),
        "digest": digest,
        "previous": terms.previous().map(|previous| previous.to_string()),
        "signature_lines_not_verified": signers,
        "threshold": terms.threshold(),
        "roots": terms.roots().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "policy": terms.votes().map(|votes| json!({"quorum": votes.quorum, "liars": votes.liars})),
        "departments": departments,
        "logs": logs.collect::<Vec<_>>(),
        "witnesses": witnesses.collect::<Vec<_>>(),
        "warnings": terms.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn department(member: &Member) -> Value {
    let signing = member.signing.iter().map(|term| {
        json!({
            "key_id": term.key.id().to_string(),
            "origin": term.origin.as_str(),
            "from_index": term.valid.from.0,
            "until_index": term.valid.until.map(|until| until.0),
        })
    });
    json!({
        "name": member.name.as_str(),
        "title": member.title,
        "signing": signing.collect::<Vec<_>>(),
        "recipient": member.recipients.iter().map(|key| key.id().to_string()).collect::<Vec<_>>(),
        "operator": member.operators.iter().map(|key| key.id().to_string()).collect::<Vec<_>>(),
    })
}
