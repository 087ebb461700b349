//! Fences and beacons.

use super::Vector;
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;

const FENCE: (&[u8; 4], &[u8]) = (b"GBF1", b"govbridge/v1/fence\0");
const BEACON: (&[u8; 4], &[u8]) = (b"GBN1", b"govbridge/v1/beacon\0");

/// The body of a signed frame.
pub(crate) fn body_of(frame: &[u8]) -> Vec<u8> {
    let length = u32::from_be_bytes(frame[4..8].try_into().unwrap());
    frame[8..8 + usize::try_from(length).unwrap()].to_vec()
}

/// Failures that every signed frame without a trailer has, made from a good one.
pub(crate) fn shared(
    format: &'static str,
    good: &[u8],
    form: (&[u8; 4], &[u8]),
    body_bytes_max: u32,
) -> Vec<Vector> {
    let body = body_of(good);
    let bent = |name: &str, expect: &[&str], about: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.to_vec();
        change(&mut frame);
        Vector::new(format, name, "verify", expect, about, frame)
    };
    let signed =
        |name: &str, expect: &[&str], about: &str, label: &[u8], body: &[u8], signers: &[&SigningKey]| {
            Vector::new(format, name, "verify", expect, about, forge::signed(form.0, label, body, signers))
        };
    let longer = [&*body, &[0]].concat();
    let other_label: &[u8] = b"govbridge/v1/batch\0";
    vec![
        bent("flipped-bit-in-body", &["VER013"], "a bit near the end of the body", &|f| {
            // The last byte closes an array where it is zero; a bit of it would change the shape.
            let at = 8 + body.len() - if body.last() == Some(&0) { 20 } else { 1 };
            // A bit that was zero, and not the sign: numbers grow.
            let bit = (1..7).find(|bit| f[at] & (1 << bit) == 0).unwrap();
            f[at] ^= 1 << bit;
        }),
        bent("flipped-bit-in-signature", &["VER013"], "a bit of the signature", &|f| {
            let at = f.len() - 20;
            f[at] ^= 1;
        }),
        bent("wrong-magic", &["VER001"], "a batch's magic", &|f| f[..4].copy_from_slice(b"GBB1")),
        bent("truncated", &["VER002"], "the last byte is missing", &|f| {
            f.pop();
        }),
        bent("trailing-byte", &["VER004"], "one byte more", &|f| f.push(0)),
        bent("oversized-length", &["VER003"], "a body over the limit is announced", &|f| {
            f[4..8].copy_from_slice(&(body_bytes_max + 1).to_be_bytes());
        }),
        signed(
            "body-trailing-byte",
            &["VER004"],
            "a byte after the last field",
            form.1,
            &longer,
            &[&signing()],
        ),
        signed(
            "body-cut",
            &["VER002"],
            "the last byte of the body is missing",
            form.1,
            &body[..body.len() - 1],
            &[&signing()],
        ),
        signed("wrong-label", &["VER013"], "signed under a batch's label", other_label, &body, &[&signing()]),
        signed(
            "another-departments-key",
            &["VER011"],
            "signed by social-security's key",
            form.1,
            &body,
            &[&foreign()],
        ),
        signed("operators-key", &["VER012"], "signed by an operator", form.1, &body, &[&operator()]),
    ]
}

pub(crate) fn fences() -> Vec<Vector> {
    let good = sign_fence(fence(), &[&signing()]).unwrap();
    let resigned = |name: &str, expect: &[&str], about: &str, change: &dyn Fn(&mut Fence)| {
        let mut changed = fence();
        change(&mut changed);
        // An honest signer refuses some of these, so the honest body is made first and patched by hand.
        let body = fence_body(&changed);
        Vector::new(
            "fence",
            name,
            "verify",
            expect,
            about,
            forge::signed(FENCE.0, FENCE.1, &body, &[&signing()]),
        )
    };
    let mut vectors = vec![
        Vector::new("fence", "good", "verify", &[], "epoch 3 begins", good.frame().to_vec())
            .with("digest", good.digest().to_string()),
        resigned("origin-other", &["VER021"], "another log", &|f| {
            f.origin = "gov.example/tax/backup".parse().unwrap()
        }),
        resigned("department-other", &["VER020"], "another department", &|f| {
            f.stream.department = department("audit")
        }),
        resigned("dataset-other", &["VER020"], "another dataset", &|f| {
            f.stream.dataset = "declarations".parse().unwrap()
        }),
        resigned("partition-other", &["VER020"], "another partition", &|f| f.stream.partition = Partition(1)),
        resigned("epoch-zero", &["VER032"], "epochs begin at 1", &|f| f.epoch = Epoch(0)),
    ];
    vectors.extend(shared("fence", good.frame(), FENCE, 4096));
    let body = body_of(good.frame());
    let raw = |name: &str, expect: &[&str], about: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = body.clone();
        change(&mut body);
        Vector::new(
            "fence",
            name,
            "verify",
            expect,
            about,
            forge::signed(FENCE.0, FENCE.1, &body, &[&signing()]),
        )
    };
    let end = body.len();
    vectors.push(raw("origin-not-a-name", &["VER006"], "an origin in upper case", &|b| b[1] = b'G'));
    vectors.push(raw("number-not-minimal", &["VER005"], "the incarnation in two bytes", &|b| {
        b.splice(end - 1..end, [0x82, 0x00]);
    }));
    vectors.push(raw("incarnation-negative", &["VER005"], "incarnation -1", &|b| b[end - 1] = 1));
    vectors
}

fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
    out
}

fn string(value: &str) -> Vec<u8> {
    [long(value.len().try_into().unwrap()), value.as_bytes().to_vec()].concat()
}

fn fence_body(fence: &Fence) -> Vec<u8> {
    [
        string(fence.origin.as_str()),
        string(fence.stream.department.as_str()),
        string(fence.stream.dataset.as_str()),
        long(fence.stream.partition.0.into()),
        long(fence.epoch.0.cast_signed()),
        long(fence.log_index.0.cast_signed()),
        long(fence.incarnation.0.into()),
    ]
    .concat()
}

/// The place of the only occurrence of `pattern`.
fn find(body: &[u8], pattern: &[u8]) -> usize {
    let mut places = body.windows(pattern.len()).enumerate().filter(|(_, window)| *window == pattern);
    let (place, _) = places.next().unwrap();
    assert!(places.next().is_none(), "the pattern stands twice");
    place
}

pub(crate) fn beacons() -> Vec<Vector> {
    let good = sign_beacon(beacon(), &[&signing()]).unwrap();
    let idle = Beacon {
        head: None,
        place: Place {
            offset: Offset(1),
            epoch: Epoch(3),
            head: None,
            incarnation: IncarnationNumber(0),
            last: Mark::default(),
            open: None,
            snapshot: None,
        },
        resolved: At::START,
        appended: None,
        ..beacon()
    };
    let idle = sign_beacon(idle, &[&signing()]).unwrap();
    let mut open = beacon();
    open.place.open = Some(42);
    open.appended = None;
    let open = sign_beacon(open, &[&signing()]).unwrap();
    let body = body_of(good.frame());
    let patched = |name: &str, expect: &[&str], about: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = body.clone();
        change(&mut body);
        Vector::new(
            "beacon",
            name,
            "verify",
            expect,
            about,
            forge::signed(BEACON.0, BEACON.1, &body, &[&signing()]),
        )
    };
    let honest = |name: &str, expect: &[&str], about: &str, change: &dyn Fn(&mut Beacon)| {
        let mut changed = beacon();
        change(&mut changed);
        let frame = sign_beacon(changed, &[&signing()]).unwrap().into_frame();
        Vector::new("beacon", name, "verify", expect, about, frame)
    };
    let stream_at = string("gov.example/tax/main").len();
    let numbers_at = stream_at + string("tax").len() + string("payments").len();
    let digest = sealed().digest();
    let head_at = numbers_at + 4;
    assert_eq!(body[head_at..head_at + 33], [&[2], &digest.0[..]].concat());
    let place_at = find(&body, &[&[18, 6, 2, 2][..], digest.as_bytes()].concat());
    let entry = Entry::Batch(batch_entry()).encode().unwrap();
    let entry_at = find(&body, &entry);
    let clock = [long(NEW_YEAR + 2_000_000), long(NEW_YEAR + 3_000_000)].concat();
    let clock_at = body.len() - clock.len();
    let mut vectors = vec![
        Vector::new(
            "beacon",
            "good",
            "verify",
            &[],
            "a stream with a head under a checkpoint",
            good.frame().to_vec(),
        )
        .with("digest", good.digest().to_string()),
        Vector::new(
            "beacon",
            "good-without-head",
            "verify",
            &[],
            "a stream without a batch",
            idle.frame().to_vec(),
        ),
        Vector::new(
            "beacon",
            "good-open-transaction",
            "verify",
            &[],
            "a place inside a transaction",
            open.frame().to_vec(),
        ),
        honest("origin-other", &["VER021"], "another log", &|b| {
            b.origin = "gov.example/tax/backup".parse().unwrap()
        }),
        honest("partition-other", &["VER020"], "another partition, its entry of none", &|b| {
            b.stream.partition = Partition(1);
            b.appended = None;
        }),
        patched("epoch-zero", &["VER032"], "epochs begin at 1, and the place's epoch is above it", &|b| {
            b[numbers_at + 1] = 0
        }),
        patched("epoch-below-its-place", &["VER032"], "epoch 2, and a place of epoch 3", &|b| {
            b[numbers_at + 1] = 4
        }),
        patched("place-offset-negative", &["VER032"], "offset -10", &|b| b[place_at] = 19),
        patched(
            "place-head-beyond-head",
            &["VER032"],
            "the place's head is sequence 2, the beacon's 1",
            &|b| b[place_at + 3] = 4,
        ),
        patched("place-head-is-another-batch", &["VER032"], "one sequence, two digests", &|b| {
            b[place_at + 10] ^= 1
        }),
        patched("place-last-without-head", &["VER032"], "a last row and no head", &|b| {
            b.splice(place_at + 2..place_at + 2 + 34, [0]);
        }),
        patched("head-missing", &["VER032"], "no head, and a place and an entry that have one", &|b| {
            let last = at(42, 3);
            let token = string(std::str::from_utf8(last.token.as_bytes()).unwrap());
            let length = 1 + 1 + 32 + [long(42), long(3), long(0), token].concat().len();
            b.splice(head_at - 1..head_at - 1 + length, [0]);
        }),
        patched("entry-of-another-stream", &["VER032"], "the log entry is partition 1's", &|b| {
            let at = entry_at + find(&entry, &string("payments")) + string("payments").len();
            b[at] = 2;
        }),
        patched("entry-is-another-batch", &["VER032"], "the entry's digest is not the head's", &|b| {
            let at = entry_at + find(&entry, digest.as_bytes());
            b[at] ^= 1;
        }),
        patched("entry-is-no-batch", &["VER032"], "an entry of unknown type", &|b| b[entry_at] = 9),
        patched("next-due-before-clock", &["VER032"], "the next beacon is due before this one", &|b| {
            b.truncate(clock_at);
            b.extend([long(NEW_YEAR + 3_000_000), long(NEW_YEAR + 2_000_000)].concat());
        }),
        patched("path-too-long", &["VER003"], "a path of 64 hashes", &|b| {
            let path_at = entry_at + entry.len() + 1;
            assert_eq!(b[path_at], 4);
            b.splice(path_at..path_at + 1, long(64));
        }),
    ];
    vectors.extend(shared("beacon", good.frame(), BEACON, 65_536));
    vectors
}
