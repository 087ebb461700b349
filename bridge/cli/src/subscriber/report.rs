//! What a check found, for people and for programs.

use crate::exit::Exit;
use crate::output;
use bridge_subscriber::{Consequence, Found, Report, StreamReport};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Prints the report; the exit code says whether it is clean.
pub(super) fn tell(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let mut value = serde_json::to_value(report)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("clean".to_owned(), json!(report.is_clean()));
        }
        output::json(&value)?;
    } else {
        output::lines(&words(report))?;
    }
    Ok(if report.is_clean() { Exit::Good } else { Exit::Negative }.into())
}

fn words(report: &Report) -> String {
    let mut text = String::new();
    for found in &report.findings {
        text.push_str(&line(found));
    }
    for stream in &report.streams {
        text.push_str(&stream_line(stream));
    }
    let Report { records, batches, rows, elapsed_ms, .. } = report;
    text.push_str(&format!("{records} records, {batches} batches, {rows} rows, in {elapsed_ms} ms\n"));
    if report.is_clean() {
        text.push_str("clean: every batch verifies and follows its chain\n");
        return text;
    }
    let grave = report.findings.iter().filter(|found| found.consequence != Consequence::Note);
    let codes: BTreeSet<&str> = grave.map(|found| found.code).collect();
    let pages: Vec<String> = codes.iter().map(|code| format!("docs/errors/{code}.md")).collect();
    text.push_str(&format!("not clean; see {}\n", pages.join(", ")));
    text
}

fn line(found: &Found) -> String {
    let consequence = match found.consequence {
        Consequence::Note => "note",
        Consequence::Drop => "dropped",
        Consequence::Halt => "halts",
    };
    format!("{consequence} {found}\n")
}

fn stream_line(stream: &StreamReport) -> String {
    let head = match &stream.head {
        Some((sequence, digest)) => format!("batches up to {sequence}, {digest}"),
        None => "no batch".to_owned(),
    };
    let level = stream.level.map(|level| format!(", the last one {level}")).unwrap_or_default();
    let witnessed =
        stream.witnessed.map(|sequence| format!(", witnessed up to {sequence}")).unwrap_or_default();
    let halted = if stream.halted { "; reading ended at a finding" } else { "" };
    format!(
        "stream {}: from the {}, offset {}, {head}{level}{witnessed}{halted}\n",
        stream.stream, stream.started.at, stream.started.offset
    )
}
