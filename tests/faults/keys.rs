//! A subscriber without a key, with a wrong one, started in mid-stream; a trust file of a lower version.

use crate::reckoning::{Received, killed_by, refused};
use crate::running::{FAULT, Running};

/// Replaces a line of a configuration file.
fn edit(path: &std::path::Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Each process that remembers a trust file is started for the first time, and its memory is spoiled.
#[test]
fn a_process_that_cannot_keep_which_trust_file_it_saw_does_not_start_and_does_so_once_it_can() {
    let mut running = Running::after_the_snapshot(&[]);
    running.stop_auditor();
    let scene = &running.stage.scene;
    let start = |process: &str, fault: &str| match process {
        "connector" => running.connector_with(fault),
        "subscriber" => scene.subscriber_with("audit", &[(FAULT, fault)]),
        _ => scene.witness_with("social-security", &[(FAULT, fault)]),
    };
    let memories = [
        ("connector", scene.tax()),
        ("subscriber", scene.folder().join("audit")),
        ("witness", scene.witness_folder("social-security")),
    ];
    for (process, folder) in memories {
        let memory = folder.join("trust.seen");
        let _ = std::fs::remove_file(&memory);
        for fate in ["lost", "full", "killed", "reported"] {
            let fault = format!("disk-trust-state-{fate}:1");
            if fate == "killed" {
                killed_by(start(process, &fault), &fault);
            } else {
                let said = refused(start(process, &fault), 3, "TRU024");
                assert!(said.contains("the fault switch spoils this write"), "{fault} did not fire: {said}");
            }
            assert_eq!(memory.exists(), fate == "reported", "{process} {fate}");
        }
        let kept = std::fs::read_to_string(&memory).unwrap();
        assert!(kept.starts_with("1 ") && kept.ends_with('\n'), "{kept}");
    }
    let witness = scene.witness("social-security");
    let auditor = scene.subscriber("audit");
    running.auditor = Some(auditor);
    running.reckon();
    assert_eq!(witness.stop().0.code(), Some(0));
}

#[test]
fn a_subscriber_without_its_key_or_with_a_wrong_one_opens_nothing_and_goes_on_with_the_right_one() {
    let mut running = Running::after_the_snapshot(&[]);
    running.stop_auditor();
    let mut connector = running.connector();
    connector.healthy();
    let scene = &running.stage.scene;
    let config = scene.folder().join("audit/subscriber.toml");
    let right = "recipient = [\"../keys/audit-recipient.key\"]";
    let before = scene.rows("audit");

    edit(&config, right, "");
    refused(scene.subscriber("audit"), 1, "OPE010");
    edit(&config, "[keys]\n", &format!("[keys]\n{right}\n"));

    // Another department's key is refused before anything is read; one of one's own that the trust file does not name,
    // when it opens nothing.
    edit(&config, right, "recipient = [\"../keys/education-recipient.key\"]");
    refused(scene.subscriber("audit"), 2, "KEY005");
    scene.run(&["keygen", "--role", "recipient", "--name", "audit", "--out", "keys/other.key"]);
    edit(&config, "education-recipient.key", "other.key");
    refused(scene.subscriber("audit"), 1, "OPE010");
    assert_eq!(scene.rows("audit"), before, "nothing was delivered");

    edit(&config, "other.key", "audit-recipient.key");
    running.auditor = Some(scene.subscriber("audit"));
    running.all_arrives();
    running.reckon_with(connector);
}

#[test]
fn a_subscriber_that_begins_in_mid_stream_says_where_and_misses_nothing_after_it() {
    let mut running = Running::after_the_snapshot(&[]);
    let mut connector = running.connector();
    connector.healthy();
    running.all_arrives();
    // What waited for the connector is one batch; now there are many, and beacons between them.
    running.application.as_ref().unwrap().goes_on(150);
    running.all_arrives();
    let scene = &running.stage.scene;
    scene.make_subscriber("social-security", "start = \"latest\"");
    let mut late = scene.subscriber("social-security");
    late.until("it has begun", || !scene.rows("social-security").is_empty());
    assert!(late.said().contains("VER082"), "{}", late.said());
    crate::reckoning::has_page("VER082");
    running.application.as_ref().unwrap().goes_on(50);
    let until = running.stage.source().into_keys().max().unwrap();
    late.until("it has a row that was written after its start", || {
        scene.rows("social-security").iter().any(|line| line.contains(&format!("\"payment_id\":{until},")))
    });
    assert_eq!(late.stop().0.code(), Some(0));
    let lines = scene.rows("social-security");
    assert!(lines.iter().all(|line| !line.contains("\"op\":\"r\"")), "what came before is not in it");
    assert!(lines[0].contains("\"started\":{\"at\":\"beacon\""), "{}", lines[0]);
    let late = places(&lines);
    running.all_arrives();
    let all = places(&running.stage.scene.rows("audit"));
    let begin = all.iter().position(|place| *place == late[0]).unwrap();
    assert!(begin > 0, "it began in mid-stream: {}", lines[0]);
    assert_eq!(all[begin..begin + late.len().min(all.len() - begin)], late);
    running.reckon_with(connector);
}

/// Commit and ordinal of each change.
fn places(lines: &[String]) -> Vec<(u64, u64)> {
    let place = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Some((line["source"]["commit"].as_u64()?, line["source"]["ordinal"].as_u64()?))
    };
    lines.iter().filter(|line| !line.contains("\"op\":\"r\"")).filter_map(place).collect()
}

#[test]
fn a_trust_file_of_a_lower_version_is_refused_by_every_process() {
    let mut running = Running::after_the_snapshot(&[]);
    running.stop_auditor();
    let scene = &running.stage.scene;
    scene.run(&[
        "trust",
        "add",
        "trust-2.note",
        "--previous",
        "trust-1.note",
        "department",
        "--name",
        "health",
        "--title",
        "health",
    ]);
    scene.run(&["trust", "sign", "trust-2.note", "--previous", "trust-1.note", "--key", "keys/root.key"]);
    let configs = ["tax/connector.toml", "audit/subscriber.toml", "witness-tax/witness.toml"];
    let one = "file = \"../trust-1.note\"";
    for config in configs {
        edit(&scene.folder().join(config), one, "file = [\"../trust-1.note\", \"../trust-2.note\"]");
    }
    // All three see version 2.
    let mut connector = scene.connector();
    connector.healthy();
    let mut auditor = scene.subscriber("audit");
    auditor.healthy();
    let mut witness = scene.witness("tax");
    witness.healthy();
    for process in [connector, auditor, witness] {
        assert_eq!(process.stop().0.code(), Some(0));
    }
    for config in configs {
        edit(&scene.folder().join(config), "file = [\"../trust-1.note\", \"../trust-2.note\"]", one);
    }
    refused(scene.connector(), 2, "TRU007");
    refused(scene.subscriber("audit"), 2, "TRU007");
    refused(scene.witness("tax"), 2, "TRU007");
    for config in configs {
        edit(&scene.folder().join(config), one, "file = [\"../trust-1.note\", \"../trust-2.note\"]");
    }
    running.auditor = Some(scene.subscriber("audit"));
    let received: Received = running.reckon();
    assert!(received.levels.contains("witnessed"));
}
