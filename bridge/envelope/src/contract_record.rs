//! Contract records: a contract's exact files, signed and logged.

use bridge_event::{Department, SectionName};
use bridge_suite::{Digest, SigningKey, sha256};

use crate::section::SECTIONS_MAX;
use crate::signed::{Attested, CONTRACT, Signed, Signers, Verdict};
use crate::wire::{Reader, Writer};
use crate::{Finding, ParseError, SealError};

/// The exact bytes of one section's schema file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFile {
    /// The section.
    pub section: SectionName,
    /// The `.avsc` file's bytes.
    pub content: Vec<u8>,
}

/// A contract as it was signed. Avro record `govbridge.ContractRecord` (docs/spec/contract-record.avsc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractRecord {
    /// The exact bytes of `contract.toml`.
    pub contract: Vec<u8>,
    /// The schema of each section, in contract order.
    pub schemas: Vec<SchemaFile>,
}

impl ContractRecord {
    /// The contract's digest, as headers name it: SHA-256 of the exact file.
    pub fn contract_digest(&self) -> Digest {
        sha256(&[&self.contract])
    }

    /// Signs the record.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign(self, signers: &[&SigningKey]) -> Result<Signed<ContractRecord>, SealError> {
        if let Some(contradiction) = self.contradictions() {
            return Err(SealError::Contradiction(contradiction));
        }
        let body = self.encode();
        Signed::new(&CONTRACT, self, &body, signers)
    }

    /// Verifies a record's shape and signatures. Whether the contract is the department's own, and sound, is
    /// `schemas`' to say.
    pub fn verify(
        bytes: &[u8],
        signers: &dyn Signers,
        department: &Department,
    ) -> Verdict<Attested<ContractRecord>> {
        CONTRACT.verify(bytes, signers, department, ContractRecord::decode, |record| {
            record.contradictions().map(Finding::Contradiction).into_iter().collect()
        })
    }

    fn contradictions(&self) -> Option<&'static str> {
        let twice = self
            .schemas
            .iter()
            .enumerate()
            .any(|(i, schema)| self.schemas.iter().take(i).any(|other| other.section == schema.section));
        twice.then_some("a section has two schemas")
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&self.contract);
        w.array(&self.schemas, |w, schema| {
            w.text(schema.section.as_str());
            w.bytes(&schema.content);
        });
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<ContractRecord, ParseError> {
        let limit = CONTRACT.body_bytes_max;
        let r = &mut Reader::new(bytes);
        let record = ContractRecord {
            contract: r.bytes("contract", limit)?.to_vec(),
            schemas: r.array("schemas", SECTIONS_MAX, |r| {
                Ok(SchemaFile {
                    section: r.name("schemas.section")?,
                    content: r.bytes("schemas.content", limit)?.to_vec(),
                })
            })?,
        };
        r.finish()?;
        Ok(record)
    }
}
