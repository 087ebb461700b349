//! Log entries.

use super::Vector;
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;

fn good(name: &str, about: &str, entry: &Entry) -> Vector {
    let bytes = entry.encode().unwrap();
    assert_eq!(Entry::decode(&bytes).unwrap(), *entry);
    Vector::new("log-entry", name, "decode", &[], about, bytes)
}

fn bad(name: &str, expect: &str, about: &str, bytes: Vec<u8>) -> Vector {
    Vector::new("log-entry", name, "decode", &[expect], about, bytes)
}

fn epoch() -> Entry {
    Entry::Epoch(EpochEntry {
        epoch: Epoch(3),
        incarnation: IncarnationNumber(1),
        started: UnixMicros(NEW_YEAR),
    })
}

fn mark() -> Entry {
    let head = BatchRef { sequence: Sequence(1), digest: sealed().digest() };
    let stream = |dataset: &str, head| StreamMark {
        dataset: dataset.parse().unwrap(),
        partition: Partition(0),
        head,
        resolved: At::end_of(42),
    };
    let streams = vec![stream("payments", Some(head)), stream("declarations", None)];
    Entry::Mark(MarkEntry { time: UnixMicros(NEW_YEAR + 60_000_000), streams })
}

pub(crate) fn entries() -> Vec<Vector> {
    let batch = Entry::Batch(batch_entry());
    let first = Entry::of_batch(&header(3), sealed().digest(), None);
    let part = SnapshotPlace { generation: Generation(3), chunk: 2, last: true };
    let snapshot = Entry::Batch(BatchEntry { kind: Kind::Snapshot, snapshot: Some(part), ..batch_entry() });
    let rewrap = {
        let base = KeyRecord::verify(key_record(1).frame(), &Named::new(), &department("tax"))
            .into_verified()
            .unwrap();
        let key = recipient("audit").public();
        let to = WrapTo { recipient: &department("audit"), key: &key, seed: [0xd1; 32] };
        let made = UnixMicros(NEW_YEAR + 1_000_000);
        let reason = "audit lost its copy".into();
        let rewrap = Rewrap::new(&base, &secret(1), &[to], contract().digest(), made, reason).unwrap();
        rewrap.sign(&[&signing()]).unwrap().into_frame()
    };
    let contract = contract_record().sign(&[&signing()]).unwrap().into_frame();
    let incarnation = incarnation_record().sign(&[&signing()]).unwrap().into_frame();
    let mut vectors = vec![
        good("good-epoch", "epoch 3 begins", &epoch()),
        good("good-batch", "the batch of sealed-batch/good", &batch),
        good("good-batch-of-a-snapshot", "chunk 2, the last one, of generation 3", &snapshot),
        good("good-batch-first", "a stream's first entry: no index before it", &first),
        good(
            "good-key-record",
            "the key record of section amount in full",
            &Entry::KeyRecord(key_record(1).into_frame()),
        ),
        good("good-rewrap", "a rewrap in full", &Entry::Rewrap(rewrap)),
        good("good-contract", "a contract record in full", &Entry::Contract(contract)),
        good("good-incarnation", "an incarnation record in full", &Entry::Incarnation(incarnation)),
        good("good-mark", "two streams, one without a head", &mark()),
        good(
            "good-trust",
            "version 4 of the trust file",
            &Entry::Trust(TrustEntry { version: 4, digest: sha256(&[b"a trust note"]) }),
        ),
    ];
    vectors.extend(failures(&batch.encode().unwrap()));
    vectors
}

fn failures(batch: &[u8]) -> Vec<Vector> {
    let bent = |name: &str, expect: &str, about: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = batch.to_vec();
        change(&mut bytes);
        bad(name, expect, about, bytes)
    };
    let digest = sealed().digest();
    let digest_at = batch.windows(32).position(|window| window == digest.as_bytes()).unwrap();
    let index_at = digest_at + 64;
    let kind_at = index_at + 1 + 32;
    assert_eq!((batch[index_at], batch[kind_at]), (24, 0));
    let key = Entry::KeyRecord(key_record(1).into_frame()).encode().unwrap();
    let fence = sign_fence(fence(), &[&signing()]).unwrap().into_frame();
    let length = u8::try_from((fence.len() * 2) & 0x7f).unwrap() | 0x80;
    let wrong_record = [&[3, length, u8::try_from(fence.len() >> 6).unwrap()][..], &fence].concat();
    let mark = mark().encode().unwrap();
    vec![
        bad("empty", "VER002", "no bytes at all", Vec::new()),
        bad("type-unknown", "VER010", "type 9", vec![9, 0]),
        bad("type-zero", "VER010", "type 0", vec![0, 0]),
        bent("trailing-byte", "VER004", "a byte after the last field", &|b| b.push(0)),
        bent("truncated", "VER002", "the last byte is missing", &|b| {
            b.pop();
        }),
        bent("suite-unknown", "VER009", "suite 63", &|b| b[1] = 63 << 1),
        bent("department-not-a-name", "VER006", "a name in upper case", &|b| b[3] = b'T'),
        bent("previous-index-negative", "VER005", "an index of -2", &|b| b[index_at] = 3),
        bent("kind-unknown", "VER005", "kind 5", &|b| b[kind_at] = 10),
        bent("snapshot-without-its-part", "VER005", "kind snapshot, and no chunk", &|b| b[kind_at] = 2),
        bent("leaves-open-is-2", "VER005", "a boolean of 2", &|b| b[kind_at + 3] = 2),
        bent("number-not-minimal", "VER005", "the index before in two bytes", &|b| {
            b.splice(index_at..index_at + 1, [0x98, 0x00]);
        }),
        bad("over-the-limit", "VER003", "65,536 bytes", vec![3; 65_536]),
        bad("key-record-cut", "VER002", "the record's last byte is missing", key[..key.len() - 1].to_vec()),
        bad("key-record-is-a-fence", "VER001", "a fence where a key record belongs", wrong_record),
        bad("mark-cut", "VER002", "the last stream is cut", mark[..mark.len() - 2].to_vec()),
        bad("mark-streams-in-two-blocks", "VER005", "an array in two blocks", {
            let mut bytes = mark.clone();
            let array_at = bytes.windows(9).position(|window| window == b"\x10payments").unwrap() - 1;
            bytes[array_at] = 2;
            bytes
        }),
    ]
}
