//! `contract.toml` as it is written: each table read field by field. What refers to what is `assembly`'s.

use crate::assembly;
use crate::column::{COLUMN_NAME_RULE, Class, is_column_name};
use crate::contract::{Compression, Contract, ContractFiles, FILES_BYTES_MAX};
use crate::document::{Fields, Placed};
use crate::problem::{CONTRACT_FILE, Code, Page, Problem, Problems, shown};
use bridge_event::{Dataset, Department, GroupName, Origin, SectionName, UnixMicros};
use bridge_suite::Suite;
use toml::de::DeTable;

/// The one format that this build reads.
const FORMAT: u64 = 1;

/// Longest name of a source table, or of a column's type there, in bytes.
const SOURCE_NAME_BYTES_MAX: usize = 128;

pub(crate) struct Declaration<'t> {
    pub(crate) department: Option<Placed<Department>>,
    pub(crate) dataset: Option<Placed<Dataset>>,
    pub(crate) revision: Option<Placed<u64>>,
    pub(crate) title: Option<String>,
    pub(crate) origin: Option<Placed<Origin>>,
    pub(crate) partitions: Option<Placed<u64>>,
    pub(crate) suite: Option<Suite>,
    pub(crate) table: Option<String>,
    pub(crate) key: Option<Vec<Placed<&'t str>>>,
    pub(crate) renew_hours: Option<Placed<u64>>,
    pub(crate) renew_rows: Option<Placed<u64>>,
    pub(crate) sections: Vec<SectionDeclaration<'t>>,
    pub(crate) columns: Vec<ColumnDeclaration<'t>>,
    pub(crate) grants: Vec<GrantDeclaration>,
}

pub(crate) struct SectionDeclaration<'t> {
    pub(crate) path: String,
    pub(crate) at: usize,
    pub(crate) name: Option<Placed<SectionName>>,
    pub(crate) title: Option<String>,
    pub(crate) schema: Option<Placed<&'t str>>,
    pub(crate) compression: Option<Compression>,
    pub(crate) groups: Vec<GroupDeclaration<'t>>,
}

pub(crate) struct GroupDeclaration<'t> {
    pub(crate) path: String,
    pub(crate) at: usize,
    pub(crate) name: Option<Placed<GroupName>>,
    pub(crate) columns: Vec<Placed<&'t str>>,
}

pub(crate) struct ColumnDeclaration<'t> {
    pub(crate) path: String,
    pub(crate) at: usize,
    pub(crate) name: Option<Placed<&'t str>>,
    pub(crate) title: Option<String>,
    pub(crate) class: Option<Class>,
    pub(crate) section: Option<Placed<&'t str>>,
    pub(crate) shared: bool,
    pub(crate) source_type: Option<String>,
}

pub(crate) struct GrantDeclaration {
    pub(crate) path: String,
    pub(crate) at: usize,
    pub(crate) section: Option<Placed<SectionName>>,
    pub(crate) recipient: Option<Placed<Department>>,
    pub(crate) purpose: Option<String>,
    pub(crate) legal_basis: Option<String>,
    pub(crate) start: Option<Placed<UnixMicros>>,
    pub(crate) end: Option<Placed<UnixMicros>>,
}

/// Reads a contract's files.
pub(crate) fn parse(files: &ContractFiles) -> Result<Contract, Problems> {
    let whole_file = |code: Code, what: String, remedy: &str| {
        Problems::new(vec![Problem::of_file(code, CONTRACT_FILE, "", what, remedy)])
    };
    let bytes = files.bytes(CONTRACT_FILE).ok_or_else(|| {
        whole_file(
            Code::Missing,
            "there is no contract.toml".into(),
            "add it beside the schemas of its sections",
        )
    })?;
    if files.total_bytes() > FILES_BYTES_MAX {
        let what =
            format!("the files have {} bytes together, {FILES_BYTES_MAX} are allowed", files.total_bytes());
        return Err(whole_file(Code::Limit, what, "shorten titles and docs, or split the dataset"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let mut problems =
            whole_file(Code::Syntax, "the file is not UTF-8".into(), "save it as UTF-8").into_vec();
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|&&b| b == b'\n').count() + 1;
        problems.iter_mut().for_each(|problem| problem.line = line);
        Problems::new(problems)
    })?;
    let mut page = Page::new(CONTRACT_FILE, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        page.report(Code::Syntax, at, "", error.message(), "correct it as https://toml.io/en/v1.0.0 says");
    }
    if !errors.is_empty() {
        return Err(Problems::new(page.into_problems()));
    }
    let declaration = declaration(&mut page, Fields::new("", root.get_ref(), 0));
    let mut problems: Vec<Problem> = Vec::new();
    let contract = assembly::assemble(&mut page, &mut problems, declaration, files, bytes);
    problems.extend(page.into_problems());
    match contract {
        Some(contract) if problems.is_empty() => Ok(contract),
        _ => Err(Problems::new(problems)),
    }
}

fn declaration<'t>(page: &mut Page<'_>, mut root: Fields<'t>) -> Declaration<'t> {
    root.number(page, "govbridge_contract", "1", FORMAT..=FORMAT);
    let mut declaration = Declaration {
        department: root.parsed(page, "department", "\"tax\""),
        dataset: root.parsed(page, "dataset", "\"payments\""),
        revision: root.number(page, "revision", "1", 1..=1_000_000_000),
        title: root.title(page, "title"),
        origin: root.parsed(page, "origin", "\"gov.example/tax/main\""),
        // The count stands in the contract; this build sends one stream for each dataset.
        partitions: root.number(page, "partitions", "1", 1..=1),
        suite: suite(page, &mut root),
        table: None,
        key: None,
        renew_hours: None,
        renew_rows: None,
        sections: Vec::new(),
        columns: Vec::new(),
        grants: Vec::new(),
    };
    if let Some(mut source) = root.table(page, "source") {
        declaration.table = table(page, &mut source);
        declaration.key = source.texts(page, "key", "[\"id\"]");
        source.finish(page);
    }
    if let Some(mut keys) = root.table(page, "keys") {
        declaration.renew_hours = keys.number(page, "renew_hours", "24", 1..=8_760);
        declaration.renew_rows = keys.number(page, "renew_rows", "1_000_000", 1..=1_000_000_000_000);
        keys.finish(page);
    }
    for section in root.tables(page, "section") {
        declaration.sections.push(read_section(page, section));
    }
    for column in root.tables(page, "column") {
        declaration.columns.push(read_column(page, column));
    }
    for grant in root.tables(page, "grant") {
        declaration.grants.push(read_grant(page, grant));
    }
    root.finish(page);
    declaration
}

fn suite(page: &mut Page<'_>, root: &mut Fields<'_>) -> Option<Suite> {
    let text = root.text(page, "suite", "\"international\"")?;
    match Suite::from_name(text.value) {
        Ok(suite) => Some(suite),
        Err(error) => {
            page.report(
                Code::Value,
                text.at,
                root.path("suite"),
                error.to_string(),
                "write suite = \"international\"",
            );
            None
        }
    }
}

fn table(page: &mut Page<'_>, source: &mut Fields<'_>) -> Option<String> {
    let text = source.text(page, "table", "\"insured_persons\"")?;
    source_name(page, source, "table", text)
}

/// What the source calls something, as it calls it.
fn source_name(
    page: &mut Page<'_>,
    fields: &Fields<'_>,
    key: &'static str,
    text: Placed<&str>,
) -> Option<String> {
    let fits = (1..=SOURCE_NAME_BYTES_MAX).contains(&text.value.len());
    if fits && !text.value.chars().any(char::is_control) {
        return Some(text.value.to_owned());
    }
    let what = format!("{} is no name that a source could have", shown(text.value));
    let remedy = format!("write the source's own name, 1 to {SOURCE_NAME_BYTES_MAX} bytes");
    page.report(Code::Value, text.at, fields.path(key), what, remedy);
    None
}

fn read_section<'t>(page: &mut Page<'_>, mut section: Fields<'t>) -> SectionDeclaration<'t> {
    let compression = section.text(page, "compression", "\"zstd\"").and_then(|text| {
        let known = [Compression::None, Compression::Zstd].into_iter().find(|c| c.as_str() == text.value);
        if known.is_none() {
            let what = format!("there is no compression {}", shown(text.value));
            let remedy = "write \"zstd\", or \"none\" where one person's free text would share a frame with others' secrets";
            page.report(Code::Value, text.at, section.path("compression"), what, remedy);
        }
        known
    });
    let declaration = SectionDeclaration {
        path: section.path(""),
        at: section.at(),
        name: section.parsed(page, "name", "\"identity\""),
        title: section.title(page, "title"),
        schema: section.text(page, "schema", "\"identity.avsc\""),
        compression,
        groups: section.tables(page, "group").into_iter().map(|group| read_group(page, group)).collect(),
    };
    section.finish(page);
    declaration
}

fn read_group<'t>(page: &mut Page<'_>, mut group: Fields<'t>) -> GroupDeclaration<'t> {
    let declaration = GroupDeclaration {
        path: group.path(""),
        at: group.at(),
        name: group.parsed(page, "name", "\"contact\""),
        columns: group.texts(page, "columns", "[\"mobile\"]").unwrap_or_default(),
    };
    group.finish(page);
    declaration
}

fn read_column<'t>(page: &mut Page<'_>, mut column: Fields<'t>) -> ColumnDeclaration<'t> {
    let name = column.text(page, "name", "\"full_name\"");
    if let Some(name) = name.as_ref().filter(|name| !is_column_name(name.value)) {
        let what = format!("{} is no column name", shown(name.value));
        page.report(Code::Value, name.at, column.path("name"), what, COLUMN_NAME_RULE);
    }
    let class = column.text(page, "class", "\"general\"").and_then(|text| {
        let class = Class::from_word(text.value);
        if class.is_none() {
            let what = format!("there is no data class {}", shown(text.value));
            let remedy = "write \"core\", \"important\" or \"general\" (GB/T 43697)";
            page.report(Code::Value, text.at, column.path("class"), what, remedy);
        }
        class
    });
    let source_type = column.optional_text(page, "source_type");
    let declaration = ColumnDeclaration {
        path: column.path(""),
        at: column.at(),
        name,
        title: column.title(page, "title"),
        class,
        section: column.optional_text(page, "section"),
        shared: column.optional_truth(page, "shared").is_none_or(|shared| shared.value),
        source_type: source_type.and_then(|text| source_name(page, &column, "source_type", text)),
    };
    column.finish(page);
    declaration
}

fn read_grant(page: &mut Page<'_>, mut grant: Fields<'_>) -> GrantDeclaration {
    let declaration = GrantDeclaration {
        path: grant.path(""),
        at: grant.at(),
        section: grant.parsed(page, "section", "\"identity\""),
        recipient: grant.parsed(page, "recipient", "\"tax\""),
        purpose: grant.title(page, "purpose"),
        legal_basis: grant.title(page, "legal_basis"),
        start: grant.instant(page, "start"),
        end: grant.optional_instant(page, "end"),
    };
    grant.finish(page);
    declaration
}
