//! A section's schema file: an Avro record in the house's form.
//!
//! ```text
//! {"type": "record", "name": N, ["namespace": S,] ["doc": D,] "fields": [FIELD, ..]}
//! FIELD = {"name": C, "type": TYPE or ["null", TYPE], ["doc": D,] ["default": null]}
//! TYPE  = one of the fourteen forms of `column_type`
//! ```
//!
//! Two readers look at each file: this one, which is strict and knows the lines, and the Avro library, which must find
//! the same record with the same types.

use crate::column::{COLUMN_NAME_RULE, ColumnType, is_column_name};
use crate::problem::{Code, Page, shown};
use apache_avro::Schema;
use apache_avro::schema::UuidSchema;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// A field of a schema file.
#[derive(Clone, Debug)]
pub(crate) struct SchemaField {
    pub(crate) name: String,
    pub(crate) kind: ColumnType,
    pub(crate) nullable: bool,
    /// Where it stands, in bytes.
    pub(crate) at: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordJson<'a> {
    r#type: String,
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "namespace", default)]
    _namespace: Option<String>,
    #[serde(rename = "doc", default)]
    _doc: Option<String>,
    #[serde(borrow)]
    fields: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldJson<'a> {
    name: String,
    #[serde(borrow)]
    r#type: &'a RawValue,
    #[serde(rename = "doc", default)]
    _doc: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    default: Option<&'a RawValue>,
}

/// `null` is a default too: only a missing key is `None`.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeJson {
    r#type: String,
    name: Option<String>,
    size: Option<u64>,
    #[serde(rename = "logicalType")]
    logical: Option<String>,
}

const TYPES: &str = "use boolean, int, long, float, double, string, bytes, a logical type date, time-micros, \
                     timestamp-micros, local-timestamp-micros, uuid or govbridge.decimal as docs/spec/contract.md \
                     writes it, or [\"null\", one of these]";

/// The fields of a schema file; what is wrong in it goes to the page.
pub(crate) fn read(page: &mut Page<'_>) -> Option<Vec<SchemaField>> {
    let text = page.text();
    let record: RecordJson<'_> = match serde_json::from_str(text) {
        Ok(record) => record,
        Err(error) => {
            let code = if error.is_data() { Code::SchemaForm } else { Code::SchemaSyntax };
            let remedy = "write one Avro record: {\"type\": \"record\", \"name\": .., \"fields\": [..]}";
            page.report(code, place_of(text, 0, &error), "", plain(&error), remedy);
            return None;
        }
    };
    if record.r#type != "record" {
        let what = format!("the schema is a {}", shown(&record.r#type));
        page.report(Code::SchemaForm, 0, "type", what, "write \"type\": \"record\"");
    }
    let mut fields: Vec<SchemaField> = Vec::new();
    let mut uuids = BTreeSet::new();
    for (raw, i) in record.fields.iter().zip(1..) {
        let Some(field) = read_field(page, raw, i, &mut uuids) else { continue };
        if fields.iter().any(|earlier| earlier.name == field.name) {
            let what = format!("the field {} stands twice", shown(&field.name));
            page.report(
                Code::Duplicate,
                field.at,
                format!("fields[{i}].name"),
                what,
                "remove one of the two",
            );
        }
        fields.push(field);
    }
    if page.is_clean() {
        agree(page, &fields);
    }
    page.is_clean().then_some(fields)
}

fn read_field(
    page: &mut Page<'_>,
    raw: &RawValue,
    number: usize,
    uuids: &mut BTreeSet<String>,
) -> Option<SchemaField> {
    let at = offset_of(page.text(), raw);
    let path = format!("fields[{number}]");
    let field: FieldJson<'_> = match serde_json::from_str(raw.get()) {
        Ok(field) => field,
        Err(error) => {
            let remedy = "write {\"name\": .., \"type\": ..}, with \"doc\" and \"default\": null at most";
            page.report(Code::SchemaForm, place_of(raw.get(), at, &error), path, plain(&error), remedy);
            return None;
        }
    };
    if !is_column_name(&field.name) {
        let what = format!("{} is no column name", shown(&field.name));
        page.report(Code::SchemaForm, at, format!("{path}.name"), what, COLUMN_NAME_RULE);
        return None;
    }
    let type_at = offset_of(page.text(), field.r#type);
    let Some((kind, nullable)) = read_type(field.r#type, uuids) else {
        let what = format!("the type of {} is none that a column may have", shown(&field.name));
        page.report(Code::SchemaForm, type_at, format!("{path}.type"), what, TYPES);
        return None;
    };
    if let Some(default) = field.default.filter(|default| !nullable || default.get() != "null") {
        page.report(
            Code::SchemaForm,
            offset_of(page.text(), default),
            format!("{path}.default"),
            format!("the default of {} is not null, or its type is not nullable", shown(&field.name)),
            "remove it: only \"default\": null of a nullable column is allowed",
        );
    }
    Some(SchemaField { name: field.name, kind, nullable, at })
}

/// The column type of a field's type, and whether it is nullable.
fn read_type(raw: &RawValue, uuids: &mut BTreeSet<String>) -> Option<(ColumnType, bool)> {
    if !raw.get().starts_with('[') {
        return Some((column_type(raw, uuids)?, false));
    }
    let branches: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    let [null, branch] = branches.as_slice() else { return None };
    (null.get() == "\"null\"" && !branch.get().starts_with('['))
        .then(|| column_type(branch, uuids))
        .flatten()
        .map(|kind| (kind, true))
}

fn column_type(raw: &RawValue, uuids: &mut BTreeSet<String>) -> Option<ColumnType> {
    if raw.get().starts_with('"') {
        let name: String = serde_json::from_str(raw.get()).ok()?;
        return match name.as_str() {
            "boolean" => Some(ColumnType::Boolean),
            "int" => Some(ColumnType::Int),
            "long" => Some(ColumnType::Long),
            "float" => Some(ColumnType::Float),
            "double" => Some(ColumnType::Double),
            "string" => Some(ColumnType::String),
            "bytes" => Some(ColumnType::Bytes),
            // A fixed type is named where it first stands, and referred to after that.
            other => uuids.contains(other).then_some(ColumnType::UuidFixed),
        };
    }
    let object: TypeJson = serde_json::from_str(raw.get()).ok()?;
    match (object.r#type.as_str(), object.logical.as_deref()?, object.name, object.size) {
        ("int", "date", None, None) => Some(ColumnType::Date),
        ("long", "time-micros", None, None) => Some(ColumnType::Time),
        ("long", "timestamp-micros", None, None) => Some(ColumnType::Instant),
        ("long", "local-timestamp-micros", None, None) => Some(ColumnType::Timestamp),
        ("string", "uuid", None, None) => Some(ColumnType::UuidText),
        ("string", "govbridge.decimal", None, None) => Some(ColumnType::Decimal),
        ("fixed", "uuid", Some(name), Some(16)) => uuids.insert(name).then_some(ColumnType::UuidFixed),
        _ => None,
    }
}

/// Sees that the Avro library finds the same record in the file.
fn agree(page: &mut Page<'_>, fields: &[SchemaField]) {
    let schema = match Schema::parse_str(page.text()) {
        Ok(schema) => schema,
        Err(error) => {
            let what = format!("it is not an Avro schema: {error}");
            page.report(Code::SchemaSyntax, 0, "", what, "correct it as the Avro 1.12 specification says");
            return;
        }
    };
    let found: Option<Vec<(&str, ColumnType, bool)>> = match &schema {
        Schema::Record(record) => record
            .fields
            .iter()
            .map(|field| match &field.schema {
                Schema::Union(union) => match union.variants() {
                    [Schema::Null, branch] => Some((field.name.as_str(), avro_type(branch)?, true)),
                    _ => None,
                },
                plain => Some((field.name.as_str(), avro_type(plain)?, false)),
            })
            .collect(),
        _ => None,
    };
    let same = |(name, kind, nullable): &(&str, ColumnType, bool), field: &SchemaField| {
        let plain = if field.kind == ColumnType::Decimal { ColumnType::String } else { field.kind };
        *name == field.name && *kind == plain && *nullable == field.nullable
    };
    let agreed = found.is_some_and(|found| {
        found.len() == fields.len() && found.iter().zip(fields).all(|(a, b)| same(a, b))
    });
    if !agreed {
        let what = "an Avro library reads other fields in it than Govbridge does";
        page.report(Code::SchemaSyntax, 0, "fields", what, "write each type as docs/spec/contract.md does");
    }
}

/// What the Avro library makes of a column's type; it does not know `govbridge.decimal`.
fn avro_type(schema: &Schema) -> Option<ColumnType> {
    match schema {
        Schema::Boolean => Some(ColumnType::Boolean),
        Schema::Int => Some(ColumnType::Int),
        Schema::Long => Some(ColumnType::Long),
        Schema::Float => Some(ColumnType::Float),
        Schema::Double => Some(ColumnType::Double),
        Schema::String => Some(ColumnType::String),
        Schema::Bytes => Some(ColumnType::Bytes),
        Schema::Date => Some(ColumnType::Date),
        Schema::TimeMicros => Some(ColumnType::Time),
        Schema::TimestampMicros => Some(ColumnType::Instant),
        Schema::LocalTimestampMicros => Some(ColumnType::Timestamp),
        Schema::Uuid(UuidSchema::Fixed(fixed)) if fixed.size == 16 => Some(ColumnType::UuidFixed),
        Schema::Uuid(UuidSchema::String) => Some(ColumnType::UuidText),
        // The only named type that may stand there is a UUID; it was checked where it is defined.
        Schema::Ref { .. } => Some(ColumnType::UuidFixed),
        _ => None,
    }
}

/// Where a piece of the text stands in it, in bytes.
fn offset_of(text: &str, piece: &RawValue) -> usize {
    (piece.get().as_ptr().addr()).saturating_sub(text.as_ptr().addr()).min(text.len())
}

/// Where a JSON error stands, in bytes; the text begins at `base`.
fn place_of(text: &str, base: usize, error: &serde_json::Error) -> usize {
    let line: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    base + line
}

/// A JSON error's words, without its line, which the problem has.
fn plain(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let end = words.rfind(" at line ").unwrap_or(words.len());
    words.get(..end).unwrap_or(&words).to_owned()
}
