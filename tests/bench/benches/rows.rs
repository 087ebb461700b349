//! A million rows from memory through encode, seal, verify, open and read: CPU microseconds a row for each stage.
//!
//! `ROWS` (1000000) and `ROUNDS` (3) change how much; the figures are the medians of the rounds. The result stands in
//! `target/bench/path.json`, too. It ends with 1 when a row was lost or changed.

use anyhow::Context;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests_bench::{ROWS_PER_TRANSACTION, Receipt, Receiving, Row, Scene, Sending, Spent};

/// What each side may take, in CPU microseconds a row.
const SIDE_MICROS_MAX: f64 = 2.5;

/// What one round measured.
struct Round {
    spent: Spent,
    receipt: Receipt,
    batches: usize,
    frame_bytes: usize,
    content_bytes: u64,
    wall: Duration,
}

fn main() -> anyhow::Result<ExitCode> {
    let rows = setting("ROWS", 1_000_000)?;
    let rounds = setting("ROUNDS", 3)?.max(1);
    let scene = Scene::new()?;
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let round = run(&scene, rows)?;
        println!("round {number} of {rounds}: {}", line(&round.spent, rows));
        measured.push(round);
    }
    let report = report(&measured, rows).context("there is no round")?;
    print_table(&report);
    let written = write_json(&report)?;
    println!("\nwritten to {}", written.display());
    let right = measured.iter().all(|round| round.receipt == Receipt { rows, changed: 0 });
    if !right {
        eprintln!("rows were lost or changed on the way: the figures above mean nothing, report it");
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn setting(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.replace('_', "").parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}

/// Seals everything, then opens everything: the two ends are two processes, and share no warm cache.
fn run(scene: &Scene, rows: u64) -> anyhow::Result<Round> {
    let began = Instant::now();
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut sending = Sending::new(scene)?;
    let mut first = 1;
    while first <= rows {
        let last = rows.min(first + ROWS_PER_TRANSACTION - 1);
        let transaction: Vec<Row> = (first..=last).map(Row::of).collect();
        sending.send(&transaction, &mut |sealed| frames.push(sealed.into_frame()))?;
        first = last + 1;
    }
    sending.finish(&mut |sealed| frames.push(sealed.into_frame()))?;
    let mut receiving = Receiving::new(scene)?;
    for frame in &frames {
        receiving.receive(frame)?;
    }
    let mut spent = sending.spent();
    spent += receiving.spent();
    Ok(Round {
        spent,
        receipt: receiving.receipt(),
        batches: frames.len(),
        frame_bytes: frames.iter().map(Vec::len).sum(),
        content_bytes: sending.content_bytes(),
        wall: began.elapsed(),
    })
}

fn micros(spent: Duration, rows: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / rows.max(1) as f64
}

fn stages(spent: &Spent) -> [(&'static str, Duration); 5] {
    [
        ("encode", spent.encode),
        ("seal", spent.seal),
        ("verify", spent.verify),
        ("open", spent.open),
        ("read", spent.read),
    ]
}

fn line(spent: &Spent, rows: u64) -> String {
    let words = stages(spent).map(|(name, spent)| format!("{name} {:.3}", micros(spent, rows)));
    format!("{} us a row", words.join(", "))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn report(rounds: &[Round], rows: u64) -> Option<Value> {
    let one = rounds.first()?;
    let of = |pick: &dyn Fn(&Spent) -> Duration| {
        rounded(median(rounds.iter().map(|round| micros(pick(&round.spent), rows)).collect()))
    };
    let seal_side = of(&|s| s.encode + s.seal);
    let open_side = of(&|s| s.verify + s.open + s.read);
    let per_row = |bytes: f64| rounded(bytes / rows.max(1) as f64);
    Some(json!({
        "rows": rows,
        "rounds": rounds.len(),
        "batches": one.batches,
        "cpu_micros_per_row": {
            "encode": of(&|s| s.encode),
            "seal": of(&|s| s.seal),
            "verify": of(&|s| s.verify),
            "open": of(&|s| s.open),
            "read": of(&|s| s.read),
            "seal_side": seal_side,
            "open_side": open_side,
            "side_max": SIDE_MICROS_MAX,
        },
        "rows_per_cpu_second": {
            "seal_side": (1e6 / seal_side).round(),
            "open_side": (1e6 / open_side).round(),
        },
        "bytes_per_row": {
            "encoded": per_row(one.content_bytes as f64),
            "frame": per_row(one.frame_bytes as f64),
        },
        "wall_seconds": rounded(median(rounds.iter().map(|r| r.wall.as_secs_f64()).collect())),
        "rows_right": one.receipt.rows,
        "rows_changed": one.receipt.changed,
        "reached": seal_side <= SIDE_MICROS_MAX && open_side <= SIDE_MICROS_MAX,
    }))
}

fn print_table(report: &Value) {
    let number = |part: &str, field: &str| {
        report.get(part).and_then(|part| part.get(field)).and_then(Value::as_f64).unwrap_or(f64::NAN)
    };
    let count = |field: &str| report.get(field).and_then(Value::as_u64).unwrap_or_default();
    let micros = |stage: &str| number("cpu_micros_per_row", stage);
    println!(
        "\n{} rows in {} batches, two sections, no disclosure groups; medians of {} rounds",
        count("rows"),
        count("batches"),
        count("rounds")
    );
    for stage in ["encode", "seal", "verify", "open", "read"] {
        println!("  {stage:<9} {:.3} us of CPU a row", micros(stage));
    }
    for (side, sum) in [("seal_side", "encode + seal"), ("open_side", "verify + open + read")] {
        let speed = number("rows_per_cpu_second", side);
        let took = micros(side);
        println!(
            "{side:<11} {took:.3} us of CPU a row: {sum}, at most {SIDE_MICROS_MAX}; {speed:.0} rows/s a core"
        );
    }
    let bytes = |what: &str| number("bytes_per_row", what);
    println!("{:.1} bytes a row encoded, {:.1} bytes a row in the frames", bytes("encoded"), bytes("frame"));
    println!("{} rows right, {} changed", count("rows_right"), count("rows_changed"));
}

fn write_json(report: &Value) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.canonicalize()?.join("path.json");
    let mut file = File::create(&path)?;
    file.write_all(serde_json::to_string_pretty(report)?.as_bytes())?;
    file.write_all(b"\n")?;
    Ok(path)
}
