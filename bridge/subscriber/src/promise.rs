//! A contract as a reader uses it: what its batches must look like, and how their sections are read.

use std::sync::Arc;

use bridge_envelope::{Compression, Verified};
use bridge_event::SectionName;
use schemas::{Contract, SectionReader};

use crate::Found;
use crate::on_record::Record;

/// A contract that its department signed, with a reader for each section.
#[derive(Debug)]
pub(crate) struct Promise {
    pub(crate) contract: Contract,
    readers: Vec<Arc<SectionReader>>,
    /// The contract record's log entry.
    pub(crate) entry: Record,
}

impl Promise {
    pub(crate) fn new(contract: Contract, entry: Record) -> Promise {
        let reader =
            |section: &schemas::Section| SectionReader::new(&contract, section.name()).ok().map(Arc::new);
        let readers = contract.sections().iter().filter_map(reader).collect();
        Promise { contract, readers, entry }
    }

    /// The bytes of the contract and its schemas.
    pub(crate) fn bytes(&self) -> usize {
        let schemas: usize =
            self.contract.sections().iter().map(|section| section.schema_bytes().len()).sum();
        self.contract.bytes().len().saturating_add(schemas)
    }

    pub(crate) fn reader(&self, section: &SectionName) -> Option<&Arc<SectionReader>> {
        self.readers.iter().find(|reader| reader.name() == section)
    }

    /// Whether the batch's sections are the contract's, all of them, in order.
    pub(crate) fn check(&self, batch: &Verified) -> Result<(), Found> {
        let sections = self.contract.sections();
        let wrong = |what: String| Err(Found::halt("VER062", what));
        if batch.header().stream.partition.0 >= self.contract.partitions() {
            return wrong(format!(
                "the contract has {} partitions, and the batch is of another",
                self.contract.partitions()
            ));
        }
        if batch.header().rows() == 0 {
            return Ok(());
        }
        if batch.blocks().len() != sections.len() {
            return wrong(format!(
                "the batch has {} sections, and its contract {}",
                batch.blocks().len(),
                sections.len()
            ));
        }
        for (block, section) in batch.blocks().zip(sections) {
            let compression = match section.compression() {
                schemas::Compression::None => Compression::None,
                schemas::Compression::Zstd => Compression::Zstd,
            };
            let same = [
                ("name", block.name == *section.name()),
                ("schema", block.schema == section.schema_digest()),
                ("compression", block.compression == compression),
                ("groups", block.groups.iter().eq(section.groups().iter().map(|group| &group.name))),
            ];
            if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
                return wrong(format!(
                    "section {} of the batch has another {field} than its contract says",
                    block.name
                ));
            }
        }
        Ok(())
    }
}
