//! Who sends, what is promised, and whose keys are known: all invented, all the same in every run.

use anyhow::{Context, anyhow};
use bridge_envelope::{Compression, Expected, KeyVersion, Signers};
use bridge_event::{Department, Origin, Partition, StreamId};
use bridge_suite::{Algorithm, KeyId, PublicKey, Role, Secret, SigningKey, sha256};
use schemas::{Contract, ContractFiles, SectionReader};

const CONTRACT: &str = r#"
govbridge_contract = 1
department = "tax"
dataset = "bench"
revision = 1
title = "基准测试"
origin = "gov.example/tax/main"
partitions = 1
suite = "international"
[source]
table = "bench"
key = ["id"]
[keys]
renew_hours = 24
renew_rows = 1_000_000
[[section]]
name = "person"
title = "人员"
schema = "person.avsc"
compression = "zstd"
[[section]]
name = "payment"
title = "金额"
schema = "payment.avsc"
compression = "zstd"
"#;

const PERSON: &str = r#"{"type": "record", "name": "Person", "fields": [
  {"name": "id", "type": "long"},
  {"name": "person_id", "type": "string"},
  {"name": "name", "type": "string"},
  {"name": "region", "type": "int"}]}"#;

const PAYMENT: &str = r#"{"type": "record", "name": "Payment", "fields": [
  {"name": "id", "type": "long"},
  {"name": "amount", "type": {"type": "string", "logicalType": "govbridge.decimal"}},
  {"name": "status", "type": "string"},
  {"name": "updated_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
  {"name": "note", "type": "string"}]}"#;

const COLUMN_SECTIONS: [(&str, Option<&str>); 8] = [
    ("id", None),
    ("person_id", Some("person")),
    ("name", Some("person")),
    ("region", Some("person")),
    ("amount", Some("payment")),
    ("status", Some("payment")),
    ("updated_at", Some("payment")),
    ("note", Some("payment")),
];

/// One department with one dataset of two sections, and everything that both ends know of it.
#[derive(Debug)]
pub struct Scene {
    /// The promise.
    pub contract: Contract,
    /// The dataset's only stream.
    pub stream: StreamId,
    /// The log that the contract names.
    pub origin: Origin,
    /// The department's key.
    pub signing: SigningKey,
    /// The sections' key versions, in contract order.
    pub keys: Vec<KeyVersion>,
    /// The sections' readers, in contract order.
    pub readers: Vec<SectionReader>,
    public: PublicKey,
}

impl Scene {
    /// Makes the contract and the keys.
    ///
    /// # Errors
    /// The contract above is not one, which is a fault of this crate.
    pub fn new() -> anyhow::Result<Scene> {
        let contract = parse_contract()?;
        let department = contract.department().clone();
        let stream = StreamId { department, dataset: contract.dataset().clone(), partition: Partition(0) };
        let signing = SigningKey::from_seed(Role::Signing, [0x01; 32]);
        let mut keys = Vec::new();
        let mut readers = Vec::new();
        for (section, seed) in contract.sections().iter().zip(0xa1_u8..) {
            let record = sha256(&[b"the key record of ", section.name().as_str().as_bytes()]);
            keys.push(KeyVersion { suite: contract.suite(), secret: Secret::new([seed; 32]), record });
            readers.push(SectionReader::new(&contract, section.name())?);
        }
        let (origin, public) = (contract.origin().clone(), signing.public());
        Ok(Scene { contract, stream, origin, signing, keys, readers, public })
    }

    /// What a reader knows before it reads.
    pub fn expected(&self) -> Expected {
        Expected { stream: self.stream.clone(), origin: self.origin.clone(), suite: self.contract.suite() }
    }
}

impl Signers for Scene {
    fn signing_key(&self, department: &Department, id: &KeyId) -> Option<&PublicKey> {
        (*department == self.stream.department && *id == self.public.id()).then_some(&self.public)
    }

    fn required(&self) -> &[Algorithm] {
        &[Algorithm::Ed25519]
    }
}

fn parse_contract() -> anyhow::Result<Contract> {
    let mut text = CONTRACT.to_owned();
    for (name, section) in COLUMN_SECTIONS {
        text += &format!("[[column]]\nname = \"{name}\"\ntitle = \"{name}\"\nclass = \"general\"\n");
        if let Some(section) = section {
            text += &format!("section = \"{section}\"\n");
        }
    }
    let mut files = ContractFiles::new();
    files.insert("contract.toml", text);
    files.insert("person.avsc", PERSON);
    files.insert("payment.avsc", PAYMENT);
    Contract::parse(&files).map_err(|problems| anyhow!("{problems}")).context("the benchmark's contract")
}

/// The envelope's word for a contract's compression.
pub(crate) fn compression_of(section: &schemas::Section) -> Compression {
    match section.compression() {
        schemas::Compression::None => Compression::None,
        schemas::Compression::Zstd => Compression::Zstd,
    }
}
