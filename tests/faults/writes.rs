//! Each durable write of the log: killed in its place, lost, done and reported as failed, refused by a full disk.

use crate::running::{Running, SMALL_BATCHES};

/// Each durable write of a log, and at which one of its kind it is spoiled.
const WRITES: [(&str, u32); 9] = [
    ("journal-append", 1),
    ("journal-append", 9),
    ("journal-replace", 1),
    ("bundle", 1),
    ("tile", 2),
    ("own-checkpoint", 2),
    ("checkpoint", 2),
    ("heads", 1),
    ("acknowledged", 1),
];

fn each_write(spoil: impl Fn(&Running, &str, u32)) {
    // With small batches the log fills a bundle of 256 entries, and with it its journal, in a second or two.
    let mut running = Running::after_the_snapshot(SMALL_BATCHES);
    for (turn, (act, at)) in WRITES.iter().enumerate() {
        spoil(&running, act, *at);
        if turn % 3 == 2 {
            running.one_good_life();
        }
    }
    running.reckon();
}

#[test]
fn a_connector_killed_in_the_place_of_a_durable_write_repeats_and_loses_nothing() {
    each_write(|running, act, at| running.kill_connector(&format!("disk-{act}-killed:{at}")));
}

#[test]
fn a_durable_write_that_is_lost_ends_the_connector_and_the_next_start_goes_on() {
    each_write(|running, act, at| running.end_connector(&format!("disk-{act}-lost:{at}"), 3, "APP006"));
}

#[test]
fn a_durable_write_that_is_done_and_reported_as_failed_is_not_done_twice() {
    each_write(|running, act, at| running.end_connector(&format!("disk-{act}-reported:{at}"), 3, "APP006"));
}

#[test]
fn a_full_disk_ends_the_connector_by_name_and_it_goes_on_once_there_is_room() {
    each_write(|running, act, at| running.end_connector(&format!("disk-{act}-full:{at}"), 3, "APP007"));
}
