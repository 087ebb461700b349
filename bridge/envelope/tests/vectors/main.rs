//! The vectors of `tests/vectors/govbridge`: one good or one failure a file.
//!
//! They are made here, the same in every run, and compared with the committed files; `GOVBRIDGE_WRITE_VECTORS=1`
//! writes them instead. What is compressed depends on zstd's version: after an update the files may be written again, and
//! must still open.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]
#![allow(clippy::too_many_lines, reason = "a list of vectors is as long as it is")]
#![allow(clippy::disallowed_methods, reason = "a vector that is half written is simply written again")]

#[path = "../scene/mod.rs"]
mod scene;

mod batches;
mod entries;
mod fragments;
mod frames;
mod headers;
mod keys;
mod pages;
mod records;
mod sections;
mod verdict;

use serde_json::{Value, json};
use std::path::PathBuf;

/// One file of bytes and the note beside it.
struct Vector {
    format: &'static str,
    name: String,
    bytes: Vec<u8>,
    note: Value,
}

impl Vector {
    /// A vector whose reader stops at `stage` with exactly these codes; none for a good one.
    fn new(
        format: &'static str,
        name: &str,
        stage: &str,
        expect: &[&str],
        about: &str,
        bytes: Vec<u8>,
    ) -> Vector {
        assert_eq!(expect.is_empty(), name.starts_with("good"), "{name}");
        let note = json!({ "about": about, "stage": stage, "expect": expect });
        Vector { format, name: name.into(), bytes, note }
    }

    /// Adds a field to the note.
    fn with(mut self, field: &str, value: impl Into<Value>) -> Vector {
        self.note[field] = value.into();
        self
    }
}

fn all() -> Vec<Vector> {
    let parts = [
        batches::good(),
        batches::shapes(),
        headers::fields(),
        sections::failures(),
        fragments::rows(),
        frames::fences(),
        frames::beacons(),
        records::key_records(),
        records::rewraps(),
        records::contracts(),
        records::incarnations(),
        entries::entries(),
    ];
    parts.into_iter().flatten().collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/govbridge")
}

fn is_writing() -> bool {
    std::env::var_os("GOVBRIDGE_WRITE_VECTORS").is_some()
}

/// Writes a file, or compares it with the committed one.
fn keep(path: &PathBuf, bytes: &[u8]) {
    if is_writing() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    } else {
        let committed = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(committed == bytes, "{} is not what is made now; see this file's head", path.display());
    }
}

fn text(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap();
    text.push(b'\n');
    text
}

#[test]
fn the_committed_vectors_are_those_that_are_made_now() {
    keep(&root().join("keys.json"), &text(&keys::keys()));
    let vectors = all();
    for vector in &vectors {
        let path = root().join(vector.format).join(&vector.name);
        keep(&path.with_extension("bin"), &vector.bytes);
        keep(&path.with_extension("json"), &text(&vector.note));
    }
    let names: std::collections::HashSet<(&str, &str)> =
        vectors.iter().map(|vector| (vector.format, vector.name.as_str())).collect();
    assert_eq!(names.len(), vectors.len(), "two vectors have one name");
    for format in names.iter().map(|(format, _)| *format) {
        for file in std::fs::read_dir(root().join(format)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                path.is_dir() || names.contains(&(format, name)),
                "{} is no longer made: remove it",
                path.display()
            );
        }
    }
}

#[test]
fn each_vector_is_found_out_by_exactly_its_codes() {
    for vector in all() {
        let expect: Vec<&str> =
            vector.note["expect"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        let found = verdict::codes_of(&vector);
        assert_eq!(found, expect, "{}/{}", vector.format, vector.name);
    }
}

#[test]
fn the_specifications_worked_examples_are_the_vectors() {
    pages::check(&all());
}
