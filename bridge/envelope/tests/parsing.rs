//! Bytes from anyone: nothing panics, and what is read is what was written.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

mod scene;

use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use proptest::collection::vec;
use proptest::prelude::*;
use scene::*;

fn frames() -> Vec<Vec<u8>> {
    let key = &signing();
    vec![
        sealed().into_frame(),
        sign_fence(fence(), &[key]).unwrap().into_frame(),
        sign_beacon(beacon(), &[key]).unwrap().into_frame(),
        key_record(1).into_frame(),
        contract_record().sign(&[key]).unwrap().into_frame(),
        incarnation_record().sign(&[key]).unwrap().into_frame(),
    ]
}

/// Every reader of this crate, on the same bytes.
fn read_as_everything(bytes: &[u8]) {
    let (named, expected, tax) = (Named::new(), expected(), department("tax"));
    let _ = Frame::parse(bytes);
    let _ = Entry::decode(bytes);
    let _ = Header::decode(bytes);
    let _ = SectionBlock::decode(bytes);
    let _ = verify_batch(bytes, &named, &expected);
    let _ = verify_fence(bytes, &named, &expected);
    let _ = verify_beacon(bytes, &named, &expected);
    let _ = KeyRecord::verify(bytes, &named, &tax);
    let _ = ContractRecord::verify(bytes, &named, &tax);
    let _ = IncarnationRecord::verify(bytes, &named, &tax, &origin());
}

fn position() -> impl Strategy<Value = RowPosition> {
    (any::<[u64; 2]>(), any::<u32>(), vec(any::<u8>(), 0..40)).prop_map(
        |([commit, ordinal], fragment, token)| RowPosition {
            mark: Mark { commit, ordinal, fragment },
            token: Token::new(token).unwrap(),
        },
    )
}

fn reference() -> impl Strategy<Value = BatchRef> {
    (any::<u64>(), any::<[u8; 32]>())
        .prop_map(|(sequence, digest)| BatchRef { sequence: Sequence(sequence), digest: Digest(digest) })
}

fn notice() -> impl Strategy<Value = Option<Notice>> {
    let gap = (
        ".{0,40}",
        position(),
        proptest::option::of(position()),
        vec(reference(), 0..4),
        vec(any::<u64>(), 0..4),
    )
        .prop_map(|(reason, from, to, lost, voids)| {
            let (before, after) = (Digest([1; 32]), Digest([2; 32]));
            let lost_previous = before;
            Some(Notice::Gap(Gap { reason, from, to, lost, lost_previous, before, after, voids }))
        });
    let vanished = (reference(), any::<[u64; 2]>()).prop_map(|(batch, [first_leaf, last_leaf])| Vanished {
        batch,
        first_leaf,
        last_leaf,
    });
    let retract =
        (".{0,40}", vec(vanished, 0..4), vec(any::<u64>(), 0..4)).prop_map(|(reason, vanished, voids)| {
            let (before, after) = (Digest([3; 32]), Digest([4; 32]));
            Some(Notice::Retract(Retract { reason, vanished, before, after, voids }))
        });
    prop_oneof![Just(None), gap, retract]
}

/// Any header, sensible or not.
fn any_header() -> impl Strategy<Value = Header> {
    let numbers = any::<[u64; 9]>();
    let flags = (any::<[bool; 2]>(), 0..3_u8, 0..5_u8);
    let parts = (
        proptest::option::of((any::<[u64; 2]>(), position(), any::<bool>())),
        proptest::option::of(any::<(u32, u32, u64)>()),
        notice(),
        vec(any::<[u8; 32]>(), 0..5),
        vec((any::<u32>(), any::<bool>(), vec(any::<u8>(), 0..20)), 0..4),
    );
    (numbers, any::<[u32; 2]>(), any::<[i64; 2]>(), flags, position(), position(), parts).prop_map(
        |(
            n,
            [partition, incarnation],
            times,
            ([continues, leaves_open], closed, kind),
            first,
            last,
            parts,
        )| {
            let (snapshot, fragment, notice, sections, extensions) = parts;
            let mut stream = stream();
            stream.partition = Partition(partition);
            Header {
                stream,
                epoch: Epoch(n[0]),
                sequence: Sequence(n[1]),
                kind: Kind::from_number(kind).unwrap(),
                incarnation: IncarnationNumber(incarnation),
                first,
                last,
                continues,
                leaves_open,
                closed_by: [ClosedBy::Commit, ClosedBy::Limit, ClosedBy::Schema][usize::from(closed)],
                resolved: At { commit: n[2], ordinal: n[3] },
                transactions_begun: n[4],
                transactions_ended: n[5],
                first_commit_time: UnixMicros(times[0]),
                last_commit_time: UnixMicros(times[1]),
                row_events: n[6],
                truncates: n[7],
                snapshot: snapshot.map(|([generation, chunk], as_of, last)| SnapshotPart {
                    generation: Generation(generation),
                    as_of,
                    chunk,
                    last,
                }),
                fragment: fragment.map(|(index, of, total_bytes)| FragmentPart { index, of, total_bytes }),
                notice,
                sections: sections.into_iter().map(Digest).collect(),
                extensions: extensions
                    .into_iter()
                    .map(|(id, critical, content)| Extension { id, critical, content })
                    .collect(),
                ..header(0)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn arbitrary_bytes_after_a_magic_are_refused_without_a_panic(
        magic in prop_oneof![Just(*b"GBB1"), Just(*b"GBF1"), Just(*b"GBN1"), Just(*b"GBK1"), Just(*b"GBR1"), Just(*b"GBC1"), Just(*b"GBI1")],
        body in vec(any::<u8>(), 0..300),
        rest in vec(any::<u8>(), 0..200),
    ) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        read_as_everything(&[&magic[..], &length, &body, &rest].concat());
    }

    #[test]
    fn damaged_frames_are_refused_without_a_panic(
        which in 0..6_usize,
        cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        drop in any::<prop::sample::Index>(),
    ) {
        let mut frame = frames()[which].clone();
        for (place, byte) in cuts {
            let at = place.index(frame.len());
            frame[at] = byte;
        }
        read_as_everything(&frame);
        frame.remove(drop.index(frame.len()));
        read_as_everything(&frame);
    }

    #[test]
    fn a_header_comes_back_and_has_one_encoding(header in any_header()) {
        let bytes = header.encode();
        let read = Header::decode(&bytes).unwrap();
        prop_assert_eq!(&read, &header);
        prop_assert_eq!(read.encode(), bytes);
        let _ = header.contradictions();
    }

    #[test]
    fn a_batch_entry_comes_back(header in any_header(), index in proptest::option::of(0..u64::MAX >> 1)) {
        // An entry whose kind and snapshot contradict each other is refused.
        let kind = match (header.kind, &header.snapshot) {
            (_, Some(_)) => Kind::Snapshot,
            (Kind::Snapshot, None) => Kind::Stream,
            (kind, None) => kind,
        };
        let header = Header { kind, ..header };
        let entry = Entry::of_batch(&header, header.digest(), index.map(LogIndex));
        prop_assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
    }

    #[test]
    fn rows_of_any_number_and_kind_come_back(kinds in vec(0..5_u8, 1..40), nonce: [u8; 32]) {
        use Operation::{Delete, Insert, Read, Truncate, Update};
        let operations: Vec<Operation> =
            kinds.iter().map(|kind| [Read, Insert, Update, Delete, Truncate][usize::from(*kind)]).collect();
        let truncates = kinds.iter().filter(|kind| **kind == 4).count().try_into().unwrap();
        let rows = rows_of(42, &operations);
        let count = u64::try_from(operations.len()).unwrap();
        let header = Header { row_events: count - truncates, truncates, nonce, ..header(count) };
        let sealed = seal_with(header, &rows, &[&signing()]);
        let batch = verified(sealed.frame());
        for (i, rows) in rows.iter().enumerate() {
            let opened = open_section(&batch, i, &secret(i), &reader(i)).unwrap();
            prop_assert_eq!(opened.rows().bytes(), rows.bytes());
        }
    }
}

#[test]
fn frames_are_told_apart_by_their_magic() {
    let names: Vec<FrameKind> = frames().iter().map(|frame| FrameKind::of(frame).unwrap()).collect();
    use FrameKind::{Batch, Beacon, Contract, Fence, Incarnation, KeyRecord};
    assert_eq!(names, [Batch, Fence, Beacon, KeyRecord, Contract, Incarnation]);
    for frame in frames() {
        assert!(Frame::parse(&frame).is_ok());
    }
    assert!(FrameKind::of(b"GBB2").is_none() && FrameKind::of(b"GB").is_none());
    assert_eq!(Frame::parse(b"hello").unwrap_err().code(), "VER001");
}

#[test]
fn every_flipped_bit_of_the_small_frames_is_refused() {
    let (named, expected, tax) = (Named::new(), expected(), department("tax"));
    let refused = |kind: FrameKind, bytes: &[u8]| match kind {
        FrameKind::Fence => !verify_fence(bytes, &named, &expected).findings().is_empty(),
        FrameKind::Beacon => !verify_beacon(bytes, &named, &expected).findings().is_empty(),
        FrameKind::KeyRecord => !KeyRecord::verify(bytes, &named, &tax).findings().is_empty(),
        FrameKind::Incarnation => {
            !IncarnationRecord::verify(bytes, &named, &tax, &origin()).findings().is_empty()
        }
        _ => true,
    };
    for mut frame in frames() {
        let kind = FrameKind::of(&frame).unwrap();
        if matches!(kind, FrameKind::Batch | FrameKind::Contract) {
            continue;
        }
        assert!(!refused(kind, &frame));
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(kind, &frame), "{kind:?}: bit {bit} was not noticed");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
