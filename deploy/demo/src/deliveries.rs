//! What a subscriber has delivered: its file of JSON lines, read as another program would read it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::contracts::Contract;

/// The rows of one dataset that one department received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// Lines by operation: r, c, u, d.
    counts: BTreeMap<String, u64>,
    /// The keys of the rows that exist after all of it.
    keys: BTreeSet<String>,
    /// The newest inserted row.
    sample: Option<Value>,
}

impl Received {
    pub(crate) fn count(&self, operation: &str) -> u64 {
        self.counts.get(operation).copied().unwrap_or_default()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(crate) fn keys(&self) -> &BTreeSet<String> {
        &self.keys
    }
}

/// One department's file of JSON lines, followed as it grows.
pub(crate) struct Deliveries {
    pub(crate) department: String,
    file: PathBuf,
    read: u64,
    unfinished: Vec<u8>,
    contracts: BTreeMap<String, Contract>,
    received: BTreeMap<String, Received>,
    places: HashSet<(String, u64, u64)>,
    faults: Vec<String>,
    columns: BTreeMap<String, BTreeSet<String>>,
    /// The source's transaction numbers of the rows since the last commit line.
    open: Vec<u64>,
    /// Whole source transactions by origin, in the order in which they came: number and rows.
    transactions: BTreeMap<String, Vec<(u64, u64)>>,
}

/// Faults that are kept; one is enough to fail.
const FAULTS_MAX: usize = 20;

impl Deliveries {
    pub(crate) fn of(department: &str, file: &Path, contracts: &[&Contract]) -> Deliveries {
        Deliveries {
            department: department.to_owned(),
            file: file.to_owned(),
            read: 0,
            unfinished: Vec::new(),
            contracts: contracts.iter().map(|contract| (contract.name(), (*contract).clone())).collect(),
            received: BTreeMap::new(),
            places: HashSet::new(),
            faults: Vec::new(),
            columns: BTreeMap::new(),
            open: Vec::new(),
            transactions: BTreeMap::new(),
        }
    }

    /// The datasets that are expected, by name.
    pub(crate) fn contracts(&self) -> impl Iterator<Item = (&String, &Contract)> {
        self.contracts.iter()
    }

    pub(crate) fn received(&self, dataset: &str) -> Received {
        self.received.get(dataset).cloned().unwrap_or_default()
    }

    /// Rows of all datasets.
    pub(crate) fn rows(&self) -> u64 {
        self.received.values().map(Received::rows).sum()
    }

    /// What is wrong with the lines themselves: twice, not entitled, out of place.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Reads what was written since the last call.
    pub(crate) fn follow(&mut self) -> anyhow::Result<()> {
        let mut file = match File::open(&self.file) {
            Ok(file) => file,
            // The subscriber makes it when it starts.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.file.display())),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = std::mem::take(&mut self.unfinished);
        self.read += u64::try_from(file.read_to_end(&mut bytes)?)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.unfinished = bytes.split_off(whole);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line)
                .with_context(|| format!("{} holds a line that is no JSON", self.file.display()))?;
            self.take(&line)?;
        }
        Ok(())
    }

    fn take(&mut self, line: &Value) -> anyhow::Result<()> {
        let Some(operation) = line.get("op").and_then(Value::as_str) else {
            // Ends of source transactions have no operation; a GAP or RETRACT must not come up in the demo.
            match line.get("commit") {
                Some(commit) => self.close(commit),
                None => self.fault(format!("an unexpected line: {line}")),
            }
            return Ok(());
        };
        let word = |name: &str| line.pointer(&format!("/source/{name}")).and_then(Value::as_str);
        let (Some(department), Some(dataset)) = (word("department"), word("dataset")) else {
            bail!("a row does not say where it comes from: {line}");
        };
        let name = format!("{department}/{dataset}");
        let Some(contract) = self.contracts.get(&name).cloned() else {
            self.fault(format!("a row of {name}, to which {} has no right", self.department));
            return Ok(());
        };
        let number = |name: &str| line.pointer(&format!("/provenance/{name}")).and_then(Value::as_u64);
        let (Some(sequence), Some(leaf)) = (number("sequence"), number("leaf")) else {
            bail!("a row does not say which leaf of which batch it is: {line}");
        };
        if !self.places.insert((name.clone(), sequence, leaf)) {
            self.fault(format!("leaf {leaf} of batch {sequence} of {name} came twice"));
        }
        let of_source = |name: &str| line.pointer(&format!("/source/{name}"));
        if of_source("snapshot").and_then(Value::as_bool) == Some(false) {
            self.open.extend(of_source("transaction").and_then(Value::as_u64));
        }
        self.look_at_columns(&contract, line);
        self.apply(&contract, operation, line);
        Ok(())
    }

    /// A commit line. In mode `source` it names the origin, and the rows right before it are the transaction's.
    fn close(&mut self, commit: &Value) {
        let open = std::mem::take(&mut self.open);
        let number = |name: &str| commit.get(name).and_then(Value::as_u64).unwrap_or_default();
        let Some(origin) = commit.get("origin").and_then(Value::as_str) else { return };
        let (transaction, rows) = (number("transaction"), number("rows"));
        if open.len() as u64 != rows || open.iter().any(|other| *other != transaction) {
            self.fault(format!("the {} rows before this line are not its own: {commit}", open.len()));
        }
        self.transactions.entry(origin.to_owned()).or_default().push((transaction, rows));
    }

    /// The source transactions of an origin, in the order in which they came whole: number and rows.
    pub(crate) fn transactions(&self, origin: &str) -> &[(u64, u64)] {
        self.transactions.get(origin).map_or(&[], Vec::as_slice)
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what);
        }
    }

    /// Each department sees only its sections.
    fn look_at_columns(&mut self, contract: &Contract, line: &Value) {
        let states = ["before", "after"].into_iter().filter_map(|side| line.get(side)?.as_object());
        let columns: BTreeSet<String> = states.flat_map(|state| state.keys().cloned()).collect();
        let seen = self.columns.entry(contract.name()).or_default();
        let mut found = Vec::new();
        for column in columns {
            if seen.insert(column.clone()) && !contract.visible_to(&self.department).contains(column.as_str())
            {
                found.push(format!(
                    "the column {column} of {}, which {} may not see",
                    contract.name(),
                    self.department
                ));
            }
        }
        found.into_iter().for_each(|what| self.fault(what));
    }

    /// Keeps the table's keys as the receiver would.
    fn apply(&mut self, contract: &Contract, operation: &str, line: &Value) {
        let received = self.received.entry(contract.name()).or_default();
        *received.counts.entry(operation.to_owned()).or_default() += 1;
        let key = |side: &str| key_of(&contract.key, line.get(side)?);
        let outcome = match operation {
            "r" | "c" => key("after").map(|key| received.keys.insert(key)),
            "u" => key("after").map(|key| received.keys.contains(&key)),
            "d" => key("before").map(|key| received.keys.remove(&key)),
            _ => None,
        };
        if matches!(operation, "r" | "c") {
            received.sample = line.get("after").cloned();
        }
        if outcome != Some(true) {
            self.fault(format!("{}: {operation} does not fit the rows before it: {line}", contract.name()));
        }
    }

    /// The newest inserted row of a dataset, column by column; none when there was none.
    pub(crate) fn sample(&self, dataset: &str) -> BTreeMap<String, String> {
        let sample = self.received.get(dataset).and_then(|received| received.sample.as_ref());
        let columns = sample.and_then(Value::as_object).into_iter().flatten();
        columns.map(|(name, value)| (name.clone(), plain(value))).collect()
    }
}

/// A row's key as one text.
fn key_of(columns: &[String], state: &Value) -> Option<String> {
    let parts: Option<Vec<String>> = columns.iter().map(|column| state.get(column).map(plain)).collect();
    parts.map(|parts| parts.join("\u{1f}"))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copies::write;

    fn students() -> Contract {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/education");
        Contract::read_all(&folder)
            .unwrap()
            .into_iter()
            .find(|contract| contract.dataset == "students")
            .unwrap()
    }

    fn row(operation: &str, number: u64, leaf: u64, column: &str) -> String {
        let state = format!(r#"{{"student_no":"G{number}","{column}":"x"}}"#);
        let (before, after) = match operation {
            "d" => (state, "null".to_owned()),
            "u" => (state.clone(), state),
            _ => ("null".to_owned(), state),
        };
        format!(
            r#"{{"op":"{operation}","before":{before},"after":{after},"source":{{"department":"education","dataset":"students"}},"provenance":{{"sequence":1,"leaf":{leaf}}}}}"#
        ) + "\n"
    }

    fn follow(lines: &[String]) -> Deliveries {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.jsonl");
        write(&file, &lines.concat()).unwrap();
        let mut deliveries = Deliveries::of("social-security", &file, &[&students()]);
        deliveries.follow().unwrap();
        deliveries
    }

    #[test]
    fn rows_are_counted_by_operation_and_their_keys_kept() {
        let end = "{\"commit\":{\"rows\":1}}\n".to_owned();
        let deliveries = follow(&[
            row("r", 1, 0, "grade"),
            row("c", 2, 1, "grade"),
            row("u", 2, 2, "grade"),
            end,
            row("d", 1, 3, "grade"),
        ]);
        let received = deliveries.received("education/students");
        assert_eq!(deliveries.faults(), [""; 0]);
        assert_eq!(["r", "c", "u", "d"].map(|operation| received.count(operation)), [1, 1, 1, 1]);
        assert_eq!(received.keys().iter().collect::<Vec<_>>(), ["G2"]);
        assert_eq!(deliveries.sample("education/students")["student_no"], "G2");
    }

    #[test]
    fn a_line_without_its_end_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.jsonl");
        let line = row("c", 1, 0, "grade");
        let (start, end) = line.split_at(30);
        let mut deliveries = Deliveries::of("social-security", &file, &[&students()]);
        deliveries.follow().unwrap();
        write(&file, start).unwrap();
        deliveries.follow().unwrap();
        assert_eq!(deliveries.rows(), 0);
        write(&file, &format!("{start}{end}")).unwrap();
        deliveries.follow().unwrap();
        assert_eq!(deliveries.rows(), 1);
    }

    #[test]
    fn a_row_that_comes_twice_is_a_fault() {
        assert_eq!(follow(&[row("r", 1, 0, "grade"), row("r", 1, 0, "grade")]).faults().len(), 2);
    }

    #[test]
    fn a_column_of_another_audience_is_a_fault() {
        let faults = follow(&[row("r", 1, 0, "full_name")]).faults().to_vec();
        assert!(faults.len() == 1 && faults[0].contains("full_name"), "{faults:?}");
    }

    #[test]
    fn a_row_that_does_not_fit_is_a_fault() {
        for operation in ["u", "d", "x"] {
            assert_eq!(follow(&[row(operation, 1, 0, "grade")]).faults().len(), 1, "{operation}");
        }
    }
}
