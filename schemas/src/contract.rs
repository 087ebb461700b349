//! A contract that was read and found whole, and what it answers.

use crate::column::Column;
use crate::problem::{CONTRACT_FILE, Problems};
use bridge_event::{Dataset, Department, GroupName, Origin, SectionName, UnixMicros};
use bridge_suite::{Digest, Suite};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of all files of a contract together.
///
/// A contract record's body (at most 60 KiB = 61,440 bytes) holds them with their lengths and the names of at most 32
/// sections: 3 + 32 * (1 + 64 + 3) + 4 = 2,183 bytes. So 61,440 - 2,183 = 59,257 are left, and 57 less make it round.
pub const FILES_BYTES_MAX: usize = 59_200;

/// Most sections of a contract.
pub const SECTIONS_MAX: usize = 32;

/// Most disclosure groups of a section.
pub const GROUPS_MAX: usize = 16;

/// Most grants of a contract. A key record's body (60 KiB) holds a wrapped key of about 190 bytes for each recipient:
/// 256 * 190 = 48,640.
pub const GRANTS_MAX: usize = 256;

/// The files of one contract: names inside its folder, and exact bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContractFiles(BTreeMap<String, Vec<u8>>);

impl ContractFiles {
    /// No files yet.
    pub fn new() -> ContractFiles {
        ContractFiles::default()
    }

    /// Adds a file, or replaces the one of this name.
    pub fn insert(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(name.into(), bytes.into());
    }

    /// The files of a contract record: the contract's bytes, and for each section its schema's.
    pub fn of_record<'a>(
        contract: &[u8],
        schemas: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> ContractFiles {
        let mut files = ContractFiles::new();
        files.insert(CONTRACT_FILE, contract);
        for (section, bytes) in schemas {
            files.insert(schema_file(section), bytes);
        }
        files
    }

    /// A file's bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The files' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The bytes of all files together.
    pub fn total_bytes(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

impl<N: Into<String>, B: Into<Vec<u8>>> FromIterator<(N, B)> for ContractFiles {
    fn from_iter<I: IntoIterator<Item = (N, B)>>(files: I) -> ContractFiles {
        let mut out = ContractFiles::new();
        for (name, bytes) in files {
            out.insert(name, bytes);
        }
        out
    }
}

/// The name of a section's schema file.
pub(crate) fn schema_file(section: &str) -> String {
    format!("{section}.avsc")
}

/// How a section's rows are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all: where one person's free text would share a frame with another's secrets.
    None,
    /// One zstd frame for each batch.
    Zstd,
}

impl Compression {
    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zstd => "zstd",
        }
    }
}

/// A disclosure group: columns of a section that can be shown to a third party without the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Its columns: indices into [`Section::columns`], ascending.
    pub columns: Vec<usize>,
}

/// A group of columns with one audience.
#[derive(Clone, Debug)]
pub struct Section {
    pub(crate) name: SectionName,
    pub(crate) title: String,
    pub(crate) compression: Compression,
    pub(crate) keys: Vec<Column>,
    pub(crate) columns: Vec<Column>,
    pub(crate) groups: Vec<Group>,
    pub(crate) schema_bytes: Vec<u8>,
    pub(crate) schema_digest: Digest,
}

impl Section {
    /// Its name.
    pub fn name(&self) -> &SectionName {
        &self.name
    }

    /// What people call it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How its rows are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The key columns, in contract order; they stand in every section.
    pub fn keys(&self) -> &[Column] {
        &self.keys
    }

    /// Its own columns, in the order of the schema, without the key.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Its disclosure groups, in contract order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The columns of no group: indices into [`Section::columns`], ascending.
    pub fn ungrouped(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|i| !self.groups.iter().any(|g| g.columns.contains(i))).collect()
    }

    /// The exact bytes of its schema file.
    pub fn schema_bytes(&self) -> &[u8] {
        &self.schema_bytes
    }

    /// SHA-256 of the schema file.
    pub fn schema_digest(&self) -> Digest {
        self.schema_digest
    }
}

/// A department's right to open a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The section.
    pub section: SectionName,
    /// Who may open it.
    pub recipient: Department,
    /// What for.
    pub purpose: String,
    /// By which law or agreement.
    pub legal_basis: String,
    /// From when on, inclusive.
    pub start: UnixMicros,
    /// Until when, exclusive; `None` is without an end.
    pub end: Option<UnixMicros>,
}

impl Grant {
    /// Whether the grant is in force at an instant.
    pub fn in_force(&self, at: UnixMicros) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// What a department promises about one dataset.
///
/// Only [`Contract::parse`] makes one, so a contract that exists is whole: names are valid, every reference leads
/// somewhere, and each section's schema is Avro in the house's form.
#[derive(Clone, Debug)]
pub struct Contract {
    pub(crate) department: Department,
    pub(crate) dataset: Dataset,
    pub(crate) revision: u64,
    pub(crate) title: String,
    pub(crate) origin: Origin,
    pub(crate) partitions: u32,
    pub(crate) suite: Suite,
    pub(crate) table: String,
    pub(crate) keys: Vec<Column>,
    pub(crate) sections: Vec<Section>,
    pub(crate) unshared: Vec<String>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) renew_hours: u32,
    pub(crate) renew_rows: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

impl Contract {
    /// Reads a contract's files.
    ///
    /// # Errors
    /// Every problem that can be told from the files, at once.
    pub fn parse(files: &ContractFiles) -> Result<Contract, Problems> {
        crate::declaration::parse(files)
    }

    /// Who promises.
    pub fn department(&self) -> &Department {
        &self.department
    }

    /// The dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The contract's number, rising with each change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What people call the dataset.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The log that the dataset's batches stand in.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many streams the dataset has.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The algorithms of its streams.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The source's table or view.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The key columns, in order.
    pub fn key_columns(&self) -> &[Column] {
        &self.keys
    }

    /// The sections, in contract order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// A section by its name.
    pub fn section(&self, name: &SectionName) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == *name)
    }

    /// The columns that a connector asks the source for: the key, then each section's, in contract order.
    pub fn source_columns(&self) -> Vec<&str> {
        self.shared_columns().map(|column| column.name.as_str()).collect()
    }

    /// What the source calls the types of [`Contract::source_columns`], where the contract says it.
    pub fn source_types(&self) -> Vec<Option<String>> {
        self.shared_columns().map(|column| column.source_type.clone()).collect()
    }

    fn shared_columns(&self) -> impl Iterator<Item = &Column> {
        let own = self.sections.iter().flat_map(|section| &section.columns);
        self.keys.iter().chain(own)
    }

    /// The table's columns that no one is shown.
    pub fn unshared_columns(&self) -> &[String] {
        &self.unshared
    }

    /// The grants, in contract order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Hours after which a key version is renewed.
    pub fn renew_hours(&self) -> u32 {
        self.renew_hours
    }

    /// Rows after which a key version is renewed.
    pub fn renew_rows(&self) -> u64 {
        self.renew_rows
    }

    /// The exact bytes of `contract.toml`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of `contract.toml`.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who may open a section at an instant, by grant: sorted, each once.
    ///
    /// The contract's own department is never among them, though its key is always wrapped too.
    pub fn entitled(&self, section: &SectionName, at: UnixMicros) -> Vec<Department> {
        let entitled: BTreeSet<&Department> = self
            .grants
            .iter()
            .filter(|grant| grant.section == *section && grant.in_force(at))
            .map(|grant| &grant.recipient)
            .collect();
        entitled.into_iter().cloned().collect()
    }

    /// The first instant after `after` at which a grant of the section starts or ends, `None` when none does.
    pub fn next_change(&self, section: &SectionName, after: UnixMicros) -> Option<UnixMicros> {
        self.grants
            .iter()
            .filter(|grant| grant.section == *section)
            .flat_map(|grant| [Some(grant.start), grant.end])
            .flatten()
            .filter(|&boundary| boundary > after)
            .min()
    }
}
