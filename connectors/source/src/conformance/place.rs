#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the suite runs in tests only; a broken rule ends the test"
)]
//! Where a source stands: restarts, rewinds, acknowledgement.

use super::bench::{Bench, Write, Writer};
use super::content::{insert_person, key, payment, person};
use super::recorder::{Recorder, Taken, read};
use crate::{Disposition, Polled, Recognised, Source, SourceError};
use bridge_event::{At, Token};
use std::time::Duration;

/// Five transactions of one to four rows.
fn write_five(writer: &mut dyn Writer) {
    writer.commit(&[insert_person(1)]);
    writer.commit(&[insert_person(2), insert_person(3), Write::Insert(1, payment(1, 1, "x"))]);
    writer.commit(&[
        Write::Update(0, key(&[2]), person(2, "y")),
        Write::Update(1, key(&[1, 1]), payment(1, 2, "z")),
    ]);
    writer.commit(&[Write::Delete(0, key(&[3]))]);
    writer.commit(&[insert_person(4), insert_person(5), insert_person(6), insert_person(7)]);
}

fn read_all(source: &mut impl Source) -> Vec<Taken> {
    let mut recorder = Recorder::default();
    read(source, &mut recorder);
    recorder.taken
}

/// Stops before each row in turn, drops the claim, claims again: boundaries, order, numbers and tokens are the same.
pub fn every_restart_gives_the_same_boundaries_and_order(bench: &impl Bench) {
    write_five(bench.writer().as_mut());
    let first = read_all(&mut bench.claim().expect("a claim"));
    let rows: usize = first.iter().map(|t| t.changes.len()).sum();
    for stop_after in 0..rows {
        let mut source = bench.claim().expect("a claim");
        let mut recorder = Recorder::stopping_after(stop_after);
        while source.poll(Duration::ZERO, &mut recorder).expect("a poll") != Polled::Stopped {}
        assert_eq!(recorder.taken, first[..recorder.taken.len()]);
        drop(source);
        assert_eq!(
            read_all(&mut bench.claim().expect("a claim")),
            first,
            "after a stop before row {stop_after}"
        );
    }
}

/// A rewind begins after the acknowledged place again, as a restart does.
pub fn a_rewind_gives_everything_unacknowledged_again(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    write_five(bench.writer().as_mut());
    let first = read_all(&mut source);
    source.acknowledge(first[1].transaction.end()).expect("an acknowledgement");
    bench.writer().commit(&[insert_person(50)]);
    source.rewind().expect("a rewind");
    let again = read_all(&mut source);
    assert_eq!(again[..3], first[2..]);
    assert_eq!(again.len(), 4);
}

/// After a stop the source gives the transaction that it was in from its first row, without a restart.
pub fn a_path_that_stops_gets_the_transaction_from_its_beginning(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    write_five(bench.writer().as_mut());
    let mut recorder = Recorder::stopping_after(2);
    while source.poll(Duration::ZERO, &mut recorder).expect("a poll") != Polled::Stopped {}
    assert_eq!(recorder.taken.len(), 1);
    recorder.stop_after = None;
    read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 5);
    assert_eq!(recorder.taken[1].changes.len(), 3);
}

/// Acknowledging after each transaction in turn, a restart gives exactly the rest.
pub fn what_is_acknowledged_is_not_given_again_and_nothing_else_is_lost(bench: &impl Bench) {
    write_five(bench.writer().as_mut());
    let first = read_all(&mut bench.claim().expect("a claim"));
    for done in 0..first.len() {
        let mut source = bench.claim().expect("a claim");
        let taken = read_all(&mut source);
        assert_eq!(taken, first[done..]);
        source.acknowledge(taken[0].transaction.end()).expect("an acknowledgement");
        assert_eq!(source.acknowledged(), taken[0].transaction.end());
        // An older place changes nothing.
        source.acknowledge(At::START).expect("an acknowledgement");
        assert_eq!(source.acknowledged(), taken[0].transaction.end());
    }
    let mut source = bench.claim().expect("a claim");
    assert_eq!(source.acknowledged(), first[4].transaction.end());
    assert_eq!(read_all(&mut source), []);
    bench.writer().commit(&[insert_person(80)]);
    let next = read_all(&mut source);
    assert_eq!(next.len(), 1);
    assert!(next[0].transaction.commit > first[4].transaction.commit);
}

/// A transaction of which only some rows are acknowledged is kept whole.
pub fn a_place_inside_a_transaction_keeps_the_transaction(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    write_five(bench.writer().as_mut());
    let first = read_all(&mut source);
    source.acknowledge(At { commit: first[4].transaction.commit, ordinal: 2 }).expect("an acknowledgement");
    assert_eq!(source.acknowledged(), first[3].transaction.end());
    drop(source);
    assert_eq!(read_all(&mut bench.claim().expect("a claim")), first[4..]);
}

/// A source forgets nothing that it never gave.
pub fn a_place_that_was_not_delivered_is_refused(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    write_five(bench.writer().as_mut());
    let first = read_all(&mut source);
    drop(source);
    let mut source = bench.claim().expect("a claim");
    let refused = source.acknowledge(first[0].transaction.end());
    assert!(matches!(refused, Err(SourceError::NotDelivered { .. })), "{refused:?}");
    let refused = source.acknowledge(At::end_of(u64::MAX)).expect_err("a place beyond everything");
    assert_eq!(refused.disposition(), Disposition::Reject);
    assert_eq!(read_all(&mut source), first);
}

/// The newest commit survives restarts and acknowledgement.
pub fn the_newest_commit_is_known_after_a_restart(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    let empty = source.newest().expect("the newest commit");
    write_five(bench.writer().as_mut());
    let first = read_all(&mut source);
    let newest = first[4].transaction.end();
    assert!(empty < newest);
    let said = source.newest().expect("the newest commit");
    assert!(said >= newest);
    source.acknowledge(newest).expect("an acknowledgement");
    drop(source);
    let mut source = bench.claim().expect("a claim");
    assert!(source.newest().expect("the newest commit") >= said);
}

/// A commit that is not forgotten is told from another one in its place.
pub fn a_commit_is_recognised_by_its_token(bench: &impl Bench) {
    let mut source = bench.claim().expect("a claim");
    write_five(bench.writer().as_mut());
    let first = read_all(&mut source);
    source.acknowledge(first[2].transaction.end()).expect("an acknowledgement");
    let other = Token::new(*b"another").expect("a token");
    for taken in &first[2..] {
        let at = taken.transaction.end();
        assert_eq!(source.recognises(at, &taken.token).expect("an answer"), Recognised::Same);
        assert_eq!(source.recognises(at, &other).expect("an answer"), Recognised::Different);
    }
    let beyond = At::end_of(first[4].transaction.commit + 1000);
    assert_eq!(source.recognises(beyond, &first[4].token).expect("an answer"), Recognised::Different);
    let forgotten = source.recognises(first[0].transaction.end(), &first[0].token).expect("an answer");
    assert_ne!(forgotten, Recognised::Different);
}
