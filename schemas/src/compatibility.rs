//! Whether a new contract may follow an old one without a barrier.
//!
//! The house's rule is narrower than Avro's: columns may be added when they are nullable, and a column that is no key may
//! get a wider type or become nullable, because a value that the old type cannot hold stands in the source's own log
//! already. Everything else that a reader of the old contract relies on stays. Grants, titles, classes, the source's
//! names of types, disclosure of grants' purposes and key renewal may change with any revision.

use crate::column::{Column, ColumnType};
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

/// A column that takes more values under a new contract: those of a wider type, or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    /// Its section.
    pub section: SectionName,
    /// Its name.
    pub column: String,
    /// Its type before and now.
    pub types: (ColumnType, ColumnType),
    /// Whether it may be null now, and could not before.
    pub nullable: bool,
}

/// How a new contract stands to an old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// The rows have the same schemas.
    Same,
    /// Readers of the old rows find every column that they know.
    Changes {
        /// Nullable columns that were added.
        additions: Vec<Addition>,
        /// Columns that take more values.
        widenings: Vec<Widening>,
    },
    /// A reader of the old contract could not follow: a new dataset is needed.
    Refused(Problems),
}

/// Whether `new` may follow `old`.
pub fn compatible(old: &Contract, new: &Contract) -> Compatibility {
    let mut problems = Vec::new();
    let (mut additions, mut widenings) = (Vec::new(), Vec::new());
    check_identity(old, new, &mut problems);
    for section in old.sections() {
        match new.section(section.name()) {
            Some(next) => {
                check_section(section, next, &mut problems, &mut additions);
                widenings.extend(widened(section, next));
            }
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
    } else if additions.is_empty() && widenings.is_empty() {
        Compatibility::Same
    } else {
        Compatibility::Changes { additions, widenings }
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
    let schemas =
        |contract: &Contract| contract.sections().iter().map(Section::schema_digest).collect::<Vec<_>>();
    // The contract's digest does not cover the schemas' files, and readers know a contract by it.
    let changed = old.digest() != new.digest() || schemas(old) != schemas(new);
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
            Some(next) if column.nullable && !next.nullable => {
                let what =
                    format!("the column {} may be null in old rows, and no longer", shown(&column.name));
                refuse("fields", what, "leave it nullable");
            }
            Some(next) if next.kind != column.kind && !holds_all(next.kind, column.kind) => {
                let what = format!(
                    "the column {} was {}, and {} does not hold all its values",
                    shown(&column.name),
                    column.kind,
                    next.kind
                );
                refuse("fields", what, "leave its type or give it a wider one, or add a new nullable column");
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

/// Whether a wider type has every value of a narrower one, in a form that is not another value's.
fn holds_all(wider: ColumnType, narrower: ColumnType) -> bool {
    use ColumnType as T;
    matches!(
        (narrower, wider),
        (T::Int, T::Long)
            | (T::Float, T::Double)
            | (T::Boolean, T::Int | T::Long)
            | (
                T::Date | T::Time | T::Instant | T::Timestamp | T::UuidFixed | T::UuidText | T::Decimal,
                T::String
            )
    )
}

/// The columns of a section that take more values than before.
fn widened(old: &Section, new: &Section) -> Vec<Widening> {
    let widening = |column: &Column| {
        let next = new.columns().iter().find(|next| next.name == column.name)?;
        let nullable = next.nullable && !column.nullable;
        (nullable || next.kind != column.kind).then(|| Widening {
            section: new.name().clone(),
            column: column.name.clone(),
            types: (column.kind, next.kind),
            nullable,
        })
    };
    old.columns().iter().filter_map(widening).collect()
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

/// Whether the Avro library can read rows of the old schema with the new one. A widened column counts as if it had always
/// been so: batches are read by their own contracts, and Avro knows fewer wider types.
fn avro_can_read(old: &Section, new: &Section) -> Result<(), String> {
    let parse = |section: &Section| -> Result<serde_json::Value, String> {
        serde_json::from_slice(section.schema_bytes()).map_err(|error| error.to_string())
    };
    let (mut before, after) = (parse(old)?, parse(new)?);
    let fields = |schema: &serde_json::Value| schema.get("fields").and_then(|f| f.as_array()).cloned();
    for Widening { column, .. } in widened(old, new) {
        let is =
            |field: &serde_json::Value| field.get("name").and_then(|name| name.as_str()) == Some(&column);
        let next = fields(&after).and_then(|fields| fields.into_iter().find(is));
        let list = before.get_mut("fields").and_then(|fields| fields.as_array_mut());
        if let (Some(next), Some(field)) =
            (next, list.and_then(|list| list.iter_mut().find(|field| is(field))))
        {
            *field = next;
        }
    }
    let schema = |value: &serde_json::Value| Schema::parse(value).map_err(|error| error.to_string());
    match SchemaCompatibility::can_read(&schema(&before)?, &schema(&after)?) {
        Ok(AvroCompatibility::Full | AvroCompatibility::Partial) => Ok(()),
        Err(error) => Err(format!("Avro cannot read old rows with the new schema: {error}")),
    }
}
