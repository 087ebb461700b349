//! `make e2e`, bounded: the path on a real PostgreSQL and a real Kafka, and every act of tampering on real topics.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[allow(dead_code, unreachable_pub, reason = "tests/process.rs has hands that only other tests need")]
#[path = "../../../tests/process.rs"]
mod process;

use std::process::{Command, Stdio};

use process::{Binary, repository};

/// What all of it may take on a loaded machine, in seconds.
const PATIENCE: &str = "480";

#[test]
fn three_departments_on_real_servers_lose_nothing_and_every_act_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let binary = Binary::beside_this();
    let script = repository().join("deploy/dev/e2e.sh");
    let done = Command::new("timeout")
        .args([PATIENCE, script.to_str().unwrap(), "--seconds", "8"])
        .env("E2E_SERVICES", folder.path().join("services"))
        .env("GOVBRIDGE_PROGRAMS", binary.path().parent().unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{said}\n{complained}", done.status);
    for expected in [
        "On real servers: PostgreSQL",
        "each committed change exactly once",
        "each once and in the order of its commit",
        "rows in 6 tables of PostgreSQL; row for row what the sources hold in the granted columns",
        "12 of 12 acts were noticed",
        "Everything arrived exactly once, and every act was noticed.",
    ] {
        assert!(said.contains(expected), "{expected}: {said}\n{complained}");
    }
    assert!(!folder.path().join("services").exists(), "the servers and what they kept are gone");
    assert!(!folder.path().join("run").exists(), "the working folder is gone");
}
