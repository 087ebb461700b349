//! The scene that all tests of the path share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{DEPARTMENTS, PATIENCE, Process};
use crate::reckoning::Stage;

/// Processes at work. They end with the last test that holds them.
pub struct Province {
    /// Folders, transport, and hands to read both.
    pub stage: Stage,
    /// The connector's address.
    pub connector: String,
    /// The auditor's subscriber's address.
    pub auditor: String,
    next: AtomicI64,
    processes: Mutex<Vec<Process>>,
}

/// The scene that runs, or a new one.
pub fn province() -> Arc<Province> {
    static RUNNING: Mutex<Weak<Province>> = Mutex::new(Weak::new());
    // A test that panicked while it made the scene has left nothing that runs.
    let mut running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let made = Arc::new(Province::new());
        *running = Arc::downgrade(&made);
        made
    })
}

impl Province {
    fn new() -> Province {
        let stage = Stage::new(&["payments", "taxpayers"]);
        let mut processes: Vec<_> =
            DEPARTMENTS.iter().map(|department| stage.scene.witness(department)).collect();
        let mut connector = stage.scene.connector();
        let address = connector.healthy();
        stage.scene.make_subscriber("audit", "");
        stage.scene.make_subscriber("social-security", "");
        let mut auditor = stage.scene.subscriber("audit");
        let (own, path) = (auditor.address(), stage.scene.folder().join("audit/rows.jsonl"));
        auditor.until("the snapshots are delivered", || {
            std::fs::read_to_string(&path).unwrap_or_default().lines().count() >= 6
        });
        processes.extend([connector, auditor, stage.scene.subscriber("social-security")]);
        Province {
            stage,
            connector: address,
            auditor: own,
            next: AtomicI64::new(2_000_000),
            processes: Mutex::new(processes),
        }
    }

    /// Numbers for payments that no other test has.
    pub fn numbers(&self, count: i64) -> std::ops::Range<i64> {
        let first = self.next.fetch_add(count, Ordering::SeqCst);
        first..first + count
    }

    /// Executes statements as the tax department's application, in one transaction.
    pub fn execute(&self, sql: &str) {
        let sql = format!("BEGIN IMMEDIATE; {sql}; COMMIT");
        self.stage.scene.application().execute_batch(&sql).unwrap();
    }

    /// The lines of a department that speak of these payments, once there are so many.
    pub fn delivered(&self, department: &str, numbers: &std::ops::Range<i64>, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        until(&format!("{department} has {count} rows of {numbers:?}"), || {
            found = self.lines(department).into_iter().filter(|line| speaks_of(line, numbers)).collect();
            self.all_live();
            found.len() >= count
        });
        assert_eq!(found.len(), count, "{found:?}");
        found
    }

    /// A process that has ended delivers nothing more.
    fn all_live(&self) {
        let mut processes = self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for process in processes.iter_mut() {
            let said = if process.has_ended() { process.said() } else { continue };
            panic!("a process has ended:\n{said}");
        }
    }

    /// All lines of a department.
    pub fn lines(&self, department: &str) -> Vec<Value> {
        self.stage.scene.rows(department).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn speaks_of(line: &Value, numbers: &std::ops::Range<i64>) -> bool {
    let number = |state: &str| line[state]["payment_id"].as_i64();
    number("after").or(number("before")).is_some_and(|number| numbers.contains(&number))
}

/// An insert of a payment.
pub fn payment(number: i64) -> String {
    format!(
        "INSERT INTO payments VALUES ({number}, 'T9901000021', '增值税', '2026-09-01', '银行端查询缴税', NULL, '12.30', NULL);"
    )
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
