//! The receiving side: kill -9 of the subscriber between each pair of stages and at each of its durable writes, and disks
//! that refuse.

use std::fs::OpenOptions;
use std::time::Duration;

use crate::process::{Binary, Process};
use crate::reckoning::{killed_by, refused};
use crate::running::{FAULT, Running, SMALL_BATCHES};

/// The trial cluster keeps 5 MiB of a topic, and each row is a batch of 4 KB: what a subscriber has not read, while it is
/// killed eleven times, must still be there.
const SLOWLY: Duration = Duration::from_millis(50);

/// Each point of the receiving flow, early and later.
const POINTS: [&str; 11] = [
    "after-fetch:1",
    "after-fetch:20",
    "after-verify:1",
    "after-open:2",
    "before-fsync:1",
    "before-fsync:5",
    "after-fsync:1",
    "after-fsync:5",
    "before-progress:2",
    "after-progress:1",
    "after-progress:5",
];

/// Kills the auditor's subscriber at each point; every start goes on where the progress stands.
fn killed_at_each_point(subscriber: &str) {
    let mut running = Running::received_with(subscriber, SMALL_BATCHES, SLOWLY);
    running.stop_auditor();
    let mut connector = running.connector();
    connector.healthy();
    for point in POINTS {
        killed_by(running.stage.scene.subscriber_with("audit", &[(FAULT, point)]), point);
    }
    running.auditor = Some(running.stage.scene.subscriber("audit"));
    running.all_arrives();
    running.reckon_with(connector);
}

#[test]
fn a_subscriber_killed_between_any_two_stages_delivers_every_row_once() {
    killed_at_each_point("");
}

#[test]
fn a_subscriber_in_mode_source_killed_between_any_two_stages_delivers_whole_transactions_once() {
    killed_at_each_point("mode = \"source\"");
}

#[test]
fn rows_that_a_power_cut_took_from_the_sink_are_delivered_again() {
    let mut running = Running::after_the_snapshot(&[]);
    running.stop_auditor();
    let mut connector = running.connector();
    connector.healthy();
    let folder = running.stage.scene.folder().join("audit");
    let progress = std::fs::read(folder.join("progress/progress")).unwrap();
    // Written and not synced: the system may have none of it after a power cut, or a part that ends anywhere.
    for (fault, keep) in [("before-fsync:1", 0), ("before-fsync:1", 100)] {
        let delivered = delivered_bytes(&folder);
        killed_by(running.stage.scene.subscriber_with("audit", &[(FAULT, fault)]), fault);
        let sink = OpenOptions::new().write(true).open(folder.join("rows.jsonl")).unwrap();
        assert!(sink.metadata().unwrap().len() > delivered + keep, "there was something to lose");
        sink.set_len(delivered + keep).unwrap();
    }
    // Delivered and synced, and only the progress was lost: the rows are cut off and delivered again.
    killed_by(running.stage.scene.subscriber_with("audit", &[(FAULT, "after-fsync:2")]), "after-fsync:2");
    std::fs::write(folder.join("progress/progress"), progress).unwrap();
    running.auditor = Some(running.stage.scene.subscriber("audit"));
    running.all_arrives();
    running.reckon_with(connector);
}

/// How far the progress says that the sink was synced.
fn delivered_bytes(folder: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("progress/progress")).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    json["sink"]["bytes"].as_u64().unwrap()
}

#[test]
fn a_sink_that_may_not_grow_ends_the_subscriber_by_name_and_it_goes_on_once_it_may() {
    let mut running = Running::after_the_snapshot(&[]);
    running.stop_auditor();
    let mut connector = running.connector();
    connector.healthy();
    let folder = running.stage.scene.folder().join("audit");
    // The write that crosses the limit is done in part and reported as failed.
    let own = std::env::current_exe().unwrap();
    let binary = own.ancestors().nth(2).unwrap().join("govbridge");
    let blocks = std::fs::metadata(folder.join("rows.jsonl")).unwrap().len() / 512 + 8;
    let script = format!(
        "trap '' XFSZ; ulimit -f {blocks}; exec {} subscriber --config subscriber.toml",
        binary.display()
    );
    let limited = Process::start(&Binary::at("/bin/sh"), "limited", &folder, &["-c", &script], &[]);
    refused(limited, 3, "DEL011");
    // A progress that cannot be written: a folder stands in its place.
    std::fs::create_dir(folder.join("progress/progress.tmp")).unwrap();
    refused(running.stage.scene.subscriber("audit"), 3, "DEL011");
    std::fs::remove_dir(folder.join("progress/progress.tmp")).unwrap();
    running.auditor = Some(running.stage.scene.subscriber("audit"));
    running.all_arrives();
    // Two cannot deliver into one file.
    refused(running.stage.scene.subscriber("audit"), 3, "DEL010");
    running.reckon_with(connector);
}

/// Each durable write of a subscriber, and at which one of its kind it is spoiled.
const WRITES: [(&str, u32); 4] = [("sink", 1), ("sink", 4), ("progress", 1), ("progress", 4)];

/// Spoils the auditor's durable writes, one start after the other; each next start goes on.
fn each_write(spoil: impl Fn(&Running, &str)) {
    let mut running = Running::received_with("", SMALL_BATCHES, SLOWLY);
    running.stop_auditor();
    let mut connector = running.connector();
    connector.healthy();
    for (act, at) in WRITES {
        spoil(&running, &format!("disk-{act}-FATE:{at}"));
        // Rows that are synced and not in the progress: the next start has something to cut back.
        killed_by(
            running.stage.scene.subscriber_with("audit", &[(FAULT, "before-progress:3")]),
            "before-progress:3",
        );
        spoil(&running, "disk-sink-cut-FATE:1");
    }
    running.auditor = Some(running.stage.scene.subscriber("audit"));
    running.all_arrives();
    running.reckon_with(connector);
}

fn ended_by_the_disk(running: &Running, fault: &str) {
    let said = refused(running.stage.scene.subscriber_with("audit", &[(FAULT, fault)]), 3, "DEL011");
    assert!(said.contains("the fault switch spoils this write"), "{fault} did not fire: {said}");
}

#[test]
fn a_subscriber_killed_in_the_place_of_a_durable_write_delivers_every_row_once() {
    each_write(|running, fault| {
        let fault = fault.replace("FATE", "killed");
        killed_by(running.stage.scene.subscriber_with("audit", &[(FAULT, &fault)]), &fault);
    });
}

#[test]
fn a_durable_write_that_is_lost_ends_the_subscriber_and_the_next_start_delivers_it() {
    each_write(|running, fault| ended_by_the_disk(running, &fault.replace("FATE", "lost")));
}

#[test]
fn a_durable_write_of_the_subscriber_that_is_done_and_reported_as_failed_is_not_done_twice() {
    each_write(|running, fault| ended_by_the_disk(running, &fault.replace("FATE", "reported")));
}

#[test]
fn a_full_disk_ends_the_subscriber_by_name_and_it_goes_on_once_there_is_room() {
    each_write(|running, fault| ended_by_the_disk(running, &fault.replace("FATE", "full")));
}
