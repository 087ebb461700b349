//! What every recipient will see, before anyone signs.

use crate::column::{Class, Column};
use crate::contract::{Contract, Grant, Section};
use crate::moment::show_instant;
use bridge_event::Department;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// What a contract shows to whom. Its text form is for people, its serialised form for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audience {
    /// The dataset, as `<department>/<dataset>`.
    pub dataset: String,
    /// What people call it.
    pub title: String,
    /// The key columns: every recipient of any section sees them.
    pub key: Vec<View>,
    /// Columns of the table that no one is shown.
    pub unshared: Vec<String>,
    /// What each recipient sees, by recipient, then in contract order.
    pub sections: Vec<SectionView>,
    /// Sections that no one is granted: the department alone can open them.
    pub ungranted: Vec<String>,
}

/// One grant: what its recipient sees of one section, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionView {
    /// Who sees.
    pub recipient: String,
    /// The section's name.
    pub section: String,
    /// What people call the section.
    pub title: String,
    /// The section's own columns.
    pub columns: Vec<View>,
    /// What for.
    pub purpose: String,
    /// By which law or agreement.
    pub legal_basis: String,
    /// From when on, inclusive: RFC 3339, UTC.
    pub start: String,
    /// Until when, exclusive; `None` is without an end.
    pub end: Option<String>,
}

/// One column that someone sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The class of its data.
    pub class: Class,
}

impl View {
    fn of(column: &Column) -> View {
        View { name: column.name.clone(), title: column.title.clone(), class: column.class }
    }
}

impl SectionView {
    fn of(grant: &Grant, section: &Section) -> SectionView {
        SectionView {
            recipient: grant.recipient.to_string(),
            section: section.name().to_string(),
            title: section.title().to_owned(),
            columns: section.columns().iter().map(View::of).collect(),
            purpose: grant.purpose.clone(),
            legal_basis: grant.legal_basis.clone(),
            start: show_instant(grant.start.0),
            end: grant.end.map(|end| show_instant(end.0)),
        }
    }
}

impl Contract {
    /// What each recipient sees, section by section, with classes, purposes, legal bases and periods.
    pub fn what_recipients_see(&self) -> Audience {
        let recipients: BTreeSet<&Department> = self.grants().iter().map(|grant| &grant.recipient).collect();
        let mut sections = Vec::new();
        for recipient in recipients {
            for section in self.sections() {
                let grants =
                    self.grants().iter().filter(|g| g.recipient == *recipient && g.section == section.name);
                sections.extend(grants.map(|grant| SectionView::of(grant, section)));
            }
        }
        let granted = |section: &&Section| self.grants().iter().any(|grant| grant.section == section.name);
        Audience {
            dataset: format!("{}/{}", self.department(), self.dataset()),
            title: self.title().to_owned(),
            key: self.key_columns().iter().map(View::of).collect(),
            unshared: self.unshared_columns().to_vec(),
            sections,
            ungranted: self.sections().iter().filter(|s| !granted(s)).map(|s| s.name().to_string()).collect(),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.title, self.class)
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.dataset, self.title)?;
        writeln!(f, "every recipient of any section sees the key of every row:")?;
        for column in &self.key {
            writeln!(f, "  {column}")?;
        }
        let mut recipient = "";
        for view in &self.sections {
            if view.recipient != recipient {
                writeln!(f, "{} sees, besides the key:", view.recipient)?;
                recipient = &view.recipient;
            }
            let end = view.end.as_ref().map_or("without an end".to_owned(), |end| format!("until {end}"));
            writeln!(f, "  {} {}, from {} {end}", view.section, view.title, view.start)?;
            writeln!(f, "    purpose: {}", view.purpose)?;
            writeln!(f, "    legal basis: {}", view.legal_basis)?;
            for column in &view.columns {
                writeln!(f, "    {column}")?;
            }
        }
        if !self.ungranted.is_empty() {
            writeln!(f, "opened by no other department: {}", self.ungranted.join(", "))?;
        }
        if !self.unshared.is_empty() {
            writeln!(f, "columns that leave the database for no one: {}", self.unshared.join(", "))?;
        }
        Ok(())
    }
}
