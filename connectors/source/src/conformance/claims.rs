#![allow(clippy::expect_used, reason = "the suite runs in tests only; a broken rule ends the test")]
//! One connector at a time.

use super::bench::Bench;
use super::content::insert_person;
use super::recorder::{Recorder, Snapshot, read};
use crate::{Disposition, Source, SourceError};
use std::time::Duration;

/// Two connectors on one source: the second is refused with words about the first, which goes on.
pub fn a_second_connector_is_refused_and_told_who_holds_the_source(bench: &impl Bench) {
    let mut first = bench.claim().expect("a claim");
    match bench.claim() {
        Err(SourceError::Claimed { holder }) => {
            assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        }
        other => assert!(other.is_err_and(|e| e.code() == "CAP002"), "a second claim was not refused"),
    }
    bench.writer().commit(&[insert_person(1)]);
    let mut recorder = Recorder::default();
    let at = read(&mut first, &mut recorder);
    first.acknowledge(at).expect("an acknowledgement");
    assert_eq!(recorder.taken.len(), 1);
}

/// A claim needs no repair after its holder.
pub fn a_claim_ends_with_its_holder(bench: &impl Bench) {
    for _ in 0..3 {
        let source = bench.claim().expect("a claim");
        drop(source);
    }
}

/// A holder that was taken over (it hung, and woke up) can neither acknowledge, nor read, nor snapshot.
pub fn a_connector_that_was_taken_over_is_refused(bench: &impl Bench) {
    let mut old = bench.claim().expect("a claim");
    bench.writer().commit(&[insert_person(1)]);
    let mut recorder = Recorder::default();
    let at = read(&mut old, &mut recorder);
    let mut new = bench.take_over().expect("a take-over");
    bench.writer().commit(&[insert_person(2)]);
    let refused = old.acknowledge(at).expect_err("an acknowledgement without the claim");
    assert!(matches!(refused, SourceError::ClaimLost), "{refused}");
    assert_eq!(refused.disposition(), Disposition::Halt);
    let refused = old.poll(Duration::ZERO, &mut Recorder::default()).expect_err("a poll without the claim");
    assert!(matches!(refused, SourceError::ClaimLost), "{refused}");
    let refused = old.snapshot(&[0], &mut Snapshot::default()).expect_err("a snapshot without the claim");
    assert!(matches!(refused, SourceError::ClaimLost), "{refused}");
    let mut again = Recorder::default();
    let at = read(&mut new, &mut again);
    assert_eq!(again.taken.len(), 2);
    new.acknowledge(at).expect("an acknowledgement");
    // The old holder's end frees nothing.
    drop(old);
    assert!(matches!(bench.claim(), Err(SourceError::Claimed { .. })));
    drop(new);
    bench.claim().expect("a claim after both ended");
}

/// The identity does not change because somebody claims.
pub fn the_identity_is_the_same_at_every_claim(bench: &impl Bench) {
    let first = bench.claim().expect("a claim").incarnation().clone();
    bench.writer().commit(&[insert_person(1)]);
    let second = bench.take_over().expect("a claim").incarnation().clone();
    assert_eq!(first, second);
    assert!(!first.engine.is_empty() && !first.system.is_empty());
}
