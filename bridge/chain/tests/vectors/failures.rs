//! Runs whose last step is the failure that they are named after.

use super::good::{begun, lost, place};
use super::run::{Run, digest, mark};
use bridge_chain::{Facts, Mark};
use bridge_event::{Epoch, IncarnationNumber, Kind, Sequence};

/// A run of two batches whose next one is changed, and what it then is.
fn next(name: &'static str, about: &'static str, step: &str, change: impl FnOnce(&mut Facts)) -> Run {
    let mut run = begun(name, about, 2);
    run.next_with(step, change);
    run
}

/// The same with a transaction left open.
fn opened(name: &'static str, about: &'static str) -> Run {
    let mut run = begun(name, about, 1);
    run.next_with("accepted", |f| (f.leaves_open, f.ended) = (true, 0));
    run
}

pub(crate) fn runs() -> Vec<Run> {
    [epochs(), sequences(), gaps(), positions(), transactions(), snapshots(), fragments(), dropped()]
        .into_iter()
        .flatten()
        .collect()
}

fn epochs() -> Vec<Run> {
    let mut early = Run::new("unfenced-batch", "a batch before any fence");
    early.epoch = Epoch(1);
    early.next_with("unfenced", |_| {});
    let mut beacon = begun("unfenced-beacon", "a beacon of an epoch that no fence opened", 1);
    beacon.epoch = Epoch(2);
    let head = beacon.state().head.map(|(n, digest)| (n.0, digest));
    beacon.beacon(head, "unfenced");
    let higher =
        next("unfenced-higher-epoch", "a batch of epoch 2, and only epoch 1 is fenced", "unfenced", |f| {
            f.epoch = Epoch(2);
        });
    let zero = Run::new("unfenced-epoch-zero", "a batch of epoch 0, which no fence opens");
    let mut zero = zero;
    zero.next_with("unfenced", |_| {});
    vec![early, beacon, higher, zero]
}

fn sequences() -> Vec<Run> {
    let mut fork = begun("fork", "another batch at an accepted sequence", 1);
    let mut other = fork.accepted();
    fork.accepted();
    other.digest = digest("another batch 1");
    fork.batch(&other, "fork");
    let mut beacon = begun("fork-beacon", "a beacon names another batch at an accepted sequence", 2);
    beacon.beacon(Some((0, digest("another batch 0"))), "fork");
    let mut loss = begun("loss", "a beacon names a batch beyond the last one that came", 2);
    loss.beacon(Some((2, digest("a batch that did not come"))), "loss");
    let mut nothing = begun("loss-of-everything", "a beacon names a batch, and none came", 0);
    nothing.beacon(Some((0, digest("a batch that did not come"))), "loss");
    let mut genesis = begun("broken-chain-genesis", "the first batch names another genesis", 0);
    genesis.next_with("broken-chain", |f| f.previous = digest("another genesis"));
    let broken =
        next("broken-chain", "the next sequence names another batch before it", "broken-chain", |f| {
            f.previous = digest("another batch 1");
        });
    vec![fork, beacon, loss, nothing, genesis, broken]
}

fn gaps() -> Vec<Run> {
    let gap = |name, about, step: &str, first: u64, change: fn(&mut Facts)| {
        let mut run: Run = begun(name, about, 2);
        let head = run.state().head.unwrap().1;
        run.notice(Kind::Gap, 20, step, |f| {
            (f.lost, f.lost_previous) = (lost(first, 3), head);
            (f.sequence, f.previous) = (Sequence(first + 3), f.lost[2].1);
            change(f);
        });
        run
    };
    vec![
        gap(
            "broken-chain-gap",
            "a GAP whose lost batches follow another batch than the head",
            "broken-chain",
            2,
            |f| {
                f.lost_previous = digest("another batch 1");
            },
        ),
        gap("fork-gap", "a GAP names another batch at the head's sequence as lost", "fork", 1, |_| {}),
        gap("ahead-gap", "a GAP whose lost batches begin after the next one", "ahead", 3, |_| {}),
        gap("ahead-gap-with-a-hole", "a GAP whose lost batches have a hole", "ahead", 2, |f| {
            f.lost[1].0 = Sequence(9)
        }),
        gap(
            "ahead-gap-that-does-not-reach",
            "a GAP that does not follow its lost batches",
            "ahead",
            2,
            |f| {
                f.previous = digest("another batch 4");
            },
        ),
        gap("ahead-retract", "a RETRACT cannot name lost batches", "ahead", 2, |f| f.kind = Kind::Retract),
    ]
}

fn positions() -> Vec<Run> {
    let mut rowless = begun("position-moved-without-rows", "a batch without rows at a new position", 2);
    rowless.rowless("position-moved", |f| (f.first, f.last) = (mark(9, 1), mark(9, 1)));
    let mut inside =
        begun("position-moved-snapshot", "a snapshot that does not stand at the end of a commit", 0);
    let mut facts = inside.next();
    (facts.kind, facts.begun, facts.ended) = (Kind::Snapshot, 0, 0);
    facts.snapshot =
        Some(bridge_chain::SnapshotPlace { generation: bridge_event::Generation(1), chunk: 0, last: true });
    inside.batch(&facts, "position-moved");
    let mut moved = begun("position-moved-chunk", "a chunk as of another commit than the chunk before", 0);
    moved.chunk(50, (1, 0, false), "accepted");
    moved.chunk(51, (1, 1, true), "position-moved");
    let mut back = begun("position-back-snapshot", "a snapshot as of a commit before the last row", 2);
    back.chunk(1, (1, 0, true), "position-back");
    let mut after = begun("position-back-after-a-snapshot", "a row of a commit that the snapshot has", 0);
    after.chunk(50, (1, 0, true), "accepted");
    after.next_with("position-back", |f| (f.first, f.last) = (mark(50, 1), mark(50, 1)));
    let mut gap = begun("position-back-gap", "a GAP up to a position before the last row", 2);
    gap.notice(Kind::Gap, 1, "position-back", |_| {});
    vec![
        next("position-back", "a row at the last position again", "position-back", |f| {
            (f.first, f.last) = (mark(2, 1), mark(2, 1));
        }),
        next("position-back-inside", "the last row before the first", "position-back", |f| {
            (f.first, f.last, f.rows) = (mark(4, 1), mark(3, 1), 2);
        }),
        rowless,
        inside,
        moved,
        back,
        after,
        gap,
        next("incarnation-changed", "another source without a notice", "incarnation-changed", |f| {
            f.incarnation = IncarnationNumber(2);
        }),
        {
            let mut lower = begun("incarnation-lowered", "a GAP that goes back to an earlier source", 2);
            lower.incarnation = IncarnationNumber(0);
            lower.notice(Kind::Gap, 20, "incarnation-changed", |_| {});
            lower
        },
    ]
}

fn transactions() -> Vec<Run> {
    let mut left =
        opened("open-mismatch-left-behind", "a transaction is open, and the next batch begins another");
    left.next_with("open-mismatch", |f| {
        (f.continues, f.begun) = (false, 1);
        (f.first, f.last) = (mark(9, 1), mark(9, 1));
    });
    let mut other =
        opened("open-mismatch-another", "the next batch continues another transaction than the open one");
    other.next_with("open-mismatch", |f| (f.first, f.last) = (mark(9, 1), mark(9, 1)));
    let mut snapshot = opened("open-mismatch-snapshot", "a snapshot while a transaction is open");
    snapshot.chunk(50, (1, 0, true), "open-mismatch");
    let mut voids = opened("open-mismatch-gap", "a GAP that does not void the open transaction");
    voids.notice(Kind::Gap, 50, "open-mismatch", |f| f.voids.clear());
    let mut nothing = begun(
        "open-mismatch-nothing",
        "a batch without rows leaves a transaction open that it did not find",
        2,
    );
    nothing.rowless("open-mismatch", |f| (f.leaves_open, f.begun) = (true, 1));
    vec![
        left,
        other,
        snapshot,
        voids,
        nothing,
        next(
            "open-mismatch-continues-nothing",
            "a batch continues, and nothing is open",
            "open-mismatch",
            |f| {
                (f.continues, f.begun) = (true, 0);
            },
        ),
        next("open-mismatch-counts", "two transactions begin and one ends", "open-mismatch", |f| f.begun = 2),
    ]
}

fn snapshots() -> Vec<Run> {
    let run = |name, about, batches: &[(u64, u64, bool)], last: (u64, u64, bool)| {
        let mut run: Run = begun(name, about, 0);
        batches.iter().for_each(|place| run.chunk(50, *place, "accepted"));
        run.chunk(50, last, "snapshot-broken");
        run
    };
    let mut stream =
        begun("snapshot-broken-stream", "a row of the stream before the snapshot's last chunk", 0);
    stream.chunk(50, (1, 0, false), "accepted");
    stream.next_with("snapshot-broken", |_| {});
    let mut schema =
        begun("snapshot-broken-schema", "a schema batch with rows before the snapshot's last chunk", 0);
    schema.chunk(50, (1, 0, false), "accepted");
    schema.next_with("snapshot-broken", |f| f.kind = Kind::Schema);
    let mut after = begun("snapshot-broken-after-a-gap", "a snapshot goes on after a GAP", 0);
    after.chunk(50, (1, 0, false), "accepted");
    after.notice(Kind::Gap, 50, "accepted", |_| {});
    after.chunk(50, (1, 1, true), "snapshot-broken");
    let whole = [(1, 0, false), (1, 1, true)];
    vec![
        run("snapshot-broken-chunk-left-out", "chunk 1 is left out", &whole[..1], (1, 2, true)),
        run("snapshot-broken-chunk-again", "chunk 0 comes twice", &whole[..1], (1, 0, false)),
        run("snapshot-broken-first-chunk", "a snapshot begins with chunk 1", &[], (1, 1, true)),
        run("snapshot-broken-first-generation", "a stream begins with generation 2", &[], (2, 0, true)),
        run(
            "snapshot-broken-generation-left-out",
            "generation 3 after generation 1",
            &whole[..1],
            (3, 0, true),
        ),
        run(
            "snapshot-broken-generation-in-the-middle",
            "generation 2 begins with chunk 1",
            &whole[..1],
            (2, 1, true),
        ),
        run("snapshot-broken-after-the-last", "chunk 2 after the last chunk", &whole, (1, 2, true)),
        run("snapshot-broken-generation-again", "generation 1 begins again", &whole, (1, 0, true)),
        stream,
        schema,
        after,
    ]
}

fn fragments() -> Vec<Run> {
    let cut = |name, about, number: u32| {
        let mut run = begun(name, about, 1);
        run.next_with("accepted", |f| {
            f.first = Mark { commit: 2, ordinal: 1, fragment: number };
            (f.last, f.leaves_open, f.ended) = (f.first, true, 0);
        });
        run
    };
    let mut hole = cut("row-broken-fragment-left-out", "fragment 2 of a row is left out", 1);
    hole.next_with("row-broken", |f| {
        f.first = Mark { commit: 2, ordinal: 1, fragment: 3 };
        f.last = f.first;
    });
    let mut other = cut("row-broken-another-row", "another row between two fragments", 1);
    other.next_with("row-broken", |_| {});
    let mut end =
        cut("row-broken-transaction-ends", "the transaction ends, and its last row is not whole", 1);
    end.rowless("row-broken", |_| {});
    let mut chunk = begun("row-broken-snapshot", "a snapshot's row goes on with another row", 0);
    let first = chunk.chunk_of(50, (1, 0, false), 1);
    chunk.batch(&first, "accepted");
    chunk.chunk(50, (1, 1, false), "row-broken");
    let mut again =
        begun("row-broken-snapshot-begins-again", "a snapshot begins again in the middle of a row", 0);
    let first = again.chunk_of(50, (1, 0, false), 1);
    again.batch(&first, "accepted");
    let second = again.chunk_of(50, (2, 0, false), 2);
    again.batch(&second, "row-broken");
    vec![
        hole,
        other,
        end,
        chunk,
        again,
        next("row-broken-first-fragment", "a row begins with fragment 2", "row-broken", |f| {
            (f.first.fragment, f.last.fragment) = (2, 2);
        }),
    ]
}

fn dropped() -> Vec<Run> {
    let mut late = begun("late", "a batch of an epoch that is over", 1);
    let unsent = late.next();
    late.fence(2, "fenced");
    late.batch(&unsent, "late");
    let mut fence = begun("late-fence", "a fence of the fenced epoch", 1);
    fence.fence(1, "late");
    let mut duplicate = begun("duplicate", "a batch comes twice", 1);
    let twice = duplicate.accepted();
    duplicate.batch(&twice, "duplicate");
    let mut old = Run::from("old", "a batch from before the place", place());
    let mut before = old.next();
    (before.sequence, before.digest) = (Sequence(12), digest("batch 12"));
    old.batch(&before, "old");
    let mut gap =
        begun("old-before-a-gap", "after a GAP that names lost batches no digest before it is at hand", 2);
    let (head, early) = (gap.state().head.unwrap().1, gap.next());
    gap.notice(Kind::Gap, 20, "accepted", |f| {
        (f.lost, f.lost_previous) = (lost(2, 1), head);
        (f.sequence, f.previous) = (Sequence(3), f.lost[0].1);
    });
    gap.batch(&Facts { sequence: Sequence(1), last: Mark::START, ..early }, "old");
    let ahead =
        next("ahead", "a batch whose predecessor did not come", "ahead", |f| f.sequence = Sequence(3));
    vec![late, fence, duplicate, old, gap, ahead]
}
