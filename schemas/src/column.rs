//! Columns: their types, their classes.

use serde::Serialize;
use std::fmt;

/// The Avro types that a contract's column may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `boolean`.
    Boolean,
    /// `int`: a whole number of 32 bits.
    Int,
    /// `long`: a whole number of 64 bits.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `string`, UTF-8.
    String,
    /// `bytes`.
    Bytes,
    /// `int` with the logical type `date`: days since 1970-01-01.
    Date,
    /// `long` with the logical type `time-micros`: microseconds since midnight, to 24:00:00.
    Time,
    /// `long` with the logical type `timestamp-micros`: microseconds since 1970-01-01T00:00:00Z.
    Instant,
    /// `long` with the logical type `local-timestamp-micros`: microseconds since 1970-01-01T00:00:00 of no zone.
    Timestamp,
    /// `fixed` of 16 bytes with the logical type `uuid`.
    UuidFixed,
    /// `string` with the logical type `uuid`: 36 characters, lower case.
    UuidText,
    /// `string` with the logical type `govbridge.decimal`: an exact decimal number.
    Decimal,
}

impl ColumnType {
    /// All types.
    pub const ALL: [ColumnType; 14] = [
        ColumnType::Boolean,
        ColumnType::Int,
        ColumnType::Long,
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::String,
        ColumnType::Bytes,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Instant,
        ColumnType::Timestamp,
        ColumnType::UuidFixed,
        ColumnType::UuidText,
        ColumnType::Decimal,
    ];

    /// The type's word: Avro's name, or the logical type's.
    pub fn as_str(self) -> &'static str {
        match self {
            ColumnType::Boolean => "boolean",
            ColumnType::Int => "int",
            ColumnType::Long => "long",
            ColumnType::Float => "float",
            ColumnType::Double => "double",
            ColumnType::String => "string",
            ColumnType::Bytes => "bytes",
            ColumnType::Date => "date",
            ColumnType::Time => "time-micros",
            ColumnType::Instant => "timestamp-micros",
            ColumnType::Timestamp => "local-timestamp-micros",
            ColumnType::UuidFixed => "uuid (fixed)",
            ColumnType::UuidText => "uuid (string)",
            ColumnType::Decimal => "govbridge.decimal",
        }
    }

    /// Whether values of the type can stand in a key: they have one form each, and compare exactly.
    pub fn can_be_key(self) -> bool {
        !matches!(self, ColumnType::Float | ColumnType::Double)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class of a column's data, after GB/T 43697.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// General data.
    General,
    /// Important data.
    Important,
    /// Core data.
    Core,
}

impl Class {
    /// The class's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::General => "general",
            Class::Important => "important",
            Class::Core => "core",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Class> {
        [Class::General, Class::Important, Class::Core].into_iter().find(|class| class.as_str() == word)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A shared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, in the source table and in the schema.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The class of its data.
    pub class: Class,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it may be NULL; a key column never is.
    pub nullable: bool,
    /// What the source calls the column's type, where the contract says it: what text a text is.
    pub source_type: Option<String>,
}

/// Longest column name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Whether a name can be Avro's and a column's: `[A-Za-z_][A-Za-z0-9_]*`, at most 64 bytes.
pub(crate) fn is_column_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(crate) const COLUMN_NAME_RULE: &str = "use 1 to 64 of A-Z, a-z, 0-9 and '_', not beginning with a digit";
