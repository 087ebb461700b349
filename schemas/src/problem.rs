//! Problems of a contract: all of them at once, each with its place and its remedy.

use serde::Serialize;
use std::fmt;

/// One thing that is wrong in a contract's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The error code, with a page in `docs/errors/`.
    pub code: &'static str,
    /// The file's name inside the contract's folder.
    pub file: String,
    /// The line, from 1; 1 also where the file as a whole is meant.
    pub line: usize,
    /// The field's path, elements of lists counted from 1: `section[2].schema`, `fields[3].type`.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem of a file as a whole.
    pub(crate) fn of_file(
        code: Code,
        file: &str,
        field: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem {
            code: code.as_str(),
            file: file.to_owned(),
            line: 1,
            field: field.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.code, self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

/// Everything that is wrong in a contract's files, in the order of the files and lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn new(mut problems: Vec<Problem>) -> Problems {
        problems.sort_by(|a, b| {
            let rank = |p: &Problem| (p.file != CONTRACT_FILE, p.file.clone(), p.line);
            rank(a).cmp(&rank(b))
        });
        problems.dedup();
        Problems(problems)
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// The problems, in the order of the files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// One problem on each line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The name of the contract's own file in its folder.
pub const CONTRACT_FILE: &str = "contract.toml";

/// What a problem is about; the number has a page in `docs/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Not UTF-8 or not TOML.
    Syntax,
    /// A key that the format does not have.
    UnknownKey,
    /// A key that must stand there.
    Missing,
    /// A value of another TOML type.
    WrongType,
    /// A value outside what is allowed.
    Value,
    /// The same name twice.
    Duplicate,
    /// A name that names nothing.
    Dangling,
    /// A schema file that is missing, or that no section names.
    SchemaFile,
    /// Not an Avro schema.
    SchemaSyntax,
    /// An Avro schema outside the house's form.
    SchemaForm,
    /// Columns of contract and schema that do not fit.
    Columns,
    /// A key column that is no key column.
    Key,
    /// A grant that cannot be.
    Grant,
    /// Over a limit.
    Limit,
    /// A change of the contract that readers of the old one could not follow.
    Incompatible,
}

impl Code {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Code::Syntax => "CON001",
            Code::UnknownKey => "CON002",
            Code::Missing => "CON003",
            Code::WrongType => "CON004",
            Code::Value => "CON005",
            Code::Duplicate => "CON006",
            Code::Dangling => "CON007",
            Code::SchemaFile => "CON008",
            Code::SchemaSyntax => "CON009",
            Code::SchemaForm => "CON010",
            Code::Columns => "CON011",
            Code::Key => "CON012",
            Code::Grant => "CON013",
            Code::Limit => "CON014",
            Code::Incompatible => "CON015",
        }
    }
}

/// One file's text, and what was found wrong in it so far.
pub(crate) struct Page<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Page<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Page<'a> {
        Page { file, text, problems: Vec::new() }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Notes a problem at byte `at` of the text.
    pub(crate) fn report(
        &mut self,
        code: Code,
        at: usize,
        field: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let line = line_of(self.text, at);
        self.problems.push(Problem {
            code: code.as_str(),
            file: self.file.to_owned(),
            line,
            field: field.into(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// The line of byte `at`, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at.min(text.len())).unwrap_or_default();
    before.iter().filter(|&&b| b == b'\n').count() + 1
}

/// A name as it is shown in a message: quoted, control characters escaped, cut off after 80 characters.
pub(crate) fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(80).collect::<String>())
}
