//! Running a subscriber until its sink has what is wanted.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::Path;
use std::time::{Duration, Instant};

use bridge_subscriber::{RunError, Subscriber, run};
use serde_json::Value;

/// No step takes this long unless it hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

pub fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("rows.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Runs until the sink has so many lines, or the subscriber ends by itself.
pub fn deliver(subscriber: Subscriber, folder: &Path, wanted: usize) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let until = async {
        let deadline = Instant::now() + LIMIT;
        while lines(folder).len() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} lines came", lines(folder).len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    runtime.block_on(run(subscriber, None, until))
}

pub fn halted(subscriber: Subscriber, folder: &Path) -> Vec<&'static str> {
    match deliver(subscriber, folder, usize::MAX) {
        Err(RunError::Halted(found)) => found.iter().map(|found| found.code).collect(),
        other => panic!("it did not halt: {other:?}"),
    }
}

pub fn ids(lines: &[Value]) -> Vec<i64> {
    let id = |line: &Value| line["after"]["id"].as_i64().or(line["before"]["id"].as_i64());
    lines.iter().filter_map(id).collect()
}
