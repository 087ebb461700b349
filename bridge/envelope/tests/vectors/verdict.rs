//! What this crate says of a vector.

use super::Vector;
use super::scene::*;
use bridge_envelope::*;
use bridge_suite::Secret;

/// The codes of the vector's stage, sorted; a vector of a later stage must be clean in the earlier ones.
pub(crate) fn codes_of(vector: &Vector) -> Vec<&'static str> {
    let bytes = &*vector.bytes;
    let stage = vector.note["stage"].as_str().unwrap();
    let named = Named::new();
    let tax = department("tax");
    match (vector.format, stage) {
        ("sealed-batch", "verify") => found(verify_batch(bytes, &named, &expected())),
        ("sealed-batch", "open") => open_codes(vector),
        ("fragments", _) => super::fragments::codes_of(vector),
        ("fence", _) => found(verify_fence(bytes, &named, &expected())),
        ("beacon", _) => found(verify_beacon(bytes, &named, &expected())),
        ("key-record", "verify") => found(KeyRecord::verify(bytes, &named, &tax)),
        ("key-record", "grants") => {
            let record = KeyRecord::verify(bytes, &named, &tax).into_verified().unwrap();
            let terms = &record.content().terms;
            let contract = contract();
            let entitled = contract.entitled(&terms.section, terms.valid_from);
            let change = contract.next_change(&terms.section, terms.valid_from);
            codes(&record.content().check_grants(&entitled, change, &is_known))
        }
        ("key-record", "unwrap") => {
            let record = KeyRecord::verify(bytes, &named, &tax).into_verified().unwrap();
            let name = vector.note["recipient"].as_str().unwrap();
            let opened = record.unwrap_for(&department(name), &recipient(name));
            opened.err().map(|error| error.code()).into_iter().collect()
        }
        ("rewrap", stage) => {
            let base = KeyRecord::verify(key_record(1).frame(), &named, &tax).into_verified().unwrap();
            let verdict = Rewrap::verify(bytes, &named, &base);
            if stage == "verify" {
                return found(verdict);
            }
            if stage == "grants" {
                let rewrap = verdict.into_verified().unwrap();
                let entitled = contract().entitled(&base.content().terms.section, rewrap.content().made);
                return codes(&rewrap.content().check_grants(base.content(), &entitled, &is_known));
            }
            let name = vector.note["recipient"].as_str().unwrap();
            let opened =
                verdict.into_verified().unwrap().unwrap_for(&base, &department(name), &recipient(name));
            opened.err().map(|error| error.code()).into_iter().collect()
        }
        ("contract-record", _) => found(ContractRecord::verify(bytes, &named, &tax)),
        ("incarnation-record", _) => found(IncarnationRecord::verify(bytes, &named, &tax, &origin())),
        ("log-entry", _) => Entry::decode(bytes).err().map(|error| error.code()).into_iter().collect(),
        other => panic!("no reader for {other:?}"),
    }
}

fn found<T>(verdict: Verdict<T>) -> Vec<&'static str> {
    codes(verdict.findings())
}

fn open_codes(vector: &Vector) -> Vec<&'static str> {
    let batch = verified(&vector.bytes);
    let mut codes = Vec::new();
    for (i, section) in batch.blocks().enumerate() {
        let index = if section.name == section_name(0) { 0 } else { 1 };
        let secret = match vector.note.get("secret") {
            Some(secret) => Secret::new(hex::decode(secret.as_str().unwrap()).unwrap().try_into().unwrap()),
            None => secret(index),
        };
        if let Err(error) = open_section(&batch, i, &secret, &reader(index)) {
            codes.push(error.code());
        }
    }
    codes.sort_unstable();
    codes.dedup();
    codes
}
