//! The guide `docs/guide/first-table.md` is run as it stands, so that it stays true.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[allow(dead_code, unreachable_pub, reason = "tests/process.rs has hands that only other tests need")]
#[path = "../../../tests/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use deploy_ports::Port;
use process::{Binary, repository};

/// What the shell may take on a loaded machine, in seconds. `timeout` then ends all that it started.
const PATIENCE: &str = "300";

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join("docs/guide").join(name)).unwrap()
}

/// The commands of a page: its blocks that are marked as shell.
fn commands(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

/// The folder of both programs.
fn programs() -> PathBuf {
    let folder = Binary::beside_this().path().parent().unwrap().to_owned();
    assert_eq!(Path::new(env!("CARGO_BIN_EXE_govbridge-demo")).parent().unwrap(), folder);
    folder
}

#[test]
fn the_guide_to_a_first_table_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let [log, witness] = [Port::reserve().unwrap(), Port::reserve().unwrap()];
    let script = commands(&page("first-table.md"))
        .join("\n")
        .replace("7101", &log.number().to_string())
        .replace("7201", &witness.number().to_string());
    let script = format!("trap 'kill $(jobs -p) 2> jobs.words || true' EXIT\n{script}\n");
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap());
    let done = Command::new("timeout")
        .args([PATIENCE, "bash", "-eu", "-o", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let own = folder.path().join("first-table");
    let read = |name: &str| std::fs::read_to_string(own.join(name)).unwrap_or_default();
    let words = ["connector.words", "subscriber.words", "witness.words"].map(read).join("\n");
    assert!(done.status.success(), "{}\n{said}\n{complained}\n{words}", done.status);
    for expected in [
        "columns that leave the database for no one: note",
        "good: gov.example version 1",
        "tax.db is captured",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    for verdict in ["\nclean: every batch verifies", "\nhalts VER071", "\nexit code 1\n", "\nexit code 2\n"] {
        assert!(said.contains(verdict), "{verdict}: {said}");
    }
    let rows = read("rows.jsonl");
    assert!(rows.contains("\"81.00\"") && !rows.contains("for us alone"), "{rows}");
    assert!(read("altered.words").contains("DEL013"), "{}", read("altered.words"));
    assert!(read("entries.txt").starts_with("is: entry bundle"), "{}", read("entries.txt"));
}

#[test]
fn both_languages_of_the_guide_have_the_same_commands() {
    assert_eq!(commands(&page("first-table.md")), commands(&page("first-table.zh-CN.md")));
}
