//! Every field of every format wrong once: the vectors hold one failure a file, and the formats' own tests and the second
//! reader refuse each. Here they are counted, so that none goes missing.

use std::collections::BTreeMap;

use crate::process::repository;
use crate::reckoning::has_page;

/// How many failures each format has at least.
const LEAST: [(&str, usize); 11] = [
    ("sealed-batch", 140),
    ("fence", 19),
    ("beacon", 25),
    ("key-record", 28),
    ("rewrap", 14),
    ("contract-record", 13),
    ("incarnation-record", 12),
    ("log-entry", 16),
    ("contract", 100),
    ("trust", 45),
    ("changelog", 14),
];

#[test]
fn every_format_has_its_failures_and_each_failure_its_code() {
    let folder = repository().join("tests/vectors/govbridge");
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    for format in
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        let name = format.file_name().unwrap().to_string_lossy().into_owned();
        let files: Vec<_> = std::fs::read_dir(&format).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut stems: Vec<_> =
            files.iter().map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        stems.sort();
        stems.dedup();
        failures.insert(name, stems.iter().filter(|stem| !stem.starts_with("good")).count());
        for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "json")) {
            let text = std::fs::read_to_string(file).unwrap();
            let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
            codes_in(&vector).iter().for_each(|code| has_page(code));
        }
    }
    let too_few: Vec<_> = LEAST
        .iter()
        .filter(|(format, least)| failures.get(*format).is_none_or(|count| count < least))
        .collect();
    assert!(too_few.is_empty(), "{too_few:?} in {failures:?}");
}

/// Every text of a vector that is a code.
fn codes_in(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            let (letters, digits) = text.split_at_checked(3).unwrap_or_default();
            let is_code = letters.bytes().all(|byte| byte.is_ascii_uppercase())
                && digits.len() == 3
                && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_code.then(|| text.clone()).into_iter().collect()
        }
        Value::Array(values) => values.iter().flat_map(codes_in).collect(),
        Value::Object(fields) => fields.values().flat_map(codes_in).collect(),
        _ => Vec::new(),
    }
}
