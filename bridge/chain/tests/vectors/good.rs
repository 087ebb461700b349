//! Runs that end well.

use super::run::{Run, digest, mark};
use bridge_chain::{Facts, Last, Mark, Open, SnapshotPlace, State};
use bridge_event::{Epoch, Generation, IncarnationNumber, Kind, Sequence};
use bridge_suite::Digest;

/// A run whose epoch 1 is fenced and that has so many batches.
pub(crate) fn begun(name: &'static str, about: &'static str, batches: usize) -> Run {
    let mut run = Run::new(name, about);
    run.fence(1, "fenced");
    (0..batches).for_each(|_| drop(run.accepted()));
    run
}

/// A place in mid-stream, inside a transaction.
pub(crate) fn place() -> State {
    State {
        fenced: Epoch(3),
        head: Some((Sequence(40), digest("the place's head"))),
        last: Last { incarnation: IncarnationNumber(2), mark: mark(700, 9) },
        open: Some(Open { commit: 700 }),
        snapshot: Some(SnapshotPlace { generation: Generation(1), chunk: 4, last: true }),
    }
}

/// `count` batches that were lost, from `first` on.
pub(crate) fn lost(first: u64, count: u64) -> Vec<(Sequence, Digest)> {
    (first..first + count).map(|n| (Sequence(n), digest(&format!("lost batch {n}")))).collect()
}

pub(crate) fn runs() -> Vec<Run> {
    [order(), transactions(), snapshots(), notices(), places()].into_iter().flatten().collect()
}

fn order() -> Vec<Run> {
    let mut genesis = Run::new("good-genesis", "a stream's first fence, beacon and batches");
    genesis.fence(1, "fenced");
    genesis.beacon(None, "beacon-seen");
    genesis.accepted();
    genesis.accepted();
    genesis.beacon_of_head();

    let mut fences =
        begun("good-fences", "a second connector takes over; what the first one still writes is late", 1);
    let old = fences.next();
    fences.fence(2, "fenced");
    fences.batch(&old, "late");
    fences.fence(1, "late");
    fences.fence(2, "late");
    fences.accepted();
    fences.fence(7, "fenced");
    fences.epoch = Epoch(2);
    fences.beacon_of_old_epoch();
    fences.epoch = Epoch(7);
    fences.accepted();

    let mut again = begun("good-duplicates", "batches that come again, byte for byte", 1);
    let first = again.accepted();
    again.batch(&first, "duplicate");
    let second = again.accepted();
    again.batch(&first, "duplicate");
    again.batch(&second, "duplicate");
    again.beacon_of_head();

    let mut ahead =
        begun("good-ahead", "a batch before its predecessor is dropped, and taken when it comes after it", 1);
    let mut after = ahead.next();
    let next = ahead.next();
    (after.sequence, after.previous, after.digest) = (Sequence(2), next.digest, digest("the batch ahead"));
    (after.first, after.last) = (mark(3, 1), mark(3, 1));
    ahead.batch(&after, "ahead");
    ahead.batch(&next, "accepted");
    ahead.batch(&after, "accepted");
    vec![genesis, fences, again, ahead]
}

fn transactions() -> Vec<Run> {
    let mut large = begun(
        "good-open-transaction",
        "a transaction over four batches, the last of which begins another",
        1,
    );
    large.next_with("accepted", |f| (f.leaves_open, f.ended) = (true, 0));
    large.next_with("accepted", |f| (f.leaves_open, f.ended) = (true, 0));
    large.rowless("accepted", |f| (f.leaves_open, f.ended) = (true, 0));
    large.next_with("accepted", |f| {
        (f.rows, f.begun, f.leaves_open) = (2, 1, true);
        f.last = mark(f.first.commit + 1, 1);
    });
    large.rowless("accepted", |_| {});

    let mut over = begun(
        "good-take-over",
        "a connector dies inside a transaction; the next one takes it over and ends it without rows",
        1,
    );
    over.next_with("accepted", |f| (f.leaves_open, f.ended) = (true, 0));
    let unsent = over.next();
    over.fence(2, "fenced");
    over.beacon_of_head();
    over.batch(&unsent, "late");
    over.rowless("accepted", |_| {});
    over.accepted();
    over.beacon_of_head();

    let mut fragments = begun("good-fragments", "four fragments of one row, and a row after it", 1);
    for fragment in [1, 2, 3, Mark::LAST_FRAGMENT] {
        fragments.next_with("accepted", |f| {
            f.first = Mark { commit: 2, ordinal: 1, fragment };
            (f.last, f.leaves_open) = (f.first, true);
            f.ended = 0;
        });
    }
    fragments.accepted();

    let mut taken = begun(
        "good-fragments-taken-over",
        "a connector dies inside a row; the next one sends its other fragments",
        1,
    );
    let fragment = |f: &mut Facts, number| {
        f.first = Mark { commit: 2, ordinal: 1, fragment: number };
        (f.last, f.leaves_open, f.ended) = (f.first, true, 0);
    };
    taken.next_with("accepted", |f| fragment(f, 1));
    taken.fence(2, "fenced");
    taken.next_with("accepted", |f| fragment(f, 2));
    taken.next_with("accepted", |f| fragment(f, Mark::LAST_FRAGMENT));
    taken.rowless("accepted", |_| {});

    let mut schema = begun("good-schema", "a schema batch without rows, and one with rows", 1);
    schema.rowless("accepted", |f| f.kind = Kind::Schema);
    schema.next_with("accepted", |f| f.kind = Kind::Schema);
    schema.accepted();
    vec![large, over, fragments, taken, schema]
}

fn snapshots() -> Vec<Run> {
    let mut whole = begun("good-snapshot", "three chunks as of commit 50, and the stream after it", 0);
    whole.chunk(50, (1, 0, false), "accepted");
    whole.chunk(50, (1, 1, false), "accepted");
    whole.chunk(50, (1, 2, true), "accepted");
    whole.accepted();

    let mut again = begun(
        "good-snapshot-begins-again",
        "a snapshot that was broken off begins again as generation 2, later",
        0,
    );
    again.chunk(50, (1, 0, false), "accepted");
    again.chunk(50, (1, 1, false), "accepted");
    again.fence(2, "fenced");
    again.chunk(58, (2, 0, false), "accepted");
    again.fence(3, "fenced");
    again.chunk(58, (3, 0, true), "accepted");
    again.accepted();

    let mut empty = begun("good-snapshot-of-an-empty-table", "one chunk without rows, which is the last", 0);
    let facts = {
        let mut facts = empty.next();
        (facts.kind, facts.first, facts.last, facts.rows) =
            (Kind::Snapshot, Mark::end_of(9), Mark::end_of(9), 0);
        (facts.begun, facts.ended) = (0, 0);
        facts.snapshot = Some(SnapshotPlace { generation: Generation(1), chunk: 0, last: true });
        facts
    };
    empty.batch(&facts, "accepted");
    empty.accepted();

    let mut schema =
        begun("good-snapshot-and-schema", "a schema batch without rows while a snapshot is broken off", 0);
    schema.chunk(50, (1, 0, false), "accepted");
    schema.fence(2, "fenced");
    schema.rowless("accepted", |f| f.kind = Kind::Schema);
    schema.chunk(51, (2, 0, true), "accepted");

    let mut after =
        begun("good-snapshot-after-a-gap", "a GAP in a snapshot; the next one may have any number", 0);
    after.chunk(50, (1, 0, false), "accepted");
    after.notice(Kind::Gap, 60, "accepted", |_| {});
    after.chunk(60, (5, 0, false), "accepted");
    after.chunk(60, (5, 1, true), "accepted");
    after.accepted();

    let mut cut = begun(
        "good-snapshot-with-a-large-row",
        "a snapshot's row in fragments, broken off and sent again",
        0,
    );
    for (place, fragment) in [
        ((1, 0, false), 1),
        ((1, 1, false), 2),
        ((2, 0, false), 1),
        ((2, 1, false), 2),
        ((2, 2, false), Mark::LAST_FRAGMENT),
        ((2, 3, true), 0),
    ] {
        let facts = cut.chunk_of(50, place, fragment);
        cut.batch(&facts, "accepted");
    }

    let mut later = begun("good-snapshot-later", "a second snapshot after a RETRACT", 0);
    later.chunk(50, (1, 0, true), "accepted");
    later.accepted();
    later.notice(Kind::Retract, 51, "accepted", |_| {});
    later.chunk(51, (2, 0, true), "accepted");
    vec![whole, again, empty, schema, after, cut, later]
}

fn notices() -> Vec<Run> {
    let mut hole = begun("good-gap", "batches 2 and 3 are lost, and a GAP names them", 2);
    let head = hole.state().head.unwrap().1;
    hole.notice(Kind::Gap, 20, "accepted", |f| {
        (f.lost, f.lost_previous) = (lost(2, 2), head);
        (f.sequence, f.previous) = (Sequence(4), f.lost[1].1);
    });
    hole.accepted();

    let mut some = begun(
        "good-gap-of-what-a-reader-had",
        "a GAP names batches 1 to 3 as lost, and this reader had batch 1",
        1,
    );
    let first = some.state().head.unwrap().1;
    let names = lost(1, 3);
    some.next_with("accepted", |f| f.digest = names[0].1);
    some.notice(Kind::Gap, 20, "accepted", |f| {
        (f.lost, f.lost_previous) = (names.clone(), first);
        (f.sequence, f.previous) = (Sequence(4), names[2].1);
    });
    some.accepted();

    let mut source = begun(
        "good-gap-and-another-source",
        "the source was replaced inside a transaction: a GAP voids it and raises the incarnation",
        1,
    );
    source.next_with("accepted", |f| (f.leaves_open, f.ended) = (true, 0));
    source.incarnation = IncarnationNumber(2);
    source.notice(Kind::Gap, 0, "accepted", |_| {});
    source.accepted();

    let mut retract = begun("good-retract", "changes vanished with a restored source", 2);
    retract.incarnation = IncarnationNumber(3);
    retract.notice(Kind::Retract, 1, "accepted", |_| {});
    retract.accepted();
    vec![hole, some, source, retract]
}

fn places() -> Vec<Run> {
    let mut middle =
        Run::from("good-mid-stream", "reading begins at a beacon's place, inside a transaction", place());
    let mut before = middle.next();
    (before.sequence, before.digest) = (Sequence(39), digest("a batch before the place"));
    middle.batch(&before, "old");
    middle.beacon(Some((39, before.digest)), "old");
    middle.beacon_of_head();
    middle.accepted();
    middle.accepted();

    let empty = State { fenced: Epoch(2), ..State::START };
    let mut first = Run::from("good-place-without-a-head", "a place before the stream's first batch", empty);
    first.accepted();

    let end =
        State { head: Some((Sequence(u64::MAX - 1), digest("the last but one"))), open: None, ..place() };
    let mut last =
        Run::from("good-end-of-the-stream", "sequence 2^64 - 1 is the last; after it nothing follows", end);
    let batch = last.accepted();
    last.batch(&batch, "duplicate");
    last.beacon_of_head();
    vec![middle, first, last]
}
