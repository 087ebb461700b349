//! The contract vectors of docs/spec/contract.md: one failure in each file.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use schemas::{Compatibility, Contract, ContractFiles, Problem, Problems, compatible};
use serde_json::Value;
use std::path::Path;

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for c in text.bytes().filter(|c| *c != b'=') {
        bits = bits << 6 | u32::from(digit(c));
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

fn files(value: &Value) -> ContractFiles {
    let bytes = |content: &Value| match content.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => base64(content["base64"].as_str().unwrap()),
    };
    value.as_object().unwrap().iter().map(|(name, content)| (name.clone(), bytes(content))).collect()
}

/// Reads the contract, and sees whether it may follow the one before.
fn judged(vector: &Value) -> Result<[Vec<(String, String)>; 2], Problems> {
    let contract = Contract::parse(&files(&vector["files"]))?;
    let Some(before) = vector.get("before") else { return Ok([Vec::new(), Vec::new()]) };
    let before = Contract::parse(&files(before)).unwrap();
    match compatible(&before, &contract) {
        Compatibility::Same => Ok([Vec::new(), Vec::new()]),
        Compatibility::Changes { additions, widenings } => Ok([
            additions.into_iter().map(|a| (a.section.to_string(), a.column)).collect(),
            widenings.into_iter().map(|w| (w.section.to_string(), w.column)).collect(),
        ]),
        Compatibility::Refused(problems) => Err(problems),
    }
}

#[test]
fn each_vector_is_judged_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/govbridge/contract");
    let mut codes = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let vector: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if vector.get("section").is_some() {
            // A row vector: tests/row_vectors.rs reads it.
            continue;
        }
        match (judged(&vector), vector.get("problem")) {
            (Ok(changes), None) => {
                let listed = |name: &str| -> Vec<(String, String)> {
                    let list = vector.get(name).map(|list| serde_json::from_value(list.clone()).unwrap());
                    list.unwrap_or_default()
                };
                assert_eq!(changes, [listed("additions"), listed("widenings")], "{name}");
            }
            (Ok(_), Some(problem)) => wrong.push(format!("{name}: accepted, expected {problem}")),
            (Err(problems), None) => wrong.push(format!("{name}: {problems}")),
            (Err(problems), Some(expected)) => {
                let is = |p: &Problem| {
                    p.code == expected["code"]
                        && p.file == expected["file"].as_str().unwrap()
                        && p.line as u64 == expected["line"]
                        && p.field == expected["field"].as_str().unwrap()
                        && !p.what.is_empty()
                        && !p.remedy.is_empty()
                };
                codes.insert(expected["code"].as_str().unwrap().to_owned());
                if !problems.iter().any(is) || problems.len() != 1 {
                    wrong.push(format!("{name}: expected {expected}\n    {problems}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(codes.len(), 15, "a vector for each code: {codes:?}");
}
