//! A contract out of its declaration and its schemas: every reference leads somewhere, every column has one place.

use crate::avro_schema::{self, SchemaField};
use crate::column::Column;
use crate::contract::{
    Contract, ContractFiles, GRANTS_MAX, GROUPS_MAX, Grant, Group, SECTIONS_MAX, Section, schema_file,
};
use crate::declaration::{ColumnDeclaration, Declaration, GrantDeclaration, SectionDeclaration};
use crate::problem::{CONTRACT_FILE, Code, Page, Problem, shown};
use bridge_suite::sha256;
use std::collections::BTreeSet;

/// Most columns of a key: it stands in every row of every section.
const KEY_COLUMNS_MAX: usize = 16;

/// Makes the contract; `None` when something is wrong, which stands in the page (or, of schemas, in `problems`).
pub(crate) fn assemble(
    page: &mut Page<'_>,
    problems: &mut Vec<Problem>,
    declaration: Declaration<'_>,
    files: &ContractFiles,
    bytes: &[u8],
) -> Option<Contract> {
    check_identity(page, &declaration);
    check_columns(page, &declaration);
    check_key(page, &declaration);
    check_sections(page, &declaration);
    check_grants(page, &declaration);
    check_files(page, problems, &declaration, files);
    let mut sections = Vec::new();
    for section in &declaration.sections {
        sections.push(read_section(problems, &declaration, section, files));
    }
    let sections: Vec<Section> = sections.into_iter().collect::<Option<_>>()?;
    let keys = same_keys(problems, &sections)?;
    let unshared = declaration.columns.iter().filter(|column| !column.shared);
    Some(Contract {
        department: declaration.department?.value,
        dataset: declaration.dataset?.value,
        revision: declaration.revision?.value,
        title: declaration.title?,
        origin: declaration.origin?.value,
        partitions: u32::try_from(declaration.partitions?.value).ok()?,
        suite: declaration.suite?,
        table: declaration.table?,
        keys,
        unshared: unshared
            .filter_map(|column| column.name.as_ref())
            .map(|name| name.value.to_owned())
            .collect(),
        sections,
        grants: declaration.grants.into_iter().map(grant).collect::<Option<_>>()?,
        renew_hours: u32::try_from(declaration.renew_hours?.value).ok()?,
        renew_rows: declaration.renew_rows?.value,
        bytes: bytes.to_vec(),
        digest: sha256(&[bytes]),
    })
}

fn grant(declaration: GrantDeclaration) -> Option<Grant> {
    Some(Grant {
        section: declaration.section?.value,
        recipient: declaration.recipient?.value,
        purpose: declaration.purpose?,
        legal_basis: declaration.legal_basis?,
        start: declaration.start?.value,
        end: declaration.end.map(|end| end.value),
    })
}

fn check_identity(page: &mut Page<'_>, declaration: &Declaration<'_>) {
    let (Some(origin), Some(department)) = (&declaration.origin, &declaration.department) else { return };
    if origin.value.as_str().split('/').nth(1) != Some(department.value.as_str()) {
        let what = format!("the log {} is not one of the department {}", origin.value, department.value);
        let remedy =
            format!("write the department as the second part: <domain>/{}/<connector>", department.value);
        page.report(Code::Value, origin.at, "origin", what, remedy);
    }
}

fn key_names<'d>(declaration: &'d Declaration<'_>) -> impl Iterator<Item = &'d str> {
    declaration.key.iter().flatten().map(|key| key.value)
}

/// Whether the key names declared columns, each once: only then a schema can be held against it.
fn key_is_sound(declaration: &Declaration<'_>) -> bool {
    let declared =
        |key: &str| declaration.columns.iter().any(|c| c.name.as_ref().is_some_and(|n| n.value == key));
    let each_once: BTreeSet<&str> = key_names(declaration).collect();
    !each_once.is_empty()
        && each_once.len() == key_names(declaration).count()
        && each_once.into_iter().all(declared)
}

fn names_section(column: &ColumnDeclaration<'_>, section: &SectionDeclaration<'_>) -> bool {
    let named = column.section.as_ref().map(|named| named.value);
    column.shared && named.is_some() && named == section.name.as_ref().map(|name| name.value.as_str())
}

fn check_columns(page: &mut Page<'_>, declaration: &Declaration<'_>) {
    if declaration.columns.is_empty() {
        let remedy = "add a [[column]] for each column of the table";
        page.report(Code::Missing, 0, "column", "no column is declared", remedy);
    }
    let mut seen = BTreeSet::new();
    for column in &declaration.columns {
        let Some(name) = &column.name else { continue };
        if !seen.insert(name.value) {
            let what = format!("the column {} is declared twice", shown(name.value));
            page.report(
                Code::Duplicate,
                name.at,
                format!("{}name", column.path),
                what,
                "remove one of the two",
            );
        }
        if key_names(declaration).any(|key| key == name.value) {
            continue;
        }
        let field = format!("{}section", column.path);
        match &column.section {
            None if column.shared && declaration.key.is_some() => {
                let what = format!("the column {} is in no section", shown(name.value));
                page.report(
                    Code::Missing,
                    column.at,
                    field,
                    what,
                    "write section = \"..\", or shared = false",
                );
            }
            Some(section) if !column.shared => {
                let what = format!("the column {} is not shared, yet it is in a section", shown(name.value));
                page.report(Code::Value, section.at, field, what, "remove section, or shared = false");
            }
            Some(section) if !declaration.sections.iter().any(|s| names_section(column, s)) => {
                let what = format!("there is no section {}", shown(section.value));
                page.report(Code::Dangling, section.at, field, what, "name one of the [[section]] tables");
            }
            _ => {}
        }
    }
}

fn check_key(page: &mut Page<'_>, declaration: &Declaration<'_>) {
    let Some(key) = &declaration.key else { return };
    if key.is_empty() || key.len() > KEY_COLUMNS_MAX {
        let what = format!("the key has {} columns", key.len());
        let remedy = format!("name the 1 to {KEY_COLUMNS_MAX} columns of the table's primary key");
        page.report(Code::Key, 0, "source.key", what, remedy);
    }
    let mut seen = BTreeSet::new();
    for (name, i) in key.iter().zip(1..) {
        let field = format!("source.key[{i}]");
        if !seen.insert(name.value) {
            let what = format!("{} stands twice in the key", shown(name.value));
            page.report(Code::Duplicate, name.at, &field, what, "remove one of the two");
        }
        let Some(column) =
            declaration.columns.iter().find(|c| c.name.as_ref().is_some_and(|n| n.value == name.value))
        else {
            let what = format!("there is no column {}", shown(name.value));
            page.report(Code::Dangling, name.at, field, what, "declare it as a [[column]]");
            continue;
        };
        if let Some(section) = &column.section {
            let what = format!("the key column {} names a section", shown(name.value));
            let remedy = "remove section: key columns stand in every section, and all recipients see them";
            page.report(Code::Key, section.at, format!("{}section", column.path), what, remedy);
        }
        if !column.shared {
            let what = format!("the key column {} is not shared", shown(name.value));
            let remedy = "remove shared = false: without its key no recipient can apply a row";
            page.report(Code::Key, column.at, format!("{}shared", column.path), what, remedy);
        }
    }
}

fn check_sections(page: &mut Page<'_>, declaration: &Declaration<'_>) {
    if declaration.sections.is_empty() {
        page.report(
            Code::Missing,
            0,
            "section",
            "no section is declared",
            "add a [[section]] for each audience",
        );
    }
    if let Some(section) = declaration.sections.get(SECTIONS_MAX) {
        let what = format!("the contract has {} sections", declaration.sections.len());
        page.report(Code::Limit, section.at, "section", what, format!("declare at most {SECTIONS_MAX}"));
    }
    let mut seen = BTreeSet::new();
    for section in &declaration.sections {
        let Some(name) = &section.name else { continue };
        if !seen.insert(&name.value) {
            let what = format!("the section {} is declared twice", name.value);
            page.report(
                Code::Duplicate,
                name.at,
                format!("{}name", section.path),
                what,
                "remove one of the two",
            );
        }
        if let Some(schema) = section.schema.as_ref().filter(|s| s.value != schema_file(name.value.as_str()))
        {
            let what = format!("the schema of section {} is called {}", name.value, shown(schema.value));
            let remedy = format!("call it \"{}\"", schema_file(name.value.as_str()));
            page.report(Code::Value, schema.at, format!("{}schema", section.path), what, remedy);
        }
        if !declaration.columns.iter().any(|column| names_section(column, section)) {
            let what = format!("the section {} has no column", name.value);
            let field = section.path.trim_end_matches('.');
            page.report(Code::Columns, section.at, field, what, "give it a column, or remove it");
        }
        check_groups(page, declaration, section);
    }
}

fn check_groups(page: &mut Page<'_>, declaration: &Declaration<'_>, section: &SectionDeclaration<'_>) {
    if let Some(group) = section.groups.get(GROUPS_MAX) {
        let what = format!("the section has {} disclosure groups", section.groups.len());
        let field = format!("{}group", section.path);
        page.report(Code::Limit, group.at, field, what, format!("declare at most {GROUPS_MAX}"));
    }
    let (mut names, mut columns) = (BTreeSet::new(), BTreeSet::new());
    for group in &section.groups {
        if let Some(name) = group.name.as_ref().filter(|name| !names.insert(name.value.as_str())) {
            let what = format!("the group {} is declared twice", name.value);
            page.report(
                Code::Duplicate,
                name.at,
                format!("{}name", group.path),
                what,
                "remove one of the two",
            );
        }
        if group.columns.is_empty() {
            let field = format!("{}columns", group.path);
            page.report(
                Code::Value,
                group.at,
                field,
                "the group has no column",
                "name columns, or remove it",
            );
        }
        for (column, i) in group.columns.iter().zip(1..) {
            let field = format!("{}columns[{i}]", group.path);
            let here = declaration.columns.iter().any(|c| {
                names_section(c, section) && c.name.as_ref().is_some_and(|name| name.value == column.value)
            });
            if key_names(declaration).any(|key| key == column.value) {
                let what = format!("the key column {} stands in a disclosure group", shown(column.value));
                page.report(
                    Code::Key,
                    column.at,
                    field,
                    what,
                    "remove it: the key is disclosed with every group",
                );
            } else if !here {
                let what = format!("the section has no column {}", shown(column.value));
                page.report(Code::Dangling, column.at, field, what, "name a column of this section");
            } else if !columns.insert(column.value) {
                let what = format!("the column {} stands twice in groups", shown(column.value));
                page.report(Code::Duplicate, column.at, field, what, "leave it in one group");
            }
        }
    }
}

fn check_grants(page: &mut Page<'_>, declaration: &Declaration<'_>) {
    if let Some(grant) = declaration.grants.get(GRANTS_MAX) {
        let what = format!("the contract has {} grants", declaration.grants.len());
        page.report(Code::Limit, grant.at, "grant", what, format!("declare at most {GRANTS_MAX}"));
    }
    for grant in &declaration.grants {
        let known =
            |name| declaration.sections.iter().any(|s| s.name.as_ref().is_some_and(|n| n.value == name));
        if let Some(section) = grant.section.as_ref().filter(|section| !known(section.value.clone())) {
            let what = format!("there is no section {}", section.value);
            let field = format!("{}section", grant.path);
            page.report(Code::Dangling, section.at, field, what, "name one of the [[section]] tables");
        }
        let own = declaration.department.as_ref().map(|department| &department.value);
        if let Some(recipient) = grant.recipient.as_ref().filter(|recipient| Some(&recipient.value) == own) {
            let what = format!("{} grants a section to itself", recipient.value);
            let field = format!("{}recipient", grant.path);
            page.report(
                Code::Grant,
                recipient.at,
                field,
                what,
                "remove the grant: it can always open its own sections",
            );
        }
        if let (Some(start), Some(end)) = (&grant.start, &grant.end)
            && end.value <= start.value
        {
            let what = "the grant ends before it starts";
            page.report(
                Code::Grant,
                end.at,
                format!("{}end", grant.path),
                what,
                "write an end after the start",
            );
        }
    }
}

/// Every named schema is there, and every schema that is there is named.
fn check_files(
    page: &mut Page<'_>,
    problems: &mut Vec<Problem>,
    declaration: &Declaration<'_>,
    files: &ContractFiles,
) {
    for section in &declaration.sections {
        if let Some(schema) = section.schema.as_ref().filter(|schema| files.bytes(schema.value).is_none()) {
            let what = format!("there is no file {}", shown(schema.value));
            let field = format!("{}schema", section.path);
            page.report(Code::SchemaFile, schema.at, field, what, "add it beside contract.toml");
        }
    }
    let named =
        |name: &str| declaration.sections.iter().any(|s| s.schema.as_ref().is_some_and(|n| n.value == name));
    for name in files.names().filter(|name| *name != CONTRACT_FILE && !named(name)) {
        let (what, remedy) = ("no section names this file", "name it in a [[section]], or remove it");
        problems.push(Problem::of_file(Code::SchemaFile, name, "", what, remedy));
    }
}

fn read_section(
    problems: &mut Vec<Problem>,
    declaration: &Declaration<'_>,
    section: &SectionDeclaration<'_>,
    files: &ContractFiles,
) -> Option<Section> {
    let file = section.schema.as_ref()?.value;
    let bytes = files.bytes(file)?;
    let Ok(text) = std::str::from_utf8(bytes) else {
        problems.push(Problem::of_file(
            Code::SchemaSyntax,
            file,
            "",
            "the file is not UTF-8",
            "save it as UTF-8",
        ));
        return None;
    };
    let mut page = Page::new(file, text);
    let fields = avro_schema::read(&mut page).filter(|_| key_is_sound(declaration));
    let columns = fields.and_then(|fields| fit_columns(&mut page, declaration, section, &fields));
    problems.extend(page.into_problems());
    let (keys, columns) = columns?;
    let group = |group: &crate::declaration::GroupDeclaration<'_>| {
        let inside = |column: &Column| group.columns.iter().any(|named| named.value == column.name);
        let indices = columns.iter().enumerate().filter(|(_, column)| inside(column)).map(|(i, _)| i);
        Some(Group { name: group.name.as_ref()?.value.clone(), columns: indices.collect() })
    };
    Some(Section {
        name: section.name.as_ref()?.value.clone(),
        title: section.title.clone()?,
        compression: section.compression?,
        groups: section.groups.iter().map(group).collect::<Option<_>>()?,
        keys,
        columns,
        schema_bytes: bytes.to_vec(),
        schema_digest: sha256(&[bytes]),
    })
}

/// The key and the section's own columns, when the schema's fields are exactly these: the key first, in its order.
fn fit_columns(
    page: &mut Page<'_>,
    declaration: &Declaration<'_>,
    section: &SectionDeclaration<'_>,
    fields: &[SchemaField],
) -> Option<(Vec<Column>, Vec<Column>)> {
    let key: Vec<&str> = key_names(declaration).collect();
    let keys_first =
        fields.len() >= key.len() && fields.iter().zip(&key).all(|(field, key)| field.name == *key);
    if !keys_first {
        let what = "the first fields are not the key columns";
        let remedy = format!("begin with the key in its order: {}", key.join(", "));
        page.report(Code::Columns, fields.first().map_or(0, |field| field.at), "fields", what, remedy);
        return None;
    }
    let declared =
        |name: &str| declaration.columns.iter().find(|c| c.name.as_ref().is_some_and(|n| n.value == name));
    let (mut keys, mut columns) = (Vec::new(), Vec::new());
    for (i, field) in fields.iter().enumerate() {
        let path = format!("fields[{}]", i + 1);
        let is_key = i < key.len();
        if is_key && (field.nullable || !field.kind.can_be_key()) {
            let what =
                format!("the key column {} is nullable, or a floating-point number", shown(&field.name));
            page.report(
                Code::Key,
                field.at,
                format!("{path}.type"),
                what,
                "give it a plain type that compares exactly",
            );
        }
        let Some(column) = declared(&field.name).filter(|c| is_key || names_section(c, section)) else {
            let what = format!("the field {} is no column of this section", shown(&field.name));
            page.report(
                Code::Columns,
                field.at,
                format!("{path}.name"),
                what,
                "remove it, or declare the column so",
            );
            continue;
        };
        let (Some(title), Some(class)) = (&column.title, column.class) else { continue };
        let (name, title) = (field.name.clone(), title.clone());
        let (kind, nullable, source_type) = (field.kind, field.nullable, column.source_type.clone());
        let column = Column { name, title, class, kind, nullable, source_type };
        if is_key { keys.push(column) } else { columns.push(column) }
    }
    for column in declaration.columns.iter().filter(|column| names_section(column, section)) {
        let Some(name) = &column.name else { continue };
        if !fields.iter().any(|field| field.name == name.value) {
            let what = format!("the schema lacks the column {}", shown(name.value));
            page.report(Code::Columns, 0, "fields", what, "add a field for it");
        }
    }
    (page.is_clean() && keys.len() == key.len()).then_some((keys, columns))
}

/// The key columns, when all schemas give them the same types.
fn same_keys(problems: &mut Vec<Problem>, sections: &[Section]) -> Option<Vec<Column>> {
    let (first, others) = sections.split_first()?;
    for section in others {
        for (column, other) in first.keys.iter().zip(&section.keys).filter(|(a, b)| a.kind != b.kind) {
            let file = schema_file(section.name.as_str());
            let what = format!(
                "the key column {} is of the type {}, and in section {} of the type {}",
                shown(&other.name),
                other.kind,
                first.name,
                column.kind
            );
            let remedy = "give a key column one type in all sections";
            problems.push(Problem::of_file(Code::Columns, &file, "fields", what, remedy));
        }
    }
    problems.is_empty().then(|| first.keys.clone())
}
