//! The real binary as a witness.

use super::scene;
use crate::process::{DEPARTMENTS, ORIGIN, metric};

#[test]
fn a_quorum_of_witnesses_cosigns_and_one_that_was_killed_comes_back() {
    let (scene, _cluster) = scene(&["payments"]);
    let mut witnesses: Vec<_> = DEPARTMENTS.iter().map(|department| scene.witness(department)).collect();
    let mut addresses = Vec::new();
    for witness in &mut witnesses {
        addresses.push(witness.healthy());
    }
    let mut connector = scene.connector();
    let address = connector.healthy();
    connector
        .until("the newest checkpoint has its quorum", || metric(&address, "govbridge_append_quorum") == 1);
    connector.until("all four have cosigned", || {
        addresses.iter().all(|address| metric(address, "govbridge_witness_cosigned_entries") > 0)
    });
    let shown = scene.run(&["log", "show", "--directory", "tax/log"]);
    assert!(shown.contains("cosigned by gov.example/audit/witness at "), "{shown}");

    // Killed in the place of a durable write, and started again.
    let audit = witnesses.pop().unwrap();
    let second = scene.try_run(&["witness", "--config", "witness-audit/witness.toml"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains("docs/errors/WIT012.md"), "{said}");
    audit.kill();
    let audit = scene.witness_with("audit", &[("GOVBRIDGE_FAULT", "disk-witness-state-killed:2")]);
    scene.pay(100_000..100_010);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&audit.wait()), Some(9));
    // A state that could not be stored ends the process, which cosigns nothing from memory.
    let audit = scene.witness_with("audit", &[("GOVBRIDGE_FAULT", "disk-witness-state-reported:1")]);
    scene.pay(100_010..100_020);
    assert_eq!(audit.wait().code(), Some(3));
    let mut audit = scene.witness("audit");
    let own = audit.healthy();
    let before = metric(&own, "govbridge_witness_cosigned_entries");
    scene.pay(100_020..100_030);
    audit.until("it cosigns again", || metric(&own, "govbridge_witness_cosigned_entries") > before);

    assert_eq!(connector.stop().0.code(), Some(0));
    for witness in witnesses.into_iter().chain([audit]) {
        let (status, took) = witness.stop();
        assert_eq!(status.code(), Some(0));
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_later_log_is_added_by_a_command_and_never_by_a_start() {
    let (scene, _cluster) = scene(&["payments"]);
    let refused = |words: &[&str], exit: i32, code: &str| {
        let done = scene.try_run(words);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(exit), "{said}");
        assert!(said.contains(code), "{said}");
    };
    let config = "witness-audit/witness.toml";
    refused(&["witness", "init", "--config", config], 2, "WIT011");
    refused(&["witness", "add-log", "--config", config, "--origin", "gov.example/tax/later"], 2, "TRU021");
    refused(&["witness", "add-log", "--config", config, "--origin", ORIGIN], 2, "WIT011");
    let logs = scene.folder().join("witness-audit/state/logs");
    std::fs::remove_dir_all(&logs).unwrap();
    refused(&["witness", "--config", config], 2, "WIT014");
    std::fs::create_dir(&logs).unwrap();
    scene.run(&["witness", "add-log", "--config", config, "--origin", ORIGIN]);
    let mut witness = scene.witness("audit");
    witness.healthy();
    assert_eq!(witness.stop().0.code(), Some(0));
}
