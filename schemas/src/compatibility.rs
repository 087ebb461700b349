//! Whether a new contract may follow an old one without a barrier.
//!
//! The house's rule is narrower than Avro's: columns may be added when they are nullable, everything else that a reader
//! of the old contract relies on stays. Grants, titles, classes, disclosure of grants' purposes and key renewal may
//! change with any revision.

use crate::contract::{Contract, Section, schema_file};
use crate::problem::{CONTRACT_FILE, Code, Problem, Problems, shown};
use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility as AvroCompatibility, SchemaCompatibility};
use bridge_event::SectionName;

/// A column that a new contract adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Its section.
    pub section: SectionName,
    /// Its name.
    pub column: String,
}

/// How a new contract stands to an old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// The rows have the same schemas.
    Same,
    /// Nullable columns were added: a signed schema batch says so to readers.
    Additions(Vec<Addition>),
    /// A reader of the old contract could not follow: a new dataset is needed.
    Refused(Problems),
}

/// Whether `new` may follow `old`.
pub fn compatible(old: &Contract, new: &Contract) -> Compatibility {
    let mut problems = Vec::new();
    let mut additions = Vec::new();
    check_identity(old, new, &mut problems);
    for section in old.sections() {
        match new.section(section.name()) {
            Some(next) => check_section(section, next, &mut problems, &mut additions),
            None => problems.push(refusal(
                CONTRACT_FILE,
                "section",
                format!("the section {} is gone", section.name()),
                "keep it, and end its grants",
            )),
        }
    }
    let kept = new.sections().iter().zip(old.sections()).all(|(a, b)| a.name() == b.name());
    if new.sections().len() != old.sections().len() || !kept {
        let what = "the sections are not those of the old contract, in their order".to_owned();
        problems.push(refusal(CONTRACT_FILE, "section", what, "keep the sections, or start a new dataset"));
    }
    if !problems.is_empty() {
        Compatibility::Refused(Problems::new(problems))
    } else if additions.is_empty() {
        Compatibility::Same
    } else {
        Compatibility::Additions(additions)
    }
}

fn refusal(file: &str, field: &str, what: String, remedy: &str) -> Problem {
    Problem::of_file(Code::Incompatible, file, field, what, remedy)
}

fn check_identity(old: &Contract, new: &Contract, problems: &mut Vec<Problem>) {
    let key = |contract: &Contract| {
        let columns = contract.key_columns().iter().map(|c| format!("{} {}", c.name, c.kind));
        columns.collect::<Vec<_>>().join(", ")
    };
    let facts = |contract: &Contract| {
        [
            ("department", contract.department().to_string()),
            ("dataset", contract.dataset().to_string()),
            ("origin", contract.origin().to_string()),
            ("partitions", contract.partitions().to_string()),
            ("suite", contract.suite().name().to_owned()),
            ("source.table", contract.table().to_owned()),
            ("source.key", key(contract)),
        ]
    };
    for ((field, was), (_, is)) in facts(old).into_iter().zip(facts(new)).filter(|((_, a), (_, b))| a != b) {
        let what = format!("it was {}, and is {}", shown(&was), shown(&is));
        problems.push(refusal(CONTRACT_FILE, field, what, "leave it as it was, or start a new dataset"));
    }
    let changed = old.digest() != new.digest();
    if changed && new.revision() <= old.revision() {
        let what = format!("the revision is {} after {}", new.revision(), old.revision());
        let remedy = format!("write revision = {}", old.revision().saturating_add(1));
        problems.push(refusal(CONTRACT_FILE, "revision", what, &remedy));
    }
}

fn check_section(old: &Section, new: &Section, problems: &mut Vec<Problem>, additions: &mut Vec<Addition>) {
    let file = schema_file(new.name().as_str());
    let refused = problems.len();
    let mut refuse =
        |field: &str, what: String, remedy: &str| problems.push(refusal(&file, field, what, remedy));
    for column in old.columns() {
        match new.columns().iter().find(|next| next.name == column.name) {
            None => {
                let what = format!("the column {} is gone", shown(&column.name));
                refuse("fields", what, "keep it in its section, or start a new dataset");
            }
            Some(next) if (next.kind, next.nullable) != (column.kind, column.nullable) => {
                let what =
                    format!("the column {} has another type, or another nullability", shown(&column.name));
                refuse("fields", what, "leave its type, and add a new nullable column");
            }
            Some(_) => {}
        }
    }
    for column in
        new.columns().iter().filter(|next| !old.columns().iter().any(|column| column.name == next.name))
    {
        if column.nullable {
            additions.push(Addition { section: new.name().clone(), column: column.name.clone() });
        } else {
            let what = format!("the new column {} is not nullable", shown(&column.name));
            refuse("fields", what, "write its type as [\"null\", ..] with \"default\": null");
        }
    }
    let kept: Vec<&str> = named(new).filter(|name| named(old).any(|was| was == *name)).collect();
    if kept.len() == old.columns().len() && !named(old).eq(kept) {
        refuse("fields", "the old columns are not in their old order".to_owned(), "keep their order");
    }
    if problems.len() > refused {
        return;
    }
    if grouping(new, old) != grouping(old, old) {
        let what = format!("the disclosure groups of section {} changed", new.name());
        problems.push(refusal(CONTRACT_FILE, "section.group", what, "leave them, or start a new dataset"));
    }
    if let Err(what) = avro_can_read(old, new) {
        problems.push(refusal(&file, "fields", what, "write \"default\": null at each added column"));
    }
}

fn named(section: &Section) -> impl Iterator<Item = &str> {
    section.columns().iter().map(|column| column.name.as_str())
}

/// Each group with those of its columns that `old` has too.
fn grouping<'a>(section: &'a Section, old: &Section) -> Vec<(&'a str, Vec<&'a str>)> {
    let columns = |indices: &[usize]| {
        let named =
            indices.iter().filter_map(|&i| section.columns().get(i)).map(|column| column.name.as_str());
        named.filter(|name| old.columns().iter().any(|column| column.name == *name)).collect()
    };
    section.groups().iter().map(|group| (group.name.as_str(), columns(&group.columns))).collect()
}

/// Whether the Avro library can read rows of the old schema with the new one.
fn avro_can_read(old: &Section, new: &Section) -> Result<(), String> {
    let schema = |section: &Section| {
        let text = std::str::from_utf8(section.schema_bytes()).map_err(|error| error.to_string())?;
        Schema::parse_str(text).map_err(|error| error.to_string())
    };
    match SchemaCompatibility::can_read(&schema(old)?, &schema(new)?) {
        Ok(AvroCompatibility::Full | AvroCompatibility::Partial) => Ok(()),
        Err(error) => Err(format!("Avro cannot read old rows with the new schema: {error}")),
    }
}
