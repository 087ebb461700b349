//! The bench's own machinery with few rows: what it compares is equal, and it fails when a row is missing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap().to_path_buf()
}

/// The binary `govbridge` of this build, built when it is missing or older than its sources.
fn govbridge() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--locked", "-p", "bridge-cli"])
        .current_dir(repository())
        .status();
    assert!(built.unwrap().success(), "the binary could not be built");
    Path::new(env!("CARGO_BIN_EXE_figures")).parent().unwrap().join("govbridge")
}

fn figures(binary: &Path, folder: &Path, lines: &str, spoil: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_figures"));
    command.env("GOVBRIDGE", binary).env("BENCH_DIR", folder).env("LINES", lines).env("SPOIL", spoil);
    command.env("ROWS", "2000").env("LATENCY_SECONDS", "1").env("ROUNDS", "1").env("SUBSCRIBER", "");
    command.output().unwrap()
}

#[test]
fn two_thousand_rows_compare_equal_and_a_dropped_one_ends_the_run_with_1() {
    let (binary, folder) = (govbridge(), repository().join("target/bench-small"));
    let good = figures(&binary, &folder, "null,kafka,lines,tables,one,latency", "");
    let said = String::from_utf8_lossy(&good.stderr).into_owned();
    assert!(good.status.success(), "{said}");
    let report = std::fs::read_to_string(folder.join("bench.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let lines = report["lines"].as_array().unwrap();
    let compared: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["line"].as_str().unwrap(), line["compared"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        compared,
        [
            ("null reader", "-"),
            ("kafka", "counted"),
            ("lines", "row by row"),
            ("tables", "row by row"),
            ("one", "row by row")
        ]
    );
    assert!(
        lines.iter().all(|line| line["rows"] == 2000 && line["processes"][0]["peak_mib"] != 0.0),
        "{report}"
    );
    assert_eq!(report["latency"]["rows"], 1000);

    let spoiled = figures(&binary, &folder, "lines", "drop");
    let said = String::from_utf8_lossy(&spoiled.stderr).into_owned();
    assert_eq!(spoiled.status.code(), Some(1), "{said}");
    assert!(said.contains("row 11 is lost"), "{said}");
}
