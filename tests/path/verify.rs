//! verify: bytes -> a verdict with all its findings, or a verified batch.

use std::collections::BTreeMap;

use crate::process::{get, metric};
use crate::province::{payment, province};

#[test]
fn every_row_names_the_batch_that_proves_it_and_the_level_that_was_asked_for() {
    let province = province();
    let numbers = province.numbers(2);
    province.execute(&numbers.clone().map(payment).collect::<String>());
    let rows = province.delivered("audit", &numbers, 2);
    let accepted: BTreeMap<String, u64> = province
        .stage
        .accepted("payments")
        .iter()
        .map(|(header, digest)| (digest.to_string(), header.sequence.0))
        .collect();
    for row in rows {
        let provenance = &row["provenance"];
        let batch = provenance["batch"].as_str().unwrap();
        assert_eq!(accepted.get(batch).copied(), provenance["sequence"].as_u64(), "{provenance}");
        assert_eq!(provenance["level"], "witnessed");
        assert_eq!(provenance["records"], "witnessed", "the log serves the entries of keys and contracts");
        assert_eq!(provenance["started"]["at"], "beginning");
    }
}

#[test]
fn an_honest_run_gives_no_finding_that_drops_or_halts() {
    let province = province();
    assert_eq!(metric(&province.auditor, "govbridge_deliver_halted"), 0);
    let (_, text) = get(&province.auditor, "/metrics").unwrap();
    let found: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("govbridge_verify_findings_total{code=\"")?.split('"').next())
        // Freshness is told, and refuses nothing.
        .filter(|code| !matches!(*code, "VER075" | "VER080" | "VER081" | "VER082"))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
