#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the suite runs in tests only; a broken rule ends the test"
)]
//! What a source gives: order, whole transactions, values, snapshots.

use super::bench::{Bench, Held, Row, Write};
use super::recorder::{Given, Recorder, Snapshot, read, replay};
use crate::{Polled, Source, Table};
use bridge_event::{At, Operation};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PERSON: usize = 0;
const PAYMENT: usize = 1;

/// Rows of the large transaction.
const LARGE_ROWS: i64 = 100_000;

/// Rows that one poll may give at most.
const POLL_ROWS_MAX: usize = 10_000;

pub(super) fn person(id: i64, name: &str) -> Row {
    vec![Held::Integer(id), Held::text(name), Held::Null, Held::Null]
}

pub(super) fn payment(person: i64, number: i64, note: &str) -> Row {
    vec![Held::Integer(person), Held::Integer(number), Held::text(note)]
}

pub(super) fn key(of: &[i64]) -> Row {
    of.iter().map(|n| Held::Integer(*n)).collect()
}

pub(super) fn insert_person(id: i64) -> Write {
    Write::Insert(PERSON, person(id, &format!("person {id}")))
}

fn change(table: usize, operation: Operation, before: Option<Row>, after: Option<Row>) -> Given {
    Given { table, operation, with_next: false, before, after }
}

fn keys(tables: &[Table]) -> Vec<Vec<usize>> {
    tables
        .iter()
        .map(|t| t.key.iter().filter_map(|k| t.columns.iter().position(|c| c == k)).collect())
        .collect()
}

/// Each transaction of an application is given once, whole, after those that committed before it.
pub fn transactions_come_whole_and_in_commit_order(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let mut writer = bench.writer();
    for id in 0..5 {
        writer.commit(&[insert_person(id), Write::Insert(PAYMENT, payment(id, 1, "first"))]);
    }
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    writer.commit(&[
        Write::Update(PERSON, key(&[3]), person(3, "changed")),
        Write::Delete(PAYMENT, key(&[3, 1])),
    ]);
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 6);
    for (id, taken) in (0..5).zip(&recorder.taken) {
        assert_eq!(
            taken.changes,
            [
                change(PERSON, Operation::Insert, None, Some(person(id, &format!("person {id}")))),
                change(PAYMENT, Operation::Insert, None, Some(payment(id, 1, "first"))),
            ]
        );
    }
    assert_eq!(
        recorder.taken[5].changes,
        [
            change(PERSON, Operation::Update, Some(person(3, "person 3")), Some(person(3, "changed"))),
            change(PAYMENT, Operation::Delete, Some(payment(3, 1, "first")), None),
        ]
    );
    let numbers: Vec<u64> = recorder.taken.iter().map(|t| t.transaction.number).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    assert!(recorder.taken.iter().all(|t| t.transaction.committed_at.0 > 1_600_000_000_000_000));
}

/// What is rolled back is never seen.
pub fn an_abandoned_transaction_leaves_nothing(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let mut writer = bench.writer();
    writer.abandon(&[insert_person(1), insert_person(2)]);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken, []);
    writer.commit(&[insert_person(3)]);
    writer.abandon(&[Write::Delete(PERSON, key(&[3]))]);
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 1);
    assert_eq!(recorder.taken[0].changes.len(), 1);
}

/// The order of rows inside a transaction is the order of the writes, over all tables.
pub fn rows_of_two_tables_keep_the_order_they_were_written_in(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let writes: Vec<Write> = (0..200)
        .map(|n| if n % 3 == 0 { insert_person(n) } else { Write::Insert(PAYMENT, payment(n, n, "x")) })
        .collect();
    bench.writer().commit(&writes);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let order: Vec<(usize, Option<Held>)> =
        recorder.taken[0].changes.iter().map(|c| (c.table, c.after.as_ref().map(|r| r[0].clone()))).collect();
    let wanted: Vec<(usize, Option<Held>)> =
        (0..200).map(|n| (if n % 3 == 0 { PERSON } else { PAYMENT }, Some(Held::Integer(n)))).collect();
    assert_eq!(order, wanted);
}

/// An update of the key is a delete of the old row and an insert of the new one, adjacent and marked.
pub fn a_changed_key_is_a_delete_and_an_insert_that_stay_together(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let mut writer = bench.writer();
    writer.commit(&[Write::Insert(PAYMENT, payment(1, 1, "x"))]);
    writer.commit(&[Write::Update(PAYMENT, key(&[1, 1]), payment(1, 2, "y"))]);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let delete =
        Given { with_next: true, ..change(PAYMENT, Operation::Delete, Some(payment(1, 1, "x")), None) };
    assert_eq!(
        recorder.taken[1].changes,
        [delete, change(PAYMENT, Operation::Insert, None, Some(payment(1, 2, "y")))]
    );
}

/// Values arrive as the database holds them, bit by bit, in stream and snapshot.
pub fn values_come_as_they_are_stored(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let numbers = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1];
    let texts = ["", "国家税务总局", "a'b\"c;--", "line\nline\r\n\t", "👩‍👩‍👧‍👦", " padded "];
    let floats = [0.5, -1.5e300, f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.1 + 0.2];
    let mut writes = Vec::new();
    for (at, number) in numbers.into_iter().enumerate() {
        let text = texts[at % texts.len()];
        let blob = Held::Bytes((0..=255).cycle().take(at * 700).collect());
        let float = Held::float(floats[at % floats.len()]);
        writes.push(Write::Insert(PERSON, vec![Held::Integer(number), Held::text(text), blob, float]));
    }
    writes.push(Write::Insert(
        PERSON,
        vec![Held::Integer(7), Held::text(&"长".repeat(400_000)), Held::Null, Held::Null],
    ));
    bench.writer().commit(&writes);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let wanted: Vec<Row> =
        writes.iter().map(|w| if let Write::Insert(_, row) = w { row.clone() } else { Vec::new() }).collect();
    let given: Vec<Row> = recorder.taken[0].changes.iter().filter_map(|c| c.after.clone()).collect();
    assert_eq!(given, wanted);
    let mut snapshot = Snapshot::default();
    source.snapshot(&[PERSON], &mut snapshot).expect("a snapshot");
    let mut sorted = wanted;
    sorted.sort();
    let rows: Vec<Row> = snapshot.rows.into_iter().map(|r| r.1).collect();
    assert_eq!(rows, sorted);
}

/// A transaction of many rows is given over several polls, each of a bounded number of rows.
pub fn a_large_transaction_comes_in_bounded_polls(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let writes: Vec<Write> = (0..LARGE_ROWS).map(insert_person).collect();
    bench.writer().commit(&writes);
    bench.writer().commit(&[insert_person(LARGE_ROWS)]);
    let mut recorder = Recorder::counting();
    let (mut total, mut polls) = (0, 0);
    while matches!(source.poll(Duration::ZERO, &mut recorder).expect("a poll"), Polled::Delivered) {
        assert!(recorder.rows <= POLL_ROWS_MAX, "{} rows in one poll", recorder.rows);
        total += recorder.rows;
        polls += 1;
        recorder.rows = 0;
    }
    assert_eq!(total, usize::try_from(LARGE_ROWS).unwrap_or(0) + 1);
    assert_eq!(recorder.taken.len(), 2);
    assert!(polls > 10);
}

/// When nothing is left, the source names the place up to which everything was given.
pub fn an_idle_source_says_how_far_it_is_complete(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let mut recorder = Recorder::default();
    // An engine whose log holds other things too may be further than its newest commit here.
    assert!(read(&mut source, &mut recorder) >= source.acknowledged());
    bench.writer().commit(&[insert_person(1)]);
    let at = read(&mut source, &mut recorder);
    assert!(at >= recorder.taken[0].transaction.end());
    let newest = source.newest().expect("the newest commit");
    assert!(newest >= at);
    bench.writer().commit(&[insert_person(2)]);
    let next = read(&mut source, &mut recorder);
    assert!(newest < next);
}

/// A snapshot holds what the tables hold.
pub fn a_snapshot_gives_each_row_once_in_key_order(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let mut writer = bench.writer();
    let writes: Vec<Write> = [5, 1, 9, -4].into_iter().map(insert_person).collect();
    writer.commit(&writes);
    writer.commit(&[
        Write::Insert(PAYMENT, payment(2, 1, "b")),
        Write::Insert(PAYMENT, payment(1, 2, "a")),
        Write::Delete(PERSON, key(&[9])),
    ]);
    let mut snapshot = Snapshot::default();
    let as_of = source.snapshot(&[PERSON, PAYMENT], &mut snapshot).expect("a snapshot");
    assert_eq!(as_of, snapshot.as_of);
    assert!(as_of <= Some(source.newest().expect("the newest commit")));
    let mut wanted: Vec<(usize, Row)> = Vec::new();
    for table in [PERSON, PAYMENT] {
        wanted.extend(bench.rows(table).into_iter().map(|row| (table, row)));
    }
    assert_eq!(snapshot.rows, wanted);
    assert_eq!(wanted.len(), 5);
}

/// While others write, a snapshot and the changes after its place make what the tables hold in the end.
pub fn a_snapshot_and_the_stream_after_it_meet_under_writers(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let start: Vec<Write> = (0..300).map(insert_person).collect();
    bench.writer().commit(&start);
    let done = AtomicBool::new(false);
    let mut snapshots = Vec::new();
    let mut recorder = Recorder::default();
    std::thread::scope(|scope| {
        let mut writer = bench.writer();
        let done = &done;
        scope.spawn(move || {
            for round in 0_i64..400 {
                let id = (round * 37) % 300;
                writer.commit(&[
                    Write::Update(PERSON, key(&[id]), person(id, &format!("round {round}"))),
                    Write::Insert(PAYMENT, payment(id, 1000 + round, "x")),
                    Write::Insert(PERSON, person(10_000 + round, "new")),
                ]);
                if round % 5 == 4 {
                    writer.commit(&[Write::Delete(PERSON, key(&[10_000 + round - 2]))]);
                }
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let mut snapshot = Snapshot::default();
            source.snapshot(&[PERSON, PAYMENT], &mut snapshot).expect("a snapshot");
            snapshots.push(snapshot);
            source.poll(Duration::from_millis(1), &mut recorder).expect("a poll");
        }
    });
    read(&mut source, &mut recorder);
    let keys = keys(source.tables());
    let wanted: Vec<(usize, Row)> = [PERSON, PAYMENT]
        .into_iter()
        .flat_map(|table| bench.rows(table).into_iter().map(move |row| (table, row)))
        .collect();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        let as_of = snapshot.as_of.expect("a place");
        let mut state = BTreeMap::new();
        for (table, row) in snapshot.rows {
            let key: Row = keys[table].iter().map(|at| row[*at].clone()).collect();
            assert_eq!(state.insert((table, key), row), None);
        }
        let after = recorder.taken.iter().filter(|t| t.transaction.end() > as_of);
        replay(&mut state, &keys, after.flat_map(|t| &t.changes));
        let held: Vec<(usize, Row)> = state.into_iter().map(|((table, _), row)| (table, row)).collect();
        assert_eq!(held, wanted);
    }
}

/// A snapshot of one table neither moves the stream nor takes anything out of it.
pub fn a_snapshot_of_one_table_leaves_the_stream_of_the_other_whole(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    bench.writer().commit(&[insert_person(1), Write::Insert(PAYMENT, payment(1, 1, "x"))]);
    let mut snapshot = Snapshot::default();
    source.snapshot(&[PERSON], &mut snapshot).expect("a snapshot");
    assert_eq!(snapshot.rows.len(), 1);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 1);
    assert_eq!(recorder.taken[0].changes.len(), 2);
    assert!(recorder.taken[0].transaction.end() <= snapshot.as_of.unwrap_or(At::START));
}

/// A snapshot can be broken off and taken again.
pub fn a_snapshot_stops_when_it_is_told_to(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    bench.writer().commit(&[insert_person(1), insert_person(2), insert_person(3)]);
    let mut snapshot = Snapshot { stop_after: Some(1), ..Snapshot::default() };
    assert_eq!(source.snapshot(&[PERSON], &mut snapshot).expect("a snapshot"), None);
    assert_eq!(snapshot.rows.len(), 1);
    let mut again = Snapshot::default();
    assert!(source.snapshot(&[PERSON], &mut again).expect("a snapshot").is_some());
    assert_eq!(again.rows.len(), 3);
}
