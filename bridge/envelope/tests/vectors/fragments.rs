//! Rows in fragments: the frames of all their batches in one file, each as `u32be length || frame`.

use super::Vector;
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use forge::Bend;
use serde_json::{Value, json};

/// Where the vectors cut: their rows are small.
const BYTES: usize = 40;

/// One row of both sections.
fn row(operation: Operation) -> [Rows; 2] {
    rows_of(42, &[operation])
}

/// How a fragment differs from an honest one.
#[derive(Default)]
struct Fault<'a> {
    header: Option<&'a dyn Fn(&mut Header)>,
    last: Option<bool>,
    content: Option<&'a forge::Damage<'a>>,
}

/// All frames of the row in the order of their fragments, each naming the one before it; `faults` bends one of them.
fn frames(rows: &[Rows; 2], all: &dyn Fn(&mut Header), faults: &[(u32, Fault<'_>)]) -> Vec<Vec<u8>> {
    let cut = Fragments::new(rows, BYTES).unwrap();
    let mut previous = header(1).previous;
    let none = Fault::default();
    (0..cut.count())
        .map(|index| {
            let fault = faults.iter().find(|(at, _)| *at == index).map_or(&none, |(_, fault)| fault);
            let mut header = Header { previous, ..fragment_header(cut.part(index)) };
            all(&mut header);
            if let Some(change) = fault.header {
                change(&mut header);
            }
            let sections: Vec<_> = (0..2)
                .map(|i| {
                    let mut slice = rows[i].bytes()[cut.slice(i, index)].to_vec();
                    if let (Some(change), 0) = (fault.content, i) {
                        change(&mut slice);
                    }
                    // An honest leaf over whatever the slice is, but for the last one, which has the row's.
                    let honest = cut.slice(i, index);
                    let make = |_: &[u8]| match compression(i) {
                        Compression::None => forge::pack(&slice),
                        Compression::Zstd => forge::pack(&forge::zstd(&slice)),
                    };
                    let ends = index + 1 == cut.count();
                    let mut changed = Rows::new(0);
                    changed.buffer().extend_from_slice(&slice);
                    let (of, slice) = if ends || fault.content.is_none() {
                        (&rows[i], honest)
                    } else {
                        (&changed, 0..slice.len())
                    };
                    let last = Some(fault.last.unwrap_or(ends));
                    let bend = Bend { plaintext: Some(&make), slice: Some(slice), last, ..Bend::default() };
                    forge::section(&header, i, of, &bend)
                })
                .collect();
            let frame = forge::assemble(&header, &sections, &[&signing()]);
            previous = verified(&frame).digest();
            frame
        })
        .collect()
}

fn of(name: &str, expect: &[&str], about: &str, frames: &[Vec<u8>]) -> Vector {
    let parts: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    Vector::new("fragments", name, "open", expect, about, forge::lp(&parts))
}

fn honest() -> Vec<Vec<u8>> {
    frames(&row(Operation::Update), &|_| {}, &[])
}

/// A good row, and what each of its sections is put together to.
fn good(name: &str, about: &str, rows: &[Rows; 2], all: &dyn Fn(&mut Header)) -> Vector {
    let cut = Fragments::new(rows, BYTES).unwrap();
    let frames = frames(rows, all, &[]);
    let batches: Vec<Verified> = frames.iter().map(|frame| verified(frame)).collect();
    let sections: Vec<Value> = (0..2)
        .map(|i| {
            let last = batches.last().unwrap();
            let slices: Vec<String> =
                (0..cut.count()).map(|index| hex::encode(&rows[i].bytes()[cut.slice(i, index)])).collect();
            json!({
                "name": section_name(i).as_str(),
                "slices": slices,
                "row": hex::encode(rows[i].bytes()),
                "row_roots": batches.iter().map(|b| b.block(i).unwrap().row_root.to_string()).collect::<Vec<_>>(),
                "leaf": last.block(i).unwrap().row_root.to_string(),
            })
        })
        .collect();
    of(name, &[], about, &frames)
        .with("digests", batches.iter().map(|batch| batch.digest().to_string()).collect::<Vec<_>>())
        .with("total_bytes", cut.part(0).total_bytes)
        .with("sections", sections)
}

pub(crate) fn rows() -> Vec<Vector> {
    let update = row(Operation::Update);
    let snapshot = |header: &mut Header| {
        let part = header.fragment.unwrap();
        let place = At::end_of(42);
        header.kind = Kind::Snapshot;
        header.first.mark = Mark::fragment(place, part.index, part.of);
        header.last.mark = header.first.mark;
        let chunk = u64::from(part.index);
        let as_of = at(42, u64::MAX);
        header.snapshot =
            Some(SnapshotPart { generation: Generation(1), as_of, chunk, last: part.index + 1 == part.of });
        (header.continues, header.leaves_open) = (false, false);
        (header.transactions_begun, header.transactions_ended) = (0, 0);
    };
    let parts = [
        vec![
            good("good", "an update, its before and after states in disclosure groups", &update, &|_| {}),
            good("good-snapshot", "a row of a snapshot", &row(Operation::Read), &snapshot),
            good("good-delete", "a delete", &row(Operation::Delete), &|_| {}),
        ],
        sequences(),
        lengths(),
        contents(),
    ];
    parts.into_iter().flatten().collect()
}

/// Fragments that are missing, or not of one row.
fn sequences() -> Vec<Vector> {
    let update = row(Operation::Update);
    let without = |index: usize| {
        let mut frames = honest();
        frames.remove(index);
        frames
    };
    let with = |change: &dyn Fn(&mut Header)| {
        let fault = Fault { header: Some(change), ..Fault::default() };
        frames(&update, &|_| {}, &[(1, fault)])
    };
    let mut swapped = honest();
    swapped.swap(1, 2);
    let mut twice = honest();
    twice.insert(2, twice[1].clone());
    let mut between = honest();
    between.insert(1, sealed().into_frame());
    let mut again = honest();
    again.splice(1..1, honest().into_iter().take(1));
    let other_row = |h: &mut Header| (h.first.mark.ordinal, h.last.mark.ordinal) = (2, 2);
    vec![
        of("first-fragment-missing", &["OPE013"], "the row begins with its second fragment", &without(0)),
        of("fragment-missing", &["OPE013"], "the second fragment is left out", &without(1)),
        of("fragments-out-of-order", &["OPE013"], "the third fragment before the second", &swapped),
        of("fragment-twice", &["OPE013"], "the second fragment comes twice", &twice),
        of("another-row-between", &["OPE013"], "whole rows between two fragments", &between),
        of("fragment-of-another-row", &["OPE013"], "the second fragment is of ordinal 2", &with(&other_row)),
        of(
            "of-changed-midway",
            &["OPE013"],
            "the second fragment is one of more",
            &with(&|h| {
                h.fragment.as_mut().unwrap().of += 1;
            }),
        ),
        of(
            "total-changed-midway",
            &["OPE013"],
            "the second fragment announces a longer row",
            &with(&|h| {
                h.fragment.as_mut().unwrap().total_bytes += 1;
            }),
        ),
        of(
            "incarnation-changed-midway",
            &["OPE013"],
            "the second fragment is of incarnation 2",
            &with(&|h| {
                h.incarnation = IncarnationNumber(2);
            }),
        ),
        of(
            "contract-changed-midway",
            &["OPE013"],
            "the second fragment is under another contract",
            &with(&|h| {
                h.contract = sha256(&[b"another contract"]);
            }),
        ),
        of("good-begun-again", &[], "the first fragment comes again and begins the row anew", &again),
    ]
}

/// A row that is longer or shorter than each of its fragments announces.
fn lengths() -> Vec<Vector> {
    let update = row(Operation::Update);
    let total = |change: &dyn Fn(&mut u64)| {
        frames(&update, &|h| change(&mut h.fragment.as_mut().unwrap().total_bytes), &[])
    };
    vec![
        of(
            "total-too-short",
            &["OPE013"],
            "the slices have a byte more than was announced",
            &total(&|t| *t -= 1),
        ),
        of(
            "total-too-long",
            &["OPE013"],
            "the slices have a byte less than was announced",
            &total(&|t| *t += 1),
        ),
        of(
            "total-of-64-mib",
            &["OPE013"],
            "a short row is announced as one of 64 MiB",
            &total(&|t| *t = 64 << 20),
        ),
        of("total-zero", &["OPE013"], "a row of no bytes is announced", &total(&|t| *t = 0)),
    ]
}

/// Slices and leaves that are not the row's.
fn contents() -> Vec<Vector> {
    let update = row(Operation::Update);
    let last = Fragments::new(&update, BYTES).unwrap().count() - 1;
    let with = |index, fault| frames(&update, &|_| {}, &[(index, fault)]);
    let flipped: &dyn Fn(&mut Vec<u8>) = &|slice| slice[9] ^= 1;
    let fault = |last| Fault { last: Some(last), ..Fault::default() };
    vec![
        of(
            "first-leaf-is-the-rows",
            &["OPE008"],
            "the first fragment's leaf is that of the whole row",
            &with(0, fault(true)),
        ),
        of(
            "last-leaf-is-the-slices",
            &["OPE008"],
            "the last fragment's leaf is that of its slice",
            &with(last, fault(false)),
        ),
        of(
            "slice-is-another-rows",
            &["OPE008"],
            "a slice that fits its own leaf and not the row",
            &with(0, Fault { content: Some(flipped), ..Fault::default() }),
        ),
    ]
}

/// What this crate says of the frames, one after the other.
pub(crate) fn codes_of(vector: &Vector) -> Vec<&'static str> {
    let mut left = &*vector.bytes;
    let mut opener = Opener::new().unwrap();
    let (mut pieces, mut opened) = (None, Vec::new());
    while let Some((length, rest)) = left.split_first_chunk::<4>() {
        let (frame, rest) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
        left = rest;
        let batch = verified(frame);
        if batch.header().fragment.is_none() {
            pieces = None;
            continue;
        }
        let (readers, secrets) = ([reader(0), reader(1)], [secret(0), secret(1)]);
        let key = |index: usize| SectionAccess { index, secret: &secrets[index], splitter: &readers[index] };
        match opener.open_fragment(&batch, &[key(0), key(1)], &mut pieces) {
            Ok(rows) => opened = rows,
            Err(error) => return vec![error.code()],
        }
    }
    assert_eq!(opened.len(), 2, "{}", vector.name);
    if let Some(sections) = vector.note.get("sections") {
        for (i, opened) in opened {
            assert_eq!(hex::encode(opened.rows().bytes()), sections[i]["row"].as_str().unwrap());
            assert!(opened.salt(0, opened.rows().groups()).is_some());
        }
    }
    Vec::new()
}
