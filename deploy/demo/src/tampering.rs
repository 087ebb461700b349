//! The second half: copies are tampered with, one act at a time, and the receivers read each copy.

use anyhow::Context as _;

use crate::board::Board;
use crate::copies::{Topics, copy_folder, write};
use crate::play::KILLED;
use crate::stage::{DEPARTMENTS, Stage, origin};
use crate::tamper::{ACTS, Act, Pen, Stolen};
use crate::verdicts::{Readers, Verdict};

/// Production's level: what an untouched copy is read at.
const LEVEL: &str = "witnessed";

/// What came of all acts.
pub(crate) struct Outcome {
    /// Acts that nobody noticed, and false alarms, in words.
    pub(crate) failures: Vec<String>,
    pub(crate) acts: usize,
}

/// Tampers, and lets the readers judge. `topics` are the honest frames; the logs are copied from the stage.
pub(crate) fn tamper(readers: &mut Readers<'_>, board: &Board, topics: &Topics) -> anyhow::Result<Outcome> {
    let stage = readers.stage;
    let (honest, forged) = (stage.folder.join("copies/logs"), stage.folder.join("copies/forged-logs"));
    for department in DEPARTMENTS {
        copy_folder(&stage.of(department).join("log"), &honest.join(department))?;
        copy_folder(&stage.of(department).join("log"), &forged.join(department))?;
    }
    let stolen = steal(stage)?;
    let mut outcome = Outcome { failures: Vec::new(), acts: ACTS.len() };
    let bar = board.bar("acts", ACTS.len() as u64 + 2);
    untouched(readers, board, topics, "before the acts", &mut outcome)?;
    bar.step("untouched");
    for (number, act) in (1..).zip(ACTS) {
        let mut copy = topics.clone();
        let done = (act.run)(&mut copy, &stolen).with_context(|| format!("the act \"{}\"", act.name))?;
        let logs = match &done.checkpoint {
            Some(checkpoint) => {
                write(&forged.join(KILLED).join("checkpoint"), checkpoint)?;
                &forged
            }
            None => &honest,
        };
        let mut transport = copy.serve(&stage.ground)?;
        let verdicts = readers.judge(transport.bootstrap(), logs, act.level)?;
        transport.end()?;
        tell(board, number, act, &done.what, &verdicts, &mut outcome);
        bar.step(act.name);
    }
    untouched(readers, board, topics, "after the acts", &mut outcome)?;
    Ok(outcome)
}

fn steal(stage: &Stage) -> anyhow::Result<Stolen> {
    let key = |department: &str, role: &str| {
        Pen::steal(&stage.of(department).join("keys").join(format!("{role}.key")))
    };
    Ok(Stolen {
        topic: format!("govbridge.{KILLED}.students"),
        neighbour_topic: format!("govbridge.{KILLED}.enrolments"),
        dataset: "students".to_owned(),
        signing: key(KILLED, "signing")?,
        neighbour: key("tax", "signing")?,
        log: key(KILLED, "log")?,
    })
}

/// A copy that nobody touched must be reported clean.
fn untouched(
    readers: &mut Readers<'_>,
    board: &Board,
    topics: &Topics,
    when: &str,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut transport = topics.serve(&readers.stage.ground)?;
    let honest = readers.stage.folder.join("copies/logs");
    board.say(&format!("   -  an untouched copy, {when}"));
    let verdicts = readers.judge(transport.bootstrap(), &honest, LEVEL)?;
    transport.end()?;
    for verdict in verdicts {
        let clean = verdict.is_clean();
        let word = if clean { "clean".to_owned() } else { format!("FALSE ALARM: {}", verdict.codes()) };
        board.say(&format!(
            "        {:<16} {word}, {} batches, {} rows opened, {} ms",
            verdict.department, verdict.batches, verdict.rows, verdict.took_ms
        ));
        if !clean {
            let first =
                verdict.first.clone().unwrap_or_else(|| "an exit code of 1 without a finding".to_owned());
            outcome.failures.push(format!("a false alarm by {} {when}: {first}", verdict.department));
        }
    }
    Ok(())
}

fn tell(board: &Board, number: usize, act: &Act, what: &str, verdicts: &[Verdict], outcome: &mut Outcome) {
    board.say(&format!("  {number:>2}  {}: {what}", act.name));
    for verdict in verdicts {
        let codes = verdict.codes();
        let word = if verdict.is_noticed() { "noticed by" } else { "found" };
        board.say(&format!("        {:<16} {word} {codes}, {} ms", verdict.department, verdict.took_ms));
    }
    if !verdicts.iter().any(Verdict::is_noticed) {
        board.say(&format!("        NOBODY NOTICED; expected: {}", act.expected));
        outcome.failures.push(format!("nobody noticed: {}: {what}", act.name));
    }
    let log = origin(KILLED);
    if let Some(silent) = verdicts.iter().find(|verdict| verdict.passed && verdict.is_noticed()) {
        outcome.failures.push(format!(
            "{} found something in the act \"{}\" on a stream of {log} and ended with exit code 0",
            silent.department, act.name
        ));
    }
}
