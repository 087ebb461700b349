//! The explicit-state model of a stream's rules (design section 5). It drives the shipped `Machine`, `Start`, `Skip`,
//! `Outgoing` and `Cuts` through every order of events within given bounds.
//!
//! One source feeds two streams, some of which begin with a snapshot; its transactions are larger than a batch, and some
//! rows are cut into fragments. The broker loses requests, delays them
//! beyond their sender's death, or appends them and reports failure. Processes crash at any step, two are alive at
//! once, readers restart after any record and start in mid-stream at every beacon's place. After each step:
//!
//! - *exactly once*: readers accept the source's rows, each once, in order, and at the end all of them;
//! - *whole transactions*: up to a resolved position nothing lacks and nothing is open;
//! - *false alarm*: no reader and no start halts, and no batch of ours is refused;
//! - *acknowledged*: what the source may forget is whole in Kafka and in the log, and resolved in every stream;
//! - *log = readers*: the log's batch entries of a stream are what readers accept, in order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a model is a test: it stops where it is wrong"
)]

mod connector;
mod explore;
mod flow;
mod script;
mod starts;
mod subscriber;
mod topic;
mod variants;
mod world;

use bridge_chain::Shipped;
use explore::{Random, explore, walk};
use script::Script;
use world::Bounds;

/// What is common to all bounds: one process at a time, nothing fails, nothing is late.
const CALM: Bounds = Bounds {
    transactions: &["AAB"],
    batch_rows_max: 1,
    starts: 2,
    producers: 3,
    two_alive: false,
    late: 0,
    failures: 0,
    beacons: 1,
    close_any_time: false,
    chunks: [0, 0],
};

/// The bounds that are exhausted. `AAB` is a transaction with two rows in stream A and one in stream B.
fn bounds() -> Vec<(&'static str, Bounds)> {
    vec![
        ("late requests", Bounds { late: 1, ..CALM }),
        ("failures", Bounds { failures: 1, ..CALM }),
        ("two transactions", Bounds { transactions: &["AB", "AAB"], ..CALM }),
        (
            "close any time",
            Bounds { transactions: &["AABA"], batch_rows_max: 2, close_any_time: true, ..CALM },
        ),
        ("three lives", Bounds { transactions: &["A"], starts: 3, late: 1, ..CALM }),
        ("beacons", Bounds { transactions: &["A"], failures: 1, beacons: 2, ..CALM }),
        ("a row in fragments", Bounds { transactions: &["aB"], failures: 1, ..CALM }),
        ("snapshot", Bounds { transactions: &["A"], chunks: [3, 1], starts: 3, ..CALM }),
        ("snapshot, late requests", Bounds { transactions: &["A"], chunks: [2, 1], late: 1, ..CALM }),
        ("snapshot, two alive", Bounds { transactions: &["A"], chunks: [2, 0], two_alive: true, ..CALM }),
        ("two alive", Bounds { transactions: &["AA"], two_alive: true, ..CALM }),
        ("two alive, two transactions", Bounds { transactions: &["A", "A"], two_alive: true, ..CALM }),
    ]
}

#[test]
fn every_state_keeps_every_invariant() {
    let mut states = 0;
    for (name, bounds) in bounds() {
        let explored = explore::<Shipped>(&bounds, 3_000_000);
        println!(
            "{:>9} states, {:>9} steps, {:>2} deep: {name}",
            explored.states, explored.steps, explored.depth
        );
        if let Some(violation) = explored.violation {
            panic!("{name}: {}\n{:?}", violation.invariant, violation.path);
        }
        assert!(explored.exhausted, "{name}: more states than expected");
        states += explored.states;
    }
    println!("{states:>9} states explored");
    assert!(states >= 1_000_000, "{states}");
}

#[test]
fn every_broken_variant_is_found() {
    assert!(variants::VARIANTS.len() >= 12);
    for variant in variants::VARIANTS {
        let all = bounds();
        let (_, bounds) = all.iter().find(|(name, _)| *name == variant.bounds).unwrap();
        let explored = (variant.explore)(bounds, 1_000_000);
        let violation = explored.violation.unwrap_or_else(|| panic!("{} is not found", variant.name));
        println!(
            "{:<24} {:>6} states, {:>2} steps: {}",
            variant.name,
            explored.states,
            violation.path.len(),
            violation.invariant
        );
        assert!(violation.invariant.starts_with(variant.breaks), "{}: {}", variant.name, violation.invariant);
    }
}

#[test]
fn long_random_runs_keep_every_invariant() {
    let bounds = Bounds {
        transactions: &["AB", "AABaAB", "B", "A", "BbBA", "AAB"],
        batch_rows_max: 2,
        starts: 8,
        producers: 12,
        two_alive: true,
        late: 4,
        failures: 5,
        beacons: 4,
        close_any_time: true,
        chunks: [0, 0],
    };
    let script = Script::new(bounds.transactions, bounds.batch_rows_max, bounds.chunks);
    let runs = runs();
    let (mut steps, mut kills, mut whole) = (0, 0, 0);
    for seed in 0..runs {
        let mut random = Random::new(seed);
        let (world, length) = walk::<Shipped>(&bounds, &mut random)
            .unwrap_or_else(|violation| panic!("seed {seed}: {}\n{:?}", violation.invariant, violation.path));
        steps += length;
        whole +=
            usize::from(world.topics.iter().zip(&script.rows).all(|(topic, rows)| topic.rows == rows.len()));
        kills += subscriber::subscribe(&world, &script, &mut random)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    println!("{runs} random runs, {steps} steps, {whole} to the end; subscribers killed {kills} times",);
    // The others run out of starts.
    assert!(whole as u64 > runs / 2, "only {whole} runs came to their end");
}

/// Seeds of the random runs, from 0: `GOVBRIDGE_RUNS`, or 10,000.
fn runs() -> u64 {
    std::env::var("GOVBRIDGE_RUNS").map_or(10_000, |runs| runs.parse().expect("GOVBRIDGE_RUNS is a number"))
}
