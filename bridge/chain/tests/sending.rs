//! A stream's sending half after an adoption: what it skips, takes over, says and hands on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

use bridge_chain::outgoing::{Outgoing, OutgoingError, Said};
use bridge_chain::skip::{Skip, SkipError};
use bridge_chain::start::Adopted;
use bridge_chain::{Facts, Last, Machine, Mark, Open, Place, State};
use bridge_event::{At, Epoch, IncarnationNumber, Kind, Offset, Sequence};
use bridge_suite::Digest;

const INCARNATION: IncarnationNumber = IncarnationNumber(2);

fn mark(commit: u64, ordinal: u64, fragment: u32) -> Mark {
    Mark { commit, ordinal, fragment }
}

/// Head 4, its last row the last fragment of the third row of transaction 50, which is open.
fn adopted_state() -> State {
    State {
        fenced: Epoch(3),
        head: Some((Sequence(4), Digest([4; 32]))),
        last: Last { incarnation: INCARNATION, mark: mark(50, 3, Mark::LAST_FRAGMENT) },
        open: Some(Open { commit: 50 }),
        snapshot: None,
    }
}

fn outgoing() -> Outgoing {
    let state = adopted_state();
    let machine = Machine::from_state(Digest::ZERO, state);
    Outgoing::new(Adopted { place: Place { offset: Offset(10), state }, machine })
}

/// The next batch: one row at `row`, continuing 50 or, after its end, whole.
fn next(outgoing: &Outgoing, row: Mark, leaves_open: bool) -> Facts {
    let (sequence, previous) = outgoing.next().unwrap();
    let continues = outgoing.open().is_some();
    Facts {
        epoch: Epoch(3),
        sequence,
        digest: Digest([u8::try_from(sequence.0).unwrap(); 32]),
        previous,
        kind: Kind::Stream,
        incarnation: INCARNATION,
        first: row,
        last: row,
        rows: 1,
        continues,
        leaves_open,
        begun: u64::from(!continues),
        ended: u64::from(!leaves_open),
        snapshot: None,
        lost: Vec::new(),
        lost_previous: Digest::ZERO,
        voids: Vec::new(),
    }
}

#[test]
fn rows_are_skipped_by_commit_ordinal_and_fragment() {
    let skip = Skip::new(&adopted_state(), INCARNATION).unwrap();
    for (row, has) in [
        (mark(49, 900, 0), true),
        (mark(50, 1, 0), true),
        (mark(50, 3, 0), true),
        (mark(50, 3, 1), true),
        (mark(50, 4, 0), false),
        (mark(51, 1, 0), false),
    ] {
        assert_eq!(skip.has(row), has, "{row}");
    }
    assert_eq!(skip.unfinished(mark(50, 3, 0).at()), None);
    assert!(!Skip::new(&State::START, INCARNATION).unwrap().has(Mark::START));
    assert!(Skip::after_snapshot(Mark::end_of(50)).has(mark(50, 4, 0)));
    assert!(!Skip::after_snapshot(Mark::end_of(50)).has(mark(51, 1, 0)));
}

#[test]
fn a_row_that_was_broken_off_goes_on_behind_its_fragments() {
    let last = Last { incarnation: INCARNATION, mark: mark(50, 3, 2) };
    let skip = Skip::new(&State { last, ..adopted_state() }, INCARNATION).unwrap();
    assert_eq!(skip.unfinished(mark(50, 3, 0).at()), Some(2));
    assert_eq!([mark(50, 2, 0), mark(50, 4, 0), mark(51, 3, 0)].map(|m| skip.unfinished(m.at())), [None; 3]);
    assert_eq!([mark(50, 3, 2), mark(50, 3, 3)].map(|mark| skip.has(mark)), [true, false]);
    assert!(!skip.has(mark(50, 3, Mark::LAST_FRAGMENT)));
}

#[test]
fn positions_of_another_incarnation_skip_nothing_and_go_no_further() {
    let error = Skip::new(&adopted_state(), IncarnationNumber(3)).unwrap_err();
    assert_eq!(error, SkipError::Incarnation { stream: INCARNATION, source_now: IncarnationNumber(3) });
}

#[test]
fn an_open_transaction_gets_its_last_part_even_when_every_row_was_skipped() {
    let mut skip = Skip::new(&adopted_state(), INCARNATION).unwrap();
    let open = adopted_state().open;
    assert!(!skip.owes_last_part(open, 49));
    assert!(skip.owes_last_part(open, 50));
    assert!(!skip.owes_last_part(None, 51));
}

#[test]
fn a_source_that_goes_past_the_open_transaction_halts() {
    let mut skip = Skip::new(&adopted_state(), INCARNATION).unwrap();
    assert_eq!(skip.begins(49), Ok(()));
    assert_eq!(skip.begins(50), Ok(()));
    assert_eq!(skip.begins(51), Err(SkipError::OpenVanished { open: 50, begun: 51 }));
    assert!(skip.owes_last_part(adopted_state().open, 50));
    assert_eq!(skip.begins(51), Ok(()));
}

#[test]
fn the_first_beacon_says_the_adopted_head_and_place() {
    let said = outgoing().said(None);
    assert_eq!(said.head, adopted_state().head);
    assert_eq!(said.place, Place { offset: Offset(10), state: adopted_state() });
    assert_eq!(said.resolved, At::START);
    assert_eq!(outgoing().said(Some(At::end_of(40))).resolved, At::end_of(40));
}

#[test]
fn a_beacon_never_says_what_was_merely_sent_and_the_place_waits_for_the_log() {
    let mut outgoing = outgoing();
    let before = outgoing.said(None);
    let five = next(&outgoing, mark(50, 4, 0), false);
    outgoing.seal(five, At::end_of(50)).unwrap();
    let six = next(&outgoing, mark(51, 1, 0), false);
    outgoing.seal(six, At::end_of(51)).unwrap();
    assert_eq!(outgoing.said(Some(At::end_of(60))), before, "nothing is acknowledged");

    outgoing.acknowledged(Sequence(6), Offset(14)).unwrap();
    assert_eq!(outgoing.said(None), before, "a hole before it");
    assert!(outgoing.to_append().is_none());
    outgoing.acknowledged(Sequence(5), Offset(12)).unwrap();
    let Said { head, place, resolved } = outgoing.said(None);
    assert_eq!((head.unwrap().0, resolved), (Sequence(6), At::end_of(51)));
    assert_eq!(place, before.place, "nothing is appended");
    assert_eq!(outgoing.said(Some(At::end_of(60))).resolved, At::end_of(60));

    assert_eq!(outgoing.to_append().unwrap().sequence, Sequence(5));
    let place = outgoing.appended(Sequence(5)).unwrap();
    assert_eq!(
        (place.offset, place.state.head.unwrap().0, place.state.open),
        (Offset(13), Sequence(5), None)
    );
    let place = outgoing.appended(Sequence(6)).unwrap();
    assert_eq!((place.offset, place.state.last.mark), (Offset(15), mark(51, 1, 0)));
    assert_eq!(outgoing.outstanding(), 0);
}

#[test]
fn a_batch_that_readers_would_refuse_is_not_sent() {
    let mut outgoing = outgoing();
    let good = next(&outgoing, mark(50, 4, 0), true);
    let bad = [
        Facts { continues: false, begun: 1, ..good.clone() },
        Facts { first: mark(50, 3, 1), ..good.clone() },
        Facts { epoch: Epoch(4), ..good.clone() },
        Facts { sequence: Sequence(6), ..good.clone() },
        Facts { previous: Digest::ZERO, ..good.clone() },
    ];
    for facts in bad {
        assert!(matches!(outgoing.seal(facts, At::START), Err(OutgoingError::Refused { .. })));
        assert_eq!(outgoing.outstanding(), 0);
    }
    outgoing.seal(good, At::START).unwrap();
    assert_eq!(outgoing.open(), Some(Open { commit: 50 }));
}

#[test]
fn a_last_part_without_rows_is_a_batch_of_its_own() {
    let mut outgoing = outgoing();
    let row = mark(51, 1, 0);
    let mixed = Facts { begun: 1, ended: 2, ..next(&outgoing, row, false) };
    assert!(
        outgoing.seal(mixed, At::START).is_err(),
        "its first row is not of the transaction that it continues"
    );
    let last = adopted_state().last.mark;
    let alone = Facts { rows: 0, ..next(&outgoing, last, false) };
    outgoing.seal(alone, At::end_of(50)).unwrap();
    let whole = next(&outgoing, row, false);
    outgoing.seal(whole, At::end_of(51)).unwrap();
}

#[test]
fn only_what_is_outstanding_is_acknowledged_or_appended() {
    let mut outgoing = outgoing();
    assert_eq!(
        outgoing.acknowledged(Sequence(5), Offset(1)),
        Err(OutgoingError::NotOutstanding(Sequence(5)))
    );
    let five = next(&outgoing, mark(50, 4, 0), false);
    outgoing.seal(five, At::START).unwrap();
    assert_eq!(outgoing.appended(Sequence(5)), Err(OutgoingError::NotOutstanding(Sequence(5))));
    outgoing.acknowledged(Sequence(5), Offset(11)).unwrap();
    assert_eq!(
        outgoing.acknowledged(Sequence(5), Offset(11)),
        Err(OutgoingError::NotOutstanding(Sequence(5)))
    );
}
