//! The worked examples of docs/spec: the vectors' own bytes, between two marks in each page.

use super::{Vector, is_writing};
use std::fmt::Write;
use std::path::PathBuf;

const BEGIN: &str = "<!-- worked example: made by `cargo test -p bridge-envelope --test vectors` -->\n";
const END: &str = "<!-- end of worked example -->\n";

/// Each page with the vectors that it shows.
const PAGES: [(&str, &str, &str); 8] = [
    ("sealed-batch", "sealed-batch", "good"),
    ("fence", "fence", "good"),
    ("beacon", "beacon", "good"),
    ("key-record", "key-record", "good-payer"),
    ("rewrap", "rewrap", "good"),
    ("contract-record", "contract-record", "good"),
    ("incarnation-record", "incarnation-record", "good"),
    ("log-entry", "log-entry", "good-batch"),
];

fn hexdump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (i, line) in bytes.chunks(32).enumerate() {
        writeln!(out, "{:06x}  {}", i * 32, hex::encode(line)).unwrap();
    }
    out
}

fn example(vector: &Vector) -> String {
    let mut out = format!(
        "`tests/vectors/govbridge/{}/{}.bin`, {} bytes:\n\n```text\n{}```\n",
        vector.format,
        vector.name,
        vector.bytes.len(),
        hexdump(&vector.bytes)
    );
    let note = &vector.note;
    if note.get("digest").is_some() {
        out.push_str("\n| what | value |\n|---|---|\n");
    }
    let mut value = |name: &str, value: &serde_json::Value| {
        if let Some(text) = value.as_str() {
            writeln!(out, "| {name} | `{text}` |").unwrap();
        }
    };
    value("digest", &note["digest"]);
    value("commitment", &note["commitment"]);
    value("E", &note["secret"]);
    for section in note["sections"].as_array().into_iter().flatten() {
        let name = section["name"].as_str().unwrap();
        for field in [
            "hash_of_ctx0",
            "s",
            "row_root",
            "hash_of_ctx",
            "b",
            "aead_key",
            "commitment",
            "plaintext_sha256",
        ] {
            value(&format!("{name}: {field}"), &section[field]);
        }
        for (i, row) in section["rows"].as_array().unwrap().iter().enumerate() {
            value(&format!("{name}: row {i} bytes"), &row["bytes"]);
            value(&format!("{name}: row {i} salt"), &row["salt"]);
            value(&format!("{name}: row {i} leaf"), &row["leaf"]);
        }
    }
    out
}

pub(crate) fn check(vectors: &[Vector]) {
    for (page, format, name) in PAGES {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/spec/{page}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let begin =
            text.find(BEGIN).unwrap_or_else(|| panic!("{page}.md has no worked example")) + BEGIN.len();
        let end = text.find(END).unwrap_or_else(|| panic!("{page}.md does not end its worked example"));
        let vector = vectors.iter().find(|v| v.format == format && v.name == name).unwrap();
        let now = [&text[..begin], "\n", &example(vector), "\n", &text[end..]].concat();
        if is_writing() {
            std::fs::write(&path, now).unwrap();
        } else {
            assert!(now == text, "the worked example of {page}.md is not what is made now");
        }
    }
}
