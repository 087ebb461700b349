//! What the readers of a copy say: `govbridge subscriber --check --json`, each with a fresh progress.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::interruption::Interruption;
use crate::processes::{Binary, Process, wait};
use crate::stage::{RECEIVERS, Stage};

/// How long a reader may take for a whole copy.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one reader said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) department: String,
    /// Findings that are more than notes, by code.
    pub(crate) codes: BTreeMap<String, u64>,
    /// The first of them in words.
    pub(crate) first: Option<String>,
    /// Milliseconds from the reader's start to its first finding, or to its end.
    pub(crate) took_ms: u64,
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    /// Whether the reader's exit code was that of a clean check.
    pub(crate) passed: bool,
}

impl Verdict {
    /// Whether the reader found nothing and said so.
    pub(crate) fn is_clean(&self) -> bool {
        self.passed && self.codes.is_empty()
    }

    /// Whether the reader says that something is wrong, and by which code.
    pub(crate) fn is_noticed(&self) -> bool {
        !self.codes.is_empty()
    }

    fn read(department: &str, report: &str, passed: bool) -> anyhow::Result<Verdict> {
        let report: Value = serde_json::from_str(report.trim()).context("the check printed no JSON")?;
        let findings =
            report.get("findings").and_then(Value::as_array).context("the report lists no findings")?;
        let word = |finding: &Value, name: &str| {
            finding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let grave: Vec<&Value> =
            findings.iter().filter(|finding| word(finding, "consequence") != "note").collect();
        let mut codes = BTreeMap::new();
        for finding in &grave {
            *codes.entry(word(finding, "code")).or_default() += 1;
        }
        let number = |name: &str| report.get(name).and_then(Value::as_u64);
        Ok(Verdict {
            department: department.to_owned(),
            codes,
            first: grave.first().map(|finding| {
                format!("{} {}: {}", word(finding, "code"), word(finding, "place"), word(finding, "what"))
            }),
            took_ms: number("first_finding_ms")
                .or_else(|| number("elapsed_ms"))
                .context("the report has no time")?,
            batches: number("batches").unwrap_or_default(),
            rows: number("rows").unwrap_or_default(),
            passed,
        })
    }

    /// The codes as the table has them: `CHA013 x4 VER020`.
    pub(crate) fn codes(&self) -> String {
        let words: Vec<String> = self
            .codes
            .iter()
            .map(|(code, times)| if *times == 1 { code.clone() } else { format!("{code} x{times}") })
            .collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
    }
}

/// Lets every receiver read one copy, all at once.
pub(crate) struct Readers<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) binary: &'a Binary,
    pub(crate) interruption: &'a Interruption,
    number: usize,
}

impl<'a> Readers<'a> {
    pub(crate) fn new(stage: &'a Stage, binary: &'a Binary, interruption: &'a Interruption) -> Readers<'a> {
        Readers { stage, binary, interruption, number: 0 }
    }

    /// The receivers' verdicts on a copy of the topics and a folder of copied logs, read at an assurance level.
    pub(crate) fn judge(
        &mut self,
        bootstrap: &str,
        logs: &Path,
        level: &str,
    ) -> anyhow::Result<Vec<Verdict>> {
        self.number += 1;
        let mut running = Vec::new();
        for department in RECEIVERS {
            let config = self.stage.configure_reader(department, self.number, bootstrap, (logs, level))?;
            let name = format!("{department} check {}", self.number);
            let (report, words) = (
                self.stage.of(department).join(format!("check-{}.json", self.number)),
                self.stage.words(&name),
            );
            let folder = self.stage.of(department);
            let out = File::create(&report).with_context(|| format!("cannot write {}", report.display()))?;
            let arguments = ["subscriber", "--config", &config, "--check", "--json"];
            running.push((
                *department,
                report,
                Process::start_apart(self.binary, &name, &folder, &arguments, out, &words)?,
            ));
        }
        let mut verdicts = Vec::new();
        for (department, report, mut process) in running {
            let mut ended = None;
            wait("a check", PATIENCE, self.interruption, &mut [], || {
                ended = process.ended()?;
                Ok(ended.is_some())
            })?;
            let code = ended.and_then(|status| status.code());
            let text = fs::read_to_string(&report)?;
            let passed = match code {
                Some(0) => true,
                Some(1) => false,
                _ => bail!(process.complaint("could not check")),
            };
            ensure!(!text.trim().is_empty(), process.complaint("printed no report"));
            verdicts.push(Verdict::read(department, &text, passed)?);
        }
        Ok(verdicts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"findings": [
        {"code": "VER085", "consequence": "note", "place": "s", "offset": null, "what": "w"},
        {"code": "CHA013", "consequence": "drop", "place": "s", "offset": 3, "what": "ahead"},
        {"code": "CHA013", "consequence": "drop", "place": "s", "offset": 4, "what": "ahead"},
        {"code": "CHA004", "consequence": "halt", "place": "s", "offset": 5, "what": "loss"}],
        "records": 9, "batches": 4, "rows": 5, "elapsed_ms": 80, "first_finding_ms": 12}"#;

    #[test]
    fn findings_that_are_more_than_notes_are_counted_by_code() {
        let verdict = Verdict::read("tax", REPORT, false).unwrap();
        assert_eq!(verdict.codes(), "CHA004 CHA013 x2");
        assert_eq!((verdict.took_ms, verdict.batches, verdict.rows), (12, 4, 5));
        assert!(verdict.is_noticed() && !verdict.is_clean());
        assert_eq!(verdict.first.unwrap(), "CHA013 s: ahead");
    }

    #[test]
    fn a_check_is_clean_when_it_says_so_twice() {
        let notes = r#"{"findings": [{"code": "VER085", "consequence": "note"}], "elapsed_ms": 80, "first_finding_ms": null}"#;
        assert!(Verdict::read("tax", notes, true).unwrap().is_clean());
        assert!(!Verdict::read("tax", notes, false).unwrap().is_clean(), "the exit code says otherwise");
        assert!(!Verdict::read("tax", REPORT, true).unwrap().is_clean());
        assert!(Verdict::read("tax", "", true).is_err());
        assert!(Verdict::read("tax", "{}", true).is_err());
    }
}
