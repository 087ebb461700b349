//! Tests of the code itself: arrows, lengths, names, error pages, specs with their vectors.
//!
//! Each test reads the tree as `git` lists it, and names the file and the line of what it finds.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The floors of the house, from the ground up. An arrow goes down, or sideways where [`SIDEWAYS`] says so.
const FLOORS: &[&[&str]] = &[
    &["bridge-event", "bridge-suite", "bridge-tlog"],
    &["schemas", "bridge-envelope", "bridge-chain", "bridge-trust"],
    &[
        "bridge-pgwire",
        "connectors-source",
        "connectors-sqlite",
        "connectors-postgres",
        "bridge-kafka",
        "bridge-ledger",
        "deploy-ports",
    ],
    &["bridge-pipeline", "bridge-subscriber"],
    &["bridge-cli", "deploy-demo", "tests", "tests-bench", "tests-figures"],
];

/// Arrows between rooms of one floor, each with its reason.
const SIDEWAYS: &[(&str, &str)] = &[
    ("bridge-tlog", "bridge-suite"),  // the tree's hash and the notes' signatures
    ("bridge-suite", "bridge-event"), // names in key lines
    ("bridge-chain", "bridge-envelope"), // the header that the rules speak of
    ("bridge-trust", "bridge-envelope"), // the trust file answers `Signers`
    ("connectors-sqlite", "connectors-source"), // the trait that a connector fulfils
    ("connectors-postgres", "connectors-source"),
    ("connectors-postgres", "bridge-pgwire"), // the session with the server
    ("deploy-demo", "bridge-cli"),
    ("tests", "bridge-cli"),
    ("tests", "deploy-demo"),
];

/// A connector knows the words, the trait and its engine's wire: no keys, no Kafka, no ledger, no Avro.
const CONNECTOR_MAY_USE: &[&str] = &["bridge-event", "connectors-source", "bridge-pgwire"];

/// Outside things, and the rooms that may name them. The demo and the tests play the outside world.
const FOREIGN: &[(&str, &[&str])] = &[
    ("rdkafka", &["bridge-kafka"]),
    ("apache-avro", &["schemas", "bridge-envelope"]),
    ("ed25519-dalek", &["bridge-suite", "deploy-demo"]),
    ("aes-gcm", &["bridge-suite"]),
    ("hpke", &["bridge-suite"]),
    ("argon2", &["bridge-suite"]),
    ("rusqlite", &["connectors-sqlite", "deploy-demo", "tests"]),
    ("axum", &["bridge-ledger", "bridge-pipeline", "bridge-subscriber"]),
    ("ureq", &["bridge-ledger", "tests", "deploy-demo"]),
    ("openssl", &["bridge-pgwire"]),
    ("config", &["bridge-cli"]),
    ("clap", &["bridge-cli", "deploy-demo"]),
    ("moka", &["bridge-subscriber"]),
    ("prometheus", &["bridge-pipeline", "bridge-subscriber", "bridge-ledger"]),
];

/// Rooms below the line: no I/O, no clock, no randomness, no threads.
const RULES: &[&str] = &[
    "bridge/event",
    "bridge/suite",
    "bridge/tlog",
    "schemas",
    "bridge/envelope",
    "bridge/chain",
    "bridge/trust",
];

/// What a room below the line may not say outside its tests.
const OUTSIDE_WORLD: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "SystemTime",
    "Instant::now",
    "tokio",
    "getrandom",
    "thread_rng",
    "OsRng",
    "println!",
    "eprintln!",
];

/// Words that name nothing.
const BANNED_TYPE_ENDINGS: &[&str] =
    &["Manager", "Handler", "Helper", "Util", "Utils", "Base", "Impl", "Info", "Data", "Context"];
const BANNED_ROOMS: &[&str] = &["common", "core", "util", "utils", "types", "helpers", "misc", "shared"];

const FILE_LINES_MAX: usize = 620;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn tree(endings: &[&str]) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files failed");
    let mut files: Vec<PathBuf> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter(|f| endings.iter().any(|e| f.ends_with(e)))
        .map(PathBuf::from)
        .filter(|f| root().join(f).is_file())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no file ends in {endings:?}");
    files
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The lines of a source file outside its `#[cfg(test)]` module, numbered from 1, comments removed.
fn shipped_lines(file: &Path) -> Vec<(usize, String)> {
    let text = text(file);
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        lines.push((number + 1, code.to_owned()));
    }
    lines
}

fn complain(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let uses = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|d| d["kind"].is_null())
            .map(|d| d["name"].as_str().unwrap().to_owned())
            .collect();
        packages.insert(package["name"].as_str().unwrap().to_owned(), uses);
    }
    packages
}

fn floor(package: &str) -> Option<usize> {
    FLOORS.iter().position(|f| f.contains(&package))
}

#[test]
fn arrows_go_down_only() {
    let mut found = Vec::new();
    for (package, uses) in packages() {
        let Some(from) = floor(&package) else {
            found.push(format!("{package} stands on no floor: add it to FLOORS"));
            continue;
        };
        for used in &uses {
            let Some(to) = floor(used) else { continue };
            let sideways = SIDEWAYS.contains(&(package.as_str(), used.as_str()));
            if to > from || (to == from && !sideways) {
                found.push(format!("{package} -> {used}"));
            }
        }
    }
    complain("arrows that do not go down", found);
}

#[test]
fn a_connector_knows_the_words_and_the_trait_only() {
    let mut found = Vec::new();
    for (package, uses) in packages().iter().filter(|(p, _)| p.starts_with("connectors-")) {
        for used in uses.iter().filter(|u| floor(u).is_some() && !CONNECTOR_MAY_USE.contains(&u.as_str())) {
            found.push(format!("{package} -> {used}"));
        }
    }
    complain("connectors that know too much", found);
}

#[test]
fn each_foreign_name_lives_in_its_room() {
    let mut found = Vec::new();
    for (package, uses) in packages() {
        for (foreign, rooms) in FOREIGN {
            if uses.contains(*foreign) && !rooms.contains(&package.as_str()) {
                found.push(format!("{package} names {foreign}, which lives in {rooms:?}"));
            }
        }
    }
    complain("foreign names outside their rooms", found);
}

#[test]
fn every_dependency_of_the_workspace_is_used() {
    let manifest: toml::Table = text(Path::new("Cargo.toml")).parse().unwrap();
    let listed = manifest["workspace"]["dependencies"].as_table().unwrap();
    let mut used = BTreeSet::new();
    for file in tree(&["Cargo.toml"]) {
        let member: toml::Table = text(&file).parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(table) = member.get(section).and_then(|t| t.as_table()) {
                used.extend(table.keys().cloned());
            }
        }
    }
    let unused = listed.keys().filter(|name| !used.contains(*name)).cloned().collect();
    complain("dependencies that no room uses", unused);
}

#[test]
fn rooms_below_the_line_touch_nothing_outside() {
    let mut found = Vec::new();
    for file in tree(&[".rs"]) {
        let name = file.display().to_string();
        if !RULES.iter().any(|room| name.starts_with(&format!("{room}/src/"))) {
            continue;
        }
        for (number, line) in shipped_lines(&file) {
            for word in OUTSIDE_WORLD.iter().filter(|w| line.contains(**w)) {
                found.push(format!("{name}:{number}: {word}"));
            }
        }
    }
    complain("I/O, clocks or randomness below the line", found);
}

#[test]
fn files_stay_readable() {
    let long = tree(&[".rs", ".py", ".sh"])
        .into_iter()
        .map(|f| (text(&f).lines().count(), f))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, f)| format!("{}: {lines} lines; split it by noun", f.display()))
        .collect();
    complain("files over their length", long);
}

#[test]
fn names_say_what_a_thing_is() {
    let mut found = Vec::new();
    for file in tree(&[".rs"]) {
        let stem = file.file_stem().unwrap().to_string_lossy().to_string();
        if BANNED_ROOMS.contains(&stem.as_str()) {
            found.push(format!("{}: a file named {stem}", file.display()));
        }
        for (number, line) in shipped_lines(&file) {
            let words: Vec<&str> =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
            for pair in words.windows(2) {
                let (keyword, name) = (pair[0], pair[1]);
                if matches!(keyword, "struct" | "enum" | "trait" | "type")
                    && BANNED_TYPE_ENDINGS.iter().any(|e| name.ends_with(e))
                {
                    found.push(format!("{}:{number}: {name}", file.display()));
                }
                if keyword == "fn" && name.starts_with("get_") {
                    found.push(format!("{}:{number}: {name}", file.display()));
                }
                if keyword == "mod" && BANNED_ROOMS.contains(&name) {
                    found.push(format!("{}:{number}: mod {name}", file.display()));
                }
            }
        }
    }
    complain("names that say nothing", found);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "XX".to_owned() + "X",
        "unimple".to_owned() + "mented!",
    ];
    let mut found = Vec::new();
    for file in tree(&[".rs", ".py", ".sh", "Makefile"]) {
        for (number, line) in text(&file).lines().enumerate() {
            if marks.iter().any(|m| line.contains(m.as_str()))
                || line.contains("#[ignore") && !file.ends_with("tidy.rs")
            {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    complain("work left for later", found);
}

/// The stages' prefixes of error codes; a code is a prefix and three digits.
const CODE_PREFIXES: &[&str] = &[
    "CAP", "ENC", "SEA", "PUB", "APP", "ACK", "FET", "VER", "OPE", "DEL", "CON", "TRU", "WIT", "CHA", "KEY",
    "CFG", "STA", "SUI", "TLO",
];

fn codes_in(line: &str) -> Vec<String> {
    let mut codes = Vec::new();
    let bytes = line.as_bytes();
    for start in 0..bytes.len().saturating_sub(5) {
        let Some(candidate) = line.get(start..start + 6) else { continue };
        let before = start.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(start + 6);
        if CODE_PREFIXES.iter().any(|p| candidate.starts_with(p))
            && candidate[3..].bytes().all(|b| b.is_ascii_digit())
            && !before.is_some_and(|b| b.is_ascii_alphanumeric())
            && !after.is_some_and(|b| b.is_ascii_alphanumeric())
        {
            codes.push(candidate.to_owned());
        }
    }
    codes
}

#[test]
fn each_error_code_has_its_page_and_each_page_its_code() {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for file in tree(&[".rs"]).into_iter().filter(|f| f.components().any(|c| c.as_os_str() == "src")) {
        for (number, line) in shipped_lines(&file) {
            for code in codes_in(&line) {
                said.entry(code).or_insert_with(|| format!("{}:{number}", file.display()));
            }
        }
    }
    assert!(said.len() > 10, "the search for codes found only {said:?}");
    let mut found = Vec::new();
    for (code, place) in &said {
        let page = root().join(format!("docs/errors/{code}.md"));
        let Ok(page) = std::fs::read_to_string(&page) else {
            found.push(format!("{place}: {code} has no page docs/errors/{code}.md"));
            continue;
        };
        for part in ["## What happened", "## What it means for the evidence", "## What to do"] {
            if !page.contains(part) {
                found.push(format!("docs/errors/{code}.md lacks `{part}`"));
            }
        }
    }
    for page in tree(&[".md"]).iter().filter(|f| f.starts_with("docs/errors")) {
        let code = page.file_stem().unwrap().to_string_lossy().to_string();
        if code != "README" && !said.contains_key(&code) {
            found.push(format!("{}: no source file says {code}", page.display()));
        }
    }
    complain("codes and pages that do not match", found);
}

#[test]
fn each_spec_has_its_vectors() {
    let mut found = Vec::new();
    let mut specs = 0;
    for page in tree(&[".md"]).iter().filter(|f| f.starts_with("docs/spec") && !f.ends_with("README.md")) {
        specs += 1;
        let format = page.file_stem().unwrap().to_string_lossy().to_string();
        let folder = root().join("tests/vectors/govbridge").join(&format);
        let names: Vec<String> = std::fs::read_dir(&folder)
            .map(|d| d.map(|e| e.unwrap().file_name().to_string_lossy().to_string()).collect())
            .unwrap_or_default();
        if !names.iter().any(|n| n.starts_with("good")) {
            found.push(format!("{}: no vector tests/vectors/govbridge/{format}/good*", page.display()));
        }
        if !names.iter().any(|n| !n.starts_with("good")) {
            found.push(format!("{}: no failure in tests/vectors/govbridge/{format}", page.display()));
        }
    }
    assert!(specs >= 8, "only {specs} specs");
    complain("specs without vectors", found);
}

#[test]
fn no_document_names_a_machine() {
    let hosts =
        ["index.crates".to_owned() + ".io:", "arti".to_owned() + "factory", "/work/".to_owned() + "main"];
    let mut found = Vec::new();
    for file in tree(&[".rs", ".md", ".toml", ".py", ".sh", "Makefile", "run", ".lock"]) {
        for (number, line) in text(&file).lines().enumerate() {
            if hosts.iter().any(|h| line.contains(h.as_str())) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    complain("paths or hosts of one machine", found);
}
