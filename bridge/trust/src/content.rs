//! The lines of a trust file as they are written: TOML, unknown keys refused, nothing judged yet.
//!
//! ```text
//! govbridge_trust = 1          format of the file
//! domain, version, previous, threshold
//! [policy]                     quorum, liars
//! [[root]]                     key
//! [[department]]               name, title
//! [[department.signing]]       key, origin, from_index, until_index
//! [[department.recipient]]     key
//! [[department.operator]]      key
//! [[log]]                      origin, department, vkey, url
//! [[witness]]                  name, department, vkey, url, checking
//! ```

use crate::Problem;
use serde::{Deserialize, Serialize};

/// The format that this crate reads and writes.
pub(crate) const FORMAT: i64 = 1;

/// Longest signed text, in bytes: a C2SP note holds at most 64 KiB, and 1 KiB of them is left for signatures,
/// about eight lines of 130 bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 63 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    pub(crate) govbridge_trust: i64,
    pub(crate) domain: String,
    pub(crate) version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    pub(crate) threshold: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<PolicyLines>,
    #[serde(default, rename = "root")]
    pub(crate) roots: Vec<KeyLine>,
    #[serde(default, rename = "department", skip_serializing_if = "Vec::is_empty")]
    pub(crate) departments: Vec<DepartmentLines>,
    #[serde(default, rename = "log", skip_serializing_if = "Vec::is_empty")]
    pub(crate) logs: Vec<LogLines>,
    #[serde(default, rename = "witness", skip_serializing_if = "Vec::is_empty")]
    pub(crate) witnesses: Vec<WitnessLines>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyLines {
    pub(crate) quorum: u32,
    pub(crate) liars: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyLine {
    pub(crate) key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DepartmentLines {
    pub(crate) name: String,
    pub(crate) title: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) signing: Vec<SigningLines>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recipient: Vec<KeyLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) operator: Vec<KeyLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningLines {
    pub(crate) key: String,
    pub(crate) origin: String,
    pub(crate) from_index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_index: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLines {
    pub(crate) origin: String,
    pub(crate) department: String,
    pub(crate) vkey: String,
    pub(crate) url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessLines {
    pub(crate) name: String,
    pub(crate) department: String,
    pub(crate) vkey: String,
    pub(crate) url: String,
    pub(crate) checking: bool,
}

impl Content {
    /// Reads the signed text. The format number is looked at first, so that a newer file is called newer and not
    /// full of unknown keys.
    pub(crate) fn parse(text: &str) -> Result<Content, Problem> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Problem::Toml(format!(
                "the text has {} bytes; the most is {TEXT_BYTES_MAX}",
                text.len()
            )));
        }
        let table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| Problem::Toml(one_line(&e.to_string())))?;
        match table.get("govbridge_trust") {
            Some(toml::Value::Integer(FORMAT)) => {}
            Some(toml::Value::Integer(other)) => return Err(Problem::Format(*other)),
            _ => return Err(Problem::Toml("the first line `govbridge_trust = 1` is missing".to_owned())),
        }
        toml::from_str(text).map_err(|e| Problem::Toml(one_line(&e.to_string())))
    }

    /// Writes the text in one order and one layout; the same content gives the same bytes.
    pub(crate) fn render(&self) -> Result<String, Problem> {
        let text = toml::to_string(self).map_err(|e| Problem::Toml(one_line(&e.to_string())))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(Problem::Toml(format!(
                "the text has {} bytes; the most is {TEXT_BYTES_MAX}",
                text.len()
            )));
        }
        Ok(text)
    }
}

/// A parser's message of several lines, with a drawing of the place, as one line without the drawing.
fn one_line(message: &str) -> String {
    let words: Vec<&str> =
        message.lines().map(str::trim).filter(|l| !l.is_empty() && !l.contains('|')).collect();
    words.join("; ")
}
