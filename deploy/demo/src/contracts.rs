//! What the contracts promise, read with the demo's own eyes: enough to know who may see which column.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

/// One dataset's contract.
#[derive(Clone, Debug)]
pub(crate) struct Contract {
    pub(crate) department: String,
    pub(crate) dataset: String,
    /// The source table, by the generator's name.
    pub(crate) table: String,
    pub(crate) key: Vec<String>,
    /// How many partitions its topic has.
    pub(crate) partitions: u32,
    /// Each section's columns.
    sections: BTreeMap<String, BTreeSet<String>>,
    /// The sections that each recipient may open. Their start and end are not looked at: the sample grants are in force.
    grants: BTreeMap<String, BTreeSet<String>>,
}

impl Contract {
    /// Reads the contracts of a department's folder, in the order of their names.
    pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Contract>> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .map(|entry| entry.path().join("contract.toml"))
            .filter(|file| file.is_file())
            .collect();
        files.sort();
        files.iter().map(|file| Contract::read(file)).collect()
    }

    /// Reads one `contract.toml`.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Contract> {
        let read = || Contract::parse(&std::fs::read_to_string(file)?);
        read().with_context(|| format!("{}", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Contract> {
        let contract: Table = text.parse()?;
        let source = contract.get("source").and_then(Value::as_table).context("no [source]")?;
        let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for section in tables(&contract, "section") {
            sections.insert(word(section, "name")?, BTreeSet::new());
        }
        for column in tables(&contract, "column") {
            if let Ok(section) = word(column, "section") {
                sections.entry(section).or_default().insert(word(column, "name")?);
            }
        }
        let mut grants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for grant in tables(&contract, "grant") {
            grants.entry(word(grant, "recipient")?).or_default().insert(word(grant, "section")?);
        }
        let key = source.get("key").and_then(Value::as_array).context("no key")?;
        Ok(Contract {
            department: word(&contract, "department")?,
            dataset: word(&contract, "dataset")?,
            table: word(source, "table")?,
            partitions: partitions(&contract),
            key: key.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
            sections,
            grants,
        })
    }

    /// `<department>/<dataset>`, for people and as a key.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.department, self.dataset)
    }

    pub(crate) fn topic(&self) -> String {
        format!("govbridge.{}.{}", self.department, self.dataset)
    }

    /// The sections that a department may open; none when it is no recipient.
    pub(crate) fn opened_by(&self, department: &str) -> Option<&BTreeSet<String>> {
        self.grants.get(department).filter(|_| department != self.department)
    }

    /// The columns that a recipient may see: the key's and those of its sections.
    pub(crate) fn visible_to(&self, department: &str) -> BTreeSet<&str> {
        let opened = self.opened_by(department).into_iter().flatten();
        let columns = opened.filter_map(|section| self.sections.get(section)).flatten();
        columns.chain(&self.key).map(String::as_str).collect()
    }
}

/// A contract that says nothing of it has one.
fn partitions(contract: &Table) -> u32 {
    let named = contract.get("partitions").and_then(Value::as_integer);
    named.and_then(|number| u32::try_from(number).ok()).unwrap_or(1)
}

fn tables<'a>(table: &'a Table, name: &str) -> impl Iterator<Item = &'a Table> {
    table.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn word(table: &Table, name: &str) -> anyhow::Result<String> {
    table.get(name).and_then(Value::as_str).map(ToOwned::to_owned).with_context(|| format!("no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
    }

    #[test]
    fn the_nine_contracts_are_read() {
        for department in crate::stage::DEPARTMENTS {
            let contracts = Contract::read_all(&schemas().join(department)).unwrap();
            assert_eq!(contracts.len(), 3, "{department}");
            assert!(
                contracts
                    .iter()
                    .all(|contract| contract.department == *department && !contract.key.is_empty())
            );
        }
    }

    #[test]
    fn two_recipients_of_one_dataset_see_different_columns() {
        let contracts = Contract::read_all(&schemas().join("education")).unwrap();
        let students = contracts.iter().find(|contract| contract.dataset == "students").unwrap();
        let (tax, social) = (students.visible_to("tax"), students.visible_to("social-security"));
        assert!(tax.contains("full_name") && !social.contains("full_name"));
        assert!(tax.contains("student_no") && social.contains("student_no"), "the key is seen by all");
        assert!(!tax.contains("health_note"), "what is not shared is seen by nobody");
        assert!(students.opened_by("education").is_none() && students.opened_by("nobody").is_none());
    }
}
