//! `keys.json`: what a reader of the vectors has beforehand, secrets included.

use super::scene::*;
use bridge_suite::*;
use serde_json::{Value, json};

fn signer(department: &str, key: &SigningKey, seed: u8) -> Value {
    json!({
        "department": department,
        "role": key.role().name(),
        "algorithm": key.public().algorithm().number(),
        "public": hex::encode(key.public().bytes()),
        "key_id": key.id().to_string(),
        "seed": hex::encode([seed; 32]),
    })
}

fn recipient_key(department: &str, seed: u8) -> Value {
    let key = recipient(department);
    json!({
        "department": department,
        "role": "recipient",
        "algorithm": RECIPIENT_ALGORITHM,
        "public": hex::encode(key.public().bytes()),
        "key_id": key.id().to_string(),
        "private": hex::encode([seed; 32]),
    })
}

fn section(index: usize, file: &str) -> Value {
    let contract = contract();
    let section = contract.section(&section_name(index)).unwrap();
    let terms = terms(index);
    let entitled = contract.entitled(section.name(), terms.valid_from);
    json!({
        "name": section.name().as_str(),
        "schema_file": format!("sealed-batch/contract/{}.avsc", section.name()),
        "schema_digest": schema(index).to_string(),
        "keys": section.keys().iter().map(|key| &key.name).collect::<Vec<_>>(),
        "groups": section.groups().iter().map(|group| json!({
            "name": group.name.as_str(),
            "columns": group.columns.iter().map(|&i| &section.columns()[i].name).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "compression": compression(index).number(),
        "secret": hex::encode(secret(index).expose()),
        "key_record_file": file,
        "key_record_digest": key_record(index).digest().to_string(),
        "entitled": entitled.iter().map(|department| department.as_str()).collect::<Vec<_>>(),
        "next_grant_change": contract.next_change(section.name(), terms.valid_from).map(|at| at.0),
    })
}

pub(crate) fn keys() -> Value {
    json!({
        "about": "What a reader of these vectors has beforehand. The keys are for tests; everybody knows their private halves.",
        "expected": {
            "department": "tax",
            "dataset": "payments",
            "partition": 0,
            "origin": origin().as_str(),
            "suite": 1,
            "required_algorithms": [1],
        },
        "signers": [
            signer("tax", &signing(), 0x01),
            signer("tax", &operator(), 0x02),
            signer("social-security", &foreign(), 0x03),
        ],
        "recipients": [
            recipient_key("tax", 0x11),
            recipient_key("social-security", 0x12),
            recipient_key("audit", 0x13),
        ],
        "contract_file": "sealed-batch/contract/contract.toml",
        "contract_digest": sha256(&[CONTRACT]).to_string(),
        "sections": [section(0, "key-record/good-payer.bin"), section(1, "key-record/good-amount.bin")],
        "rewraps_are_of": "key-record/good-amount.bin",
    })
}
