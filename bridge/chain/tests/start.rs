//! The start sequence, step by step: what it does when all is well, and each reason to end or to halt.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

use bridge_chain::start::{Effect, Halt, Located, Outcome, Sizes, Start, may_append};
use bridge_chain::{Facts, Finding, Input, Last, Mark, Place, Shipped, State};
use bridge_event::{Epoch, IncarnationNumber, Kind, Offset, Sequence};
use bridge_suite::Digest;

const GENESIS: Digest = Digest([9; 32]);

fn digest(sequence: u64) -> Digest {
    let mut digest = Digest([7; 32]);
    digest.0[..8].copy_from_slice(&sequence.to_be_bytes());
    digest
}

fn batch(epoch: u64, sequence: u64) -> Input {
    let row = Mark { commit: sequence + 1, ordinal: 1, fragment: 0 };
    Input::Batch(Facts {
        epoch: Epoch(epoch),
        sequence: Sequence(sequence),
        digest: digest(sequence),
        previous: sequence.checked_sub(1).map_or(GENESIS, digest),
        kind: Kind::Stream,
        incarnation: IncarnationNumber(1),
        first: row,
        last: row,
        rows: 1,
        continues: false,
        leaves_open: false,
        begun: 1,
        ended: 1,
        snapshot: None,
        lost: Vec::new(),
        lost_previous: Digest::ZERO,
        voids: Vec::new(),
    })
}

fn fence(epoch: u64) -> Input {
    Input::Fence { epoch: Epoch(epoch) }
}

fn state(fenced: u64, head: u64) -> State {
    let mark = Mark { commit: head + 1, ordinal: 1, fragment: 0 };
    State {
        fenced: Epoch(fenced),
        head: Some((Sequence(head), digest(head))),
        last: Last { incarnation: IncarnationNumber(1), mark },
        open: None,
        snapshot: None,
    }
}

fn place(offset: i64, state: State) -> Outcome {
    let logged = state.head.map(|(_, digest)| digest);
    Outcome::Located(Located::Place { place: Place { offset: Offset(offset), state }, logged })
}

fn record(offset: i64, input: Input) -> Outcome {
    Outcome::Record { offset: Offset(offset), input: Some(input) }
}

fn newest(epoch: u64) -> Outcome {
    Outcome::LogChecked { newest: Epoch(epoch), sizes: Sizes::default() }
}

/// A start over one stream that has epoch 4 in the log, whose head there is `logged`, and its fence at offset 30.
fn fenced(logged: Option<u64>) -> Start {
    let (mut start, effect) = Start::new(&[GENESIS]);
    assert_eq!(effect, Effect::Claim);
    assert_eq!(start.step(Outcome::Claimed), Effect::CheckLog);
    assert_eq!(start.step(newest(3)), Effect::AppendEpoch { after: Epoch(3), epoch: Epoch(4) });
    let heads = vec![logged.map(|sequence| (Sequence(sequence), digest(sequence)))];
    assert_eq!(start.step(Outcome::EpochAppended { heads }), Effect::WriteFences { epoch: Epoch(4) });
    let fences = vec![Some(Offset(30))];
    assert_eq!(start.step(Outcome::Fenced { fences }), Effect::Locate { stream: 0 });
    start
}

#[test]
fn a_start_adopts_up_to_its_fence_and_appends_what_the_log_lacks() {
    let mut start = fenced(Some(1));
    assert_eq!(start.step(place(20, state(3, 0))), Effect::Read { stream: 0, from: Offset(20) });
    assert_eq!(start.step(record(20, batch(3, 1))), Effect::ReadOn, "the log has it");
    assert_eq!(start.step(Outcome::Record { offset: Offset(21), input: None }), Effect::ReadOn, "rubbish");
    assert_eq!(start.step(record(22, batch(3, 2))), Effect::Append { stream: 0 });
    assert_eq!(start.step(Outcome::Appended), Effect::ReadOn);
    assert_eq!(start.step(record(23, batch(2, 3))), Effect::ReadOn, "late");
    assert_eq!(start.step(record(25, batch(3, 4))), Effect::ReadOn, "ahead: 3 was lost on its way");
    assert_eq!(start.step(record(30, fence(4))), Effect::Sync);
    assert_eq!(start.step(Outcome::Synced), Effect::Go);
    let adopted = start.into_adopted().unwrap();
    assert_eq!(adopted[0].place, Place { offset: Offset(31), state: state(4, 2) });
    assert_eq!(adopted[0].machine.state(), &state(4, 2));
}

#[test]
fn a_new_stream_starts_at_its_beginning() {
    let mut start = fenced(None);
    let beginning = start.step(Outcome::Located(Located::Beginning));
    assert_eq!(beginning, Effect::Read { stream: 0, from: Offset(0) });
    assert_eq!(start.step(record(30, fence(4))), Effect::Sync);
    assert_eq!(start.step(Outcome::Synced), Effect::Go);
    assert_eq!(start.into_adopted().unwrap()[0].place.state, State { fenced: Epoch(4), ..State::START });
}

#[test]
fn every_fence_is_acknowledged_or_the_start_takes_a_new_epoch() {
    let (mut start, _) = Start::new(&[GENESIS, GENESIS]);
    let _ = start.step(Outcome::Claimed);
    let _ = start.step(newest(0));
    let heads = vec![None, None];
    assert_eq!(
        start.step(Outcome::EpochAppended { heads: heads.clone() }),
        Effect::WriteFences { epoch: Epoch(1) }
    );
    let again = start.step(Outcome::Fenced { fences: vec![Some(Offset(0)), None] });
    assert_eq!(again, Effect::AppendEpoch { after: Epoch(1), epoch: Epoch(2) });
    assert_eq!(start.step(Outcome::EpochAppended { heads }), Effect::WriteFences { epoch: Epoch(2) });
    let fences = vec![Some(Offset(1)), Some(Offset(1))];
    assert_eq!(start.step(Outcome::Fenced { fences }), Effect::Locate { stream: 0 });
    assert_eq!(start.epoch(), Epoch(2));
}

#[test]
fn a_log_that_shrank_halts_the_start() {
    let known = [(10, 0, 0), (0, 10, 0), (0, 0, 10)];
    for (checkpoint, beacon, witnesses) in known {
        let (mut start, _) = Start::new(&[GENESIS]);
        let _ = start.step(Outcome::Claimed);
        let sizes = Sizes { log: 9, checkpoint, beacon, witnesses };
        let effect = start.step(Outcome::LogChecked { newest: Epoch(1), sizes });
        assert_eq!(effect, Effect::Halt(Halt::LogShrunk { log: 9, known: 10 }));
    }
}

#[test]
fn a_higher_epoch_in_a_stream_ends_a_start_that_was_superseded_and_halts_one_whose_log_was_lost() {
    let lost = Halt::LogLost { stream: 0, own: Epoch(4), found: Epoch(6) };
    for (newest, effect) in [(6, Effect::End), (4, Effect::Halt(lost))] {
        let mut by_place = fenced(Some(1));
        assert_eq!(by_place.step(place(20, state(6, 1))), Effect::CheckNewest);
        assert_eq!(by_place.step(Outcome::Newest(Epoch(newest))), effect);
        let mut by_fence = fenced(Some(1));
        let _ = by_fence.step(place(20, state(3, 1)));
        assert_eq!(by_fence.step(record(20, fence(6))), Effect::CheckNewest);
        assert_eq!(by_fence.step(Outcome::Newest(Epoch(newest))), effect);
        assert!(by_fence.into_adopted().is_none());
    }
}

#[test]
fn a_fence_of_the_own_epoch_by_another_hand_means_a_lost_log() {
    let mut start = fenced(Some(1));
    let _ = start.step(place(20, state(3, 1)));
    assert_eq!(start.step(record(20, fence(4))), Effect::ReadOn);
    assert_eq!(start.step(record(30, fence(4))), Effect::CheckNewest);
    let lost = Halt::LogLost { stream: 0, own: Epoch(4), found: Epoch(4) };
    assert_eq!(start.step(Outcome::Newest(Epoch(4))), Effect::Halt(lost));
}

#[test]
fn whoever_is_superseded_ends() {
    let mut start = fenced(None);
    let _ = start.step(Outcome::Located(Located::Beginning));
    let _ = start.step(record(0, fence(3)));
    assert_eq!(start.step(record(1, batch(3, 0))), Effect::Append { stream: 0 });
    assert_eq!(start.step(Outcome::Superseded), Effect::End);
    assert!(may_append::<Shipped>(Epoch(4), Epoch(4)));
    assert!(!may_append::<Shipped>(Epoch(5), Epoch(4)));
}

#[test]
fn a_place_whose_head_is_not_in_the_log_halts_the_start() {
    for logged in [None, Some(digest(7))] {
        let mut start = fenced(Some(0));
        let place = Place { offset: Offset(20), state: state(3, 1) };
        let effect = start.step(Outcome::Located(Located::Place { place, logged }));
        assert_eq!(effect, Effect::Halt(Halt::PlaceNotLogged { stream: 0 }));
    }
}

#[test]
fn a_topic_that_was_cut_or_recreated_halts_the_start() {
    let cut = Effect::Halt(Halt::TopicCut { stream: 0 });
    let mut beyond = fenced(Some(1));
    assert_eq!(beyond.step(place(31, state(3, 1))), cut);
    let mut ended = fenced(Some(1));
    let _ = ended.step(place(20, state(3, 1)));
    assert_eq!(ended.step(Outcome::Ended), cut);
    let mut replaced = fenced(Some(1));
    let _ = replaced.step(place(30, state(3, 1)));
    assert_eq!(replaced.step(record(30, batch(3, 2))), cut);
    let mut skipped = fenced(Some(1));
    let _ = skipped.step(place(30, state(3, 1)));
    assert_eq!(skipped.step(record(31, fence(4))), cut);
}

#[test]
fn a_log_that_is_ahead_of_kafka_halts_the_start() {
    let mut start = fenced(Some(5));
    let _ = start.step(place(20, state(3, 1)));
    let _ = start.step(record(20, batch(3, 2)));
    let lost = Halt::KafkaLost { stream: 0, sequence: Sequence(5) };
    assert_eq!(start.step(record(30, fence(4))), Effect::Halt(lost));
}

#[test]
fn two_batches_of_one_sequence_in_kafka_and_the_log_halt_the_start() {
    let (mut start, _) = Start::new(&[GENESIS]);
    let _ = start.step(Outcome::Claimed);
    let _ = start.step(newest(3));
    let _ = start.step(Outcome::EpochAppended { heads: vec![Some((Sequence(2), digest(99)))] });
    let _ = start.step(Outcome::Fenced { fences: vec![Some(Offset(30))] });
    let _ = start.step(place(20, state(3, 1)));
    let forked = Halt::LogForked { stream: 0, sequence: Sequence(2) };
    assert_eq!(start.step(record(20, batch(3, 2))), Effect::Halt(forked));
}

#[test]
fn a_finding_halts_the_start() {
    let mut start = fenced(Some(1));
    let _ = start.step(place(20, state(3, 1)));
    let unfenced = Halt::Finding { stream: 0, finding: Finding::Unfenced };
    assert_eq!(start.step(record(20, batch(4, 2))), Effect::Halt(unfenced));
}

#[test]
fn where_retention_removed_the_head_a_start_goes_on_from_the_log() {
    let mut start = fenced(Some(9));
    let removed = Located::Removed { low: Offset(25), logged: state(2, 9) };
    assert_eq!(start.step(Outcome::Located(removed)), Effect::Read { stream: 0, from: Offset(25) });
    assert_eq!(start.step(record(25, batch(2, 9))), Effect::ReadOn, "the log has it");
    assert_eq!(start.step(record(30, fence(4))), Effect::Sync);
    assert_eq!(start.step(Outcome::Synced), Effect::Go);
    assert_eq!(start.into_adopted().unwrap()[0].place.state, state(4, 9));
}

#[test]
fn where_retention_removed_the_fences_nothing_is_adopted_that_the_log_lacks() {
    let mut unclear = fenced(Some(9));
    let _ = unclear.step(Outcome::Located(Located::Removed { low: Offset(25), logged: state(2, 9) }));
    let unplaced = Halt::Unplaced { stream: 0, sequence: Sequence(10) };
    assert_eq!(unclear.step(record(25, batch(2, 10))), Effect::Halt(unplaced));
    // No epoch began after the head's, so no fence can be missing.
    let mut clear = fenced(Some(9));
    let _ = clear.step(Outcome::Located(Located::Removed { low: Offset(25), logged: state(3, 9) }));
    assert_eq!(clear.step(record(25, batch(3, 10))), Effect::Append { stream: 0 });
}

#[test]
fn the_epochs_end_and_an_outcome_out_of_step_halts() {
    let (mut start, _) = Start::new(&[GENESIS]);
    let _ = start.step(Outcome::Claimed);
    assert_eq!(start.step(newest(u64::MAX)), Effect::Halt(Halt::EpochsEnd));
    let (mut start, _) = Start::new(&[GENESIS]);
    assert_eq!(start.step(Outcome::Synced), Effect::Halt(Halt::OutOfStep));
    let (mut start, _) = Start::new(&[GENESIS]);
    let _ = start.step(Outcome::Claimed);
    let _ = start.step(newest(0));
    assert_eq!(start.step(Outcome::EpochAppended { heads: vec![] }), Effect::Halt(Halt::OutOfStep));
}
