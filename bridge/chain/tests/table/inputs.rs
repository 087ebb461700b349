//! The inputs that the rules tell apart, each made for the state that it meets.

use bridge_chain::{Facts, Input, Machine, Mark, SnapshotPlace, State};
use bridge_event::{Epoch, Generation, IncarnationNumber, Kind, Sequence};
use bridge_suite::Digest;

use crate::{COMMIT, FENCED, GENESIS, INCARNATION, digest};

/// Makes an input for a machine; `None` when there can be none.
pub(crate) type Make = fn(&Machine) -> Option<Input>;

const OTHER: Digest = Digest([0xee; 32]);
const LATER: Mark = Mark { commit: COMMIT + 10, ordinal: 1, fragment: 0 };

/// A batch with one whole transaction that follows the state; in a state with an open transaction, its last row.
pub(crate) fn stream(state: &State) -> Facts {
    let sequence = state.head.map_or(Sequence(0), |(n, _)| Sequence(n.0.wrapping_add(1)));
    let row = match state.open {
        Some(_) if state.last.mark.is_unfinished() => {
            Mark { fragment: Mark::LAST_FRAGMENT, ..state.last.mark }
        }
        Some(_) => Mark { ordinal: state.last.mark.ordinal + 1, fragment: 0, ..state.last.mark },
        None => LATER,
    };
    Facts {
        epoch: FENCED,
        sequence,
        digest: digest(sequence.0),
        previous: state.head.map_or(GENESIS, |(_, digest)| digest),
        kind: Kind::Stream,
        incarnation: INCARNATION,
        first: row,
        last: row,
        rows: 1,
        continues: state.open.is_some(),
        leaves_open: false,
        begun: u64::from(state.open.is_none()),
        ended: 1,
        snapshot: None,
        lost: Vec::new(),
        lost_previous: Digest::ZERO,
        voids: Vec::new(),
    }
}

/// That batch, changed.
fn batch(machine: &Machine, change: impl FnOnce(&mut Facts)) -> Option<Input> {
    machine.next_sequence()?;
    let mut facts = stream(machine.state());
    change(&mut facts);
    Some(Input::Batch(facts))
}

/// A batch at a sequence so far below the head.
fn below(machine: &Machine, back: u64, digest: fn(u64) -> Digest) -> Option<Input> {
    let (head, _) = machine.state().head?;
    let mut facts = stream(machine.state());
    facts.sequence = Sequence(head.0 - back);
    facts.digest = digest(facts.sequence.0);
    Some(Input::Batch(facts))
}

/// A beacon whose head is so far from the stream's own.
fn beacon(machine: &Machine, away: i64, digest: fn(u64) -> Digest) -> Option<Input> {
    let head = match machine.state().head {
        Some((head, _)) => head.0.checked_add_signed(away)?,
        None => u64::try_from(away - 1).ok()?,
    };
    Some(Input::Beacon { epoch: FENCED, head: Some((Sequence(head), digest(head))) })
}

/// A batch without rows that repeats the last position.
fn rowless(machine: &Machine, change: impl FnOnce(&mut Facts)) -> Option<Input> {
    let last = machine.state().last.mark;
    batch(machine, |facts| {
        (facts.first, facts.last, facts.rows, facts.begun) = (last, last, 0, 0);
        facts.ended = u64::from(facts.continues);
        change(facts);
    })
}

/// The chunk that begins the next snapshot of a state, and ends it.
fn next_snapshot(state: &State) -> SnapshotPlace {
    let generation = Generation(state.snapshot.map_or(1, |before| before.generation.0 + 1));
    SnapshotPlace { generation, chunk: 0, last: true }
}

/// A further chunk of the snapshot that the state is in, or was, as of the same position.
fn chunk(machine: &Machine, change: impl FnOnce(&mut SnapshotPlace)) -> Option<Input> {
    let mut part = machine.state().snapshot?;
    part.chunk += 1;
    change(&mut part);
    snapshot(machine, machine.state().last.mark.commit, |facts| facts.snapshot = Some(part))
}

/// A snapshot that begins, changed.
fn generation(machine: &Machine, change: impl FnOnce(&mut SnapshotPlace)) -> Option<Input> {
    let mut part = next_snapshot(machine.state());
    change(&mut part);
    snapshot(machine, COMMIT + 10, |facts| facts.snapshot = Some(part))
}

/// A snapshot batch as of the end of a commit.
fn snapshot(machine: &Machine, commit: u64, change: impl FnOnce(&mut Facts)) -> Option<Input> {
    batch(machine, |facts| {
        let as_of = Mark::end_of(commit);
        (facts.kind, facts.first, facts.last) = (Kind::Snapshot, as_of, as_of);
        (facts.continues, facts.begun, facts.ended) = (false, 0, 0);
        facts.snapshot = Some(next_snapshot(machine.state()));
        change(facts);
    })
}

/// A GAP or RETRACT that voids what is open.
fn notice(machine: &Machine, kind: Kind, change: impl FnOnce(&mut Facts)) -> Option<Input> {
    let open = machine.state().open;
    batch(machine, |facts| {
        let to = Mark::end_of(COMMIT + 10);
        (facts.kind, facts.first, facts.last, facts.rows) = (kind, to, to, 0);
        (facts.continues, facts.begun, facts.ended) = (false, 0, 0);
        facts.voids = open.iter().map(|open| open.commit).collect();
        change(facts);
    })
}

/// A GAP that names `count` lost sequences, the first one `skip` beyond the next sequence (before it when negative).
fn gap(machine: &Machine, skip: i64, count: u64, change: impl FnOnce(&mut Facts)) -> Option<Input> {
    let next = machine.next_sequence()?;
    let first = next.0.checked_add_signed(skip)?;
    let before = match first.checked_sub(1) {
        None => GENESIS,
        Some(before) => digest(before),
    };
    notice(machine, Kind::Gap, |facts| {
        facts.lost = (first..first + count).map(|n| (Sequence(n), digest(n))).collect();
        facts.lost_previous = before;
        facts.sequence = Sequence(first + count);
        facts.previous = digest(first + count - 1);
        facts.digest = digest(first + count);
        change(facts);
    })
}

/// Another digest than the accepted one.
fn other(_: u64) -> Digest {
    OTHER
}

/// Every input with its line's name.
pub(crate) const INPUTS: &[(&str, Make)] = &[
    ("fence of a lower epoch", |_| Some(Input::Fence { epoch: Epoch(FENCED.0 - 1) })),
    ("fence of the epoch", |_| Some(Input::Fence { epoch: FENCED })),
    ("fence of a higher epoch", |_| Some(Input::Fence { epoch: Epoch(FENCED.0 + 1) })),
    ("fence of epoch 0", |_| Some(Input::Fence { epoch: Epoch(0) })),
    ("beacon of a lower epoch, head beyond", |m| {
        beacon(m, 1, digest).map(|input| with_epoch(input, FENCED.0 - 1))
    }),
    ("beacon of a higher epoch", |m| beacon(m, 0, digest).map(|input| with_epoch(input, FENCED.0 + 1))),
    ("beacon before the stream's first batch", |_| Some(Input::Beacon { epoch: FENCED, head: None })),
    ("beacon, head far below", |m| beacon(m, -30, digest)),
    ("beacon, head below", |m| beacon(m, -1, digest)),
    ("beacon, head below, another digest", |m| beacon(m, -1, other)),
    ("beacon, head", |m| beacon(m, 0, digest)),
    ("beacon, head, another digest", |m| beacon(m, 0, other)),
    ("beacon, head beyond", |m| beacon(m, 1, digest)),
    ("batch of a lower epoch", |m| batch(m, |f| f.epoch = Epoch(FENCED.0 - 1))),
    ("batch of a higher epoch", |m| batch(m, |f| f.epoch = Epoch(FENCED.0 + 1))),
    ("batch of epoch 0", |m| batch(m, |f| f.epoch = Epoch(0))),
    ("batch of a lower epoch at the head, another digest", |m| {
        below(m, 0, other).map(|input| with_epoch(input, FENCED.0 - 1))
    }),
    ("batch at the head", |m| below(m, 0, digest)),
    ("batch at the head, another digest", |m| below(m, 0, other)),
    ("batch below", |m| below(m, 1, digest)),
    ("batch below, another digest", |m| below(m, 1, other)),
    ("batch far below", |m| below(m, 30, digest)),
    ("batch far below, another digest", |m| below(m, 30, other)),
    ("batch two beyond", |m| batch(m, |f| f.sequence = Sequence(f.sequence.0 + 1))),
    ("batch far beyond", |m| batch(m, |f| f.sequence = Sequence(u64::MAX))),
    ("next, another previous digest", |m| batch(m, |f| f.previous = OTHER)),
    ("next, a whole transaction or the open one's end", |m| batch(m, |_| {})),
    ("next, first row at the last row", |m| batch(m, |f| f.first = m.state().last.mark)),
    ("next, first row before the last row", |m| {
        let last = m.state().last.mark;
        batch(m, |f| f.first = Mark { ordinal: last.ordinal.saturating_sub(1), ..last })
    }),
    ("next, first row in an earlier commit", |m| batch(m, |f| f.first.commit = COMMIT - 1)),
    ("next, last row before the first", |m| batch(m, |f| f.last.ordinal = 0)),
    ("next, the next fragment of the last row", |m| {
        batch(m, |f| {
            f.first =
                Mark { fragment: m.state().last.mark.fragment.saturating_add(1), ..m.state().last.mark };
        })
    }),
    ("next, a fragment of the last row but one is left out", |m| {
        batch(m, |f| {
            f.first =
                Mark { fragment: m.state().last.mark.fragment.saturating_add(2), ..m.state().last.mark };
        })
    }),
    ("next, the last fragment of the last row", |m| {
        batch(m, |f| f.first = Mark { fragment: Mark::LAST_FRAGMENT, ..m.state().last.mark })
    }),
    ("next, the first fragment of a later row", |m| {
        batch(m, |f| {
            f.first = Mark { ordinal: m.state().last.mark.ordinal.wrapping_add(1), fragment: 1, ..f.first };
            f.last = f.first;
        })
    }),
    ("next, the second fragment of a later row", |m| {
        batch(m, |f| {
            f.first = Mark { ordinal: m.state().last.mark.ordinal.wrapping_add(1), fragment: 2, ..f.first };
            f.last = f.first;
        })
    }),
    ("next, another row", |m| {
        batch(m, |f| {
            f.first = Mark { ordinal: m.state().last.mark.ordinal.wrapping_add(1), fragment: 0, ..f.first };
            f.last = f.first;
        })
    }),
    ("next, leaves its transaction open", |m| batch(m, |f| (f.leaves_open, f.ended) = (true, 0))),
    ("next, ends it, begins and leaves open another", |m| {
        batch(m, |f| {
            (f.leaves_open, f.last, f.begun) = (true, Mark { commit: COMMIT + 20, ..LATER }, f.begun + 1)
        })
    }),
    ("next, continues what is not open or does not what is", |m| {
        batch(m, |f| (f.continues, f.begun) = (!f.continues, u64::from(f.continues)))
    }),
    ("next, continues another transaction", |m| {
        batch(m, |f| (f.continues, f.begun, f.first, f.last) = (true, 0, LATER, LATER))
    }),
    ("next, begins more than it ends", |m| batch(m, |f| f.begun += 1)),
    ("next, ends more than it begins", |m| batch(m, |f| f.ended += 1)),
    ("next, counts at the end of 64 bits", |m| batch(m, |f| (f.begun, f.ended) = (u64::MAX, 0))),
    ("next, another incarnation", |m| batch(m, |f| f.incarnation = IncarnationNumber(INCARNATION.0 + 1))),
    ("next, a lower incarnation", |m| batch(m, |f| f.incarnation = IncarnationNumber(INCARNATION.0 - 1))),
    ("next without rows, repeats the position, ends what is open", |m| rowless(m, |_| {})),
    ("next without rows, leaves open as it was", |m| {
        rowless(m, |f| (f.leaves_open, f.ended) = (f.continues, 0))
    }),
    ("next without rows, leaves open what it did not find", |m| {
        rowless(m, |f| (f.continues, f.leaves_open, f.begun, f.ended) = (false, true, 1, 0))
    }),
    ("next without rows, moves the position", |m| rowless(m, |f| f.last.commit += 1)),
    ("next without rows, at another position", |m| {
        rowless(m, |f| {
            f.first.ordinal = f.first.ordinal.wrapping_add(1);
            f.last = f.first;
        })
    }),
    ("schema without rows", |m| rowless(m, |f| f.kind = Kind::Schema)),
    ("schema without rows, moves the position", |m| {
        rowless(m, |f| (f.kind, f.last.ordinal) = (Kind::Schema, f.last.ordinal.wrapping_sub(1)))
    }),
    ("snapshot", |m| snapshot(m, COMMIT, |_| {})),
    ("snapshot without rows", |m| snapshot(m, COMMIT, |f| f.rows = 0)),
    ("snapshot as of a later commit", |m| snapshot(m, COMMIT + 10, |_| {})),
    ("snapshot as of an earlier commit", |m| snapshot(m, COMMIT - 1, |_| {})),
    ("snapshot, the first fragment of a row", |m| {
        snapshot(m, COMMIT + 10, |f| (f.first.fragment, f.last.fragment) = (1, 1))
    }),
    ("snapshot, the second fragment of a row", |m| {
        snapshot(m, COMMIT + 10, |f| (f.first.fragment, f.last.fragment) = (2, 2))
    }),
    ("snapshot that is not at an end", |m| snapshot(m, COMMIT + 10, |f| (f.first, f.last) = (LATER, LATER))),
    ("snapshot over several positions", |m| snapshot(m, COMMIT + 10, |f| f.first = Mark::end_of(COMMIT))),
    ("snapshot that continues", |m| snapshot(m, COMMIT + 10, |f| (f.continues, f.ended) = (true, 1))),
    ("snapshot that leaves open", |m| snapshot(m, COMMIT + 10, |f| (f.leaves_open, f.begun) = (true, 1))),
    ("snapshot of another incarnation", |m| {
        snapshot(m, COMMIT + 10, |f| f.incarnation = IncarnationNumber(INCARNATION.0 + 1))
    }),
    ("snapshot that does not say which chunk", |m| snapshot(m, COMMIT + 10, |f| f.snapshot = None)),
    ("snapshot, first chunk of several", |m| generation(m, |part| part.last = false)),
    ("snapshot, begins with chunk 1", |m| generation(m, |part| part.chunk = 1)),
    ("snapshot, a generation is left out", |m| generation(m, |part| part.generation.0 += 1)),
    ("snapshot of generation 0", |m| generation(m, |part| part.generation = Generation(0))),
    ("snapshot of the generation before", |m| {
        let before = m.state().snapshot?.generation.0.checked_sub(1)?;
        generation(m, |part| part.generation = Generation(before))
    }),
    ("snapshot, the generation begins again", |m| {
        let same = m.state().snapshot?.generation;
        generation(m, |part| part.generation = same)
    }),
    ("snapshot, next chunk", |m| chunk(m, |part| part.last = false)),
    ("snapshot, next chunk and last", |m| chunk(m, |part| part.last = true)),
    ("snapshot, the chunk again", |m| chunk(m, |part| part.chunk -= 1)),
    ("snapshot, a chunk is left out", |m| chunk(m, |part| part.chunk += 1)),
    ("snapshot, next chunk as of a later commit", |m| {
        let part = SnapshotPlace { chunk: m.state().snapshot?.chunk + 1, ..m.state().snapshot? };
        snapshot(m, COMMIT + 10, |facts| facts.snapshot = Some(part))
    }),
    ("schema with rows", |m| batch(m, |f| f.kind = Kind::Schema)),
    ("gap", |m| notice(m, Kind::Gap, |_| {})),
    ("gap that voids nothing", |m| notice(m, Kind::Gap, |f| f.voids.clear())),
    ("gap that voids others too", |m| notice(m, Kind::Gap, |f| f.voids.insert(0, 1))),
    ("gap to an earlier position", |m| notice(m, Kind::Gap, |f| f.last = Mark::end_of(COMMIT - 1))),
    ("gap to the last position", |m| notice(m, Kind::Gap, |f| f.last = m.state().last.mark)),
    ("gap that continues", |m| notice(m, Kind::Gap, |f| f.continues = true)),
    ("gap that leaves open", |m| notice(m, Kind::Gap, |f| f.leaves_open = true)),
    ("gap that raises the incarnation, to position 1", |m| {
        notice(m, Kind::Gap, |f| {
            (f.incarnation, f.last) = (IncarnationNumber(INCARNATION.0 + 1), Mark::end_of(1))
        })
    }),
    ("gap that lowers the incarnation", |m| {
        notice(m, Kind::Gap, |f| f.incarnation = IncarnationNumber(INCARNATION.0 - 1))
    }),
    ("retract", |m| notice(m, Kind::Retract, |_| {})),
    ("retract that voids nothing", |m| notice(m, Kind::Retract, |f| f.voids.clear())),
    ("retract that raises the incarnation, to position 1", |m| {
        notice(m, Kind::Retract, |f| {
            (f.incarnation, f.last) = (IncarnationNumber(INCARNATION.0 + 1), Mark::end_of(1))
        })
    }),
    ("gap, lost from the next sequence", |m| gap(m, 0, 3, |_| {})),
    ("gap, lost from the head", |m| gap(m, -1, 3, |_| {})),
    ("gap, lost up to the head", |m| gap(m, -2, 2, |_| {})),
    ("gap, lost from the head, another digest there", |m| gap(m, -1, 3, |f| f.lost[0].1 = OTHER)),
    ("gap, lost from beyond the next sequence", |m| gap(m, 1, 3, |_| {})),
    ("gap, lost from the next sequence, another digest before", |m| {
        gap(m, 0, 3, |f| f.lost_previous = OTHER)
    }),
    ("gap, lost with a hole", |m| gap(m, 0, 3, |f| f.lost.retain(|(n, _)| n.0 % 3 != 0))),
    ("gap, lost that ends before the gap", |m| gap(m, 0, 3, |f| f.sequence = Sequence(f.sequence.0 + 1))),
    ("gap, lost that the gap does not chain from", |m| gap(m, 0, 3, |f| f.previous = OTHER)),
    ("gap, lost, that voids nothing", |m| gap(m, 0, 3, |f| f.voids.clear())),
    ("gap, lost, of a lower epoch", |m| gap(m, 0, 3, |f| f.epoch = Epoch(FENCED.0 - 1))),
    ("gap that names nothing, three beyond", |m| gap(m, 0, 3, |f| f.lost.clear())),
    ("retract that names lost sequences", |m| gap(m, 0, 3, |f| f.kind = Kind::Retract)),
    ("stream batch that names lost sequences", |m| gap(m, 0, 3, |f| f.kind = Kind::Stream)),
];

fn with_epoch(input: Input, epoch: u64) -> Input {
    match input {
        Input::Batch(facts) => Input::Batch(Facts { epoch: Epoch(epoch), ..facts }),
        Input::Beacon { head, .. } => Input::Beacon { epoch: Epoch(epoch), head },
        Input::Fence { .. } => Input::Fence { epoch: Epoch(epoch) },
    }
}
