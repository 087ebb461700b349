//! Every field of the header wrong once: signed again where the field itself is at fault, altered where only the
//! signature or another field can tell.

use super::Vector;
use super::batches::{gap, gap_header, snapshot_header};
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;

/// The honest header and sections, the header then changed and signed again.
fn after(name: &str, stage: &str, expect: &[&str], about: &str, change: impl FnOnce(&mut Header)) -> Vector {
    let honest = header(3);
    let sections = forge::sections(&honest, &rows());
    let mut header = honest;
    change(&mut header);
    let frame = forge::assemble(&header, &sections, &[&signing()]);
    Vector::new("sealed-batch", &format!("header-{name}"), stage, expect, about, frame)
}

/// The header changed first, the batch then made of it without a fault.
fn before(name: &str, expect: &[&str], about: &str, change: impl FnOnce(&mut Header)) -> Vector {
    let mut header = header(3);
    change(&mut header);
    let frame = forge::assemble(&header, &forge::sections(&header, &rows()), &[&signing()]);
    Vector::new("sealed-batch", &format!("header-{name}"), "verify", expect, about, frame)
}

/// A header without rows.
fn bare(name: &str, expect: &[&str], about: &str, header: Header, signers: &[&SigningKey]) -> Vector {
    let frame = forge::assemble(&header, &[], signers);
    Vector::new("sealed-batch", &format!("header-{name}"), "verify", expect, about, frame)
}

/// The honest header's bytes changed and signed again.
fn raw(name: &str, expect: &[&str], about: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vector {
    let header = header(3);
    let sections = forge::sections(&header, &rows());
    let blocks: Vec<Vec<u8>> = sections.iter().map(|section| section.block.encode()).collect();
    let digests = blocks.iter().map(|block| sha256(&[b"govbridge/v1/section-block\0", block])).collect();
    let mut body = Header { sections: digests, ..header }.encode();
    change(&mut body);
    let ciphertexts: Vec<&[u8]> = sections.iter().map(|section| &*section.ciphertext).collect();
    let frame = forge::batch(&body, &blocks, &ciphertexts, &[&signing()]);
    Vector::new("sealed-batch", &format!("header-{name}"), "verify", expect, about, frame)
}

/// The honest frame, its header changed and the old signature kept.
fn altered(name: &str, about: &str, change: impl FnOnce(&mut Header)) -> Vector {
    let honest = sealed();
    let old = honest.header().encode();
    let mut header = honest.header().clone();
    change(&mut header);
    let new = header.encode();
    assert_ne!(old, new);
    let rest = &honest.frame()[8 + old.len()..];
    let length = u32::try_from(new.len()).unwrap().to_be_bytes();
    let frame = [b"GBB1", &length[..], &new, rest].concat();
    Vector::new("sealed-batch", &format!("header-{name}"), "verify", &["VER013"], about, frame)
}

pub(crate) fn fields() -> Vec<Vector> {
    let parts = [encodings(), places(), transactions(), contents(), alterations()];
    parts.into_iter().flatten().collect()
}

/// Where the byte of a field stands that follows `before` in the header.
fn after_bytes(body: &[u8], before: &[u8]) -> usize {
    body.windows(before.len()).position(|window| window == before).unwrap() + before.len()
}

fn encodings() -> Vec<Vector> {
    let nonce = [0x5a; 32];
    vec![
        raw("suite-unknown", &["VER009"], "suite 63", |body| body[0] = 63 << 1),
        raw("suite-not-available", &["VER009"], "suite 2 (national)", |body| body[0] = 2 << 1),
        raw("suite-not-minimal", &["VER005"], "the suite in two bytes where one is enough", |body| {
            body.splice(0..1, [0x82, 0x00]);
        }),
        raw("department-in-upper-case", &["VER006"], "a name that breaks its rule", |body| body[2] = b'T'),
        raw("department-not-utf-8", &["VER005"], "a name that is no text", |body| body[2] = 0xff),
        raw("department-too-long", &["VER003"], "a name of 5,000 bytes is announced", |body| {
            body.splice(1..2, [0x90, 0x4e]);
        }),
        raw("department-of-65-bytes", &["VER006"], "a name of 65 letters", |body| {
            body.splice(1..5, [0x82, 0x01].into_iter().chain([b'a'; 65]));
        }),
        raw("kind-unknown", &["VER005"], "kind 5", |body| {
            let at = after_bytes(body, sha256(&[b"the batch before"]).as_bytes());
            body[at] = 5 << 1;
        }),
        raw("continues-is-2", &["VER005"], "a boolean of 2", |body| {
            let at = after_bytes(body, b"\x54\x06\x00\x18changelog:42");
            body[at] = 2;
        }),
        raw("token-too-long", &["VER003"], "a token of 5,000 bytes is announced", |body| {
            let at = after_bytes(body, &nonce) + 1 + 1 + 1 + 1;
            body.splice(at..at + 1, [0x90, 0x4e]);
        }),
        raw("incarnation-over-32-bits", &["VER005"], "an incarnation of 2^32", |body| {
            let at = after_bytes(body, &nonce);
            body.splice(at..at + 1, [0x80, 0x80, 0x80, 0x80, 0x20]);
        }),
        raw("sections-in-two-blocks", &["VER005"], "an array in two blocks of one item", |body| {
            let first = body.len() - 2 - 64;
            body[first - 1] = 2;
            body.insert(first + 32, 2);
        }),
        raw(
            "sections-with-a-byte-count",
            &["VER005"],
            "an array block of a negative count with its size",
            |body| {
                let first = body.len() - 2 - 64;
                body.splice(first - 1..first, [0x03, 0x80, 0x01]);
            },
        ),
        raw("trailing-byte", &["VER004"], "a byte after the last field", |body| body.push(0)),
        raw("cut", &["VER002"], "the last field is missing", |body| {
            body.pop();
        }),
    ]
}

fn places() -> Vec<Vector> {
    vec![
        before("department-other", &["VER020"], "another department's stream, signed by tax", |h| {
            h.stream.department = department("social-security");
        }),
        before("dataset-other", &["VER020"], "spliced from another topic", |h| {
            h.stream.dataset = "declarations".parse().unwrap();
        }),
        before("partition-other", &["VER020"], "spliced from another partition", |h| {
            h.stream.partition = Partition(1)
        }),
        before("origin-other", &["VER021"], "another log", |h| {
            h.origin = "gov.example/tax/backup".parse().unwrap()
        }),
        before("epoch-zero", &["VER032"], "epochs begin at 1", |h| h.epoch = Epoch(0)),
        before(
            "sequence-zero-without-genesis",
            &["VER030"],
            "the first batch with a previous digest of another",
            |h| {
                h.sequence = Sequence(0);
            },
        ),
        before("previous-is-another-streams-genesis", &["VER030"], "the genesis of partition 1", |h| {
            h.sequence = Sequence(0);
            let mut stream = stream();
            stream.partition = Partition(1);
            h.previous = Header::genesis(&stream, &origin());
        }),
        after("contract-other", "open", &["OPE002"], "the keys are bound to another contract", |h| {
            h.contract = sha256(&[b"another contract"]);
        }),
        after("nonce-other", "open", &["OPE002"], "the keys are bound to another nonce", |h| {
            h.nonce = [0; 32]
        }),
        after("epoch-other", "open", &["OPE002"], "the keys are bound to another epoch", |h| {
            h.epoch = Epoch(4)
        }),
        after("sequence-other", "open", &["OPE002"], "the keys are bound to another sequence", |h| {
            h.sequence = Sequence(2);
        }),
        after("kind-other", "open", &["OPE002"], "the keys are bound to another kind", |h| {
            h.kind = Kind::Schema
        }),
        before("first-after-last", &["VER032"], "the first position is after the last", |h| {
            h.first = at(42, 4)
        }),
        before("last-before-first", &["VER032"], "the last position is before the first", |h| {
            h.last = at(41, 3)
        }),
    ]
}

fn transactions() -> Vec<Vector> {
    let one_row = Header { row_events: 1, ..empty_header() };
    let two_positions = Header { first: at(41, 1), ..empty_header() };
    vec![
        before("continues-without-an-end", &["VER032"], "a transaction is continued and never ended", |h| {
            h.continues = true;
        }),
        before(
            "leaves-open-without-a-begin",
            &["VER032"],
            "a transaction is left open that never began",
            |h| {
                (h.leaves_open, h.closed_by, h.resolved) = (true, ClosedBy::Limit, At::end_of(41));
            },
        ),
        before(
            "closed-by-commit-and-open",
            &["VER032"],
            "closed at a commit, and a transaction is open",
            |h| {
                (h.leaves_open, h.transactions_begun, h.resolved) = (true, 2, At::end_of(41));
            },
        ),
        before(
            "resolved-past-an-open-transaction",
            &["VER032"],
            "complete up to a commit that is still open",
            |h| {
                (h.leaves_open, h.transactions_begun, h.closed_by) = (true, 2, ClosedBy::Limit);
            },
        ),
        before("transactions-begun-too-many", &["VER032"], "two begin, one ends, none is open", |h| {
            h.transactions_begun = 2;
        }),
        before("transactions-ended-too-many", &["VER032"], "one begins, two end", |h| {
            h.transactions_ended = 2
        }),
        before(
            "first-batch-continues",
            &["VER032"],
            "the stream's first batch continues a transaction",
            |h| {
                h.sequence = Sequence(0);
                h.previous = Header::genesis(&stream(), &origin());
                (h.continues, h.transactions_begun) = (true, 0);
            },
        ),
        after("row-events-too-many", "verify", &["VER033"], "four rows are announced", |h| h.row_events = 4),
        after("truncates-too-many", "verify", &["VER033"], "three rows and a truncate are announced", |h| {
            h.truncates = 1
        }),
        after("row-events-over-the-limit", "verify", &["VER003", "VER033"], "65,537 rows", |h| {
            h.row_events = 65_537
        }),
        bare(
            "rows-without-sections",
            &["VER033"],
            "a row is announced, and no section",
            one_row,
            &[&signing()],
        ),
        bare(
            "no-rows-and-two-positions",
            &["VER032"],
            "no rows, and first is not last",
            two_positions,
            &[&signing()],
        ),
    ]
}

fn contents() -> Vec<Vector> {
    let tax = signing();
    let (snapshot, gapped) = (snapshot_header(), gap_header());
    let fragment = |index, of, total_bytes| {
        let header = fragment_header(FragmentPart { index, of, total_bytes });
        let rows = rows_of(42, &[Operation::Insert]);
        forge::assemble(&header, &forge::sections(&header, &rows), &[&signing()])
    };
    let part = FragmentPart { index: 1, of: 3, total_bytes: 4096 };
    let bent = |name: &str, about: &str, change: &dyn Fn(&mut Header)| {
        let mut header = fragment_header(part);
        change(&mut header);
        let rows = rows_of(42, &[Operation::Insert]);
        let frame = forge::assemble(&header, &forge::sections(&header, &rows), &[&signing()]);
        Vector::new("sealed-batch", &format!("header-{name}"), "verify", &["VER032"], about, frame)
    };
    let extension = |id, critical| Extension { id, critical, content: vec![1, 2, 3] };
    let extended = |extensions| Header { extensions, ..empty_header() };
    let lost = |sequence| BatchRef { sequence: Sequence(sequence), digest: Digest::ZERO };
    let gap_with = |gap: Gap| Header { notice: Some(Notice::Gap(gap)), ..gap_header() };
    let hole = gap_with(Gap { lost: vec![lost(1), lost(3)], ..gap() });
    let vector = |name: &str, expect: &[&str], about: &str, frame| {
        Vector::new("sealed-batch", &format!("header-{name}"), "verify", expect, about, frame)
    };
    vec![
        before(
            "kind-snapshot-without-snapshot",
            &["VER032"],
            "a snapshot that says nothing about itself",
            |h| {
                h.kind = Kind::Snapshot;
            },
        ),
        before("snapshot-in-a-stream-batch", &["VER032"], "a stream batch with a snapshot", |h| {
            h.snapshot = snapshot.snapshot
        }),
        before("notice-in-a-stream-batch", &["VER032"], "a stream batch with a GAP", |h| {
            h.notice = gapped.notice
        }),
        bare(
            "gap-without-notice",
            &["VER032"],
            "a GAP that names nothing",
            Header { notice: None, ..gap_header() },
            &[&tax, &operator()],
        ),
        bare(
            "retract-with-a-gap",
            &["VER032"],
            "a RETRACT that holds a GAP",
            Header { kind: Kind::Retract, ..gap_header() },
            &[&tax, &operator()],
        ),
        bare("gap-without-operator", &["VER014"], "no operator signed the GAP", gap_header(), &[&tax]),
        bare(
            "gap-signed-by-operator-only",
            &["VER014"],
            "the department did not sign the GAP",
            gap_header(),
            &[&operator()],
        ),
        bare("gap-lost-with-a-hole", &["VER032"], "lost batches 1 and 3", hole, &[&tax, &operator()]),
        vector("fragment-index-too-large", &["VER032"], "fragment 2 of 2", fragment(2, 2, 4096)),
        vector(
            "fragment-of-a-row-over-the-limit",
            &["VER032"],
            "a row of 64 MiB and a byte",
            fragment(0, 2, (64 << 20) + 1),
        ),
        before("fragment-with-three-rows", &["VER032"], "a fragment is one row", |h| {
            h.fragment = Some(FragmentPart { index: 0, of: 2, total_bytes: 4096 });
        }),
        vector("fragment-of-one", &["VER032"], "a row that is cut into one piece", fragment(0, 1, 4096)),
        vector("fragments-too-many", &["VER032"], "a row in 1,025 pieces", fragment(0, 1025, 4096)),
        bent("fragment-at-another-place", "the second fragment at the place of the first", &|h| {
            (h.first.mark.fragment, h.last.mark.fragment) = (1, 1);
        }),
        bent("fragment-at-two-places", "a fragment from the first to the second", &|h| {
            h.first.mark.fragment = 1;
        }),
        bent("fragment-that-continues-nothing", "a second fragment that begins its transaction", &|h| {
            (h.continues, h.transactions_begun) = (false, 1);
        }),
        bent("fragment-that-ends-its-transaction", "a fragment that is not the last one closes it", &|h| {
            (h.leaves_open, h.transactions_ended) = (false, 1);
        }),
        bent("fragment-of-a-schema", "kind schema has no fragments", &|h| h.kind = Kind::Schema),
        bent("fragment-of-a-truncate", "a truncate is never cut", &|h| (h.row_events, h.truncates) = (0, 1)),
        bent("fragment-that-is-none", "a whole row at the place of a fragment", &|h| h.fragment = None),
        bare(
            "fragment-without-rows",
            &["VER032"],
            "a batch without rows in the midst of a row",
            Header { fragment: None, row_events: 0, ..fragment_header(part) },
            &[&tax],
        ),
        bare(
            "extension-critical",
            &["VER031"],
            "an unknown extension that must be understood",
            extended(vec![extension(7, true)]),
            &[&tax],
        ),
        bare(
            "extensions-do-not-ascend",
            &["VER032"],
            "extension 9 before 7",
            extended(vec![extension(9, false), extension(7, false)]),
            &[&tax],
        ),
        bare(
            "extension-twice",
            &["VER032"],
            "extension 7 twice",
            extended(vec![extension(7, false), extension(7, false)]),
            &[&tax],
        ),
        bare(
            "extension-too-long",
            &["VER003"],
            "an extension of 4,097 bytes",
            extended(vec![Extension { id: 1, critical: false, content: vec![0; 4097] }]),
            &[&tax],
        ),
        bare(
            "extensions-too-many",
            &["VER003"],
            "seventeen extensions",
            extended((0..17).map(|id| extension(id, false)).collect()),
            &[&tax],
        ),
    ]
}

/// Fields that nothing inside the batch contradicts: only the signature tells.
fn alterations() -> Vec<Vector> {
    vec![
        altered("incarnation-altered", "another incarnation", |h| h.incarnation = IncarnationNumber(2)),
        altered("first-altered", "another first position", |h| h.first = at(42, 2)),
        altered("last-altered", "another last position", |h| h.last = at(42, 4)),
        altered("token-altered", "another native token", |h| {
            h.last.token = Token::new(*b"changelog:99").unwrap()
        }),
        altered("closed-by-altered", "closed by a limit", |h| h.closed_by = ClosedBy::Limit),
        altered("resolved-altered", "another resolved position", |h| h.resolved = At::end_of(43)),
        altered("first-commit-time-altered", "an earlier commit", |h| h.first_commit_time = UnixMicros(0)),
        altered("last-commit-time-altered", "a later commit", |h| h.last_commit_time = UnixMicros(i64::MAX)),
        altered("previous-altered", "another previous digest", |h| h.previous = Digest::ZERO),
        altered("contract-altered", "another contract", |h| h.contract = Digest::ZERO),
        altered("epoch-altered", "another epoch", |h| h.epoch = Epoch(4)),
        altered("sequence-altered", "another sequence", |h| h.sequence = Sequence(2)),
    ]
}
