//! What a dataset's table looks like: its name, its columns and their types, and the statements that make and change it.

use std::fmt::Write;

use bridge_event::SectionName;
use bridge_pgwire::{literal, quoted};
use bridge_suite::sha256;
use schemas::{Column, ColumnType, Contract};
use serde::{Deserialize, Serialize};

use super::error::SinkError;
use crate::settings::Subscribed;

/// Longest name that PostgreSQL keeps whole, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Behind a table's name: where a snapshot gathers.
const STAGING: &str = "__snapshot";

/// The sink's own columns, behind the contract's: the batch of a row's last change, its place there, and its time.
pub(super) const OWN: [(&str, &str); 3] = [
    ("govbridge_sequence", "bigint"),
    ("govbridge_leaf", "integer"),
    ("govbridge_committed_at", "timestamp with time zone"),
];

/// A column's type in the sink, by the word that the server's catalog has for it.
pub(super) fn sql_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Boolean => "boolean",
        ColumnType::Int => "integer",
        ColumnType::Long => "bigint",
        ColumnType::Float => "real",
        ColumnType::Double => "double precision",
        ColumnType::String => "text",
        ColumnType::Bytes => "bytea",
        ColumnType::Date => "date",
        ColumnType::Time => "time without time zone",
        ColumnType::Instant => "timestamp with time zone",
        ColumnType::Timestamp => "timestamp without time zone",
        ColumnType::UuidFixed | ColumnType::UuidText => "uuid",
        ColumnType::Decimal => "numeric",
    }
}

/// Whether a column of type `wide` takes every value of type `narrow` (docs/spec/contract.md, section 4).
fn holds(wide: &str, narrow: &str) -> bool {
    wide == narrow
        || match wide {
            "bigint" => matches!(narrow, "integer" | "boolean"),
            "integer" => narrow == "boolean",
            "double precision" => narrow == "real",
            "text" => matches!(
                narrow,
                "date"
                    | "time without time zone"
                    | "timestamp with time zone"
                    | "timestamp without time zone"
                    | "uuid"
                    | "numeric"
            ),
            _ => false,
        }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// What this sink made of a table: it stands beside the table, so that what somebody changed by hand is told from what the
/// contract changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    pub(super) keys: Vec<Field>,
    /// The columns of the sections that the department may open, or once could.
    pub(super) columns: Vec<Field>,
}

/// How a table follows its contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Add(Field, Option<String>),
    Widen { column: String, from: String, to: String },
}

impl Layout {
    /// Every column, the sink's own too.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.keys.iter().chain(&self.columns);
        fields.map(|field| (field.name.as_str(), field.kind.as_str())).chain(OWN)
    }

    /// A table for these sections of a contract.
    pub(super) fn of(contract: &Contract, sections: &[&SectionName]) -> Result<Layout, SinkError> {
        let keys = contract.key_columns().iter().map(field).collect::<Result<_, _>>()?;
        let mut layout = Layout { keys, columns: Vec::new() };
        for name in sections {
            let section = contract.section(name);
            for column in section.map(schemas::Section::columns).unwrap_or_default() {
                layout.columns.push(field(column)?);
            }
        }
        Ok(layout)
    }

    /// Where the columns of an opened section stand behind the key; columns that are not there yet are added.
    pub(super) fn follow(
        &mut self,
        columns: &[Column],
        steps: &mut Vec<Step>,
    ) -> Result<Vec<usize>, SinkError> {
        let mut places = Vec::new();
        for column in columns {
            let wanted = sql_type(column.kind);
            match self.columns.iter().position(|known| known.name == column.name) {
                None => {
                    let added = field(column)?;
                    if self.keys.iter().any(|key| key.name == added.name) {
                        return Err(SinkError::layout(format!("{} is a key column already", added.name)));
                    }
                    steps.push(Step::Add(added.clone(), Some(words(column))));
                    places.push(self.columns.len());
                    self.columns.push(added);
                }
                Some(place) => {
                    places.push(place);
                    let Some(known) = self.columns.get_mut(place) else { continue };
                    if holds(&known.kind, wanted) {
                        continue;
                    }
                    if !holds(wanted, &known.kind) {
                        return Err(SinkError::layout(format!(
                            "column {} is {} in the table, and the contract says {wanted}, which does not hold its values",
                            known.name, known.kind
                        )));
                    }
                    let from = std::mem::replace(&mut known.kind, wanted.to_owned());
                    steps.push(Step::Widen { column: known.name.clone(), from, to: wanted.to_owned() });
                }
            }
        }
        Ok(places)
    }

    /// Whether the contract's key is the table's.
    pub(super) fn check_keys(&self, keys: &[Column]) -> Result<(), SinkError> {
        let same = keys.len() == self.keys.len()
            && keys
                .iter()
                .zip(&self.keys)
                .all(|(key, known)| key.name == known.name && sql_type(key.kind) == known.kind);
        if same {
            Ok(())
        } else {
            Err(SinkError::layout("the contract has another key than the table".into()))
        }
    }

    /// Key columns as SQL writes them, each with a prefix.
    pub(super) fn key_list(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.keys.iter().map(|key| format!("{prefix}{}", quoted(&key.name))).collect();
        names.join(", ")
    }
}

fn field(column: &Column) -> Result<Field, SinkError> {
    let name = &column.name;
    if name.len() > NAME_BYTES_MAX {
        return Err(SinkError::layout(format!("PostgreSQL would cut the column name {name}")));
    }
    let own = OWN.iter().any(|(own, _)| own == name);
    // Names of PostgreSQL's own columns, and of the column that a group's rows are told apart by.
    let taken = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "govbridge_act"];
    if own || taken.contains(&name.as_str()) {
        return Err(SinkError::layout(format!("the column name {name} is taken in every table of the sink")));
    }
    Ok(Field { name: name.clone(), kind: sql_type(column.kind).to_owned() })
}

fn words(column: &Column) -> String {
    match &column.source_type {
        Some(name) => format!("{} ({}; {name} at the source)", column.title, column.class),
        None => format!("{} ({})", column.title, column.class),
    }
}

/// The name of a dataset's table: `<department>__<dataset>`, `_` for `-`. One that PostgreSQL would cut ends in a digest.
pub(super) fn table_name(dataset: &Subscribed) -> String {
    let plain = format!("{}__{}", dataset.department, dataset.dataset).replace('-', "_");
    if plain.len() + STAGING.len() <= NAME_BYTES_MAX {
        return plain;
    }
    let digest = sha256(&[format!("{}/{}", dataset.department, dataset.dataset).as_bytes()]).to_string();
    let (head, tail) = (plain.get(..40).unwrap_or_default(), digest.get(..10).unwrap_or_default());
    format!("{head}_{tail}")
}

/// Where a table's snapshot gathers.
pub(super) fn staging_name(table: &str) -> String {
    format!("{table}{STAGING}")
}

/// Checks that no two datasets have one table.
pub(super) fn check_names(datasets: &[Subscribed]) -> Result<(), SinkError> {
    let mut taken: Vec<(String, &Subscribed)> = Vec::new();
    for dataset in datasets {
        let table = table_name(dataset);
        for name in [staging_name(&table), table] {
            if let Some((_, other)) = taken.iter().find(|(known, _)| *known == name) {
                return Err(SinkError::layout(format!(
                    "{}/{} and {}/{} would both have the table {name}; give one of them a sink in another schema",
                    other.department, other.dataset, dataset.department, dataset.dataset
                )));
            }
            taken.push((name, dataset));
        }
    }
    Ok(())
}

fn columns(layout: &Layout) -> String {
    let mut text = String::new();
    let keys = layout.keys.len();
    for (i, (name, kind)) in layout.all().enumerate() {
        let not_null = if i < keys { " NOT NULL" } else { "" };
        let comma = if i == 0 { "" } else { ",\n  " };
        // Writing into a String does not fail.
        let _ = write!(text, "{comma}{} {kind}{not_null}", quoted(name));
    }
    text
}

/// The statements that make a dataset's table, where it gathers a snapshot, and the note of what was made.
pub(super) fn tables(schema: &str, table: &str, stream: &str, layout: &Layout) -> Vec<String> {
    let at = |name: &str| format!("{}.{}", quoted(schema), quoted(name));
    let (own, staging, keys) = (at(table), at(&staging_name(table)), layout.key_list(""));
    let columns = columns(layout);
    vec![
        format!("CREATE TABLE IF NOT EXISTS {own} (\n  {columns},\n  PRIMARY KEY ({keys})\n)"),
        format!("CREATE TABLE IF NOT EXISTS {staging} (\n  {columns}\n)"),
        format!(
            "INSERT INTO {} (table_name, stream, layout) VALUES ({}, {}, {}) ON CONFLICT DO NOTHING",
            at(super::TABLES),
            literal(table),
            literal(stream),
            literal(&layout_text(layout)),
        ),
        format!(
            "COMMENT ON TABLE {staging} IS {}",
            literal(&format!("Where a snapshot of {table} gathers until it is whole"))
        ),
    ]
}

/// The same with the contract's words.
pub(super) fn create(
    schema: &str,
    table: &str,
    stream: &str,
    layout: &Layout,
    contract: &Contract,
) -> Vec<String> {
    let own = format!("{}.{}", quoted(schema), quoted(table));
    let mut statements = tables(schema, table, stream, layout);
    statements.extend(comments(&own, layout, contract));
    statements
}

fn comments(own: &str, layout: &Layout, contract: &Contract) -> Vec<String> {
    let mut statements = vec![format!("COMMENT ON TABLE {own} IS {}", literal(contract.title()))];
    let shared = contract.sections().iter().flat_map(schemas::Section::columns);
    for column in contract.key_columns().iter().chain(shared) {
        if layout.all().any(|(name, _)| name == column.name) {
            statements.push(format!(
                "COMMENT ON COLUMN {own}.{} IS {}",
                quoted(&column.name),
                literal(&words(column))
            ));
        }
    }
    let own_words = [
        "The sequence of the batch that changed the row last",
        "The row's number in that batch, from 0",
        "When that change was committed, by the source's clock",
    ];
    for ((name, _), words) in OWN.iter().zip(own_words) {
        statements.push(format!("COMMENT ON COLUMN {own}.{} IS {}", quoted(name), literal(words)));
    }
    statements
}

/// The statements of some steps, on the table and on where it gathers a snapshot.
pub(super) fn alter(schema: &str, table: &str, steps: &[Step]) -> Vec<String> {
    let mut statements = Vec::new();
    for (i, name) in [table.to_owned(), staging_name(table)].into_iter().enumerate() {
        let at = format!("{}.{}", quoted(schema), quoted(&name));
        for step in steps {
            match step {
                Step::Add(Field { name, kind }, words) => {
                    let column = quoted(name);
                    statements.push(format!("ALTER TABLE {at} ADD COLUMN {column} {kind}"));
                    if let Some(words) = words.as_ref().filter(|_| i == 0) {
                        statements.push(format!("COMMENT ON COLUMN {at}.{column} IS {}", literal(words)));
                    }
                }
                Step::Widen { column, from, to } => {
                    let column = quoted(column);
                    // A truth value becomes a number through 0 and 1.
                    let through = if from == "boolean" { "::integer" } else { "" };
                    statements.push(format!(
                        "ALTER TABLE {at} ALTER COLUMN {column} TYPE {to} USING {column}{through}::{to}"
                    ));
                }
            }
        }
    }
    statements
}

pub(super) fn layout_text(layout: &Layout) -> String {
    serde_json::to_string(layout).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Class;

    fn dataset(department: &str, dataset: &str) -> Subscribed {
        Subscribed { department: department.parse().unwrap(), dataset: dataset.parse().unwrap() }
    }

    fn column(name: &str, kind: ColumnType) -> Column {
        Column {
            name: name.into(),
            title: "T".into(),
            class: Class::Core,
            kind,
            nullable: true,
            source_type: None,
        }
    }

    fn layout(columns: &[(&str, &str)]) -> Layout {
        let fields = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(n, k)| Field { name: (*n).into(), kind: (*k).into() }).collect()
        };
        Layout { keys: fields(&[("id", "bigint")]), columns: fields(columns) }
    }

    #[test]
    fn two_departments_datasets_of_one_name_have_two_tables() {
        assert_eq!(table_name(&dataset("social-security", "payments")), "social_security__payments");
        assert!(check_names(&[dataset("tax", "payments"), dataset("health", "payments")]).is_ok());
        let error = check_names(&[dataset("a--b", "c"), dataset("a", "b--c")]).unwrap_err();
        assert_eq!(error.code(), "DEL038");
        assert!(check_names(&[dataset("a", "b"), dataset("a", "b--snapshot")]).is_err());
        let long = table_name(&dataset(&"d".repeat(60), &"e".repeat(60)));
        assert!(staging_name(&long).len() <= NAME_BYTES_MAX);
        assert_ne!(long, table_name(&dataset(&"d".repeat(60), &"f".repeat(60))));
    }

    #[test]
    fn a_new_column_is_added_and_a_wider_type_widens() {
        let mut now = layout(&[("a", "integer"), ("b", "boolean")]);
        let mut steps = Vec::new();
        let columns =
            [column("b", ColumnType::Long), column("a", ColumnType::Int), column("c", ColumnType::Decimal)];
        assert_eq!(now.follow(&columns, &mut steps).unwrap(), [1, 0, 2]);
        assert_eq!(
            alter("s", "t", &steps),
            [
                "ALTER TABLE \"s\".\"t\" ALTER COLUMN \"b\" TYPE bigint USING \"b\"::integer::bigint",
                "ALTER TABLE \"s\".\"t\" ADD COLUMN \"c\" numeric",
                "COMMENT ON COLUMN \"s\".\"t\".\"c\" IS E'T (core)'",
                "ALTER TABLE \"s\".\"t__snapshot\" ALTER COLUMN \"b\" TYPE bigint USING \"b\"::integer::bigint",
                "ALTER TABLE \"s\".\"t__snapshot\" ADD COLUMN \"c\" numeric",
            ]
        );
        steps.clear();
        // A batch of the contract before finds a place for its narrower values.
        assert_eq!(now.follow(&[column("b", ColumnType::Boolean)], &mut steps).unwrap(), [1]);
        assert!(steps.is_empty());
    }

    #[test]
    fn another_type_key_or_name_is_refused() {
        let mut now = layout(&[("a", "integer")]);
        let error = now.follow(&[column("a", ColumnType::Date)], &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), "DEL038");
        assert!(now.check_keys(&[column("id", ColumnType::Long)]).is_ok());
        assert!(now.check_keys(&[column("id", ColumnType::Int)]).is_err());
        for name in ["govbridge_leaf", "ctid", &"x".repeat(64)] {
            assert!(now.follow(&[column(name, ColumnType::Int)], &mut Vec::new()).is_err(), "{name}");
        }
    }
}
