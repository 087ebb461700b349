//! Key records, rewraps, contract records, incarnation records.

use super::Vector;
use super::frames::{body_of, shared};
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;

const KEY: (&[u8; 4], &[u8]) = (b"GBK1", b"govbridge/v1/key-record\0");
const REWRAP: (&[u8; 4], &[u8]) = (b"GBR1", b"govbridge/v1/rewrap\0");
const CONTRACT_FORM: (&[u8; 4], &[u8]) = (b"GBC1", b"govbridge/v1/contract\0");
const INCARNATION: (&[u8; 4], &[u8]) = (b"GBI1", b"govbridge/v1/incarnation\0");

fn key_vector(name: &str, stage: &str, expect: &[&str], about: &str, frame: &[u8]) -> Vector {
    Vector::new("key-record", name, stage, expect, about, frame.to_vec())
}

/// The record of section `amount`, bent and signed without the checks of an honest signer.
fn bent(
    name: &str,
    stage: &str,
    expect: &[&str],
    about: &str,
    change: impl FnOnce(&mut KeyRecord),
) -> Vector {
    let honest = record_for(terms(1), &secret(1), recipients(1));
    let mut record = honest;
    change(&mut record);
    key_vector(name, stage, expect, about, &forge::signed(KEY.0, KEY.1, &record_body(&record), &[&signing()]))
}

/// The body as the specification has it, whatever the record says.
fn record_body(record: &KeyRecord) -> Vec<u8> {
    // An honest record of the same fields signs itself unless its fields contradict each other; then the parts that do are
    // patched in: a life of one day, and the wraps one by one.
    let terms = &record.terms;
    let mut out = vec![2];
    for name in [terms.department.as_str(), terms.dataset.as_str(), terms.section.as_str()] {
        out.push(u8::try_from(name.len() * 2).unwrap());
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(terms.contract.as_bytes());
    out.extend_from_slice(record.commitment.as_bytes());
    for micros in [terms.valid_from.0, terms.not_after.0] {
        let mut rest = micros.cast_unsigned() << 1;
        while rest >= 0x80 {
            out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).unwrap());
    }
    if !record.wraps.is_empty() {
        out.push(u8::try_from(record.wraps.len() * 2).unwrap());
    }
    for wrap in &record.wraps {
        out.push(u8::try_from(wrap.recipient.as_str().len() * 2).unwrap());
        out.extend_from_slice(wrap.recipient.as_str().as_bytes());
        out.extend_from_slice(wrap.key.as_bytes());
        out.extend_from_slice(&wrap.wrapped.encapsulated);
        out.extend_from_slice(&wrap.wrapped.ciphertext);
    }
    out.push(0);
    out
}

pub(crate) fn key_records() -> Vec<Vector> {
    let (payer, amount) = (key_record(0), key_record(1));
    assert_eq!(body_of(amount.frame()), record_body(amount.content()));
    let good = |name: &str, about: &str, record: &Signed<KeyRecord>, index: usize| {
        let secrets = hex::encode(secret(index).expose());
        key_vector(name, "unwrap", &[], about, record.frame())
            .with("digest", record.digest().to_string())
            .with("commitment", record.content().commitment.to_string())
            .with("recipient", "audit")
            .with("secret", secrets)
    };
    let mut vectors = vec![
        good("good-payer", "for tax and audit", &payer, 0),
        good("good-amount", "for tax, audit and social-security", &amount, 1),
    ];
    vectors.extend(grants());
    vectors.extend(wraps());
    vectors.push(bent(
        "department-other",
        "verify",
        &["VER020"],
        "social-security's key record, signed by tax",
        |r| {
            r.terms.department = department("social-security");
        },
    ));
    vectors.push(bent("ends-before-it-begins", "verify", &["VER032"], "a life of no length", |r| {
        r.terms.not_after = r.terms.valid_from;
    }));
    vectors.push(bent("wrapped-for-nobody", "verify", &["VER032"], "no wraps", |r| r.wraps.clear()));
    vectors.push(bent("wrapped-twice-for-one-key", "verify", &["VER032"], "two wraps for one key", |r| {
        r.wraps.push(r.wraps[0].clone());
    }));
    let body = body_of(amount.frame());
    let mut unknown = body.clone();
    unknown[0] = 63 << 1;
    let frame = forge::signed(KEY.0, KEY.1, &unknown, &[&signing()]);
    vectors.push(key_vector("suite-unknown", "verify", &["VER009"], "suite 63", &frame));
    vectors.extend(shared("key-record", amount.frame(), KEY, 60 * 1024));
    vectors
}

fn grants() -> Vec<Vector> {
    let record = |terms: KeyTerms, index: usize, names: &[&str]| {
        record_for(terms, &secret(index), names).sign(&[&signing()]).unwrap().into_frame()
    };
    let across = KeyTerms {
        valid_from: UnixMicros(NEW_YEAR + 364 * DAY),
        not_after: UnixMicros(NEW_YEAR + 366 * DAY),
        ..terms(1)
    };
    vec![
        key_vector(
            "wrapped-for-an-outsider",
            "grants",
            &["VER050"],
            "section payer, also for social-security",
            &record(terms(0), 0, &["tax", "audit", "social-security"]),
        ),
        key_vector(
            "recipient-left-out",
            "grants",
            &["VER051"],
            "section amount without social-security",
            &record(terms(1), 1, &["tax", "audit"]),
        ),
        key_vector(
            "own-department-left-out",
            "grants",
            &["VER051"],
            "not for tax itself",
            &record(terms(1), 1, &["audit", "social-security"]),
        ),
        bent(
            "recipient-key-of-nobody",
            "grants",
            &["VER052"],
            "audit's wrap is for a key that is not audit's",
            |r| {
                let stranger = recipient("nobody");
                let to =
                    WrapTo { recipient: &department("audit"), key: &stranger.public(), seed: [0xc7; 32] };
                let other = KeyRecord::new(r.terms.clone(), &secret(1), &[to]).unwrap();
                r.wraps[1] = other.wraps[0].clone();
            },
        ),
        key_vector(
            "grant-ends-inside",
            "grants",
            &["VER053"],
            "social-security's grant ends inside the key version's life",
            &record(across, 1, recipients(1)),
        ),
    ]
}

fn wraps() -> Vec<Vector> {
    let small_order = |r: &mut KeyRecord| r.wraps[1].wrapped.encapsulated = [0; 32];
    let unwrapping = |vector: Vector| vector.with("recipient", "audit");
    vec![
        unwrapping(bent("wrap-missing", "unwrap", &["OPE010"], "no wrap for audit", |r| {
            r.wraps.remove(1);
        })),
        unwrapping(bent(
            "wrap-flipped-bit",
            "unwrap",
            &["OPE011"],
            "a signed wrap with a flipped bit",
            |r| {
                r.wraps[1].wrapped.ciphertext[9] ^= 1;
            },
        )),
        unwrapping(bent(
            "wrap-small-order-key",
            "unwrap",
            &["OPE011"],
            "an encapsulated key of small order: the shared secret is zero",
            small_order,
        )),
        unwrapping(bent(
            "wrap-of-another-recipient",
            "unwrap",
            &["OPE011"],
            "tax's wrap under audit's name",
            |r| {
                r.wraps[1].wrapped = r.wraps[0].wrapped;
            },
        )),
        unwrapping(bent(
            "wrong-commitment",
            "unwrap",
            &["OPE011"],
            "the commitment is the wraps' associated data",
            |r| {
                r.commitment = sha256(&[b"another commitment"]);
            },
        )),
        unwrapping(bent(
            "wrap-under-another-contract",
            "unwrap",
            &["OPE011"],
            "the contract stands in the wraps' info",
            |r| {
                r.terms.contract = sha256(&[b"another contract"]);
            },
        )),
        unwrapping(bent(
            "wrap-of-another-secret",
            "unwrap",
            &["OPE012"],
            "audit's wrap opens, and holds another secret than the record commits to",
            |r| {
                r.wraps[1].wrapped = wrap_of_another_secret(&r.commitment, &r.terms);
            },
        )),
    ]
}

/// An honest wrap of the wrong secret, with the record's commitment as its associated data.
fn wrap_of_another_secret(commitment: &Digest, terms: &KeyTerms) -> Wrapped {
    let to = recipient("audit").public();
    let info = forge::lp(&[
        b"govbridge/v1/wrap\0",
        &1_u16.to_be_bytes(),
        b"tax",
        b"payments",
        terms.section.as_str().as_bytes(),
        terms.contract.as_bytes(),
        b"audit",
        to.id().as_bytes(),
    ]);
    let other = Secret::new([0x66; 32]);
    Suite::International.wrap(&to, &info, commitment.as_bytes(), &other, &[0xc8; 32]).unwrap()
}

pub(crate) fn rewraps() -> Vec<Vector> {
    let base =
        KeyRecord::verify(key_record(1).frame(), &Named::new(), &department("tax")).into_verified().unwrap();
    let to = recipient("audit").public();
    let audit = department("audit");
    let rewrap = |seed: u8| {
        let to = WrapTo { recipient: &audit, key: &to, seed: [seed; 32] };
        let made = UnixMicros(base.content().terms.valid_from.0 + 1_000_000);
        Rewrap::new(&base, &secret(1), &[to], contract().digest(), made, "audit lost its copy".into())
            .unwrap()
    };
    let good = rewrap(0xd1).sign(&[&signing()]).unwrap();
    let vector = |name: &str, stage: &str, expect: &[&str], about: &str, rewrap: Rewrap| {
        let frame = rewrap.sign(&[&signing()]).unwrap().into_frame();
        Vector::new("rewrap", name, stage, expect, about, frame).with("recipient", "audit")
    };
    let mut other_record = rewrap(0xd2);
    other_record.key_record = key_record(0).digest();
    let mut flipped = rewrap(0xd3);
    flipped.wraps[0].wrapped.ciphertext[0] ^= 1;
    let mut nobody = rewrap(0xd4);
    nobody.wraps.clear();
    let mut early = rewrap(0xd5);
    early.made = UnixMicros(base.content().terms.valid_from.0 - 1);
    let mut outsider = rewrap(0xd6);
    outsider.wraps[0].recipient = department("education");
    let mut after_its_grant = rewrap(0xd7);
    after_its_grant.made = UnixMicros(NEW_YEAR + 400 * DAY);
    after_its_grant.wraps[0].recipient = department("social-security");
    after_its_grant.wraps[0].key = recipient("social-security").public().id();
    let mut other_key = rewrap(0xd8);
    other_key.wraps[0].key = recipient("tax").public().id();
    let mut vectors = vec![
        vector("made-before-its-record", "verify", &["VER032"], "made before the key version began", early),
        vector("wrapped-for-an-outsider", "grants", &["VER050", "VER052"], "a wrap for education", outsider),
        vector(
            "wrapped-after-the-grant-ended",
            "grants",
            &["VER050"],
            "made 400 days later, for social-security, whose grant is over",
            after_its_grant,
        ),
        vector(
            "wrapped-under-another-key",
            "grants",
            &["VER052"],
            "audit's wrap, under tax's key id",
            other_key,
        ),
        Vector::new(
            "rewrap",
            "good",
            "unwrap",
            &[],
            "the record of section amount, wrapped again for audit",
            good.frame().to_vec(),
        )
        .with("digest", good.digest().to_string())
        .with("recipient", "audit"),
        vector("of-another-record", "verify", &["VER054"], "names the record of section payer", other_record),
        vector("wrap-flipped-bit", "unwrap", &["OPE011"], "a signed wrap with a flipped bit", flipped),
        vector("wrapped-for-nobody", "verify", &["VER032"], "no wraps", nobody),
    ];
    vectors.extend(shared("rewrap", good.frame(), REWRAP, 60 * 1024));
    vectors
}

pub(crate) fn contracts() -> Vec<Vector> {
    let good = contract_record().sign(&[&signing()]).unwrap();
    let body = body_of(good.frame());
    // The second schema under the first one's name: "payer" and "amount" are not of one length, so the array's items are
    // written again.
    let first_at = body.windows(6).position(|window| window == b"\x0apayer").unwrap();
    let second_at = body.windows(7).position(|window| window == b"\x0camount").unwrap();
    let mut twice = body.clone();
    twice.splice(second_at..second_at + 7, body[first_at..first_at + 6].to_vec());
    let mut cut = body.clone();
    cut.truncate(first_at);
    let signed = |body: &[u8]| forge::signed(CONTRACT_FORM.0, CONTRACT_FORM.1, body, &[&signing()]);
    let mut vectors = vec![
        Vector::new(
            "contract-record",
            "good",
            "verify",
            &[],
            "the vectors' own contract",
            good.frame().to_vec(),
        )
        .with("digest", good.digest().to_string())
        .with("contract_digest", good.content().contract_digest().to_string()),
        Vector::new(
            "contract-record",
            "section-twice",
            "verify",
            &["VER032"],
            "a section with two schemas",
            signed(&twice),
        ),
        Vector::new(
            "contract-record",
            "schemas-missing",
            "verify",
            &["VER002"],
            "the schemas are cut off",
            signed(&cut),
        ),
    ];
    vectors.extend(shared("contract-record", good.frame(), CONTRACT_FORM, 60 * 1024));
    vectors
}

pub(crate) fn incarnations() -> Vec<Vector> {
    let good = incarnation_record().sign(&[&signing()]).unwrap();
    let other =
        IncarnationRecord { origin: "gov.example/tax/backup".parse().unwrap(), ..incarnation_record() };
    let other = other.sign(&[&signing()]).unwrap();
    let mut vectors = vec![
        Vector::new(
            "incarnation-record",
            "good",
            "verify",
            &[],
            "the first life of a SQLite file",
            good.frame().to_vec(),
        )
        .with("digest", good.digest().to_string()),
        Vector::new(
            "incarnation-record",
            "origin-other",
            "verify",
            &["VER021"],
            "another log",
            other.into_frame(),
        ),
    ];
    vectors.extend(shared("incarnation-record", good.frame(), INCARNATION, 8 * 1024));
    vectors
}
