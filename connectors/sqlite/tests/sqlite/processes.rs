//! Processes that are killed, stopped, or race each other. The children are this test binary itself.

use crate::bench::{Register, claimant};
use bridge_event::At;
use connectors_source::conformance::{Recorder, read};
use connectors_source::{Polled, Source, SourceError};
use connectors_sqlite::{SqliteSource, holder};
use rusqlite::Connection;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

const PART: &str = "GOVBRIDGE_TEST_PART";
const FILE: &str = "GOVBRIDGE_TEST_FILE";

fn register() -> Register {
    Register::of("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", &["id", "name"], &["id"])
}

/// Not a test by itself: what a child process does, when one of the tests below starts it.
#[test]
fn a_child_plays_its_part() {
    let (Ok(part), Ok(file)) = (std::env::var(PART), std::env::var(FILE)) else { return };
    match part.as_str() {
        "write" => write_without_end(Path::new(&file)),
        "hold" => hold(Path::new(&file)),
        other => panic!("no part {other}"),
    }
}

/// Opens a transaction, writes rows until it is killed.
fn write_without_end(file: &Path) {
    let connection = Connection::open(file).unwrap();
    // A small cache makes SQLite write pages of the open transaction into the write-ahead log.
    connection.execute_batch("PRAGMA cache_size = 10; BEGIN IMMEDIATE").unwrap();
    for id in 1000.. {
        connection.execute("REPLACE INTO t VALUES (?1, ?2)", (id, "x".repeat(500))).unwrap();
        if id == 3000 {
            println!("ready");
        }
    }
}

/// Claims the file, then polls and acknowledges until it is refused.
fn hold(file: &Path) {
    let tables = vec![crate::bench::table("t", &["id", "name"], &["id"])];
    let mut source = SqliteSource::claim(file, &tables, &claimant()).unwrap();
    println!("ready");
    loop {
        match source.poll(Duration::from_millis(5), &mut Recorder::default()) {
            Ok(_) => {}
            Err(error) => {
                println!("{}", error.code());
                return;
            }
        }
    }
}

struct Part(Child);

impl Part {
    fn start(part: &str, file: &Path) -> Part {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::a_child_plays_its_part", "--nocapture"])
            .env(PART, part)
            .env(FILE, file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Part(child)
    }

    /// Waits for a line that ends so.
    fn wait_for(&mut self, word: &str) {
        let mut lines = BufReader::new(self.0.stdout.as_mut().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            if line.trim_end().ends_with(word) {
                return;
            }
            line.clear();
        }
        panic!("the child ended without saying {word}");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_writer_killed_in_the_middle_of_its_transaction_leaves_nothing_half() {
    let register = register();
    register.application().execute_batch("INSERT INTO t VALUES (1, 'before')").unwrap();
    let mut source = register.claim().unwrap();
    let mut child = Part::start("write", &register.path());
    child.wait_for("ready");
    let mut recorder = Recorder::default();
    // The writer holds the lock: what was committed before it waits for its boundary.
    assert!(matches!(source.poll(Duration::ZERO, &mut recorder), Ok(Polled::Idle { .. })));
    child.signal("-KILL");
    child.0.wait().unwrap();
    read(&mut source, &mut recorder);
    register.application().execute_batch("INSERT INTO t VALUES (2, 'after')").unwrap();
    read(&mut source, &mut recorder);
    let rows: Vec<usize> = recorder.taken.iter().map(|t| t.changes.len()).collect();
    assert_eq!(rows, [1, 1]);
    assert_eq!(recorder.taken[1].transaction.commit, 2, "ids of what was rolled back are used again");
}

#[test]
fn a_holder_killed_leaves_nothing_to_repair() {
    let register = register();
    let mut child = Part::start("hold", &register.path());
    child.wait_for("ready");
    match register.claim() {
        Err(SourceError::Claimed { holder }) => {
            assert!(holder.contains(&format!("process {} ", child.0.id())), "{holder}")
        }
        other => panic!("{other:?}"),
    }
    assert!(holder(&register.path()).unwrap().is_some());
    child.signal("-KILL");
    child.0.wait().unwrap();
    assert_eq!(holder(&register.path()).unwrap(), None);
    register.claim().unwrap();
}

#[test]
fn a_holder_that_was_stopped_and_taken_over_is_refused_when_it_wakes() {
    let register = register();
    let mut child = Part::start("hold", &register.path());
    child.wait_for("ready");
    child.signal("-STOP");
    assert!(matches!(register.claim(), Err(SourceError::Claimed { .. })));
    let mut source = SqliteSource::take_over(&register.path(), &register.tables, &claimant()).unwrap();
    register.application().execute_batch("INSERT INTO t VALUES (1, 'a')").unwrap();
    let at = read(&mut source, &mut Recorder::default());
    source.acknowledge(at).unwrap();
    child.signal("-CONT");
    child.wait_for("CAP003");
    assert!(source.acknowledged() > At::START);
    source.poll(Duration::ZERO, &mut Recorder::default()).unwrap();
}

#[test]
fn of_many_claims_at_once_one_is_granted() {
    let register = register();
    for _ in 0..20 {
        let together = Barrier::new(4);
        let claims: Vec<Result<SqliteSource, SourceError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        register.claim()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|c| c.is_ok()).count(), 1, "{claims:?}");
    }
}

#[test]
fn of_two_take_overs_the_last_holds_and_the_first_is_refused() {
    let register = register();
    let take_over = || SqliteSource::take_over(&register.path(), &register.tables, &claimant());
    let mut first = register.claim().unwrap();
    let mut second = take_over().unwrap();
    let mut third = take_over().unwrap();
    assert!(matches!(first.newest(), Err(SourceError::ClaimLost)));
    assert!(matches!(second.newest(), Err(SourceError::ClaimLost)));
    third.newest().unwrap();
    drop((first, second));
    assert!(matches!(register.claim(), Err(SourceError::Claimed { .. })));
}
