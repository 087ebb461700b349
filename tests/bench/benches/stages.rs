//! Each stage alone: encode, seal, verify, open and read over one batch of the baselines' rows; the chain's step and
//! the log's append for one batch.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run ends by panicking")]

use bridge_chain::{Facts, Input, Machine, Step};
use bridge_envelope::{Entry, Sealed, Sealer};
use bridge_event::{LogIndex, Mark, Sequence};
use bridge_suite::Digest;
use bridge_tlog::{Frontier, leaf_hash};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tests_bench::{Receiving, Row, Scene, Sending, seal_batch};

/// Rows of the batch: about what 512 KiB hold, in whole transactions and an open one.
const ROWS: u64 = 1700;

fn stages(criterion: &mut Criterion) {
    let scene = Scene::new().unwrap();
    let rows: Vec<Row> = (1..=ROWS).map(Row::of).collect();
    let mut sending = Sending::new(&scene).unwrap();
    assert_eq!(sending.encode(&rows).unwrap(), rows.len(), "the rows are more than a batch holds");
    let (header, sections) = sending.draft().unwrap();
    let mut sealer = Sealer::new().unwrap();
    let sealed = seal_batch(&scene, &mut sealer, header.clone(), sections).unwrap();
    let mut receiving = Receiving::new(&scene).unwrap();
    let verified = receiving.verify(sealed.frame()).unwrap();
    let opened = receiving.open(&verified).unwrap();

    let mut group = criterion.benchmark_group("rows");
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("encode", |bencher| {
        bencher.iter_batched_ref(
            || Sending::new(&scene).unwrap(),
            |sending| sending.encode(&rows).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("seal", |bencher| {
        bencher.iter(|| seal_batch(&scene, &mut sealer, header.clone(), black_box(sections)).unwrap());
    });
    group.bench_function("verify", |bencher| {
        bencher.iter(|| receiving.verify(black_box(sealed.frame())).unwrap());
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| receiving.open(black_box(&verified)).unwrap());
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| receiving.read(black_box(&opened)).unwrap());
    });
    group.finish();
    rules(criterion, &sealed);
}

/// What a batch costs beside its rows.
fn rules(criterion: &mut Criterion, sealed: &Sealed) {
    let mut group = criterion.benchmark_group("batches");
    group.throughput(Throughput::Elements(1));
    group.bench_function("chain step", |bencher| {
        let mut facts = Facts::of(sealed.header(), sealed.digest());
        (facts.leaves_open, facts.begun, facts.ended) = (false, 1, 1);
        let mut machine = Machine::new(facts.previous);
        assert_eq!(machine.step(&Input::Fence { epoch: facts.epoch }), Step::Fenced);
        bencher.iter(|| {
            let step = machine.step(&Input::Batch(facts.clone()));
            assert_eq!(step, Step::Accepted);
            facts.previous = facts.digest;
            facts.sequence = Sequence(facts.sequence.0 + 1);
            facts.first = Mark { commit: facts.last.commit + 1, ..facts.first };
            facts.last = Mark { commit: facts.last.commit + 1, ..facts.last };
            facts.digest = Digest([facts.sequence.0.to_le_bytes(); 4].concat().try_into().unwrap());
        });
    });
    let entry = Entry::Batch(sealed.entry(Some(LogIndex(7)))).encode().unwrap();
    group.bench_function("tlog append", |bencher| {
        let mut tree = Frontier::new();
        bencher.iter(|| tree.append(leaf_hash(black_box(&entry))).unwrap());
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
