//! Seal, verify, open: what comes back, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

mod scene;

use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use scene::*;
use std::collections::HashSet;

#[test]
fn rows_come_back_as_they_were_sealed() {
    let rows = rows();
    let batch = verified(sealed().frame());
    assert_eq!((batch.header(), batch.digest()), (sealed().header(), sealed().digest()));
    assert_eq!(batch.signers(), [signing().id()]);
    for (i, row) in rows.iter().enumerate() {
        let opened = open_section(&batch, i, &secret(i), &reader(i)).unwrap();
        assert_eq!(opened.rows().bytes(), row.bytes());
        assert_eq!(opened.rows().rows(), 3);
        assert!(opened.salt(2, groups(i).len()).is_some());
        assert!(opened.salt(3, 0).is_none() && opened.salt(0, groups(i).len() + 1).is_none());
    }
}

#[test]
fn a_second_writer_from_the_specification_makes_the_same_bytes() {
    let header = header(3);
    let forged = forge::assemble(&header, &forge::sections(&header, &rows()), &[&signing()]);
    assert!(forged == sealed().frame(), "the frames differ");
}

/// The fragments of a row, as the sealer makes them.
fn fragments(rows: &[Rows; 2], bytes: usize) -> Vec<Verified> {
    let cut = Fragments::new(rows, bytes).unwrap();
    let mut sealer = Sealer::new().unwrap();
    let seal = |index| {
        let header = fragment_header(cut.part(index));
        let sealed =
            with_drafts(rows, |drafts| sealer.seal_fragment(header, drafts, &cut, &[&signing()]).unwrap());
        verified(sealed.frame())
    };
    (0..cut.count()).map(seal).collect()
}

#[test]
fn a_row_comes_back_from_its_fragments_in_the_sections_that_open_in_all_of_them() {
    let rows = rows_of(42, &[Operation::Update]);
    let (readers, secrets) = ([reader(0), reader(1)], [secret(0), secret(1)]);
    let access = |index: usize| SectionAccess { index, secret: &secrets[index], splitter: &readers[index] };
    let batches = fragments(&rows, 30);
    assert!(batches.len() > 4);
    // What can be opened from which fragment on, and what the row is then.
    let open = |can: &dyn Fn(usize) -> Vec<usize>| {
        let (mut opener, mut pieces, mut row) = (Opener::new().unwrap(), None, Vec::new());
        for (number, batch) in batches.iter().enumerate() {
            assert!(row.is_empty());
            let keys: Vec<_> = can(number).into_iter().map(access).collect();
            row = opener.open_fragment(batch, &keys, &mut pieces).unwrap();
        }
        assert!(pieces.is_none());
        row.into_iter()
            .map(|(index, opened)| (index, opened.into_rows().bytes().to_vec()))
            .collect::<Vec<_>>()
    };
    let whole = |index: usize| (index, rows[index].bytes().to_vec());
    assert_eq!(open(&|_| vec![0, 1]), [whole(0), whole(1)]);
    assert_eq!(open(&|_| vec![1]), [whole(1)]);
    assert_eq!(open(&|_| Vec::new()), []);
    // A grant that begins or ends in the midst of the row.
    assert_eq!(open(&|number| if number < 2 { vec![0] } else { vec![0, 1] }), [whole(0)]);
    assert_eq!(open(&|number| if number == 2 { vec![1] } else { vec![0, 1] }), [whole(1)]);
    // The last fragment proves the row by itself: its leaf is the whole row's.
    let (last, header) =
        (batches.last().unwrap(), fragment_header(batches.last().unwrap().header().fragment.unwrap()));
    let trace = forge::section(&header, 0, &rows[0], &forge::Bend::default()).trace;
    assert_eq!(last.block(0).unwrap().row_root, trace.leaves[0]);
    let whole = open_section(last, 0, &secret(0), &reader(0)).unwrap_err();
    assert_eq!(whole.code(), "OPE013");
}

#[test]
fn a_row_is_sealed_only_as_its_header_cuts_it() {
    let rows = rows_of(42, &[Operation::Update]);
    let cut = Fragments::new(&rows, 50).unwrap();
    let refused = |header: Header, cut: Option<&Fragments>, rows: &[Rows; 2]| {
        let mut sealer = Sealer::new().unwrap();
        let sealed = with_drafts(rows, |drafts| match cut {
            Some(cut) => sealer.seal_fragment(header, drafts, cut, &[&signing()]),
            None => sealer.seal(header, drafts, &[&signing()]),
        });
        sealed.unwrap_err().code()
    };
    let honest = fragment_header(cut.part(1));
    assert_eq!(refused(honest.clone(), None, &rows), "SEA003");
    assert_eq!(refused(header(1), Some(&cut), &rows), "SEA003");
    assert_eq!(refused(honest.clone(), Some(&Fragments::new(&rows, 60).unwrap()), &rows), "SEA003");
    assert_eq!(refused(honest, Some(&cut), &rows_of(42, &[Operation::Insert])), "SEA003");
}

#[test]
fn a_sealers_reused_buffers_leave_no_trace() {
    let mut sealer = Sealer::new().unwrap();
    let mut opener = Opener::new().unwrap();
    let small = rows();
    let large = rows_of(42, &[Operation::Update; 300]);
    for (rows, count) in [(&large, 300), (&small, 3), (&large, 300), (&small, 3)] {
        let sealed = with_drafts(rows, |drafts| sealer.seal(header(count), drafts, &[&signing()]).unwrap());
        assert!(sealed.frame() == seal_with(header(count), rows, &[&signing()]).frame());
        let batch = verified(sealed.frame());
        for (i, rows) in rows.iter().enumerate() {
            let opened = opener.open(&batch, i, &secret(i), &reader(i)).unwrap();
            assert_eq!(opened.rows().bytes(), rows.bytes());
        }
    }
}

#[test]
fn every_single_flipped_bit_is_refused() {
    let rows = rows_of(42, &[Operation::Insert]);
    let honest = seal_with(header(1), &rows, &[&signing()]);
    let (named, expected) = (Named::new(), expected());
    let mut frame = honest.frame().to_vec();
    for bit in 0..frame.len() * 8 {
        frame[bit / 8] ^= 1 << (bit % 8);
        let verdict = verify_batch(&frame, &named, &expected);
        assert!(verdict.into_verified().is_err(), "bit {bit} was not noticed");
        frame[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(verify_batch(&frame, &named, &expected).into_verified().is_ok());
}

#[test]
fn every_truncation_and_appendix_is_refused() {
    let frame = sealed().into_frame();
    for length in 0..frame.len() {
        let verdict = verify_batch(&frame[..length], &Named::new(), &expected());
        assert!(!verdict.findings().is_empty(), "{length} bytes were accepted");
    }
    let longer = [&*frame, &[0]].concat();
    assert_eq!(codes(verify_batch(&longer, &Named::new(), &expected()).findings()), ["VER004"]);
}

#[test]
fn a_batch_without_rows_has_no_sections() {
    let empty = [Rows::new(2), Rows::new(0)];
    let sealed = seal_with(empty_header(), &empty, &[&signing()]);
    let batch = verified(sealed.frame());
    assert_eq!(batch.blocks().len(), 0);
    let error = open_section(&batch, 0, &secret(0), &reader(0)).unwrap_err();
    assert_eq!(error.code(), "OPE001");
}

#[test]
fn a_notice_needs_an_operators_signature_too() {
    let gap = Gap {
        reason: "the slot was lost".into(),
        from: at(42, 3),
        to: None,
        lost: Vec::new(),
        lost_previous: Digest::ZERO,
        before: sha256(&[b"before"]),
        after: sha256(&[b"after"]),
        voids: vec![43],
    };
    let header = Header { kind: Kind::Gap, notice: Some(Notice::Gap(gap)), ..empty_header() };
    let mut sealer = Sealer::new().unwrap();
    let error = sealer.seal(header.clone(), &[], &[&signing()]).unwrap_err();
    assert_eq!(error.code(), "SEA006");
    let sealed = sealer.seal(header, &[], &[&signing(), &operator()]).unwrap();
    let batch = verified(sealed.frame());
    assert_eq!(batch.signers(), [signing().id(), operator().id()]);
}

#[test]
fn a_batch_says_where_it_belongs() {
    let frame = sealed().into_frame();
    let elsewhere = |change: &dyn Fn(&mut Expected)| {
        let mut expected = expected();
        change(&mut expected);
        codes(verify_batch(&frame, &Named::new(), &expected).findings())
    };
    assert_eq!(elsewhere(&|e| e.stream.partition = Partition(1)), ["VER020"]);
    assert_eq!(elsewhere(&|e| e.stream.dataset = "declarations".parse().unwrap()), ["VER020"]);
    assert_eq!(elsewhere(&|e| e.stream.department = department("audit")), ["VER011", "VER020"]);
    assert_eq!(elsewhere(&|e| e.origin = "gov.example/tax/other".parse().unwrap()), ["VER021"]);
}

#[test]
fn all_findings_are_reported_together() {
    let header = Header { epoch: Epoch(0), ..header(3) };
    let mut sections = forge::sections(&header, &rows());
    sections[1].ciphertext[0] ^= 1;
    let frame = forge::assemble(&header, &sections, &[&foreign()]);
    let verdict = verify_batch(&frame, &Named::new(), &expected());
    assert_eq!(codes(verdict.findings()), ["VER011", "VER032", "VER041"]);
}

#[test]
fn another_secret_opens_nothing() {
    let batch = verified(sealed().frame());
    let error = open_section(&batch, 0, &secret(1), &reader(0)).unwrap_err();
    assert_eq!(error.code(), "OPE002");
}

#[test]
fn another_sections_reader_finds_no_rows() {
    let batch = verified(sealed().frame());
    let error = open_section(&batch, 0, &secret(0), &reader(1)).unwrap_err();
    assert_eq!(error.code(), "OPE007");
}

/// Whatever differs between two batches, no two sections encrypt under one key: the nonce is zero, so the key alone
/// must tell them apart.
#[test]
fn two_different_batches_never_share_a_key() {
    let rows = rows();
    let others = rows_of(43, &[Operation::Insert, Operation::Update, Operation::Delete]);
    let base = header(3);
    let nonce = |byte: u8| Header { nonce: [byte; 32], ..base.clone() };
    let mut headers = vec![
        base.clone(),
        Header { epoch: Epoch(4), ..base.clone() },
        Header { sequence: Sequence(2), ..base.clone() },
        Header { kind: Kind::Schema, ..base.clone() },
        Header { contract: sha256(&[b"another contract"]), ..base.clone() },
    ];
    let mut stream = scene::stream();
    stream.partition = Partition(1);
    headers.push(Header { stream: stream.clone(), ..base.clone() });
    stream.dataset = "declarations".parse().unwrap();
    headers.push(Header { stream: stream.clone(), ..base.clone() });
    stream.department = department("audit");
    headers.push(Header { stream, ..base.clone() });
    headers.extend((0..200).map(nonce).filter(|header| header.nonce != base.nonce));
    let mut keys = HashSet::new();
    let mut sections = 0;
    for header in &headers {
        for rows in [&rows, &others] {
            for (i, rows) in rows.iter().enumerate() {
                keys.insert(forge::section(header, i, rows, &forge::Bend::default()).trace.key);
                sections += 1;
            }
        }
    }
    let terms: [&dyn Fn(&mut SectionBlock); 4] = [
        &|block| block.schema = sha256(&[b"another schema"]),
        &|block| block.key_record = sha256(&[b"another record"]),
        &|block| block.rows = 4,
        &|block| block.compression = Compression::Zstd,
    ];
    for change in terms {
        let bend = forge::Bend { terms: Some(change), ..Default::default() };
        keys.insert(forge::section(&base, 0, &rows[0], &bend).trace.key);
        sections += 1;
    }
    assert_eq!(keys.len(), sections);
}

#[test]
fn salts_are_never_shared_between_sections_or_batches() {
    let mut salts = HashSet::new();
    let mut count = 0;
    for header in [header(3), Header { nonce: [7; 32], ..header(3) }] {
        let batch = verified(seal_with(header, &rows(), &[&signing()]).frame());
        for i in 0..2 {
            let opened = open_section(&batch, i, &secret(i), &reader(i)).unwrap();
            for row in 0..3 {
                for group in 0..=groups(i).len() {
                    salts.insert(opened.salt(row, group).unwrap());
                    count += 1;
                }
            }
        }
    }
    assert_eq!(salts.len(), count);
}

#[test]
fn a_batch_that_breaks_a_rule_is_not_sealed() {
    let seal = |header: Header, rows: &[Rows; 2], signers: &[&SigningKey]| {
        with_drafts(rows, |drafts| Sealer::new().unwrap().seal(header, drafts, signers)).unwrap_err().code()
    };
    let key = signing();
    let mut half = rows();
    half[0].buffer().push(1);
    assert_eq!(seal(Header { epoch: Epoch(0), ..header(3) }, &rows(), &[&key]), "SEA001");
    assert_eq!(seal(Header { row_events: 70_000, ..header(3) }, &rows(), &[&key]), "SEA002");
    assert_eq!(seal(header(4), &rows(), &[&key]), "SEA003");
    assert_eq!(seal(header(3), &half, &[&key]), "SEA003");
    assert_eq!(seal(header(3), &rows(), &[]), "SEA005");
    assert_eq!(seal(header(3), &rows(), &[&operator()]), "SEA005");
    assert_eq!(seal(header(3), &rows(), &[&key, &key, &key, &key, &key]), "SEA005");
    let none = Sealer::new().unwrap().seal(header(3), &[], &[&key]).unwrap_err();
    assert_eq!(none.code(), "SEA003");
    let twice = with_drafts(&rows(), |drafts| {
        Sealer::new().unwrap().seal(header(3), &[drafts[0], drafts[0]], &[&signing()]).unwrap_err()
    });
    assert_eq!(twice.code(), "SEA003");
    let extension = |id| Extension { id, critical: false, content: vec![0; 5000] };
    let long = Header { extensions: vec![extension(1)], ..header(3) };
    assert_eq!(seal(long, &rows(), &[&key]), "SEA002");
}
