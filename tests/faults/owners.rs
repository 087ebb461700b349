//! Two connectors of one source: the second is refused; a stopped one is replaced and ends itself when it goes on.

use std::time::Duration;

use crate::process::{Process, metric};
use crate::reckoning::{PACE, has_page, refused};
use crate::running::Running;

/// A checkpoint is several durable writes, and nobody is replaced inside a write.
const CALM: &[(&str, &str)] = &[("GOVBRIDGE__INTERVALS__CHECKPOINT_MS", "1000")];

/// On a loaded machine a process stands inside a write more often than not.
const ATTEMPTS: u32 = 100;

/// What a connector says whose source is held by somebody's write.
const BUSY: &str = "CAP001";

#[test]
fn a_second_connector_on_one_source_is_refused_whatever_log_it_has() {
    let mut running = Running::after_the_snapshot(&[]);
    let mut first = running.connector();
    first.healthy();
    refused(running.connector(), 3, "APP001");
    // One with a log of its own is stopped by the source's claim.
    let scene = &running.stage.scene;
    let origin = crate::process::ORIGIN;
    scene.run(&["log", "init", "--directory", "tax/other", "--origin", origin, "--key", "keys/tax-log.key"]);
    let environment = [("GOVBRIDGE__LOG__DIRECTORY", "other"), ("GOVBRIDGE__HTTP__LISTEN", "127.0.0.1:0")];
    refused(scene.connector_with(&[], &environment), 3, "CAP002");
    running.all_arrives();
    running.reckon_with(first);
}

/// Starts a connector that stops itself at a fault, and waits until it stands still.
fn stopped_at(running: &Running, fault: &str) -> Process {
    let name = fault.split_once(':').unwrap().0;
    let said = running.stage.scene.tax().join("connector.err");
    let from = std::fs::read_to_string(&said).unwrap().len();
    let mut old = running.stage.scene.connector_with(&[], &[(crate::running::FAULT, fault)]);
    old.until("it stopped itself", || {
        let said = std::fs::read_to_string(&said).unwrap();
        let fired = |line: &str| line.contains("the fault switch") && line.contains(name);
        said[from.min(said.len())..].lines().any(fired)
    });
    old
}

#[test]
fn a_connector_that_stands_between_two_writes_is_replaced_at_once_and_ends_when_it_goes_on() {
    let mut running = Running::received_with("level = \"logged\"", CALM, PACE);
    let (old, new) = stopped_and_replaced(&running, "after-publish-paused:5");
    if !new.said().contains(BUSY) {
        running.all_arrives();
    }
    old.go_on();
    let (status, said) = old.end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(["STA026", "APP002", "APP003", "CAP003"].iter().any(|code| said.contains(code)), "{said}");
    running.all_arrives();
    running.reckon_with(new);
}

#[test]
fn a_connector_that_stands_inside_a_write_is_not_replaced_until_it_is_killed_and_works_on_when_continued() {
    let mut running = Running::after_the_snapshot(&[]);
    for continued in [false, true] {
        let old = stopped_at(&running, "disk-journal-append-paused:10");
        let environment = [("GOVBRIDGE__HTTP__LISTEN", "127.0.0.1:0")];
        let said = refused(running.stage.scene.connector_with(&["--take-over"], &environment), 3, "APP013");
        assert!(said.contains(&format!("kill -9 {}", old.id())), "{said}");
        if continued {
            old.go_on();
            running.all_arrives();
            running.reckon_with(old);
            return;
        }
        old.kill();
        running.one_good_life();
    }
}

/// A connector that stopped itself at a fault, and the one that took over from it. Its other threads stand wherever they
/// were: when one of them stands inside a write, the old one is ended and all is done again.
fn stopped_and_replaced(running: &Running, fault: &str) -> (Process, Process) {
    for _ in 0..ATTEMPTS {
        let old = stopped_at(running, fault);
        match successor(running) {
            Ok(new) => return (old, new),
            Err(refusal) => {
                refused(refusal, 3, "APP013");
                old.kill();
            }
        }
    }
    panic!("another thread stood inside a write each time");
}

/// A connector that takes over, once it has started, or waits for the source because the old one stands inside a write
/// there; `Err` when it is refused.
fn successor(running: &Running) -> Result<Process, Process> {
    // The old one still has the port.
    let environment = [CALM, &[("GOVBRIDGE__HTTP__LISTEN", "127.0.0.1:0")]].concat();
    let mut new = running.stage.scene.connector_with(&["--take-over"], &environment);
    while !new.has_ended() && !new.said().contains("\"the connector starts\"") {
        std::thread::sleep(Duration::from_millis(10));
    }
    if new.has_ended() {
        return Err(new);
    }
    let address = new.address();
    new.until_it_says_or(BUSY, || metric(&address, "govbridge_publish_starts_total") > 0);
    Ok(new)
}

/// Whether the connector that stands still has the right to write into its log.
fn stands_inside_a_write(running: &Running) -> bool {
    let lock = std::fs::File::open(running.stage.scene.tax().join("log/append.lock")).unwrap();
    matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

/// Takes over from a connector that stands still: `--take-over` refuses while it stands inside a write, so that nothing
/// of it can come later, and is tried again elsewhere.
fn take_over(running: &Running, old: &Process) -> Process {
    for _ in 0..ATTEMPTS {
        old.pause();
        if stands_inside_a_write(running) {
            // It would be refused after seconds, as another test shows.
            old.go_on();
            std::thread::sleep(Duration::from_millis(3));
            continue;
        }
        match successor(running) {
            Ok(new) => return new,
            Err(refusal) => refused(refusal, 3, "APP013"),
        };
        old.go_on();
    }
    panic!("the connector stood inside a write each time");
}

#[test]
fn a_connector_that_was_stopped_and_replaced_ends_itself_when_it_goes_on_and_nothing_comes_twice() {
    // The witnesses read the log at the old one's address, which the new one cannot have: there is no quorum.
    let mut running = Running::received_with("level = \"logged\"", CALM, PACE);
    let mut old = running.connector();
    old.healthy();
    // Stopped wherever it is, under load, with batches in flight.
    running.all_arrives();
    let mut new = take_over(&running, &old);
    if !new.said().contains(BUSY) {
        running.all_arrives();
    }
    old.go_on();
    let (status, said) = old.end();
    assert_eq!(status.code(), Some(3), "{said}");
    let code = ["STA026", "APP002", "APP003", "CAP003"].into_iter().find(|code| said.contains(code));
    has_page(code.unwrap_or_else(|| panic!("no code of a lost ownership in\n{said}")));
    new.healthy();
    running.application.as_ref().unwrap().goes_on(50);
    running.all_arrives();
    running.reckon_with(new);
}

#[test]
fn a_connector_that_starts_while_somebody_writes_in_its_source_waits_and_then_goes_on() {
    let mut running = Running::after_the_snapshot(&[]);
    let mut writer = running.stage.scene.application();
    let writing = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let mut connector = running.connector();
    connector.until_it_says(BUSY);
    has_page(BUSY);
    writing.rollback().unwrap();
    running.all_arrives();
    running.reckon_with(connector);
}
