//! A log whose disk was restored from a backup while source, Kafka and witnesses went on.

use std::path::Path;
use std::process::Command;

use crate::reckoning::refused;
use crate::running::{Running, quorum};

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success(), "{} is not copied", from.display());
}

/// The entries that it lacks were witnessed, and new ones in their place would be a fork.
#[test]
fn a_log_that_was_restored_from_an_older_copy_halts_the_connector_whether_witnesses_answer_or_not() {
    let mut running = Running::after_the_snapshot(&[]);
    let log = running.stage.scene.tax().join("log");
    let (older, newest) = (log.with_file_name("older"), log.with_file_name("newest"));
    running.one_good_life();
    copy(&log, &older);
    running.one_good_life();
    std::fs::rename(&log, &newest).unwrap();
    std::fs::rename(&older, &log).unwrap();
    refused(running.connector(), 1, "STA029");
    // What the source was told to forget is known, and the entries are not.
    std::fs::copy(newest.join("acknowledged"), log.join("acknowledged")).unwrap();
    refused(running.connector(), 1, "STA001");
    for witness in running.witnesses.drain(..) {
        assert_eq!(witness.stop().0.code(), Some(0));
    }
    // Kafka alone knows better: the newest beacon has the log's size.
    refused(running.connector(), 1, "STA001");
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&newest, &log).unwrap();
    running.witnesses = quorum(&running.stage);
    running.reckon();
}
