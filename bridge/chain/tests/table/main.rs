//! Every (state, input) pair of the chain machine, as a table.
//!
//! States and inputs are partitioned by what the rules of design section 5 distinguish; `table.txt` holds the expected
//! step of each pair, a line for each input and a column for each state. An input that a state cannot meet (below the
//! head of a stream without one) is `-`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

mod inputs;

use bridge_chain::{Input, Last, Machine, Mark, Open, SnapshotPlace, State, Step};
use bridge_event::{Epoch, Generation, IncarnationNumber, Kind, Sequence};
use bridge_suite::Digest;
use inputs::INPUTS;

/// The digest accepted at a sequence.
fn digest(sequence: u64) -> Digest {
    let mut digest = Digest([7; 32]);
    digest.0[..8].copy_from_slice(&sequence.to_be_bytes());
    digest
}

const GENESIS: Digest = Digest([9; 32]);
const FENCED: Epoch = Epoch(5);
const INCARNATION: IncarnationNumber = IncarnationNumber(3);
/// The commit of the last row, and of the open transaction.
const COMMIT: u64 = 100;
const HEAD: u64 = 40;

/// A machine that accepted `kept` batches of `FENCED` one by one, the last of them `HEAD` and as `state` says.
fn machine(state: State, kept: u64) -> Machine {
    let Some((Sequence(head), _)) = state.head.filter(|_| kept > 0) else {
        return Machine::from_state(GENESIS, state);
    };
    let below = head - kept;
    let last = Last { incarnation: INCARNATION, mark: Mark::START };
    let head_below = Some((Sequence(below), digest(below)));
    let mut machine = Machine::from_state(GENESIS, State { head: head_below, open: None, last, ..state });
    for sequence in below + 1..=head {
        let mut facts = inputs::stream(machine.state());
        let row = if sequence == head {
            state.last.mark
        } else {
            Mark { commit: 1, ordinal: sequence, fragment: 0 }
        };
        (facts.first, facts.last) = (row, row);
        (facts.leaves_open, facts.ended) =
            if sequence == head && state.open.is_some() { (true, 0) } else { (false, 1) };
        facts.digest = digest(sequence);
        assert_eq!(machine.step(&Input::Batch(facts)), Step::Accepted);
    }
    assert_eq!(*machine.state(), state);
    machine
}

/// The states that the rules tell apart, by their column's name.
fn states() -> Vec<(&'static str, Machine)> {
    let last = Last { incarnation: INCARNATION, mark: Mark { commit: COMMIT, ordinal: 7, fragment: 0 } };
    let fragment = Last { mark: Mark { fragment: 1, ..last.mark }, ..last };
    let head = Some((Sequence(HEAD), digest(HEAD)));
    let closed = State { fenced: FENCED, head, last, open: None, snapshot: None };
    let as_of = Last { mark: Mark::end_of(COMMIT), ..last };
    let chunk = |last| Some(SnapshotPlace { generation: Generation(2), chunk: 3, last });
    let open = State { open: Some(Open { commit: COMMIT }), ..closed };
    let cut = Last { mark: Mark { fragment: Mark::LAST_FRAGMENT, ..last.mark }, ..last };
    let end = State { head: Some((Sequence(u64::MAX), digest(u64::MAX))), ..closed };
    vec![
        ("new", machine(State::START, 0)),
        ("fenced", machine(State { fenced: FENCED, ..State::START }, 0)),
        ("closed", machine(closed, 2)),
        ("open", machine(open, 2)),
        ("fragment", machine(State { last: fragment, ..open }, 2)),
        ("row ended", machine(State { last: cut, head: Some((Sequence(HEAD), digest(HEAD))), ..open }, 0)),
        ("restarted", machine(closed, 0)),
        ("unfenced", machine(State { fenced: Epoch(0), ..closed }, 0)),
        ("at the end", machine(end, 0)),
        ("in a snapshot", machine(State { last: as_of, snapshot: chunk(false), ..closed }, 0)),
        ("after a snapshot", machine(State { last: as_of, snapshot: chunk(true), ..closed }, 0)),
    ]
}

fn render() -> String {
    let states = states();
    let mut table = format!("{:<58}", "");
    states.iter().for_each(|(name, _)| table.push_str(&format!(" {name:<19}")));
    for (name, make) in INPUTS {
        table = format!("{}\n{name:<58}", table.trim_end());
        for (_, machine) in &states {
            let step = make(machine).map(|input| machine.clone().step(&input));
            table.push_str(&format!(" {:<19}", step.map_or("-", Step::name)));
        }
    }
    table.trim_end().to_owned() + "\n"
}

#[test]
fn every_pair_of_state_and_input_has_its_step() {
    let (expected, found) = (include_str!("table.txt"), render());
    println!("{found}");
    for (line, (expected, found)) in expected.lines().zip(found.lines()).enumerate() {
        assert_eq!(expected, found, "line {}", line + 1);
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}

#[test]
fn only_a_batch_or_a_fence_that_counts_changes_the_state() {
    for (state, before) in states() {
        for (name, make) in INPUTS {
            let Some(input) = make(&before) else { continue };
            let mut machine = before.clone();
            let step = machine.step(&input);
            let expected = match (step, &input) {
                (Step::Fenced, Input::Fence { epoch }) => State { fenced: *epoch, ..*before.state() },
                (Step::Accepted, Input::Batch(facts)) => State {
                    fenced: before.state().fenced,
                    head: Some((facts.sequence, facts.digest)),
                    last: Last { incarnation: facts.incarnation, mark: facts.last },
                    open: facts.leaves_open.then_some(Open { commit: facts.last.commit }),
                    snapshot: match facts.kind {
                        Kind::Snapshot => facts.snapshot,
                        Kind::Gap => None,
                        _ => before.state().snapshot,
                    },
                },
                _ => {
                    assert_eq!(machine, before, "{state}, {name}");
                    continue;
                }
            };
            assert_eq!(*machine.state(), expected, "{state}, {name}");
        }
    }
}

#[test]
fn an_accepted_batch_that_comes_again_is_a_duplicate_and_another_in_its_stead_a_fork() {
    for (state, machine) in states() {
        for (name, make) in INPUTS {
            let mut machine = machine.clone();
            let Some(Input::Batch(mut facts)) = make(&machine) else { continue };
            if machine.step(&Input::Batch(facts.clone())) == Step::Accepted {
                assert_eq!(machine.step(&Input::Batch(facts.clone())), Step::Duplicate, "{state}, {name}");
                facts.digest = Digest([1; 32]);
                assert_eq!(machine.step(&Input::Batch(facts)).name(), "fork", "{state}, {name}");
            }
        }
    }
}

#[test]
fn a_digest_is_at_hand_for_the_recent_batches_only() {
    let kept = u64::try_from(bridge_chain::RECENT_DIGESTS_MAX).unwrap();
    let state = *states()[2].1.state();
    let head = kept + 10;
    let machine = machine(State { head: Some((Sequence(head), digest(head))), ..state }, kept + 5);
    assert_eq!(machine.accepted(Sequence(head)), Some(digest(head)));
    assert_eq!(machine.accepted(Sequence(head - kept + 1)), Some(digest(head - kept + 1)));
    assert_eq!(machine.accepted(Sequence(head - kept)), None);
    assert_eq!(machine.accepted(Sequence(head + 1)), None);
}

#[test]
fn an_old_batch_is_told_by_archive_or_log() {
    assert_eq!(Step::compared(digest(1), digest(1)), Step::Duplicate);
    assert_eq!(Step::compared(digest(1), digest(2)).name(), "fork");
}

#[test]
fn the_fragments_of_a_snapshots_row_follow_each_other_or_it_begins_anew() {
    let step = |machine: &mut Machine, generation: u64, chunk: u64, fragment: u32| {
        let mut facts = inputs::stream(machine.state());
        let mark = Mark { fragment, ..Mark::end_of(COMMIT) };
        (facts.kind, facts.first, facts.last) = (Kind::Snapshot, mark, mark);
        (facts.begun, facts.ended) = (0, 0);
        facts.snapshot = Some(SnapshotPlace { generation: Generation(generation), chunk, last: false });
        machine.step(&Input::Batch(facts)).name()
    };
    let (_, mut machine) = states().remove(1);
    assert_eq!(step(&mut machine, 1, 0, 2), "row-broken");
    assert_eq!(step(&mut machine, 1, 0, 1), "accepted");
    assert_eq!(step(&mut machine, 1, 1, 3), "row-broken");
    assert_eq!(step(&mut machine, 1, 1, 2), "accepted");
    // A snapshot that was broken off in a row is begun again.
    assert_eq!(step(&mut machine, 2, 0, 1), "accepted");
    assert_eq!(step(&mut machine, 2, 1, Mark::LAST_FRAGMENT), "accepted");
    assert_eq!(step(&mut machine, 2, 2, 0), "accepted");
    assert_eq!(step(&mut machine, 2, 3, Mark::LAST_FRAGMENT), "row-broken");
}
