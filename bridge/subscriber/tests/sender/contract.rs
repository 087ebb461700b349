//! The contract of every dataset that the sender has.

use super::ORIGIN;

pub(super) const AMOUNTS: &str = r#"{"type": "record", "name": "PaymentAmounts", "namespace": "example.gov.tax", "fields": [
  {"name": "id", "type": "long"},
  {"name": "amount", "type": {"type": "string", "logicalType": "govbridge.decimal"}},
  {"name": "note", "type": ["null", "string"], "default": null}
]}
"#;

pub(super) const ACCOUNT: &str = r#"{"type": "record", "name": "PaymentAccount", "namespace": "example.gov.tax", "fields": [
  {"name": "id", "type": "long"},
  {"name": "account", "type": "string"}
]}
"#;

pub(super) fn contract_text(dataset: &str) -> String {
    let mut text = format!(
        "govbridge_contract = 1\n\ndepartment = \"tax\"\ndataset = \"{dataset}\"\nrevision = 1\ntitle = \"{dataset}\"\n\
         origin = \"{ORIGIN}\"\npartitions = 1\nsuite = \"international\"\n\n[source]\ntable = \"{dataset}\"\nkey = [\"id\"]\n\n\
         [keys]\nrenew_hours = 24\nrenew_rows = 1000000\n"
    );
    for (name, compression) in [("amounts", "zstd"), ("account", "none")] {
        text.push_str(&format!(
            "\n[[section]]\nname = \"{name}\"\ntitle = \"{name}\"\nschema = \"{name}.avsc\"\ncompression = \"{compression}\"\n"
        ));
    }
    for (name, section) in [("id", ""), ("amount", "amounts"), ("note", "amounts"), ("account", "account")] {
        let section = if section.is_empty() { String::new() } else { format!("section = \"{section}\"\n") };
        text.push_str(&format!(
            "\n[[column]]\nname = \"{name}\"\ntitle = \"{name}\"\nclass = \"general\"\n{section}"
        ));
    }
    // The school's grant begins after every key version of these tests has ended.
    for (section, recipient, start) in [
        ("amounts", "health", "2025"),
        ("amounts", "audit", "2025"),
        ("account", "audit", "2025"),
        ("amounts", "school", "2035"),
    ] {
        text.push_str(&format!(
            "\n[[grant]]\nsection = \"{section}\"\nrecipient = \"{recipient}\"\npurpose = \"test\"\nlegal_basis = \"test\"\n\
             start = {start}-01-01T00:00:00Z\n"
        ));
    }
    text
}
