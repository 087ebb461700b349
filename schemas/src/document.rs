//! TOML tables, read field by field, with the place of everything that is wrong.

use crate::moment;
use crate::problem::{Code, Page, shown};
use bridge_event::UnixMicros;
use std::collections::BTreeSet;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longest title, purpose or legal basis, in characters.
const TITLE_CHARACTERS_MAX: usize = 500;

/// A value with its place in the text, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: usize,
}

/// One table of a document: fields are taken by name, and what nobody took is unknown.
pub(crate) struct Fields<'t> {
    /// The path up to this table, with its last dot: `section[2].`.
    path: String,
    table: &'t DeTable<'t>,
    at: usize,
    taken: BTreeSet<&'static str>,
}

impl<'t> Fields<'t> {
    pub(crate) fn new(path: impl Into<String>, table: &'t DeTable<'t>, at: usize) -> Fields<'t> {
        Fields { path: path.into(), table, at, taken: BTreeSet::new() }
    }

    /// Where the table begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The path of one of the table's fields.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn value(&mut self, name: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.taken.insert(name);
        self.table.get(name)
    }

    fn required(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
        example: &str,
    ) -> Option<&'t Spanned<DeValue<'t>>> {
        let value = self.value(name);
        if value.is_none() {
            let field = self.path(name);
            page.report(
                Code::Missing,
                self.at,
                field,
                format!("{name} is missing"),
                format!("write {name} = {example}"),
            );
        }
        value
    }

    fn wrong_type(&self, page: &mut Page<'_>, name: &str, value: &Spanned<DeValue<'_>>, needed: &str) {
        let seen = value.get_ref().type_str();
        page.report(
            Code::WrongType,
            value.span().start,
            self.path(name),
            format!("{name} is of the type {seen}"),
            format!("write {needed}"),
        );
    }

    pub(crate) fn optional_text(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
    ) -> Option<Placed<&'t str>> {
        let value = self.value(name)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Placed { value: text, at: value.span().start }),
            _ => {
                self.wrong_type(page, name, value, "a string in quotes");
                None
            }
        }
    }

    pub(crate) fn text(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
        example: &str,
    ) -> Option<Placed<&'t str>> {
        self.required(page, name, example)?;
        self.optional_text(page, name)
    }

    /// A text for people: not empty, without control characters, of a bounded length.
    pub(crate) fn title(&mut self, page: &mut Page<'_>, name: &'static str) -> Option<String> {
        let text = self.text(page, name, "\"...\", in words that people understand")?;
        let characters = text.value.chars().count();
        let fault = if text.value.trim().is_empty() {
            "is empty"
        } else if text.value.chars().any(char::is_control) {
            "holds control characters"
        } else if characters > TITLE_CHARACTERS_MAX {
            "is too long"
        } else {
            return Some(text.value.to_owned());
        };
        page.report(
            Code::Value,
            text.at,
            self.path(name),
            format!("{name} {fault}"),
            format!("write 1 to {TITLE_CHARACTERS_MAX} characters on one line"),
        );
        None
    }

    /// A text that follows the rule of its type.
    pub(crate) fn parsed<T>(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
        example: &str,
    ) -> Option<Placed<T>>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text(page, name, example)?;
        match text.value.parse() {
            Ok(value) => Some(Placed { value, at: text.at }),
            Err(error) => {
                let error: T::Err = error;
                let remedy = format!("write {name} = {example}, or another valid one");
                page.report(Code::Value, text.at, self.path(name), error.to_string(), remedy);
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
        example: &str,
        allowed: std::ops::RangeInclusive<u64>,
    ) -> Option<Placed<u64>> {
        let value = self.required(page, name, example)?;
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(page, name, value, "a whole number without quotes");
            return None;
        };
        let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok();
        match number.filter(|number| allowed.contains(number)) {
            Some(number) => Some(Placed { value: number, at: value.span().start }),
            None => {
                let remedy = if allowed.start() == allowed.end() {
                    format!("write {}", allowed.start())
                } else {
                    format!("write a number from {} to {}", allowed.start(), allowed.end())
                };
                let what = format!("{name} = {digits} is not allowed");
                page.report(Code::Value, value.span().start, self.path(name), what, remedy);
                None
            }
        }
    }

    pub(crate) fn optional_truth(&mut self, page: &mut Page<'_>, name: &'static str) -> Option<Placed<bool>> {
        let value = self.value(name)?;
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(Placed { value: *truth, at: value.span().start }),
            _ => {
                self.wrong_type(page, name, value, "true or false without quotes");
                None
            }
        }
    }

    /// An instant: a TOML date-time with an offset, or the same as a string.
    pub(crate) fn optional_instant(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
    ) -> Option<Placed<UnixMicros>> {
        let value = self.value(name)?;
        let text = match value.get_ref() {
            DeValue::Datetime(moment) => moment.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => {
                self.wrong_type(page, name, value, "a date-time like 2026-01-01T00:00:00+08:00");
                return None;
            }
        };
        if let Some(micros) = moment::instant(&text) {
            return Some(Placed { value: UnixMicros(micros), at: value.span().start });
        }
        page.report(
            Code::Value,
            value.span().start,
            self.path(name),
            format!("{name} = {} is not an RFC 3339 time with seconds and an offset", shown(&text)),
            "write it like 2026-01-01T00:00:00+08:00, with at most six digits after the seconds",
        );
        None
    }

    pub(crate) fn instant(&mut self, page: &mut Page<'_>, name: &'static str) -> Option<Placed<UnixMicros>> {
        self.required(page, name, "2026-01-01T00:00:00+08:00")?;
        self.optional_instant(page, name)
    }

    /// A list of strings.
    pub(crate) fn texts(
        &mut self,
        page: &mut Page<'_>,
        name: &'static str,
        example: &str,
    ) -> Option<Vec<Placed<&'t str>>> {
        let value = self.required(page, name, example)?;
        let DeValue::Array(elements) = value.get_ref() else {
            self.wrong_type(page, name, value, &format!("a list like {example}"));
            return None;
        };
        let mut texts = Vec::new();
        for (element, i) in elements.iter().zip(1..) {
            match element.get_ref() {
                DeValue::String(text) => {
                    texts.push(Placed { value: text.as_ref(), at: element.span().start })
                }
                _ => self.wrong_type(page, &format!("{name}[{i}]"), element, "a string in quotes"),
            }
        }
        Some(texts)
    }

    /// A table that must be there.
    pub(crate) fn table(&mut self, page: &mut Page<'_>, name: &'static str) -> Option<Fields<'t>> {
        let Some(value) = self.value(name) else {
            let field = self.path(name);
            page.report(
                Code::Missing,
                self.at,
                field,
                format!("the table [{name}] is missing"),
                format!("add [{name}]"),
            );
            return None;
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                Some(Fields::new(format!("{}{name}.", self.path), table, value.span().start))
            }
            _ => {
                self.wrong_type(page, name, value, &format!("a table headed [{name}]"));
                None
            }
        }
    }

    /// A list of tables, empty when there is none.
    pub(crate) fn tables(&mut self, page: &mut Page<'_>, name: &'static str) -> Vec<Fields<'t>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let heading = format!("a table headed [[{}]]", self.plain_path(name));
        let DeValue::Array(elements) = value.get_ref() else {
            self.wrong_type(page, name, value, &heading);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (element, i) in elements.iter().zip(1..) {
            match element.get_ref() {
                DeValue::Table(table) => {
                    tables.push(Fields::new(
                        format!("{}{name}[{i}].", self.path),
                        table,
                        element.span().start,
                    ));
                }
                _ => self.wrong_type(page, &format!("{name}[{i}]"), element, &heading),
            }
        }
        tables
    }

    /// The path without numbers, as it stands in a heading.
    fn plain_path(&self, name: &str) -> String {
        let mut plain = String::new();
        let mut inside = false;
        for character in self.path(name).chars() {
            match character {
                '[' => inside = true,
                ']' => inside = false,
                _ if inside => {}
                _ => plain.push(character),
            }
        }
        plain
    }

    /// Reports every key that was not taken.
    pub(crate) fn finish(self, page: &mut Page<'_>) {
        for key in self.table.keys().filter(|key| !self.taken.contains(key.get_ref().as_ref())) {
            let name = key.get_ref();
            page.report(
                Code::UnknownKey,
                key.span().start,
                self.path(&name.chars().take(80).collect::<String>()),
                format!("the format has no key {} here", shown(name)),
                "correct its spelling, or remove it",
            );
        }
    }
}
